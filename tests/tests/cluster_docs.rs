//! The documents that list things are held against the things.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "it is a test throughout"
)]

use std::collections::BTreeSet;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

fn workspace() -> Utf8PathBuf {
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("Cargo's environment");
    Utf8Path::new(&package)
        .parent()
        .expect("a workspace")
        .to_owned()
}

fn sources(directory: &Utf8Path, found: &mut Vec<Utf8PathBuf>) {
    for entry in directory.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension() == Some("rs") {
            found.push(path);
        }
    }
}

/// Runs of these tests apart from the workspace have no sources beside them, and nothing to
/// compare.
fn crates() -> Option<Vec<Utf8PathBuf>> {
    let directory = workspace().join("crates");
    if !directory.is_dir() {
        eprintln!("no sources at {directory}: compared in runs within the workspace");
        return None;
    }
    let mut found = Vec::new();
    for member in directory.read_dir_utf8().unwrap() {
        sources(&member.unwrap().path().join("src"), &mut found);
    }
    Some(found)
}

#[test]
fn every_difference_is_listed() {
    let Some(crates) = crates() else { return };
    let root = workspace();
    let listed = fs::read_to_string(root.join("docs/differences.md")).unwrap();
    let listed: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("* `")?.split_once('`'))
        .map(|(path, _)| path)
        .collect();
    let marked: BTreeSet<String> = crates
        .iter()
        // Said of the mark itself, and not a difference.
        .filter(|path| {
            !path.ends_with("lib.rs") && fs::read_to_string(path).unwrap().contains("DIFFERENCE:")
        })
        .map(|path| path.strip_prefix(&root).unwrap().to_string())
        .collect();
    assert_eq!(
        listed,
        marked.iter().map(String::as_str).collect::<BTreeSet<_>>()
    );
}

/// Each item that the table names is a public method of that type.
#[test]
fn the_table_for_users_of_py_postgresql_names_existing_items() {
    let Some(crates) = crates() else { return };
    let table = fs::read_to_string(workspace().join("docs/from-py-postgresql.md")).unwrap();
    let text: Vec<String> = crates
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut named = 0;
    for (item, method) in table.split('`').filter_map(|code| code.rsplit_once("::")) {
        let item = item.rsplit("::").next().unwrap();
        let is_there = text.iter().any(|source| {
            let implements =
                source.contains(&format!("impl {item}")) || source.contains(&format!("> {item}<"));
            let has = [format!("pub fn {method}("), format!("pub fn {method}<")];
            implements && has.iter().any(|signature| source.contains(signature))
        });
        assert!(is_there, "{item}::{method}");
        named += 1;
    }
    assert!(named > 50, "{named}");
}

/// The texts of a crate show every message that its errors have.
#[test]
fn every_message_is_shown() {
    let Some(crates) = crates() else { return };
    let root = workspace();
    for (name, texts) in [
        ("pg-proc", "crates/pg-proc/texts/texts.txt"),
        ("pg-cluster", "crates/pg-cluster/texts/texts.txt"),
        ("pg-fixture", "crates/pg-fixture/texts/texts.txt"),
    ] {
        let directory = root.join("crates").join(name).join("src");
        let shown = fs::read_to_string(root.join(texts)).unwrap();
        let mut missing = Vec::new();
        for path in crates.iter().filter(|path| path.starts_with(&directory)) {
            let source = pg_tests::joined(&fs::read_to_string(path).unwrap());
            let parts = pg_tests::messages(&source).flatten();
            let unseen = parts.filter(|part| !shown.contains(part));
            missing.extend(unseen.map(str::to_owned));
        }
        assert!(missing.is_empty(), "{name}: {missing:#?}");
    }
}
