//! What is asked while somebody is away: accepted at once, waited for, done truthfully, and nothing
//! left behind. What a deployment of Nova makes of the same is in docs/chaos.md.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reprieve_e2e::cloud::{Answer, Cloud, Credentials, NewServer, Service};
use reprieve_e2e::cluster::{Cluster, Shape};
use reprieve_e2e::lab::{BOOT, OPERATION};
use reprieve_e2e::wait::Deadline;
use reprieve_e2e::{places, virt};
use serde_json::{Value, json};
use uuid::Uuid;

/// A request must not wait for who is away.
const AT_ONCE: Duration = Duration::from_secs(5);

/// One compute host with three booted servers.
struct Scene {
    cluster: Cluster,
    clouds: [Cloud; 2],
    servers: [Uuid; 3],
    rescue: Value,
}

/// Also of one that waits for a broker that comes back: pauses between attempts are a minute by then.
fn operation() -> Deadline {
    Deadline::seconds(OPERATION + BOOT)
}

impl Scene {
    fn set() -> Result<Self> {
        let cluster = Cluster::start(Shape { computes: &["compute1"], ..Shape::default() })?;
        let clouds = [cluster.cloud(0)?, cluster.cloud(1)?];
        let upload =
            |name: &str| clouds[0].upload(name, "qcow2", &places::image(name)?, &json!({}));
        let (image, rescue_image) = (upload("tiny")?, upload("tiny-rescue")?);
        let flavor = clouds[0].flavor("e2e", 128, 1)?;
        let new = NewServer { name: "outage".into(), image, flavor, ..NewServer::default() };
        let mut servers = [Uuid::nil(); 3];
        for server in &mut servers {
            *server = clouds[0].create(&new)?;
        }
        for server in servers {
            clouds[1].rests(server, "ACTIVE", operation())?;
            cluster.guest(0, server).booted(Deadline::seconds(BOOT))?;
        }
        let rescue = json!({ "rescue": { "rescue_image_ref": rescue_image } });
        Ok(Self { cluster, clouds, servers, rescue })
    }

    fn agent(&mut self) -> &mut reprieve_e2e::daemon::Daemon {
        &mut self.cluster.computes[0].1
    }

    /// Asks, with an answer at once; returns the request id.
    fn ask(&self, server: Uuid, action: &Value) -> Result<String> {
        let asked = Instant::now();
        let answer = self.clouds[0].action(server, action)?;
        ensure!(matches!(answer.status, 200 | 202), "{action}: {}", answer.body);
        ensure!(asked.elapsed() < AT_ONCE, "{action} took {:?}", asked.elapsed());
        Ok(answer.request_id)
    }

    /// Where the server ends, and what its action says then.
    fn ends(&self, server: Uuid, request: &str, status: &str) -> Result<Value> {
        self.clouds[1].rests(server, status, operation())?;
        let path = format!("/servers/{server}/os-instance-actions/{request}");
        let mut action = self.clouds[1].get(Service::Compute, &path)?;
        Ok(action["instanceAction"]["events"][0].take())
    }

    fn succeeds(&self, server: Uuid, request: &str, status: &str, domain: &str) -> Result<()> {
        let event = self.ends(server, request, status)?;
        ensure!(event["result"] == "Success", "{event}");
        ensure!(self.cluster.virt.state(server)?.as_deref() == Some(domain), "{status}, {domain}");
        Ok(())
    }

    fn perform(&self, server: Uuid, action: &Value, status: &str) -> Result<()> {
        self.clouds[0].perform(server, action, status, OPERATION).map(drop)
    }

    /// Rows 5 to 7, with each request at another api than the one before.
    fn race(&self) -> Result<()> {
        let server = self.servers[0];
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let actions = ["pause", "pause", "suspend", "suspend", "suspend", "pause"];
            let ask = |(at, action): (usize, &'static str)| {
                let cloud = &self.clouds[at % 2];
                scope.spawn(move || cloud.action(server, &json!({ action: null })))
            };
            let asking: Vec<_> = actions.into_iter().enumerate().map(ask).collect();
            asking.into_iter().flat_map(std::thread::ScopedJoinHandle::join).collect::<Result<_>>()
        })?;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        ensure!(statuses == [202, 409, 409, 409, 409, 409], "{statuses:?}");
        let after = self.clouds[1].settles(server, operation())?;
        let back = if after.status == "PAUSED" { "unpause" } else { "resume" };
        self.perform(server, &json!({ back: null }), "ACTIVE")
    }

    /// Row 3: the host's agent is away.
    fn without_compute(&mut self) -> Result<()> {
        let server = self.servers[0];
        self.agent().kill()?;
        let asked = self.ask(server, &json!({ "pause": null }))?;
        let now = self.clouds[1].server(server)?;
        ensure!(now.task_state.as_deref() == Some("pausing"), "{}", now.line());
        let other = self.clouds[1].action(server, &json!({ "suspend": null }))?.expect(409)?;
        ensure!(other.message().contains("pausing"), "{}", other.message());
        ensure!(self.waiting(server)? == json!("waiting for host"));
        self.expires(self.servers[1])?;
        self.agent().start_again()?;
        self.succeeds(server, &asked, "PAUSED", "paused")?;
        ensure!(self.waiting(server)?.is_null());
        // What had expired was in the broker all the time, and is not done now.
        let expired = self.clouds[1].server(self.servers[1])?;
        ensure!(expired.rests_in("ACTIVE") && virt::qemu_pid(self.servers[1])?.is_some());
        self.perform(server, &json!({ "unpause": null }), "ACTIVE")
    }

    /// What keeps the newest operation of a server from beginning.
    fn waiting(&self, server: Uuid) -> Result<Value> {
        let path = format!("/reprieve/v1/operations?server_id={server}&limit=1");
        let listed = self.clouds[1].get(Service::Root, &path)?;
        ensure!(listed["operations"][0].is_object(), "{listed}");
        Ok(listed["operations"][0]["waiting"].clone())
    }

    /// Nobody takes it, and whoever asked does not want it after that time.
    fn expires(&self, server: Uuid) -> Result<()> {
        let asked = self.clouds[0].action_within(server, &json!({ "suspend": null }), 10)?;
        let asked = asked.expect(202)?.request_id;
        ensure!(self.waiting(server)? == json!("waiting for host"));
        let event = self.ends(server, &asked, "ACTIVE")?;
        ensure!(event["result"] == "Error", "{event}");
        ensure!(
            event["details"].to_string().contains("did not take the suspend in time"),
            "{event}"
        );
        Ok(())
    }

    /// Rescue with an image service that does not answer the host.
    fn without_images(&mut self) -> Result<()> {
        let server = self.servers[0];
        let pid = virt::qemu_pid(server)?;
        let mut third = self.cluster.another("api3", "api", "api3")?;
        third.start_again()?;
        let cloud = Cloud::login(&third.url(), &Credentials::read(&self.cluster.clouds_yaml())?)?;
        for api in &mut self.cluster.apis {
            api.kill()?;
        }
        let asked = cloud.action(server, &self.rescue)?.expect(200)?.request_id;
        let after = cloud.settles(server, operation())?;
        ensure!(after.rests_in("ACTIVE"), "{}", after.line());
        for api in &mut self.cluster.apis {
            api.start_again()?;
        }
        third.stop()?;
        let event = self.ends(server, &asked, "ACTIVE")?;
        ensure!(event["result"] == "Error" && event["details"].is_string(), "{event}");
        ensure!(virt::qemu_pid(server)? == pid, "the guest was touched");
        ensure!(!self.cluster.file(0, server, "unrescue.xml").exists(), "a rescue has begun");
        Ok(())
    }

    /// Row 4: the broker is away.
    fn without_broker(&self) -> Result<()> {
        let [paused, suspended, rescued] = self.servers;
        self.cluster.broker.kill()?;
        let pause = self.ask(paused, &json!({ "pause": null }))?;
        let suspend = self.ask(suspended, &json!({ "suspend": null }))?;
        let rescue = self.ask(rescued, &self.rescue)?;
        for (server, task) in
            [(paused, "pausing"), (suspended, "suspending"), (rescued, "rescuing")]
        {
            let now = self.clouds[1].server(server)?;
            ensure!(now.task_state.as_deref() == Some(task), "{task}: {}", now.line());
        }
        self.cluster.broker.run_again()?;
        self.succeeds(paused, &pause, "PAUSED", "paused")?;
        self.succeeds(suspended, &suspend, "SUSPENDED", "shut off")?;
        self.succeeds(rescued, &rescue, "RESCUE", "running")
    }

    /// Row 12: servers are deleted meanwhile.
    fn deleted_without_broker(&self) -> Result<()> {
        self.cluster.broker.kill()?;
        for server in self.servers {
            let path = format!("/servers/{server}");
            self.clouds[0].send("DELETE", Service::Compute, &path, None)?.expect(204)?;
        }
        self.cluster.broker.run_again()?;
        for server in self.servers {
            let path = format!("/servers/{server}");
            operation().until("end of the delete", || {
                let answer = self.clouds[1].send("GET", Service::Compute, &path, None)?;
                Ok((answer.status == 404).then_some(()))
            })?;
            // What is not there any more for its owner is not there any more.
            let left = (virt::qemu_pid(server)?, self.cluster.virt.state(server)?);
            ensure!(left == (None, None), "{left:?} is left");
            ensure!(!self.cluster.file(0, server, "").exists(), "files are left");
        }
        Ok(())
    }
}

#[test]
fn what_is_asked_while_somebody_is_away_is_done_and_told() -> Result<()> {
    let mut scene = Scene::set()?;
    let told = |scene: &Scene| format!("they said:\n{}", scene.cluster.said());
    scene.race().with_context(|| told(&scene))?;
    scene.without_compute().with_context(|| told(&scene))?;
    scene.without_images().with_context(|| told(&scene))?;
    scene.without_broker().with_context(|| told(&scene))?;
    scene.deleted_without_broker().with_context(|| told(&scene))
}
