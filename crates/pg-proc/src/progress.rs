//! Whether a server that recovers is getting on with it.

use std::time::{Duration, Instant};

use crate::{Postmaster, Status};

/// Sees whether anything changes that only changes by work.
#[derive(Debug)]
pub(crate) struct Progress {
    postmaster: crate::Pid,
    patience: Duration,
    seen: Option<Trace>,
    changed: Instant,
    /// Whether the process that replays the log was seen, where it can be. Without it a server does not recover, however slow it is.
    has_begun: bool,
}

/// What a recovering server leaves behind as it goes.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    status: Option<Status>,
    startup: Option<Startup>,
}

#[derive(Debug, PartialEq, Eq)]
struct Startup {
    title: Vec<u8>,
    cpu_ticks: u64,
    io: Vec<u8>,
}

impl Progress {
    pub(crate) fn new(postmaster: &Postmaster, patience: Duration) -> Self {
        let postmaster = postmaster.pid();
        Self {
            postmaster,
            patience,
            seen: None,
            changed: Instant::now(),
            has_begun: !cfg!(target_os = "linux"),
        }
    }

    /// Whether the server recovers, and something has changed within the last `patience`.
    pub(crate) fn goes_on(&mut self, status: Option<Status>) -> bool {
        let startup = startup(self.postmaster);
        self.has_begun |= startup.is_some();
        let trace = Some(Trace { status, startup });
        if self.seen != trace {
            self.seen = trace;
            self.changed = Instant::now();
        }
        self.has_begun && self.changed.elapsed() < self.patience
    }
}

/// The process that replays the log calls itself `postgres: startup recovering
/// 0000000100000000000000A7`.
#[cfg(target_os = "linux")]
fn startup(postmaster: crate::Pid) -> Option<Startup> {
    crate::sys::children(postmaster)
        .into_iter()
        .find_map(|child| {
            let title = std::fs::read(format!("/proc/{child}/cmdline")).ok()?;
            if !title.windows(7).any(|word| word == b"startup") {
                return None;
            }
            let io = std::fs::read(format!("/proc/{child}/io")).unwrap_or_default();
            Some(Startup {
                title,
                cpu_ticks: crate::sys::cpu_ticks(child)?,
                io,
            })
        })
}

#[cfg(not(target_os = "linux"))]
fn startup(_postmaster: crate::Pid) -> Option<Startup> {
    None
}
