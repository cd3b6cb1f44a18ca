//! pgconf-parse against what real servers made of the same files: see `tests/oracle`.

#[path = "../../crates/pgconf-parse/tests/oracle_cases/mod.rs"]
mod oracle_cases;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oracle_cases::{MAJORS, Read, Row, all, compare};
use pgconf_parse::{Document, Event, Problem, ProblemKind, Removal, Resolver};

#[test]
fn every_server_reads_what_we_read() {
    let root = tempfile::tempdir().expect("a temporary directory");
    for case in all() {
        let data = root.path().join(&case.id).join("data");
        let file = case.write_to(&data);
        for major in MAJORS {
            let read = Resolver::new()
                .major(major)
                .read(&file)
                .expect("the first file");
            let rows: Vec<Row> = read.events().map(|event| row(event, &data)).collect();
            compare(&case.id, &rows, &case.rows(major, &data), &data);

            let place = |file: &Path, line, name: &[u8]| (seen(file, &data), line, name.to_vec());
            let winners: Vec<_> = read
                .settings()
                .map(|won| place(won.file(), won.line(), won.name()))
                .collect();
            let effective = case.effective(major).into_iter().map(|n| match &rows[n] {
                Row {
                    file,
                    line,
                    read: Read::Setting { name, .. },
                } => (file.clone(), *line, name.clone()),
                row => panic!("{}: {row:?} cannot be in effect", case.id),
            });
            assert_eq!(winners, effective.collect::<Vec<_>>(), "{}", case.id);
        }
        let skipped: Vec<_> = Resolver::new()
            .read(&file)
            .expect("the first file")
            .skipped()
            .iter()
            .map(|file| seen(file, &data))
            .collect();
        assert_eq!(skipped, case.skipped(&data), "{}", case.id);
    }
}

/// Each file of each case, edited: the setting is read back, and every other line is as it was.
#[test]
fn every_file_can_be_edited() {
    for case in all() {
        for (path, content) in case.files() {
            let document = Document::parse(content.as_slice());
            assert_eq!(document.as_bytes(), content, "{} {path}", case.id);
            let Some(last) = document
                .assignments()
                .rfind(|found| found.directive().is_none())
            else {
                continue;
            };
            let mut edited = document.clone();
            let change = edited
                .set(last.name(), "it's \\ new\n")
                .expect("a value without NUL");
            let read_back = edited
                .get(last.name())
                .expect("what was set")
                .value()
                .into_owned();
            assert_eq!(read_back, b"it's \\ new\n", "{} {path}", case.id);
            let lines = |text: &[u8]| -> Vec<Vec<u8>> {
                text.split_inclusive(|&byte| byte == b'\n')
                    .map(<[u8]>::to_vec)
                    .collect()
            };
            let (mut before, mut after) = (lines(&content), lines(edited.as_bytes()));
            before.remove(change.line - 1);
            after.remove(change.line - 1);
            assert_eq!(before, after, "{} {path}", case.id);

            edited.remove(last.name(), Removal::CommentOut);
            assert!(edited.get(last.name()).is_none(), "{} {path}", case.id);
        }
    }
}

/// The file that `initdb` writes: every default stands in a comment and can be read.
#[test]
fn commented_defaults_of_the_stock_file_are_those_of_the_file_with_all_switched_on() {
    let cases = all();
    let of = |id: &str| {
        let case = cases
            .iter()
            .find(|case| case.id == id)
            .expect("the stock files");
        let (_, content) = case.files().next().expect("a file");
        Document::parse(content)
    };
    let on = of("stock-12-all");
    let mut text = Vec::new();
    for line in on.as_bytes().split_inclusive(|&byte| byte == b'\n') {
        if !line.trim_ascii_start().is_empty() && !line.trim_ascii_start().starts_with(b"#") {
            text.push(b'#');
        }
        text.extend(line);
    }
    let off = Document::parse(text);
    assert_eq!(off.assignments().count(), 0);
    let defaults: Vec<_> = off
        .commented_out()
        .map(|found| (found.name().to_vec(), found.value().to_vec()))
        .collect();
    let live: Vec<_> = on
        .assignments()
        .map(|found| (found.name().to_vec(), found.value().to_vec()))
        .collect();
    assert!(live.len() > 250);
    assert_eq!(defaults, live);
    assert!(of("stock-14").commented_out().count() > 300);
}

fn row(event: Event<'_>, data: &Path) -> Row {
    match event {
        Event::Assignment(found) => Row {
            file: seen(found.file(), data),
            line: found.line(),
            read: Read::Setting {
                name: found.name().to_vec(),
                value: found.value().into_owned(),
            },
        },
        Event::Problem(problem) => Row {
            file: seen(problem.file(), data),
            line: problem.line(),
            read: Read::Error {
                error: message(problem, data),
                near: near(problem),
            },
        },
        other => panic!("an unknown event: {other:?}"),
    }
}

fn near(problem: &Problem) -> Option<Vec<u8>> {
    match problem.kind() {
        ProblemKind::Syntax(error) => error.near().map(<[u8]>::to_vec),
        _ => None,
    }
}

fn message(problem: &Problem, data: &Path) -> Vec<u8> {
    let text = problem.kind().to_string();
    let directory = format!("{}/", data.display());
    text.replace(&directory, "").into_bytes()
}

fn seen(file: &Path, data: &Path) -> Vec<u8> {
    let file = file.as_os_str().as_bytes();
    let inside = file.strip_prefix([data.as_os_str().as_bytes(), b"/"].concat().as_slice());
    inside.unwrap_or(file).to_vec()
}
