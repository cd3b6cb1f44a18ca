//! Making a data directory.
//!
//! `initdb` works in a subdirectory of the data directory, from which everything is moved up when it has succeeded, `PG_VERSION`
//! last. Without `PG_VERSION` no program takes the directory for a cluster, so at no time does an
//! interrupted `initdb` leave something that looks finished; and the subdirectory tells the next attempt that all it finds
//! beside it is left over from us.

mod error;
mod options;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::Program;
use pg_proc::{Account, DirectoryGuard, DirectoryLock, GuardOptions, TryLock};

pub use self::error::{InitError, InitErrorKind};
pub use self::options::{
    DataChecksums, DirectoryAccess, Durability, InitOptions, Locale, LocaleCategory, LocaleProvider,
};
use crate::Cluster;

/// Where `initdb` works.
const STAGE: &str = ".pg-cluster-init";

impl Cluster {
    /// Makes the data directory with `initdb`, and returns when it is complete.
    ///
    /// The directory may be missing, with its parents, or be empty. Under root it comes to belong to the [account](Self::account) that the
    /// server will run as.
    ///
    /// # Errors
    ///
    /// Before `initdb` runs: the directory is not empty, is a cluster already, or cannot be used; an option makes no
    /// sense; the installation has no `initdb`. Afterwards: it failed, with what it printed, or took too long. The
    /// directory is then as it was before.
    ///
    /// # Cleanup
    ///
    /// If the calling process is killed meanwhile, `initdb` is ended and what it wrote is removed. After a crash of the machine the
    /// next `init` removes it.
    pub fn init(&self, options: &InitOptions) -> Result<(), InitError> {
        let failed = |kind| InitError::new(self.data_directory(), kind);
        options
            .check()
            .map_err(|problem| failed(InitErrorKind::Option(problem)))?;
        self.installation()
            .require(Program::Initdb)
            .map_err(|error| failed(InitErrorKind::MissingProgram(error)))?;
        let mut target = Target::prepare(self.data_directory(), self.account()).map_err(failed)?;
        let wal = options.wal_directory.as_deref().map(WalDirectory::before);
        self.run_initdb(options, &target.stage(), target.guard.as_ref())
            .and_then(|()| target.finish().map_err(InitErrorKind::Directory))
            .map_err(|kind| {
                target.undo();
                if let Some(wal) = &wal {
                    wal.undo();
                }
                failed(kind)
            })
    }

    /// Runs `initdb` for a directory that nobody else uses.
    pub(crate) fn run_initdb(
        &self,
        options: &InitOptions,
        directory: &Utf8Path,
        guard: Option<&DirectoryGuard>,
    ) -> Result<(), InitErrorKind> {
        let mut command = self
            .command(Program::Initdb)
            .map_err(InitErrorKind::MissingProgram)?
            .args(options.arguments(self.installation().version(), directory));
        if options.locale == Locale::Environment {
            command = command.env_remove("LC_ALL");
            for (name, value) in locale_variables() {
                command = command.env(name, value);
            }
        }
        if let Some(password) = &options.password {
            // initdb reads the first line of this file, which is the pipe behind its standard input.
            command = command
                .arg("--pwfile=/dev/stdin")
                .input(format!("{password}\n"));
        }
        if let Some(guard) = guard {
            command = command.guarded_by(guard);
        }
        command
            .run(options.timeout)
            .map_err(InitErrorKind::Program)?;
        Ok(())
    }
}

impl InitOptions {
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match &self.password {
            Some(password) if password.is_empty() => Err("the password is empty"),
            Some(password) if password.contains(['\n', '\r', '\0']) => {
                Err("the password holds a line break or NUL, and initdb reads one line")
            }
            _ if self.user.is_empty() => Err("the superuser's name is empty"),
            _ if self.user.starts_with("pg_") => Err("names that begin with pg_ are reserved"),
            _ => Ok(()),
        }
    }
}

/// The data directory on its way from nothing to a cluster, locked against others who do the same.
struct Target<'a> {
    directory: &'a Utf8Path,
    /// The topmost directory that did not exist before.
    created: Option<Utf8PathBuf>,
    /// Removes what was begun if this process is killed.
    guard: Option<DirectoryGuard>,
    _lock: DirectoryLock,
}

impl<'a> Target<'a> {
    fn prepare(directory: &'a Utf8Path, account: Option<&Account>) -> Result<Self, InitErrorKind> {
        let created = directory
            .ancestors()
            .take_while(|path| !path.exists())
            .last();
        let created = created.map(Utf8Path::to_owned);
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(InitErrorKind::Directory)?;
        }
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(InitErrorKind::Directory)?,
        }
        let lock = match DirectoryLock::try_acquire(directory).map_err(InitErrorKind::Lock)? {
            TryLock::Acquired(lock) => lock,
            TryLock::Busy => return Err(InitErrorKind::Busy),
        };
        let mut target = Self {
            directory,
            created,
            guard: None,
            _lock: lock,
        };
        target.require_empty()?;
        let stage = target.stage();
        DirBuilder::new()
            .mode(0o700)
            .create(&stage)
            .map_err(InitErrorKind::Directory)?;
        if let Some(account) = account {
            for path in [directory, &stage] {
                chown(path, Some(account.uid()), Some(account.gid()))
                    .map_err(InitErrorKind::Directory)?;
            }
        }
        let guard = GuardOptions::new().remove(target.created.clone().unwrap_or(stage));
        target.guard = Some(guard.guard().map_err(InitErrorKind::Guard)?);
        Ok(target)
    }

    /// Refuses a directory with anything in it, but removes what an interrupted attempt of ours has left.
    fn require_empty(&self) -> Result<(), InitErrorKind> {
        let entries = || fs::read_dir(self.directory).map_err(InitErrorKind::Directory);
        if self.directory.join("PG_VERSION").exists() {
            return Err(InitErrorKind::AlreadyInitialized);
        }
        if self.stage().exists() {
            self.clear().map_err(InitErrorKind::Directory)?;
        }
        match entries()?.next() {
            None => Ok(()),
            Some(entry) => {
                let entry = entry.map_err(InitErrorKind::Directory)?;
                Err(InitErrorKind::NotEmpty(
                    entry.file_name().to_string_lossy().into_owned(),
                ))
            }
        }
    }

    fn stage(&self) -> Utf8PathBuf {
        self.directory.join(STAGE)
    }

    fn finish(&mut self) -> io::Result<()> {
        let stage = self.stage();
        let directory = File::open(self.directory)?;
        for entry in fs::read_dir(&stage)? {
            let name = entry?.file_name();
            if name != "PG_VERSION" {
                fs::rename(
                    stage.as_std_path().join(&name),
                    self.directory.as_std_path().join(&name),
                )?;
            }
        }
        let mode = fs::metadata(&stage)?.mode() & 0o777;
        fs::set_permissions(self.directory, Permissions::from_mode(mode))?;
        directory.sync_all()?;
        fs::rename(stage.join("PG_VERSION"), self.directory.join("PG_VERSION"))?;
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
        fs::remove_dir(&stage)?;
        directory.sync_all()?;
        match self.directory.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Takes the directory back to what it was. Failing at that must not hide why.
    fn undo(&mut self) {
        let cleared = self.clear();
        drop(self.guard.take());
        if let (Ok(()), Some(created)) = (cleared, &self.created) {
            let _ = fs::remove_dir_all(created);
        }
    }

    /// Removes what was moved up, and then the subdirectory that tells that it is ours.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.directory)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(is_written_by_initdb) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        match fs::remove_dir_all(self.stage()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A directory for the write-ahead log that `initdb` may have filled before it was ended.
struct WalDirectory {
    path: Utf8PathBuf,
    existed: bool,
    empty: bool,
}

impl WalDirectory {
    fn before(path: &Utf8Path) -> Self {
        let entries = fs::read_dir(path);
        let existed = entries.is_ok();
        let empty = entries.is_ok_and(|mut entries| entries.next().is_none());
        Self {
            path: path.to_owned(),
            existed,
            empty,
        }
    }

    fn undo(&self) {
        if !self.existed || self.empty {
            let _ = fs::remove_dir_all(&self.path);
        }
        if self.existed && self.empty {
            let _ = DirBuilder::new().mode(0o700).create(&self.path);
        }
    }
}

/// The names at the top of a data directory, of all versions. Whatever else is there, somebody else has put there.
fn is_written_by_initdb(name: &str) -> bool {
    const OTHERS: [&str; 5] = [
        "PG_VERSION",
        "base",
        "global",
        "postgresql.conf",
        "postgresql.auto.conf",
    ];
    name.starts_with("pg_") || OTHERS.contains(&name)
}

fn locale_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with("LC_") || name == "LANG")
}
