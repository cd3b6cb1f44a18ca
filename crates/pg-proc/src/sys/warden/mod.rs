//! The warden: one process for each program, which watches all of its servers and directories.
//!
//! ```text
//! owner ──execs itself──> warden ──fork, exec──> postgres, initdb, ...
//!       ────control─────>        ──fork────────> removal of directories
//!       ────lifelines───>        ──reports─────> owner
//! ```
//!
//! As the parent of a program the warden can signal it without the risk of reaching another
//! process: the process ID is not reused until the warden itself has reaped it. The lifelines are
//! closed when the owner exits for any reason, and the warden then stops the bound programs. On
//! Linux the warden also adopts the child processes left behind by a crashed postmaster, so it
//! knows for certain when all have exited.
//!
//! When there has been nothing to watch for a second it exits; the next order starts another one.
//!
//! If the warden itself is killed, the kernel sends each bound program a signal on Linux. (The
//! kernel ties this signal to the parent's thread, and the warden has only one.) On other systems
//! such a server keeps running.
//!
//! [`start`] is about how it comes to be. The owner's side of its orders is in [`order`] and
//! [`errand`], the warden's in [`serve`], [`program`], [`users`] and [`guarding`]; both speak
//! [`protocol`]. All that the
//! warden runs is async-signal-safe and allocates nothing, since it may have been forked from a
//! program with many threads.

pub(crate) mod errand;
mod guarding;
pub(crate) mod order;
mod payload;
mod program;
pub(crate) mod protocol;
mod serve;
#[cfg(all(target_os = "linux", not(pg_portable)))]
mod shed;
mod sigpipe;
mod start;
pub(crate) mod users;
