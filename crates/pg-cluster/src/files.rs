//! The paths of the files of a cluster.

use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{FileError, FileErrorKind, FindError, Found, LockedFile, PostmasterOpts};

use crate::{Cluster, Settings};

/// The longest file that is read, in bytes: the limit of a [`Resolver`](pgconf_parse::Resolver).
pub(crate) const MAX_TEXT: u64 = 16 << 20;

impl Cluster {
    /// The settings in `postgresql.conf`.
    pub fn settings(&self) -> Settings<'_> {
        Settings::new(self)
    }

    /// The path of `postgresql.conf`: the one given to
    /// [`with_config_file`](Self::with_config_file), the one that the running server was started
    /// with, or the one in the data directory.
    pub fn config_file(&self) -> Utf8PathBuf {
        let running = || self.running_opts().ok()??.setting("config_file");
        let path = match self.given_config_file() {
            Some(path) => path.to_owned(),
            None => running().map_or_else(|| "postgresql.conf".into(), Utf8PathBuf::from),
        };
        self.data_directory().join(path)
    }

    /// The path of `pg_hba.conf`, which controls who may connect, by the setting `hba_file`.
    pub fn hba_file(&self) -> Utf8PathBuf {
        self.file("hba_file", "pg_hba.conf")
    }

    /// The path of `pg_ident.conf`, which maps users of the operating system to database users, by
    /// the setting `ident_file`.
    pub fn ident_file(&self) -> Utf8PathBuf {
        self.file("ident_file", "pg_ident.conf")
    }

    /// The additional file for the process ID, if the setting `external_pid_file` names one.
    pub fn external_pid_file(&self) -> Option<Utf8PathBuf> {
        let path = self
            .in_effect("external_pid_file")
            .filter(|path| !path.is_empty())?;
        Some(self.data_directory().join(path))
    }

    /// Relative paths are resolved against the data directory, in which this library starts
    /// servers. If the setting is missing, the file is beside `postgresql.conf`, as for the server.
    fn file(&self, setting: &str, default: &str) -> Utf8PathBuf {
        match self.in_effect(setting).filter(|path| !path.is_empty()) {
            Some(path) => self.data_directory().join(path),
            None => self.config_file().with_file_name(default),
        }
    }

    /// The value of a setting by the command line of the running server, or else by the
    /// configuration files.
    fn in_effect(&self, name: &str) -> Option<String> {
        let opts = self.running_opts().ok().flatten();
        opts.and_then(|opts| opts.setting(name)).or_else(|| {
            let configuration = self.settings().effective().ok()?;
            Some(configuration.get(name)?.value_lossy().into_owned())
        })
    }

    /// Locks one of the files for a change.
    pub(crate) fn lock_file(&self, path: &Utf8Path) -> Result<LockedFile, FileErrorKind> {
        let given = self.given_config_file().and_then(Utf8Path::parent);
        let is_beside = [Some(self.data_directory()), given].contains(&path.parent());
        let named_by = (!is_beside).then(|| self.data_directory());
        LockedFile::acquire(path, named_by).map_err(FileError::into_kind)
    }

    /// The command line of the running server, if there is one.
    pub(crate) fn running_opts(&self) -> Result<Option<PostmasterOpts>, FindError> {
        Ok(match self.find()? {
            Found::Running(_) => PostmasterOpts::read(self.data_directory()).ok().flatten(),
            _ => None,
        })
    }
}

pub(crate) fn lossy(path: &Path) -> Utf8PathBuf {
    path.to_string_lossy().into_owned().into()
}
