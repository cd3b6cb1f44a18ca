//! Links that the account of the servers plants for root: no file of root's may be changed, given
//! away or removed.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Account, Cluster, StopPlan};
use pg_tests::{init_options, names, server_account};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Gid, Uid};

use super::rng::Rng;
use super::scene::{Loss, Scene, ensure};

/// Names, modes, owners and contents.
type Look = Vec<(String, u32, u32, Vec<u8>)>;

/// A directory that is nobody's but root's, with a file, or empty as one that could be taken for a
/// new data directory.
struct Private {
    path: Utf8PathBuf,
    was: Look,
}

impl Private {
    fn new(scene: &Scene, is_empty: bool) -> Result<Self, Loss> {
        let path = scene.room.join("private");
        fs::DirBuilder::new().mode(0o750).create(&path)?;
        if !is_empty {
            fs::write(path.join("secret"), "port = 1\n")?;
        }
        let was = Self::look(&path)?;
        Ok(Self { path, was })
    }

    fn look(path: &Utf8Path) -> Result<Look, Loss> {
        let mut found = Vec::new();
        for name in names(path).into_iter().chain([".".to_owned()]) {
            let one = path.join(&name);
            let data = fs::symlink_metadata(&one)?;
            let content = if data.is_file() {
                fs::read(&one)?
            } else {
                Vec::new()
            };
            found.push((name, data.mode(), data.uid(), content));
        }
        found.sort();
        Ok(found)
    }

    #[track_caller]
    fn is_untouched(&self, by: &str) -> Result<(), Loss> {
        let now = Self::look(&self.path)?;
        ensure!(now == self.was, "{by} touched root's directory: {now:?}");
        Ok(())
    }
}

/// An account for servers, of which only root has one.
fn account() -> Result<Account, Loss> {
    server_account().ok_or_else(|| Loss::new("only root has an account for servers"))
}

/// Puts a link to `target` in the place of a file, as that account.
fn plant(account: &Account, target: &Utf8Path, link: &Utf8Path) -> Result<(), Loss> {
    let status = Command::new("ln")
        .args(["-sfn", target.as_str(), link.as_str()])
        .uid(account.uid())
        .gid(account.gid())
        .status()?;
    ensure!(status.success(), "the account cannot plant {link}");
    Ok(())
}

pub(crate) fn links(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let account = account()?;
    let home = scene.room.directory("home");
    let private = Private::new(scene, rng.one_in(2))?;
    let secret = private.path.join("secret");
    scene.fault();
    let data = match rng.below(4) {
        0 => {
            plant(&account, &private.path, &home.join("data"))?;
            home.join("data")
        }
        1 => {
            plant(&account, &private.path, &home.join("middle"))?;
            home.join("middle/data")
        }
        n => {
            let data = home.join("data");
            let cluster = scene.cluster_in(&data)?;
            let name = if n == 2 {
                "server.log"
            } else {
                "postgresql.conf"
            };
            println!("{name} is a link");
            fs::rename(data.join(name), home.join("aside"))
                .or_else(|error| if n == 2 { Ok(()) } else { Err(error) })?;
            plant(&account, &secret, &data.join(name))?;
            let _ = cluster.settings().set("my.v", 1);
            private.is_untouched("settings")?;
            data
        }
    };
    let cluster = Cluster::new(scene.server.clone(), &data)?;
    let made = cluster.init(&init_options());
    println!("init: {made:?}");
    private.is_untouched("init")?;
    let started = cluster.start(&scene.start_options());
    println!("start: {started:?}");
    private.is_untouched("start")?;
    let _ = cluster.stop(&StopPlan::escalating());
    let removed = cluster.remove();
    println!("remove: {removed:?}");
    private.is_untouched("remove")
}

/// A directory on the way and a link to root's change places all the time.
pub(crate) fn swaps(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let account = account()?;
    let home = scene.room.directory("home");
    let private = Private::new(scene, true)?;
    let (way, link) = (home.join("way"), home.join("link"));
    let with_cluster = rng.one_in(2);
    scene.room.directory("home/way");
    if with_cluster {
        scene.cluster_in(&way.join("data"))?;
        // The same names on the other side, so that a late look finds something.
        fs::create_dir(private.path.join("data"))?;
        fs::write(private.path.join("data/postgresql.conf"), "port = 1\n")?;
        fs::write(private.path.join("data/PG_VERSION"), "1\n")?;
    }
    let private = Private {
        was: Private::look(&private.path)?,
        path: private.path,
    };
    let kept = private.path.join("data");
    let kept_was = kept.exists().then(|| Private::look(&kept)).transpose()?;
    plant(&account, &private.path, &link)?;

    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let swapping = scope.spawn(|| swap(&account, &way, &link, &is_over));
        let outcome = (0..8).try_for_each(|_| {
            scene.fault();
            let cluster = Cluster::new(scene.server.clone(), way.join("data"))?;
            if with_cluster {
                let _ = cluster.settings().set("my.v", rng.below(1000));
            } else {
                let _ = cluster.init(&init_options());
                private.is_untouched("init")?;
                let _ = cluster.remove();
            }
            private.is_untouched("a call")?;
            match &kept_was {
                Some(was) if Private::look(&kept)? != *was => {
                    Err(Loss::new("settings changed root's file"))
                }
                _ => Ok(()),
            }
        });
        is_over.store(true, Ordering::Relaxed);
        swapping
            .join()
            .map_err(|_| Loss::new("the swapping thread panicked"))??;
        outcome
    })
}

/// As the account, which credentials of a thread are enough for.
fn swap(
    account: &Account,
    way: &Utf8Path,
    link: &Utf8Path,
    is_over: &AtomicBool,
) -> Result<(), Loss> {
    let (uid, gid) = (Uid::from_raw(account.uid()), Gid::from_raw(account.gid()));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    let (way, link) = (way.as_std_path(), link.as_std_path());
    let mut swapped = false;
    while !is_over.load(Ordering::Relaxed) || swapped {
        renameat_with(CWD, way, CWD, link, RenameFlags::EXCHANGE)?;
        swapped = !swapped;
        thread::yield_now();
    }
    Ok(())
}
