//! Faults of the machine, the container or the account, and their diagnoses.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Account, Cluster, InitErrorKind, StartErrorKind, StopPlan};
use pg_tests::{
    Room, assert_says, can_mount, child, init_options, refused, report, role, server,
    server_account, servers,
};

/// Without a time zone database, in a separate mount namespace, which only root can make.
#[test]
fn a_missing_time_zone_database_is_named() {
    const NAME: &str = "a_missing_time_zone_database_is_named";
    if let Some(role) = role() {
        let room = Room::new();
        for installation in servers() {
            let cluster = Cluster::new(installation, room.join("data")).unwrap();
            cluster.init(&init_options()).unwrap();
            let conf = cluster.config_file();
            let text = fs::read_to_string(&conf).unwrap();
            fs::write(&conf, text + "timezone = 'Europe/Vienna'\n").unwrap();
            let hidden = BoundFile::at(&role, Utf8Path::new("/usr/share/zoneinfo"));
            // Some servers bring a database of their own.
            match cluster.start(&room.start_options()) {
                Ok(_) => drop(cluster.stop(&StopPlan::fast()).unwrap()),
                Err(error) => assert_says(&report(&error), &["Europe/Vienna", "`tzdata`"]),
            }
            drop(hidden);
            cluster.remove().unwrap();
        }
        return;
    }
    if !can_mount() {
        return;
    }
    let room = Room::new();
    let empty = room.directory("empty");
    let ours = child(NAME, empty.as_str());
    let status = Command::new("unshare")
        .args(["--mount", "--propagation=private"])
        .arg(ours.get_program())
        .args(ours.get_args())
        .env("PG_TESTS_ROLE", &empty)
        .status();
    assert!(status.unwrap().success());
}

/// The limit of the System V segments, in a separate IPC namespace, which only root can make.
#[test]
fn a_limit_of_shared_memory_is_not_a_full_disk() {
    const NAME: &str = "a_limit_of_shared_memory_is_not_a_full_disk";
    if role().is_some() {
        for installation in servers() {
            let room = Room::new();
            let cluster = room.cluster(&installation);
            fs::write("/proc/sys/kernel/shmmni", "0").unwrap();
            let error = refused(&cluster, &room.start_options());
            assert!(
                matches!(error.kind(), StartErrorKind::SharedMemory(_)),
                "{error:?}"
            );
            assert_says(
                &report(&error),
                &[
                    "No space left on device",
                    "shmget",
                    "shmmni",
                    "does *not* mean",
                ],
            );
            // The process that initdb starts fails for the same reason, which is not its last word.
            let second = Cluster::new(installation, room.join("second")).unwrap();
            let text = report(&second.init(&init_options()).unwrap_err());
            assert_says(
                &text,
                &["could not create shared memory segment", "shmget", "SHMMNI"],
            );
            assert!(!text.contains("not removed"), "{text}");
            fs::write("/proc/sys/kernel/shmmni", "4096").unwrap();
        }
        return;
    }
    if !can_mount() {
        return;
    }
    let ours = child(NAME, "limited");
    let status = Command::new("unshare")
        .arg("--ipc")
        .arg(ours.get_program())
        .args(ours.get_args())
        .env("PG_TESTS_ROLE", "limited")
        .status();
    assert!(status.unwrap().success());
}

/// Under root an include that the server's account cannot read is not in effect.
#[test]
fn a_file_that_the_account_cannot_read_is_not_in_effect() {
    let Some(account) = server_account() else {
        return;
    };
    let room = Room::new();
    let cluster = room.cluster(&server());
    let secret = room.join("secret.conf");
    fs::write(&secret, "work_mem = '7MB'\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let conf = cluster.config_file();
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, format!("{text}\ninclude '{secret}'\n")).unwrap();
    let history = cluster.settings().explain("work_mem").unwrap();
    assert_says(history.problem().expect("a problem"), &[secret.as_str()]);
    assert!(matches!(
        refused(&cluster, &room.start_options()).kind(),
        StartErrorKind::Configuration(_)
    ));
    std::os::unix::fs::chown(&secret, Some(account.uid()), None).unwrap();
    let history = cluster.settings().explain("work_mem").unwrap();
    assert_eq!(history.winner().unwrap().value, "7MB");
    cluster.start(&room.start_options()).unwrap();
}

/// A file that a container runtime mounts cannot be replaced.
#[test]
fn a_configuration_file_that_is_a_mount_point_is_named() {
    if !can_mount() {
        return;
    }
    let room = Room::new();
    let cluster = room.cluster(&server());
    let conf = cluster.config_file();
    let _mounted = BoundFile::over(&conf, &room.join("mounted.conf"));
    let error = cluster.settings().set("work_mem", "7MB").unwrap_err();
    assert_says(
        &report(&error),
        &["is a mount point", "mount its directory"],
    );
}

/// A file mounted over another one.
struct BoundFile(Utf8PathBuf);

impl BoundFile {
    fn over(file: &Utf8Path, copy: &Utf8Path) -> Self {
        pg_tests::copy(file, copy);
        Self::at(copy, file)
    }

    fn at(copy: &Utf8Path, file: &Utf8Path) -> Self {
        let mount = Command::new("mount")
            .args(["--bind", copy.as_str(), file.as_str()])
            .status();
        assert!(mount.unwrap().success(), "root can mount");
        Self(file.to_owned())
    }
}

impl Drop for BoundFile {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["-l", self.0.as_str()])
            .status();
    }
}

/// Without capabilities, and with one user in a namespace: the case is reported, and nothing is
/// left.
#[test]
fn a_root_without_capabilities_is_reported() {
    const NAME: &str = "a_root_without_capabilities_is_reported";
    if let Some(role) = role() {
        let (kind, path) = role.as_str().split_once(':').unwrap();
        let cluster = Cluster::new(server(), path).unwrap();
        let error = cluster.init(&init_options()).unwrap_err();
        assert!(
            matches!(error.kind(), InitErrorKind::Account(_)),
            "{error:?}"
        );
        let text = report(&error);
        match kind {
            "none" => assert_says(&text, &["CAP_CHOWN, CAP_SETGID, CAP_SETUID", "--cap-add"]),
            "setuid" => assert_says(&text, &["without CAP_CHOWN, CAP_SETGID", "--cap-add"]),
            "fake" => assert_says(&text, &["only appears to be root", "without fakeroot"]),
            _ => assert_says(&text, &["user namespace", "--map-current-user"]),
        }
        assert!(!cluster.data_directory().exists());
        return;
    }
    if !can_mount() {
        return;
    }
    let room = Room::new();
    let setpriv = |capabilities: &str| {
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set={capabilities}"));
        command.arg(format!("--inh-caps={capabilities}"));
        command
    };
    let mut namespace = Command::new("unshare");
    namespace.args(["--user", "--map-root-user"]);
    // The library that makes a user seem to be root, where it is installed.
    let mut fake = Command::new("setpriv");
    fake.args([
        "--reuid=nobody",
        "--regid=65534",
        "--clear-groups",
        "fakeroot",
    ]);
    let has_fakeroot = Utf8Path::new("/usr/bin/fakeroot").exists();
    let fake = has_fakeroot.then_some(("fake", fake));
    for (kind, mut command) in [
        ("none", setpriv("-all")),
        ("setuid", setpriv("-all,+setuid")),
        ("namespace", namespace),
    ]
    .into_iter()
    .chain(fake)
    {
        let path = format!("{kind}:{}", room.join(kind).join("data"));
        let ours = child(NAME, &path);
        let copy = room.join("test");
        fs::copy(ours.get_program(), &copy).unwrap();
        let status = command
            .arg(&copy)
            .args(ours.get_args())
            .env("PG_TESTS_ROLE", &path)
            .status();
        assert!(status.unwrap().success(), "{kind}");
        assert!(!room.join(kind).exists(), "{kind}");
    }
}

/// A user ID without a name, as containers have it.
#[test]
fn a_user_without_a_passwd_entry_gets_a_hint() {
    const NAME: &str = "a_user_without_a_passwd_entry_gets_a_hint";
    if let Some(path) = role() {
        let cluster = Cluster::new(server(), path.join("data")).unwrap();
        let text = report(&cluster.init(&init_options()).unwrap_err());
        assert_says(
            &text,
            &[
                "could not look up effective user ID",
                "nss_wrapper",
                "/etc/passwd",
            ],
        );
        assert!(!cluster.data_directory().exists());
        return;
    }
    if !can_mount() {
        return;
    }
    let unnamed = Account::by_id(54_321).unwrap();
    let room = Room::new();
    let home = room.join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(unnamed.uid()), Some(unnamed.gid())).unwrap();
    let mut command = pg_tests::child_as(&unnamed, &room, NAME, home.as_str());
    assert!(command.status().unwrap().success());
}
