//! Access rules: reading and editing one megabyte, and decisions among ten thousand rules.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use pgconf_parse::hba::{
    Attempt, Decision, Document, Facts, Method, Name, NewRule, Place, Rules, Server,
};
use pgconf_parse::ident::Mappings;

use crate::Plan;
use crate::sheet::{Sheet, Who};

pub(crate) fn measure(sheet: &mut Sheet, plan: &Plan) {
    let server = Server::default();
    let (text, maps) = (megabyte(), mappings());
    let newlines = |sheet: &mut Sheet, what: &str, text: &str| {
        let time = time(
            || (),
            |()| memchr::memchr_iter(b'\n', text.as_bytes()).count(),
        );
        sheet.note_bytes(what, Who::Floor("memchr, for newlines"), text.len(), time);
    };
    sheet.rounds(plan.rounds, |sheet| {
        let bytes = || text.clone().into_bytes();
        let what = "read pg_hba.conf, 1 MB";
        let time_of_rules = time(bytes, |text| Rules::parse(text, &server));
        sheet.note_bytes(what, Who::Ours("`hba::Rules`"), text.len(), time_of_rules);
        let time_of_document = time(bytes, Document::parse);
        sheet.note_bytes(
            what,
            Who::Ours("`hba::Document`"),
            text.len(),
            time_of_document,
        );
        newlines(sheet, what, &text);
        let what = "read pg_ident.conf, 1 MB";
        let bytes = || maps.clone().into_bytes();
        let time_of_maps = time(bytes, |text| Mappings::parse(text, &server));
        sheet.note_bytes(
            what,
            Who::Ours("`ident::Mappings`"),
            maps.len(),
            time_of_maps,
        );
        newlines(sheet, what, &maps);
    });

    // The last rule is the one that applies.
    let many = Rules::parse(rules(10_000) + "host all all all reject\n", &server);
    let more = Rules::parse(rules(100_000), &server);
    let attempt = Attempt::host(Ipv4Addr::new(192, 0, 2, 1), "app9999", "user9999");
    let facts = Facts::new();
    let document = Document::parse(text.as_str());
    let rule = NewRule::local(Name::all(), Name::all(), Method::Peer);
    sheet.rounds(plan.rounds, |sheet| {
        let decided = time(
            || (),
            |()| {
                let decision = many.decide(black_box(&attempt), &facts);
                let is_last = |rule: pgconf_parse::hba::Rule<'_>| rule.method() == Method::Reject;
                assert!(matches!(decision, Decision::Rule(rule) if is_last(rule)));
            },
        );
        sheet.note(
            "the rule for a connection, the last of 10,000",
            Who::Ours("`Rules::decide`"),
            decided,
        );
        for (what, rules) in [
            ("rules that never apply, none of 10,000", &many),
            ("rules that never apply, none of 100,000", &more),
        ] {
            let found = time(|| (), |()| assert!(rules.shadowed().is_empty()));
            sheet.note(what, Who::Ours("`Rules::shadowed`"), found);
        }
        let inserted = time(
            || document.clone(),
            |mut document| {
                document.insert(Place::End, &rule).expect("a plain rule");
                document
            },
        );
        sheet.note(
            "add a rule to pg_hba.conf, 1 MB",
            Who::Ours("`hba::Document::insert`"),
            inserted,
        );
    });
}

/// Measures `run`. Creating the input and dropping the result are not measured.
fn time<I, T>(input: impl FnOnce() -> I, run: impl FnOnce(I) -> T) -> Duration {
    let input = black_box(input());
    let begun = Instant::now();
    let left = black_box(run(input));
    let time = begun.elapsed();
    drop(left);
    time
}

/// Returns rules for different users in columns, with a few comments.
fn rules(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let (second, third) = (n / 256 % 256, n % 256);
        if n % 20 == 0 {
            text.push_str(
                "# TYPE  DATABASE        USER            ADDRESS                 METHOD\n",
            );
        }
        text.push_str(&format!(
            "host    app{n:<12} user{n:<11} 10.{second}.{third}.0/24{:12}scram-sha-256\n",
            "",
        ));
    }
    text
}

fn megabyte() -> String {
    let one = rules(20).len() / 20;
    rules(1_000_000 / one)
}

fn mappings() -> String {
    (0..25_000)
        .map(|n| format!("map{n:<13} system{n:<17} database{n}\n"))
        .collect()
}
