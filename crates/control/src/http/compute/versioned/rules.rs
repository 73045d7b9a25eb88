//! What versions changed that is neither a path, nor a field, nor a parameter: in which versions a
//! rule holds, by the name of the rule.

use super::Versions;

/// A public flavor cannot be opened to a project.
pub const PUBLIC_FLAVORS_STAY_PUBLIC: Versions = Versions::since(7);
/// `PUT /os-services/force-down`.
pub const SERVICES_CAN_BE_FORCED_DOWN: Versions = Versions::since(11);
/// A new server is described as asked; before, as it is named.
pub const SERVERS_HAVE_DESCRIPTIONS: Versions = Versions::since(19);
/// Instance actions can be read after their server is deleted.
pub const ACTIONS_OUTLIVE_SERVERS: Versions = Versions::since(21);
/// `GET /os-console-auth-tokens/{token}` knows only a kind of console that there is no more.
pub const CONSOLE_TOKENS_ARE_OF_RDP: Versions = Versions::until(30);
/// A list of servers of a status that there is not is an error; before, it is empty.
pub const STATUSES_ARE_CHECKED: Versions = Versions::since(38);
/// Everybody who may see an instance action sees its events; before, who may see tracebacks does.
pub const EVENTS_ARE_FOR_EVERYBODY: Versions = Versions::since(51);
/// Services and hypervisors are called by UUIDs; before, by numbers.
pub const HOSTS_HAVE_UUIDS: Versions = Versions::since(53);
/// `PUT /os-services/{id}` changes a service; before, the last part of the path is what to do.
pub const SERVICES_ARE_UPDATED: Versions = Versions::since(53);
/// A migration may name its host.
pub const MIGRATIONS_NAME_HOSTS: Versions = Versions::since(56);
/// A server is locked with a reason.
pub const LOCKS_HAVE_REASONS: Versions = Versions::since(73);
/// Extra specs of Nova's namespaces have to be Nova's.
pub const EXTRA_SPECS_ARE_CHECKED: Versions = Versions::since(86);
/// Unshelving may name a host.
pub const UNSHELVING_NAMES_HOSTS: Versions = Versions::since(91);
/// Names of key pairs are refused in words of their own; since, by the schema.
pub const KEYPAIR_NAMES_ARE_PLAIN: Versions = Versions::until(91);
