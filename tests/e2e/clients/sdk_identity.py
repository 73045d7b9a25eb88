"""The identity service through openstacksdk."""

import datetime
import secrets

import openstack

from told import NOBODY, contains, equal, has, ids, lacks, refused, unique


def tokens(bench):
    """validate_token, check_token, revoke_token"""
    person = bench.person()
    token = person.cloud.auth_token
    found = bench.identity.validate_token(token)
    equal("user", found.user["id"], person.user.id)
    equal("project", found.project["id"], person.project.id)
    contains("roles", [role["name"] for role in found.roles], "member")
    assert found.catalog and found.expires_at and found.issued_at, f"token of {found.user}"
    assert not bench.identity.validate_token(token, nocatalog=True).catalog, "no catalog"
    equal("good", bench.identity.check_token(token), True)
    bench.identity.revoke_token(token)
    equal("bad", bench.identity.check_token(token), False)
    refused(404, bench.identity.validate_token, token)


def users(bench):
    """create, find, get, list, update and delete users, and passwords"""
    identity = bench.identity
    name, password = unique("user"), secrets.token_urlsafe(24)
    user = identity.create_user(
        name=name, password=password, email="user@example.org", description="Somebody",
        default_project_id=bench.project_id, is_enabled=True,
    )
    bench.later(bench.cloud.identity.delete_user, user.id)
    equal("made", (user.name, user.email, user.domain_id), (name, "user@example.org", "default"))
    refused(409, identity.create_user, name=name)
    equal("found", identity.find_user(name, ignore_missing=False).id, user.id)
    found = identity.find_user(name, ignore_missing=False, domain_id="default")
    equal("found in the domain", found.id, user.id)
    equal("none such", identity.find_user("none-such", ignore_missing=True), None)
    shown = identity.get_user(user.id)
    equal("shown", (shown.description, shown.is_enabled), ("Somebody", True))
    equal("no password", shown.password, None)
    contains("list", ids(identity.users()), user.id)
    equal("by name", ids(identity.users(name=name)), [user.id])
    lacks("disabled", ids(identity.users(is_enabled=False)), user.id)
    renamed = unique("renamed")
    changed = identity.update_user(user.id, name=renamed, description=None, email="new@example.org")
    equal("changed", (changed.name, changed.email), (renamed, "new@example.org"))
    equal("disabled", identity.update_user(user.id, is_enabled=False).is_enabled, False)
    identity.delete_user(user.id)
    identity.delete_user(user.id)
    refused(404, identity.delete_user, user.id, ignore_missing=False)
    refused(404, identity.get_user, user.id)


def passwords(bench):
    """update_password by the user, update_user by the administrator"""
    person = bench.person()
    new = secrets.token_urlsafe(24)
    refused(401, person.identity.update_password, person.user, "wrong", new)
    person.identity.update_password(person.user, person.password, new)
    auth = person.cloud.config.config["auth"]
    refused(401, login, auth)
    equal("user", login(auth | {"password": new}), person.user.id)
    newer = secrets.token_urlsafe(24)
    bench.identity.update_user(person.user, password=newer)
    equal("user", login(auth | {"password": newer}), person.user.id)
    bench.identity.update_user(person.user, is_enabled=False)
    refused(401, login, auth | {"password": newer})


def login(auth, **options):
    """Logs in anew; returns the user's id."""
    return openstack.connect(auth=auth, **options).current_user_id


def projects(bench):
    """create, find, get, list, update and delete projects, and those of a user"""
    identity = bench.identity
    name = unique("project")
    project = identity.create_project(name=name, description="Some project", is_enabled=True)
    bench.later(bench.cloud.identity.delete_project, project.id)
    equal("made", (project.name, project.domain_id, project.is_domain), (name, "default", False))
    refused(409, identity.create_project, name=name)
    equal("found", identity.find_project(name, ignore_missing=False).id, project.id)
    equal("none such", identity.find_project("none-such", ignore_missing=True), None)
    equal("shown", identity.get_project(project.id).description, "Some project")
    contains("list", ids(identity.projects()), project.id)
    equal("by name", ids(identity.projects(name=name)), [project.id])
    lacks("disabled", ids(identity.projects(is_enabled=False)), project.id)
    changed = identity.update_project(project.id, name=unique("renamed"), description="Changed")
    equal("changed", changed.description, "Changed")
    equal("disabled", identity.update_project(project.id, is_enabled=False).is_enabled, False)
    identity.delete_project(project.id)
    refused(404, identity.delete_project, project.id, ignore_missing=False)
    refused(404, identity.get_project, project.id)
    person = bench.person()
    theirs = person.identity.user_projects(person.user)
    equal("theirs", ids(theirs), [person.project.id])
    refused(403, person.identity.create_project, name=unique("refused"))


def roles(bench):
    """create, find, get, list, update and delete roles"""
    identity = bench.identity
    name = unique("role")
    role = identity.create_role(name=name, description="Some role")
    bench.later(bench.cloud.identity.delete_role, role.id)
    refused(409, identity.create_role, name=name)
    equal("found", identity.find_role(name, ignore_missing=False).id, role.id)
    equal("none such", identity.find_role("none-such", ignore_missing=True), None)
    equal("shown", identity.get_role(role.id).name, name)
    listed = [one.name for one in identity.roles()]
    for wanted in (name, "admin", "manager", "member", "reader"):
        contains("list", listed, wanted)
    equal("by name", ids(identity.roles(name=name)), [role.id])
    renamed = unique("renamed")
    equal("renamed", identity.update_role(role.id, name=renamed).name, renamed)
    identity.delete_role(role.id)
    refused(404, identity.get_role, role.id)
    refused(404, identity.delete_role, role.id, ignore_missing=False)


def assignments(bench):
    """assign, validate and unassign roles in projects, role_assignments, role_assignments_filter"""
    identity = bench.identity
    person = bench.person()
    project, user = person.project, person.user
    reader = bench.cloud.identity.find_role("reader", ignore_missing=False)
    triple = (project, user, reader)
    equal("not yet", identity.validate_user_has_project_role(*triple), False)
    identity.assign_project_role_to_user(*triple)
    equal("now", identity.validate_user_has_project_role(*triple), True)
    found = identity.role_assignments_filter(project=project, user=user)
    equal("names", sorted(one.name for one in found), ["member", "reader"])
    found = identity.role_assignments(user_id=user.id)
    equal("of the user", len(found), 2)
    equal("scopes", {one.scope["project"]["id"] for one in found}, {project.id})
    found = identity.role_assignments(scope_project_id=project.id, role_id=reader.id)
    equal("of the role", [one.user["id"] for one in found], [user.id])
    found = identity.role_assignments(user_id=user.id, include_names=True)
    equal("names", {(one.role["name"], one.user["name"]) for one in found},
          {("member", user.name), ("reader", user.name)})
    effective = identity.role_assignments(user_id=user.id, effective=True)
    contains("effective", [one.role["id"] for one in effective], reader.id)
    identity.unassign_project_role_from_user(*triple)
    equal("not any more", identity.validate_user_has_project_role(*triple), False)


def services(bench):
    """create, find, get, list, update and delete services"""
    identity = bench.identity
    name, kind = unique("service"), unique("kind")
    service = identity.create_service(name=name, type=kind, description="Some service")
    bench.later(bench.cloud.identity.delete_service, service.id)
    equal("made", (service.name, service.type, service.is_enabled), (name, kind, True))
    equal("found", identity.find_service(name, ignore_missing=False).id, service.id)
    equal("shown", identity.get_service(service.id).description, "Some service")
    listed = {one.type for one in identity.services()}
    for wanted in (kind, "compute", "identity", "image"):
        contains("list", listed, wanted)
    equal("by type", ids(identity.services(type=kind)), [service.id])
    changed = identity.update_service(service.id, description="Changed", is_enabled=False)
    equal("changed", (changed.description, changed.is_enabled), ("Changed", False))
    identity.delete_service(service.id)
    refused(404, identity.get_service, service.id)
    refused(404, identity.delete_service, service.id, ignore_missing=False)
    refused(403, bench.person().identity.create_service, name=name, type=kind)


def endpoints(bench):
    """create, find, get, list, update and delete endpoints, which get into catalogs"""
    identity = bench.identity
    service = identity.create_service(name=unique("service"), type=unique("kind"))
    bench.later(bench.cloud.identity.delete_service, service.id)
    region = identity.regions()[0].id
    endpoint = identity.create_endpoint(
        service_id=service.id, interface="public", region_id=region, url="http://192.0.2.1/v1",
        is_enabled=True,
    )
    bench.later(bench.cloud.identity.delete_endpoint, endpoint.id)
    made = (endpoint.service_id, endpoint.interface, endpoint.region_id)
    equal("made", made, (service.id, "public", region))
    equal("found", identity.find_endpoint(endpoint.id, ignore_missing=False).id, endpoint.id)
    equal("shown", identity.get_endpoint(endpoint.id).url, "http://192.0.2.1/v1")
    found = identity.endpoints(service_id=service.id, interface="public")
    equal("list", ids(found), [endpoint.id])
    changed = identity.update_endpoint(endpoint.id, url="http://192.0.2.2/v1")
    equal("changed", changed.url, "http://192.0.2.2/v1")
    cloud = bench.person().cloud
    equal("catalog", cloud.session.get_endpoint(service_type=service.type), "http://192.0.2.2/v1")
    refused(400, identity.create_endpoint, service_id=service.id, interface="none-such",
            url="http://192.0.2.1/v1")
    identity.delete_endpoint(endpoint.id)
    refused(404, identity.get_endpoint, endpoint.id)
    refused(404, identity.delete_endpoint, endpoint.id, ignore_missing=False)


def regions_and_domains(bench):
    """regions, find_region, get_region, domains, find_domain, get_domain"""
    identity = bench.identity
    equal("regions", ids(identity.regions()), ["RegionOne"])
    equal("region", identity.get_region("RegionOne").id, "RegionOne")
    equal("found", identity.find_region("RegionOne", ignore_missing=False).id, "RegionOne")
    equal("domains", [(one.id, one.name) for one in identity.domains()], [("default", "Default")])
    equal("domain", identity.get_domain("default").name, "Default")
    equal("found", identity.find_domain("Default", ignore_missing=False).id, "default")
    refused(404, identity.get_domain, NOBODY)


def application_credentials(bench):
    """create, find, get, list and delete application credentials, and log in with one"""
    person = bench.person()
    identity, user = person.identity, person.user
    expires = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()
    name = unique("credential")
    made = identity.create_application_credential(
        user, name, description="For a program", roles=[{"name": "member"}],
        expires_at=expires.replace("+00:00", "Z"),
    )
    assert made.secret, "no secret"
    equal("made", (made.name, made.project_id, made.unrestricted), (name, person.project.id, False))
    equal("roles", [role["name"] for role in made.roles], ["member"])
    refused(409, identity.create_application_credential, user, name)
    found = identity.find_application_credential(user, name, ignore_missing=False)
    equal("found", found.id, made.id)
    found = identity.find_application_credential(user, "none-such", ignore_missing=True)
    equal("none such", found, None)
    shown = identity.get_application_credential(user, made.id)
    equal("shown", (shown.description, shown.secret), ("For a program", None))
    equal("list", ids(identity.application_credentials(user)), [made.id])
    equal("by name", ids(identity.application_credentials(user, name=name)), [made.id])
    url = person.cloud.config.config["auth"]["auth_url"]
    by_id = {"auth_url": url, "application_credential_id": made.id,
             "application_credential_secret": made.secret}
    equal("user", login_with(by_id), user.id)
    by_name = {"auth_url": url, "application_credential_name": name, "user_id": user.id,
               "application_credential_secret": made.secret}
    equal("user", login_with(by_name), user.id)
    refused(401, login_with, by_id | {"application_credential_secret": "wrong"})
    own = identity.create_application_credential(user, unique("own"), secret="Not-really-secret-4")
    equal("own secret", own.secret, "Not-really-secret-4")
    identity.delete_application_credential(user, own.id)
    refused(403, bench.person().identity.get_application_credential, user, made.id)
    identity.delete_application_credential(user, made.id)
    refused(401, login_with, by_id)
    refused(404, identity.get_application_credential, user, made.id)
    refused(404, identity.delete_application_credential, user, made.id, ignore_missing=False)


def login_with(auth):
    """Logs in with an application credential; returns the user's id."""
    # Without a cloud: what it says of user and project would be mixed in.
    cloud = openstack.connect(
        load_yaml_config=False, load_envvars=False, auth_type="v3applicationcredential", auth=auth,
        region_name="RegionOne",
    )
    has("catalog", {one["type"] for one in cloud.service_catalog}, ["compute", "image"])
    return cloud.current_user_id


PARTS = [
    tokens, users, passwords, projects, roles, assignments, services, endpoints,
    regions_and_domains, application_credentials,
]
