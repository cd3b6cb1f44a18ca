//! `Report` finds the hint of every error of the family.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use pg_cluster::Report;
use pg_cluster::conf::{BaseUnit, Document};

fn sources(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The types with a public `hint()` in this source, without those that are no errors.
fn types_with_hints(source: &str) -> Vec<&str> {
    let mut current = "";
    let mut found = Vec::new();
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("impl ") {
            current = rest.split([' ', '<', '{']).next().unwrap_or_default();
        }
        if line.trim_start().starts_with("pub fn hint(&self)") && current.ends_with("Error") {
            found.push(current);
        }
    }
    found
}

#[test]
fn every_type_with_a_hint_is_in_the_list() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let report = fs::read_to_string(crates.join("pg-cluster/src/report.rs")).expect("a source");
    let (_, list) = report.split_once("hint_of_one_of!(\n").expect("the list");
    let (list, _) = list.split_once(')').expect("its end");
    let listed: Vec<&str> = list.split_whitespace().collect();
    let mut files = Vec::new();
    for name in ["pgconf-parse", "pg-install", "pg-proc", "pg-cluster"] {
        sources(&crates.join(name).join("src"), &mut files);
    }
    let texts: Vec<String> = files
        .iter()
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();
    let types: Vec<&str> = texts
        .iter()
        .flat_map(|text| types_with_hints(text))
        .collect();
    assert!(types.len() >= 15, "{types:?}");
    let missing: Vec<_> = types.iter().filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in report.rs");
}

#[test]
fn hints_of_the_parser_are_found() {
    let document = Document::parse("work_mem = 1XB\nlisten_addresses = 'a\n");
    let value = document.get("work_mem").expect("it is set");
    let bad = value.to_int(BaseUnit::Kilobyte).expect_err("no unit");
    assert!(
        Report::new(&bad as &(dyn Error + 'static))
            .to_string()
            .contains("hint: valid units are"),
    );
    let errors: Vec<_> = document.errors().map(ToOwned::to_owned).collect();
    let bad = errors.into_iter().next().expect("an error");
    let report = Report::new(&bad as &(dyn Error + 'static)).to_string();
    assert!(report.contains("\nhint: "), "{report}");
}
