//! The commands of `pgcluster` for settings and for access rules.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

mod command_fixture;

use std::fs;

use command_fixture::{cluster, json, out, pgcluster, said};
use pg_tests::{Room, assert_says};

#[test]
fn settings_are_shown_changed_and_explained() {
    let room = Room::new();
    let data = cluster(&room);
    let file = format!("{data}/postgresql.conf");
    let set = json(&["set", &data, "work_mem=5MB", "shared_buffers=99MB"]);
    assert_eq!(set["changed"], true);
    assert_eq!(out(&["get", &data, "work_mem"]), "5MB\n");
    let got = json(&["get", &data, "work_mem", "wal_buffers"]);
    assert!(
        got["work_mem"]["origin"]
            .as_str()
            .unwrap()
            .starts_with(&file)
    );
    assert_eq!(got["wal_buffers"]["origin"], "default");
    assert_says(&out(&["get", &data]), &["NAME", "shared_buffers", "99MB"]);

    let line = "include_if_exists = 'extra.conf'\n";
    fs::write(&file, fs::read_to_string(&file).unwrap() + line).unwrap();
    fs::write(format!("{data}/extra.conf"), "work_mem = 6MB\n").unwrap();
    pg_tests::give_to_servers(format!("{data}/extra.conf").as_str().into());
    let shadowed = json(&["set", &data, "work_mem=7MB"]);
    assert_eq!(shadowed["shadowed"][0]["value"], "6MB");
    let explained = json(&["explain", &data, "work_mem"]);
    assert_eq!(explained["work_mem"]["value"], "6MB");
    assert_eq!(
        explained["work_mem"]["assignments"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let refused = said(&["set", &data, "wrk_mem=5MB"]);
    assert_eq!(refused.code, Some(1));
    assert_says(
        &refused.err,
        &["unrecognized configuration parameter", "hint: nothing was"],
    );
    assert_says(&out(&["unset", &data, "shared_buffers"]), &["changed "]);
    assert_says(&out(&["get", &data, "shared_buffers"]), &["\n"]);
    assert_eq!(
        json(&["get", &data, "shared_buffers"])["shared_buffers"]["origin"],
        "default"
    );
    let usage = said(&["set", &data, "work_mem"]);
    assert_eq!(usage.code, Some(2));
    assert_says(&usage.err, &["`work_mem`: it is not NAME=VALUE"]);

    // By the environment, and by the option.
    let by_environment = pgcluster(&["get", "work_mem"])
        .env("PGDATA", &data)
        .output()
        .unwrap();
    assert_eq!(by_environment.stdout, b"6MB\n");
    assert_eq!(out(&["get", "-D", &data, "work_mem"]), "6MB\n");
    out(&["remove", &data]);
}

#[test]
fn a_change_of_a_running_server_is_reloaded_or_waits() {
    let room = Room::new();
    let data = cluster(&room);
    let uri = json(&["start", &data])["uri"].as_str().unwrap().to_owned();
    let show = |name: &str| {
        let mut client = postgres::Client::connect(&uri, postgres::NoTls).unwrap();
        pg_tests::ask(&mut client, &format!("SHOW {name}"))
    };
    let set = json(&[
        "set",
        &data,
        "log_min_duration_statement=77",
        "max_connections=33",
        "--reload",
    ]);
    assert_eq!(set["reloaded"], true);
    assert_eq!(set["needs_restart"], serde_json::json!(["max_connections"]));
    while show("log_min_duration_statement") != "77ms" {
        std::thread::yield_now();
    }
    assert_says(
        &out(&["set", &data, "work_mem=5MB"]),
        &["`pgcluster reload` makes the server"],
    );
    out(&["remove", &data, "--force"]);
}

#[test]
fn a_configuration_is_checked_and_compared() {
    let room = Room::new();
    let data = cluster(&room);
    assert_eq!(out(&["check", &data]), "accepted\n");
    let values = said(&["check", &data, "work_mem=lots", "shared_buffers=1GB"]);
    assert_eq!(values.code, Some(1));
    assert_says(
        &values.out,
        &["setting `work_mem` is rejected by the server"],
    );
    out(&[
        "set",
        &data,
        "max_connections=100",
        "work_mem=4MB",
        "maintenance_work_mem=5MB",
    ]);
    let diff = json(&["diff", &data]);
    // These are the defaults, in other words.
    assert_eq!(
        (&diff["max_connections"], &diff["work_mem"]),
        (&diff["x"], &diff["x"])
    );
    assert_eq!(diff["maintenance_work_mem"]["other"], "65536");

    let other = room.join("other").into_string();
    out(&["init", &other, "--set=maintenance_work_mem=6MB"]);
    let diff = json(&["diff", &data, &other]);
    assert_eq!(diff["maintenance_work_mem"]["value"], "5MB");
    assert_eq!(diff["maintenance_work_mem"]["other"], "6MB");
    assert_eq!(diff["listen_addresses"]["other"], diff["x"]);

    let file = format!("{data}/postgresql.conf");
    fs::write(
        &file,
        fs::read_to_string(&file).unwrap() + "work_mem = lots\n",
    )
    .unwrap();
    let broken = said(&["check", &data]);
    assert_eq!(broken.code, Some(1));
    assert_says(&broken.out, &["\"work_mem\""]);
}

#[test]
fn access_rules_are_listed_explained_added_and_removed() {
    let room = Room::new();
    let data = cluster(&room);
    let rules = |data: &str| {
        json(&["hba", "list", data])["rules"]
            .as_array()
            .unwrap()
            .len()
    };
    let before = rules(&data);
    let attempt = ["--user=bob", "--database=app", "--from=10.0.0.7"];
    let explain = |arguments: &[&str]| said(&[&["hba", "explain", &data], arguments].concat());
    let none = explain(&attempt);
    assert_eq!(none.code, Some(1));
    assert_says(&none.out, &["no rule applies"]);
    let rule = "host app bob 10.0.0.0/8 scram-sha-256";
    let added = json(&["hba", "add", &data, "--rule", rule]);
    assert_eq!(rules(&data), before + 1);
    let decided = explain(&attempt);
    assert_eq!(decided.code, Some(0));
    assert_says(&decided.out, &["scram-sha-256"]);
    assert_says(
        &out(&["hba", "list", &data]),
        &["LINE", "app", "bob", "10.0.0.0 255.0.0.0"],
    );

    let bad = said(&["hba", "add", &data, "--rule", "host app bob"]);
    assert_eq!(bad.code, Some(2));
    assert_says(&bad.err, &["`host app bob`: "]);
    let comment = said(&["hba", "remove", &data, "--line", "1"]);
    assert_eq!(comment.code, Some(1));
    assert_says(&comment.err, &["line 1 is not a rule"]);
    let line = added["line"].to_string();
    assert_says(
        &out(&["hba", "remove", &data, "--line", &line]),
        &["removed 1 rule from "],
    );
    assert_eq!(rules(&data), before);
}
