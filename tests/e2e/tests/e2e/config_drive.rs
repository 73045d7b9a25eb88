//! The config drive, by what the guest made of it.

use anyhow::Result;
use reprieve_e2e::cloud::Service;
use reprieve_e2e::lab::{SOON, with_lab};
use reprieve_e2e::wait::Deadline;
use serde_json::json;

/// `#!/bin/sh`, writes "from user data" into /made-by-user-data.
const USER_DATA: &str = "IyEvYmluL3NoCmVjaG8gZnJvbSB1c2VyIGRhdGEgPi9tYWRlLWJ5LXVzZXItZGF0YQo=";
const KEY: &str = include_str!("../data/id_ed25519.pub");

#[test]
fn hostname_key_and_user_data_reach_the_guest() -> Result<()> {
    with_lab(|lab| {
        let key = json!({ "keypair": { "name": "mine", "public_key": KEY.trim() } });
        lab.cloud.send("POST", Service::Compute, "/os-keypairs", Some(&key))?.expect(201)?;
        let mut spec = lab.tiny("Config Drive_1")?;
        spec.config_drive = true;
        spec.key_name = Some("mine".into());
        spec.user_data = Some(USER_DATA.into());
        let server = lab.boot(&spec)?;
        assert_eq!(lab.cloud.server(server.id)?.body["config_drive"], "True");

        let asked = server.guest.shell(
            "hostname; cat /made-by-user-data; cat /root/.ssh/authorized_keys",
            Deadline::seconds(SOON),
        )?;
        let lines: Vec<&str> = asked.lines().map(str::trim).collect();
        assert_eq!(lines, ["config-drive-1", "from user data", KEY.trim()]);
        Ok(())
    })
}
