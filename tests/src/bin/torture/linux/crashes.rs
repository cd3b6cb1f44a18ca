//! Servers, and what stands around them, that are killed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pg_cluster::{Cluster, Pid, Signal, StartWait, Started, StopPlan};
use pg_tests::connect;

use super::identity::children;
use super::keeper::Handle;
use super::rng::Rng;
use super::scene::{Loss, PATIENCE, Scene, ensure};
use super::victim::moment;

/// A killed server can be started at once, and has what it had committed.
pub(crate) fn servers(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    let options = scene.start_options();
    cluster.start(&options)?;
    connect(&cluster).batch_execute("CREATE TABLE t (n bigint)")?;
    cluster.stop(&StopPlan::fast())?;
    let mut committed = 0;
    for _ in 0..4 {
        let wait = rng.pick(&[StartWait::Ready, StartWait::Ready, StartWait::Spawned]);
        let Started::Now(pid) = cluster.start(&options.clone().wait(wait))? else {
            return Err(Loss::new("somebody else has started it"));
        };
        let [postmaster, warden] = [Some(pid), parent(pid)].map(open);
        let writer = (wait == StartWait::Ready)
            .then(|| Writer::start(&cluster))
            .transpose()?;
        std::thread::sleep(rng.time_below(Duration::from_millis(120)));
        let is_shut_down = rng.one_in(3);
        if is_shut_down {
            cluster.signal(Signal::Fast)?;
            std::thread::sleep(rng.time_below(Duration::from_millis(10)));
        }
        let is_struck = match rng.below(4) {
            0 => warden.as_ref(),
            1 => None,
            _ => postmaster.as_ref(),
        };
        scene.fault();
        match is_struck {
            Some(struck) => struck.kill(),
            None => kill_a_child(rng, pid),
        }
        // Without a child the server goes on, unless it was on its way out.
        if is_struck.is_some() || is_shut_down {
            let ended = postmaster.is_none_or(|server| server.wait_for_end(PATIENCE));
            ensure!(ended, "the server outlives it");
        }
        let restarted = cluster.start(&options)?;
        if let Some(writer) = writer {
            committed += writer.finish()?;
        }
        let count = count_in_the_end(&cluster)?;
        ensure!(
            committed <= count,
            "{committed} were committed, {count} are there"
        );
        committed = count;
        let mode = rng.pick(&[Signal::Fast, Signal::Immediate, Signal::Kill]);
        cluster.stop(&StopPlan::new(mode, PATIENCE))?;
        ensure!(cluster.pid()?.is_none(), "{restarted:?} is still there");
    }
    scene.serves(&cluster)
}

fn open(pid: Option<Pid>) -> Option<Handle> {
    Handle::open(u32::try_from(pid?.as_raw()).ok()?)
}

/// SIGKILL for one of the server's processes. The server ends the others then, and goes on.
fn kill_a_child(rng: &mut Rng, server: Pid) {
    let Ok(all) = children(server) else { return };
    let child = (!all.is_empty())
        .then(|| rng.pick(&all).parse().ok())
        .flatten();
    if let Some((child, handle)) = child.and_then(|child| Some((child, open(Some(child))?))) {
        if parent(child) == Some(server) {
            handle.kill();
        }
    }
}

fn parent(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = status.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

/// A server whose child was killed says that it is ready, and refuses connections until it has
/// recovered.
fn connect_in_the_end(cluster: &Cluster) -> Result<postgres::Client, Loss> {
    let until = Instant::now() + PATIENCE;
    loop {
        let info = cluster
            .connection_info()?
            .ok_or_else(|| Loss::new("there is no server"))?;
        let info = info.with_user("postgres").with_database("postgres");
        match postgres::Client::connect(&info.uri(), postgres::NoTls) {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > until => return Err(error.into()),
            // The server says to nobody when it is over.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// How many rows there are, asked again as long as the server puts its clients out: that may come
/// after it has let one in.
fn count_in_the_end(cluster: &Cluster) -> Result<u64, Loss> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = connect_in_the_end(cluster)?;
        match client.query_one("SELECT count(*) FROM t", &[]) {
            Ok(row) => return Ok(u64::try_from(row.get::<_, i64>(0))?),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => {}
        }
    }
}

/// A client that inserts rows, and counts what was acknowledged, until it is told to end or its
/// server fails.
struct Writer {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Writer {
    fn start(cluster: &Cluster) -> Result<Self, Loss> {
        let mut client = connect_in_the_end(cluster)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut committed = 0;
            while !seen.load(Ordering::Relaxed)
                && client.batch_execute("INSERT INTO t VALUES (1)").is_ok()
            {
                committed += 1;
            }
            committed
        });
        Ok(Self { is_over, thread })
    }

    fn finish(self) -> Result<u64, Loss> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| Loss::new("the client panicked"))
    }
}

/// A program with a server and a guard is killed at any moment: nothing of it lives on, and what it
/// had begun to guard is gone.
pub(crate) fn owners(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    for n in 0..4 {
        let root = scene.room.directory(&format!("root{n}"));
        let cluster = scene.cluster_in(&root.join("data"))?;
        fs::write(root.join("marker"), "")?;
        let program = cluster
            .daemon_path()
            .map(ToString::to_string)
            .unwrap_or_default();
        let data = cluster.data_directory().to_owned();
        let how = rng.pick(&["wait", "throw-away", "abort", "exit"]);
        let mut owner = scene.sibling(
            "proc-owner",
            [
                how,
                root.as_str(),
                &program,
                "-D",
                data.as_str(),
                "-k",
                root.as_str(),
                "-h",
                "",
                "-F",
                "-c",
                "shared_buffers=1MB",
            ],
        )?;
        moment(
            rng,
            &mut owner,
            Duration::from_millis(160),
            &[data.join("postmaster.pid")],
        );
        let said = owner.kill();
        scene.fault();
        scene.alone()?;
        scene.no_memory_left()?;
        ensure!(said.is_empty() || !root.exists(), "{root} is left");
        // What nobody guarded yet is whole.
        if root.exists() {
            scene.serves(&cluster)?;
            fs::remove_dir_all(&root)?;
        }
    }
    Ok(())
}

/// A start that is given no time gives up, and leaves no server.
pub(crate) fn impatience(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    for _ in 0..6 {
        let patience = rng.time_below(Duration::from_millis(60));
        let begun = Instant::now();
        match cluster.start(&scene.start_options().timeout(patience)) {
            Ok(_) => {
                cluster.stop(&StopPlan::fast())?;
            }
            Err(error) => {
                ensure!(error.is_timeout(), "{error:?} after {:?}", begun.elapsed());
            }
        }
        scene.fault();
        let left = cluster.pid()?;
        ensure!(left.is_none(), "{left:?} is left");
    }
    scene.serves(&cluster)
}
