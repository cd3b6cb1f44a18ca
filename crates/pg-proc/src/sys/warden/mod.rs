//! The warden: one process for each program, which watches all of its servers and directories.
//!
//! ```text
//! owner ──execs itself──> warden ──fork, exec──> postgres, initdb, ...
//!       ────control─────>        ──fork────────> removal of directories
//!       ────lifelines───>        ──reports─────> owner
//! ```
//!
//! As the parent of a program the warden can signal it without a doubt about whom it hits: the
//! process ID stays taken until the warden itself has waited for it. The lifelines end when the
//! owner exits, however it exits, and the warden then stops what is bound to them. On Linux the
//! warden also adopts the child processes that a crashed postmaster leaves behind, so that "all
//! gone" is a fact and not a guess.
//!
//! When there has been nothing to watch for a second it exits; the next order starts another one.
//!
//! Should the warden itself be killed, the kernel sends each bound program a signal (Linux; that
//! this is tied to a thread does not matter for a process with one thread). Elsewhere such a server
//! would be left behind.
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
