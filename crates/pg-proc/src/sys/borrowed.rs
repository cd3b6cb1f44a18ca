//! Acting as another account for a moment, in one thread.
//!
//! Root in a container often has neither CAP_SYS_PTRACE, which it takes to look at processes of
//! other accounts, nor CAP_IPC_OWNER and CAP_SYS_ADMIN, which it takes to read and remove their
//! shared memory. It may become those accounts, though.

use nix::libc::{self, c_int, c_long};

/// The effective user and group of another account, for the calling thread and as long as this
/// lives. Async-signal-safe.
///
/// The kernel has credentials for each thread; the functions of the C library, which change those
/// of all threads, are not used. A change makes the process undumpable, cancels the thread's
/// parent-death signal, and the way back gives root all capabilities that it may have: all of that
/// is restored.
pub(super) struct Borrowed {
    user: libc::uid_t,
    group: libc::gid_t,
    capabilities: Capabilities,
    dumpable: c_int,
    death_signal: c_int,
}

#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
use libc::{
    SYS_setgroups as SET_SUPPLEMENTARY, SYS_setresgid as SET_GROUPS, SYS_setresuid as SET_USERS,
};
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
use libc::{
    SYS_setgroups32 as SET_SUPPLEMENTARY, SYS_setresgid32 as SET_GROUPS,
    SYS_setresuid32 as SET_USERS,
};

const UNCHANGED: c_long = -1;

impl Borrowed {
    /// None if the system refuses, or if the calling thread could not restore its own rights
    /// afterwards.
    pub(super) fn account(user: libc::uid_t, group: Option<libc::gid_t>) -> Option<Self> {
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        let mut death_signal: c_int = 0;
        // SAFETY: valid places for numbers, and numbers.
        let before = unsafe {
            libc::getresuid(&mut real, &mut effective, &mut saved);
            if user == effective || (real != effective && saved != effective) {
                return None;
            }
            libc::prctl(libc::PR_GET_PDEATHSIG, &mut death_signal);
            Self {
                user: effective,
                group: libc::getegid(),
                capabilities: Capabilities::get()?,
                dumpable: libc::prctl(libc::PR_GET_DUMPABLE),
                death_signal,
            }
        };
        // The group first: the user has no right to change it. A failure drops what was changed.
        let has_group = group.is_none_or(|group| set(SET_GROUPS, group));
        (has_group && set(SET_USERS, user)).then_some(before)
    }
}

impl Drop for Borrowed {
    /// Aborts the process rather than continue with the rights of another account.
    fn drop(&mut self) {
        set(SET_USERS, self.user);
        set(SET_GROUPS, self.group);
        self.capabilities.set();
        // SAFETY: numbers only.
        unsafe {
            if libc::geteuid() != self.user || libc::getegid() != self.group {
                libc::abort();
            }
            if self.dumpable == 1 {
                libc::prctl(libc::PR_SET_DUMPABLE, 1);
            }
            if self.death_signal != 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, self.death_signal);
            }
        }
    }
}

/// Calls a function in the calling thread with all the rights of another account, and no others.
/// None if the system refuses.
pub(crate) fn with_rights_of<T>(
    user: libc::uid_t,
    group: libc::gid_t,
    groups: &[libc::gid_t],
    work: impl FnOnce() -> T,
) -> Option<T> {
    // Returned last: the user that was borrowed has no right to change them.
    let _groups = Groups::borrow(groups)?;
    let _account = Borrowed::account(user, Some(group))?;
    Some(work())
}

/// The supplementary groups that the calling thread had before.
struct Groups(Vec<libc::gid_t>);

impl Groups {
    fn borrow(groups: &[libc::gid_t]) -> Option<Self> {
        // SAFETY: only counts.
        let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
        let mut own = vec![0; usize::try_from(count).ok()?];
        // SAFETY: the array has as many elements as the length that is passed.
        let count = unsafe { libc::getgroups(count, own.as_mut_ptr()) };
        own.truncate(usize::try_from(count).ok()?);
        Self::set(groups).then_some(Self(own))
    }

    /// Changes the calling thread only: the C library would change all threads.
    fn set(groups: &[libc::gid_t]) -> bool {
        // SAFETY: the array has as many elements as the length that is passed.
        unsafe { libc::syscall(SET_SUPPLEMENTARY, groups.len(), groups.as_ptr()) == 0 }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        if !Self::set(&self.0) {
            // SAFETY: ends the process rather than go on with the groups of another account.
            unsafe { libc::abort() };
        }
    }
}

/// The sets of the calling thread (`struct __user_cap_data_struct`, twice).
struct Capabilities([u32; 6]);

impl Capabilities {
    /// `_LINUX_CAPABILITY_VERSION_3`, and the calling thread.
    const HEADER: [u32; 2] = [0x2008_0522, 0];

    fn get() -> Option<Self> {
        let (mut header, mut sets) = (Self::HEADER, [0; 6]);
        // SAFETY: both have the size and the layout that this version asks for.
        let got =
            unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
        (got == 0).then_some(Self(sets))
    }

    fn set(&self) {
        let mut header = Self::HEADER;
        // SAFETY: as above; the sets are only read.
        unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), self.0.as_ptr()) };
    }
}

/// Sets the effective number, and leaves the real and the saved one.
fn set(call: c_long, effective: u32) -> bool {
    // SAFETY: numbers only; it concerns the calling thread.
    unsafe { libc::syscall(call, UNCHANGED, c_long::from(effective as i32), UNCHANGED) == 0 }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::sys::fork::{outcome_in_forked_process, refuse, succeeds_in_forked_process};

    /// A sandbox that takes effect in between may refuse the way back.
    #[test]
    fn no_thread_keeps_the_rights_of_another_account() {
        // SAFETY: a number.
        let is_root = unsafe { libc::geteuid() } == 0;
        let outcome = outcome_in_forked_process(|| {
            if let Some(borrowed) = Borrowed::account(4711, Some(4711)) {
                refuse(SET_USERS);
                drop(borrowed);
            }
        });
        let aborted = outcome.is_some_and(|status| {
            libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT
        });
        assert_eq!(aborted, is_root, "{outcome:?}");
        // A refusal before any change is not a reason to abort.
        assert!(succeeds_in_forked_process(|| {
            refuse(SET_USERS);
            assert!(Borrowed::account(4711, Some(4711)).is_none());
        }));
    }

    /// With the rights of an account, files of root cannot be read, not even through root's groups.
    #[test]
    fn rights_are_those_of_the_account_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let file = directory.path().join("of root's group");
        std::fs::write(&file, "secret").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let read = || std::fs::read(&file).is_ok();
        // SAFETY: a number.
        let is_root = unsafe { libc::geteuid() } == 0;
        let outcome = outcome_in_forked_process(|| {
            if is_root {
                assert!(Groups::set(&[0]));
            }
            let expected = is_root.then_some(false);
            assert_eq!(with_rights_of(4711, 4711, &[4711], read), expected);
            assert!(read());
        });
        assert_eq!(outcome, Some(0));
    }

    /// Requires root: other users have no rights to borrow.
    #[test]
    fn everything_is_returned() {
        // SAFETY: numbers only.
        let state = || unsafe {
            let mut signal: c_int = 0;
            libc::prctl(libc::PR_GET_PDEATHSIG, &mut signal);
            let dumpable = libc::prctl(libc::PR_GET_DUMPABLE);
            let sets = Capabilities::get().unwrap().0;
            (libc::geteuid(), libc::getegid(), dumpable, signal, sets)
        };
        // It may have a capability and not use it.
        let mut fewer = Capabilities::get().unwrap();
        fewer.0[0] &= !1;
        fewer.set();
        // SAFETY: as above.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGURG) };
        let before = state();
        let other = 4711;
        let borrowed = Borrowed::account(other, Some(other));
        assert_eq!(borrowed.is_some(), before.0 == 0);
        if borrowed.is_some() {
            assert_eq!((state().0, state().1), (other, other));
            // The main thread keeps what it is.
            let main = std::fs::read_to_string("/proc/self/status").unwrap();
            assert!(main.contains("\nUid:\t0\t0\t0\t0\n"), "{main}");
        }
        drop(borrowed);
        assert_eq!(state(), before);
    }
}
