//! Rules through the real router: which one refuses what, and that an operator's rules count.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says by panicking what is wrong"
)]

mod support;

use reprieve_core::{InstanceId, ProjectId, UserId};
use reprieve_store::identity::{ProjectRecord, RoleRecord, UserRecord};
use serde_json::{Value, json};
use support::{Ask, Cloud, IMAGE, PROJECT, Reply};

const VERSION: &str = "2.96";
const PASSWORD: &str = "a password of a test";
/// Another project than the server's.
const ELSEWHERE: &str = "00000000000000000000000000000e15";

/// A token of a new user with one role in a project; project and role are made if they are not
/// there.
async fn token(cloud: &Cloud, role: &str, project: &str) -> String {
    let store = &cloud.control.store;
    let created_at = cloud.control.clock.now();
    let project_id = ProjectId::from(project);
    let record = match store.project(&project_id).await.unwrap() {
        Some(record) => record,
        None => {
            let record = ProjectRecord {
                id: project_id.clone(),
                name: format!("project of {role}s"),
                enabled: true,
                description: String::new(),
                created_at,
            };
            store.create_project(record.clone()).await.unwrap();
            record
        }
    };
    let role = match store.roles(Some(role)).await.unwrap().pop() {
        Some(role) => role,
        None => {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let record = RoleRecord { id, name: role.into(), description: None };
            store.create_role(record.clone()).await.unwrap();
            record
        }
    };
    let id = UserId::from(uuid::Uuid::new_v4().simple().to_string());
    let user = UserRecord {
        id: id.clone(),
        name: id.to_string(),
        enabled: true,
        default_project: None,
        description: None,
        email: None,
        created_at,
    };
    store.create_user(user, None).await.unwrap();
    store.assign_role(&id, &project_id, &role.id).await.unwrap();
    let body = json!({"user": {"password": PASSWORD}});
    let path = format!("/identity/v3/users/{id}");
    let patch = Ask {
        method: "PATCH",
        path: &path,
        token: &cloud.admin,
        body: Some(body.to_string().into_bytes()),
        ..Ask::default()
    };
    assert_eq!(cloud.ask(&patch).await.status, 200);
    cloud.token(id.as_str(), PASSWORD, &record.name).await
}

async fn act(cloud: &Cloud, token: &str, id: InstanceId, body: Value) -> Reply {
    cloud.compute("POST", &format!("servers/{id}/action"), (token, VERSION, body)).await
}

async fn get(cloud: &Cloud, token: &str, path: &str) -> Reply {
    cloud.compute("GET", path, (token, VERSION, Value::Null)).await
}

/// Status and text of a refusal.
fn refusal(reply: &Reply) -> (u16, &str) {
    let fault = reply.body.as_object().and_then(|body| body.values().next());
    let text = fault.and_then(|fault| fault["message"].as_str()).unwrap_or_default();
    (reply.status, text)
}

fn forbidden(rule: &str) -> String {
    format!("Policy doesn't allow {rule} to be performed.")
}

#[tokio::test]
async fn a_role_of_the_operators_may_pause_and_nothing_else() {
    let pause = "os_compute_api:os-pause-server:pause";
    let cloud = Cloud::with_policy(&[
        ("operators", "role:operator and project_id:%(project_id)s"),
        (pause, "rule:operators or rule:context_is_admin"),
    ])
    .await;
    let id = cloud.active_server().await;
    let operator = token(&cloud, "operator", PROJECT).await;
    let stranger = token(&cloud, "operator", ELSEWHERE).await;

    let refused = act(&cloud, &cloud.member, id, json!({"pause": null})).await;
    assert_eq!(refusal(&refused), (403, forbidden(pause).as_str()));
    let refused = act(&cloud, &operator, id, json!({"suspend": null})).await;
    let suspend = forbidden("os_compute_api:os-suspend-server:suspend");
    assert_eq!(refusal(&refused), (403, suspend.as_str()));
    // Who is of another project does not learn that there is a server.
    let unknown = format!("Instance {id} could not be found.");
    for body in
        [json!({"pause": null}), json!({"suspend": null}), json!({"rebuild": {"imageRef": IMAGE}})]
    {
        assert_eq!(refusal(&act(&cloud, &stranger, id, body).await), (404, unknown.as_str()));
    }
    assert_eq!(act(&cloud, &operator, id, json!({"pause": null})).await.status, 202);
}

#[tokio::test]
async fn members_may_be_kept_from_rescuing_and_from_key_pairs() {
    let (rescue, keys) = ("os_compute_api:os-rescue", "os_compute_api:os-keypairs:create");
    let cloud = Cloud::with_policy(&[(rescue, "role:admin"), (keys, "!")]).await;
    let id = cloud.active_server().await;
    let refused = act(&cloud, &cloud.member, id, json!({"rescue": null})).await;
    assert_eq!(refusal(&refused), (403, forbidden(rescue).as_str()));
    assert_eq!(act(&cloud, &cloud.admin, id, json!({"rescue": null})).await.status, 200);
    let body = json!({"keypair": {"name": "k"}});
    let refused = cloud.compute("POST", "os-keypairs", (&cloud.member, "2.1", body)).await;
    assert_eq!(refusal(&refused), (403, forbidden(keys).as_str()));
    assert_eq!(get(&cloud, &cloud.member, "os-keypairs").await.status, 200);
}

#[tokio::test]
async fn who_is_an_administrator_is_a_rule() {
    let cloud = Cloud::with_policy(&[("context_is_admin", "role:boss")]).await;
    let id = cloud.active_server().await;
    let boss = token(&cloud, "boss", ELSEWHERE).await;
    // Borders of projects and locks are none for a boss, and they are for an administrator.
    assert_eq!(act(&cloud, &cloud.member, id, json!({"lock": null})).await.status, 202);
    let path = format!("servers/{id}");
    assert_eq!(get(&cloud, &cloud.admin, &path).await.status, 404);
    let shown = get(&cloud, &boss, &path).await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.body["server"]["host_status"], "UP");
    let all = get(&cloud, &boss, "servers?all_tenants=1").await;
    assert_eq!(all.body["servers"].as_array().map(Vec::len), Some(1));
    let refused = get(&cloud, &cloud.admin, "servers?all_tenants=1").await;
    let rule = forbidden("os_compute_api:servers:index:get_all_tenants");
    assert_eq!(refusal(&refused), (403, rule.as_str()));
    assert_eq!(act(&cloud, &boss, id, json!({"pause": null})).await.status, 202);
}

#[tokio::test]
async fn rules_decide_what_is_shown() {
    let cloud = Cloud::with_policy(&[
        ("os_compute_api:os-extended-server-attributes", "rule:project_member_or_admin"),
        ("os_compute_api:servers:show:flavor-extra-specs", "!"),
        ("os_compute_api:os-flavor-extra-specs:index", "!"),
        ("os_compute_api:servers:show:host_status:unknown-only", "@"),
        ("os_compute_api:servers:detail:get_all_tenants", "role:reader"),
        ("os_compute_api:os-instance-actions:events", "role:member"),
    ])
    .await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}");
    let server = &cloud.get(&path, VERSION).await.1["server"];
    assert_eq!(server["OS-EXT-SRV-ATTR:host"], "vm");
    assert_eq!(server["flavor"].get("extra_specs"), None);
    // The host is up, which only the other rule lets see.
    assert_eq!(server.get("host_status"), None);
    let flavor = &get(&cloud, &cloud.member, "flavors/1").await.body["flavor"];
    assert_eq!((flavor["vcpus"].clone(), flavor.get("extra_specs")), (json!(1), None));
    let reader = token(&cloud, "reader", ELSEWHERE).await;
    let all = get(&cloud, &reader, "servers/detail?all_tenants=1").await;
    let found = &all.body["servers"][0];
    assert_eq!(found["id"], id.to_string());
    // The list may be read; where the servers of others run may not.
    assert_eq!(found.get("OS-EXT-SRV-ATTR:host"), None);
    let actions = get(&cloud, &cloud.member, &format!("{path}/os-instance-actions")).await;
    let request = actions.body["instanceActions"][0]["request_id"].as_str().unwrap().to_owned();
    let action = get(&cloud, &cloud.member, &format!("{path}/os-instance-actions/{request}")).await;
    assert!(action.body["instanceAction"]["events"][0].get("traceback").is_some());
}

#[tokio::test]
async fn refusals_name_the_rule() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let nobody = token(&cloud, "cook", PROJECT).await;
    let metadata = || json!({"metadata": {"k": "v"}});
    let affinity = || json!({"server_group": {"name": "g", "policy": "affinity"}});
    let asked = (cloud.member.as_str(), VERSION, affinity());
    let made = cloud.compute("POST", "os-server-groups", asked).await;
    let group = made.body["server_group"]["id"].as_str().unwrap();
    for (method, path, body, rule) in [
        ("GET", "servers/{id}", Value::Null, "servers:show"),
        ("PUT", "servers/{id}", json!({"server": {"name": "x"}}), "servers:update"),
        ("DELETE", "servers/{id}", Value::Null, "servers:delete"),
        ("GET", "servers/{id}/metadata", Value::Null, "server-metadata:index"),
        ("POST", "servers/{id}/metadata", metadata(), "server-metadata:create"),
        ("PUT", "servers/{id}/metadata", metadata(), "server-metadata:update_all"),
        ("GET", "servers/{id}/metadata/k", Value::Null, "server-metadata:show"),
        ("PUT", "servers/{id}/metadata/k", json!({"meta": {"k": "v"}}), "server-metadata:update"),
        ("DELETE", "servers/{id}/metadata/k", Value::Null, "server-metadata:delete"),
        ("GET", "servers/{id}/tags", Value::Null, "os-server-tags:index"),
        ("PUT", "servers/{id}/tags", json!({"tags": ["t"]}), "os-server-tags:update_all"),
        ("DELETE", "servers/{id}/tags", Value::Null, "os-server-tags:delete_all"),
        ("GET", "servers/{id}/tags/t", Value::Null, "os-server-tags:show"),
        ("PUT", "servers/{id}/tags/t", Value::Null, "os-server-tags:update"),
        ("DELETE", "servers/{id}/tags/t", Value::Null, "os-server-tags:delete"),
        ("GET", "servers/{id}/ips", Value::Null, "ips:index"),
        ("GET", "servers/{id}/ips/net", Value::Null, "ips:show"),
        ("GET", "servers/{id}/os-security-groups", Value::Null, "os-security-groups:list"),
        ("GET", "servers/{id}/os-interface", Value::Null, "os-attach-interfaces:list"),
        ("GET", "servers/{id}/os-volume_attachments", Value::Null, "os-volumes-attachments:index"),
        ("GET", "servers/{id}/os-instance-actions", Value::Null, "os-instance-actions:list"),
        ("GET", "servers/{id}/os-instance-actions/x", Value::Null, "os-instance-actions:show"),
        ("GET", "flavors/1/os-extra_specs", Value::Null, "os-flavor-extra-specs:index"),
        ("GET", "flavors/1/os-extra_specs/k", Value::Null, "os-flavor-extra-specs:show"),
        ("GET", "os-keypairs?user_id=x", Value::Null, "os-keypairs:index"),
        ("GET", "os-keypairs/k?user_id=x", Value::Null, "os-keypairs:show"),
        ("DELETE", "os-keypairs/k?user_id=x", Value::Null, "os-keypairs:delete"),
        ("GET", "limits?tenant_id=x", Value::Null, "limits:other_project"),
        ("GET", "os-server-groups", Value::Null, "os-server-groups:index"),
        ("POST", "os-server-groups", affinity(), "os-server-groups:create"),
        ("GET", "os-server-groups/{group}", Value::Null, "os-server-groups:show"),
        ("DELETE", "os-server-groups/{group}", Value::Null, "os-server-groups:delete"),
        ("GET", "os-quota-sets/x", Value::Null, "os-quota-sets:show"),
        ("GET", "os-quota-sets/x/detail", Value::Null, "os-quota-sets:detail"),
        ("PUT", "os-quota-sets/x", json!({"quota_set": {}}), "os-quota-sets:update"),
        ("DELETE", "os-quota-sets/x", Value::Null, "os-quota-sets:delete"),
        ("GET", "os-quota-class-sets/x", Value::Null, "os-quota-class-sets:show"),
        ("GET", "os-simple-tenant-usage", Value::Null, "os-simple-tenant-usage:list"),
        ("GET", "os-simple-tenant-usage/x", Value::Null, "os-simple-tenant-usage:show"),
    ] {
        let path = path.replace("{id}", &id.to_string()).replace("{group}", group);
        let reply = cloud.compute(method, &path, (&nobody, VERSION, body)).await;
        let expected = forbidden(&format!("os_compute_api:{rule}"));
        assert_eq!(refusal(&reply), (403, expected.as_str()), "{method} {path}");
    }
}

/// What of Nova is not here: first its refusals, then 501.
#[tokio::test]
async fn foreign_actions_are_refused_as_nova_refuses_them() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let reader = token(&cloud, "reader", PROJECT).await;
    let manager = token(&cloud, "manager", PROJECT).await;
    let migrate_live = json!({"os-migrateLive": {"block_migration": "auto", "host": null}});
    let backup = json!({"createBackup": {"name": "b", "backup_type": "daily", "rotation": 1}});
    for (body, rule, allowed) in [
        (json!({"rebuild": {"imageRef": IMAGE}}), "servers:rebuild", &cloud.member),
        (json!({"resize": {"flavorRef": "2"}}), "servers:resize", &cloud.member),
        (json!({"createImage": {"name": "i"}}), "servers:create_image", &cloud.member),
        (backup, "os-create-backup", &cloud.member),
        (json!({"shelve": null}), "os-shelve:shelve", &cloud.member),
        (json!({"changePassword": {"adminPass": "x"}}), "os-admin-password", &cloud.member),
        (json!({"trigger_crash_dump": null}), "servers:trigger_crash_dump", &cloud.member),
        (json!({"addSecurityGroup": {"name": "g"}}), "os-security-groups:add", &cloud.member),
        (json!({"migrate": null}), "os-migrate-server:migrate", &manager),
        (migrate_live, "os-migrate-server:migrate_live", &manager),
        (json!({"injectNetworkInfo": null}), "os-admin-actions:inject_network_info", &cloud.admin),
    ] {
        let refused = act(&cloud, &reader, id, body.clone()).await;
        let expected = forbidden(&format!("os_compute_api:{rule}"));
        assert_eq!(refusal(&refused), (403, expected.as_str()), "{body}");
        let name = body.as_object().unwrap().keys().next().unwrap();
        let expected = format!("The action '{name}' is not supported.");
        let reply = act(&cloud, allowed, id, body.clone()).await;
        assert_eq!(refusal(&reply), (501, expected.as_str()));
    }
    for (token, body, status, text) in [
        (
            &cloud.member,
            json!({"migrate": null}),
            403,
            forbidden("os_compute_api:os-migrate-server:migrate"),
        ),
        (
            &manager,
            json!({"migrate": {"host": "h"}}),
            403,
            forbidden("os_compute_api:os-migrate-server:migrate:host"),
        ),
        (&cloud.member, json!({"evacuate": {}}), 403, forbidden("os_compute_api:os-evacuate")),
        (
            &cloud.admin,
            json!({"evacuate": {}}),
            400,
            "Compute service of vm is still in use.".into(),
        ),
        (&cloud.admin, json!({"evacuate": {"host": "h"}}), 404, "Compute host h not found.".into()),
        (
            &cloud.admin,
            json!({"evacuate": {"host": "vm"}}),
            400,
            "The target host can't be the same one.".into(),
        ),
        (
            &cloud.member,
            json!({"createImage": {}}),
            400,
            "Invalid input for field/attribute createImage. Value: {}. 'name' is a required \
             property"
                .into(),
        ),
        (
            &cloud.member,
            json!({"unshelve": null}),
            409,
            format!("Cannot 'unshelve' instance {id} while it is in vm_state active"),
        ),
    ] {
        let reply = act(&cloud, token, id, body.clone()).await;
        assert_eq!(refusal(&reply), (status, text.as_str()), "{body}");
    }
    assert_eq!(act(&cloud, &cloud.member, id, json!({"lock": null})).await.status, 202);
    for (body, status, text) in [
        (json!({"shelve": null}), 409, format!("Instance {id} is locked")),
        (
            json!({"restore": null}),
            409,
            format!("Instance {id} is in an invalid state for 'restore'"),
        ),
        (
            json!({"createImage": {"name": "i"}}),
            501,
            "The action 'createImage' is not supported.".into(),
        ),
    ] {
        let reply = act(&cloud, &cloud.member, id, body).await;
        assert_eq!(refusal(&reply), (status, text.as_str()));
    }
    assert_eq!(act(&cloud, &cloud.admin, id, json!({"pause": null})).await.status, 202);
    let reply = act(&cloud, &cloud.admin, id, json!({"createImage": {"name": "i"}})).await;
    let busy = format!("Cannot 'createImage' instance {id} while it is in task_state pausing");
    assert_eq!(refusal(&reply), (409, busy.as_str()));
}

/// A flavor without disk: the image decides how much of a host a server takes.
#[tokio::test]
async fn servers_without_a_disk_size_are_for_who_may() {
    let rule = "os_compute_api:servers:create:zero_disk_flavor";
    let member = "rule:project_member_or_admin";
    for (rules, allowed) in [(&[][..], false), (&[(rule, member)], true)] {
        let cloud = Cloud::with_policy(rules).await;
        let flavor = json!({"flavor": {"name": "f", "id": "f", "ram": 64, "vcpus": 1, "disk": 0}});
        let made = cloud.compute("POST", "flavors", (&cloud.admin, VERSION, flavor)).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let server = json!({"server": {
            "name": "s", "imageRef": IMAGE, "flavorRef": "f", "networks": "none",
        }});
        let asked = (cloud.member.as_str(), VERSION, server.clone());
        let reply = cloud.compute("POST", "servers", asked).await;
        if allowed {
            assert_eq!(reply.status, 202, "{}", reply.body);
        } else {
            let text = "Only volume-backed servers are allowed for flavors with zero disk.";
            assert_eq!(refusal(&reply), (403, text));
        }
        let made = cloud.compute("POST", "servers", (&cloud.admin, VERSION, server)).await;
        assert_eq!(made.status, 202, "{}", made.body);
    }
}

/// Other services tell of events of any project's servers, and that is all that they may.
#[tokio::test]
async fn the_role_service_is_for_external_events_only() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let service = token(&cloud, "service", ELSEWHERE).await;
    let manager = token(&cloud, "manager", PROJECT).await;
    let rule = forbidden("os_compute_api:os-server-external-events:create");
    let tell = async |token: &str| {
        let event = json!({"name": "network-changed", "server_uuid": id.to_string()});
        let asked = (token, VERSION, json!({"events": [event]}));
        cloud.compute("POST", "os-server-external-events", asked).await
    };
    for token in [&service, &cloud.admin] {
        let told = tell(token).await;
        assert_eq!((told.status, &told.body["events"][0]["code"]), (200, &json!(200)));
    }
    for token in [&cloud.member, &manager] {
        assert_eq!(refusal(&tell(token).await), (403, rule.as_str()));
    }
    let unknown = format!("Instance {id} could not be found.");
    assert_eq!(refusal(&get(&cloud, &service, &format!("servers/{id}")).await).0, 404);
    assert_eq!(refusal(&act(&cloud, &service, id, json!({"pause": null})).await).1, unknown);
    for (path, rule) in [
        ("servers", "servers:index"),
        ("os-services", "os-services:list"),
        ("os-hypervisors", "os-hypervisors:list"),
        ("os-server-groups", "os-server-groups:index"),
        ("flavors/1/os-extra_specs", "os-flavor-extra-specs:index"),
    ] {
        let expected = forbidden(&format!("os_compute_api:{rule}"));
        assert_eq!(refusal(&get(&cloud, &service, path).await), (403, expected.as_str()));
    }
}
