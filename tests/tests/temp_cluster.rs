//! Temporary clusters: what they give, and that nothing of them is left.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Log, Ownership, Signal, StartErrorKind, StartOptions};
use pg_fixture::{
    Keep, Listen, Storage, SystemIdentifier, TempCluster, TempClusterBuilder, TempErrorKind,
};
use pg_tests::{Room, ask, connect_to, server, servers};

/// A builder whose templates are kept in the room.
fn builder(room: &Room) -> TempClusterBuilder {
    TempCluster::builder()
        .installation(server())
        .cache_directory(room.join("cache"))
}

#[test]
fn each_cluster_is_fresh_and_is_removed_completely() {
    let room = Room::new();
    for installation in servers() {
        let builder = builder(&room).installation(installation.clone());
        for _ in 0..2 {
            let temp = builder.start().unwrap();
            let mut client = connect_to(temp.connection_info());
            let shown = format!("{temp:?}");
            assert!(
                !shown.contains("bytes: ["),
                "the log is shown as numbers: {shown}"
            );
            let version = ask(&mut client, "SHOW server_version_num");
            assert_eq!(version, installation.version().num().to_string());
            ask(
                &mut client,
                "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n; SELECT sum(n) FROM t",
            );
            assert!(temp.log_tail().is_some());
            let (path, pid) = (
                temp.path().to_owned(),
                temp.cluster().pid().unwrap().unwrap(),
            );
            drop(temp);
            assert!(!path.exists(), "{path}");
            assert!(!Utf8PathBuf::from(format!("/proc/{pid}")).exists());
        }
    }
}

#[test]
fn a_server_that_starts_early_has_the_same_files_as_one_that_does_not() {
    let room = Room::new();
    for installation in servers() {
        let builder = builder(&room).installation(installation);
        let early = builder.start().unwrap();
        // A setting of autovacuum makes it wait for its files.
        let late = builder
            .clone()
            .setting("autovacuum_naptime", "1h")
            .start()
            .unwrap();
        let base = |temp: &TempCluster| temp.cluster().data_directory().join("base");
        let (early, late) = (files(&base(&early)), files(&base(&late)));
        assert!(early.len() > 500, "{}", early.len());
        let names = |files: &[(String, Vec<u8>)]| {
            files
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&early), names(&late));
        for (a, b) in early.iter().zip(&late) {
            assert!(a.1 == b.1, "{}", a.0);
        }
    }
}

#[test]
fn each_has_a_system_identifier_of_its_own() {
    let room = Room::new();
    for installation in servers() {
        let builder = builder(&room).installation(installation);
        let of_template = builder
            .clone()
            .system_identifier(SystemIdentifier::OfTemplate);
        let clusters = [&builder, &builder, &of_template, &of_template]
            .map(|builder| builder.start().unwrap());
        let identifiers = clusters.each_ref().map(identifier);
        let [first, second, template, again] = identifiers;
        assert_eq!(template, again);
        assert!(first != second && first != template && second != template);
        // As `initdb` makes them, with the time in the upper half.
        assert!(first >> 32 >= template >> 32, "{identifiers:?}");
        let [first, ..] = clusters;
        recovers(&first);
    }
}

/// The system identifier, on which the control file, its checksum and the server agree.
fn identifier(temp: &TempCluster) -> u64 {
    let mut client = connect_to(temp.connection_info());
    let says = ask(
        &mut client,
        "SELECT system_identifier::text FROM pg_control_system()",
    );
    let control = temp.cluster().control_data().unwrap();
    assert_eq!(control.system_identifier.to_string(), says);
    for (label, value) in &control.entries {
        assert!(!label.contains("WARNING"), "{label}: {value}");
    }
    let log = temp.log_tail().unwrap();
    for level in ["WARNING:", "ERROR:", "FATAL:", "PANIC:"] {
        assert!(!log.contains(level), "{log}");
    }
    control.system_identifier
}

/// The log of a clone is read again after a crash, over the end of a segment, and after a clean
/// stop.
fn recovers(temp: &TempCluster) {
    let before = identifier(temp);
    for mode in [Signal::Kill, Signal::Fast] {
        let mut client = connect_to(temp.connection_info());
        let sql = "DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT 42 AS n; \
                   SELECT pg_switch_wal()";
        client.batch_execute(sql).unwrap();
        client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
        // The records of a transaction that need not be on disk are lost in a crash.
        client
            .batch_execute("SET synchronous_commit = on; INSERT INTO t VALUES (2)")
            .unwrap();
        drop(client);
        let cluster = temp.cluster();
        let plan = pg_cluster::StopPlan::new(mode, std::time::Duration::from_secs(60));
        cluster.stop(&plan).unwrap();
        let options = StartOptions::new()
            .socket_directory(temp.socket_directory())
            .listen_addresses::<&str>([])
            .port(temp.port());
        cluster.start(&options).unwrap();
        let mut client = connect_to(temp.connection_info());
        assert_eq!(ask(&mut client, "SELECT sum(n)::text FROM t"), "45");
        assert_eq!(cluster.control_data().unwrap().system_identifier, before);
    }
}

fn files(directory: &Utf8Path) -> Vec<(String, Vec<u8>)> {
    files_below(directory, directory)
}

fn files_below(top: &Utf8Path, directory: &Utf8Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in directory.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            found.extend(files_below(top, &path));
        } else {
            found.push((
                path.strip_prefix(top).unwrap().as_str().to_owned(),
                fs::read(&path).unwrap(),
            ));
        }
    }
    found.sort();
    found
}

#[test]
fn the_setup_runs_once_for_its_key() {
    let room = Room::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let builder = builder(&room)
        .user("o'neil")
        .database("my \"app\"")
        .setup("1", move |info| {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut client = postgres::Client::connect(&info.uri(), postgres::NoTls)?;
            client.batch_execute("CREATE TABLE fruit AS SELECT 'pear' AS name")
        });
    for _ in 0..3 {
        let temp = builder.start().unwrap();
        let mut client = connect_to(temp.connection_info());
        assert_eq!(ask(&mut client, "SELECT name FROM fruit"), "pear");
        assert_eq!(ask(&mut client, "SELECT current_user"), "o'neil");
        assert_eq!(ask(&mut client, "SELECT current_database()"), "my \"app\"");
        ask(&mut client, "DELETE FROM fruit; SELECT 1");
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    let failing = builder.setup("2", |_| Err::<(), _>("no pears today"));
    let error = failing.start().unwrap_err();
    assert_eq!(
        chain(&error),
        "failed to make a temporary cluster: the setup step \"2\" failed: no pears today"
    );
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[test]
fn tcp_and_password() {
    let room = Room::new();
    let temp = builder(&room)
        .listen(Listen::Loopback)
        .password("pass word")
        .start()
        .unwrap();
    assert!(
        temp.uri()
            .starts_with("postgresql://postgres:pass%20word@127.0.0.1:"),
        "{}",
        temp.uri()
    );
    let mut client = connect_to(temp.connection_info());
    assert_eq!(ask(&mut client, "SELECT 1"), "1");
    let wrong = temp.connection_info().clone().with_password("wrong");
    assert!(postgres::Client::connect(&wrong.uri(), postgres::NoTls).is_err());
}

/// One template serves all passwords, and holds none of them, nor anything made of one.
#[test]
fn the_cache_contains_no_password() {
    let room = Room::new();
    for installation in servers() {
        let cache = room.join(&format!("cache{}", installation.version().num()));
        let builder = builder(&room)
            .installation(installation)
            .cache_directory(&cache)
            .setup("v1", |info| {
                postgres::Client::connect(&info.uri(), postgres::NoTls)?
                    .batch_execute("CREATE TABLE t ()")
            });
        let passwords = [r"o'Neil \ 5", "hunter2hunter2"];
        for password in passwords {
            let temp = builder.clone().password(password).start().unwrap();
            let mut client = connect_to(temp.connection_info());
            assert_eq!(ask(&mut client, "SELECT count(*) FROM t"), "0");
            for other in passwords.into_iter().filter(|other| *other != password) {
                let wrong = temp.connection_info().clone().with_password(other);
                assert!(postgres::Client::connect(&wrong.uri(), postgres::NoTls).is_err());
            }
        }
        let templates = cache.join("templates");
        assert_eq!(fs::read_dir(&templates).unwrap().count(), 1);
        for (name, bytes) in files(&templates) {
            for password in passwords {
                let is_in = bytes
                    .windows(password.len())
                    .any(|window| window == password.as_bytes());
                assert!(!is_in, "{name}");
            }
        }
    }
}

#[test]
fn a_damaged_template_is_made_again() {
    let room = Room::new();
    let builder = builder(&room);
    drop(builder.start().unwrap());
    let templates = room.join("cache/templates");
    let template = templates
        .read_dir_utf8()
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .into_path();
    let pack = template.join("pack");
    let damages: [&dyn Fn(); 5] = [
        &|| fs::write(template.join("manifest"), "nonsense").unwrap(),
        &|| {
            fs::File::options()
                .write(true)
                .open(&pack)
                .unwrap()
                .set_len(100_000)
                .unwrap()
        },
        &|| {
            let mut bytes = fs::read(&pack).unwrap();
            bytes[12_345] ^= 1;
            fs::write(&pack, bytes).unwrap();
        },
        &|| fs::remove_file(&pack).unwrap(),
        &|| fs::write(template.join("key"), "another").unwrap(),
    ];
    for damage in damages {
        damage();
        let temp = builder.start().unwrap();
        assert_eq!(
            ask(&mut connect_to(temp.connection_info()), "SELECT 1"),
            "1"
        );
    }
}

#[test]
fn a_restored_cache_is_used_after_its_hash_was_compared() {
    let room = Room::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let builder = builder(&room).setup("1", move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok::<(), std::io::Error>(())
    });
    drop(builder.start().unwrap());
    let template = room
        .join("cache/templates")
        .read_dir_utf8()
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .into_path();
    let bytes = fs::read(template.join("pack")).unwrap();
    fs::write(template.join("pack"), bytes).unwrap();
    drop(builder.start().unwrap());
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn a_cache_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let room = Room::new();
    fs::create_dir(room.join("cache")).unwrap();
    fs::set_permissions(room.join("cache"), fs::Permissions::from_mode(0o777)).unwrap();
    let error = builder(&room).start().unwrap_err();
    assert!(
        chain(&error).contains("is not private"),
        "{}",
        chain(&error)
    );
    assert!(error.hint().unwrap().contains("PG_CLUSTER_CACHE"));
}

#[test]
fn a_cache_of_another_user_is_refused() {
    let room = Room::new();
    // Under root something of the server's account, else something of root.
    let cache = match pg_tests::server_account() {
        Some(_) => room.directory("cache"),
        None => Utf8PathBuf::from("/usr"),
    };
    let error = builder(&room).cache_directory(cache).start().unwrap_err();
    assert!(
        matches!(error.kind(), TempErrorKind::NotPrivate { .. }),
        "{}",
        chain(&error)
    );
}

/// As for the accounts of services, in containers and in builds that set `HOME` to something that
/// is not there.
#[test]
fn without_a_home_the_cache_is_in_the_temporary_directory() {
    if let Some(storage) = pg_tests::role() {
        let builder = TempCluster::builder().installation(server());
        drop(
            builder
                .storage(Storage::Directory(storage))
                .start()
                .unwrap(),
        );
        return;
    }
    let room = Room::new();
    fs::write(room.join("home"), "not even root can make a directory here").unwrap();
    let test = "without_a_home_the_cache_is_in_the_temporary_directory";
    let mut child = pg_tests::child(test, room.directory("storage").as_str());
    let temporary = room.directory("temporary");
    child
        .env("HOME", room.join("home"))
        .env("TMPDIR", &temporary)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("PG_CLUSTER_CACHE");
    assert!(child.status().unwrap().success());
    let user = fs::metadata(room.join("home")).unwrap().uid();
    let cache = temporary.join(format!("pg-cluster-{user}/templates"));
    assert_eq!(fs::read_dir(cache).unwrap().count(), 1);
}

#[test]
fn two_builders_at_once_make_one_template() {
    let room = Room::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let builder = builder(&room).setup("1", move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok::<(), std::io::Error>(())
    });
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let temp = builder.start().unwrap();
                assert_eq!(
                    ask(&mut connect_to(temp.connection_info()), "SELECT 1"),
                    "1"
                );
            });
        }
    });
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn a_directory_with_a_comma_and_a_long_name_can_be_used() {
    let room = Room::new();
    for name in ["a, b".to_owned(), "long".repeat(30)] {
        let storage = room.directory(&name);
        let temp = builder(&room)
            .storage(Storage::Directory(storage.clone()))
            .start()
            .unwrap();
        assert!(temp.path().starts_with(&storage));
        assert!(!temp.socket_directory().starts_with(&storage));
        let sockets = temp.socket_directory().to_owned();
        assert_eq!(
            ask(&mut connect_to(temp.connection_info()), "SELECT 1"),
            "1"
        );
        drop(temp);
        assert_eq!(storage.read_dir_utf8().unwrap().count(), 0);
        assert!(!sockets.exists());
    }
}

#[test]
fn files_are_kept_on_demand_and_after_a_panic() {
    let room = Room::new();
    let storage = room.directory("kept");
    let builder = builder(&room).storage(Storage::Directory(storage.clone()));
    let path = builder.start().unwrap().into_files();
    assert!(path.join("data/PG_VERSION").exists() && !path.join("data/postmaster.pid").exists());

    let kept = std::thread::spawn({
        let builder = builder.clone().keep(Keep::OnPanic);
        move || {
            drop(builder.start().unwrap());
            let _temp = builder.start().unwrap();
            panic!("a test fails");
        }
    });
    assert!(kept.join().is_err());
    assert_eq!(storage.read_dir_utf8().unwrap().count(), 2);
}

#[test]
fn a_panic_removes_the_cluster() {
    let room = Room::new();
    let storage = room.directory("room");
    let builder = builder(&room).storage(Storage::Directory(storage.clone()));
    let panicked = std::thread::spawn(move || {
        let _temp = builder.start().unwrap();
        panic!("a test fails");
    });
    assert!(panicked.join().is_err());
    assert_eq!(storage.read_dir_utf8().unwrap().count(), 0);
}

#[test]
fn a_failed_start_leaves_no_files_whatever_the_ownership() {
    let room = Room::new();
    let storage = room.directory("room");
    let builder = builder(&room)
        .storage(Storage::Directory(storage.clone()))
        .log(Log::File(room.directory("log").join("server.log")))
        .setting("work_mem", "plenty");
    for refused in [
        builder.clone().keep(Keep::Always),
        builder.ownership(Ownership::Detached),
    ] {
        let error = refused.start().unwrap_err();
        assert!(
            matches!(error.kind(), TempErrorKind::Start(error)
                if matches!(error.kind(), StartErrorKind::Configuration(_))),
            "{error:?}"
        );
        assert_eq!(storage.read_dir_utf8().unwrap().count(), 0);
    }
}

#[test]
fn a_detached_server_outlives_its_value() {
    let room = Room::new();
    let log = room.directory("log").join("server.log");
    let temp = builder(&room)
        .ownership(Ownership::Detached)
        .log(Log::File(log))
        .storage(Storage::Directory(room.directory("d")))
        .start()
        .unwrap();
    let (info, data) = (
        temp.connection_info().clone(),
        temp.cluster().data_directory().to_owned(),
    );
    drop(temp);
    assert_eq!(ask(&mut connect_to(&info), "SELECT 1"), "1");
    let cluster = pg_cluster::Cluster::new(server(), data).unwrap();
    cluster.stop(&pg_cluster::StopPlan::fast()).unwrap();
}
