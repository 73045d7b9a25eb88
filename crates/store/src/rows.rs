//! Changes of many rows with one statement.
//!
//! `UPDATE … SET column = CASE key WHEN … THEN … ELSE column END … WHERE key IN (…)` is understood by
//! every database here, touches no column that has not changed, and is the plain statement when there
//! is one row, or when all rows get the same value.

use sea_orm::sea_query::Value;
use sea_orm::{ColumnTrait, ConnectionTrait as _, EntityTrait, IdenStatic as _};

use crate::db::statement;
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
        let (sql, values) = written::<E>(key, chunk);
        let update = statement(&**tx, &sql, values);
        tx.execute_raw(update).await.map_err(StoreError::db(what))?;
    }
    Ok(())
}

/// The statement. Put together as text: as expressions it would be some hundred allocations a row.
fn written<E>(key: E::Column, rows: &[RowChange<E::Column>]) -> (String, Vec<Value>)
where
    E: EntityTrait + Default,
    E::Column: ColumnTrait + Copy,
{
    let mut text = Text { sql: String::with_capacity(64 * rows.len()), values: Vec::new() };
    text.push(&["UPDATE \"", E::default().table_name(), "\" SET "]);
    for (number, column) in columns(rows).into_iter().enumerate() {
        text.push(&[if number == 0 { "\"" } else { ", \"" }, column.as_str(), "\" = "]);
        new_value(&mut text, key, column, rows);
    }
    text.push(&[" WHERE \"", key.as_str(), "\" IN ("]);
    for (number, row) in rows.iter().enumerate() {
        text.push(&[if number == 0 { "" } else { ", " }]);
        text.value(row.key.as_str().into());
    }
    text.push(&[")"]);
    (text.sql, text.values)
}

/// A statement while it is written.
struct Text {
    sql: String,
    values: Vec<Value>,
}

impl Text {
    fn push(&mut self, pieces: &[&str]) {
        pieces.iter().for_each(|piece| self.sql.push_str(piece));
    }

    fn value(&mut self, value: Value) {
        self.values.push(value);
        self.push(&["$", &self.values.len().to_string()]);
    }
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

fn new_value<C: ColumnTrait + Copy>(text: &mut Text, key: C, column: C, rows: &[RowChange<C>]) {
    let of = |row: &RowChange<C>| {
        let mut values = row.values.iter();
        let found = values.find(|(changed, _)| changed.as_str() == column.as_str());
        found.map(|(_, value)| value.clone())
    };
    let values: Vec<Option<Value>> = rows.iter().map(of).collect();
    if let Some((Some(first), others)) = values.split_first()
        && others.iter().all(|other| other.as_ref() == Some(first))
    {
        return text.value(first.clone());
    }
    text.push(&["CASE \"", key.as_str(), "\""]);
    for (row, value) in rows.iter().zip(values) {
        if let Some(value) = value {
            text.push(&[" WHEN "]);
            text.value(row.key.as_str().into());
            text.push(&[" THEN "]);
            text.value(value);
        }
    }
    text.push(&[" ELSE \"", column.as_str(), "\" END"]);
}
