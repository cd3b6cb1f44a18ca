//! Starting and stopping repeatedly leaks nothing in the owner. Alone in its process, so that only
//! this is counted.

mod proc_fixture;

use std::fs;

use pg_proc::{Command, GuardOptions, Log, Signal};
use proc_fixture::{Cluster, patience};

/// `PG_TESTS_ROUNDS` changes it.
fn rounds() -> usize {
    std::env::var("PG_TESTS_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200)
}

#[test]
fn nothing_grows() {
    let cluster = Cluster::new();
    // Buffers and caches come into being in the first rounds.
    for number in 0..10 {
        round(&cluster, number);
    }
    let before = Possessions::count();
    for number in 0..rounds() {
        round(&cluster, number);
    }
    let after = Possessions::count();
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);
    assert_eq!(after.children, before.children);
    // A leak of a single page in a single round would be more.
    let grown = after.kilobytes.saturating_sub(before.kilobytes);
    assert!(grown < rounds() * 4, "{before:?}\n{after:?}");
}

fn round(cluster: &Cluster, number: usize) {
    let guard = GuardOptions::new().guard().expect("a guard");
    let log = match number % 3 {
        0 => Log::Tail(4096),
        1 => Log::File(cluster.log()),
        _ => Log::Null,
    };
    let options = cluster.options().log(log);
    let server = cluster
        .command()
        .guarded_by(&guard)
        .spawn_server(&options)
        .expect("spawn");
    server.wait_ready(patience()).expect("ready");
    match number % 4 {
        // Dropped, and so stopped by its plan.
        0 => {}
        1 => server.send(Signal::Immediate).expect("signal"),
        2 => server.postmaster().kill(patience()).expect("killed"),
        _ => {
            server.send(Signal::Fast).expect("signal");
            server.wait_gone(patience()).expect("gone");
        }
    }
    drop(server);
    Command::new("/bin/true").run(patience()).expect("true");
    Command::new("/nowhere")
        .run(patience())
        .expect_err("no such program");
}

#[derive(Debug)]
struct Possessions {
    descriptors: usize,
    threads: usize,
    /// Zombies too.
    children: Vec<String>,
    kilobytes: usize,
}

impl Possessions {
    fn count() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("status");
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .expect("memory");
        let memory = memory.trim().trim_end_matches(" kB");
        let mut children = Vec::new();
        for task in fs::read_dir("/proc/self/task").expect("tasks") {
            let path = task.expect("task").path().join("children");
            let list = fs::read_to_string(path).expect("children");
            children.extend(list.split_ascii_whitespace().map(str::to_owned));
        }
        Self {
            descriptors: fs::read_dir("/proc/self/fd").expect("descriptors").count(),
            threads: fs::read_dir("/proc/self/task").expect("tasks").count(),
            children,
            kilobytes: memory.parse().expect("a number"),
        }
    }
}
