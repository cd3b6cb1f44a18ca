//! The life of a cluster from `initdb` to its removal, on every server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use pg_cluster::{Cluster, Escalation, Readiness, Started, State, Stopped};
use pg_tests::{Room, ask, connect, init_options, rows, servers};

#[test]
fn from_nothing_to_nothing() {
    for installation in servers() {
        let room = Room::new();
        let cluster = Cluster::new(installation.clone(), room.join("data")).unwrap();
        assert_eq!(cluster.state().unwrap(), State::Void, "{installation:?}");
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

        let stopped = cluster.stop_and_wait(&Escalation::fast()).unwrap();
        assert!(matches!(stopped, Stopped::By { pid, .. } if pid == started.pid()));
        assert_eq!(cluster.state().unwrap(), State::Stopped);
        assert_eq!(cluster.stop().unwrap(), None);
        cluster.wait_until_stopped(Duration::ZERO).unwrap();

        cluster.remove().unwrap();
        assert!(!cluster.data_directory().exists());
        cluster.remove().unwrap();
    }
}
