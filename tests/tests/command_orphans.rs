//! Whatever is killed, nothing of `pgcluster run` is left. Linux alone ends the command.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

mod command_fixture;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};

use camino::Utf8PathBuf;
use command_fixture::{pass_on, pgcluster};
use rustix::process::{Pid, Signal, kill_process};

/// `pgcluster run` with a command that does nothing but live.
struct Run {
    child: Child,
    command: Pid,
    directory: Utf8PathBuf,
    _output: BufReader<std::process::ChildStdout>,
}

impl Run {
    fn start(script: &str) -> Self {
        let script = format!("{script} echo $$ $PGDATA; exec sleep 1000");
        let mut child = pgcluster(&["run", "--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let (pid, directory) = line.trim_end().split_once(' ').unwrap();
        let directory = Utf8PathBuf::from(directory);
        assert!(directory.join("postmaster.pid").exists());
        // A shell that is about to execute a program loses SIGINT (`setsignal` in dash's trap.c).
        while std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() != "sleep\n" {
            std::thread::yield_now();
        }
        Self {
            child,
            command: Pid::from_raw(pid.parse().unwrap()).unwrap(),
            directory,
            _output: output,
        }
    }

    fn itself(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until command, server and files are gone.
    fn leaves_nothing(&self) {
        let is_left = || {
            let command = rustix::process::test_kill_process(self.command).is_ok();
            let zombie =
                std::fs::read_to_string(format!("/proc/{}/stat", self.command.as_raw_nonzero()))
                    .is_ok_and(|stat| stat.contains(") Z "));
            (command && !zombie)
                || self.directory.parent().unwrap().exists()
                || !pg_tests::processes_below(&self.directory).is_empty()
        };
        while is_left() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_killed_run_leaves_neither_command_nor_server() {
    let mut run = Run::start("");
    kill_process(run.itself(), Signal::KILL).unwrap();
    assert_eq!(run.child.wait().unwrap().signal(), Some(9));
    run.leaves_nothing();
}

#[test]
fn a_killed_command_leaves_no_server() {
    let mut run = Run::start("");
    kill_process(run.command, Signal::KILL).unwrap();
    assert_eq!(run.child.wait().unwrap().code(), Some(137));
    run.leaves_nothing();
}

#[test]
fn signals_are_passed_on_to_the_command() {
    for (signal, number) in [
        (Signal::TERM, 15),
        (Signal::INT, 2),
        (Signal::HUP, 1),
        (Signal::QUIT, 3),
    ] {
        let mut run = Run::start("");
        kill_process(run.itself(), signal).unwrap();
        assert_eq!(run.child.wait().unwrap().code(), Some(128 + number));
        run.leaves_nothing();
    }
}

/// A command that decides to go on keeps its server.
#[test]
fn a_command_may_survive_a_signal() {
    let mut run = Run::start("trap '' TERM;");
    kill_process(run.itself(), Signal::TERM).unwrap();
    kill_process(run.itself(), Signal::INT).unwrap();
    assert_eq!(run.child.wait().unwrap().code(), Some(130));
    run.leaves_nothing();
}

/// As under `nohup`.
#[test]
fn an_ignored_signal_stays_ignored() {
    let script = "trap '' HUP; exec \"$@\"";
    let inner = "kill -HUP $PPID; kill -HUP $$; echo survived";
    let mut command = std::process::Command::new("sh");
    let ours = pgcluster(&["run", "--", "sh", "-c", inner]);
    command.args(["-c", script, "sh"]);
    pass_on(&ours, &mut command);
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"survived\n", "{output:?}");
    assert_eq!(output.status.code(), Some(0));
}
