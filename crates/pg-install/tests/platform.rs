//! Compares the places and variables in docs/platform.md with those of the search.
//!
//! `UPDATE_DOCS=1 cargo test -p pg-install --test platform` rewrites the table.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;
use pg_install::{Discovery, SearchOutcome, SearchedPlaces};

const BEGIN: &str = "<!-- places -->\n";
const END: &str = "<!-- end of places -->\n";

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/platform.md")
}

/// Searches an empty machine with an empty environment.
fn search_of_nothing() -> SearchedPlaces {
    let empty = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::try_from(empty.path().to_owned()).unwrap();
    Discovery::new()
        .root(root)
        .environment(Vec::<(String, String)>::new())
        .explain()
}

#[test]
fn the_places_are_those_of_the_document() {
    let mut table = String::from("\n| | found via | place |\n|---|---|---|\n");
    for (index, searched) in search_of_nothing().searched().iter().enumerate() {
        let (source, place) = (searched.source(), searched.place());
        let place = match place {
            "PGINSTALLATION" | "PG_CONFIG" => "the value of the variable".to_owned(),
            "PATH" => "each of its directories".to_owned(),
            pattern => format!("`{pattern}`"),
        };
        writeln!(table, "| {} | {source} | {place} |", index + 1).unwrap();
    }
    table.push('\n');

    let document = document();
    let text = std::fs::read_to_string(&document).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (documented, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&document, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(documented, table);
}

/// If no variable is set, the search reports each variable that it reads.
#[test]
fn the_variables_are_those_of_the_document() {
    let explanation = search_of_nothing();
    let read: BTreeSet<&str> = explanation
        .searched()
        .iter()
        .flat_map(|searched| searched.outcomes())
        .filter_map(|outcome| match outcome {
            SearchOutcome::NotSet(variable) => Some(&**variable),
            _ => None,
        })
        .collect();
    let text = std::fs::read_to_string(document()).unwrap();
    let (_, section) = text
        .split_once("| variable | meaning |\n|---|---|\n")
        .unwrap();
    let rows = section.lines().map_while(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    assert_eq!(documented, read);
}
