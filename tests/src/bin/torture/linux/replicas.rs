//! Primaries, standbys and their processes that are killed, and networks that are cut: what was
//! acknowledged is not lost, and nothing is left.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pg_cluster::{
    BaseBackupOptions, Cluster, ConnectionInfo, Durability, InitErrorKind, Program, RewindOptions,
};
use pg_fixture::{Replica, ReplicaErrorKind, ReplicaSet};
use pg_tests::{ask, connect, names};
use postgres::{Client, NoTls};
use rustix::process::{Pid, Signal, kill_process};

use super::rng::Rng;
use super::scene::{Loss, PATIENCE, Scene, answers, ensure};
use super::victim::moment;

const BACKUP: Duration = Duration::from_millis(1500);
const REWIND: Duration = Duration::from_millis(600);

/// Writes rows to whatever is the primary, and knows which of them were acknowledged.
#[derive(Default)]
struct Writer {
    address: Mutex<String>,
    acknowledged: Mutex<BTreeSet<i32>>,
    is_over: AtomicBool,
}

impl Writer {
    fn move_to(&self, primary: &Replica) {
        *held(&self.address) = primary.uri();
    }

    fn write(&self) {
        let mut n = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let address = held(&self.address).clone();
            let Ok(mut client) = Client::connect(&address, NoTls) else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let insert = "INSERT INTO rows VALUES ($1) ON CONFLICT DO NOTHING";
            while !self.is_over.load(Ordering::Relaxed) && client.execute(insert, &[&n]).is_ok() {
                held(&self.acknowledged).insert(n);
                n += 1;
            }
        }
    }

    /// Waits until some more rows are acknowledged.
    fn goes_on(&self) -> Result<(), Loss> {
        let (begun, before) = (Instant::now(), held(&self.acknowledged).len());
        while held(&self.acknowledged).len() < before + 5 {
            ensure!(begun.elapsed() < PATIENCE, "nothing more is acknowledged");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client writes while everything around it dies.
pub(crate) fn failovers(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let (cache, storage) = (scene.cache(), scene.room.directory("storage"));
    let builder = scene.temporary(&cache, &storage).standbys(2).synchronous(1);
    let set = builder.start()?;
    let table = "CREATE TABLE rows (n int PRIMARY KEY)";
    Client::connect(&set.primary().uri(), NoTls)?.batch_execute(table)?;
    let writer = Writer::default();
    writer.move_to(set.primary());
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write());
        let outcome = (0..5).try_for_each(|_| {
            writer.goes_on()?;
            scene.fault();
            strike(rng, scene, &set, &writer)
        });
        let outcome = outcome.and_then(|()| writer.goes_on());
        // A commit that waits for a standby would be waited for.
        writer.is_over.store(true, Ordering::Relaxed);
        if outcome.is_err() {
            for member in set.members() {
                let _ = member.cluster().kill();
            }
        }
        outcome
    })?;
    let mut client = Client::connect(&set.primary().uri(), NoTls)?;
    let rows = client.query("SELECT n FROM rows", &[])?;
    let found: BTreeSet<i32> = rows.iter().map(|row| row.get(0)).collect();
    let lost: Vec<i32> = held(&writer.acknowledged)
        .difference(&found)
        .copied()
        .collect();
    ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    drop(client);
    drop(set);
    let left = names(&storage);
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn strike(rng: &mut Rng, scene: &Scene, set: &ReplicaSet, writer: &Writer) -> Result<(), Loss> {
    let running = |member: &&Replica| member.cluster().is_running().unwrap_or(false);
    let standbys: Vec<&Replica> = set.standbys().filter(running).collect();
    let standby = rng.pick(&standbys);
    match rng.below(5) {
        0 => {
            standby.cluster().kill()?;
            std::thread::sleep(rng.time_below(Duration::from_millis(50)));
            standby.start()?;
        }
        1 => kill_as_said(standby, "SELECT pid FROM pg_stat_wal_receiver")?,
        2 => kill_as_said(set.primary(), "SELECT pid FROM pg_stat_replication")?,
        3 => {
            standby.disconnect();
            std::thread::sleep(rng.time_below(Duration::from_millis(100)));
            standby.reconnect();
        }
        _ if standbys.len() > 1 => fail_over(scene, set, writer, &standbys)?,
        _ => {}
    }
    Ok(())
}

/// The server that loses a child process like this starts all of them again.
fn kill_as_said(member: &Replica, sql: &str) -> Result<(), Loss> {
    let Ok(mut client) = Client::connect(&member.uri(), NoTls) else {
        return Ok(());
    };
    let rows = client.query(sql, &[])?;
    let pid = rows.first().and_then(|row| Pid::from_raw(row.get(0)));
    if let Some(pid) = pid {
        // It may have ended since.
        let _ = kill_process(pid, Signal::KILL);
    }
    Ok(())
}

fn fail_over(
    scene: &Scene,
    set: &ReplicaSet,
    writer: &Writer,
    standbys: &[&Replica],
) -> Result<(), Loss> {
    let old = set.primary();
    old.cluster().kill()?;
    // Of the two, one has all that was acknowledged. A server that starts again answers soon.
    let mut best = None;
    for standby in standbys {
        let begun = Instant::now();
        let position = loop {
            match standby.lsn() {
                Ok(position) => break position,
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        best = best.max(Some((position, standby.name())));
    }
    let best = standbys
        .iter()
        .find(|s| Some(s.name()) == best.map(|(_, name)| name));
    let Some(best) = best else { return Ok(()) };
    set.promote(best)?;
    writer.move_to(best);
    if scene.server.program(Program::PgRewind).is_some() {
        set.rejoin(old)?;
    }
    Ok(())
}

/// A killed `pg_basebackup` leaves nothing, and keeps no other one from its work.
pub(crate) fn backups(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let primary = scene.cluster()?;
    primary.start(&scene.start_options())?;
    let sockets = scene.room.join("s");
    let address = ConnectionInfo::socket(&sockets, 5432).with_user("postgres");
    let data = scene.room.join("standby");
    let standby = Cluster::new(scene.server.clone(), &data)?;
    let options = backup();
    if scene.server.program(Program::PgBasebackup).is_none() {
        let refused = standby.init_standby_of(&address, &options);
        let is_named = refused
            .as_ref()
            .is_err_and(|error| matches!(error.kind(), InitErrorKind::MissingProgram(_)));
        ensure!(is_named && !data.exists(), "{refused:?}");
        return Ok(());
    }
    let stage = data.join(Cluster::INIT_DIRECTORY);
    let sights = [stage.clone(), stage.join("files/PG_VERSION")];
    let options_of_standby = scene
        .start_options()
        .socket_only(scene.room.directory("standby's"));
    for _ in 0..2 {
        let mut victim = scene.victim(["standby", data.as_str(), sockets.as_str()]);
        moment(rng, &mut victim, BACKUP, &sights);
        victim.kill();
        scene.fault();
        // It waits for the guard of the killed one.
        match standby.init_standby_of(&address, &options) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), InitErrorKind::AlreadyInitialized) => {}
            Err(error) => return Err(error.into()),
        }
        ensure!(!stage.exists(), "{stage} is left");
        standby.start(&options_of_standby)?;
        answers(&mut connect(&standby))?;
        standby.kill()?;
        standby.remove()?;
    }
    Ok(())
}

/// The options of base backups here.
pub(crate) fn backup() -> BaseBackupOptions {
    BaseBackupOptions::new().durability(Durability::NotSynced)
}

/// A rewind that was killed is repeated.
pub(crate) fn rewinds(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let (cache, storage) = (scene.cache(), scene.room.directory("storage"));
    let set = scene.temporary(&cache, &storage).standbys(1).start()?;
    let [old, new] = set.members() else {
        return Err(Loss::new("two members"));
    };
    let mut client = Client::connect(&old.uri(), NoTls)?;
    client.batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i")?;
    new.wait_for(old.lsn()?, PATIENCE)?;
    new.disconnect();
    client.batch_execute("UPDATE t SET i = -i")?;
    set.promote(new)?;
    Client::connect(&new.uri(), NoTls)?.batch_execute("UPDATE t SET i = i + 1")?;
    old.cluster().kill()?;
    let data = old.cluster().data_directory().as_str();
    let mut victim = scene.victim(["rewind", data, new.socket_directory().as_str()]);
    moment(rng, &mut victim, REWIND, &[]);
    victim.kill();
    scene.fault();
    let rejoined = set.rejoin(old);
    match (&rejoined, scene.server.program(Program::PgRewind)) {
        (Ok(()), Some(_)) => {
            old.wait_for(new.lsn()?, PATIENCE)?;
            let sum = "SELECT sum(i) FROM t";
            let sums = [old, new].map(|member| {
                Client::connect(&member.uri(), NoTls).map(|mut client| ask(&mut client, sum))
            });
            let [Ok(mine), Ok(theirs)] = sums else {
                return Err(Loss::new("both answer"));
            };
            ensure!(mine == theirs, "{mine} and {theirs}");
        }
        // Half a rewind may be beyond help, and then says so.
        (Err(error), _) => ensure!(
            matches!(error.kind(), ReplicaErrorKind::Replication(_)),
            "{error:?}"
        ),
        (Ok(()), None) => return Err(Loss::new("rewound without a program")),
    }
    drop(client);
    drop(set);
    let left = names(&storage);
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// What the killed program of [`rewinds`] does.
pub(crate) fn rewind(cluster: &Cluster, sockets: &str) -> Result<(), pg_cluster::ReplicationError> {
    let address = ConnectionInfo::socket(sockets, 5432).with_user("postgres");
    cluster.rewind_to(&address, &RewindOptions::new())
}
