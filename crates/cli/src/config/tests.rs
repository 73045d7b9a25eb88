//! Precedence of options, environment and clouds.yaml.

use std::path::Path;

use super::*;

const TWO: &str = "
clouds:
  reprieve:
    auth:
      auth_url: http://127.0.0.1:8774/identity/v3
      username: admin
      password: 12345
      project_name: admin
      user_domain_name: Default
      project_domain_name: Default
    region_name: here
  other:
    auth: {auth_url: 'https://other:5000/', username: o, password: p, project_id: abc}
    interface: internalURL
    verify: false
";

fn env(dir: &Path, variables: &[(&str, &str)]) -> Environment {
    let base = [("HOME", dir.display().to_string()), ("REPRIEVE_DATA_DIR", String::new())];
    let given = variables.iter().map(|(key, value)| (*key, (*value).to_owned()));
    Environment {
        variables: base
            .into_iter()
            .chain(given)
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        current_dir: dir.to_owned(),
        system_dir: dir.join("etc"),
        is_root: false,
    }
}

fn password(cloud: &Cloud) -> &str {
    match &cloud.credentials {
        Credentials::Password { password, .. } => password.expose(),
        Credentials::Token(_) | Credentials::ApplicationCredential { .. } => {
            panic!("no password")
        }
    }
}

fn write(dir: &Path, text: &str) {
    std::fs::write(dir.join("clouds.yaml"), text).unwrap();
}

#[test]
fn the_clouds_yaml_of_the_daemon_is_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = resolve(&CloudArgs::default(), &env(dir.path(), &[]));
    assert!(matches!(cloud, Err(ConfigError::Nothing)), "{cloud:?}");
    let share = dir.path().join(".local/share/reprieve");
    std::fs::create_dir_all(&share).unwrap();
    write(&share, TWO);
    let cloud = resolve(&CloudArgs::default(), &env(dir.path(), &[])).unwrap();
    assert_eq!(cloud.auth_url, "http://127.0.0.1:8774/identity/v3");
    assert_eq!(cloud.user(), "admin");
    assert_eq!(password(&cloud), "12345");
    assert_eq!(cloud.region.as_deref(), Some("here"));
    assert!(cloud.origin.contains("cloud 'reprieve' of"));
    let domain = Domain::Name("Default".into());
    assert_eq!(cloud.project, Some(Named::Name { name: "admin".into(), domain }));
}

#[test]
fn a_file_nearer_to_the_user_wins() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join(".config/openstack");
    std::fs::create_dir_all(&config).unwrap();
    write(
        &config,
        "clouds: {mine: {auth: {auth_url: http://c, username: u, password: p, project_name: x}}}",
    );
    let cloud = resolve(&CloudArgs::default(), &env(dir.path(), &[])).unwrap();
    assert_eq!(cloud.auth_url, "http://c/v3");
    write(dir.path(), TWO);
    let cloud = resolve(&CloudArgs::default(), &env(dir.path(), &[])).unwrap();
    assert_eq!(cloud.user(), "admin");
    let named = env(dir.path(), &[("OS_CLIENT_CONFIG_FILE", "/nonexistent/clouds.yaml")]);
    assert!(matches!(resolve(&CloudArgs::default(), &named), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn a_named_cloud_ignores_the_environment_but_not_the_options() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), TWO);
    let variables = [
        ("OS_CLOUD", "other"),
        ("OS_AUTH_URL", "http://evil/v3"),
        ("OS_PASSWORD", "wrong"),
        ("OS_USERNAME", "wrong"),
    ];
    let options = CloudArgs { os_project_name: Some("demo".into()), ..CloudArgs::default() };
    let cloud = resolve(&options, &env(dir.path(), &variables)).unwrap();
    assert_eq!(cloud.auth_url, "https://other:5000/v3");
    assert_eq!((cloud.user(), password(&cloud)), ("o", "p"));
    assert_eq!(cloud.interface, "internal");
    assert!(!cloud.verify);
    let domain = Domain::Id("default".into());
    assert_eq!(cloud.project, Some(Named::Name { name: "demo".into(), domain }));
    let options = CloudArgs { os_cloud: Some("reprieve".into()), ..CloudArgs::default() };
    let cloud = resolve(&options, &env(dir.path(), &variables)).unwrap();
    assert_eq!(cloud.user(), "admin");
}

#[test]
fn the_environment_is_used_whole_and_options_override_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), TWO);
    let variables = [
        ("OS_AUTH_URL", "http://e:5000"),
        ("OS_USERNAME", "eve"),
        ("OS_PASSWORD", "secret"),
        ("OS_PROJECT_NAME", "p"),
        ("OS_USER_DOMAIN_NAME", "D"),
    ];
    let environment = env(dir.path(), &variables);
    let cloud = resolve(&CloudArgs::default(), &environment).unwrap();
    assert_eq!(cloud.auth_url, "http://e:5000/v3");
    assert_eq!((cloud.user(), password(&cloud)), ("eve", "secret"));
    let options = CloudArgs { os_token: Some("tok".into()), ..CloudArgs::default() };
    let cloud = resolve(&options, &environment).unwrap();
    assert_eq!(cloud.credentials, Credentials::Token("tok".to_owned().into()));
    assert!(!format!("{cloud:?}").contains("tok\""), "{cloud:?}");
    let options = CloudArgs { os_username: Some("bob".into()), ..CloudArgs::default() };
    assert_eq!(resolve(&options, &environment).unwrap().user(), "bob");
}

#[test]
fn an_auth_url_alone_never_gets_the_password_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), TWO);
    let options = CloudArgs { os_auth_url: Some("http://new".into()), ..CloudArgs::default() };
    let error = resolve(&options, &env(dir.path(), &[])).unwrap_err();
    assert!(error.to_string().contains("no password"), "{error}");
}

#[test]
fn single_variables_override_the_default_cloud() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), TWO);
    let environment = env(dir.path(), &[("OS_REGION_NAME", "there")]);
    let cloud = resolve(&CloudArgs::default(), &environment).unwrap();
    assert_eq!(cloud.region.as_deref(), Some("there"));
    assert_eq!(cloud.user(), "admin");
}

#[test]
fn secrets_may_be_in_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "clouds: {a: {auth: {auth_url: http://c, username: u, project_name: x}}}");
    std::fs::write(dir.path().join("secure.yaml"), "clouds: {a: {auth: {password: pw}}}").unwrap();
    let cloud = resolve(&CloudArgs::default(), &env(dir.path(), &[])).unwrap();
    assert_eq!(password(&cloud), "pw");
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = |options: &CloudArgs, variables: &[(&str, &str)]| {
        resolve(options, &env(dir.path(), variables)).unwrap_err().to_string()
    };
    let named = CloudArgs { os_cloud: Some("zz".into()), ..CloudArgs::default() };
    assert!(text(&named, &[]).contains("no clouds.yaml"));
    write(dir.path(), TWO);
    assert!(text(&named, &[]).contains("there is: other, reprieve"));
    write(dir.path(), "clouds: {a: {}, b: {}}");
    assert!(
        text(&CloudArgs::default(), &[]).contains("choose one with --os-cloud or OS_CLOUD: a, b")
    );
    write(dir.path(), "clouds: {a: {auth_type: v3oidc, auth: {auth_url: http://c}}}");
    assert!(text(&CloudArgs::default(), &[]).contains("v3oidc"));
    write(dir.path(), "clouds: {a: {auth: {auth_url: 'ftp://c'}}}");
    assert!(text(&CloudArgs::default(), &[]).contains("not an http or https URL"));
    write(dir.path(), "clouds: {a: {auth: {auth_url: http://c, password: [hunter2]}}}");
    let message = text(&CloudArgs::default(), &[]);
    assert!(message.contains("line 1") && !message.contains("hunter2"), "{message}");
    write(dir.path(), &format!("#{}\nclouds: {{}}", "x".repeat(1 << 20)));
    assert!(text(&CloudArgs::default(), &[]).contains("larger than"));
}

#[test]
fn application_credentials_come_from_all_sources() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "clouds:
  a:
    auth_type: v3applicationcredential
    auth: {auth_url: http://c, application_credential_id: i, application_credential_secret: s}
  b: {auth: {auth_url: http://c, username: u, password: p, project_name: x}}
  c: {auth_type: v3applicationcredential, auth: {auth_url: http://c, username: u, password: p}}
",
    );
    let named = |name: &str| CloudArgs { os_cloud: Some(name.into()), ..CloudArgs::default() };
    let nothing = env(dir.path(), &[]);
    let cloud = resolve(&named("a"), &nothing).unwrap();
    let by_id = Credentials::ApplicationCredential {
        credential: CredentialName::Id("i".into()),
        secret: "s".to_owned().into(),
    };
    assert_eq!(cloud.credentials, by_id);
    assert_eq!((cloud.user(), &cloud.project), ("i", &None));

    // A way to authenticate that is said by an option hides what the file says.
    let password = CloudArgs {
        os_username: Some("v".into()),
        os_password: Some("q".into()),
        os_project_name: Some("y".into()),
        ..named("a")
    };
    assert_eq!(resolve(&password, &nothing).unwrap().user(), "v");
    let credential = CloudArgs {
        os_application_credential_name: Some("ci".into()),
        os_application_credential_secret: Some("s".into()),
        ..named("b")
    };
    let cloud = resolve(&credential, &nothing).unwrap();
    let domain = Domain::Id("default".into());
    let user = Named::Name { name: "u".into(), domain };
    let by_name = Credentials::ApplicationCredential {
        credential: CredentialName::Name { name: "ci".into(), user },
        secret: "s".to_owned().into(),
    };
    assert_eq!(cloud.credentials, by_name);
    // The project of the file is another way's: a credential has its own.
    assert_eq!(cloud.project, None);

    let variables = [
        ("OS_AUTH_URL", "http://e"),
        ("OS_AUTH_TYPE", "v3applicationcredential"),
        ("OS_APPLICATION_CREDENTIAL_ID", "i"),
        ("OS_APPLICATION_CREDENTIAL_SECRET", "s"),
    ];
    let cloud = resolve(&CloudArgs::default(), &env(dir.path(), &variables)).unwrap();
    assert_eq!(cloud.credentials, by_id);
    assert!(!format!("{cloud:?}").contains("\"s\""), "{cloud:?}");

    let missing = resolve(&named("c"), &nothing).unwrap_err().to_string();
    assert!(missing.contains("OS_APPLICATION_CREDENTIAL_SECRET"), "{missing}");
}
