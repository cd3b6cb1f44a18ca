//! The program without a server: its version, and wrong usage.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn pgcluster(arguments: &[&str]) -> Output {
    // Tests that run as another account use a copy of the program.
    let program = std::env::var("CARGO_BIN_EXE_pgcluster")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_pgcluster").to_owned());
    Command::new(program).args(arguments).output().unwrap()
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = pgcluster(&["--version"]);
    assert!(output.status.success());
    let expected = format!("pgcluster {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &[][..],
        &["statsu"],
        &["run"],
        &["get", "data", "port", "--no"],
    ] {
        let output = pgcluster(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}
