//! Standbys: hot and cold ones, made by a copy and by `pg_basebackup`; promotion; recovery that
//! takes its time.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::time::Duration;

use camino::Utf8Path;
use pg_cluster::conf::Document;
use pg_cluster::proc::{Command, Status, WaitErrorKind};
use pg_cluster::{
    Cluster, ConnectionInfo, ControlErrorKind, ControlState, Program, Readiness, StartErrorKind,
    StartOptions, StartWait, Started, State, StopPlan,
};
use pg_tests::{Room, ask, complete_server, connect, copy, give_to_servers, rows, server, servers};

const PATIENCE: Duration = Duration::from_secs(60);

/// A copy of a cluster that does not run, which follows the server at this address, or no server.
fn standby_of(primary: &Cluster, at: &Utf8Path, follows: Option<&ConnectionInfo>) -> Cluster {
    copy(primary.data_directory(), at);
    let standby = Cluster::new(primary.installation().clone(), at).unwrap();
    let conninfo = follows.map(|info| info.clone().with_user("postgres").keywords());
    if primary.installation().major_version().first() >= 12 {
        let signal = at.join("standby.signal");
        fs::write(&signal, "").unwrap();
        give_to_servers(&signal);
        let conninfo = conninfo.unwrap_or_default();
        standby
            .settings()
            .set("primary_conninfo", conninfo)
            .unwrap();
        return standby;
    }
    let mut recovery = Document::parse("");
    recovery.set("standby_mode", true).unwrap();
    if let Some(conninfo) = conninfo {
        recovery.set("primary_conninfo", conninfo).unwrap();
    }
    let path = at.join("recovery.conf");
    fs::write(&path, recovery.to_bytes()).unwrap();
    give_to_servers(&path);
    standby
}

fn options_of_standby(room: &Room) -> StartOptions {
    room.start_options()
        .socket_directory(room.directory("standby's sockets"))
}

/// Promotes it and finds it the primary, for this server and for the next.
fn is_promoted(standby: &Cluster, options: &StartOptions) {
    let pid = standby.promote().unwrap();
    assert_eq!(standby.wait_until_promoted(PATIENCE).unwrap(), pid);
    assert_eq!(standby.state().unwrap(), State::Ready(pid));
    assert_eq!(is_in_recovery(standby), "f");
    connect(standby)
        .batch_execute("CREATE TABLE mine ()")
        .unwrap();
    let error = standby.promote().unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ControlErrorKind::NotStandby(ControlState::InProduction)
        ),
        "{error:?}"
    );
    assert!(!standby.data_directory().join("promote").exists());
    standby.restart(&StopPlan::fast(), options).unwrap();
    assert_eq!(is_in_recovery(standby), "f");
}

fn is_in_recovery(cluster: &Cluster) -> String {
    ask(&mut connect(cluster), "SELECT pg_is_in_recovery()")
}

#[test]
fn a_hot_standby_follows_and_is_promoted() {
    for installation in servers() {
        let room = Room::new();
        let primary = room.cluster(&installation);
        let address = ConnectionInfo::socket(room.join("s"), 5432);
        let standby = standby_of(&primary, &room.join("standby"), Some(&address));
        primary.start(&room.start_options()).unwrap();
        let options = options_of_standby(&room);
        let pid = standby.start(&options).unwrap().pid();
        assert_eq!(standby.state().unwrap(), State::Ready(pid));
        assert_eq!(is_in_recovery(&standby), "t");
        let control = standby.control_data().unwrap();
        assert_eq!(control.state, ControlState::ArchiveRecovery);

        // From now on a transaction is complete when the standby shows it.
        let mut client = connect(&primary);
        let synchronous = [
            ("synchronous_standby_names", "*"),
            ("synchronous_commit", "remote_apply"),
        ];
        primary.settings().update(synchronous).unwrap();
        primary
            .reload_and_verify(|sql| rows(&mut client, sql))
            .unwrap();
        // The WAL sender reads the settings a moment after the session of this client.
        let is_synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        while ask(&mut client, is_synchronous) == "0" {
            ask(&mut client, "SELECT pg_sleep(0.002)");
        }
        client
            .batch_execute("CREATE TABLE t AS SELECT 7 AS i")
            .unwrap();
        // The checkpointer, on which a commit depends, follows a moment later.
        let end = ask(&mut client, "SELECT pg_current_wal_lsn()");
        let mut reader = connect(&standby);
        standby
            .wait_for_replay(end.parse().unwrap(), |sql| rows(&mut reader, sql), PATIENCE)
            .unwrap();
        assert_eq!(ask(&mut reader, "SELECT i FROM t"), "7");

        let error = primary.promote().unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ControlErrorKind::NotStandby(ControlState::InProduction)
            ),
            "{error:?}"
        );
        assert!(!primary.data_directory().join("promote").exists());
        let error = standby.wait_until_promoted(Duration::ZERO).unwrap_err();
        assert!(
            matches!(error.kind(), ControlErrorKind::Wait(_)),
            "{error:?}"
        );
        is_promoted(&standby, &options);
        standby.stop(&StopPlan::fast()).unwrap();
        let error = standby.promote().unwrap_err();
        assert!(
            matches!(error.kind(), ControlErrorKind::NotRunning),
            "{error:?}"
        );
    }
}

#[test]
fn a_cold_standby_is_started_and_promoted() {
    for installation in servers() {
        let room = Room::new();
        let primary = room.cluster(&installation);
        let standby = standby_of(&primary, &room.join("standby"), None);
        let options = options_of_standby(&room).setting("hot_standby", "off");
        let pid = standby.start(&options).unwrap().pid();
        assert_eq!(standby.state().unwrap(), State::Standby(pid));
        assert_eq!(standby.readiness().unwrap(), Readiness::NotReady);
        standby.wait_until_started(Duration::ZERO).unwrap();
        assert_eq!(
            standby.start(&options).unwrap(),
            Started::AlreadyRunning(pid)
        );
        let info = standby
            .connection_info()
            .unwrap()
            .unwrap()
            .with_user("postgres");
        assert!(postgres::Client::connect(&info.uri(), postgres::NoTls).is_err());
        // Stopped in good order, it goes on from where it was.
        standby.stop(&StopPlan::fast()).unwrap();
        let control = standby.control_data().unwrap();
        assert_eq!(control.state, ControlState::ShutDownInRecovery);
        standby.start(&options).unwrap();
        is_promoted(&standby, &options);
    }
}

/// With a base backup that lacks the WAL written during the backup, a standby waits for that WAL:
/// the server runs, but does not accept connections.
#[test]
fn a_standby_that_is_not_consistent_is_starting() {
    let installation = complete_server();
    let room = Room::new();
    let primary = room.cluster(&installation);
    primary.start(&room.start_options()).unwrap();
    let standby = base_backup(&primary, &room, "none");
    standby.settings().set("primary_conninfo", "").unwrap();
    let auto = standby.data_directory().join("postgresql.auto.conf");
    fs::write(&auto, "").unwrap();
    let options = options_of_standby(&room)
        .setting("wal_retrieve_retry_interval", "100ms")
        .wait(StartWait::Spawned);
    let pid = standby.start(&options).unwrap().pid();
    let error = standby
        .wait_until_started(Duration::from_secs(1))
        .unwrap_err();
    let StartErrorKind::Wait(cause) = error.kind() else {
        panic!("{error:?}")
    };
    assert!(
        matches!(
            cause.kind(),
            WaitErrorKind::TimedOut(Some(Status::Starting))
        ),
        "{error:?}"
    );
    assert_eq!(standby.state().unwrap(), State::Starting(pid));
    assert_eq!(standby.readiness().unwrap(), Readiness::NotReady);
    // It looks for more WAL again and again, and is never idle: this is not progress.
    let patient = options
        .wait(StartWait::Ready)
        .timeout(Duration::ZERO)
        .recovery_patience(Duration::from_secs(2));
    let error = standby.start(&patient).unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
}

#[test]
fn pg_basebackup_makes_a_standby() {
    for installation in servers() {
        if installation.program(Program::PgBasebackup).is_none() {
            continue;
        }
        let room = Room::new();
        let primary = room.cluster(&installation);
        primary.start(&room.start_options()).unwrap();
        connect(&primary)
            .batch_execute("CREATE TABLE t AS SELECT 7 AS i")
            .unwrap();
        let standby = base_backup(&primary, &room, "stream");
        assert!(standby.is_initialized());
        let identifier = |cluster: &Cluster| cluster.control_data().unwrap().system_identifier;
        assert_eq!(identifier(&standby), identifier(&primary));
        let options = options_of_standby(&room);
        standby.start(&options).unwrap();
        assert_eq!(is_in_recovery(&standby), "t");
        assert_eq!(ask(&mut connect(&standby), "SELECT i FROM t"), "7");
        is_promoted(&standby, &options);
    }
}

fn base_backup(primary: &Cluster, room: &Room, wal: &str) -> Cluster {
    let installation = primary.installation();
    let at = room.directory("backup").join("standby");
    let address = primary.connection_info().unwrap().unwrap();
    let program = installation.require(Program::PgBasebackup).unwrap();
    Command::new(program)
        .account(primary.account().cloned())
        .args(["-D", at.as_str(), "-R", "-N", "-c", "fast", "-X", wal])
        .args(["-d", &address.with_user("postgres").keywords()])
        .run(PATIENCE)
        .unwrap();
    Cluster::new(installation.clone(), at).unwrap()
}

/// Kills the server of a cluster with half a second of log to replay.
fn crash(cluster: &Cluster, options: &StartOptions) {
    // No checkpoint shall shorten what is to be replayed.
    let options = options
        .clone()
        .settings([("max_wal_size", "4GB"), ("checkpoint_timeout", "1h")]);
    cluster.start(&options).unwrap();
    connect(cluster)
        .batch_execute(
            "CREATE TABLE t AS SELECT generate_series(1, 300000) AS i, repeat('x', 90) AS x",
        )
        .unwrap();
    cluster.kill().unwrap();
}

/// Ready means that clients can connect. From PostgreSQL 15 on a primary with `hot_standby = off`
/// reports `standby` while it recovers, which is not enough.
#[test]
fn recovery_is_over_when_a_start_returns() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let options = room.start_options().setting("hot_standby", "off");
        crash(&cluster, &options);
        let pid = cluster.start(&options).unwrap().pid();
        assert_eq!(cluster.state().unwrap(), State::Ready(pid));
        assert_eq!(
            ask(&mut connect(&cluster), "SELECT count(*) FROM t"),
            "300000"
        );
    }
}

/// A start without patience for recovery fails at its timeout. `proc_wait` shows that a start with
/// patience continues.
#[test]
fn a_start_without_patience_times_out_during_recovery() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let options = room.start_options();
    crash(&cluster, &options);
    let at_once = options.clone().timeout(Duration::ZERO);
    let error = cluster
        .start(&at_once.recovery_patience(Duration::ZERO))
        .unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(cluster.pid().unwrap(), None);
    cluster.start(&options).unwrap();
    assert_eq!(
        ask(&mut connect(&cluster), "SELECT count(*) FROM t"),
        "300000"
    );
}
