//! Where databases want other words for the same thing.

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

/// The database that a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    MariaDb,
}

impl Dialect {
    /// What a connection speaks.
    pub(crate) fn of<C: ConnectionTrait>(connection: &C) -> Self {
        match connection.get_database_backend() {
            DbBackend::Postgres => Self::Postgres,
            DbBackend::MySql => Self::MariaDb,
            // No other is built in.
            _ => Self::Sqlite,
        }
    }

    /// The type to cast to for a whole number of 64 bits.
    pub(crate) const fn whole_number(self) -> &'static str {
        match self {
            Self::Sqlite | Self::Postgres => "BIGINT",
            Self::MariaDb => "SIGNED",
        }
    }
}

/// A statement in SQL with `$1`, `$2`, … for its values, each of them once and in their order.
pub(crate) fn statement<C: ConnectionTrait>(
    connection: &C,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Statement {
    let backend = connection.get_database_backend();
    match Dialect::of(connection) {
        Dialect::Sqlite | Dialect::Postgres => Statement::from_sql_and_values(backend, sql, values),
        Dialect::MariaDb => {
            Statement::from_sql_and_values(backend, with_question_marks(sql), values)
        }
    }
}

/// MariaDB's values have no numbers.
fn with_question_marks(sql: &str) -> String {
    let mut pieces = sql.split('$');
    let mut marked = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        marked.push('?');
        marked.push_str(piece.trim_start_matches(|one: char| one.is_ascii_digit()));
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lose_their_numbers() {
        let sql = "SELECT a FROM t WHERE b = $1 AND c = $12 ORDER BY d";
        assert_eq!(with_question_marks(sql), "SELECT a FROM t WHERE b = ? AND c = ? ORDER BY d");
        assert_eq!(with_question_marks("SELECT 1"), "SELECT 1");
    }
}
