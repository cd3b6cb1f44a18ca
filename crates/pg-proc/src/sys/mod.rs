//! System calls that need unsafe code or differ between platforms. The only module that may contain
//! `unsafe`.

#[cfg(target_os = "linux")]
mod borrowed;
#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
mod executable;
mod fork;
mod interfaces;
#[cfg(target_os = "linux")]
mod linux;
mod listener;
mod portable;
mod process;
mod segments;
mod shared_memory;
mod warden;

#[cfg(target_os = "linux")]
pub(crate) use events::DirectoryEvents;
#[cfg(test)]
pub(crate) use fork::succeeds_in_forked_process;
pub(crate) use fork::{above_standard, pipe, set_nonblocking};
pub use interfaces::interface_addresses;
#[cfg(target_os = "linux")]
pub(crate) use linux::{
    children, cpu_ticks, is_single_user, is_suspended, limit_of_root, orphans, postmaster_in,
    titles_of_children,
};
pub use listener::tcp_listener;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{
    DirectoryEvents, is_single_user, is_suspended, limit_of_root, orphans, postmaster_in,
    titles_of_children,
};
pub(crate) use process::{DirectoryId, Evidence, Identity, Means, Process, identify};
pub(crate) use segments::{MadeFor, Segment, segments_by_key, segments_for};
pub(crate) use shared_memory::{DirectoryOf, Refusal, release};
pub(crate) use warden::errand::{Errand, Place, Removal, guard};
pub(crate) use warden::order::{
    LaunchError, Launched, Orders, Program, Report, Sink, Stage, Step, command, launch, send, write,
};
pub(crate) use warden::users::{Vigil, make_fifo};
