//! Controls local PostgreSQL clusters.

mod cluster;
mod command_line;
mod configuration_problem;
mod connection;
mod control;
mod control_data;
mod files;
mod init;
mod listening;
mod remove;
mod running;
mod settings;
mod start;
mod state;
mod stop;
mod temp;

pub use pg_install as install;
pub use pg_proc as proc;
pub use pgconf_parse as conf;

pub use pg_install::{Discovery, Installation, MajorVersion, Program, Request, Version};
pub use pg_proc::{Account, Log, Ownership, Pid, StopPlan};

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
pub use crate::running::Running;
pub use crate::settings::{
    SettingCheck, SettingHistory, SettingOrigin, SettingProblem, SettingProblemKind, Settings,
    SettingsError, SettingsErrorKind, Shadowed, Validation, Written,
};
pub use crate::start::{StartError, StartErrorKind, StartOptions, StartWait, Started};
pub use crate::state::{Readiness, State};
pub use crate::stop::{Escalation, StopError, StopErrorKind, StopMode, Stopped};
pub use crate::temp::{
    Keep, Listen, Storage, TempCluster, TempClusterBuilder, TempError, TempErrorKind,
};
