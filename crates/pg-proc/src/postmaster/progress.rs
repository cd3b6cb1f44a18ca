//! Detects whether a recovering server makes progress.

use std::time::{Duration, Instant};

use crate::files::pid_file::Status;
use crate::pid::Pid;

/// Sees whether anything changes that only changes by work.
#[derive(Debug)]
pub(crate) struct Progress {
    postmaster: Pid,
    patience: Duration,
    seen: Option<Trace>,
    changed: Instant,
    /// True if the process that replays the log was seen, where it can be seen. Without this
    /// process a server does not recover, however slow it is.
    has_begun: bool,
}

/// The traces that a recovering server leaves as it proceeds.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    status: Option<Status>,
    work: Work,
}

#[derive(Debug, PartialEq, Eq)]
enum Work {
    /// The traces of a server that replays the WAL that it has.
    Recovery(Option<Startup>),
    /// The traces of a server that waits for more WAL when it has replayed all. It looks for WAL
    /// again and again, and so is never idle. Only the farthest position in the log counts.
    Standby(Option<u64>),
}

#[derive(Debug, PartialEq, Eq)]
struct Startup {
    title: Vec<u8>,
    cpu_ticks: u64,
    io: Vec<u8>,
}

impl Progress {
    pub(crate) fn new(postmaster: Pid, patience: Duration) -> Self {
        Self {
            postmaster,
            patience,
            seen: None,
            changed: Instant::now(),
            has_begun: !cfg!(all(target_os = "linux", not(pg_portable))),
        }
    }

    /// Returns whether the server recovers, and a trace has changed within the last `patience`.
    pub(crate) fn goes_on(&mut self, status: Option<Status>, is_standby: bool) -> bool {
        let startup = startup(self.postmaster);
        self.has_begun |= startup.is_some();
        let work = if is_standby {
            Work::Standby(startup.and_then(|s| s.place()).max(self.farthest()))
        } else {
            Work::Recovery(startup)
        };
        let trace = Some(Trace { status, work });
        if self.seen != trace {
            self.seen = trace;
            self.changed = Instant::now();
        }
        self.has_begun && self.changed.elapsed() < self.patience
    }

    fn farthest(&self) -> Option<u64> {
        match self.seen.as_ref()?.work {
            Work::Standby(place) => place,
            Work::Recovery(_) => None,
        }
    }
}

impl Startup {
    /// The number of the segment in its title, without the timeline, because the process tries
    /// several timelines.
    fn place(&self) -> Option<u64> {
        let title = std::str::from_utf8(&self.title).ok()?;
        let name = title.trim_end_matches(['\0', ' ']).rsplit(' ').next()?;
        u64::from_str_radix(name.get(8..24)?, 16).ok()
    }
}

/// The process that replays the log calls itself `postgres: startup recovering
/// 0000000100000000000000A7`.
#[cfg(all(target_os = "linux", not(pg_portable)))]
fn startup(postmaster: Pid) -> Option<Startup> {
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

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
fn startup(_postmaster: Pid) -> Option<Startup> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_that_of_the_title() {
        let place = |title: &str| {
            let startup = Startup {
                title: title.as_bytes().to_vec(),
                cpu_ticks: 0,
                io: Vec::new(),
            };
            startup.place()
        };
        let recovering = "postgres: startup recovering 0000000100000002000000A7\0\0\0";
        assert_eq!(place(recovering), Some(0x2_0000_00a7));
        let named = "postgres: main: startup   waiting for 0000000300000002000000A7";
        assert_eq!(place(named), place(recovering));
        for none in ["postgres: startup", "", "postgres: startup recovering 0000"] {
            assert_eq!(place(none), None);
        }
    }
}
