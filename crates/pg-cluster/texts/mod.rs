//! Every kind of error once: see [`harness`].

mod harness;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use pg_install::MissingProgramError;
use pg_proc::{
    Command, Deadline, DirectoryLock, FindError, GuardError, GuardOptions, LockError, Postmaster,
    RunError, Server, ServerOptions, SignalError, SpawnError, WaitError,
};

use self::harness::{compare, shown};
use crate::*;

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

/// Causes that only their own crate can make, provoked there.
struct Causes {
    room: tempfile::TempDir,
    installation: Installation,
}

impl Causes {
    fn new() -> Self {
        let pairs = [("VERSION", "PostgreSQL 16.3"), ("BINDIR", "/nowhere")];
        Self {
            room: tempfile::tempdir().expect("a directory"),
            installation: Installation::from_pairs(pairs).expect("a version"),
        }
    }

    fn file(&self) -> Utf8PathBuf {
        Utf8PathBuf::from("/dev/null")
    }

    fn find(&self) -> FindError {
        Postmaster::find(self.file()).expect_err("no directory")
    }

    fn lock(&self) -> LockError {
        let deadline = Deadline::after(Duration::ZERO);
        DirectoryLock::acquire("/nowhere", deadline).expect_err("no directory")
    }

    fn busy(&self) -> LockError {
        let acquire = || DirectoryLock::acquire(self.room(), Deadline::after(Duration::ZERO));
        let _held = acquire().expect("no other process uses it");
        acquire().expect_err("it is held")
    }

    fn guard(&self) -> GuardError {
        let options = GuardOptions::new().remove(self.file());
        options.guard().expect_err("no directory")
    }

    fn missing(&self) -> MissingProgramError {
        let missing = self.installation.require(Program::Initdb);
        missing.expect_err("nothing is there").clone()
    }

    fn run(&self, script: &str) -> RunError {
        let shell = Command::new("/bin/sh").args(["-c", script]);
        shell.run(Duration::from_secs(60)).expect_err("a failure")
    }

    fn spawn(&self) -> SpawnError {
        let options = ServerOptions::new(self.room());
        let server = Command::new("/nowhere/postgres").spawn_server(&options);
        server.expect_err("no program")
    }

    fn room(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.room.path().to_owned()).expect("UTF-8")
    }

    /// A program that takes itself for no server and ends at once.
    fn server(&self) -> Server {
        let options = ServerOptions::new(self.room());
        let server = Command::new("/bin/sh").args(["-c", "exit 1"]);
        let server = server.spawn_server(&options).expect("a shell");
        server.wait_gone(Duration::from_secs(60)).expect("its end");
        server
    }

    fn signal(&self) -> SignalError {
        self.server().send(Signal::Fast).expect_err("it is gone")
    }

    fn late(&self) -> WaitError {
        let options = ServerOptions::new(self.room());
        let server = Command::new("/bin/sleep").arg("60").spawn_server(&options);
        let server = server.expect("a program");
        let ready = server.wait_ready(Duration::ZERO);
        // A polite request to terminate would take effect too slowly.
        let _ = server.postmaster().kill(Duration::from_secs(60));
        ready.expect_err("it is not a server")
    }

    fn wait(&self) -> WaitError {
        let ready = self.server().wait_ready(Duration::from_secs(60));
        ready.expect_err("it has ended")
    }
}

#[test]
fn every_error_has_its_recorded_text() {
    let causes = Causes::new();
    let mut texts = Vec::new();
    let sections = [
        clusters,
        starts,
        stops,
        logs,
        inits,
        settings,
        access,
        replication,
    ];
    for section in sections {
        section(&causes, &mut texts);
    }
    let text = steady(&texts.join("\n"), &causes);
    let expected = include_str!("texts.txt");
    compare(&text, env!("CARGO_MANIFEST_DIR"), expected);
}

/// Removes the parts that differ between runs and between systems.
fn steady(text: &str, causes: &Causes) -> String {
    let socket = pg_proc::MAX_SOCKET_PATH.to_string();
    let own = format!("process {}", std::process::id());
    let text = text
        .replace(&own, "process 4711")
        .replace(causes.room().as_str(), "ROOM")
        .replace(&socket, "MAX");
    let line = |line: &str| {
        let mut line = line.to_owned();
        for (before, after) in [
            ("server process ", " "),
            ("to process ", ":"),
            (" after ", "\n"),
        ] {
            if let Some(begin) = line.find(before).map(|at| at + before.len()) {
                let end = line[begin..]
                    .find(after)
                    .map_or(line.len(), |at| begin + at);
                line.replace_range(begin..end, "N");
            }
        }
        for machines_own in ["nothing at: ", "  hint: install the "] {
            if line.starts_with(machines_own) {
                line.replace_range(machines_own.len().., "...");
            }
        }
        line + "\n"
    };
    text.lines().map(line).collect()
}

fn logs(causes: &Causes, texts: &mut Vec<String>) {
    use LogErrorKind as K;
    let cluster = Cluster::new(causes.installation.clone(), "/data").expect("an account");
    let timed_out = |missed| K::TimedOut {
        waited: Duration::from_secs(10),
        examined: 7,
        missed,
    };
    for kind in [
        K::NotStarted,
        K::NotKept,
        K::Collected("/data/log/postgresql.log".into()),
        K::Read(denied()),
        timed_out(0),
        timed_out(4096),
        K::Exited { examined: 7 },
    ] {
        let error = cluster.log_error(kind);
        texts.push(shown(&error, error.hint()));
    }
}

fn clusters(causes: &Causes, texts: &mut Vec<String>) {
    let account = Account::by_name("no such account").expect_err("no account");
    let resolved = conf::Resolver::new().read("/nowhere/postgresql.conf");
    for kind in [
        ClusterErrorKind::CurrentDirectory(denied()),
        ClusterErrorKind::Account(account),
        ClusterErrorKind::ConfigFile(resolved.expect_err("no file")),
    ] {
        let error = ClusterError::new("data".into(), kind);
        texts.push(shown(&error, error.hint()));
    }

    use ControlErrorKind as K;
    let pid = Pid::new(4711).expect("a number");
    let control_data = ControlData::read("/nowhere").expect_err("no directory");
    for kind in [
        K::NotRunning,
        K::Find(causes.find()),
        K::Held(pid),
        K::Signal(causes.signal()),
        K::Query("connection refused".into()),
        K::NotReloaded(Duration::from_secs(10)),
        K::NotStandby(ControlState::InProduction),
        K::ControlData(control_data),
        K::NoLogCollector,
        K::Wait(causes.wait()),
    ] {
        let error = ControlError::new("promote", "/data".into(), kind);
        texts.push(shown(&error, error.hint()));
    }
}

fn starts(causes: &Causes, texts: &mut Vec<String>) {
    use StartErrorKind as K;
    let path = || Utf8PathBuf::from("/data");
    let problem = |message: &str, file: Option<&str>, line| {
        ConfigurationProblem::new(message).at(file.map(Into::into), line)
    };
    let mut missing_library = problem(
        "shared_preload_libraries: could not access file \"x\"",
        Some("/data/postgresql.conf"),
        Some(8),
    );
    missing_library.hint = Some("Is it there?".to_owned());
    let message = |text: &str| ServerMessage::read_all(text).remove(0);
    let taken = |pid: Option<i32>| {
        let mut taken = TakenAddress::new("/tmp/.s.PGSQL.5432");
        taken.pid = pid.and_then(Pid::new);
        taken.data_directory = pid.map(|_| "/other".into());
        taken
    };
    let account = Account::by_name("no such account").expect_err("no account");
    let kinds = [
        K::NotInitialized,
        K::MajorVersion {
            data: MajorVersion::new(15),
            server: "16.3".parse().expect("a version"),
        },
        K::Permissions {
            path: path(),
            owner: 1000,
            mode: 0o777,
        },
        K::Unusable {
            path: path(),
            cause: denied(),
        },
        K::SocketDirectory {
            path: path(),
            cause: denied(),
        },
        K::SettingName("a b".to_owned()),
        K::SocketPath(proc::SocketPath::new("x".repeat(200), 5432).expect_err("too long")),
        K::Held(Pid::new(4711).expect("a number")),
        K::LockFileLost(Pid::new(4711).expect("a number")),
        K::Suspended(Pid::new(4711).expect("a number")),
        K::Busy(Duration::from_secs(60)),
        K::Account(account),
        K::Incomplete(vec!["PG_VERSION".to_owned(), "postgresql.conf".to_owned()]),
        K::Incomplete(vec!["postgresql.conf".to_owned()]),
        K::Incomplete(vec!["pg_notify".to_owned(), "pg_tblspc".to_owned()]),
        K::AddressInUse(taken(None)),
        K::AddressInUse(taken(Some(4711))),
        K::StaleSocketLock {
            path: "/tmp/.s.PGSQL.5432.lock".into(),
            pid: Pid::new(1).expect("a number"),
        },
        K::Unresolved {
            host: "localhost".to_owned(),
            cause: io::ErrorKind::NotFound.into(),
        },
        K::Configuration(vec![
            problem("syntax error", Some("/data/postgresql.conf"), Some(7)),
            problem("syntax error", Some("/data/pg_hba.conf"), None),
            problem("syntax error", None, None),
        ]),
        K::Configuration(vec![missing_library]),
        K::Configuration(vec![problem(
            "unix_socket_group: group \"x\" does not exist",
            None,
            None,
        )]),
        K::Configuration(vec![problem(
            "stats_temp_directory: could not open directory \"x\"",
            None,
            None,
        )]),
        K::Configuration(vec![problem(
            "the file is missing",
            Some("/data/pg_hba.conf"),
            None,
        )]),
        K::SharedMemory(message(
            "FATAL:  pre-existing shared memory block is still in use\n\
             HINT:  Terminate any old server processes.",
        )),
        K::SharedMemory(message(
            "FATAL:  could not create shared memory segment: No space left on device\n\
             DETAIL:  Failed system call was shmget(1).",
        )),
        K::SharedMemory(message(
            "FATAL:  could not resize shared memory segment \"/PostgreSQL.1\": \
             No space left on device",
        )),
        K::DiskFull(path()),
        K::Recovery(message(
            "PANIC:  could not locate a valid checkpoint record",
        )),
        K::RecoveryTarget,
        K::Ended {
            status: Some(ExitStatus::from_raw(1 << 8)),
            message: Some(message(
                "FATAL:  private key file has group or world access\nDETAIL:  Permissions.",
            )),
        },
        K::Ended {
            status: None,
            message: None,
        },
        K::NotRunning,
        K::Wait(causes.wait()),
        K::Wait(causes.late()),
        K::MissingProgram(causes.missing()),
        K::Spawn(causes.spawn()),
        K::Find(causes.find()),
    ];
    for kind in kinds {
        let error = StartError::new("/data".into(), kind);
        texts.push(shown(&error, error.hint()));
    }
    let kind = K::Ended {
        status: None,
        message: None,
    };
    let error = StartError::new("/data".into(), kind)
        .with_log_destination(Some("syslog (`log_destination`)".to_owned()));
    texts.push(shown(&error, error.hint()));
}

fn stops(causes: &Causes, texts: &mut Vec<String>) {
    use ControlErrorKind as K;
    let pid = Pid::new(4711).expect("a number");
    let stop = |kind| ControlError::new("stop", "/data".into(), kind);
    let waited = Duration::from_secs(60);
    let holders = |titles: &[&str]| {
        let holder = |title: &&str| (pid, (*title).to_owned());
        titles.iter().map(holder).collect()
    };
    let timeout = || {
        stop(K::Timeout {
            pid,
            waited,
            holders: holders(&[]),
        })
    };
    for error in [
        stop(K::Find(causes.find())),
        stop(K::Held(pid)),
        stop(K::Signal(causes.signal())),
        stop(K::Kill(causes.wait())),
        timeout(),
        stop(K::Timeout {
            pid,
            waited,
            holders: holders(&["postgres: alice shop [local] idle"]),
        }),
        stop(K::Suspended(pid)),
    ] {
        texts.push(shown(&error, error.hint()));
    }
    let error = StartError::new("/data".into(), StartErrorKind::Stop(timeout()));
    texts.push(shown(&error, error.hint()));

    use RemoveErrorKind as R;
    let tree = R::Tree(
        pg_proc::data_directory::Removal::find("/dev/null/data").expect_err("no directory"),
    );
    for kind in [
        R::NoDataDirectory("PG_VERSION"),
        R::Lock(causes.lock()),
        R::Stop(timeout()),
        R::Orphans,
        R::Held(pid),
        tree,
    ] {
        let error = RemoveError::new("/data".into(), kind);
        texts.push(shown(&error, error.hint()));
    }
}

fn inits(causes: &Causes, texts: &mut Vec<String>) {
    use InitErrorKind as K;
    let locale = "echo 'initdb: error: invalid locale name' >&2; exit 1";
    let account = Account::by_name("no such account").expect_err("no account");
    for kind in [
        K::AlreadyInitialized,
        K::Incomplete(vec!["postgresql.conf".to_owned()]),
        K::Account(account),
        K::NotEmpty("thesis.txt".to_owned()),
        K::NotEmpty("lost+found".to_owned()),
        K::Busy,
        K::Lock(causes.lock()),
        K::Directory(denied()),
        K::Option("the password is empty"),
        K::Unsupported {
            option: "--wal-segsize",
            since: MajorVersion::new(11),
            version: "10.23".parse().expect("a version"),
        },
        K::MissingProgram(causes.missing()),
        K::Program(causes.run(locale)),
        K::Program(causes.run("echo 'Permission denied' >&2; exit 1")),
        K::Program(causes.run("echo 'could not look up effective user ID 7' >&2; exit 1")),
        K::Program(causes.run("echo 'could not change permissions of x' >&2; exit 1")),
        K::BaseBackup(causes.run("echo 'pg_basebackup: error: no password supplied' >&2; exit 1")),
        K::BaseBackup(causes.run("exit 1")),
        K::MajorVersion {
            server: MajorVersion::new(15),
            own: "18.6".parse().expect("a version"),
        },
        K::Guard(causes.guard()),
    ] {
        let error = InitError::new("/data".into(), kind);
        texts.push(shown(&error, error.hint()));
    }
}

fn replication(causes: &Causes, texts: &mut Vec<String>) {
    use ReplicationErrorKind as K;
    let log = "FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment \
               000000010000000000000001 has already been removed\n";
    let problem = ReplicationProblem::find(&ServerMessage::read_all(log));
    let failed = "echo 'pg_rewind: error: could not find common ancestor' >&2; exit 1";
    let late = |received, paused| K::NotReplayed {
        target: Lsn::new(0x300_0148),
        replayed: Lsn::new(0x300_0000),
        received,
        paused,
        waited: Duration::from_secs(2),
    };
    for kind in [
        K::MissingProgram(causes.missing()),
        K::Option("the password is empty"),
        K::Find(causes.find()),
        K::ControlData(ControlData::read("/nowhere").expect_err("no directory")),
        K::Stop(ControlError::new(
            "stop",
            "/data".into(),
            ControlErrorKind::NotRunning,
        )),
        K::NotRewindable,
        K::Program(causes.run(failed)),
        K::Program(causes.run("echo 'pg_rewind: error: are from different systems' >&2; exit 1")),
        K::File("/data/standby.signal".into(), denied()),
        K::Query("connection refused".into()),
        K::Primary(None),
        K::Primary(Some(Lsn::new(0x300_0148))),
        K::NotFollowing(problem.expect("a problem")),
        late(None, false),
        late(Some(Lsn::new(0x300_0148)), true),
    ] {
        let error = ReplicationError::new("rewind", "/data".into(), kind);
        texts.push(shown(&error, error.hint()));
    }
}

fn settings(causes: &Causes, texts: &mut Vec<String>) {
    use SettingsErrorKind as K;
    use pg_proc::FileErrorKind as F;
    let edit = conf::Document::parse("").set("a b", 1);
    let resolved = conf::Resolver::new().read("/nowhere/postgresql.conf");
    let mut problem =
        ConfigurationProblem::new("invalid value for parameter \"work_mem\": \"lots\"");
    problem.hint = Some("Valid units for this parameter are \"B\" and \"kB\".".to_owned());
    for kind in [
        F::Read(denied()).into(),
        K::Resolve(resolved.expect_err("no file")),
        F::ForeignLink("/etc/passwd".into()).into(),
        F::Lock(causes.lock()).into(),
        F::Lock(causes.busy()).into(),
        K::Edit(edit.map(|_| ()).expect_err("no name")),
        F::Write(denied()).into(),
        F::Write(io::ErrorKind::ResourceBusy.into()).into(),
        K::Rejected(vec![problem]),
        K::Program(causes.run("exit 1")),
        K::Installation(Box::new(causes.missing())),
    ] {
        let error = SettingsError::new("/data/postgresql.conf".into(), kind);
        texts.push(shown(&error, error.hint()));
    }
    let nearest = Some("work_mem".to_owned());
    let message = "70000 is outside the valid range".to_owned();
    for kind in [
        SettingProblemKind::Unknown { nearest },
        SettingProblemKind::Unknown { nearest: None },
        SettingProblemKind::ReadOnly,
        SettingProblemKind::OutOfRange {
            message: message.clone(),
        },
        SettingProblemKind::Invalid { message },
    ] {
        let name = "wrok_mem".to_owned();
        texts.push(format!("{}\n", SettingProblem { name, kind }));
    }
}

fn access(_: &Causes, texts: &mut Vec<String>) {
    use AccessErrorKind as K;
    use pg_proc::FileErrorKind as F;
    let path = || Utf8PathBuf::from("/data/pg_hba.conf");
    let read = conf::hba::Rules::read("/nowhere/pg_hba.conf", &conf::hba::Server::new(18));
    let edit = conf::hba::Document::parse("").remove(7);
    let message = "end-of-line before authentication method".to_owned();
    let reload = ControlErrorKind::NotRunning;
    for kind in [
        F::Read(denied()).into(),
        K::Load(read.expect_err("no file")),
        F::ForeignLink("/etc/passwd".into()).into(),
        K::Edit(edit.map(|_| ()).expect_err("no line")),
        K::Rejected(vec![AccessProblem::new(path(), Some(2), message)]),
        K::OtherFile("/data/other.conf".into()),
        K::Query("connection reset".into()),
        K::Answer("2 columns".to_owned()),
        K::Reload(ControlError::new("reload", "/data".into(), reload)),
        K::NotRestored {
            failure: Box::new(K::Answer("2 columns".to_owned())),
            error: denied(),
        },
        K::Interfaces(denied()),
    ] {
        let error = AccessError::new("change", path(), kind);
        texts.push(shown(&error, error.hint()));
    }
}
