//! The destinations of the server's log: memory, a file, the caller's standard error, none, the
//! server's own collector.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Cluster, ControlErrorKind, Log, Ownership, StartErrorKind, StopPlan};
use pg_tests::{Room, child, connect, is_root, role, server, servers};

/// Makes the server write this word to its log.
fn say(cluster: &Cluster, word: &str) {
    let statement = format!("DO $$ BEGIN RAISE LOG '{word}'; END $$");
    connect(cluster).batch_execute(&statement).unwrap();
}

#[test]
fn each_destination_receives_the_log() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let options = room.start_options();
        let file = room.directory("logs").join("it's the log");
        let shut_down = || cluster.stop(&StopPlan::fast()).unwrap();

        for round in ["first", "second"] {
            cluster
                .start(&options.clone().log(Log::File(file.clone())))
                .unwrap();
            say(&cluster, round);
            shut_down();
            // Only the output of this start, although the file has both.
            let tail = cluster.log_tail().unwrap();
            assert!(
                tail.contains(round) && (round == "first" || !tail.contains("first")),
                "{tail}"
            );
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("first") && text.contains("second"), "{text}");

        cluster.start(&options.clone().log(Log::Tail(300))).unwrap();
        // More than a pipe holds: a server whose output is not read would block.
        for n in 0..20 {
            say(&cluster, &format!("word {n}. {}", "x".repeat(20_000)));
        }
        say(&cluster, "the last");
        let tail = cluster.log_tail().unwrap();
        assert!(
            tail.contains("the last") && !tail.contains("word"),
            "{tail}"
        );
        assert_eq!(tail.len(), 300);
        shut_down();

        cluster.start(&options.clone().log(Log::Null)).unwrap();
        say(&cluster, "nobody hears it");
        shut_down();
        assert_eq!(cluster.log_tail().as_deref(), Some(""));

        // The defaults: memory for a bound server, a file for a detached one.
        cluster
            .start(&options.clone().ownership(Ownership::Detached))
            .unwrap();
        say(&cluster, "detached");
        shut_down();
        let text = fs::read_to_string(cluster.data_directory().join("server.log")).unwrap();
        assert!(text.contains("detached") && cluster.log_tail().unwrap().contains("detached"));
        let other = Cluster::new(installation, cluster.data_directory()).unwrap();
        assert_eq!(other.log_tail().unwrap(), text);
    }
}

#[test]
fn the_callers_standard_error_receives_the_log() {
    const NAME: &str = "the_callers_standard_error_receives_the_log";
    if let Some(directory) = role() {
        let cluster = Cluster::new(server(), directory.join("data")).unwrap();
        let options = pg_cluster::StartOptions::new().socket_only(directory.join("s"));
        cluster.start(&options.log(Log::Inherit)).unwrap();
        say(&cluster, "inherited");
        assert_eq!(cluster.log_tail().as_deref(), Some(""));
        return;
    }
    let room = Room::new();
    room.directory("s");
    room.cluster(&server());
    let mut caller = child(NAME, room.path().as_str())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    caller
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(caller.wait().unwrap().success(), "{text}");
    assert!(text.contains("LOG:  inherited"), "{text}");
}

/// The file that the collector writes at this moment, by its own record.
fn collected(cluster: &Cluster) -> Utf8PathBuf {
    let record = fs::read_to_string(cluster.data_directory().join("current_logfiles")).unwrap();
    let (_, path) = record.trim_end().split_once(' ').unwrap();
    cluster.data_directory().join(path)
}

fn files_in(directory: &Utf8Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn the_collector_begins_a_new_file() {
    for installation in servers() {
        let major = installation.major_version().first();
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let error = cluster.rotate_log().unwrap_err();
        assert!(
            matches!(error.kind(), ControlErrorKind::NotRunning),
            "{error:?}"
        );
        cluster.start(&room.start_options()).unwrap();
        let error = cluster.rotate_log().unwrap_err();
        assert!(
            matches!(error.kind(), ControlErrorKind::NoLogCollector),
            "{error:?}"
        );
        assert!(!cluster.data_directory().join("logrotate").exists());

        let logs = room.directory("logs");
        let options = room.start_options().settings([
            ("logging_collector", "on"),
            ("log_directory", logs.as_str()),
            // One name: the new file is the one that is there again after the old one was moved
            // away.
            ("log_filename", "one.log"),
        ]);
        cluster.restart(&StopPlan::fast(), &options).unwrap();
        say(&cluster, "before");
        assert_eq!(collected(&cluster), logs.join("one.log"));
        if major < 12 {
            let error = cluster.rotate_log().unwrap_err();
            assert!(
                matches!(error.kind(), ControlErrorKind::NoLogCollector),
                "{error:?}"
            );
            continue;
        }
        fs::rename(logs.join("one.log"), logs.join("old.log")).unwrap();
        assert_eq!(files_in(&logs), 1);
        assert_eq!(Some(cluster.rotate_log().unwrap()), cluster.pid().unwrap());
        // Signals take effect a moment later.
        let seen = |name: &str, word: &str| {
            fs::read_to_string(logs.join(name)).is_ok_and(|text| text.contains(word))
        };
        while !seen("one.log", "after") {
            say(&cluster, "after");
        }
        assert!(seen("old.log", "before") && !seen("one.log", "before"));
        cluster.stop(&StopPlan::fast()).unwrap();
        assert!(seen("one.log", "database system is shut down"));
        assert!(
            cluster
                .log_tail()
                .unwrap()
                .ends_with("database system is shut down\n")
        );
    }
}

/// The server's account puts links to root's secret where root looks for its logs.
#[test]
fn root_reads_no_other_file_for_the_account() {
    if !is_root() {
        return;
    }
    let room = Room::new();
    let secret = room.join("secret");
    fs::write(&secret, "root only\n").unwrap();
    let cluster = room.cluster(&server());
    let own = cluster.data_directory().join("server.log");
    symlink(&secret, &own).unwrap();
    assert_eq!(cluster.log_tail(), None);
    fs::remove_file(&own).unwrap();

    let file = room.directory("logs").join("log");
    let options = room.start_options().log(Log::File(file.clone()));
    cluster.start(&options).unwrap();
    say(&cluster, "public");
    assert!(cluster.log_tail().unwrap().contains("public"));
    let record = cluster.data_directory().join("current_logfiles");
    fs::write(&record, format!("stderr {secret}\n")).unwrap();
    assert!(!cluster.log_tail().unwrap().contains("root only"));
    fs::remove_file(&file).unwrap();
    symlink(&secret, &file).unwrap();
    assert_eq!(cluster.log_tail(), None);
}

/// A server with a log collector writes little to the log of its start.
#[test]
fn a_failed_start_is_explained_from_the_collectors_file() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.settings().set("logging_collector", true).unwrap();
        fs::write(
            cluster.hba_file(),
            "local all all trust\nbogus all all trust\n",
        )
        .unwrap();
        let error = cluster.start(&room.start_options()).unwrap_err();
        let StartErrorKind::Configuration(problems) = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!(
            (problems[0].file.clone(), problems[0].line),
            (Some(cluster.hba_file()), Some(2))
        );
        assert!(error.log().contains("bogus"), "{}", error.log());
    }
}
