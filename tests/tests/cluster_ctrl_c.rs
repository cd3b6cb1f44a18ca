//! Ctrl-C in a terminal reaches the caller, who decides, and not the server.

// rustix has no `ptsname` for NetBSD.
#![cfg(not(target_os = "netbsd"))]
#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use pg_cluster::{Cluster, StartOptions};
use pg_tests::{Room, ask, child, connect, role, server};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The child takes the pseudo-terminal for its own, so that the interrupt character makes SIGINT
/// for its foreground group. It ignores that signal by means of `sh`, as a caller who decides to go
/// on would.
#[test]
fn an_interrupt_in_the_terminal_does_not_reach_the_server() {
    const NAME: &str = "an_interrupt_in_the_terminal_does_not_reach_the_server";
    if let Some(directory) = role() {
        let cluster = Cluster::new(server(), directory.join("data")).unwrap();
        let options = StartOptions::new()
            .socket_directory(directory.join("s"))
            .listen_addresses::<&str>([]);
        let pid = cluster.start(&options).unwrap().pid();
        println!("\nready {pid}");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        // SIGINT has been delivered to this group by now, so the terminal works.
        assert_eq!(cluster.pid().unwrap(), Some(pid));
        println!("\nalive {}", ask(&mut connect(&cluster), "SELECT 1"));
        return;
    }
    let room = Room::new();
    room.directory("s");
    let cluster = room.cluster(&server());

    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new())
        .unwrap()
        .into_string()
        .unwrap();
    let itself = child(NAME, room.path().as_str());
    let mut shell = std::process::Command::new("setsid");
    // `-c` of setsid takes the standard input for the controlling terminal. The trap is ignored by
    // what the shell runs, too.
    shell
        .args(["-c", "-w", "sh", "-c", "trap '' INT; \"$@\"", "sh"])
        .arg(itself.get_program())
        .args(itself.get_args());
    for (name, value) in itself.get_envs() {
        shell.env(name, value.unwrap());
    }
    let side = || -> OwnedFd {
        File::options()
            .read(true)
            .write(true)
            .open(&name)
            .unwrap()
            .into()
    };
    let mut caller = shell
        .stdin(Stdio::from(side()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(caller.stdout.take().unwrap()).lines();
    let ready = output.find_map(|line| line.unwrap().strip_prefix("ready ").map(str::to_owned));
    let pid = ready.expect("a server");
    assert_eq!(cluster.pid().unwrap().map(|pid| pid.to_string()), Some(pid));

    let mut keyboard = File::from(terminal);
    keyboard.write_all(b"\x03\n").unwrap();
    assert!(output.any(|line| line.unwrap() == "alive 1"));
    output.for_each(drop);
    caller.wait().unwrap();
    cluster.wait_until_stopped(Duration::from_secs(60)).unwrap();
}
