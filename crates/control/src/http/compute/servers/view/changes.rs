//! What every microversion changed about a server in answers. A server is put together as the newest
//! version shows it; whoever asks for an older one gets it with the changes since then undone.

use super::super::super::microversion::Microversion;
use super::body::{Flavor, ImageOrNone, Server};
use super::{Answer, Subject};

/// Undoes what came with a version.
type Undo = for<'a> fn(&mut Server<'a>, &Subject<'a>);

/// Versions that changed something, newest first, and what they changed. Sources: spec/api.md
/// sections 7.3 and 8.
const CHANGES: [(u16, Undo); 14] = [
    (100, |server, _| server.scheduler_hints = None),
    (98, |server, _| {
        if let ImageOrNone::Image(image) = &mut server.image {
            image.properties = None;
        }
    }),
    (96, |server, _| server.pinned_availability_zone = None),
    // Until then for administrators only, among the other attributes.
    (90, |server, subject| {
        server.hostname = server.hostname.filter(|_| subject.sees.attributes);
    }),
    // Until then a change was answered without what other services know.
    (75, |server, subject| {
        if subject.answer == Answer::Update {
            (server.extended, server.host_status) = (None, None);
            server.hostname = None;
        }
    }),
    (73, |server, _| server.locked_reason = None),
    (71, |server, _| server.server_groups = None),
    (63, |server, _| server.trusted_image_certificates = None),
    (47, |server, subject| {
        let id = subject.server.flavor.flavor_id.as_str();
        let links = [subject.links.bookmark_link(&format!("flavors/{id}"))];
        server.flavor = Flavor::Reference { id, links };
    }),
    (26, |server, _| server.tags = None),
    (19, |server, _| server.description = None),
    (16, |server, _| server.host_status = None),
    (9, |server, _| server.locked = None),
    (3, |server, _| {
        server.hostname = None;
        if let Some(attributes) = server.extended.as_mut().and_then(|all| all.attributes.as_mut()) {
            attributes.request = None;
        }
    }),
];

/// Turns the newest representation into that of `version`.
pub fn undo_until<'a>(version: Microversion, server: &mut Server<'a>, subject: &Subject<'a>) {
    for (since, undo) in CHANGES {
        if version.since(since) {
            return;
        }
        undo(server, subject);
    }
}
