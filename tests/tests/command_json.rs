//! The output of `pgcluster --json` has the fields that docs/command.md lists.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

mod command_fixture;

use std::collections::BTreeSet;

use command_fixture::{cluster, json, said};
use pg_tests::Room;
use serde_json::Value;

/// The words in code in the second column of the row whose first column names the command.
fn documented(command: &str) -> BTreeSet<&'static str> {
    let text = include_str!("../../docs/command.md");
    let (_, table) = text.split_once("| command | fields |").unwrap();
    let name = format!("`{command}`");
    let row = table.lines().find(|line| {
        let first = line.trim_start_matches('|').split('|').next();
        first.is_some_and(|first| first.contains(&name))
    });
    let (_, fields) = row
        .unwrap()
        .trim_start_matches('|')
        .split_once('|')
        .unwrap();
    fields.split('`').skip(1).step_by(2).collect()
}

#[track_caller]
fn has_documented_fields(command: &str, value: &Value) {
    let documented = documented(command);
    let keys = |value: &Value| -> Vec<String> {
        let object = value.as_object().into_iter().flatten();
        object.map(|(name, _)| name.clone()).collect()
    };
    let mut found = keys(value);
    // Objects in lists, and those of names.
    for field in value.as_object().unwrap().values() {
        found.extend(field.as_array().into_iter().flatten().flat_map(keys));
        found.extend(keys(field));
    }
    for key in found {
        assert!(
            documented.contains(key.as_str()),
            "`{key}` of {command} is not documented"
        );
    }
}

#[test]
fn all_fields_are_documented() {
    let room = Room::new();
    let data = cluster(&room);
    let check = |command: &str, arguments: &[&str]| {
        let words: Vec<&str> = command.split(' ').collect();
        has_documented_fields(command, &json(&[&words, arguments].concat()));
    };
    check("start", &[&data]);
    for command in ["status", "reload", "check", "hba list", "hba explain"] {
        check(command, &[&data]);
    }
    check("set", &[&data, "work_mem=5MB"]);
    check("hba add", &[&data, "--rule", "local all bob reject"]);
    check("stop", &[&data]);
    check("list", &[]);
    check("installations", &[]);
    check("doctor", &[&data]);
    check("remove", &[&data]);
    check("init", &[&data]);
    // Those with a field for each name.
    for (command, name) in [("get", "port"), ("explain", "port"), ("diff", "")] {
        let arguments = [command, data.as_str(), name];
        let arguments = arguments.iter().copied().filter(|word| !word.is_empty());
        let object = json(&arguments.collect::<Vec<_>>());
        for value in object.as_object().unwrap().values() {
            has_documented_fields(command, value);
        }
    }
    let error: Value = serde_json::from_str(&said(&["status", "/nowhere", "--json"]).err).unwrap();
    let fields = ["error", "exit_status", "hint", "log"];
    assert_eq!(
        error.as_object().unwrap().keys().collect::<Vec<_>>(),
        fields
    );
    check("temp", &[]);
}
