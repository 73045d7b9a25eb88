"""Servers through novaclient: life, lists, and what belongs to a server."""

import datetime

from told import (
    NOBODY, PUBLIC_KEY, Told, contains, equal, has, ids, lacks, refused, unique, until,
)

STATE = "OS-EXT-STS:vm_state"


def create_options(bench):
    """servers.create with every option that needs no network or volume service"""
    key = bench.raw.keypairs.create(unique("key"), PUBLIC_KEY)
    bench.later(bench.raw.keypairs.delete, key)
    name = unique("options")
    server = bench.create(
        name, meta={"purpose": "options"}, userdata="#!/bin/sh\n", key_name=key.name,
        availability_zone="nova", config_drive=True, disk_config="MANUAL",
        admin_pass="Not-really-secret-1", access_ip_v4="192.0.2.7", access_ip_v6="2001:db8::7",
        description="All at once", tags=["blue", "green"], hostname=name, min_count=1, max_count=1,
        security_groups=["default"], scheduler_hints={"build_near_host_ip": "192.0.2.1"},
    )
    shown = bench.nova.servers.get(server.id)
    equal("key_name", shown.key_name, key.name)
    equal("metadata", shown.metadata, {"purpose": "options"})
    equal("user_data", getattr(shown, "OS-EXT-SRV-ATTR:user_data"), "IyEvYmluL3NoCg==")
    equal("zone", getattr(shown, "OS-EXT-AZ:availability_zone"), "nova")
    equal("disk_config", getattr(shown, "OS-DCF:diskConfig"), "MANUAL")
    equal("addresses", (shown.accessIPv4, shown.accessIPv6), ("192.0.2.7", "2001:db8::7"))
    equal("description", shown.description, "All at once")
    equal("tags", sorted(shown.tags), ["blue", "green"])
    equal("hostname", getattr(shown, "OS-EXT-SRV-ATTR:hostname"), name)
    equal("config_drive", shown.config_drive, "True")


def create_on_a_host(bench):
    """servers.create on a host, several at once, with a reservation"""
    nova = bench.nova.servers
    host = bench.raw.services.list(binary="nova-compute")[0].host
    node = bench.raw.hypervisors.list()[0].hypervisor_hostname
    chosen = bench.create(unique("chosen"), host=host, hypervisor_hostname=node)
    equal("host", getattr(chosen, "OS-EXT-SRV-ATTR:host"), host)
    name = unique("several")
    reservation = nova.create(
        name, bench.image_id, bench.flavor_id, nics="auto", min_count=1, max_count=2,
        reservation_id=True,
    )
    made = nova.list(search_opts={"reservation_id": reservation})
    for server in made:
        bench.later(bench.remove, server.id)
    equal("names", sorted(server.name for server in made), [f"{name}-1", f"{name}-2"])
    good = {"image": bench.image_id, "flavor": bench.flavor_id, "nics": "none"}
    for wrong in ({"host": "none-such"}, {"image": NOBODY}, {"flavor": "none-such"}):
        refused(400, nova.create, "refused", **(good | wrong))


def create_of_old(bench):
    """servers.create of old versions: nothing said of networks, files to be injected"""
    for version, options in [
        ("2.1", {"nics": None}), ("2.36", {"nics": None}),
        ("2.56", {"files": {"/etc/motd": "Hello\n"}}),
    ]:
        nova = bench.at(version)
        server = bench.create(unique("old"), nova, **options)
        shown = nova.servers.get(server.id)
        equal("flavor", "id" in shown.flavor, version != "2.56")
        equal("description", hasattr(shown, "description"), version != "2.1")
        bench.remove(server.id)


def get_and_list(bench):
    """servers.get, find, list with filters, order, pages and all tenants, at many versions"""
    server = bench.server()
    other = bench.create(unique("aaa"))
    for version in ("2.1", "2.26", "2.42", "2.66", "2.73", "2.75", "2.83", "2.96"):
        nova = bench.at(version).servers
        shown = nova.get(server.id)
        equal("name", shown.name, server.name)
        equal("state", (shown.status, getattr(shown, STATE)), ("ACTIVE", "active"))
        equal("locked", hasattr(shown, "locked"), version != "2.1")
        for detailed in (True, False):
            listed = ids(nova.list(detailed=detailed))
            assert {server.id, other.id} <= set(listed), "list"
            equal("all pages", ids(nova.list(detailed=detailed, limit=-1)), listed)
            page = nova.list(detailed=detailed, limit=1)
            equal("page", ids(page), listed[:1])
            rest = nova.list(detailed=detailed, marker=listed[0])
            equal("from a marker on", ids(rest), listed[1:])
        names = [one.name for one in nova.list(sort_keys=["display_name"], sort_dirs=["asc"])]
        equal("order", names, sorted(names))
        for name, fits, fits_not in [
            ("name", server.name, "none-such"), ("status", "ACTIVE", "PAUSED"),
            ("image", bench.image_id, NOBODY), ("flavor", bench.flavor_id, "none-such"),
            ("uuid", server.id, NOBODY), ("user_id", bench.user_id, "none-such"),
            ("host", getattr(server, "OS-EXT-SRV-ATTR:host"), "none-such"),
            ("reservation_id", getattr(server, "OS-EXT-SRV-ATTR:reservation_id"), "r-nonesuch"),
        ]:
            contains(name, ids(nova.list(search_opts={name: fits})), server.id)
            lacks(name, ids(nova.list(search_opts={name: fits_not})), server.id)
        contains("all tenants", ids(nova.list(search_opts={"all_tenants": 1})), server.id)
        equal("found", nova.find(name=server.name).id, server.id)
    nova = bench.nova.servers
    contains("not locked", ids(nova.list(search_opts={"locked": False})), server.id)
    lacks("locked", ids(nova.list(search_opts={"locked": True})), server.id)
    contains("config drive", ids(nova.list(search_opts={"config_drive": True})), server.id)
    refused(400, nova.list, marker=NOBODY)
    refused(400, nova.list, sort_keys=["none_such"])
    refused(403, bench.person().nova.servers.list, search_opts={"all_tenants": 1})
    refused(404, nova.get, NOBODY)


def changes(bench):
    """servers.delete, force_delete, and lists with changes-since and deleted"""
    nova = bench.nova.servers
    begun = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for delete in (nova.delete, nova.force_delete):
        server = bench.create(unique("brief"))
        delete(server)
        until("end of the server", lambda: not bench.exists(server.id))
        refused(404, nova.delete, server)
        changed = {one.id: one.status for one in nova.list(search_opts={"changes-since": begun})}
        equal("status of the deleted", changed.get(server.id), "DELETED")
        deleted = nova.list(search_opts={"deleted": True})
        contains("deleted", ids(deleted), server.id)
    actions = bench.nova.instance_action.list(server.id)
    equal("actions", [one.action for one in actions], ["delete", "create"])


def update(bench):
    """servers.update in each of its forms"""
    server = bench.server()
    for version, change in [
        ("2.1", {"name": "renamed"}), ("2.19", {"description": "Changed"}),
        ("2.90", {"name": server.name, "description": "", "hostname": "renamed"}),
    ]:
        shown = bench.at(version).servers.update(server, **change).to_dict()
        for name, value in change.items():
            # The library sends null for an empty description.
            found = shown.get(name, shown.get(f"OS-EXT-SRV-ATTR:{name}"))
            equal(name, found, value or None)
    refused(400, bench.nova.servers.update, server, hostname="wrong host")
    refused(404, bench.nova.servers.update, NOBODY, name="renamed")


def metadata(bench):
    """servers.set_meta, set_meta_item, list_meta, get_meta, delete_meta"""
    nova, server = bench.nova.servers, bench.server()
    both = {"one": "1", "two": "2"}
    equal("set", nova.set_meta(server, both).to_dict(), both)
    nova.set_meta_item(server, "two", "zwei")
    equal("got", nova.get_meta(server, "two"), {"meta": {"two": "zwei"}})
    equal("listed", nova.list_meta(server), {"metadata": both | {"two": "zwei"}})
    nova.delete_meta(server, ["one", "two"])
    equal("none", nova.list_meta(server), {"metadata": {}})
    refused(404, nova.delete_meta, server, ["one"])
    refused(404, nova.get_meta, server, "one")


def tags(bench):
    """servers.add_tag, tag_list, set_tags, delete_tag, delete_all_tags"""
    nova, server = bench.nova.servers, bench.server()
    bench.later(bench.raw.servers.delete_all_tags, server)
    nova.add_tag(server, "first")
    nova.add_tag(server, "first")
    equal("listed", nova.tag_list(server), ["first"])
    nova.set_tags(server, ["second", "third"])
    equal("set", sorted(nova.tag_list(server)), ["second", "third"])
    contains("filter", ids(nova.list(search_opts={"tags": "second,third"})), server.id)
    lacks("filter", ids(nova.list(search_opts={"not-tags-any": "third"})), server.id)
    nova.delete_tag(server, "second")
    refused(404, nova.delete_tag, server, "second")
    nova.delete_all_tags(server)
    equal("none", nova.tag_list(server), [])


def locks(bench):
    """servers.lock with and without a reason, servers.unlock"""
    server = bench.server()
    bench.later(bench.raw.servers.unlock, server)
    bench.nova.servers.lock(server, reason="Being looked at")
    shown = bench.raw.servers.get(server.id)
    equal("locked", (shown.locked, shown.locked_reason), (True, "Being looked at"))
    bench.nova.servers.unlock(server)
    bench.at("2.1").servers.lock(server)
    equal("no reason", bench.raw.servers.get(server.id).locked_reason, None)
    bench.at("2.1").servers.unlock(server)
    equal("locked", bench.raw.servers.get(server.id).locked, False)


def reset_state(bench):
    """servers.reset_state"""
    server = bench.server()
    bench.later(bench.raw.servers.reset_state, server, "active")
    bench.nova.servers.reset_state(server)
    bench.rests(server.id, "ERROR")
    bench.nova.servers.reset_state(server, "active")
    bench.rests(server.id, "ACTIVE")


def lifecycle(bench):
    """pause, unpause, suspend, resume, reboot, rescue, unrescue, stop, start"""
    nova, server = bench.nova.servers, bench.server()
    bench.booted(server.id)
    for call, status, back in [(nova.pause, "PAUSED", nova.unpause),
                               (nova.suspend, "SUSPENDED", nova.resume)]:
        call(server)
        bench.rests(server.id, status)
        contains("409", refused(409, call, server), f"while it is in vm_state {status.lower()}")
        back(server)
        bench.rests(server.id, "ACTIVE")
        refused(409, back, server)
    for kind in ("SOFT", "HARD"):
        nova.reboot(server, kind)
        bench.rests(server.id, "ACTIVE")
    _, answer = nova.rescue(server, password="Not-really-secret-2", image=bench.rescue_id)
    equal("password", answer, {"adminPass": "Not-really-secret-2"})
    bench.rests(server.id, "RESCUE")
    bench.booted(server.id)
    nova.unrescue(server)
    bench.rests(server.id, "ACTIVE")
    _, answer = nova.rescue(server)
    assert len(answer["adminPass"]) >= 8, "a made password"
    bench.rests(server.id, "RESCUE")
    nova.unrescue(server)
    bench.rests(server.id, "ACTIVE")
    # A guest that has not booted yet does not hear the power button.
    bench.booted(server.id)
    nova.stop(server)
    bench.rests(server.id, "SHUTOFF")
    refused(409, nova.stop, server)
    nova.start(server)
    bench.rests(server.id, "ACTIVE")
    bench.booted(server.id)


def objects(bench):
    """calls of a server itself instead of its manager's"""
    server = bench.server()
    one = Told("Server", bench.raw.servers.get(server.id))
    for call, status in ((one.pause, "PAUSED"), (one.unpause, "ACTIVE")):
        call()
        bench.rests(server.id, status)
    one.lock(reason="Being looked at")
    one.unlock()
    one.update(description="Of the object")
    one.add_tag("tagged")
    equal("tags", one.tag_list(), ["tagged"])
    one.delete_all_tags()
    bench.booted(server.id)
    contains("console", one.get_console_output(), bench.booted_text)
    equal("networks", server.networks, {})
    equal("interfaces", one.interface_list(), [])
    equal("security groups", one.list_security_group(), [])
    one.get()


def consoles(bench):
    """servers.get_console_output, consoles of the kind that guests have, and of others"""
    nova, server = bench.nova.servers, bench.server()
    bench.booted(server.id)
    whole = nova.get_console_output(server)
    contains("console", whole, bench.booted_text)
    end = nova.get_console_output(server, length=2)
    assert len(end.splitlines()) <= 3 and len(end) < len(whole), f"two lines: {end!r}"
    for version in ("2.1", "2.5", "2.6", "2.8", "2.96"):
        nova = bench.at(version).servers
        for call in (nova.get_serial_console, nova.get_console_url):
            answer = call(server, "serial")
            console = answer.get("console") or answer["remote_console"]
            equal("type", console["type"], "serial")
            contains("url", console["url"], "ws://127.0.0.1:6083/?token=")
        for call, kind in [
            (nova.get_vnc_console, "novnc"), (nova.get_spice_console, "spice-html5"),
        ]:
            contains(kind, refused(400, call, server, kind), f"Unavailable console type {kind}.")
            contains(kind, refused(400, nova.get_console_url, server, kind), f"type {kind}.")
        text = refused(400, nova.get_rdp_console, server, "rdp-html5")
        contains("rdp", text, "Unavailable console type rdp.")
        if version in ("2.8", "2.96"):
            refused(400, nova.get_mks_console, server)


def diagnostics(bench):
    """servers.diagnostics before and after 2.48"""
    server = bench.server()
    _, old = bench.at("2.1").servers.diagnostics(server)
    has("diagnostics", old, ["memory", "cpu0_time", "vda_read", "vda_write_req"])
    _, new = bench.nova.servers.diagnostics(server)
    equal("driver", (new["driver"], new["state"], new["num_cpus"]), ("libvirt", "running", 1))
    has("diagnostics", new, ["cpu_details", "disk_details", "nic_details", "memory_details",
                             "uptime", "config_drive", "hypervisor", "hypervisor_os"])


def instance_actions(bench):
    """instance_action.list in each of its forms, instance_action.get"""
    server = bench.server()
    bench.raw.servers.pause(server)
    bench.rests(server.id, "PAUSED")
    bench.raw.servers.unpause(server)
    bench.rests(server.id, "ACTIVE")
    past, future = "2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
    listed = bench.at("2.1").instance_action.list(server)
    equal("last two", [one.action for one in listed[:2]], ["unpause", "pause"])
    for version in ("2.58", "2.66", "2.96"):
        nova = bench.at(version).instance_action
        page = nova.list(server, marker=listed[0].request_id, limit=1, changes_since=past)
        equal("page", [one.action for one in page], ["pause"])
        equal("not since", nova.list(server, changes_since=future), [])
        if version != "2.58":
            equal("before", nova.list(server, changes_before=past), [])
        one = nova.get(server, listed[1].request_id)
        equal("action", (one.action, one.user_id), ("pause", bench.user_id))
        event = one.events[0]
        equal("event", (event["event"], event["result"]), ("compute_pause_instance", "Success"))
        equal("details", "details" in event, version == "2.96")
    refused(404, bench.nova.instance_action.get, server, "req-none-such")


def password(bench):
    """servers.get_password, servers.clear_password"""
    equal("password", bench.nova.servers.get_password(bench.server()), "")
    bench.nova.servers.clear_password(bench.server())


def networks_and_volumes(bench):
    """servers.ips, interface_list, list_security_group, topology; volumes of a server"""
    nova, server = bench.nova.servers, bench.server()
    equal("addresses", nova.ips(server), {})
    equal("interfaces", nova.interface_list(server), [])
    equal("security groups", nova.list_security_group(server), [])
    has("topology", nova.topology(server), ["nodes", "pagesize_kb"])
    volumes = bench.nova.volumes
    equal("volumes", volumes.get_server_volumes(server.id), [])
    refused(404, volumes.get_server_volume, server.id, NOBODY)
    refused(404, volumes.update_server_volume, server.id, NOBODY, NOBODY)
    refused(404, volumes.delete_server_volume, server.id, NOBODY)
    refused(404, volumes.create_server_volume, server.id, NOBODY)
    refused(404, nova.interface_attach, server, NOBODY, None, None)
    refused(404, nova.interface_detach, server, NOBODY)


def migrations(bench):
    """migrations.list in each of its forms; server_migrations, of which there is none"""
    server = bench.server()
    host = getattr(server, "OS-EXT-SRV-ATTR:host")
    options = {"host": host, "status": "done", "instance_uuid": server.id,
               "migration_type": "resize", "source_compute": host}
    for version, more in [
        ("2.1", {}), ("2.59", {"limit": 1, "changes_since": "2001-01-01T00:00:00Z"}),
        ("2.66", {"changes_before": "2099-01-01T00:00:00Z"}),
        ("2.80", {"user_id": bench.user_id, "project_id": bench.project_id}),
    ]:
        nova = bench.at(version).migrations
        equal("migrations", nova.list(), [])
        equal("migrations", nova.list(**options, **more), [])
    nova = bench.nova.server_migrations
    equal("of the server", nova.list(server), [])
    refused(404, nova.get, server, "1")
    # Nova looks whether the server is being migrated before it looks for the migration.
    for call in (nova.live_migrate_force_complete, nova.live_migration_abort):
        contains("409", refused(409, call, server, "1"), "is in an invalid state for")
    refused(404, nova.list, NOBODY)


def external_events(bench):
    """server_external_events.create"""
    nova, server = bench.nova.server_external_events, bench.server()
    events = nova.create([
        {"name": "network-changed", "server_uuid": server.id},
        {"name": "power-update", "server_uuid": server.id, "tag": "POWER_ON"},
        {"name": "network-changed", "server_uuid": NOBODY},
    ])
    equal("codes", [event["code"] for event in events], [200, 200, 404])
    refused(400, nova.create, [{"name": "none-such", "server_uuid": server.id}])
    refused(400, bench.at("2.1").server_external_events.create,
            [{"name": "power-update", "server_uuid": server.id, "tag": "POWER_ON"}])
    refused(403, bench.person().nova.server_external_events.create,
            [{"name": "network-changed", "server_uuid": server.id}])


def not_here(bench):
    """calls of operations that this service does not do: refused in words, never broken"""
    nova, server = bench.nova.servers, bench.server()
    for status, call, args in [
        (501, nova.rebuild, (bench.image_id,)), (501, nova.resize, (bench.flavor_id,)),
        (501, nova.create_image, ("snapshot",)), (501, nova.backup, ("backup", "daily", 1)),
        (501, nova.change_password, ("Not-really-secret-3",)), (501, nova.shelve, ()),
        (501, nova.migrate, ()), (501, nova.live_migrate, (None, "auto")),
        (501, nova.trigger_crash_dump, ()), (501, nova.add_security_group, ("default",)),
        (501, nova.remove_security_group, ("default",)),
        # A host that is up must not be evacuated, and Nova says so first.
        (400, nova.evacuate, ()),
        (409, nova.confirm_resize, ()), (409, nova.revert_resize, ()), (409, nova.restore, ()),
        (409, nova.shelve_offload, ()), (409, nova.unshelve, ()), (410, nova.reset_network, ()),
    ]:
        refused(status, call, server, *args)
    bench.rests(server.id, "ACTIVE")


PARTS = [
    create_options, create_on_a_host, create_of_old, get_and_list, changes, update, metadata, tags,
    locks, reset_state, objects, consoles, diagnostics, instance_actions, password,
    networks_and_volumes, migrations, external_events, not_here, lifecycle,
]
