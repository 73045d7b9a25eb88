use std::collections::BTreeMap;

use proptest::prelude::*;

use super::parse::{MAX_DEPTH, MAX_LENGTH, parse};
use super::*;

/// Columns of the expectation table. `none` stands for somebody with a role that no rule names.
const COLUMNS: [&str; 6] = ["admin", "manager", "member", "reader", "none", "service"];

fn policy(overrides: &[(&str, &str)]) -> Result<Policy, PolicyError> {
    let pairs = overrides.iter().map(|(name, check)| ((*name).to_owned(), (*check).to_owned()));
    Policy::load(pairs)
}

/// What a check says, as the check of a rule.
fn says(check: &str, roles: &[&str], target: Target<'_>) -> bool {
    let policy = policy(&[("os_compute_api:os-rescue", check)]).unwrap();
    let (user, project) = ("u1".into(), "p1".into());
    policy.allows(rules::RESCUE, &Credentials::new(&user, &project, roles.iter().copied()), target)
}

#[test]
fn defaults_are_those_of_the_table() {
    let policy = policy(&[]).unwrap();
    let (user, project) = (UserId::from("u1"), ProjectId::from("p1"));
    let (stranger, elsewhere) = (UserId::from("u2"), ProjectId::from("p2"));
    let own = Target { project_id: Some(&project), user_id: Some(&user) };
    let other = Target { project_id: Some(&elsewhere), user_id: Some(&stranger) };
    let mut lines = include_str!("expected_defaults.txt").lines().filter(|l| !l.starts_with('#'));
    for rule in rules::ALL {
        let cells: Vec<&str> = lines.next().unwrap_or_default().split('|').collect();
        assert_eq!(cells[0].trim(), rule.name());
        for (cell, target) in [(cells[1], own), (cells[2], other)] {
            let expected: Vec<&str> = cell.split_whitespace().filter(|word| *word != "-").collect();
            let mut allowed = COLUMNS.to_vec();
            allowed.retain(|role| {
                policy.allows(*rule, &Credentials::new(&user, &project, [*role]), target)
            });
            assert_eq!(allowed, expected, "{} {target:?}", rule.name());
        }
    }
    assert_eq!(lines.next(), None);
    assert!(policy.unknown_names().is_empty());
}

#[test]
fn checks_ask_for_roles_attributes_and_texts() {
    let (user, project) = (UserId::from("u1"), ProjectId::from("p1"));
    let own = Target { project_id: Some(&project), user_id: Some(&user) };
    for (check, expected) in [
        ("", true),
        ("@", true),
        ("!", false),
        ("role:cook", true),
        ("role:COOK", true),
        ("role:smith", false),
        ("roles:cook", true),
        ("not role:cook", false),
        ("not not role:cook", true),
        ("role:cook and !", false),
        ("! and ! or @", true),
        ("@ or ! and !", true),
        ("(@ or !) and !", false),
        ("NOT (role:smith OR role:baker) AND (role:cook)", true),
        ("((role:cook))", true),
        ("user_id:%(user_id)s", true),
        ("project_id:%(project_id)s", true),
        ("project_id:%(user_id)s", false),
        ("project_id:p1", true),
        ("user_id:%(owner)s", false),
        ("not user_id:%(owner)s", true),
        ("system_scope:all", false),
        ("is_admin:True", false),
        ("is_admin:False", true),
        ("True:True", true),
        ("'p1':%(project_id)s", true),
        ("\"p2\":%(project_id)s", false),
        ("007:7", true),
        ("user_id:u%%", false),
        ("rule:project_reader_api", false),
    ] {
        assert_eq!(says(check, &["cook"], own), expected, "{check}");
    }
    assert!(!says("project_id:%(project_id)s", &["cook"], Target::default()));
    assert!(says("is_admin:True", &["Admin"], Target::default()));
    assert!(says("role:reader", &["manager"], Target::default()));
    assert!(!says("role:admin", &["manager"], Target::default()));
}

#[test]
fn errors_say_where_and_why() {
    for (check, expected) in [
        ("role:a role:b", "character 8: 'and', 'or' or the end was expected, not 'role:b'"),
        ("role:a and", "character 11: a check was expected, such as role:admin, not the end"),
        ("or role:a", "character 1: a check was expected, such as role:admin, not 'or'"),
        ("(role:a", "character 1: a parenthesis is not closed"),
        ("role:a)", "character 7: 'and', 'or' or the end was expected, not ')'"),
        ("()", "character 2: a check was expected, such as role:admin, not ')'"),
        (
            "admin",
            "character 1: 'admin' is no check: write kind:value, '@' (always) or '!' (never)",
        ),
        ("@ or role:", "character 6: 'role:' does not say what to compare with"),
        (":x", "character 1: ':x' does not say what to compare"),
        ("'a:x", "character 1: ''a:x' does not say what to compare"),
        ("http://judge/", "character 1: asking another server (http:) is not supported"),
        (
            "ä:b or user_id:%(x)d",
            "character 8: '%(x)d' may hold %(name)s and %%, and no other percent sign",
        ),
    ] {
        let refused = policy(&[("os_compute_api:os-rescue", check)]).unwrap_err();
        let PolicyError::Syntax { rule, error } = &refused else { panic!("{refused}") };
        assert_eq!(
            (rule.as_str(), error.to_string().as_str()),
            ("os_compute_api:os-rescue", expected)
        );
        assert!(refused.to_string().starts_with(
            "the check of the rule \"os_compute_api:os-rescue\" cannot be read: character "
        ));
    }
}

#[test]
fn checks_are_bounded() {
    let nested = |depth: usize| format!("{}@{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(parse(&nested(MAX_DEPTH + 1)).unwrap_err().problem, Problem::TooDeep);
    assert_eq!(parse(&"not ".repeat(1000)).unwrap_err().problem, Problem::TooDeep);
    let long = |length: usize| format!("role:{}", "a".repeat(length - 5));
    assert!(parse(&long(MAX_LENGTH)).is_ok());
    assert_eq!(parse(&long(MAX_LENGTH + 1)).unwrap_err().problem, Problem::TooLong);
}

#[test]
fn rules_that_ask_themselves_or_nobody_are_refused() {
    let refusal = |overrides: &[(&str, &str)]| policy(overrides).unwrap_err().to_string();
    assert_eq!(
        refusal(&[("a", "role:x or rule:b"), ("b", "not rule:c"), ("c", "rule:a")]),
        "the rule \"a\" asks itself: a -> b -> c -> a"
    );
    assert_eq!(
        refusal(&[("context_is_admin", "role:boss or is_admin:True")]),
        "the rule \"context_is_admin\" asks itself: context_is_admin -> context_is_admin"
    );
    assert_eq!(
        refusal(&[("os_compute_api:os-rescue", "rule:cooks")]),
        "the rule \"os_compute_api:os-rescue\" asks the rule \"cooks\", which does not exist"
    );
}

#[test]
fn rules_that_ask_too_much_are_refused() {
    let chain = |length: usize, link: fn(usize) -> String| {
        let rules = (0..length).map(|index| {
            let check = if index + 1 == length { "!".to_owned() } else { link(index + 1) };
            (format!("r{index}"), check)
        });
        Policy::load(rules).map(|_| ())
    };
    assert_eq!(chain(32, |next| format!("rule:r{next}")), Ok(()));
    assert!(matches!(chain(33, |next| format!("rule:r{next}")), Err(PolicyError::TooMuch { .. })));
    // Each rule doubles the work.
    assert_eq!(chain(11, |next| format!("rule:r{next} or rule:r{next}")), Ok(()));
    assert!(matches!(
        chain(30, |next| format!("rule:r{next} or rule:r{next}")),
        Err(PolicyError::TooMuch { .. })
    ));
    let many = (0..5000).map(|index| (format!("r{index}"), "@".to_owned()));
    assert!(matches!(Policy::load(many), Err(PolicyError::TooMany)));
}

#[test]
fn overrides_replace_and_unknown_names_are_told() {
    let policy = policy(&[
        ("context_is_admin", "role:boss"),
        ("cooks", "role:cook"),
        ("os_compute_api:os-rescue", "rule:cooks"),
        ("os_compute_api:os-resuce", "role:cook"),
    ])
    .unwrap();
    assert_eq!(policy.unknown_names(), ["os_compute_api:os-resuce"]);
    let (user, project) = (UserId::from("u1"), ProjectId::from("p1"));
    let by = |role| Credentials::new(&user, &project, [role]);
    assert!(policy.is_admin(&by("boss")) && !policy.is_admin(&by("admin")));
    assert!(policy.allows_own(rules::SERVICES, &by("boss")));
    assert!(!policy.allows_own(rules::SERVICES, &by("admin")));
    assert!(policy.allows_own(rules::RESCUE, &by("cook")));
    assert!(!policy.allows_own(rules::RESCUE, &by("member")));
    assert!(policy.allows_own(rules::UNRESCUE, &by("member")));
}

/// An expression whose value is known without parsing it.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(bool, &'static str),
    Not(Box<Tree>),
    And(Vec<Tree>),
    Or(Vec<Tree>),
}

impl Tree {
    fn value(&self) -> bool {
        match self {
            Self::Leaf(value, _) => *value,
            Self::Not(inner) => !inner.value(),
            Self::And(parts) => parts.iter().all(Self::value),
            Self::Or(parts) => parts.iter().any(Self::value),
        }
    }

    /// As text, with parentheses only where they are needed.
    fn text(&self) -> String {
        let within = |part: &Self, loose: bool| match (part, loose) {
            (Self::Or(_), true) | (Self::And(_), true) => format!("({})", part.text()),
            _ => part.text(),
        };
        let joined = |parts: &[Self], word: &str, loose: fn(&Self) -> bool| {
            let texts: Vec<String> = parts.iter().map(|part| within(part, loose(part))).collect();
            texts.join(word)
        };
        match self {
            Self::Leaf(_, text) => (*text).to_owned(),
            Self::Not(inner) => format!("not {}", within(inner, true)),
            Self::And(parts) => joined(parts, " and ", |part| matches!(part, Self::Or(_))),
            Self::Or(parts) => joined(parts, "  OR ", |_| false),
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop::sample::select(vec![
        Tree::Leaf(true, "@"),
        Tree::Leaf(false, "!"),
        Tree::Leaf(true, "role:cook"),
        Tree::Leaf(false, "role:smith"),
        Tree::Leaf(true, "project_id:%(project_id)s"),
        Tree::Leaf(false, "project_id:%(user_id)s"),
        Tree::Leaf(false, "is_admin:True"),
    ]);
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::And),
            prop::collection::vec(inner, 1..4).prop_map(Tree::Or),
        ]
    })
}

proptest! {
    #[test]
    fn expressions_mean_what_they_say(tree in tree()) {
        let (user, project) = (UserId::from("u1"), ProjectId::from("p1"));
        let own = Target { project_id: Some(&project), user_id: Some(&user) };
        let text = tree.text();
        prop_assert_eq!(says(&text, &["cook"], own), tree.value(), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused_within_itself(
        text in "[ ()a:%s@!'nodrt\u{e4}]{0,40}|\\PC{0,40}"
    ) {
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.position), "{}", error);
        }
    }

    /// Rules 0 to 5 that ask each other at will: either some way leads back to its start, or every
    /// question has an answer.
    #[test]
    fn rules_are_refused_exactly_when_they_go_in_circles(
        asks in prop::collection::vec(prop::collection::vec(0..6_usize, 0..3), 6)
    ) {
        let name = |index: usize| format!("r{index}");
        let overrides: BTreeMap<String, String> = asks
            .iter()
            .enumerate()
            .map(|(index, asked)| {
                let checks: Vec<String> =
                    asked.iter().map(|to| format!("rule:{}", name(*to))).collect();
                (name(index), checks.join(" or "))
            })
            .collect();
        // After six rounds, whatever reaches something has been found.
        let mut reach: Vec<Vec<bool>> =
            asks.iter().map(|to| (0..6).map(|end| to.contains(&end)).collect()).collect();
        for middle in 0..6 {
            for start in 0..6 {
                for end in 0..6 {
                    reach[start][end] |= reach[start][middle] && reach[middle][end];
                }
            }
        }
        let circle = (0..6).any(|index| reach[index][index]);
        match Policy::load(overrides) {
            Ok(_) => prop_assert!(!circle),
            Err(PolicyError::Cycle { .. }) => prop_assert!(circle),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
