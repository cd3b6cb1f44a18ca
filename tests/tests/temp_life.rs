//! Temporary servers that are stopped, started again, crashed and frozen.
#![allow(clippy::unwrap_used)]

use std::error::Error as _;
use std::io::Read as _;
use std::process::Command;
use std::time::{Duration, Instant};

use pg_cluster::ControlErrorKind;
use pg_fixture::{Listen, Storage, TempCluster, TempClusterBuilder, TempErrorKind};
use pg_tests::{Room, Victim, ask, child, connect_to, processes_below, role, server, servers};

const PATIENCE: Duration = Duration::from_secs(60);

fn builder(room: &Room) -> TempClusterBuilder {
    TempCluster::builder()
        .installation(server())
        .cache_directory(room.join("cache"))
}

fn count(temp: &TempCluster) -> String {
    ask(
        &mut connect_to(temp.connection_info()),
        "SELECT count(*) FROM fruit",
    )
}

#[test]
fn a_restarted_server_keeps_address_settings_and_data() {
    for server in servers() {
        let room = Room::new();
        for listen in [Listen::SocketOnly, Listen::Loopback] {
            let temp = builder(&room)
                .installation(server.clone())
                .setting("work_mem", "5MB")
                .listen(listen)
                .start()
                .unwrap();
            let (uri, pid) = (temp.uri(), temp.cluster().pid().unwrap());
            let mut client = connect_to(temp.connection_info());
            client
                .batch_execute("CREATE TABLE fruit (name text); INSERT INTO fruit VALUES ('fig')")
                .unwrap();
            temp.restart().unwrap();
            assert_eq!(temp.uri(), uri);
            assert_ne!(temp.cluster().pid().unwrap(), pid);
            assert!(client.is_valid(Duration::from_secs(1)).is_err());
            assert_eq!(count(&temp), "1");
            let mut client = connect_to(temp.connection_info());
            assert_eq!(ask(&mut client, "SHOW work_mem"), "5MB");
            assert_eq!(ask(&mut client, "SHOW fsync"), "off");
            assert!(temp.log_tail().is_some());

            temp.stop().unwrap();
            temp.stop().unwrap();
            assert!(!temp.cluster().is_running().unwrap());
            temp.start_again().unwrap();
            temp.start_again().unwrap();
            assert_eq!(count(&temp), "1");
        }
    }
}

#[test]
fn a_restarted_server_is_removed_with_its_value() {
    let room = Room::new();
    let temp = builder(&room).start().unwrap();
    temp.restart().unwrap();
    let path = temp.path().to_owned();
    drop(temp);
    assert!(!path.exists());
    assert!(processes_below(&path).is_empty());
}

#[test]
fn a_crashed_server_recovers_what_was_committed() {
    for server in servers() {
        let room = Room::new();
        let temp = builder(&room).installation(server).start().unwrap();
        let mut client = connect_to(temp.connection_info());
        client
            .batch_execute(
                "SET synchronous_commit = on; CREATE TABLE fruit (name text);
                 INSERT INTO fruit VALUES ('fig'), ('date')",
            )
            .unwrap();
        client
            .batch_execute("BEGIN; INSERT INTO fruit VALUES ('plum')")
            .unwrap();
        let data = temp.cluster().data_directory().to_owned();
        temp.crash().unwrap();
        assert!(processes_below(&data).is_empty());
        let state = pg_proc::ControlData::read(&data).unwrap().state;
        assert_eq!(state, pg_proc::ControlState::InProduction);
        temp.start_again().unwrap();
        assert_eq!(count(&temp), "2");
    }
}

/// The postmaster and its child processes, as `/proc` lists them for every user.
fn processes_of(temp: &TempCluster) -> Vec<String> {
    let postmaster = temp.cluster().pid().unwrap().unwrap().to_string();
    let children = format!("/proc/{postmaster}/task/{postmaster}/children");
    let children = std::fs::read_to_string(children).unwrap();
    let children = children.split_whitespace().map(str::to_owned);
    std::iter::once(postmaster).chain(children).collect()
}

/// Returns whether all processes of the server, more than one, are suspended.
fn are_frozen(temp: &TempCluster) -> bool {
    let processes = processes_of(temp);
    let is_stopped = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.trim().chars().next());
        // The postmaster reaps a child that has exited when it is resumed.
        matches!(state, Some('T' | 'Z'))
    };
    processes.len() > 1 && processes.iter().all(is_stopped)
}

#[cfg(target_os = "linux")]
#[test]
fn a_frozen_server_answers_after_it_is_resumed() {
    for server in servers() {
        let room = Room::new();
        let temp = builder(&room).installation(server).start().unwrap();
        let mut client = connect_to(temp.connection_info());
        let (sender, answers) = std::sync::mpsc::channel();
        let frozen = temp.freeze().unwrap();
        assert!(are_frozen(&temp));
        let asking = std::thread::spawn(move || {
            sender.send(ask(&mut client, "SELECT 7")).unwrap();
        });
        // A shutdown has no effect on it, and the error says why.
        let stopped = temp
            .cluster()
            .stop(&pg_cluster::StopPlan::new(
                pg_cluster::Signal::Smart,
                Duration::from_millis(20),
            ))
            .unwrap_err();
        assert!(matches!(stopped.kind(), ControlErrorKind::Suspended(_)));
        assert!(answers.try_recv().is_err());
        assert!(are_frozen(&temp));
        frozen.thaw();
        assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), "7");
        asking.join().unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn all_processes_of_a_forking_server_are_frozen() {
    let room = Room::new();
    let temp = builder(&room).start().unwrap();
    let info = temp.connection_info().clone();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = postgres::Client::connect(&info.uri(), postgres::NoTls);
            }
        });
        let tried: Vec<_> = (0..20)
            .map(|_| temp.freeze().map(|_frozen| are_frozen(&temp)))
            .collect();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        // Not before: the other thread has to end if this fails.
        for are_frozen in tried {
            assert!(are_frozen.unwrap());
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_frozen_server_can_be_crashed() {
    let room = Room::new();
    let temp = builder(&room).start().unwrap();
    let frozen = temp.freeze().unwrap();
    temp.crash().unwrap();
    assert!(processes_below(temp.path()).is_empty());
    drop(frozen);
    temp.start_again().unwrap();
    ask(&mut connect_to(temp.connection_info()), "SELECT 1");
}

#[cfg(target_os = "linux")]
#[test]
fn a_frozen_server_is_removed_with_its_value() {
    let room = Room::new();
    let temp = builder(&room).start().unwrap();
    let path = temp.path().to_owned();
    // As in a test that ends while it holds both, in whatever order it drops them.
    std::mem::forget(temp.freeze().unwrap());
    drop(temp);
    assert!(!path.exists());
    assert!(processes_below(&path).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn the_frozen_server_of_a_killed_owner_is_removed() {
    if let Some(given) = role() {
        let room = given.as_path();
        let temp = TempCluster::builder()
            .installation(server())
            .cache_directory(room.join("cache"))
            .storage(Storage::Directory(room.join("storage")))
            .start()
            .unwrap();
        let _frozen = temp.freeze().unwrap();
        assert!(are_frozen(&temp));
        println!("\nfrozen");
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let room = Room::new();
    let storage = room.directory("storage");
    let test = "the_frozen_server_of_a_killed_owner_is_removed";
    let mut command: Command = child(test, room.path().as_str());
    let mut owner = Victim::spawn(&mut command);
    while owner.line() != "frozen" {}
    owner.kill();
    let until = Instant::now() + PATIENCE;
    loop {
        let is_empty = storage.read_dir_utf8().unwrap().next().is_none();
        let processes = processes_below(&storage);
        if is_empty && processes.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "left behind: {processes:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_stopped_server_cannot_be_frozen() {
    let room = Room::new();
    let temp = builder(&room).start().unwrap();
    temp.stop().unwrap();
    let error = temp.freeze().unwrap_err();
    assert!(matches!(error.kind(), TempErrorKind::NotRunning));
    assert_eq!(error.to_string(), "failed to freeze a temporary cluster");
    assert!(error.source().is_some());
}
