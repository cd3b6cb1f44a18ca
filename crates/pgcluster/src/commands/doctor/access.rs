//! The access of an account to a directory, by its permissions.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::Account;

/// Enter, by the execute bit.
pub(super) const ENTER: u32 = 1;
/// Create files in it and enter it.
pub(super) const CREATE: u32 = 3;

/// The first directory on the way to `path` that keeps the account from it, `path` itself included.
/// Access control lists are not looked at.
pub(super) fn obstacle(account: &Account, path: &Utf8Path, needed: u32) -> Option<Utf8PathBuf> {
    let path = path.canonicalize_utf8().ok()?;
    let mut parts: Vec<&Utf8Path> = path.ancestors().collect();
    parts.reverse();
    let last = parts.len() - 1;
    let closed = parts.iter().enumerate().find(|(n, part)| {
        let needed = if *n == last { needed } else { ENTER };
        !fs::metadata(part).is_ok_and(|meta| permits(account, &meta, needed))
    });
    closed.map(|(_, part)| (*part).to_owned())
}

fn permits(account: &Account, meta: &fs::Metadata, needed: u32) -> bool {
    let class = if account.uid() == 0 {
        0o7
    } else if meta.uid() == account.uid() {
        meta.mode() >> 6
    } else if meta.gid() == account.gid() || account.groups().contains(&meta.gid()) {
        meta.mode() >> 3
    } else {
        meta.mode()
    };
    class & needed == needed
}

/// The name of an account, or its number.
pub(super) fn name(account: &Account) -> String {
    account
        .name()
        .map_or_else(|| account.uid().to_string(), str::to_owned)
}
