"""Drives openstacksdk for every call that it has for the resources of this cloud.

Exits with 0 when everything was answered as Nova, Keystone and Glance answer, with 1 when not, and
with 2 when it was called in a wrong way. Prints the name of each call, and no arguments: some are
secrets.
"""

import secrets
import warnings

import openstack
from openstack import proxy
from openstack.compute.v2 import _proxy as compute_proxy
from openstack.identity.v3 import _proxy as identity_proxy
from openstack.image.v2 import _proxy as image_proxy

import sdk_cloud
import sdk_compute
import sdk_hosts
import sdk_identity
import sdk_image
import sdk_servers
from told import OPERATION, Parts, Told, uncalled, unique, until

# Calls of the library that nothing is served for, by a part of their names. What is refused by the
# services with an answer of their own is called nevertheless, in `sdk_servers.not_here`.
LEFT_OUT = {
    "compute": {
        "wait_for_status": "no request of its own",
        "share_attachment": "needs a share service",
    },
    "identity": {
        "wait_for_": "no request of its own",
        "domain_config": "one domain, not backed by a directory",
        "create_domain": "one domain",
        "update_domain": "one domain",
        "delete_domain": "one domain",
        "domain_role": "no tokens for domains",
        "system_role": "no tokens for the system",
        "group": "no groups of users",
        "trust": "not served",
        "create_credential": "not served",
        "update_credential": "not served",
        "delete_credential": "not served",
        "find_credential": "not served",
        "get_credential": "not served",
        "identity.credentials": "not served",
        "polic": "not served",
        "limit": "not served: quotas are Nova's",
        "federation": "not served",
        "mapping": "not served",
        "identity_provider": "not served",
        "service_provider": "not served",
        "project_endpoints": "needs endpoint filters, which are not served",
        "endpoint_projects": "needs endpoint filters, which are not served",
        "endpoint_with_project": "needs endpoint filters, which are not served",
        "endpoint_from_project": "needs endpoint filters, which are not served",
        "create_region": "one region",
        "update_region": "one region",
        "delete_region": "one region",
        "access_rule": "application credentials have no access rules",
    },
    "image": {
        "wait_for_": "no request of its own",
        "metadef": "not served",
        "cache": "not served: an administrator's view of Glance's own cache",
        "queue_image": "not served: an administrator's view of Glance's own cache",
        "location": "not served: one store, data uploaded directly",
        "stage_image": "not served: data uploaded directly",
        "stores": "not served: one store",
        "task": "not served: an older form of import",
    },
}


class Bench:
    """What parts work with: the administrator's connections, images, flavor, one running server."""

    def __init__(self, arguments):
        self.cloud = openstack.connect()
        # As a client of Nova Pike: the last version with the calls that later ones replaced.
        self.old_cloud = openstack.connect(compute_default_microversion="2.52")
        self.oldest_cloud = openstack.connect(compute_default_microversion="2.1")
        self.compute = Told("compute", self.cloud.compute)
        self.old_compute = Told("compute", self.old_cloud.compute)
        self.oldest_compute = Told("compute", self.oldest_cloud.compute)
        self.identity = Told("identity", self.cloud.identity)
        self.image = Told("image", self.cloud.image)
        self.image_name, self.rescue_name = arguments.image, arguments.rescue_image
        self.booted_text = arguments.booted
        # Where to note what is to be removed: with the part that runs, and with the program.
        self.later = self.for_all = None
        self._server = None

    def start(self):
        """Finds what was there before and makes the flavor of all servers."""
        raw = self.cloud.image
        self.image_id = raw.find_image(self.image_name, ignore_missing=False).id
        self.rescue_id = raw.find_image(self.rescue_name, ignore_missing=False).id
        self.project_id = self.cloud.current_project_id
        self.user_id = self.cloud.current_user_id
        flavor = self.cloud.compute.create_flavor(name=unique("sdk"), ram=128, disk=1, vcpus=1)
        self.later(self.cloud.compute.delete_flavor, flavor.id)
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

    def create(self, name, **options):
        """A server that has got ACTIVE and is removed with the part, by the calls under test."""
        wanted = {"image_id": self.image_id, "flavor_id": self.flavor_id, "networks": "none"}
        server = self.compute.create_server(name=name, **(wanted | options))
        self.later(self.remove, server.id)
        return self.compute.wait_for_server(server, interval=0.2, wait=OPERATION)

    def remove(self, server_id):
        """Deletes a server, if it is still there, and waits for its end."""
        raw = self.cloud.compute
        raw.delete_server(server_id)
        until("end of a server", lambda: raw.find_server(server_id, ignore_missing=True) is None)

    def rests(self, server_id, status):
        """The server when it has this status and nothing is being done to it."""
        def look():
            server = self.cloud.compute.get_server(server_id)
            assert server.status != "ERROR" or status == "ERROR", f"ERROR: {server.fault}"
            return server if server.status == status and server.task_state is None else None

        return until(f"status {status}", look)

    def booted(self, server_id):
        """Waits until the guest says on its console that it has booted."""
        raw = self.cloud.compute
        said = lambda: raw.get_server_console_output(server_id)["output"]
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
        return Person(openstack.connect(auth=auth), user, project, password)


class Person:
    """Somebody who is not the administrator."""

    def __init__(self, cloud, user, project, password):
        self.cloud, self.user, self.project, self.password = cloud, user, project, password
        self.compute = Told("compute", cloud.compute)
        self.identity = Told("identity", cloud.identity)
        self.image = Told("image", cloud.image)


def main():
    # The library warns of what it will drop; those calls are driven because it still has them.
    warnings.simplefilter("ignore")
    run = Parts(__doc__)
    parts = [
        *sdk_hosts.PARTS, *sdk_compute.PARTS, *sdk_identity.PARTS, *sdk_image.PARTS,
        *sdk_servers.PARTS, *sdk_cloud.PARTS,
    ]
    bench = Bench(run.arguments)

    def everything(bench):
        bench.for_all = bench.later
        bench.start()
        run.run(parts, bench)

    run.attempt("bench", everything, bench)
    base = (proxy.Proxy,)
    run.end("openstacksdk", [
        *uncalled("compute", compute_proxy.Proxy, base, LEFT_OUT["compute"]),
        *uncalled("identity", identity_proxy.Proxy, base, LEFT_OUT["identity"]),
        *uncalled("image", image_proxy.Proxy, base, LEFT_OUT["image"]),
    ])


if __name__ == "__main__":
    main()
