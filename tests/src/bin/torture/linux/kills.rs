//! Programs that are killed in the middle of what they do to a cluster.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use pg_cluster::{Cluster, Started, State, StopPlan, Stopped};
use pg_tests::{init_options, names, server_account};

use super::rng::Rng;
use super::scene::{Loss, PATIENCE, Scene, ensure};
use super::victim::{self, moment};

const INITDB: Duration = Duration::from_millis(1200);
const START: Duration = Duration::from_millis(160);

/// There is no cluster or a whole one; and the next attempt succeeds.
pub(crate) fn init(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let data = match rng.below(3) {
        0 => scene.room.join("new"),
        1 => scene.room.join("a/b/new"),
        _ => scene.room.directory("old"),
    };
    let wal = rng.one_in(3).then(|| scene.room.directory("wal"));
    let options = match &wal {
        Some(wal) => init_options().wal_directory(wal),
        None => init_options(),
    };
    let sights = [".pg-cluster-init/PG_VERSION", "base", "PG_VERSION"].map(|name| data.join(name));
    let cluster = Cluster::new(scene.server.clone(), &data)?;
    for _ in 0..1 + rng.below(3) {
        let arguments = ["init", data.as_str()].into_iter();
        let mut killed = scene.victim(arguments.chain(wal.as_deref().map(Utf8Path::as_str)));
        moment(rng, &mut killed, INITDB, &sights);
        killed.kill();
        scene.fault();
        if cluster.is_initialized() {
            break;
        }
        if rng.one_in(2) {
            scene.alone()?;
            scene.no_memory_left()?;
            let left = names(&data);
            let is_marked = left.iter().any(|name| name == ".pg-cluster-init");
            ensure!(
                left.is_empty() || is_marked,
                "half a cluster is left: {left:?}"
            );
        }
    }
    if !cluster.is_initialized() {
        cluster.init(&options)?;
    }
    scene.serves(&cluster)?;
    let hidden = names(&data).into_iter().find(|name| name.starts_with('.'));
    ensure!(hidden.is_none(), "left in the cluster: {hidden:?}");
    cluster.remove()?;
    Ok(())
}

/// The file is the old one or the new one, whole, with mode and owner, and a link to it remains
/// one.
pub(crate) fn settings(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let data = scene.room.directory("data");
    let place = if rng.one_in(2) {
        let elsewhere = scene.room.directory("etc");
        symlink(elsewhere.join("main.conf"), data.join("postgresql.conf"))?;
        elsewhere.join("main.conf")
    } else {
        data.join("postgresql.conf")
    };
    let filling = "#a_line = 'that nobody' # changes\n".repeat(rng.index(4000));
    let rest = format!("{filling}my.end = 'here'\n");
    fs::write(&place, format!("my.v = 0\n{rest}"))?;
    fs::set_permissions(
        &place,
        fs::Permissions::from_mode(rng.pick(&[0o600, 0o640, 0o644])),
    )?;
    if let Some(account) = server_account() {
        std::os::unix::fs::chown(&place, Some(account.uid()), Some(account.gid()))?;
    }
    let marks = || fs::metadata(&place).map(|found| (found.mode(), found.uid(), found.gid()));
    let (before, mut last) = (marks()?, 0);
    for _ in 0..20 {
        let mut writer = scene.victim(["set", data.as_str()]);
        writer.line();
        std::thread::sleep(rng.time_below(Duration::from_millis(20)));
        writer.kill();
        scene.fault();
        let text = fs::read_to_string(&place)?;
        let (first, found) = text.split_once('\n').unwrap_or_default();
        ensure!(found == rest, "the rest of the file has changed");
        let n: u64 = first.trim_start_matches("my.v = ").parse()?;
        ensure!(n >= last, "{n} after {last}");
        last = n;
        ensure!(marks()? == before, "mode or owner: {:?}", marks());
    }
    // What the last one left beside the file is cleared by the next.
    Cluster::new(scene.server.clone(), &data)?
        .settings()
        .set("my.v", last + 1)?;
    for directory in [Some(data.as_path()), place.parent()].into_iter().flatten() {
        ensure!(names(directory).len() == 1, "left: {:?}", names(directory));
    }
    Ok(())
}

/// However the starter of a server ends, the cluster can be started.
pub(crate) fn start(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    scene.start_options();
    let (data, sockets) = (cluster.data_directory(), scene.room.join("s"));
    let sights = [
        data.join("postmaster.pid"),
        sockets.join(".s.PGSQL.5432.lock"),
    ];
    for _ in 0..4 {
        let ownership = rng.pick(&["bound", "bound", "detached"]);
        let mut starter = scene.victim(["start", data.as_str(), sockets.as_str(), ownership]);
        starter.line();
        starter.say("go");
        moment(rng, &mut starter, START, &sights);
        starter.kill();
        scene.fault();
        if ownership == "bound" && rng.one_in(2) {
            scene.alone()?;
            scene.no_memory_left()?;
            scene.serves(&cluster)?;
        } else {
            start_in_the_end(scene, &cluster)?;
        }
        scene.alone()?;
        scene.no_memory_left()?;
    }
    Ok(())
}

/// A server that its owner's end is about to stop may be found running for a moment, or hold the
/// directory.
fn start_in_the_end(scene: &Scene, cluster: &Cluster) -> Result<(), Loss> {
    let until = Instant::now() + PATIENCE;
    loop {
        match cluster.start(&scene.start_options()) {
            Ok(Started::Now(_)) => break,
            Ok(_) => {
                cluster.stop(&StopPlan::fast())?;
            }
            Err(error) if victim::holder(&error).is_some() => {}
            Err(error) => return Err(error.into()),
        }
        ensure!(Instant::now() < until, "it cannot be started");
    }
    let stopped = cluster.stop(&StopPlan::fast())?;
    ensure!(matches!(stopped, Stopped::By { .. }), "it was {stopped:?}");
    Ok(())
}

/// Whoever stops a server may be killed: another one completes it, or finds it done.
pub(crate) fn stop(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    let options = scene.start_options();
    for _ in 0..4 {
        let options = match rng.one_in(2) {
            true => options.clone().ownership(pg_cluster::Ownership::Detached),
            false => options.clone(),
        };
        let started = cluster.start(&options)?;
        ensure!(matches!(started, Started::Now(_)), "{started:?}");
        let mode = rng.pick(&["smart", "fast", "immediate", "kill", "escalating"]);
        let mut stopper = scene.victim(["stop", cluster.data_directory().as_str(), mode]);
        moment(rng, &mut stopper, Duration::from_millis(60), &[]);
        stopper.kill();
        scene.fault();
        cluster.stop(&StopPlan::escalating())?;
        let state = cluster.state()?;
        ensure!(state == State::Stopped, "{mode}: {state:?}");
    }
    scene.serves(&cluster)
}

/// No longer a cluster, or still one; and the second attempt completes what the first began, and
/// touches nothing else.
pub(crate) fn remove(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    for n in 0..5 {
        let data = scene.room.join(&format!("data{n}"));
        let cluster = scene.cluster_in(&data)?;
        let home = scene.room.directory(&format!("home{n}"));
        fs::write(home.join("thesis"), "precious")?;
        symlink(&home, data.join("link"))?;
        let wal = scene.room.join(&format!("wal{n}"));
        if rng.one_in(3) {
            fs::rename(data.join("pg_wal"), &wal)?;
            symlink(&wal, data.join("pg_wal"))?;
        }
        if rng.one_in(3) {
            cluster.start(&scene.start_options())?;
        }
        let mut killed = scene.victim(["remove", data.as_str()]);
        moment(rng, &mut killed, Duration::from_millis(60), &[]);
        killed.kill();
        scene.fault();
        cluster.remove()?;
        ensure!(names(&data).is_empty() && !data.exists(), "{data} is left");
        ensure!(!wal.exists(), "the write-ahead log is left");
        ensure!(
            fs::read_to_string(home.join("thesis"))? == "precious",
            "what a link leads to is gone"
        );
        scene.alone()?;
        scene.no_memory_left()?;
    }
    Ok(())
}
