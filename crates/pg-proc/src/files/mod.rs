//! The files that a server writes: its lock files, its command line and its messages.

pub(crate) mod collected_log;
mod command_line;
pub(crate) mod configuration_problem;
pub(crate) mod control_data;
pub mod layout;
pub(crate) mod lsn;
pub(crate) mod pid_file;
pub(crate) mod postmaster_opts;
pub(crate) mod replication_problem;
pub(crate) mod server_message;
pub(crate) mod socket;
