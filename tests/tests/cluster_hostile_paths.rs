//! An account that changes a directory while root works below it: whatever it does there, nothing
//! outside is touched. Takes root, and an account that is not root's.
//!
//! The account owns `home`, and exchanges `home/mid` with its own link to a directory that only
//! root can enter, in the middle of a path that was passed to root. A thread calls `rename`: for
//! the kernel it makes no difference which process does, if it may write the directory.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::conf::hba::Document;
use pg_cluster::conf::ident;
use pg_cluster::{Account, Cluster, Installation, Program};
use pg_tests::{Room, init_options, random, rounds, server, stranger};
use rustix::fs::{CWD, RenameFlags};

/// `initdb` in a moment: what is tested is what happens around it.
const INITDB: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        -D) data=$2; shift ;;
        -D*) data=${1#-D} ;;
        --pgdata=*) data=${1#*=} ;;
    esac
    shift
done
cd "$data" && mkdir base global pg_wal && echo content > global/pg_control &&
    echo > postgresql.conf && echo 18 > PG_VERSION
"#;

/// The files of the account, and its target.
struct Stage {
    room: Room,
    account: Account,
    installation: Installation,
}

impl Stage {
    fn new(account: Account) -> Self {
        let room = Room::new();
        let bin = room.join("bin");
        fs::create_dir(&bin).unwrap();
        let real = server();
        let postgres = real.require(Program::Postgres).unwrap();
        symlink(postgres, bin.join("postgres")).unwrap();
        fs::write(bin.join("initdb"), INITDB).unwrap();
        fs::set_permissions(bin.join("initdb"), Permissions::from_mode(0o755)).unwrap();
        let installation = Installation::from_bin_directory(&bin).unwrap();
        let stage = Self {
            room,
            account,
            installation,
        };
        for name in ["home", "home/mid"] {
            fs::create_dir(stage.room.join(name)).unwrap();
            stage.give(name);
        }
        fs::create_dir(stage.room.join("private")).unwrap();
        let closed = Permissions::from_mode(0o700);
        fs::set_permissions(stage.room.join("private"), closed).unwrap();
        stage.link("home/link", "private");
        stage
    }

    fn give(&self, name: &str) {
        let (uid, gid) = (self.account.uid(), self.account.gid());
        chown(self.room.join(name), Some(uid), Some(gid)).unwrap();
    }

    /// A link of the account's.
    fn link(&self, name: &str, to: &str) {
        let link = self.room.join(name);
        symlink(self.room.join(to), &link).unwrap();
        lchown(&link, Some(self.account.uid()), Some(self.account.gid())).unwrap();
    }

    fn cluster(&self) -> Cluster {
        Cluster::new(self.installation.clone(), self.room.join("home/mid/data"))
            .unwrap()
            .with_account(self.account.clone())
    }

    /// Does something while two names are exchanged, and then once more in peace: that must
    /// succeed. Returns whether it did so in the attack.
    fn attacked<E: std::fmt::Debug>(
        &self,
        names: [&str; 2],
        operation: impl Fn() -> Result<(), E>,
    ) -> bool {
        let before = contents(&self.room.join("private"));
        let [one, other] = names.map(|name| self.room.join(name));
        let (one, other) = (one.as_std_path(), other.as_std_path());
        let exchange =
            || rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
        let is_over = AtomicBool::new(false);
        let succeeded = std::thread::scope(|scope| {
            scope.spawn(|| {
                let swaps = random(60);
                for _ in 0..swaps {
                    exchange();
                    pause();
                    exchange();
                    pause();
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            let succeeded = operation().is_ok();
            is_over.store(true, Ordering::Relaxed);
            succeeded
        });
        assert_eq!(contents(&self.room.join("private")), before);
        succeeded
    }
}

/// From zero to some hundred microseconds, which no test relies on: the pause varies the moment at
/// which the other thread's work is hit.
fn pause() {
    std::thread::sleep(Duration::from_micros(random(300)));
}

/// Everything that can be seen of a tree.
fn contents(directory: &Utf8Path) -> Vec<(Utf8PathBuf, [i64; 6], Option<Vec<u8>>)> {
    let mut seen = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let numbers = [
            found.ino().try_into().unwrap(),
            found.mode().into(),
            found.uid().into(),
            found.gid().into(),
            found.ctime(),
            found.ctime_nsec(),
        ];
        let mut content = None;
        if found.is_dir() {
            left.extend(
                path.read_dir_utf8()
                    .unwrap()
                    .map(|entry| entry.unwrap().into_path()),
            );
        } else if found.is_file() {
            content = Some(fs::read(&path).unwrap());
        }
        seen.push((path, numbers, content));
    }
    seen.sort();
    seen
}

/// An empty directory of root's, or none at all, where the link leads.
#[test]
fn init_neither_makes_nor_gives_away_files_of_root() {
    let Some(account) = stranger() else { return };
    let stage = Stage::new(account);
    let bait = stage.room.join("private/data");
    for round in 0..rounds("PG_TESTS_ATTACKS", 100) {
        if round % 2 == 1 && !bait.exists() {
            fs::create_dir(&bait).unwrap();
        } else if round % 2 == 0 && bait.exists() {
            fs::remove_dir(&bait).unwrap();
        }
        stage.attacked(["home/mid", "home/link"], || {
            stage.cluster().init(&init_options())
        });
        let data = stage.room.join("home/mid/data");
        if data.exists() {
            fs::remove_dir_all(data).unwrap();
        }
        stage.cluster().init(&init_options()).unwrap();
        fs::remove_dir_all(stage.room.join("home/mid/data")).unwrap();
    }
}

/// A link in the place of the data directory itself, which never changes.
#[test]
fn init_does_not_follow_a_link_of_the_account() {
    let Some(account) = stranger() else { return };
    let stage = Stage::new(account);
    fs::create_dir(stage.room.join("private/data")).unwrap();
    stage.link("home/mid/data", "private/data");
    let before = contents(&stage.room.join("private"));
    let error = stage.cluster().init(&init_options()).unwrap_err();
    let mut causes = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(&error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let link = stage.room.join("home/mid/data");
    assert!(causes.last().unwrap().contains(link.as_str()), "{causes:?}");
    stage.cluster().remove().unwrap_err();
    assert_eq!(contents(&stage.room.join("private")), before);

    // The link may lead to a directory of the account, and a link of root may lead to any
    // directory.
    fs::create_dir(stage.room.join("home/own")).unwrap();
    stage.give("home/own");
    fs::remove_file(&link).unwrap();
    stage.link("home/mid/data", "home/own");
    stage.cluster().init(&init_options()).unwrap();
    assert!(stage.room.join("home/own/PG_VERSION").exists());
    stage.cluster().remove().unwrap();
    assert!(!stage.room.join("home/own").exists() && !link.is_symlink());
}

/// Another data directory, which is root's, where the link leads.
#[test]
fn remove_removes_nothing_elsewhere() {
    let Some(account) = stranger() else { return };
    let stage = Stage::new(account);
    let cluster_in = |place: &str| {
        for name in ["", "/base", "/global", "/pg_wal"] {
            fs::create_dir(stage.room.join(&format!("{place}/data{name}"))).unwrap();
        }
        fs::write(stage.room.join(&format!("{place}/data/PG_VERSION")), "18\n").unwrap();
        fs::write(stage.room.join(&format!("{place}/data/base/file")), "data").unwrap();
    };
    cluster_in("private");
    let mut hits = 0;
    for _ in 0..rounds("PG_TESTS_ATTACKS", 100) {
        if !stage.room.join("home/mid/data/PG_VERSION").exists() {
            let _ = fs::remove_dir_all(stage.room.join("home/mid/data"));
            cluster_in("home/mid");
            stage.give("home/mid/data");
        }
        hits += u32::from(stage.attacked(["home/mid", "home/link"], || stage.cluster().remove()));
        stage.cluster().remove().unwrap();
        assert!(!stage.room.join("home/mid/data").exists());
    }
    assert!(hits > 0, "no removal succeeded under attack");
}

/// A configuration file that only root may read, where the link leads; and the same in the place of
/// the file itself.
#[test]
fn settings_neither_read_nor_replace_files_of_root() {
    let Some(account) = stranger() else { return };
    let stage = Stage::new(account);
    for place in ["private", "home/mid"] {
        fs::create_dir(stage.room.join(&format!("{place}/data"))).unwrap();
        let file = stage.room.join(&format!("{place}/data/postgresql.conf"));
        fs::write(&file, format!("# {place}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
    stage.give("home/mid/data");
    stage.give("home/mid/data/postgresql.conf");
    stage.link("home/mid/data/link", "private/data/postgresql.conf");
    let file = stage.room.join("home/mid/data/postgresql.conf");
    let mut hits = 0;
    for round in 0..rounds("PG_TESTS_ATTACKS", 200) {
        let names = match round % 2 {
            0 => ["home/mid", "home/link"],
            _ => ["home/mid/data/postgresql.conf", "home/mid/data/link"],
        };
        let set = || {
            let cluster = stage.cluster();
            cluster
                .settings()
                .set("work_mem", format!("{round}MB"))
                .map(|_| ())
        };
        hits += u32::from(stage.attacked(names, set));
        // Replaced while the link was there: the link went, and the file has its name.
        let link = stage.room.join("home/mid/data/link");
        if !link.is_symlink() {
            let _ = fs::remove_file(&link);
            stage.link("home/mid/data/link", "private/data/postgresql.conf");
        }
        set().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# home/mid\n"), "{text}");
        let found = fs::metadata(&file).unwrap();
        assert_eq!(found.uid(), stage.account.uid());
        assert_eq!(found.mode() & 0o777, 0o600);
    }
    assert!(hits > 0, "no change succeeded under attack");
}

/// The same for the access files, which are replaced in the same way.
#[test]
fn access_rules_neither_read_nor_replace_files_of_root() {
    let Some(account) = stranger() else { return };
    let stage = Stage::new(account);
    for place in ["private", "home/mid"] {
        fs::create_dir(stage.room.join(&format!("{place}/data"))).unwrap();
        for name in ["pg_hba.conf", "pg_ident.conf"] {
            let file = stage.room.join(&format!("{place}/data/{name}"));
            fs::write(&file, format!("# {place}\n")).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        }
    }
    stage.give("home/mid/data");
    let mut hits = 0;
    for name in ["pg_hba.conf", "pg_ident.conf"] {
        let file = stage.room.join(&format!("home/mid/data/{name}"));
        let (link, target) = (
            format!("home/mid/data/link_{name}"),
            format!("private/data/{name}"),
        );
        stage.give(&format!("home/mid/data/{name}"));
        stage.link(&link, &target);
        for round in 0..rounds("PG_TESTS_ATTACKS", 200) / 2 {
            let path = format!("home/mid/data/{name}");
            let names = match round % 2 {
                0 => ["home/mid", "home/link"],
                _ => [path.as_str(), link.as_str()],
            };
            let text = format!("# home/mid\n# {round}\n");
            let edit = || {
                let cluster = stage.cluster();
                match name {
                    "pg_hba.conf" => cluster.hba().edit(|document| {
                        let text = format!("{text}local all all trust\n");
                        *document = Document::parse(text);
                        Ok(())
                    }),
                    _ => cluster.ident().edit(|document| {
                        *document = ident::Document::parse(text.as_str());
                        Ok(())
                    }),
                }
                .map(|_| ())
            };
            hits += u32::from(stage.attacked(names, edit));
            let link_path = stage.room.join(&link);
            if !link_path.is_symlink() {
                let _ = fs::remove_file(&link_path);
                stage.link(&link, &target);
            }
            edit().unwrap();
            assert!(fs::read_to_string(&file).unwrap().starts_with(&text));
            let found = fs::metadata(&file).unwrap();
            assert_eq!(found.uid(), stage.account.uid());
            assert_eq!(found.mode() & 0o777, 0o600);
        }
    }
    assert!(hits > 0, "no change succeeded under attack");
}
