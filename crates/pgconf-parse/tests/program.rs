//! The example program `pgconf`, run as a process.

#![allow(clippy::unwrap_used, reason = "a test")]

mod oracle_cases;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use oracle_cases::{MAJORS, Row, all, compare};
use serde_json::Value as Json;

#[test]
fn dump_agrees_with_every_server_on_every_case() {
    let root = tempfile::tempdir().unwrap();
    let cases: Vec<_> = all()
        .into_iter()
        .map(|case| {
            let data = root.path().join(&case.id).join("data");
            let file = case.write_to(&data);
            (case, data, file)
        })
        .collect();
    for major in MAJORS {
        let output = Command::new(program())
            .args(["dump", "--auto", "--major", &major.to_string()])
            .args(cases.iter().map(|(.., file)| file))
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(1),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let dumps = dumps(&output);
        assert_eq!(dumps.len(), cases.len());
        let mut differences = 0;
        for ((case, data, file), (dumped, rows)) in cases.iter().zip(&dumps) {
            assert_eq!(dumped, file);
            let server = case.rows(major, data);
            differences += compare(&case.id, rows, &server, data);
        }
        assert!(differences > 0, "the expected difference did not occur");
    }
}

/// Parses the dump of each file.
fn dumps(output: &Output) -> Vec<(PathBuf, Vec<Row>)> {
    let mut dumps = Vec::new();
    for line in output.stdout.split_inclusive(|&byte| byte == b'\n') {
        let json: Json = serde_json::from_slice(line).unwrap();
        if let Some(file) = json.get("dump") {
            dumps.push((file.as_str().unwrap().into(), Vec::new()));
            continue;
        }
        assert!(json.get("file").is_some(), "{json}");
        let row = Row::of(&json, |path| path);
        dumps.last_mut().unwrap().1.push(row);
    }
    dumps
}

#[test]
fn dump_of_one_file_prints_only_its_rows() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("b.conf"), "a.y = '2'\n").unwrap();
    fs::write(data.path().join("postgresql.auto.conf"), "a.z = 3\n").unwrap();
    let file = write(data.path(), "a.x = 1\ninclude 'b.conf'\n");
    let output = run(&["dump"], &file, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "{\"file\":\"postgresql.conf\",\"line\":1,\"name\":\"a.x\",\"value\":\"1\"}\n\
         {\"file\":\"b.conf\",\"line\":1,\"name\":\"a.y\",\"value\":\"2\"}\n",
    );
}

#[test]
fn paths_are_relative_to_the_directory_of_the_file() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(root.path().join("above.conf"), "a.x = 1\n").unwrap();
    fs::write(data.join("sub/in.conf"), "include '../../above.conf'\n").unwrap();
    let shown = data.display();
    let file = write(
        &data,
        &format!(
            "include '../above.conf'\ninclude 'sub/in.conf'\ninclude '{shown}/sub/../gone'\n\
             include '{shown}//gone'\ninclude '/nowhere/gone'\ninclude '.'\n",
        ),
    );
    let seen: Vec<String> = String::from_utf8(run(&["dump"], &file, &[]).stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let json: Json = serde_json::from_str(line).unwrap();
            let text = json.get("error").or(json.get("file")).unwrap();
            text.as_str().unwrap().to_owned()
        })
        .collect();
    let above = ["../above.conf", "../above.conf"].map(str::to_owned);
    let gone = [
        "sub/../gone".to_owned(),
        format!("{shown}//gone"),
        "/nowhere/gone".to_owned(),
    ]
    .map(|path| format!("could not open file \"{path}\""));
    assert_eq!(seen[..2], above);
    assert_eq!(seen[2..5], gone);
    assert_eq!(seen[5], "input in flex scanner failed");
}

#[test]
fn set_get_and_unset_change_the_file() {
    let data = tempfile::tempdir().unwrap();
    let file = write(data.path(), "#port = 5432\t# which\r\nwork_mem = 4MB\r\n");
    let output = run(
        &["set"],
        &file,
        &["port=5433", "listen_addresses=", "work_mem=it's = 1"],
    );
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let written = "port = 5433\t# which\r\nwork_mem = 'it''s = 1'\r\nlisten_addresses = ''\r\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    let output = run(&["get"], &file, &["PORT", "work_mem", "listen_addresses"]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "5433\nit's = 1\n\n"
    );

    let output = run(&["unset", "--stdout"], &file, &["work_mem"]);
    assert_eq!(
        output.stdout,
        written.replace("work_mem", "#work_mem").as_bytes()
    );
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        written,
        "--stdout must not change the file"
    );
    run(&["unset"], &file, &["work_mem"]);
    let output = run(&["get"], &file, &["work_mem"]);
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(1), b"".as_slice())
    );
}

/// A server that does not run as root could not read a file that is owned by root.
#[test]
fn set_keeps_the_owner_of_the_file() {
    const NOBODY: u32 = 65_534;
    let data = tempfile::tempdir().unwrap();
    let file = write(data.path(), "port = 1\n");
    let owner = || {
        let found = fs::metadata(&file).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o7777)
    };
    let is_root = owner().0 == 0;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    if is_root {
        chown(&file, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let before = owner();
    assert_eq!(run(&["set"], &file, &["port=2"]).status.code(), Some(0));
    assert_eq!(owner(), before);
    assert_eq!(fs::read_to_string(&file).unwrap(), "port = 2\n");

    // Only root can create a file whose owner the program, run as another user, cannot set.
    if is_root {
        chown(&file, Some(0), Some(0)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o777)).unwrap();
        // A copy of the program that the other user can execute.
        let copy = data.path().join("pgconf");
        fs::copy(program(), &copy).unwrap();
        let mut command = Command::new(copy);
        command
            .arg("set")
            .arg(&file)
            .arg("port=3")
            .uid(NOBODY)
            .gid(NOBODY);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("cannot keep the owner, user 0 and group 0"),
            "{text}"
        );
        assert_eq!(owner(), (0, 0, 0o644));
        assert_eq!(fs::read_to_string(&file).unwrap(), "port = 2\n");
        assert_eq!(
            fs::read_dir(data.path()).unwrap().count(),
            2,
            "the temporary file must be removed"
        );
    }
}

#[test]
fn explain_lists_every_assignment() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("postgresql.auto.conf"), "port = '3'\n").unwrap();
    let file = write(data.path(), "port = 1\nport = 2\n");
    let output = run(&["explain", "--auto"], &file, &["port"]);
    let shown = data.path().display();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!(
            "{shown}/postgresql.conf:1: port = 1 (overridden)\n\
             {shown}/postgresql.conf:2: port = 2 (overridden)\n\
             {shown}/postgresql.auto.conf:1: port = '3' (in effect)\n",
        ),
    );
}

#[test]
fn a_missing_file_is_an_error() {
    let data = tempfile::tempdir().unwrap();
    for command in ["dump", "get", "set", "unset", "explain"] {
        let output = run(&[command], &data.path().join("gone"), &["a=b"]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(!output.stderr.is_empty());
    }
}

fn write(data: &Path, text: &str) -> PathBuf {
    let file = data.join("postgresql.conf");
    fs::write(&file, text).unwrap();
    file
}

fn run(command: &[&str], file: &Path, rest: &[&str]) -> Output {
    Command::new(program())
        .args(command)
        .arg(file)
        .args(rest)
        .output()
        .unwrap()
}

/// Builds the example program and returns its path. `cargo test` builds it with all tests, but
/// `cargo test --test program` does not.
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
            "cannot build the example program"
        );
        profile.join("examples/pgconf")
    })
}
