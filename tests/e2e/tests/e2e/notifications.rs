//! Nova's notifications on a real RabbitMQ, taken by the library that programs use which were written
//! for Nova.

use anyhow::{Result, ensure};
use reprieve_e2e::lab::{Lab, OPERATION, Plan, with_plan};
use reprieve_test_daemons::Broker;
use serde_json::json;

/// What waits at the broker, until `last`: event, publisher, object, state.
fn events(lab: &Lab, broker: &Broker, last: &str) -> Result<Vec<String>> {
    let listener = lab.driver("listen")?.env("BROKER_URL", broker.oslo_url());
    let output = listener.args(["--until", last]).within(OPERATION * 2).ok()?;
    Ok(output.stdout.lines().map(str::to_owned).collect())
}

#[test]
fn oslo_messaging_hears_what_was_done_also_while_its_broker_was_away() -> Result<()> {
    let broker = Broker::start()?;
    let plan = Plan { notification_url: Some(broker.url()), ..Plan::default() };
    with_plan(plan, |lab| {
        let server = lab.boot(&lab.tiny("told")?)?;
        let heard = events(lab, &broker, "instance.create.end")?;
        let host = lab.host()?;
        let end = format!("instance.create.end nova-compute:{host} InstanceCreatePayload active");
        ensure!(heard.last() == Some(&end), "{heard:#?}");
        ensure!(heard.iter().any(|line| line.starts_with("instance.create.start ")), "{heard:#?}");

        // The operation does not wait for the broker, and nothing of it is missing afterwards.
        broker.kill()?;
        lab.cloud.perform(server.id, &json!({ "pause": null }), "PAUSED", OPERATION)?;
        broker.run_again()?;
        let heard = events(lab, &broker, "instance.pause.end")?;
        let paused = [
            format!("instance.update nova-api:{host} InstanceUpdatePayload active"),
            format!("instance.pause.start nova-compute:{host} InstanceActionPayload active"),
            format!("instance.update nova-compute:{host} InstanceUpdatePayload paused"),
            format!("instance.pause.end nova-compute:{host} InstanceActionPayload paused"),
        ];
        ensure!(heard == paused, "{heard:#?}");
        Ok(())
    })
}
