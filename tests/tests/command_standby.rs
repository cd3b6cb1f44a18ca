//! `pgcluster standby`, `rewind`, `promote` and `run --standbys`.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

mod command_fixture;

use command_fixture::{Said, pgcluster};
use pg_tests::{Room, ask, assert_says, complete_server};

/// With a complete installation: `pg_basebackup` and `pg_rewind` are not in all.
#[track_caller]
fn out(arguments: &[&str]) -> String {
    let bin = complete_server().bindir().unwrap().to_string();
    let mut command = pgcluster(arguments);
    let said = Said::from(command.env("PGINSTALLATION", bin).output().unwrap());
    assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    said.out
}

fn client(data: &str) -> postgres::Client {
    let status: serde_json::Value =
        serde_json::from_str(&out(&["status", data, "--json"])).unwrap();
    postgres::Client::connect(status["uri"].as_str().unwrap(), postgres::NoTls).unwrap()
}

#[test]
fn a_standby_is_made_promoted_and_followed_by_the_former_primary() {
    let room = Room::new();
    let [first, second] = ["first", "second"].map(|name| room.join(name).into_string());
    let sockets = room.directory("s");
    let socket = ["--socket-dir", sockets.as_str(), "--set=listen_addresses="];
    out(&[&["init", &first, "--set=wal_log_hints=on"], &socket[..]].concat());
    out(&["start", &first, "--port=5601"]);
    client(&first)
        .batch_execute("CREATE TABLE t AS SELECT 1 AS x")
        .unwrap();
    assert_says(&out(&["standby", &first, &second]), &[" is a standby of "]);
    out(&["start", &second, "--port=5602"]);
    assert_eq!(ask(&mut client(&second), "SELECT pg_is_in_recovery()"), "t");

    out(&["stop", &first]);
    assert_says(&out(&["promote", &second]), &[" is a primary\n"]);
    client(&second)
        .batch_execute("INSERT INTO t VALUES (2)")
        .unwrap();
    assert_says(
        &out(&["rewind", &first, "--to", &second]),
        &[" is a standby of "],
    );
    out(&["start", &first, "--port=5601"]);
    assert_eq!(ask(&mut client(&first), "SELECT pg_is_in_recovery()"), "t");
    for data in [&first, &second] {
        out(&["remove", data, "--force"]);
    }
}

#[test]
fn a_run_may_have_standbys() {
    let script = "psql -Atc 'SELECT pg_is_in_recovery()' \"$STANDBY_URL_1\"";
    let psql = complete_server().bindir().unwrap().to_string();
    let script = format!("PATH={psql}:$PATH {script}");
    assert_eq!(
        out(&["run", "--standbys=1", "--", "sh", "-c", &script]),
        "t\n"
    );
}
