//! Databases of a shared or a temporary server: fresh, their own, and dropped however they end.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use pg_cluster::{ConnectionInfo, Installation};
use pg_fixture::{Database, SharedCluster, Storage, TempClusterBuilder, TempError, TempErrorKind};
use pg_tests::{
    Mount, Room, Victim, ask, can_mount, connect_to, processes_below, server, servers, temp_builder,
};
use postgres::NoTls;

/// More than any limit of the library.
const PATIENCE: Duration = Duration::from_secs(60);

fn builder(room: &Room, installation: &Installation) -> TempClusterBuilder {
    temp_builder(room, installation.clone()).linger(Duration::from_millis(100))
}

fn with_table(builder: TempClusterBuilder) -> TempClusterBuilder {
    builder.setup("table", |info| {
        postgres::Client::connect(&info.uri(), NoTls)?.batch_execute("CREATE TABLE t (n int)")
    })
}

/// A session in the database of this name, of the same server.
fn client_of(info: &ConnectionInfo, database: &str) -> Result<postgres::Client, postgres::Error> {
    let info = info.clone().with_database(database);
    postgres::Client::connect(&info.uri(), NoTls)
}

fn databases(client: &mut postgres::Client) -> BTreeSet<String> {
    let rows = client.query("SELECT datname::text FROM pg_database", &[]);
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

fn await_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the storage is empty and no process works in it.
fn await_nothing_left(room: &Room) {
    let storage = room.join("storage");
    let is_empty = || storage.read_dir_utf8().unwrap().next().is_none();
    await_until("something is left", || {
        is_empty() && processes_below(&storage).is_empty()
    });
}

#[test]
fn each_database_is_a_fresh_copy_of_its_own() {
    let room = Room::new();
    for installation in servers() {
        let temp = with_table(builder(&room, &installation)).start().unwrap();
        let two: Vec<Database> = (0..2).map(|_| temp.database().unwrap()).collect();
        assert_ne!(two[0].name(), two[1].name());
        for database in &two {
            let mut client = connect_to(database.connection_info());
            assert_eq!(
                ask(&mut client, "SELECT current_database()"),
                database.name()
            );
            assert_eq!(ask(&mut client, "SELECT count(*) FROM t"), "0");
            ask(&mut client, "INSERT INTO t VALUES (1) RETURNING n");
        }
        let variables = two[0].env();
        assert!(variables.contains(&("PGDATABASE", two[0].name().to_owned())));
        assert!(two[0].keywords().contains(two[0].name()));
        // The server's own is as open as before, and what is copied is closed.
        let mut own = connect_to(temp.connection_info());
        assert_eq!(ask(&mut own, "SELECT count(*) FROM t"), "0");
        let error = client_of(temp.connection_info(), "pg_fixture_template")
            .err()
            .unwrap();
        assert_eq!(error.code().unwrap().code(), "55000");
        // Further copies do not mind who is connected to the server's own.
        let third = temp.database().unwrap();
        drop((two, own));
        drop(temp);
        drop(third);
        await_nothing_left(&room);
    }
}

#[test]
fn a_reset_database_is_fresh_under_the_same_name() {
    let room = Room::new();
    for installation in servers() {
        let shared = with_table(builder(&room, &installation)).database("app");
        let shared = shared.share("reset").unwrap();
        for _ in 0..2 {
            let mut client = connect_to(shared.connection_info());
            ask(&mut client, "INSERT INTO t VALUES (1) RETURNING n");
            shared.reset().unwrap();
            client.simple_query("SELECT 1").unwrap_err();
            let mut client = connect_to(shared.connection_info());
            assert_eq!(ask(&mut client, "SELECT count(*) FROM t"), "0");
            assert_eq!(
                ask(&mut client, "SELECT current_database()"),
                shared.database()
            );
        }
        drop(shared);
        await_nothing_left(&room);
    }
}

/// What cannot be ended from outside is named, and the database stays as it is.
#[test]
fn a_database_with_a_prepared_transaction_is_not_reset() {
    let room = Room::new();
    let temp = with_table(builder(&room, &server())).setting("max_prepared_transactions", "1");
    let temp = temp.start().unwrap();
    let database = temp.database().unwrap();
    let mut client = connect_to(database.connection_info());
    client
        .batch_execute("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'left'")
        .unwrap();
    let error = database.reset().unwrap_err();
    match error.kind() {
        TempErrorKind::InUse {
            database: name, by, ..
        } => {
            assert_eq!(
                (name.as_str(), by.as_str()),
                (database.name(), "prepared transaction left")
            );
        }
        other => panic!("{other:?}"),
    }
    let mut client = connect_to(database.connection_info());
    client.batch_execute("COMMIT PREPARED 'left'").unwrap();
    assert_eq!(ask(&mut client, "SELECT count(*) FROM t"), "1");
    drop(client);
    database.reset().unwrap();
    let mut client = connect_to(database.connection_info());
    assert_eq!(ask(&mut client, "SELECT count(*) FROM t"), "0");
}

#[test]
fn a_shared_server_allows_many_connections_and_settings_of_the_caller_win() {
    let room = Room::new();
    for installation in servers() {
        let shared = builder(&room, &installation)
            .setting("max_locks_per_transaction", "100")
            .share("settings")
            .unwrap();
        let mut client = connect_to(shared.connection_info());
        for (name, value) in [
            ("max_connections", "500"),
            ("max_locks_per_transaction", "100"),
            ("autovacuum", "off"),
        ] {
            assert_eq!(ask(&mut client, &format!("SHOW {name}")), value);
        }
    }
}

/// Released databases and those of killed users are dropped, those in use and those of others are
/// not.
#[test]
fn databases_without_a_user_are_dropped_when_there_are_many() {
    let room = Room::new();
    let shared = builder(&room, &server());
    let kept = shared.share("databases").unwrap();
    let mut client = client_of(kept.connection_info(), "postgres").unwrap();
    // The names of others are theirs, even if they resemble ours.
    let others = ["pgt_customers", "pgt_Orders01", "t_abcdefgh"];
    for other in others {
        client
            .batch_execute(&format!("CREATE DATABASE \"{other}\""))
            .unwrap();
    }
    let mut victim = owner(&room, "hold");
    let uri = victim.line();
    let killed = uri.rsplit('/').next().unwrap().to_owned();
    assert!(databases(&mut client).contains(&killed));
    victim.kill();
    let mut most = 0;
    await_until("the database of a killed user stays", || {
        drop(shared.share("databases").unwrap());
        let all = databases(&mut client);
        most = most.max(all.len());
        !all.contains(&killed)
    });
    let all = databases(&mut client);
    assert!(most > 32, "they were dropped one by one: {most}");
    for name in others.into_iter().chain([kept.database()]) {
        assert!(all.contains(name), "{name} of {all:?}");
    }
    drop(client);
    drop(kept);
    await_nothing_left(&room);
}

fn owner(room: &Room, mode: &str) -> Victim {
    Victim::spawn(&mut owner_command(room, mode))
}

fn owner_command(room: &Room, mode: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_database-owner"));
    command.args([
        room.join("cache").as_str(),
        room.join("storage").as_str(),
        mode,
    ]);
    command
}

#[test]
fn databases_of_killed_users_are_removed() {
    let room = Room::new();
    let kept = builder(&room, &server()).share("databases").unwrap();
    for mode in ["acquire", "reset"] {
        let mut victim = owner(&room, mode);
        victim.line();
        let begun = Instant::now();
        victim.line();
        let once = begun.elapsed();
        victim.kill();
        for step in 0..8 {
            let mut victim = owner(&room, mode);
            victim.line();
            std::thread::sleep(once * step / 6);
            victim.kill();
        }
    }
    // The server still makes databases for other users.
    assert_eq!(owner(&room, "3").line(), "done");
    drop(kept);
    await_nothing_left(&room);
}

/// `PG_TESTS_DATABASES` says how many of each of twenty processes, in place of three.
#[test]
fn many_processes_use_one_server() {
    let room = Room::new();
    let each = std::env::var("PG_TESTS_DATABASES").unwrap_or_else(|_| "3".to_owned());
    for installation in servers() {
        drop(builder(&room, &installation).start().unwrap());
        let bin = installation.require(pg_cluster::Program::Postgres).unwrap();
        let user = |_| {
            let bin = bin.parent().unwrap();
            let mut command = owner_command(&room, &each);
            Victim::spawn(command.env("PG_TESTS_BINDIRS", bin))
        };
        let mut all: Vec<Victim> = (0..20).map(user).collect();
        for one in &mut all {
            assert_eq!(one.line(), "done");
        }
        drop(all);
        await_nothing_left(&room);
    }
}

fn in_use_by(error: &TempError) -> &str {
    match error.kind() {
        TempErrorKind::InUse { database, by, .. } => {
            assert_eq!(database, "pg_fixture_template");
            by
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wait_for_a_template_in_use_times_out_and_names_its_sessions() {
    let room = Room::new();
    for installation in servers() {
        let hasty = builder(&room, &installation).patience(Duration::from_millis(10));
        let kept = hasty.share("in use").unwrap();
        let mut client = client_of(kept.connection_info(), "postgres").unwrap();
        client
            .batch_execute("ALTER DATABASE pg_fixture_template ALLOW_CONNECTIONS true")
            .unwrap();
        let mut inside = client_of(kept.connection_info(), "pg_fixture_template").unwrap();
        inside
            .batch_execute("SET application_name = 'inside'")
            .unwrap();
        let before = databases(&mut client);
        let error = hasty.share("in use").unwrap_err();
        let pid = ask(&mut inside, "SELECT pg_backend_pid()");
        assert_eq!(in_use_by(&error), format!("process {pid} (inside)"));
        assert_eq!(databases(&mut client), before);
        // If the template becomes free in time, no error is returned.
        let patient = builder(&room, &installation);
        std::thread::scope(|scope| {
            let user = scope.spawn(|| patient.share("in use"));
            await_until("no copy of the template is being made", || {
                let copying = "SELECT count(*) FROM pg_stat_activity \
                               WHERE state = 'active' AND query LIKE 'CREATE DATABASE%'";
                ask(&mut client, copying) == "1"
            });
            drop(inside);
            drop(user.join().unwrap().unwrap());
        });
        drop((client, kept));
        await_nothing_left(&room);
    }
}

/// A client is connected to the database that is to become the template.
#[test]
fn an_error_names_the_sessions_in_the_servers_own_database() {
    let room = Room::new();
    let temp = builder(&room, &server()).start().unwrap();
    let client = connect_to(temp.connection_info());
    match temp.database().unwrap_err().kind() {
        TempErrorKind::InUse { database, by, .. } => {
            assert_eq!(database, "postgres");
            assert!(by.starts_with("process "), "{by}");
        }
        other => panic!("{other:?}"),
    }
    drop(client);
    temp.database().unwrap();
}

fn server_said(error: &TempError) -> String {
    match error.kind() {
        TempErrorKind::Database(_, cause) => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn too_many_connections_are_reported() {
    let room = Room::new();
    for installation in servers() {
        // PostgreSQL 10 wants more than `max_wal_senders`.
        let few = builder(&room, &installation).setting("max_connections", "12");
        let temp = few.start().unwrap();
        let clients: Vec<_> =
            std::iter::from_fn(|| client_of(temp.connection_info(), "template1").ok()).collect();
        assert_eq!(clients.len(), 12);
        let error = temp.database().unwrap_err();
        assert!(server_said(&error).contains("53300"), "{error:?}");
        assert!(error.hint().unwrap().contains("max_connections"));
        drop(clients);
        // Their backends may still be exiting.
        let mut database = None;
        await_until("no database after the connections were closed", || {
            database = temp.database().ok();
            database.is_some()
        });
        let mut client = connect_to(database.unwrap().connection_info());
        assert_eq!(ask(&mut client, "SELECT 1"), "1");
    }
}

#[test]
fn full_storage_is_reported_and_leaves_no_database() {
    if !can_mount() {
        return;
    }
    let room = Room::new();
    for installation in servers() {
        let mount = Mount::tmpfs(&room.directory("small"), "160m");
        pg_tests::give_to_servers(mount.path());
        let temp = builder(&room, &installation)
            .storage(Storage::Directory(mount.path().to_owned()))
            .start()
            .unwrap();
        // Released ones make room before it is full.
        for _ in 0..24 {
            drop(temp.database().unwrap());
        }
        let database = temp.database().unwrap();
        let filler = mount.fill();
        // Enough for the write-ahead log, without which the server cannot even fail, and not for a
        // database.
        shorten(&filler, 4 << 20);
        let mut held = Vec::new();
        let error = loop {
            match temp.database() {
                Ok(one) => held.push(one),
                Err(error) => break error,
            }
        };
        assert!(server_said(&error).contains("53100"), "{error:?}");
        assert!(error.hint().is_some());
        fs::remove_file(filler).unwrap();
        drop(held);
        database.reset().unwrap();
        drop(temp.database().unwrap());
        drop((database, temp));
        assert_eq!(pg_tests::names(mount.path()), [""; 0]);
        drop(mount);
        fs::remove_dir(room.join("small")).unwrap();
    }
}

fn shorten(path: &Utf8Path, bytes: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - bytes).unwrap();
}

#[test]
fn a_stopped_server_and_a_password_are_reported() {
    let room = Room::new();
    let temp = builder(&room, &server()).start().unwrap();
    drop(temp.database().unwrap());
    temp.cluster().stop(&pg_cluster::StopPlan::fast()).unwrap();
    let error = temp.database().unwrap_err();
    assert!(
        matches!(error.kind(), TempErrorKind::Database(..)),
        "{error:?}"
    );
    assert!(pg_tests::names(&temp.path().join("databases")).is_empty());
    let secret = builder(&room, &server()).password("s3cret");
    let temp = secret.start().unwrap();
    for error in [temp.database().unwrap_err(), secret.share("k").unwrap_err()] {
        assert!(
            matches!(error.kind(), TempErrorKind::Option(_)),
            "{error:?}"
        );
    }
}

#[test]
fn databases_can_be_made_after_an_older_state_is_restored() {
    let room = Room::new();
    let server = with_table(builder(&room, &server())).start().unwrap();
    let snapshot = server.snapshot().unwrap();
    drop(server.database().unwrap());
    server.restore(&snapshot).unwrap();
    let database = server.database().unwrap();
    let mut client = client_of(database.connection_info(), database.name()).unwrap();
    assert_eq!(ask(&mut client, "SELECT count(*) FROM t"), "0");
}

#[test]
fn any_text_is_a_key() {
    let room = Room::new();
    let shared = builder(&room, &server());
    let keys = ["", "a\nb", "../../a'\"\\ \0 ü", &"long".repeat(10_000)];
    let all: Vec<SharedCluster> = keys.iter().map(|key| shared.share(key).unwrap()).collect();
    let places: BTreeSet<String> = all.iter().map(|one| one.env()[0].1.clone()).collect();
    assert_eq!(places.len(), keys.len(), "a server for each");
    drop(all);
    await_nothing_left(&room);
}

#[test]
fn futures_need_no_runtime_and_may_be_dropped() {
    let room = Room::new();
    let builder = builder(&room, &server());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let temp = builder.start_async().await.unwrap();
        let shared = builder.share_async("async").await.unwrap();
        for info in [temp.connection_info(), shared.connection_info()] {
            let (client, connection) = tokio_postgres::connect(&info.uri(), NoTls).await.unwrap();
            tokio::spawn(connection);
            client.simple_query("SELECT 1").await.unwrap();
        }
        // Polled once, and then dropped.
        for _ in 0..3 {
            let mut one = Box::pin(builder.start_async());
            let mut other = Box::pin(builder.share_async("async"));
            std::future::poll_fn(|context| {
                assert!(one.as_mut().poll(context).is_pending());
                assert!(other.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        }
        let error = builder
            .clone()
            .password("s3cret")
            .share_async("async")
            .await;
        assert!(matches!(
            error.unwrap_err().kind(),
            TempErrorKind::Option(_)
        ));
    });
    await_nothing_left(&room);
}
