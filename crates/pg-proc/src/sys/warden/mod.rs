//! The warden: one process for each program, which watches all of its servers and directories.
//!
//! ```text
//! owner ──execs itself──> warden ──fork, exec──> postgres, initdb, ...
//!       ────control─────>        ──fork────────> removal of directories
//!       ────lifelines───>        ──reports─────> owner
//! ```
//!
//! As the parent of a program the warden can signal it without a doubt about whom it hits: the
//! process ID is taken until the warden itself has waited for it. It sees the owner exit by the end
//! of the lifelines, however the owner exits, and stops what is bound to them then. On Linux it also
//! adopts the child processes that a crashed postmaster leaves behind, so that "all gone" is a fact
//! and not a guess.
//!
//! When there has been nothing to watch for a second it exits; the next order starts another one.
//!
//! Should the warden itself be killed, the kernel sends each bound program a signal (Linux; that
//! this is tied to a thread does not matter for a process with one thread). Elsewhere such a server
//! would be left behind.
//!
//! [`start`] is about how it comes to be. The owner's side of its orders is in [`order`] and
//! [`errand`], the warden's in [`serve`], [`program`], [`users`] and [`errand`] too. All that the
//! warden runs is async-signal-safe and allocates nothing, since it may have been forked from a
//! program with many threads.

pub(crate) mod errand;
pub(crate) mod order;
mod payload;
mod program;
mod serve;
#[cfg(all(target_os = "linux", not(pg_portable)))]
mod shed;
mod start;
pub(crate) mod users;
