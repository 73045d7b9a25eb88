//! Tests of the whole: a real daemon, real libvirt, real QEMU, and a guest that tells on its serial
//! console what became of it. Each test has a daemon of its own. One program, so that the tests of
//! all modules run side by side.

#![allow(clippy::indexing_slicing, reason = "a missing member of a JSON value reads as null")]

mod chaos;
mod clients;
mod cluster;
mod config_drive;
mod crashes;
mod failures;
mod faults;
mod host_reboot;
mod lost;
mod notifications;
mod observed;
mod outages;
mod pause;
mod power;
mod rescue;
mod sdks;
mod secrets;
mod suspend;
