//! `limit` and `marker` (spec/api.md section 6).

use super::fault::ApiFault;
use crate::http::query::Query;

/// The size of a page, from a validated query: `most`, if nothing smaller is asked for.
#[must_use]
pub fn limit(query: &Query, most: u32) -> u32 {
    // What is too large for the type is larger than the maximum, too.
    let asked = query.get("limit").map(|text| text.trim().parse::<u32>().unwrap_or(most));
    asked.unwrap_or(most).min(most)
}

/// Cuts a page of at most `most` items out of a whole list: what follows the item called `marker`. Says
/// whether the page is full, so that there may be a next one.
///
/// # Errors
/// 400 when there is no such item.
pub fn cut<T>(
    items: Vec<T>,
    (query, most): (&Query, u32),
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, bool), ApiFault> {
    let limit = usize::try_from(limit(query, most)).unwrap_or(usize::MAX);
    let skipped = match query.get("marker").filter(|marker| !marker.is_empty()) {
        None => 0,
        Some(marker) => {
            let found = items.iter().position(|item| key(item) == marker);
            let unknown = || ApiFault::bad_request(format!("marker [{marker}] not found"));
            found.ok_or_else(unknown)?.saturating_add(1)
        }
    };
    let page: Vec<T> = items.into_iter().skip(skipped).take(limit).collect();
    let full = limit > 0 && page.len() == limit;
    Ok((page, full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let cut = |query: &str| {
            cut(vec!["a", "b", "c"], (&Query::parse(query), 3), |item| (*item).to_owned())
        };
        assert_eq!(cut("").unwrap(), (vec!["a", "b", "c"], true));
        assert_eq!(cut("limit=4").unwrap(), (vec!["a", "b", "c"], true));
        assert_eq!(cut("limit=2").unwrap(), (vec!["a", "b"], true));
        assert_eq!(cut("limit=2&marker=b").unwrap(), (vec!["c"], false));
        assert_eq!(cut("limit=0").unwrap(), (vec![], false));
        assert_eq!(cut("limit=99999999999999").unwrap().0.len(), 3);
        assert_eq!(cut("marker=x").unwrap_err().message(), "marker [x] not found");
    }
}
