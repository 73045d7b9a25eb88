//! The clients that people use, against a real server: the unmodified `openstack` and our own.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use reprieve_e2e::lab::{BOOT, Lab, OPERATION, with_lab};
use reprieve_e2e::places;
use reprieve_e2e::run::Output;
use reprieve_e2e::wait::Deadline;
use serde_json::Value;
use uuid::Uuid;

const JSON: [&str; 2] = ["-f", "json"];

/// One `openstack` command with JSON as its result.
fn openstack(lab: &Lab, command: &str) -> Result<Value> {
    let words: Vec<&str> = command.split_whitespace().chain(JSON).collect();
    lab.openstack(&words)?.json()
}

/// One `openstack` command on the server.
fn act(lab: &Lab, command: &str) -> Result<()> {
    lab.openstack(&command.split_whitespace().collect::<Vec<_>>()).map(drop)
}

/// Status of the server as our own calls see it; the client's own `show` would cost seconds.
fn reach(lab: &Lab, id: Uuid, status: &str) -> Result<()> {
    let deadline = Deadline::seconds(OPERATION);
    lab.cloud.rests(id, status, deadline).map(drop)
}

#[test]
fn the_unmodified_openstack_client() -> Result<()> {
    with_lab(|lab| {
        // Fails at once, and says what to do, when the client has not been installed.
        places::openstack()?;
        assert!(openstack(lab, "token issue")?["expires"].is_string());
        for name in ["tiny", "tiny-rescue"] {
            let file = places::image(name)?;
            let command =
                format!("image create {name} --disk-format qcow2 --file {}", file.display());
            assert_eq!(openstack(lab, &command)?["status"], "active");
        }
        let flavor = openstack(lab, "flavor create small --ram 128 --disk 1 --vcpus 1")?;
        assert_eq!((&flavor["ram"], &flavor["name"]), (&128.into(), &"small".into()));
        let public_key = lab.daemon.data().with_file_name("id.pub");
        fs::write(&public_key, include_str!("../data/id_ed25519.pub"))?;
        let command = format!("keypair create mine --public-key {}", public_key.display());
        assert_eq!(openstack(lab, &command)?["name"], "mine");

        let create = "server create web --image tiny --flavor small --key-name mine --wait";
        let created = openstack(lab, create)?;
        assert_eq!(created["status"], "ACTIVE");
        let id = created["id"].as_str().context("no id")?.parse()?;
        lab.adopt(id);
        let booted = lab.guest(id).booted(Deadline::seconds(BOOT))?;
        let list = openstack(lab, "server list")?;
        assert_eq!(
            (&list[0]["Name"], &list[0]["Status"], &list[0]["Flavor"]),
            (&"web".into(), &"ACTIVE".into(), &"small".into())
        );
        assert_eq!(list[0]["Image"], "tiny");

        for (command, status) in [
            ("server pause web", "PAUSED"),
            ("server unpause web", "ACTIVE"),
            ("server suspend web", "SUSPENDED"),
            ("server resume web", "ACTIVE"),
            ("server rescue web --image tiny-rescue", "RESCUE"),
            ("server unrescue web", "ACTIVE"),
            ("server stop web", "SHUTOFF"),
            ("server start web", "ACTIVE"),
        ] {
            act(lab, command)?;
            reach(lab, id, status).context(command)?;
            if status == "RESCUE" || (status == "ACTIVE" && command.ends_with("unrescue web")) {
                // A guest that has not booted yet does not hear the power button.
                lab.guest(id).booted(Deadline::seconds(BOOT))?;
            }
        }
        lab.guest(id).booted_after(&booted.boot_id, Deadline::seconds(BOOT))?;
        act(lab, "server reboot --wait web")?;
        act(lab, "server reboot --hard --wait web")?;
        let shown = openstack(lab, "server show web")?;
        assert_eq!((&shown["status"], &shown["key_name"]), (&"ACTIVE".into(), &"mine".into()));
        lab.guest(id).booted(Deadline::seconds(BOOT))?;
        let log = lab.openstack(&["console", "log", "show", "web"])?;
        assert!(log.stdout.contains("REPRIEVE-GUEST variant=tiny"), "{}", log.stdout);
        let console = openstack(lab, "console url show --serial web")?;
        assert_eq!(console["type"], "serial");
        let url = console["url"].as_str().unwrap_or_default();
        assert!(url.starts_with("ws://127.0.0.1:6083/?token="), "{console}");
        let events = openstack(lab, "server event list web")?;
        let actions: Vec<&Value> =
            events.as_array().into_iter().flatten().map(|event| &event["Action"]).collect();
        assert_eq!(
            actions,
            [
                "reboot", "reboot", "start", "stop", "unrescue", "rescue", "resume", "suspend",
                "unpause", "pause", "create"
            ]
        );
        act(lab, "server delete --wait web")?;
        assert_eq!(openstack(lab, "server list")?, Value::Array(Vec::new()));
        assert_eq!(lab.virt.state(id)?, None);
        Ok(())
    })
}

/// One `reprieve` command.
fn reprieve(lab: &Lab, command: &str) -> Result<Output> {
    lab.reprieve(&command.split_whitespace().collect::<Vec<_>>())?.within(120).ok()
}

#[test]
fn reprieve_waits_and_traces() -> Result<()> {
    with_lab(|lab| {
        for name in ["tiny", "tiny-rescue"] {
            let file = places::image(name)?;
            reprieve(
                lab,
                &format!("image create {name} --disk-format qcow2 --file {}", file.display()),
            )?;
        }
        reprieve(lab, "flavor create small --ram 128 --disk 1 --vcpus 1")?;
        let created =
            reprieve(lab, "server create web --image tiny --flavor small --wait -f json")?;
        let created = created.json()?;
        assert_eq!(created["status"], "ACTIVE");
        let id = created["id"].as_str().context("no id")?.parse()?;
        lab.adopt(id);
        let guest = lab.guest(id);
        let boot = guest.booted(Deadline::seconds(BOOT))?;
        for (command, status) in [
            ("pause", "PAUSED"),
            ("unpause", "ACTIVE"),
            ("suspend", "SUSPENDED"),
            ("resume", "ACTIVE"),
            ("rescue --image tiny-rescue", "RESCUE"),
            ("unrescue", "ACTIVE"),
        ] {
            let mut words = command.splitn(2, ' ');
            let (verb, options) = (words.next().unwrap_or(command), words.next().unwrap_or(""));
            reprieve(lab, &format!("server {verb} web {options} --wait"))?;
            let shown = reprieve(lab, "server show web -f value -c status")?;
            assert_eq!(shown.stdout.trim(), status, "{command}");
        }
        guest.booted_after(&boot.boot_id, Deadline::seconds(BOOT))?;
        let log = reprieve(lab, "server console log web")?;
        assert!(log.stdout.contains("REPRIEVE-GUEST variant=tiny"), "{}", log.stdout);

        let events = reprieve(lab, "server event list web -f json")?.json()?;
        let request = events
            .as_array()
            .into_iter()
            .flatten()
            .find(|event| event["Action"] == "unpause")
            .context("no unpause")?;
        let request = request["Request ID"].as_str().context("no request id")?;
        let logs = lab.daemon.data().join("log");
        let trace = reprieve(lab, &format!("trace {request} --log-dir {}", logs.display()))?.stdout;
        for role in ["api", "conductor", "compute"] {
            ensure!(trace.contains(role), "no line of {role}:\n{trace}");
        }
        ensure!(trace.contains("unpause"), "{trace}");

        let refused = lab.reprieve(&["server", "unpause", "web"])?.go()?;
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains("vm_state active"), "{}", refused.stderr);
        assert_eq!(lab.reprieve(&["server", "show", "nobody"])?.go()?.code, Some(3));
        reprieve(lab, "server delete web --wait")?;
        assert_eq!(lab.virt.state(id)?, None);
        Ok(())
    })
}
