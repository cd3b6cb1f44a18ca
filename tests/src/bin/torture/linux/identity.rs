//! Lock files that name a process which is not the server: no signal may reach it, and the cluster
//! can be started.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use camino::Utf8Path;
use pg_cluster::{Cluster, Pid, Signal, Started, State, StopPlan};
use pg_tests::{Victim, connect, server_account};

use super::rng::Rng;
use super::scene::{Loss, PATIENCE, Scene, answers, ensure};

/// Something with a number.
enum Bystander {
    Process(Child),
    /// Nobody, or somebody whom it is up to the kernel to protect, or us.
    Number(String),
}

pub(crate) fn reused_numbers(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    let other = scene.cluster_in(&scene.room.join("other"))?;
    let file = cluster.data_directory().join("postmaster.pid");
    // A lock file as a crash leaves it.
    cluster.start(&scene.start_options())?;
    let mut genuine = fs::read_to_string(&file)?;
    cluster.kill()?;
    if rng.one_in(2) {
        genuine = genuine.replacen("ready   ", "starting", 1);
    }
    let elsewhere = scene.room.directory("t");
    let options = scene.start_options().socket_directory(elsewhere);
    let started = other.start(&options)?;
    let mut session = connect(&other);

    for _ in 0..4 {
        let mut bystander = bystander(rng, &cluster, started.pid())?;
        let number = match &bystander {
            Bystander::Process(child) => child.id().to_string(),
            Bystander::Number(number) => number.clone(),
        };
        let text = match rng.below(4) {
            // As after a copy of the whole directory.
            0 => fs::read_to_string(other.data_directory().join("postmaster.pid"))?,
            1 => format!("{number}\n"),
            _ => genuine.clone(),
        };
        let (_, rest) = text.split_once('\n').unwrap_or_default();
        fs::write(&file, format!("{number}\n{rest}"))?;
        scene.fault();
        println!("it names {number}");
        hits_nobody(rng, &cluster, &number)?;
        let ended = |bystander: &mut Bystander| match bystander {
            Bystander::Process(child) => child.try_wait(),
            Bystander::Number(_) => Ok(None),
        };
        let end = ended(&mut bystander)?;
        ensure!(end.is_none(), "process {number} was hit: {end:?}");

        match cluster.start(&scene.start_options()) {
            Ok(started) => ensure!(matches!(started, Started::Now(_)), "{started:?}"),
            // The server insists that somebody looks at a file which no server has written.
            Err(_) if !is_number(&number) => {
                fs::remove_file(&file)?;
                cluster.start(&scene.start_options())?;
            }
            Err(error) => return Err(error.into()),
        }
        let mode = rng.pick(&[Signal::Fast, Signal::Immediate, Signal::Kill]);
        println!("{mode:?}, with {:?}", scene.isolation.shared_memory());
        cluster.stop(&StopPlan::new(mode, PATIENCE))?;
        println!("left: {:?}", scene.isolation.shared_memory());
        let end = ended(&mut bystander)?;
        ensure!(end.is_none(), "process {number} was hit: {end:?}");
        if let Bystander::Process(mut child) = bystander {
            child.kill()?;
            child.wait()?;
        }
        answers(&mut session)?;
    }
    drop(session);
    other.stop(&StopPlan::fast())?;
    scene.serves(&cluster)
}

/// Programs of users whose names begin as the server's does, in its directory.
const NAMES: [&str; 3] = ["postgres_exporter", "postgres-manager", "postgresql-backup"];

/// Processes that look like the server, and the caller itself, with lock files of every kind.
pub(crate) fn lookalikes(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    let data = cluster.data_directory();
    let file = data.join("postmaster.pid");
    cluster.start(&scene.start_options())?;
    let genuine = fs::read_to_string(&file)?;
    cluster.kill()?;
    cluster.stop(&StopPlan::fast())?;
    let (_, rest) = genuine.split_once('\n').unwrap_or_default();

    for _ in 0..4 {
        let program = scene.room.join(rng.pick(&NAMES));
        fs::copy("/bin/sleep", &program)?;
        let mut command = Command::new(&program);
        command.arg("1000").current_dir(data).stdin(Stdio::null());
        if let Some(account) = server_account().filter(|_| rng.one_in(2)) {
            command.uid(account.uid()).gid(account.gid());
        }
        let mut bystander = command.spawn()?;
        let pid = bystander.id();
        let text = match rng.below(4) {
            0 => None,
            1 => Some(String::new()),
            2 => Some("garbage\n".to_owned()),
            _ => Some(format!("{pid}\n{rest}")),
        };
        let _ = fs::remove_file(&file);
        if let Some(text) = &text {
            fs::write(&file, text)?;
        }
        println!("{program} {pid}, {text:?}");
        scene.fault();
        hits_nobody(rng, &cluster, &pid.to_string())?;
        let end = bystander.try_wait()?;
        ensure!(end.is_none(), "{program} was hit: {end:?}");
        bystander.kill()?;
        bystander.wait()?;
    }

    let caller = scene.room.join(rng.pick(&NAMES));
    fs::copy(std::env::current_exe()?, &caller)?;
    fs::write(&file, &genuine)?;
    scene.fault();
    let mut command = Command::new(&caller);
    command
        .args(["victim", "stop-as-named", data.as_str()])
        .current_dir(data);
    let mut victim = Victim::spawn(scene.with_server_of(&mut command));
    let line = victim.line();
    ensure!(line == "done", "the caller was hit: {line}");
    victim.finish();
    fs::remove_file(&file).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    scene.serves(&cluster)
}

/// Whether that could be anybody's number, with a minus sign for single-user mode.
fn is_number(text: &str) -> bool {
    text.parse()
        .is_ok_and(|number: i32| number != 0 && number != i32::MIN)
}

/// All that signals somebody.
fn hits_nobody(rng: &mut Rng, cluster: &Cluster, number: &str) -> Result<(), Loss> {
    let state = cluster.state()?;
    ensure!(state == State::Stopped, "with {number} it is {state:?}");
    type Signalling = fn(&Cluster) -> Result<Option<Pid>, Loss>;
    let mut all: Vec<Signalling> = vec![
        |cluster| Ok(cluster.signal(Signal::Smart)?),
        |cluster| Ok(cluster.signal(Signal::Fast)?),
        |cluster| Ok(cluster.signal(Signal::Immediate)?),
        |cluster| Ok(cluster.kill()?),
        |cluster| Ok(cluster.reload().ok()),
        |cluster| Ok(cluster.promote().ok()),
        |cluster| Ok(cluster.rotate_log().ok()),
        |cluster| {
            cluster.stop(&StopPlan::escalating())?;
            Ok(cluster.pid()?)
        },
    ];
    rng.shuffle(&mut all);
    for signal in all {
        let reached = signal(cluster)?;
        ensure!(reached.is_none(), "{reached:?} was reached, with {number}");
    }
    Ok(())
}

fn bystander(rng: &mut Rng, cluster: &Cluster, other: Pid) -> Result<Bystander, Loss> {
    let number = |number: String| Ok(Bystander::Number(number));
    match rng.below(10) {
        0 => number(std::process::id().to_string()),
        1 => number(std::os::unix::process::parent_id().to_string()),
        2 => number("1".to_owned()),
        3 => number(
            (rng.pick(&["0", "-1", "-0", "2147483647", "2147483648", "99999999999"])).to_owned(),
        ),
        4 => number(format!("-{other}")),
        5 => number(other.to_string()),
        6 => number(rng.pick(&children(other)?).clone()),
        7 => number(format!("-{}", std::process::id())),
        _ => sleeper(rng, cluster.data_directory()),
    }
}

/// Close to a server: in its directory, of its account or another, by whatever name.
fn sleeper(rng: &mut Rng, data: &Utf8Path) -> Result<Bystander, Loss> {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").stdin(Stdio::null());
    if rng.one_in(2) {
        sleep.current_dir(data);
    }
    if rng.one_in(2) {
        sleep.arg0("postgres");
    }
    if let Some(account) = server_account().filter(|_| rng.one_in(2)) {
        sleep.uid(account.uid()).gid(account.gid());
    }
    Ok(Bystander::Process(sleep.spawn()?))
}

/// The children of a server.
pub(crate) fn children(server: Pid) -> Result<Vec<String>, Loss> {
    let list = fs::read_to_string(format!("/proc/{server}/task/{server}/children"))?;
    Ok(list.split_ascii_whitespace().map(str::to_owned).collect())
}
