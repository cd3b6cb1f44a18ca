//! The warden: one process for each program, which outlives nothing that it does not have to.

#![cfg(target_os = "linux")]

mod proc_fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command as StdCommand, Stdio};

use camino::Utf8Path;
use pg_proc::{Command, Pid, ServerOptions};

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

/// The warden contains none of the data in the memory of the caller.
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
fn a_variable_alone_makes_no_warden() {
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

/// A static program does not have a loader. The loader is the program, as for a library in the
/// process of another program. It cannot be executed anew, so the warden is forked, and releases
/// the memory that it does not need.
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

/// This program's `env` with a limit of descriptors.
fn with_descriptors(limit: usize, arguments: &[&str]) -> StdCommand {
    let mut command = StdCommand::new("/bin/sh");
    command
        .args(["-c", "ulimit -n $0 && exec \"$@\"", &limit.to_string()])
        .arg(env!("CARGO_BIN_EXE_proc-owner"))
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// Whichever descriptor the owner or the warden lacks, a program runs to its end or is reported as
/// not started. No wait hangs.
#[test]
fn a_lack_of_descriptors_is_reported() {
    let room = tempfile::tempdir().expect("a directory");
    // It ends when the warden waits for it, not before.
    let program = room.path().join("program");
    fs::write(&program, "#!/bin/sh\nsleep 0.1; echo through\n").expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut outcomes = Vec::new();
    for limit in 8..28 {
        let output = with_descriptors(limit, &["env", program.to_str().expect("UTF-8")])
            .output()
            .expect("a shell");
        let was_run = output.status.success();
        let (stream, text) = match was_run {
            true => (&output.stdout, "through\n"),
            // EMFILE, whose message differs between C libraries.
            false => (&output.stderr, "code: 24"),
        };
        assert!(
            String::from_utf8_lossy(stream).contains(text),
            "{limit}: {output:?}"
        );
        outcomes.push(was_run);
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false));
}

/// A guard needs more descriptors in the warden than in its owner. Guards that the warden cannot
/// take are errors, and the others work.
#[test]
fn guards_that_exceed_the_descriptors_of_the_warden_are_refused() {
    let room = tempfile::tempdir().expect("a directory");
    let root = room.path().to_str().expect("UTF-8");
    let output = with_descriptors(128, &["guards", root])
        .stderr(Stdio::inherit())
        .output()
        .expect("a shell");
    let count: usize = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("a number");
    assert!(count > 4, "{count}");
    // The last one was made, and never guarded.
    let last = room.path().join(count.to_string());
    let patience = patience();
    while room.path().read_dir().expect("a directory").count() > 1 {
        assert!(!patience.is_over(), "{count} guards");
        std::thread::yield_now();
    }
    assert!(last.exists());
}

/// A program with more rights than its caller ignores the variable, and runs `main` only once.
#[test]
fn a_program_with_changed_rights_is_not_run_twice() {
    if !pg_tests::is_root() {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let copy = room.path().join("owner");
    fs::copy(env!("CARGO_BIN_EXE_proc-owner"), &copy).expect("a copy");
    for path in [room.path(), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let output = StdCommand::new("setpriv")
        .args(["--euid", "65534"])
        .arg(&copy)
        .args(["env", "/usr/bin/env"])
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Processes that lose their parent while the program runs become the warden's children.
#[test]
fn orphans_of_a_running_program_are_reaped_and_not_killed() {
    let room = tempfile::tempdir().expect("a directory");
    let room = Utf8Path::from_path(room.path()).expect("UTF-8");
    // One process that has exited when its PID can be read, and one that stays.
    let script = "(sleep 0.1 & echo $! > ended.new); (sleep 600 & echo $! > stays.new); \
                  mv ended.new ended; mv stays.new stays; sleep 600";
    let server = Command::new("/bin/sh")
        .args(["-c", script])
        .current_dir(room)
        .spawn_server(&ServerOptions::new(room))
        .expect("a program");
    let pid = |name: &str| {
        let patience = patience();
        loop {
            if let Ok(text) = fs::read_to_string(room.join(name)) {
                return Pid::new(text.trim().parse().expect("a number")).expect("a process ID");
            }
            assert!(!patience.is_over(), "{name}");
            std::thread::yield_now();
        }
    };
    let (ended, stays) = (pid("ended"), pid("stays"));
    let patience = patience();
    while fs::exists(format!("/proc/{ended}")).expect("a state") {
        assert!(!patience.is_over(), "a zombie");
        std::thread::yield_now();
    }
    // The exit of another program is not a reason to kill the processes that this one left behind.
    for _ in 0..3 {
        Command::new("/bin/true").run(patience).expect("true");
    }
    let stat = fs::read_to_string(format!("/proc/{stays}/stat")).expect("a process");
    assert!(stat.contains("(sleep) S"), "{stat}");
    drop(server);
}
