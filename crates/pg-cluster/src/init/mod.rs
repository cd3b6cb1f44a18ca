//! Making a data directory.
//!
//! `initdb` works in a subdirectory of the data directory. When it has succeeded, everything is
//! moved up, `PG_VERSION` last. No program takes a directory without `PG_VERSION` for a cluster, so
//! an interrupted `initdb` never leaves a directory that looks finished. The subdirectory shows the
//! next attempt that the files beside it are left over from this one.

mod error;
mod options;
mod superuser;

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::Program;
use pg_proc::{
    Account, Command, Deadline, Directory, DirectoryGuard, DirectoryLock, Entry, GuardOptions,
    LockErrorKind, MadeDirectory, layout,
};

pub use self::error::{InitError, InitErrorKind};
pub use self::options::{
    DataChecksums, DirectoryAccess, Durability, InitOptions, Locale, LocaleCategory, LocaleProvider,
};
use crate::{Cluster, parts};

/// The subdirectory in which `initdb` works.
const STAGE: &str = Cluster::INIT_DIRECTORY;
/// How long another process that initializes the directory is waited for: `initdb` takes half a
/// second.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long the guard of a killed process may take to remove its unfinished work.
const GUARD_PATIENCE: Duration = Duration::from_secs(2);

impl Cluster {
    /// The subdirectory of the data directory in which `initdb` works until [`init`](Self::init)
    /// has succeeded. An `initdb` that was killed may leave
    /// [shared memory](pg_proc::release_shared_memory) for it.
    pub const INIT_DIRECTORY: &str = ".pg-cluster-init";

    /// Makes the data directory with `initdb`, and returns when it is complete.
    ///
    /// The directory may be empty, or it and its parents may be missing. Under root the
    /// [account](Self::account) that the server will run as becomes its owner.
    ///
    /// # Errors
    ///
    /// If the directory is not empty, is a cluster already, or cannot be used; if an option is
    /// invalid; if the installation has no `initdb`, or it fails or takes too long. The directory
    /// is then as it was before.
    ///
    /// # Cleanup
    ///
    /// If the calling process is killed meanwhile, `initdb` is stopped and its files are removed.
    /// The directory itself stays. After a crash of the machine the next `init` removes the files.
    pub fn init(&self, options: &InitOptions) -> Result<(), InitError> {
        let failed = |kind| InitError::new(self.data_directory(), kind);
        options
            .check(self.installation().version())
            .map_err(&failed)?;
        self.installation()
            .require(Program::Initdb)
            .map_err(|error| failed(InitErrorKind::MissingProgram(error)))?;
        let wal: Vec<&Utf8Path> = options.wal_directory.as_deref().into_iter().collect();
        self.make_directory(&wal, None, |target| {
            self.run_initdb(options, target)?;
            superuser::rename(self, options, target)
        })
        .map_err(failed)
    }

    /// Makes the data directory: has it filled in its subdirectory, and puts it in place when that
    /// is done. If it fails, nothing is left there and in the directories outside.
    ///
    /// The files are in the subdirectory itself, or in the one of this name in it.
    pub(crate) fn make_directory(
        &self,
        outside: &[&Utf8Path],
        files: Option<&str>,
        fill: impl FnOnce(&Target<'_>) -> Result<(), InitErrorKind>,
    ) -> Result<(), InitErrorKind> {
        if let Some(account) = self.account() {
            account.require_usable().map_err(InitErrorKind::Account)?;
        }
        let mut target =
            Target::prepare(self.data_directory(), self.account()).map_err(|kind| {
                let missing = parts::of_half_a_cluster(self);
                match kind {
                    InitErrorKind::AlreadyInitialized if !missing.is_empty() => {
                        InitErrorKind::Incomplete(missing)
                    }
                    kind => kind,
                }
            })?;
        let outcome = outside
            .iter()
            .try_for_each(|path| target.use_outside(path, self.account()))
            // The guard of a temporary cluster removes everything, and would not wait for a
            // process that holds back another guard.
            .and_then(|()| match self.is_guarded() {
                true => Ok(()),
                false => target.guard(),
            })
            .and_then(|()| fill(&target))
            .and_then(|()| target.finish(files).map_err(InitErrorKind::Directory));
        outcome.inspect_err(|_| target.undo())
    }

    fn run_initdb(&self, options: &InitOptions, target: &Target<'_>) -> Result<(), InitErrorKind> {
        let mut command = self
            .english_command(Program::Initdb)
            .map_err(InitErrorKind::MissingProgram)?
            .args(options.initdb_arguments(self.installation().version(), &target.stage()));
        if options.locale == Locale::Environment {
            command = command
                .env_remove("LC_ALL")
                .envs(options.locale_environment());
        }
        if let Some(password) = &options.password {
            // initdb reads the first line of this file, which is the pipe at its standard input.
            command = command
                .arg("--pwfile=/dev/stdin")
                .input(format!("{password}\n"));
        }
        target.run(command, options.timeout)
    }
}

/// The data directory while it is made, locked against other processes that make it too.
pub(crate) struct Target<'a> {
    directory: &'a Utf8Path,
    /// The directory, and its parents that did not exist before. The account owns the directory and
    /// could make any path in it lead elsewhere, so root acts only through this handle.
    made: MadeDirectory,
    /// Removes unfinished work if this process is killed. None if the guard of the cluster does so.
    guard: Option<DirectoryGuard>,
    /// The user and the group that owned the directory before.
    owner: (u32, u32),
    /// Directories elsewhere that are filled too.
    outside: Vec<Outside>,
    /// What was moved to its place already.
    moved: Vec<OsString>,
    _lock: DirectoryLock,
}

impl<'a> Target<'a> {
    fn prepare(directory: &'a Utf8Path, account: Option<&Account>) -> Result<Self, InitErrorKind> {
        let (made, lock) = make_and_lock(directory, account)?;
        let found = made.directory().as_file().metadata();
        let found = found.map_err(InitErrorKind::Directory)?;
        let mut target = Self {
            directory,
            made,
            guard: None,
            owner: (found.uid(), found.gid()),
            outside: Vec::new(),
            moved: Vec::new(),
            _lock: lock,
        };
        target.require_empty()?;
        match target.make_stage(account) {
            Ok(()) => Ok(target),
            Err(cause) => {
                target.undo();
                Err(InitErrorKind::Directory(cause))
            }
        }
    }

    fn held(&self) -> &Directory {
        self.made.directory()
    }

    fn make_stage(&self, account: Option<&Account>) -> io::Result<()> {
        give(&self.held().make(STAGE)?, account)?;
        give(self.held(), account)
    }

    fn use_outside(
        &mut self,
        path: &Utf8Path,
        account: Option<&Account>,
    ) -> Result<(), InitErrorKind> {
        self.outside.push(Outside::prepare(path, account)?);
        Ok(())
    }

    /// Starts the guard that removes the unfinished files if this process is killed. It removes
    /// the subdirectory last: once that is gone, nothing more is removed, and another process may
    /// begin. For the same reason the data directory itself stays, empty.
    fn guard(&mut self) -> Result<(), InitErrorKind> {
        let mut options = GuardOptions::new();
        for outside in self.outside.iter().filter(|outside| outside.empty) {
            let path = outside.path.clone();
            options = match outside.made.is_new() {
                true => options.remove(path),
                false => options.empty(path),
            };
        }
        // A killed `initdb` leaves shared memory behind, like a killed server.
        let guard = options
            .release_memory_of(self.stage())
            .remove(self.stage())
            .guard();
        self.guard = Some(guard.map_err(InitErrorKind::Guard)?);
        Ok(())
    }

    /// Refuses a directory that is not empty, but removes the files of an interrupted attempt.
    fn require_empty(&self) -> Result<(), InitErrorKind> {
        let names = || self.held().names().map_err(InitErrorKind::Directory);
        let found = names()?;
        if found.iter().any(|name| name == "PG_VERSION") {
            return Err(InitErrorKind::AlreadyInitialized);
        }
        if found.iter().any(|name| name == STAGE) {
            // No process holds the lock: the machine has crashed.
            self.clear().map_err(InitErrorKind::Directory)?;
        }
        match names()?.first() {
            None => Ok(()),
            Some(name) => Err(InitErrorKind::NotEmpty(name.to_string_lossy().into_owned())),
        }
    }

    /// Runs a program that works in the subdirectory and holds the guard back.
    fn run(&self, command: Command, timeout: Duration) -> Result<(), InitErrorKind> {
        let command = self.hold_guard(command);
        command.run(timeout).map_err(InitErrorKind::Program)?;
        Ok(())
    }

    /// Has a program that works in the subdirectory hold the guard back.
    pub(crate) fn hold_guard(&self, command: Command) -> Command {
        match &self.guard {
            Some(guard) => command.guarded_by(guard),
            None => command,
        }
    }

    /// The path of the subdirectory in which the files are made.
    pub(crate) fn stage(&self) -> Utf8PathBuf {
        self.directory.join(STAGE)
    }

    /// The same, held open.
    pub(crate) fn held_stage(&self) -> io::Result<Directory> {
        self.held().subdirectory(STAGE)
    }

    fn finish(&mut self, files: Option<&str>) -> io::Result<()> {
        let stage = match files {
            Some(name) => self.held_stage()?.subdirectory(name)?,
            None => self.held_stage()?,
        };
        // From now on the subdirectory marks the other files as unfinished, and is removed last.
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
        for name in stage.names()? {
            if name != "PG_VERSION" {
                stage.move_to(&name, self.held())?;
                self.moved.push(name);
            }
        }
        let directory = self.held().as_file();
        let mode = stage.as_file().metadata()?.mode() & 0o777;
        directory.set_permissions(Permissions::from_mode(mode))?;
        directory.sync_all()?;
        stage.move_to("PG_VERSION", self.held())?;
        self.held().remove(STAGE)?;
        directory.sync_all()?;
        Entry::named(self.directory)?.parent()?.as_file().sync_all()
    }

    /// Restores the directory. A failure here must not hide the error before.
    fn undo(&mut self) {
        for outside in &self.outside {
            outside.undo();
        }
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
        // The files can be removed even if it cannot be released.
        let _ = pg_proc::release_shared_memory(self.stage());
        if self.clear().is_err() {
            return;
        }
        let _ = match self.made.is_new() {
            true => self.made.remove(),
            false => fchown(
                self.held().as_file(),
                Some(self.owner.0),
                Some(self.owner.1),
            ),
        };
    }

    /// Removes the files that were moved up, and then the subdirectory that marks them.
    fn clear(&self) -> io::Result<()> {
        for name in self.held().names()? {
            let is_ours = name.to_str().is_some_and(layout::is_made_by_base_backup);
            if is_ours || self.moved.contains(&name) {
                self.held().remove(&name)?;
            }
        }
        self.held().remove(STAGE)
    }
}

fn give(directory: &Directory, account: Option<&Account>) -> io::Result<()> {
    match account {
        Some(account) => fchown(
            directory.as_file(),
            Some(account.uid()),
            Some(account.gid()),
        ),
        None => Ok(()),
    }
}

/// Makes the directory with its parents and locks it. If another process that fails or is killed
/// removes it meanwhile, it is made again.
///
/// The account that will own the directory can enter the new parents, whatever the umask is.
fn make_and_lock(
    directory: &Utf8Path,
    account: Option<&Account>,
) -> Result<(MadeDirectory, DirectoryLock), InitErrorKind> {
    let begun = Instant::now();
    let mut earlier: Option<MadeDirectory> = None;
    loop {
        let mut made = match Directory::create_all(directory, account.map(|_| 0o755)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_early(begun) => continue,
            other => other.map_err(InitErrorKind::Directory)?,
        };
        if let Some(earlier) = earlier.take() {
            made.adopt(earlier);
        }
        let deadline = Deadline::after(LOCK_PATIENCE);
        let lock = DirectoryLock::acquire_held(made.directory(), directory, deadline).map_err(
            |error| match error.kind() {
                LockErrorKind::Busy { .. } => InitErrorKind::Busy,
                _ => InitErrorKind::Lock(error),
            },
        )?;
        // If the lock is free and there is unfinished work, its owner was killed, and its guard is
        // about to remove it, perhaps with the directory. That has to happen first.
        let waiting = Instant::now();
        while made.directory().contains(STAGE).unwrap_or(false)
            && waiting.elapsed() < GUARD_PATIENCE
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        let is_there = Directory::open(directory)
            .and_then(|now| now.is_same(made.directory()))
            .unwrap_or(false);
        if is_there || !is_early(begun) {
            return Ok((made, lock));
        }
        earlier = Some(made);
    }
}

fn is_early(begun: Instant) -> bool {
    begun.elapsed() < LOCK_PATIENCE
}

/// A directory elsewhere, for the write-ahead log or a tablespace, which a program may have filled
/// before it failed.
struct Outside {
    path: Utf8PathBuf,
    made: MadeDirectory,
    /// If it is not empty, the program refuses it, and its files are not removed.
    empty: bool,
}

impl Outside {
    fn prepare(path: &Utf8Path, account: Option<&Account>) -> Result<Self, InitErrorKind> {
        if !path.is_absolute() {
            return Err(InitErrorKind::Option(
                "the path of the directory for the WAL or a tablespace is not absolute",
            ));
        }
        let adopt = || {
            let made = Directory::create(path)?;
            if made.is_new() {
                give(made.directory(), account)?;
            }
            let empty = made.directory().names()?.is_empty();
            Ok((made, empty))
        };
        let (made, empty) = adopt().map_err(InitErrorKind::Directory)?;
        Ok(Self {
            path: path.to_owned(),
            made,
            empty,
        })
    }

    fn undo(&self) {
        if self.empty {
            let held = self.made.directory();
            for name in held.names().unwrap_or_default() {
                let _ = held.remove(name);
            }
        }
        let _ = self.made.remove();
    }
}
