//! Diagnoses of faults that are provoked on real servers: the reason, its details, and advice.

// Long, because each diagnosis needs its own fault.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camino::Utf8Path;
use pg_cluster::{
    Cluster, ControlErrorKind, InitErrorKind, Installation, Ownership, Readiness,
    SettingsErrorKind, Signal, StartErrorKind, Started, State, StopPlan, Validation,
};
use pg_tests::{
    Orphan, Room, ask, assert_says, await_suspended, connect, give_to_servers, init_options,
    is_root, refused, report, server, server_account, servers, signal,
};

/// The servers of one major version up to another, for what only they do.
fn servers_of(majors: std::ops::RangeInclusive<u32>) -> Vec<Installation> {
    let mut all = servers();
    all.retain(|server| majors.contains(&u32::from(server.version().major())));
    all
}

#[test]
fn the_reason_of_initdb_is_shown_and_not_its_last_line() {
    for installation in servers() {
        let room = Room::new();
        let cluster = Cluster::new(installation.clone(), room.join("data")).unwrap();
        let options = init_options().argument("--wal-segsize=3");
        let error = match installation.version().major() {
            10 => continue,
            _ => cluster.init(&options).unwrap_err(),
        };
        let text = report(&error);
        assert_says(
            &text,
            &["failed to initialize", "must be a power of", "1 and 1024"],
        );
        assert!(!text.contains("not removed"), "{text}");
    }
}

#[test]
fn details_and_hints_of_the_server_are_included() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let options = room.start_options();
        let bad = |name: &str, value: &str| {
            let error = refused(&cluster, &options.clone().setting(name, value));
            assert!(
                matches!(error.kind(), StartErrorKind::Configuration(_)),
                "{error:?}"
            );
            report(&error)
        };
        assert_says(
            &bad("work_mem", "1XB"),
            &["Valid units for this parameter are"],
        );
        assert_says(
            &bad("wal_level", "lots"),
            &["Available values: minimal, replica, logical"],
        );
        let settings = cluster.settings().validated(Validation::Server);
        let error = settings.set("work_mem", "1XB").unwrap_err();
        assert_says(&report(&error), &["Valid units", "nothing was changed"]);
        let check = cluster.settings().check("wal_level", "lots").unwrap();
        assert_says(&check.problem.unwrap().to_string(), &["Available values"]);

        // The system catalogs of another version: the number at the third word of the file.
        let control = cluster.data_directory().join("global/pg_control");
        let before = fs::read(&control).unwrap();
        let mut after = before.clone();
        after[12] ^= 1;
        fs::write(&control, after).unwrap();
        // From PostgreSQL 17 on the checksum is checked first.
        let text = report(&refused(&cluster, &options));
        if !text.contains("checksum") {
            assert_says(&text, &["CATALOG_VERSION_NO", "you need to initdb"]);
        }
        fs::write(&control, before).unwrap();

        // A backup without its write-ahead log.
        let label = cluster.data_directory().join("backup_label");
        fs::write(
            &label,
            "START WAL LOCATION: 9/28000028 (file 000000010000000900000028)\n\
             CHECKPOINT LOCATION: 9/28000060\n\
             BACKUP METHOD: streamed\nBACKUP FROM: primary\n\
             START TIME: 2024-01-01 00:00:00 UTC\nLABEL: x\nSTART TIMELINE: 1\n",
        )
        .unwrap();
        give_to_servers(&label);
        let text = report(&refused(&cluster, &options));
        assert_says(&text, &["checkpoint record", "backup_label"]);
        fs::remove_file(&label).unwrap();
        cluster.start(&options).unwrap();
    }
}

/// The message is read, not the row, and what goes elsewhere is named.
#[test]
fn every_form_of_log_is_read() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let hba = cluster.hba_file();
        let good = fs::read(&hba).unwrap();
        fs::write(&hba, "local all all trust\nbogus all all \"trust\"\n").unwrap();
        let mut forms = vec!["stderr", "csvlog"];
        if installation.version().major() >= 15 {
            forms.push("jsonlog");
        }
        for form in forms {
            let options = room
                .start_options()
                .settings([("logging_collector", "on"), ("log_destination", form)]);
            let error = refused(&cluster, &options);
            let StartErrorKind::Configuration(problems) = error.kind() else {
                panic!("{form}: {error:?}")
            };
            assert_eq!(problems[0].file.as_deref(), Some(hba.as_path()), "{form}");
            assert_eq!(problems[0].line, Some(2), "{form}: {problems:?}");
            assert_eq!(
                problems[0].message, "invalid connection type \"bogus\"",
                "{form}"
            );
        }
        fs::write(&hba, good).unwrap();
        // A reason that only the log contains.
        cluster.start(&room.start_options()).unwrap();
        cluster.kill().unwrap();
        let segments = cluster.data_directory().join("pg_wal").read_dir_utf8();
        for path in segments.unwrap().map(|entry| entry.unwrap().into_path()) {
            if path.is_file() {
                fs::write(path, "").unwrap();
            }
        }
        let options = room.start_options().setting("log_destination", "syslog");
        let error = refused(&cluster, &options);
        assert_says(&report(&error), &["the server's messages go to syslog"]);
    }
}

#[test]
fn a_name_without_an_address_and_a_group_without_members_are_named() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let options = room
            .start_options()
            .port(pg_tests_free_port())
            .listen_addresses(["no-such-host.invalid"]);
        let error = refused(&cluster, &options);
        assert!(
            matches!(
                error.kind(),
                StartErrorKind::Unresolved { host, .. } if host == "no-such-host.invalid"
            ),
            "{error:?}"
        );
        assert_says(&report(&error), &["no-such-host.invalid", "/etc/hosts"]);

        let grouped = room
            .start_options()
            .setting("unix_socket_group", "no_such_group");
        let text = report(&refused(&cluster, &grouped));
        assert_says(
            &text,
            &["unix_socket_group: ", "no_such_group", "has to exist"],
        );
        if is_root() {
            let grouped = room.start_options().setting("unix_socket_group", "root");
            let text = report(&refused(&cluster, &grouped));
            assert_says(&text, &["unix_socket_group: ", "members"]);
        }
        cluster
            .settings()
            .set("unix_socket_group", "no_such_group")
            .unwrap();
        let error = refused(&cluster, &room.start_options());
        let StartErrorKind::Configuration(problems) = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!(problems[0].file, Some(cluster.config_file()));
        assert!(problems[0].line.is_some());
        cluster.settings().remove("unix_socket_group").unwrap();

        let hba = cluster.hba_file();
        fs::rename(&hba, hba.with_extension("away")).unwrap();
        let text = report(&refused(&cluster, &room.start_options()));
        assert_says(
            &text,
            &[hba.as_str(), "the file is missing", "restore the file"],
        );
        fs::rename(hba.with_extension("away"), &hba).unwrap();
        cluster.start(&room.start_options()).unwrap();
    }
}

/// A port that was free a moment ago; the test only needs that no process listens there.
fn pg_tests_free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn the_missing_half_of_a_cluster_is_listed() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let data = cluster.data_directory().to_owned();
        let options = room.start_options();
        let missing = |expected: &[&str]| {
            let error = refused(&cluster, &options);
            let StartErrorKind::Incomplete(missing) = error.kind() else {
                panic!("{error:?}")
            };
            assert_eq!(missing, expected);
            let error_of_init = cluster.init(&init_options()).unwrap_err();
            match error_of_init.kind() {
                InitErrorKind::Incomplete(missing) => assert_eq!(missing, expected),
                InitErrorKind::AlreadyInitialized => assert!(cluster.is_initialized()),
                other => panic!("{other:?}"),
            }
            report(&error)
        };
        let away = |name: &str| fs::rename(data.join(name), room.join("away")).unwrap();
        let back = |name: &str| fs::rename(room.join("away"), data.join(name)).unwrap();

        away("postgresql.conf");
        assert_says(
            &missing(&["postgresql.conf"]),
            &["`Cluster::from_config_file`"],
        );
        back("postgresql.conf");
        away("global");
        assert_says(&missing(&["global/pg_control", "global"]), &["backup"]);
        back("global");
        let version = fs::read(data.join("PG_VERSION")).unwrap();
        fs::write(data.join("PG_VERSION"), "").unwrap();
        missing(&["the version in PG_VERSION"]);
        fs::write(data.join("PG_VERSION"), version).unwrap();
        // Git keeps no empty directories.
        for name in ["pg_notify", "pg_tblspc", "pg_replslot", "pg_twophase"] {
            let path = data.join(name);
            if path.read_dir_utf8().unwrap().next().is_none() {
                fs::remove_dir(path).unwrap();
            }
        }
        let lost: Vec<&str> = ["pg_notify", "pg_replslot", "pg_tblspc", "pg_twophase"]
            .into_iter()
            .filter(|name| !data.join(name).exists())
            .collect();
        assert!(lost.len() >= 3, "{lost:?}");
        assert_says(&missing(&lost), &["git", "empty directories"]);
    }
}

#[test]
fn a_library_that_does_not_exist_is_refused_before_and_named_after() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let settings = cluster.settings();
        let validated = settings.validated(Validation::Server);
        let refuse = || {
            let error = validated
                .set("shared_preload_libraries", "no_such_library")
                .unwrap_err();
            assert!(
                matches!(error.kind(), SettingsErrorKind::Rejected(_)),
                "{error:?}"
            );
            assert_says(
                &report(&error),
                &["shared_preload_libraries: ", "no_such_library"],
            );
        };
        refuse();
        // The server holds its directory, and is not disturbed.
        let pid = cluster.start(&room.start_options()).unwrap().pid();
        refuse();
        assert_eq!(cluster.state().unwrap(), State::Ready(pid));
        validated
            .set("shared_preload_libraries", "plpgsql")
            .unwrap();
        validated.set("work_mem", "5MB").unwrap();
        cluster.stop(&StopPlan::fast()).unwrap();

        settings
            .set("shared_preload_libraries", "plpgsql, no_such_library")
            .unwrap();
        let error = refused(&cluster, &room.start_options());
        let StartErrorKind::Configuration(problems) = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!(problems[0].file, Some(cluster.config_file()));
        assert_says(
            &report(&error),
            &[
                "shared_preload_libraries: ",
                "no_such_library",
                "install the package",
            ],
        );
    }
}

/// A suspended server, as after `docker pause`, does not respond.
#[test]
fn a_suspended_server_is_not_ready() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let pid = cluster.start(&room.start_options()).unwrap().pid();
        signal(pid, "-STOP");
        await_suspended(&cluster, pid);
        assert_eq!(cluster.readiness().unwrap(), Readiness::NotReady);
        let error = cluster.start(&room.start_options()).unwrap_err();
        assert!(
            matches!(error.kind(), StartErrorKind::Suspended(found) if *found == pid),
            "{error:?}"
        );
        let error = cluster
            .wait_until_started(Duration::from_secs(60))
            .unwrap_err();
        assert_says(&report(&error), &["is stopped by a signal", "SIGCONT"]);
        let moment = StopPlan::new(Signal::Smart, Duration::ZERO);
        let error = cluster.stop(&moment).unwrap_err();
        assert!(
            matches!(error.kind(), ControlErrorKind::Suspended(found) if *found == pid),
            "{error:?}"
        );
        assert!(error.is_timeout());
        signal(pid, "-CONT");
        cluster.stop(&StopPlan::fast()).unwrap();
    }
}

#[test]
fn a_shutdown_that_waits_names_the_holders() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        let backend = ask(&mut client, "select pg_backend_pid()");
        let moment = StopPlan::new(Signal::Smart, Duration::from_millis(100));
        let error = cluster.stop(&moment).unwrap_err();
        let ControlErrorKind::Timeout { holders, .. } = error.kind() else {
            panic!("{error:?}")
        };
        let is_client = |pid: &pg_cluster::Pid| pid.to_string() == backend;
        assert!(
            holders
                .iter()
                .any(|(pid, title)| is_client(pid) && title.contains("idle")),
            "{holders:?}"
        );
        assert!(
            !holders
                .iter()
                .any(|(_, title)| title.contains("writer") && !title.contains("wal")),
            "{holders:?}"
        );
        assert_says(&report(&error), &["waiting for process", &backend]);
        drop(client);
        cluster.stop(&StopPlan::fast()).unwrap();
    }
}

#[test]
fn a_shutdown_at_the_recovery_target_is_not_a_failure() {
    // In versions before, a recovering server reports that it is up as soon as recovery has begun.
    for installation in servers_of(12..=99) {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        cluster.stop(&StopPlan::fast()).unwrap();
        let backup = Cluster::new(installation.clone(), room.join("backup")).unwrap();
        pg_tests::copy(cluster.data_directory(), backup.data_directory());
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        client
            .batch_execute("select pg_create_restore_point('here'); create table t()")
            .unwrap();
        drop(client);
        cluster.stop(&StopPlan::fast()).unwrap();
        let data = backup.data_directory();
        fs::remove_dir_all(data.join("pg_wal")).unwrap();
        pg_tests::copy(
            &cluster.data_directory().join("pg_wal"),
            &data.join("pg_wal"),
        );
        let cluster = &backup;
        let target = "restore_command = '/bin/false'\nrecovery_target_name = 'here'\n\
                      recovery_target_action = 'shutdown'\n";
        let options = room.start_options().setting("hot_standby", "off");
        fs::write(data.join("recovery.signal"), "").unwrap();
        give_to_servers(&data.join("recovery.signal"));
        let conf = cluster.config_file();
        let text = fs::read_to_string(&conf).unwrap();
        fs::write(&conf, text + target).unwrap();
        let error = refused(cluster, &options);
        assert!(
            matches!(error.kind(), StartErrorKind::RecoveryTarget),
            "{error:?}"
        );
        assert_says(&report(&error), &["recovery_target_action", "promote"]);
    }
}

#[test]
fn a_missing_directory_of_statistics_is_named() {
    for installation in servers_of(10..=14) {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        cluster.kill().unwrap();
        let gone = room.join("gone");
        cluster
            .settings()
            .set("stats_temp_directory", gone.as_str())
            .unwrap();
        let text = report(&refused(&cluster, &room.start_options()));
        assert_says(
            &text,
            &[
                "stats_temp_directory: ",
                gone.as_str(),
                "create the directory",
            ],
        );
    }
}

/// The lock file of a socket whose server was killed, and whose PID belongs to another process.
#[test]
fn a_socket_left_by_a_killed_server_does_not_prevent_a_start() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let socket = room.join("s/.s.PGSQL.5432");
        let lock = room.join("s/.s.PGSQL.5432.lock");
        cluster.start(&room.start_options()).unwrap();
        assert!(socket.exists() && lock.exists());
        cluster.kill().unwrap();
        assert!(
            !socket.exists() && !lock.exists(),
            "our own kill removes both"
        );

        // The lock file of another directory's server, which has exited, and a bystander.
        let bystander = Bystander::new();
        let other = Cluster::new(installation.clone(), room.join("other")).unwrap();
        other.init(&init_options()).unwrap();
        let text = format!(
            "{}\n{}\n1700000000\n5432\n{}\n",
            bystander.0.id(),
            other.data_directory(),
            room.join("s")
        );
        fs::write(&lock, text).unwrap();
        give_to_servers(&lock);
        cluster.start(&room.start_options()).unwrap();
        cluster.stop(&StopPlan::fast()).unwrap();

        // A postmaster.pid and a lock file that name a bystander.
        let text = |directory: &Utf8Path| {
            let pid = bystander.0.id();
            format!(
                "{pid}\n{directory}\n1700000000\n5432\n{}\n\n",
                room.join("s")
            )
        };
        fs::write(&lock, text(cluster.data_directory())).unwrap();
        let pid_file = cluster.data_directory().join("postmaster.pid");
        fs::write(&pid_file, text(cluster.data_directory())).unwrap();
        give_to_servers(&lock);
        give_to_servers(&pid_file);
        cluster.start(&room.start_options()).unwrap();
        cluster.stop(&StopPlan::fast()).unwrap();

        // One whose server cannot be looked for is diagnosed.
        fs::write(&lock, format!("{}\n", bystander.0.id())).unwrap();
        give_to_servers(&lock);
        let error = refused(&cluster, &room.start_options());
        assert!(
            matches!(error.kind(), StartErrorKind::StaleSocketLock { path, .. } if *path == lock),
            "{error:?}"
        );
        assert_says(&report(&error), &["remove", lock.as_str()]);
    }
}

/// A process that has nothing to do with a server.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        let mut sleep = Command::new("sleep");
        sleep.arg("600").stdin(Stdio::null());
        // A process of another user does not prevent the start (`CreateLockFile`).
        if let Some(account) = server_account() {
            sleep.uid(account.uid()).gid(account.gid());
        }
        Self(sleep.spawn().unwrap())
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server of the same directory that has lost its `postmaster.pid` is not reported as a foreign
/// holder of the address.
#[test]
fn the_running_server_of_the_cluster_is_named() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let pid = cluster.start(&room.start_options()).unwrap().pid();
        fs::remove_file(cluster.data_directory().join("postmaster.pid")).unwrap();
        let other = Cluster::new(installation, cluster.data_directory()).unwrap();
        match other.start(&room.start_options()) {
            Ok(started) => assert_eq!(started, Started::AlreadyRunning(pid)),
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    StartErrorKind::Held(found) | StartErrorKind::LockFileLost(found)
                        if *found == pid
                ),
                "{error:?}"
            ),
        }
        cluster.kill().unwrap();
    }
}

/// A backend of a killed server holds its memory while another server has its address.
#[test]
fn shared_memory_in_use_is_reported_before_the_address() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let detached = room.start_options().ownership(Ownership::Detached);
    cluster.start(&detached).unwrap();
    let orphan = Orphan::leave_by(&cluster);
    let impatient = room.start_options().timeout(Duration::from_secs(2));
    let error = refused(&cluster, &impatient);
    assert!(
        matches!(error.kind(), StartErrorKind::SharedMemory(_)),
        "{error:?}"
    );
    assert_says(
        &report(&error),
        &["pre-existing shared memory block", "`Cluster::kill`"],
    );
    drop(orphan);
    cluster.kill().unwrap();
}
