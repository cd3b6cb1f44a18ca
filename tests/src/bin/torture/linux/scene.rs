//! Where a case takes place, and what has to hold at its end whatever was done in it.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::panic::Location;
use std::process::Command;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Cluster, Installation, StartOptions, Started, StopPlan};
use pg_fixture::{Storage, TempCluster, TempClusterBuilder};
use pg_tests::{Room, Victim, copy};

use super::keeper::{self, Handle, Isolation};

/// Something did not hold: what, and where in this program it was noticed.
pub(crate) struct Loss(String);

impl Loss {
    #[track_caller]
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        let place = Location::caller();
        Self(format!("{what} ({}:{})", place.file(), place.line()))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error where there should have been none, with all its causes.
impl<E: std::error::Error> From<E> for Loss {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self::new(text)
    }
}

/// Returns a loss unless this holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err($crate::linux::scene::Loss::new(format_args!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// How long anything may take that ends by itself. A busy machine is no loss.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Scene {
    /// Everything happens in here; nobody outside of it may notice.
    pub(crate) room: Room,
    pub(crate) isolation: Isolation,
    /// The server of this case.
    pub(crate) server: Installation,
    /// Made before the run, for this server.
    templates: Utf8PathBuf,
    faults: Cell<u64>,
}

impl Scene {
    pub(crate) fn new(server: Installation, templates: Utf8PathBuf, isolation: Isolation) -> Self {
        Self {
            room: Room::new(),
            isolation,
            server,
            templates,
            faults: Cell::new(0),
        }
    }

    /// Counts what was done to the crates.
    pub(crate) fn fault(&self) {
        self.faults.set(self.faults.get() + 1);
    }

    /// A cluster in `data`, copied from the template.
    pub(crate) fn cluster(&self) -> Result<Cluster, Loss> {
        self.cluster_in(&self.room.join("data"))
    }

    pub(crate) fn cluster_in(&self, data: &Utf8Path) -> Result<Cluster, Loss> {
        copy(&self.templates.join("data"), data);
        Ok(Cluster::new(self.server.clone(), data)?)
    }

    /// A cache of temporary clusters that has the ordinary template already.
    pub(crate) fn cache(&self) -> Utf8PathBuf {
        let cache = self.room.join("cache");
        copy(&self.templates.join("cache"), &cache);
        cache
    }

    pub(crate) fn temporary(&self, cache: &Utf8Path, storage: &Utf8Path) -> TempClusterBuilder {
        TempCluster::builder()
            .installation(self.server.clone())
            .cache_directory(cache)
            .storage(Storage::Directory(storage.to_owned()))
    }

    pub(crate) fn start_options(&self) -> StartOptions {
        self.room
            .start_options()
            .setting("shared_buffers", "1MB")
            .timeout(PATIENCE)
    }

    /// This program in one of its other parts, as a process of its own.
    pub(crate) fn victim<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Victim {
        let mut command = Command::new("/proc/self/exe");
        Victim::spawn(self.with_server_of(command.arg("victim").args(arguments)))
    }

    /// Another program of the tests, which stands beside this one.
    pub(crate) fn sibling<'a>(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<Victim, Loss> {
        let program = std::env::current_exe()?.with_file_name(name);
        Ok(Victim::spawn(
            self.with_server_of(
                Command::new(program)
                    .args(arguments)
                    // A victim's complaints about what is done to it are not ours.
                    .stderr(std::process::Stdio::null()),
            ),
        ))
    }

    pub(crate) fn with_server_of<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let bin = self.server.bindir().map_or("", Utf8Path::as_str);
        command.env("PG_TESTS_BINDIRS", bin)
    }

    /// Starts the cluster, asks its server something, and shuts it down in good order. There must
    /// not be a server before.
    pub(crate) fn serves(&self, cluster: &Cluster) -> Result<(), Loss> {
        let started = cluster.start(&self.start_options())?;
        ensure!(matches!(started, Started::Now(_)), "{started:?}");
        answers(&mut pg_tests::connect(cluster))?;
        cluster.stop(&StopPlan::fast())?;
        Ok(())
    }

    /// Waits until nothing of this case runs but this process.
    pub(crate) fn alone(&self) -> Result<(), Loss> {
        let until = Instant::now() + PATIENCE;
        loop {
            let others = self.isolation.others();
            let Some(&first) = others.first() else {
                return Ok(());
            };
            let left = until.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero(),
                "still there: {}",
                keeper::describe(&others)
            );
            if let Some(first) = Handle::open(first) {
                first.wait_for_end(left);
            }
        }
    }

    /// That there is no shared memory of anybody in this case.
    pub(crate) fn no_memory_left(&self) -> Result<(), Loss> {
        let left = self.isolation.shared_memory();
        ensure!(left.is_empty(), "shared memory is left: {left:?}");
        Ok(())
    }

    /// What has to hold after every case.
    pub(crate) fn close(self) -> Result<u64, Loss> {
        self.alone()?;
        self.no_memory_left()?;
        let null = fs::metadata("/dev/null")?.file_type();
        ensure!(null.is_char_device(), "/dev/null has been replaced");
        let faults = self.faults.get();
        drop(self.room);
        for entry in std::env::temp_dir().read_dir()? {
            let entry = entry?;
            let expected =
                entry.file_name() == keeper::DISK && fs::read_dir(entry.path())?.next().is_none();
            ensure!(expected, "left behind: {}", entry.path().display());
        }
        Ok(faults)
    }
}

/// That a server answers.
pub(crate) fn answers(client: &mut postgres::Client) -> Result<(), Loss> {
    let answer = pg_tests::ask(client, "SELECT 6 * 7");
    ensure!(answer == "42", "the answer is {answer:?}");
    Ok(())
}
