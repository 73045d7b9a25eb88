"""What administrators have, through openstacksdk: services, hypervisors, zones, aggregates."""

from told import NOBODY, contains, equal, has, ids, refused, unique, until


def services(bench):
    """services, find_service, filters"""
    compute = bench.compute
    listed = [one for one in compute.services() if one.binary == "nova-compute"]
    equal("compute services", len(listed), 1)
    service = listed[0]
    equal("state", (service.status, service.state), ("enabled", "up"))
    equal("rest", (service.is_forced_down, service.disabled_reason), (False, None))
    assert service.availability_zone and service.updated_at, f"service: {service}"
    found = compute.find_service("nova-compute", ignore_missing=False, host=service.host)
    equal("found", found.id, service.id)
    equal("by host", ids(compute.services(host=service.host, binary="nova-compute")),
          [service.id])
    equal("none such", compute.services(host="none-such"), [])
    refused(403, bench.person().compute.services)


def services_change(bench):
    """disable_service, enable_service, update_service, update_service_forced_down"""
    compute, raw = bench.compute, bench.cloud.compute
    service = compute.services(binary="nova-compute")[0]
    server = bench.server()
    bench.later(raw.enable_service, service.id)
    changed = compute.disable_service(service.id, disabled_reason="Being cleaned")
    equal("disabled", (changed.status, changed.disabled_reason), ("disabled", "Being cleaned"))
    equal("host_status", compute.get_server(server).host_status, "MAINTENANCE")
    equal("hypervisor", compute.hypervisors()[0].status, "disabled")
    changed = compute.enable_service(None, host=service.host, binary="nova-compute")
    equal("enabled", (changed.status, changed.disabled_reason), ("enabled", None))
    bench.later(raw.update_service_forced_down, service.id, forced=False)
    changed = compute.update_service_forced_down(service.id, forced=True)
    equal("forced down", (changed.is_forced_down, changed.state), (True, "down"))
    equal("host_status", compute.get_server(server).host_status, "DOWN")
    changed = compute.force_service_down(service.id, forced=False)
    equal("not forced down", changed.is_forced_down, False)
    changed = compute.update_service(service.id, status="disabled")
    equal("disabled", (changed.status, changed.disabled_reason), ("disabled", None))
    compute.update_service(service.id, status="enabled")
    refused(404, compute.update_service, NOBODY, status="enabled")
    refused(400, compute.update_service, service.id, status="none-such")
    until("the service up", lambda: raw.find_service("nova-compute", False).state == "up")


def services_delete(bench):
    """delete_service of one that has servers, and of none"""
    compute = bench.compute
    bench.server()
    service = compute.services(binary="nova-compute")[0]
    text = refused(409, compute.delete_service, service.id, ignore_missing=False)
    contains("409", text, "Unable to delete compute service that is hosting instances.")
    refused(404, compute.delete_service, NOBODY, ignore_missing=False)


def services_of_old(bench):
    """services as before 2.53: enable, disable, disable with a reason, force down"""
    compute, raw = bench.old_compute, bench.cloud.compute
    service = compute.services(binary="nova-compute")[0]
    assert str(service.id).isdecimal(), f"id: {service.id}"
    new_id = raw.find_service("nova-compute", False).id
    bench.later(raw.enable_service, new_id)
    bench.later(raw.update_service_forced_down, new_id, forced=False)
    names = (service, service.host, "nova-compute")
    equal("disabled", compute.disable_service(*names).status, "disabled")
    equal("enabled", compute.enable_service(*names).status, "enabled")
    changed = compute.disable_service(*names, disabled_reason="Old ways")
    equal("with a reason", (changed.status, changed.disabled_reason), ("disabled", "Old ways"))
    compute.enable_service(*names)
    compute.update_service_forced_down(*names, forced=True)
    equal("forced down", raw.find_service("nova-compute", False).is_forced_down, True)
    compute.update_service_forced_down(*names, forced=False)
    until("the service up", lambda: raw.find_service("nova-compute", False).state == "up")


def hypervisors(bench):
    """hypervisors with details, patterns and servers; find and get one; uptime"""
    compute, server = bench.compute, bench.server()
    brief = compute.hypervisors()
    equal("hypervisors", len(brief), 1)
    equal("brief", (brief[0].state, brief[0].status), ("up", "enabled"))
    name, id = brief[0].name, brief[0].id
    detailed = compute.hypervisors(details=True)[0]
    has("service", detailed.service_details, ["id", "host", "disabled_reason"])
    assert detailed.hypervisor_type and detailed.hypervisor_version, f"details: {detailed}"
    contains("uptime", detailed.uptime, "load average")
    equal("pattern", ids(compute.hypervisors(hypervisor_hostname_pattern=name)), [id])
    refused(404, compute.hypervisors, hypervisor_hostname_pattern="none-such")
    with_servers = compute.hypervisors(with_servers=True)[0]
    contains("servers", [one["uuid"] for one in with_servers.servers], server.id)
    equal("found by name", compute.find_hypervisor(name, ignore_missing=False).id, id)
    equal("found by id", compute.find_hypervisor(id, False, details=False).name, name)
    equal("got", compute.get_hypervisor(id).name, name)
    refused(404, compute.get_hypervisor, NOBODY)
    refused(400, compute.get_hypervisor, "1")
    refused(403, bench.person().compute.hypervisors)


def hypervisors_of_old(bench):
    """hypervisors as before 2.53 and 2.88: search, sizes, uptime"""
    compute, server = bench.old_compute, bench.server()
    one = compute.hypervisors(details=True)[0]
    assert str(one.id).isdecimal(), f"id: {one.id}"
    for name in ("vcpus", "memory_size", "local_disk_size", "vcpus_used", "memory_used",
                 "memory_free", "local_disk_free", "running_vms", "current_workload"):
        assert isinstance(one[name], int), f"{name}: {one[name]}"
    assert one.running_vms >= 1 and one.memory_used >= server.flavor.get("ram", 128), f"used: {one}"
    has("cpu_info", one.cpu_info, ["arch", "model", "topology", "features"])
    contains("uptime", compute.get_hypervisor_uptime(one.id).uptime, "load average")
    found = compute.hypervisors(hypervisor_hostname_pattern=one.name)
    equal("search", ids(found), [one.id])


def availability_zones(bench):
    """availability_zones with and without details"""
    compute = bench.compute
    zones = {one.name: one for one in compute.availability_zones()}
    equal("zones", sorted(zones), ["nova"])
    equal("zone", (zones["nova"].state, zones["nova"].hosts), ({"available": True}, None))
    host = compute.services(binary="nova-compute")[0].host
    detailed = {one.name: one for one in compute.availability_zones(details=True)}
    service = detailed["nova"].hosts[host]["nova-compute"]
    equal("service", (service["available"], service["active"]), (True, True))
    refused(403, bench.person().compute.availability_zones, details=True)


def aggregates(bench):
    """create, find, get, list, update and delete aggregates, their hosts, metadata and images"""
    compute, raw = bench.compute, bench.cloud.compute
    host = compute.services(binary="nova-compute")[0].host
    name, renamed = unique("aggregate"), unique("renamed")
    one = compute.create_aggregate(name=name)
    bench.later(raw.delete_aggregate, one.id)
    equal("made", (one.name, one.availability_zone, one.is_deleted), (name, None, False))
    refused(409, compute.create_aggregate, name=name)
    with_host = compute.add_host_to_aggregate(one.id, host)
    bench.later(remove_host, raw, one.id, host)
    equal("hosts", with_host.hosts, [host])
    refused(409, compute.add_host_to_aggregate, one.id, host)
    refused(404, compute.add_host_to_aggregate, one.id, "none-such")
    contains("400", refused(400, compute.delete_aggregate, one.id), "Host aggregate is not empty.")
    changed = compute.set_aggregate_metadata(one.id, ssd="true", rack="7")
    equal("metadata", changed.metadata, {"ssd": "true", "rack": "7"})
    changed = compute.set_aggregate_metadata(one.id, {"rack": None})
    equal("metadata", changed.metadata, {"ssd": "true"})
    equal("renamed", compute.update_aggregate(one.id, name=renamed).name, renamed)
    shown = compute.get_aggregate(one.id)
    equal("shown", (shown.name, shown.hosts, shown.metadata), (renamed, [host], {"ssd": "true"}))
    assert shown.uuid and shown.created_at, f"aggregate: {shown}"
    equal("found", compute.find_aggregate(renamed, ignore_missing=False).id, one.id)
    contains("list", ids(compute.aggregates()), one.id)
    compute.aggregate_precache_images(one.id, [bench.image_id])
    equal("host out", compute.remove_host_from_aggregate(one.id, host).hosts, [])
    refused(404, compute.remove_host_from_aggregate, one.id, host)
    compute.delete_aggregate(one.id)
    refused(404, compute.get_aggregate, one.id)
    refused(404, compute.delete_aggregate, one.id, ignore_missing=False)
    refused(403, bench.person().compute.aggregates)


def zones_of_aggregates(bench):
    """an availability zone made by an aggregate, and a server in it"""
    compute, raw = bench.compute, bench.cloud.compute
    host = compute.services(binary="nova-compute")[0].host
    zone = unique("zone")
    one = compute.create_aggregate(name=unique("aggregate"), availability_zone=zone)
    bench.later(raw.delete_aggregate, one.id)
    equal("zone", one.availability_zone, zone)
    # Not the host of a server that is in another zone: Nova refuses that.
    if [server for server in raw.servers(all_projects=True, compute_host=host)]:
        text = refused(409, compute.add_host_to_aggregate, one.id, host)
        contains("409", text, "One or more hosts contain instances in this zone")
        return
    compute.add_host_to_aggregate(one.id, host)
    bench.later(remove_host, raw, one.id, host)
    contains("zones", [other.name for other in compute.availability_zones()], zone)
    equal("zone of the service", compute.services(binary="nova-compute")[0].availability_zone, zone)
    server = bench.create(unique("zoned"), availability_zone=zone)
    equal("zone of the server", compute.get_server(server).availability_zone, zone)


def remove_host(raw, aggregate, host):
    """Takes a host out of an aggregate if it is still in one."""
    found = raw.find_aggregate(aggregate, ignore_missing=True)
    if found is not None and host in (found.hosts or []):
        raw.remove_host_from_aggregate(aggregate, host)


# Zones first: they are a host's that has no servers yet.
PARTS = [
    zones_of_aggregates, services, services_change, services_delete, services_of_old, hypervisors,
    hypervisors_of_old, availability_zones, aggregates,
]
