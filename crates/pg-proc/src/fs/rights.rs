//! Acting with the rights of an account.

use crate::account::Account;
use crate::sys;

impl Account {
    /// Calls a function in the calling thread with the rights of this account and no others. None,
    /// without calling it, if the caller is not root, the system refuses, or the system is not
    /// Linux.
    ///
    /// A path of the account can then lead only to files that the account itself could reach,
    /// however the path changes meanwhile.
    pub fn with_rights<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        sys::with_rights_of(self.uid(), self.gid(), self.groups(), work)
    }
}
