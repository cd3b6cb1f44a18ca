//! Settings under attack: killed writers, many writers, full and closed directories.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs::{self, Metadata};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::thread;
use std::time::Duration;

use pg_cluster::{Cluster, FileErrorKind, SettingsErrorKind, Validation};
use pg_tests::{
    Mount, Room, can_mount, child, give_to_servers, is_root, random, role, rounds, server,
};

/// A configuration file of ordinary size in a directory of the server's account; no server looks at
/// it.
fn cluster_with_file(room: &Room) -> Cluster {
    let data = room.directory("data");
    let filling: String = (0..800)
        .map(|n| format!("#filling_{n} = 'some text' # and more\n"))
        .collect();
    let text = format!("my.v = 0\n{filling}my.end = 'here'\n");
    let path = data.join("postgresql.conf");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    give_to_servers(&path);
    Cluster::new(server(), data).unwrap()
}

fn marks(found: &Metadata) -> (u32, u32, u32) {
    (found.mode(), found.uid(), found.gid())
}

/// A writer is killed at any moment, again and again: the file is the old one or the new one,
/// whole, with mode and owner.
#[test]
fn a_killed_writer_leaves_the_old_file_or_the_new_one() {
    const NAME: &str = "a_killed_writer_leaves_the_old_file_or_the_new_one";
    if let Some(directory) = role() {
        let cluster = Cluster::new(server(), directory).unwrap();
        let mut n: u64 = cluster
            .settings()
            .get("my.v")
            .unwrap()
            .unwrap()
            .parse()
            .unwrap();
        println!("\nready");
        loop {
            n += 1;
            cluster.settings().set("my.v", n).unwrap();
        }
    }
    let room = Room::new();
    let cluster = cluster_with_file(&room);
    let path = cluster.config_file();
    let original = fs::read_to_string(&path).unwrap();
    let (_, rest) = original.split_once('\n').unwrap();
    let before = marks(&fs::metadata(&path).unwrap());
    let mut last = 0;
    for _ in 0..rounds("PG_TESTS_SETTINGS_KILLS", 60) {
        let mut writer = child(NAME, cluster.data_directory().as_str())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(writer.stdout.take().unwrap()).lines();
        assert!(output.any(|line| line.unwrap() == "ready"));
        thread::sleep(Duration::from_micros(random(20_000)));
        writer.kill().unwrap();
        writer.wait().unwrap();

        let text = fs::read_to_string(&path).unwrap();
        let (first, found) = text.split_once('\n').unwrap();
        assert_eq!(found, rest);
        let n: u64 = first.strip_prefix("my.v = ").unwrap().parse().unwrap();
        assert!(n >= last, "{n} after {last}");
        last = n;
        assert_eq!(marks(&fs::metadata(&path).unwrap()), before);
    }
    assert!(last > 0, "something was written");
    // The next writer removes the file that the killed one left.
    cluster.settings().set("my.v", last + 1).unwrap();
    assert_eq!(fs::read_dir(cluster.data_directory()).unwrap().count(), 1);
}

/// Many processes, each with its own settings and one that all of them increment: no update is
/// lost.
#[test]
fn no_update_is_lost() {
    const NAME: &str = "no_update_is_lost";
    let updates = rounds("PG_TESTS_UPDATES", 40);
    if let Some(role) = role() {
        let cluster = Cluster::new(server(), role.parent().unwrap()).unwrap();
        let name = role.file_name().unwrap();
        for n in 0..updates {
            let edited = cluster.settings().edit(|session| {
                let sum = session.get("my.v").unwrap();
                let sum: u32 = sum.to_str_lossy().parse().unwrap();
                session.set("my.v", sum + 1)?;
                session.set(format!("my.{name}_{n}"), n).map(|_| ())
            });
            edited.unwrap();
        }
        return;
    }
    let room = Room::new();
    let cluster = cluster_with_file(&room);
    let writers: Vec<_> = (0..8)
        .map(|n| {
            child(
                NAME,
                cluster.data_directory().join(format!("w{n}")).as_str(),
            )
            .spawn()
            .unwrap()
        })
        .collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let document = cluster.settings().document().unwrap();
    assert_eq!(
        document.get("my.v").unwrap().value_lossy(),
        (8 * updates).to_string()
    );
    for writer in 0..8 {
        for n in 0..updates {
            let found = document
                .get(format!("my.w{writer}_{n}"))
                .expect("an update of this writer");
            assert_eq!(found.value_lossy(), n.to_string());
        }
    }
}

/// Asserts that nothing can be written, and that nothing was.
fn unchanged(cluster: &Cluster) {
    let before = fs::read(cluster.config_file()).unwrap();
    let error = cluster
        .settings()
        .set("my.v", "1".repeat(100_000))
        .unwrap_err();
    assert!(
        matches!(
            error.kind(),
            SettingsErrorKind::File(FileErrorKind::Write(_))
        ),
        "{error:?}"
    );
    assert_eq!(
        error.kind().to_string(),
        "the new content cannot be written"
    );
    assert_eq!(fs::read(cluster.config_file()).unwrap(), before);
    let beside = cluster
        .config_file()
        .with_file_name(".postgresql.conf.pg-cluster-new");
    assert!(!beside.exists());
}

/// Root is not limited by modes, so it gets a full and a read-only file system. Other users get a
/// closed directory.
#[test]
fn a_file_that_cannot_be_replaced_remains() {
    let room = Room::new();
    let cluster = cluster_with_file(&room);
    if !is_root() {
        let directory = cluster.data_directory();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o500)).unwrap();
        unchanged(&cluster);
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(cluster.settings().set("my.v", 1).unwrap().changed);
    }
    if !can_mount() {
        return;
    }
    let mount = Mount::tmpfs(&room.directory("full"), "256k");
    fs::copy(cluster.config_file(), mount.path().join("postgresql.conf")).unwrap();
    let filler = mount.fill();
    let on_full = Cluster::new(server(), mount.path()).unwrap();
    unchanged(&on_full);
    fs::remove_file(&filler).unwrap();
    mount.remount("ro");
    unchanged(&on_full);
    mount.remount("rw");
    assert!(on_full.settings().set("my.v", 1).unwrap().changed);
}

/// Two that validate at the same time, and one whose change is refused: the file stays as the last
/// accepted one made it.
#[test]
fn a_refused_change_keeps_the_file() {
    let room = Room::new();
    let cluster = cluster_with_file(&room);
    let validated = cluster.settings().validated(Validation::Server);
    validated.set("work_mem", "5MB").unwrap();
    let before = fs::read(cluster.config_file()).unwrap();
    thread::scope(|scope| {
        for value in ["lots", "-1x"] {
            scope.spawn(move || assert!(validated.set("work_mem", value).is_err()));
        }
    });
    assert_eq!(fs::read(cluster.config_file()).unwrap(), before);
    assert_eq!(fs::read_dir(cluster.data_directory()).unwrap().count(), 1);
}
