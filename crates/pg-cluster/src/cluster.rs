//! A cluster: an installation and a data directory.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{Installation, MajorVersion, MissingProgramError, PgVersionFileError, Program};
use pg_proc::{Account, AccountError, CollectedLog, Command, DirectoryGuard, Server};
use pgconf_parse::{AutoConf, ResolveError, Resolver};

use crate::StartOptions;
use crate::log::StartNumber;
use crate::settings::Readable;
use crate::start::{TAIL, Taken, Turn};

/// A data directory and the installation whose programs serve it.
///
/// The directory need not exist yet. Each call reads the state of the directory again, so a
/// `Cluster` also controls a server that another process or an earlier run of the program started
/// or restarted. Almost all methods take `&self`, and the type is `Send + Sync`, so a `Cluster` can
/// be a `static`.
///
/// ```no_run
/// use pg_cluster::{Cluster, InitOptions, Installation, Request, StartOptions, StopPlan};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let installation = Installation::find(&Request::any())?;
/// let cluster = Cluster::new(installation, "data")?;
/// if !cluster.is_initialized() {
///     cluster.init(&InitOptions::new())?;
/// }
/// cluster.settings().set("work_mem", "64MB")?;
/// cluster.start(&StartOptions::new().socket_directory(cluster.data_directory()))?;
/// cluster.stop(&StopPlan::fast())?;
/// # Ok(())
/// # }
/// ```
///
/// # Cleanup
///
/// A server started with [`Ownership::Bound`](crate::Ownership::Bound), the default, belongs to
/// this object: it is shut down when the object is dropped or the process exits for any reason. A
/// server started with [`Ownership::Detached`](crate::Ownership::Detached) continues to run. Only
/// [`remove`](Self::remove) removes the data directory.
#[derive(Debug)]
pub struct Cluster {
    installation: Installation,
    data_directory: Utf8PathBuf,
    config_file: Option<Utf8PathBuf>,
    account: Option<Account>,
    server: Mutex<Option<Arc<OwnServer>>>,
    /// Removes the files after the server, above, has exited.
    guard: Option<DirectoryGuard>,
    /// Held while a server is started. If two threads start it, the first does, and the second
    /// finds it running.
    starting: Turn,
}

/// A server that this object has started, and its options.
#[derive(Debug)]
pub(crate) struct OwnServer {
    pub(crate) process: Server,
    pub(crate) options: StartOptions,
    /// The collected log of the server before.
    pub(crate) collected_before: Option<CollectedLog>,
    /// Distinguishes places in its log from those in the logs of other starts.
    pub(crate) number: StartNumber,
}

impl OwnServer {
    /// The end of its log since its start, whether it writes the log itself or through its log
    /// collector; none if the log cannot be read.
    pub(crate) fn log_tail(&self) -> Option<String> {
        let mut bytes = self.process.log_tail(TAIL).ok()?;
        if let Some(collected) = CollectedLog::find(self.process.postmaster().data_directory()) {
            let before = self.collected_before.as_ref();
            bytes.extend(collected.read_since(before, TAIL).unwrap_or_default());
        }
        let excess = bytes.len().saturating_sub(TAIL);
        Some(String::from_utf8_lossy(bytes.get(excess..)?).into_owned())
    }
}

impl Cluster {
    /// A cluster in this directory, which need not exist yet. A relative path is resolved now,
    /// against the current directory.
    ///
    /// If the caller is root, the server and all programs run as the owner of the data directory.
    /// If the directory does not exist, or root owns it, they run as `postgres`, or as `nobody` if
    /// that account does not exist. [`with_account`](Self::with_account) chooses another account.
    ///
    /// # Errors
    ///
    /// Fails if the current directory cannot be determined or is not UTF-8, or, under root, none of
    /// these accounts exists.
    pub fn new(
        installation: Installation,
        data_directory: impl AsRef<Utf8Path>,
    ) -> Result<Self, ClusterError> {
        let data_directory = absolute(data_directory.as_ref())?;
        let account = Account::for_data_directory(&data_directory).map_err(|error| {
            ClusterError::new(&data_directory, ClusterErrorKind::Account(error))
        })?;
        Ok(Self {
            installation,
            data_directory,
            config_file: None,
            account,
            server: Mutex::new(None),
            guard: None,
            starting: Turn::default(),
        })
    }

    /// A cluster whose configuration is not in its data directory, as on Debian. The setting
    /// `data_directory` in this file and its includes names the data directory; without it the data
    /// directory is the directory of the file.
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new) does, or if the file cannot be read.
    pub fn from_config_file(
        installation: Installation,
        config_file: impl AsRef<Utf8Path>,
    ) -> Result<Self, ClusterError> {
        let config_file = absolute(config_file.as_ref())?;
        let directory = config_file.parent().unwrap_or(Utf8Path::new("/"));
        let read = Resolver::new()
            .major(installation.major_version().first())
            .auto_conf(AutoConf::Ignored)
            .load(&Readable::by(None), config_file.as_std_path())
            .map_err(|error| {
                ClusterError::new(&config_file, ClusterErrorKind::ConfigFile(error))
            })?;
        let data_directory = match read.get("data_directory") {
            Some(found) => directory.join(&*found.value_lossy()),
            None => directory.to_owned(),
        };
        Ok(Self {
            config_file: Some(config_file),
            ..Self::new(installation, data_directory)?
        })
    }

    /// Under root, runs the server and all programs as this account instead of the one that
    /// [`new`](Self::new) chose.
    #[must_use]
    pub fn with_account(mut self, account: Account) -> Self {
        self.account = (!account.is_current()).then_some(account);
        self
    }

    /// Uses this file as `postgresql.conf`. Each start passes it to the server.
    ///
    /// # Errors
    ///
    /// Fails if the path is relative and the current directory cannot be determined.
    pub fn with_config_file(mut self, path: impl AsRef<Utf8Path>) -> Result<Self, ClusterError> {
        self.config_file = Some(absolute(path.as_ref())?);
        Ok(self)
    }

    /// The installation whose programs are used.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The data directory: an absolute path.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// The executable of the server, `postgres`; none for an installation without a server.
    pub fn daemon_path(&self) -> Option<&Utf8Path> {
        self.installation.program(Program::Postgres)
    }

    /// The account that the server and all programs run as; none if it is the account of the
    /// caller.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// The major version of the data directory, from its `PG_VERSION`.
    ///
    /// # Errors
    ///
    /// Fails if the file is missing, or PostgreSQL did not write it.
    pub fn major_version(&self) -> Result<MajorVersion, PgVersionFileError> {
        MajorVersion::from_pg_version_file(self.data_directory.join("PG_VERSION"))
    }

    /// Returns whether the directory is a complete data directory. It has `PG_VERSION`, `base` and
    /// `global/pg_control`, and its `postgresql.conf`, which may be elsewhere (see
    /// [`with_config_file`](Self::with_config_file)).
    pub fn is_initialized(&self) -> bool {
        let has = |name: &str| self.data_directory.join(name).exists();
        has("PG_VERSION") && has("base") && has("global/pg_control") && self.config_file().exists()
    }

    /// A program of this installation, ready to run as the [account](Self::account) of the cluster.
    /// Variables of the caller that start with `PG` do not act on it (see [`Command::env`]). While
    /// it runs, the [guard](Self::guarded_by) of the cluster removes nothing.
    ///
    /// A `pg_dump` or `psql` from `PATH` may be older than the server and refuse to work with it.
    /// This program has the version of the server.
    /// [`ConnectionInfo::env`](crate::ConnectionInfo::env) makes it connect to the server:
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use pg_cluster::{Cluster, Program};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster: Cluster = todo!();
    /// let address = cluster.connection_info()?.ok_or("the server listens nowhere")?;
    /// let dump = cluster
    ///     .command(Program::PgDump)?
    ///     .envs(address.with_user("postgres").env())
    ///     .args(["--schema-only", "app"])
    ///     .run(Duration::from_secs(60))?;
    /// println!("{}", String::from_utf8_lossy(&dump.stdout));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the installation does not have the program.
    pub fn command(&self, program: Program) -> Result<Command, MissingProgramError> {
        let path = self.installation.require(program)?;
        let command = Command::new(path).account(self.account.clone());
        Ok(match &self.guard {
            Some(guard) => command.guarded_by(guard),
            None => command,
        })
    }

    /// Like [`command`](Self::command), with English messages, for programs whose output is read
    /// here.
    pub(crate) fn english_command(&self, program: Program) -> Result<Command, MissingProgramError> {
        Ok(self.command(program)?.env("LC_ALL", "C"))
    }

    /// Gives the cluster a guard that removes its files when this value is dropped or its process
    /// exits for any reason.
    ///
    /// Every program and server that this value starts from now on holds the guard back until all
    /// its processes have exited, so nothing is removed under a running server.
    /// [`init`](Self::init) of a guarded cluster does not start a guard of its own, and relies on
    /// this one to remove unfinished work. So the guard should remove the data directory or a
    /// directory above it.
    ///
    /// ```no_run
    /// use pg_cluster::proc::GuardOptions;
    /// use pg_cluster::{Cluster, InitOptions, Installation, Request};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// std::fs::create_dir("/tmp/experiment")?;
    /// let guard = GuardOptions::new()
    ///     .release_memory_of("/tmp/experiment/data")
    ///     .remove("/tmp/experiment")
    ///     .guard()?;
    /// let cluster = Cluster::new(Installation::find(&Request::any())?, "/tmp/experiment/data")?
    ///     .guarded_by(guard);
    /// cluster.init(&InitOptions::new())?;
    /// // After `cluster` is dropped, or the program has exited, /tmp/experiment does not exist.
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn guarded_by(mut self, guard: DirectoryGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Takes the guard back, for example to [release](DirectoryGuard::release) it and keep the
    /// files. Processes that were started before still hold it back; later ones do not.
    pub fn take_guard(&mut self) -> Option<DirectoryGuard> {
        self.guard.take()
    }

    /// Gives up the server that this value has started, and the guard, without waiting for either.
    ///
    /// A server with a [tenancy](StartOptions::tenancy) runs until its last tenant has left, and a
    /// [detached](crate::Ownership::Detached) one until it is stopped. A bound server without
    /// tenants is shut down in the background, as if its owner had exited. The guard removes its
    /// directories as soon as nothing holds it back.
    pub fn let_go(&mut self) {
        let server = self
            .server
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(server) = server.and_then(Arc::into_inner) {
            // The options share the FIFO that counts the users.
            drop(server.options);
            server.process.leave();
        }
        if let Some(guard) = self.guard.take() {
            guard.remove(Duration::ZERO);
        }
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    pub(crate) fn given_config_file(&self) -> Option<&Utf8Path> {
        self.config_file.as_deref()
    }

    /// The server that this object has started last, which may have exited since.
    pub(crate) fn server(&self) -> Option<Arc<OwnServer>> {
        self.server_slot().clone()
    }

    /// The server that this object has started, if it has not exited.
    pub(crate) fn living_server(&self) -> Option<Arc<OwnServer>> {
        self.server().filter(|server| {
            server.process.exit_status().is_none() && server.process.postmaster().is_alive()
        })
    }

    /// Prevents other threads from starting a server. None if another thread does so for longer
    /// than the limit.
    pub(crate) fn lock_starting(&self, limit: Duration) -> Option<Taken<'_>> {
        self.starting.take(limit)
    }

    pub(crate) fn set_server(&self, server: Option<Arc<OwnServer>>) {
        let before = std::mem::replace(&mut *self.server_slot(), server);
        // The lock is released first: dropping a server may wait until it exits.
        drop(before);
    }

    fn server_slot(&self) -> MutexGuard<'_, Option<Arc<OwnServer>>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, ClusterError> {
    camino::absolute_utf8(path)
        .map_err(|error| ClusterError::new(path, ClusterErrorKind::CurrentDirectory(error)))
}

/// A [`Cluster`] could not be made for a path.
#[derive(Debug, thiserror::Error)]
#[error("failed to determine the cluster of {path}")]
pub struct ClusterError {
    path: Utf8PathBuf,
    #[source]
    kind: ClusterErrorKind,
}

/// The reason of a [`ClusterError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterErrorKind {
    /// A relative path cannot be made absolute.
    #[error("the current directory cannot be determined")]
    CurrentDirectory(#[source] io::Error),
    /// The caller is root, and there is no account to run the server as.
    #[error("no account is known to run the server as")]
    Account(#[source] AccountError),
    /// The configuration file cannot be read.
    #[error("the configuration file cannot be read")]
    ConfigFile(#[source] ResolveError),
}

impl ClusterError {
    pub(crate) fn new(path: &Utf8Path, kind: ClusterErrorKind) -> Self {
        Self {
            path: path.to_owned(),
            kind,
        }
    }

    /// The data directory or the configuration file.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The reason.
    pub fn kind(&self) -> &ClusterErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            ClusterErrorKind::Account(error) => error.hint(),
            _ => None,
        }
    }
}
