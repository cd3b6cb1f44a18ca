//! Every kind of error once: see [`harness`].

mod harness;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use self::harness::{compare, shown};
use crate::data_directory::{NewDataDirectoryError, NewDataDirectoryErrorKind, RemovalError};
use crate::*;

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

fn refused() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// The error for a link that a walk does not follow.
fn foreign_link() -> io::Error {
    let link = ForeignLink {
        link: "/tmp/link".into(),
        leads_to: "/data".into(),
        maker: 1000,
    };
    io::Error::new(io::ErrorKind::PermissionDenied, link)
}

fn pid() -> Pid {
    Pid::new(4711).expect("a number")
}

fn pid_file(kind: PidFileErrorKind) -> PidFileError {
    PidFileError {
        path: Some("/data/postmaster.pid".into()),
        kind,
    }
}

fn unreadable() -> PidFileError {
    pid_file(PidFileErrorKind::Read(denied()))
}

fn find(kind: FindErrorKind) -> FindError {
    FindError::new(Utf8Path::new("/data"), kind)
}

fn closed() -> FindError {
    find(FindErrorKind::Directory(denied()))
}

fn lock(kind: LockErrorKind) -> LockError {
    LockError::at(Utf8Path::new("/data"), |()| kind)(())
}

fn spawn(kind: SpawnErrorKind) -> SpawnError {
    SpawnError::new(Utf8Path::new("/bin/postgres"), kind)
}

fn not_found() -> SpawnErrorKind {
    SpawnErrorKind::NotFound(io::ErrorKind::NotFound.into())
}

#[test]
fn every_error_has_its_recorded_text() {
    let mut texts = Vec::new();
    let sections = [
        values,
        files,
        control_data,
        found,
        shared_memory,
        directories,
        accounts,
        signals,
        waits,
        programs,
        starts,
    ];
    for section in sections {
        section(&mut texts);
    }
    // Other systems allow other lengths.
    let text = texts
        .join("\n")
        .replace(&format!("more than {MAX_SOCKET_PATH}"), "more than MAX");
    let expected = include_str!("texts.txt");
    compare(&text, env!("CARGO_MANIFEST_DIR"), expected);
}

fn values(texts: &mut Vec<String>) {
    texts.push(shown(&"-1".parse::<Pid>().expect_err("no number"), None));
    let long = SocketPath::new("x".repeat(200), 5432).expect_err("too long");
    texts.push(shown(&long, long.hint()));
    let state = "asleep".parse::<ControlState>().expect_err("no state");
    texts.push(shown(&state, None));
    let lsn = "0".parse::<Lsn>().expect_err("no slash");
    texts.push(shown(&lsn, None));
    let detach = DetachError { pid: pid() };
    texts.push(shown(&detach, detach.hint()));
}

fn files(texts: &mut Vec<String>) {
    use PidFileErrorKind as P;
    let line = P::Line {
        line: 3,
        expected: "a time",
        found: "soon".to_owned(),
    };
    let read = P::Read(denied());
    for kind in [read, P::NotRegular, P::TooLong, P::Empty, P::Torn, line] {
        texts.push(shown(&pid_file(kind), None));
    }
    texts.push(shown(&PidFile::parse(b"").expect_err("empty"), None));

    use PostmasterOptsErrorKind as O;
    for kind in [
        O::Read(denied()),
        O::NotRegular,
        O::TooLong,
        O::NoProgram,
        O::Unclosed('"'),
    ] {
        let path = Some("/data/postmaster.opts".into());
        texts.push(shown(&PostmasterOptsError { path, kind }, None));
    }
    let opts = "".parse::<PostmasterOpts>().expect_err("no program");
    texts.push(shown(&opts, None));
}

fn control_data(texts: &mut Vec<String>) {
    use ControlDataErrorKind as K;
    let of_directory = [K::File(denied()), K::State(9)].map(|kind| (Some("/data".into()), kind));
    let of_output = (None, K::Entry("Database cluster state"));
    for (data_directory, kind) in of_directory.into_iter().chain([of_output]) {
        let error = ControlDataError {
            data_directory,
            kind,
        };
        texts.push(shown(&error, None));
    }
}

fn found(texts: &mut Vec<String>) {
    use StaleReason as S;
    for reason in [
        S::Gone,
        S::Zombie,
        S::OtherProgram("sleep".to_owned()),
        S::OtherDirectory,
        S::BeganLater,
        S::Unreadable(pid_file(PidFileErrorKind::Empty)),
    ] {
        texts.push(shown(&reason, None));
    }
    for error in [closed(), find(FindErrorKind::PidFile(unreadable()))] {
        texts.push(shown(&error, None));
    }
}

fn shared_memory(texts: &mut Vec<String>) {
    use SharedMemoryErrorKind as K;
    for kind in [
        K::Running(pid()),
        K::InUse { attached: 2 },
        K::NotOurs,
        K::Find(closed()),
        K::LockFile(PidFileErrorKind::Torn),
        K::System(denied()),
    ] {
        let error = SharedMemoryError {
            data_directory: "/data".into(),
            kind,
        };
        texts.push(shown(&error, error.hint()));
    }
}

fn directories(texts: &mut Vec<String>) {
    use LockErrorKind as L;
    for kind in [
        L::Open(denied()),
        L::Open(foreign_link()),
        L::Busy { holder: None },
        L::Busy {
            holder: Some(pid()),
        },
        L::System(refused()),
    ] {
        let error = lock(kind);
        texts.push(shown(&error, error.hint()));
    }

    for kind in [
        FileErrorKind::Read(denied()),
        FileErrorKind::ForeignLink("/etc/passwd".into()),
        FileErrorKind::Lock(lock(LockErrorKind::System(refused()))),
        FileErrorKind::Lock(lock(LockErrorKind::Busy { holder: None })),
        FileErrorKind::Write(denied()),
        FileErrorKind::Write(io::ErrorKind::ResourceBusy.into()),
    ] {
        let error = FileError::new(Utf8Path::new("/data/pg_hba.conf"), kind);
        texts.push(shown(&error, error.hint()));
    }

    use NewDataDirectoryErrorKind as N;
    for kind in [
        N::AlreadyInitialized,
        N::NotEmpty("thesis.txt".to_owned()),
        N::Busy,
        N::Lock(lock(LockErrorKind::System(refused()))),
        N::Directory(denied()),
    ] {
        let error = NewDataDirectoryError::at(Utf8Path::new("/data"))(kind);
        texts.push(shown(&error, error.hint()));
    }
    for error in [denied(), foreign_link()] {
        let error = RemovalError::at(std::path::Path::new("/data/base"))(error);
        texts.push(shown(&error, error.hint()));
    }

    use GuardErrorKind as G;
    let guard = GuardError::at;
    for error in [
        guard(Utf8Path::new("/tmp/pg"))(G::Directory(denied())),
        guard(Utf8Path::new("/tmp/link/pg"))(G::Directory(foreign_link())),
        guard(Utf8Path::new("/tmp/pg"))(G::NotDirectory),
        guard(Utf8Path::new("/tmp/pg"))(G::Marker("a/b".to_owned())),
        GuardError::start(refused()),
    ] {
        texts.push(shown(&error, error.hint()));
    }
}

fn accounts(texts: &mut Vec<String>) {
    use AccountErrorKind as K;
    for kind in [
        K::Unknown,
        K::Lookup(refused()),
        K::Directory(denied()),
        K::NotMapped,
        K::Capabilities(vec!["CAP_SETUID", "CAP_SETGID"]),
        K::Fake(1000),
    ] {
        let error = AccountError::new("otto", kind);
        texts.push(shown(&error, error.hint()));
    }
}

fn signals(texts: &mut Vec<String>) {
    use SignalErrorKind as K;
    for (signal, kind) in [
        (Signal::Smart, K::Gone),
        (Signal::Fast, K::NotPermitted),
        (Signal::Reload, K::NotHandled),
        (Signal::CheckRequests, K::RequestFile("promote", denied())),
        (Signal::Immediate, K::System(refused())),
        (Signal::Kill, K::Gone),
    ] {
        let error = SignalError::new(pid(), signal, kind);
        texts.push(shown(&error, error.hint()));
    }
    use SuspendErrorKind as S;
    let timed_out = S::TimedOut {
        running: pid(),
        waited: Duration::from_secs(5),
    };
    for kind in [
        S::Exited,
        S::NotPermitted,
        S::NoChildren,
        timed_out,
        S::System(refused()),
    ] {
        texts.push(shown(&SuspendError::new(pid(), kind), None));
    }
}

fn waits(texts: &mut Vec<String>) {
    use WaitErrorKind as K;
    let statuses = [
        Status::Starting,
        Status::Ready,
        Status::Standby,
        Status::Stopping,
    ];
    let timed_out = statuses.map(|status| K::TimedOut(Some(status)));
    for kind in [
        K::Exited(None),
        K::Exited(Some(ExitStatus::from_raw(1 << 8))),
        K::NotSignalled(SignalErrorKind::NotPermitted),
        K::TimedOut(None),
    ]
    .into_iter()
    .chain(timed_out)
    {
        let error = WaitError {
            pid: pid(),
            waited: Duration::from_millis(2500),
            kind,
        };
        texts.push(shown(&error, None));
    }
}

fn programs(texts: &mut Vec<String>) {
    use RunErrorKind as K;
    let status = ExitStatus::from_raw(1 << 8);
    let stderr = "initdb: error: no such thing\ninitdb: hint: Try another.\n";
    let reason = || ServerMessage::reason(stderr).map(Box::new);
    for kind in [
        K::Start(Box::new(spawn(not_found()))),
        K::Failed {
            status,
            reason: None,
        },
        K::Failed {
            status,
            reason: reason(),
        },
        K::TimedOut { reason: None },
        K::TimedOut { reason: reason() },
        K::Lost,
    ] {
        let error = RunError {
            program: "/bin/initdb".into(),
            arguments: Vec::new(),
            kind,
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        texts.push(shown(&error, error.hint()));
    }
}

fn starts(texts: &mut Vec<String>) {
    use SpawnErrorKind as K;
    for kind in [
        not_found(),
        K::Execute(denied()),
        K::Account {
            account: "otto".to_owned(),
            error: denied(),
        },
        K::Directory {
            directory: "/root".into(),
            error: denied(),
        },
        K::Log {
            path: "/log".into(),
            error: denied(),
        },
        K::Process(refused()),
        K::Nul("a\0b".into()),
        K::Running(pid()),
        K::Held(pid()),
        K::DetachedTail,
        K::Lock(lock(LockErrorKind::Busy {
            holder: Some(pid()),
        })),
        K::State(closed()),
    ] {
        let error = spawn(kind);
        texts.push(shown(&error, error.hint()));
    }
}
