//! Databases in a running server: copied from a sealed template, dropped when there are many.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::ConnectionInfo;
use pg_proc::{DirectoryLock, Maker, TryLock, available_space};

#[cfg(doc)]
use crate::builder::TempClusterBuilder;
use crate::error::{TempError, TempErrorKind, at};
use crate::root::random_name;
use crate::sql::{Rows, Session, SqlError, identifier, literal};
use crate::temp_cluster::TempCluster;

/// A database of its own in a temporary server, for one test.
///
/// It comes from [`TempCluster::database`](crate::TempCluster::database), and is a copy of the
/// database that the setup steps have prepared. The server's roles, settings and processes are
/// shared with its other databases.
///
/// ```no_run
/// use pg_fixture::TempCluster;
///
/// let server = TempCluster::start()?;
/// let database = server.database()?;
/// println!("{}", database.uri());
/// # Ok::<(), pg_fixture::TempError>(())
/// ```
///
/// # Cleanup
///
/// Dropping the value takes no time: the database is released. The server drops released databases
/// when there are many, when the storage gets full, or with itself. Connections that are still open
/// then are closed.
#[derive(Debug)]
pub struct Database {
    info: ConnectionInfo,
    name: String,
    server: Arc<Databases>,
    _claim: Claim,
}

/// The databases of one server.
///
/// Below the server's root, the directory `databases` has a directory for each database that is in
/// use, locked by its user. The kernel releases the lock however that process exits, so a database
/// without a directory, or with one that is not locked, is not in use. A database that was dropped
/// by its user and one whose user was killed are the same case.
#[derive(Debug)]
pub(crate) struct Databases {
    root: Utf8PathBuf,
    /// The connection of the users, except for the database.
    info: ConnectionInfo,
    sockets: Utf8PathBuf,
    user: String,
    template: String,
    /// The major version of the server.
    major: u16,
    /// The time to wait for a template that is in use.
    patience: Duration,
    /// Sessions that wait for the next statement.
    idle: Mutex<Vec<Session>>,
}

/// The connection to a server, and the source of its databases.
#[derive(Clone, Debug)]
pub(crate) struct Source<'a> {
    /// The root directory of the server, with its files in `data`.
    pub(crate) root: &'a Utf8Path,
    pub(crate) sockets: &'a Utf8Path,
    pub(crate) info: ConnectionInfo,
    /// The database that the setup steps have prepared.
    pub(crate) database: &'a str,
    /// The use that is made of that database.
    pub(crate) sealing: Sealing,
    pub(crate) major: u16,
    pub(crate) patience: Duration,
}

/// Which database is sealed: closed to connections, so that it can be copied at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// A copy of it: users may connect to the database itself.
    Copy,
    /// The database itself, unless it is one that `initdb` makes, in which clients expect to be
    /// able to connect.
    InPlace,
}

/// A directory of this name, locked: the database of the same name is in use.
#[derive(Debug)]
struct Claim {
    path: Utf8PathBuf,
    _lock: DirectoryLock,
    maker: Maker,
}

/// The time limit for one message of the server.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest wait for a template that is in use. One attempt takes the server five
/// seconds (`CountOtherDBBackends` in procarray.c).
const TEMPLATE_PATIENCE: Duration = Duration::from_secs(20);
/// The time limit for the sessions of a database to end.
const SESSIONS_PATIENCE: Duration = Duration::from_secs(10);
/// The interval at which those sessions are checked: the server does not report their end.
const PAUSE: Duration = Duration::from_millis(1);
/// Sessions of one process that are kept open for the next statement.
const MOST_IDLE: usize = 2;
/// The number of released databases, of at least 8 MB each, at which they are dropped.
const MANY: usize = 64;
/// The same when the storage has less room than [`TIGHT`].
const FEW: usize = 4;
/// In bytes.
const TIGHT: u64 = 1 << 30;
/// In the server's root: a directory for each database in use.
const IN_USE: &str = "databases";
/// In the server's root: how many of its databases are none of ours.
const OTHERS: &str = "other-databases";
const TEMPLATE: &str = "pg_fixture_template";
const PREFIX: &str = "pgt_";
/// Sessions are opened in this database: `initdb` makes it, and it is never copied.
const ADMINISTRATION: &str = "postgres";

/// The template is in use (`ERRCODE_OBJECT_IN_USE`).
const IN_USE_CODE: &str = "55006";
const NO_SUCH_DATABASE: &str = "3D000";
const DUPLICATE_DATABASE: &str = "42P04";
/// The database accepts no connections (`CheckMyDatabase` in postinit.c).
const CLOSED: &str = "55000";
const DISK_FULL: &str = "53100";

impl Database {
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

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Replaces the database by a fresh copy under the same name. Sessions in it are terminated.
    ///
    /// # Errors
    ///
    /// If a session does not end within ten seconds, or a prepared transaction is left in the
    /// database; then it stays as it is. If the copy cannot be made; then there is no database of
    /// this name until the next call succeeds.
    pub fn reset(&self) -> Result<(), TempError> {
        Ok(self.server.reset(&self.name)?)
    }
}

impl TempCluster {
    /// Makes a database of its own in this server, a copy of the server's
    /// [database](TempClusterBuilder::database) as it is when this is called for the first time:
    /// for tests that share a server in one process. For several processes there is
    /// [`SharedCluster`](crate::SharedCluster).
    ///
    /// # Errors
    ///
    /// If a connection to the server's database is open when this is called for the first time; if
    /// the server has a password, since databases are created without one; or if the database
    /// cannot be created, as when the server has been stopped.
    pub fn database(&self) -> Result<Database, TempError> {
        let mut prepared = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let databases = match &*prepared {
            Some(databases) => Arc::clone(databases),
            None => Arc::clone(prepared.insert(Arc::new(self.prepare_databases()?))),
        };
        drop(prepared);
        Ok(databases.create()?)
    }

    fn prepare_databases(&self) -> Result<Databases, TempErrorKind> {
        if self.env().iter().any(|(name, _)| *name == "PGPASSWORD") {
            let problem = "databases are created without a password, and the server has one";
            return Err(TempErrorKind::Option(problem.to_owned()));
        }
        Databases::prepare(&Source {
            root: self.path(),
            sockets: &self.socket_directory,
            info: self.info.clone(),
            database: self.info.database().unwrap_or(ADMINISTRATION),
            sealing: Sealing::Copy,
            major: self.cluster.installation().version().major(),
            patience: TEMPLATE_PATIENCE,
        })
    }
}

impl Databases {
    /// Prepares a server whose databases were not prepared before.
    pub(crate) fn prepare(source: &Source<'_>) -> Result<Self, TempErrorKind> {
        let databases = Self::of_prepared(source);
        let path = databases.root.join(IN_USE);
        match make_directory(&path) {
            // The last attempt failed after this.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(at(&path))?,
        }
        databases
            .seal(source)
            .map_err(|error| databases.explain(&databases.template, source.database, error))?;
        let (note, others) = (databases.root.join(OTHERS), databases.on_disk());
        fs::write(&note, others.unwrap_or_default().to_string()).map_err(at(&note))?;
        Ok(databases)
    }

    /// The databases of a server that another process prepared.
    pub(crate) fn of_prepared(source: &Source<'_>) -> Self {
        let is_copied =
            source.sealing == Sealing::Copy || matches!(source.database, "postgres" | "template1");
        Self {
            root: source.root.to_owned(),
            info: source.info.clone(),
            sockets: source.sockets.to_owned(),
            user: source.info.user().unwrap_or_default().to_owned(),
            template: match is_copied {
                true => TEMPLATE.to_owned(),
                false => source.database.to_owned(),
            },
            major: source.major,
            patience: source.patience.min(TEMPLATE_PATIENCE),
            idle: Mutex::default(),
        }
    }

    pub(crate) fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Closes the template to connections.
    ///
    /// One session has been in it before: that leaves `pg_internal.init`, which each copy gets too.
    /// Without that file the first session of each copy would read the system catalogs and write
    /// it (`load_relcache_init_file` in relcache.c).
    fn seal(&self, source: &Source<'_>) -> Result<(), SqlError> {
        let template = identifier(&self.template);
        // Not in the database that is copied.
        let administration = match source.database {
            ADMINISTRATION => "template1",
            _ => ADMINISTRATION,
        };
        let mut session = self.session(administration)?;
        if self.template == TEMPLATE {
            match self.copy(&mut session, TEMPLATE, source.database) {
                // A copy of a server that was prepared, or the last attempt failed after this.
                Err(error) if error.code() == Some(DUPLICATE_DATABASE) => {}
                copied => copied?,
            }
        }
        match self.session(&self.template) {
            Err(error) if error.code() == Some(CLOSED) => {}
            entered => entered?.close()?,
        }
        session.run(&format!(
            "ALTER DATABASE {template} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true"
        ))?;
        session.close()
    }

    /// Makes a database, a copy of the template.
    pub(crate) fn create(self: &Arc<Self>) -> Result<Database, TempErrorKind> {
        let (name, claim) = Claim::make(&self.root.join(IN_USE))?;
        if self.is_sweep_due() {
            self.sweep_beside();
        }
        let create = |session: &mut Session| self.copy(session, &name, &self.template);
        let mut created = self.with_session(create);
        if matches!(&created, Err(error) if error.code() == Some(DISK_FULL)) {
            self.sweep(PATIENCE);
            created = self.with_session(create);
        }
        created.map_err(|error| self.explain(&name, &self.template, error))?;
        Ok(Database {
            info: self.info.clone().with_database(&name),
            name,
            server: Arc::clone(self),
            _claim: claim,
        })
    }

    fn copy(&self, session: &mut Session, name: &str, template: &str) -> Result<(), SqlError> {
        let (name, template) = (identifier(name), identifier(template));
        // Copying files takes half the time of logging each page, which is the default.
        let strategy = match self.major >= 15 {
            true => " STRATEGY file_copy",
            false => "",
        };
        let statement = format!("CREATE DATABASE {name} TEMPLATE {template}{strategy}");
        let begun = Instant::now();
        loop {
            match session.run(&statement) {
                Err(error)
                    if error.code() == Some(IN_USE_CODE) && begun.elapsed() < self.patience => {}
                created => return created.map(drop),
            }
        }
    }

    fn reset(self: &Arc<Self>, name: &str) -> Result<(), TempErrorKind> {
        let old = identifier(name);
        let aside = identifier(&fresh_name());
        let outcome = self.with_session(|session| {
            // No pool is to connect again meanwhile.
            let close = format!("ALTER DATABASE {old} WITH ALLOW_CONNECTIONS false");
            match session.run(&close) {
                // The copy could not be made the last time.
                Err(error) if error.code() == Some(NO_SUCH_DATABASE) => return Ok(()),
                closed => closed?,
            };
            let moved = terminate_sessions(session, name).and_then(|()| {
                // The server drops it later: a database without a directory is not in use.
                session.run(&format!("ALTER DATABASE {old} RENAME TO {aside}"))
            });
            if moved.is_err() {
                let _ = session.run(&format!("ALTER DATABASE {old} WITH ALLOW_CONNECTIONS true"));
            }
            moved.map(drop)
        });
        outcome.map_err(|error| self.explain(name, name, error))?;
        if self.is_sweep_due() {
            self.sweep_beside();
        }
        self.with_session(|session| self.copy(session, name, &self.template))
            .map_err(|error| self.explain(name, &self.template, error))
    }

    /// Runs statements in a session of this process, an idle one if there is one. One that was
    /// idle may have lost its server, as after a restart: then they are run again in a new one.
    fn with_session<T>(
        &self,
        work: impl Fn(&mut Session) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        loop {
            let idle = self.take_idle();
            let was_idle = idle.is_some();
            let mut session = match idle {
                Some(session) => session,
                None => self.session(ADMINISTRATION)?,
            };
            let outcome = work(&mut session);
            let is_lost = outcome.as_ref().is_err_and(SqlError::ends_session);
            if is_lost && was_idle {
                continue;
            }
            let mut idle = self.idle();
            if !is_lost && idle.len() < MOST_IDLE {
                idle.push(session);
            }
            return outcome;
        }
    }

    /// A forked process has copies of its parent's sessions, and leaves them alone.
    fn take_idle(&self) -> Option<Session> {
        let mut idle = self.idle();
        let own = idle.iter().position(Session::is_own)?;
        Some(idle.swap_remove(own))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, database: &str) -> Result<Session, SqlError> {
        Session::open(&self.sockets, self.port(), &self.user, database, PATIENCE)
    }

    fn port(&self) -> u16 {
        self.info.port()
    }

    /// Names the database in an error; and the one that is in use, if that is the reason, with the
    /// processes that use it.
    fn explain(&self, name: &str, copied: &str, error: SqlError) -> TempErrorKind {
        if error.code() != Some(IN_USE_CODE) {
            return TempErrorKind::Database(name.to_owned(), error.into());
        }
        let users = self.with_session(|session| users_of(session, copied));
        let users = users.ok().filter(|users| !users.is_empty());
        TempErrorKind::InUse {
            database: copied.to_owned(),
            by: users.unwrap_or_else(|| "another session".to_owned()),
            refusal: error.into(),
        }
    }

    /// Returns whether released databases are to be dropped. It asks the file system, not the
    /// server: each database is a directory below `base`.
    fn is_sweep_due(&self) -> bool {
        let in_use = entries(&self.root.join(IN_USE));
        let others = fs::read_to_string(self.root.join(OTHERS)).ok();
        let others = others.and_then(|text| text.parse::<usize>().ok());
        let (Some(in_use), Some(others), Some(all)) = (in_use, others, self.on_disk()) else {
            return false;
        };
        let released = all.saturating_sub(others + in_use);
        let is_tight = available_space(&self.root).is_ok_and(|room| room < TIGHT);
        // Of those in use some may be without a user, who was killed.
        released >= if is_tight { FEW } else { MANY } || in_use % MANY == 0
    }

    fn on_disk(&self) -> Option<usize> {
        entries(&self.root.join("data/base"))
    }

    /// Drops released databases beside what the caller does. If this process exits before, another
    /// one goes on.
    fn sweep_beside(self: &Arc<Self>) {
        let databases = Arc::clone(self);
        let thread = thread::Builder::new().name("pg-fixture sweep".to_owned());
        let _ = thread.spawn(move || databases.sweep(Duration::ZERO));
    }

    /// Drops the databases that are not in use. Only one process does so at a time; this waits for
    /// it up to `patience`. A database that cannot be dropped is left to the next call.
    fn sweep(&self, patience: Duration) {
        let path = self.root.join(IN_USE);
        if let Ok(_lock) = DirectoryLock::acquire(&path, patience) {
            let _ = self.sweep_in(&path);
        }
    }

    fn sweep_in(&self, path: &Utf8Path) -> Result<(), SqlError> {
        let mut session = self.session(ADMINISTRATION)?;
        // The directory of each database in this list was there before the database.
        let rows = session.run("SELECT datname FROM pg_database")?;
        let all: Vec<String> = rows.into_iter().flatten().flatten().collect();
        let (ours, others): (Vec<&String>, Vec<&String>) =
            all.iter().partition(|name| is_our_name(name));
        // Not made: nothing is to appear in a root that is being removed.
        if let Ok(mut note) = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.root.join(OTHERS))
        {
            // `pgsql_tmp`, where it is, is the only directory that is not a database.
            let temporary = usize::from(self.root.join("data/base/pgsql_tmp").exists());
            let _ = write!(note, "{}", others.len() + temporary);
        }
        for name in ours {
            let claim = path.join(name);
            match DirectoryLock::try_acquire(&claim) {
                Ok(TryLock::Busy) => continue,
                Ok(TryLock::Acquired(_)) => {}
                Err(_) if claim.exists() => continue,
                Err(_) => {}
            }
            let is_gone = terminate_sessions(&mut session, name).is_ok()
                && session
                    .run(&format!("DROP DATABASE IF EXISTS {}", identifier(name)))
                    .is_ok();
            if is_gone {
                let _ = fs::remove_dir(&claim);
            }
        }
        // Directories of users who were killed before they had a database.
        for name in path.read_dir_utf8()?.flatten() {
            let (name, claim) = (name.file_name().to_owned(), name.path().to_owned());
            if !all.contains(&name)
                && let Ok(TryLock::Acquired(_lock)) = DirectoryLock::try_acquire(&claim)
            {
                let _ = fs::remove_dir(&claim);
            }
        }
        Ok(())
    }
}

impl Claim {
    /// Makes a directory with a fresh name in this one, and locks it.
    fn make(directory: &Utf8Path) -> Result<(String, Self), TempErrorKind> {
        loop {
            let name = fresh_name();
            let path = directory.join(&name);
            match make_directory(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(at(&path))?,
            }
            // Before it was locked, a sweep may have taken it for one that was left behind.
            let Ok(TryLock::Acquired(lock)) = DirectoryLock::try_acquire(&path) else {
                continue;
            };
            let identity = |found: fs::Metadata| (found.dev(), found.ino());
            let held = lock.directory().as_file().metadata().map(identity);
            if fs::symlink_metadata(&path).map(identity).ok() != held.ok() {
                continue;
            }
            let maker = Maker::this_process();
            let claim = Self {
                path,
                _lock: lock,
                maker,
            };
            return Ok((name, claim));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.maker.is_this_process() {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Ends the sessions of a database, and waits until they have ended.
fn terminate_sessions(session: &mut Session, database: &str) -> Result<(), SqlError> {
    let database = literal(database);
    let terminate = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = {database}"
    );
    let begun = Instant::now();
    loop {
        let rows = session.run(&terminate)?;
        if first(rows).as_deref() == Some("0") || begun.elapsed() > SESSIONS_PATIENCE {
            // The next statement says so if there are still some.
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

/// The processes that use a database, for a message.
fn users_of(session: &mut Session, database: &str) -> Result<String, SqlError> {
    let database = literal(database);
    let rows = session.run(&format!(
        "SELECT 'process ' || pid || coalesce(' (' || nullif(application_name, '') || ')', '') \
         FROM pg_stat_activity WHERE datname = {database} \
         UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts \
         WHERE database = {database}"
    ))?;
    let users: Vec<String> = rows.into_iter().flatten().flatten().collect();
    Ok(users.join(", "))
}

fn first(rows: Rows) -> Option<String> {
    rows.into_iter().next()?.into_iter().next()?
}

fn fresh_name() -> String {
    format!("{PREFIX}{}", random_name())
}

/// Returns whether a database has a name of the form that [`fresh_name`] gives.
fn is_our_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| {
        let is_ours = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        rest.len() == random_name().len() && rest.bytes().all(is_ours)
    })
}

/// Returns the number of entries of a directory.
fn entries(directory: &Utf8Path) -> Option<usize> {
    Some(fs::read_dir(directory).ok()?.count())
}

fn make_directory(path: &Utf8Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}
