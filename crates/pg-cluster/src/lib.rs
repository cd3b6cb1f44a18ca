//! Controls local PostgreSQL clusters: [`Cluster`] is an installation and a data directory, and has
//! a method for everything that can be done with the two.
//!
//! It is not a client library and speaks to no server beyond starting and signalling it:
//! [`Cluster::connection_info`] tells clients where to go. Temporary clusters for tests are in the crate
//! `pg-fixture`, which is built on this one.
//!
//! ```no_run
//! use pg_cluster::{Cluster, InitOptions, Installation, Request, StartOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let installation = Installation::find(&Request::any())?;
//! let cluster = Cluster::new(installation, "data")?;
//! cluster.init(&InitOptions::new())?;
//! // Where the socket goes unless told otherwise often belongs to the system's server, as on Debian.
//! let options = StartOptions::new().socket_directory(cluster.data_directory());
//! let running = cluster.running(&options)?;
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
//! A server that this crate starts ends with the program that started it, however that ends, unless
//! it is
//! [detached](Ownership::Detached). Signals reach the identified server or nobody. Settings change atomically and exactly. Data is
//! removed by [`Cluster::remove`] alone.
//!
//! # Limitations
//!
//! Unix only; servers of this machine only. Servers before PostgreSQL 10 are not supported here,
//! though the crates below understand their files.
//!
//! # Features
//!
//! `serde`: the feature of the same name in the three crates below. Nothing is enabled by default.
//!
//! # The crates below
//!
//! [`conf`] edits configuration files, [`install`] finds installations, [`proc`] deals with
//! processes. All of their types that appear in this crate's signatures are re-exported, so that
//! one dependency is enough.

mod access;
mod cluster;
mod command_line;
mod configuration_problem;
mod connection;
mod control;
mod control_data;
mod files;
mod init;
mod listening;
mod locked_file;
mod log_file;
mod parts;
mod remove;
mod report;
mod running;
mod settings;
mod start;
mod state;
mod stop;
#[cfg(test)]
mod texts;

pub use pg_install as install;
pub use pg_proc as proc;
pub use pgconf_parse as conf;

pub use pg_install::{Discovery, Installation, MajorVersion, Program, Request, Version};
pub use pg_proc::{Account, Log, Ownership, Pid, ServerMessage, Severity, Signal, StopPlan};

pub use camino::{Utf8Path, Utf8PathBuf};

pub use crate::access::{
    AccessDecision, AccessError, AccessErrorKind, AccessLine, AccessProblem, AccessRule, Hba,
    Ident, MappingDecision,
};
pub use crate::cluster::{Cluster, ClusterError};
pub use crate::configuration_problem::ConfigurationProblem;
pub use crate::connection::{ConnectionInfo, Host};
pub use crate::control::{ControlError, ControlErrorKind, Reloaded, RestartError};
pub use crate::control_data::{ControlData, ControlDataError, ControlDataErrorKind, ControlState};
pub use crate::init::{
    DataChecksums, DirectoryAccess, Durability, InitError, InitErrorKind, InitOptions, Locale,
    LocaleCategory, LocaleProvider,
};
pub use crate::remove::{RemoveError, RemoveErrorKind};
pub use crate::report::Report;
pub use crate::running::Running;
pub use crate::settings::{
    SettingCheck, SettingHistory, SettingOrigin, SettingProblem, SettingProblemKind, Settings,
    SettingsError, SettingsErrorKind, Shadowed, Validation, Written,
};
pub use crate::start::{
    StartError, StartErrorKind, StartOptions, StartWait, Started, TakenAddress,
};
pub use crate::state::{Readiness, State};
pub use crate::stop::{Escalation, StopError, StopErrorKind, StopMode, Stopped};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
