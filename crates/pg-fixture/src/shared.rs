//! One temporary server for many processes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Cluster, ConnectionInfo};
use pg_proc::{Directory, DirectoryLock, Tenant};

use crate::builder::TempClusterBuilder;
use crate::databases::{Database, Databases, Sealing, Source};
use crate::error::{TempError, TempErrorKind, at};
use crate::future::in_thread;
use crate::launch::Launched;
use crate::plan::Plan;
use crate::temp_cluster::{Listen, PORT, TempCluster};
use crate::template::{Key, lock_private, private_subdirectory, read, replace};

/// A database of its own in a server that many processes share.
///
/// The first one that asks for a key starts the server, the last one that leaves it ends it, after
/// a [linger time](TempClusterBuilder::linger). That suits runners that give each test a process of
/// its own, such as nextest: a database is made faster than a server is started.
///
/// ```no_run
/// use pg_fixture::SharedCluster;
///
/// let database = SharedCluster::acquire("my-tests")?;
/// println!("{}", database.uri());
/// # Ok::<(), pg_fixture::TempError>(())
/// ```
///
/// Users share the server's roles, its settings and its processes; only the database is their own.
/// Beside those of a [`TempCluster`], the settings are `max_connections = 500`,
/// `max_locks_per_transaction = 256` and `autovacuum = off`, if the caller sets no others.
/// For tests that create roles, change settings or stop the server there is [`TempCluster`].
///
/// # Cleanup
///
/// The kernel counts the users: each holds a FIFO open, and a process that watches the server sees
/// the last of them close it, however they ended. Dropping the value releases the database and
/// takes no time; so does the end of its process, SIGKILL included. The server drops released
/// databases when there are many, when the storage gets full, or with itself.
#[derive(Debug)]
pub struct SharedCluster {
    database: Database,
    /// The cluster of the server, which another process may have started.
    cluster: Cluster,
    /// Let go last.
    _tenant: Tenant,
}

/// The default time for which a server without users is kept: long enough for a test runner
/// to start its next process.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// The FIFO that counts the users, in the server's root.
pub(crate) const USERS: &str = "users";
/// Below the cache: a directory for each key, with a file that says where its server is.
const SHARED: &str = "shared";
const CURRENT: &str = "current";
/// In the data directory: where [`Cluster::log_tail`] looks.
pub(crate) const LOG: &str = "server.log";
/// The data directory in the server's root.
const DATA: &str = "data";

impl SharedCluster {
    /// A database in the server of this key, with all defaults.
    ///
    /// # Errors
    ///
    /// As [`TempClusterBuilder::start`], or if the database cannot be created.
    pub fn acquire(key: &str) -> Result<Self, TempError> {
        TempCluster::builder().share(key)
    }

    /// As [`acquire`](Self::acquire), without blocking the calling thread: see
    /// [`TempClusterBuilder::share_async`].
    ///
    /// # Errors
    ///
    /// Fails as [`acquire`](Self::acquire) does.
    pub fn acquire_async(
        key: &str,
    ) -> impl Future<Output = Result<Self, TempError>> + Send + use<> {
        TempCluster::builder().share_async(key)
    }

    /// Address, user and database, in all the forms that clients take.
    pub fn connection_info(&self) -> &ConnectionInfo {
        self.database.connection_info()
    }

    /// The connection URI: see [`ConnectionInfo::uri`].
    pub fn uri(&self) -> String {
        self.database.uri()
    }

    /// The connection's keyword string: see [`ConnectionInfo::keywords`].
    pub fn keywords(&self) -> String {
        self.database.keywords()
    }

    /// Variables for programs such as `psql`: see [`ConnectionInfo::env`].
    pub fn env(&self) -> Vec<(&'static str, String)> {
        self.database.env()
    }

    /// The name of this user's database.
    pub fn database(&self) -> &str {
        self.database.name()
    }

    /// Replaces the database by a fresh copy under the same name: see [`Database::reset`].
    ///
    /// # Errors
    ///
    /// Fails as [`Database::reset`] does.
    pub fn reset(&self) -> Result<(), TempError> {
        self.database.reset()
    }

    /// The end of the server's log, at most 64 KiB, with what other users have caused.
    pub fn log_tail(&self) -> Option<String> {
        self.cluster.log_tail()
    }
}

impl TempClusterBuilder {
    /// How long a [shared](Self::share) server is kept without users; two seconds unless said
    /// otherwise. What the process says that starts the server counts.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// A database of its own in a server that all processes of this user share which ask with the
    /// same key and the same options. It is a copy of what the setup steps have left.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); with a password, since databases are created without one; or if
    /// the database cannot be created.
    pub fn share(&self, key: &str) -> Result<SharedCluster, TempError> {
        Ok(self.acquire(key)?)
    }

    /// As [`share`](Self::share), without blocking the calling thread.
    ///
    /// The future needs no runtime: a thread does the work and wakes the task. Nothing begins
    /// before the first poll. If the future is dropped, the thread goes on and then drops what it
    /// has made.
    ///
    /// # Errors
    ///
    /// Fails as [`share`](Self::share) does.
    pub fn share_async(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<SharedCluster, TempError>> + Send + use<> {
        let (builder, key) = (self.clone(), key.to_owned());
        in_thread(move || builder.share(&key))
    }

    fn acquire(&self, key: &str) -> Result<SharedCluster, TempErrorKind> {
        if self.init.superuser_password().is_some()
            || self.listen != Listen::SocketOnly
            || self.ownership.is_some()
            || self.logs_statements
        {
            let problem = "a shared server has no password, no TCP, no record of statements and no \
                           ownership but that of its users";
            return Err(TempErrorKind::Option(problem.to_owned()));
        }
        let plan = self.plan()?;
        let place = Place::open(&plan, key)?;
        let entered = {
            let lock = lock_private(&place.path, self.patience)?;
            match place.enter(&plan)? {
                Some(entered) => entered,
                None => place.start(&plan, &lock)?,
            }
        };
        Ok(SharedCluster {
            database: entered.databases.create()?,
            cluster: plan.recipe.cluster(&entered.databases.root().join(DATA))?,
            _tenant: entered.tenant,
        })
    }
}

/// Where the users of a key meet.
#[derive(Debug)]
pub(crate) struct Place {
    path: Utf8PathBuf,
    held: Directory,
    /// What the server is for. The hash of it that names the directory may be that of another key.
    key: Key,
}

/// A shared server that this process is a user of.
struct Entered {
    tenant: Tenant,
    databases: Arc<Databases>,
}

impl Place {
    fn open(plan: &Plan<'_>, key: &str) -> Result<Self, TempErrorKind> {
        let (cache, key) = (&plan.cache, Key::new(&plan.recipe, Some(key)));
        let shared = private_subdirectory(cache.held(), cache.path(), SHARED)?;
        let above = cache.path().join(SHARED);
        Ok(Self {
            held: private_subdirectory(&shared, &above, &key.name())?,
            path: above.join(key.name()),
            key,
        })
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Enters the server that was started last, if it is still there, and is this key's.
    fn enter(&self, plan: &Plan<'_>) -> Result<Option<Entered>, TempErrorKind> {
        let Ok(text) = read(&self.held, CURRENT) else {
            return Ok(None);
        };
        let mut parts = text.splitn(3, '\n');
        let (Some(root), Some(sockets), Some(key)) = (parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        if key != self.key.text() {
            return Ok(None);
        }
        let fifo = Utf8Path::new(root).join(USERS);
        let tenant = Tenant::enter(&fifo).map_err(at(&fifo))?;
        let entered = |tenant| {
            let (root, sockets) = (Utf8Path::new(root), Utf8Path::new(sockets));
            let known = |databases: &Arc<Databases>| databases.root() == root;
            let databases = match with_servers(|servers| servers.iter().find(|s| known(s)).cloned())
            {
                Some(databases) => databases,
                None => remember(Databases::of_prepared(&source(plan, root, sockets))),
            };
            Entered { tenant, databases }
        };
        Ok(tenant.map(entered))
    }

    /// Starts the server, and leaves it to its users, of whom this process is the first.
    fn start(&self, plan: &Plan<'_>, _lock: &DirectoryLock) -> Result<Entered, TempErrorKind> {
        let Launched { temp, tenant } = plan.launch(Some(self))?;
        let (root, sockets) = (temp.path().to_owned(), temp.socket_directory().to_owned());
        let tenant = tenant.ok_or_else(|| at(&root)(io::ErrorKind::NotFound.into()))?;
        let databases = Databases::prepare(&source(plan, &root, &sockets))?;
        let text = format!("{root}\n{sockets}\n{}", self.key.text());
        replace(&self.held, CURRENT, text.as_bytes()).map_err(at(&self.path))?;
        temp.leave();
        Ok(Entered {
            tenant,
            databases: remember(databases),
        })
    }
}

fn source<'a>(plan: &Plan<'a>, root: &'a Utf8Path, sockets: &'a Utf8Path) -> Source<'a> {
    let recipe = &plan.recipe;
    Source {
        root,
        sockets,
        info: recipe.connection(ConnectionInfo::socket(sockets, PORT)),
        database: recipe.database,
        sealing: Sealing::InPlace,
        major: recipe.installation.version().major(),
        patience: plan.builder.patience,
    }
}

/// The servers that this process uses. All users in a process share its sessions.
fn with_servers<T>(work: impl FnOnce(&mut Vec<Arc<Databases>>) -> T) -> T {
    static SERVERS: Mutex<Vec<Weak<Databases>>> = Mutex::new(Vec::new());
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut alive = servers.iter().filter_map(Weak::upgrade).collect();
    let outcome = work(&mut alive);
    *servers = alive.iter().map(Arc::downgrade).collect();
    outcome
}

fn remember(databases: Databases) -> Arc<Databases> {
    let databases = Arc::new(databases);
    with_servers(|servers| servers.push(Arc::clone(&databases)));
    databases
}
