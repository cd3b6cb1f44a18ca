//! What this program does when it was started to be killed, and the moments at which that is done.

use std::fmt::Display;
use std::io::{BufRead as _, Read as _};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{
    Cluster, ConnectionInfo, Ownership, Signal, StartError, StartErrorKind, StartOptions, Started,
    StopPlan,
};
use pg_tests::{Victim, init_options, server};

use super::rng::Rng;

type Failed = Box<dyn std::error::Error>;

/// `victim WHAT DATA [MORE]`.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failed> {
    let (&[what, data], more) = arguments.split_at(2) else {
        return Err("victim WHAT DATA".into());
    };
    let cluster = Cluster::new(server(), data)?;
    match (what, more) {
        ("init", []) => cluster.init(&init_options())?,
        ("init", [wal]) => cluster.init(&init_options().wal_directory(*wal))?,
        ("set", []) => set_without_end(&cluster)?,
        ("count", [name]) => count(&cluster, name)?,
        ("start", [sockets, ownership]) => start(&cluster, sockets, ownership)?,
        ("stop", [mode]) => stop(&cluster, mode)?,
        ("remove", []) => cluster.remove()?,
        ("reload", []) => reload_without_end(&cluster),
        ("standby", [sockets]) => {
            let address = ConnectionInfo::socket(*sockets, 5432).with_user("postgres");
            cluster.init_standby_of(&address, &super::replicas::backup())?;
        }
        ("rewind", [sockets]) => super::replicas::rewind(&cluster, sockets)?,
        ("stop-as-named", []) => stop_as_named(&cluster)?,
        ("live", [sockets, ownership]) => {
            let ownership = self::ownership(ownership);
            super::worlds::life(&cluster, sockets, ownership).map_err(|loss| loss.to_string())?;
        }
        _ => return Err("unknown victim".into()),
    }
    say("done");
    Ok(())
}

/// Counts one setting up, for ever.
fn set_without_end(cluster: &Cluster) -> Result<(), Failed> {
    let settings = cluster.settings();
    let mut n: u64 = settings.get("my.v")?.ok_or("my.v")?.parse()?;
    say("ready");
    loop {
        n += 1;
        settings.set("my.v", n)?;
    }
}

/// Counts one setting up that others count up as well, adds another one each time, and says so when
/// it is done.
fn count(cluster: &Cluster, name: &str) -> Result<(), Failed> {
    say("ready");
    for n in 0..1000 {
        cluster.settings().edit(|session| {
            let sum = session.get("my.v").map(|sum| sum.to_str_lossy().parse());
            let sum: u64 = sum.and_then(Result::ok).unwrap_or_default();
            session.set("my.v", sum + 1)?;
            session.set(format!("my.{name}_{n}"), n).map(|_| ())
        })?;
        say(n);
    }
    Ok(())
}

/// Starts the server when told to, says what came of it, and waits.
fn start(cluster: &Cluster, sockets: &str, ownership: &str) -> Result<(), Failed> {
    let options = StartOptions::new()
        .socket_only(sockets)
        .settings([("fsync", "off"), ("shared_buffers", "1MB")])
        .ownership(self::ownership(ownership));
    say("ready");
    std::io::stdin().lock().read_line(&mut String::new())?;
    match cluster.start(&options) {
        Ok(Started::AlreadyRunning(pid)) => say(format!("already {pid}")),
        Ok(started) => say(format!("now {}", started.pid())),
        Err(error) => match holder(&error) {
            Some(pid) => say(format!("held {pid}")),
            None => {
                say(format!("error {error:?}"));
                return Err(error.into());
            }
        },
    }
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The process that was faster, if that is why there was no start.
pub(crate) fn holder(error: &StartError) -> Option<pg_cluster::Pid> {
    match error.kind() {
        StartErrorKind::Held(pid) => Some(*pid),
        _ => None,
    }
}

fn ownership(name: &str) -> Ownership {
    match name {
        "detached" => Ownership::Detached,
        _ => Ownership::default(),
    }
}

/// Has the server reload whenever there is one.
fn reload_without_end(cluster: &Cluster) {
    say("ready");
    loop {
        let _ = cluster.reload();
    }
}

/// Stops what is named by a lock file that names this process.
fn stop_as_named(cluster: &Cluster) -> Result<(), Failed> {
    let file = cluster.data_directory().join("postmaster.pid");
    let text = std::fs::read_to_string(&file)?;
    let (_, rest) = text.split_once('\n').unwrap_or_default();
    std::fs::write(&file, format!("{}\n{rest}", std::process::id()))?;
    cluster.stop(&StopPlan::escalating())?;
    Ok(())
}

fn stop(cluster: &Cluster, mode: &str) -> Result<(), Failed> {
    let step = |mode| StopPlan::new(mode, Duration::from_secs(30));
    let escalation = match mode {
        "smart" => step(Signal::Smart),
        "fast" => step(Signal::Fast),
        "immediate" => step(Signal::Immediate),
        "kill" => step(Signal::Kill),
        _ => StopPlan::escalating(),
    };
    cluster.stop(&escalation)?;
    Ok(())
}

fn say(line: impl Display) {
    use std::io::Write as _;
    let mut output = std::io::stdout();
    if writeln!(output, "{line}")
        .and_then(|()| output.flush())
        .is_err()
    {
        // Nobody waits for us any more.
        std::process::exit(1);
    }
}

/// Waits for a moment at which to strike: any time below `whole`, or a little after one of these
/// paths has appeared.
pub(crate) fn moment(rng: &mut Rng, victim: &mut Victim, whole: Duration, sights: &[Utf8PathBuf]) {
    let begun = Instant::now();
    if sights.is_empty() || rng.one_in(2) {
        // More often early than late: the first steps are the shortest.
        let whole = if rng.one_in(3) { whole / 8 } else { whole };
        std::thread::sleep(rng.time_below(whole));
        return;
    }
    let (sight, after) = (rng.pick(sights), rng.time_below(Duration::from_millis(3)));
    while !appeared(&sight) && !victim.has_ended() && begun.elapsed() < 4 * whole {
        // The directories to watch are not there yet either.
        std::thread::sleep(Duration::from_micros(50));
    }
    std::thread::sleep(after);
}

fn appeared(path: &Utf8Path) -> bool {
    path.symlink_metadata().is_ok()
}
