//! Bringing programs and servers to life, and owning them.

pub(crate) mod command;
pub(crate) mod foreground;
pub(crate) mod log;
pub(crate) mod ownership;
pub(crate) mod passage;
pub(crate) mod run;
pub(crate) mod server;
pub(crate) mod spawn_error;
pub(crate) mod stop_plan;
pub(crate) mod supervised;
pub(crate) mod tail;
pub(crate) mod tenancy;
mod usable;
