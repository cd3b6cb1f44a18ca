//! The options of a temporary cluster.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_install::{Installation, Request};
use pg_proc::{Log, Ownership};

use crate::error::TempError;
use crate::log::OnPanic;
use crate::replicas::Replication;
use crate::storage::Storage;
use crate::temp_cluster::{Keep, Listen, SystemIdentifier, TempCluster};
use crate::template::Setup;
use pg_cluster::{ConnectionInfo, DataChecksums, Durability, InitOptions};

/// The time that another process may take to make a template: `initdb` and setup steps.
const PATIENCE: Duration = Duration::from_secs(600);

/// The options of a temporary cluster; from [`TempCluster::builder`]. All of them have defaults.
///
/// Each call of [`start`](Self::start) makes another cluster from the same builder. A builder is
/// `Send`, `Sync` and cheap to clone.
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `start`"]
pub struct TempClusterBuilder {
    pub(crate) installation: Option<Installation>,
    pub(crate) request: Request,
    pub(crate) init: InitOptions,
    pub(crate) database: Option<String>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) setups: Vec<Setup>,
    pub(crate) hba: Option<String>,
    pub(crate) ident: Option<String>,
    pub(crate) storage: Storage,
    pub(crate) listen: Listen,
    pub(crate) ownership: Option<Ownership>,
    pub(crate) keep: Keep,
    pub(crate) log: Option<Log>,
    pub(crate) cache: Option<Utf8PathBuf>,
    pub(crate) linger: Duration,
    pub(crate) patience: Duration,
    pub(crate) system_identifier: SystemIdentifier,
    pub(crate) logs_statements: bool,
    pub(crate) on_panic: OnPanic,
    pub(crate) replication: Option<Replication>,
    pub(crate) preloaded: Vec<String>,
    pub(crate) extensions: Vec<String>,
    #[cfg(feature = "tls")]
    pub(crate) has_tls: bool,
}

impl TempClusterBuilder {
    pub(crate) fn new() -> Self {
        Self {
            installation: None,
            request: Request::any(),
            init: InitOptions::new()
                .durability(Durability::NotSynced)
                .data_checksums(DataChecksums::Off),
            database: None,
            settings: Vec::new(),
            setups: Vec::new(),
            hba: None,
            ident: None,
            storage: Storage::Automatic,
            listen: Listen::SocketOnly,
            ownership: None,
            keep: Keep::Never,
            log: None,
            cache: None,
            linger: crate::shared::LINGER,
            patience: PATIENCE,
            system_identifier: SystemIdentifier::Own,
            logs_statements: false,
            on_panic: OnPanic::PrintLog,
            replication: None,
            preloaded: Vec::new(),
            extensions: Vec::new(),
            #[cfg(feature = "tls")]
            has_tls: false,
        }
    }

    /// Use this installation. Otherwise the first one that [`Discovery`](pg_install::Discovery)
    /// finds is used, and remembered for the life of the process.
    pub fn installation(mut self, installation: Installation) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Use the first installation found that fulfils this request, such as `"16".parse()?`.
    pub fn version(mut self, request: Request) -> Self {
        self.request = request;
        self
    }

    /// Sets how the template is initialized. The default is [`InitOptions::new`] without waiting
    /// for the disk, without data checksums and with WAL segments of 1 MB (from PostgreSQL 11 on),
    /// which make a clone cheaper. Options that are passed here replace these defaults, but
    /// WAL segments stay at 1 MB unless the options set their size.
    ///
    /// [`wal_directory`](InitOptions::wal_directory) cannot be used here.
    pub fn init(mut self, options: InitOptions) -> Self {
        self.init = options;
        self
    }

    /// The name of the superuser; `postgres` if not set.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.init = self.init.user(name);
        self
    }

    /// Sets the superuser's password. Clients then have to give it.
    ///
    /// The template has a random password, which is not stored. Each clone gets its own password
    /// before its server starts, which takes some tens of milliseconds. Setup steps have to use the
    /// password in the connection information that is passed to them.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.init = self.init.password(password);
        self
    }

    /// Sets the database that clients connect to; `postgres` if not set. It is created in the
    /// template if it does not exist.
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = Some(name.into());
        self
    }

    /// Sets a setting of the server. It overrides the settings that make temporary servers fast,
    /// such as `fsync = off`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Several settings of the server.
    pub fn settings<N: Into<String>, V: Into<String>>(
        mut self,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let settings = settings
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        self.settings.extend(settings);
        self
    }

    /// A step that prepares the database, such as migrations: it is run once for each `key`, in the
    /// template, and every cluster begins with what it has left. Several steps run in the order in
    /// which they are added.
    ///
    /// **The key has to change whenever the step does**: this library cannot look into a closure. A
    /// version number will do, or the text of the migrations itself, as from `include_str!`.
    ///
    /// The step is run in a thread of its own, so a blocking client can be used even if the caller
    /// is inside an async runtime. It has to close its connections.
    pub fn setup<E: Into<Box<dyn Error + Send + Sync>>>(
        mut self,
        key: impl Into<String>,
        step: impl Fn(&ConnectionInfo) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.setups.push(Setup {
            key: key.into().into(),
            run: Arc::new(move |info| step(info).map_err(Into::into)),
        });
        self
    }

    /// The access rules of the cluster: the text of a `pg_hba.conf`, in place of that of `initdb`.
    ///
    /// Rules for the superuser come before these: over the Unix socket and, with
    /// [`Listen::Loopback`], from 127.0.0.1, with the method that `initdb` has chosen. So
    /// [`TempCluster::connection_info`] is of use whatever the rules say, and rules for other users
    /// can be tested. In errors the lines are counted with these one or two before them.
    ///
    /// The rules hold for each cluster from its start on, and not for setup steps: clusters with
    /// different rules use one template. See [`Cluster::hba`](pg_cluster::Cluster::hba) for
    /// changing the rules of a cluster that runs.
    ///
    /// ```no_run
    /// use pg_fixture::TempCluster;
    ///
    /// let temp = TempCluster::builder()
    ///     .hba("local all bob scram-sha-256\nlocal all all peer map=test\n")
    ///     .ident("test root alice\n")
    ///     .start()?;
    /// # Ok::<(), pg_fixture::TempError>(())
    /// ```
    pub fn hba(mut self, rules: impl Into<String>) -> Self {
        self.hba = Some(rules.into());
        self
    }

    /// The user name maps of the cluster: the text of a `pg_ident.conf`, for [rules](Self::hba)
    /// with the option `map`.
    pub fn ident(mut self, maps: impl Into<String>) -> Self {
        self.ident = Some(maps.into());
        self
    }

    /// Sets where the files of the cluster are kept.
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// Sets whether the server listens on TCP, too.
    pub fn listen(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// Sets what happens to the server when the process exits. By default it is shut down
    /// immediately, without a checkpoint, and its files are removed. With [`Ownership::Detached`]
    /// server and files are left to the caller, even when the value is dropped.
    pub fn ownership(mut self, ownership: Ownership) -> Self {
        self.ownership = Some(ownership);
        self
    }

    /// Sets whether the files are kept for inspection.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Sets where the server's log goes. By default its last 1 MiB is kept in memory, for
    /// [`TempCluster::log_tail`] and [`wait_for_log`](TempCluster::wait_for_log).
    pub fn log(mut self, log: Log) -> Self {
        self.log = Some(log);
        self
    }

    /// The directory for the templates, in place of the user's own: see [`TempCluster`].
    pub fn cache_directory(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.cache = Some(directory.into());
        self
    }

    /// Sets how long to wait for another process that makes the same template, or starts the same
    /// [shared](Self::share) server. The default is ten minutes. That process may be
    /// stopped, or its setup steps may hang.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets which system identifier the cluster has. Unless set, it has one of its own.
    pub fn system_identifier(mut self, identifier: SystemIdentifier) -> Self {
        self.system_identifier = identifier;
        self
    }

    /// Makes the cluster and starts its server.
    ///
    /// The first time, the template is made, which takes as long as `initdb` and the setup steps.
    /// Other processes that need the same template [wait](Self::patience) for that.
    ///
    /// # Errors
    ///
    /// Fails if the template cannot be made or the server cannot be started. Only the template may
    /// be left on disk then.
    ///
    /// # Cleanup
    ///
    /// See [`TempCluster`].
    pub fn start(&self) -> Result<TempCluster, TempError> {
        Ok(self.plan()?.launch(None)?.temp)
    }
}
