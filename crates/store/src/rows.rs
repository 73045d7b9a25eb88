//! Changes of many rows with one statement.
//!
//! `UPDATE … SET column = CASE WHEN key = … THEN … ELSE column END … WHERE key IN (…)` is understood by
//! every database here, touches no column that has not changed, and is the plain statement when there
//! is one row, or when all rows get the same value.

use sea_orm::sea_query::{CaseStatement, Expr, Query, Value};
use sea_orm::{ColumnTrait, ConnectionTrait as _, EntityTrait};

use crate::{StoreError, WriteTx};

/// Rows of one statement. Its length grows with them, and the work for a column whose values differ
/// with their square.
const CHUNK: usize = 64;

/// What changes in one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowChange<C> {
    /// Its key.
    pub(crate) key: String,
    /// New values. No column comes twice.
    pub(crate) values: Vec<(C, Value)>,
}

/// Writes the changes; rows without any are left alone. No key comes twice.
///
/// # Errors
/// [`StoreError::Database`] that tells `what` was attempted.
pub(crate) async fn update<E>(
    tx: &WriteTx,
    key: E::Column,
    changes: Vec<RowChange<E::Column>>,
    what: &'static str,
) -> Result<(), StoreError>
where
    E: EntityTrait + Default,
    E::Column: ColumnTrait + Copy,
{
    let changes: Vec<_> = changes.into_iter().filter(|change| !change.values.is_empty()).collect();
    for chunk in changes.chunks(CHUNK) {
        let mut update = Query::update();
        update.table(E::default());
        for column in columns(chunk) {
            update.value(column, new_value(key, column, chunk));
        }
        update.and_where(key.is_in(chunk.iter().map(|change| change.key.as_str())));
        tx.execute(&update).await.map_err(StoreError::db(what))?;
    }
    Ok(())
}

/// All columns that change in any of the rows.
fn columns<C: ColumnTrait + Copy>(rows: &[RowChange<C>]) -> Vec<C> {
    let mut columns: Vec<C> = Vec::new();
    for (column, _) in rows.iter().flat_map(|row| &row.values) {
        if !columns.iter().any(|known| known.as_str() == column.as_str()) {
            columns.push(*column);
        }
    }
    columns
}

fn new_value<C: ColumnTrait + Copy>(key: C, column: C, rows: &[RowChange<C>]) -> Expr {
    let of = |row: &RowChange<C>| {
        let mut values = row.values.iter();
        let found = values.find(|(changed, _)| changed.as_str() == column.as_str());
        found.map(|(_, value)| value.clone())
    };
    let values: Vec<Option<Value>> = rows.iter().map(of).collect();
    if let Some((Some(first), others)) = values.split_first()
        && others.iter().all(|other| other.as_ref() == Some(first))
    {
        return Expr::value(first.clone());
    }
    let mut case = CaseStatement::new();
    for (row, value) in rows.iter().zip(values) {
        if let Some(value) = value {
            case = case.case(key.eq(row.key.as_str()), Expr::value(value));
        }
    }
    case.finally(Expr::col(column)).into()
}
