//! The life of a cluster from `initdb` to its removal, on every server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use pg_cluster::{
    Cluster, InitErrorKind, Installation, Program, Readiness, Signal, StartOptions, Started, State,
    StopPlan, Stopped,
};
use pg_tests::{
    Room, ask, child, connect, init_options, role, rows, server, server_account, servers,
};

#[test]
fn a_cluster_is_made_used_and_removed() {
    for installation in servers() {
        let room = Room::new();
        let cluster = Cluster::new(installation.clone(), room.join("data")).unwrap();
        assert_eq!(cluster.state().unwrap(), State::Absent, "{installation:?}");
        assert!(!cluster.is_initialized());

        cluster.init(&init_options()).unwrap();
        assert!(cluster.is_initialized());
        assert_eq!(
            cluster.major_version().unwrap(),
            installation.major_version()
        );
        assert_eq!(cluster.state().unwrap(), State::Stopped);
        assert_eq!(cluster.readiness().unwrap(), Readiness::NoServer);

        let written = cluster.settings().set("work_mem", "7MB").unwrap();
        assert!(written.changed && written.shadowed.is_empty());

        let started = cluster.start(&room.start_options()).unwrap();
        assert_eq!(cluster.pid().unwrap(), Some(started.pid()));
        assert_eq!(cluster.state().unwrap(), State::Ready(started.pid()));
        assert_eq!(cluster.readiness().unwrap(), Readiness::Ready);
        let mut client = connect(&cluster);
        assert_eq!(ask(&mut client, "SHOW work_mem"), "7MB");

        let again = cluster.start(&room.start_options()).unwrap();
        assert_eq!(again, Started::AlreadyRunning(started.pid()));

        cluster.settings().set("work_mem", "9MB").unwrap();
        cluster.reload().unwrap();
        let outcome = cluster
            .reload_and_verify(|sql| rows(&mut client, sql))
            .unwrap();
        assert!(
            outcome.problems.is_empty() && outcome.pending_restart.is_empty(),
            "{outcome:?}"
        );
        assert_eq!(ask(&mut client, "SHOW work_mem"), "9MB");

        let stopped = cluster.stop(&StopPlan::fast()).unwrap();
        assert!(matches!(stopped, Stopped::By { pid, .. } if pid == started.pid()));
        assert_eq!(cluster.state().unwrap(), State::Stopped);
        assert_eq!(cluster.signal(Signal::Smart).unwrap(), None);
        cluster.wait_until_stopped(Duration::ZERO).unwrap();

        cluster.remove().unwrap();
        assert!(!cluster.data_directory().exists());
        cluster.remove().unwrap();
    }
}

#[test]
fn the_parts_of_a_cluster_are_reported() {
    let installation = server();
    let cluster = Cluster::new(installation.clone(), "some/data").unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(*cluster.data_directory(), here.join("some/data"));
    assert_eq!(cluster.installation().bindir(), installation.bindir());
    assert_eq!(
        cluster.daemon_path(),
        installation.program(Program::Postgres)
    );
    assert_eq!(cluster.account(), server_account().as_ref());
    let cluster = cluster.with_config_file("etc/my.conf").unwrap();
    assert_eq!(*cluster.config_file(), here.join("etc/my.conf"));
}

/// An incomplete installation is reported before anything is changed.
#[test]
fn programs_that_are_missing_are_named() {
    let room = Room::new();
    let real = server();
    let bin = room.directory("bin");
    let only = |program: Program, name: &str| {
        let _ = std::fs::remove_dir_all(&bin);
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(real.require(program).unwrap(), bin.join(name)).unwrap();
        Installation::from_bin_directory(&bin).unwrap()
    };
    let without_initdb = only(Program::Postgres, "postgres");
    let cluster = Cluster::new(without_initdb, room.join("data")).unwrap();
    let error = cluster.init(&init_options()).unwrap_err();
    assert!(
        matches!(error.kind(), InitErrorKind::MissingProgram(missing)
            if missing.to_string().contains("initdb")),
        "{error:?}"
    );
    assert!(!cluster.data_directory().exists());
}

/// Variables by which PostgreSQL's programs would be led astray, and a locale that is not there.
#[test]
fn the_callers_environment_makes_no_difference() {
    const NAME: &str = "the_callers_environment_makes_no_difference";
    const OPTION: (&str, &str) = ("OF_THE_SERVER", "it's $(mine)");
    if let Some(room) = role() {
        let cluster = Cluster::new(server(), room.join("data")).unwrap();
        cluster.init(&init_options()).unwrap();
        let options = StartOptions::new().socket_only(room.join("s"));
        cluster.start(&options.env(OPTION.0, OPTION.1)).unwrap();
        let mut client = connect(&cluster);
        let mut told = |sql: &str| ask(&mut client, sql);
        assert_eq!(told("SHOW data_directory"), room.join("data"));
        assert_eq!(told("SHOW port"), "5432");
        assert_eq!(told("SHOW lc_messages"), "C");
        assert_eq!(told("SHOW work_mem"), "4MB");
        assert_eq!(
            told("SELECT rolname FROM pg_roles WHERE oid = 10"),
            "postgres"
        );
        told(
            "CREATE TEMP TABLE e (v text); \
             COPY e FROM PROGRAM 'echo $OF_THE_SERVER$PGDATA'; SELECT 1",
        );
        assert_eq!(told("SELECT v FROM e"), OPTION.1);
        return;
    }
    let room = Room::new();
    room.directory("s");
    let mut child = child(NAME, room.path().as_str());
    for (name, value) in [
        ("PGDATA", "/nowhere"),
        ("PGPORT", "1"),
        ("PGHOST", "nowhere.invalid"),
        ("PGUSER", "nobody"),
        ("PGOPTIONS", "-c work_mem=1MB"),
        ("LC_ALL", "no_SUCH.locale"),
        ("LANG", "no_SUCH.locale"),
    ] {
        child.env(name, value);
    }
    assert!(child.status().unwrap().success());
}
