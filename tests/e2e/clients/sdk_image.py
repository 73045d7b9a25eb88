"""The image service through openstacksdk."""

import hashlib
import io
import os
import tempfile

from told import NOBODY, contains, equal, has, ids, lacks, refused, unique

DATA = os.urandom(70000)


def upload_and_download(bench):
    """create_image with data and with a file, download_image in every way, upload_image"""
    image = bench.image
    name = unique("data")
    made = image.create_image(
        name, data=DATA, disk_format="raw", container_format="bare", validate_checksum=True,
        tags=["fresh"], meta={"min_disk": 1, "min_ram": 64}, visibility="private", wait=True,
    )
    bench.later(bench.cloud.image.delete_image, made.id)
    shown = image.get_image(made.id)
    equal("status", (shown.status, shown.size), ("active", len(DATA)))
    equal("checksum", shown.checksum, hashlib.md5(DATA).hexdigest())
    equal("hash", (shown.hash_algo, shown.hash_value), ("sha512", hashlib.sha512(DATA).hexdigest()))
    equal("least", (shown.min_disk, shown.min_ram, shown.tags), (1, 64, ["fresh"]))
    equal("owner", shown.owner_id, bench.project_id)
    equal("download", image.download_image(made.id).content, DATA)
    streamed = image.download_image(made.id, stream=True)
    equal("stream", b"".join(streamed.iter_content(4096)), DATA)
    output = io.BytesIO()
    image.download_image(made.id, output=output)
    equal("output", output.getvalue(), DATA)
    with tempfile.NamedTemporaryFile() as file:
        file.write(DATA)
        file.flush()
        from_file = image.create_image(unique("file"), filename=file.name, disk_format="raw")
    bench.later(bench.cloud.image.delete_image, from_file.id)
    equal("size", image.get_image(from_file.id).size, len(DATA))
    old = image.upload_image("bare", "raw", data=DATA, name=unique("upload"))
    bench.later(bench.cloud.image.delete_image, old.id)
    equal("download", image.download_image(old.id).content, DATA)
    again = image.create_image(name, data=DATA, disk_format="raw", validate_checksum=True)
    equal("not uploaded twice", again.id, made.id)


def imports(bench):
    """get_import_info, which offers no method, and import_image, which is refused"""
    equal("methods", bench.image.get_import_info().import_methods["value"], [])
    made = queued(bench)
    # The library leaves it to the caller to look at the answer.
    answer = bench.image.import_image(made)
    equal("import", answer.status_code, 400)
    contains("400", answer.text, "Unknown import method name 'glance-direct'")


def queued(bench, **options):
    """An image without data."""
    made = bench.image.create_image(
        unique("queued"), disk_format="raw", container_format="bare", allow_duplicates=True,
        **options,
    )
    bench.later(bench.cloud.image.delete_image, made.id)
    equal("status", made.status, "queued")
    return made


def find_and_list(bench):
    """find_image, images with every filter, sorted and in pages"""
    image = bench.image
    one = image.create_image(unique("listed"), data=DATA, disk_format="raw", tags=["listed"])
    bench.later(bench.cloud.image.delete_image, one.id)
    two = queued(bench)
    equal("by name", image.find_image(one.name, ignore_missing=False).id, one.id)
    equal("by id", image.find_image(one.id, ignore_missing=False).name, one.name)
    equal("none such", image.find_image("none-such", ignore_missing=True), None)
    listed = ids(image.images())
    for id in (one.id, two.id, bench.image_id, bench.rescue_id):
        contains("list", listed, id)
    for query, here, not_here in [
        ({"name": one.name}, one, two), ({"status": "active"}, one, two),
        ({"status": "queued"}, two, one), ({"tag": "listed"}, one, two),
        ({"owner": bench.project_id}, one, None), ({"owner": NOBODY}, None, one),
        ({"size_min": len(DATA)}, one, two), ({"size_max": 10}, None, one),
        ({"visibility": "public"}, None, one), ({"protected": False}, one, None),
        ({"protected": True}, None, one), ({"is_hidden": True}, None, one),
        ({"id": one.id}, one, two), ({"created_at": "gt:2001-01-01T00:00:00Z"}, one, None),
        ({"updated_at": "lt:2001-01-01T00:00:00Z"}, None, one),
        ({"member_status": "all"}, one, None),
    ]:
        found = ids(bench.image.images(**query))
        if here is not None:
            contains(f"images with {query}", found, here.id)
        if not_here is not None:
            lacks(f"images with {query}", found, not_here.id)
    names = [found.name for found in image.images(sort_key="name", sort_dir="asc")]
    equal("order", names, sorted(names))
    names = [found.name for found in image.images(sort="name:desc")]
    equal("reverse order", names, sorted(names, reverse=True))
    by_ones = ids(image.images(limit=1))
    equal("pages", by_ones, listed)
    refused(400, image.images, sort_key="none_such")
    refused(404, image.get_image, NOBODY)


def update(bench):
    """update_image, update_image_properties"""
    image = bench.image
    made = queued(bench)
    changed = image.update_image(made.id, name=unique("renamed"), min_disk=2, min_ram=32,
                                 is_protected=True, os_distro="none", colour="blue")
    bench.later(bench.cloud.image.update_image, made.id, is_protected=False)
    equal("changed", (changed.min_disk, changed.min_ram, changed.os_distro), (2, 32, "none"))
    equal("property", changed.properties["colour"], "blue")
    text = refused(403, image.delete_image, made.id)
    contains("403", text, "protected")
    equal("changed", image.update_image_properties(changed, shape="round"), True)
    shown = image.get_image(made.id)
    equal("properties", (shown.properties["colour"], shown.properties["shape"]), ("blue", "round"))
    image.update_image(made.id, is_protected=False, is_hidden=True, visibility="public")
    shown = image.get_image(made.id)
    equal("shown", (shown.is_protected, shown.is_hidden, shown.visibility), (False, True, "public"))
    refused(403, image.update_image, made.id, status="active")
    refused(403, image.update_image, bench.image_id, disk_format="iso")
    refused(403, bench.person().image.update_image, made.id, name="refused")


def tags(bench):
    """add_tag, remove_tag"""
    image = bench.image
    made = queued(bench)
    image.add_tag(made.id, "one")
    image.add_tag(made.id, "two")
    equal("tags", sorted(image.get_image(made.id).tags), ["one", "two"])
    image.remove_tag(made.id, "one")
    equal("tags", image.get_image(made.id).tags, ["two"])
    refused(404, image.remove_tag, made.id, "one")


def members(bench):
    """add_member, find_member, get_member, members, update_member, remove_member"""
    image = bench.image
    person = bench.person()
    id, project = image.create_image(
        unique("shared"), data=DATA, disk_format="raw", visibility="shared").id, person.project.id
    bench.later(bench.cloud.image.delete_image, id)
    refused(404, person.image.get_image, id)
    member = image.add_member(id, member_id=project)
    equal("member", (member.status, member.member_id), ("pending", project))
    refused(409, image.add_member, id, member_id=project)
    equal("for them", person.image.get_image(id).id, id)
    lacks("not accepted", ids(person.image.images()), id)
    equal("found", image.find_member(project, id, ignore_missing=False).status, "pending")
    equal("listed", [one.member_id for one in image.members(id)], [project])
    accepted = person.image.update_member(project, id, status="accepted")
    equal("accepted", accepted.status, "accepted")
    equal("got", image.get_member(project, id).status, "accepted")
    contains("accepted", ids(person.image.images()), id)
    equal("downloaded", person.image.download_image(id).content, DATA)
    refused(403, person.image.delete_image, id)
    image.remove_member(project, id)
    refused(404, image.get_member, project, id)
    refused(404, image.remove_member, project, id, ignore_missing=False)
    refused(404, person.image.get_image, id)


def deactivate(bench):
    """deactivate_image, reactivate_image, delete_image"""
    image = bench.image
    person = bench.person()
    made = image.create_image(unique("off"), data=DATA, disk_format="raw", visibility="public")
    bench.later(bench.cloud.image.delete_image, made.id)
    image.deactivate_image(made.id)
    equal("status", image.get_image(made.id).status, "deactivated")
    # The library would take the refusal for the data, and find its checksum wrong.
    equal("download", person.image.get(f"/images/{made.id}/file").status_code, 403)
    image.reactivate_image(made.id)
    equal("status", image.get_image(made.id).status, "active")
    equal("download", person.image.download_image(made.id).content, DATA)
    refused(403, person.image.delete_image, made.id)
    image.delete_image(made.id)
    image.delete_image(made.id)
    refused(404, image.delete_image, made.id, ignore_missing=False)


def schemas(bench):
    """get_images_schema, get_image_schema, get_members_schema, get_member_schema"""
    image = bench.image
    equal("images", image.get_images_schema().name, "images")
    shown = image.get_image_schema()
    has("image", shown.properties, ["id", "name", "status", "visibility", "owner", "tags"])
    equal("members", image.get_members_schema().name, "members")
    has("member", image.get_member_schema().properties, ["member_id", "image_id", "status"])


PARTS = [upload_and_download, imports, find_and_list, update, tags, members, deactivate, schemas]
