"""What a project has besides servers, through novaclient: versions, flavors, keys, quotas, use."""

import datetime

from novaclient import api_versions, exceptions

from told import NOBODY, PUBLIC_KEY, contains, equal, has, ids, lacks, refused, unique


def versions(bench):
    """versions.list, versions.get_current, and what the library makes of them"""
    listed = {one.id: one for one in bench.nova.versions.list()}
    equal("versions", sorted(listed), ["v2.0", "v2.1"])
    current = bench.nova.versions.get_current()
    equal("current", (current.id, current.status, current.min_version), ("v2.1", "CURRENT", "2.1"))
    found = api_versions.discover_version(bench.raw, api_versions.APIVersion("2.latest"))
    equal("newest for both", found.get_string(), "2.96")


def flavors(bench):
    """flavors.create, get, find, list, update, delete"""
    nova = bench.nova.flavors
    name, id = unique("flavor"), unique("id")
    flavor = nova.create(name, 256, 2, 3, flavorid=id, ephemeral=1, swap=64, rxtx_factor=1.5,
                         is_public=True, description="To be looked at")
    bench.later(forget, bench.raw.flavors, id)
    shown = nova.get(id)
    size = (shown.ram, shown.vcpus, shown.disk, shown.swap, shown.ephemeral)
    equal("size", size, (256, 2, 3, 64, 1))
    rest = (shown.rxtx_factor, shown.is_public, shown.description)
    equal("rest", rest, (1.5, True, "To be looked at"))
    equal("no swap, of old", bench.at("2.1").flavors.get(bench.flavor_id).swap, "")
    refused(409, nova.create, name, 1, 1, 1)
    equal("found", nova.find(name=name).id, id)
    equal("changed", nova.update(flavor, description="Looked at").description, "Looked at")
    equal("changed", shown.update(description=None).description, None)
    for detailed in (True, False):
        contains("list", ids(nova.list(detailed=detailed)), id)
    assert all(one.ram >= 256 for one in nova.list(min_ram=256)), "min_ram"
    assert all(one.disk >= 3 for one in nova.list(min_disk=3)), "min_disk"
    names = [one.name for one in nova.list(sort_key="name", sort_dir="desc")]
    equal("order", names, sorted(names, reverse=True))
    listed = ids(nova.list())
    equal("page", ids(nova.list(marker=listed[0], limit=1)), listed[1:2])
    nova.delete(id)
    refused(404, nova.get, id)
    refused(404, nova.delete, id)


def forget(manager, id):
    """Deletes what a part may have deleted already."""
    try:
        manager.delete(id)
    except exceptions.NotFound:
        pass


def flavor_keys(bench):
    """get_keys, set_keys, unset_keys of a flavor"""
    flavor = bench.raw.flavors.get(bench.flavor_id)
    specs = {"hw:cpu_sockets": "1", "hw:cpu_threads": "1"}
    equal("set", flavor.set_keys(specs), specs)
    equal("got", flavor.get_keys(), specs)
    flavor.unset_keys(list(specs))
    equal("none", flavor.get_keys(), {})
    refused(404, flavor.unset_keys, ["hw:cpu_sockets"])


def flavor_access(bench):
    """flavor_access.add_tenant_access, list, remove_tenant_access"""
    nova, person = bench.nova.flavor_access, bench.person()
    flavor = bench.raw.flavors.create(unique("private"), 1, 1, 1, is_public=False)
    bench.later(bench.raw.flavors.delete, flavor)
    project = person.project.id
    added = nova.add_tenant_access(flavor, project)
    equal("added", [(one.flavor_id, one.tenant_id) for one in added], [(flavor.id, project)])
    equal("listed", [one.tenant_id for one in nova.list(flavor=flavor)], [project])
    lacks("public ones", ids(bench.nova.flavors.list()), flavor.id)
    contains("all", ids(bench.nova.flavors.list(is_public=None)), flavor.id)
    contains("theirs", ids(person.nova.flavors.list()), flavor.id)
    equal("removed", nova.remove_tenant_access(flavor, project), [])
    refused(404, nova.remove_tenant_access, flavor, project)


def keypairs(bench):
    """keypairs.create, get, list, delete in every form that the library has had"""
    for version in ("2.1", "2.2", "2.10", "2.35", "2.92"):
        nova = bench.at(version).keypairs
        name = unique("key")
        key = nova.create(name, PUBLIC_KEY)
        bench.later(forget, bench.raw.keypairs, name)
        equal("made", (key.name, key.public_key), (name, PUBLIC_KEY))
        equal("type", getattr(key, "type", None), None if version == "2.1" else "ssh")
        shown = nova.get(name)
        equal("shown", (shown.fingerprint, shown.user_id), (key.fingerprint, bench.user_id))
        contains("list", [one.name for one in nova.list()], name)
        refused(409, nova.create, name, PUBLIC_KEY)
        nova.delete(name)
        refused(404, nova.get, name)
        refused(404, nova.delete, name)


def keypairs_of_others(bench):
    """keypairs of another user, in pages; made keys; keys that are refused"""
    nova, person = bench.nova.keypairs, bench.person()
    names = [unique("theirs") for _ in range(2)]
    for name in names:
        nova.create(name, PUBLIC_KEY, user_id=person.user.id)
    of_theirs = {"user_id": person.user.id}
    listed = [one.name for one in nova.list(**of_theirs)]
    equal("listed", sorted(listed), sorted(names))
    equal("page", [one.name for one in nova.list(limit=1, **of_theirs)], listed[:1])
    page = nova.list(marker=listed[0], limit=1, **of_theirs)
    equal("next page", [one.name for one in page], listed[1:])
    equal("got", nova.get(listed[0], user_id=person.user.id).name, listed[0])
    refused(403, person.nova.keypairs.list, user_id=bench.user_id)
    for name in names:
        nova.delete(name, user_id=person.user.id)
    made = bench.at("2.91").keypairs.create(unique("made"))
    bench.later(bench.raw.keypairs.delete, made)
    contains("private key", made.private_key.splitlines()[0], "PRIVATE KEY")
    refused(400, bench.at("2.91").keypairs.create, unique("x"), key_type="x509")
    refused(400, nova.create, unique("x"), "ssh-rsa none")
    refused(400, bench.at("2.91").keypairs.create, "wrong/name", PUBLIC_KEY)


def limits(bench):
    """limits.get, of another project, of old"""
    bench.server()
    found = {one.name: one.value for one in bench.nova.limits.get().absolute}
    has("limits", found, [
        "maxServerMeta", "maxTotalCores", "maxTotalInstances", "maxTotalRAMSize",
        "maxTotalKeypairs", "maxServerGroups", "maxServerGroupMembers", "totalCoresUsed",
        "totalInstancesUsed", "totalRAMUsed", "totalServerGroupsUsed",
    ])
    gone = ["maxPersonality", "maxImageMeta", "maxSecurityGroups", "maxTotalFloatingIps"]
    for name in gone:
        lacks("limits", found, name)
    old = {one.name for one in bench.at("2.1").limits.get(reserved=True).absolute}
    has("limits", old, gone)
    equal("rate", list(bench.nova.limits.get().rate), [])
    theirs = bench.nova.limits.get(tenant_id=bench.person().project.id).absolute
    equal("theirs", {one.name: one.value for one in theirs}["totalInstancesUsed"], 0)


def quotas(bench):
    """quotas.get, update, defaults, delete, of projects and of users, now and before 2.57"""
    nova, person = bench.nova.quotas, bench.person()
    project, user = person.project.id, person.user.id
    before = nova.defaults(project)
    changed = nova.update(project, instances=3, cores=4, ram=5120, metadata_items=6, key_pairs=7,
                          server_groups=8, server_group_members=9)
    equal("changed", (changed.instances, changed.cores, changed.ram), (3, 4, 5120))
    shown = nova.get(project)
    equal("shown", (shown.metadata_items, shown.key_pairs), (6, 7))
    equal("shown", (shown.server_groups, shown.server_group_members), (8, 9))
    used = nova.get(project, detail=True)
    equal("used", used.instances, {"limit": 3, "in_use": 0, "reserved": 0})
    equal("of the user", nova.update(project, user_id=user, instances=2).instances, 2)
    equal("of the user", nova.get(project, user_id=user).instances, 2)
    nova.delete(project, user_id=user)
    equal("of the user", nova.get(project, user_id=user).instances, 3)
    equal("forced", nova.update(project, force=True, instances=1).instances, 1)
    old = bench.at("2.35").quotas
    equal("of old", old.update(project, injected_files=1, fixed_ips=2).injected_files, 1)
    has("of old", old.get(project).to_dict(), ["floating_ips", "security_groups", "fixed_ips"])
    lacks("now", nova.get(project).to_dict(), "injected_files")
    nova.delete(project)
    equal("as before", nova.get(project).instances, before.instances)
    refused(403, person.nova.quotas.update, project, instances=9)
    refused(400, nova.update, project, instances=-2)
    refused(400, nova.get, NOBODY)


def quota_classes(bench):
    """quota_classes.get, update"""
    nova = bench.nova.quota_classes
    before = nova.get("default")
    names = ("instances", "cores", "ram", "metadata_items", "key_pairs", "server_groups",
             "server_group_members")
    numbers = {name: getattr(before, name) for name in names}
    bench.later(bench.raw.quota_classes.update, "default", **numbers)
    changed = nova.update("default", **{name: number + 1 for name, number in numbers.items()})
    for name, number in numbers.items():
        equal(name, getattr(changed, name), number + 1)
    equal("shown", nova.get("default").instances, before.instances + 1)
    for version in ("2.1", "2.50"):
        old = bench.at(version).quota_classes
        equal("of old", old.update("default", injected_files=6).injected_files, 6)
        old.update("default", injected_files=5)
    refused(403, bench.person().nova.quota_classes.get, "default")


def server_groups(bench):
    """server_groups.create, get, list, delete, now and before 2.64"""
    nova = bench.nova.server_groups
    group = nova.create(unique("group"), "anti-affinity", {"max_server_per_host": "2"})
    bench.later(forget, bench.raw.server_groups, group.id)
    equal("made", (group.policy, group.rules), ("anti-affinity", {"max_server_per_host": 2}))
    equal("owner", (group.project_id, group.user_id), (bench.project_id, bench.user_id))
    equal("no members", group.members, [])
    server = bench.create(unique("member"), scheduler_hints={"group": group.id})
    equal("members", nova.get(group.id).members, [server.id])
    equal("groups of the server", bench.raw.servers.get(server.id).server_groups, [group.id])
    old = bench.at("2.15").server_groups
    other = old.create(unique("old"), ["soft-affinity"])
    bench.later(forget, bench.raw.server_groups, other.id)
    equal("made", (other.policies, other.metadata), (["soft-affinity"], {}))
    refused(400, bench.at("2.14").server_groups.create, unique("x"), ["soft-affinity"])
    listed = ids(nova.list())
    assert {group.id, other.id} <= set(listed), "list"
    equal("page", ids(nova.list(limit=1, offset=1)), listed[1:2])
    equal("theirs", bench.person().nova.server_groups.list(), [])
    contains("all", ids(nova.list(all_projects=True)), group.id)
    equal("found", nova.find(name=group.name).id, group.id)
    nova.delete(other.id)
    refused(404, nova.get, other.id)
    refused(404, nova.delete, other.id)


def usage(bench):
    """usage.list, usage.get, in pages and of old"""
    server = bench.server()
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    begin, end = now - datetime.timedelta(days=1), now + datetime.timedelta(minutes=1)
    for version in ("2.1", "2.40", "2.96"):
        nova = bench.at(version).usage
        listed = {one.tenant_id: one for one in nova.list(begin, end, detailed=True)}
        mine = listed[bench.project_id]
        contains("servers", [one["instance_id"] for one in mine.server_usages], server.id)
        assert mine.total_hours > 0 and mine.total_vcpus_usage > 0, f"use: {mine.to_dict()}"
        one = nova.get(bench.project_id, begin, end)
        contains("servers", [use["instance_id"] for use in one.server_usages], server.id)
    nova = bench.nova.usage
    page = nova.get(bench.project_id, begin, end, limit=1)
    equal("page", len(page.server_usages), 1)
    first = page.server_usages[0]["instance_id"]
    rest = nova.get(bench.project_id, begin, end, marker=first)
    lacks("next page", [use["instance_id"] for use in getattr(rest, "server_usages", [])], first)
    equal("page", len(nova.list(begin, end, detailed=True, limit=1)), 1)
    nobody = nova.get(bench.person().project.id, begin, end)
    assert not getattr(nobody, "server_usages", []), "use of nobody"


def images(bench):
    """glance.find_image, find_images, list"""
    nova = bench.nova.glance
    equal("by name", nova.find_image(bench.image_name).id, bench.image_id)
    equal("by id", nova.find_image(bench.image_id).name, bench.image_name)
    refused(404, nova.find_image, "none-such")
    contains("list", ids(nova.list()), bench.image_id)
    found = nova.find_images([bench.image_id, bench.rescue_id])
    equal("both", {one.id for one in found}, {bench.image_id, bench.rescue_id})


PARTS = [
    versions, flavors, flavor_keys, flavor_access, keypairs, keypairs_of_others, limits, quotas,
    quota_classes, server_groups, usage, images,
]
