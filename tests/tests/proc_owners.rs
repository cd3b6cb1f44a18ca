//! However its owner ends, a bound server ends too, and its directory is removed.

#![allow(clippy::print_stdout, reason = "how long it took is worth knowing")]

mod proc_fixture;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use proc_fixture::{Cluster, Process, wait_removed};

/// Owners per way of ending; `PG_TESTS_OWNERS` changes it.
fn rounds() -> usize {
    std::env::var("PG_TESTS_OWNERS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100)
}

#[test]
fn a_killed_owner_leaves_nothing() {
    end_owners("wait", |owner| owner.kill().expect("kill"));
}

#[test]
fn a_panicking_owner_leaves_nothing() {
    end_owners("panic", |_| {});
}

#[test]
fn an_exiting_owner_leaves_nothing() {
    end_owners("exit", |_| {});
}

#[test]
fn aborting_and_returning_owners_leave_nothing() {
    end_owner("abort", |_| {});
    end_owner("return", |_| {});
    end_owner("throw-away", |owner| owner.kill().expect("kill"));
}

fn end_owners(how: &str, end: impl Fn(&mut Child) + Sync) {
    let left = Mutex::new(rounds());
    let slowest = Mutex::new(Duration::ZERO);
    let take = || {
        let mut left = left.lock().expect("no panic");
        left.checked_sub(1).map(|fewer| *left = fewer).is_some()
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while take() {
                    let time = end_owner(how, &end);
                    let mut slowest = slowest.lock().expect("no panic");
                    *slowest = time.max(*slowest);
                }
            });
        }
    });
    println!(
        "{how}: everything gone after {:?} at most",
        slowest.lock().expect("no panic")
    );
}

/// The time from the owner's exit until its server had exited and its directory was removed.
fn end_owner(how: &str, end: impl Fn(&mut Child)) -> Duration {
    let cluster = Cluster::new();
    std::fs::write(cluster.root.join("marker"), "").expect("marker");
    let command = cluster.command();
    let mut owner = std::process::Command::new(env!("CARGO_BIN_EXE_proc-owner"))
        .args([how, cluster.root.as_str(), command.program().as_str()])
        .args(command.arguments())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("an owner");
    let mut line = String::new();
    let output = owner.stdout.take().expect("stdout");
    BufReader::new(output)
        .read_line(&mut line)
        .expect("its server's number");
    let server = line.trim().parse().expect("its server's number");
    let root = cluster.leave_to_others();

    let processes = Process::open_with_parent(server);
    end(&mut owner);
    owner.wait().expect("the owner's end");
    let since = Instant::now();
    for process in processes {
        process.wait_gone();
    }
    wait_removed(&root);
    since.elapsed()
}
