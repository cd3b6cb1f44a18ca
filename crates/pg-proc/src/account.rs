//! The account that a server runs as when the caller is root.

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use nix::unistd::{Gid, Uid, User};
use thiserror::Error;

/// An account of the system, as which programs are run.
///
/// PostgreSQL's server refuses to run as root. A caller that is root names an account here, and
/// everything is started with that account's user, group and supplementary groups, without sudo or
/// su.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    name: Option<String>,
    home: Option<Utf8PathBuf>,
}

impl Account {
    /// The account with this name.
    ///
    /// # Errors
    ///
    /// Fails if the account does not exist or the account database cannot be read.
    pub fn by_name(name: &str) -> Result<Self, AccountError> {
        let failed = |kind| AccountError::new(name, kind);
        let user = User::from_name(name)
            .map_err(|e| failed(AccountErrorKind::Lookup(e.into())))?
            .ok_or_else(|| failed(AccountErrorKind::Unknown))?;
        Self::of_user(&user).map_err(failed)
    }

    /// The account with this user ID. The account database need not have an entry for it:
    /// containers have such users. The group ID is then the same number, and there are no
    /// supplementary groups.
    ///
    /// # Errors
    ///
    /// Fails if the account database cannot be read.
    pub fn by_id(uid: u32) -> Result<Self, AccountError> {
        let failed = |kind| AccountError::new(uid.to_string(), kind);
        match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => Self::of_user(&user).map_err(failed),
            Ok(None) => Ok(Self {
                uid,
                gid: uid,
                groups: vec![uid],
                name: None,
                home: None,
            }),
            Err(e) => Err(failed(AccountErrorKind::Lookup(e.into()))),
        }
    }

    /// The account that this process runs as.
    ///
    /// # Errors
    ///
    /// Fails if the account database cannot be read.
    pub fn current() -> Result<Self, AccountError> {
        Self::by_id(Self::current_uid())
    }

    /// The user that this process runs as, by its number. The account database, which costs a
    /// hundred system calls, is not read.
    pub fn current_uid() -> u32 {
        Uid::effective().as_raw()
    }

    /// The account as which the server of a data directory has to run when the caller is root; none
    /// when the caller is not root, and runs the server as itself.
    ///
    /// In this order: the owner of the directory if it exists and does not belong to root,
    /// `postgres`, `nobody`.
    ///
    /// # Errors
    ///
    /// Fails if the directory or the account database cannot be read, or no account can be used.
    pub fn for_data_directory(path: impl AsRef<Utf8Path>) -> Result<Option<Self>, AccountError> {
        let path = path.as_ref();
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        match std::fs::metadata(path) {
            Ok(meta) if meta.uid() != 0 => return Self::by_id(meta.uid()).map(Some),
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                let kind = AccountErrorKind::Directory(e);
                return Err(AccountError::new(format!("of the owner of {path}"), kind));
            }
            _ => {}
        }
        match Self::by_name("postgres") {
            Err(e) if matches!(e.kind, AccountErrorKind::Unknown) => {
                Self::by_name("nobody").map(Some)
            }
            other => other.map(Some),
        }
    }

    /// The user ID.
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of the primary group.
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// All groups, the primary one included.
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// The name, if the account database has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The home directory, if the account database has one.
    pub fn home(&self) -> Option<&Utf8Path> {
        self.home.as_deref()
    }

    /// Its name, or else its number.
    pub(crate) fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }

    /// Returns whether the permissions of a file, and of every directory on its path, let this
    /// account read it. Access control lists are not examined.
    pub fn may_read(&self, path: impl AsRef<Utf8Path>) -> bool {
        const READ: u32 = 4;
        const ENTER: u32 = 1;
        let Ok(path) = path.as_ref().canonicalize_utf8() else {
            return false;
        };
        self.uid == 0
            || path.ancestors().enumerate().all(|(n, part)| {
                let needed = if n == 0 { READ } else { ENTER };
                std::fs::metadata(part).is_ok_and(|found| {
                    let class = if found.uid() == self.uid {
                        found.mode() >> 6
                    } else if self.gid == found.gid() || self.groups.contains(&found.gid()) {
                        found.mode() >> 3
                    } else {
                        found.mode()
                    };
                    class & needed == needed
                })
            })
    }

    /// Returns whether this process already runs as this account.
    pub fn is_current(&self) -> bool {
        Uid::effective().as_raw() == self.uid && Uid::current().as_raw() == self.uid
    }

    fn of_user(user: &User) -> Result<Self, AccountErrorKind> {
        let gid = user.gid.as_raw();
        Ok(Self {
            uid: user.uid.as_raw(),
            gid,
            groups: groups_of(&user.name, user.gid)?,
            name: Some(user.name.clone()),
            home: Utf8PathBuf::from_path_buf(user.dir.clone()).ok(),
        })
    }
}

#[cfg(not(target_vendor = "apple"))]
fn groups_of(name: &str, gid: Gid) -> Result<Vec<u32>, AccountErrorKind> {
    let name = std::ffi::CString::new(name).map_err(|_| AccountErrorKind::Unknown)?;
    let groups =
        nix::unistd::getgrouplist(&name, gid).map_err(|e| AccountErrorKind::Lookup(e.into()))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// Groups come from a directory service there, and `setgroups` takes 16 at most: the primary group
/// has to do.
#[cfg(target_vendor = "apple")]
fn groups_of(_name: &str, gid: Gid) -> Result<Vec<u32>, AccountErrorKind> {
    Ok(vec![gid.as_raw()])
}

/// An account cannot be used.
#[derive(Debug, Error)]
#[error("failed to use the account {account}")]
pub struct AccountError {
    account: String,
    #[source]
    kind: AccountErrorKind,
}

/// The reason why an account cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccountErrorKind {
    /// The account database has no such entry.
    #[error("the account database has no such account")]
    Unknown,
    /// The account database cannot be read.
    #[error("the account database cannot be read")]
    Lookup(#[source] io::Error),
    /// The directory whose owner was requested cannot be read.
    #[error("the owner of the directory cannot be read")]
    Directory(#[source] io::Error),
    /// This process is root in a user namespace that does not have the account.
    #[error("the user namespace, in which this process is root, does not have the account")]
    NotMapped,
    /// This process is root without these capabilities of root.
    #[error("this process is root without {}", .0.join(", "))]
    Capabilities(Vec<&'static str>),
    /// This process is called root by a library such as fakeroot, and is user `.0` for the kernel.
    #[error("this process only appears to be root and is user {0}")]
    Fake(u32),
}

impl AccountError {
    pub(crate) fn new(account: impl Into<String>, kind: AccountErrorKind) -> Self {
        Self {
            account: account.into(),
            kind,
        }
    }

    /// The requested name or user ID.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The reason.
    pub const fn kind(&self) -> &AccountErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            AccountErrorKind::NotMapped => {
                "map a second user into the namespace (`/etc/subuid`, `podman --userns`), or enter \
                 it as an ordinary user (`unshare --map-current-user`): PostgreSQL does not run \
                 as root"
            }
            AccountErrorKind::Capabilities(_) => {
                "give the container these capabilities (`--cap-add`), or run the program as an \
                 ordinary user: PostgreSQL does not run as root"
            }
            AccountErrorKind::Fake(_) => {
                "run the program without fakeroot: an ordinary user needs no root for PostgreSQL"
            }
            AccountErrorKind::Unknown => {
                "create the account, or name another one (`Account::by_name`, `Account::by_id`)"
            }
            AccountErrorKind::Lookup(_) | AccountErrorKind::Directory(_) => return None,
        };
        Some(hint.into())
    }
}
