"""What a project has besides servers, through openstacksdk: flavors, keys, quotas, groups, use."""

import datetime

from told import NOBODY, PUBLIC_KEY, contains, equal, has, ids, lacks, refused, unique


def versions(bench):
    """versions as clients negotiate them"""
    endpoint = bench.compute.get_endpoint_data()
    equal("minimum", endpoint.min_microversion, (2, 1))
    assert endpoint.max_microversion >= (2, 96), f"maximum: {endpoint.max_microversion}"
    for proxy in (bench.compute, bench.identity, bench.image):
        regions = proxy.get_all_version_data()
        found = [version for region in regions.values() for interface in region.values()
                 for services in interface.values() for version in services]
        assert any(one["status"] in ("CURRENT", "stable") for one in found), f"versions: {found}"


def extensions(bench):
    """extensions, find_extension"""
    listed = {one.alias: one for one in bench.compute.extensions()}
    has("extensions", listed, ["NMN", "OS-DCF", "OS-EXT-STS", "os-keypairs", "os-server-groups"])
    found = bench.compute.find_extension("OS-DCF", ignore_missing=False)
    equal("name", (found.name, found.updated_at), ("DiskConfig", "2014-12-03T00:00:00Z"))
    equal("none such", bench.compute.find_extension("none-such", ignore_missing=True), None)


def flavors(bench):
    """create, find, get, list, update and delete flavors"""
    compute = bench.compute
    name = unique("flavor")
    flavor = compute.create_flavor(
        name=name, id=unique("id"), ram=256, vcpus=2, disk=3, swap=64, ephemeral=1,
        rxtx_factor=1.5, is_public=True, description="To be looked at",
    )
    bench.later(bench.cloud.compute.delete_flavor, flavor.id)
    shown = compute.get_flavor(flavor.id)
    size = (shown.ram, shown.vcpus, shown.disk, shown.swap, shown.ephemeral)
    equal("size", size, (256, 2, 3, 64, 1))
    equal("rest", (shown.rxtx_factor, shown.is_public, shown.is_disabled), (1.5, True, False))
    equal("description", shown.description, "To be looked at")
    refused(409, compute.create_flavor, name=name, ram=1, vcpus=1, disk=1)
    refused(409, compute.create_flavor, name=unique("x"), id=flavor.id, ram=1, vcpus=1, disk=1)
    refused(400, compute.create_flavor, name=unique("x"), ram=-1, vcpus=1, disk=1)
    equal("by name", compute.find_flavor(name, ignore_missing=False).id, flavor.id)
    equal("by id", compute.find_flavor(flavor.id, ignore_missing=False).name, name)
    with_specs = compute.find_flavor(name, ignore_missing=False, get_extra_specs=True)
    equal("extra specs", with_specs.extra_specs, {})
    equal("none such", compute.find_flavor("none-such", ignore_missing=True), None)
    changed = compute.update_flavor(flavor.id, description="Looked at")
    equal("changed", changed.description, "Looked at")
    compute.delete_flavor(flavor.id)
    refused(404, compute.get_flavor, flavor.id)
    compute.delete_flavor(flavor.id)
    refused(404, compute.delete_flavor, flavor.id, ignore_missing=False)


def flavor_lists(bench):
    """flavors with filters, in order and in pages"""
    compute = bench.compute
    hidden = compute.create_flavor(
        name=unique("hidden"), ram=4097, vcpus=1, disk=9, is_public=False)
    bench.later(bench.cloud.compute.delete_flavor, hidden.id)
    listed = compute.flavors()
    contains("all", ids(listed), hidden.id)
    assert all(one.ram for one in listed), "details"
    assert not any(one.ram for one in compute.flavors(details=False)), "no details"
    lacks("public", ids(compute.flavors(is_public=True)), hidden.id)
    equal("hidden", ids(compute.flavors(is_public=False)), [hidden.id])
    assert all(one.ram >= 4097 for one in compute.flavors(min_ram=4097)), "min_ram"
    contains("min_ram", ids(compute.flavors(min_ram=4097)), hidden.id)
    assert all(one.disk >= 10 for one in compute.flavors(min_disk=10)), "min_disk"
    by_ram = [one.ram for one in compute.flavors(sort_key="memory_mb", sort_dir="desc")]
    equal("order", by_ram, sorted(by_ram, reverse=True))
    by_ones = ids(compute.flavors(limit=1))
    equal("pages", by_ones, ids(listed))
    rest = compute.flavors(marker=by_ones[0], paginated=False)
    equal("from a marker on", ids(rest), by_ones[1:])
    refused(400, compute.flavors, marker="none-such")
    refused(400, compute.flavors, sort_key="none_such")
    with_specs = compute.flavors(get_extra_specs=True)
    equal("with extra specs", len(with_specs), len(listed))


def flavor_access(bench):
    """flavor_add_tenant_access, get_flavor_access, flavor_remove_tenant_access"""
    compute = bench.compute
    person = bench.person()
    flavor = compute.create_flavor(name=unique("private"), ram=1, vcpus=1, disk=1, is_public=False)
    bench.later(bench.cloud.compute.delete_flavor, flavor.id)
    refused(404, person.compute.get_flavor, flavor.id)
    compute.flavor_add_tenant_access(flavor.id, person.project.id)
    wanted = [{"flavor_id": flavor.id, "tenant_id": person.project.id}]
    equal("access", compute.get_flavor_access(flavor.id), wanted)
    refused(409, compute.flavor_add_tenant_access, flavor.id, person.project.id)
    equal("now theirs", person.compute.get_flavor(flavor.id).name, flavor.name)
    refused(403, person.compute.get_flavor_access, flavor.id)
    compute.flavor_remove_tenant_access(flavor.id, person.project.id)
    equal("access", compute.get_flavor_access(flavor.id), [])
    refused(404, compute.flavor_remove_tenant_access, flavor.id, person.project.id)
    refused(404, person.compute.get_flavor, flavor.id)


def flavor_extra_specs(bench):
    """create, fetch, get, update and delete extra specs"""
    compute, id = bench.compute, bench.flavor_id
    specs = {"hw:cpu_sockets": "1", "hw:cpu_threads": "1"}
    equal("created", compute.create_flavor_extra_specs(id, specs).extra_specs, specs)
    equal("fetched", compute.fetch_flavor_extra_specs(id).extra_specs, specs)
    equal("in the flavor", compute.get_flavor(id, get_extra_specs=True).extra_specs, specs)
    equal("one", compute.get_flavor_extra_specs_property(id, "hw:cpu_sockets"), "1")
    equal("set", compute.update_flavor_extra_specs_property(id, "hw:cpu_sockets", "2"), "2")
    for name in specs:
        compute.delete_flavor_extra_specs_property(id, name)
    equal("none", compute.fetch_flavor_extra_specs(id).extra_specs, {})
    refused(404, compute.get_flavor_extra_specs_property, id, "hw:cpu_sockets")
    refused(404, compute.delete_flavor_extra_specs_property, id, "hw:cpu_sockets", False)


def keypairs(bench):
    """create_keypair with a key and without, get, find, list and delete"""
    compute, raw = bench.compute, bench.cloud.compute
    name = unique("key")
    key = compute.create_keypair(name=name, public_key=PUBLIC_KEY)
    bench.later(raw.delete_keypair, name)
    equal("imported", (key.name, key.type, key.public_key), (name, "ssh", PUBLIC_KEY))
    equal("fingerprint", len(key.fingerprint.split(":")), 16)
    equal("no private key", key.private_key, None)
    shown = compute.get_keypair(name)
    equal("shown", (shown.fingerprint, shown.user_id), (key.fingerprint, bench.user_id))
    equal("found", compute.find_keypair(name, ignore_missing=False).fingerprint, key.fingerprint)
    equal("none such", compute.find_keypair("none-such", ignore_missing=True), None)
    contains("list", [one.name for one in compute.keypairs()], name)
    contains("409", refused(409, compute.create_keypair, name=name, public_key=PUBLIC_KEY),
             f"Key pair '{name}' already exists.")
    refused(400, compute.create_keypair, name=unique("key"), public_key="ssh-rsa none")
    made = compute.create_keypair(name=unique("made"))
    bench.later(raw.delete_keypair, made)
    contains("private key", made.private_key.splitlines()[0], "PRIVATE KEY")
    compute.delete_keypair(name)
    compute.delete_keypair(name)
    refused(404, compute.delete_keypair, name, ignore_missing=False)
    refused(404, compute.get_keypair, name)


def keypairs_of_others(bench):
    """keypairs of another user, as the administrator"""
    compute = bench.compute
    person = bench.person()
    name = unique("theirs")
    compute.create_keypair(name=name, public_key=PUBLIC_KEY, user_id=person.user.id)
    equal("theirs", [one.name for one in person.compute.keypairs()], [name])
    equal("listed", [one.name for one in compute.keypairs(user_id=person.user.id)], [name])
    equal("got", compute.get_keypair(name, user_id=person.user.id).name, name)
    found = compute.find_keypair(name, ignore_missing=False, user_id=person.user.id)
    equal("found", found.name, name)
    refused(404, compute.get_keypair, name)
    refused(403, person.compute.keypairs, user_id=bench.user_id)
    compute.delete_keypair(name, user_id=person.user.id)
    equal("none", person.compute.keypairs(), [])


def limits(bench):
    """get_limits of the own and another project"""
    server = bench.server()
    found = bench.compute.get_limits().absolute
    for name in ("total_cores", "total_ram", "instances", "keypairs", "server_meta",
                 "server_groups", "server_group_members"):
        assert isinstance(found[name], int), f"{name}: {found[name]}"
    assert found.instances_used >= 1 and found.total_ram_used >= server.flavor.ram, f"used: {found}"
    assert found.total_cores_used >= 1 and found.server_groups_used >= 0, f"used: {found}"
    person = bench.person()
    # The library sends names of parameters as they are here, and `project_id` is not Nova's.
    theirs = bench.compute.get_limits(tenant_id=person.project.id).absolute
    equal("used by others", (theirs.instances_used, theirs.total_cores_used), (0, 0))
    refused(403, person.compute.get_limits, tenant_id=bench.project_id)


def quota_sets(bench):
    """get, update and revert quotas of a project and of a user, defaults and use"""
    compute = bench.compute
    person = bench.person()
    project = person.project.id
    defaults = compute.get_quota_set_defaults(project)
    for name, value in [
        ("instances", 10), ("cores", 20), ("ram", 51200), ("key_pairs", 100),
        ("metadata_items", 128), ("server_groups", 10), ("server_group_members", 10),
    ]:
        equal(f"default of {name}", defaults[name], value)
    changed = compute.update_quota_set(project, instances=1, cores=4)
    equal("changed", (changed.instances, changed.cores, changed.ram), (1, 4, 51200))
    shown = compute.get_quota_set(project)
    equal("shown", (shown.instances, shown.cores, shown.ram), (1, 4, 51200))
    used = compute.get_quota_set(project, usage=True)
    equal("limit", used.instances, 1)
    equal("used", (used.usage["instances"], used.reservation["instances"]), (0, 0))
    # The library's own `update_quota_set(user=…)` fails before it asks; novaclient's does not.
    compute.revert_quota_set(project, user_id=person.user.id)
    equal("of the user", compute.get_quota_set(project, user_id=person.user.id).instances, 1)
    equal("theirs", person.compute.get_quota_set(project).instances, 1)
    refused(403, person.compute.update_quota_set, project, instances=2)
    compute.revert_quota_set(project)
    equal("reverted", compute.get_quota_set(project).instances, 10)
    refused(400, compute.update_quota_set, project, instances=-2)
    refused(400, compute.update_quota_set, NOBODY, instances=1)


def quota_limits(bench):
    """quotas that say no, and one below what is used, with and without force"""
    compute, raw = bench.compute, bench.cloud.compute
    bench.server()
    project = bench.project_id
    bench.later(raw.revert_quota_set, project)
    text = refused(400, compute.update_quota_set, project, instances=0)
    contains("too low", text, "Quota limit 0 for instances must be greater than or equal to")
    equal("forced", compute.update_quota_set(project, instances=0, force=True).instances, 0)
    text = refused(
        403, compute.create_server, name="refused", image_id=bench.image_id,
        flavor_id=bench.flavor_id, networks="none",
    )
    contains("too many", text, "Quota exceeded for instances: Requested 1, but already used")
    compute.update_quota_set(project, key_pairs=0, force=True)
    text = refused(403, compute.create_keypair, name=unique("key"), public_key=PUBLIC_KEY)
    contains("too many", text, "Quota exceeded, too many key pairs.")


def quota_classes(bench):
    """get_quota_class_set, update_quota_class_set"""
    compute = bench.compute
    before = compute.get_quota_class_set()
    bench.later(bench.cloud.compute.update_quota_class_set, "default", instances=before.instances)
    changed = compute.update_quota_class_set("default", instances=before.instances + 1)
    equal("changed", changed.instances, before.instances + 1)
    equal("shown", compute.get_quota_class_set("default").instances, before.instances + 1)
    defaults = compute.get_quota_set_defaults(bench.project_id)
    equal("default of projects", defaults.instances, before.instances + 1)
    refused(403, bench.person().compute.get_quota_class_set)


def server_groups(bench):
    """create, find, get, list and delete server groups; a server in one"""
    compute, raw = bench.compute, bench.cloud.compute
    name = unique("group")
    group = compute.create_server_group(name=name, policy="anti-affinity",
                                        rules={"max_server_per_host": 2})
    bench.later(raw.delete_server_group, group.id)
    equal("group", (group.policy, group.rules), ("anti-affinity", {"max_server_per_host": 2}))
    equal("owner", (group.project_id, group.user_id), (bench.project_id, bench.user_id))
    server = bench.create(unique("member"), scheduler_hints={"group": group.id})
    equal("members", compute.get_server_group(group.id).member_ids, [server.id])
    equal("groups of the server", compute.get_server(server).server_groups, [group.id])
    equal("found", compute.find_server_group(name, ignore_missing=False).id, group.id)
    found = compute.find_server_group(name, ignore_missing=False, all_projects=True)
    equal("found anywhere", found.id, group.id)
    contains("list", ids(compute.server_groups()), group.id)
    contains("all", ids(compute.server_groups(all_projects=True)), group.id)
    equal("pages", len(compute.server_groups(limit=1, paginated=False)), 1)
    person = bench.person()
    equal("theirs", person.compute.server_groups(), [])
    # Others are not told that there is such a group, as they are by Nova.
    refused(404, person.compute.get_server_group, group.id)
    text = refused(400, compute.create_server_group, name=unique("x"), policy="affinity",
                   rules={"max_server_per_host": 2})
    contains("400", text, "Only anti-affinity policy supports rules.")
    refused(400, compute.create_server_group, name=unique("x"), policy="none-such")
    old = bench.old_compute.create_server_group(name=unique("old"), policies=["soft-affinity"])
    equal("old form", (old.policies, old.metadata), (["soft-affinity"], {}))
    compute.delete_server_group(old.id)
    refused(404, compute.delete_server_group, old.id, ignore_missing=False)


def usages(bench):
    """usages of all projects, get_usage of one"""
    compute, server = bench.compute, bench.server()
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    begin, end = now - datetime.timedelta(days=1), now + datetime.timedelta(minutes=1)
    every = compute.usages(begin, end, detailed=1)
    mine = [one for one in every if one.project_id == bench.project_id]
    equal("projects", len(mine), 1)
    contains("servers", [one.instance_id for one in mine[0].server_usages], server.id)
    assert mine[0].total_hours > 0, f"hours: {mine[0].total_hours}"
    one = compute.get_usage(bench.project_id, begin, end)
    found = {use.instance_id: use for use in one.server_usages}[server.id]
    equal("server", (found.name, found.state, found.memory_mb), (server.name, "active", 128))
    equal("server", (found.vcpus, found.local_gb, found.ended_at), (1, 1, None))
    brief = compute.usages(begin, end)
    assert all(not use.server_usages for use in brief), "no details"
    equal("pages", len(compute.usages(begin, end, limit=1, detailed=1, paginated=False)), 1)
    refused(403, bench.person().compute.get_usage, bench.project_id, begin, end)


def images_through_compute(bench):
    """images, find_image, get_image, their metadata and delete_image, as old clients ask Nova"""
    compute, id = bench.oldest_compute, bench.image_id
    contains("list", ids(compute.images()), id)
    contains("brief list", ids(compute.images(details=False)), id)
    shown = compute.get_image(id)
    equal("image", (shown.name, shown.status, shown.progress), (bench.image_name, "ACTIVE", 100))
    equal("found", compute.find_image(bench.image_name, ignore_missing=False).id, id)
    copy = bench.cloud.image.create_image(unique("proxied"), data=b"bytes", disk_format="raw")
    bench.later(bench.cloud.image.delete_image, copy.id)
    compute.set_image_metadata(copy.id, colour="blue", shape="round")
    found = compute.fetch_image_metadata(copy.id).metadata
    equal("metadata", (found["colour"], found["shape"]), ("blue", "round"))
    compute.delete_image_metadata(copy.id, ["colour"])
    lacks("metadata", compute.get_image_metadata(copy.id).metadata, "colour")
    compute.delete_image(copy.id)
    refused(404, compute.get_image, copy.id)
    refused(404, bench.compute.get_image, NOBODY)


PARTS = [
    versions, extensions, flavors, flavor_lists, flavor_access, flavor_extra_specs, keypairs,
    keypairs_of_others, limits, quota_sets, quota_limits, quota_classes, server_groups, usages,
    images_through_compute,
]
