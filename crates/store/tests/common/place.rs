//! Where a test's database is: a file of SQLite, or a database of a PostgreSQL server of the tests' own
//! in the program of that name.

use std::path::PathBuf;

use reprieve_store::{Location, Store};
use reprieve_test_daemons::Cluster;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// An empty database.
pub enum Place {
    File(TempDir),
    Database(String),
}

/// Whether this program tests PostgreSQL.
pub fn on_postgres() -> bool {
    env!("CARGO_CRATE_NAME") == "postgres"
}

impl Place {
    pub async fn new() -> Self {
        if on_postgres() {
            Self::Database(database().await)
        } else {
            Self::File(TempDir::new().unwrap())
        }
    }

    pub fn location(&self) -> Location {
        match self {
            Self::File(_) => Location::File(self.file("reprieve.db")),
            Self::Database(name) => Location::Postgres(Cluster::shared().url(name)),
        }
    }

    /// A file beside the database.
    pub fn file(&self, name: &str) -> PathBuf {
        match self {
            Self::File(dir) => dir.path().join(name),
            Self::Database(name) => panic!("{name} is no file"),
        }
    }
}

/// A fresh database, copied from one that has the schema already.
async fn database() -> String {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let cluster = Cluster::shared();
    let make = async || {
        let template = name();
        cluster.create(&template, "template0").unwrap();
        let location = Location::Postgres(cluster.url(&template));
        // A database that is in use cannot be copied.
        Store::open(location).await.unwrap().close().await.unwrap();
        template
    };
    let template = TEMPLATE.get_or_init(make).await;
    let name = name();
    cluster.create(&name, template).unwrap();
    name
}

fn name() -> String {
    format!("t{}", uuid::Uuid::new_v4().simple())
}
