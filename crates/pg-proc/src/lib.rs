//! PostgreSQL server processes: `postmaster.pid`, identity, signals, spawning, waiting.
//!
//! This crate deals with processes. It does not search for installations, does not know the options
//! of `initdb`, and does not read `postgresql.conf`; `pg-cluster` combines all of that.
//!
//! * [`Postmaster::find`] returns what holds a data directory: for a running server, a handle
//!   whose [signals](Signal) and [waits](Postmaster::wait_gone) concern that process and no other.
//! * [`Command`] runs programs such as `initdb`, and starts servers: with dropped privileges, a
//!   clean environment, nothing inherited, and [bound](Ownership) to the process that starts them.
//! * [`DirectoryGuard`] removes directories when the process that owns them exits.
//! * [`ping`] asks a server over its socket; [`wire`] frames the messages of its protocol.
//! * [`Orphans`] and [`release_shared_memory`] deal with the processes and the shared memory of a
//!   killed server.
//!
//! ```
//! use pg_proc::{Found, Postmaster};
//!
//! match Postmaster::find("/nowhere/data")? {
//!     Found::Running(postmaster) => println!("process {}", postmaster.pid()),
//!     Found::Stale(stale) => println!("crashed: {}", stale.reason),
//!     Found::SingleUser(pid) => println!("single-user process {pid}"),
//!     Found::Unknown { pid, .. } => println!("process {pid} may be a server"),
//!     _ => println!("stopped"),
//! }
//! # Ok::<(), pg_proc::FindError>(())
//! ```
//!
//! # What is certain, and what is not
//!
//! A process ID alone identifies nothing: the kernel reuses it. On Linux a process is opened as a
//! pidfd before it is examined, so the result stays true of that process. The working directory of
//! a postmaster is its data directory. In addition, the postmaster made the shared memory of that
//! directory, as the kernel records, or runs a program that is a PostgreSQL server by its content.
//! A name proves nothing, and the calling process is never a postmaster. A process that may be the
//! server but cannot be examined is [`Found::Unknown`]: nothing is signalled, started or deleted
//! then.
//!
//! Linux before 5.3 has no pidfd, and some sandboxes forbid it: then the start time of the process
//! is compared before each signal. Without `/proc`, and on other systems, the shared memory and
//! `ps` are used instead: see [`Postmaster::find`]. [`Postmaster::find_portably`] uses only these
//! on Linux too.
//!
//! Root without CAP_SYS_PTRACE, as in most containers, may not examine processes of other accounts.
//! The calling thread then switches to the account of the process while it examines it.
//!
//! # Threads, forks and signals
//!
//! The first program or guard starts the warden: one process for each calling program, which starts
//! and watches everything else. On Linux the warden is the calling program, executed anew: an
//! initializer of this crate finds the environment variable `PG_PROC_WARDEN`, and `main` is not
//! reached. Where that is impossible (this crate in a library of another program, no `/proc`, other
//! systems), the caller is forked, and the child calls only async-signal-safe functions. Both work
//! from any thread of any program. The warden is not a child of the caller. SIGCHLD is left alone:
//! a caller may ignore it, or wait for children that it did not start.
//!
//! SIGPIPE is blocked in the calling thread while it writes into a pipe whose reader may have
//! exited.
//!
//! # Blocking
//!
//! Every function that waits takes a [`Deadline`]. Dropping a bound [`Server`] waits until the
//! server has exited, at most two seconds longer than its plan takes. Dropping a [`DirectoryGuard`]
//! waits at most five seconds.
//!
//! # Features
//!
//! `serde`: [`PidFile`], [`PostmasterOpts`] and what they contain can be serialized.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod account;
pub mod data_directory;
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
pub mod wire;

#[cfg(test)]
#[path = "../texts/mod.rs"]
mod texts;

pub use camino::{Utf8Path, Utf8PathBuf};

pub use account::{Account, AccountError, AccountErrorKind};
pub use deadline::Deadline;
pub use files::collected_log::{CollectedLog, read_log_tail};
pub use files::configuration_problem::ConfigurationProblem;
pub use files::control_data::{
    ControlData, ControlDataError, ControlDataErrorKind, ControlState, ParseControlStateError,
};
pub use files::lsn::{Lsn, ParseLsnError};
pub use files::pid_file::{PidFile, PidFileError, PidFileErrorKind, ServerKind, Status};
pub use files::postmaster_opts::{PostmasterOpts, PostmasterOptsError, PostmasterOptsErrorKind};
pub use files::replication_problem::{BackupProgress, ReplicationProblem, ReplicationProblemKind};
pub use files::server_message::{ServerMessage, Severity};
pub use files::socket::{MAX_SOCKET_PATH, SocketPath, SocketPathError};
pub use fs::directory::{Directory, MadeDirectory};
pub use fs::directory_lock::{DirectoryLock, LockError, LockErrorKind, TryLock, available_space};
pub use fs::entry::Entry;
pub use fs::guard::{DirectoryGuard, GuardError, GuardErrorKind, GuardOptions};
pub use fs::locked_file::{FileError, FileErrorKind, LockedFile};
pub use fs::regular_file::{open_any_file, open_regular_file, read_all, read_tail};
pub use fs::replacement::Replacement;
pub use fs::walk::ForeignLink;
pub use launch::command::Command;
pub use launch::foreground::run_in_foreground;
pub use launch::log::{Log, LogPart};
pub use launch::ownership::Ownership;
pub use launch::run::{Output, RunError, RunErrorKind};
pub use launch::server::{DetachError, Server, ServerOptions};
pub use launch::spawn_error::{SpawnError, SpawnErrorKind};
pub use launch::stop_plan::StopPlan;
pub use launch::tenancy::{Tenancy, Tenant};
pub use maker::Maker;
pub use pid::{Pid, PidError};
pub use postmaster::connection_info::{ConnectionInfo, Host, absolute_socket_directory};
pub use postmaster::find::{FindError, FindErrorKind, Found, Stale, StaleReason};
pub use postmaster::handle::Postmaster;
pub use postmaster::orphans::Orphans;
pub use postmaster::ping::{Endpoint, Ping, Rejection, ping};
pub use postmaster::running::RunningServer;
pub use postmaster::shared_memory::{
    Released, SharedMemoryError, SharedMemoryErrorKind, release_shared_memory,
};
pub use postmaster::sockets::{TakenAddress, bystander_of_socket, remove_dead_socket};
pub use postmaster::suspend::{SuspendError, SuspendErrorKind, Suspended};
pub use postmaster::wait_error::{WaitError, WaitErrorKind};
pub use shared_memory_id::SharedMemoryId;
pub use signal::{Signal, SignalError, SignalErrorKind};
pub use sys::interface_addresses;
