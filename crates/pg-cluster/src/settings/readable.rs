//! The files that the account of a server can read, for a caller that is root.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use camino::Utf8Path;
use pg_proc::Account;
use pgconf_parse::{FileSystem, LoadError, Loader};

/// The files that this account can read; without an account, those that the caller can read.
pub(crate) struct Readable<'a> {
    account: Option<&'a Account>,
    files: FileSystem,
}

impl<'a> Readable<'a> {
    pub(crate) fn by(account: Option<&'a Account>) -> Self {
        Self {
            account,
            files: FileSystem::new(),
        }
    }

    fn require(&self, path: &Path) -> io::Result<()> {
        let (Some(account), Some(path)) = (self.account, Utf8Path::from_path(path)) else {
            return Ok(());
        };
        match !path.exists() || account.may_read(path) {
            true => Ok(()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl Loader for Readable<'_> {
    fn load(&self, file: &Path) -> Result<Vec<u8>, LoadError> {
        self.require(file).map_err(LoadError::Open)?;
        self.files.load(file)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.require(directory)?;
        self.files.list(directory)
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        self.files.is_directory(path)
    }
}
