//! Where a database is.

use std::fmt;
use std::path::{Path, PathBuf};

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
        let url = match self {
            Self::File(path) => return write!(f, "{}", path.display()),
            Self::Postgres(url) | Self::MariaDb(url) => url.split('?').next().unwrap_or_default(),
        };
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
    fn passwords_are_not_shown() {
        let shown = |url: &str| format!("{0} {0:?}", Location::parse(url));
        for (url, visible) in [
            ("postgresql://u:s3cret@h:5432/d?password=s3cret", "postgresql://u@h:5432/d"),
            ("postgresql://u:s3@cret@h/d", "postgresql://u@h/d"),
            ("postgresql://h/d", "postgresql://h/d"),
            ("postgresql:s3cret", "an address that cannot be read"),
            ("mysql://u:s3cret@h:3306/d?ssl-mode=REQUIRED", "mysql://u@h:3306/d"),
            ("mariadb:s3cret", "an address that cannot be read"),
        ] {
            let shown = shown(url);
            assert!(shown.contains(visible) && !shown.contains("cret@"), "{shown}");
            assert!(!shown.contains("s3"), "{shown}");
        }
    }
}
