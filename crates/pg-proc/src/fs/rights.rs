//! Acting with the rights of an account.

use crate::account::Account;
use crate::sys;

impl Account {
    /// Does something with the rights of this account, and no others, in the calling thread. None,
    /// and nothing is done, unless the caller is root, or if the system refuses or is not Linux.
    ///
    /// What a path of the account leads to, however it may change meanwhile, is then nothing that
    /// the account could not reach itself.
    pub fn with_rights<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        sys::with_rights_of(self.uid(), self.gid(), self.groups(), work)
    }
}
