//! Touching a data directory safely: by descriptor, under a lock, and with a guard for its removal.

pub(crate) mod directory;
pub(crate) mod directory_lock;
pub(crate) mod entry;
pub(crate) mod guard;
pub(crate) mod locked_file;
pub(crate) mod regular_file;
pub(crate) mod replacement;
mod rights;
pub(crate) mod walk;
