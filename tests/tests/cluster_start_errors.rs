//! Each reason for a failed start, provoked for real. The log of the server plays no part in most
//! of them; where it does, another language makes no difference.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use camino::Utf8Path;
use pg_cluster::{Cluster, Installation, StartErrorKind, StartWait, StopPlan};
use pg_tests::{Mount, Room, can_mount, copy, init_options, refused, server, servers};

#[test]
fn errors_are_found_before_the_server_is_started() {
    let room = Room::new();
    let options = room.start_options();
    let cluster = Cluster::new(server(), room.join("none")).unwrap();
    let error = refused(&cluster, &options);
    assert!(
        matches!(error.kind(), StartErrorKind::NotInitialized),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!("failed to start the server of {}", room.join("none"))
    );
    assert_eq!(error.kind().to_string(), "the directory is not initialized");
    assert_eq!(
        error.hint().unwrap(),
        "`Cluster::init` creates a data directory"
    );

    let cluster = room.cluster(&server());
    for name in ["", "a b", "work_mem=1", "a.b.c.", "1x"] {
        let error = refused(&cluster, &options.clone().setting(name, "1"));
        assert!(
            matches!(error.kind(), StartErrorKind::SettingName(found) if found == name),
            "{error:?}"
        );
    }
    let long = room.join(&"x".repeat(100));
    let error = refused(&cluster, &options.clone().socket_directory(&long));
    assert!(
        matches!(error.kind(), StartErrorKind::SocketPath(error)
            if error.path().starts_with(&long)),
        "{error:?}"
    );
    assert!(
        error.kind().to_string().ends_with("bytes, more than 107")
            || cfg!(not(target_os = "linux"))
    );
    let error = refused(
        &cluster,
        &options.clone().socket_directory(room.join("nowhere")),
    );
    assert!(
        matches!(error.kind(), StartErrorKind::SocketDirectory { path, .. }
            if *path == room.join("nowhere")),
        "{error:?}"
    );

    let data = cluster.data_directory();
    fs::set_permissions(data, fs::Permissions::from_mode(0o777)).unwrap();
    let error = refused(&cluster, &options);
    assert!(
        matches!(
            error.kind(),
            StartErrorKind::Permissions { mode: 0o777, .. }
        ),
        "{error:?}"
    );
    fs::set_permissions(data, fs::Permissions::from_mode(0o700)).unwrap();

    fs::write(data.join("PG_VERSION"), "9.6\n").unwrap();
    let error = refused(&cluster, &options);
    assert!(
        matches!(error.kind(), StartErrorKind::MajorVersion { data, .. }
            if data.to_string() == "9.6"),
        "{error:?}"
    );
    assert_eq!(
        error.hint().unwrap(),
        "use an installation of PostgreSQL 9.6, or pg_upgrade"
    );
}

#[test]
fn bad_configuration_is_reported_with_file_and_line() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let file = cluster.config_file();
        let good = fs::read_to_string(&file).unwrap();
        let lines = good.lines().count();
        let cases = [
            ("a b c", "syntax error"),
            (
                "no_such_setting = 1",
                "unrecognized configuration parameter \"no_such_setting\"",
            ),
            (
                "work_mem = lots",
                "invalid value for parameter \"work_mem\"",
            ),
            (
                "port = 70000",
                "70000 is outside the valid range for parameter \"port\"",
            ),
            ("fsync = perhaps", "requires a Boolean value"),
            ("include 'nowhere'", "could not open configuration file"),
        ];
        for (line, message) in cases {
            fs::write(&file, format!("{good}\n{line}\n")).unwrap();
            let error = refused(&cluster, &room.start_options().setting("lc_messages", "C"));
            let StartErrorKind::Configuration(problems) = error.kind() else {
                panic!("{line}: {error:?}")
            };
            assert!(
                problems[0].message.contains(message),
                "{line}: {problems:?}"
            );
            // Some versions report a bad value without its line.
            if ["a b c", "no_such_setting = 1"].contains(&line) {
                assert_eq!(problems[0].file.as_deref(), Some(file.as_path()));
                assert_eq!(problems[0].line, u32::try_from(lines + 2).ok());
            }
        }
        fs::write(&file, good).unwrap();
        let error = refused(&cluster, &room.start_options().setting("work_mem", "lots"));
        assert!(
            matches!(error.kind(), StartErrorKind::Configuration(_)),
            "{error:?}"
        );

        let hba = cluster.hba_file();
        fs::write(&hba, "local all all trust\n\nbogus all all trust\n").unwrap();
        let error = refused(&cluster, &room.start_options());
        let StartErrorKind::Configuration(problems) = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!(
            (problems[0].file.as_deref(), problems[0].line),
            (Some(hba.as_path()), Some(3)),
            "{problems:?}"
        );
        assert!(problems[0].message.contains("bogus"), "{problems:?}");
        assert!(error.log().contains("bogus"));
    }
}

/// A server with unreadable messages: all letters of its standard error outside of paths are
/// replaced.
fn garbling(installation: &Installation, room: &Room) -> Installation {
    let bin = room.directory("bin");
    let real = installation.require(pg_cluster::Program::Postgres).unwrap();
    for program in ["initdb", "pg_ctl"] {
        if let Some(parent) = real.parent() {
            if parent.join(program).exists() {
                std::os::unix::fs::symlink(parent.join(program), bin.join(program)).unwrap();
            }
        }
    }
    // The log goes through `sed` and back to where it was to go; the server itself stays the
    // process that was started.
    let script = format!(
        "#!/bin/bash\ncase \"$*\" in *--version*|*-V*|*--describe-config*|*\" -C \"*) \
         exec {real} \"$@\";; esac\n\
         exec -a {real} {real} \"$@\" 2> >(exec sed -u -e 's/FATAL:/ВАЖНО:/;s/PANIC:/ПАНИКА:/;\
         s/LOG:/ОТЧЁТ:/;s/HINT:/ПОДСКАЗКА:/;\
         s/could not/не/g;s/address/адрес/g;s/already/уже/g;s/lock file/файл/g;\
         s/is another/другой/Ig;s/recovery/восстановление/g;\
         s/startup process/процесс/g;s/checkpoint/точка/g;s/invalid/плохой/g;\
         s/connection type/тип/g;s/of configuration file/из файла/g;s/line/строка/g;\
         s/shut down/выключен/g;s/interrupted/прерван/g;s/locate/найти/g;s/valid/верный/g')\n"
    );
    let wrapper = bin.join("postgres");
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    Installation::from_bin_directory(&bin).unwrap()
}

/// Address, access rules and recovery, with the server's language and with one that it does not
/// have.
#[test]
fn reasons_do_not_depend_on_the_language() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let foreign = Cluster::new(garbling(&server(), &room), cluster.data_directory()).unwrap();
    for cluster in [&cluster, &foreign] {
        let own = std::process::id().to_string();
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let options = room
            .start_options()
            .port(port)
            .listen_addresses(["127.0.0.1"]);
        let error = refused(cluster, &options);
        let StartErrorKind::AddressInUse(holder) = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(holder.address, format!("127.0.0.1:{port}"));
        let known = cfg!(target_os = "linux").then(|| own.clone());
        assert_eq!(holder.pid.map(|pid| pid.to_string()), known);
        assert!(!error.log().is_empty());
        if cfg!(target_os = "linux") {
            assert_eq!(
                error.kind().to_string(),
                format!("the address 127.0.0.1:{port} of process {own} is in use")
            );
        }
        drop(taken);

        let other = Cluster::new(server(), room.join("other")).unwrap();
        if !other.is_initialized() {
            other.init(&init_options()).unwrap();
        }
        let pid = other.start(&room.start_options()).unwrap().pid();
        let socket = room.join("s/.s.PGSQL.5432");
        let error = refused(cluster, &room.start_options());
        let StartErrorKind::AddressInUse(holder) = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(
            (&holder.address, holder.pid),
            (&socket.to_string(), Some(pid))
        );
        assert_eq!(
            holder.data_directory.as_deref(),
            Some(other.data_directory())
        );
        other.stop(&StopPlan::fast()).unwrap();

        let hba = fs::read(cluster.hba_file()).unwrap();
        fs::write(cluster.hba_file(), "bogus all all trust\n").unwrap();
        let error = refused(cluster, &room.start_options());
        let StartErrorKind::Configuration(problems) = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!(
            (problems[0].file.clone(), problems[0].line),
            (Some(cluster.hba_file()), Some(1))
        );
        fs::write(cluster.hba_file(), hba).unwrap();
    }
    // A crash, and the write-ahead log is missing.
    cluster.start(&room.start_options()).unwrap();
    cluster.kill().unwrap();
    for segment in cluster
        .data_directory()
        .join("pg_wal")
        .read_dir_utf8()
        .unwrap()
    {
        let path = segment.unwrap().into_path();
        if path.is_file() {
            fs::write(&path, "").unwrap();
        }
    }
    for cluster in [&cluster, &foreign] {
        let error = refused(cluster, &room.start_options());
        assert!(
            matches!(error.kind(), StartErrorKind::Recovery(_)),
            "{error:?}"
        );
    }
}

/// A file that recovery needs has been overwritten, or the file that contains its starting point.
#[test]
fn kinds_of_damage_are_distinguished() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        cluster.kill().unwrap();
        // Version and state at its beginning are left as they are: its checksum is wrong.
        let damage = |path: &Utf8Path| {
            let before = fs::read(path).unwrap();
            let mut after = before.clone();
            after[24..].fill(0x5a);
            fs::write(path, after).unwrap();
            before
        };
        let control = cluster.data_directory().join("global/pg_control");
        let before = damage(&control);
        let error = refused(&cluster, &room.start_options());
        // Up to PostgreSQL 10 it is the process for recovery that reads it.
        let (StartErrorKind::Ended {
            message: Some(message),
            ..
        }
        | StartErrorKind::Recovery(message)) = error.kind()
        else {
            panic!("{error:?}")
        };
        assert!(message.contains("checksum in control file"), "{message}");
        fs::write(&control, before).unwrap();

        let segments = cluster
            .data_directory()
            .join("pg_wal")
            .read_dir_utf8()
            .unwrap();
        let segments = segments.map(|entry| entry.unwrap().into_path());
        for segment in segments.filter(|path| path.is_file()) {
            damage(&segment);
        }
        let error = refused(&cluster, &room.start_options());
        let StartErrorKind::Recovery(message) = error.kind() else {
            panic!("{error:?}")
        };
        assert!(message.contains("checkpoint record"), "{message}");
    }
}

#[test]
fn a_socket_directory_of_another_user_is_refused() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let closed = room.directory("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    let error = refused(&cluster, &room.start_options().socket_directory(&closed));
    assert!(
        matches!(error.kind(), StartErrorKind::SocketDirectory { path, cause }
            if *path == closed && cause.kind() == std::io::ErrorKind::PermissionDenied),
        "{error:?}"
    );
}

#[test]
fn a_server_that_exits_after_its_start_is_reported() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let bad = room
        .start_options()
        .setting("shared_preload_libraries", "no_such_library");
    let error = refused(&cluster, &bad);
    let StartErrorKind::Configuration(problems) = error.kind() else {
        panic!("{error:?}")
    };
    let message = &problems[0].message;
    assert!(
        message.starts_with("shared_preload_libraries: ") && message.contains("no_such_library"),
        "{message}"
    );
    assert!(error.log().contains("no_such_library"));

    cluster.start(&bad.wait(StartWait::Spawned)).unwrap();
    let error = cluster
        .wait_until_started(Duration::from_secs(60))
        .unwrap_err();
    assert!(
        matches!(error.kind(), StartErrorKind::Configuration(_)),
        "{error:?}"
    );
    assert!(error.log().contains("no_such_library"));
    cluster.start(&room.start_options()).unwrap();
}

#[test]
fn a_start_that_times_out_leaves_no_server() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let error = refused(
        &cluster,
        &room
            .start_options()
            .timeout(Duration::ZERO)
            .recovery_patience(Duration::ZERO),
    );
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(
        error.hint().unwrap(),
        "`StartOptions::timeout` gives the server more time"
    );
    cluster.start(&room.start_options()).unwrap();
}

/// A limit on the size of files, for any user; and a file system that is full, which only root can
/// mount.
#[test]
fn a_full_file_system_is_reported() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let bin = room.directory("bin");
    let real = server()
        .require(pg_cluster::Program::Postgres)
        .unwrap()
        .to_owned();
    for program in ["initdb", "pg_ctl"] {
        std::os::unix::fs::symlink(real.with_file_name(program), bin.join(program)).unwrap();
    }
    let script = format!("#!/bin/bash\n[[ $1 = -D ]] && ulimit -f 1\nexec {real} \"$@\"\n");
    fs::write(bin.join("postgres"), script).unwrap();
    fs::set_permissions(bin.join("postgres"), fs::Permissions::from_mode(0o755)).unwrap();
    let limited = Installation::from_bin_directory(&bin).unwrap();
    let limited = Cluster::new(limited, cluster.data_directory()).unwrap();
    let error = refused(&limited, &room.start_options());
    assert!(!error.log().is_empty(), "{error:?}");
    if !can_mount() {
        return;
    }
    let mounted = Mount::tmpfs(&room.directory("full"), "64m");
    copy(cluster.data_directory(), &mounted.path().join("data"));
    let full = Cluster::new(server(), mounted.path().join("data")).unwrap();
    let filler = mounted.fill();
    let error = refused(&full, &room.start_options());
    assert!(
        matches!(error.kind(), StartErrorKind::DiskFull(_)),
        "{error:?}"
    );
    fs::remove_file(&filler).unwrap();
    full.start(&room.start_options()).unwrap();
    full.stop(&StopPlan::fast()).unwrap();
}
