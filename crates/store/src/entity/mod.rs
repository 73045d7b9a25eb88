//! Tables as the query builder knows them. Plain columns; the records are made by hand so that no
//! library type leaks out of this crate.

pub(crate) mod aggregate;
pub(crate) mod console_token;
pub(crate) mod flavor;
pub(crate) mod host;
pub(crate) mod instance;
pub(crate) mod keypair;
pub(crate) mod notification;
pub(crate) mod notification_reader;
pub(crate) mod operation;
pub(crate) mod outbox;
pub(crate) mod quota;
pub(crate) mod quota_class;
pub(crate) mod server_group;
pub(crate) mod step;

/// Relations are not used: every join is spelled out where it is needed.
macro_rules! no_relations {
    () => {
        /// None.
        #[derive(Copy, Clone, Debug, sea_orm::EnumIter, sea_orm::DeriveRelation)]
        pub enum Relation {}

        impl sea_orm::ActiveModelBehavior for ActiveModel {}
    };
}
pub(crate) use no_relations;
