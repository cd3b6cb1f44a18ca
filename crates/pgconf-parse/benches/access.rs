//! Access rules: a megabyte of them read, and decisions over ten thousand.

use std::hint::black_box;
use std::net::Ipv4Addr;

use divan::Bencher;
use divan::counter::BytesCount;
use pgconf_parse::hba::{
    Attempt, Decision, Document, Facts, Method, Name, NewRule, Place, Rules, Server,
};
use pgconf_parse::ident::Mappings;

fn main() {
    divan::main();
}

/// Rules for users of their own, in columns, with a comment now and then.
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

#[divan::bench]
fn document(bencher: Bencher<'_, '_>) {
    let text = megabyte();
    bencher
        .counter(BytesCount::of_str(&text))
        .bench(|| Document::parse(black_box(text.as_str())));
}

#[divan::bench]
fn read_rules(bencher: Bencher<'_, '_>) {
    let text = megabyte();
    let server = Server::default();
    // As they come from a file: the bytes become part of what is read.
    bencher
        .counter(BytesCount::of_str(&text))
        .with_inputs(|| text.clone().into_bytes())
        .bench_values(|text| Rules::parse(black_box(text), &server));
}

#[divan::bench]
fn read_mappings(bencher: Bencher<'_, '_>) {
    let text = mappings();
    let server = Server::default();
    bencher
        .counter(BytesCount::of_str(&text))
        .with_inputs(|| text.clone().into_bytes())
        .bench_values(|text| Mappings::parse(black_box(text), &server));
}

/// The last rule is the one that applies.
#[divan::bench]
fn decide_over_10000(bencher: Bencher<'_, '_>) {
    let rules = Rules::parse(
        rules(10_000) + "host all all all reject\n",
        &Server::default(),
    );
    let attempt = Attempt::host(Ipv4Addr::new(192, 0, 2, 1), "app9999", "user9999");
    let facts = Facts::new();
    bencher.bench(|| {
        let decision = rules.decide(black_box(&attempt), &facts);
        assert!(matches!(decision, Decision::Rule(rule) if rule.method() == Method::Reject));
    });
}

#[divan::bench(sample_count = 10)]
fn shadowed_of_1000(bencher: Bencher<'_, '_>) {
    let rules = Rules::parse(rules(1_000), &Server::default());
    bencher.bench(|| assert!(black_box(&rules).shadowed().is_empty()));
}

#[divan::bench]
fn insert_into_a_megabyte(bencher: Bencher<'_, '_>) {
    let document = Document::parse(megabyte());
    let rule = NewRule::local(Name::all(), Name::all(), Method::Peer);
    bencher
        .with_inputs(|| document.clone())
        .bench_refs(|document| document.insert(Place::End, &rule).expect("a plain rule"));
}
