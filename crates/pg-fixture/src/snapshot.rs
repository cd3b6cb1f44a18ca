//! The state of a temporary cluster, kept to go back to, or to go on from in another server.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Signal, StopPlan};
use pg_install::MajorVersion;
use pg_proc::{Account, Directory, DirectoryGuard, GuardOptions};

use crate::builder::TempClusterBuilder;
use crate::error::{TempError, TempErrorKind, at, during};
use crate::root::{Root, random_name};
use crate::temp_cluster::TempCluster;
use crate::template::{CloneError, Cloning, Contents, Template, refuse_links};

/// The state of a [`TempCluster`]: all its databases, roles, settings and access rules.
///
/// ```no_run
/// let server = pg_fixture::TempCluster::start()?;
/// // ... migrations, test data ...
/// let snapshot = server.snapshot()?;
/// // ... a test that changes all of it ...
/// server.restore(&snapshot)?;
/// let another = snapshot.branch()?;
/// # Ok::<(), pg_fixture::TempError>(())
/// ```
///
/// It does not depend on the cluster that it was taken of, which may be gone when it is used.
///
/// # Cleanup
///
/// The files of a snapshot, a packed copy, are removed when it is dropped or this process ends, in
/// whatever way, as those of a [`TempCluster`] are.
#[derive(Debug)]
pub struct Snapshot {
    // Dropped in this order: the files are closed, then removed, then unlocked.
    state: Template,
    _guard: DirectoryGuard,
    root: Root,
    origin: Origin,
}

/// Where a state comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// How to start another server of it.
    pub(crate) builder: Arc<TempClusterBuilder>,
    /// The same for all clusters that come from one by branches.
    pub(crate) family: Arc<()>,
    major: MajorVersion,
    path: Utf8PathBuf,
}

impl TempCluster {
    /// Keeps the state of the cluster: shuts the server down, copies its files, and starts it again
    /// at the same address. Clients are disconnected. If the server was not running, it is not
    /// started.
    ///
    /// The copy goes to the [storage](crate::Storage) of the cluster. It is complete, but for what
    /// the server makes anew and for write-ahead log that nothing reads.
    ///
    /// # Errors
    ///
    /// Fails if the cluster has tablespaces outside of its data directory, which is checked first,
    /// if the server does not stop or start, or if no storage has enough room. The server is then
    /// started again if possible.
    pub fn snapshot(&self) -> Result<Snapshot, TempError> {
        let _turn = self.take_turn();
        self.take_snapshot().map_err(during("take a snapshot of"))
    }

    /// Goes back to the state of a snapshot: of this cluster, of one that it is a
    /// [branch](Self::branch) of, or of a branch. The server has the same address afterwards and
    /// runs, also if it was stopped or has crashed. Clients are disconnected.
    ///
    /// The files are copied before the server is stopped: the old ones stay until the new ones are
    /// complete, and there has to be room for both.
    ///
    /// # Errors
    ///
    /// Fails if the snapshot is of another major version or of another cluster, if there is not
    /// enough room, or if the server does not stop or start. Unless it is the start that fails,
    /// the cluster has its old state then.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<(), TempError> {
        let _turn = self.take_turn();
        self.go_back(snapshot).map_err(during("restore"))
    }

    /// Starts another server with the state of this one, which goes on as after a
    /// [snapshot](Self::snapshot). The two have nothing in common from then on but the state that
    /// they began with and the system identifier, so that one may follow the other as a standby.
    ///
    /// # Errors
    ///
    /// As [`snapshot`](Self::snapshot), and as [`TempClusterBuilder::start`].
    pub fn branch(&self) -> Result<TempCluster, TempError> {
        let _turn = self.take_turn();
        let snapshot = self.take_snapshot().map_err(during("branch"))?;
        snapshot.branch()
    }

    fn take_snapshot(&self) -> Result<Snapshot, TempErrorKind> {
        let data = self.cluster.data_directory();
        refuse_links(data)?;
        let was_running = self.cluster.is_running().map_err(TempErrorKind::Find)?;
        let taken = self
            .shut_down_whole()
            .and_then(|()| Snapshot::take(&Contents::of(data)?, self.origin()));
        if was_running {
            let started = self.start_server();
            return taken.and_then(|snapshot| started.map(|()| snapshot));
        }
        taken
    }

    fn origin(&self) -> Origin {
        Origin {
            builder: Arc::clone(&self.builder),
            family: Arc::clone(&self.family),
            major: self.cluster.installation().major_version(),
            path: self.path().to_owned(),
        }
    }

    fn go_back(&self, snapshot: &Snapshot) -> Result<(), TempErrorKind> {
        let (ours, theirs) = (self.origin(), &snapshot.origin);
        if ours.major != theirs.major {
            return Err(TempErrorKind::OtherMajor {
                snapshot: theirs.major,
                cluster: ours.major,
            });
        }
        if !Arc::ptr_eq(&ours.family, &theirs.family) {
            return Err(TempErrorKind::OtherCluster {
                snapshot: theirs.path.clone(),
                cluster: ours.path,
            });
        }
        let Some(root) = self.roots.first() else {
            return Err(TempErrorKind::NotRunning);
        };
        let (data, account) = (self.cluster.data_directory(), self.cluster.account());
        let [fresh, old] = ["new", "old"].map(|name| format!("{name}-{}", random_name()));
        let remove = |name: &str| {
            // What is not removed now goes with the root.
            let _ = Directory::open(root.path()).and_then(|held| held.remove(name));
        };
        let fresh_path = root.subdirectory(&fresh, account)?;
        let made = snapshot.clone_to(&fresh_path, account).and_then(|()| {
            // What it would write in its shutdown is of no use.
            let plan = StopPlan::throw_away().then(Signal::Kill, Duration::from_secs(10));
            self.cluster.stop(&plan).map_err(TempErrorKind::Stop)?;
            let old_path = root.path().join(&old);
            std::fs::rename(data, &old_path).map_err(at(data))?;
            std::fs::rename(&fresh_path, data)
                .map_err(at(data))
                .inspect_err(|_| {
                    let _ = std::fs::rename(&old_path, data);
                })
        });
        if let Err(kind) = made {
            remove(&fresh);
            // It may have been stopped.
            let _ = self.start_server();
            return Err(kind);
        }
        // The state may have no template for databases, and counts others.
        *self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name("pg-cluster remove".to_owned());
            let removing = builder.spawn_scoped(scope, || remove(&old));
            let started = self.start_server();
            if removing.is_err() {
                remove(&old);
            }
            started
        })
    }
}

impl Snapshot {
    fn take(contents: &Contents, origin: Origin) -> Result<Self, TempErrorKind> {
        let storage = &origin.builder.storage;
        // For the caller alone: no server reads it.
        storage.first_that_will_do(contents.size(), None, |storage| {
            let mut root = Root::create(storage, None)?;
            let guard = Root::guard([&mut root], GuardOptions::new())?;
            Ok(Self {
                state: Template::pack(contents, root.path())?,
                _guard: guard,
                root,
                origin: origin.clone(),
            })
        })
    }

    /// The directory of the files.
    pub fn path(&self) -> &Utf8Path {
        self.root.path()
    }

    /// Returns the number of bytes of the files, without holes.
    pub fn size(&self) -> u64 {
        self.state.size()
    }

    /// Starts another server with this state, made like the one that the snapshot was taken of,
    /// with an address and files of its own. It has the same system identifier, so that one may
    /// follow the other as a standby.
    ///
    /// # Errors
    ///
    /// Fails as [`TempClusterBuilder::start`] does.
    pub fn branch(&self) -> Result<TempCluster, TempError> {
        let launch = || {
            let plan = self.origin.builder.plan()?;
            plan.launch_branch(&self.state, &self.origin.family)
        };
        launch().map_err(during("branch"))
    }

    fn clone_to(&self, data: &Utf8Path, account: Option<&Account>) -> Result<(), TempErrorKind> {
        Cloning::begin(&self.state, data, account, None)
            .and_then(|cloning| cloning.databases())
            .map_err(|error| error.of_snapshot(self.path()))
    }
}

impl CloneError {
    /// A snapshot is nothing that could be made anew.
    pub(crate) fn of_snapshot(self, path: &Utf8Path) -> TempErrorKind {
        match self {
            Self::Damaged => at(path)(std::io::ErrorKind::InvalidData.into()),
            Self::Target(kind) => *kind,
        }
    }
}
