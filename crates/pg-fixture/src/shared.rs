//! One temporary server for many processes.

use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Cluster, ConnectionInfo};
use pg_proc::{Directory, DirectoryLock, Endpoint, SocketPath, Tenant, ping};

use crate::builder::TempClusterBuilder;
use crate::error::{TempError, TempErrorKind, at};
use crate::launch::Launched;
use crate::plan::Plan;
use crate::root::random_name;
use crate::sql::{Session, identifier, literal};
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
/// For tests that create roles, change settings or stop the server there is [`TempCluster`].
///
/// # Cleanup
///
/// The kernel counts the users: each holds a FIFO open, and a process that watches the server sees
/// the last of them close it, however they ended. Dropping the value drops the database. A user
/// that is killed leaves its database until the server goes.
#[derive(Debug)]
pub struct SharedCluster {
    info: ConnectionInfo,
    database: String,
    /// As whom and where databases are created and dropped.
    administration: Administration,
    /// The cluster of the server, which another process may have started.
    cluster: Cluster,
    /// Let go last.
    _tenant: Tenant,
}

#[derive(Clone, Debug)]
struct Administration {
    sockets: Utf8PathBuf,
    user: String,
    database: String,
}

/// How long a server without users is kept if nothing else is said: long enough for a test runner
/// to start its next process.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// How long the server may take for one message.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same when dropping, which must not hang.
const DROP_PATIENCE: Duration = Duration::from_secs(5);
/// The FIFO that counts the users, in the server's root.
pub(crate) const USERS: &str = "users";
/// Below the cache: a directory for each key, with a file that says where its server is.
const SHARED: &str = "shared";
const CURRENT: &str = "current";
/// In the data directory: where [`Cluster::log_tail`] looks.
pub(crate) const LOG: &str = "server.log";

impl SharedCluster {
    /// A database in the server of this key, with all defaults.
    ///
    /// # Errors
    ///
    /// As [`TempClusterBuilder::start`], or if the database cannot be created.
    pub fn acquire(key: &str) -> Result<Self, TempError> {
        TempCluster::builder().share(key)
    }

    /// Address, user and database, in all the forms that clients take.
    pub fn connection_info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// The connection URI: see [`ConnectionInfo::uri`].
    pub fn uri(&self) -> String {
        self.info.uri()
    }

    /// The connection's keyword string: see [`ConnectionInfo::keywords`].
    pub fn keywords(&self) -> String {
        self.info.keywords()
    }

    /// Variables for programs such as `psql`: see [`ConnectionInfo::env`].
    pub fn env(&self) -> Vec<(&'static str, String)> {
        self.info.env()
    }

    /// The name of this user's database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The end of the server's log, at most 64 KiB, with what other users have caused.
    pub fn log_tail(&self) -> Option<String> {
        self.cluster.log_tail()
    }
}

impl Drop for SharedCluster {
    fn drop(&mut self) {
        let name = identifier(&self.database);
        let Administration {
            sockets,
            user,
            database,
        } = &self.administration;
        // A server that has been stopped takes connections as long as there is room for them, and
        // none after that.
        let socket = SocketPath::new(sockets, PORT).map(Endpoint::unix);
        if !socket.is_ok_and(|socket| ping(&socket, DROP_PATIENCE).is_accepting()) {
            return;
        }
        if let Ok(mut session) = Session::open(sockets, PORT, user, database, DROP_PATIENCE) {
            // `WITH (FORCE)` came with PostgreSQL 13.
            let literal = literal(&self.database);
            let _ = session.run(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {literal}"
            ));
            let _ = session.run(&format!("DROP DATABASE IF EXISTS {name}"));
        }
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

    fn acquire(&self, key: &str) -> Result<SharedCluster, TempErrorKind> {
        if self.init.superuser_password().is_some()
            || self.listen != Listen::SocketOnly
            || self.ownership.is_some()
            || self.logs_statements
        {
            let problem = "a shared server has no password, no TCP, no record of statements and no ownership but \
                 that of its users";
            return Err(TempErrorKind::Option(problem.to_owned()));
        }
        let plan = self.plan()?;
        let place = Place::open(&plan, key)?;
        let entered = {
            let lock = lock_private(&place.path, self.patience)?;
            match place.enter()? {
                Some(entered) => entered,
                None => place.start(&plan, &lock)?,
            }
        };
        entered.create_database(&plan)
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
    root: Utf8PathBuf,
    sockets: Utf8PathBuf,
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
    fn enter(&self) -> Result<Option<Entered>, TempErrorKind> {
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
        Ok(tenant.map(|tenant| Entered {
            tenant,
            root: root.into(),
            sockets: sockets.into(),
        }))
    }

    /// Starts the server, and leaves it to its users, of whom this process is the first.
    fn start(&self, plan: &Plan<'_>, _lock: &DirectoryLock) -> Result<Entered, TempErrorKind> {
        let Launched { temp, tenant } = plan.launch(Some(self))?;
        let (root, sockets) = (temp.path().to_owned(), temp.socket_directory().to_owned());
        let tenant = tenant.ok_or_else(|| at(&root)(io::ErrorKind::NotFound.into()))?;
        let text = format!("{root}\n{sockets}\n{}", self.key.text());
        replace(&self.held, CURRENT, text.as_bytes()).map_err(at(&self.path))?;
        temp.leave();
        Ok(Entered {
            tenant,
            root,
            sockets,
        })
    }
}

impl Entered {
    fn create_database(self, plan: &Plan<'_>) -> Result<SharedCluster, TempErrorKind> {
        let recipe = &plan.recipe;
        // Nobody may be connected to a database while it is copied.
        let database = if recipe.database == "postgres" {
            "template1"
        } else {
            "postgres"
        };
        let user = recipe.options.superuser();
        let name = format!("t_{}", random_name());
        let statement = format!(
            "CREATE DATABASE {} TEMPLATE {}",
            identifier(&name),
            identifier(recipe.database)
        );
        Session::open(&self.sockets, PORT, user, database, PATIENCE)
            .and_then(|mut session| session.run(&statement))
            .map_err(|error| TempErrorKind::Database(name.clone(), error.into()))?;
        Ok(SharedCluster {
            info: ConnectionInfo::socket(&self.sockets, PORT)
                .with_user(user)
                .with_database(&name),
            database: name,
            administration: Administration {
                sockets: self.sockets,
                user: user.to_owned(),
                database: database.to_owned(),
            },
            cluster: recipe.cluster(&self.root.join("data"))?,
            _tenant: self.tenant,
        })
    }
}
