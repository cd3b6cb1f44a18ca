//! `pgcluster` in a terminal: colors, progress, Ctrl-C, a terminal that goes.

// rustix has no `ptsname` for NetBSD.
#![cfg(not(target_os = "netbsd"))]
#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

mod command_fixture;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use camino::Utf8PathBuf;
use command_fixture::{cluster, out, pass_on, pgcluster};
use pg_tests::{Room, assert_says};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A program that has a pseudo-terminal for its own.
struct Terminal {
    screen: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn of(command: &Command) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        // A program that held this side would keep the terminal from going.
        fcntl_setfd(&terminal, FdFlags::CLOEXEC).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let name = name.into_string().unwrap();
        let side = || -> OwnedFd {
            let mut options = File::options();
            options.read(true).write(true).open(&name).unwrap().into()
        };
        let mut leader = Command::new("setsid");
        leader.args(["-c", "-w"]);
        pass_on(command, &mut leader);
        let leader = leader
            .stdin(Stdio::from(side()))
            .stdout(side())
            .stderr(side());
        Self {
            child: leader.spawn().unwrap(),
            screen: File::from(terminal),
            seen: String::new(),
        }
    }

    /// Reads until the text appears.
    fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            assert!(self.read(), "no {text:?} in {:?}", self.seen);
        }
    }

    /// False when all programs have closed the terminal.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.screen.read(&mut bytes).unwrap_or(0);
        self.seen
            .push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }

    fn finish(&mut self) -> (Option<i32>, &str) {
        while self.read() {}
        (self.child.wait().unwrap().code(), &self.seen)
    }
}

#[test]
fn colors_are_for_terminals_without_no_color() {
    let room = Room::new();
    let data = cluster(&room);
    assert!(!out(&["list"]).contains('\x1b'));
    let mut command = pgcluster(&["get", &data, "port", "fsync"]);
    command.env("TERM", "xterm");
    let mut terminal = Terminal::of(&command);
    let (code, seen) = terminal.finish();
    assert_eq!(code, Some(0));
    assert_says(seen, &["\x1b[1mNAME\x1b[0m", "fsync"]);
    let mut terminal = Terminal::of(command.env("NO_COLOR", "1"));
    let (_, seen) = terminal.finish();
    assert!(!seen.contains('\x1b') && seen.contains("NAME"), "{seen:?}");
}

/// A setup that takes its time, in a cluster that is not there before.
#[test]
fn progress_is_shown_and_taken_away() {
    let room = Room::new();
    let data = room.join("data").into_string();
    let mut command = pgcluster(&["init", &data]);
    command.env("TERM", "xterm");
    // `initdb` is never faster than this program writes one line, unless it is held up.
    let held = hold_up(&room);
    command.env("PGINSTALLATION", held);
    let mut terminal = Terminal::of(&command);
    terminal.wait_for("initializing");
    std::fs::write(room.join("go"), "").unwrap();
    let (code, seen) = terminal.finish();
    assert_eq!(code, Some(0), "{seen}");
    let (_, after) = seen.rsplit_once("\r\x1b[K").expect("an erased line");
    assert!(after.starts_with("initialized "), "{seen:?}");
}

/// An installation whose `initdb` waits for the file `go`.
fn hold_up(room: &Room) -> Utf8PathBuf {
    let real = pg_tests::complete_server();
    let bin = room.join("bin");
    std::fs::create_dir(&bin).unwrap();
    for entry in real.bindir().unwrap().read_dir_utf8().unwrap().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let go = room.join("go");
        let wait = format!("[ \"$1\" = --version ] || while [ ! -e {go} ]; do sleep 0.01; done");
        let script = match name {
            // It would name the directory of the real programs.
            "pg_config" => continue,
            "initdb" => format!("#!/bin/sh\n{wait}\nexec {path} \"$@\"\n"),
            _ => format!("#!/bin/sh\nexec {path} \"$@\"\n"),
        };
        std::fs::write(bin.join(name), script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join(name), mode).unwrap();
    }
    bin
}

#[test]
fn ctrl_c_reaches_the_command_first_and_the_server_waits_for_it() {
    let script = "trap 'echo asked; sleep 0.2; test -e $PGDATA/postmaster.pid && echo served; \
                  exit 5' INT; echo ready $PGDATA; while :; do sleep 0.01; done";
    let mut terminal = Terminal::of(&pgcluster(&["run", "--", "sh", "-c", script]));
    terminal.wait_for("/data\r\n");
    terminal.screen.write_all(b"\x03").unwrap();
    let (code, seen) = terminal.finish();
    assert_eq!(code, Some(5), "{seen}");
    assert_says(seen, &["asked\r\nserved\r\n"]);
    // Once, and not by us as well.
    assert_eq!(seen.matches("asked").count(), 1);
    gone(seen);
}

#[test]
fn the_keyboard_is_the_commands() {
    let script = "echo ready $PGDATA; read line; echo \"got $line\"";
    let mut terminal = Terminal::of(&pgcluster(&["run", "--", "sh", "-c", script]));
    terminal.wait_for("/data\r\n");
    terminal.screen.write_all(b"hello\n").unwrap();
    let (code, seen) = terminal.finish();
    assert_eq!(code, Some(0), "{seen}");
    assert_says(seen, &["got hello"]);
}

#[test]
fn a_terminal_that_goes_leaves_nothing() {
    let script = "echo ready $PGDATA; sleep 1000";
    let mut terminal = Terminal::of(&pgcluster(&["run", "--", "sh", "-c", script]));
    terminal.wait_for("/data\r\n");
    drop(std::mem::replace(
        &mut terminal.screen,
        File::open("/dev/null").unwrap(),
    ));
    terminal.child.wait().unwrap();
    let seen = terminal.seen.clone();
    gone(&seen);
}

/// Waits until the server's directory is gone.
#[track_caller]
fn gone(seen: &str) {
    let line = seen
        .lines()
        .find_map(|line| line.strip_prefix("ready "))
        .unwrap();
    let directory = Utf8PathBuf::from(line.trim());
    while directory.parent().unwrap().exists() {
        std::thread::yield_now();
    }
}
