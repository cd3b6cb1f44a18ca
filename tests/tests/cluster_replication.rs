//! Standbys of real clusters: base backups, their failures, replay, promotion and rewind.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{
    BaseBackupOptions, Cluster, ConnectionInfo, DataChecksums, Durability, InitError,
    InitErrorKind, InitOptions, Installation, Lsn, Program, ReplicationErrorKind,
    ReplicationProblemKind, ReplicationRole, RewindOptions, StartOptions, StopPlan,
};
use pg_tests::{
    Room, ask, assert_says, child, connect, connect_to, give_to_servers, init_options, names,
    report, role, rows, servers,
};

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "s3cret: with \\ and :";

/// Those servers that have `pg_basebackup`.
fn complete() -> Vec<Installation> {
    let mut all = servers();
    all.retain(|server| server.program(Program::PgBasebackup).is_some());
    assert!(
        !all.is_empty(),
        "a complete installation: run `cargo xtask test`"
    );
    all
}

fn backup() -> BaseBackupOptions {
    BaseBackupOptions::new().durability(Durability::NotSynced)
}

/// A primary that runs, and its address without a password.
fn primary(
    room: &Room,
    installation: &Installation,
    init: &InitOptions,
) -> (Cluster, ConnectionInfo) {
    let primary = Cluster::new(installation.clone(), room.join("data")).unwrap();
    primary.init(init).unwrap();
    primary.start(&room.start_options()).unwrap();
    let info = ConnectionInfo::socket(room.join("s"), 5432).with_user("postgres");
    (primary, info)
}

fn standby(room: &Room, of: &Cluster) -> Cluster {
    Cluster::new(of.installation().clone(), room.join("standby")).unwrap()
}

fn options_of_standby(room: &Room) -> StartOptions {
    let sockets = room.join("standby's sockets");
    if !sockets.exists() {
        room.directory("standby's sockets");
    }
    StartOptions::new()
        .socket_only(sockets)
        .settings([("fsync", "off"), ("wal_retrieve_retry_interval", "100ms")])
}

/// The position up to which the primary has written, and a row with it.
fn written(client: &mut postgres::Client) -> Lsn {
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS t (i int); INSERT INTO t VALUES (7)")
        .unwrap();
    ask(client, "SELECT pg_current_wal_lsn()").parse().unwrap()
}

fn files_below(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut files = Vec::new();
    for entry in directory.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        match fs::symlink_metadata(&path).unwrap().is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files
}

#[test]
fn a_standby_is_made_follows_and_is_promoted() {
    for installation in complete() {
        let room = Room::new();
        let (primary, address) = primary(&room, &installation, &init_options().password(SECRET));
        let address = address.with_password(SECRET);
        let mut client = connect_to(&address.clone().with_database("postgres"));
        client
            .batch_execute("CREATE TABLE before AS SELECT 1 AS i")
            .unwrap();
        let standby = standby(&room, &primary);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let options = backup()
            .application_name("berlin's")
            .create_slot("berlin")
            .on_progress(move |progress| hears.lock().unwrap().push(progress));
        standby.init_standby_of(&address, &options).unwrap();
        let last = *heard.lock().unwrap().last().expect("progress");
        assert!(last.copied >= 20 << 20 && last.tablespaces == 1, "{last:?}");
        assert_eq!(
            standby.replication_role().unwrap(),
            ReplicationRole::Standby
        );
        standby.verify_backup(PATIENCE).unwrap();

        // The password is in one file, which its owner alone can read.
        let passfile = standby.data_directory().join("pg_passfile");
        assert_eq!(
            fs::metadata(&passfile).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        let has_secret = |path: &Utf8PathBuf| {
            let content = fs::read(path).unwrap();
            content.windows(6).any(|part| part == b"s3cret")
        };
        let found = files_below(standby.data_directory());
        let found: Vec<_> = found.iter().filter(|path| has_secret(path)).collect();
        assert_eq!(found, [&passfile]);
        assert!(!format!("{options:?}{address:?}").contains("s3cret"));

        standby.start(&options_of_standby(&room)).unwrap();
        let target = written(&mut client);
        let at_standby = ConnectionInfo::socket(room.join("standby's sockets"), 5432)
            .with_user("postgres")
            .with_password(SECRET)
            .with_database("postgres");
        let mut reader = connect_to(&at_standby);
        let replayed = standby
            .wait_for_replay(target, |sql| rows(&mut reader, sql), PATIENCE)
            .unwrap();
        assert!(replayed >= target);
        assert_eq!(ask(&mut reader, "SELECT i FROM t"), "7");
        let known = "SELECT application_name || ' ' || slot_name FROM pg_stat_replication \
                     JOIN pg_replication_slots ON active_pid = pid";
        assert_eq!(ask(&mut client, known), "berlin's berlin");

        standby.stop(&StopPlan::fast()).unwrap();
        let at_rest = standby.replay_lsn().unwrap().unwrap();
        assert!(
            at_rest > Lsn::new(0) && at_rest <= replayed.max(target),
            "{at_rest}"
        );
        assert_eq!(
            standby.replication_role().unwrap(),
            ReplicationRole::Standby
        );
        standby.start(&options_of_standby(&room)).unwrap();
        standby.promote().unwrap();
        standby.wait_until_promoted(PATIENCE).unwrap();
        assert_eq!(
            standby.replication_role().unwrap(),
            ReplicationRole::Primary
        );
        let mut reader = connect_to(&at_standby);
        let far = Lsn::new(u64::MAX);
        let error = standby
            .wait_for_replay(far, |sql| rows(&mut reader, sql), PATIENCE)
            .unwrap_err();
        assert!(
            matches!(error.kind(), ReplicationErrorKind::Primary(Some(_))),
            "{error:?}"
        );
    }
}

#[test]
fn control_data_are_read_without_a_program_on_every_version() {
    for installation in servers() {
        let room = Room::new();
        let cluster = Cluster::new(installation.clone(), room.join("data")).unwrap();
        let init = init_options().data_checksums(DataChecksums::Off);
        cluster.init(&init).unwrap();
        assert_eq!(
            cluster.replication_role().unwrap(),
            ReplicationRole::Primary
        );
        let hints = room.start_options().setting("wal_log_hints", "on");
        cluster.start(&hints).unwrap();
        assert_eq!(
            cluster.replication_role().unwrap(),
            ReplicationRole::Primary
        );
        let mut client = connect(&cluster);
        let before = written(&mut client);
        drop(client);
        cluster.stop(&StopPlan::fast()).unwrap();
        let end = cluster.replay_lsn().unwrap().expect("a known format");
        assert!(end >= before, "{end} {before}");
        let control = pg_cluster::ControlData::read(cluster.data_directory()).unwrap();
        assert_eq!(control.timeline, Some(1), "{}", installation.version());
        assert_eq!(control.wal_log_hints, Some(true));
        assert_eq!(control.minimum_recovery, None);
        let said = cluster.control_data().unwrap();
        let facts = |data: &pg_cluster::ControlData| {
            (
                data.timeline,
                data.wal_log_hints,
                data.checkpoint,
                data.minimum_recovery,
            )
        };
        assert_eq!(facts(&said), facts(&control));
    }
}

#[track_caller]
fn refused(standby: &Cluster, from: &ConnectionInfo, options: &BaseBackupOptions) -> InitError {
    let error = standby.init_standby_of(from, options).unwrap_err();
    assert!(!standby.data_directory().exists(), "{error:?}");
    error
}

#[test]
fn a_failed_base_backup_has_a_reason_and_leaves_nothing() {
    for installation in complete() {
        let room = Room::new();
        let (primary, address) = primary(&room, &installation, &init_options().password(SECRET));
        let good = address.clone().with_password(SECRET);
        let standby = standby(&room, &primary);
        let nowhere = ConnectionInfo::socket(room.join("nowhere"), 5432).with_user("postgres");
        for (from, options, words) in [
            (&address, backup(), "no password supplied"),
            (
                &good.clone().with_password("wrong"),
                backup(),
                "authentication failed",
            ),
            (&nowhere, backup(), "No such file"),
            (&good, backup().slot("none"), "\"none\" does not exist"),
            (&good.clone().with_user("bob"), backup(), "bob"),
        ] {
            let error = refused(&standby, from, &options);
            assert!(
                matches!(error.kind(), InitErrorKind::BaseBackup(_)),
                "{error:?}"
            );
            assert_says(&report(&error), &[words, "pg_basebackup"]);
            assert!(error.hint().is_some(), "{error:?}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        for options in [backup().max_rate(1), backup().application_name("a\nb")] {
            let error = refused(&standby, &good, &options);
            assert!(
                matches!(error.kind(), InitErrorKind::Option(_)),
                "{error:?}"
            );
        }
        let error = refused(&standby, &address.with_password("a\nb"), &backup());
        assert!(
            matches!(error.kind(), InitErrorKind::Option(_)),
            "{error:?}"
        );

        // The existing content stays.
        let data = room.directory("standby");
        fs::write(data.join("thesis.txt"), "mine").unwrap();
        let error = standby.init_standby_of(&good, &backup()).unwrap_err();
        assert!(
            matches!(error.kind(), InitErrorKind::NotEmpty(_)),
            "{error:?}"
        );
        assert_eq!(names(&data), ["thesis.txt"]);
    }
}

#[test]
fn another_major_version_is_refused() {
    let all = complete();
    let (Some(newest), Some(oldest)) = (all.first(), all.last()) else {
        unreachable!("checked before");
    };
    if newest.major_version() == oldest.major_version() {
        // With `PG_TESTS_BINDIRS` of one version there is no other version to refuse.
        return;
    }
    for (server, own) in [(oldest, newest), (newest, oldest)] {
        let room = Room::new();
        let (_primary, address) = primary(&room, server, &init_options());
        let standby = Cluster::new(own.clone(), room.join("standby")).unwrap();
        let error = refused(&standby, &address, &backup());
        match error.kind() {
            InitErrorKind::MajorVersion { server: found, .. } => {
                assert_eq!(*found, server.major_version());
            }
            InitErrorKind::BaseBackup(_) => {
                assert_says(&report(&error), &["incompatible server version"]);
            }
            kind => panic!("{kind:?}"),
        }
        assert_says(&error.hint().unwrap(), &["same major version"]);
    }
}

#[test]
fn a_program_that_is_missing_is_named() {
    for installation in servers() {
        if installation.program(Program::PgBasebackup).is_some() {
            continue;
        }
        let room = Room::new();
        let standby = Cluster::new(installation, room.join("standby")).unwrap();
        let nowhere = ConnectionInfo::socket("/nowhere", 5432);
        let error = refused(&standby, &nowhere, &backup());
        assert!(
            matches!(error.kind(), InitErrorKind::MissingProgram(_)),
            "{error:?}"
        );
        assert_says(&report(&error), &["pg_basebackup"]);
        let error = standby
            .rewind_to(&nowhere, &RewindOptions::new())
            .unwrap_err();
        assert_says(&report(&error), &["pg_rewind"]);
        let error = standby.verify_backup(PATIENCE).unwrap_err();
        assert_says(&report(&error), &["pg_verifybackup"]);
    }
}

#[test]
fn tablespaces_are_mapped_or_leave_nothing() {
    let installation = complete().swap_remove(0);
    let room = Room::new();
    let (primary, address) = primary(&room, &installation, &init_options());
    let (theirs, ours) = (room.directory("theirs"), room.join("ours=here"));
    let mut client = connect(&primary);
    client
        .batch_execute(&format!("CREATE TABLESPACE apart LOCATION '{theirs}'"))
        .unwrap();
    client
        .batch_execute("CREATE TABLE there TABLESPACE apart AS SELECT 42 AS i")
        .unwrap();
    let standby = standby(&room, &primary);
    let mapped = backup().tablespace(&theirs, &ours);
    let error = refused(&standby, &address, &mapped.clone().slot("none"));
    assert!(!ours.exists(), "{error:?}");
    standby.init_standby_of(&address, &mapped).unwrap();
    assert!(!names(&ours).is_empty());
    standby.start(&options_of_standby(&room)).unwrap();
    assert_eq!(ask(&mut connect(&standby), "SELECT i FROM there"), "42");
    // Without a mapping the tablespaces would be in the directories of the primary.
    standby.stop(&StopPlan::fast()).unwrap();
    let other = Cluster::new(installation, room.join("other")).unwrap();
    let error = refused(&other, &address, &backup());
    assert_says(&report(&error), &[theirs.as_str()]);
}

#[test]
fn a_killed_base_backup_leaves_nothing() {
    const NAME: &str = "a_killed_base_backup_leaves_nothing";
    if let Some(directory) = role() {
        let installation = complete().swap_remove(0);
        let standby = Cluster::new(installation, directory.join("standby")).unwrap();
        let address = ConnectionInfo::socket(directory.join("s"), 5432).with_user("postgres");
        // It would take minutes.
        let slow = backup().max_rate(100).on_progress(|_| {});
        standby.init_standby_of(&address, &slow).unwrap();
        return;
    }
    let installation = complete().swap_remove(0);
    let room = Room::new();
    let (primary, address) = primary(&room, &installation, &init_options());
    let mut client = connect(&primary);
    let mut killed = child(NAME, room.path().as_str()).spawn().unwrap();
    // It is killed while files are copied.
    let begun = "SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'";
    while ask(&mut client, begun) == "0" {
        assert!(killed.try_wait().unwrap().is_none(), "it runs");
        ask(&mut client, "SELECT pg_sleep(0.01)");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    // The next one waits until the guard of the killed one has removed its work.
    let standby = standby(&room, &primary);
    standby.init_standby_of(&address, &backup()).unwrap();
    assert!(
        !standby
            .data_directory()
            .join(Cluster::INIT_DIRECTORY)
            .exists()
    );
    standby.start(&options_of_standby(&room)).unwrap();
}

/// A primary and its standby, which was promoted while the primary went on.
fn diverged(room: &Room, installation: &Installation, init: &InitOptions) -> [Cluster; 2] {
    let (old, address) = primary(room, installation, init);
    // A rewind reads the WAL back to the last checkpoint before the fork.
    old.settings().set("wal_keep_size", "128MB").unwrap();
    old.reload().unwrap();
    let new = standby(room, &old);
    new.init_standby_of(&address, &backup()).unwrap();
    new.start(&options_of_standby(room)).unwrap();
    let mut client = connect(&old);
    let target = written(&mut client);
    let mut reader = connect(&new);
    new.wait_for_replay(target, |sql| rows(&mut reader, sql), PATIENCE)
        .unwrap();
    new.promote().unwrap();
    new.wait_until_promoted(PATIENCE).unwrap();
    client
        .batch_execute("CREATE TABLE lost AS SELECT 1 AS i")
        .unwrap();
    connect(&new)
        .batch_execute("CREATE TABLE kept AS SELECT 2 AS i")
        .unwrap();
    [old, new]
}

#[test]
fn a_former_primary_is_rewound_and_follows() {
    for installation in complete() {
        for crashes in [false, true] {
            let room = Room::new();
            let init = init_options().data_checksums(DataChecksums::On);
            let [old, new] = diverged(&room, &installation, &init);
            old.settings().set("work_mem", "5MB").unwrap();
            if crashes {
                old.stop(&StopPlan::throw_away()).unwrap();
            }
            let address =
                ConnectionInfo::socket(room.join("standby's sockets"), 5432).with_user("postgres");
            let options = RewindOptions::new().application_name("old");
            old.rewind_to(&address, &options).unwrap();
            assert_eq!(old.replication_role().unwrap(), ReplicationRole::Standby);
            // It keeps its own configuration.
            let work_mem = old.settings().get("work_mem").unwrap().unwrap();
            assert_eq!(work_mem, "5MB");
            let options = room
                .start_options()
                .setting("wal_retrieve_retry_interval", "100ms");
            old.start(&options).unwrap();
            let target = written(&mut connect(&new));
            let mut reader = connect(&old);
            old.wait_for_replay(target, |sql| rows(&mut reader, sql), PATIENCE)
                .unwrap();
            assert_eq!(ask(&mut reader, "SELECT i FROM kept"), "2");
            let lost = ask(
                &mut reader,
                "SELECT count(*) FROM pg_class WHERE relname = 'lost'",
            );
            assert_eq!(lost, "0");
        }
    }
}

#[test]
fn a_cluster_that_cannot_be_rewound_is_not_touched() {
    let installation = complete().swap_remove(0);
    let room = Room::new();
    let init = init_options().data_checksums(DataChecksums::Off);
    let (primary, address) = primary(&room, &installation, &init);
    let error = primary
        .rewind_to(&address, &RewindOptions::new())
        .unwrap_err();
    assert!(
        matches!(error.kind(), ReplicationErrorKind::NotRewindable),
        "{error:?}"
    );
    assert!(error.hint().is_some());
    assert!(
        primary.is_running().unwrap(),
        "it is asked before anything is done"
    );
}

#[test]
fn another_cluster_is_not_a_source_of_a_rewind() {
    let installation = complete().swap_remove(0);
    let (room, other) = (Room::new(), Room::new());
    let init = init_options().data_checksums(DataChecksums::On);
    let (cluster, _) = primary(&room, &installation, &init);
    let (_other, address) = primary(&other, &installation, &init);
    let error = cluster
        .rewind_to(&address, &RewindOptions::new())
        .unwrap_err();
    assert_says(&report(&error), &["different systems"]);
    assert_says(&error.hint().unwrap(), &["copied from"]);
    cluster.start(&room.start_options()).unwrap();
}

/// The error of a wait for a position that is never replayed, long before the timeout.
#[track_caller]
fn silent(standby: &Cluster) -> ReplicationProblemKind {
    let mut reader = connect(standby);
    let far = Lsn::new(u64::MAX >> 1);
    let error = standby
        .wait_for_replay(far, |sql| rows(&mut reader, sql), PATIENCE)
        .unwrap_err();
    assert!(error.hint().is_some(), "{error:?}");
    match error.kind() {
        ReplicationErrorKind::NotFollowing(problem) => problem.kind(),
        _ => panic!("{error:?}"),
    }
}

#[test]
fn a_standby_without_wal_reports_the_reason() {
    for installation in complete() {
        let (room, elsewhere) = (Room::new(), Room::new());
        let (primary, address) = primary(&room, &installation, &init_options());
        let (other, _) = self::primary(&elsewhere, &installation, &init_options());
        let standby = standby(&room, &primary);
        let options = backup().create_slot("mine");
        standby.init_standby_of(&address, &options).unwrap();
        let start = options_of_standby(&room);
        let instead = |address: &ConnectionInfo| {
            let conninfo = address.clone().with_user("postgres").keywords();
            start.clone().setting("primary_conninfo", conninfo)
        };
        let restart = |options: &StartOptions| {
            standby.restart(&StopPlan::fast(), options).unwrap();
        };
        standby.start(&start).unwrap();

        // Another cluster, which has the slot.
        connect(&other)
            .batch_execute("SELECT pg_create_physical_replication_slot('mine')")
            .unwrap();
        let of_other = ConnectionInfo::socket(elsewhere.join("s"), 5432);
        restart(&instead(&of_other));
        assert_eq!(silent(&standby), ReplicationProblemKind::SystemIdentifier);

        restart(&start.clone().setting("primary_slot_name", "none"));
        assert_eq!(silent(&standby), ReplicationProblemKind::Slot);

        restart(&instead(&ConnectionInfo::socket(
            room.join("nowhere"),
            5432,
        )));
        assert_eq!(silent(&standby), ReplicationProblemKind::Unreachable);

        // The WAL goes while the standby is away.
        standby.stop(&StopPlan::fast()).unwrap();
        let mut client = connect(&primary);
        client
            .batch_execute("SELECT pg_drop_replication_slot('mine')")
            .unwrap();
        for _ in 0..3 {
            written(&mut client);
            ask(&mut client, "SELECT pg_switch_wal()");
            client.batch_execute("CHECKPOINT").unwrap();
        }
        standby
            .start(&start.clone().setting("primary_slot_name", ""))
            .unwrap();
        assert_eq!(silent(&standby), ReplicationProblemKind::WalRemoved);
    }
}

/// A standby that was promoted for a moment has its own history.
#[test]
fn a_fork_of_the_history_is_named() {
    let installation = complete().swap_remove(0);
    let room = Room::new();
    let init = init_options().data_checksums(DataChecksums::On);
    let [old, new] = diverged(&room, &installation, &init);
    // The former primary is made a standby without a rewind.
    old.stop(&StopPlan::fast()).unwrap();
    let signal = old.data_directory().join("standby.signal");
    fs::write(&signal, "").unwrap();
    give_to_servers(&signal);
    let address = ConnectionInfo::socket(room.join("standby's sockets"), 5432);
    let conninfo = address.with_user("postgres").keywords();
    let options = room.start_options().setting("primary_conninfo", conninfo);
    old.start(&options).unwrap();
    assert_eq!(silent(&old), ReplicationProblemKind::Timeline);
    drop(new);
}

#[test]
fn a_paused_standby_times_out_with_that_reason() {
    let installation = complete().swap_remove(0);
    let room = Room::new();
    let (primary, address) = primary(&room, &installation, &init_options());
    let standby = standby(&room, &primary);
    standby.init_standby_of(&address, &backup()).unwrap();
    standby.start(&options_of_standby(&room)).unwrap();
    let mut reader = connect(&standby);
    ask(&mut reader, "SELECT pg_wal_replay_pause()::text");
    let target = written(&mut connect(&primary));
    let short = Duration::from_millis(20);
    let error = standby
        .wait_for_replay(target, |sql| rows(&mut reader, sql), short)
        .unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_says(&report(&error), &["paused", &target.to_string()]);
    ask(&mut reader, "SELECT pg_wal_replay_resume()::text");
    standby
        .wait_for_replay(target, |sql| rows(&mut reader, sql), PATIENCE)
        .unwrap();
}
