//! What people get to read: every kind of error once, with its causes and what is advised, in
//! `texts.txt`. After a change of a text, `PG_UPDATE_TEXTS=1 cargo test` writes that file anew.

use std::error::Error;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use crate::*;

/// An error, its causes below each other, and the hint.
fn shown(error: &dyn Error, hint: Option<&str>) -> String {
    let mut text = format!("{error}\n");
    let mut above = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        assert!(!above.contains(&said), "said twice: {above}: {said}");
        text += &format!("  because {said}\n");
        above = said;
        next = cause.source();
    }
    text + &hint.map_or(String::new(), |hint| format!("  hint: {hint}\n"))
}

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

fn refused() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

#[test]
fn every_error_reads_as_it_did() {
    let pid = Pid::new(4711).expect("a number");
    let failed = || ExitStatus::from_raw(1 << 8);
    let mut texts = Vec::new();
    let mut show = |error: &dyn Error| texts.push(shown(error, None));

    show(&"-1".parse::<Pid>().expect_err("no number"));
    show(&SocketPath::new("x".repeat(100), 5432).expect_err("too long"));
    show(&DetachError { pid });

    use PidFileErrorKind as P;
    let line = P::Line {
        line: 3,
        expected: "a time",
        found: "soon".to_owned(),
    };
    let pid_file = |kind| PidFileError {
        path: Some("/data/postmaster.pid".into()),
        kind,
    };
    for kind in [P::NotRegular, P::TooLong, P::Empty, P::Torn, line] {
        show(&pid_file(kind));
    }
    show(&pid_file(P::Read(denied())));
    show(&PidFile::parse(b"").expect_err("empty"));

    use PostmasterOptsErrorKind as O;
    for kind in [O::Read(denied()), O::NoProgram, O::Unclosed('"')] {
        let path = Some("/data/postmaster.opts".into());
        show(&PostmasterOptsError { path, kind });
    }
    show(&"".parse::<PostmasterOpts>().expect_err("no program"));

    use StaleReason as S;
    let program = S::OtherProgram("sleep".to_owned());
    let unreadable = S::Unreadable(pid_file(P::Empty));
    for reason in [
        S::Gone,
        S::Zombie,
        program,
        S::OtherDirectory,
        S::BeganLater,
    ] {
        show(&reason);
    }
    show(&unreadable);

    let find = |kind| FindError {
        data_directory: "/data".into(),
        kind,
    };
    let closed = || find(FindErrorKind::Directory(denied()));
    show(&closed());
    show(&find(FindErrorKind::PidFile(pid_file(P::Read(denied())))));

    use SharedMemoryErrorKind as M;
    for kind in [
        M::Running(pid),
        M::InUse { attached: 2 },
        M::NotOurs,
        M::Find(closed()),
        M::LockFile(P::Read(denied())),
        M::System(denied()),
    ] {
        let data_directory = "/data".into();
        show(&SharedMemoryError {
            data_directory,
            kind,
        });
    }

    use LockErrorKind as L;
    let lock = |kind| LockError::at(Utf8Path::new("/data"), |()| kind)(());
    let nobody = L::Busy { holder: None };
    let busy = L::Busy { holder: Some(pid) };
    for kind in [L::Open(denied()), nobody, busy, L::System(refused())] {
        let error = lock(kind);
        texts.push(shown(&error, error.hint().as_deref()));
    }
    let mut show = |error: &dyn Error| texts.push(shown(error, None));

    use AccountErrorKind as A;
    for kind in [A::Unknown, A::Lookup(refused()), A::Directory(denied())] {
        let account = "otto".to_owned();
        show(&AccountError { account, kind });
    }

    use GuardErrorKind as G;
    let marker = G::Marker("a/b".to_owned());
    for kind in [G::Directory(denied()), G::NotDirectory, marker] {
        show(&GuardError::at(Utf8Path::new("/tmp/pg"))(kind));
    }
    show(&GuardError::start(refused()));

    use SignalErrorKind as K;
    let file = K::RequestFile("promote", denied());
    for kind in [
        K::Gone,
        K::NotPermitted,
        K::NotHandled,
        file,
        K::System(refused()),
    ] {
        let signal = Signal::Fast;
        show(&SignalError { pid, signal, kind });
    }

    use WaitErrorKind as W;
    for kind in [
        W::Ended(None),
        W::Ended(Some(failed())),
        W::NotSignalled(K::NotPermitted),
        W::TimedOut(None),
        W::TimedOut(Some(Status::Starting)),
    ] {
        let waited = std::time::Duration::from_millis(2500);
        show(&WaitError { pid, waited, kind });
    }

    let spawn = |kind| SpawnError {
        program: "/bin/postgres".into(),
        kind,
    };
    use RunErrorKind as R;
    let not_found = || SpawnErrorKind::NotFound(io::ErrorKind::NotFound.into());
    let start = R::Start(Box::new(spawn(not_found())));
    for kind in [start, R::Failed(failed()), R::TimedOut, R::Lost] {
        show(&RunError {
            program: "/bin/initdb".into(),
            arguments: Vec::new(),
            kind,
            stdout: Vec::new(),
            stderr: b"initdb: error: no such thing\n\n".to_vec(),
        });
    }

    use SpawnErrorKind as E;
    for kind in [
        not_found(),
        E::Execute(denied()),
        E::Account {
            account: "otto".to_owned(),
            cause: denied(),
        },
        E::Directory {
            directory: "/root".into(),
            cause: denied(),
        },
        E::Log {
            path: "/log".into(),
            cause: denied(),
        },
        E::Process(refused()),
        E::Nul("a\0b".into()),
        E::Running(pid),
        E::Held(pid),
        E::DetachedTail,
        E::Lock(lock(L::Busy { holder: None })),
        E::State(closed()),
    ] {
        let error = spawn(kind);
        texts.push(shown(&error, error.hint().as_deref()));
    }

    // Other systems allow other lengths.
    let text = texts
        .join("\n")
        .replace(&MAX_SOCKET_PATH.to_string(), "MAX");
    if std::env::var_os("PG_UPDATE_TEXTS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/texts.txt");
        std::fs::write(path, &text).expect("a writable checkout");
        return;
    }
    assert_eq!(text, include_str!("texts.txt"));
}
