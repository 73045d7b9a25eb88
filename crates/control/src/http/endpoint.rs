//! The URL under which the client reached us, for links in answers.

use axum::http::{HeaderMap, header};

/// Base of the URLs in answers, without trailing slash: the Host header of the request with the
/// scheme of `public_url`, or `public_url` itself when there is no usable Host header.
#[must_use]
pub fn base_url(public_url: &str, headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .filter(|host| is_authority(host));
    match (host, public_url.split_once("://")) {
        (Some(host), Some((scheme, _))) => format!("{scheme}://{host}"),
        _ => public_url.trim_end_matches('/').to_owned(),
    }
}

/// Host and port, nothing that could turn a link into something else.
fn is_authority(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn links_follow_the_host_header() {
        let base = |host: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            }
            base_url("https://cloud.example:8774/", &headers)
        };
        assert_eq!(base(Some("10.0.0.1:8774")), "https://10.0.0.1:8774");
        assert_eq!(base(Some("[::1]:8774")), "https://[::1]:8774");
        assert_eq!(base(None), "https://cloud.example:8774");
        for hostile in ["a/b", "a\"b", "a@b", "a b", "a?b"] {
            assert_eq!(base(Some(hostile)), "https://cloud.example:8774");
        }
    }
}
