//! Controls local PostgreSQL clusters: [`Cluster`] is an installation and a data directory, and has
//! a method for everything that can be done with the two.
//!
//! It is not a client library: [`Cluster::connection_info`] returns the address for clients.
//! Temporary clusters for tests are in the crate `pg-fixture`, which is built on this one.
//!
//! ```no_run
//! use pg_cluster::{Cluster, InitOptions, Installation, Request, StartOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let installation = Installation::find(&Request::any())?;
//! let cluster = Cluster::new(installation, "data")?;
//! cluster.init(&InitOptions::new())?;
//! // The default directory of the socket often belongs to the system's server, as on Debian.
//! let options = StartOptions::new().socket_directory(cluster.data_directory());
//! let running = cluster.run_scoped(&options)?;
//! if let Some(address) = cluster.connection_info()? {
//!     println!("{}", address.with_user("postgres").uri());
//! }
//! running.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! A server that this crate starts is stopped when the program that started it exits for any
//! reason, unless it is [detached](Ownership::Detached). A signal reaches the identified server or
//! no process. Changes of settings are atomic and change no other byte. Only [`Cluster::remove`]
//! removes data.
//!
//! # Limitations
//!
//! Unix only, and servers of this machine only. Servers before PostgreSQL 10 are not supported,
//! although the crates below read their files.
//!
//! # Features
//!
//! `serde` enables the feature of the same name in the three crates below. No feature is enabled by
//! default.
//!
//! # The crates below
//!
//! [`conf`] edits configuration files, [`install`] finds installations, and [`proc`] controls
//! processes. The types for everyday use are re-exported here. All others are in these three
//! modules, so one dependency is enough.

mod access;
mod cluster;
mod control;
mod control_error;
mod files;
mod init;
mod listening;
mod log;
mod parts;
mod remove;
mod replication;
mod report;
mod running;
mod settings;
mod start;
mod state;
mod stop;
#[cfg(test)]
#[path = "../texts/mod.rs"]
mod texts;

pub use pg_install as install;
pub use pg_proc as proc;
pub use pgconf_parse as conf;

pub use pg_install::{Discovery, Installation, MajorVersion, Program, Request, Version};
pub use pg_proc::{
    Account, BackupProgress, ConfigurationProblem, ConnectionInfo, ControlData, ControlState,
    FileErrorKind, Host, Log, Lsn, Ownership, Pid, ReplicationProblem, ReplicationProblemKind,
    ServerMessage, Severity, Signal, StopPlan, TakenAddress,
};

pub use camino::{Utf8Path, Utf8PathBuf};

pub use crate::access::{
    AccessDecision, AccessDocument, AccessError, AccessErrorKind, AccessFile, AccessLine,
    AccessProblem, AccessRule, Hba, Ident, MappingDecision,
};
pub use crate::cluster::{Cluster, ClusterError, ClusterErrorKind};
pub use crate::control::Reloaded;
pub use crate::control_error::{ControlError, ControlErrorKind};
pub use crate::init::{
    DataChecksums, DirectoryAccess, Durability, InitError, InitErrorKind, InitOptions, Locale,
    LocaleCategory, LocaleProvider,
};
pub use crate::log::{LogError, LogErrorKind, LogExcerpt, LogMark};
pub use crate::remove::{RemoveError, RemoveErrorKind};
pub use crate::replication::{
    BackupCompression, BaseBackupOptions, ReplicationError, ReplicationErrorKind, ReplicationRole,
    RewindOptions,
};
pub use crate::report::Report;
pub use crate::running::Running;
pub use crate::settings::{
    SettingCheck, SettingHistory, SettingOrigin, SettingProblem, SettingProblemKind, Settings,
    SettingsError, SettingsErrorKind, Shadowed, Validation, Written,
};
pub use crate::start::{StartError, StartErrorKind, StartOptions, StartWait, Started};
pub use crate::state::{Readiness, State};
pub use crate::stop::Stopped;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
