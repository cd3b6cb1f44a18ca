//! Files that are not what they should be: no panic, no hang, and nothing outside of the directory
//! is touched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Cluster, Ownership, StopPlan};
use pg_tests::{OPERATIONS, Room, init_options, is_root, names};

use super::rng::Rng;
use super::scene::{Loss, Scene, ensure};

/// What is read, written or executed in a data directory by name.
const FILES: [&str; 13] = [
    "postmaster.pid",
    "postmaster.opts",
    "PG_VERSION",
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "global/pg_control",
    "server.log",
    "promote",
    "logrotate",
    "pg_tblspc",
    "pg_wal",
    ".postgresql.conf.pg-cluster-new",
];
/// Longer than any file of these has reason to be.
const HUGE: usize = 4 << 20;
/// No operation on files takes this long, unless it waits for what never comes.
const OPERATION: Duration = Duration::from_secs(90);

/// A cluster in which something is not what it should be.
pub(crate) fn files(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    let outside = Outside::new(&scene.room)?;
    let before = outside.look()?;
    let saved = scene.room.directory("saved");
    let mut damaged = Vec::new();
    for n in 0..1 + rng.below(3) {
        let name = rng.pick(&FILES);
        let path = cluster.data_directory().join(name);
        let aside = saved.join(n.to_string());
        let was_there = path.symlink_metadata().is_ok();
        if was_there {
            fs::rename(&path, &aside)?;
        }
        let damage = damage(rng, name, was_there.then_some(&*aside), &path, &outside)?;
        println!("{name} is {damage}");
        damaged.push((path, was_there.then_some(aside)));
        scene.fault();
    }
    let mut all = OPERATIONS;
    rng.shuffle(&mut all);
    for (name, operation) in all {
        println!("{name}");
        let begun = Instant::now();
        operation(&cluster);
        ensure!(
            begun.elapsed() < OPERATION,
            "{name} took {:?}",
            begun.elapsed()
        );
    }
    let ownership = match rng.one_in(3) {
        true => Ownership::Detached,
        false => Ownership::default(),
    };
    println!("start");
    let options = scene.start_options().timeout(Duration::from_secs(4));
    let started = cluster.start(&options.ownership(ownership));
    println!("{started:?}");
    if started.is_ok() {
        let _ = cluster.rotate_log();
        let _ = cluster.promote();
        let _ = cluster.reload();
        let _ = cluster.connection_info();
    }
    let stopped = cluster.stop(&StopPlan::escalating());
    if rng.one_in(3) {
        println!("remove");
        let removed = cluster.remove();
        println!("{stopped:?}, {removed:?}");
    } else {
        // What cannot be stopped, or was started over damaged files, need not serve once they are
        // whole.
        for (path, aside) in damaged.into_iter().rev() {
            remove(&path)?;
            if let Some(aside) = aside {
                fs::rename(aside, path)?;
            }
        }
        cluster.stop(&StopPlan::escalating())?;
        if started.is_err() {
            scene.serves(&cluster)?;
        }
    }
    outside.is_untouched(&before)
}

/// Where `init` is to work there is something that looks like its own leftovers.
pub(crate) fn leftovers(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let outside = Outside::new(&scene.room)?;
    let before = outside.look()?;
    for n in 0..6 {
        let data = scene.room.directory(&format!("data{n}"));
        let stage = data.join(".pg-cluster-init");
        let damage = damage(rng, ".pg-cluster-init", None, &stage, &outside)?;
        let foreign = rng.one_in(2);
        if foreign {
            fs::write(data.join("thesis"), "precious")?;
        }
        if rng.one_in(2) {
            symlink(&outside.0, data.join("pg_link"))?;
        }
        scene.fault();
        let cluster = Cluster::new(scene.server.clone(), &data)?;
        let made = cluster.init(&init_options());
        println!("{damage}: {made:?}");
        ensure!(
            made.is_ok() == cluster.is_initialized(),
            "{made:?}, and it says otherwise"
        );
        if foreign {
            ensure!(made.is_err(), "made beside what is somebody else's");
            ensure!(
                fs::read_to_string(data.join("thesis"))? == "precious",
                "what was somebody else's is gone"
            );
        }
        outside.is_untouched(&before)?;
    }
    Ok(())
}

/// Puts something at `path`, and says what.
fn damage(
    rng: &mut Rng,
    name: &str,
    original: Option<&Utf8Path>,
    path: &Utf8Path,
    outside: &Outside,
) -> Result<&'static str, Loss> {
    // A change to the configuration follows a link, which is what links are for; and what belongs
    // to the server's account, the server may write to.
    let is_followed = name == "postgresql.conf" || (name == "server.log" && !is_root());
    Ok(match rng.below(14) {
        0 => "absent",
        1 => {
            fs::create_dir(path)?;
            "a directory"
        }
        2 => {
            pg_tests::put_fifo(path);
            "a FIFO"
        }
        3 => {
            drop(UnixListener::bind(path)?);
            "a socket"
        }
        4 => {
            symlink("nowhere", path)?;
            "a link to nothing"
        }
        5 => {
            symlink(path.file_name().unwrap_or_default(), path)?;
            "a link to itself"
        }
        6 if !is_followed => {
            symlink(outside.0.join("precious"), path)?;
            "a link to a file outside"
        }
        7 if !is_followed => {
            symlink(&outside.0, path)?;
            "a link to a directory outside"
        }
        8 => {
            symlink("/dev/null", path)?;
            "a link to /dev/null"
        }
        9 => {
            fs::write(path, "x")?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o000))?;
            "closed to everybody"
        }
        10 => {
            let line = rng.pick(&["x", "\0", "1\n", "a = 'b'\n", "-", "'"]);
            fs::write(path, line.repeat(HUGE / line.len()))?;
            "huge"
        }
        _ => {
            if let Some(original) = original.filter(|original| original.is_file()) {
                fs::copy(original, path)?;
            }
            corrupt(rng, path)?
        }
    })
}

/// Spoils a file's content, and says how.
pub(crate) fn corrupt(rng: &mut Rng, path: &Utf8Path) -> Result<&'static str, Loss> {
    let mut content = fs::read(path).unwrap_or_default();
    let how = match rng.below(6) {
        0 => {
            content.truncate(rng.index(content.len() + 1));
            "cut off"
        }
        1 => {
            let length = rng.index(2000);
            content = rng.bytes(length);
            "random bytes"
        }
        2 => {
            content.clear();
            "empty"
        }
        3 => {
            let word = rng.pick(&ADVERSARIES);
            let at = rng.index(content.len() + 1);
            content.splice(at..at, word.bytes());
            "spoiled by a phrase"
        }
        4 => {
            content = rng.pick(&ADVERSARIES).as_bytes().to_vec();
            "another's"
        }
        _ => {
            for _ in 0..1 + rng.below(20) {
                let at = rng.index(content.len());
                if let Some(byte) = content.get_mut(at) {
                    *byte = u8::try_from(rng.below(256))?;
                }
            }
            "changed in some bytes"
        }
    };
    fs::write(path, content)?;
    Ok(how)
}

const ADVERSARIES: [&str; 18] = [
    "\ninclude 'postgresql.conf'\n",
    "\ninclude_dir '/'\n",
    "\ninclude_dir '.'\n",
    "\ninclude '../outside/pipe'\n",
    "\ninclude_if_exists '/proc/self/mem'\n",
    "\ndata_directory = '../outside'\n",
    "\nhba_file = '../outside/pipe'\n",
    "\nport = 99999999999999999999\n",
    "\nport = 'x\\'\n",
    "-1\n",
    "0\n",
    "-2147483648\n/\n0\n0\n/\n*\n0 0\nready   \n",
    "1\n/\n-9223372036854775808\n65536\n\n\n18446744073709551615 18446744073709551615\nready   \n",
    "99999999999999999999999999\n",
    "/bin/sh \"-c\" \"exit\" \"-D\" \"\n",
    "\u{feff}18\n",
    "4294967296.1\n",
    "\0\0\0\0",
];

fn remove(path: &Utf8Path) -> Result<(), Loss> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path)?,
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    Ok(())
}

/// A directory beside the cluster that is nobody's business.
struct Outside(Utf8PathBuf);

type Look = BTreeMap<String, (u32, u32, u32, Option<SystemTime>, Vec<u8>)>;

impl Outside {
    fn new(room: &Room) -> Result<Self, Loss> {
        let path = room.join("outside");
        fs::create_dir(&path)?;
        fs::write(path.join("precious"), "precious\n")?;
        fs::write(path.join("PG_VERSION"), "10\n")?;
        pg_tests::put_fifo(&path.join("pipe"));
        Ok(Self(path))
    }

    fn look(&self) -> Result<Look, Loss> {
        let mut look = Look::new();
        for name in names(&self.0).into_iter().chain([".".to_owned()]) {
            let path = self.0.join(&name);
            let found = fs::symlink_metadata(&path)?;
            let content = match found.is_file() {
                true => fs::read(&path)?,
                false => Vec::new(),
            };
            let marks = (
                found.mode(),
                found.uid(),
                found.gid(),
                found.modified().ok(),
                content,
            );
            look.insert(name, marks);
        }
        Ok(look)
    }

    fn is_untouched(&self, before: &Look) -> Result<(), Loss> {
        let now = self.look()?;
        ensure!(
            now == *before,
            "outside of the directory: {now:?} instead of {before:?}"
        );
        Ok(())
    }
}
