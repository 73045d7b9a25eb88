//! Tokens of remote consoles, by the hash of their text; the text itself is nowhere.
//!
//! They end with their time or with their server, whichever is first. What is removed here are
//! tokens, which anybody who may can have anew.

use reprieve_core::console::{ConsoleEndpoint, ConsoleKind};
use reprieve_core::{InstanceId, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use crate::entity::console_token::{self, Column};
use crate::{Store, StoreError, WriteTx, locks};

/// Tokens that a server has at most; the one that ends first makes room for another.
pub const TOKENS_OF_SERVER: u64 = 64;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleTokenRecord {
    /// Hash of its text, in hexadecimal.
    pub hash: String,
    /// The server.
    pub instance: InstanceId,
    /// What it lets somebody look at.
    pub kind: ConsoleKind,
    /// Where that is.
    pub endpoint: ConsoleEndpoint,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Store {
    /// Records a token, in a transaction that also removes those that have ended. Not flushed to
    /// disk: a power cut costs somebody a second request.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the server is gone; [`StoreError::Database`].
    pub async fn create_console_token(&self, record: ConsoleTokenRecord) -> Result<(), StoreError> {
        let tx = self.begin_lazy().await?;
        locks::server(&tx, record.instance).await?;
        let server = crate::instances::find(&*tx, record.instance).await?;
        if server.is_none_or(|server| server.deleted_at.is_some()) {
            return Err(StoreError::NotFound { what: "server", id: record.instance.to_string() });
        }
        remove_ended(&tx, self.now()).await?;
        make_room(&tx, record.instance).await?;
        let ConsoleEndpoint { host, port, tls_port, path } = record.endpoint;
        let row = console_token::ActiveModel {
            hash: Set(record.hash),
            instance_id: Set(record.instance.to_string()),
            kind: Set(record.kind.as_str().to_owned()),
            host: Set(host),
            port: Set(port.into()),
            tls_port: Set(tls_port.map(Into::into)),
            access_path: Set(path),
            expires_at: Set(record.expires_at.micros()),
        };
        console_token::Entity::insert(row)
            .exec_without_returning(&*tx)
            .await
            .map_err(StoreError::db("record a token of a console"))?;
        tx.commit().await
    }

    /// The token with this hash, unless it has ended.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn console_token(
        &self,
        hash: &str,
    ) -> Result<Option<ConsoleTokenRecord>, StoreError> {
        let row = console_token::Entity::find_by_id(hash)
            .filter(Column::ExpiresAt.gt(self.now().micros()))
            .one(self.reader())
            .await
            .map_err(StoreError::db("look a token of a console up"))?;
        row.map(record_of).transpose()
    }
}

/// Removes the tokens of a server that is gone.
pub(crate) async fn remove(tx: &WriteTx, instance: InstanceId) -> Result<(), StoreError> {
    console_token::Entity::delete_many()
        .filter(Column::InstanceId.eq(instance.to_string()))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("remove the console tokens of a server"))?;
    Ok(())
}

async fn remove_ended(tx: &WriteTx, now: Timestamp) -> Result<(), StoreError> {
    console_token::Entity::delete_many()
        .filter(Column::ExpiresAt.lte(now.micros()))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("remove console tokens that have ended"))?;
    Ok(())
}

/// Leaves a server fewer than [`TOKENS_OF_SERVER`].
async fn make_room(tx: &WriteTx, instance: InstanceId) -> Result<(), StoreError> {
    let surplus: Vec<String> = console_token::Entity::find()
        .select_only()
        .column(Column::Hash)
        .filter(Column::InstanceId.eq(instance.to_string()))
        .order_by_desc(Column::ExpiresAt)
        .order_by_desc(Column::Hash)
        .limit(TOKENS_OF_SERVER)
        .offset(TOKENS_OF_SERVER.saturating_sub(1))
        .into_tuple()
        .all(&**tx)
        .await
        .map_err(StoreError::db("count the console tokens of a server"))?;
    if surplus.is_empty() {
        return Ok(());
    }
    console_token::Entity::delete_many()
        .filter(Column::Hash.is_in(surplus))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("make room for a console token"))?;
    Ok(())
}

fn record_of(row: console_token::Model) -> Result<ConsoleTokenRecord, StoreError> {
    // The hash names the row in an error; nobody gets the token from it.
    let corrupt = |column, value: &str| StoreError::Corrupt {
        table: "console_tokens",
        column,
        row: row.hash.clone(),
        message: format!("'{value}' cannot be read"),
    };
    let port =
        |column, port: i64| u16::try_from(port).map_err(|_| corrupt(column, &port.to_string()));
    Ok(ConsoleTokenRecord {
        instance: row.instance_id.parse().map_err(|_| corrupt("instance_id", &row.instance_id))?,
        kind: ConsoleKind::parse(&row.kind).ok_or_else(|| corrupt("kind", &row.kind))?,
        endpoint: ConsoleEndpoint {
            port: port("port", row.port)?,
            tls_port: row.tls_port.map(|number| port("tls_port", number)).transpose()?,
            host: row.host.clone(),
            path: row.access_path.clone(),
        },
        expires_at: Timestamp::from_micros(row.expires_at),
        hash: row.hash,
    })
}
