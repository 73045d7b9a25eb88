//! What happened while Nova was recorded, in its order.
//!
//! A scenario begins with an empty cloud (two flavors, two images, two hosts) and is told in
//! chapters, each of which continues where the one before ended.

mod beginning;
mod rest;
mod states;

use crate::stage::Step;

/// All scenarios.
pub const SCENARIOS: &[&[&[Step]]] = &[
    &[
        beginning::ZONES,
        beginning::DISCOVERY,
        beginning::KEYPAIRS,
        beginning::FIRST_SERVER,
        beginning::MORE_SERVERS,
        beginning::ACTIVE,
        states::PAUSED,
        states::SUSPENDED,
        states::STOPPED,
        states::RESCUED,
        states::MORE_RESCUES,
        states::REBOOT,
        states::ERROR,
        states::NO_HOST,
        states::LOCKS,
        rest::UNKNOWN,
        rest::BODIES,
        rest::REFUSED,
        rest::LISTS,
        rest::RACE,
        rest::SERVICES,
        rest::REST,
        rest::GONE,
    ],
    &[beginning::ZONES, beginning::RESERVATIONS],
];

/// `rec-1`, with which most was done.
const FIRST: &str = "b8e2b8c2-b090-4a6d-b0f5-19d7d885328f";
/// Where its state is changed.
const ACTION: &str = "servers/b8e2b8c2-b090-4a6d-b0f5-19d7d885328f/action";
