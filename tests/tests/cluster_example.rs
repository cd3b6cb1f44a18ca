//! The program `pgcluster`, an example of the crate, through the life of a cluster.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::process::Command;

use camino::Utf8PathBuf;
use pg_tests::{Room, server};

/// Built beside this test by Cargo for the workspace; built now if only this package was.
fn program() -> Utf8PathBuf {
    let itself = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    let built = itself
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/pgcluster");
    if let Ok(given) = std::env::var("CARGO_BIN_EXE_pgcluster") {
        return given.into();
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "-p",
            "pg-cluster",
            "--example",
            "pgcluster",
        ])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()) || built.exists(),
        "cargo builds {built}"
    );
    built
}

#[test]
fn the_program_does_what_it_says() {
    let room = Room::new();
    let program = program();
    let bin = server().bindir().map(|path| path.to_string());
    let data = room.join("data").into_string();
    let sockets = format!("unix_socket_directories={}", room.directory("s"));
    let run = |arguments: &[&str], succeeds: bool| {
        let mut command = Command::new(&program);
        if let Some(bin) = &bin {
            command.env("PGBIN", bin);
        }
        let output = command.args(arguments).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.success(), succeeds, "{arguments:?}: {text}");
        text
    };
    assert!(run(&["--help"], true).contains("Usage: pgcluster COMMAND DIR"));
    run(&[], false);
    let start = ["start", &data, &sockets, "listen_addresses="];
    assert!(run(&start, false).contains("the directory is not initialized\nhint: `Cluster::init`"));
    assert!(run(&["init", &data], true).starts_with(&format!("initialized {data}")));
    assert!(run(&start, true).starts_with("started server "));
    assert!(run(&start, true).contains("was running already"));
    assert!(run(&["status", &data], true).starts_with("Ready("));
    assert!(run(&["set", &data, "work_mem=7MB"], true).starts_with("changed "));
    assert!(run(&["set", &data, "work_mem=lots"], false).contains("rejects the configuration"));
    assert!(run(&["explain", &data, "work_mem"], true).contains("work_mem = 7MB"));
    assert!(run(&["reload", &data], true).starts_with("told server "));
    assert!(
        run(&["restart", &data, &sockets, "listen_addresses="], true).starts_with("restarted ")
    );
    assert!(run(&["stop", &data], true).contains("fast shutdown"));
    assert!(run(&["stop", &data], true).starts_with("no server was running"));
    assert!(run(&["status", &data], true).starts_with("Stopped"));
    assert!(run(&["remove", &data], true).starts_with("removed "));
    assert!(!room.join("data").exists());
    assert!(run(&["dance", &data], false).contains("is no command"));
}
