//! Configuration outside of the data directory, as on Debian; control data; lock files with false
//! content.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;

use pg_cluster::{
    Cluster, ControlErrorKind, Signal, StartErrorKind, Started, State, StopPlan, Stopped,
};
use pg_tests::{Room, ask, connect, give_to_servers, server, servers};

/// `/etc/postgresql/VERSION/NAME` holds the configuration, `/var/lib/postgresql/VERSION/NAME` the
/// data.
#[test]
fn the_layout_of_debian() {
    for installation in servers() {
        let room = Room::new();
        let made = room.cluster(&installation);
        let data = made.data_directory().to_owned();
        let etc = room.directory("etc");
        for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
            fs::rename(data.join(name), etc.join(name)).unwrap();
        }
        assert!(!made.is_initialized());
        let extra = format!(
            "data_directory = '../data'\nhba_file = '{etc}/pg_hba.conf'\n\
             ident_file = '{etc}/pg_ident.conf'\n\
             external_pid_file = '{etc}/server.pid'\nwork_mem = 7MB\n"
        );
        let conf = etc.join("postgresql.conf");
        let text = fs::read_to_string(&conf).unwrap() + &extra;
        fs::write(&conf, text).unwrap();

        let cluster = Cluster::from_config_file(installation.clone(), &conf).unwrap();
        assert_eq!(
            fs::canonicalize(cluster.data_directory()).unwrap(),
            fs::canonicalize(&data).unwrap()
        );
        assert!(cluster.is_initialized());
        assert_eq!(cluster.config_file(), conf);
        assert_eq!(cluster.hba_file(), etc.join("pg_hba.conf"));
        assert_eq!(cluster.ident_file(), etc.join("pg_ident.conf"));
        assert_eq!(cluster.external_pid_file(), Some(etc.join("server.pid")));

        let pid = cluster.start(&room.start_options()).unwrap().pid();
        let text = fs::read_to_string(etc.join("server.pid")).unwrap();
        assert_eq!(text.trim(), pid.to_string());
        let mut client = connect(&cluster);
        assert_eq!(ask(&mut client, "SHOW config_file"), conf);
        assert_eq!(ask(&mut client, "SHOW hba_file"), etc.join("pg_hba.conf"));
        assert_eq!(ask(&mut client, "SHOW work_mem"), "7MB");
        // An object that has only the data directory reads the rest from the running server.
        let other = Cluster::new(installation, &data).unwrap();
        assert_eq!(
            (other.config_file(), other.pid().unwrap()),
            (conf.clone(), Some(pid))
        );
        cluster.settings().set("work_mem", "8MB").unwrap();
        cluster.reload().unwrap();
        drop(client);
        cluster.stop(&StopPlan::fast()).unwrap();
        cluster.remove().unwrap();
        assert!(!data.exists() && conf.exists());
    }
}

/// Relative paths are taken against the data directory, by the server and by us; those given at a
/// start count while that server runs.
#[test]
fn files_elsewhere_by_settings_and_at_a_start() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let data = cluster.data_directory().to_owned();
        let away = |from: &str, to: &str| {
            fs::rename(data.join(from), data.join(to)).unwrap();
        };
        away("pg_hba.conf", "hba of mine");
        away("pg_ident.conf", "ident");
        cluster
            .settings()
            .update([("hba_file", "hba of mine"), ("ident_file", "ident")])
            .unwrap();
        let as_told = |cluster: &Cluster| {
            let mut client = connect(cluster);
            assert_eq!(ask(&mut client, "SHOW hba_file"), cluster.hba_file());
            assert_eq!(ask(&mut client, "SHOW ident_file"), cluster.ident_file());
        };
        cluster.start(&room.start_options()).unwrap();
        assert_eq!(cluster.hba_file(), data.join("hba of mine"));
        as_told(&cluster);

        cluster.stop(&StopPlan::fast()).unwrap();
        let conf = room.directory("etc").join("other.conf");
        fs::rename(cluster.config_file(), &conf).unwrap();
        away("ident", "another");
        let options = room.start_options().settings([
            ("config_file", conf.as_str()),
            ("ident_file", "another"),
            ("external_pid_file", "second.pid"),
        ]);
        // Its place has to be known before a start.
        let cluster = cluster.with_config_file(&conf).unwrap();
        let pid = cluster.start(&options).unwrap().pid();
        let other = Cluster::new(installation, &data).unwrap();
        for cluster in [&cluster, &other] {
            assert_eq!(cluster.config_file(), conf);
            assert_eq!(cluster.ident_file(), data.join("another"));
            let second = cluster.external_pid_file().unwrap();
            assert_eq!(second, data.join("second.pid"));
            let text = fs::read_to_string(second).unwrap();
            assert_eq!(text.trim(), pid.to_string());
            as_told(cluster);
        }
    }
}

#[test]
fn control_data_of_every_major() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let control = cluster.control_data().unwrap();
        assert_eq!(control.state.as_str(), "shut down");
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        let mut own = |column: &str| {
            ask(
                &mut client,
                &format!("SELECT {column} FROM pg_control_system()"),
            )
        };
        assert_eq!(
            own("system_identifier"),
            control.system_identifier.to_string()
        );
        assert_eq!(
            own("catalog_version_no"),
            control.catalog_version.to_string()
        );
        assert_eq!(
            own("pg_control_version"),
            control.control_version.to_string()
        );
        assert_eq!(
            cluster.control_data().unwrap().state.as_str(),
            "in production"
        );
        if let Some(checksums) = control.data_checksums {
            assert_eq!(
                ask(&mut client, "SHOW data_checksums"),
                if checksums { "on" } else { "off" }
            );
        }
    }
}

/// Lock files of servers that have exited, whose PID an innocent process has now, and lock files
/// without any process. No process is signalled, and the next start succeeds wherever PostgreSQL's
/// own would.
#[test]
fn false_lock_files_signal_no_process() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let data = cluster.data_directory();
    let mut bystander = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let ready = |pid: i64| {
        format!("{pid}\n{data}\n1700000000\n5432\n/tmp\n\n  5432001         1\nready   \n")
    };
    for text in [
        ready(i64::from(bystander.id())),
        ready(1),
        ready(4_000_000),
        ready(i64::from(std::process::id())),
    ] {
        let path = data.join("postmaster.pid");
        fs::write(&path, &text).unwrap();
        give_to_servers(&path);
        assert_eq!(cluster.state().unwrap(), State::Stopped, "{text}");
        assert_eq!(cluster.pid().unwrap(), None);
        assert_eq!(
            cluster.stop(&StopPlan::escalating()).unwrap(),
            Stopped::NotRunning
        );
        assert_eq!(cluster.kill().unwrap(), None);
        let started = cluster.start(&room.start_options()).unwrap();
        assert!(matches!(started, Started::Now(_)));
        cluster.stop(&StopPlan::fast()).unwrap();
    }
    assert!(
        bystander.try_wait().unwrap().is_none(),
        "it was not touched"
    );
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    for text in [
        "",
        "garbage\n",
        "0\n",
        "-1\n",
        "99999999999999999999\n",
        "1\n",
    ] {
        let path = data.join("postmaster.pid");
        fs::write(&path, text).unwrap();
        give_to_servers(&path);
        assert_eq!(cluster.pid().unwrap(), None, "{text:?}");
        assert_eq!(cluster.signal(Signal::Smart).unwrap(), None);
        fs::remove_file(&path).unwrap();
    }
}

/// A single-user process holds the directory: no start, no stop, no removal.
#[test]
fn a_single_user_process_is_respected() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let mut command = std::process::Command::new(cluster.daemon_path().unwrap());
    if let Some(account) = cluster.account() {
        use std::os::unix::process::CommandExt as _;
        command.uid(account.uid()).gid(account.gid());
    }
    let mut single = command
        .args([
            "--single",
            "-D",
            cluster.data_directory().as_str(),
            "postgres",
        ])
        .current_dir("/")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Its prompt.
    let mut byte = [0];
    std::io::Read::read_exact(single.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let state = cluster.state().unwrap();
    assert!(
        matches!(state, State::SingleUser(pid) if pid.to_string() == single.id().to_string()),
        "{state:?}"
    );
    let error = cluster.start(&room.start_options()).unwrap_err();
    assert!(matches!(error.kind(), StartErrorKind::Held(_)), "{error:?}");
    let error = cluster.signal(Signal::Smart).unwrap_err();
    assert!(
        matches!(error.kind(), ControlErrorKind::Held(_)),
        "{error:?}"
    );
    assert!(cluster.remove().is_err() && cluster.is_initialized());
    drop(single.stdin.take());
    std::io::copy(single.stdout.as_mut().unwrap(), &mut std::io::sink()).unwrap();
    single.wait().unwrap();
    assert_eq!(cluster.state().unwrap(), State::Stopped);
}
