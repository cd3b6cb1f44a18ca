//! Temporary clusters.

use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};

use pg_cluster::{Cluster, ConnectionInfo, Signal, StartOptions, StopPlan};

use crate::builder::TempClusterBuilder;
use crate::databases::Databases;
use crate::error::TempError;
use crate::log::{LogUse, print};
use crate::root::Root;
#[cfg(doc)]
use crate::storage::Storage;

/// The port of a server that listens on a socket in a directory of its own, where it is nothing but
/// a part of the socket's name.
pub(crate) const PORT: u16 = 5432;

/// A running server for a test, made in tens of milliseconds, gone with this value.
///
/// ```no_run
/// use pg_fixture::TempCluster;
///
/// let server = TempCluster::start()?;
/// println!("{}", server.uri());
/// # Ok::<(), pg_fixture::TempError>(())
/// ```
///
/// # Why it is fast
///
/// `initdb` runs once; each cluster is a clone of its result. That template is kept in the user's
/// cache directory (`$PG_CLUSTER_CACHE`, else `$XDG_CACHE_HOME/pg-cluster`, else
/// `~/.cache/pg-cluster`, on macOS `~/Library/Caches/pg-cluster`; `pg-cluster-UID` in `TMPDIR`
/// where there is no home to write to) for all processes and all checkouts, by installation,
/// options, account and setup steps. The clone is kept in memory where there is room, see
/// [`Storage`].
///
/// The server starts while the files of the databases, nine tenths of all, are still being written.
/// Between its start and the first connection PostgreSQL does not read them: after a clean shutdown
/// there is nothing to recover (`StartupXLOG`), what it removes from `base` then
/// (`RemovePgTempFiles`, `RelationCacheInitFileRemove`) has names that templates do not contain,
/// and the autovacuum launcher connects to no database and sends its first worker after a quarter
/// of a minute (`autovacuum_naptime` by the number of databases: `AutoVacLauncherMain`,
/// `rebuild_database_list`); a clone that takes longer than ten seconds is made once more, the
/// other way. No client can connect before the files are complete, because the path of the socket
/// is not known before [`start`](Self::start) returns. With TCP, preloaded libraries, setup steps
/// or settings of autovacuum, everything is written before the server starts.
///
/// # Settings
///
/// `fsync`, `synchronous_commit` and `full_page_writes` are off, `shared_buffers` is 16 MB,
/// `max_wal_size` is 128 MB, and the server does not listen on TCP. Each of these can be
/// [changed](TempClusterBuilder::setting).
///
/// # Cleanup
///
/// Dropping the value stops the server without a checkpoint and removes its files; it takes a few
/// milliseconds, at most a few seconds, does not panic, and may happen inside an async runtime or
/// while a panic unwinds. If the process ends in any other way, SIGKILL included, processes that
/// watch it do the same. After a crash of the machine, or a SIGKILL in the moment between the
/// making of the directory and that of its guard, a later start removes what is left. Only
/// directories that this library has made are ever removed: each has a marker.
#[derive(Debug)]
pub struct TempCluster {
    /// The cluster ends its server, and then its guard removes the files.
    pub(crate) cluster: Cluster,
    pub(crate) roots: Vec<Root>,
    pub(crate) socket_directory: Utf8PathBuf,
    pub(crate) info: ConnectionInfo,
    pub(crate) keep: Keep,
    pub(crate) owner: Owner,
    pub(crate) log_use: LogUse,
    #[cfg(feature = "tls")]
    pub(crate) root_certificate: Option<Utf8PathBuf>,
    /// Prepared when the first one is wanted.
    pub(crate) databases: Mutex<Option<Arc<Databases>>>,
    /// The options of the server, including its port.
    pub(crate) start_options: StartOptions,
    /// How another server of the same state is made: without what is in that state already.
    pub(crate) builder: Arc<TempClusterBuilder>,
    /// The same value as that of the cluster that this one is a branch of.
    pub(crate) family: Arc<()>,
    /// Taken while the server is stopped and started.
    pub(crate) turn: Mutex<()>,
}

/// The owner of server and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This value: they go with it.
    Value,
    /// The caller, who wanted a detached server.
    Caller,
    /// The users of a shared server.
    Users,
}

/// The addresses of a temporary server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// Only a Unix socket in a private directory. No TCP port is used, so none can be in use.
    #[default]
    SocketOnly,
    /// Also by TCP on 127.0.0.1, at a free port, for clients that do not support Unix sockets.
    Loopback,
}

/// The conditions under which the files of a temporary cluster are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// The files are always removed.
    #[default]
    Never,
    /// The files are kept if the value is dropped while its thread panics, as in a failing test.
    /// The server is shut down, and the path is printed to standard error.
    OnPanic,
    /// The files are kept whenever the value is dropped.
    Always,
}

/// Which system identifier a temporary cluster has: the number by which servers of one replication
/// family know each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemIdentifier {
    /// One of its own: a standby that is attached to the wrong primary refuses to start.
    ///
    /// A control file of a newer format than that of PostgreSQL 18 may not be recognized. Then the
    /// cluster keeps the identifier of its template.
    #[default]
    Own,
    /// The template's, which is that of every other such cluster of the same template.
    OfTemplate,
}

impl TempCluster {
    /// A server with all defaults: the first installation found, user and database `postgres`, a
    /// Unix socket, no password.
    ///
    /// # Errors
    ///
    /// Fails as [`TempClusterBuilder::start`] does.
    pub fn start() -> Result<Self, TempError> {
        Self::builder().start()
    }

    /// Returns a builder for a server with other options.
    pub fn builder() -> TempClusterBuilder {
        TempClusterBuilder::new()
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

    /// The directory of the server's Unix socket.
    pub fn socket_directory(&self) -> &Utf8Path {
        &self.socket_directory
    }

    /// The port. It is part of the name of the socket, and is the TCP port if the server
    /// [listens](TempClusterBuilder::listen) on TCP.
    pub fn port(&self) -> u16 {
        self.info.port()
    }

    /// The cluster, to change settings, look at its files, and for all else that can be done with
    /// one. [`restart`](Self::restart) and the like start the server as it was started at first,
    /// which [`Cluster::restart`] does not know.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The end of the server's log, if it is kept in memory or in a file.
    pub fn log_tail(&self) -> Option<String> {
        self.cluster.log_tail()
    }

    /// The directory that holds everything of this cluster, the data directory included.
    pub fn path(&self) -> &Utf8Path {
        self.roots
            .first()
            .map_or(self.cluster.data_directory(), Root::path)
    }

    /// Shuts the server down and leaves its files to the caller: they are in the returned
    /// directory, in `data`.
    pub fn into_files(mut self) -> Utf8PathBuf {
        let path = self.path().to_owned();
        self.keep = Keep::Always;
        drop(self);
        path
    }

    /// Leaves the server and its files to the users of the server.
    pub(crate) fn leave(mut self) {
        self.owner = Owner::Users;
        // They share the FIFO that counts the users.
        self.start_options = StartOptions::new();
        self.cluster.let_go();
    }

    /// Leaves the files to the caller. The guard ends first, because it could otherwise remove
    /// files that it found before their marker was removed.
    fn give_away(&mut self) {
        if let Some(guard) = self.cluster.take_guard() {
            guard.release();
        }
        for root in &self.roots {
            let _ = root.give_away();
        }
    }
}

impl Drop for TempCluster {
    fn drop(&mut self) {
        match self.owner {
            Owner::Value => {}
            Owner::Caller => return self.give_away(),
            Owner::Users => return,
        }
        self.explain_panic();
        let is_kept = match self.keep {
            Keep::Never => false,
            Keep::OnPanic => std::thread::panicking(),
            Keep::Always => true,
        };
        if is_kept {
            let plan = StopPlan::new(Signal::Fast, std::time::Duration::from_secs(5))
                .then(Signal::Kill, std::time::Duration::from_secs(2));
            let _ = self.cluster.stop(&plan);
            if self.keep == Keep::OnPanic {
                let path = self.path();
                print(&format!(
                    "the files of the temporary cluster are kept in {path}"
                ));
            }
            self.give_away();
        }
    }
}
