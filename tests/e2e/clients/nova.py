"""Drives python-novaclient for every call that it has for the resources of this cloud.

Exits with 0 when everything was answered as Nova answers, with 1 when not, and with 2 when it was
called in a wrong way. Prints the name of each call, and no arguments: some are secrets.

Not named after the library: then the library could not be imported from here.
"""

import logging
import secrets

import openstack
from novaclient import base, client

import nova_compute
import nova_hosts
import nova_servers
from told import Parts, Told, uncalled, unique, until

# The newest version that the library knows.
NEWEST = "2.96"
# Managers, as attributes of the client, and those of which nothing is served.
MANAGERS = [
    "aggregates", "availability_zones", "flavor_access", "flavors", "glance", "hypervisor_stats",
    "hypervisors", "instance_action", "keypairs", "limits", "migrations", "quota_classes",
    "quotas", "server_external_events", "server_groups", "server_migrations", "servers",
    "services", "usage", "versions", "volumes",
]
NOT_SERVED = {
    "agents": "gone from Nova: agents of a hypervisor that it has no more",
    "assisted_volume_snapshots": "for a volume service only",
    "instance_usage_audit_log": "not served: Nova's own audit task",
    "neutron": "the network service's",
}
# Calls that send no request, or none of their own.
LEFT_OUT = {
    "servers.transform_userdata": "sends nothing",
}


class Nova:
    """A client of one microversion whose calls are printed with the manager's name."""

    def __init__(self, version, session):
        self.raw = client.Client(version, session=session)

    def __getattr__(self, manager):
        return Told(manager, getattr(self.raw, manager))


class Bench:
    """What parts work with: the administrator's clients, images, flavor, one running server."""

    def __init__(self, arguments):
        self.cloud = openstack.connect()
        self.nova = self.at(NEWEST)
        self.raw = self.nova.raw
        self.image_name, self.rescue_name = arguments.image, arguments.rescue_image
        self.booted_text = arguments.booted
        # Where to note what is to be removed: with the part that runs, and with the program.
        self.later = self.for_all = None
        self._server = None

    def at(self, version):
        """The administrator's client of a microversion."""
        return Nova(version, self.cloud.session)

    def start(self):
        """Finds what was there before and makes the flavor of all servers."""
        self.image_id = self.raw.glance.find_image(self.image_name).id
        self.rescue_id = self.raw.glance.find_image(self.rescue_name).id
        self.project_id = self.cloud.current_project_id
        self.user_id = self.cloud.current_user_id
        flavor = self.raw.flavors.create(unique("nova"), 128, 1, 1)
        self.later(self.raw.flavors.delete, flavor)
        self.flavor_id = flavor.id

    def server(self):
        """A server that rests in ACTIVE: one for all parts. Its guest may still be booting, which
        parts that speak with it wait for, and the others do not."""
        if self._server is None:
            of_the_part, self.later = self.later, self.for_all
            server = self.create(unique("shared"))
            self.later = of_the_part
            self._server = server.id
        return self.rests(self._server, "ACTIVE")

    def create(self, name, nova=None, **options):
        """A server that has got ACTIVE and is removed with the part."""
        wanted = {"image": self.image_id, "flavor": self.flavor_id, "nics": "none"} | options
        made = (nova or self.nova).servers.create(name, **wanted)
        self.later(self.remove, made.id)
        return self.rests(made.id, "ACTIVE")

    def remove(self, server_id):
        """Deletes a server, if it is still there, and waits for its end."""
        if self.exists(server_id):
            self.raw.servers.delete(server_id)
        until("end of a server", lambda: not self.exists(server_id))

    def exists(self, server_id):
        """Whether there is such a server."""
        return self.raw.servers.list(search_opts={"uuid": server_id, "all_tenants": True}) != []

    def rests(self, server_id, status):
        """The server when it has this status and nothing is being done to it."""
        def look():
            server = self.raw.servers.get(server_id)
            assert server.status != "ERROR" or status == "ERROR", f"ERROR: {server.fault}"
            resting = getattr(server, "OS-EXT-STS:task_state") is None
            return server if server.status == status and resting else None

        return until(f"status {status}", look)

    def booted(self, server_id):
        """Waits until the guest says on its console that it has booted."""
        said = lambda: self.raw.servers.get_console_output(server_id)
        until("boot of the guest", lambda: self.booted_text in said())

    def person(self, role="member"):
        """A user with a project and one role there; removed with the part."""
        identity = self.cloud.identity
        project = identity.create_project(name=unique("project"))
        self.later(identity.delete_project, project)
        password = secrets.token_urlsafe(24)
        user = identity.create_user(name=unique("user"), password=password)
        self.later(identity.delete_user, user)
        found = identity.find_role(role, ignore_missing=False)
        identity.assign_project_role_to_user(project, user, found)
        auth = self.cloud.config.config["auth"] | {
            "username": user.name, "password": password, "project_name": project.name,
        }
        return Person(openstack.connect(auth=auth), user, project)


class Person:
    """Somebody who is not the administrator."""

    def __init__(self, cloud, user, project):
        self.nova, self.user, self.project = Nova(NEWEST, cloud.session), user, project


def main():
    # Of calls that are going to be dropped; they are driven because they are still there.
    logging.captureWarnings(True)
    run = Parts(__doc__)
    parts = [*nova_hosts.PARTS, *nova_compute.PARTS, *nova_servers.PARTS]
    bench = Bench(run.arguments)

    def everything(bench):
        bench.for_all = bench.later
        bench.start()
        run.run(parts, bench)

    run.attempt("bench", everything, bench)
    bases = (base.Manager, base.ManagerWithFind, base.BootingManagerWithFind)
    missed = [
        name for manager in MANAGERS
        for name in uncalled(manager, type(getattr(bench.raw, manager)), bases, LEFT_OUT)
    ]
    known = {*MANAGERS, *NOT_SERVED}
    missed += [
        name for name, thing in vars(bench.raw).items()
        if isinstance(thing, base.Manager) and name not in known
    ]
    run.end("python-novaclient", missed)


if __name__ == "__main__":
    main()
