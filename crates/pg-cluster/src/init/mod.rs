//! Making a data directory: `initdb` works in a subdirectory of a [`NewDataDirectory`], so that
//! one that was interrupted never leaves a directory that looks finished.

mod error;
mod options;
mod superuser;

use camino::Utf8Path;
use pg_install::Program;
use pg_proc::Command;
use pg_proc::data_directory::{NewDataDirectory, NewDataDirectoryErrorKind};

pub use self::error::{InitError, InitErrorKind};
pub use self::options::{
    DataChecksums, DirectoryAccess, Durability, InitOptions, Locale, LocaleCategory, LocaleProvider,
};
use crate::{Cluster, parts};

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
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use pg_cluster::{DataChecksums, InitOptions};
    ///
    /// cluster.init(&InitOptions::new().password("s3cret").data_checksums(DataChecksums::On))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the directory is not empty, is a cluster already, or cannot be used. Fails if an
    /// option is invalid, the installation does not have `initdb`, or `initdb` fails or times out.
    /// The directory is then as it was before.
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
        let wal = options.wal_directory.as_deref();
        self.make_directory(wal.as_slice(), |new| {
            self.run_initdb(options, new)?;
            superuser::rename(self, options, new)?;
            new.finish().map_err(InitErrorKind::Directory)
        })
        .map_err(failed)
    }

    /// Makes the data directory, which `fill` completes. If that fails, nothing is left there and
    /// in the directories outside.
    pub(crate) fn make_directory(
        &self,
        outside: &[&Utf8Path],
        fill: impl FnOnce(&mut NewDataDirectory) -> Result<(), InitErrorKind>,
    ) -> Result<(), InitErrorKind> {
        let account = self.account();
        if let Some(account) = account {
            account.require_usable().map_err(InitErrorKind::Account)?;
        }
        let mut new =
            NewDataDirectory::prepare(self.data_directory(), Self::INIT_DIRECTORY, account)
                .map_err(|error| {
                    let missing = parts::of_half_a_cluster(self);
                    match error.into_kind() {
                        NewDataDirectoryErrorKind::AlreadyInitialized if !missing.is_empty() => {
                            InitErrorKind::Incomplete(missing)
                        }
                        kind => kind.into(),
                    }
                })?;
        self.adopt(&mut new, outside)
            .and_then(|()| fill(&mut new))
            .inspect_err(|_| {
                // The files can be removed even if it cannot be released.
                let _ = pg_proc::release_shared_memory(new.stage());
                new.undo();
            })
    }

    fn adopt(
        &self,
        new: &mut NewDataDirectory,
        outside: &[&Utf8Path],
    ) -> Result<(), InitErrorKind> {
        for path in outside {
            new.adopt_directory(path, self.account())
                .map_err(|error| error.into_kind())?;
        }
        // The guard of a temporary cluster removes everything, and would not wait for a process
        // that holds back another guard.
        match self.is_guarded() {
            true => Ok(()),
            false => new.start_guard().map_err(InitErrorKind::Guard),
        }
    }

    fn run_initdb(
        &self,
        options: &InitOptions,
        new: &NewDataDirectory,
    ) -> Result<(), InitErrorKind> {
        let mut command = self
            .english_command(Program::Initdb)
            .map_err(InitErrorKind::MissingProgram)?
            .args(options.initdb_arguments(self.installation().version(), &new.stage()));
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
        run(command, new, options)
    }
}

/// Runs a program that works in the subdirectory and holds the guard back.
fn run(
    command: Command,
    new: &NewDataDirectory,
    options: &InitOptions,
) -> Result<(), InitErrorKind> {
    let output = hold_guard(command, new).run(options.timeout);
    output.map(|_| ()).map_err(InitErrorKind::Program)
}

/// Has a program that works in the subdirectory hold the guard back.
pub(crate) fn hold_guard(command: Command, new: &NewDataDirectory) -> Command {
    match new.guard() {
        Some(guard) => command.guarded_by(guard),
        None => command,
    }
}
