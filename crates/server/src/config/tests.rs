//! What is taken from where, and how mistakes are told.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::*;
use crate::args::Args;

const PLACE: &str = "/etc/reprieve/reprieved.toml";

fn parse(text: &str) -> Result<Loaded, ConfigError> {
    file::parse(Path::new(PLACE), text)
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// A file, variables and options together.
fn load(text: &str, variables: &[(&str, &str)], options: &[&str]) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reprieved.toml");
    write(&path, text, 0o600);
    let args = [&["reprieved", "--config", path.to_str().unwrap()], options].concat();
    let args = Args::try_parse_from(args).unwrap();
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Loaded::with(&args.options, &|name| variables.get(name).map(|text| (*text).to_owned()))
}

fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_example_says_what_holds_without_it() {
    assert_eq!(parse(EXAMPLE).unwrap().config, Config::default());
    let defaults: Config = show::defaults().try_into().unwrap();
    assert_eq!(defaults, Config::default());
    // What stands behind ## can be read, too.
    let all: Vec<&str> = EXAMPLE
        .lines()
        .map(|line| {
            let bare = line.trim_start_matches('#');
            if bare.starts_with(|c: char| c.is_ascii_lowercase()) { bare } else { line }
        })
        .collect();
    let all = parse(&all.join("\n")).unwrap();
    for key in KEYS {
        assert!(all.origin(key.path).is_some(), "{key} is not in the example");
        assert!(EXAMPLE.contains(key.variable), "{} is not in the example", key.variable);
        let option = key.option.is_none_or(|option| EXAMPLE.contains(option));
        assert!(option, "{:?} is not in the example", key.option);
    }
    assert_eq!(all.origins.len(), KEYS.len());
}

#[test]
fn the_list_of_keys_is_all_that_can_be_read() {
    let tables: BTreeSet<&str> = KEYS.iter().map(|key| key.place().0).collect();
    for table in &tables {
        let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        let error = toml::from_str::<Config>(&format!("{header}zzz = 1\n")).unwrap_err();
        let expected = error.message().split_once("expected").unwrap().1.to_owned();
        let expected: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
        let mut known: BTreeSet<&str> =
            KEYS.iter().filter(|key| key.place().0 == *table).map(|key| key.place().1).collect();
        if table.is_empty() {
            known.extend(tables.iter().filter(|table| !table.is_empty()));
        }
        let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(expected, known.into_iter().map(str::to_owned).collect(), "{table}");
    }
    assert!(KEYS.is_sorted_by_key(|key| {
        KEYS.iter().position(|other| other.place().0 == key.place().0)
    }));
}

#[test]
fn options_win_over_variables_and_those_over_the_file() {
    let text = "[api]\nregion = 'a'\navailability_zone = 'a'\nlisten = '127.0.0.1:1'\n";
    let loaded = load(text, &[("REPRIEVE_REGION", "b")], &["--listen", "127.0.0.1:2"]).unwrap();
    let api = &loaded.config.api;
    assert_eq!((api.region.as_str(), api.availability_zone.as_str()), ("b", "a"));
    assert_eq!(api.listen.port(), 2);
    let origin = |path| loaded.origin(path).map(ToString::to_string).unwrap_or_default();
    assert_eq!(origin("api.region"), "REPRIEVE_REGION");
    assert!(origin("api.availability_zone").ends_with("reprieved.toml:3"));
    assert_eq!(origin("api.listen"), "--listen (REPRIEVE_LISTEN)");
    assert_eq!(origin("api.public_url"), "");
    let several =
        [("REPRIEVE_BUS_URLS", "amqp://a/ amqp://b/"), ("REPRIEVE_IMAGES_MAX_BYTES", "7")];
    let loaded = load("", &several, &["--no-notifications"]).unwrap();
    let urls: Vec<&str> = loaded.config.bus.urls.iter().map(Secret::reveal).collect();
    assert_eq!(urls, ["amqp://a/", "amqp://b/"]);
    assert_eq!(loaded.config.images.max_bytes, 7);
    let ratio = load("", &[("REPRIEVE_CPU_ALLOCATION_RATIO", "1.5")], &[]).unwrap();
    assert_eq!(ratio.config.scheduler.cpu_allocation_ratio.to_string(), "1.5");
    assert!(ratio.show().contains("cpu_allocation_ratio = 1.5  # REPRIEVE_CPU"));
    assert!(!loaded.config.notifications.enabled);
}

#[test]
fn options_stand_before_or_behind_the_role() {
    for line in [
        ["reprieved", "--host", "a", "compute"].as_slice(),
        ["reprieved", "compute", "--host", "a"].as_slice(),
    ] {
        let args = Args::try_parse_from(line).unwrap();
        assert_eq!(args.options.host.as_deref(), Some("a"), "{line:?}");
    }
}

#[test]
fn mistakes_are_told_with_their_place_and_what_to_do() {
    for (text, expected) in [
        ("[api]\n  lisen = '127.0.0.1:1'\n", ":2:3: there is no key or table `lisen` here"),
        ("[api]\n  lisen = '127.0.0.1:1'\n", "did you mean `listen`?"),
        ("[api]\n  lisen = '127.0.0.1:1'\n", "  |   lisen = '127.0.0.1:1'\n  |   ^"),
        ("[apj]\n", ":1:2: there is no key or table `apj` here"),
        ("[apj]\n", "did you mean `api`?"),
        ("hosts = 'a'\n", "did you mean `host`?"),
        ("[api]\nlisten = 'everywhere'\n", ":2:10: invalid socket address"),
        ("[api]\nlisten = 5\n", ":2:10: invalid type: integer `5`"),
        ("[log]\nformat = 'xml'\n", "unknown variant `xml`, expected `human` or `json`"),
        ("[log]\nformat = human\n", ":2:10: "),
        ("[log]\nformat = 'json'\nformat = 'json'\n", ":3:1: duplicate key"),
        ("[images]\nmax_bytes = -1\n", ":2:13: "),
        ("[scheduler]\ncpu_allocation_ratio = 0.0\n", ":2:24: a ratio is above 0"),
        ("[scheduler]\nram_allocation_ratio = 'x'\n", ":2:24: invalid type"),
        ("[scheduler]\nreserved_memory_mib = -1\n", ":2:23: "),
        ("x = {", ":1:"),
    ] {
        let said = refused(text);
        assert!(said.starts_with(PLACE), "{said}");
        assert!(said.contains(expected) && said.contains("to fix it: "), "{expected}\n{said}");
    }
}

#[test]
fn values_from_elsewhere_are_looked_at_as_well() {
    let said = |variables: &[(&str, &str)], options: &[&str]| {
        load("", variables, options).unwrap_err().to_string()
    };
    let queues = said(&[("REPRIEVE_BUS_QUEUES", "mirrored")], &[]);
    assert!(queues.starts_with("REPRIEVE_BUS_QUEUES: unknown variant `mirrored`"), "{queues}");
    let bytes = said(&[("REPRIEVE_IMAGES_MAX_BYTES", "many")], &[]);
    assert!(bytes.contains("REPRIEVE_IMAGES_MAX_BYTES: it has to be a number"), "{bytes}");
}

#[test]
fn no_message_has_a_secret() {
    for text in [
        "[bus]\nurls = 'amqp://u:s3cret@h/'\n",
        "[bus]\nurls = [\n  'amqp://u:s3cret@h/',\n  5,\n]\n",
        "[bus]\nurls = [\n  'amqp://u:s3cret@h/'\n  'x'\n]\n",
        "[database]\nurl = \"postgresql://u:s3cret@h/d\n",
        "[database]\nurl = ['s3cret']\n",
        "[database]\nuri = 'postgresql://u:s3cret@h/d'\n",
        "[database]\nurl = { s3cret = 1 }\n",
        "[notifications]\nurl = 's3cret' x\n",
    ] {
        let said = format!("{0} {0:?}", parse(text).unwrap_err());
        assert!(!said.contains("s3cret"), "{said}");
    }
    let text = "[bus]\nurls = ['amqp://u:s3cret@h/']\n[database]\nurl = 'postgresql://u:s3cret@h/d'\n\
                [notifications]\nurl = 'amqp://u:s3cret@h/'\n";
    let loaded = parse(text).unwrap();
    let shown = loaded.show();
    assert!(!shown.contains("s3cret") && !format!("{loaded:?}").contains("s3cret"), "{shown}");
    assert!(shown.contains("urls = [\"(hidden)\"]  # /etc/reprieve/reprieved.toml:2"), "{shown}");
    assert!(shown.contains("listen = \"127.0.0.1:8774\"  # default"), "{shown}");
    // It is a file that could be used.
    toml::from_str::<Config>(&shown).unwrap();
}

#[test]
fn a_file_with_a_password_is_not_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reprieved.toml");
    let read = |text: &str, mode| {
        write(&path, text, mode);
        file::read(&path).map(drop).map_err(|error| error.to_string())
    };
    let secret = "[database]\nurl = 'postgresql://u:s3cret@h/d'\n";
    let said = read(secret, 0o644).unwrap_err();
    assert!(said.contains("mode 644") && said.contains("chmod o= "), "{said}");
    read(secret, 0o640).unwrap();
    read("[database]\nurl = 'postgresql://u@h/d'\n", 0o644).unwrap();
    read("[database]\nurl = 'postgresql://h/d?password=x'\n", 0o644).unwrap_err();
    let missing = file::read(&dir.path().join("none")).unwrap_err();
    assert!(missing.to_string().contains("none cannot be read"), "{missing}");
}

/// Files that roles need.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        write(&files.path("key"), [7; 32], 0o600);
        write(&files.path("database"), "postgresql://u:p@h/d\n", 0o600);
        write(&files.path("bus"), "amqp://u:p@a/\n\n  amqp://u:p@b/\n", 0o600);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What suits every role.
    fn text(&self) -> String {
        let path = |name| self.path(name).display().to_string();
        format!(
            "sealing_key_file = '{}'\n[database]\nurl_file = '{}'\n[bus]\nurls_file = '{}'\n\
             [api]\npublic_url = 'http://c'\n[images]\nurls = ['http://c']\n",
            path("key"),
            path("database"),
            path("bus"),
        )
    }
}

#[test]
fn roles_say_what_they_need() {
    let needs = |role| parse("").unwrap().check(role).unwrap_err().to_string();
    parse("").unwrap().check(Role::AllInOne).unwrap();
    for (role, keys) in [
        (Role::Api, ["bus.urls", "sealing_key_file", "database.url", "api.public_url"].as_slice()),
        (Role::Conductor, &["bus.urls", "sealing_key_file", "database.url"]),
        (Role::Compute, &["bus.urls", "sealing_key_file", "images.urls"]),
    ] {
        let said = needs(role);
        assert_eq!(said.matches("to fix it: ").count(), keys.len(), "{said}");
        for key in keys {
            assert!(said.contains(&format!("{key} is missing")), "{key}: {said}");
        }
    }
    let files = Files::new();
    let loaded = parse(&files.text()).unwrap();
    for role in [Role::AllInOne, Role::Api, Role::Conductor, Role::Compute] {
        loaded.check(role).unwrap();
    }
    assert_eq!(loaded.broker().unwrap().unwrap().urls.len(), 2);
    assert_eq!(loaded.database_url().unwrap().unwrap().to_string(), "postgresql://u@h/d");
}

/// With the place, and without the password that is in it.
#[test]
fn an_address_of_no_database_is_refused() {
    let files = Files::new();
    for url in ["postgresql://u:s3cret@h:99999/d", "oracle://u:s3cret@h/d", "mysql://u:s3cret@h"] {
        let loaded = parse(&format!("[database]\nurl = '{url}'\n")).unwrap();
        let said = loaded.check(Role::AllInOne).unwrap_err().to_string();
        assert!(said.contains(":2: database.url (") && said.contains("to fix it: "), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        write(&files.path("database"), url, 0o600);
        let loaded = parse(&files.text()).unwrap();
        for role in [Role::Api, Role::Conductor] {
            let said = loaded.check(role).unwrap_err().to_string();
            assert!(said.contains("database.url_file (") && !said.contains("s3cret"), "{said}");
        }
        loaded.check(Role::Compute).unwrap();
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let files = Files::new();
    let said = |more: &str| {
        let loaded = parse(more).unwrap();
        loaded.check(Role::AllInOne).unwrap_err().to_string()
    };
    for (text, expected) in [
        ("[keystone]\nurl = 'http://k'\n", ":2: keystone.url is set without keystone.credentials"),
        ("[images]\nglance_url = 'http://k'\n", "without keystone.url"),
        ("[images]\nglance_url = 'k'\n", "is not the http or https URL of a service"),
        ("[images]\nurls = ['http://u:p@k']\n", "is not the http or https URL of a service"),
        ("[log]\nfilter = 'a=b=c'\n", "log.filter is no filter"),
        ("host = 'a b'\n", "host is not a name"),
        ("data_dir = ''\n", ":1: data_dir: '' is not a directory"),
        ("data_dir = '/dev/null'\n", "data_dir: '/dev/null' is not a directory"),
        ("[images]\ndirectory = '/dev/null'\n", "images.directory: '/dev/null' is not a"),
        ("[images]\ndirectory = '/nonexistent'\n", "/nonexistent does not exist"),
        ("[images]\nmax_bytes = 0\n", ":2: images.max_bytes lets no image be uploaded"),
        ("[api]\nregion = ''\n", ":2: api.region is not a name"),
        ("[api]\nregion = ' RegionOne'\n", "api.region is not a name"),
        ("[api]\navailability_zone = \"a\\u001b[2Jb\"\n", "api.availability_zone is not a name"),
        ("[api]\navailability_zone = 'nova:node1'\n", "api.availability_zone has a ':'"),
        ("[notifications]\ntopic = ''\n", ":2: notifications.topic is not a name"),
        ("[compute]\nlibvirt_uri = ''\n", ":2: compute.libvirt_uri is not an address"),
        ("[compute]\nlibvirt_uri = 'xen:///system'\n", "write it as in qemu:///system"),
        ("[api]\nmax_limit = 0\n", ":2: api.max_limit is not between 1 and 10000"),
        ("[api]\nmax_limit = 10001\n", "api.max_limit is not between"),
        ("[api]\ncompute_link_prefix = 'h'\n", "compute_link_prefix is not the http or https"),
        ("[api]\nglance_link_prefix = 'ftp://h'\n", "glance_link_prefix is not the http or https"),
        ("[consoles]\ntoken_ttl = 0\n", ":2: consoles.token_ttl is not between 1 and 86400"),
        ("[consoles]\nserial_base_url = 'http://h'\n", "write it with ws:// or wss://"),
        ("[consoles]\nserial_base_url = 'ws://h/?a=b'\n", "to which a token can be added"),
        ("[consoles]\nnovnc_base_url = 'ws://h'\n", "write it with http:// or https://"),
        ("[consoles]\nspice_html5_base_url = 'http://u@h'\n", "to which a token can be added"),
        ("[compute]\nconsole_listen = '0.0.0.0:6084'\n", ":2: compute.console_listen means all"),
        ("[compute]\nconsole_host = 'h:1'\n", "compute.console_host is no host"),
        ("sealing_key_file = '/nonexistent'\n", "/nonexistent does not exist"),
        ("[bus]\nurls = ['http://h']\n", ":2: address 1 of the message broker"),
        ("[bus]\nprefix = ''\nurls = ['amqp://h']\n", "a prefix of queues"),
        ("[database]\nurl = 'postgresql://h/d'\nurl_file = 'x'\n", "database.url is set, too"),
        ("[notifications]\nurl = 'amqp://h'\nenabled = false\n", "notifications are switched off"),
    ] {
        let said = said(text);
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    for good in [
        "[compute]\nconsole_listen = '0.0.0.0:6084'\nconsole_host = 'node1'\n",
        "[compute]\nconsole_listen = '[::1]:6084'\nconsole_host = 'fd00::5'\n",
        "[consoles]\nnovnc_base_url = 'https://h/vnc.html?path=p&autoconnect=1'\n",
        "[api]\ncompute_link_prefix = 'https://cloud.example/nova/'\nmax_limit = 5\n",
        "[api]\nregion = 'Zürich 1'\n[images]\nmax_bytes = 1\n",
        "data_dir = '/nonexistent/reprieve'\n",
        "[compute]\nlibvirt_uri = 'an-alias-of-libvirt.conf'\n",
        "[compute]\nlibvirt_uri = 'qemu+unix:///system?socket=/run/libvirt/libvirt-sock'\n",
    ] {
        parse(good).unwrap().check(Role::AllInOne).unwrap();
    }
    write(&files.path("policy"), "os_compute_api:os-rescue: role:admin and\n", 0o644);
    let policy = said(&format!("[api]\npolicy_file = '{}'\n", files.path("policy").display()));
    assert!(policy.contains("a check was expected"), "{policy}");
    let text = files.text();
    write(&files.path("key"), [7; 31], 0o600);
    assert!(said(&text).contains("not a key of 32 bytes"));
    write(&files.path("key"), [7; 32], 0o604);
    assert!(said(&text).contains("mode 604"));
    write(&files.path("key"), [7; 32], 0o600);
    write(&files.path("bus"), "\n", 0o600);
    assert!(said(&text).contains("no address in it"));
    let api = parse("[database]\nurl = '/var/lib/x.db'\n").unwrap().check(Role::Api);
    assert!(api.unwrap_err().to_string().contains("database.url is no server"));
    for url in ["postgresql://h/d", "mysql://h/d", "mariadb://h/d"] {
        let api = parse(&format!("[database]\nurl = '{url}'\n")).unwrap().check(Role::Api);
        assert!(!api.unwrap_err().to_string().contains("database.url"), "{url}");
    }
}
