//! After SIGKILL: children, shared memory, and the next start.

mod proc_fixture;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use camino::Utf8Path;
use pg_proc::{
    Command, DirectoryLock, Found, GuardOptions, Orphans, Pid, PidFile, Postmaster,
    SharedMemoryErrorKind, SharedMemoryId, SpawnErrorKind, release_shared_memory,
};
use proc_fixture::{
    Cluster, account, bin_directories, busy, patience, wait_removed, wait_until_busy,
};

/// The number of times a server is killed and started again; `PG_TESTS_CRASHES` changes it.
fn rounds() -> usize {
    std::env::var("PG_TESTS_CRASHES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(50)
}

#[test]
fn starts_at_once_after_a_kill() {
    let cluster = Cluster::new();
    let mut server = cluster.start();
    for round in 0..rounds() {
        let clients = [busy(&cluster), busy(&cluster)];
        wait_until_busy(&cluster, 2);
        // Half of them through the server that was started, half through one that was found.
        if round % 2 == 0 {
            server.postmaster().kill(patience()).expect("killed");
        } else {
            let Ok(Found::Running(found)) = Postmaster::find(&cluster.data) else {
                panic!("not found")
            };
            found.kill(patience()).expect("killed");
        }
        for client in clients {
            client.join().expect("no panic");
        }
        assert!(Orphans::find(&cluster.data).expect("orphans").is_empty());
        let before = std::mem::replace(&mut server, cluster.start());
        assert!(before.wait_gone(patience()).is_ok());
    }
}

/// PostgreSQL lets two through that find the same stale file.
#[test]
fn one_of_several_concurrent_starts_stays() {
    let cluster = Cluster::new();
    let mut server = cluster.start();
    for _ in 0..5 {
        server.postmaster().kill(patience()).expect("killed");
        let turn = DirectoryLock::acquire(&cluster.data, patience()).expect("lock");
        let mut outcomes: Vec<_> = std::thread::scope(|scope| {
            let rivals: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| cluster.command().spawn_server(&cluster.options())))
                .collect();
            std::thread::sleep(Duration::from_millis(50));
            let found = Postmaster::find(&cluster.data);
            assert!(matches!(found, Ok(Found::Stale(_))), "{found:?}");
            drop(turn);
            rivals
                .into_iter()
                .map(|rival| rival.join().expect("no panic"))
                .collect()
        });
        let winner = outcomes.iter().position(Result::is_ok).expect("a winner");
        server = outcomes.swap_remove(winner).expect("a winner");
        for outcome in outcomes {
            let error = outcome.expect_err("a second server");
            assert!(
                matches!(error.kind(), SpawnErrorKind::Running(pid) if *pid == server.pid()),
                "{error}"
            );
        }
        server.wait_ready(patience()).expect("ready");
    }
}

#[test]
fn shared_memory_is_released() {
    for bin in bin_directories() {
        let cluster = Cluster::with(bin);
        let server = cluster.start();
        let file = server.postmaster().pid_file().expect("file").expect("file");
        let segment = file.shared_memory.expect("a segment");
        assert!(segment_exists(segment));
        let mut client = cluster.connect();
        let mut query = cluster.connect();
        let kind: String = query
            .query_one("SHOW dynamic_shared_memory_type", &[])
            .expect("SHOW")
            .get(0);
        assert_eq!(kind, "posix");
        // A query in parallel, to have more than the control segment.
        let query_in_parallel = std::thread::spawn(move || {
            client
                .batch_execute(
                    "CREATE TABLE t AS SELECT generate_series(1, 100000) AS i;
                     SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
                     SET min_parallel_table_scan_size = 0;
                     SET max_parallel_workers_per_gather = 2;
                     SELECT count(*) FROM t AS a, t AS b WHERE a.i % 10 = b.i % 7",
                )
                .expect_err("killed")
        });
        let workers =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%min_parallel%' AND pid <> $1";
        let own: i32 = query
            .query_one("SELECT pg_backend_pid()", &[])
            .expect("pid")
            .get(0);
        while query
            .query_one(workers, &[&own])
            .expect("workers")
            .get::<_, i64>(0)
            < 2
        {}
        let mut segments = posix_segments(server.pid());
        server.postmaster().kill(patience()).expect("killed");
        query_in_parallel.join().expect("no panic");
        assert!(segments.len() >= 2, "{segments:?}");
        assert!(
            segment_exists(segment),
            "it is the next start that releases it, or we"
        );
        let released = release_shared_memory(&cluster.data).expect("released");
        assert!(released.system_v);
        assert!(released.posix >= 2, "{released:?}");
        assert!(!segment_exists(segment));
        segments.retain(|path| Utf8Path::new(path).exists());
        assert_eq!(segments, BTreeSet::new());
        assert_eq!(
            release_shared_memory(&cluster.data).expect("nothing left"),
            Default::default()
        );
    }
}

#[test]
fn the_memory_of_another_directory_is_not_released() {
    let (dead, living) = (Cluster::new(), Cluster::new());
    let server = dead.start();
    server.postmaster().kill(patience()).expect("killed");
    let file = dead.data.join(PidFile::NAME);
    let claim = fs::read(&file).expect("file");
    // As after a copy of a crashed data directory.
    fs::write(living.data.join(PidFile::NAME), &claim).expect("file");
    let refused = release_shared_memory(&living.data).expect_err("not ours");
    assert!(
        matches!(refused.kind(), SharedMemoryErrorKind::NotOurs),
        "{refused}"
    );
    assert!(
        release_shared_memory(&dead.data)
            .expect("released")
            .system_v
    );
}

/// The guard releases the memory too, when no other process can do so.
#[test]
fn the_guard_releases_shared_memory() {
    let cluster = Cluster::new();
    let guard = GuardOptions::new()
        .release_memory_of(&cluster.data)
        .remove(&cluster.root)
        .guard()
        .expect("a guard");
    let server = cluster
        .command()
        .guarded_by(&guard)
        .spawn_server(&cluster.options())
        .expect("spawn");
    server.wait_ready(patience()).expect("ready");
    let segment = server
        .postmaster()
        .pid_file()
        .expect("file")
        .and_then(|file| file.shared_memory);
    server.postmaster().kill(patience()).expect("killed");
    drop(server);
    let root = cluster.leave_to_others();
    assert!(guard.remove(patience()));
    wait_removed(&root);
    assert!(!segment_exists(segment.expect("a segment")));
}

fn segment_exists(id: SharedMemoryId) -> bool {
    let table = fs::read_to_string("/proc/sysvipc/shm").expect("/proc/sysvipc/shm");
    table.lines().skip(1).any(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next() == Some(&id.key.to_string()) && words.next() == Some(&id.id.to_string())
    })
}

/// POSIX segments that a server or one of its children has mapped.
fn posix_segments(server: Pid) -> BTreeSet<String> {
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
    let children = children.expect("children");
    let mut names = BTreeSet::new();
    for pid in children
        .split_ascii_whitespace()
        .chain([server.to_string().as_str()])
    {
        // As the account of the server: root may not have the right to examine it.
        let maps = Command::new("/bin/cat")
            .arg(format!("/proc/{pid}/maps"))
            .account(account())
            .run(patience());
        let maps = maps.map_or_else(|_| Vec::new(), |output| output.stdout);
        let maps = String::from_utf8_lossy(&maps);
        let paths = maps
            .lines()
            .filter_map(|line| line.split_ascii_whitespace().nth(5));
        names.extend(
            paths
                .filter(|path| path.starts_with("/dev/shm/PostgreSQL."))
                .map(str::to_owned),
        );
    }
    names
}
