//! The commands of the example program `pgconf` for access files, run as they are.

#![allow(clippy::unwrap_used, reason = "a test")]

mod hba_cases;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use hba_cases::{Case, Column, Row, cases, compare, servers};
use serde_json::{Value as Json, json};

#[test]
fn hba_list_agrees_with_every_server_on_every_case() {
    assert!(
        differences("hba", "pg_hba.conf") > 0,
        "the wanted differences do not show"
    );
}

#[test]
fn ident_list_agrees_with_every_server_on_every_case() {
    assert_eq!(differences("ident", "pg_ident.conf"), 0);
}

fn differences(kind: &str, name: &str) -> usize {
    let room = tempfile::tempdir().unwrap();
    let cases = cases(kind);
    for case in &cases {
        case.write(&room.path().join(&case.id));
    }
    let mut differences = 0;
    for asked in servers() {
        let directory = |case: &Case| room.path().join(&case.id).to_str().unwrap().to_owned();
        let asked_of: Vec<_> = cases
            .iter()
            .filter_map(|case| Some((case, case.answer(&asked.id, &directory(case))?)))
            .collect();
        if asked_of.is_empty() {
            continue;
        }
        let output = Command::new(program())
            .args([kind, "list"])
            .args(&asked.arguments)
            .args(
                asked_of
                    .iter()
                    .map(|(case, _)| Path::new(&directory(case)).join(name)),
            )
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let lists = lists(&output, asked.server.major());
        assert_eq!(lists.len(), asked_of.len());
        for ((case, answer), rows) in asked_of.iter().zip(lists) {
            let differs = compare(&case.id, &asked.id, &rows, answer);
            differences += usize::from(differs.unwrap_or_else(|fault| panic!("{fault}")));
        }
    }
    differences
}

/// What was printed of each file.
fn lists(output: &Output, major: u16) -> Vec<Vec<Row>> {
    let mut lists: Vec<Vec<Row>> = Vec::new();
    for line in output.stdout.split_inclusive(|&byte| byte == b'\n') {
        let json: Json = serde_json::from_slice(line).unwrap();
        if json.get("list").is_some() {
            lists.push(Vec::new());
            continue;
        }
        lists.last_mut().unwrap().push(row(&json, major));
    }
    lists
}

fn row(json: &Json, major: u16) -> Row {
    let names: &[&str] = if json.get("rule_number").is_some() {
        &[
            "rule_number",
            "file_name",
            "line_number",
            "type",
            "database",
            "user_name",
            "address",
            "netmask",
            "auth_method",
            "options",
            "error",
        ]
    } else {
        &[
            "map_number",
            "file_name",
            "line_number",
            "map_name",
            "sys_name",
            "pg_username",
            "error",
        ]
    };
    assert_eq!(json.as_object().unwrap().len(), names.len());
    let list: Json = names.iter().map(|name| decoded(&json[*name])).collect();
    let mut row = Row::of(&list, "/no/such/directory");
    // Before PostgreSQL 16 the view has neither number nor file.
    if major < 16 {
        row.0[..2].fill(Column::Null);
    }
    row
}

/// What the program prints in base64, the recorded rows have in hexadecimal digits.
fn decoded(json: &Json) -> Json {
    match json {
        Json::Array(list) => list.iter().map(decoded).collect(),
        Json::Object(object) => {
            let digit = |byte: u8| match byte {
                b'A'..=b'Z' => u32::from(byte - b'A'),
                b'a'..=b'z' => u32::from(byte - b'a') + 26,
                b'0'..=b'9' => u32::from(byte - b'0') + 52,
                b'+' => 62,
                _ => 63,
            };
            let mut digits = String::new();
            for group in object["b64"].as_str().unwrap().as_bytes().chunks(4) {
                let used = group.iter().filter(|byte| **byte != b'=').count();
                let bits = group
                    .iter()
                    .take(used)
                    .fold(0, |bits, byte| bits << 6 | digit(*byte));
                let bits = bits << (6 * (4 - used));
                for n in 0..used - 1 {
                    digits += &format!("{:02x}", bits >> (16 - 8 * n) & 0xff);
                }
            }
            json!({ "hex": digits })
        }
        json => json.clone(),
    }
}

#[test]
fn rules_are_explained_added_and_removed() {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("pg_hba.conf");
    let text =
        "local all all peer\nhost all +staff samenet md5\nhost all all 10.0.0.0/8 reject # no\n";
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();

    let (code, out) = run(&["hba", "explain", path, "app", "bob"]);
    assert_eq!(
        (code, out.as_str()),
        (0, format!("{path}:1: local all all peer\n").as_str())
    );
    let from = ["hba", "explain", "--from=10.1.1.1", path, "app", "bob"];
    let (code, out) = run(&from);
    assert_eq!(code, 1);
    assert!(
        out.ends_with("depends on the networks of the server\n"),
        "{out}"
    );
    let (code, out) = run(&[&from[..], &["--member-of="]].concat());
    let wanted = format!("{path}:3: host all all 10.0.0.0/8 reject # no\n");
    assert_eq!((code, out), (0, wanted));
    let (code, out) = run(&[
        "hba",
        "explain",
        "--from=192.168.1.1",
        "--member-of=",
        path,
        "a",
        "b",
    ]);
    assert_eq!(
        (code, out.as_str()),
        (1, "no rule applies, the server rejects the connection\n")
    );

    let rule = "host app bob 10.1.1.1/32 scram-sha-256";
    let add = [
        "hba",
        "add",
        "--from=10.1.1.1",
        "--member-of=",
        path,
        rule,
        "app",
        "bob",
    ];
    assert_eq!(run(&add), (0, String::new()));
    let added = fs::read_to_string(&file).unwrap();
    assert_eq!(
        added,
        text.replace("host all all", &format!("{rule}\nhost all all"))
    );
    assert_eq!(run(&["hba", "remove", path, "3"]).0, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let (code, out) = run(&["hba", "remove", "--stdout", "--comment", path, "1", "3"]);
    let commented = text
        .replace("local", "#local")
        .replace("host all all", "#host all all");
    assert_eq!((code, out), (0, commented));
    assert_eq!(run(&["hba", "remove", path, "9"]).0, 2);
    assert_eq!(run(&["hba", "add", path, "local all all foo"]).0, 2);
}

#[test]
fn check_names_errors_and_rules_that_never_apply() {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("pg_hba.conf");
    fs::write(
        &file,
        "local all all peer\nlocal app all md5\nlocal all all md6\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let (code, out) = run(&["hba", "check", path]);
    let wanted = format!(
        "{path}:3:15: invalid authentication method \"md6\"\n\
         {path}:2: rule can never apply, because {path}:1 comes first\n",
    );
    assert_eq!((code, out), (1, wanted));
    fs::write(&file, "local all all peer\n").unwrap();
    assert_eq!(run(&["hba", "check", path]), (0, String::new()));
}

#[test]
fn mappings_are_explained_added_and_removed() {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("pg_ident.conf");
    fs::write(&file, "m root postgres\n").unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(run(&["ident", "add", path, "m", "/^(.*)@x$", "\\1"]).0, 0);
    let text = "m root postgres\nm /^(.*)@x$ \\1\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let (code, out) = run(&["ident", "explain", path, "m", "bob@x"]);
    assert_eq!(
        (code, out),
        (0, format!("{path}:2: m /^(.*)@x$ \\1\n    user \"bob\"\n"))
    );
    assert_eq!(run(&["ident", "explain", path, "m", "bob@x", "bob"]).0, 0);
    assert_eq!(run(&["ident", "explain", path, "m", "bob@x", "ann"]).0, 1);
    assert_eq!(run(&["ident", "check", path]), (0, String::new()));
    assert_eq!(run(&["ident", "remove", path, "1"]).0, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "m /^(.*)@x$ \\1\n");
}

fn run(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(program()).args(arguments).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// The example program in its present state, as in `program.rs`.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "pgconf", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(
            cargo.status().unwrap().success(),
            "the example program could not be built"
        );
        profile.join("examples/pgconf")
    })
}
