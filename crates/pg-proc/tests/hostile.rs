//! Attacks by a process that can write into a data directory, listen on a socket or be run. None of
//! them makes a caller wait beyond its deadline, read without end, or trust false data.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{
    Deadline, DirectoryLock, Endpoint, Found, LockErrorKind, PidFile, PidFileErrorKind, Ping,
    Postmaster, PostmasterOpts, PostmasterOptsErrorKind, RunErrorKind, StaleReason, ping,
};

/// Longer than anything here takes; only a test that fails waits for it.
const LONG: Duration = Duration::from_secs(60);

/// Runs something that may block if there is a mistake, and fails then.
fn must_end<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || done.send(what()));
    is_done.recv_timeout(LONG).expect("it blocks")
}

/// Makes something at a path.
type Make = fn(&Utf8Path);

/// Objects that may replace a file, with their descriptions.
const PLACES: [(&str, Make); 7] = [
    ("not regular", |path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
    ("not regular", |path| fs::create_dir(path).unwrap()),
    ("not regular", |path| symlink("/dev/zero", path).unwrap()),
    ("too long", |path| {
        // 1 GiB, none of it on the disk.
        File::create(path).unwrap().set_len(1 << 30).unwrap();
    }),
    ("unreadable", |path| {
        symlink(path.file_name().unwrap(), path).unwrap()
    }),
    ("unreadable", |path| {
        let file = File::create(path.with_extension("file")).unwrap();
        drop(file);
        symlink(path.with_extension("file").join("x"), path).unwrap();
    }),
    ("absent", |path| symlink("nowhere", path).unwrap()),
];

/// A data directory for each of these, with that in the place of the file.
fn data_directories(
    file: &str,
) -> impl Iterator<Item = (&'static str, Utf8PathBuf, tempfile::TempDir)> {
    PLACES.into_iter().map(move |(verdict, make)| {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(directory.path().to_owned()).unwrap();
        make(&path.join(file));
        (verdict, path, directory)
    })
}

#[test]
fn any_object_may_replace_the_lock_file() {
    for (expected, data, _directory) in data_directories(PidFile::NAME) {
        let directory = data.clone();
        let verdict = match must_end(move || PidFile::read(&directory)) {
            Ok(None) => "absent",
            Ok(Some(file)) => panic!("{file:?}"),
            Err(error) => match error.kind() {
                PidFileErrorKind::NotRegular => "not regular",
                PidFileErrorKind::TooLong => "too long",
                PidFileErrorKind::Read(_) => "unreadable",
                kind => panic!("{kind:?}"),
            },
        };
        assert_eq!(verdict, expected);
        let directory = data.clone();
        match (expected, must_end(move || Postmaster::find(&directory))) {
            ("absent", Ok(Found::Nothing)) | ("unreadable", Err(_)) => {}
            (_, Ok(Found::Stale(stale))) => {
                assert!(
                    matches!(stale.reason, StaleReason::Unreadable(_)),
                    "{stale:?}"
                );
                assert_eq!(stale.bystander(), None);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn any_object_may_replace_the_options_file() {
    for (expected, data, _directory) in data_directories(PostmasterOpts::NAME) {
        let verdict = match must_end(move || PostmasterOpts::read(&data)) {
            Ok(None) => "absent",
            Ok(Some(opts)) => panic!("{opts:?}"),
            Err(error) => match error.kind() {
                PostmasterOptsErrorKind::NotRegular => "not regular",
                PostmasterOptsErrorKind::TooLong => "too long",
                PostmasterOptsErrorKind::Read(_) => "unreadable",
                kind => panic!("{kind:?}"),
            },
        };
        assert_eq!(verdict, expected);
    }
}

#[test]
fn a_pipe_is_not_a_directory_to_lock() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = Utf8PathBuf::try_from(directory.path().join("pipe")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let error = must_end(move || DirectoryLock::acquire(&pipe, Deadline::never())).unwrap_err();
    assert!(matches!(error.kind(), LockErrorKind::Open(_)), "{error:?}");
}

/// Such a server never lets a read block, and deadlines are usually checked when a read blocks.
#[test]
fn an_endless_server_response_times_out() {
    const NOTICE: [u8; 5] = [b'N', 0, 0, 0, 4];
    const WELCOME: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 0];
    for (first, accepting) in [(&NOTICE[..], false), (&WELCOME, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::tcp(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.read_exact(&mut [0; 8]).unwrap();
            socket.write_all(first).unwrap();
            let chatter = NOTICE.repeat(10_000);
            while socket.write_all(&chatter).is_ok() {}
        });
        let answer = must_end(move || ping(&endpoint, Duration::from_millis(200)));
        match answer {
            Ping::Accepting => assert!(accepting),
            Ping::NoResponse(error) => {
                assert!(!accepting);
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            }
            Ping::Rejecting(_) | _ => panic!("{answer:?}"),
        }
        server.join().unwrap();
    }
}

#[test]
fn endless_output_of_a_program_times_out() {
    for script in ["exec yes", "exec yes >&2", "yes & exec yes >&2"] {
        let command = pg_proc::Command::new("/bin/sh")
            .args(["-c", script])
            .capture_limit(1000);
        let error = must_end(move || command.run(Duration::from_millis(300))).unwrap_err();
        assert!(
            matches!(error.kind(), RunErrorKind::TimedOut { .. }),
            "{error}"
        );
        assert!(error.stdout().len().max(error.stderr().len()) == 1000);
    }
}
