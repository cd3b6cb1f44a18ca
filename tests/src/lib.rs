//! What the server tests share: the servers to run against, and directories that a server's account
//! can enter.

mod confinement;
mod operations;
mod orphan;
mod said;
mod suspension;
mod temporary;
mod victim;

#[cfg(target_os = "linux")]
pub use confinement::confine;
pub use confinement::{DOCKER, can_mount};
pub use operations::{OPERATIONS, Operation};
pub use orphan::Orphan;
pub use said::{assert_says, refused, report};
pub use suspension::{await_suspended, signal};
pub use temporary::temp_builder;
pub use victim::Victim;

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{
    Account, Cluster, ConnectionInfo, Discovery, InitOptions, Installation, StartOptions,
};

/// Every server that the tests are to be run against, newest first: the bin directories in
/// `PG_TESTS_BINDIRS`, which `cargo xtask test` sets; without it, what is installed on this
/// machine. By version, not by the order of names, in which 9 is newer than 18.
///
/// # Panics
///
/// If there is no server, with the command that gets one. No test passes for want of a server.
pub fn servers() -> Vec<Installation> {
    let mut servers: Vec<Installation> = match env::var("PG_TESTS_BINDIRS") {
        Ok(list) => list
            .split(':')
            .filter(|directory| !directory.is_empty())
            .map(|directory| {
                Installation::from_bin_directory(directory).expect("PG_TESTS_BINDIRS names servers")
            })
            .collect(),
        Err(_) => Discovery::new()
            .all()
            .into_iter()
            .flatten()
            .map(|found| found.into_installation())
            .filter(|installation| installation.is_server() && installation.version().major() >= 10)
            .collect(),
    };
    assert!(
        !servers.is_empty(),
        "no PostgreSQL server to test against: \
         run `cargo xtask test`, which fetches some, or install one"
    );
    servers.sort_by(|a, b| b.version().cmp(a.version()));
    servers
}

/// The newest server, for tests that have nothing to do with versions.
pub fn server() -> Installation {
    servers().swap_remove(0)
}

/// A complete installation, with `pg_config` and `pg_controldata`.
pub fn complete_server() -> Installation {
    servers()
        .into_iter()
        .find(|server| server.program(pg_cluster::Program::PgConfig).is_some())
        .expect("a complete installation: run `cargo xtask test`, which fetches one")
}

/// A directory for a test, which the account of a server can enter. Removed at the end.
#[derive(Debug)]
pub struct Room {
    directory: tempfile::TempDir,
}

impl Room {
    /// An empty room.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("room")
            .tempdir()
            .expect("a temporary directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("a mode");
        Self { directory }
    }

    /// The directory.
    pub fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.directory.path()).expect("a temporary directory in UTF-8")
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> Utf8PathBuf {
        self.path().join(name)
    }

    /// A new subdirectory that belongs to the account that servers run as.
    pub fn directory(&self, name: &str) -> Utf8PathBuf {
        let path = self.join(name);
        fs::create_dir(&path).expect("a new directory");
        give_to_servers(&path);
        path
    }

    /// A cluster in this room, initialised for throw-away use.
    pub fn cluster(&self, installation: &Installation) -> Cluster {
        let cluster = Cluster::new(installation.clone(), self.join("data")).expect("an account");
        cluster.init(&init_options()).expect("initdb");
        cluster
    }

    /// Starts without TCP, with the socket in this room.
    pub fn start_options(&self) -> StartOptions {
        let sockets = self.join("s");
        if !sockets.exists() {
            self.directory("s");
        }
        StartOptions::new()
            .socket_only(sockets)
            .settings([("fsync", "off")])
    }
}

/// A copy of a file or a directory, with modes, owners and links.
pub fn copy(from: &Utf8Path, to: &Utf8Path) {
    let status = std::process::Command::new("cp")
        .args(["-a", from.as_str(), to.as_str()])
        .status();
    assert!(status.expect("cp runs").success(), "{from} to {to}");
}

/// Makes a pipe with a name. Who opens one end waits for the other.
pub fn put_fifo(path: &Utf8Path) {
    let status = std::process::Command::new("mkfifo")
        .args(["-m", "666", path.as_str()])
        .status();
    assert!(status.expect("mkfifo runs").success(), "{path}");
}

/// What is in a directory, sorted; nothing if it is not there.
pub fn names(directory: &Utf8Path) -> Vec<String> {
    let entries = directory.read_dir_utf8().into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_owned()).collect();
    names.sort();
    names
}

/// Gives a file to the account that servers run as.
pub fn give_to_servers(path: &Utf8Path) {
    if let Some(account) = server_account() {
        std::os::unix::fs::chown(path, Some(account.uid()), Some(account.gid()))
            .expect("root's rights");
    }
}

/// A small file system in memory, which only root can mount.
#[derive(Debug)]
pub struct Mount(Utf8PathBuf);

impl Mount {
    /// Mounted on this directory, of this size, such as `64m`.
    pub fn tmpfs(at: &Utf8Path, size: &str) -> Self {
        let options = format!("size={size},mode=755");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs", at.as_str()]);
        Self(at.to_owned())
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Utf8Path {
        &self.0
    }

    /// Mounted anew with these options.
    pub fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}"), self.0.as_str()]);
    }

    /// Writes a file that takes all the room there is.
    pub fn fill(&self) -> Utf8PathBuf {
        let filler = self.0.join("filler");
        let mut file = fs::File::create(&filler).expect("a file");
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        filler
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .args(["-l", self.0.as_str()])
            .status();
    }
}

fn mount(arguments: &[&str]) {
    let status = std::process::Command::new("mount").args(arguments).status();
    assert!(status.expect("mount runs").success(), "root can mount");
}

/// The account that servers run as when the tests run as root.
pub fn server_account() -> Option<Account> {
    Account::for_data_directory(Utf8Path::new("/nonexistent")).expect("an account")
}

/// An account that is not the servers', as root can use it; none for an ordinary user, who has to
/// waive what takes two users by `PG_TESTS_ONE_USER`.
pub fn stranger() -> Option<Account> {
    let Some(servers) = server_account() else {
        assert!(
            env::var_os("PG_TESTS_ONE_USER").is_some(),
            "run this as root, or set PG_TESTS_ONE_USER to do without"
        );
        return None;
    };
    let stranger = Account::by_name("nobody").expect("nobody");
    assert_ne!(stranger.uid(), servers.uid());
    Some(stranger)
}

/// `setpriv` with the capabilities that root has in a container of Docker's, as a beginning of a
/// command line. CAP_SYS_PTRACE and CAP_IPC_OWNER are not among them. Takes root.
pub fn with_docker_capabilities() -> std::process::Command {
    const KEPT: &str = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,\
                        +net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap";
    let mut command = std::process::Command::new("setpriv");
    command.args([
        format!("--bounding-set={KEPT}"),
        "--inh-caps=-all".to_owned(),
    ]);
    command
}

/// Whether tests may mount file systems in namespaces of their own.
///
/// # Panics
///
/// If root may not, as in a container without CAP_SYS_ADMIN: then the environment has to say so by
/// `PG_TESTS_NO_NAMESPACES`.
pub fn may_mount() -> bool {
    let namespaces: &[&str] = if is_root() {
        &[]
    } else {
        &["--user", "--map-root-user"]
    };
    let unshared = std::process::Command::new("unshare")
        .args(namespaces)
        .args(["--mount", "true"])
        .status();
    let may = unshared.is_ok_and(|status| status.success());
    assert!(
        may || env::var_os("PG_TESTS_NO_NAMESPACES").is_some(),
        "run this where mount namespaces are allowed, or set PG_TESTS_NO_NAMESPACES to do without"
    );
    may
}

/// Without waiting for the disk.
pub fn init_options() -> InitOptions {
    InitOptions::new().durability(pg_cluster::Durability::NotSynced)
}

/// A client of the running server of a cluster, as its superuser.
#[track_caller]
pub fn connect(cluster: &Cluster) -> postgres::Client {
    let info = cluster
        .connection_info()
        .expect("a state")
        .expect("an address");
    connect_to(&info.with_user("postgres").with_database("postgres"))
}

/// A client at this address.
#[track_caller]
pub fn connect_to(info: &ConnectionInfo) -> postgres::Client {
    postgres::Client::connect(&info.uri(), postgres::NoTls).expect("a connection")
}

/// This test executable once more, to run one of its tests as a child that can be killed: the test
/// sees `role` in [`role`](role()).
pub fn child(test: &str, role: &str) -> std::process::Command {
    let mut command = std::process::Command::new(env::current_exe().expect("this executable"));
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::inherit());
    command
}

/// As [`child`], as another account, from a copy of this executable in the room.
pub fn child_as(account: &Account, room: &Room, test: &str, role: &str) -> std::process::Command {
    use std::os::unix::process::CommandExt as _;
    let ours = child(test, role);
    let copy = room.join("test");
    fs::copy(ours.get_program(), &copy).expect("a copy");
    let mut command = std::process::Command::new(copy);
    command
        .args(ours.get_args())
        .env(ROLE, role)
        .current_dir(room.path())
        .gid(account.gid())
        .uid(account.uid());
    command
}

const ROLE: &str = "PG_TESTS_ROLE";

/// What this process was started for by [`child`]; none in an ordinary run.
pub fn role() -> Option<Utf8PathBuf> {
    env::var(ROLE).ok().map(Utf8PathBuf::from)
}

/// How often a fault is tried: the number in this variable of the environment, or `default`, which
/// keeps an ordinary run short.
pub fn rounds(variable: &str, default: u32) -> u32 {
    env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// A number below `bound` that differs from call to call.
pub fn random(bound: u64) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = std::hash::RandomState::new().build_hasher().finish();
    random % bound.max(1)
}

/// The processes that work below a directory, as their directories in `/proc`.
pub fn processes_below(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let works_there = |path: &Utf8PathBuf| {
        fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
    };
    let entries = Utf8Path::new("/proc").read_dir_utf8();
    let all = entries.into_iter().flatten().flatten();
    all.map(|entry| entry.into_path())
        .filter(works_there)
        .collect()
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    server_account().is_some()
}

/// The first column of the first row of what a query returns, as text.
#[track_caller]
pub fn ask(client: &mut postgres::Client, sql: &str) -> String {
    let rows = client.simple_query(sql).expect("an answer");
    rows.iter()
        .find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("").to_owned()),
            _ => None,
        })
        .expect("a row")
}

/// All rows of what a query returns, as text: the function that `Cluster::reload_and_verify` wants.
pub fn rows(
    client: &mut postgres::Client,
    sql: &str,
) -> Result<Vec<Vec<Option<String>>>, postgres::Error> {
    let messages = client.simple_query(sql)?;
    let rows = messages.iter().filter_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|n| row.get(n).map(str::to_owned))
                .collect(),
        ),
        _ => None,
    });
    Ok(rows.collect())
}

/// A source file in which no string goes on in the next line.
pub fn joined(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

/// The messages of errors in a [joined] source file: what stands in `#[error("...")]`, the parts
/// between the placeholders.
pub fn messages(source: &str) -> impl Iterator<Item = Vec<&str>> {
    source.split("#[error(").skip(1).filter_map(|rest| {
        let text = rest.trim_start().strip_prefix('"')?.split('"').next()?;
        let parts = text
            .split('{')
            .enumerate()
            .map(|(index, part)| match index {
                0 => part,
                _ => part.split_once('}').map_or("", |(_, after)| after),
            });
        Some(
            parts
                .map(|part| part.trim_matches([' ', '`']))
                .filter(|part| part.len() > 3)
                .collect(),
        )
    })
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
struct Guide;

#[cfg(doctest)]
#[doc = include_str!("../../docs/testing.md")]
struct Testing;

#[cfg(doctest)]
#[doc = include_str!("../../docs/replication.md")]
struct Replication;
