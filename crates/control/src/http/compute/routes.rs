//! Which handler answers which path, and in which versions. Paths are below the version and the
//! project; what has no bounds exists in all versions.
//!
//! `plain` marks methods that take no query parameters.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{delete, get, post, put};

use super::call::prepare;
use super::fault::unrouted;
use super::hosts::{aggregates, hypervisors, services, zones};
use super::servers::{actions, consoles, diagnostics, facets, metadata, operations, tags};
use super::versioned::route::{plain, since, until};
use super::{extensions, external_events, image_proxy, migrations, versions};
use super::{flavor_extras, flavors, groups, keypairs, limits, quotas, servers, usage};
use crate::Control;

/// Every resource. What is not here is 404 in the form of Nova's router, also a method that a
/// resource does not have.
pub fn resources(control: Arc<Control>) -> Router {
    of_servers()
        .merge(of_parts_of_servers())
        .merge(of_volumes_boot())
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
        .route(
            "/servers/{id}",
            plain(get(servers::show)).put(servers::update).delete(servers::delete),
        )
        .route("/servers/{id}/action", post(actions::act))
        .route("/servers/{id}/os-instance-actions", get(operations::index))
        .route("/servers/{id}/os-instance-actions/{request_id}", plain(get(operations::show)))
        .route(
            "/servers/{id}/metadata",
            plain(get(metadata::index)).post(metadata::add).put(metadata::replace),
        )
        .route(
            "/servers/{id}/metadata/{key}",
            plain(get(metadata::show)).put(metadata::set).delete(metadata::remove),
        )
        .route(
            "/servers/{id}/tags",
            since(26, plain(get(tags::index)).put(tags::replace).delete(tags::clear)),
        )
        .route(
            "/servers/{id}/tags/{tag}",
            since(26, plain(get(tags::show)).put(tags::add).delete(tags::remove)),
        )
}

fn of_parts_of_servers() -> Router {
    Router::new()
        .route("/servers/{id}/ips", plain(get(servers::addresses)))
        .route("/servers/{id}/ips/{label}", plain(get(servers::address)))
        .route("/servers/{id}/os-interface", plain(get(servers::interfaces)))
        .route("/servers/{id}/os-volume_attachments", get(servers::volumes))
        .route("/servers/{id}/os-security-groups", plain(get(servers::security_groups)))
        .route("/servers/{id}/remote-consoles", since(6, post(consoles::create)))
        .route(
            "/servers/{id}/os-server-password",
            plain(get(facets::password)).delete(facets::clear_password),
        )
        .route("/servers/{id}/topology", since(78, get(facets::topology)))
        .route(
            "/servers/{id}/shares",
            since(97, plain(get(facets::shares)).post(facets::attach_share)),
        )
        .route(
            "/servers/{id}/shares/{share}",
            since(97, plain(get(facets::share)).delete(facets::detach_share)),
        )
        .route("/servers/{id}/migrations", since(23, plain(get(migrations::of_server))))
        .route(
            "/servers/{id}/migrations/{migration}",
            since(23, plain(get(migrations::show))).merge(since(24, delete(migrations::abort))),
        )
        .route("/servers/{id}/migrations/{migration}/action", since(22, post(migrations::act)))
        .route("/servers/{id}/diagnostics", plain(get(diagnostics::show)))
}

/// Another name for `/servers`.
fn of_volumes_boot() -> Router {
    Router::new()
        .route("/os-volumes_boot", until(102, get(servers::index).post(servers::create)))
        .route("/os-volumes_boot/detail", until(102, get(servers::detail)))
        .route(
            "/os-volumes_boot/{id}",
            until(102, plain(get(servers::show)).put(servers::update).delete(servers::delete)),
        )
}

fn of_flavors() -> Router {
    Router::new()
        .route("/flavors", get(flavors::index).post(flavors::create))
        .route("/flavors/detail", get(flavors::detail))
        .route(
            "/flavors/{id}",
            plain(get(flavors::show))
                .merge(since(55, put(flavors::update)))
                .delete(flavors::delete),
        )
        .route("/flavors/{id}/action", post(flavor_extras::act))
        .route("/flavors/{id}/os-flavor-access", plain(get(flavor_extras::access)))
        .route(
            "/flavors/{id}/os-extra_specs",
            plain(get(flavor_extras::specs)).post(flavor_extras::add_specs),
        )
        .route(
            "/flavors/{id}/os-extra_specs/{key}",
            plain(get(flavor_extras::spec))
                .put(flavor_extras::set_spec)
                .delete(flavor_extras::remove_spec),
        )
}

fn of_hosts() -> Router {
    Router::new()
        .route("/os-services", get(services::index))
        .route("/os-services/{id}", put(services::update).delete(services::delete))
        .route("/os-availability-zone", plain(get(zones::index)))
        .route("/os-availability-zone/detail", plain(get(zones::detail)))
        .route("/os-hypervisors", get(hypervisors::index))
        .route("/os-hypervisors/detail", get(hypervisors::detail))
        .route("/os-hypervisors/statistics", until(87, get(hypervisors::statistics)))
        .route("/os-hypervisors/{id}", get(hypervisors::show))
        .route("/os-hypervisors/{id}/uptime", until(87, get(hypervisors::show_uptime)))
        .route("/os-hypervisors/{id}/search", until(52, get(hypervisors::search)))
        .route("/os-hypervisors/{id}/servers", until(52, get(hypervisors::with_servers)))
        .route("/os-aggregates", plain(get(aggregates::index)).post(aggregates::create))
        .route(
            "/os-aggregates/{id}",
            plain(get(aggregates::show)).put(aggregates::update).delete(aggregates::delete),
        )
        .route("/os-aggregates/{id}/action", post(aggregates::act))
        .route("/os-aggregates/{id}/images", since(81, post(aggregates::images)))
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
        .route("/os-quota-sets/{project}/defaults", plain(get(quotas::defaults)))
        .route("/os-quota-sets/{project}/detail", get(quotas::detail))
        .route("/os-quota-class-sets/{class}", plain(get(quotas::class)).put(quotas::update_class))
        .route("/os-simple-tenant-usage", get(usage::index))
        .route("/os-simple-tenant-usage/{project}", get(usage::show))
        .route("/os-server-groups", get(groups::index).post(groups::create))
        .route("/os-server-groups/{id}", plain(get(groups::show)).delete(groups::delete))
}

fn of_small_things() -> Router {
    Router::new()
        .route("/versions/{id}", plain(get(versions::show_by_id)))
        .route("/extensions", plain(get(extensions::index)))
        .route("/extensions/{alias}", plain(get(extensions::show)))
        .route("/os-migrations", get(migrations::index))
        .route("/os-server-external-events", post(external_events::create))
        .route("/os-console-auth-tokens/{token}", plain(get(consoles::token)))
}

/// The image service seen through this one.
fn of_images() -> Router {
    Router::new()
        .route("/images", until(35, get(image_proxy::index)))
        .route("/images/detail", until(35, get(image_proxy::detail)))
        .route("/images/{id}", until(35, get(image_proxy::show).delete(image_proxy::delete)))
        .route(
            "/images/{id}/metadata",
            until(38, get(image_proxy::metadata).post(image_proxy::add).put(image_proxy::replace)),
        )
        .route(
            "/images/{id}/metadata/{key}",
            until(38, get(image_proxy::item).put(image_proxy::set).delete(image_proxy::remove)),
        )
}
