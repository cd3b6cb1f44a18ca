//! Every kind of error once: see [`harness`].

mod harness;

use std::error::Error as _;
use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_cluster::{Cluster, InitOptions, StartOptions, StopPlan};
use pg_install::{Discovery, Installation, Program, Request};
use pg_proc::{Account, ControlData, Deadline, DirectoryLock, GuardOptions};

use self::harness::{compare, shown_where};
use crate::error::{TempError, TempErrorKind};
use crate::log::{StatementsError, StatementsErrorKind};
use crate::replicas::{ReplicaError, ReplicaErrorKind};
use crate::sql::SqlError;

/// An error, its reason, and advice: as far as this crate has them, and not those below.
fn shown(error: &TempError) -> String {
    let has_cause = error.kind().source().is_some();
    let hint = error.hint().filter(|_| !has_cause);
    let hint = hint.or_else(|| match error.kind() {
        TempErrorKind::Replica(error) => error.hint(),
        _ => None,
    });
    shown_where(error, hint, |cause| {
        cause.is::<TempErrorKind>()
            || cause.is::<SqlError>()
            || cause.is::<ReplicaError>()
            || cause.is::<ReplicaErrorKind>()
    })
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
    let find = device.state();
    let control = ControlData::read("/nowhere/data");
    let major = |text: &str| text.parse().expect("a version");
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
        K::NoTls("/usr/lib/postgresql/16/bin".into()),
        K::Certificate("no randomness".into()),
        K::NoExtension {
            name: "pg_trgm".to_owned(),
            directory: "/usr/share/postgresql/16/extension".into(),
        },
        K::NoLibrary {
            name: "pg_cron".to_owned(),
            directory: "/usr/lib/postgresql/16/lib".into(),
        },
        K::Extension("postgis".to_owned(), "ERROR:  no".into()),
        K::NotClonable("/data/pg_tblspc/1".into()),
        K::Access(Box::new(access)),
        K::Start(start.expect_err("no directory")),
        K::Stop(stop.expect_err("a device")),
        K::Find(find.expect_err("no directory")),
        K::NotRunning,
        K::ControlData(control.expect_err("no directory")),
        K::NotShutDown,
        K::OtherMajor {
            snapshot: major("15"),
            cluster: major("18"),
        },
        K::OtherCluster {
            snapshot: "/dev/shm/pgt-0".into(),
            cluster: "/dev/shm/pgt-1".into(),
        },
        K::PoolIsEmpty(Duration::from_secs(60)),
        K::PoolPanicked,
        K::ForkedPool,
        K::Thread(denied()),
        replica(ReplicaErrorKind::NotStreaming(Duration::from_secs(60))),
        replica(ReplicaErrorKind::Disconnected),
        replica(ReplicaErrorKind::Unreachable(
            io::ErrorKind::ConnectionRefused.into(),
        )),
        replica(ReplicaErrorKind::Refused {
            code: "58P01".to_owned(),
            message: "requested WAL segment 000000010000000000000001 has already been removed"
                .to_owned(),
        }),
        replica(ReplicaErrorKind::SystemIdentifier { own: 1, other: 2 }),
        replica(ReplicaErrorKind::Sql("no such function".into())),
        replica(ReplicaErrorKind::NotAStandby),
        replica(ReplicaErrorKind::Primary),
    ]
    .into_iter()
    .chain(replicas_of(&cluster, &device))
    .collect()
}

/// Those that have a cause of the crate below.
fn replicas_of(absent: &Cluster, device: &Cluster) -> [TempErrorKind; 6] {
    use ReplicaErrorKind as K;
    let denied = io::ErrorKind::PermissionDenied.into();
    let start = absent.start(&StartOptions::new());
    let setting = absent.settings().set("a b", "c");
    let role = absent.replication_role();
    let control = ControlData::read("/nowhere/data");
    [
        replica(K::Replication(role.expect_err("no directory"))),
        replica(K::Start(start.expect_err("no directory"))),
        replica(K::Control(
            device.stop(&StopPlan::fast()).expect_err("a device"),
        )),
        replica(K::Settings(setting.expect_err("no directory"))),
        replica(K::ControlData(control.expect_err("no directory"))),
        replica(K::File("/data/standby.signal".into(), denied)),
    ]
}

fn replica(kind: ReplicaErrorKind) -> TempErrorKind {
    TempErrorKind::Replica(Box::new(ReplicaError::new("wait for", "standby1", kind)))
}

/// The errors of listing statements, as [`shown`] does.
fn statements() -> Vec<String> {
    use StatementsErrorKind as K;
    let kinds = [K::NotLogged, K::Missed(4096)];
    let text = |kind| {
        let error = StatementsError::new("/dev/shm/pgt-0".into(), kind);
        let hint = error.hint().unwrap_or_default();
        format!("{error}\n  because {}\n  hint: {hint}\n", error.kind())
    };
    kinds.into_iter().map(text).collect()
}

#[test]
fn every_error_has_its_recorded_text() {
    let texts: Vec<String> = every_kind()
        .into_iter()
        .map(|kind| shown(&TempError::from(kind)))
        .chain(statements())
        .collect();
    let text = texts.join("\n");
    let expected = include_str!("texts.txt");
    compare(&text, env!("CARGO_MANIFEST_DIR"), expected);
}
