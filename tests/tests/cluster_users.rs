//! Users of the operating system: the owner of a server, and the view of other users. Requires
//! root, which can become any user.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use camino::Utf8Path;
use pg_cluster::{
    Cluster, ControlErrorKind, FileErrorKind, InitErrorKind, Readiness, RemoveErrorKind,
    SettingsErrorKind, Signal, StartErrorKind, StartOptions, State, StopPlan,
};
use pg_tests::{
    Room, ask, child_as, connect, init_options, is_root, role, server, servers, stranger,
};

/// The server runs as the owner of its directory, or as the account that root names.
#[test]
fn a_server_belongs_to_the_owner_of_its_directory() {
    let Some(stranger) = stranger() else { return };
    for installation in servers() {
        let room = Room::new();
        let data = room.directory("data");
        let uid = Some(stranger.uid());
        std::os::unix::fs::chown(&data, uid, Some(stranger.gid())).unwrap();
        let named = Cluster::new(installation.clone(), room.directory("other").join("data"))
            .unwrap()
            .with_account(stranger.clone());
        std::os::unix::fs::chown(room.join("other"), uid, None).unwrap();
        std::os::unix::fs::chown(room.directory("sockets"), uid, None).unwrap();
        for cluster in [Cluster::new(installation.clone(), &data).unwrap(), named] {
            assert_eq!(cluster.account().map(|account| account.uid()), uid);
            cluster.init(&init_options()).unwrap();
            let options = StartOptions::new().socket_only(room.join("sockets"));
            let pid = cluster.start(&options).unwrap().pid();
            assert_eq!(
                fs::metadata(format!("/proc/{pid}")).unwrap().uid(),
                stranger.uid()
            );
            let file = ask(
                &mut connect(&cluster),
                "SELECT pg_relation_filepath('pg_class')",
            );
            let found = fs::metadata(cluster.data_directory().join(file)).unwrap();
            assert_eq!(Some(found.uid()), uid);
            cluster.stop(&StopPlan::fast()).unwrap();
            cluster.remove().unwrap();
        }
    }
}

/// The account of a server does not have root change a file of root's.
#[test]
fn a_link_of_the_server_is_not_followed_to_files_of_others() {
    let Some(stranger) = stranger() else { return };
    let room = Room::new();
    let data = room.directory("data");
    let target = room.join("target");
    fs::write(&target, "work_mem = 4MB\n").unwrap();
    let cluster = Cluster::new(server(), &data)
        .unwrap()
        .with_account(stranger.clone());
    std::os::unix::fs::symlink(&target, cluster.config_file()).unwrap();
    cluster.settings().set("work_mem", "5MB").unwrap();

    let uid = Some(stranger.uid());
    std::os::unix::fs::lchown(cluster.config_file(), uid, None).unwrap();
    let error = cluster.settings().set("work_mem", "6MB").unwrap_err();
    assert!(
        matches!(error.kind(), SettingsErrorKind::File(FileErrorKind::ForeignLink(to))
            if *to == target),
        "{error:?}"
    );
    assert_eq!(fs::read_to_string(&target).unwrap(), "work_mem = 5MB\n");

    // A link of root to a link of the account is refused too.
    let link = room.join("link");
    fs::rename(cluster.config_file(), &link).unwrap();
    std::os::unix::fs::symlink(&link, cluster.config_file()).unwrap();
    cluster.settings().set("work_mem", "6MB").unwrap_err();

    std::os::unix::fs::chown(&target, uid, None).unwrap();
    cluster.settings().set("work_mem", "6MB").unwrap();
}

/// A server's command line names its configuration file, and its account can write there what it
/// likes.
#[test]
fn a_server_does_not_name_files_of_others() {
    let Some(stranger) = stranger() else { return };
    let room = Room::new();
    let data = room.directory("data");
    std::os::unix::fs::chown(&data, Some(stranger.uid()), Some(stranger.gid())).unwrap();
    let cluster = Cluster::new(server(), &data).unwrap();
    cluster.init(&init_options()).unwrap();
    let target = room.join("target");
    fs::write(&target, "work_mem = 4MB\n").unwrap();
    std::os::unix::fs::chown(room.directory("sockets"), Some(stranger.uid()), None).unwrap();
    cluster
        .start(&StartOptions::new().socket_only(room.join("sockets")))
        .unwrap();
    fs::write(
        data.join("postmaster.opts"),
        format!("/usr/bin/postgres \"-c\" \"config_file={target}\"\n"),
    )
    .unwrap();
    let error = cluster.settings().set("work_mem", "6MB").unwrap_err();
    assert!(
        matches!(error.kind(), SettingsErrorKind::File(FileErrorKind::ForeignLink(to))
            if *to == target),
        "{error:?}"
    );
    assert_eq!(fs::read_to_string(&target).unwrap(), "work_mem = 4MB\n");
    cluster.kill().unwrap();
}

/// A user who may read the directory sees only the process ID. A user who may not gets an error.
/// Neither causes any damage.
#[test]
fn a_server_of_another_user_is_not_signalled() {
    const NAME: &str = "a_server_of_another_user_is_not_signalled";
    if let Some(role) = role() {
        assert!(!is_root());
        let (directory, expected) = (role.parent().unwrap(), role.file_name().unwrap());
        let cluster = Cluster::new(server(), directory.join("data")).unwrap();
        match expected {
            "closed" => knows_nothing(&cluster),
            pid => knows_the_process(&cluster, pid),
        }
        return;
    }
    let Some(stranger) = stranger() else { return };
    let room = Room::new();
    let cluster = room.cluster(&server());
    let pid = cluster.start(&room.start_options()).unwrap().pid();
    let look_as_stranger = |role: String| {
        let mut child = child_as(&stranger, &room, NAME, room.join(&role).as_str());
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{role}: {said}");
    };
    look_as_stranger("closed".to_owned());
    let data = cluster.data_directory();
    let open = |mode| fs::set_permissions(data, Permissions::from_mode(mode)).unwrap();
    open(0o755);
    let lock_file = data.join("postmaster.pid");
    fs::set_permissions(lock_file, Permissions::from_mode(0o644)).unwrap();
    look_as_stranger(pid.to_string());
    open(0o700);
    assert_eq!(cluster.state().unwrap(), State::Ready(pid));
    assert_eq!(ask(&mut connect(&cluster), "SELECT 1"), "1");
}

fn knows_nothing(cluster: &Cluster) {
    let denied = |error: &dyn std::error::Error| {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let said = causes.any(|cause| cause.to_string().contains("Permission denied"));
        assert!(said, "{error:?}");
    };
    denied(&cluster.state().unwrap_err());
    denied(&cluster.pid().unwrap_err());
    denied(&cluster.is_running().unwrap_err());
    denied(&cluster.readiness().unwrap_err());
    denied(&cluster.signal(Signal::Smart).unwrap_err());
    denied(&cluster.kill().unwrap_err());
    denied(&cluster.wait_until_stopped(Duration::ZERO).unwrap_err());
    denied(&cluster.wait_until_started(Duration::ZERO).unwrap_err());
    denied(&cluster.reload().unwrap_err());
    denied(&cluster.promote().unwrap_err());
    denied(&cluster.control_data().unwrap_err());
    denied(&cluster.settings().set("work_mem", "1MB").unwrap_err());
    denied(&cluster.start(&StartOptions::new()).unwrap_err());
    denied(&cluster.init(&init_options()).unwrap_err());
    denied(&cluster.remove().unwrap_err());
    assert!(!cluster.is_initialized());
}

fn knows_the_process(cluster: &Cluster, pid: &str) {
    let is_it = |found: pg_cluster::Pid| found.to_string() == pid;
    assert!(matches!(cluster.state().unwrap(), State::Unknown(found) if is_it(found)));
    assert!(cluster.pid().unwrap().is_some_and(is_it));
    assert!(cluster.is_running().unwrap());
    assert_eq!(cluster.readiness().unwrap(), Readiness::NotReady);
    assert_eq!(cluster.uptime().unwrap(), None);
    let stopping = [
        cluster.signal(Signal::Smart).unwrap_err(),
        cluster.signal(Signal::Fast).unwrap_err(),
        cluster.signal(Signal::Immediate).unwrap_err(),
        cluster.kill().unwrap_err(),
        cluster.stop(&StopPlan::escalating()).unwrap_err(),
        cluster.wait_until_stopped(Duration::ZERO).unwrap_err(),
    ];
    for error in stopping {
        assert!(
            matches!(error.kind(), ControlErrorKind::Held(found) if is_it(*found)),
            "{error:?}"
        );
    }
    let starting = [
        cluster.start(&StartOptions::new()).unwrap_err(),
        cluster.wait_until_started(Duration::ZERO).unwrap_err(),
    ];
    for error in starting {
        assert!(
            matches!(error.kind(), StartErrorKind::Held(found) if is_it(*found)),
            "{error:?}"
        );
    }
    let telling = [
        cluster.reload().unwrap_err(),
        cluster.promote().unwrap_err(),
        cluster.rotate_log().unwrap_err(),
    ];
    for error in telling {
        assert!(
            matches!(error.kind(), ControlErrorKind::Held(found) if is_it(*found)),
            "{error:?}"
        );
    }
    let error = cluster.remove().unwrap_err();
    assert!(
        matches!(error.kind(), RemoveErrorKind::Held(found) if is_it(*found)),
        "{error:?}"
    );
    let error = cluster.init(&init_options()).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            InitErrorKind::AlreadyInitialized | InitErrorKind::NotEmpty(_)
        ),
        "{error:?}"
    );
    assert!(Utf8Path::new("/proc").join(pid).exists());
}
