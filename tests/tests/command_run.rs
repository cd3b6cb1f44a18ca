//! `pgcluster run` and `pgcluster temp`: a temporary cluster for the length of something.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

mod command_fixture;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use camino::Utf8Path;
use command_fixture::{Said, out, pgcluster, said};
use pg_tests::{Room, assert_says};

/// What the shell prints of the variables that programs find their server by.
const VARIABLES: &str = "echo $PGHOST:$PGPORT:$PGUSER:$PGDATABASE:$DATABASE_URL:$PGDATA";

#[test]
fn the_command_finds_its_server_and_the_server_goes_with_it() {
    let mut command = pgcluster(&["run", "--database=app", "--", "sh", "-c"]);
    // What would lead elsewhere is taken away.
    command.arg(format!(
        "{VARIABLES}$PGSERVICE$PGHOSTADDR$PGSSLMODE; cat; exit 7"
    ));
    command.envs([
        ("PGSERVICE", "else"),
        ("PGHOSTADDR", "::1"),
        ("PGSSLMODE", "require"),
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let parts: Vec<&str> = line.trim_end().split(':').collect();
    let [host, "5432", "postgres", "app", scheme, uri, port, data] = parts[..] else {
        panic!("{line}")
    };
    assert!(Utf8Path::new(data).join("postmaster.pid").exists());
    let uri = format!("{scheme}:{uri}:{port}");
    let mut client = postgres::Client::connect(&uri, postgres::NoTls).unwrap();
    assert_eq!(
        pg_tests::ask(&mut client, "SELECT current_database()"),
        "app"
    );

    // Standard input is the command's.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"hello").unwrap();
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(!Utf8Path::new(data).exists() && !Utf8Path::new(host).exists());
}

#[test]
fn the_exit_status_is_that_of_the_command() {
    let code = |script: &str| said(&["run", "sh", "-c", script]).code;
    assert_eq!(code("true"), Some(0));
    assert_eq!(code("exit 3"), Some(3));
    assert_eq!(code("kill -9 $$"), Some(137));
    assert_eq!(code("kill -TERM $$"), Some(143));
    let unknown = said(&["run", "--", "/no/such/program", "--help"]);
    assert_eq!(unknown.code, Some(1));
    assert_says(
        &unknown.err,
        &["error: failed to run /no/such/program: No such file"],
    );
}

#[test]
fn a_client_that_knows_no_sockets_gets_an_address() {
    let uri = out(&["run", "--tcp", "--", "sh", "-c", "printf %s $DATABASE_URL"]);
    assert!(uri.starts_with("postgresql://postgres@127.0.0.1:"), "{uri}");
}

/// A setup that counts how often it has run: in a file, since the template must not depend on it.
#[test]
fn a_setup_runs_each_time_unless_its_key_is_known() {
    let room = Room::new();
    let (migrations, count) = (room.directory("migrations"), room.join("count"));
    fs::write(migrations.join("1.sql"), "one").unwrap();
    let setup = format!("echo $PGHOST >>{count}; echo chatter");
    let runs = || fs::read_to_string(&count).unwrap().lines().count();

    for n in 1..=2 {
        let said = said(&["run", "--setup", &setup, "--", "echo", "done"]);
        // Its output is not the command's.
        assert_eq!(
            (said.out.as_str(), said.err.as_str()),
            ("done\n", "chatter\n")
        );
        assert_eq!(runs(), n);
    }
    let keyed = || {
        let arguments = [
            "run",
            "--setup",
            &setup,
            "--key",
            migrations.as_str(),
            "--",
            "true",
        ];
        Said::from(
            pgcluster(&arguments)
                .env("PG_CLUSTER_CACHE", room.join("cache"))
                .output()
                .unwrap(),
        )
    };
    for expected in [3, 3] {
        assert_eq!(keyed().code, Some(0));
        assert_eq!(runs(), expected);
    }
    fs::write(migrations.join("1.sql"), "two").unwrap();
    assert_eq!(keyed().code, Some(0));
    assert_eq!(runs(), 4);

    let failed = said(&["run", "--setup", "exit 9", "--", "echo", "never"]);
    assert_eq!((failed.code, failed.out.as_str()), (Some(1), ""));
    assert_says(
        &failed.err,
        &[
            "failed to set the database up with `exit 9`",
            "exit status: 9",
        ],
    );
}

#[test]
fn a_temporary_server_lives_as_long_as_standard_input() {
    let mut command = pgcluster(&["temp", "--json"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    let uri = object["uri"].as_str().unwrap();
    postgres::Client::connect(uri, postgres::NoTls).unwrap();
    let host = Utf8Path::new(object["host"].as_str().unwrap());
    assert!(host.exists());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(!host.exists());
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    for arguments in [["temp", "--json"], ["--help", "run"]] {
        let mut child = pgcluster(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let said = Said::from(child.wait_with_output().unwrap());
        assert_eq!(
            (said.code, said.err.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    // Any other error is one.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let said = Said::from(
        pgcluster(&["temp"])
            .stdin(Stdio::null())
            .stdout(full)
            .output()
            .unwrap(),
    );
    assert_eq!(said.code, Some(1));
    assert_says(&said.err, &["error: ", "No space left on device"]);
}
