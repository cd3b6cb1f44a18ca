//! How late a wait returns, against `pg_ctl` and against the floor: a bare exec with a spinning
//! observer.
//!
//! One run, everything interleaved, so that all meet the same machine. `cargo bench -p pg-tests
//! --bench proc`; the number of rounds is the first argument, 30 without. With
//! `PG_BENCH_REALTIME=1`, as root, the waits do not compete for a processor.

#![allow(clippy::print_stdout, reason = "this is what a benchmark is for")]

#[path = "../tests/proc_fixture/mod.rs"]
mod proc_fixture;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use pg_proc::{Found, PidFile, Postmaster, Server, Signal, Status};
use proc_fixture::{Cluster, Process, account, bin_directories, patience};

fn main() {
    run_before_others();
    let rounds = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(30);
    for bin in bin_directories() {
        println!("{bin}, {rounds} rounds, median (least to most)");
        measure(&Cluster::with(bin), rounds);
        println!();
    }
}

/// On a machine that is busy with something else, a thread that is woken waits for a processor,
/// longer than what is measured here. As root this gives the calling thread a priority over that,
/// and only that thread, not the server.
fn run_before_others() {
    if std::env::var_os("PG_BENCH_REALTIME").is_none() {
        return;
    }
    let thread = fs::read_link("/proc/thread-self").expect("/proc/thread-self");
    let done = std::process::Command::new("chrt")
        .args(["--reset-on-fork", "--fifo", "--pid", "1"])
        .arg(thread.file_name().expect("a number"))
        .status();
    assert!(done.expect("chrt runs").success());
}

#[derive(Default)]
struct Times {
    start: Vec<Duration>,
    start_late: Vec<Duration>,
    portable_late: Vec<Duration>,
    stop: Vec<Duration>,
    stop_late: Vec<Duration>,
    ctl_start: Vec<Duration>,
    ctl_start_late: Vec<Duration>,
    ctl_stop: Vec<Duration>,
    ctl_stop_late: Vec<Duration>,
    floor_start: Vec<Duration>,
    floor_stop: Vec<Duration>,
}

fn measure(cluster: &Cluster, rounds: usize) {
    let mut times = Times::default();
    for _ in 0..rounds {
        ours(cluster, &mut times);
        portable(cluster, &mut times);
        pg_ctl(cluster, &mut times);
        floor(cluster, &mut times);
    }
    let floor_start = median(&mut times.floor_start);
    let floor_stop = median(&mut times.floor_stop);
    let line = |name: &str, times: &mut [Duration], floor: Option<Duration>| {
        let middle = median(times);
        let ratio = floor.map(|floor| middle.as_secs_f64() / floor.as_secs_f64());
        let ratio = ratio
            .map(|ratio| format!("  {ratio:.2} x floor"))
            .unwrap_or_default();
        println!(
            "  {name:42} {:9.3} ms ({:.3} to {:.3}){ratio}",
            milliseconds(middle),
            milliseconds(times[0]),
            milliseconds(times[times.len() - 1]),
        );
    };
    line(
        "bare exec until ready, spinning",
        &mut times.floor_start,
        None,
    );
    line("start until ready", &mut times.start, Some(floor_start));
    line("pg_ctl start -w", &mut times.ctl_start, Some(floor_start));
    line(
        "from `ready` until the wait returns",
        &mut times.start_late,
        None,
    );
    line("  with portable means", &mut times.portable_late, None);
    line("  pg_ctl start -w", &mut times.ctl_start_late, None);
    line(
        "bare SIGINT until the end, spinning",
        &mut times.floor_stop,
        None,
    );
    line("fast stop", &mut times.stop, Some(floor_stop));
    line(
        "pg_ctl stop -m fast -w",
        &mut times.ctl_stop,
        Some(floor_stop),
    );
    line(
        "from the end until the wait returns",
        &mut times.stop_late,
        None,
    );
    line("  pg_ctl stop -m fast -w", &mut times.ctl_stop_late, None);
    idle(cluster);
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How much processor time a wait of ten seconds takes.
fn idle(cluster: &Cluster) {
    let server = cluster.start();
    let before = processor_time();
    server
        .wait_status(&[Status::Stopping], Duration::from_secs(10))
        .expect_err("it does not stop");
    println!(
        "  processor time of ten seconds' wait        {:9.3} ms",
        processor_time() - before
    );
}

/// Of this thread, in milliseconds.
fn processor_time() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn ours(cluster: &Cluster, times: &mut Times) {
    let ready = Observer::of_ready(cluster);
    let begin = Instant::now();
    let server = cluster.spawn();
    server.wait_ready(patience()).expect("ready");
    let end = Instant::now();
    times.start.push(end - begin);
    times
        .start_late
        .push(end.saturating_duration_since(ready.seen()));

    let gone = Observer::of_end(&server);
    let begin = Instant::now();
    server.send(Signal::Fast).expect("signal");
    server.wait_gone(patience()).expect("gone");
    let end = Instant::now();
    times.stop.push(end - begin);
    times
        .stop_late
        .push(end.saturating_duration_since(gone.seen()));
}

fn portable(cluster: &Cluster, times: &mut Times) {
    let ready = Observer::of_ready(cluster);
    let server = cluster.spawn();
    let found = loop {
        if let Ok(Found::Running(found)) = Postmaster::find_portably(&cluster.data) {
            break found;
        }
    };
    found.wait_ready(patience()).expect("ready");
    let end = Instant::now();
    times
        .portable_late
        .push(end.saturating_duration_since(ready.seen()));
    server.send(Signal::Fast).expect("signal");
    server.wait_gone(patience()).expect("gone");
}

fn pg_ctl(cluster: &Cluster, times: &mut Times) {
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
    times.ctl_start.push(end - begin);
    times
        .ctl_start_late
        .push(end.saturating_duration_since(ready.seen()));

    let pid = PidFile::read(&cluster.data)
        .expect("file")
        .expect("file")
        .pid;
    let gone = Observer::of_process(Process::open(pid).expect("alive"));
    let begin = Instant::now();
    run(&["stop", "-m", "fast"]);
    let end = Instant::now();
    times.ctl_stop.push(end - begin);
    times
        .ctl_stop_late
        .push(end.saturating_duration_since(gone.seen()));
}

fn floor(cluster: &Cluster, times: &mut Times) {
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
    spin_until_ready(cluster);
    times.floor_start.push(begin.elapsed());

    let pid = rustix::process::Pid::from_child(&child);
    let begin = Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
    while child.try_wait().expect("wait").is_none() {}
    times.floor_stop.push(begin.elapsed());
}

fn spin_until_ready(cluster: &Cluster) {
    let path = cluster.data.join(PidFile::NAME);
    while !fs::read(&path).is_ok_and(|file| file.ends_with(b"ready   \n")) {}
}

/// A thread that does nothing but look for one thing to happen, and notes when it did.
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
            started.send(()).expect("somebody waits");
            // Less often than it could, to leave the processors to what is measured.
            while !happened() {
                thread::sleep(Duration::from_micros(50));
            }
            let _ = sender.send(Instant::now());
        });
        start.recv().expect("it starts");
        Self(receiver)
    }

    fn seen(self) -> Instant {
        self.0.recv().expect("an observation")
    }
}
