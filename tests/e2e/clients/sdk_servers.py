"""Servers through openstacksdk: life, lists, and what belongs to a server."""

import base64
import datetime

import openstack
from openstack import exceptions

from told import (
    NOBODY, OPERATION, PUBLIC_KEY, contains, equal, has, ids, lacks, refused, unique, until,
)

def create_options(bench):
    """create_server with every option that needs no network or volume service"""
    compute = bench.compute
    key = compute.create_keypair(name=unique("key"), public_key=PUBLIC_KEY)
    bench.later(bench.cloud.compute.delete_keypair, key)
    name = unique("options")
    user_data = base64.b64encode(b"#!/bin/sh\n").decode()
    server = bench.create(
        name, key_name=key.name, user_data=user_data, config_drive=True,
        availability_zone="nova", metadata={"purpose": "options"}, description="All at once",
        tags=["blue", "green"], hostname=name, admin_password="Not-really-secret-1",
        min_count=1, max_count=1, disk_config="MANUAL", access_ipv4="192.0.2.7",
        access_ipv6="2001:db8::7", security_groups=[{"name": "default"}],
        scheduler_hints={"build_near_host_ip": "192.0.2.1"},
    )
    shown = compute.get_server(server)
    equal("key_name", shown.key_name, key.name)
    equal("user_data", shown.user_data, user_data)
    equal("config_drive", bool(shown.has_config_drive), True)
    equal("availability_zone", shown.availability_zone, "nova")
    equal("metadata", shown.metadata, {"purpose": "options"})
    equal("description", shown.description, "All at once")
    equal("tags", sorted(shown.tags), ["blue", "green"])
    equal("hostname", shown.hostname, name)
    equal("disk_config", shown.disk_config, "MANUAL")
    equal("access_ipv4", shown.access_ipv4, "192.0.2.7")
    equal("access_ipv6", shown.access_ipv6, "2001:db8::7")
    equal("image", shown.image.id, bench.image_id)
    equal("flavor", (shown.flavor.ram, shown.flavor.vcpus, shown.flavor.disk), (128, 1, 1))
    equal("fault", shown.fault, None)


def create_several(bench):
    """create_server with min_count, max_count, networks, the root device by itself, and a host"""
    compute = bench.compute
    name = unique("several")
    first = compute.create_server(
        name=name, image_id=bench.image_id, flavor_id=bench.flavor_id, networks="auto",
        min_count=2, max_count=2,
    )
    bench.later(bench.remove, first.id)
    made = compute.servers(name=f"^{name}-[12]$")
    for server in made:
        bench.later(bench.remove, server.id)
    equal("names", sorted(server.name for server in made), [f"{name}-1", f"{name}-2"])
    contains("ids", ids(made), first.id)
    equal("reservation", len({server.reservation_id for server in made}), 1)
    equal("launch_index", sorted(server.launch_index for server in made), [0, 1])
    root = {
        "uuid": bench.image_id, "source_type": "image", "destination_type": "local",
        "boot_index": 0, "delete_on_termination": True,
    }
    host = compute.services(binary="nova-compute")[0].host
    chosen = bench.create(unique("chosen"), block_device_mapping=[root], host=host)
    equal("host", chosen.compute_host, host)
    node = compute.hypervisors()[0].name
    forced = bench.create(unique("forced"), networks=[], availability_zone=f"nova:{host}:{node}")
    equal("host", forced.compute_host, host)
    equal("hypervisor_hostname", forced.hypervisor_hostname, node)


def create_refused(bench):
    """create_server with what Nova refuses"""
    compute = bench.compute
    good = {"name": "refused", "image_id": bench.image_id, "flavor_id": bench.flavor_id,
            "networks": "none"}
    for status, wrong, text in [
        (400, {"name": ""}, "name"),
        (400, {"image_id": NOBODY}, "Can not find requested image"),
        (400, {"flavor_id": "none-such"}, "Flavor none-such could not be found."),
        (400, {"key_name": "none-such"}, "Invalid key_name provided."),
        (400, {"min_count": 3, "max_count": 2}, "min_count must be <= max_count"),
        (400, {"availability_zone": "none-such"}, "requested availability zone is not available"),
        (400, {"host": "none-such"}, "none-such"),
        (400, {"user_data": "not base64!"}, "user_data"),
        (400, {"tags": ["a,b"]}, "a,b"),
        (400, {"metadata": {"key": 1}}, "key"),
    ]:
        contains("refusal", refused(status, compute.create_server, **(good | wrong)), text)


def show_and_find(bench):
    """get_server, find_server, wait_for_server"""
    compute, server = bench.compute, bench.server()
    shown = compute.get_server(server.id)
    has("server", shown.to_dict(), [
        "access_ipv4", "access_ipv6", "addresses", "availability_zone", "compute_host",
        "config_drive", "created_at", "description", "disk_config", "flavor", "host_id",
        "host_status", "hostname", "hypervisor_hostname", "id", "image", "instance_name",
        "is_locked", "key_name", "launched_at", "links", "locked_reason", "metadata", "name",
        "pinned_availability_zone", "power_state", "progress", "project_id", "reservation_id",
        "root_device_name", "security_groups", "server_groups", "status", "tags", "task_state",
        "terminated_at", "updated_at", "user_data", "user_id", "vm_state",
    ])
    equal("state", (shown.vm_state, shown.power_state, shown.host_status), ("active", 1, "UP"))
    equal("owner", (shown.project_id, shown.user_id), (bench.project_id, bench.user_id))
    equal("by name", compute.find_server(server.name, ignore_missing=False).id, server.id)
    equal("by id", compute.find_server(server.id, ignore_missing=False).id, server.id)
    equal("no details", compute.find_server(server.name, False, details=False).id, server.id)
    equal("anywhere", compute.find_server(server.name, False, all_projects=True).id, server.id)
    equal("none such", compute.find_server("none-such", ignore_missing=True), None)
    text = refused(404, compute.get_server, NOBODY)
    contains("404", text, f"Instance {NOBODY} could not be found.")
    equal("waited for", compute.wait_for_server(shown).id, server.id)


def filters(bench):
    """servers with every filter, each with a value that fits and one that does not"""
    compute, id = bench.compute, bench.server().id
    compute.add_tag_to_server(id, "tagged")
    bench.later(bench.cloud.compute.remove_tags_from_server, id)
    addresses = {"access_ipv4": "192.0.2.9", "access_ipv6": "2001:db8::9"}
    compute.update_server(id, description="Filtered", **addresses)
    server = bench.cloud.compute.get_server(id)
    past, future = "2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
    failed = []
    for name, fits, fits_not in [
        ("auto_disk_config", server.disk_config, None), ("availability_zone", "nova", "mars"),
        ("created_at", server.created_at, past), ("description", "Filtered", "none-such"),
        ("flavor", bench.flavor_id, "none-such"), ("hostname", server.hostname, "none-such"),
        ("image", bench.image_id, NOBODY), ("launch_index", 0, 7),
        ("launched_at", server.launched_at, past), ("locked", False, True),
        ("name", server.name, "none-such"), ("node", server.hypervisor_hostname, "none-such"),
        ("power_state", 1, 4), ("progress", 0, 50), ("project_id", bench.project_id, None),
        ("reservation_id", server.reservation_id, "r-nonesuch"),
        ("root_device_name", server.root_device_name, "/dev/none"), ("status", "ACTIVE", "PAUSED"),
        ("user_id", bench.user_id, "none-such"), ("vm_state", "active", "paused"),
        ("access_ipv4", "192.0.2.9", "192.0.2.8"), ("access_ipv6", "2001:db8::9", "2001:db8::8"),
        ("has_config_drive", True, False), ("deleted_only", False, True),
        ("compute_host", server.compute_host, "none-such"), ("is_soft_deleted", None, True),
        ("ipv4_address", None, "192.0.2.9"), ("ipv6_address", None, "2001:db8::9"),
        ("changes_since", past, future), ("changes_before", future, past),
        ("id", server.id, NOBODY), ("tags", "tagged", "other"),
        ("any_tags", "tagged,other", "other"),
        ("not_tags", "tagged,other", "tagged"), ("not_any_tags", "other", "tagged,other"),
        ("key_name", None, "none-such"), ("kernel_id", None, "none-such"),
        ("ramdisk_id", None, "none-such"), ("locked_by", None, "owner"),
        ("task_state", None, "pausing"), ("terminated_at", None, past),
    ]:
        failed += filter_failures(compute, server, name, fits, fits_not)
    assert not failed, "\n".join(["filters:", *failed])


def filter_failures(compute, server, name, fits, fits_not):
    """What is wrong with one filter; all of them are tried before the part fails."""
    failures = []
    for value, wanted in ((fits, True), (fits_not, False)):
        if value is None:
            continue
        try:
            found = server.id in ids(compute.servers(**{name: value}))
            if found != wanted:
                failures.append(f"{name}={value}: {'found' if found else 'not found'}")
        except exceptions.SDKException as error:
            failures.append(f"{name}={value}: {error}")
    return failures


def pages_and_order(bench):
    """servers in pages, from markers on, sorted, with and without details"""
    compute, id = bench.compute, bench.server().id
    other = bench.create(unique("aaa"))
    mine = {id, other.id}
    for details in (True, False):
        listed = compute.servers(details=details)
        assert mine <= {one.id for one in listed}, "the whole list"
        by_ones = ids(compute.servers(details=details, limit=1))
        equal("pages of one, followed", by_ones, ids(listed))
        page = compute.servers(details=details, limit=1, paginated=False)
        equal("one page", ids(page), by_ones[:1])
        rest = compute.servers(details=details, marker=by_ones[0], paginated=False)
        equal("from a marker on", ids(rest), by_ones[1:])
    contains("marker", refused(400, compute.servers, marker=NOBODY), f"marker [{NOBODY}] not found")
    for key in ("display_name", "created_at", "uuid", "vm_state", "launched_at", "host", "node"):
        up = compute.servers(sort_key=key, sort_dir="asc")
        down = compute.servers(sort_key=key, sort_dir="desc")
        equal(f"all by {key}", {one.id for one in up}, {one.id for one in down})
    names = [one.name for one in compute.servers(sort_key="display_name", sort_dir="asc")]
    equal("order by name", names, sorted(names))
    names = [one.name for one in compute.servers(sort_key="display_name", sort_dir="desc")]
    equal("reverse order by name", names, sorted(names, reverse=True))
    refused(400, compute.servers, sort_key="none_such")


def changes(bench):
    """servers with changes_since, which tells of deleted ones, and deleted_only"""
    compute = bench.compute
    begun = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    server = bench.create(unique("brief"))
    compute.delete_server(server)
    compute.wait_for_delete(server, interval=0.2, wait=OPERATION)
    lacks("list", ids(compute.servers()), server.id)
    changed = {one.id: one.status for one in compute.servers(changes_since=begun)}
    equal("status of the deleted", changed.get(server.id), "DELETED")
    contains("deleted", ids(compute.servers(deleted_only=True)), server.id)
    compute.delete_server(server)
    refused(404, compute.delete_server, server, ignore_missing=False)
    actions = compute.server_actions(server.id)
    equal("actions", [action.action for action in actions], ["delete", "create"])


def other_projects(bench):
    """servers with all_projects and project_id; what others may see and do"""
    compute, server = bench.compute, bench.server()
    person = bench.person()
    lacks("list of a stranger", ids(person.compute.servers()), server.id)
    refused(404, person.compute.get_server, server.id)
    refused(404, person.compute.pause_server, server.id)
    refused(404, person.compute.delete_server, server.id, ignore_missing=False)
    refused(403, person.compute.servers, all_projects=True)
    listed = compute.servers(all_projects=True)
    contains("all projects", ids(listed), server.id)
    theirs = compute.servers(all_projects=True, project_id=person.project.id)
    equal("their project", ids(theirs), [])
    reader = bench.person("reader")
    equal("list of a reader", reader.compute.servers(), [])
    contains("403", refused(
        403, reader.compute.create_server, name="refused", image_id=bench.image_id,
        flavor_id=bench.flavor_id, networks="none",
    ), "os_compute_api:servers:create")


def update(bench):
    """update_server with every field"""
    compute, server = bench.compute, bench.server()
    changed = compute.update_server(
        server.id, name="renamed", description="Changed", hostname="renamed-host",
        access_ipv4="192.0.2.1", access_ipv6="2001:db8::1", disk_config="MANUAL",
    )
    bench.later(
        bench.cloud.compute.update_server, server.id, name=server.name, description=None,
        hostname=server.hostname, disk_config="AUTO",
    )
    for shown in (changed, compute.get_server(server.id)):
        equal("name", shown.name, "renamed")
        equal("description", shown.description, "Changed")
        equal("hostname", shown.hostname, "renamed-host")
        equal("addresses", (shown.access_ipv4, shown.access_ipv6), ("192.0.2.1", "2001:db8::1"))
        equal("disk_config", shown.disk_config, "MANUAL")
    refused(400, compute.update_server, server.id, hostname="wrong host")
    refused(404, compute.update_server, NOBODY, name="renamed")


def metadata(bench):
    """set, fetch and delete metadata of a server, all and one by one"""
    compute, id = bench.compute, bench.server().id
    raw = bench.cloud.compute
    compute.set_server_metadata(id, one="1", two="2")
    bench.later(raw.delete_server_metadata, id)
    equal("metadata", compute.fetch_server_metadata(id).metadata, {"one": "1", "two": "2"})
    compute.set_server_metadata(id, two="zwei", three="3")
    wanted = {"one": "1", "two": "zwei", "three": "3"}
    equal("merged", compute.get_server_metadata(id).metadata, wanted)
    compute.delete_server_metadata(id, ["one", "two"])
    equal("less", compute.fetch_server_metadata(id).metadata, {"three": "3"})
    refused(404, compute.delete_server_metadata, id, ["one"])
    server = raw.get_server(id)
    equal("item", server.get_metadata_item(raw, "three").metadata, {"three": "3"})
    server.set_metadata_item(raw, "three", "drei")
    server.replace_metadata(raw, {"only": "this"})
    equal("replaced", compute.fetch_server_metadata(id).metadata, {"only": "this"})
    compute.delete_server_metadata(id)
    equal("none", compute.fetch_server_metadata(id).metadata, {})


def tags(bench):
    """add and remove tags of a server, set and check them"""
    compute, raw, server = bench.compute, bench.cloud.compute, bench.server()
    bench.later(raw.remove_tags_from_server, server.id)
    compute.add_tag_to_server(server, "first")
    compute.add_tag_to_server(server.id, "second")
    equal("tags", sorted(raw.get_server(server.id).tags), ["first", "second"])
    compute.remove_tag_from_server(server, "first")
    equal("fetched", server.fetch_tags(raw).tags, ["second"])
    server.check_tag(raw, "second")
    refused(404, server.check_tag, raw, "first")
    server.set_tags(raw, ["third", "fourth"])
    equal("set", sorted(raw.get_server(server.id).tags), ["fourth", "third"])
    compute.remove_tags_from_server(server.id)
    equal("none", raw.get_server(server.id).tags, [])


def lifecycle(bench):
    """pause, unpause, suspend, resume, reboot, rescue, unrescue, stop, start"""
    compute, id = bench.compute, bench.server().id
    bench.booted(id)
    for call, status, back in [
        (compute.pause_server, "PAUSED", compute.unpause_server),
        (compute.suspend_server, "SUSPENDED", compute.resume_server),
    ]:
        call(id)
        equal("power", bench.rests(id, status).power_state, {"PAUSED": 3, "SUSPENDED": 4}[status])
        contains("409", refused(409, call, id), f"while it is in vm_state {status.lower()}")
        back(id)
        bench.rests(id, "ACTIVE")
        contains("409", refused(409, back, id), "while it is in vm_state active")
    for kind in ("SOFT", "HARD"):
        compute.reboot_server(id, kind)
        bench.rests(id, "ACTIVE")
    compute.rescue_server(id, admin_pass="Not-really-secret-2", image=bench.rescue_id)
    bench.rests(id, "RESCUE")
    contains("409", refused(409, compute.rescue_server, id), "while it is in vm_state rescued")
    bench.booted(id)
    compute.unrescue_server(id)
    bench.rests(id, "ACTIVE")
    refused(409, compute.unrescue_server, id)
    # A guest that has not booted yet does not hear the power button.
    bench.booted(id)
    compute.stop_server(id)
    equal("power", bench.rests(id, "SHUTOFF").power_state, 4)
    refused(409, compute.stop_server, id)
    compute.start_server(id)
    bench.rests(id, "ACTIVE")
    refused(409, compute.start_server, id)
    bench.booted(id)


def locks(bench):
    """lock_server with and without a reason, unlock_server"""
    compute, raw = bench.compute, bench.cloud.compute
    id = bench.server().id
    bench.later(raw.unlock_server, id)
    compute.lock_server(id, locked_reason="Being looked at")
    shown = raw.get_server(id)
    equal("locked", (shown.is_locked, shown.locked_reason), (True, "Being looked at"))
    contains("locked ones", ids(compute.servers(locked=True)), id)
    compute.unlock_server(id)
    compute.lock_server(id)
    equal("no reason", raw.get_server(id).locked_reason, None)
    compute.unlock_server(id)
    equal("locked", raw.get_server(id).is_locked, False)


def reset_state(bench):
    """reset_server_state to error and back"""
    compute, id = bench.compute, bench.server().id
    bench.later(bench.cloud.compute.reset_server_state, id, "active")
    compute.reset_server_state(id, "error")
    bench.rests(id, "ERROR")
    compute.reset_server_state(id, "active")
    bench.rests(id, "ACTIVE")
    refused(400, compute.reset_server_state, id, "none-such")


def console_output(bench):
    """get_server_console_output, all and its end"""
    compute, id = bench.compute, bench.server().id
    bench.booted(id)
    whole = compute.get_server_console_output(id)["output"]
    contains("console", whole, bench.booted_text)
    end = compute.get_server_console_output(id, length=2)["output"]
    assert len(end.splitlines()) <= 3 and len(end) < len(whole), f"two lines: {end!r}"
    refused(400, compute.get_server_console_output, id, length="many")


def remote_consoles(bench):
    """remote consoles of the kind that guests have, their tokens, and those that none has"""
    compute, server = bench.compute, bench.server()
    for url in (
        compute.create_server_remote_console(server, type="serial").url,
        compute.create_console(server, "serial")["url"],
        bench.oldest_compute.get_server_console_url(server.id, "serial")["url"],
    ):
        base, _, token = url.partition("?token=")
        equal("base", base, "ws://127.0.0.1:6083/")
        found = compute.validate_console_auth_token(token)
        equal("server", found.instance_uuid, server.id)
        equal("path", found.internal_access_path, server.id)
        equal("host", found.host, "127.0.0.1")
        assert found.port > 0, found
        contains("other", refused(404, compute.validate_console_auth_token, token[1:]), "not found")
    for kind in ("novnc", "spice-html5"):
        wanted = f"Unavailable console type {kind}."
        for text in (
            refused(400, compute.create_server_remote_console, server, type=kind),
            refused(400, compute.create_console, server, kind),
            refused(400, bench.oldest_compute.get_server_console_url, server.id, kind),
        ):
            contains(kind, text, wanted)
    refused(400, compute.create_server_remote_console, server, type="none-such", protocol="vnc")
    refused(400, compute.create_server_remote_console, server, type="novnc", protocol="serial")
    contains("token", refused(404, compute.validate_console_auth_token, NOBODY), "Token not found")


def diagnostics(bench):
    """get_server_diagnostics of a running guest"""
    found = bench.compute.get_server_diagnostics(bench.server())
    equal("driver", (found.driver, found.state, found.num_cpus), ("libvirt", "running", 1))
    equal("disks", len(found.disk_details), found.num_disks)
    equal("cpus", len(found.cpu_details), 1)
    equal("nics", (found.num_nics, found.nic_details), (0, []))
    has("memory", found.memory_details, ["maximum", "used"])


def instance_actions(bench):
    """server_actions in pages and by time, get_server_action"""
    compute, id = bench.compute, bench.server().id
    compute.pause_server(id)
    bench.rests(id, "PAUSED")
    compute.unpause_server(id)
    bench.rests(id, "ACTIVE")
    listed = compute.server_actions(id)
    equal("last two", [action.action for action in listed[:2]], ["unpause", "pause"])
    by_ones = compute.server_actions(id, limit=1)
    equal("pages", [one.request_id for one in by_ones], [one.request_id for one in listed])
    past, future = "2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
    equal("since", len(compute.server_actions(id, changes_since=past)), len(listed))
    equal("before", compute.server_actions(id, changes_before=past), [])
    equal("not since", compute.server_actions(id, changes_since=future), [])
    pause = compute.get_server_action(listed[1].request_id, id)
    equal("action", (pause.action, pause.user_id, pause.message), ("pause", bench.user_id, None))
    event = pause.events[0]
    equal("event", (event.event, event.result), ("compute_pause_instance", "Success"))
    equal("times", (bool(event.start_time), bool(event.finish_time)), (True, True))
    refused(404, compute.get_server_action, "req-none-such", id)


def password(bench):
    """get_server_password, clear_server_password"""
    compute, id = bench.compute, bench.server().id
    equal("password", compute.get_server_password(id), "")
    compute.clear_server_password(id)


def networks_and_volumes(bench):
    """lists of interfaces, addresses, security groups and volumes, all empty, and topology"""
    compute, server = bench.compute, bench.server()
    equal("interfaces", compute.server_interfaces(server), [])
    equal("addresses", compute.server_ips(server), [])
    equal("volumes", compute.volume_attachments(server), [])
    groups = compute.fetch_server_security_groups(server).security_groups
    assert groups in ([], None), f"security groups: {groups}"
    refused(404, compute.get_server_interface, NOBODY, server)
    refused(404, compute.get_volume_attachment, server, NOBODY)
    # The library does not ask for the microversion that it needs here.
    newer = openstack.connect(compute_default_microversion="2.78")
    topology = server.fetch_topology(newer.compute)
    has("topology", topology, ["nodes", "pagesize_kb"])


def migrations(bench):
    """migrations with every filter, server_migrations, and calls on one that is not there"""
    compute, server = bench.compute, bench.server()
    equal("migrations", compute.migrations(), [])
    for name, value in [
        ("host", server.compute_host), ("status", "done"), ("migration_type", "resize"),
        ("source_compute", server.compute_host), ("user_id", bench.user_id),
        ("project_id", bench.project_id), ("server_id", server.id),
        ("changes_since", "2001-01-01T00:00:00Z"), ("changes_before", "2099-01-01T00:00:00Z"),
        ("limit", 1),
    ]:
        equal(name, compute.migrations(**{name: value}), [])
    equal("of the server", compute.server_migrations(server), [])
    refused(404, compute.get_server_migration, "1", server)
    # Nova looks whether the server is being migrated before it looks for the migration.
    for call in (compute.abort_server_migration, compute.force_complete_server_migration):
        contains("409", refused(409, call, "1", server), "is in an invalid state for")
    refused(404, compute.server_migrations, NOBODY)


def external_events(bench):
    """create_server_external_events of known and unknown servers"""
    server = bench.server()
    plugged = {"name": "network-vif-plugged", "tag": NOBODY, "status": "failed"}
    events = bench.compute.create_server_external_events([
        {"name": "network-changed", "server_uuid": server.id},
        plugged | {"server_uuid": server.id},
        {"name": "network-changed", "server_uuid": NOBODY},
    ])
    equal("codes", [event.code for event in events], [200, 200, 404])
    # Whether the event was taken, not how it was said to have ended.
    equal("status", [event.status for event in events], ["completed", "completed", "failed"])
    refused(400, bench.compute.create_server_external_events,
            [{"name": "none-such", "server_uuid": server.id}])


def not_here(bench):
    """calls of operations that this service does not do: refused in words, never broken"""
    compute, server = bench.compute, bench.server()
    for call, args in [
        (compute.rebuild_server, (server, bench.image_id)),
        (compute.resize_server, (server, bench.flavor_id)),
        (compute.create_server_image, (server, "snapshot")),
        (compute.backup_server, (server, "backup", "daily", 1)),
        (compute.change_server_password, (server, "Not-really-secret-3")),
        (compute.shelve_server, (server,)),
        (compute.migrate_server, (server,)),
        (compute.live_migrate_server, (server,)),
        (compute.trigger_server_crash_dump, (server,)),
        (compute.evacuate_server, (server,)),
        (compute.add_security_group_to_server, (server, "default")),
        (compute.remove_security_group_from_server, (server, "default")),
    ]:
        # A host that is up must not be evacuated, and Nova says so before anything else.
        status = 400 if call.__name__ == "compute.evacuate_server" else 501
        refused(status, call, *args)
    for call in (compute.confirm_server_resize, compute.revert_server_resize,
                 compute.restore_server, compute.shelve_offload_server, compute.unshelve_server):
        contains("409", refused(409, call, server), server.id)
    # Addresses are the network service's since 2.44.
    for call, args in [
        (compute.add_fixed_ip_to_server, (NOBODY,)),
        (compute.remove_fixed_ip_from_server, ("192.0.2.1",)),
        (compute.add_floating_ip_to_server, ("192.0.2.1",)),
        (compute.remove_floating_ip_from_server, ("192.0.2.1",)),
    ]:
        refused(404, call, server, *args)
    refused(404, compute.delete_server_interface, NOBODY, server, ignore_missing=False)
    refused(404, compute.delete_volume_attachment, server, NOBODY, ignore_missing=False)
    refused(404, compute.update_volume_attachment, server, NOBODY, delete_on_termination=True)
    for call, wrong in ((compute.create_server_interface, {"net_id": NOBODY}),
                        (compute.create_volume_attachment, {"volume": NOBODY})):
        refused(404, call, server, **wrong)
    bench.rests(server.id, "ACTIVE")


def force_delete(bench):
    """delete_server with force"""
    compute = bench.compute
    server = bench.create(unique("forced"))
    compute.delete_server(server, force=True)
    until("end of the server", lambda: compute.find_server(server.id, ignore_missing=True) is None)


PARTS = [
    create_options, create_several, create_refused, show_and_find, filters, pages_and_order,
    changes, other_projects, update, metadata, tags, locks, reset_state, console_output,
    remote_consoles, diagnostics, instance_actions, password, networks_and_volumes, migrations,
    external_events, not_here, lifecycle, force_delete,
]
