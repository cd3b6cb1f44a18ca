//! The accounts that run the tests.

use anyhow::{Context, Result, bail};
use nix::unistd::{Gid, Uid, User};

pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

impl Account {
    /// Returns the unprivileged account that also runs the server tests, or `None` if this process
    /// is not run by root.
    pub(crate) fn choose(name: Option<&str>) -> Result<Option<Account>> {
        if !Uid::effective().is_root() {
            if name.is_some() {
                bail!("only root can run tests under another account");
            }
            return Ok(None);
        }
        let account = match name {
            Some(name) => find(name)?.with_context(|| format!("there is no account {name:?}"))?,
            None => ["nobody", "postgres", "daemon"]
                .iter()
                .find_map(|name| find(name).ok().flatten())
                .context("there is no account `nobody`: name one with --account")?,
        };
        if account.uid.is_root() {
            bail!(
                "{:?} is root: the tests run as root in any case",
                account.name
            );
        }
        Ok(Some(account))
    }
}

pub(crate) fn current_name() -> String {
    let uid = Uid::effective();
    User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| format!("uid {uid}"), |user| user.name)
}

fn find(name: &str) -> Result<Option<Account>> {
    let user =
        User::from_name(name).with_context(|| format!("failed to look up account {name:?}"))?;
    Ok(user.map(|user| Account {
        name: user.name,
        uid: user.uid,
        gid: user.gid,
    }))
}
