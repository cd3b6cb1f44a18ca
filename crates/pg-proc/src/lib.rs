//! PostgreSQL server processes: `postmaster.pid`, identity, signals, spawning, waiting.

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
mod tenancy;
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
pub use tenancy::{Tenancy, Tenant};
pub use wait::{WaitError, WaitErrorKind};
