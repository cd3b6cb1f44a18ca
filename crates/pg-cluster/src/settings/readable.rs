//! The files that the account of a server can read, for a caller that is root.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::Path;

use camino::Utf8Path;
use pg_proc::Account;
use pgconf_parse::{FileSystem, LoadError, Loader};

use crate::files::MAX_TEXT;

/// The files that this account can read; without an account, those that the caller can read.
///
/// They are read with the rights of the account: whatever a link leads to, and whenever, root shows
/// nothing that the account could not read itself.
pub(crate) struct Readable<'a> {
    account: Option<&'a Account>,
}

impl<'a> Readable<'a> {
    pub(crate) fn by(account: Option<&'a Account>) -> Self {
        Self { account }
    }

    fn look<T>(&self, path: &Path, look: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let Some(account) = self.account else {
            return look();
        };
        if let Some(found) = account.with_rights(&look) {
            return found;
        }
        match Utf8Path::from_path(path) {
            Some(path) if path.exists() && !account.may_read(path) => {
                Err(ErrorKind::PermissionDenied.into())
            }
            _ => look(),
        }
    }
}

impl Loader for Readable<'_> {
    fn load(&self, file: &Path) -> Result<Vec<u8>, LoadError> {
        let open = || pg_proc::open_any_file(file);
        let opened = self.look(file, open).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::IsADirectory => LoadError::Read(error),
            _ => LoadError::Open(error),
        })?;
        pg_proc::read_all(&opened, MAX_TEXT).map_err(LoadError::Read)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.look(directory, || FileSystem::new().list(directory))
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        self.look(path, || FileSystem::new().is_directory(path))
    }
}
