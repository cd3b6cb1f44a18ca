//! Making a temporary cluster as its builder says: the template, the clone, the server.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use pg_install::{Installation, MajorVersion, Request};
use pg_proc::{Account, GuardOptions, Log, Ownership, StopPlan};

use crate::builder::TempClusterBuilder;
use crate::error::TempErrorKind;
use crate::error::at;
use crate::root::{MARKER, Root};
use crate::storage::{self, Storage};
use crate::temp_cluster::{Keep, Listen, Owner, PORT, TempCluster};
use crate::template::{Cache, CloneError, Recipe, Template};
use crate::{reaper, tuning};
use pg_cluster::{Cluster, ConnectionInfo, InitErrorKind, StartErrorKind, StartOptions};

/// How often another port is tried when somebody else took the free one before the server did.
const ATTEMPTS: usize = 10;

/// How long a server leaves its databases alone: the first autovacuum worker comes after
/// `autovacuum_naptime`, a minute, divided by the number of databases, of which a template without
/// setup steps has four at most.
const UNTIL_FIRST_WORKER: Duration = Duration::from_secs(10);

impl TempClusterBuilder {
    pub(crate) fn make(&self) -> Result<TempCluster, TempErrorKind> {
        self.with_recipe(|recipe, cache| self.clone_of_template(recipe, cache, &mut |_, _| Ok(())))
    }

    /// Finds out what is to be made and where it is cached.
    pub(crate) fn with_recipe<T>(
        &self,
        then: impl FnOnce(&Recipe<'_>, &Cache) -> Result<T, TempErrorKind>,
    ) -> Result<T, TempErrorKind> {
        self.check()?;
        let installation = self.find_installation()?;
        let account = Account::for_data_directory(Utf8Path::new("/nonexistent"))
            .map_err(|error| TempErrorKind::Cluster(pg_cluster::ClusterError::Account(error)))?;
        let mut init = self.init.clone();
        if init.wal_segment_size().is_none()
            && installation.major_version() >= MajorVersion::new(11)
        {
            init = init.wal_segment_megabytes(1);
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

    /// Clones the template, which is made first if need be, and starts the server. `adjust` sees
    /// the new directory and may change how it is started.
    pub(crate) fn clone_of_template(
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
        if self.init.wal_location().is_some() {
            return refuse("a temporary cluster keeps its log in its own directory");
        }
        if self
            .database
            .as_deref()
            .is_some_and(|name| name.is_empty() || name.contains(['\0', '\n', '\r']))
        {
            return refuse("the database's name is empty or holds a line break or NUL");
        }
        if self.is_detached() && matches!(self.log, Some(Log::Tail(_))) {
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
        let early = self.starts_early();
        while let Some(storage) = candidates.next() {
            match self.clone_into(&storage, recipe, template, early, adjust) {
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
        early: bool,
        adjust: &mut Adjust<'_>,
    ) -> Result<TempCluster, Failure> {
        let mut temp = self.directories(storage, recipe)?;
        let mut options = self.start_options(&temp, recipe);
        if let Some(root) = temp.roots.first() {
            adjust(root, &mut options)?;
        }
        let (data, account) = (temp.cluster.data_directory(), recipe.account);
        template.clone_start(data, account)?;
        temp.info = if early {
            // See `TempCluster` on why the server may start before its databases are there.
            let begun = Instant::now();
            let (started, cloned) = std::thread::scope(|scope| {
                let databases = std::thread::Builder::new()
                    .name("pg-cluster clone".to_owned())
                    .spawn_scoped(scope, || template.clone_databases(data, account));
                let started = self.start_server(&temp, recipe, options);
                let cloned = match databases {
                    Ok(thread) => thread.join().unwrap_or(Err(CloneError::Damaged)),
                    Err(_) => template.clone_databases(data, account),
                };
                (started, cloned)
            });
            cloned?;
            if begun.elapsed() > UNTIL_FIRST_WORKER {
                drop(temp);
                return self.clone_into(storage, recipe, template, false, adjust);
            }
            started?
        } else {
            template.clone_databases(data, account)?;
            self.start_server(&temp, recipe, options)?
        };
        temp.keep = self.keep;
        if self.is_detached() {
            temp.owner = Owner::Caller;
        }
        Ok(temp)
    }

    /// Marked, guarded directories without a server.
    fn directories(
        &self,
        storage: &Utf8Path,
        recipe: &Recipe<'_>,
    ) -> Result<TempCluster, TempErrorKind> {
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
        Ok(TempCluster {
            cluster: cluster.guarded_by(guard),
            roots: std::iter::once(root).chain(sockets).collect(),
            socket_directory,
            info: ConnectionInfo::socket("/", PORT),
            // Whatever the caller wants of it is wanted of one that has started.
            keep: Keep::Never,
            owner: Owner::Value,
        })
    }

    fn is_detached(&self) -> bool {
        matches!(self.ownership, Some(Ownership::Detached))
    }

    /// Not if it is detached: what has started has to end if the clone fails.
    fn starts_early(&self) -> bool {
        self.listen == Listen::SocketOnly
            && !self.is_detached()
            && self.setups.is_empty()
            && self.init.additional_arguments().is_empty()
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
            .with_user(recipe.options.superuser())
            .with_database(recipe.database);
        Ok(match recipe.options.superuser_password() {
            Some(password) => info.with_password(password),
            None => info,
        })
    }
}

/// Changes how a clone is started.
pub(crate) type Adjust<'a> = dyn FnMut(&Root, &mut StartOptions) -> Result<(), TempErrorKind> + 'a;

/// Between our finding a free port and the server's binding it somebody else may take it: then
/// another one is tried.
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
        TempErrorKind::File(_, cause) => matches!(
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
