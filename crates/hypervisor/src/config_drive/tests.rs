use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use reprieve_core::spec::{
    DiskFormat, FlavorSpec, GuestMetadata, ImageSpec, InjectedFile, InstanceSpec,
};
use reprieve_core::{ImageId, InstanceId, SealingKey};
use serde_json::Value;

use super::{ConfigDrive, ConfigDriveError};

const KEY: SealingKey = SealingKey::new([3; 32]);

fn spec() -> InstanceSpec {
    InstanceSpec {
        id: InstanceId::random(),
        number: 42,
        name: "Web Server №1".to_owned(),
        project_id: "0123456789abcdef0123456789abcdef".into(),
        user_id: "u".into(),
        flavor: FlavorSpec {
            name: "tiny".to_owned(),
            vcpus: 1,
            memory_mib: 64,
            root_gib: 1,
            extra_specs: BTreeMap::new(),
        },
        image: ImageSpec {
            id: ImageId::random(),
            name: "tiny".to_owned(),
            format: DiskFormat::Raw,
            size_bytes: 1,
            sha512: String::new(),
            properties: BTreeMap::new(),
        },
        config_drive: true,
        metadata: GuestMetadata {
            hostname: "web-server-1".to_owned(),
            public_keys: BTreeMap::from([("key".to_owned(), "ssh-ed25519 AAAA me\n".to_owned())]),
            meta: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
            user_data: Some("IyEvYmluL3NoCg==".to_owned()),
            admin_password: None,
            availability_zone: "nova".to_owned(),
        },
    }
}

fn drive<'a>(spec: &'a InstanceSpec, password: Option<&str>) -> ConfigDrive<'a> {
    let sealed = password.map(|password| KEY.seal(spec.id, password).unwrap());
    ConfigDrive::new(spec, sealed.as_ref(), &KEY).unwrap()
}

/// What genisoimage's reader says, with Rock Ridge (`-R`) or Joliet (`-J`) names.
fn isoinfo(image: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("isoinfo").arg("-i").arg(image).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn names(image: &Path, form: &str) -> Vec<String> {
    let listing = String::from_utf8(isoinfo(image, &[form, "-f"])).unwrap();
    let mut names: Vec<String> = listing.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[tokio::test]
async fn another_reader_finds_everything_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (file, spec) = (dir.path().join("disk.config"), spec());
    let drive = drive(&spec, Some("pa\"ss wörd"));
    drive.write(&file).await.unwrap();
    let label = String::from_utf8(isoinfo(&file, &["-d"])).unwrap();
    assert!(label.contains("Volume id: config-2\n"), "{label}");
    for form in ["-R", "-J"] {
        let files = [
            "/ec2",
            "/ec2/latest",
            "/ec2/latest/meta-data.json",
            "/openstack",
            "/openstack/2018-08-27",
            "/openstack/2018-08-27/meta_data.json",
            "/openstack/2018-08-27/network_data.json",
            "/openstack/2018-08-27/user_data",
            "/openstack/2018-08-27/vendor_data.json",
            "/openstack/latest",
            "/openstack/latest/meta_data.json",
            "/openstack/latest/network_data.json",
            "/openstack/latest/user_data",
            "/openstack/latest/vendor_data.json",
        ];
        assert_eq!(names(&file, form), files, "{form}");
        let text = isoinfo(&file, &[form, "-x", "/openstack/latest/meta_data.json"]);
        let meta: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            meta,
            serde_json::json!({
                "uuid": spec.id.to_string(),
                "meta": { "role": "web" },
                "admin_pass": "pa\"ss wörd",
                "public_keys": { "key": "ssh-ed25519 AAAA me\n" },
                "keys": [{ "name": "key", "type": "ssh", "data": "ssh-ed25519 AAAA me\n" }],
                "hostname": "web-server-1",
                "name": "Web Server №1",
                "launch_index": 0,
                "availability_zone": "nova",
                "project_id": "0123456789abcdef0123456789abcdef",
                "devices": [],
            })
        );
        let user_data = isoinfo(&file, &[form, "-x", "/openstack/latest/user_data"]);
        assert_eq!(user_data, b"#!/bin/sh\n");
    }
}

#[tokio::test]
async fn injected_files_lie_under_numbers_and_the_metadata_says_where_they_go() {
    let dir = tempfile::tempdir().unwrap();
    let (file, spec) = (dir.path().join("disk.config"), spec());
    let injected = |path: &str, contents: &str| InjectedFile {
        path: path.to_owned(),
        contents: contents.to_owned(),
    };
    let files = [injected("/etc/motd", "aGVsbG8K"), injected("/etc/empty", "")];
    let plain = drive(&spec, None);
    plain.write(&file).await.unwrap();
    let drive = drive(&spec, None).with_files(&files);
    assert!(!drive.is_written(&file).await.unwrap(), "a drive without them is another one");
    drive.write(&file).await.unwrap();
    for form in ["-R", "-J"] {
        assert_eq!(isoinfo(&file, &[form, "-x", "/openstack/content/0000"]), b"hello\n");
        assert!(names(&file, form).contains(&"/openstack/content/0001".to_owned()));
        let text = isoinfo(&file, &[form, "-x", "/openstack/latest/meta_data.json"]);
        let meta: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            meta["files"],
            serde_json::json!([
                { "path": "/etc/motd", "content_path": "/content/0000" },
                { "path": "/etc/empty", "content_path": "/content/0001" },
            ])
        );
    }
    let broken = [injected("/x", "%%%")];
    let refused = super::ConfigDrive::new(&spec, None, &KEY).unwrap().with_files(&broken).image();
    assert!(matches!(refused, Err(ConfigDriveError::InjectedFile(path)) if path == "/x"));
}

#[tokio::test]
async fn the_probe_knows_a_drive_with_another_password() {
    let dir = tempfile::tempdir().unwrap();
    let (file, spec) = (dir.path().join("disk.config.rescue"), spec());
    let (old, new) = (drive(&spec, Some("old")), drive(&spec, Some("new")));
    assert!(!old.is_written(&file).await.unwrap());
    old.write(&file).await.unwrap();
    assert!(old.is_written(&file).await.unwrap());
    assert!(!new.is_written(&file).await.unwrap());
    new.write(&file).await.unwrap();
    assert!(new.is_written(&file).await.unwrap());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no parts are left");
}

#[test]
fn equal_content_gives_equal_bytes() {
    let spec = spec();
    let image = drive(&spec, Some("secret")).image().unwrap();
    // Long enough for the writer's clock to show another second in some record.
    let end = std::time::Instant::now() + std::time::Duration::from_millis(1100);
    while std::time::Instant::now() < end {
        assert!(image == drive(&spec, Some("secret")).image().unwrap());
    }
}

#[test]
fn passwords_are_opened_shown_to_nobody_and_may_be_empty() {
    let spec = spec();
    let drive = drive(&spec, Some("secret"));
    assert!(!format!("{drive:?}").contains("secret"));
    let has = |image: &[u8], text: &[u8]| image.windows(text.len()).any(|part| part == text);
    assert!(has(&drive.image().unwrap(), b"\"admin_pass\": \"secret\""));
    let empty = self::drive(&spec, Some("")).image().unwrap();
    assert!(has(&empty, b"\"admin_pass\": \"\""));
    assert!(!has(&self::drive(&spec, None).image().unwrap(), b"admin_pass"));
    let foreign = SealingKey::new([4; 32]).seal(spec.id, "secret").unwrap();
    let error = ConfigDrive::new(&spec, Some(&foreign), &KEY).unwrap_err();
    assert!(matches!(error, ConfigDriveError::Seal(_)));
}

#[test]
fn user_data_is_decoded_or_refused() {
    let mut spec = spec();
    spec.metadata.user_data = Some("IyEvYmlu\nL3NoCg==\n".to_owned());
    drive(&spec, None).image().unwrap();
    spec.metadata.user_data = Some("not base64!".to_owned());
    let error = drive(&spec, None).image().unwrap_err();
    assert!(matches!(error, ConfigDriveError::UserData));
    spec.metadata.user_data = Some(String::new());
    drive(&spec, None).image().unwrap();
    spec.metadata.user_data = None;
    drive(&spec, None).image().unwrap();
}
