//! What an agent has promised, read in its ledger from beside it: the operations that are durable and
//! not finished, and the deletes that are.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use reprieve_core::message::{OperationResult, RunOperation};
use reprieve_core::{InstanceId, OperationKind};
use reprieve_outside::simulation::finish;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// What is known of a server.
#[derive(Debug, Default)]
pub struct Promised {
    /// Kinds of the operations on it that are under way.
    pub under_way: Vec<OperationKind>,
    /// The newest operation on it is a delete that succeeded.
    pub deleted: bool,
}

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

    /// What is known of a server.
    pub fn about(&self, id: InstanceId) -> Result<Promised> {
        finish(async { self.read(id).await })
            .with_context(|| format!("cannot look into {}", self.file.display()))
    }

    async fn read(&self, id: InstanceId) -> Result<Promised> {
        let pool = self.pool.get_or_init(|| {
            let options = SqliteConnectOptions::new().filename(&self.file);
            SqlitePoolOptions::new()
                .max_connections(1)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_lazy_with(options)
        });
        let rows: Vec<(String, String, Option<String>, bool)> = sqlx::query_as(
            "SELECT state, command, result, newest_generation = operation.generation \
             FROM operation JOIN guest ON guest.instance_id = operation.instance_id \
             WHERE operation.instance_id = ?",
        )
        .bind(id.to_string())
        .fetch_all(pool)
        .await?;
        let mut promised = Promised::default();
        for (state, command, result, newest) in rows {
            let kind = serde_json::from_str::<RunOperation>(&command)?.kind;
            if state == "running" {
                promised.under_way.push(kind);
            } else if newest && kind == OperationKind::Delete {
                let result = result.as_deref().map(serde_json::from_str).transpose()?;
                promised.deleted = result == Some(OperationResult::Succeeded);
            }
        }
        Ok(promised)
    }
}
