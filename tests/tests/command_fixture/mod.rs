//! The program `pgcluster`, as tests run it.

#![allow(dead_code, reason = "each test uses a part")]

use std::process::{Command, Output};
use std::sync::OnceLock;

use camino::Utf8PathBuf;
use pg_tests::{Room, server};
use serde_json::Value;

/// The program: built by `cargo xtask test`, or now if a test is run by itself.
pub(crate) fn program() -> Utf8PathBuf {
    static PROGRAM: OnceLock<Utf8PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(find_program).clone()
}

fn find_program() -> Utf8PathBuf {
    if let Ok(given) = std::env::var("CARGO_BIN_EXE_pgcluster") {
        return given.into();
    }
    let itself = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    let built = itself.ancestors().nth(2).unwrap().join("pgcluster");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "-p", "pgcluster"])
        .status();
    let is_built = status.is_ok_and(|status| status.success());
    assert!(is_built && built.exists(), "cargo builds {built}");
    built
}

/// The program with these arguments, for the newest server, without the settings of the machine.
pub(crate) fn pgcluster(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    let bin = server().bindir().map(|path| path.to_string()).unwrap();
    for name in [
        "PGDATA",
        "PGUSER",
        "PGDATABASE",
        "NO_COLOR",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(name);
    }
    command.env("PGINSTALLATION", bin).args(arguments);
    command
}

/// Has `outer` run this command: its program and arguments come last, its variables are set.
pub(crate) fn pass_on(command: &Command, outer: &mut Command) {
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
}

/// What the program printed, and its exit status.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs the program, which succeeds, and returns its output.
#[track_caller]
pub(crate) fn out(arguments: &[&str]) -> String {
    let said = said(arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    assert_eq!(said.err, "", "{arguments:?}");
    said.out
}

/// Runs the program with `--json`, which succeeds, and returns what it printed.
#[track_caller]
pub(crate) fn json(arguments: &[&str]) -> Value {
    let text = out(&[&["--json"], arguments].concat());
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Runs the program.
pub(crate) fn said(arguments: &[&str]) -> Said {
    pgcluster(arguments).output().unwrap().into()
}

/// A cluster that the program has made in the room, which listens on a socket in its directory
/// alone.
pub(crate) fn cluster(room: &Room) -> String {
    let data = room.join("data").into_string();
    let sockets = room.directory("s");
    out(&[
        "init",
        &data,
        "--socket-dir",
        sockets.as_str(),
        "--set=listen_addresses=",
        "--set=fsync=off",
    ]);
    data
}
