//! Any file of user name maps, and any regular expression in it. Reading does not panic, edits have
//! their documented effect, and the listed users may connect.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pgconf_parse::hba::{Facts, Place, Server};
use pgconf_parse::ident::{
    DatabaseUser, Decision, Document, Mappings, NewMapping, SystemUser, Users,
};

#[derive(Arbitrary, Debug)]
struct Session<'a> {
    major: u8,
    system_user: &'a [u8],
    pattern: &'a [u8],
    source: &'a [u8],
}

fuzz_target!(|session: Session<'_>| {
    let major = 10 + u16::from(session.major % 9);
    let server = Server::new(major);
    let mut document = Document::parse_for(session.source, major);
    assert_eq!(document.as_bytes(), session.source);
    let mappings = Mappings::parse(session.source, &server);
    let lines: Vec<usize> = mappings.rows().map(|row| row.line()).collect();
    assert_eq!(document.lines().collect::<Vec<_>>(), lines);
    for row in mappings.rows() {
        let _ = format!("{row:?}");
    }

    let system_user = SystemUser::regex(session.pattern);
    let mapping = NewMapping::new("fuzz", system_user, DatabaseUser::of("x\\1"));
    match document.insert(Place::End, &mapping) {
        Ok(line) => {
            let mappings = document.mappings(&server);
            let last = mappings.mappings().last().expect("the mapping");
            assert_eq!(last.line(), line);
            assert_eq!(last.system_user(), [b"/", session.pattern].concat());
            check(&mappings, session.system_user);
        }
        Err(_) => assert_eq!(document.as_bytes(), session.source),
    }
});

fn check(mappings: &Mappings, system_user: &[u8]) {
    let facts = Facts::new();
    for (_, users) in mappings.users(b"fuzz", system_user) {
        if let Users::Named(name) = users {
            let decision = mappings.decide(b"fuzz", system_user, &name, &facts);
            assert!(matches!(
                decision,
                Decision::Allowed(_) | Decision::DependsOn(..)
            ));
        }
    }
}
