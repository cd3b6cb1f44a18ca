//! Checks whether programs can be started as an account.

use nix::unistd::Uid;

use crate::account::{Account, AccountError};
use crate::sys;

impl Account {
    /// Checks that this process can start programs as this account and give files to it. A process
    /// with user ID 0 does not always have all rights of root.
    ///
    /// # Errors
    ///
    /// Fails if the process lacks a right; the kind of the error names it. On systems other than
    /// Linux, and for a caller that is not root, the reason is reported when a program is started.
    pub fn require_usable(&self) -> Result<(), AccountError> {
        if self.is_current() || !Uid::effective().is_root() {
            return Ok(());
        }
        sys::limit_of_root(self.uid(), self.gid())
            .map_or(Ok(()), |kind| Err(AccountError::new(self.label(), kind)))
    }
}
