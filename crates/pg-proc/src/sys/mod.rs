//! System calls that need unsafe code or differ between platforms. The only module that may contain
//! `unsafe`.

#[cfg(all(target_os = "linux", not(pg_portable)))]
mod borrowed;
#[cfg(all(target_os = "linux", not(pg_portable)))]
mod events;
#[cfg(all(target_os = "linux", not(pg_portable)))]
mod executable;
pub(crate) mod foreground;
mod fork;
mod interfaces;
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
))]
mod kqueue;
#[cfg(all(target_os = "linux", not(pg_portable)))]
mod linux;
mod listener;
mod listing;
mod own_thread;
mod portable;
mod process;
mod segments;
#[cfg(all(target_os = "linux", not(pg_portable)))]
mod servers;
mod shared_memory;
mod warden;

#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(crate) use borrowed::with_rights_of;
#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(crate) use events::DirectoryEvents;
#[cfg(test)]
pub(crate) use fork::succeeds_in_forked_process;
pub(crate) use fork::{above_standard, pipe, set_nonblocking};
pub use interfaces::interface_addresses;
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
))]
pub(crate) use kqueue::DirectoryEvents;
#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(crate) use linux::{
    children, cpu_ticks, is_single_user, is_suspended, limit_of_root, open_children, orphans,
    postmaster_in, titles_of_children,
};
pub(crate) use listener::tcp_listener;
pub(crate) use own_thread::spawn_with;
#[cfg(all(target_os = "linux", pg_portable))]
pub(crate) use portable::DirectoryEvents;
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(crate) use portable::{
    is_single_user, is_suspended, limit_of_root, open_children, orphans, postmaster_in,
    titles_of_children, with_rights_of,
};
pub(crate) use process::{DirectoryId, Evidence, Identity, Means, Process, identify};
pub(crate) use segments::{MadeFor, Segment, segments_by_key, segments_for};
#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(crate) use servers::servers;
pub(crate) use shared_memory::{DirectoryOf, Refusal, release};
pub(crate) use warden::errand::{Errand, Place, Removal, guard};
pub(crate) use warden::order::{LaunchError, Launched, Orders, Program, Sink, launch, send, write};
pub(crate) use warden::protocol::{Report, Stage, Step, command};
pub(crate) use warden::users::{Vigil, make_fifo};
