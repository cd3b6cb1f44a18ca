//! Data directories of real servers, for the tests of pg-proc.

#![allow(dead_code, unused_imports, reason = "each test uses its part")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::LazyLock;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{
    Account, Command, Deadline, DirectoryGuard, Endpoint, GuardOptions, Log, Orphans, Server,
    ServerOptions, SocketPath,
};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(target_os = "linux")]
pub(crate) use linux::{Process, wait_removed};
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{Process, wait_removed};

/// Every socket is in its own directory, so the same port serves all.
pub(crate) const PORT: u16 = 5432;

/// No test waits this long unless something is wrong.
pub(crate) fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Directories with the programs of every server that the tests are to be run against, newest
/// first.
pub(crate) fn bin_directories() -> &'static [Utf8PathBuf] {
    static FOUND: LazyLock<Vec<Utf8PathBuf>> = LazyLock::new(|| {
        let servers = pg_tests::servers();
        let postgres = |server: &pg_install::Installation| {
            server
                .require(pg_install::Program::Postgres)
                .map(Utf8Path::to_owned)
        };
        let bin = |postgres: Utf8PathBuf| postgres.parent().map(Utf8Path::to_owned);
        servers
            .iter()
            .filter_map(|server| bin(postgres(server).ok()?))
            .collect()
    });
    &FOUND
}

/// The account that servers run as.
pub(crate) fn account() -> Option<Account> {
    Account::for_data_directory("/nowhere").expect("an account for servers")
}

/// A directory for one test, with a data directory in it.
pub(crate) struct Cluster {
    pub(crate) root: Utf8PathBuf,
    pub(crate) data: Utf8PathBuf,
    pub(crate) bin: Utf8PathBuf,
    /// Removes the directory also if the test is killed.
    guard: Option<DirectoryGuard>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::with(&bin_directories()[0])
    }

    /// A copy of a data directory that `initdb` made once.
    pub(crate) fn with(bin: &Utf8Path) -> Self {
        let template = template(bin);
        let cluster = Self::empty(bin);
        let copied = std::process::Command::new("cp")
            .args(["-a", template.as_str(), cluster.data.as_str()])
            .status()
            .expect("cp runs");
        assert!(copied.success());
        cluster
    }

    /// Removes only the surrounding directory.
    pub(crate) fn empty(bin: &Utf8Path) -> Self {
        let temporary = tempfile::Builder::new()
            .prefix("pg-proc.")
            .tempdir_in(memory_or_disk());
        let root =
            Utf8PathBuf::from_path_buf(temporary.expect("a directory").keep()).expect("UTF-8");
        give_to_account(&root);
        let guard = GuardOptions::new()
            .release_memory_of(root.join("data"))
            .remove(&root)
            .guard();
        let guard = guard.expect("a guard");
        Self {
            data: root.join("data"),
            root,
            bin: bin.to_owned(),
            guard: Some(guard),
        }
    }

    /// From now on the test removes the directory.
    pub(crate) fn leave_to_others(mut self) -> Utf8PathBuf {
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
        self.root.clone()
    }

    /// Starts the server, quickly and with little.
    pub(crate) fn command(&self) -> Command {
        Command::new(self.bin.join("postgres"))
            .args(self.arguments())
            .account(account())
    }

    pub(crate) fn arguments(&self) -> Vec<String> {
        let (data, root) = (self.data.as_str(), self.root.as_str());
        let port = PORT.to_string();
        let arguments = ["-D", data, "-k", root, "-h", "", "-F", "-p", &port];
        let settings = ["-c", "shared_buffers=1MB", "-c", "autovacuum=off"];
        arguments
            .into_iter()
            .chain(settings)
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn options(&self) -> ServerOptions {
        ServerOptions::new(&self.data).log(Log::File(self.log()))
    }

    pub(crate) fn log(&self) -> Utf8PathBuf {
        self.root.join("log")
    }

    pub(crate) fn spawn(&self) -> Server {
        self.command()
            .spawn_server(&self.options())
            .expect("a server")
    }

    /// Starts the server and waits for it.
    pub(crate) fn start(&self) -> Server {
        let server = self.spawn();
        server.wait_ready(patience()).unwrap_or_else(|e| {
            let log = server.log_tail(4096).unwrap_or_default();
            panic!("{e}\n{}", String::from_utf8_lossy(&log))
        });
        server
    }

    pub(crate) fn socket(&self) -> SocketPath {
        SocketPath::new(&self.root, PORT).expect("a short path")
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::unix(self.socket())
    }

    pub(crate) fn connect(&self) -> postgres::Client {
        postgres::Config::new()
            .host_path(&self.root)
            .port(PORT)
            .user("postgres")
            .dbname("postgres")
            .connect(postgres::NoTls)
            .expect("a connection")
    }
}

/// Leaves only the database `postgres`: two thirds of the files are copies that these tests do not
/// use.
fn slim(data: &Utf8Path) {
    let base = data.join("base");
    let entries = base.read_dir_utf8().expect("base");
    let number =
        |entry: std::io::Result<camino::Utf8DirEntry>| entry.ok()?.file_name().parse().ok();
    let mut databases: Vec<u32> = entries.filter_map(number).collect();
    databases.sort_unstable();
    assert_eq!(databases.len(), 3, "template1, template0, postgres");
    for template in &databases[..2] {
        fs::remove_dir_all(base.join(template.to_string())).expect("rm");
    }
}

/// Memory if there is any to put files in: copies of data directories are made all the time.
fn memory_or_disk() -> std::path::PathBuf {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

impl Drop for Cluster {
    /// A test may have killed its server: the guard releases its shared memory when no process uses
    /// it.
    fn drop(&mut self) {
        if let Ok(orphans) = Orphans::find(&self.data) {
            let _ = orphans.kill(patience());
        }
    }
}

pub(crate) fn give_to_account(path: &Utf8Path) {
    if let Some(account) = account() {
        chown(path, Some(account.uid()), Some(account.gid())).expect("chown");
    }
}

/// A data directory for these programs, made once: kept for the run by `cargo xtask test`, and
/// beside the build otherwise.
fn template(bin: &Utf8Path) -> Utf8PathBuf {
    let shared = std::env::var("PG_TESTS_SHARED");
    // A benchmark has no such directory.
    let own = option_env!("CARGO_TARGET_TMPDIR")
        .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tmp"));
    let cache = Utf8PathBuf::from(shared.as_deref().unwrap_or(own));
    fs::create_dir_all(&cache).expect("a directory");
    let name: String = bin
        .as_str()
        .chars()
        .map(|c| if c == '/' { '-' } else { c })
        .collect();
    let template = cache.join(format!("proc-template{name}"));
    let lock = fs::File::create(cache.join(format!("proc-template{name}.lock"))).expect("a lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("the lock");
    if !template.exists() {
        let building = Cluster::empty(bin);
        let initdb = Command::new(bin.join("initdb")).account(account());
        let help = initdb
            .clone()
            .arg("--help")
            .run(patience())
            .expect("initdb --help");
        // From PostgreSQL 11 on.
        let small = String::from_utf8_lossy(&help.stdout).contains("--wal-segsize");
        initdb
            .args([
                "-D",
                building.data.as_str(),
                "-U",
                "postgres",
                "-A",
                "trust",
                "-N",
            ])
            .args(["-E", "UTF8", "--locale=C"])
            .args(small.then_some("--wal-segsize=1"))
            .run(patience())
            .expect("initdb");
        slim(&building.data);
        fs::set_permissions(&building.root, fs::Permissions::from_mode(0o755)).expect("chmod");
        let copied = std::process::Command::new("cp")
            .args(["-a", building.data.as_str(), &format!("{template}.new")])
            .status()
            .expect("cp runs");
        assert!(copied.success());
        fs::rename(format!("{template}.new"), &template).expect("rename");
    }
    template
}

/// A backend that computes and does not look whether its postmaster still lives.
// In the select list the series is produced row by row; in FROM it would be written out first, and
// fill the disk.
const BUSY: &str = "SELECT count(*) FROM (SELECT generate_series(1, 1000000000000)) AS series";

/// A client that waits for its query until the server is killed.
pub(crate) fn busy(cluster: &Cluster) -> std::thread::JoinHandle<postgres::Error> {
    let mut client = cluster.connect();
    std::thread::spawn(move || client.batch_execute(BUSY).expect_err("killed"))
}

pub(crate) fn wait_until_busy(cluster: &Cluster, backends: i64) {
    let mut client = cluster.connect();
    let count = "SELECT count(*) FROM pg_stat_activity WHERE query = $1 AND state = 'active'";
    while client
        .query_one(count, &[&BUSY])
        .expect("activity")
        .get::<_, i64>(0)
        < backends
    {}
}
