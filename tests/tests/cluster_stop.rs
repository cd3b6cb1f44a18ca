//! Ending a server: modes, escalation, timeouts, kill and what follows it.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::time::Duration;

use pg_cluster::{
    ControlErrorKind, Ownership, Readiness, Signal, StartErrorKind, Started, StopPlan, Stopped,
};
use pg_proc::{Orphans, release_shared_memory};
use pg_tests::{Orphan, Room, ask, connect, server, servers};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn each_mode_shuts_the_server_down_as_documented() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        assert_eq!(cluster.signal(Signal::Smart).unwrap(), None);
        assert_eq!(cluster.signal(Signal::Fast).unwrap(), None);
        assert_eq!(cluster.signal(Signal::Immediate).unwrap(), None);
        assert_eq!(cluster.kill().unwrap(), None);
        assert_eq!(
            cluster.stop(&StopPlan::fast()).unwrap(),
            Stopped::NotRunning
        );
        cluster.wait_until_stopped(Duration::ZERO).unwrap();

        // A smart shutdown waits for the client, and accepts no new connections meanwhile.
        let pid = cluster.start(&room.start_options()).unwrap().pid();
        let mut client = connect(&cluster);
        assert_eq!(cluster.signal(Signal::Smart).unwrap(), Some(pid));
        let error = cluster
            .wait_until_stopped(Duration::from_millis(300))
            .unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert!(
            matches!(error.kind(), ControlErrorKind::Timeout { pid: found, .. } if *found == pid)
        );
        assert_eq!(ask(&mut client, "SELECT 1"), "1");
        assert_eq!(cluster.readiness().unwrap(), Readiness::NotReady);
        drop(client);
        cluster.wait_until_stopped(PATIENCE).unwrap();
        assert!(cluster.exit_status().unwrap().success());

        // Fast disconnects the client.
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        cluster.signal(Signal::Fast).unwrap();
        cluster.wait_until_stopped(PATIENCE).unwrap();
        assert!(client.simple_query("SELECT 1").is_err());
        assert_eq!(cluster.control_data().unwrap().state.as_str(), "shut down");

        // Immediate leaves recovery to the next start.
        cluster.start(&room.start_options()).unwrap();
        cluster.signal(Signal::Immediate).unwrap();
        cluster.wait_until_stopped(PATIENCE).unwrap();
        assert_eq!(
            cluster.control_data().unwrap().state.as_str(),
            "in production"
        );
        cluster.start(&room.start_options()).unwrap();
        assert_eq!(ask(&mut connect(&cluster), "SELECT 1"), "1");
    }
}

/// Killed with busy clients: all processes have exited when `kill` returns, so that the next start
/// can follow at once.
#[test]
fn a_start_can_follow_a_kill_at_once() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        for _ in 0..2 {
            let pid = cluster.start(&room.start_options()).unwrap().pid();
            let mut client = connect(&cluster);
            client
                .batch_execute("CREATE TABLE IF NOT EXISTS t (i int); INSERT INTO t VALUES (1)")
                .unwrap();
            assert_eq!(cluster.kill().unwrap(), Some(pid));
            assert_eq!(cluster.pid().unwrap(), None);
            assert!(client.simple_query("SELECT 1").is_err());
        }
        let started = cluster.start(&room.start_options()).unwrap();
        assert!(matches!(started, Started::Now(_)));
        assert_eq!(ask(&mut connect(&cluster), "SELECT count(*) FROM t"), "2");
    }
}

/// The postmaster has exited, and one of its children has not: then the server has not stopped yet.
#[test]
fn child_processes_after_a_crash_are_not_stopped() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let detached = room.start_options().ownership(Ownership::Detached);
        for kill in [false, true] {
            cluster.start(&detached).unwrap();
            let _orphan = Orphan::leave_by(&cluster);
            let error = cluster
                .wait_until_stopped(Duration::from_millis(100))
                .unwrap_err();
            assert!(error.is_timeout(), "{error:?}");
            if kill {
                assert_eq!(cluster.kill().unwrap(), None);
                let left = release_shared_memory(cluster.data_directory()).unwrap();
                assert_eq!(left, Default::default());
            } else {
                let stopped = cluster.stop(&StopPlan::fast()).unwrap();
                assert_eq!(stopped, Stopped::NotRunning);
            }
            assert!(Orphans::find(cluster.data_directory()).unwrap().is_empty());
            cluster.wait_until_stopped(Duration::ZERO).unwrap();
        }
    }
}

#[test]
fn an_escalation_reports_the_step_that_sufficed() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let pid = cluster.start(&room.start_options()).unwrap().pid();
    let client = connect(&cluster);
    let only_smart = StopPlan::new(Signal::Smart, Duration::from_millis(100));
    let error = cluster.stop(&only_smart).unwrap_err();
    assert!(error.is_timeout());
    let text = error.kind().to_string();
    assert!(
        text.starts_with(&format!("process {pid} still runs after ")),
        "{text}"
    );

    let stopped = cluster
        .stop(&only_smart.then(Signal::Fast, PATIENCE))
        .unwrap();
    assert!(
        matches!(stopped, Stopped::By { signal: Signal::Fast, pid: found, .. } if found == pid)
    );
    drop(client);

    let pid = cluster.start(&room.start_options()).unwrap().pid();
    // A server that is stopped (in the sense of SIGSTOP) hears nothing but SIGKILL.
    let raw = rustix::process::Pid::from_raw(pid.as_raw()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::STOP).unwrap();
    let short = Duration::from_millis(100);
    let plan = StopPlan::new(Signal::Fast, short)
        .then(Signal::Immediate, short)
        .then(Signal::Kill, PATIENCE);
    let stopped = cluster.stop(&plan).unwrap();
    assert!(
        matches!(
            stopped,
            Stopped::By {
                signal: Signal::Kill,
                ..
            }
        ),
        "{stopped:?}"
    );
}

#[test]
fn restart_takes_new_settings_and_keeps_a_server_that_does_not_stop() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let first = cluster
        .restart(&StopPlan::fast(), &room.start_options())
        .unwrap();
    assert!(matches!(first, Started::Now(_)));
    cluster.settings().set("max_connections", "17").unwrap();
    let second = cluster
        .restart(&StopPlan::fast(), &room.start_options())
        .unwrap();
    assert_ne!(first.pid(), second.pid());
    let client_of_second = &mut connect(&cluster);
    assert_eq!(ask(client_of_second, "SHOW max_connections"), "17");
    let smart = StopPlan::new(Signal::Smart, Duration::from_millis(100));
    let error = cluster.restart(&smart, &room.start_options()).unwrap_err();
    assert!(matches!(error.kind(), StartErrorKind::Stop(_)), "{error:?}");
    assert_eq!(cluster.pid().unwrap(), Some(second.pid()));
}
