//! The identity of a postmaster, its state, and its exit.

pub(crate) mod connection_info;
pub(crate) mod find;
pub(crate) mod handle;
pub(crate) mod orphans;
pub(crate) mod ping;
pub(crate) mod progress;
pub(crate) mod running;
pub(crate) mod shared_memory;
pub(crate) mod sockets;
pub(crate) mod suspend;
pub(crate) mod wait;
pub(crate) mod wait_error;
pub(crate) mod watcher;
