//! `pgcluster list`, `doctor`, `installations` and PostgreSQL's programs.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

mod command_fixture;

use std::os::unix::process::CommandExt as _;

use command_fixture::{cluster, json, out, pgcluster, program, said};
use pg_fixture::TempCluster;
use pg_tests::{Room, assert_says, server, server_account, stranger};
use serde_json::Value;

/// The entry of a directory.
fn entry<'a>(list: &'a Value, directory: &str) -> Option<&'a Value> {
    let all = list["clusters"].as_array().unwrap();
    all.iter()
        .find(|known| known["data_directory"] == directory)
}

/// Debian's own clusters are listed by the test of the crate, on a made-up machine: they are where
/// root alone can put them.
#[cfg(target_os = "linux")]
#[test]
fn servers_of_every_kind_are_listed() {
    let room = Room::new();
    let data = cluster(&room);
    let temporary = TempCluster::builder()
        .installation(server())
        .start()
        .unwrap();
    let stopped = pgcluster(&["list", "--json"])
        .env("PGDATA", &data)
        .output()
        .unwrap();
    let list: Value = serde_json::from_slice(&stopped.stdout).unwrap();
    assert_eq!(entry(&list, &data).unwrap()["state"], "stopped");

    let started = json(&["start", &data]);
    let list = json(&["list"]);
    let detached = entry(&list, &data).unwrap();
    assert_eq!(detached["pid"], started["pid"]);
    assert_eq!(
        (&detached["state"], &detached["temporary"]),
        (&"ready".into(), &false.into())
    );
    assert_eq!(detached["version"], server().major_version().to_string());
    assert!(detached["started_at"].as_u64().is_some());
    let found = entry(&list, temporary.cluster().data_directory().as_str()).unwrap();
    assert_eq!(
        (&found["state"], &found["temporary"]),
        (&"ready".into(), &true.into())
    );
    let text = out(&["list"]);
    assert_says(&text, &["VERSION", "SINCE", &data, " (temporary)\n"]);
    // A backend is no server.
    let mut client =
        postgres::Client::connect(started["uri"].as_str().unwrap(), postgres::NoTls).unwrap();
    client.batch_execute("SELECT 1").unwrap();
    let again = json(&["list"]);
    let of_room = |known: &&Value| {
        known["data_directory"]
            .to_string()
            .contains(room.path().as_str())
    };
    assert_eq!(
        again["clusters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(of_room)
            .count(),
        1
    );

    // Another user sees that there is a server, and not what it does.
    if let Some(stranger) = stranger() {
        let copy = room.join("pgcluster");
        std::fs::copy(program(), &copy).unwrap();
        let mut command = std::process::Command::new(copy);
        command
            .args(["list", "--json"])
            .uid(stranger.uid())
            .gid(stranger.gid());
        let listed = command.current_dir("/").output().unwrap();
        let list: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let seen = entry(&list, &data).unwrap();
        assert_eq!(
            (&seen["state"], &seen["pid"]),
            (&"running".into(), &started["pid"])
        );
        let owner = server_account().unwrap();
        assert_eq!(seen["owner"].as_str(), owner.name());
    }
    out(&["remove", &data, "--force"]);
}

#[test]
fn a_machine_and_a_cluster_are_examined() {
    let room = Room::new();
    let data = cluster(&room);
    let verdict = |report: &Value, check: &str| {
        let all = report["findings"].as_array().unwrap();
        let found = all.iter().find(|finding| finding["check"] == check);
        found.map(|finding| finding["verdict"].as_str().unwrap().to_owned())
    };
    let report = json(&["doctor", &data]);
    assert_eq!(report["healthy"], true, "{report:#}");
    for check in [
        "installation",
        "temporary",
        "permissions",
        "configuration",
        "socket",
    ] {
        assert_eq!(
            verdict(&report, check).as_deref(),
            Some("ok"),
            "{check}: {report:#}"
        );
    }

    std::fs::remove_dir_all(room.join("s")).unwrap();
    let file = format!("{data}/postgresql.conf");
    let text = std::fs::read_to_string(&file).unwrap() + "shared_buffers = lots\n";
    std::fs::write(&file, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&data, mode).unwrap();
    let said_text = said(&["doctor", &data]);
    assert_eq!(said_text.code, Some(1));
    let remedy = format!("permissions: `chmod 700 {data}`\n");
    assert_says(
        &said_text.out,
        &["bad   the directory has mode 0755", &remedy],
    );
    let report: Value = serde_json::from_str(&said(&["doctor", &data, "--json"]).out).unwrap();
    assert_eq!(report["healthy"], false);
    for check in ["permissions", "configuration", "socket"] {
        assert_eq!(
            verdict(&report, check).as_deref(),
            Some("bad"),
            "{check}: {report:#}"
        );
    }
    let nowhere = said(&["doctor", "/nowhere"]);
    assert_eq!(nowhere.code, Some(1));
    assert_says(&nowhere.out, &["bad   /nowhere does not exist"]);
}

#[test]
fn installations_are_listed_with_the_places_that_were_searched() {
    let list = json(&["installations"]);
    let first = &list["installations"][0];
    assert_eq!(
        first["bindir"].as_str(),
        server().bindir().map(|path| path.as_str())
    );
    assert_eq!(first["source"], "PGINSTALLATION");
    assert_says(&out(&["installations", "--explain"]), &["PGINSTALLATION: "]);
    let mut nowhere = pgcluster(&["installations"]);
    let nowhere = nowhere.env("PGINSTALLATION", "/nowhere").output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    let text = String::from_utf8(nowhere.stderr).unwrap();
    assert_says(
        &text,
        &["error: ", "/nowhere does not lead to PostgreSQL", "hint: "],
    );
}

/// With a complete installation: the newest one may have no clients.
#[test]
fn programs_of_the_right_installation_are_connected() {
    let complete = pg_tests::complete_server();
    let bin = complete.bindir().unwrap().to_string();
    let room = Room::new();
    let data = room.join("data").into_string();
    let sockets = room.directory("s");
    let run = |arguments: &[&str]| {
        let mut command = pgcluster(arguments);
        let output = command.env("PGINSTALLATION", &bin).output().unwrap();
        command_fixture::Said::from(output)
    };
    let init = [
        "init",
        &data,
        "--socket-dir",
        sockets.as_str(),
        "--set=listen_addresses=",
    ];
    assert_eq!(run(&init).code, Some(0));
    let psql = ["-D", &data, "psql", "-At", "-c", "SHOW data_directory"];
    let stopped = run(&psql);
    assert_eq!(stopped.code, Some(3));
    assert_says(
        &stopped.err,
        &["no server is running in ", "hint: `pgcluster start` starts"],
    );
    assert_eq!(run(&["start", &data]).code, Some(0));
    assert_eq!(run(&psql).out, format!("{data}\n"));
    assert_eq!(
        run(&["shell", &data, "--", "-At", "-c", "SELECT 7"]).out,
        "7\n"
    );
    assert_says(
        &run(&["-D", &data, "pg_dump", "--help"]).out,
        &["pg_dump [OPTION]... [DBNAME]"],
    );
    assert_says(
        &run(&["-D", &data, "pg_controldata"]).out,
        &["in production"],
    );
    assert_says(
        &run(&["psqk"]).err,
        &["unrecognized subcommand 'psqk'", "'psql'"],
    );
    // `peer` lets in no root that stays root.
    assert_eq!(
        run(&[
            "hba",
            "add",
            &data,
            "--rule",
            "local all all peer",
            "--reload"
        ])
        .code,
        Some(0)
    );
    let account = server_account().and_then(|account| account.name().map(str::to_owned));
    if account.as_deref() == Some("postgres") {
        while run(&["-D", &data, "psql", "-At", "-c", "SELECT 8"]).out != "8\n" {}
    }
    assert_eq!(run(&["remove", &data, "--force"]).code, Some(0));
}
