//! The processes that keep a server from acting or from shutting down are named.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pg_cluster::{
    Cluster, ControlErrorKind, Pid, Program, Readiness, Signal, StartErrorKind, StopPlan,
};
use pg_tests::{Room, ask, await_suspended, connect, server, servers, signal};

const MOMENT: Duration = Duration::from_millis(500);

/// The titles of the processes for which a fast shutdown waits.
fn holders(cluster: &Cluster) -> Vec<String> {
    let plan = StopPlan::new(Signal::Fast, MOMENT);
    let error = cluster.stop(&plan).unwrap_err();
    let ControlErrorKind::Timeout { holders, .. } = error.kind() else {
        panic!("{error:?}");
    };
    holders.iter().map(|(_, title)| title.clone()).collect()
}

#[test]
fn an_archiver_that_holds_up_a_shutdown_is_named() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let options = room.start_options();
        let options = options.settings([("archive_mode", "on"), ("archive_command", "sleep 600")]);
        cluster.start(&options).unwrap();
        let mut client = connect(&cluster);
        // Something to archive.
        ask(&mut client, "SELECT pg_switch_wal()");
        drop(client);
        let titles = holders(&cluster);
        assert!(
            titles.iter().any(|title| title.contains("archiver")),
            "{titles:?}"
        );
        cluster.kill().unwrap();
    }
}

#[test]
fn a_wal_sender_that_holds_up_a_shutdown_is_named() {
    for installation in servers() {
        let Some(receiver) = installation.program(Program::PgReceivewal) else {
            eprintln!("no pg_receivewal in {}", installation.version());
            continue;
        };
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        let address = cluster.connection_info().unwrap().unwrap();
        let mut client = connect(&cluster);
        let mut receiver = Command::new(receiver)
            .args(["--no-loop", "-D", room.directory("received").as_str()])
            .envs(address.with_user("postgres").env())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        while ask(&mut client, streams) != "1" {
            assert!(receiver.try_wait().unwrap().is_none(), "it streams");
        }
        let receives = Pid::new(i32::try_from(receiver.id()).unwrap()).unwrap();
        signal(receives, "-STOP");
        // It cannot confirm that it has this.
        ask(&mut client, "SELECT pg_switch_wal()");
        drop(client);
        let titles = holders(&cluster);
        let is_sender =
            |title: &String| title.contains("walsender") || title.contains("wal sender");
        assert!(titles.iter().any(is_sender), "{titles:?}");
        receiver.kill().unwrap();
        receiver.wait().unwrap();
        cluster.stop(&StopPlan::escalating()).unwrap();
    }
}

/// A control group with only this process: `docker pause` would freeze a group with all processes.
struct Freezer {
    group: String,
    /// The file, the word that freezes, and the word that thaws.
    switch: (&'static str, &'static str, &'static str),
}

impl Freezer {
    /// None if this user may not make one.
    fn of(pid: Pid) -> Option<Self> {
        let second = ("cgroup.freeze", "1", "0");
        let first = ("freezer.state", "FROZEN", "THAWED");
        let roots = [
            ("/sys/fs/cgroup", second),
            ("/sys/fs/cgroup/unified", second),
            ("/sys/fs/cgroup/freezer", first),
        ];
        roots.into_iter().find_map(|(root, switch)| {
            // With version 1 the first is a directory of directories.
            fs::metadata(format!("{root}/cgroup.procs")).ok()?;
            let group = format!("{root}/pg-tests-{pid}");
            fs::create_dir(&group).ok()?;
            let freezer = Self { group, switch };
            fs::metadata(freezer.file(switch.0)).ok()?;
            fs::write(freezer.file("cgroup.procs"), pid.to_string()).ok()?;
            Some(freezer)
        })
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.group)
    }

    fn freeze(&self) {
        fs::write(self.file(self.switch.0), self.switch.1).unwrap();
    }

    fn thaw(&self) {
        fs::write(self.file(self.switch.0), self.switch.2).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let thaw = fs::OpenOptions::new()
            .write(true)
            .open(self.file(self.switch.0));
        let _ = thaw.and_then(|mut file| file.write_all(self.switch.2.as_bytes()));
        // The kernel may still count its process.
        let end = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.group).is_err() && Instant::now() < end {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_frozen_server_is_not_ready() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let pid = cluster.start(&room.start_options()).unwrap().pid();
    let Some(freezer) = Freezer::of(pid) else {
        eprintln!("this user cannot freeze a process");
        return;
    };
    freezer.freeze();
    await_suspended(&cluster, pid);
    assert_eq!(cluster.readiness().unwrap(), Readiness::NotReady);
    let error = cluster.start(&room.start_options()).unwrap_err();
    assert!(matches!(error.kind(), StartErrorKind::Suspended(found) if *found == pid));
    let moment = StopPlan::new(Signal::Smart, Duration::ZERO);
    let error = cluster.stop(&moment).unwrap_err();
    assert!(matches!(error.kind(), ControlErrorKind::Suspended(found) if *found == pid));
    freezer.thaw();
    cluster.stop(&StopPlan::fast()).unwrap();
}
