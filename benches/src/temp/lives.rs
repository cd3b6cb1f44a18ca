//! The ways to create and remove a cluster.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{ConnectionInfo, Installation, Program};
use pg_fixture::{Storage, TempCluster, TempClusterBuilder};
use pg_proc::PostmasterOpts;
use pg_tests::{Room, ask, connect_to, server, server_account};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) struct Life {
    /// The time until the first answer.
    pub(crate) create: Duration,
    /// The time until all files are removed.
    pub(crate) whole: Duration,
}

/// The directory in which servers are created, each in its own directory. It is removed at the end.
pub(crate) struct Ground {
    installation: Installation,
    builder: TempClusterBuilder,
    room: Room,
    storage: Utf8PathBuf,
    made: AtomicUsize,
    _directory: Option<tempfile::TempDir>,
}

impl Ground {
    pub(crate) fn in_directory(parent: &Utf8Path) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("pgb-")
            .tempdir_in(parent)
            .unwrap();
        let storage = Utf8PathBuf::try_from(directory.path().to_owned()).unwrap();
        own(&storage, 0o755);
        Self::with(storage, Some(directory))
    }

    fn with(storage: Utf8PathBuf, directory: Option<tempfile::TempDir>) -> Self {
        let room = Room::new();
        let installation = server();
        Self {
            builder: TempCluster::builder()
                .installation(installation.clone())
                .cache_directory(room.join("cache"))
                .storage(Storage::Directory(storage.clone())),
            installation,
            room,
            storage,
            made: AtomicUsize::new(0),
            _directory: directory,
        }
    }

    /// Returns a ground in the file system of the template cache, with a table of 64 MB in the
    /// template.
    pub(crate) fn on_disk_with_data(&self) -> Self {
        const FILL: &str =
            "CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 57344)";
        let disk = Self::with(self.room.directory("disk"), None);
        Self {
            builder: disk
                .builder
                .cache_directory(self.room.join("cache"))
                .setup(FILL, |info| {
                    postgres::Client::connect(&info.uri(), postgres::NoTls)?.batch_execute(FILL)
                }),
            ..disk
        }
    }

    pub(crate) fn storage(&self) -> &Utf8Path {
        &self.storage
    }

    pub(crate) fn builder(&self) -> TempClusterBuilder {
        self.builder.clone()
    }

    pub(crate) fn start(&self) -> TempCluster {
        self.builder.start().unwrap()
    }

    pub(crate) fn ours(&self) -> Life {
        let begun = Instant::now();
        let temp = self.start();
        let client = first_answer(temp.connection_info());
        let create = begun.elapsed();
        drop(client);
        drop(temp);
        Life {
            create,
            whole: begun.elapsed(),
        }
    }

    /// Returns the data directory and the arguments with which `TempCluster` starts.
    pub(crate) fn template(&self) -> Template {
        let temp = self.start();
        let started = PostmasterOpts::read(temp.cluster().data_directory())
            .unwrap()
            .unwrap();
        Template {
            arguments: started.arguments,
            root: temp.into_files(),
        }
    }

    /// Copies the files in sequence with the standard library, and starts a server.
    pub(crate) fn copy_and_execute(&self, template: &Template) -> Server {
        let root = self.fresh("floor");
        fs::create_dir(root.join("s")).unwrap();
        own(&root.join("s"), 0o700);
        copy(&template.root.join("data"), &root.join("data"));
        let elsewhere = |argument: &String| argument.replace(template.root.as_str(), root.as_str());
        let arguments: Vec<_> = template.arguments.iter().map(elsewhere).collect();
        self.execute(&root, &arguments)
    }

    /// Executes a server of the data directory in `root`, and spins until it is ready.
    pub(crate) fn execute(&self, root: &Utf8Path, arguments: &[String]) -> Server {
        let mut process = self
            .program(Program::Postgres)
            .args(arguments)
            .spawn()
            .unwrap();
        let pid_file = root.join("data/postmaster.pid");
        while !fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready")) {
            assert!(process.try_wait().unwrap().is_none(), "the server exited");
        }
        drop(first_answer(&address(&root.join("s"))));
        Server { process }
    }

    /// Creates and removes a cluster with PostgreSQL's programs.
    pub(crate) fn by_hand(&self) -> Life {
        let begun = Instant::now();
        let root = self.fresh("hand");
        let data = root.join("data");
        let run = |program, arguments: &[&str]| {
            let status = self
                .program(program)
                .args(["-D", data.as_str()])
                .args(arguments)
                .status();
            assert!(status.unwrap().success());
        };
        let initdb = [
            "--no-sync",
            "-U",
            "postgres",
            "-A",
            "trust",
            "--locale=C",
            "-E",
            "UTF8",
        ];
        run(Program::Initdb, &initdb);
        let options = format!("-k {root} -h '' -F");
        let log = root.join("log");
        run(
            Program::PgCtl,
            &["start", "-w", "-l", log.as_str(), "-o", &options],
        );
        let client = first_answer(&address(&root));
        let create = begun.elapsed();
        drop(client);
        run(Program::PgCtl, &["stop", "-w", "-m", "immediate"]);
        fs::remove_dir_all(&root).unwrap();
        Life {
            create,
            whole: begun.elapsed(),
        }
    }

    /// Returns the command of a program that runs as the account of the servers.
    pub(crate) fn program(&self, program: Program) -> Command {
        let mut command = Command::new(self.installation.require(program).unwrap());
        as_server_account(&mut command);
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Creates a directory for the account of the servers.
    pub(crate) fn fresh(&self, name: &str) -> Utf8PathBuf {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.storage.join(format!("{name}-{number}"));
        fs::create_dir(&path).unwrap();
        own(&path, 0o700);
        path
    }

    /// The directory of the server's programs.
    pub(crate) fn bin(&self) -> &Utf8Path {
        let postgres = self.installation.require(Program::Postgres).unwrap();
        postgres.parent().unwrap()
    }
}

/// A data directory, in `data`, and the arguments of its server.
pub(crate) struct Template {
    pub(crate) root: Utf8PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Template {
    /// Returns the arguments with the settings of directories only.
    pub(crate) fn plain_arguments(&self) -> Vec<String> {
        let (data, sockets) = (self.root.join("data"), self.root.join("s"));
        ["-D", data.as_str(), "-k", sockets.as_str(), "-h", ""]
            .map(str::to_owned)
            .into()
    }
}

pub(crate) struct Server {
    process: Child,
}

impl Server {
    pub(crate) fn shut_down(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::INT).unwrap();
        self.process.wait().unwrap();
    }
}

pub(crate) fn first_answer(info: &ConnectionInfo) -> postgres::Client {
    let mut client = connect_to(info);
    assert_eq!(ask(&mut client, "SELECT 1"), "1");
    client
}

pub(crate) fn as_server_account(command: &mut Command) {
    if let Some(account) = server_account() {
        command.uid(account.uid()).gid(account.gid());
    }
}

pub(crate) fn address(sockets: &Utf8Path) -> ConnectionInfo {
    ConnectionInfo::socket(sockets, 5432)
        .with_user("postgres")
        .with_database("postgres")
}

pub(crate) fn own(path: &Utf8Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    give(path);
}

fn give(path: &Utf8Path) {
    if let Some(account) = server_account() {
        chown(path, Some(account.uid()), Some(account.gid())).unwrap();
    }
}

pub(crate) fn copy(from: &Utf8Path, to: &Utf8Path) {
    fs::create_dir(to).unwrap();
    own(to, 0o700);
    for entry in from.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            give(&target);
        }
    }
}
