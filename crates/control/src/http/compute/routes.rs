//! Which handler answers which path. Paths are below the version and the project.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post, put};

use super::call::prepare;
use super::fault::unrouted;
use super::hosts::{aggregates, hypervisors, services, zones};
use super::servers::{actions, consoles, diagnostics, facets, metadata, operations, tags};
use super::{extensions, external_events, image_proxy, migrations, versions, volumes_boot};
use super::{flavor_extras, flavors, groups, keypairs, limits, quotas, servers, usage};
use crate::Control;

/// Every resource. What is not here is 404 in the form of Nova's router, also a method that a
/// resource does not have.
pub fn resources(control: Arc<Control>) -> Router {
    of_servers()
        .merge(of_flavors())
        .merge(of_hosts())
        .merge(of_the_rest())
        .merge(of_small_things())
        .merge(of_images())
        .route_layer(middleware::from_fn_with_state(control, prepare))
        .method_not_allowed_fallback(async || unrouted())
        .fallback(async || unrouted())
}

fn of_servers() -> Router {
    Router::new()
        .route("/servers", get(servers::index).post(servers::create))
        .route("/servers/detail", get(servers::detail))
        .route("/servers/{id}", get(servers::show).put(servers::update).delete(servers::delete))
        .route("/servers/{id}/action", post(actions::act))
        .route("/servers/{id}/os-instance-actions", get(operations::index))
        .route("/servers/{id}/os-instance-actions/{request_id}", get(operations::show))
        .route(
            "/servers/{id}/metadata",
            get(metadata::index).post(metadata::add).put(metadata::replace),
        )
        .route(
            "/servers/{id}/metadata/{key}",
            get(metadata::show).put(metadata::set).delete(metadata::remove),
        )
        .route("/servers/{id}/tags", get(tags::index).put(tags::replace).delete(tags::clear))
        .route("/servers/{id}/tags/{tag}", get(tags::show).put(tags::add).delete(tags::remove))
        .route("/servers/{id}/ips", get(servers::addresses))
        .route("/servers/{id}/ips/{label}", get(servers::address))
        .route("/servers/{id}/os-interface", get(servers::interfaces))
        .route("/servers/{id}/os-volume_attachments", get(servers::volumes))
        .route("/servers/{id}/os-security-groups", get(servers::security_groups))
        .route("/servers/{id}/remote-consoles", post(consoles::create))
        .route(
            "/servers/{id}/os-server-password",
            get(facets::password).delete(facets::clear_password),
        )
        .route("/servers/{id}/topology", get(facets::topology))
        .route("/servers/{id}/shares", get(facets::shares).post(facets::attach_share))
        .route("/servers/{id}/shares/{share}", get(facets::share).delete(facets::detach_share))
        .route("/servers/{id}/migrations", get(migrations::of_server))
        .route(
            "/servers/{id}/migrations/{migration}",
            get(migrations::show).delete(migrations::abort),
        )
        .route("/servers/{id}/migrations/{migration}/action", post(migrations::act))
        .route("/servers/{id}/diagnostics", get(diagnostics::show))
}

fn of_flavors() -> Router {
    Router::new()
        .route("/flavors", get(flavors::index).post(flavors::create))
        .route("/flavors/detail", get(flavors::detail))
        .route("/flavors/{id}", get(flavors::show).put(flavors::update).delete(flavors::delete))
        .route("/flavors/{id}/action", post(flavor_extras::act))
        .route("/flavors/{id}/os-flavor-access", get(flavor_extras::access))
        .route(
            "/flavors/{id}/os-extra_specs",
            get(flavor_extras::specs).post(flavor_extras::add_specs),
        )
        .route(
            "/flavors/{id}/os-extra_specs/{key}",
            get(flavor_extras::spec)
                .put(flavor_extras::set_spec)
                .delete(flavor_extras::remove_spec),
        )
}

fn of_hosts() -> Router {
    Router::new()
        .route("/os-services", get(services::index))
        .route("/os-services/{id}", put(services::update).delete(services::delete))
        .route("/os-availability-zone", get(zones::index))
        .route("/os-availability-zone/detail", get(zones::detail))
        .route("/os-hypervisors", get(hypervisors::index))
        .route("/os-hypervisors/detail", get(hypervisors::detail))
        .route("/os-hypervisors/statistics", get(hypervisors::statistics))
        .route("/os-hypervisors/{id}", get(hypervisors::show))
        .route("/os-hypervisors/{id}/uptime", get(hypervisors::show_uptime))
        .route("/os-hypervisors/{id}/search", get(hypervisors::search))
        .route("/os-hypervisors/{id}/servers", get(hypervisors::with_servers))
        .route("/os-aggregates", get(aggregates::index).post(aggregates::create))
        .route(
            "/os-aggregates/{id}",
            get(aggregates::show).put(aggregates::update).delete(aggregates::delete),
        )
        .route("/os-aggregates/{id}/action", post(aggregates::act))
        .route("/os-aggregates/{id}/images", post(aggregates::images))
}

fn of_the_rest() -> Router {
    Router::new()
        .route("/os-keypairs", get(keypairs::index).post(keypairs::create))
        .route("/os-keypairs/{name}", get(keypairs::show).delete(keypairs::delete))
        .route("/limits", get(limits::limits))
        .route(
            "/os-quota-sets/{project}",
            get(quotas::show).put(quotas::update).delete(quotas::delete),
        )
        .route("/os-quota-sets/{project}/defaults", get(quotas::defaults))
        .route("/os-quota-sets/{project}/detail", get(quotas::detail))
        .route("/os-quota-class-sets/{class}", get(quotas::class).put(quotas::update_class))
        .route("/os-simple-tenant-usage", get(usage::index))
        .route("/os-simple-tenant-usage/{project}", get(usage::show))
        .route("/os-server-groups", get(groups::index).post(groups::create))
        .route("/os-server-groups/{id}", get(groups::show).delete(groups::delete))
}

fn of_small_things() -> Router {
    Router::new()
        .route("/versions/{id}", get(versions::show_by_id))
        .route("/extensions", get(extensions::index))
        .route("/extensions/{alias}", get(extensions::show))
        .route("/os-migrations", get(migrations::index))
        .route("/os-server-external-events", post(external_events::create))
        .route("/os-console-auth-tokens/{token}", get(consoles::token))
        .route("/os-volumes_boot", get(volumes_boot::index).post(volumes_boot::create))
        .route("/os-volumes_boot/detail", get(volumes_boot::detail))
        .route(
            "/os-volumes_boot/{id}",
            get(volumes_boot::show).put(volumes_boot::update).delete(volumes_boot::delete),
        )
}

fn of_images() -> Router {
    Router::new()
        .route("/images", get(image_proxy::index))
        .route("/images/detail", get(image_proxy::detail))
        .route("/images/{id}", get(image_proxy::show).delete(image_proxy::delete))
        .route(
            "/images/{id}/metadata",
            get(image_proxy::metadata).post(image_proxy::add).put(image_proxy::replace),
        )
        .route(
            "/images/{id}/metadata/{key}",
            get(image_proxy::item).put(image_proxy::set).delete(image_proxy::remove),
        )
}
