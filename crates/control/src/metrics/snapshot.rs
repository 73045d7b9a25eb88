//! What is not counted but looked up at each scrape: bus and database.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};
use reprieve_core::Timestamp;
use reprieve_core::ports::BusConnection;
use reprieve_store::{HostState, Vitals};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    connection: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    kind: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReaderLabels {
    reader: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostLabels {
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostStateLabels {
    host: String,
    state: &'static str,
}

/// A gauge of parts of seconds.
type Seconds = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Writes one family.
fn write(
    text: &mut String,
    (name, help): (&'static str, &'static str),
    metric: impl Metric,
) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register(name, help, metric);
    encode_registry(text, &registry)
}

/// Writes whether the connections of the bus stand.
pub(super) fn bus(connections: &[BusConnection], text: &mut String) -> fmt::Result {
    let up: Family<ConnectionLabels, Gauge> = Family::default();
    for BusConnection { name: connection, up: stands } in connections {
        up.get_or_create(&ConnectionLabels { connection }).set((*stands).into());
    }
    write(text, ("reprieve_bus_connected", "Whether a connection of the message bus stands"), up)
}

/// Writes whether the database answered.
pub(super) fn database_up(up: bool, text: &mut String) -> fmt::Result {
    let gauge: Gauge = Gauge::default();
    gauge.set(up.into());
    write(text, ("reprieve_database_up", "Whether the database answered in time"), gauge)
}

/// What the database knows.
pub(super) fn text(vitals: &Vitals) -> Result<String, fmt::Error> {
    let mut text = String::new();
    operations(vitals, &mut text)?;
    queues(vitals, &mut text)?;
    hosts(vitals, &mut text)?;
    Ok(text)
}

/// How long ago something was, in seconds; 0 when there is nothing.
fn age(vitals: &Vitals, since: Option<Timestamp>) -> f64 {
    let micros = since.map_or(0, |at| vitals.at.micros().saturating_sub(at.micros()).max(0));
    u64::try_from(micros)
        .map_or(0.0, |micros| std::time::Duration::from_micros(micros).as_secs_f64())
}

fn seconds(value: f64) -> Seconds {
    let gauge = Seconds::default();
    gauge.set(value);
    gauge
}

fn operations(vitals: &Vitals, text: &mut String) -> fmt::Result {
    let active: Family<OperationLabels, Gauge> = Family::default();
    for one in &vitals.operations {
        let labels = OperationLabels { kind: one.kind.as_str(), state: one.state.as_str() };
        active.get_or_create(&labels).set(one.count);
    }
    write(text, ("reprieve_operations_active", "Unfinished operations by kind and state"), active)?;
    let oldest = seconds(age(vitals, vitals.oldest_waiting()));
    let about = "Age of the oldest operation that no host has begun; 0 when there is none";
    write(text, ("reprieve_operations_oldest_waiting_seconds", about), oldest)
}

fn queues(vitals: &Vitals, text: &mut String) -> fmt::Result {
    let rows: Gauge = Gauge::default();
    rows.set(vitals.outbox.count);
    let about = "Operations whose host has yet to report";
    write(text, ("reprieve_outbox_rows", about), rows)?;
    let about = "Age of the oldest of them; 0 when there is none";
    let oldest = seconds(age(vitals, vitals.outbox.oldest));
    write(text, ("reprieve_outbox_oldest_seconds", about), oldest)?;
    let unread: Family<ReaderLabels, Gauge> = Family::default();
    let oldest: Family<ReaderLabels, Seconds> = Family::default();
    for reader in &vitals.readers {
        let labels = ReaderLabels { reader: reader.reader.clone() };
        unread.get_or_create(&labels).set(reader.backlog.count);
        oldest.get_or_create(&labels).set(age(vitals, reader.backlog.oldest));
    }
    let about = "Notifications that a reader has not passed on yet";
    write(text, ("reprieve_notifications_unread", about), unread)?;
    let about = "Age of the oldest of them; 0 when there is none";
    write(text, ("reprieve_notifications_oldest_unread_seconds", about), oldest)
}

fn hosts(vitals: &Vitals, text: &mut String) -> fmt::Result {
    let lease: Family<HostLabels, Seconds> = Family::default();
    let enabled: Family<HostLabels, Gauge> = Family::default();
    let unknown: Family<HostLabels, Gauge> = Family::default();
    let states: Family<HostStateLabels, Gauge> = Family::default();
    for host in &vitals.hosts {
        let labels = HostLabels { host: host.name.to_string() };
        lease.get_or_create(&labels).set(host.lease_age(vitals.at).as_secs_f64());
        enabled.get_or_create(&labels).set(host.enabled.into());
        let guests = host.info.as_ref().map_or(0, |info| info.unknown_guests.len());
        unknown.get_or_create(&labels).set(i64::try_from(guests).unwrap_or(i64::MAX));
        let now = host.state(vitals.at);
        for state in HostState::ALL {
            let labels = HostStateLabels { host: host.name.to_string(), state: state.as_str() };
            states.get_or_create(&labels).set((state == now).into());
        }
    }
    let about = "Time since the last sign of life of a compute host";
    write(text, ("reprieve_host_lease_age_seconds", about), lease)?;
    let about = "1 for the state that a compute host is in, 0 for the others";
    write(text, ("reprieve_host_state", about), states)?;
    let about = "Whether new servers may be placed on a compute host";
    write(text, ("reprieve_host_enabled", about), enabled)?;
    let about = "Guests on a compute host that no server is known for; 100 stands for more, too";
    write(text, ("reprieve_host_unknown_guests", about), unknown)
}
