//! What the server of a test says: waiting for it, counting statements, and the log of a failing
//! test.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use pg_cluster::{Log, LogErrorKind, LogMark, ServerMessage, Severity, Signal};
use pg_fixture::{OnPanic, StatementsErrorKind, TempCluster, TempClusterBuilder, TempErrorKind};
use pg_tests::{Room, ask, child, connect_to, role, server, servers};

const PATIENCE: Duration = Duration::from_secs(60);

fn builder(room: &Room) -> TempClusterBuilder {
    TempCluster::builder()
        .installation(server())
        .cache_directory(room.join("cache"))
}

/// Logs a warning, by way of the client's own request.
fn warn(temp: &TempCluster, words: &str) {
    let mut client = connect_to(temp.connection_info());
    client
        .batch_execute(&format!(
            "DO $$ BEGIN RAISE WARNING '{words}' USING DETAIL = 'more of it'; END $$"
        ))
        .unwrap();
}

#[test]
fn a_wait_for_a_message_works_with_every_log_destination() {
    let room = Room::new();
    let logs = room.directory("logs");
    for installation in servers() {
        let name = format!("{}.log", installation.version().num());
        for log in [Log::Tail(1 << 16), Log::File(logs.join(name))] {
            let temp = builder(&room)
                .installation(installation.clone())
                .log(log.clone())
                .start()
                .unwrap();
            // It comes while it is waited for, or has come: both are found.
            std::thread::scope(|scope| {
                scope.spawn(|| warn(&temp, "a pear"));
                let found = temp.wait_for_log("a pear", PATIENCE).unwrap();
                assert_eq!(found.severity, Some(Severity::Warning), "{log:?}");
                assert_eq!(found.detail.as_deref(), Some("more of it"));
            });
            temp.wait_for_log("a pear", Duration::ZERO).unwrap();

            let mark = temp.log_mark().unwrap();
            let is_pear = |message: &ServerMessage| message.contains("a pear");
            let none = temp.wait_for_message(mark, Duration::ZERO, is_pear);
            let none = none.unwrap_err();
            assert!(
                matches!(none.kind(), LogErrorKind::TimedOut { missed: 0, .. }),
                "{none:?}"
            );
            std::thread::scope(|scope| {
                scope.spawn(|| warn(&temp, "a pear"));
                temp.wait_for_message(mark, PATIENCE, is_pear).unwrap();
            });
        }
    }
}

#[test]
fn a_wait_ends_with_the_server() {
    let room = Room::new();
    for log in [
        Log::Tail(1 << 16),
        Log::File(room.directory("l").join("log")),
    ] {
        let temp = builder(&room).log(log).start().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| temp.wait_for_log("no such words", PATIENCE));
            temp.cluster().signal(Signal::Immediate).unwrap();
            let error = waiting.join().unwrap().unwrap_err();
            assert!(
                matches!(error.kind(), LogErrorKind::Exited { .. }),
                "{error:?}"
            );
        });
        // The log of a server that has exited is still there.
        temp.wait_for_log("immediate shutdown", Duration::ZERO)
            .unwrap();
    }
}

#[test]
fn a_mark_of_an_earlier_start_is_the_beginning() {
    let room = Room::new();
    let temp = builder(&room).start().unwrap();
    for number in 0..100 {
        warn(&temp, &format!("number {number}"));
    }
    let mark = temp.log_mark().unwrap();
    assert_eq!(mark, temp.log_mark().unwrap());
    assert_ne!(mark, LogMark::beginning());
    let options = room
        .start_options()
        .socket_directory(temp.socket_directory());
    temp.cluster()
        .restart(&pg_cluster::StopPlan::fast(), &options)
        .unwrap();
    let ready = |message: &ServerMessage| message.contains("ready to accept connections");
    temp.wait_for_message(mark, PATIENCE, ready).unwrap();
}

#[test]
fn a_log_that_cannot_be_followed_is_refused() {
    let room = Room::new();
    let silent = builder(&room).log(Log::Null).start().unwrap();
    let error = silent.wait_for_log("x", PATIENCE).unwrap_err();
    assert!(matches!(error.kind(), LogErrorKind::NotKept), "{error:?}");

    let collecting = builder(&room)
        .setting("logging_collector", "on")
        .start()
        .unwrap();
    let error = collecting.wait_for_log("x", PATIENCE).unwrap_err();
    let LogErrorKind::Collected(path) = error.kind() else {
        panic!("{error:?}");
    };
    assert!(path.starts_with(collecting.path()), "{path}");

    // A log too long for memory is followed as far as it is kept, and the rest is counted.
    let short = builder(&room).log(Log::Tail(300)).start().unwrap();
    for number in 0..20 {
        warn(&short, &format!("number {number}"));
    }
    short.wait_for_log("number 19", PATIENCE).unwrap();
    let error = short.wait_for_log("number 1 ", Duration::ZERO).unwrap_err();
    assert!(
        matches!(error.kind(), LogErrorKind::TimedOut { missed: 1.., .. }),
        "{error:?}"
    );
    assert!(error.hint().is_some());
}

#[test]
fn statements_are_listed_as_they_were_sent() {
    let room = Room::new();
    for installation in servers() {
        let temp = builder(&room)
            .installation(installation.clone())
            .database("my app")
            .log_statements()
            .start()
            .unwrap();
        assert_eq!(temp.statements().unwrap(), []);
        let mut client = connect_to(temp.connection_info());
        client.batch_execute("SELECT 1,\n\t2; SELECT 3").unwrap();
        let answer = client.query_one("SELECT $1::text", &[&"it's"]).unwrap();
        assert_eq!(answer.get::<_, &str>(0), "it's");
        client.batch_execute("SELECT 1/0").unwrap_err();
        let seen = temp.statements().unwrap();
        let texts: Vec<_> = seen.iter().map(|it| it.text.as_str()).collect();
        let sent = ["SELECT 1,\n\t2; SELECT 3", "SELECT $1::text", "SELECT 1/0"];
        assert_eq!(texts, sent, "{}", installation.version());
        assert!(seen.iter().all(|it| it.database == "my app"), "{seen:?}");
        assert_eq!(seen[0].parameters, None);
        assert_eq!(seen[1].parameters.as_deref(), Some("$1 = 'it''s'"));

        let mark = temp.log_mark().unwrap();
        client.batch_execute("SELECT 4").unwrap();
        assert_eq!(temp.statements_since(mark).unwrap().len(), 1);
    }
}

/// A line of a log in a file is written at once, so that no other process comes in between.
#[test]
fn no_statement_of_many_sessions_is_lost_or_mixed_up() {
    const SESSIONS: usize = 8;
    const EACH: usize = 50;
    let room = Room::new();
    let temp = builder(&room).log_statements().start().unwrap();
    // Longer than what a pipe takes at once.
    let long = "x".repeat(20_000);
    std::thread::scope(|scope| {
        for _ in 0..SESSIONS {
            scope.spawn(|| {
                let mut client = connect_to(temp.connection_info());
                for _ in 0..EACH {
                    client.batch_execute(&format!("SELECT '{long}'")).unwrap();
                }
            });
        }
    });
    let seen = temp.statements().unwrap();
    assert_eq!(seen.len(), SESSIONS * EACH);
    assert!(seen.iter().all(|it| it.text == format!("SELECT '{long}'")));
}

#[test]
fn listing_statements_fails_if_they_are_not_logged() {
    let room = Room::new();
    let temp = builder(&room).start().unwrap();
    let error = temp.statements().unwrap_err();
    assert!(
        matches!(error.kind(), StatementsErrorKind::NotLogged),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("log_statements"));

    let short = builder(&room)
        .log(Log::Tail(1000))
        .log_statements()
        .start()
        .unwrap();
    let mut client = connect_to(short.connection_info());
    client
        .batch_execute(&format!("SELECT '{}'", "x".repeat(2000)))
        .unwrap();
    let error = short.statements().unwrap_err();
    assert!(
        matches!(error.kind(), StatementsErrorKind::Missed(_)),
        "{error:?}"
    );

    for refused in [
        builder(&room)
            .log_statements()
            .setting("Log-Line-Prefix", "x"),
        builder(&room).log_statements().log(Log::Null),
    ] {
        let error = refused.start().unwrap_err();
        assert!(
            matches!(error.kind(), TempErrorKind::Option(_)),
            "{error:?}"
        );
    }
}

#[test]
fn a_failing_test_shows_the_end_of_its_log() {
    const TEST: &str = "a_failing_test_shows_the_end_of_its_log";
    if let Some(role) = role() {
        let room = Room::new();
        let choice = match role.as_str() {
            "silent" => OnPanic::Silent,
            _ => OnPanic::PrintLog,
        };
        let temp = builder(&room).on_panic(choice).start().unwrap();
        let mut client = connect_to(temp.connection_info());
        client.batch_execute("SELECT 1/0").unwrap_err();
        if role == "passes" {
            return;
        }
        assert_eq!(ask(&mut client, "SELECT 1"), "2", "as a test fails");
    }
    let said = |role: &str| {
        let output = child(TEST, role)
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.success(), role == "passes", "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let failed = said("fails");
    assert!(
        failed.contains("the log of the temporary cluster /"),
        "{failed}"
    );
    assert!(failed.contains("ERROR:  division by zero"), "{failed}");
    for quiet in ["silent", "passes"] {
        let quiet = said(quiet);
        assert!(!quiet.contains("division by zero"), "{quiet}");
    }
    // Its standard error is closed: the test still fails, and is not aborted.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = child(TEST, "fails").stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(101), "{status}");
}
