//! Programs whose exit status is collected elsewhere: by the kernel or by another thread.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    unsafe_code,
    reason = "what is done about SIGCHLD is up to the process"
)]

mod tree;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use pg_install::{PgConfig, ProgramErrorKind};
use rustix::process::{WaitOptions, wait};
use tree::{Tree, find};

/// The one test of this program, since the whole process loses the exit statuses of its children.
#[test]
fn discovery_does_not_need_exit_statuses() {
    let tree = Tree::new();
    tree.server("/usr/lib/postgresql/16/bin", "16.3");
    tree.postgres("/usr/lib/postgresql/15/bin", "15.1");
    tree.script("/failing/pg_config", "echo no >&2; exit 3");
    tree.script("/hanging/pg_config", &tree.hang());

    on_sigchld(SigHandler::SigIgn, SaFlags::empty());
    discover(&tree);
    on_sigchld(SigHandler::SigDfl, SaFlags::SA_NOCLDWAIT);
    discover(&tree);
    on_sigchld(SigHandler::SigDfl, SaFlags::empty());
    while_another_thread_waits(|| discover(&tree));
}

fn on_sigchld(handler: SigHandler, flags: SaFlags) {
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: no handler is installed, the action is the kernel's.
    unsafe { sigaction(Signal::SIGCHLD, &action) }.unwrap();
}

/// As a program does that calls `waitpid(-1)`.
fn while_another_thread_waits(act: impl FnOnce()) {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                // Fails while there are no children.
                let _ = wait(WaitOptions::empty());
                thread::yield_now();
            }
        });
        let outcome = panic::catch_unwind(AssertUnwindSafe(act));
        is_done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

/// Often, since now and then this process is faster than the kernel or the other thread.
fn discover(tree: &Tree) {
    for _ in 0..20 {
        let discovery = tree.discovery(&[]);
        let versions: Vec<_> = discovery
            .all()
            .into_iter()
            .map(|found| found.unwrap().installation().version().num())
            .collect();
        assert_eq!(versions, [160_003, 150_001]);
        find(&discovery, "any").unwrap();

        let error = PgConfig::query(tree.at("/failing/pg_config")).unwrap_err();
        use ProgramErrorKind::{Failed, StatusLost};
        let (StatusLost { stderr, .. } | Failed { stderr, .. }) = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!(&**stderr, "no");
    }
    let timeout = Duration::from_millis(50);
    let error = PgConfig::query_within(tree.at("/hanging/pg_config"), timeout).unwrap_err();
    assert!(
        matches!(error.kind(), ProgramErrorKind::TimedOut { .. }),
        "{error:?}"
    );
}
