//! Programs whose exit status is collected elsewhere: by the kernel or by another thread.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use camino::Utf8Path;
use pg_install::{Discovery, PgConfig, ProgramErrorKind, Request};
use rustix::process::{WaitOptions, wait};
use tree::{LONG, Tree};

/// The one test of this program, since it takes the children of the whole process.
#[test]
fn discovery_does_not_need_exit_statuses() {
    if let Ok(root) = std::env::var("PG_INSTALL_TEST_TREE") {
        return while_sigchld_is_ignored(Utf8Path::new(&root));
    }
    let tree = Tree::new();
    tree.server("/usr/lib/postgresql/16/bin", "16.3");
    tree.postgres("/usr/lib/postgresql/15/bin", "15.1");
    tree.script("/failing/pg_config", "echo no >&2; exit 3");
    tree.script(
        "/hanging/pg_config",
        "echo early; while :; do sleep 60; done",
    );

    // An ignored signal stays ignored in the program that is executed. SA_NOCLDWAIT, which does
    // not, has the same effect in the kernel (do_notify_parent in kernel/signal.c of Linux).
    let name = "discovery_does_not_need_exit_statuses";
    let ignoring = Command::new("/bin/sh")
        .args(["-c", "trap '' CHLD; exec \"$0\" --exact \"$1\""])
        .args([std::env::current_exe().unwrap().to_str().unwrap(), name])
        .env("PG_INSTALL_TEST_TREE", tree.root())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&ignoring.stdout);
    assert!(ignoring.status.success(), "{stdout}");
    assert!(stdout.contains("1 passed"), "{stdout}");

    while_another_thread_waits(&tree.root());
}

fn while_sigchld_is_ignored(root: &Utf8Path) {
    let shell = Command::new("/bin/sh").args(["-c", ":"]).status();
    shell.expect_err("the kernel collects the status");
    discover(root);
    let error = PgConfig::query(root.join("failing/pg_config")).unwrap_err();
    assert!(
        matches!(error.kind(), ProgramErrorKind::StatusLost { stderr, .. } if &**stderr == "no"),
        "{error:?}"
    );
}

/// As a program does that calls `waitpid(-1)`.
fn while_another_thread_waits(root: &Utf8Path) {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                // Fails while there are no children.
                let _ = wait(WaitOptions::empty());
                thread::yield_now();
            }
        });
        for _ in 0..20 {
            discover(root);
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

fn discover(root: &Utf8Path) {
    let discovery = Discovery::new()
        .root(root)
        .environment([("HOME", "/home/me")])
        .timeout(LONG);
    let versions: Vec<_> = discovery
        .all()
        .into_iter()
        .map(|found| found.unwrap().installation().version().num())
        .collect();
    assert_eq!(versions, [160_003, 150_001]);
    discovery.find(&Request::any()).unwrap();

    let hanging = root.join("hanging/pg_config");
    let error = PgConfig::query_within(hanging, Duration::from_millis(50)).unwrap_err();
    assert!(
        matches!(error.kind(), ProgramErrorKind::TimedOut { .. }),
        "{error:?}"
    );
}
