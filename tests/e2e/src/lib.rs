//! The harness of the end-to-end tests, the demo and the benchmarks: a real `reprieved` with its own
//! data directory, its HTTP API, real guests, and what libvirt and the guests themselves say.
//!
//! | module | what |
//! |---|---|
//! | [`lab`] | everything together, cleaned up when dropped |
//! | [`cluster`] | several daemons, one role each, on PostgreSQL and RabbitMQ |
//! | [`crowd`] | many servers in a database, without anybody creating them |
//! | [`firehose`] | what the broker of a cluster carries |
//! | [`daemon`] | one `reprieved` process: start, stop, kill, start again |
//! | [`cloud`] | the API, spoken by hand so that nothing of ours hides a fault |
//! | [`guest`] | the serial console: heartbeat, facts at boot, a root shell |
//! | [`libvirtd`] | a libvirtd of one's own: kill, freeze, start again |
//! | [`small_disk`] | a file system that is soon full |
//! | [`machine`], [`lossy_disk`] | a compute host whose power can be cut, with what it had not synced |
//! | [`chaos`] | `kill -9` at random moments, and what is true afterwards |
//! | [`virt`] | libvirt and QEMU as `virsh` and `/proc` show them |
//! | [`run`], [`wait`], [`places`] | programs with a deadline, conditions with a deadline, paths |
//!
//! Nothing here waits for a fixed time: every wait is for a condition and has a deadline.

#![allow(clippy::indexing_slicing, reason = "a missing member of a JSON value reads as null")]

pub mod chaos;
pub mod cloud;
pub mod cluster;
pub mod crowd;
pub mod daemon;
pub mod firehose;
pub mod guest;
pub mod lab;
pub mod libvirtd;
pub mod lossy_disk;
pub mod machine;
pub mod places;
pub mod run;
pub mod small_disk;
pub mod virt;
pub mod wait;
