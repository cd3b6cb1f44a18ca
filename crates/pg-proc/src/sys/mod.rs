//! System calls that need unsafe code or differ between platforms. The only module that may contain
//! `unsafe`.

#[cfg(target_os = "linux")]
mod borrowed;
#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
mod executable;
mod fork;
mod guard;
mod launch;
#[cfg(target_os = "linux")]
mod linux;
mod portable;
mod process;
mod segments;
mod shared_memory;
mod supervisor;
mod tenancy;

#[cfg(target_os = "linux")]
pub(crate) use events::DirectoryEvents;
pub(crate) use fork::{above_standard, pipe, reap, reap_later, set_nonblocking};
pub(crate) use guard::{Errand, Removal, launch_guard};
pub(crate) use launch::{
    LaunchError, Launched, Orders, Program, Report, Sink, Stage, Step, command, launch, send, write,
};
#[cfg(target_os = "linux")]
pub(crate) use linux::{children, cpu_ticks, is_single_user, orphans, postmaster_in};
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{DirectoryEvents, is_single_user, orphans, postmaster_in};
pub(crate) use process::{DirectoryId, Evidence, Identity, Means, Process, identify};
pub(crate) use segments::{MadeFor, Segment, segments_by_key, segments_for};
pub(crate) use shared_memory::{DirectoryOf, Refusal, release};
pub(crate) use tenancy::{Vigil, make_fifo};
