//! What a server writes down: its lock files and its command line.

pub(crate) mod pid_file;
pub(crate) mod postmaster_opts;
pub(crate) mod socket;
