//! The program `pgcluster` through the life of a cluster.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

mod command_fixture;

use command_fixture::{cluster, json, out, pgcluster, said};
use pg_tests::{Room, assert_says};
use serde_json::json;

#[test]
fn a_cluster_is_made_started_used_stopped_and_removed() {
    let room = Room::new();
    let data = cluster(&room);
    let stopped = said(&["status", &data]);
    assert_eq!(stopped.code, Some(3), "{stopped:?}");
    assert_says(&stopped.out, &["server        stopped\n"]);

    let started = json(&["start", &data]);
    assert_eq!(started["started"], true);
    assert_eq!(started["state"], "ready");
    assert_says(
        &out(&["start", &data]),
        &["was running already at postgresql://postgres@"],
    );
    let status = json(&["status", &data]);
    assert_eq!(status["pid"], started["pid"]);
    assert_eq!(status["data_directory"], data.as_str());
    assert_eq!(status["control_state"], "in production");
    let uri = status["uri"].as_str().unwrap();
    postgres::Client::connect(uri, postgres::NoTls).unwrap();

    assert_says(&out(&["reload", &data]), &["reads its configuration again"]);
    let primary = said(&["promote", &data]);
    assert_eq!(primary.code, Some(1));
    assert_says(
        &primary.err,
        &["error: failed to promote", "is not a standby"],
    );
    let running = said(&["remove", &data]);
    assert_eq!(running.code, Some(1));
    assert_says(
        &running.err,
        &["is running in", "hint: stop it first, or add `--force`"],
    );

    assert_says(
        &out(&["stop", &data, "--mode", "smart"]),
        &["stopped server ", "smart"],
    );
    assert_eq!(out(&["stop", &data]), "no server was running\n");
    let absent = said(&["reload", &data]);
    assert_eq!(absent.code, Some(3));
    assert_says(
        &absent.err,
        &["no server is running", "hint: `pgcluster start` starts one"],
    );
    assert_says(&out(&["remove", &data]), &["removed "]);
    assert!(!room.join("data").exists());
    let gone = said(&["status", &data]);
    assert_eq!(gone.code, Some(1));
    assert_says(
        &gone.err,
        &["data does not exist\n", "hint: `pgcluster init`"],
    );
}

#[test]
fn a_restart_repeats_the_settings_of_the_command_line() {
    let room = Room::new();
    let data = cluster(&room);
    out(&["start", &data, "--port", "5499", "--set", "work_mem=7MB"]);
    let restarted = json(&["restart", &data, "--set=maintenance_work_mem=9MB"]);
    assert_eq!(restarted["port"], 5499);
    let uri = restarted["uri"].as_str().unwrap();
    let mut client = postgres::Client::connect(uri, postgres::NoTls).unwrap();
    let mut show = |name: &str| pg_tests::ask(&mut client, &format!("SHOW {name}"));
    assert_eq!(show("work_mem"), "7MB");
    assert_eq!(show("maintenance_work_mem"), "9MB");
    out(&["remove", &data, "--force"]);
}

#[test]
fn the_directory_may_come_from_the_environment() {
    let room = Room::new();
    let data = cluster(&room);
    let status = pgcluster(&["status"])
        .env("PGDATA", &data)
        .output()
        .unwrap();
    assert_eq!(status.status.code(), Some(3));
    let missing = said(&["status"]);
    assert_eq!(missing.code, Some(2));
    assert_says(&missing.err, &["<DIR>"]);
}

#[test]
fn bad_input_is_named() {
    let room = Room::new();
    let path = room.path().as_str();
    let not_one = said(&["start", path]);
    assert_eq!(not_one.code, Some(1));
    assert_says(
        &not_one.err,
        &["is not a data directory", "`pgcluster init`"],
    );
    let unknown = said(&["strat", path]);
    assert_eq!(unknown.code, Some(2));
    assert_says(
        &unknown.err,
        &["unrecognized subcommand 'strat'", "'start'"],
    );
    let setting = said(&["start", path, "--set", "work_mem"]);
    assert_eq!(setting.code, Some(2));
    assert_says(&setting.err, &["it is not NAME=VALUE"]);
    let error = said(&["--json", "start", path]);
    let object: serde_json::Value = serde_json::from_str(&error.err).unwrap();
    assert_eq!(object["exit_status"], 1);
    assert_eq!(object["log"], json!(null));
    assert_says(
        object["error"].as_str().unwrap(),
        &["is not a data directory"],
    );
}

#[test]
fn a_server_that_does_not_start_says_why_with_its_log() {
    let room = Room::new();
    let data = cluster(&room);
    let failed = said(&["start", &data, "--set", "shared_buffers=lots"]);
    assert_eq!(failed.code, Some(1));
    assert_says(&failed.err, &["error: failed to start", "shared_buffers"]);
    out(&["remove", &data]);
}
