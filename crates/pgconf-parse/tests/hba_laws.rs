//! What holds for every access file and every edit.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pgconf_parse::hba::{
    Attempt, Decision, Document, Encryption, Facts, Method, Name, Network, NewRule, Place, Rules,
    Server,
};
use pgconf_parse::ident::{self, DatabaseUser, Mappings, NewMapping, SystemUser};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Bytes in which the pieces of rules are likely to meet.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        select(vec![
            "local all all trust\n",
            "host all all 10.0.0.0/8 md5\n",
            "host app,all +r ::/0 reject # x\r\n",
            "hostssl \"a b\" /x all cert map=m\n",
            "host all all .example.com peer\n",
            "# comment\n",
            "include x\n",
            "local @list all trust\n",
            "local replication all trust\n",
            "m root postgres\n",
            "m /^(.*)$ \\1\n",
            "m a +r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        select(vec![
            "local", "host", "all", "trust", "samenet", "10.0.0.1", " ", "\t", "\n", "\r\n",
            "\\\n", "\\", "\"", "\"\"", ",", "#", "@", "/", "+", "=", "\0", "é",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        "a", "all", "+", "@", "\"", ",", " ", "#", "\\", "/", "sameuser", "\r", "é", "=", "\t", "'",
    ]);
    vec(piece, 0..4).prop_map(|pieces| pieces.concat().into_bytes())
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let address = prop_oneof![
        Just(None),
        Just(Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))),
        any::<u32>().prop_map(|bits| Some(Ipv4Addr::from_bits(bits).into())),
        any::<u128>().prop_map(|bits| Some(Ipv6Addr::from_bits(bits).into())),
    ];
    let encryption = select(vec![Encryption::None, Encryption::Tls, Encryption::Gss]);
    let names = select(vec!["app", "a b", "x", "postgres"]);
    (address, encryption, names.clone(), names, any::<bool>()).prop_map(
        |(address, encryption, database, user, is_replication)| {
            let attempt = match address {
                Some(address) => Attempt::host(address, database, user).encrypted(encryption),
                None => Attempt::local(database, user),
            };
            if is_replication {
                attempt.replication()
            } else {
                attempt
            }
        },
    )
}

fn facts() -> impl Strategy<Value = Facts> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(roles, host, networks)| {
        let mut facts = Facts::new();
        if roles {
            facts = facts.member_of(["r"]);
        }
        if host {
            facts = facts.host_name("db.example.com", [Ipv4Addr::new(10, 0, 0, 1).into()]);
        }
        if networks {
            let mask = Ipv4Addr::new(255, 0, 0, 0).into();
            facts = facts.interfaces(Network::new(Ipv4Addr::new(10, 0, 0, 9).into(), mask));
        }
        facts
    })
}

/// What can be compared of a file: the text of rules, and errors.
fn seen(source: &[u8], major: u16) -> Vec<String> {
    let rules = Rules::parse(source, &Server::new(major));
    let rows = rules.rows().map(|row| {
        let rule = row.rule().map(|rule| {
            let names = |names: Vec<(Vec<u8>, bool)>| format!("{names:?}");
            format!(
                "{} {} {} {:?} {} {:?}",
                rule.connection(),
                names(
                    rule.databases()
                        .map(|n| (n.text().to_vec(), n.is_quoted()))
                        .collect()
                ),
                names(
                    rule.users()
                        .map(|n| (n.text().to_vec(), n.is_quoted()))
                        .collect()
                ),
                rule.address_columns(),
                rule.method(),
                rule.options().collect::<Vec<_>>(),
            )
        });
        format!(
            "{rule:?} {:?}",
            row.error().map(|error| error.message().to_vec())
        )
    });
    rows.collect()
}

fn seen_mappings(source: &[u8]) -> Vec<String> {
    let mappings = Mappings::parse(source, &Server::default());
    let rows = mappings.rows().map(|row| {
        let mapping = row.mapping().map(|mapping| {
            let quoted = mapping.is_database_user_quoted();
            let (user, to) = (
                mapping.system_user().to_vec(),
                mapping.database_user().to_vec(),
            );
            (mapping.map().to_vec(), user, to, quoted)
        });
        format!(
            "{mapping:?} {:?}",
            row.error().map(|error| error.message().to_vec())
        )
    });
    rows.collect()
}

fn line_of(document: &Document, number: usize) -> Option<usize> {
    let count = document.lines().count();
    let number = number.checked_rem(count)?;
    document.lines().nth(number)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn writing_what_was_parsed_gives_the_input(source in file(), major in 10_u16..=18) {
        let document = Document::parse_for(source.clone(), major);
        prop_assert_eq!(document.as_bytes(), &source);
        let document = ident::Document::parse_for(source.clone(), major);
        prop_assert_eq!(document.into_bytes(), source);
    }

    #[test]
    fn documents_and_rules_count_the_same_lines(source in file(), major in 10_u16..=18) {
        let document = Document::parse_for(source.clone(), major);
        let rules = Rules::parse(source, &Server::new(major));
        let lines: Vec<usize> = rules.rows().map(|row| row.line()).collect();
        prop_assert_eq!(document.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn errors_have_a_place(source in file(), major in 10_u16..=18) {
        let rules = Rules::parse(source.clone(), &Server::new(major));
        for error in rules.errors() {
            let line = source.split(|&byte| byte == b'\n').nth(error.line() - 1).unwrap();
            prop_assert!((1..=line.len() + 1).contains(&error.column()));
        }
    }

    #[test]
    fn what_was_inserted_is_read_and_nothing_else_changes(
        source in file(),
        names in vec(name(), 4),
        at in any::<usize>(),
        after in any::<bool>(),
        major in select(vec![10_u16, 13, 15, 18]),
    ) {
        let mut document = Document::parse_for(source.clone(), major);
        let rule = NewRule::local(
            Name::of(names[0].clone()),
            Name::members_of(names[1].clone()),
            Method::Peer,
        )
        .database(Name::of(names[2].clone()))
        .option("map", names[3].clone());
        let place = match line_of(&document, at) {
            None => Place::End,
            Some(line) if after => Place::After(line),
            Some(line) => Place::Before(line),
        };
        let before = seen(&source, major);
        match document.insert(place, &rule) {
            Ok(line) => {
                let mut rows = seen(document.as_bytes(), major);
                let index = document.lines().position(|found| found == line).unwrap();
                let inserted = rows.remove(index);
                prop_assert_eq!(rows, before);
                let rules = document.rules(&Server::new(major));
                let found = rules.rows().nth(index).unwrap().rule();
                let found = found.unwrap_or_else(|| panic!("{inserted}"));
                let databases = found.databases().map(|name| name.text().to_vec());
                let databases: Vec<_> = databases.collect();
                prop_assert_eq!(databases, [names[0].clone(), names[2].clone()]);
                let user = found.users().next().unwrap();
                prop_assert_eq!(user.members_of(), Some(names[1].as_slice()));
                prop_assert_eq!(found.map(), Some(names[3].as_slice()));
                // All other bytes are where they were, in the same order.
                let text = document.as_bytes();
                let kept = source.len();
                prop_assert!(text.len() > kept);
            }
            Err(_) => {
                prop_assert_eq!(document.as_bytes(), &source);
                let is_odd = names.iter().any(|name| name.starts_with(b"/"));
                prop_assert!(is_odd, "{:?}", names);
            }
        }
    }

    #[test]
    fn removing_and_commenting_out_change_no_other_rule(
        source in file(), at in any::<usize>(), comment in any::<bool>(),
    ) {
        let mut document = Document::parse(source.clone());
        let Some(line) = line_of(&document, at) else { return Ok(()) };
        let index = document.lines().position(|found| found == line).unwrap();
        let mut before = seen(&source, 18);
        before.remove(index);
        if comment {
            document.comment_out(line).unwrap();
            prop_assert_eq!(document.as_bytes().len(), source.len() + 1);
        } else {
            document.remove(line).unwrap();
        }
        prop_assert_eq!(seen(document.as_bytes(), 18), before);
        let text = document.as_bytes().to_vec();
        let anew = Document::parse(text);
        prop_assert!(anew == document);
    }

    #[test]
    fn replacing_changes_one_rule(source in file(), at in any::<usize>()) {
        let mut document = Document::parse(source.clone());
        let Some(line) = line_of(&document, at) else { return Ok(()) };
        let index = document.lines().position(|found| found == line).unwrap();
        let rule = NewRule::host(Name::of("db"), Name::all(), "192.0.2.0/24", Method::Reject);
        prop_assert_eq!(document.replace(line, &rule).unwrap(), line);
        let (mut before, mut after) = (seen(&source, 18), seen(document.as_bytes(), 18));
        before.remove(index);
        let replaced = after.remove(index);
        prop_assert_eq!(after, before);
        let is_new = replaced.contains("255.255.255.0") && replaced.contains(") reject");
        prop_assert!(is_new, "{replaced}");
    }

    /// A rule that was put before what would match is the one that decides.
    #[test]
    fn what_is_inserted_before_a_match_decides(
        source in file(), attempt in attempt(), facts in facts(),
    ) {
        let server = Server::default();
        let mut document = Document::parse(source);
        let rule = match attempt.address() {
            Some(_) => NewRule::host(Name::all(), Name::all(), "all", Method::Reject),
            None => NewRule::local(Name::all(), Name::all(), Method::Reject),
        };
        let rule = rule.database(Name::replication());
        let line = document.insert_before_match(&attempt, &facts, &server, &rule).unwrap();
        let rules = document.rules(&server);
        let decision = rules.decide(&attempt, &facts);
        prop_assert!(
            matches!(&decision, Decision::Rule(rule) if rule.line() == line),
            "{decision:?} instead of line {line} of {document:?}"
        );
    }

    /// More facts never change a decision that did not depend on any.
    #[test]
    fn decisions_that_depend_on_nothing_stay(
        source in file(), attempt in attempt(), facts in facts(),
    ) {
        let rules = Rules::parse(source, &Server::default());
        let line = |decision: Decision<'_>| match decision {
            Decision::Rule(rule) => Some(Some(rule.line())),
            Decision::NoRule => Some(None),
            _ => None,
        };
        if let Some(before) = line(rules.decide(&attempt, &Facts::new())) {
            prop_assert_eq!(line(rules.decide(&attempt, &facts)), Some(before));
        }
    }

    #[test]
    fn shadowed_rules_never_decide(source in file(), attempt in attempt(), facts in facts()) {
        let rules = Rules::parse(source, &Server::default());
        let shadowed: Vec<usize> =
            rules.shadowed().iter().map(|found| found.rule().line()).collect();
        if let Decision::Rule(rule) = rules.decide(&attempt, &facts) {
            prop_assert!(!shadowed.contains(&rule.line()), "{rule:?}");
        }
    }

    #[test]
    fn mappings_are_inserted_and_removed(
        source in file(), names in vec(name(), 3), at in any::<usize>(),
    ) {
        let mut document = ident::Document::parse(source.clone());
        let mapping = NewMapping::new(
            names[0].clone(), SystemUser::of(names[1].clone()), DatabaseUser::of(names[2].clone()),
        );
        let count = document.lines().count();
        let place = match at.checked_rem(count) {
            None => Place::End,
            Some(number) => Place::Before(document.lines().nth(number).unwrap()),
        };
        let before = seen_mappings(&source);
        match document.insert(place, &mapping) {
            Ok(line) => {
                let index = document.lines().position(|found| found == line).unwrap();
                let mut after = seen_mappings(document.as_bytes());
                after.remove(index);
                prop_assert_eq!(&after, &before);
                let mappings = document.mappings(&Server::default());
                let found = mappings.rows().nth(index).unwrap().mapping().unwrap();
                prop_assert_eq!(found.map(), &names[0]);
                prop_assert_eq!(found.system_user(), &names[1]);
                prop_assert_eq!(found.database_user(), &names[2]);
                document.remove(line).unwrap();
                prop_assert_eq!(seen_mappings(document.as_bytes()), before);
            }
            Err(_) => prop_assert!(names[1..].iter().any(|name| name.starts_with(b"/"))),
        }
    }

    /// Whom the list of users names, the decision lets in.
    #[test]
    fn users_that_are_listed_are_let_in(source in file(), user in name()) {
        let mappings = Mappings::parse(source, &Server::default());
        let mut broken = false;
        for (_, users) in mappings.users(b"m", &user) {
            if let ident::Users::Named(name) = users {
                let decision = mappings.decide(b"m", &user, &name, &Facts::new().member_of(["r"]));
                broken |= !matches!(
                    decision,
                    ident::Decision::Allowed(_) | ident::Decision::DependsOn(..)
                );
            }
        }
        prop_assert!(!broken);
    }
}

/// The last line may end in a backslash or lack its newline.
#[test]
fn a_rule_can_follow_any_last_line() {
    for source in [
        "local all all trust",
        "local all all trust\\",
        "# x\\\n",
        "local all all trust\0",
        "\\",
        "\0",
    ] {
        let mut document = Document::parse(source);
        let before = seen(source.as_bytes(), 18);
        let rule = NewRule::local(Name::all(), Name::all(), Method::Md5);
        let line = document.insert(Place::End, &rule).unwrap();
        let mut after = seen(document.as_bytes(), 18);
        assert!(after.pop().unwrap().contains("md5"), "{source:?}");
        assert_eq!(after, before, "{source:?}");
        assert_eq!(document.lines().last(), Some(line), "{source:?}");
    }
}

/// Whatever lines are joined, the text of a rule begins and ends with the rule.
#[test]
fn the_text_of_a_rule_is_not_that_of_its_neighbors() {
    for (source, wanted) in [
        ("local all all trust\0\n", "local all all trust"),
        ("local all all trust\0\n\0\n\nx", "local all all trust"),
        (
            "  local all \\\n all trust # x\n",
            "local all \\\n all trust # x",
        ),
        ("local all all trust \\\n\nx", "local all all trust "),
    ] {
        let rules = Rules::parse(source, &Server::default());
        let rule = rules.rules().next().unwrap();
        assert_eq!(String::from_utf8_lossy(rule.text()), wanted, "{source:?}");
    }
}

#[test]
fn columns_are_those_of_the_neighbor() {
    let rule = NewRule::host(Name::of("x"), Name::of("y"), "10.0.0.0/8", Method::Md5);
    for (source, wanted) in [
        (
            "host  all  all  all  trust\n",
            "host  x    y    10.0.0.0/8 md5\n",
        ),
        (
            "host\tall\tall\tall\ttrust\n",
            "host\tx\ty\t10.0.0.0/8\tmd5\n",
        ),
        (
            "  host all all 127.0.0.1/32 trust\r\n",
            "  host x   y   10.0.0.0/8   md5\r\n",
        ),
        (
            "local   all             all                                     peer\n",
            "host    x               y 10.0.0.0/8                            md5\n",
        ),
        (
            "# nothing\n",
            "host    x               y               10.0.0.0/8              md5\n",
        ),
    ] {
        let mut document = Document::parse(source);
        document.insert(Place::End, &rule).unwrap();
        assert_eq!(document.to_string(), source.to_owned() + wanted);
    }
}

#[test]
fn a_comment_keeps_its_column() {
    let rule = NewRule::local(Name::of("x"), Name::all(), Method::Peer);
    for (source, wanted) in [
        (
            "local  all  all  md5  # why\n",
            "local  x    all  peer # why\n",
        ),
        (
            "local  all  all  md5          # why\n",
            "local  x    all  peer         # why\n",
        ),
        ("local all all md5# why", "local x   all peer # why"),
        (
            "local \\\n all all md5 # why\\\n more\nx",
            "local  x   all peer # why more\nx",
        ),
    ] {
        let mut document = Document::parse(source);
        document.replace(1, &rule).unwrap();
        assert_eq!(document.to_string(), wanted, "{source}");
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let mut document = Document::parse("local all all peer\n");
    let old = document.clone();
    for rule in [
        NewRule::local(Name::of("a\nb"), Name::all(), Method::Peer),
        NewRule::local(Name::of("a\0b"), Name::all(), Method::Peer),
        NewRule::local(Name::of("/a"), Name::all(), Method::Peer),
        NewRule::local(Name::regex("("), Name::all(), Method::Peer),
        NewRule::local(Name::all(), Name::all(), Method::Cert),
        NewRule::local(Name::all(), Name::all(), Method::Md5).option("map", "m"),
        NewRule::host(Name::all(), Name::all(), "10.0.0.0/33", Method::Md5),
        NewRule::host(Name::all(), Name::all(), "10.0.0.0", Method::Md5),
    ] {
        assert!(document.insert(Place::End, &rule).is_err(), "{rule:?}");
        assert!(document.replace(1, &rule).is_err(), "{rule:?}");
        assert_eq!(document, old);
    }
    let error = document.remove(2).unwrap_err();
    assert_eq!(error.to_string(), "failed to remove a rule");
    assert_eq!(error.kind().to_string(), "line 2 is not a rule");
}
