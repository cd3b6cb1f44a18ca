//! Any file and any connection attempt. Reading does not panic, and all functions agree on line
//! numbers. Edits have their documented effect, and an inserted rule decides if it matches first.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pgconf_parse::hba::{
    Attempt, Decision, Document, Encryption, Facts, Method, Name, NewRule, Place, Rules, Server,
};

#[derive(Arbitrary, Debug)]
struct Session<'a> {
    major: u8,
    address: Option<u32>,
    encryption: u8,
    is_replication: bool,
    is_member: Option<bool>,
    line: u8,
    database: &'a [u8],
    source: &'a [u8],
}

fuzz_target!(|session: Session<'_>| {
    let major = 10 + u16::from(session.major % 9);
    let server = Server::new(major);
    let document = Document::parse_for(session.source, major);
    assert_eq!(document.as_bytes(), session.source);
    let rules = Rules::parse(session.source, &server);
    let lines: Vec<usize> = rules.rows().map(|row| row.line()).collect();
    assert_eq!(document.lines().collect::<Vec<_>>(), lines);
    for row in rules.rows() {
        let _ = format!("{row:?}");
        if let Some(error) = row.error() {
            assert!(error.line() >= 1 && error.column() >= 1);
        }
    }
    edit(&session, &document, major);
    decide(&session, document, &server);
});

fn edit(session: &Session<'_>, document: &Document, major: u16) {
    let before = texts(document, major);
    let rule = NewRule::local(Name::of(session.database), Name::all(), Method::Peer);
    let mut edited = document.clone();
    match edited.insert(Place::End, &rule) {
        Ok(line) => {
            let mut after = texts(&edited, major);
            assert_eq!(edited.lines().last(), Some(line));
            after.pop();
            assert_eq!(after, before);
            let rules = edited.rules(&Server::new(major));
            let last = rules
                .rows()
                .last()
                .and_then(|row| row.rule())
                .expect("the rule");
            let name = last.databases().next().expect("the database");
            assert_eq!(name.text(), session.database);
        }
        Err(_) => assert_eq!(&edited, document),
    }
    let count = document.lines().count();
    if count > 0 && major >= 14 {
        let index = usize::from(session.line) % count;
        let line = document.lines().nth(index).expect("a line");
        let mut expected = before;
        expected.remove(index);
        let mut removed = document.clone();
        removed.remove(line).expect("an existing line");
        assert_eq!(texts(&removed, major), expected);
        let mut commented = document.clone();
        commented.comment_out(line).expect("an existing line");
        assert_eq!(texts(&commented, major), expected);
    }
}

fn decide(session: &Session<'_>, mut document: Document, server: &Server) {
    let encryption = match session.encryption % 3 {
        0 => Encryption::None,
        1 => Encryption::Tls,
        _ => Encryption::Gss,
    };
    let mut attempt = match session.address {
        Some(bits) => {
            let address = std::net::Ipv4Addr::from_bits(bits);
            Attempt::host(address, session.database, "user").encrypted(encryption)
        }
        None => Attempt::local(session.database, "user"),
    };
    if session.is_replication {
        attempt = attempt.replication();
    }
    let facts = match session.is_member {
        None => Facts::new(),
        Some(false) => Facts::new().member_of([] as [&str; 0]),
        Some(true) => Facts::new().member_of(["role"]).no_host_name(),
    };
    let shadowed: Vec<usize> = {
        let rules = document.rules(server);
        let shadowed = rules.shadowed();
        shadowed.iter().map(|found| found.rule().line()).collect()
    };
    if let Decision::Rule(rule) = document.rules(server).decide(&attempt, &facts) {
        assert!(!shadowed.contains(&rule.line()));
    }
    let rule = match session.address {
        Some(_) => NewRule::host(Name::all(), Name::all(), "all", Method::Reject),
        None => NewRule::local(Name::all(), Name::all(), Method::Reject),
    };
    let rule = rule.database(Name::replication());
    let line = document
        .insert_before_match(&attempt, &facts, server, &rule)
        .expect("a plain rule");
    let rules = document.rules(server);
    let decision = rules.decide(&attempt, &facts);
    assert!(matches!(decision, Decision::Rule(rule) if rule.line() == line));
}

/// Returns the content of each line without its number.
fn texts(document: &Document, major: u16) -> Vec<String> {
    let rules = document.rules(&Server::new(major));
    let rows = rules.rows().map(|row| match (row.rule(), row.error()) {
        (Some(rule), _) => String::from_utf8_lossy(rule.text()).into_owned(),
        (None, error) => error.map(|error| error.to_string()).unwrap_or_default(),
    });
    rows.collect()
}
