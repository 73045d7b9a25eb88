//! The policy file: a YAML mapping of rule names to checks, as Nova's `policy.yaml`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use reprieve_core::policy::Policy;
use tracing::{info, warn};

/// A policy file is small; anything larger is something else.
const MAX_BYTES: u64 = 1 << 20;

/// Nova's rules with what the file says in their place: the `named` file, or the `usual` one if it
/// exists.
///
/// # Errors
/// When the file cannot be read or a check in it cannot be used, naming file, rule and reason.
pub fn read(named: Option<&Path>, usual: &Path) -> anyhow::Result<Policy> {
    let path = named.unwrap_or(usual);
    let overrides = match File::open(path) {
        Ok(file) => parse(file).with_context(|| unusable(path))?,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => BTreeMap::new(),
        Err(error) => return Err(error).with_context(|| unusable(path)),
    };
    let count = overrides.len();
    let policy = Policy::load(overrides).with_context(|| unusable(path))?;
    if count > 0 {
        info!(file = %path.display(), rules = count, "policy file read");
    }
    for rule in policy.unknown_names() {
        warn!(file = %path.display(), rule, "this rule is not known and has no effect");
    }
    Ok(policy)
}

fn unusable(path: &Path) -> String {
    format!("the policy file {} cannot be used", path.display())
}

/// An empty file has no rules.
fn parse(file: File) -> anyhow::Result<BTreeMap<String, String>> {
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        bail!("it is larger than {MAX_BYTES} bytes");
    }
    let document: Option<BTreeMap<String, String>> = serde_saphyr::from_str(&text)
        .context("it has to be a mapping of rule names to checks, both of them texts")?;
    let rules = document.unwrap_or_default();
    // oslo.policy takes an empty check for "always", and YAML takes a bare `!` for an empty text:
    // a rule that should let nobody through would let everybody.
    if let Some((rule, _)) = rules.iter().find(|(_, check)| check.trim().is_empty()) {
        bail!("the check of the rule \"{rule}\" is empty: write \"@\" (always) or \"!\" (never)");
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprieve_core::policy::{Credentials, rules};
    use reprieve_core::{ProjectId, UserId};

    fn read_text(text: &str) -> anyhow::Result<Policy> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.yaml");
        std::fs::write(&path, text).unwrap();
        read(None, &path)
    }

    fn may_pause(policy: &Policy, role: &str) -> bool {
        let (user, project) = (UserId::from("u"), ProjectId::from("p"));
        policy.allows_own(rules::PAUSE, &Credentials::new(&user, &project, [role]))
    }

    #[test]
    fn rules_of_the_file_replace_the_defaults() {
        let policy = read_text(concat!(
            "# Cooks run the cloud.\n",
            "\"cooks\": \"role:cook or\n   role:chef\"\n",
            "\"os_compute_api:os-pause-server:pause\": rule:cooks\n",
            "os_compute_api:os-pause-server:puase: '@'\n",
        ))
        .unwrap();
        assert!(may_pause(&policy, "chef") && !may_pause(&policy, "member"));
        assert_eq!(policy.unknown_names(), ["os_compute_api:os-pause-server:puase"]);
    }

    #[test]
    fn without_rules_there_are_the_defaults() {
        for text in ["", "# nothing\n", "{}\n", "---\n"] {
            assert!(may_pause(&read_text(text).unwrap(), "member"), "{text:?}");
        }
        let missing = Path::new("/nonexistent/policy.yaml");
        assert!(may_pause(&read(None, missing).unwrap(), "member"));
        let refused = format!("{:#}", read(Some(missing), missing).unwrap_err());
        assert!(refused.starts_with("the policy file /nonexistent/policy.yaml cannot be used: "));
    }

    #[test]
    fn errors_name_the_file_the_rule_and_the_reason() {
        let refusal = |text: &str| format!("{:#}", read_text(text).unwrap_err());
        let wrong = refusal("os_compute_api:os-rescue: role:admin and\n");
        assert!(wrong.contains("/policy.yaml cannot be used: "), "{wrong}");
        assert!(wrong.contains("the check of the rule \"os_compute_api:os-rescue\""), "{wrong}");
        assert!(wrong.contains("character 15: a check was expected"), "{wrong}");
        for bad in [
            "- a\n",
            "a: [role:x]\n",
            "a: {b: c}\n",
            "a:\n",
            "a: '@'\na: '!'\n",
            "a: 'x\n",
            "a: @\n",
            "a: ~\n",
        ] {
            let refused = refusal(bad);
            assert!(refused.contains("it has to be a mapping"), "{bad:?}: {refused}");
        }
        for empty in ["a: !\n", "a: ''\n", "a: ' '\n"] {
            let refused = refusal(empty);
            assert!(
                refused.contains("the check of the rule \"a\" is empty"),
                "{empty:?}: {refused}"
            );
        }
        assert!(refusal(&"#".repeat(2 << 20)).contains("larger than"));
    }
}
