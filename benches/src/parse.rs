//! Reading, parsing and editing, compared with toml_edit on the same content and memchr on the same
//! bytes.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use pgconf_parse::{Document, assignments};

use crate::Plan;
use crate::sheet::{Sheet, Who};

/// The text that is read: the file that `initdb` writes, repeated to a size, or only assignments.
#[derive(Clone, Copy)]
enum Text {
    Stock(usize),
    Dense(usize),
}

const TEXTS: [Text; 4] = [
    Text::Stock(30_000),
    Text::Stock(1_000_000),
    Text::Stock(10_000_000),
    Text::Dense(1_000_000),
];

#[derive(Clone, Copy)]
enum Operation {
    Memchr,
    Iterate,
    Parse,
    ParseEditWrite,
    TomlParse,
    TomlParseEditWrite,
}

const OPERATIONS: [Operation; 6] = [
    Operation::Memchr,
    Operation::Iterate,
    Operation::Parse,
    Operation::ParseEditWrite,
    Operation::TomlParse,
    Operation::TomlParseEditWrite,
];

pub(crate) fn measure(sheet: &mut Sheet, plan: &Plan) {
    for text in TEXTS {
        let conf = text.write(Language::Conf);
        let toml = text.write(Language::Toml);
        sheet.rounds(plan.rounds, |sheet| {
            for operation in OPERATIONS {
                let source = match operation.language() {
                    Language::Conf => &conf,
                    Language::Toml => &toml,
                };
                let time = operation.time(source);
                for (what, who) in operation.rows() {
                    sheet.note_bytes(&format!("{what}, {text}"), who, source.len(), time);
                }
            }
        });
    }
}

/// The number of bytes that are read in one measurement. Short texts are read several times.
const BYTES_A_TURN: usize = 1_000_000;

impl Operation {
    fn language(self) -> Language {
        match self {
            Self::TomlParse | Self::TomlParseEditWrite => Language::Toml,
            _ => Language::Conf,
        }
    }

    /// The rows in which the operation is shown.
    fn rows(self) -> Vec<(&'static str, Who<'static>)> {
        const ITERATE: &str = "iterate over assignments";
        const PARSE: &str = "parse";
        const EDIT: &str = "parse, edit one setting, write";
        match self {
            Self::Memchr => [ITERATE, PARSE, EDIT]
                .map(|what| (what, Who::Floor("memchr, for newlines")))
                .into(),
            Self::Iterate => vec![(ITERATE, Who::Ours("`assignments`"))],
            Self::Parse => vec![(PARSE, Who::Ours("`Document`"))],
            Self::ParseEditWrite => vec![(EDIT, Who::Ours("`Document`"))],
            Self::TomlParse => vec![(PARSE, Who::Beside("toml_edit"))],
            Self::TomlParseEditWrite => vec![(EDIT, Who::Beside("toml_edit"))],
        }
    }

    /// Runs the operation. The result is dropped after the measured time.
    fn run(self, source: &str) -> Left {
        let source = black_box(source);
        match self {
            Self::Memchr => Left::Number(memchr::memchr_iter(b'\n', source.as_bytes()).count()),
            Self::Iterate => Left::Number(
                assignments(source.as_bytes())
                    .map(|found| found.name().len() + found.value().len())
                    .sum(),
            ),
            Self::Parse => Left::Document(Document::parse(source)),
            Self::ParseEditWrite => {
                let mut document = Document::parse(source);
                document
                    .set("last_setting", 4711)
                    .expect("a plain name and value");
                Left::Bytes(document.to_bytes())
            }
            Self::TomlParse => Left::Toml(source.parse().expect("TOML")),
            Self::TomlParseEditWrite => {
                let mut document: toml_edit::DocumentMut = source.parse().expect("TOML");
                document["last_setting"] = toml_edit::value(4711);
                Left::Bytes(document.to_string().into_bytes())
            }
        }
    }

    /// Measures one run.
    fn time(self, source: &str) -> Duration {
        let times = (BYTES_A_TURN / source.len()).max(1);
        let once = |_| {
            let begun = Instant::now();
            let left = black_box(self.run(source));
            let time = begun.elapsed();
            drop(left);
            time
        };
        let whole: Duration = (0..times).map(once).sum();
        whole / u32::try_from(times).expect("a small number")
    }
}

/// The result of an operation.
#[expect(dead_code, reason = "it is only dropped")]
enum Left {
    Number(usize),
    Document(Document),
    Toml(toml_edit::DocumentMut),
    Bytes(Vec<u8>),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, size) = match self {
            Self::Stock(size) => ("stock", size),
            Self::Dense(size) => ("dense", size),
        };
        match size {
            1_000_000.. => write!(f, "{name} {} MB", size / 1_000_000),
            _ => write!(f, "{name} {} KB", size / 1_000),
        }
    }
}

/// The two languages of the texts, which have the same comments, names and values.
#[derive(Clone, Copy)]
enum Language {
    Conf,
    Toml,
}

impl Text {
    fn write(self, language: Language) -> String {
        let (size, mut piece): (_, Box<dyn FnMut(usize) -> String>) = match self {
            Self::Stock(size) => {
                let stock = stock();
                // TOML does not allow duplicate keys, so each repetition has different names.
                (size, Box::new(move |n| renamed(&stock, n, language)))
            }
            Self::Dense(size) => (size, Box::new(move |n| dense(n, language))),
        };
        let mut text = String::with_capacity(size + 1_000);
        'full: for n in 0.. {
            for line in piece(n).split_inclusive('\n') {
                if text.len() >= size {
                    break 'full;
                }
                text.push_str(line);
            }
        }
        text.push_str(&assignment("last_setting", "42", language));
        text
    }
}

/// Returns the sample file of PostgreSQL 14 from the oracle's cases.
pub(crate) fn stock() -> String {
    let cases = include_str!("../../tests/oracle/stock.jsonl");
    let case: serde_json::Value =
        serde_json::from_str(cases.lines().last().expect("a case")).expect("JSON");
    case["files"]["postgresql.conf"]
        .as_str()
        .expect("text")
        .to_owned()
}

fn renamed(stock: &str, n: usize, language: Language) -> String {
    let document = Document::parse(stock);
    let mut text = String::new();
    let mut end = 0;
    for found in document.assignments() {
        text.push_str(&stock[end..found.span().start]);
        let name = format!("{}_{n}", found.name_lossy());
        text.push_str(assignment(&name, &found.value_lossy(), language).trim_end());
        end = found.span().end;
    }
    text + &stock[end..]
}

fn dense(n: usize, language: Language) -> String {
    const SETTINGS: [(&str, &str); 6] = [
        ("max_connections", "100"),
        ("shared_buffers", "128MB"),
        ("listen_addresses", "127.0.0.1, ::1"),
        ("random_page_cost", "1.1"),
        ("log_line_prefix", "%m [%p] "),
        ("wal_level", "replica"),
    ];
    SETTINGS
        .iter()
        .map(|(name, value)| assignment(&format!("{name}_{n}"), value, language))
        .collect()
}

fn assignment(name: &str, value: &str, language: Language) -> String {
    let number = value.parse::<f64>().is_ok();
    let bare =
        number || !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match language {
        Language::Conf if bare => format!("{name} = {value}\n"),
        Language::Conf => format!("{name} = '{value}'\n"),
        Language::Toml if number => format!("{name} = {value}\n"),
        Language::Toml => format!("{name} = \"{value}\"\n"),
    }
}
