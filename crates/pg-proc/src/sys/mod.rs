//! System calls that need unsafe code or differ between platforms. The only module that may contain
//! `unsafe`.

#[cfg(target_os = "linux")]
mod events;
mod fork;
mod guard;
mod launch;
#[cfg(target_os = "linux")]
mod linux;
mod portable;
mod process;
mod shared_memory;
mod supervisor;
mod tenancy;

#[cfg(target_os = "linux")]
pub(crate) use events::DirectoryEvents;
#[cfg(test)]
pub(crate) use fork::succeeds_in_forked_process;
pub(crate) use fork::{above_standard, pipe, reap, reap_later, set_nonblocking};
pub(crate) use guard::{Errand, Place, Removal, launch_guard};
pub(crate) use launch::{
    LaunchError, Launched, Orders, Program, Report, Sink, Stage, Step, command, launch, send, write,
};
#[cfg(target_os = "linux")]
pub(crate) use linux::{children, cpu_ticks, orphans, postmaster_in};
pub(crate) use portable::is_attached_creator;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{DirectoryEvents, orphans, postmaster_in};
pub(crate) use process::{Evidence, Identity, Means, Process, identify};
pub(crate) use shared_memory::{DirectoryOf, Refusal, release};
pub(crate) use tenancy::{Vigil, make_fifo};
