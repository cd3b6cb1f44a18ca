//! How a temporary cluster is to be made.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{Installation, MajorVersion, Request};
use pg_proc::{Account, GuardOptions, Log, Ownership, StopPlan};

use super::error::at;
use super::root::{MARKER, Root};
use super::template::{Cache, CloneError, Recipe, Setup, Template};
use super::{
    Keep, Listen, Owner, PORT, Storage, TempCluster, TempError, TempErrorKind, reaper, storage,
    tuning,
};
use crate::{
    Cluster, ConnectionInfo, DataChecksums, Durability, InitErrorKind, InitOptions, StartErrorKind,
    StartOptions,
};

/// How a temporary cluster is to be made; from [`TempCluster::builder`]. Nothing needs to be said.
///
/// A builder can be kept and [started](Self::start) as often as clusters are wanted; it is `Send`, `Sync` and cheap to clone.
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `start`"]
pub struct TempClusterBuilder {
    installation: Option<Installation>,
    request: Request,
    pub(super) init: InitOptions,
    database: Option<String>,
    settings: Vec<(String, String)>,
    setups: Vec<Setup>,
    storage: Storage,
    pub(super) listen: Listen,
    pub(super) ownership: Option<Ownership>,
    keep: Keep,
    log: Option<Log>,
    cache: Option<Utf8PathBuf>,
    pub(super) linger: Duration,
}

/// How often another port is tried when somebody else took the free one before the server did.
const ATTEMPTS: usize = 10;

impl TempClusterBuilder {
    pub(super) fn new() -> Self {
        Self {
            installation: None,
            request: Request::any(),
            init: InitOptions::new()
                .durability(Durability::NotSynced)
                .data_checksums(DataChecksums::Off),
            database: None,
            settings: Vec::new(),
            setups: Vec::new(),
            storage: Storage::Automatic,
            listen: Listen::SocketOnly,
            ownership: None,
            keep: Keep::Never,
            log: None,
            cache: None,
            linger: super::shared::LINGER,
        }
    }

    /// Use this installation. Otherwise the first one that [`Discovery`](pg_install::Discovery) finds is used, and remembered for the life of the process.
    pub fn installation(mut self, installation: Installation) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Use the first installation found that fulfils this request, such as `"16".parse()?`.
    pub fn version(mut self, request: Request) -> Self {
        self.request = request;
        self
    }

    /// How the template is initialised. The default is [`InitOptions::new`] without waiting for the disk, without data checksums and with WAL
    /// segments of 1 MB (from PostgreSQL 11 on), which make a clone cheaper; what is set here replaces all of that but the last.
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

    /// The superuser's password, which is then asked for.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.init = self.init.password(password);
        self
    }

    /// The database that clients are to connect to; `postgres` if not set. It is created in the template if need be.
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = Some(name.into());
        self
    }

    /// A setting of the server. It wins over those by which this type makes the server fast, such as `fsync = off`.
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

    /// A step that prepares the database, such as migrations: it is run once for each `key`, in the template, and every cluster begins with what
    /// it has left. Several steps run in the order in which they are added.
    ///
    /// **The key has to change whenever the step does**: this library cannot look into a closure. A version number will do, or the text of the
    /// migrations itself, as from `include_str!`.
    ///
    /// The step is run in a thread of its own, so a blocking client can be used even if the caller is inside an async runtime. It has to close its
    /// connections.
    pub fn setup<E: Into<Box<dyn Error + Send + Sync>>>(
        mut self,
        key: impl Into<String>,
        step: impl Fn(&ConnectionInfo) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.setups.push(Setup {
            key: key.into(),
            run: Arc::new(move |info| step(info).map_err(Into::into)),
        });
        self
    }

    /// Where its files are kept.
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// Whether the server can be reached by TCP too.
    pub fn listen(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// What becomes of the server when the process ends. Unless said otherwise it is shut down at once, without a checkpoint, and everything is
    /// removed. With [`Ownership::Detached`] server and files are left to the caller, also when the value is dropped.
    pub fn ownership(mut self, ownership: Ownership) -> Self {
        self.ownership = Some(ownership);
        self
    }

    /// Whether the files are kept, to be looked at.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Where the server's log goes; unless said otherwise its end is kept in memory, for [`TempCluster::log_tail`].
    pub fn log(mut self, log: Log) -> Self {
        self.log = Some(log);
        self
    }

    /// The directory for the templates, in place of the user's own: see [`TempCluster`].
    pub fn cache_directory(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.cache = Some(directory.into());
        self
    }

    /// Makes the cluster and starts its server.
    ///
    /// The first time, the template is made, which takes as long as `initdb` and the setup steps. Others who need the same template wait for that.
    ///
    /// # Errors
    ///
    /// [`TempError`], which says what could not be done. Nothing is left behind then but, perhaps, the template.
    ///
    /// # Cleanup
    ///
    /// See [`TempCluster`].
    pub fn start(&self) -> Result<TempCluster, TempError> {
        Ok(self.run()?)
    }

    fn run(&self) -> Result<TempCluster, TempErrorKind> {
        self.with_recipe(|recipe, cache| self.clone_of_template(recipe, cache, &mut |_, _| Ok(())))
    }

    /// Finds out what is to be made and where it is cached.
    pub(super) fn with_recipe<T>(
        &self,
        then: impl FnOnce(&Recipe<'_>, &Cache) -> Result<T, TempErrorKind>,
    ) -> Result<T, TempErrorKind> {
        self.check()?;
        let installation = self.find_installation()?;
        let account = Account::for_data_directory(Utf8Path::new("/nonexistent"))
            .map_err(|error| TempErrorKind::Cluster(crate::ClusterError::Account(error)))?;
        let mut init = self.init.clone();
        if init.wal_segment_megabytes.is_none()
            && installation.major_version() >= MajorVersion::new(11)
        {
            init.wal_segment_megabytes = Some(1);
        }
        let recipe = Recipe {
            installation: &installation,
            account: account.as_ref(),
            options: &init,
            database: self.database.as_deref().unwrap_or("postgres"),
            settings: &self.settings,
            setups: &self.setups,
        };
        let cache = Cache::open(self.cache.as_deref())?;
        reaper::reap(&cache.directory().join("reaped"));
        if let Storage::Directory(directory) = &self.storage {
            reaper::reap_named(directory);
        }
        then(&recipe, &cache)
    }

    /// Clones the template, which is made first if need be, and starts the server. `adjust` sees the new directory and may change how it is started.
    pub(super) fn clone_of_template(
        &self,
        recipe: &Recipe<'_>,
        cache: &Cache,
        adjust: &mut Adjust<'_>,
    ) -> Result<TempCluster, TempErrorKind> {
        let key = recipe.key();
        let mut is_second = false;
        loop {
            let template = cache.find_or_build(&key, |store| self.build(recipe, store))?;
            match self.clone_and_start(recipe, &template, adjust) {
                Err(Failure::Damaged) if !is_second => {
                    cache.discard(&key)?;
                    is_second = true;
                }
                Err(Failure::Damaged) => {
                    return Err(at(cache.directory())(
                        std::io::ErrorKind::InvalidData.into(),
                    ));
                }
                Err(Failure::Other(kind)) => return Err(kind),
                Ok(cluster) => return Ok(cluster),
            }
        }
    }

    fn check(&self) -> Result<(), TempErrorKind> {
        let refuse = |problem: &str| Err(TempErrorKind::Option(problem.to_owned()));
        if self.init.wal_directory.is_some() {
            return refuse("a temporary cluster keeps its log in its own directory");
        }
        if self
            .database
            .as_deref()
            .is_some_and(|name| name.is_empty() || name.contains(['\0', '\n', '\r']))
        {
            return refuse("the database's name is empty or holds a line break or NUL");
        }
        let is_detached = matches!(self.ownership, Some(Ownership::Detached));
        if is_detached && matches!(self.log, Some(Log::Tail(_))) {
            return refuse("the log of a detached server cannot be kept in this process's memory");
        }
        Ok(())
    }

    fn find_installation(&self) -> Result<Installation, TempErrorKind> {
        static FOUND: OnceLock<Installation> = OnceLock::new();
        if let Some(installation) = &self.installation {
            return Ok(installation.clone());
        }
        let find = || Installation::find(&self.request).map_err(TempErrorKind::Installation);
        if self.request != Request::any() {
            return find();
        }
        match FOUND.get() {
            Some(found) => Ok(found.clone()),
            None => {
                let found = find()?;
                Ok(FOUND.get_or_init(|| found).clone())
            }
        }
    }

    /// Builds in the first storage that has room.
    fn build(
        &self,
        recipe: &Recipe<'_>,
        store: &dyn Fn(&Utf8Path) -> Result<(), TempErrorKind>,
    ) -> Result<(), TempErrorKind> {
        /// What `initdb` writes, roughly.
        const TYPICAL: u64 = 64 << 20;
        let mut outcome = Ok(());
        for storage in self.storage.candidates(TYPICAL, recipe.account) {
            outcome = recipe.make(&storage, store);
            if !outcome.as_ref().is_err_and(is_full) {
                break;
            }
        }
        outcome
    }

    fn clone_and_start(
        &self,
        recipe: &Recipe<'_>,
        template: &Template,
        adjust: &mut Adjust<'_>,
    ) -> Result<TempCluster, Failure> {
        let mut candidates = self
            .storage
            .candidates(template.size(), recipe.account)
            .into_iter()
            .peekable();
        while let Some(storage) = candidates.next() {
            match self.clone_into(&storage, recipe, template, adjust) {
                // Memory may have been filled up by somebody else meanwhile.
                Err(Failure::Other(error)) if is_full(&error) && candidates.peek().is_some() => {}
                other => return other,
            }
        }
        Err(Failure::Other(TempErrorKind::Option(
            "there is no storage".to_owned(),
        )))
    }

    fn clone_into(
        &self,
        storage: &Utf8Path,
        recipe: &Recipe<'_>,
        template: &Template,
        adjust: &mut Adjust<'_>,
    ) -> Result<TempCluster, Failure> {
        let account = recipe.account;
        let root = Root::create(storage, account)?;
        let sockets = if storage::is_fit_for_sockets(storage) {
            None
        } else {
            Some(Root::create(Utf8Path::new("/tmp"), account)?)
        };
        let mut guard = GuardOptions::new()
            .release_memory_of(root.path().join("data"))
            .remove_marked(root.path(), MARKER);
        if let Some(sockets) = &sockets {
            guard = guard.remove_marked(sockets.path(), MARKER);
        }
        let guard = guard.guard().map_err(TempErrorKind::Guard)?;
        let data = root.subdirectory("data", account)?;
        let socket_directory = sockets
            .as_ref()
            .unwrap_or(&root)
            .subdirectory("s", account)?;
        let mut cluster =
            Cluster::new(recipe.installation.clone(), &data).map_err(TempErrorKind::Cluster)?;
        if let Some(account) = account {
            cluster = cluster.with_account(account.clone());
        }
        let mut temp = TempCluster {
            cluster: cluster.with_guard(guard),
            roots: std::iter::once(root).chain(sockets).collect(),
            socket_directory,
            info: ConnectionInfo::socket("/", PORT),
            keep: self.keep,
            owner: match self.ownership {
                Some(Ownership::Detached) => Owner::Caller,
                _ => Owner::Value,
            },
        };
        let mut options = self.start_options(&temp, recipe);
        if let Some(root) = temp.roots.first() {
            adjust(root, &mut options)?;
        }
        template.clone_start(&data, account)?;
        if self.starts_early() {
            // See `TempCluster` on why the server may start before its databases are there.
            std::thread::scope(|scope| {
                let databases = std::thread::Builder::new()
                    .name("pg-cluster clone".to_owned())
                    .spawn_scoped(scope, || template.clone_databases(&data, account));
                let started = self.start_server(&temp, recipe, options);
                let cloned = match databases {
                    Ok(thread) => thread.join().unwrap_or(Err(CloneError::Damaged)),
                    Err(_) => template.clone_databases(&data, account),
                };
                cloned?;
                temp.info = started?;
                Ok::<_, Failure>(())
            })?;
        } else {
            template.clone_databases(&data, account)?;
            temp.info = self.start_server(&temp, recipe, options)?;
        }
        Ok(temp)
    }

    fn starts_early(&self) -> bool {
        self.listen == Listen::SocketOnly
            && self.setups.is_empty()
            && self.init.extra_arguments.is_empty()
            && tuning::leaves_databases_alone(&self.settings)
    }

    fn start_options(&self, temp: &TempCluster, recipe: &Recipe<'_>) -> StartOptions {
        let ownership = self.ownership.clone();
        let options = StartOptions::new()
            .socket_directory(&temp.socket_directory)
            .ownership(ownership.unwrap_or_else(|| Ownership::Bound(StopPlan::throw_away())));
        let options = match self.listen {
            Listen::SocketOnly => options.port(PORT).listen_addresses::<&str>([]),
            Listen::Loopback => options.listen_addresses(["127.0.0.1"]),
        };
        let version = recipe.installation.version();
        let options = options.settings(tuning::settings(version, &self.settings));
        match &self.log {
            Some(log) => options.log(log.clone()),
            None => options,
        }
    }

    fn start_server(
        &self,
        temp: &TempCluster,
        recipe: &Recipe<'_>,
        options: StartOptions,
    ) -> Result<ConnectionInfo, TempErrorKind> {
        let info = match self.listen {
            Listen::SocketOnly => {
                temp.cluster.start(&options).map_err(TempErrorKind::Start)?;
                ConnectionInfo::socket(&temp.socket_directory, PORT)
            }
            Listen::Loopback => {
                let port = start_on_free_port(&temp.cluster, &options)?;
                ConnectionInfo::tcp("127.0.0.1", port)
            }
        };
        let info = info
            .with_user(&recipe.options.user)
            .with_database(recipe.database);
        Ok(match &recipe.options.password {
            Some(password) => info.with_password(password),
            None => info,
        })
    }
}

/// Changes how a clone is started.
pub(super) type Adjust<'a> = dyn FnMut(&Root, &mut StartOptions) -> Result<(), TempErrorKind> + 'a;

/// Between our finding a free port and the server's binding it somebody else may take it: then another one is tried.
fn start_on_free_port(cluster: &Cluster, options: &StartOptions) -> Result<u16, TempErrorKind> {
    let mut attempts = 0;
    loop {
        let port = free_port().map_err(at("127.0.0.1"))?;
        attempts += 1;
        match cluster.start(&options.clone().port(port)) {
            Ok(_) => return Ok(port),
            Err(error)
                if matches!(error.kind(), StartErrorKind::AddressInUse(_))
                    && attempts < ATTEMPTS => {}
            Err(error) => return Err(TempErrorKind::Start(error)),
        }
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

fn is_full(error: &TempErrorKind) -> bool {
    match error {
        TempErrorKind::File { cause, .. } => matches!(
            cause.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ),
        TempErrorKind::Start(error) => matches!(error.kind(), StartErrorKind::DiskFull(_)),
        TempErrorKind::Init(error) => match error.kind() {
            InitErrorKind::Program(error) => {
                String::from_utf8_lossy(&error.stderr).contains("No space left")
            }
            InitErrorKind::Directory(cause) => cause.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        },
        _ => false,
    }
}

/// Why a clone was not made.
enum Failure {
    /// The template has to be made again.
    Damaged,
    Other(TempErrorKind),
}

impl From<TempErrorKind> for Failure {
    fn from(kind: TempErrorKind) -> Self {
        Self::Other(kind)
    }
}

impl From<CloneError> for Failure {
    fn from(error: CloneError) -> Self {
        match error {
            CloneError::Damaged => Self::Damaged,
            CloneError::Target(kind) => Self::Other(kind),
        }
    }
}
