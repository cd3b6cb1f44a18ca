//! File systems that are full, or become so.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Cluster, StopPlan};
use pg_proc::available_space;
use pg_tests::{connect, connect_to, copy, init_options, names, server_account};

use super::rng::Rng;
use super::scene::{Loss, Scene, answers, ensure};

/// A small disk for this case alone, emptied in the end.
struct Disk(Utf8PathBuf);

impl Disk {
    fn of(scene: &Scene) -> Result<Self, Loss> {
        let disk = scene.isolation.disk();
        disk.map(Self)
            .ok_or_else(|| Loss::new("the case has no disk of its own"))
    }

    /// Leaves so many bytes free.
    fn fill_to(&self, free: u64) -> Result<(), Loss> {
        let mut filler = File::create(self.0.join("filler"))?;
        let room = available_space(&self.0)?;
        let mut more = room.saturating_sub(free);
        while more > 0 {
            let part = usize::try_from(more.min(65536))?;
            if filler.write_all(&[1; 65536][..part]).is_err() {
                break;
            }
            more -= part as u64;
        }
        Ok(())
    }

    fn relieve(&self) -> Result<(), Loss> {
        Ok(fs::remove_file(self.0.join("filler"))?)
    }

    fn directory(&self, name: &str) -> Result<Utf8PathBuf, Loss> {
        let path = self.0.join(name);
        fs::create_dir(&path)?;
        if let Some(account) = server_account() {
            std::os::unix::fs::chown(&path, Some(account.uid()), Some(account.gid()))?;
        }
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

/// `init` succeeds or leaves nothing.
pub(crate) fn init(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let disk = Disk::of(scene)?;
    disk.fill_to(rng.below(64 << 20))?;
    let data = disk.0.join("data");
    let cluster = Cluster::new(scene.server.clone(), &data)?;
    scene.fault();
    let made = cluster.init(&init_options());
    ensure!(
        made.is_ok() == cluster.is_initialized(),
        "{made:?}, and it says otherwise"
    );
    if made.is_err() {
        ensure!(!data.exists(), "left: {:?}", names(&data));
        scene.alone()?;
        scene.no_memory_left()?;
        disk.relieve()?;
        cluster.init(&init_options())?;
    } else {
        disk.relieve()?;
    }
    scene.serves(&cluster)
}

/// Settings are changed or remain.
pub(crate) fn settings(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let disk = Disk::of(scene)?;
    let data = disk.directory("data")?;
    let text = "#filling\n".repeat(rng.index(100_000));
    fs::write(data.join("postgresql.conf"), &text)?;
    let cluster = Cluster::new(scene.server.clone(), &data)?;
    for n in 0..10 {
        disk.fill_to(rng.below(3 * text.len() as u64 + 8192))?;
        let before = fs::read(data.join("postgresql.conf"))?;
        scene.fault();
        let written = cluster.settings().set("my.v", n);
        let after = fs::read(data.join("postgresql.conf"))?;
        match written {
            Ok(_) => ensure!(after != before, "it is unchanged"),
            Err(error) => ensure!(after == before, "it has changed, and {error}"),
        }
        ensure!(names(&data).len() == 1, "left: {:?}", names(&data));
        disk.relieve()?;
    }
    cluster.settings().set("my.v", 10)?;
    Ok(())
}

/// A server starts or does not, may fail later, and serves as soon as there is room again.
pub(crate) fn servers(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let disk = Disk::of(scene)?;
    let template = scene.cluster()?;
    let data = disk.0.join("data");
    copy(template.data_directory(), &data);
    let cluster = Cluster::new(scene.server.clone(), &data)?;
    for _ in 0..3 {
        let is_full_before = rng.one_in(2);
        if is_full_before {
            disk.fill_to(rng.below(2 << 20))?;
        }
        let started = cluster.start(&scene.start_options());
        if started.is_ok() {
            if !is_full_before {
                disk.fill_to(rng.below(4 << 20))?;
            }
            // It may fail at anything, with its connections.
            let info = cluster.connection_info()?;
            let info = info.map(|info| info.with_user("postgres").with_database("postgres"));
            let client = info.map(|info| postgres::Client::connect(&info.uri(), postgres::NoTls));
            if let Some(Ok(mut client)) = client {
                let _ = client.batch_execute(
                    "CREATE TABLE t AS SELECT repeat('x', 1000), generate_series(1, 20000);
                     CHECKPOINT",
                );
                let _ = client.batch_execute("DROP TABLE IF EXISTS t; CHECKPOINT");
            }
        } else {
            ensure!(
                cluster.pid()?.is_none(),
                "{started:?}, and a server is left"
            );
        }
        scene.fault();
        cluster.stop(&StopPlan::escalating())?;
        disk.relieve()?;
        scene.serves(&cluster)?;
    }
    let mut client = {
        cluster.start(&scene.start_options())?;
        connect(&cluster)
    };
    client.batch_execute("DROP TABLE IF EXISTS t")?;
    drop(client);
    cluster.stop(&StopPlan::fast())?;
    Ok(())
}

/// A temporary cluster, or the template for it, has no room: an error, and nothing left.
pub(crate) fn temporary(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let disk = Disk::of(scene)?;
    let storage = disk.directory("storage")?;
    let in_cache = rng.one_in(2);
    let cache = if in_cache {
        disk.0.join("cache")
    } else {
        scene.cache()
    };
    let builder = scene.temporary(&cache, &storage);
    for _ in 0..4 {
        let size = if in_cache { 64 << 20 } else { 24 << 20 };
        disk.fill_to(rng.below(size))?;
        scene.fault();
        drop(builder.start());
        scene.alone()?;
        nothing_in(&storage)?;
        disk.relieve()?;
        answers(&mut connect_to(builder.start()?.connection_info()))?;
        nothing_in(&storage)?;
    }
    Ok(())
}

fn nothing_in(directory: &Utf8Path) -> Result<(), Loss> {
    let left = names(directory);
    ensure!(left.is_empty(), "left in {directory}: {left:?}");
    Ok(())
}
