//! Replica sets of temporary clusters: streaming, lag, partitions, failover and rewind.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::error::Error as _;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use pg_cluster::{Installation, Lsn, Program, ReplicationErrorKind, ReplicationRole, StopPlan};
use pg_fixture::{
    Listen, Replica, ReplicaErrorKind, ReplicaSet, SystemIdentifier, TempCluster,
    TempClusterBuilder, TempErrorKind,
};
use pg_tests::{Victim, ask, assert_says, child, connect_to, report, role, server, servers};

const PATIENCE: Duration = Duration::from_secs(60);

fn builder(installation: &Installation) -> TempClusterBuilder {
    TempCluster::builder().installation(installation.clone())
}

fn set(installation: &Installation, standbys: usize) -> ReplicaSet {
    builder(installation).standbys(standbys).start().unwrap()
}

fn client(replica: &Replica) -> postgres::Client {
    connect_to(replica.connection_info())
}

/// Writes a row and returns the position after it.
fn written(primary: &Replica, row: i32) -> Lsn {
    let sql = format!("CREATE TABLE IF NOT EXISTS t (i int); INSERT INTO t VALUES ({row})");
    client(primary).batch_execute(&sql).unwrap();
    primary.lsn().unwrap()
}

fn highest(replica: &Replica) -> String {
    ask(&mut client(replica), "SELECT max(i) FROM t")
}

fn follows(standby: &Replica, primary: &Replica, row: i32) {
    let lsn = written(primary, row);
    assert!(standby.wait_for(lsn, PATIENCE).unwrap() >= lsn);
    assert_eq!(highest(standby), row.to_string());
}

#[test]
fn standbys_stream_when_start_returns() {
    for installation in servers() {
        let set = set(&installation, 2);
        let states = "SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) \
                      FROM (SELECT application_name AS name, state FROM pg_stat_replication) AS s";
        let version = installation.version();
        // A WAL sender catches up for a moment.
        let mut primary = client(set.primary());
        while ask(&mut primary, states).contains("catchup") {}
        let expected = "standby1 streaming, standby2 streaming";
        assert_eq!(ask(&mut primary, states), expected, "{version}");
        assert_eq!(set.standbys().count(), 2);
        let identity = set
            .primary()
            .cluster()
            .control_data()
            .unwrap()
            .system_identifier;
        for (row, standby) in (1..).zip(set.standbys()) {
            let control = standby.cluster().control_data().unwrap();
            assert_eq!(control.system_identifier, identity);
            let role = standby.cluster().replication_role().unwrap();
            assert_eq!(role, ReplicationRole::Standby);
            follows(standby, set.primary(), row);
        }
        // The next set is another family.
        let other = self::set(&installation, 1);
        let other = other.primary().cluster().control_data().unwrap();
        assert_ne!(other.system_identifier, identity);
    }
}

#[test]
fn a_set_has_the_options_of_its_builder() {
    let installation = server();
    let set = builder(&installation)
        .database("app")
        .user("alice")
        .listen(Listen::Loopback)
        .hba("local all all reject\n")
        // Less than the control file of the template has, and than a standby starts with.
        .setting("max_connections", "20")
        .setting("max_wal_senders", "5")
        .system_identifier(SystemIdentifier::OfTemplate)
        .setup("v1", |info| {
            postgres::Client::connect(&info.uri(), postgres::NoTls)?
                .batch_execute("CREATE TABLE t (i int); CREATE UNLOGGED TABLE u (i int)")
        })
        .standbys(1)
        .start()
        .unwrap();
    let standby = set.standbys().next().unwrap();
    assert_ne!(standby.port(), set.primary().port());
    follows(standby, set.primary(), 7);
    assert_eq!(
        ask(&mut client(set.primary()), "SHOW max_connections"),
        "20"
    );
    set.promote(standby).unwrap();
    client(standby)
        .batch_execute("INSERT INTO u VALUES (1)")
        .unwrap();
}

#[test]
fn impossible_sets_are_refused() {
    let one = || builder(&server());
    for refused in [
        one().standbys(0),
        one().standbys(9),
        one().standbys(1).synchronous(2),
        one().password("s3cret").standbys(1),
    ] {
        let error = refused.start().unwrap_err();
        assert!(
            matches!(error.kind(), TempErrorKind::Option(_)),
            "{error:?}"
        );
    }
}

#[test]
fn replay_is_paused_resumed_and_delayed() {
    for installation in servers() {
        let set = set(&installation, 1);
        let standby = set.standbys().next().unwrap();
        follows(standby, set.primary(), 1);
        standby.pause_replay().unwrap();
        let lsn = written(set.primary(), 2);
        let error = standby
            .wait_for(lsn, Duration::from_millis(50))
            .unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_says(&report(&error), &["paused"]);
        assert_eq!(highest(standby), "1");
        standby.resume_replay().unwrap();
        standby.wait_for(lsn, PATIENCE).unwrap();
        assert_eq!(highest(standby), "2");

        // It has the WAL long before it replays it.
        standby.lag_by(Duration::from_secs(3600)).unwrap();
        standby.wait_streaming(PATIENCE).unwrap();
        let delay = "SELECT setting FROM pg_settings WHERE name = 'recovery_min_apply_delay'";
        if installation.version().major() >= 12 {
            while ask(&mut client(standby), delay) != "3600000" {}
        }
        let lsn = written(set.primary(), 3);
        let error = standby
            .wait_for(lsn, Duration::from_millis(300))
            .unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(highest(standby), "2");
        standby.lag_by(Duration::ZERO).unwrap();
        standby.wait_for(lsn, PATIENCE).unwrap();
    }
}

#[test]
fn a_partition_does_not_close_the_connection() {
    for installation in servers() {
        let set = set(&installation, 1);
        let standby = set.standbys().next().unwrap();
        follows(standby, set.primary(), 1);
        let mut primary = client(set.primary());
        let sender = "SELECT pid FROM pg_stat_replication";
        let before = ask(&mut primary, sender);
        standby.disconnect();
        let lsn = written(set.primary(), 2);
        let begun = Instant::now();
        let error = standby.wait_for(lsn, PATIENCE).unwrap_err();
        assert!(
            matches!(error.kind(), ReplicaErrorKind::Disconnected),
            "{error:?}"
        );
        assert!(
            begun.elapsed() < PATIENCE,
            "the reason is returned long before the timeout"
        );
        assert_eq!(highest(standby), "1");
        assert_eq!(ask(&mut primary, sender), before, "the primary waits");
        standby.reconnect();
        standby.wait_for(lsn, PATIENCE).unwrap();
        assert_eq!(ask(&mut primary, sender), before, "the connection goes on");
        // A promotion and an end do not wait for the network.
        standby.disconnect();
        set.promote(standby).unwrap();
    }
}

#[test]
fn a_killed_standby_and_a_killed_primary_come_back() {
    for installation in servers() {
        let set = set(&installation, 1);
        let standby = set.standbys().next().unwrap();
        follows(standby, set.primary(), 1);
        standby.cluster().kill().unwrap();
        let lsn = written(set.primary(), 2);
        standby.start().unwrap();
        standby.wait_for(lsn, PATIENCE).unwrap();
        set.primary().cluster().kill().unwrap();
        let error = standby.wait_for(Lsn::new(u64::MAX), PATIENCE).unwrap_err();
        assert!(
            matches!(error.kind(), ReplicaErrorKind::Unreachable(_)),
            "{error:?}"
        );
        set.primary().start().unwrap();
        standby.wait_streaming(PATIENCE).unwrap();
        follows(standby, set.primary(), 3);
        set.primary().restart().unwrap();
        follows(standby, set.primary(), 4);
    }
}

#[test]
fn synchronous_standbys_have_what_was_acknowledged() {
    for installation in servers() {
        let set = builder(&installation)
            .standbys(2)
            .synchronous(2)
            .start()
            .unwrap();
        let mut primary = client(set.primary());
        primary.batch_execute("CREATE TABLE t (i int)").unwrap();
        for row in 0..20 {
            primary
                .batch_execute(&format!("INSERT INTO t VALUES ({row})"))
                .unwrap();
            for standby in set.standbys() {
                assert_eq!(highest(standby), row.to_string());
            }
        }
        // Of two, one is left to follow the third.
        set.primary().cluster().kill().unwrap();
        let standby = set.standbys().next().unwrap();
        set.promote(standby).unwrap();
        let other = set.standbys().nth(1).unwrap();
        client(standby)
            .batch_execute("INSERT INTO t VALUES (99)")
            .unwrap();
        assert_eq!(highest(other), "99");
    }
}

#[test]
fn the_others_follow_a_promoted_standby() {
    for installation in servers() {
        for cascading in [false, true] {
            let mut shape = builder(&installation).standbys(2);
            if cascading {
                shape = shape.cascading();
            }
            let set = shape.start().unwrap();
            let [primary, first, second] = set.members() else {
                unreachable!("three members");
            };
            follows(second, primary, 1);
            let senders = "SELECT count(*) FROM pg_stat_replication";
            let direct = ask(&mut client(primary), senders);
            assert_eq!(direct, if cascading { "1" } else { "2" });
            primary.cluster().kill().unwrap();
            set.promote(first).unwrap();
            assert_eq!(set.primary().name(), "standby1");
            follows(second, first, 2);
            // And once more, to the last one.
            first.cluster().kill().unwrap();
            set.promote(second).unwrap();
            written(second, 3);
            let error = set.promote(second).unwrap_err();
            assert!(
                matches!(error.kind(), ReplicaErrorKind::NotAStandby),
                "{error:?}"
            );
        }
    }
}

#[test]
fn a_former_primary_rejoins_as_a_standby() {
    for installation in servers() {
        let has_program = installation.program(Program::PgRewind).is_some();
        let set = builder(&installation)
            .standbys(1)
            .synchronous(1)
            .start()
            .unwrap();
        let (old, new) = (&set.members()[0], &set.members()[1]);
        follows(new, old, 1);
        new.disconnect();
        // It is written, and never acknowledged, since the standby does not get it.
        let mut alone = client(old);
        alone
            .batch_execute("SET synchronous_commit = local; INSERT INTO t VALUES (1000)")
            .unwrap();
        old.cluster().kill().unwrap();
        set.promote(new).unwrap();
        written(new, 2);
        let error = set.rejoin(new).unwrap_err();
        assert!(
            matches!(error.kind(), ReplicaErrorKind::Primary),
            "{error:?}"
        );
        if !has_program {
            let error = set.rejoin(old).unwrap_err();
            assert_says(&report(&error), &["pg_rewind"]);
            continue;
        }
        set.rejoin(old).unwrap();
        follows(old, new, 3);
        assert_eq!(
            ask(&mut client(new), "SHOW synchronous_standby_names"),
            "ANY 1 (*)"
        );
    }
}

#[test]
fn a_server_of_another_cluster_is_recognized_by_its_identifier() {
    for installation in servers() {
        let (set, other) = (
            set(&installation, 1),
            builder(&installation).start().unwrap(),
        );
        let standby = set.standbys().next().unwrap();
        standby.follow(&other);
        let error = standby.wait_for(Lsn::new(u64::MAX), PATIENCE).unwrap_err();
        assert!(
            matches!(error.kind(), ReplicaErrorKind::SystemIdentifier { .. }),
            "{error:?}"
        );
        assert_says(&error.hint().unwrap(), &["copied from"]);
        standby.follow(set.primary());
        standby.wait_streaming(PATIENCE).unwrap();
        follows(standby, set.primary(), 1);
    }
}

#[test]
fn removed_wal_is_reported_with_the_message_of_the_server() {
    for installation in servers() {
        let keep = match installation.version().major() {
            13.. => "wal_keep_size",
            _ => "wal_keep_segments",
        };
        let set = builder(&installation)
            .setting(keep, "0")
            .setting("min_wal_size", "2MB")
            .setting("max_wal_size", "2MB")
            .standbys(1)
            .start();
        // Segments of PostgreSQL 10 are of 16 MB.
        let set = match set {
            Ok(set) => set,
            Err(_) if installation.version().major() == 10 => continue,
            Err(error) => panic!("{error:?}"),
        };
        let standby = set.standbys().next().unwrap();
        standby.cluster().stop(&StopPlan::fast()).unwrap();
        let mut primary = client(set.primary());
        primary.batch_execute("CREATE TABLE t (i int)").unwrap();
        for _ in 0..4 {
            primary.batch_execute("INSERT INTO t VALUES (1)").unwrap();
            ask(&mut primary, "SELECT pg_switch_wal()");
            primary.batch_execute("CHECKPOINT").unwrap();
        }
        standby.start().unwrap();
        let lsn = set.primary().lsn().unwrap();
        let error = standby.wait_for(lsn, PATIENCE).unwrap_err();
        let is_known = match error.kind() {
            ReplicaErrorKind::Refused { code, .. } => code == "58P01",
            ReplicaErrorKind::Replication(error) => {
                matches!(error.kind(), ReplicationErrorKind::NotFollowing(_))
            }
            _ => false,
        };
        assert!(is_known, "{error:?}");
        assert_says(&error.hint().unwrap(), &["anew"]);
    }
}

#[test]
fn two_temporary_clusters_replicate_logically() {
    for installation in servers() {
        let [publisher, subscriber] = [(); 2].map(|()| {
            let builder = builder(&installation).logical_replication();
            builder.start().unwrap()
        });
        let mut from = connect_to(publisher.connection_info());
        let mut to = connect_to(subscriber.connection_info());
        for client in [&mut from, &mut to] {
            client
                .batch_execute("CREATE TABLE t (i int PRIMARY KEY)")
                .unwrap();
        }
        from.batch_execute("CREATE PUBLICATION p FOR TABLE t; INSERT INTO t VALUES (7)")
            .unwrap();
        let conninfo = publisher.keywords().replace('\'', "''");
        to.batch_execute(&format!(
            "CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION p"
        ))
        .unwrap();
        while ask(&mut to, "SELECT count(*) FROM t") == "0" {
            ask(&mut to, "SELECT pg_sleep(0.01)");
        }
        assert_eq!(ask(&mut to, "SELECT i FROM t"), "7");
    }
}

/// Prints where a set is, and waits to be killed.
#[test]
fn a_set_is_removed_with_its_owner() {
    const NAME: &str = "a_set_is_removed_with_its_owner";
    if role().is_some() {
        let set = set(&server(), 2);
        let paths: Vec<&str> = set.members().iter().map(|m| m.path().as_str()).collect();
        println!("set {}", paths.join(" "));
        std::thread::park();
        return;
    }
    let mut owner = Victim::spawn(&mut child(NAME, "owner"));
    let paths = loop {
        let line = owner.line();
        if let Some((_, paths)) = line.split_once("set ") {
            break paths.to_owned();
        }
    };
    let paths: Vec<Utf8PathBuf> = paths.split(' ').map(Utf8PathBuf::from).collect();
    assert!(paths.len() == 3 && paths.iter().all(|path| path.exists()));
    owner.kill();
    let begun = Instant::now();
    while paths.iter().any(|path| path.exists()) {
        assert!(begun.elapsed() < PATIENCE, "it is removed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_dropped_set_is_removed_completely() {
    let set = set(&server(), 2);
    let paths: Vec<Utf8PathBuf> = set.members().iter().map(|m| m.path().to_owned()).collect();
    set.members()[2].disconnect();
    drop(set);
    assert!(paths.iter().all(|path| !path.exists()), "{paths:?}");
}

#[test]
fn an_error_names_the_member() {
    let set = set(&server(), 1);
    let error = set.promote(set.primary()).unwrap_err();
    assert_eq!(error.name(), "primary");
    assert_eq!(error.to_string(), "failed to promote primary");
    assert!(error.source().is_some());
}
