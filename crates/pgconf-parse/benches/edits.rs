//! Parsing, editing N settings and writing, beside toml_edit on the same content.
//!
//! `cargo bench -p pgconf-parse --bench edits` prints a table. With `BENCH_ROUNDS` set, each line
//! is a row for `cargo xtask bench`.

#![allow(clippy::print_stdout, reason = "this is what a benchmark is for")]

#[path = "../../../tests/benches/rows/mod.rs"]
mod rows;

use std::hint::black_box;
use std::time::{Duration, Instant};

use pgconf_parse::{Document, Removal};
use rows::{Sheet, Who};

/// How many settings are edited.
const NUMBERS: [usize; 5] = [1, 10, 100, 1_000, 4_000];

/// Where the edited names are before.
#[derive(Clone, Copy, Debug)]
enum Names {
    /// Each is set in the file, which holds nothing else, and gets another value.
    Live,
    /// None is in the file that `initdb` writes.
    Absent,
    /// Each is commented out in the file, which holds nothing else.
    CommentedOut,
    /// Each is set in the file and taken out of effect.
    Removed,
}

const NAMES: [Names; 4] = [
    Names::Live,
    Names::Absent,
    Names::CommentedOut,
    Names::Removed,
];

fn main() {
    let listed = rows::rounds();
    let rounds = listed.unwrap_or(20);
    let mut sheet = Sheet::new("edits");
    for names in NAMES {
        for number in NUMBERS {
            let what = format!("parse, edit {number}, write: {}", names.name());
            let case = Case::new(names, number);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            sheet.rounds(rounds, |sheet| {
                let time = case.time(|case| case.run_ours());
                sheet.note(&what, Who::Ours("`Document::edit`"), time);
                ours.push(time);
                let time = case.time(|case| case.run_toml_edit());
                sheet.note(&what, Who::Beside("toml_edit"), time);
                theirs.push(time);
            });
            if listed.is_none() {
                let (ours, theirs) = (median(ours), median(theirs));
                let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
                println!("{what:45} {ours:>12.2?} toml_edit {theirs:>12.2?} {ratio:>8.1} x");
            }
        }
    }
    if listed.is_some() {
        sheet.print();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

struct Case {
    names: Names,
    settings: Vec<String>,
    conf: String,
    toml: String,
}

impl Case {
    fn new(names: Names, number: usize) -> Self {
        let settings: Vec<String> = (0..number).map(|n| format!("setting_{n}")).collect();
        let (mark, rest) = match names {
            Names::Live | Names::Removed => ("", ""),
            Names::CommentedOut => ("#", ""),
            Names::Absent => ("", STOCK.as_str()),
        };
        let lines: String = match names {
            Names::Absent => rest.to_owned(),
            _ => settings
                .iter()
                .map(|name| format!("{mark}{name} = 42\t\t# a comment\n"))
                .collect(),
        };
        Self {
            names,
            toml: lines.replace('\'', "\""),
            conf: lines,
            settings,
        }
    }

    fn run_ours(&self) -> Vec<u8> {
        let mut document = Document::parse(black_box(self.conf.as_str()));
        let edited = document.edit(|session| {
            for (value, name) in self.settings.iter().enumerate() {
                match self.names {
                    Names::Removed => drop(session.remove(name, Removal::CommentOut)),
                    _ => drop(session.set(name, value as i64)?),
                }
            }
            Ok::<_, pgconf_parse::EditError>(())
        });
        edited.expect("plain names and values");
        document.to_bytes()
    }

    fn run_toml_edit(&self) -> String {
        let mut document: toml_edit::DocumentMut =
            black_box(self.toml.as_str()).parse().expect("TOML");
        for (value, name) in self.settings.iter().enumerate() {
            match self.names {
                Names::Removed => drop(document.remove(name)),
                _ => document[name] = toml_edit::value(value as i64),
            }
        }
        document.to_string()
    }

    /// Of one run; what takes microseconds takes its turn several times.
    fn time<T>(&self, mut run: impl FnMut(&Self) -> T) -> Duration {
        let times = (4_000 / self.settings.len()).clamp(1, 200) as u32;
        let begun = Instant::now();
        for _ in 0..times {
            black_box(run(self));
        }
        begun.elapsed() / times
    }
}

impl Names {
    fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Absent => "absent, stock 30 KB",
            Self::CommentedOut => "commented out",
            Self::Removed => "removed",
        }
    }
}

/// The sample file of PostgreSQL 14, from the oracle's cases.
static STOCK: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    let cases = include_str!("../../../tests/oracle/stock.jsonl");
    let case: serde_json::Value =
        serde_json::from_str(cases.lines().last().expect("a case")).expect("JSON");
    let text = case["files"]["postgresql.conf"].as_str().expect("text");
    text.to_owned()
});
