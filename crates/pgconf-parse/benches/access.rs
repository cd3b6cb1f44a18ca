//! Access rules: a megabyte of them read, and decisions over ten thousand.

#![allow(clippy::print_stdout, reason = "a benchmark")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use pgconf_parse::hba::{
    Attempt, Decision, Document, Facts, Method, Name, NewRule, Place, Rules, Server,
};
use pgconf_parse::ident::Mappings;

const ROUNDS: usize = 50;

fn main() {
    let (text, maps, server) = (megabyte(), mappings(), Server::default());
    let read = |text: &String| text.clone().into_bytes();
    reading("document", text.len(), || read(&text), Document::parse);
    reading(
        "rules",
        text.len(),
        || read(&text),
        |text| Rules::parse(text, &server),
    );
    reading(
        "mappings",
        maps.len(),
        || read(&maps),
        |text| Mappings::parse(text, &server),
    );

    // The last rule is the one that applies.
    let rules = Rules::parse(rules(10_000) + "host all all all reject\n", &server);
    let attempt = Attempt::host(Ipv4Addr::new(192, 0, 2, 1), "app9999", "user9999");
    let facts = Facts::new();
    let time = median(
        || (),
        |()| {
            let decision = rules.decide(black_box(&attempt), &facts);
            assert!(matches!(decision, Decision::Rule(rule) if rule.method() == Method::Reject));
        },
    );
    println!("decide over 10,000 rules: {time:?}");

    let document = Document::parse(text.as_str());
    let rule = NewRule::local(Name::all(), Name::all(), Method::Peer);
    let time = median(
        || document.clone(),
        |mut document| {
            document.insert(Place::End, &rule).expect("a plain rule");
            document
        },
    );
    println!("insert into a megabyte: {time:?}");
}

fn reading<T>(what: &str, size: usize, input: impl Fn() -> Vec<u8>, read: impl Fn(Vec<u8>) -> T) {
    let time = median(input, read);
    println!("{what}: {:.0} MB/s", size as f64 / 1e6 / time.as_secs_f64());
}

/// Making what is read and dropping what comes of it is not measured.
fn median<I, T>(input: impl Fn() -> I, run: impl Fn(I) -> T) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let input = black_box(input());
            let begun = Instant::now();
            let left = black_box(run(input));
            let time = begun.elapsed();
            drop(left);
            time
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
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
