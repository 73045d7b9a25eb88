"""What administrators have, through novaclient: services, hypervisors, zones, aggregates."""

from novaclient import exceptions

from told import NOBODY, contains, equal, has, ids, refused, unique, until


def compute_service(bench):
    """The compute service as the newest version shows it."""
    return bench.raw.services.list(binary="nova-compute")[0]


def services(bench):
    """services.list, enable, disable, disable_log_reason, force_down, delete"""
    nova = bench.nova.services
    one = compute_service(bench)
    equal("state", (one.status, one.state, one.forced_down), ("enabled", "up", False))
    equal("by host", ids(nova.list(host=one.host, binary="nova-compute")), [one.id])
    equal("none such", nova.list(host="none-such"), [])
    bench.later(bench.raw.services.enable, one.id)
    equal("disabled", nova.disable(one.id).status, "disabled")
    changed = nova.disable_log_reason(one.id, "Being cleaned")
    equal("reason", (changed.status, changed.disabled_reason), ("disabled", "Being cleaned"))
    changed = nova.enable(one.id)
    equal("enabled", (changed.status, changed.disabled_reason), ("enabled", None))
    bench.later(bench.raw.services.force_down, one.id, False)
    changed = nova.force_down(one.id, True)
    equal("forced down", (changed.forced_down, changed.state), (True, "down"))
    equal("not forced down", nova.force_down(one.id, False).forced_down, False)
    until("the service up", lambda: compute_service(bench).state == "up")
    refused(404, nova.enable, NOBODY)
    refused(404, nova.delete, NOBODY)
    bench.server()
    text = refused(409, nova.delete, one.id)
    contains("409", text, "Unable to delete compute service that is hosting instances.")
    refused(403, bench.person().nova.services.list)


def services_of_old(bench):
    """services of versions before 2.53, which name them by host and binary"""
    new = compute_service(bench)
    bench.later(bench.raw.services.enable, new.id)
    bench.later(bench.raw.services.force_down, new.id, False)
    for version in ("2.1", "2.11", "2.52"):
        nova = bench.at(version).services
        one = nova.list(binary="nova-compute")[0]
        assert isinstance(one.id, int), f"id: {one.id}"
        equal("disabled", nova.disable(one.host, one.binary).status, "disabled")
        changed = nova.disable_log_reason(one.host, one.binary, "Old ways")
        equal("reason", (changed.status, changed.disabled_reason), ("disabled", "Old ways"))
        equal("enabled", nova.enable(one.host, one.binary).status, "enabled")
        refused(404, nova.enable, "none-such", one.binary)
    equal("forced down", nova.force_down(one.host, one.binary, True).forced_down, True)
    equal("not any more", nova.force_down(one.host, one.binary, False).forced_down, False)
    until("the service up", lambda: compute_service(bench).state == "up")


def hypervisors(bench):
    """hypervisors.list, search, get, uptime"""
    nova, server = bench.nova.hypervisors, bench.server()
    one = nova.list()[0]
    equal("state", (one.state, one.status), ("up", "enabled"))
    details = ["hypervisor_type", "hypervisor_version", "host_ip", "service", "uptime"]
    has("details", one.to_dict(), details)
    equal("brief", ids(nova.list(detailed=False)), [one.id])
    equal("page", ids(nova.list(limit=1)), [one.id])
    equal("next page", nova.list(marker=one.id), [])
    name = one.hypervisor_hostname
    equal("search", ids(nova.search(name)), [one.id])
    found = nova.search(name, servers=True, detailed=True)[0]
    contains("servers", [other["uuid"] for other in found.servers], server.id)
    refused(404, nova.search, "none-such")
    equal("got", nova.get(one.id).hypervisor_hostname, name)
    contains("uptime", nova.uptime(one.id).uptime, "load average")
    refused(404, nova.get, NOBODY)
    try:
        nova.statistics()
    except exceptions.UnsupportedVersion:
        return
    raise AssertionError("statistics at 2.96")


def hypervisors_of_old(bench):
    """hypervisors of versions before 2.53 and 2.88, and hypervisor_stats.statistics"""
    server = bench.server()
    for version in ("2.1", "2.33", "2.52"):
        nova = bench.at(version).hypervisors
        one = nova.list()[0]
        assert isinstance(one.id, int), f"id: {one.id}"
        assert one.running_vms >= 1 and one.memory_mb_used >= 128, f"used: {one.to_dict()}"
        name = one.hypervisor_hostname
        equal("search", ids(nova.search(name)), [one.id])
        found = nova.search(name, servers=True)[0]
        contains("servers", [other["uuid"] for other in found.servers], server.id)
        contains("uptime", nova.uptime(one.id).uptime, "load average")
        kind = str if version == "2.1" else dict
        assert isinstance(one.cpu_info, kind), f"cpu_info of {version}: {one.cpu_info}"
    for version in ("2.1", "2.87"):
        nova = bench.at(version)
        for sums in (nova.hypervisors.statistics(), nova.hypervisor_stats.statistics()):
            equal("count", sums.count, 1)
            assert sums.running_vms >= 1 and sums.vcpus >= 1, f"sums: {sums.to_dict()}"
    refused(404, bench.at("2.52").hypervisors.search, "none-such")


def availability_zones(bench):
    """availability_zones.list with and without details"""
    nova = bench.nova.availability_zones
    equal("zones", [one.zoneName for one in nova.list(detailed=False)], ["nova"])
    zones = {one.zoneName: one for one in nova.list()}
    host = compute_service(bench).host
    service = zones["nova"].hosts[host]["nova-compute"]
    equal("service", (service["available"], service["active"]), (True, True))


def aggregates(bench):
    """aggregates.create, get, list, update, hosts, metadata, images, delete"""
    nova = bench.nova.aggregates
    host = compute_service(bench).host
    one = nova.create(unique("aggregate"), None)
    bench.later(forget, bench, one.id, host)
    equal("made", (one.availability_zone, one.deleted), (None, False))
    refused(409, nova.create, one.name, None)
    renamed = unique("renamed")
    equal("renamed", nova.update(one, {"name": renamed}).name, renamed)
    equal("host", nova.add_host(one, host).hosts, [host])
    refused(409, nova.add_host, one, host)
    contains("400", refused(400, nova.delete, one), "Host aggregate is not empty.")
    equal("metadata", nova.set_metadata(one, {"a": "b", "c": "d"}).metadata, {"a": "b", "c": "d"})
    equal("metadata", nova.set_metadata(one, {"c": None}).metadata, {"a": "b"})
    for shown in (nova.get(one.id), nova.get_details(one.id)):
        equal("shown", (shown.name, shown.hosts, shown.metadata), (renamed, [host], {"a": "b"}))
    contains("list", ids(nova.list()), one.id)
    nova.cache_images(one, [bench.image_id])
    equal("host out", nova.remove_host(one, host).hosts, [])
    refused(404, nova.remove_host, one, host)
    assert "uuid" not in bench.at("2.40").aggregates.get(one.id).to_dict(), "uuid before 2.41"
    nova.delete(one)
    refused(404, nova.get, one.id)
    refused(404, nova.delete, one.id)


def forget(bench, id, host):
    """Removes an aggregate, if it is still there."""
    found = [one for one in bench.raw.aggregates.list() if one.id == id]
    if found and host in found[0].hosts:
        bench.raw.aggregates.remove_host(id, host)
    if found:
        bench.raw.aggregates.delete(id)


PARTS = [
    services, services_of_old, hypervisors, hypervisors_of_old, availability_zones, aggregates,
]
