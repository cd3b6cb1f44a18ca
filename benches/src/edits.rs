//! Parsing a configuration file, editing N settings and writing, compared with toml_edit on the
//! same content.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pgconf_parse::{Document, EditError, Removal};

use crate::Plan;
use crate::parse::stock;
use crate::sheet::{Sheet, Who};

/// The numbers of settings that are edited.
const NUMBERS: [usize; 5] = [1, 10, 100, 1_000, 4_000];

/// The state of the edited settings before the edit.
#[derive(Clone, Copy, Debug)]
enum Names {
    /// Each setting is in the file, which has no other content, and is given another value.
    Live,
    /// The file is the one that `initdb` writes, and has none of the settings.
    Absent,
    /// Each setting is commented out in the file, which has no other content.
    CommentedOut,
    /// Each setting is in the file and is removed.
    Removed,
}

const NAMES: [Names; 4] = [
    Names::Live,
    Names::Absent,
    Names::CommentedOut,
    Names::Removed,
];

pub(crate) fn measure(sheet: &mut Sheet, plan: &Plan) {
    for names in NAMES {
        for number in NUMBERS {
            let what = format!("parse, edit {number}, write: {}", names.name());
            let case = Case::new(names, number);
            sheet.rounds(plan.rounds, |sheet| {
                let time = case.time(Case::run_ours);
                sheet.note(&what, Who::Ours("`Document::edit`"), time);
                let time = case.time(Case::run_toml_edit);
                sheet.note(&what, Who::Beside("toml_edit"), time);
            });
        }
    }
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
        let list = |mark: &str| -> String {
            let line = |name| format!("{mark}{name} = 42\t\t# a comment\n");
            settings.iter().map(line).collect()
        };
        let lines = match names {
            Names::Live | Names::Removed => list(""),
            Names::CommentedOut => list("#"),
            Names::Absent => stock(),
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
            Ok::<_, EditError>(())
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

    /// Measures one run. Runs that take microseconds are repeated.
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
