//! What servers claim of their hosts: the one source of all figures about it, and the look at it
//! inside of the transactions that claim.
//!
//! There are no rows of claims that could come apart from the servers: a claim is what a server's row
//! says of its flavor, for as long as the row is there (`reprieve_core::schedule`). Who claims takes
//! the lock of all claims first and reads after that, so claims are made one after the other; what
//! only gives back (a deletion, a suspend) needs no lock.

use std::collections::BTreeMap;

use reprieve_core::schedule::{
    Amounts, ClaimPolicy, Machine, Offer, Shortage, claims_again, releases_memory,
};
use reprieve_core::{Denied, HostName, OperationKind, PowerState, ServerGroupId, VmState};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, FromQueryResult,
    QueryFilter as _, QuerySelect as _,
};

use crate::db::Dialect;
use crate::entity::instance::{self, Column};
use crate::record::{HostRecord, InstanceRecord};
use crate::server_groups::{self, ServerGroupRecord};
use crate::{AggregateRecord, Store, StoreError, WriteTx, aggregates, hosts, locks};

/// What the servers of a host have been promised, and what they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostUsage {
    /// Servers.
    pub instances: i64,
    /// Virtual CPUs.
    pub vcpus: i64,
    /// Memory in MiB; without what suspended servers have lent to others, if the policy lets them.
    pub memory_mib: i64,
    /// Root disks in GiB.
    pub root_gib: i64,
    /// Servers to which something is being done.
    pub busy: i64,
    /// Servers with a guest process.
    pub running: i64,
}

#[derive(FromQueryResult)]
struct HostLoad {
    host: String,
    instances: i64,
    vcpus: i64,
    memory_mib: i64,
    root_gib: i64,
    busy: i64,
    running: i64,
}

/// What hosts for new servers are chosen from.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    /// All hosts.
    pub hosts: Vec<HostRecord>,
    /// What is promised of them; hosts without servers are not in it.
    pub usage: BTreeMap<HostName, HostUsage>,
    /// All aggregates.
    pub aggregates: Vec<AggregateRecord>,
    /// The group that the new servers join.
    pub group: Option<ServerGroupRecord>,
    /// How hosts are filled.
    pub policy: ClaimPolicy,
}

impl Situation {
    /// What a host has and has promised; `None` until it has said what it has.
    #[must_use]
    pub fn offer(&self, host: &HostRecord) -> Option<Offer> {
        let info = host.info.as_ref()?;
        let used = self.usage.get(&host.name).copied().unwrap_or_default();
        let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
        Some(Offer {
            total: Amounts {
                vcpus: info.vcpus.into(),
                memory_mib: info.memory_mib,
                disk_gib: info.disk_gib,
            },
            reserved_memory_mib: self.policy.reserved_memory_mib,
            ratios: self.policy.ratios.in_aggregates(self.metadata_of(&host.name)),
            claimed: Amounts {
                vcpus: unsigned(used.vcpus),
                memory_mib: unsigned(used.memory_mib),
                disk_gib: unsigned(used.root_gib),
            },
        })
    }

    /// What kind of machine a host is; `None` until it has said so.
    #[must_use]
    pub fn machine<'a>(&self, host: &'a HostRecord) -> Option<Machine<'a>> {
        host.info.as_ref().map(Machine::of)
    }

    /// Metadata of the aggregates of a host.
    pub fn metadata_of<'a>(
        &'a self,
        host: &'a HostName,
    ) -> impl Iterator<Item = &'a BTreeMap<String, String>> + Clone {
        let its = self.aggregates.iter().filter(move |aggregate| aggregate.hosts.contains(host));
        its.map(|aggregate| &aggregate.metadata)
    }
}

impl Store {
    /// Says how hosts are filled, before the first server is made: what is said later does not count.
    /// Without it, [`ClaimPolicy::default`] holds.
    pub fn claim_by(&self, policy: ClaimPolicy) {
        self.claims().get_or_init(|| policy);
    }

    /// How hosts are filled.
    #[must_use]
    pub fn claim_policy(&self) -> ClaimPolicy {
        self.claims().get().copied().unwrap_or_default()
    }

    /// What the servers on each host have been promised; hosts without servers are not in it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn usage_of_hosts(&self) -> Result<BTreeMap<HostName, HostUsage>, StoreError> {
        usage(self.reader(), &self.claim_policy()).await
    }
}

/// What hosts for new servers of a group are chosen from, under the lock that lets it stay so until the
/// transaction ends. The group, if there is one, has been locked already.
pub(crate) async fn situation(
    tx: &WriteTx,
    group: Option<ServerGroupId>,
    policy: ClaimPolicy,
) -> Result<Situation, StoreError> {
    locks::claims(tx).await?;
    let group = match group {
        Some(id) => Some(server_groups::existing(tx, id).await?),
        None => None,
    };
    Ok(Situation {
        hosts: hosts::all(&**tx).await?,
        usage: usage(&**tx, &policy).await?,
        aggregates: aggregates::all(&**tx).await?,
        group,
        policy,
    })
}

/// Lets a suspended server that has lent its memory to others have it again, if `kind` needs it. The
/// transaction that records the operation keeps it: from then on the server is busy.
///
/// # Errors
/// [`Denied::NoRoom`]; nothing was changed then.
pub(crate) async fn claim_again(
    tx: &WriteTx,
    server: &InstanceRecord,
    kind: OperationKind,
    policy: ClaimPolicy,
) -> Result<(), StoreError> {
    let lent = releases_memory(&policy, server.vm_state, server.holds_memory());
    let Some(host) = server.host.as_ref().filter(|_| lent && claims_again(kind)) else {
        return Ok(());
    };
    let now = situation(tx, None, policy).await?;
    let offer = now.hosts.iter().find(|one| one.name == *host).and_then(|one| now.offer(one));
    let memory = Amounts { memory_mib: server.flavor.memory_mib, ..Amounts::default() };
    let short = offer.and_then(|offer| offer.shortage(memory));
    short.map_or(Ok(()), |Shortage { need, have, .. }| {
        let (action, id) = (kind.action(), server.id);
        Err(Denied::NoRoom { action, id, need_mib: need, have_mib: have }.into())
    })
}

async fn usage<C: ConnectionTrait>(
    connection: &C,
    policy: &ClaimPolicy,
) -> Result<BTreeMap<HostName, HostUsage>, StoreError> {
    let sum = |what: Expr| sum(what, Dialect::of(connection));
    let of = |column: Column| sum(Expr::col(column));
    let count =
        |which: Condition| sum(CaseStatement::new().case(which, 1_i64).finally(0_i64).into());
    let processes = [PowerState::Running, PowerState::Paused, PowerState::Suspended];
    let running = Column::PowerState.is_in(processes.map(PowerState::number));
    let rows = instance::Entity::find()
        .select_only()
        .column(Column::Host)
        .column_as(Column::Id.count(), "instances")
        .column_as(of(Column::Vcpus), "vcpus")
        .column_as(sum(claimed_memory(policy)), "memory_mib")
        .column_as(of(Column::RootGib), "root_gib")
        .column_as(count(Condition::all().add(Column::ActiveOp.is_not_null())), "busy")
        .column_as(count(Condition::all().add(running)), "running")
        .filter(Column::DeletedAt.is_null())
        .filter(Column::Host.is_not_null())
        .group_by(Column::Host)
        .into_model::<HostLoad>()
        .all(connection)
        .await
        .map_err(StoreError::db("add up what the hosts carry"))?;
    let usage = |row: HostLoad| {
        let HostLoad { host, instances, vcpus, memory_mib, root_gib, busy, running } = row;
        (host.into(), HostUsage { instances, vcpus, memory_mib, root_gib, busy, running })
    };
    Ok(rows.into_iter().map(usage).collect())
}

/// A sum without the numeric type that some databases give it.
fn sum(what: Expr, dialect: Dialect) -> Expr {
    what.sum().if_null(0).cast_as(dialect.whole_number())
}

/// The memory of a server, unless it has lent it: [`releases_memory`] in SQL.
fn claimed_memory(policy: &ClaimPolicy) -> Expr {
    let cases = VmState::ALL.iter().flat_map(|state| [(*state, false), (*state, true)]);
    let lent = cases.filter(|(state, held)| releases_memory(policy, *state, *held));
    let lent = lent.fold(Condition::any(), |any, (state, held)| {
        let free = Condition::all()
            .add(Column::ActiveOp.is_null())
            .add(Column::SuspendedForHost.eq(false));
        let holds = if held { free.not() } else { free };
        any.add(Condition::all().add(Column::VmState.eq(state.as_str())).add(holds))
    });
    let memory = Expr::col(Column::MemoryMib);
    if lent.is_empty() {
        return memory;
    }
    CaseStatement::new().case(lent, 0_i64).finally(memory).into()
}
