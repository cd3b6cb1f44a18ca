//! Reading, parsing and editing, beside toml_edit on the same content and memchr on the same bytes.
//!
//! `cargo bench -p pgconf-parse`; the figures in the README are the `median` column.

use std::fmt;
use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
use pgconf_parse::{Document, assignments};

fn main() {
    divan::main();
}

/// What is read: the file that `initdb` writes, repeated to a size, or nothing but assignments.
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

/// The two languages in which the texts are written, with the same comments, names and values.
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
                // Toml allows no key twice, so every repetition has names of its own.
                (size, Box::new(move |n| renamed(&stock, n, language)))
            }
            Self::Dense(size) => (size, Box::new(move |n| dense(n, language))),
        };
        let mut text = String::with_capacity(size + 30_000);
        for n in 0.. {
            text.push_str(&piece(n));
            if text.len() >= size {
                break;
            }
        }
        text.push_str(&assignment("last_setting", "42", language));
        text
    }
}

/// The sample file of PostgreSQL 14, from the oracle's cases.
fn stock() -> String {
    let cases = include_str!("../../../tests/oracle/stock.jsonl");
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

#[divan::bench(args = TEXTS)]
fn a_memchr_lines(bencher: Bencher<'_, '_>, text: Text) {
    let source = text.write(Language::Conf);
    bencher
        .counter(BytesCount::of_str(&source))
        .bench(|| memchr::memchr_iter(b'\n', black_box(source.as_bytes())).count());
}

#[divan::bench(args = TEXTS)]
fn b_iterate(bencher: Bencher<'_, '_>, text: Text) {
    let source = text.write(Language::Conf);
    bencher.counter(BytesCount::of_str(&source)).bench(|| {
        assignments(black_box(source.as_bytes()))
            .map(|found| found.name().len() + found.value().len())
            .sum::<usize>()
    });
}

#[divan::bench(args = TEXTS)]
fn c_parse(bencher: Bencher<'_, '_>, text: Text) {
    let source = text.write(Language::Conf);
    bencher
        .counter(BytesCount::of_str(&source))
        .bench(|| Document::parse(black_box(source.as_str())));
}

#[divan::bench(args = TEXTS)]
fn d_parse_edit_write(bencher: Bencher<'_, '_>, text: Text) {
    let source = text.write(Language::Conf);
    bencher.counter(BytesCount::of_str(&source)).bench(|| {
        let mut document = Document::parse(black_box(source.as_str()));
        document
            .set("last_setting", 4711)
            .expect("a plain name and value");
        document.to_bytes()
    });
}

#[divan::bench(args = TEXTS)]
fn e_toml_edit_parse(bencher: Bencher<'_, '_>, text: Text) {
    let source = text.write(Language::Toml);
    bencher.counter(BytesCount::of_str(&source)).bench(|| {
        black_box(source.as_str())
            .parse::<toml_edit::DocumentMut>()
            .expect("TOML")
    });
}

#[divan::bench(args = TEXTS)]
fn f_toml_edit_parse_edit_write(bencher: Bencher<'_, '_>, text: Text) {
    let source = text.write(Language::Toml);
    bencher.counter(BytesCount::of_str(&source)).bench(|| {
        let mut document: toml_edit::DocumentMut =
            black_box(source.as_str()).parse().expect("TOML");
        document["last_setting"] = toml_edit::value(4711);
        document.to_string()
    });
}
