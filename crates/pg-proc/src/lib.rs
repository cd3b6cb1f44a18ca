//! PostgreSQL server processes: `postmaster.pid`, identity, signals, spawning, waiting.
//!
//! This crate is about processes. It does not look for installations, knows no options of `initdb`,
//! and does not read `postgresql.conf`; `pg-cluster` puts all of that together.
//!
//! * [`Postmaster::find`] tells what holds a data directory, and gives a handle of a running
//!   server: identified, so that [signals](Signal) and [waits](Postmaster::wait_gone) are about
//!   that process and no other.
//! * [`Command`] runs programs such as `initdb`, and starts servers: with dropped privileges, a
//!   clean environment, nothing inherited, and [bound](Ownership) to the process that starts them.
//! * [`DirectoryGuard`] removes directories when their owner ends.
//! * [`ping`] asks a server over its socket; [`wire`] frames the messages of its protocol.
//! * [`Orphans`] and [`release_shared_memory`] are about what a killed server leaves behind.
//!
//! ```
//! use pg_proc::{Found, Postmaster};
//!
//! match Postmaster::find("/nowhere/data")? {
//!     Found::Running(postmaster) => println!("process {}", postmaster.pid()),
//!     Found::Stale(stale) => println!("crashed: {}", stale.reason),
//!     Found::SingleUser(pid) => println!("single-user process {pid}"),
//!     Found::OtherUsers { pid, .. } => println!("process {pid} of another user"),
//!     _ => println!("stopped"),
//! }
//! # Ok::<(), pg_proc::FindError>(())
//! ```
//!
//! # What is certain, and what is not
//!
//! A process ID says nothing: it is given out again. On Linux a process is held by a pidfd first and
//! looked at second, so what was found out stays true of it. A postmaster works in its data
//! directory, and either made the shared memory of that directory, as the kernel records, or runs a
//! program that is a PostgreSQL server by its content. A name proves nothing, and the calling
//! process is never a postmaster. What cannot be determined is [`Found::OtherUsers`]: nothing is
//! signalled, started or deleted then.
//!
//! Linux before 5.3 has no pidfd, and some sandboxes forbid it: then the time at which the process
//! began is compared before each signal. Without `/proc`, and on other systems, the shared memory
//! and `ps` have to do: see [`Postmaster::find`]. [`Postmaster::find_portably`] does without on
//! Linux too.
//!
//! Root without CAP_SYS_PTRACE, as in most containers, may not look at processes of other accounts.
//! The calling thread then takes on the account of the process for the moment of the look.
//!
//! # Threads, forks and signals
//!
//! The first program or guard starts the warden: one process for each program, which starts and
//! watches everything else. On Linux it is the program itself, executed anew: an initializer of
//! this crate sees the environment variable `PG_PROC_WARDEN`, and `main` is never reached. Where
//! that cannot be (this crate in a library of another program, no `/proc`, other systems) the
//! caller is forked, and what runs then calls nothing but async-signal-safe functions. Either way
//! any thread of any program may do it. The warden is not a child of the caller. SIGCHLD is left
//! alone. A caller that ignores it, or that waits for children it did not start, takes away nothing
//! that is needed here.
//!
//! SIGPIPE is blocked in the calling thread while a pipe is written whose reader may be gone.
//!
//! # Blocking
//!
//! Everything that waits takes a [`Deadline`]. Dropping a bound [`Server`] waits for its end, at
//! most two seconds longer than its plan takes; dropping a [`DirectoryGuard`] waits five seconds at
//! most.
//!
//! # Features
//!
//! `serde`: [`PidFile`], [`PostmasterOpts`] and what they contain can be serialized.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[macro_use]
mod error;

mod account;
mod deadline;
mod files;
mod fs;
mod launch;
mod maker;
mod pid;
mod postmaster;
mod shared_memory_id;
mod signal;
#[allow(unsafe_code)]
#[allow(
    clippy::unnecessary_cast,
    reason = "the types of C differ between platforms"
)]
mod sys;
#[cfg(test)]
mod texts;
pub mod wire;

pub use camino::{Utf8Path, Utf8PathBuf};

pub use account::{Account, AccountError, AccountErrorKind};
pub use deadline::Deadline;
pub use files::pid_file::{PidFile, PidFileError, PidFileErrorKind, ServerKind, Status};
pub use files::postmaster_opts::{PostmasterOpts, PostmasterOptsError, PostmasterOptsErrorKind};
pub use files::server_message::{ServerMessage, Severity};
pub use files::socket::{MAX_SOCKET_PATH, SocketPath, SocketPathError};
pub use fs::directory::{Directory, MadeDirectory};
pub use fs::directory_lock::{DirectoryLock, LockError, LockErrorKind, TryLock, available_space};
pub use fs::entry::Entry;
pub use fs::guard::{DirectoryGuard, GuardError, GuardErrorKind, GuardOptions};
pub use fs::regular_file::{open_regular_file, read_all, read_tail};
pub use fs::replacement::Replacement;
pub use fs::walk::ForeignLink;
pub use launch::command::Command;
pub use launch::log::Log;
pub use launch::ownership::{Ownership, StopPlan};
pub use launch::run::{Output, RunError, RunErrorKind};
pub use launch::server::{DetachError, Server, ServerOptions};
pub use launch::spawn_error::{SpawnError, SpawnErrorKind};
pub use launch::tenancy::{Tenancy, Tenant};
pub use maker::Maker;
pub use pid::{Pid, PidError};
pub use postmaster::find::{FindError, FindErrorKind, Found, Stale, StaleReason};
pub use postmaster::handle::Postmaster;
pub use postmaster::orphans::Orphans;
pub use postmaster::ping::{Endpoint, Ping, Rejection, ping};
pub use postmaster::shared_memory::{
    Released, SharedMemoryError, SharedMemoryErrorKind, release_shared_memory,
};
pub use postmaster::sockets::remove_dead_socket;
pub use postmaster::wait_error::{WaitError, WaitErrorKind};
pub use shared_memory_id::SharedMemoryId;
pub use signal::{Signal, SignalError, SignalErrorKind};
pub use sys::{interface_addresses, tcp_listener};
