//! Trees of files that include each other, in the form that `tail -n +1 *` prints. Reading
//! terminates and returns only settings of the files, and a single file with the same settings has
//! the same result.

#![no_main]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use pgconf_parse::{AutoConf, Configuration, Document, Event, Resolver};

fuzz_target!(|tree: &[u8]| {
    let (first, files) = files(tree);
    for major in [18, 14] {
        let read = Resolver::new()
            .major(major)
            .load(&files, &first)
            .expect("the first file");
        consistent(&read, &files);
        let alone = Resolver::new().major(major).auto_conf(AutoConf::Ignored);
        flat(&alone.load(&files, &first).expect("the first file"));
    }
});

/// Splits a tree into files. A line such as `==> /data/postgresql.conf <==` begins a file. The text
/// before the first such line is a file too.
fn files(tree: &[u8]) -> (PathBuf, BTreeMap<PathBuf, Vec<u8>>) {
    let first = PathBuf::from("/data/postgresql.conf");
    let mut files = BTreeMap::from([(first.clone(), Vec::new())]);
    let mut current = first.clone();
    for line in tree.split_inclusive(|byte| *byte == b'\n') {
        let title = line
            .trim_ascii_end()
            .strip_prefix(b"==> ")
            .and_then(|line| line.strip_suffix(b" <=="));
        match title.and_then(|title| std::str::from_utf8(title).ok()) {
            Some(title) => {
                current = PathBuf::from("/data").join(title);
                files.entry(current.clone()).or_default();
            }
            None => files.entry(current.clone()).or_default().extend(line),
        }
    }
    (first, files)
}

fn consistent(read: &Configuration, files: &BTreeMap<PathBuf, Vec<u8>>) {
    let known: HashSet<&Path> = read.files().iter().map(|file| file.path()).collect();
    for file in read.files() {
        let document = file.document().as_bytes();
        assert!(
            files
                .get(file.path())
                .is_none_or(|content| content == document)
        );
    }
    assert_eq!(read.is_accepted(), read.problems().next().is_none());
    let (mut assignments, mut problems) = (0, 0);
    for event in read.events() {
        let (file, line) = match event {
            Event::Assignment(found) => {
                assignments += 1;
                assert!(found.assignment().directive().is_none());
                (found.file(), found.line())
            }
            Event::Problem(problem) => {
                problems += 1;
                assert!(
                    problem
                        .to_string()
                        .starts_with(&*problem.file().to_string_lossy())
                );
                (problem.file(), problem.line())
            }
            _ => continue,
        };
        assert!(known.contains(file) && line > 0);
    }
    assert_eq!(
        (assignments, problems),
        (read.assignments().count(), read.problems().count())
    );

    let mut names = HashSet::new();
    for found in read.settings().take(8) {
        assert!(names.insert(found.name().to_ascii_lowercase()));
        let place = (found.file(), found.assignment().span());
        let winner = read.get(found.name()).expect("a setting");
        assert_eq!((winner.file(), winner.assignment().span()), place);
        let explained = read.explain(found.name());
        let winner = explained.winner().expect("a setting");
        assert_eq!((winner.file(), winner.assignment().span()), place);
        assert_eq!(
            explained.assignments().len(),
            explained.shadowed().len() + 1
        );
    }
}

fn flat(read: &Configuration) {
    let mut text = Vec::new();
    for found in read.assignments() {
        text.extend([found.name(), b" = ", found.assignment().raw_value(), b"\n"].concat());
    }
    let document = Document::parse(text);
    let settings = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
    assert!(document.check().is_ok());
    assert!(
        read.assignments()
            .map(|found| settings(found.name(), &found.value()))
            .eq(document
                .assignments()
                .map(|found| settings(found.name(), &found.value())))
    );
}
