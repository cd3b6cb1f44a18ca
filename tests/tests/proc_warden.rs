//! The warden: one process for each program, which outlives nothing that it does not have to.

#![cfg(target_os = "linux")]

mod proc_fixture;

use std::fs;
use std::process::{Command as StdCommand, Stdio};

use camino::Utf8Path;
use pg_proc::{Command, GuardOptions, Pid};

use proc_fixture::{Cluster, Process, patience};

/// The parent of a process, as `/proc` shows it.
fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(") ").expect("fields");
    fields
        .split(' ')
        .nth(1)
        .expect("a parent")
        .parse()
        .expect("a number")
}

fn number(pid: Pid) -> u32 {
    pid.as_raw().try_into().expect("positive")
}

#[test]
fn all_servers_of_a_program_have_one_parent() {
    let (first, second) = (Cluster::new(), Cluster::new());
    let servers = [first.start(), second.start()];
    let [one, other] = [&servers[0], &servers[1]].map(|server| parent(number(server.pid())));
    assert_eq!(one, other);
    // A caller that waits for all of its children does not wait for this one.
    assert_ne!(parent(one), std::process::id());
    let memory = fs::read_to_string(format!("/proc/{one}/status")).expect("status");
    let threads = memory
        .lines()
        .find(|line| line.starts_with("Threads:"))
        .expect("a line");
    assert_eq!(threads.split_whitespace().last(), Some("1"));
}

/// None of what the caller has in memory is in the warden's.
#[test]
fn the_warden_holds_none_of_the_callers_memory() {
    let ballast: Vec<u8> = (0..64_usize << 20).map(|n| (n % 251) as u8).collect();
    let cluster = Cluster::new();
    let server = cluster.start();
    let warden = parent(number(server.pid()));
    let resident = |pid: u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("rollup");
        let line = rollup
            .lines()
            .find(|line| line.starts_with("Anonymous:"))
            .expect("a line");
        let kilobytes = line.split_whitespace().nth(1).expect("a number");
        kilobytes.parse::<u64>().expect("a number")
    };
    assert!(resident(std::process::id()) > 64 << 10);
    assert!(resident(warden) < 4 << 10);
    drop((server, ballast));
}

/// A killed warden is replaced at the next order, and what it guarded is removed all the same.
#[test]
fn a_killed_warden_is_replaced() {
    let room = tempfile::tempdir().expect("a directory");
    let room = Utf8Path::from_path(room.path()).expect("UTF-8");
    let guarded = room.join("guarded");
    fs::create_dir_all(guarded.join("below")).expect("mkdir");
    let guard = GuardOptions::new().remove(&guarded).guard().expect("guard");

    let cluster = Cluster::new();
    let server = cluster.start();
    let [process, warden] = Process::open_with_parent(server.pid())
        .try_into()
        .ok()
        .expect("two");
    warden.kill();
    process.wait_gone();
    server.wait_gone(patience()).expect("gone");

    let output = Command::new("/bin/echo")
        .arg("still")
        .run(patience())
        .expect("echo");
    assert_eq!(output.stdout, b"still\n");
    drop(guard);
    assert!(!guarded.exists());
    cluster
        .start()
        .wait_gone(std::time::Duration::ZERO)
        .expect_err("a server");
}

/// A program that needs no warden any more has none after a second, and gets another when it does.
#[test]
fn an_idle_warden_exits() {
    let run = || {
        let print_parent = ["-c", "echo $PPID"];
        let output = Command::new("/bin/sh")
            .args(print_parent)
            .run(patience())
            .expect("sh");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        Pid::new(text.trim().parse().expect("a number")).expect("a process ID")
    };
    let first = run();
    if let Some(warden) = Process::open(first) {
        warden.wait_gone();
    }
    assert_ne!(run(), first);
}

/// The variable that makes a program its own warden does nothing unless a socket of the same user
/// comes with it.
#[test]
fn nobody_becomes_a_warden_by_a_variable_alone() {
    let output = StdCommand::new(env!("CARGO_BIN_EXE_proc-owner"))
        .args(["env", "/usr/bin/env"])
        .env("PG_PROC_WARDEN", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("PATH="), "{text}");
}

/// A static program has no loader. The loader as the program, as it is for a library in the process of another program: it cannot
/// be executed anew, so the warden is forked, and gives back the memory that it does not need.
#[cfg(not(target_feature = "crt-static"))]
#[test]
fn a_program_that_cannot_be_executed_anew_is_forked() {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let mut paths = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    let loader = paths.find(|path| path.contains("/ld-")).expect("a loader");
    let output = StdCommand::new(loader)
        .arg(env!("CARGO_BIN_EXE_proc-owner"))
        .args(["env", "/usr/bin/env"])
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("PATH="), "{text}");
}
