//! Starting and stopping servers, and the latency of waits, compared with `pg_ctl` and with the
//! lower bound: an exec with a spinning observer.

#[path = "../../tests/tests/proc_fixture/mod.rs"]
mod proc_fixture;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use pg_proc::{Found, GuardOptions, PidFile, Postmaster, Server, Signal, Status};
use proc_fixture::{Cluster, Process, account, patience};

use crate::Plan;
use crate::sheet::{Sheet, Who};

const START: &str = "start a server, until it is ready";
const SPAWN: &str = "start a process, until exec has succeeded";
const GUARD: &str = "have a directory guarded";
const READY: &str = "from the server's `ready` until the wait returns";
const STOP: &str = "fast stop, until it is gone";
const END: &str = "from the server's end until the wait returns";
const IDLE: &str = "processor time of waiting for ten seconds";

const PG_PROC: Who<'static> = Who::Ours("pg-proc");
const PG_CTL: Who<'static> = Who::Beside("`pg_ctl -w`");

pub(crate) fn measure(sheet: &mut Sheet, plan: &Plan) {
    run_before_others();
    let cluster = Cluster::new();
    sheet.rounds(plan.rounds, |sheet| {
        ours(&cluster, sheet);
        pg_ctl(&cluster, sheet);
        floor(&cluster, sheet);
        portable(&cluster, sheet);
        guard(sheet);
    });
    idle(&cluster, sheet);
}

/// Gives the calling thread real-time priority, if run by root. On a busy machine, a thread that is
/// woken waits for a processor longer than the latency measured here. The server keeps its
/// priority.
fn run_before_others() {
    if std::env::var_os("BENCH_REALTIME").is_none() {
        return;
    }
    let thread = fs::read_link("/proc/thread-self").expect("/proc/thread-self");
    let done = std::process::Command::new("chrt")
        .args(["--reset-on-fork", "--fifo", "--pid", "1"])
        .arg(thread.file_name().expect("a number"))
        .status();
    assert!(done.expect("chrt runs").success());
}

fn idle(cluster: &Cluster, sheet: &mut Sheet) {
    let server = cluster.start();
    let before = processor_time();
    server
        .wait_status(&[Status::Stopping], Duration::from_secs(10))
        .expect_err("the server should not stop");
    sheet.note(IDLE, PG_PROC, processor_time() - before);
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.try_into().expect("processor time is not negative")
}

fn ours(cluster: &Cluster, sheet: &mut Sheet) {
    let ready = Observer::of_ready(cluster);
    let begin = Instant::now();
    let server = cluster.spawn();
    sheet.note(
        SPAWN,
        Who::Ours("pg-proc, with supervisor and log"),
        begin.elapsed(),
    );
    server.wait_ready(patience()).expect("ready");
    let end = Instant::now();
    sheet.note(START, PG_PROC, end - begin);
    sheet.note(READY, PG_PROC, end.saturating_duration_since(ready.seen()));

    let gone = Observer::of_end(&server);
    let begin = Instant::now();
    server.send(Signal::Fast).expect("signal");
    server.wait_gone(patience()).expect("gone");
    let end = Instant::now();
    sheet.note(STOP, PG_PROC, end - begin);
    sheet.note(END, PG_PROC, end.saturating_duration_since(gone.seen()));
}

fn portable(cluster: &Cluster, sheet: &mut Sheet) {
    let ready = Observer::of_ready(cluster);
    let server = cluster.spawn();
    let found = loop {
        if let Ok(Found::Running(found)) = Postmaster::find_portably(&cluster.data) {
            break found;
        }
    };
    found.wait_ready(patience()).expect("ready");
    let end = Instant::now();
    let who = Who::Ours("pg-proc, with portable means");
    sheet.note(READY, who, end.saturating_duration_since(ready.seen()));
    server.send(Signal::Fast).expect("signal");
    server.wait_gone(patience()).expect("gone");
}

fn pg_ctl(cluster: &Cluster, sheet: &mut Sheet) {
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(cluster.bin.join("pg_ctl"));
        command
            .args(arguments)
            .args(["-D", cluster.data.as_str(), "-w"])
            .current_dir("/");
        if let Some(account) = account() {
            command.uid(account.uid()).gid(account.gid());
        }
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(status.expect("pg_ctl").success());
    };
    let command = cluster.command();
    let options: Vec<_> = command
        .arguments()
        .iter()
        .skip(2)
        .map(|a| a.to_string_lossy())
        .collect();
    let options: Vec<_> = options.iter().map(|option| format!("'{option}'")).collect();
    let ready = Observer::of_ready(cluster);
    let begin = Instant::now();
    run(&[
        "start",
        "-l",
        cluster.log().as_str(),
        "-o",
        &options.join(" "),
    ]);
    let end = Instant::now();
    sheet.note(START, PG_CTL, end - begin);
    sheet.note(READY, PG_CTL, end.saturating_duration_since(ready.seen()));

    let pid = PidFile::read(&cluster.data)
        .expect("file")
        .expect("file")
        .pid;
    let gone = Observer::of_process(Process::open(pid).expect("alive"));
    let begin = Instant::now();
    run(&["stop", "-m", "fast"]);
    let end = Instant::now();
    sheet.note(STOP, PG_CTL, end - begin);
    sheet.note(END, PG_CTL, end.saturating_duration_since(gone.seen()));
}

fn floor(cluster: &Cluster, sheet: &mut Sheet) {
    let command = cluster.command();
    let mut bare = std::process::Command::new(command.program());
    bare.args(command.arguments()).current_dir("/");
    if let Some(account) = account() {
        bare.uid(account.uid()).gid(account.gid());
    }
    bare.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = bare.spawn().expect("postgres");
    sheet.note(SPAWN, Who::Floor("bare fork and exec"), begin.elapsed());
    spin_until_ready(cluster);
    let who = Who::Floor("bare exec, watched by spinning");
    sheet.note(START, who, begin.elapsed());

    let pid = rustix::process::Pid::from_child(&child);
    let begin = Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
    while child.try_wait().expect("wait").is_none() {}
    let who = Who::Floor("bare SIGINT, watched by spinning");
    sheet.note(STOP, who, begin.elapsed());
}

/// Measures a directory guard. Its process is forked and does not execute a program, so the
/// comparison is the start of a program.
fn guard(sheet: &mut Sheet) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = Utf8Path::from_path(directory.path()).expect("UTF-8");
    let begin = Instant::now();
    let guard = GuardOptions::new().remove(path).guard().expect("a guard");
    sheet.note(
        GUARD,
        Who::Ours("pg-proc, `DirectoryGuard`"),
        begin.elapsed(),
    );
    guard.release();

    let begin = Instant::now();
    let mut child = std::process::Command::new("true").spawn().expect("true");
    sheet.note(
        GUARD,
        Who::Beside("fork and exec of `true`"),
        begin.elapsed(),
    );
    child.wait().expect("the exit status");
}

fn spin_until_ready(cluster: &Cluster) {
    let path = cluster.data.join(PidFile::NAME);
    while !fs::read(&path).is_ok_and(|file| file.ends_with(b"ready   \n")) {}
}

/// A thread that spins until an event happens, and records the time.
struct Observer(mpsc::Receiver<Instant>);

impl Observer {
    fn of_ready(cluster: &Cluster) -> Self {
        let path = cluster.data.join(PidFile::NAME);
        Self::when(move || fs::read(&path).is_ok_and(|file| file.ends_with(b"ready   \n")))
    }

    fn of_end(server: &Server) -> Self {
        Self::of_process(Process::open(server.pid()).expect("alive"))
    }

    fn of_process(process: Process) -> Self {
        Self::when(move || process.has_ended())
    }

    fn when(happened: impl Fn() -> bool + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        let (started, start) = mpsc::channel();
        thread::spawn(move || {
            run_before_others();
            started.send(()).expect("the receiver waits");
            // The loop is slowed down to leave the processors to the measured processes.
            while !happened() {
                thread::sleep(Duration::from_micros(50));
            }
            let _ = sender.send(Instant::now());
        });
        start.recv().expect("the thread starts");
        Self(receiver)
    }

    fn seen(self) -> Instant {
        self.0.recv().expect("the time of the event")
    }
}
