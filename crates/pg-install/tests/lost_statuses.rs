//! Programs whose exit status is lost to the kernel or to another thread.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "the test sets the action of SIGCHLD")]

mod tree;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use pg_install::{PgConfig, ProgramErrorKind};
use rustix::process::{WaitOptions, wait};
use tree::{Tree, find};

/// The only test of this program, because the whole process loses the exit statuses of its
/// children.
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
    // SAFETY: the action is SIG_IGN or SIG_DFL, so no handler is installed.
    unsafe { sigaction(Signal::SIGCHLD, &action) }.unwrap();
}

/// Runs `act` while another thread waits for all children, as a call of `waitpid(-1)` does.
fn while_another_thread_waits(act: impl FnOnce()) {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                // Fails if there are no children.
                let _ = wait(WaitOptions::empty());
                thread::yield_now();
            }
        });
        let outcome = panic::catch_unwind(AssertUnwindSafe(act));
        is_done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

/// Repeats the discovery, because this process sometimes collects a status first.
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
