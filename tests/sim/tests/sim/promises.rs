//! What an agent has promised, read in its ledger from beside it: the operations that are durable and
//! not finished.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use reprieve_core::message::RunOperation;
use reprieve_core::{InstanceId, OperationKind};
use reprieve_outside::simulation::finish;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// A ledger to look into. Clones share the connection.
#[derive(Clone)]
pub struct Promises {
    file: PathBuf,
    pool: Arc<OnceLock<SqlitePool>>,
}

impl Promises {
    /// Those of the ledger in `file`, which need not exist yet.
    pub fn of(file: PathBuf) -> Self {
        Self { file, pool: Arc::default() }
    }

    /// Kinds of the operations on a server that are under way.
    pub fn about(&self, id: InstanceId) -> Result<Vec<OperationKind>> {
        finish(async { self.read(id).await })
    }

    async fn read(&self, id: InstanceId) -> Result<Vec<OperationKind>> {
        let pool = self.pool.get_or_init(|| {
            let options = SqliteConnectOptions::new().filename(&self.file);
            SqlitePoolOptions::new()
                .max_connections(1)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_lazy_with(options)
        });
        let commands: Vec<String> = sqlx::query_scalar(
            "SELECT command FROM operation WHERE instance_id = ? AND state = 'running'",
        )
        .bind(id.to_string())
        .fetch_all(pool)
        .await
        .with_context(|| format!("cannot look into {}", self.file.display()))?;
        let kind = |text: &String| -> Result<OperationKind> {
            Ok(serde_json::from_str::<RunOperation>(text)?.kind)
        };
        commands.iter().map(kind).collect()
    }
}
