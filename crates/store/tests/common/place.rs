//! Where a test's database is: a file of SQLite, or a database of a PostgreSQL or MariaDB server of the
//! tests' own in the programs of these names.

use std::path::PathBuf;

use reprieve_store::{Location, Store};
use reprieve_test_daemons::{Cluster, MariaDb};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// An empty database.
pub enum Place {
    File(TempDir),
    Postgres(String),
    MariaDb(String),
}

/// Whether the database of this program is for several processes.
pub fn for_several() -> bool {
    matches!(env!("CARGO_CRATE_NAME"), "postgres" | "mariadb")
}

impl Place {
    pub async fn new() -> Self {
        match env!("CARGO_CRATE_NAME") {
            "postgres" => Self::Postgres(on_postgres().await),
            "mariadb" => Self::MariaDb(on_mariadb().await),
            _ => Self::File(TempDir::new().unwrap()),
        }
    }

    pub fn location(&self) -> Location {
        match self {
            Self::File(_) => Location::File(self.file("reprieve.db")),
            Self::Postgres(name) => Location::Postgres(Cluster::shared().url(name)),
            Self::MariaDb(name) => Location::MariaDb(MariaDb::shared().url(name)),
        }
    }

    /// A file beside the database.
    pub fn file(&self, name: &str) -> PathBuf {
        match self {
            Self::File(dir) => dir.path().join(name),
            Self::Postgres(_) | Self::MariaDb(_) => panic!("{name} is no file"),
        }
    }
}

/// A fresh database, copied from one that has the schema already.
async fn on_postgres() -> String {
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

/// The same on MariaDB.
async fn on_mariadb() -> String {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let server = MariaDb::shared();
    let make = async || {
        let template = name();
        server.create(&template).unwrap();
        let location = Location::MariaDb(server.url(&template));
        Store::open(location).await.unwrap().close().await.unwrap();
        template
    };
    let template = TEMPLATE.get_or_init(make).await;
    let name = name();
    server.copy(template, &name).unwrap();
    name
}

fn name() -> String {
    format!("t{}", uuid::Uuid::new_v4().simple())
}
