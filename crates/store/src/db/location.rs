//! Where a database is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// A database that a [`crate::Store`] can be opened on.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite, for one process.
    File(PathBuf),
    /// A PostgreSQL database, for many:
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE`.
    Postgres(String),
    /// A MariaDB database, for many:
    /// `mysql://USER:PASSWORD@HOST:PORT/DATABASE?ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE`.
    MariaDb(String),
}

/// How addresses of servers begin.
const POSTGRES: [&str; 2] = ["postgresql:", "postgres:"];
const MARIADB: [&str; 2] = ["mysql:", "mariadb:"];

impl Location {
    /// From an operator's words: an address that begins with `postgresql:`, `postgres:`, `mysql:` or
    /// `mariadb:`, else the path of a file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let begins = |schemes: [&str; 2]| schemes.iter().any(|scheme| text.starts_with(scheme));
        if begins(POSTGRES) {
            Self::Postgres(text.to_owned())
        } else if begins(MARIADB) {
            Self::MariaDb(text.to_owned())
        } else {
            Self::File(text.into())
        }
    }
}

impl Location {
    /// Whether it can be one at all, without looking whether something is there. The drivers would repeat
    /// an address that they cannot read, with its password.
    ///
    /// # Errors
    /// What is wrong with it, without secrets.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::File(path) if path.to_string_lossy().contains("://") => {
                Err("it is an address of no database that is known here")
            }
            Self::File(_) => Ok(()),
            Self::Postgres(url) => {
                PgConnectOptions::from_str(url).map(drop).map_err(|_| UNREADABLE)
            }
            Self::MariaDb(url) => as_mysql(url).map(drop),
        }
    }
}

/// What is wrong with an address that a driver cannot read.
const UNREADABLE: &str = "its address cannot be read";

/// The address with the scheme that the driver knows, or what is wrong with it. The driver would
/// take what is no host for a database of this machine.
pub(super) fn as_mysql(url: &str) -> Result<String, &'static str> {
    let (_, rest) = url.split_once("://").ok_or(UNREADABLE)?;
    let url = format!("mysql://{rest}");
    let options = MySqlConnectOptions::from_str(&url).map_err(|_| UNREADABLE)?;
    options.get_database().map(|_| ()).ok_or("its address names no database")?;
    Ok(url)
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for Location {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

/// For people: without the password, and without the parameters, which may hold one, too.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match self {
            // It was to be one, perhaps.
            Self::File(path) if path.to_string_lossy().contains("://") => path.to_string_lossy(),
            Self::File(path) => return write!(f, "{}", path.display()),
            Self::Postgres(url) | Self::MariaDb(url) => url.into(),
        };
        let url = address.split('?').next().unwrap_or_default();
        let Some((scheme, rest)) = url.split_once("://") else {
            return f.write_str("an address that cannot be read");
        };
        // A password may hold an '@' of its own.
        match rest.rsplit_once('@') {
            Some((who, place)) => {
                let user = who.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}@{place}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_file() {
        assert_eq!(Location::parse("/var/lib/r.db"), Location::File("/var/lib/r.db".into()));
        for url in ["postgresql://h/d", "postgres://h/d"] {
            assert_eq!(Location::parse(url), Location::Postgres(url.to_owned()));
        }
        for url in ["mysql://h/d", "mariadb://h/d"] {
            assert_eq!(Location::parse(url), Location::MariaDb(url.to_owned()));
        }
    }

    #[test]
    fn addresses_are_refused_before_a_driver_repeats_them() {
        let good =
            ["r.db", "postgresql://u:s3cret@h:5432/d", "mysql://u:s3cret@h/d", "mariadb://h/d"];
        for text in good {
            assert_eq!(Location::parse(text).check(), Ok(()), "{text}");
        }
        for text in [
            "oracle://u:s3cret@h/d",
            "postgresql://u:s3cret@h:99999/d",
            "postgresql://u:s3cret@[h/d",
            "mysql://u:s3cret@h:99999/d",
            "mysql://u:s3cret@h",
        ] {
            let why = Location::parse(text).check().unwrap_err();
            assert!(!why.contains("s3cret"), "{text}: {why}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = |url: &str| format!("{0} {0:?}", Location::parse(url));
        for (url, visible) in [
            ("postgresql://u:s3cret@h:5432/d?password=s3cret", "postgresql://u@h:5432/d"),
            ("postgresql://u:s3@cret@h/d", "postgresql://u@h/d"),
            ("postgresql://h/d", "postgresql://h/d"),
            ("postgresql:s3cret", "an address that cannot be read"),
            ("mysql://u:s3cret@h:3306/d?ssl-mode=REQUIRED", "mysql://u@h:3306/d"),
            ("mariadb:s3cret", "an address that cannot be read"),
            ("oracle://u:s3cret@h/d", "oracle://u@h/d"),
        ] {
            let shown = shown(url);
            assert!(shown.contains(visible) && !shown.contains("cret@"), "{shown}");
            assert!(!shown.contains("s3"), "{shown}");
        }
    }
}
