//! Bad input and bad days: a clear answer, a truthful state, nothing left behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use reprieve_e2e::cloud::{NewServer, Service};
use reprieve_e2e::lab::{OPERATION, Plan, SOON, with_lab, with_plan};
use reprieve_e2e::run::Run;
use reprieve_e2e::wait::Deadline;
use reprieve_e2e::{places, virt};
use serde_json::json;

#[test]
fn what_cannot_be_built_says_why_and_leaves_nothing() -> Result<()> {
    with_lab(|lab| {
        let mut spec = lab.tiny("too-small")?;
        // Virtual size is 64 MiB in the image; this one claims 2 GiB in a flavor of 1.
        let big = lab.daemon.data().with_file_name("big.qcow2");
        Run::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&big).arg("2G").ok()?;
        spec.image = lab.cloud.upload("big", "qcow2", &big, &json!({}))?;
        let answer = lab.cloud.send("POST", Service::Compute, "/servers", Some(&spec.body()))?;
        if answer.status == 202 {
            let id = answer.body["server"]["id"].as_str().context("no id")?.parse()?;
            lab.adopt(id);
            let server = lab.cloud.settles(id, Deadline::seconds(OPERATION))?;
            assert_eq!(server.status, "ERROR", "{}", server.line());
            assert!(server.fault().contains("too small"), "{}", server.line());
            assert!(!lab.file(id, "disk").exists());
            assert_eq!(lab.virt.state(id)?, None);
        } else {
            assert_eq!(answer.status, 400, "{}", answer.body);
            assert!(answer.message().contains("too small"), "{}", answer.message());
        }

        let long = NewServer { name: "n".repeat(256), ..spec.clone() };
        let answer = lab.cloud.send("POST", Service::Compute, "/servers", Some(&long.body()))?;
        let message = answer.expect(400)?.message();
        assert!(message.contains("is too long"), "{message}");
        Ok(())
    })
}

#[test]
fn an_image_that_does_not_boot_is_a_server_that_does_nothing() -> Result<()> {
    with_lab(|lab| {
        let noise = lab.daemon.data().with_file_name("noise.raw");
        fs::write(
            &noise,
            (0..1 << 20)
                .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect::<Vec<_>>(),
        )?;
        let image = lab.cloud.upload("noise", "raw", &noise, &json!({}))?;
        let spec = NewServer {
            name: "noise".into(),
            image,
            flavor: lab.flavor()?,
            ..NewServer::default()
        };
        let id = lab.create(&spec)?;
        // Like a machine with an empty disk: it runs and waits for something to boot.
        lab.cloud.rests(id, "ACTIVE", Deadline::seconds(OPERATION))?;
        assert_eq!(lab.virt.state(id)?.as_deref(), Some("running"));
        lab.cloud.send("DELETE", Service::Compute, &format!("/servers/{id}"), None)?.expect(204)?;
        Deadline::seconds(OPERATION).until("end of the delete", || {
            let answer =
                lab.cloud.send("GET", Service::Compute, &format!("/servers/{id}"), None)?;
            Ok((answer.status == 404).then_some(()))
        })?;
        assert_eq!((lab.virt.state(id)?, virt::qemu_pid(id)?), (None, None));
        assert!(!lab.file(id, "").exists(), "the files are gone");
        Ok(())
    })
}

#[test]
fn a_disk_that_names_a_file_of_the_host_is_refused() -> Result<()> {
    with_lab(|lab| {
        let evil = lab.daemon.data().with_file_name("evil.qcow2");
        Run::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd"])
            .arg(&evil)
            .arg("1G")
            .ok()?;
        for format in ["raw", "qcow2"] {
            let id = lab.cloud.new_image("evil", format, &json!({}))?;
            let answer = lab.cloud.upload_data(&id, &evil)?;
            assert!(matches!(answer.status, 400 | 415), "{format}: {}", answer.status);
            let image = lab.cloud.get(Service::Image, &format!("/images/{id}"))?;
            assert_ne!(image["status"], "active", "{format}");
        }
        Ok(())
    })
}

#[test]
fn a_delete_overtakes_a_build() -> Result<()> {
    with_lab(|lab| {
        let id = lab.create(&lab.tiny("short-lived")?)?;
        lab.cloud.send("DELETE", Service::Compute, &format!("/servers/{id}"), None)?.expect(204)?;
        Deadline::seconds(OPERATION).until("end of the delete", || {
            let answer =
                lab.cloud.send("GET", Service::Compute, &format!("/servers/{id}"), None)?;
            Ok((answer.status == 404).then_some(()))
        })?;
        assert_eq!((lab.virt.state(id)?, virt::qemu_pid(id)?), (None, None));
        assert!(!lab.file(id, "").exists(), "the files are gone");
        Ok(())
    })
}

/// The socket of the libvirt that the tests look through.
fn real_socket(uri: &str) -> Result<PathBuf> {
    let dir = if uri.contains("session") {
        PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").context("XDG_RUNTIME_DIR")?)
            .join("libvirt")
    } else {
        PathBuf::from("/run/libvirt")
    };
    let names = ["libvirt-sock", "virtqemud-sock"];
    names.map(|name| dir.join(name)).into_iter().find(|path| path.exists()).context("no socket")
}

#[test]
fn without_libvirt_it_serves_and_it_recovers_when_libvirt_appears() -> Result<()> {
    let uri = places::libvirt_uri()?;
    let place = tempfile::tempdir()?;
    let socket = place.path().join("libvirt-sock");
    let which = if uri.contains("session") { "session" } else { "system" };
    let plan = Plan {
        libvirt_uri: Some(format!("qemu+unix:///{which}?socket={}", socket.display())),
        no_libvirt: true,
        ..Plan::default()
    };
    with_plan(plan, |lab| {
        Deadline::seconds(SOON).until("state 'down' of the compute service", || {
            Ok((lab.compute_state()? == "down").then_some(()))
        })?;
        let spec = lab.tiny("no-host")?;
        let id = lab.create(&spec)?;
        let server = lab.cloud.settles(id, Deadline::seconds(OPERATION))?;
        assert_eq!(server.status, "ERROR");
        assert!(server.fault().starts_with("No valid host was found."), "{}", server.line());

        symlink(real_socket(&uri)?, &socket)?;
        lab.host_is_up()?;
        lab.boot(&spec)?;
        Ok(())
    })
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() -> Result<()> {
    with_lab(|lab| {
        let second = Run::new(places::program("reprieved")?)
            .arg("--data-dir")
            .arg(lab.daemon.data())
            .args(["--listen", "127.0.0.1:0"])
            .go()?;
        assert_eq!(second.code, Some(1));
        assert!(second.stderr.contains("another reprieved uses"), "{}", second.stderr);
        Ok(())
    })
}
