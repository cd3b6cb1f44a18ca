//! A whole life of a cluster in worlds that are rough: root of a container, no `/proc`, and a
//! server whose program has another name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use camino::Utf8Path;
use pg_cluster::{Cluster, Installation, Ownership, StartWait, Started, State, StopPlan};
use pg_tests::Victim;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::keeper::Handle;
use super::rng::Rng;
use super::scene::{Loss, PATIENCE, Scene, answers, ensure};

/// In every way that a caller has, by values that know nothing of each other.
pub(crate) fn life(cluster: &Cluster, sockets: &str, ownership: Ownership) -> Result<(), Loss> {
    let again = || Cluster::new(cluster.installation().clone(), cluster.data_directory());
    let options = pg_cluster::StartOptions::new()
        .socket_only(sockets)
        .settings([("fsync", "off"), ("shared_buffers", "1MB")])
        .ownership(ownership)
        .timeout(PATIENCE);
    let started = cluster.start(&options)?;
    ensure!(matches!(started, Started::Now(_)), "{started:?}");
    let pid = started.pid();
    let state = again()?.state()?;
    ensure!(state == State::Ready(pid), "{state:?}, not {pid}");
    ensure!(again()?.connection_info()?.is_some(), "no address of {pid}");
    let reloaded = again()?.reload()?;
    ensure!(reloaded == pid, "{reloaded} was reloaded, not {pid}");
    answers(&mut pg_tests::connect(&again()?))?;
    let second = again()?.start(&options)?;
    ensure!(
        matches!(second, Started::AlreadyRunning(p) if p == pid),
        "{second:?}"
    );
    // What is bound is bound to this object.
    let restarter = again()?;
    restarter.restart(&StopPlan::fast(), &options)?;
    let handle = cluster.pid()?;
    ensure!(
        handle.is_some_and(|new| new != pid),
        "{handle:?} after {pid}"
    );
    again()?.stop(&StopPlan::fast())?;
    let state = again()?.state()?;
    ensure!(state == State::Stopped, "{state:?} after it was stopped");
    cluster.start(&options)?;
    again()?.remove()?;
    ensure!(
        !cluster.data_directory().exists(),
        "{} is there",
        cluster.data_directory()
    );
    Ok(())
}

fn ownership(rng: &mut Rng) -> Ownership {
    match rng.one_in(2) {
        true => Ownership::Detached,
        false => Ownership::default(),
    }
}

/// Root with the rights that Docker leaves it: it may look into no process of another account.
pub(crate) fn container(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    let sockets = scene.room.directory("s");
    let own = std::env::current_exe()?;
    let how = if rng.one_in(2) { "detached" } else { "bound" };
    scene.fault();
    let mut command = Command::new(own.with_file_name("confined"));
    command
        .arg(&own)
        .args(["victim", "live", cluster.data_directory().as_str()]);
    command.args([sockets.as_str(), how]);
    ended(scene.with_server_of(&mut command))
}

/// A program that exits with success says `done`.
fn ended(command: &mut Command) -> Result<(), Loss> {
    let mut victim = Victim::spawn(command);
    let line = victim.line();
    ensure!(line == "done", "{line}");
    Ok(())
}

/// Something else is mounted where `/proc` would be.
pub(crate) fn no_proc(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    let program = cluster.daemon_path().map(fs::read).transpose()?;
    if program.is_some_and(|bytes| bytes.windows(7).any(|window| window == b"$ORIGIN")) {
        println!("NOT RUN: the loader finds this server's libraries by /proc");
        return Ok(());
    }
    let sockets = scene.room.directory("s");
    let ownership = ownership(rng);
    scene.fault();
    mount("tmpfs", "/proc", "tmpfs", MountFlags::empty(), c"mode=0555")?;
    let lived = life(&cluster, sockets.as_str(), ownership);
    unmount("/proc", UnmountFlags::DETACH)?;
    lived
}

/// The server is executed by another program, as an emulator does it: here by the dynamic loader.
pub(crate) fn other_program(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    const LOADERS: [&str; 2] = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let loader = LOADERS
        .into_iter()
        .find(|path| Utf8Path::new(path).exists());
    let loader = loader.ok_or_else(|| Loss::new("this system's loader is not known"))?;
    let real = scene
        .server
        .bindir()
        .ok_or_else(|| Loss::new("no programs"))?;
    let bin = scene.room.join("bin");
    fs::create_dir(&bin)?;
    for entry in real.read_dir_utf8()? {
        let entry = entry?;
        std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name()))?;
    }
    let postgres = bin.join("postgres");
    fs::remove_file(&postgres)?;
    let script = format!("#!/bin/sh\nexec {loader} {real}/postgres \"$@\"\n");
    fs::write(&postgres, script)?;
    fs::set_permissions(&postgres, fs::Permissions::from_mode(0o755))?;
    let data = scene.cluster()?.data_directory().to_owned();
    let cluster = Cluster::new(Installation::from_bin_directory(&bin)?, data)?;
    let sockets = scene.room.directory("s");
    scene.fault();
    life(&cluster, sockets.as_str(), ownership(rng))
}

/// A child that was forked without executing anything drops its copies of what owns the server.
pub(crate) fn forks(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    let sockets = scene.room.directory("s");
    let how = if rng.one_in(2) { "child" } else { "daemon" };
    println!("{how}");
    scene.fault();
    let words = [how, cluster.data_directory().as_str(), sockets.as_str()];
    let mut owner = scene.sibling("forking-owner", words)?;
    let line = owner.line();
    ensure!(
        line == "done",
        "the owner ended, or its child did not: {line}"
    );
    owner.finish();
    scene.alone()?;
    scene.serves(&cluster)
}

/// SIGHUP reaches a server while it starts, and as soon as the start has returned.
pub(crate) fn reloads(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    for _ in 0..4 {
        let mut other = match rng.one_in(2) {
            true => Some(scene.victim(["reload", cluster.data_directory().as_str()])),
            false => None,
        };
        if let Some(other) = &mut other {
            other.line();
        }
        scene.fault();
        let wait = rng.pick(&[StartWait::Spawned, StartWait::Ready]);
        let started = cluster.start(&scene.start_options().wait(wait))?;
        let reloaded = cluster.reload();
        // Whoever cannot reload yet may say so.
        let is_it = reloaded.as_ref().map_or(true, |pid| *pid == started.pid());
        ensure!(is_it, "{reloaded:?} instead of {started:?}");
        cluster.wait_until_started(PATIENCE)?;
        drop(other);
        answers(&mut pg_tests::connect(&cluster))?;
        let pid = cluster.pid()?;
        ensure!(pid == Some(started.pid()), "{pid:?} instead of {started:?}");
        cluster.stop(&StopPlan::fast())?;
    }
    Ok(())
}

/// `postmaster.pid` goes, or names another process, under a living server.
pub(crate) fn lost_files(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    let options = scene.start_options().ownership(ownership(rng));
    let pid = cluster.start(&options)?.pid();
    let server = Handle::open(u32::try_from(pid.as_raw())?);
    let server = server.ok_or_else(|| Loss::new("the server is not there"))?;
    let file = cluster.data_directory().join("postmaster.pid");
    let text = fs::read_to_string(&file)?;
    let (_, rest) = text.split_once('\n').unwrap_or_default();
    match rng.below(4) {
        0 => fs::remove_file(&file)?,
        1 => fs::write(&file, "")?,
        2 => fs::write(&file, format!("1\n{rest}"))?,
        _ => fs::write(&file, format!("{}\n{rest}", std::process::id()))?,
    }
    println!("{:?}", fs::read_to_string(&file));
    scene.fault();
    let other = Cluster::new(scene.server.clone(), cluster.data_directory())?;
    if rng.one_in(2) {
        let started = other.start(&scene.start_options());
        let is_second = matches!(started, Ok(Started::Now(_)));
        ensure!(!is_second, "a second server: {started:?}");
    }
    if rng.one_in(2) {
        let removed = other.remove();
        let is_gone = server.wait_for_end(std::time::Duration::ZERO);
        let is_whole = cluster.data_directory().join("PG_VERSION").exists();
        ensure!(
            is_gone || is_whole,
            "{removed:?} under the living server {pid}"
        );
        ensure!(removed.is_err() || is_gone, "{removed:?}, and {pid} lives");
        if is_gone {
            return Ok(());
        }
    }
    let stopped = other.stop(&StopPlan::fast())?;
    ensure!(
        server.wait_for_end(std::time::Duration::ZERO),
        "{stopped:?}, and {pid} lives"
    );
    scene.serves(&cluster)
}
