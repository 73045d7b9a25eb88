"""The upper layer of openstacksdk, which Ansible and dashboards use: one call for many requests."""

import io

from told import OPERATION, PUBLIC_KEY, Told, contains, equal, has, ids, lacks, unique


def servers(bench):
    """create, get, list, update and delete servers, their metadata and console"""
    cloud = Told("cloud", bench.cloud)
    name = unique("cloud")
    # Not with `wait`: then the library takes a server without an address for a failure.
    made = cloud.create_server(name, image=bench.image_name, flavor=bench.flavor_id, auto_ip=False,
                               meta={"made": "by the cloud layer"})
    bench.later(bench.remove, made.id)
    equal("metadata", bench.rests(made.id, "ACTIVE").metadata, {"made": "by the cloud layer"})
    equal("by name", cloud.get_server(name).id, made.id)
    equal("by id", cloud.get_server_by_id(made.id).name, name)
    equal("id", cloud.get_server_id(name), made.id)
    equal("found", ids(cloud.search_servers(name)), [made.id])
    contains("listed", ids(cloud.list_servers()), made.id)
    contains("anywhere", ids(cloud.list_servers(all_projects=True)), made.id)
    equal("filtered", ids(cloud.list_servers(filters={"name": name})), [made.id])
    cloud.set_server_metadata(made.id, {"more": "metadata"})
    cloud.delete_server_metadata(made.id, ["made"])
    equal("metadata", cloud.get_server_by_id(made.id).metadata, {"more": "metadata"})
    equal("renamed", cloud.update_server(made.id, name=f"{name}-renamed").name, f"{name}-renamed")
    assert isinstance(cloud.get_server_console(made.id), str), "console"
    assert not cloud.get_server_private_ip(made), "private address"
    assert not cloud.get_server_public_ip(made), "public address"
    has("variables", cloud.get_openstack_vars(made), ["status", "flavor", "image", "interface_ip"])
    equal("deleted", cloud.delete_server(made.id, wait=True, timeout=OPERATION), True)
    equal("nothing to delete", cloud.delete_server(made.id), False)


def flavors_and_keys(bench):
    """flavors with specs and access, key pairs, zones, hypervisors, limits, use, quotas"""
    cloud = Told("cloud", bench.cloud)
    flavor = cloud.create_flavor(unique("cloud"), 65, 1, 1, is_public=False)
    bench.later(bench.cloud.compute.delete_flavor, flavor.id)
    equal("by name", cloud.get_flavor(flavor.name).id, flavor.id)
    equal("by id", cloud.get_flavor_by_id(flavor.id).name, flavor.name)
    equal("by ram", cloud.get_flavor_by_ram(65).id, flavor.id)
    equal("name", cloud.get_flavor_name(flavor.id), flavor.name)
    contains("listed", ids(cloud.list_flavors()), flavor.id)
    equal("found", ids(cloud.search_flavors(flavor.name)), [flavor.id])
    cloud.set_flavor_specs(flavor.id, {"hw:cpu_sockets": "1"})
    cloud.unset_flavor_specs(flavor.id, ["hw:cpu_sockets"])
    cloud.add_flavor_access(flavor.id, bench.project_id)
    equal("access", len(cloud.list_flavor_access(flavor.id)), 1)
    cloud.remove_flavor_access(flavor.id, bench.project_id)
    equal("deleted", cloud.delete_flavor(flavor.id), True)
    key = cloud.create_keypair(unique("cloud"), PUBLIC_KEY)
    bench.later(bench.cloud.compute.delete_keypair, key.name)
    equal("key", cloud.get_keypair(key.name).fingerprint, key.fingerprint)
    contains("keys", [one.name for one in cloud.list_keypairs()], key.name)
    equal("found", [one.name for one in cloud.search_keypairs(key.name)], [key.name])
    equal("deleted", cloud.delete_keypair(key.name), True)
    equal("nothing to delete", cloud.delete_keypair(key.name), False)
    contains("zones", cloud.list_availability_zone_names(), "nova")
    equal("hypervisors", len(cloud.list_hypervisors()), 1)
    assert cloud.get_compute_limits()["total_ram"], "limits"


def quotas_and_groups(bench):
    """quotas, use, server groups and aggregates"""
    cloud = Told("cloud", bench.cloud)
    person = bench.person()
    cloud.set_compute_quotas(person.project.id, instances=3)
    equal("quota", cloud.get_compute_quotas(person.project.id).instances, 3)
    cloud.delete_compute_quotas(person.project.id)
    equal("quota", cloud.get_compute_quotas(person.project.id).instances, 10)
    use = cloud.get_compute_usage(bench.project_id).to_dict()
    has("use", use, ["total_hours", "server_usages"])
    group = cloud.create_server_group(unique("cloud"), policy="affinity")
    bench.later(bench.cloud.compute.delete_server_group, group.id)
    equal("group", cloud.get_server_group(group.name).id, group.id)
    contains("groups", ids(cloud.list_server_groups()), group.id)
    equal("found", ids(cloud.search_server_groups(group.name)), [group.id])
    equal("deleted", cloud.delete_server_group(group.id), True)
    one = cloud.create_aggregate(unique("cloud"))
    bench.later(bench.cloud.compute.delete_aggregate, one.id)
    equal("aggregate", cloud.get_aggregate(one.name).id, one.id)
    contains("aggregates", ids(cloud.list_aggregates()), one.id)
    equal("found", ids(cloud.search_aggregates(one.name)), [one.id])
    host = bench.cloud.compute.find_service("nova-compute", ignore_missing=False).host
    equal("host", cloud.add_host_to_aggregate(one.id, host).hosts, [host])
    equal("host", cloud.remove_host_from_aggregate(one.id, host).hosts, [])
    equal("metadata", cloud.set_aggregate_metadata(one.id, {"a": "b"}).metadata, {"a": "b"})
    renamed = unique("renamed")
    equal("renamed", cloud.update_aggregate(one.id, name=renamed).name, renamed)
    equal("deleted", cloud.delete_aggregate(one.id), True)


def identity(bench):
    """projects, users, roles, grants, domains"""
    cloud = Told("cloud", bench.cloud)
    project = cloud.create_project(unique("cloud"), "default", description="Of the cloud layer")
    bench.later(bench.cloud.identity.delete_project, project.id)
    equal("project", cloud.get_project(project.name).id, project.id)
    contains("projects", ids(cloud.list_projects()), project.id)
    equal("found", ids(cloud.search_projects(project.name)), [project.id])
    equal("changed", cloud.update_project(project.id, description="Changed").description, "Changed")
    user = cloud.create_user(unique("cloud"), domain_id="default", email="user@example.org")
    bench.later(bench.cloud.identity.delete_user, user.id)
    equal("user", cloud.get_user(user.name).id, user.id)
    equal("user", cloud.get_user_by_id(user.id).name, user.name)
    contains("users", ids(cloud.list_users()), user.id)
    equal("found", ids(cloud.search_users(user.name)), [user.id])
    changed = cloud.update_user(user.id, email="new@example.org")
    equal("changed", changed.email, "new@example.org")
    role = cloud.create_role(unique("cloud"))
    bench.later(bench.cloud.identity.delete_role, role.id)
    equal("role", cloud.get_role(role.name).id, role.id)
    contains("roles", ids(cloud.list_roles()), role.id)
    equal("found", ids(cloud.search_roles(role.name)), [role.id])
    triple = {"user": user.id, "project": project.id}
    equal("granted", cloud.grant_role(role.id, **triple), True)
    equal("granted before", cloud.grant_role(role.id, **triple), False)
    found = cloud.list_role_assignments({"user": user.id, "project": project.id})
    equal("assignments", [one.role["id"] for one in found], [role.id])
    equal("revoked", cloud.revoke_role(role.id, **triple), True)
    equal("domain", cloud.get_domain("default").name, "Default")
    equal("domains", ids(cloud.list_domains()), ["default"])
    equal("changed", cloud.update_role(role.id, unique("renamed")).id, role.id)
    for delete, thing in ((cloud.delete_role, role), (cloud.delete_user, user),
                          (cloud.delete_project, project)):
        equal("deleted", delete(thing.id), True)


def services(bench):
    """services and endpoints"""
    cloud = Told("cloud", bench.cloud)
    service = cloud.create_service(unique("cloud"), type=unique("kind"))
    bench.later(bench.cloud.identity.delete_service, service.id)
    equal("service", cloud.get_service(service.name).id, service.id)
    contains("services", ids(cloud.list_services()), service.id)
    equal("found", ids(cloud.search_services(service.name)), [service.id])
    changed = cloud.update_service(service.id, description="Changed")
    equal("changed", changed.description, "Changed")
    made = cloud.create_endpoint(service.id, url="http://192.0.2.1", interface="public",
                                 region="RegionOne")
    equal("endpoint", cloud.get_endpoint(made[0].id).url, "http://192.0.2.1")
    contains("endpoints", ids(cloud.list_endpoints()), made[0].id)
    equal("deleted", cloud.delete_endpoint(made[0].id), True)
    equal("deleted", cloud.delete_service(service.id), True)


def images(bench):
    """create_image, get, list, download, update and delete images"""
    cloud = Told("cloud", bench.cloud)
    data = b"some bytes"
    made = cloud.create_image(unique("cloud"), data=data, disk_format="raw", wait=True)
    bench.later(bench.cloud.image.delete_image, made.id)
    equal("by name", cloud.get_image(made.name).id, made.id)
    equal("by id", cloud.get_image_by_id(made.id).name, made.name)
    equal("id and name", (cloud.get_image_id(made.name), cloud.get_image_name(made.id)),
          (made.id, made.name))
    contains("listed", ids(cloud.list_images()), made.id)
    equal("found", ids(cloud.search_images(made.name)), [made.id])
    equal("changed", cloud.update_image_properties(made, colour="blue"), True)
    equal("property", cloud.get_image_by_id(made.id).properties["colour"], "blue")
    output = io.BytesIO()
    cloud.download_image(made.name, output_file=output)
    equal("downloaded", output.getvalue(), data)
    equal("deleted", cloud.delete_image(made.id, wait=True), True)
    lacks("listed", ids(cloud.list_images()), made.id)


PARTS = [
    servers, flavors_and_keys, quotas_and_groups, identity, services, images,
]
