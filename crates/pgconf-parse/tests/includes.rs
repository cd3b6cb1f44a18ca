//! Configurations of several files, in addition to the oracle's cases.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use pgconf_parse::{AutoConf, ProblemKind, ResolveError, Resolver};

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files<const N: usize>(files: [(&str, &str); N]) -> Files {
    files
        .map(|(path, text)| (path.into(), text.as_bytes().to_vec()))
        .into()
}

#[test]
fn auto_conf_is_read_last_from_each_place() {
    let files = files([
        ("/etc/pg/postgresql.conf", "port = 1\nport = 2\n"),
        ("/etc/pg/postgresql.auto.conf", "port = 3\n"),
        ("/data/postgresql.auto.conf", "port = 4\n"),
    ]);
    for (auto_conf, port) in [
        (AutoConf::Beside, "3"),
        (AutoConf::In("/data".into()), "4"),
        (AutoConf::Ignored, "2"),
    ] {
        let read = Resolver::new()
            .auto_conf(auto_conf)
            .load(&files, Path::new("/etc/pg/postgresql.conf"))
            .unwrap();
        let explained = read.explain("port");
        assert_eq!(explained.winner().unwrap().value_lossy(), port);
        assert_eq!(explained.shadowed()[0].value_lossy(), "1");
    }
}

/// Relative paths stay relative; the loader resolves them.
#[test]
fn a_relative_path_stays_relative() {
    let files = files([
        ("postgresql.conf", "include 'sub/a.conf'\n"),
        (
            "sub/a.conf",
            "include '../b.conf'\ninclude '../../c.conf'\ninclude_dir 'd'\n",
        ),
        ("sub/d/e.conf", "z = 1\n"),
        ("b.conf", "x = 1\n"),
        ("../c.conf", "y = 1\n"),
    ]);
    let read = Resolver::new()
        .load(&files, Path::new("postgresql.conf"))
        .unwrap();
    assert!(
        read.is_accepted(),
        "{:?}",
        read.problems().collect::<Vec<_>>()
    );
    assert_eq!(read.get("y").unwrap().file(), Path::new("../c.conf"));
}

/// Two files that include each other many times would keep a server busy practically forever.
#[test]
fn mutual_includes_are_limited() {
    let ring = |other: &str| format!("include '{other}'\n").repeat(20);
    let files = files([("/a", &ring("b")), ("/b", &ring("a"))]);
    let read = Resolver::new().load(&files, Path::new("/a")).unwrap();
    assert!(
        read.problems()
            .any(|problem| *problem.kind() == ProblemKind::TooManyFiles)
    );
    assert!(
        read.problems()
            .any(|problem| *problem.kind() == ProblemKind::TooDeep)
    );
}

/// A small file that is included many times must not require unlimited memory.
#[test]
fn repeated_includes_are_limited() {
    let line = format!("a '{}'\n", "x".repeat(1000));
    let settings = line.repeat(500);
    let files = files([
        ("/again", &"include 'settings'\n".repeat(9_000)),
        ("/settings", &settings),
        ("/list", &"include_dir 'empty'\n".repeat(20_000)),
        ("/empty/readme", ""),
    ]);
    for first in ["/again", "/list"] {
        let read = Resolver::new().load(&files, Path::new(first)).unwrap();
        let mut problems = read.problems();
        assert!(problems.any(|problem| *problem.kind() == ProblemKind::TooManyFiles));
        assert!(read.assignments().count() * line.len() <= (16 << 20) + settings.len());
    }
}

/// Reading a pipe or a device in place of a file neither blocks nor exhausts the memory.
#[test]
fn pipes_and_devices_are_not_read() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let pipe = Command::new("mkfifo").arg(at("pipe")).status();
    assert!(pipe.unwrap().success());
    symlink("/dev/zero", at("endless")).unwrap();
    symlink("/dev/null", at("nothing")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let large = File::create(at("large")).unwrap();
    large.set_len(1 << 30).unwrap();
    for (name, expected) in [
        ("pipe", Some(ErrorKind::InvalidInput)),
        ("endless", Some(ErrorKind::InvalidInput)),
        ("large", Some(ErrorKind::FileTooLarge)),
        ("directory", Some(ErrorKind::IsADirectory)),
        ("nothing", None),
    ] {
        let file = at(name);
        fs::write(at("postgresql.conf"), format!("include '{name}'\n")).unwrap();
        let first = at("postgresql.conf");
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            done.send((Resolver::new().read(file), Resolver::new().read(first)))
        });
        let (direct, included) = is_done
            .recv_timeout(Duration::from_secs(60))
            .expect("reading should not block");
        let source = |error: ResolveError| {
            let cause = error.kind().source().unwrap();
            cause.downcast_ref::<io::Error>().unwrap().kind()
        };
        assert_eq!(direct.err().map(source), expected, "{name}");
        let included = included.unwrap();
        let problem = included
            .problems()
            .next()
            .map(|problem| problem.kind().clone());
        assert_eq!(
            problem,
            expected.map(|error| ProblemKind::Read { error }),
            "{name}"
        );
    }
}

#[test]
fn a_directory_is_read_in_byte_order() {
    let root = tempfile::tempdir().unwrap();
    let conf = root.path().join("conf.d");
    fs::create_dir_all(conf.join("dir.conf")).unwrap();
    for name in [
        "b.conf", "B.conf", "10.conf", "9.conf", "é.conf", ".conf", ".a.conf", "x.conf~",
    ] {
        fs::write(conf.join(name), format!("x.y = '{name}'\n")).unwrap();
    }
    let file = root.path().join("postgresql.conf");
    fs::write(&file, "include_dir 'conf.d'\n").unwrap();
    let read = Resolver::new().read(&file).unwrap();
    let order: Vec<_> = read
        .assignments()
        .map(|found| found.value_lossy().into_owned())
        .collect();
    assert_eq!(order, ["10.conf", "9.conf", "B.conf", "b.conf", "é.conf"]);
}

/// A path is truncated to the server's buffer size. The result may name another file or none.
#[test]
fn long_paths_are_truncated_as_by_the_server() {
    let long = "x".repeat(2000);
    let files = files([("/d/postgresql.conf", &format!("include '{long}'\n"))]);
    let read = Resolver::new()
        .load(&files, Path::new("/d/postgresql.conf"))
        .unwrap();
    let problem = read.problems().next().unwrap();
    let ProblemKind::OpenFile { path, .. } = problem.kind() else {
        panic!("{problem}");
    };
    assert_eq!(path.as_os_str().len(), 1023);
}
