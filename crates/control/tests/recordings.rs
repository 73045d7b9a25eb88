//! Answers of a real Nova (26.2, microversions up to 2.93), replayed against our router.
//!
//! Each recording in `recordings/` is a request and what Nova answered. A test brings the store into
//! the state that Nova was in, sends the same request, and expects the same status and the same
//! body, with ids, times and generated secrets masked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says by panicking what is wrong"
)]

mod compare;
mod support;

use std::collections::BTreeMap;

use compare::{masked, shape};
use reprieve_core::InstanceId;
use reprieve_core::quota::{Resource, UNLIMITED};
use serde_json::{Map, Value, json};
use support::{Ask, Cloud, IMAGE, Reply};

/// One recording.
type Recording = Map<String, Value>;

/// Those of one file, by name.
struct Recordings(BTreeMap<String, Recording>);

macro_rules! recordings {
    ($name:literal) => {
        Recordings(
            serde_json::from_str(include_str!(concat!("recordings/", $name, ".json"))).unwrap(),
        )
    };
}

/// A cloud as the recorded Nova was set up: without limits on servers.
async fn recorded_cloud() -> Cloud {
    let cloud = Cloud::new().await;
    let servers = [Resource::Instances, Resource::Cores, Resource::Ram];
    let limits = servers.map(|resource| (resource, UNLIMITED)).into();
    let store = &cloud.control.store;
    store.set_quota_limits(&support::PROJECT.into(), None, &limits).await.unwrap();
    cloud
}

/// Who asks, and what the placeholders in paths stand for.
#[derive(Clone, Copy)]
struct As<'a> {
    token: &'a str,
    server: Option<InstanceId>,
}

impl Recordings {
    fn get(&self, name: &str) -> &Recording {
        self.0.get(name).unwrap_or_else(|| panic!("there is no recording {name}"))
    }

    async fn send(&self, cloud: &Cloud, name: &str, by: As<'_>) -> Reply {
        let recording = self.get(name);
        let text = |key: &str| recording.get(key).and_then(Value::as_str);
        let server = by.server.map(|id| id.to_string()).unwrap_or_default();
        let path = text("path").unwrap().replace("{server}", &server).replace("{failed}", &server);
        let anonymous = recording.contains_key("anonymous");
        let mut headers = Vec::new();
        headers.extend(text("version").map(|version| ("openstack-api-version", version)));
        headers.extend(
            text("legacy_version").map(|version| ("x-openstack-nova-api-version", version)),
        );
        headers.extend(text("content_type").map(|kind| ("content-type", kind)));
        let body = recording.get("body").map(|body| match body {
            Value::String(raw) => raw.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        });
        let token = if anonymous { "" } else { by.token };
        let method = text("method").unwrap();
        cloud.ask(&Ask { method, path: &path, token, headers, body }).await
    }

    /// Sends the request and expects the recorded answer.
    async fn replay(&self, cloud: &Cloud, name: &str, by: As<'_>) -> Reply {
        let reply = self.send(cloud, name, by).await;
        let recorded = self.get(name);
        assert_eq!(json!(reply.status), recorded["status"], "{name}: {}", reply.body);
        assert_eq!(masked(&reply.body), masked(&recorded["answer"]), "{name}");
        reply
    }

    /// Sends the request and expects an answer with the same keys and types.
    async fn replay_shape(&self, cloud: &Cloud, name: &str, by: As<'_>) {
        let reply = self.send(cloud, name, by).await;
        let recorded = self.get(name);
        assert_eq!(json!(reply.status), recorded["status"], "{name}: {}", reply.body);
        assert_eq!(shape(&reply.body), shape(&recorded["answer"]), "{name}");
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        self.0.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }
}

/// The server `rec-1` of the recordings, being built.
async fn create_recorded(cloud: &Cloud) -> InstanceId {
    let keys = recordings!("keypairs");
    let member = As { token: &cloud.member, server: None };
    let mut body = keys.get("keypairs/create_import_mv2.93")["body"].clone();
    body["keypair"]["name"] = json!("kp1");
    let made = cloud.compute("POST", "os-keypairs", (&cloud.member, "2.93", body)).await;
    assert_eq!(made.status, 201);
    let reply = recordings!("create").replay(cloud, "create/server_mv2.93", member).await;
    let id: InstanceId = reply.body["server"]["id"].as_str().unwrap().parse().unwrap();
    let location = reply.headers["location"].to_str().unwrap();
    assert_eq!(location, format!("http://127.0.0.1:8774/v2.1/servers/{id}"));
    id
}

#[tokio::test]
async fn discovery() {
    let cloud = recorded_cloud().await;
    let all = recordings!("discovery");
    let member = As { token: &cloud.member, server: None };
    let admin = As { token: &cloud.admin, server: None };
    for name in [
        "discovery/root",
        "discovery/root_post",
        "discovery/v2.1_slash",
        "discovery/v2.1_noslash",
        "discovery/v2.1_slash_with_token",
        "discovery/v2_slash",
        "discovery/v3_unknown",
        "discovery/nonsense",
        "discovery/v2.1_unknown_resource",
        "discovery/v2_legacy_servers",
    ] {
        all.replay(&cloud, name, member).await;
    }
    let reply = all.replay(&cloud, "discovery/v2_legacy_servers", member).await;
    assert!(!reply.headers.contains_key("openstack-api-version"));
    // Recorded with the administrator's project in the URL.
    let refused = all.send(&cloud, "discovery/v2.1_wrong_projectid_in_url", member).await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.body["badRequest"]["message"],
        format!(
            "Malformed request URL: URL's project_id '00000000000000000000000000000000' doesn't \
             match Context's project_id '{}'",
            support::PROJECT
        )
    );
    all.replay(&cloud, "discovery/root", admin).await;
    let own = format!("{}/servers", support::PROJECT);
    assert_eq!(cloud.get(&own, "2.1").await, (200, json!({"servers": []})));
    // Below its prefix the service says so in its links.
    let below = cloud.ask(&Ask { method: "GET", path: "/compute/", ..Ask::default() }).await;
    assert_eq!(
        below.body["versions"][1]["links"][0]["href"],
        "http://127.0.0.1:8774/compute/v2.1/"
    );
}

#[tokio::test]
async fn requests_that_go_wrong_before_any_server() {
    let cloud = recorded_cloud().await;
    let all = recordings!("requests");
    let member = As { token: &cloud.member, server: Some(cloud.active_server().await) };
    for name in all.0.keys() {
        if name == "errors/404/other_projects_server_show"
            || name == "errors/404/other_projects_server_pause"
        {
            continue;
        }
        let reply = all.replay(&cloud, name, member).await;
        let id = &reply.headers["x-openstack-request-id"];
        assert!(id.to_str().unwrap().starts_with("req-"));
        assert_eq!(id, reply.headers["x-compute-request-id"]);
    }
    let reply = all.replay(&cloud, "errors/microversion_too_high", member).await;
    assert_eq!(reply.headers["openstack-api-version"], "compute 2.999");
    assert_eq!(reply.headers.get_all("vary").iter().count(), 2);
    let reply = all.replay(&cloud, "errors/401/no_token", member).await;
    assert_eq!(
        reply.headers["www-authenticate"],
        "Keystone uri=\"http://127.0.0.1:8774/identity/v3\""
    );
}

#[tokio::test]
async fn servers_of_other_projects_do_not_exist() {
    let cloud = recorded_cloud().await;
    let body = json!({"server": {"name": "s", "imageRef": IMAGE, "flavorRef": "1"}});
    let made = cloud.compute("POST", "servers", (&cloud.admin, "2.1", body)).await;
    let id = made.body["server"]["id"].as_str().unwrap().parse().unwrap();
    let member = As { token: &cloud.member, server: Some(id) };
    for name in ["errors/404/other_projects_server_show", "errors/404/other_projects_server_pause"]
    {
        let mut all = recordings!("requests");
        let recording = all.0.get_mut(name).unwrap();
        let path = recording["path"].as_str().unwrap();
        let tail = if path.ends_with("/action") { "/action" } else { "" };
        recording.insert("path".into(), json!(format!("/v2.1/servers/{id}{tail}")));
        all.replay(&cloud, name, member).await;
    }
}

#[tokio::test]
async fn creating() {
    let cloud = recorded_cloud().await;
    let all = recordings!("create");
    let member = As { token: &cloud.member, server: None };
    create_recorded(&cloud).await;
    for name in all.0.keys() {
        all.replay(&cloud, name, member).await;
    }
}

#[tokio::test]
async fn showing_in_every_state() {
    let cloud = recorded_cloud().await;
    let all = recordings!("show");
    let id = create_recorded(&cloud).await;
    let member = As { token: &cloud.member, server: Some(id) };
    let admin = As { token: &cloud.admin, ..member };
    all.replay(&cloud, "show/BUILD_early_mv2.93", member).await;
    cloud.settle(id).await;
    let by = |name: &str| if name.ends_with("_admin") { admin } else { member };
    for name in all.names("show/ACTIVE") {
        all.replay(&cloud, &name, by(&name)).await;
    }
    let actions = recordings!("actions");
    // (action, what is seen at once, then settled as)
    for (action, transient, settled) in [
        ("actions/pause", None, Some("show/PAUSED")),
        ("actions/unpause", None, None),
        ("actions/suspend", Some("show/transient_after_suspend"), Some("show/SUSPENDED")),
        ("actions/resume", None, None),
        ("actions/os-stop_2", Some("show/transient_after_os-stop"), Some("show/SHUTOFF")),
        ("actions/os-start", Some("show/transient_after_os-start"), None),
        (
            "actions/rescue_adminPass",
            Some("show/transient_after_rescue_adminPass"),
            Some("show/RESCUE"),
        ),
        ("actions/unrescue", Some("show/transient_after_unrescue_2"), None),
        ("actions/reboot_hard", Some("show/transient_after_reboot_hard"), None),
    ] {
        actions.replay(&cloud, action, member).await;
        if let Some(transient) = transient {
            all.replay(&cloud, transient, admin).await;
        }
        cloud.settle(id).await;
        for name in settled.map(|prefix| all.names(prefix)).unwrap_or_default() {
            all.replay(&cloud, &name, by(&name)).await;
        }
    }
    // When this was recorded, the server had been renamed and had a tag.
    let misc = recordings!("misc");
    misc.replay(&cloud, "misc/tag_put", member).await;
    misc.replay(&cloud, "misc/server_update", member).await;
    actions.replay(&cloud, "actions/delete", member).await;
    all.replay(&cloud, "show/transient_after_delete", admin).await;
    cloud.settle(id).await;
    assert_eq!(cloud.get(&format!("servers/{id}"), "2.96").await.0, 404);
}

#[tokio::test]
async fn conflicts_in_every_state() {
    let cloud = recorded_cloud().await;
    let all = recordings!("conflicts");
    let id = cloud.active_server().await;
    let member = As { token: &cloud.member, server: Some(id) };
    for (state, way_in, way_out) in [
        ("ACTIVE", None, None),
        ("PAUSED", Some(json!({"pause": null})), Some(json!({"unpause": null}))),
        ("SUSPENDED", Some(json!({"suspend": null})), Some(json!({"resume": null}))),
        ("RESCUED", Some(json!({"rescue": {}})), Some(json!({"unrescue": null}))),
        ("STOPPED", Some(json!({"os-stop": null})), Some(json!({"os-start": null}))),
    ] {
        act(&cloud, id, way_in).await;
        for name in all.names(&format!("errors/409/{state}_")) {
            all.replay(&cloud, &name, member).await;
        }
        act(&cloud, id, way_out).await;
    }
    let path = format!("servers/{id}/action");
    let reset = json!({"os-resetState": {"state": "error"}});
    assert_eq!(cloud.compute("POST", &path, (&cloud.admin, "2.1", reset)).await.status, 202);
    for name in all.names("errors/409/ERROR_") {
        all.replay(&cloud, &name, member).await;
    }
    let reset = json!({"os-resetState": {"state": "active"}});
    assert_eq!(cloud.compute("POST", &path, (&cloud.admin, "2.1", reset)).await.status, 202);
    let suspend = json!({"suspend": null});
    assert_eq!(cloud.compute("POST", &path, (&cloud.member, "2.1", suspend)).await.status, 202);
    all.replay(&cloud, "errors/409/task_state_suspending_rescue", member).await;
    cloud.settle(id).await;
}

#[tokio::test]
async fn locks() {
    let cloud = recorded_cloud().await;
    let (all, actions) = (recordings!("conflicts"), recordings!("actions"));
    let id = cloud.active_server().await;
    let member = As { token: &cloud.member, server: Some(id) };
    let admin = As { token: &cloud.admin, ..member };
    actions.replay(&cloud, "actions/lock_reason", member).await;
    let (_, shown) = cloud.get(&format!("servers/{id}"), "2.96").await;
    assert_eq!(shown["server"]["locked"], true);
    assert!(shown["server"]["locked_reason"].is_string());
    for name in all.names("errors/locked_") {
        if !name.contains("by_admin") {
            all.replay(&cloud, &name, member).await;
        }
    }
    actions.replay(&cloud, "actions/unlock", member).await;
    actions.replay(&cloud, "actions/lock_by_admin_mv2.1", admin).await;
    all.replay(&cloud, "errors/locked_by_admin_pause", member).await;
    all.replay(&cloud, "errors/locked_by_admin_unlock_as_member", member).await;
    actions.replay(&cloud, "actions/pause_locked_by_admin_as_admin", admin).await;
    cloud.settle(id).await;
    actions.replay(&cloud, "actions/unpause_locked_as_admin", admin).await;
}

#[tokio::test]
async fn actions_with_odd_bodies() {
    let cloud = recorded_cloud().await;
    let all = recordings!("actions");
    let id = cloud.active_server().await;
    let member = As { token: &cloud.member, server: Some(id) };
    for name in all.names("errors/rescue_") {
        all.replay(&cloud, &name, member).await;
        if cloud.under_way(id).await.is_some() {
            cloud.settle(id).await;
            act(&cloud, id, Some(json!({"unrescue": null}))).await;
        }
    }
    for name in all.names("errors/body_tolerance/") {
        all.replay(&cloud, &name, member).await;
        cloud.settle(id).await;
        let back = if name.contains("pause") { "unpause" } else { "resume" };
        act(&cloud, id, Some(json!({back: null}))).await;
    }
    for name in ["console/bad_length", "console/null_body"] {
        all.replay(&cloud, name, member).await;
    }
    act(&cloud, id, Some(json!({"os-stop": null}))).await;
    all.replay(&cloud, "console/SHUTOFF", member).await;
    act(&cloud, id, Some(json!({"os-start": null}))).await;
    all.replay(&cloud, "actions/delete", member).await;
    all.replay(&cloud, "errors/delete_twice_immediately", member).await;
    recordings!("conflicts").replay(&cloud, "errors/409/pause_while_deleting", member).await;
}

/// Does something to a server and waits for it.
async fn act(cloud: &Cloud, id: InstanceId, action: Option<Value>) {
    let Some(action) = action else { return };
    let path = format!("servers/{id}/action");
    let reply = cloud.compute("POST", &path, (&cloud.member, "2.96", action)).await;
    assert!(reply.status < 300, "{}", reply.body);
    cloud.settle(id).await;
}

#[tokio::test]
async fn a_server_without_a_host() {
    let cloud = recorded_cloud().await;
    let body = json!({"server": {
        "name": "novalid", "imageRef": IMAGE, "flavorRef": "99", "networks": "none",
    }});
    let made = cloud.compute("POST", "servers", (&cloud.member, "2.93", body)).await;
    let id: InstanceId = made.body["server"]["id"].as_str().unwrap().parse().unwrap();
    let member = As { token: &cloud.member, server: Some(id) };
    let misc = recordings!("misc");
    for name in misc.names("errors/409/ERROR_never_scheduled") {
        misc.replay(&cloud, &name, member).await;
    }
    let show = recordings!("show");
    for name in show.names("show/ERROR_no_valid_host") {
        let token = if name.ends_with("_admin") { &cloud.admin } else { &cloud.member };
        show.replay_shape(&cloud, &name, As { token, ..member }).await;
    }
    let reply = show.send(&cloud, "show/ERROR_no_valid_host_mv2.93", member).await;
    let fault = &reply.body["server"]["fault"];
    assert_eq!(fault["code"], 500);
    assert!(fault["message"].as_str().unwrap().starts_with("No valid host was found. "));
    let actions = recordings!("instance_actions");
    actions.replay(&cloud, "instance_actions/after_failed_create_list", member).await;
}

#[tokio::test]
async fn instance_actions() {
    let cloud = recorded_cloud().await;
    let all = recordings!("instance_actions");
    let id = create_recorded(&cloud).await;
    cloud.settle(id).await;
    let member = As { token: &cloud.member, server: Some(id) };
    all.replay(&cloud, "instance_actions/after_create_list", member).await;
    let show = async |name: &str, by: As<'_>| {
        let operation = cloud.control.store.operations_of(id).await.unwrap().remove(0);
        let mut all = recordings!("instance_actions");
        let path = format!("/v2.1/servers/{id}/os-instance-actions/{}", operation.request_id);
        all.0.get_mut(name).unwrap().insert("path".into(), json!(path));
        all.replay(&cloud, name, by).await;
    };
    let admin = As { token: &cloud.admin, ..member };
    show("instance_actions/after_create_show_create", member).await;
    show("instance_actions/after_create_show_create_admin", admin).await;
    show("instance_actions/after_create_show_create_mv2.1", member).await;
    act(&cloud, id, Some(json!({"pause": null}))).await;
    all.replay(&cloud, "instance_actions/after_pause_list", member).await;
    show("instance_actions/after_pause_show_pause", member).await;
    let server = format!("servers/{id}");
    let delete = cloud.compute("DELETE", &server, (&cloud.member, "2.1", Value::Null)).await;
    assert_eq!(delete.status, 204);
    cloud.settle(id).await;
    all.replay_shape(&cloud, "instance_actions/deleted_list", member).await;
    let path = format!("servers/{id}/os-instance-actions");
    assert_eq!(cloud.get(&path, "2.20").await.0, 404);
}

#[tokio::test]
async fn lists() {
    let cloud = recorded_cloud().await;
    let all = recordings!("list");
    let member = As { token: &cloud.member, server: None };
    for name in all.names("list/empty") {
        all.replay(&cloud, &name, member).await;
    }
    let id = create_recorded(&cloud).await;
    cloud.settle(id).await;
    for name in ["list/servers_mv2.1", "list/detail_mv2.60", "list/detail_mv2.93"] {
        all.replay(&cloud, name, member).await;
    }
    for name in [
        "list/detail_alltenants_member_403",
        "list/filter_changes_since_bad",
        "list/filter_limit_bad",
        "list/filter_limit_str",
        "list/filter_marker_bad",
        "list/filter_status_bogus",
        "list/filter_unknown_param",
        "list/filter_locked",
        "list/filter_ip6",
    ] {
        all.replay(&cloud, name, member).await;
    }
    // The valid keys are a set in Python: their order is different in each process.
    let reply = all.send(&cloud, "list/filter_sort_bad", member).await;
    let text = reply.body["badRequest"]["message"].as_str().unwrap();
    assert!(text.starts_with(
        "Invalid input for query parameters sort_key. Value: bogus. 'bogus' is not one of ['"
    ));
}

#[tokio::test]
async fn keypairs() {
    let cloud = recorded_cloud().await;
    let all = recordings!("keypairs");
    let member = As { token: &cloud.member, server: None };
    // Another key in each run; what is around it is the same.
    let made = all.send(&cloud, "keypairs/create_generated_mv2.1", member).await;
    assert_eq!(made.status, 200);
    assert_eq!(shape(&made.body), shape(&all.get("keypairs/create_generated_mv2.1")["answer"]));
    for name in [
        "keypairs/create_generated_mv2.93_refused",
        "keypairs/create_import_mv2.93",
        "keypairs/create_duplicate",
        "keypairs/create_bad_key",
        "keypairs/create_bad_name",
        "keypairs/show_missing",
    ] {
        all.replay(&cloud, name, member).await;
    }
    for name in [
        "keypairs/list_mv2.1",
        "keypairs/list_mv2.10",
        "keypairs/list_mv2.93",
        "keypairs/list_limit1",
        "keypairs/show_mv2.1",
        "keypairs/show_mv2.10",
    ] {
        all.replay_shape(&cloud, name, member).await;
    }
    all.replay(&cloud, "keypairs/delete", member).await;
    all.replay(&cloud, "keypairs/delete_404", member).await;
}

#[tokio::test]
async fn flavors() {
    let cloud = recorded_cloud().await;
    let all = recordings!("flavors");
    let member = As { token: &cloud.member, server: None };
    let admin = As { token: &cloud.admin, server: None };
    for name in all.names("misc/flavors") {
        all.replay(&cloud, &name, member).await;
    }
    for name in ["flavors/404", "flavors/detail_limit1", "flavors/minRam", "flavors/minRam_bad"] {
        all.replay(&cloud, name, member).await;
    }
    for name in ["flavors/create", "flavors/create_dup_name", "flavors/create_bad"] {
        all.replay(&cloud, name, admin).await;
    }
    all.replay(&cloud, "flavors/delete_huge", admin).await;
    all.replay(&cloud, "flavors/create_huge", admin).await;
}

#[tokio::test]
async fn everything_else() {
    let cloud = recorded_cloud().await;
    let all = recordings!("misc");
    let id = create_recorded(&cloud).await;
    cloud.settle(id).await;
    let member = As { token: &cloud.member, server: Some(id) };
    let admin = As { token: &cloud.admin, ..member };
    for name in all.names("misc/servers_ID") {
        all.replay(&cloud, &name, member).await;
    }
    for name in all.names("misc/os-quota").into_iter().chain(all.names("misc/os-server-groups")) {
        all.replay(&cloud, &name, member).await;
    }
    all.replay_shape(&cloud, "misc/limits_mv2.93", member).await;
    for name in ["misc/os-availability-zone_mv2.1", "misc/os-availability-zone_mv2.93"] {
        all.replay_shape(&cloud, name, member).await;
    }
    all.replay(&cloud, "misc/remote_console_disabled", member).await;
    let tagged = all.replay(&cloud, "misc/tag_put", member).await;
    assert!(tagged.headers["location"].to_str().unwrap().ends_with("/tags/t1"));
    let more = json!({"metadata": {"k2": "v2"}});
    let path = format!("servers/{id}/metadata");
    assert_eq!(cloud.compute("POST", &path, (&cloud.member, "2.93", more)).await.status, 200);
    all.replay(&cloud, "misc/metadata_delete", member).await;
    all.replay(&cloud, "misc/server_update", member).await;
    for name in ["admin/os-services_mv2.1", "admin/os-services_mv2.93"] {
        // Nova lists its scheduler and conductor first; here there are hosts only.
        let reply = all.send(&cloud, name, admin).await;
        let recorded = &all.get(name)["answer"]["services"];
        assert_eq!(shape(&reply.body["services"]), shape(recorded), "{name}");
    }
    for name in all.names("admin/os-hypervisors_mv").into_iter().chain([
        "admin/os-hypervisors_detail_mv2.87".to_owned(),
        "admin/os-hypervisors_detail_mv2.1".to_owned(),
        "admin/os-hypervisors_404".to_owned(),
        "admin/os-hypervisors_statistics_mv2.1".to_owned(),
        "admin/os-hypervisors_statistics_mv2.93".to_owned(),
    ]) {
        let reply = all.send(&cloud, &name, admin).await;
        let recorded = all.get(&name);
        assert_eq!(json!(reply.status), recorded["status"], "{name}");
        // What a CPU looks like differs between hypervisors, also in Nova.
        let without_cpu = |body: &Value| {
            let mut shape = shape(body);
            let cpu = shape.pointer_mut("/hypervisors/0/cpu_info");
            if let Some(cpu) = cpu.filter(|cpu| cpu.is_object()) {
                *cpu = json!("object");
            }
            shape
        };
        assert_eq!(without_cpu(&reply.body), without_cpu(&recorded["answer"]), "{name}");
    }
}
