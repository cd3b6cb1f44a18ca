//! Making data directories: options, passwords, refusals, interruptions.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{
    Account, Cluster, DataChecksums, DirectoryAccess, InitError, InitErrorKind, InitOptions,
    Installation, Locale, LocaleCategory, LocaleProvider, Program, State,
};
use pg_tests::{
    Room, ask, child, child_as, connect, connect_to, init_options, is_root, put_fifo, random, role,
    rounds, server, servers, stranger,
};

#[test]
fn a_password_is_asked_for() {
    let (user, password) = ("o'Neil \"\\ é $(id)", r#" it's "$(odd)" \n pässwörd=#"#);
    for installation in servers() {
        let room = Room::new();
        let cluster = Cluster::new(installation, room.join("data")).unwrap();
        cluster
            .init(&init_options().user(user).password(password))
            .unwrap();
        cluster.start(&room.start_options()).unwrap();
        let info = cluster.connection_info().unwrap().unwrap();
        let info = info.with_user(user).with_database("postgres");
        let mut client = connect_to(&info.clone().with_password(password));
        assert_eq!(ask(&mut client, "SELECT current_user"), user);
        let stored = ask(
            &mut client,
            "SELECT rolpassword FROM pg_authid WHERE oid = 10",
        );
        assert!(stored.starts_with("SCRAM-SHA-256$"), "{stored}");
        let refused = postgres::Client::connect(&info.with_password("no").uri(), postgres::NoTls);
        assert!(refused.is_err());
    }
}

/// No process shows the password among its arguments or in its environment while `initdb` runs, and
/// no file holds it then.
#[test]
fn a_password_leaves_no_trace() {
    let password = "Zaubertrank-4711-xyzzy";
    let room = Room::new();
    let cluster = Cluster::new(server(), room.join("data")).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
                    for file in ["cmdline", "environ"] {
                        let text = fs::read(process.path().join(file)).unwrap_or_default();
                        assert!(!contains(&text, password), "{:?} {file}", process.path());
                    }
                }
                looks += 1;
            }
            looks
        });
        let made = cluster.init(&init_options().password(password));
        done.store(true, Ordering::Relaxed);
        made.unwrap();
        assert!(watch.join().unwrap() > 0 || !Utf8Path::new("/proc/self").exists());
    });
    assert_eq!(files_with(room.path(), password), Vec::<String>::new());
}

fn files_with(directory: &Utf8Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in directory.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if contains(&fs::read(&path).unwrap_or_default(), text) {
            found.push(path.into_string());
        }
    }
    found
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn options_reach_the_server() {
    for installation in servers() {
        let major = installation.major_version().first();
        let room = Room::new();
        let wal = room.directory("wal");
        let cluster = Cluster::new(installation, room.join("deep/er/data")).unwrap();
        let mut options = init_options()
            .user("admin")
            .encoding("LATIN1")
            .locale(Locale::C)
            .locale_category(LocaleCategory::Messages, "POSIX")
            .auth_local("trust")
            .auth_host("reject")
            .data_checksums(DataChecksums::On)
            .wal_directory(&wal)
            .argument("--text-search-config=simple");
        if major >= 11 {
            options = options
                .wal_segment_megabytes(1)
                .access(DirectoryAccess::Group);
        }
        cluster.init(&options).unwrap();
        let mode = fs::metadata(cluster.data_directory()).unwrap().mode() & 0o777;
        assert_eq!(mode, if major >= 11 { 0o750 } else { 0o700 });
        assert!(cluster.data_directory().join("pg_wal").is_symlink());
        let hba = fs::read_to_string(cluster.hba_file()).unwrap();
        assert!(
            hba.lines()
                .any(|l| l.starts_with("host") && l.ends_with("reject")),
            "{hba}"
        );

        cluster.start(&room.start_options()).unwrap();
        let info = cluster.connection_info().unwrap().unwrap();
        let mut client = connect_to(&info.with_user("admin").with_database("postgres"));
        let mut show = |name: &str| ask(&mut client, &format!("SHOW {name}"));
        assert_eq!(show("server_encoding"), "LATIN1");
        // The name that is passed to it differs between versions.
        assert!(["C", "POSIX"].contains(&show("lc_messages").as_str()));
        assert_eq!(show("data_checksums"), "on");
        assert_eq!(show("default_text_search_config"), "pg_catalog.simple");
        if major >= 11 {
            assert_eq!(show("wal_segment_size"), "1MB");
            assert_eq!(show("data_directory_mode"), "0750");
        }
        drop(client);
        cluster.remove().unwrap();
        assert!(
            !wal.exists(),
            "the directory of the log is part of the cluster"
        );
    }
}

/// The provider shows in what the server does with text, and in the catalog.
#[test]
fn locale_providers_determine_order_and_case() {
    for installation in servers() {
        let major = installation.major_version().first();
        let mut cases = Vec::new();
        if major >= 15 {
            cases.push((LocaleProvider::Libc, ["c", "f", "é"]));
            cases.push((LocaleProvider::Icu("en".to_owned()), ["i", "t", "É"]));
        }
        if major >= 17 {
            cases.push((
                LocaleProvider::Builtin("C.UTF-8".to_owned()),
                ["b", "f", "É"],
            ));
        }
        if major >= 18 {
            let fast = LocaleProvider::Builtin("PG_UNICODE_FAST".to_owned());
            cases.push((fast, ["b", "f", "É"]));
        }
        for (provider, [letter, sorted, upper]) in cases {
            let room = Room::new();
            let cluster = Cluster::new(installation.clone(), room.join("data")).unwrap();
            if let Err(error) = cluster.init(&init_options().locale_provider(provider.clone())) {
                let reason = "ICU is not supported in this build";
                let built_without = matches!(error.kind(), InitErrorKind::Program(cause)
                    if String::from_utf8_lossy(cause.stderr()).contains(reason));
                assert!(built_without && letter == "i", "{error:?}");
                continue;
            }
            cluster.start(&room.start_options()).unwrap();
            let mut client = connect(&cluster);
            let mut is = |query: &str, expected: &str| {
                assert_eq!(ask(&mut client, query), expected, "{major} {provider:?}");
            };
            is(
                "SELECT datlocprovider FROM pg_database WHERE datname = 'postgres'",
                letter,
            );
            is("SELECT CASE WHEN 'a' < 'B' THEN 't' ELSE 'f' END", sorted);
            is("SELECT upper('é')", upper);
        }
    }
}

#[test]
fn checksums_and_access_have_the_usual_defaults() {
    for installation in servers() {
        let major = installation.major_version().first();
        let mut cases = vec![(init_options(), if major >= 18 { "on" } else { "off" })];
        if major >= 18 {
            cases.push((init_options().data_checksums(DataChecksums::Off), "off"));
        }
        for (options, checksums) in cases {
            let room = Room::new();
            let cluster = Cluster::new(installation.clone(), room.join("data")).unwrap();
            cluster.init(&options).unwrap();
            cluster.start(&room.start_options()).unwrap();
            let mut client = connect(&cluster);
            assert_eq!(ask(&mut client, "SHOW data_checksums"), checksums);
            assert_eq!(ask(&mut client, "SHOW wal_segment_size"), "16MB");
            let mode = fs::metadata(cluster.data_directory()).unwrap().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }
}

#[test]
fn unsupported_options_are_refused_before_initdb_runs() {
    let builtin = LocaleProvider::Builtin("C.UTF-8".to_owned());
    let cases: [(u16, InitOptions); 4] = [
        (11, init_options().wal_segment_megabytes(64)),
        (11, init_options().access(DirectoryAccess::Group)),
        (15, init_options().locale_provider(LocaleProvider::Libc)),
        (17, init_options().locale_provider(builtin)),
    ];
    for installation in servers() {
        let room = Room::new();
        for (n, (since, options)) in cases.iter().enumerate() {
            let major = installation.major_version();
            let cluster = Cluster::new(installation.clone(), room.join(&n.to_string())).unwrap();
            match cluster.init(options) {
                Ok(()) => assert!(major.first() >= *since, "{major} {options:?}"),
                Err(error) => {
                    assert!(
                        matches!(error.kind(), InitErrorKind::Unsupported { since: told, .. }
                            if told.first() == *since),
                        "{error:?}"
                    );
                    assert!(!cluster.data_directory().exists());
                }
            }
        }
        // The default of older versions needs no option.
        let cluster = Cluster::new(installation, room.join("plain")).unwrap();
        cluster
            .init(&init_options().data_checksums(DataChecksums::Off))
            .unwrap();
    }
}

/// A value that is not UTF-8 is not a locale and is ignored.
#[test]
fn the_environment_may_contain_invalid_utf8() {
    const NAME: &str = "the_environment_may_contain_invalid_utf8";
    if let Some(directory) = role() {
        let cluster = Cluster::new(server(), directory).unwrap();
        let options = init_options().locale(Locale::Environment);
        cluster.init(&options).unwrap();
        return;
    }
    let room = Room::new();
    let mut odd = child(NAME, room.join("data").as_str());
    // The caller's own locale may be one that this machine does not have.
    odd.env("LC_ALL", "C");
    odd.env("PG_TESTS_ODD", OsStr::from_bytes(b"\xff"));
    assert!(odd.status().unwrap().success());
}

fn refused(cluster: &Cluster, options: &InitOptions) -> InitError {
    cluster.init(options).expect_err("refused")
}

#[test]
fn unsuitable_directories_are_refused_untouched() {
    let room = Room::new();
    let options = init_options();
    let full = room.directory("full");
    fs::write(full.join("mine"), "precious").unwrap();
    let cluster = Cluster::new(server(), &full).unwrap();
    let error = refused(&cluster, &options);
    assert!(
        matches!(error.kind(), InitErrorKind::NotEmpty(name) if name == "mine"),
        "{error:?}"
    );
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(full.join("mine")).unwrap(), "precious");
    assert_eq!(cluster.state().unwrap(), State::Uninitialized);

    fs::rename(full.join("mine"), full.join("lost+found")).unwrap();
    assert!(
        refused(&cluster, &options)
            .hint()
            .unwrap()
            .contains("mount point")
    );

    fs::write(room.join("file"), "").unwrap();
    let cluster = Cluster::new(server(), room.join("file")).unwrap();
    let error = refused(&cluster, &options);
    assert!(
        matches!(error.kind(), InitErrorKind::Directory(_)),
        "{error:?}"
    );
    assert_eq!(fs::read(room.join("file")).unwrap(), b"");

    let cluster = room.cluster(&server());
    let before = fs::read(cluster.config_file()).unwrap();
    let error = refused(&cluster, &options);
    assert!(
        matches!(error.kind(), InitErrorKind::AlreadyInitialized),
        "{error:?}"
    );
    assert_eq!(fs::read(cluster.config_file()).unwrap(), before);
}

#[test]
fn impossible_options_are_refused() {
    let room = Room::new();
    let cluster = Cluster::new(server(), room.join("data")).unwrap();
    for options in [
        init_options().user(""),
        init_options().user("pg_me"),
        init_options().user("a\nb"),
        init_options().user("x".repeat(64)),
        init_options().password(""),
        init_options().password("a\nb"),
        init_options().password("x".repeat(1001)),
    ] {
        let error = refused(&cluster, &options);
        assert!(
            matches!(error.kind(), InitErrorKind::Option(_)),
            "{error:?}"
        );
    }
    assert!(!cluster.data_directory().exists());
}

#[test]
fn a_failed_initdb_leaves_nothing() {
    let room = Room::new();
    let options = init_options().locale(Locale::Named("no_SUCH.locale".to_owned()));
    let cluster = Cluster::new(server(), room.join("a/b/data")).unwrap();
    let error = refused(&cluster, &options);
    let InitErrorKind::Program(cause) = error.kind() else {
        panic!("{error:?}")
    };
    assert_eq!(cause.status().unwrap().code(), Some(1));
    assert!(String::from_utf8_lossy(cause.stderr()).contains("invalid locale name"));
    assert!(error.hint().unwrap().contains("locale -a"));
    assert!(!room.join("a").exists());

    let existing = room.directory("empty");
    fs::set_permissions(&existing, fs::Permissions::from_mode(0o700)).unwrap();
    if is_root() {
        chown(&existing, Some(0), Some(0)).unwrap();
    }
    let before = fs::metadata(&existing).unwrap();
    let cluster = Cluster::new(server(), &existing).unwrap();
    refused(&cluster, &options);
    let after = fs::metadata(&existing).unwrap();
    assert_eq!(
        (before.ino(), before.mode(), before.uid()),
        (after.ino(), after.mode(), after.uid())
    );
    assert_eq!(fs::read_dir(&existing).unwrap().count(), 0);
    cluster.init(&init_options()).unwrap();
    assert!(cluster.is_initialized());

    let cluster = Cluster::new(server(), room.join("late")).unwrap();
    let error = refused(&cluster, &init_options().timeout(Duration::from_millis(50)));
    assert!(
        matches!(error.kind(), InitErrorKind::Program(_)),
        "{error:?}"
    );
    assert!(!cluster.data_directory().exists());
}

/// An installation whose `initdb` is this script.
fn with_initdb(room: &Room, script: &str) -> Installation {
    let bin = room.directory("bin");
    symlink(
        server().require(Program::Postgres).unwrap(),
        bin.join("postgres"),
    )
    .unwrap();
    fs::write(bin.join("initdb"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(bin.join("initdb"), fs::Permissions::from_mode(0o755)).unwrap();
    Installation::from_bin_directory(&bin).unwrap()
}

/// Opening it for writing blocks until another process reads.
fn fifo(room: &Room) -> Utf8PathBuf {
    let path = room.join("fifo");
    put_fifo(&path);
    path
}

/// Both find the parent missing, and one fails when the other has long been through.
#[test]
fn a_failed_initdb_leaves_the_neighbour_alone() {
    let room = Room::new();
    let fifo = fifo(&room);
    let failing = with_initdb(&room, &format!("cat {fifo}; exit 1"));
    let [one, other] = [(failing, "one"), (server(), "other")].map(|(installation, name)| {
        Cluster::new(installation, room.join("new/parent").join(name)).unwrap()
    });
    thread::scope(|scope| {
        let failure = scope.spawn(|| refused(&one, &init_options()));
        let held = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        other.init(&init_options()).unwrap();
        drop(held);
        let error = failure.join().unwrap();
        assert!(
            matches!(error.kind(), InitErrorKind::Program(_)),
            "{error:?}"
        );
    });
    assert!(!one.data_directory().exists());
    other.start(&room.start_options()).unwrap();
}

/// A process of the server's account has put a link in the place of its work, and root is to move
/// the target.
#[test]
fn a_link_in_the_place_of_the_work_is_not_followed() {
    let room = Room::new();
    let (data, victim) = (room.join("data"), room.join("victim"));
    fs::create_dir(&victim).unwrap();
    for name in ["PG_VERSION", "precious"] {
        fs::write(victim.join(name), name).unwrap();
    }
    let script =
        format!("cd {data}; rmdir .pg-cluster-init; ln -s {victim} .pg-cluster-init; touch $0.ran");
    let cluster = Cluster::new(with_initdb(&room, &script), &data).unwrap();
    let error = refused(&cluster, &init_options());
    assert!(
        matches!(error.kind(), InitErrorKind::Directory(_)),
        "{error:?}"
    );
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 2);
    assert!(room.join("bin/initdb.ran").exists() && !data.exists());
}

/// A directory for the log that was there before `initdb` filled it is there afterwards, empty as
/// before.
#[test]
fn a_killed_init_leaves_the_directory_for_the_log() {
    const NAME: &str = "a_killed_init_leaves_the_directory_for_the_log";
    if let Some(directory) = role() {
        let installation = Installation::from_bin_directory(directory.join("bin")).unwrap();
        let cluster = Cluster::new(installation, directory.join("data")).unwrap();
        let options = init_options().wal_directory(directory.join("wal"));
        cluster.init(&options).unwrap();
        return;
    }
    let room = Room::new();
    let (wal, fifo) = (room.directory("wal"), fifo(&room));
    with_initdb(&room, &format!("echo > {wal}/segment; cat {fifo}"));
    let before = fs::metadata(&wal).unwrap();
    let mut killed = child(NAME, room.path().as_str()).spawn().unwrap();
    let held = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    assert!(wal.join("segment").exists());
    killed.kill().unwrap();
    killed.wait().unwrap();
    drop(held);
    // This one waits for what the guard does.
    let cluster = Cluster::new(server(), room.join("data")).unwrap();
    cluster.init(&init_options().wal_directory(&wal)).unwrap();
    let after = fs::metadata(&wal).unwrap();
    assert_eq!((before.ino(), before.uid()), (after.ino(), after.uid()));
}

/// Only root can give a directory to another user.
#[test]
fn an_account_that_cannot_be_served_leaves_nothing() {
    const NAME: &str = "an_account_that_cannot_be_served_leaves_nothing";
    if let Some(directory) = role() {
        let cluster = Cluster::new(server(), directory.join("a/b/data")).unwrap();
        let cluster = cluster.with_account(Account::by_name("root").unwrap());
        let error = refused(&cluster, &init_options());
        assert!(
            matches!(error.kind(), InitErrorKind::Directory(_)),
            "{error:?}"
        );
        return;
    }
    let Some(stranger) = stranger() else { return };
    let room = Room::new();
    let mine = room.directory("mine");
    chown(&mine, Some(stranger.uid()), None).unwrap();
    let mut child = child_as(&stranger, &room, NAME, mine.as_str());
    assert!(child.status().unwrap().success());
    assert_eq!(fs::read_dir(&mine).unwrap().count(), 0);
}

/// The owner is killed at any moment: what is there then is a whole cluster or none, and the next
/// attempt succeeds.
#[test]
fn a_killed_init_never_leaves_an_incomplete_cluster() {
    const NAME: &str = "a_killed_init_never_leaves_an_incomplete_cluster";
    if let Some(directory) = role() {
        let cluster = Cluster::new(server(), directory).unwrap();
        cluster.init(&init_options()).unwrap();
        return;
    }
    for round in 0..rounds("PG_TESTS_INIT_KILLS", 4) {
        let room = Room::new();
        let data = if round % 2 == 0 {
            room.join("new")
        } else {
            room.directory("old")
        };
        let mut killed = child(NAME, data.as_str()).spawn().unwrap();
        thread::sleep(Duration::from_millis(random(900)));
        killed.kill().unwrap();
        killed.wait().unwrap();

        let cluster = Cluster::new(server(), &data).unwrap();
        if !cluster.is_initialized() {
            cluster.init(&init_options()).unwrap();
        }
        cluster.start(&room.start_options()).unwrap();
        let names = fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert!(
            names
                .into_iter()
                .all(|name| !name.to_string_lossy().starts_with('.'))
        );
    }
}

#[test]
fn one_of_two_concurrent_inits_succeeds() {
    let room = Room::new();
    let directory = room.join("data");
    let attempt = || {
        Cluster::new(server(), &directory)
            .unwrap()
            .init(&init_options())
    };
    let outcomes = thread::scope(|scope| {
        let threads = [scope.spawn(attempt), scope.spawn(attempt)];
        threads.map(|thread| thread.join().unwrap())
    });
    let lost = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let lost: Vec<_> = lost.map(InitError::kind).collect();
    assert!(
        matches!(lost[..], [InitErrorKind::AlreadyInitialized]),
        "{lost:?}"
    );
    assert!(Cluster::new(server(), &directory).unwrap().is_initialized());
}
