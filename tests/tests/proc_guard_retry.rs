//! A warden that is killed after it was sent an order and before it has taken it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::thread;
use std::time::Duration;

use camino::Utf8Path;
use pg_proc::{Command, GuardOptions, Pid};
use pg_tests::signal;

#[test]
fn the_next_warden_gets_the_order_of_a_killed_one() {
    let room = tempfile::tempdir().unwrap();
    let room = Utf8Path::from_path(room.path()).unwrap();
    let guarded = room.join("guarded");
    fs::create_dir(&guarded).unwrap();

    let limit = Duration::from_secs(60);
    let parent = Command::new("/bin/sh")
        .args(["-c", "echo $PPID"])
        .run(limit);
    let warden = String::from_utf8(parent.unwrap().stdout).unwrap();
    let warden: Pid = warden.trim().parse().unwrap();
    // It takes nothing from now on.
    signal(warden, "-STOP");
    let options = GuardOptions::new().remove(&guarded);
    let orders = thread::Builder::new().name("orders".to_owned());
    let orders = orders.spawn(move || options.guard()).unwrap();
    // The order is sent, and the thread waits for the answer. Were it sleeping elsewhere, the order
    // would come after the kill, which has to be as good.
    while !orders.is_finished() && !sleeps("orders") {
        thread::yield_now();
    }
    signal(warden, "-KILL");
    let guard = orders.join().unwrap().unwrap();
    assert!(guarded.exists());
    assert!(guard.remove(limit));
    assert!(!guarded.exists());
}

/// Returns whether the thread of this name sleeps (proc_pid_stat(5)).
fn sleeps(name: &str) -> bool {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let mut stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    stats.any(|stat| stat.contains(&format!("({name}) S")))
}
