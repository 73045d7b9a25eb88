//! Flavors: who may use them, and which extra specs they may have.

use serde_json::{Value, json};

use crate::support::{Cloud, PROJECT};
use crate::{message, refused};

#[tokio::test]
async fn a_public_flavor_can_be_opened_until_2_6() {
    let cloud = Cloud::new().await;
    let add = json!({"addTenantAccess": {"tenant": PROJECT}});
    let by = |version, body: Value| (cloud.admin.as_str(), version, body);
    let path = ("POST", "flavors/1/action");
    let text = "Can not add access to a public flavor.";
    refused(&cloud, path, by("2.7", add.clone()), (409, text)).await;
    let reply = cloud.compute(path.0, path.1, by("2.6", add.clone())).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body["flavor_access"][0]["tenant_id"], PROJECT);
    let text =
        format!("Flavor access already exists for flavor 1 and project {PROJECT} combination.");
    refused(&cloud, path, by("2.6", add), (409, &text)).await;
    let wrong = json!({"addTenantAccess": {"tenant": 5}});
    let text = "Invalid input for field/attribute tenant. Value: 5. 5 is not of type 'string'";
    refused(&cloud, path, by("2.96", wrong), (400, text)).await;
    let more = json!({"removeTenantAccess": {"tenant": "p", "x": 1}});
    let reply = cloud.compute(path.0, path.1, by("2.96", more)).await;
    assert_eq!(reply.status, 400);
    assert!(message(&reply).contains("'x' was unexpected"));
}

#[tokio::test]
async fn extra_specs_are_checked_since_2_86() {
    let cloud = Cloud::new().await;
    let path = ("POST", "flavors/1/os-extra_specs");
    let by = |version, specs: Value| (cloud.admin.as_str(), version, json!({"extra_specs": specs}));
    let wrong = json!({"hw:cpu_polciy": "shared"});
    assert_eq!(cloud.compute(path.0, path.1, by("2.85", wrong.clone())).await.status, 200);
    let text = "Validation failed; extra spec 'hw:cpu_polciy' does not appear to be a valid extra \
                spec.";
    refused(&cloud, path, by("2.86", wrong), (400, text)).await;
    let good = json!({"hw:cpu_policy": "shared", "hw:numa_nodes": 2, "mine": "x"});
    assert_eq!(cloud.compute(path.0, path.1, by("2.86", good)).await.status, 200);
    let path = ("PUT", "flavors/1/os-extra_specs/hw:numa_nodes");
    let body = json!({"hw:numa_nodes": "0"});
    let text = "Validation failed; '0' is less than the min value of '1'.";
    refused(&cloud, path, (&cloud.admin, "2.86", body), (400, text)).await;
}
