//! PostgreSQL server processes: `postmaster.pid`, identity, signals, spawning, waiting.
//!
//! [`Postmaster::find`] tells what holds a data directory, and identifies a server that does, which then can be signalled and waited for.
//! [`Command::spawn_server`] starts one, as another [`Account`] if need be, with an [`Ownership`] that says what becomes of it when
//! the caller ends. [`PidFile`], [`PostmasterOpts`] and [`SocketPath`] read what servers leave on disk, and [`ping()`] asks them whether they accept
//! connections. It is no client, edits no configuration and runs no `initdb` by itself.
//!
//! ```no_run
//! use std::time::Duration;
//! use pg_proc::{Found, Postmaster, Signal};
//!
//! if let Found::Running(postmaster) = Postmaster::find("/srv/app/data".into())? {
//!     postmaster.send(Signal::Fast)?;
//!     postmaster.wait_gone(Duration::from_secs(60))?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! A signal reaches the identified server or nobody: see [`Postmaster`] for what that rests on. A server that is not
//! [detached](Ownership::Detached) ends with its owner, however that ends. Everything that waits takes a [`Deadline`]. Nothing panics, whatever a
//! file holds.
//!
//! # Limitations
//!
//! Unix only. On Linux processes are held by pidfd and waited for by inotify; elsewhere, or where a sandbox forbids these,
//! identity is checked again before each signal and waiting is adaptive polling.
//!
//! # Features
//!
//! `serde`: `Serialize` and `Deserialize` for what is read from files.

#[macro_use]
mod error;

mod account;
mod command;
mod deadline;
mod directory_lock;
mod find;
mod guard;
mod log;
mod orphans;
mod ownership;
mod pid;
mod pid_file;
mod ping;
mod postmaster;
mod postmaster_opts;
mod progress;
mod run;
mod server;
mod shared_memory;
mod signal;
mod socket;
mod spawn_error;
mod supervised;
#[allow(unsafe_code)]
#[allow(
    clippy::unnecessary_cast,
    reason = "the types of C differ between platforms"
)]
mod sys;
mod wait;

pub use account::{Account, AccountError, AccountErrorKind};
pub use command::Command;
pub use deadline::Deadline;
pub use directory_lock::{DirectoryLock, LockError, LockErrorKind, TryLock, available_space};
pub use find::{FindError, FindErrorKind, Found, Stale, StaleReason};
pub use guard::{DirectoryGuard, GuardError, GuardErrorKind, GuardOptions};
pub use log::Log;
pub use orphans::Orphans;
pub use ownership::{Ownership, StopPlan};
pub use pid::{Pid, PidError};
pub use pid_file::{PidFile, PidFileError, PidFileErrorKind, ServerKind, SharedMemoryId, Status};
pub use ping::{Endpoint, Ping, Rejection, ping};
pub use postmaster::Postmaster;
pub use postmaster_opts::{PostmasterOpts, PostmasterOptsError, PostmasterOptsErrorKind};
pub use run::{Output, RunError, RunErrorKind};
pub use server::{DetachError, Server, ServerOptions};
pub use shared_memory::{
    Released, SharedMemoryError, SharedMemoryErrorKind, release_shared_memory,
};
pub use signal::{Signal, SignalError, SignalErrorKind};
pub use socket::{MAX_SOCKET_PATH, SocketPath, SocketPathError};
pub use spawn_error::{SpawnError, SpawnErrorKind};
pub use wait::{WaitError, WaitErrorKind};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
