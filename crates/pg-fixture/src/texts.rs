//! What people get to read: every kind of error once, with its causes and what is advised, in
//! `texts.txt`. After a change of a text, `PG_UPDATE_TEXTS=1 cargo test` writes that file anew.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_cluster::{Cluster, InitOptions, StartOptions, StopPlan};
use pg_install::{Discovery, Installation, Program, Request};
use pg_proc::{Account, Deadline, DirectoryLock, GuardOptions};

use crate::error::{TempError, TempErrorKind};
use crate::sql::SqlError;

/// An error, its reason, and what is advised: as far as this crate says it, and not those below.
fn shown(error: &TempError) -> String {
    let mut text = format!("{error}\n");
    let (mut above, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        let said = cause.to_string();
        assert!(!above.contains(&said), "said twice: {above}: {said}");
        if cause.is::<TempErrorKind>() || cause.is::<SqlError>() {
            text += &format!("  because {said}\n");
        }
        (above, next) = (said, cause.source());
    }
    match error.hint() {
        Some(hint) if error.kind().source().is_none() => text + &format!("  hint: {hint}\n"),
        _ => text,
    }
}

fn every_kind() -> Vec<TempErrorKind> {
    use TempErrorKind as K;
    let room = tempfile::tempdir().expect("a directory");
    let room = Utf8PathBuf::from_path_buf(room.path().to_owned()).expect("UTF-8");
    let nothing = Discovery::new()
        .root(room)
        .environment::<&str, &str>([])
        .find(&Request::any());
    let installation =
        Installation::from_pairs([("VERSION", "PostgreSQL 16.3"), ("BINDIR", "/nowhere")])
            .expect("a version");
    let cluster = Cluster::new(installation.clone(), "/nowhere/data").expect("an account");
    let missing = || installation.require(Program::Initdb).expect_err("nowhere");
    let denied = || io::ErrorKind::PermissionDenied.into();
    let path = || Utf8PathBuf::from("/cache");
    let lock = DirectoryLock::acquire("/nowhere", Deadline::after(Duration::ZERO));
    let guard = GuardOptions::new().remove("/dev/null").guard();
    let unreadable = Cluster::from_config_file(installation.clone(), "/nowhere/postgresql.conf");
    let init = cluster.init(&InitOptions::new().user(""));
    let start = cluster.start(&StartOptions::new());
    let device = Cluster::new(installation.clone(), "/dev/null").expect("an account");
    let stop = device.stop(&StopPlan::fast());
    let access = cluster.hba().rules().expect_err("no directory");
    let database = |error: SqlError| K::Database("app".to_owned(), error.into());
    vec![
        K::Installation(nothing.expect_err("nothing is there")),
        K::MissingProgram(missing()),
        K::Option("a WAL directory cannot be chosen".to_owned()),
        K::Account(Account::by_name("no such account").expect_err("no account")),
        K::Cluster(unreadable.expect_err("no file")),
        K::File(path(), denied()),
        K::NotPrivate {
            path: path(),
            owner: 1000,
            mode: 0o777,
        },
        K::Lock(lock.expect_err("no directory")),
        K::Guard(guard.expect_err("no directory")),
        K::Init(init.expect_err("an empty name")),
        database(SqlError::Io(io::ErrorKind::ConnectionReset.into())),
        database(SqlError::Server {
            code: "53100".to_owned(),
            message: "could not create directory".to_owned(),
        }),
        database(SqlError::Authentication(10)),
        K::InUse {
            database: "app".to_owned(),
            by: "process 4711 (psql)".to_owned(),
            refusal: "source database \"app\" is being accessed by other users".into(),
        },
        K::Password("ERROR:  no such role".into()),
        K::Setup("v1".to_owned(), "no such migration".into()),
        K::NotClonable("/data/pg_tblspc/1".into()),
        K::Access(Box::new(access)),
        K::Start(start.expect_err("no directory")),
        K::Stop(stop.expect_err("a device")),
    ]
}

#[test]
fn every_error_reads_as_it_did() {
    let texts: Vec<String> = every_kind()
        .into_iter()
        .map(|kind| shown(&TempError::from(kind)))
        .collect();
    let text = texts.join("\n");
    if std::env::var_os("PG_UPDATE_TEXTS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/texts.txt");
        std::fs::write(path, &text).expect("a writable checkout");
        return;
    }
    assert_eq!(text, include_str!("texts.txt"));
}
