//! The cost of a temporary cluster with many other processes, with many other clusters, and in a
//! program that uses much memory, and the cost that a cluster adds to these.

use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Instant;

use pg_fixture::TempCluster;
use rustix::process::Signal;

use super::floor::Pack;
use super::lives::{Ground, first_answer};
use super::{FLOOR, OURS};
use crate::Plan;
use crate::sheet::{Sheet, Who};

/// The numbers of other processes, which sleep.
const PROCESSES: [usize; 5] = [0, 100, 400, 1_000, 3_000];
/// The numbers of running clusters, including the measured one.
const CLUSTERS: [usize; 4] = [1, 50, 100, 200];
/// The amounts of memory that the calling process has written to, in gigabytes.
const GIGABYTES: [usize; 4] = [0, 1, 4, 8];
/// The memory that a cluster uses, in bytes.
const OF_CLUSTER: usize = 48 << 20;
/// The memory that is left to other processes, in bytes.
const RESERVE: usize = 2 << 30;

const PAGES: &str = "writing each page of 1 GB once";
const REMOVE: &str = "remove a running cluster";
const HELPERS: &str = "helper processes, ten clusters";
const HELPERS_MEMORY: &str = "memory of helper processes, for each of ten clusters";

pub(crate) fn measure(sheet: &mut Sheet, plan: &Plan) {
    let ground = Ground::in_directory(&plan.storage);
    let pack = Pack::new(&ground);
    let rounds = plan.rounds.min(10);
    processes(sheet, rounds, &ground, &pack);
    clusters(sheet, rounds, &ground, &pack);
    memory(sheet, rounds.min(5), &ground, &pack);
    pages(sheet, rounds.min(5), &ground);
    remove(sheet, rounds, &ground, &pack);
    helpers(sheet, &ground);
}

fn both(sheet: &mut Sheet, what: &str, ground: &Ground, pack: &Pack) {
    sheet.note(what, OURS, ground.ours().create);
    sheet.note(what, FLOOR, pack.life(ground).create);
}

fn processes(sheet: &mut Sheet, rounds: usize, ground: &Ground, pack: &Pack) {
    let mut sleepers = Sleepers::new();
    for number in PROCESSES {
        sleepers.extend_to(number);
        let what = format!("`SELECT 1` beside {number} sleeping processes");
        sheet.rounds(rounds, |sheet| both(sheet, &what, ground, pack));
    }
}

fn clusters(sheet: &mut Sheet, rounds: usize, ground: &Ground, pack: &Pack) {
    let mut alive = Vec::new();
    for number in CLUSTERS {
        let what = format!("`SELECT 1`, {number} clusters alive");
        let missing = (number - 1).saturating_sub(alive.len());
        if available() < missing * OF_CLUSTER + RESERVE {
            sheet.not_run(&what, OURS, "not enough memory");
            return;
        }
        alive.extend((0..missing).map(|_| ground.start()));
        sheet.rounds(rounds, |sheet| both(sheet, &what, ground, pack));
    }
}

/// The warden exits between two rounds. The first cluster starts it, and the second is measured.
fn memory(sheet: &mut Sheet, rounds: usize, ground: &Ground, pack: &Pack) {
    sheet.rounds(rounds, |sheet| {
        for gigabytes in GIGABYTES {
            let what = format!("`SELECT 1`, {gigabytes} GB touched by the caller");
            if available() < (gigabytes << 30) + RESERVE {
                sheet.not_run(&what, OURS, "not enough memory");
                continue;
            }
            let touched = vec![1_u8; gigabytes << 30];
            ground.ours();
            both(sheet, &what, ground, pack);
            drop(black_box(touched));
        }
    });
}

fn pages(sheet: &mut Sheet, rounds: usize, ground: &Ground) {
    let mut touched = vec![1_u8; 1 << 30];
    let mut write = || {
        let begun = Instant::now();
        touched.iter_mut().step_by(4096).for_each(|byte| *byte += 1);
        black_box(&mut touched);
        begun.elapsed()
    };
    sheet.rounds(rounds, |sheet| {
        let temp = ground.start();
        sheet.note(PAGES, Who::Ours("after the start of a cluster"), write());
        drop(temp);
        sheet.note(PAGES, Who::Floor("with no cluster"), write());
    });
}

fn remove(sheet: &mut Sheet, rounds: usize, ground: &Ground, pack: &Pack) {
    sheet.rounds(rounds, |sheet| {
        let temp = ground.start();
        drop(first_answer(temp.connection_info()));
        let begun = Instant::now();
        temp.cluster().remove().unwrap();
        sheet.note(REMOVE, Who::Ours("`Cluster::remove`"), begun.elapsed());
        drop(temp);

        let (server, client) = pack.start(ground);
        drop(client);
        let begun = Instant::now();
        server.end(Signal::INT);
        let who = Who::Floor("bare SIGINT, wait, `remove_dir_all`");
        sheet.note(REMOVE, who, begun.elapsed());
    });
}

fn helpers(sheet: &mut Sheet, ground: &Ground) {
    let clusters: Vec<TempCluster> = (0..10).map(|_| ground.start()).collect();
    let helpers = parents_of_servers(&clusters);
    let memory: f64 = helpers.iter().filter_map(|pid| proportional_set(pid)).sum();
    let count = helpers.len() as f64;
    sheet.note_number(HELPERS, OURS, "processes", count);
    let each = memory / clusters.len() as f64;
    sheet.note_number(HELPERS_MEMORY, OURS, "kB", each);
}

/// Returns the processes that started these servers.
fn parents_of_servers(clusters: &[TempCluster]) -> BTreeSet<String> {
    let parent = |temp: &TempCluster| {
        let pid = temp.cluster().pid().ok().flatten()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        Some(parent.trim().to_owned())
    };
    clusters.iter().filter_map(parent).collect()
}

/// Returns the proportional set size in kilobytes, in which shared memory is divided among its
/// processes.
fn proportional_set(pid: &str) -> Option<f64> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// Returns the number of bytes available to new programs, or 0 if that is not known.
fn available() -> usize {
    let kilobytes = field("/proc/meminfo", "MemAvailable:").unwrap_or_default();
    kilobytes as usize * 1024
}

fn field(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Processes that exit when this value is dropped or this process exits. Each reads from a socket
/// to which this process does not write.
struct Sleepers {
    children: Vec<Child>,
    theirs: UnixStream,
    ours: Option<UnixStream>,
}

impl Sleepers {
    fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        Self {
            children: Vec::new(),
            theirs,
            ours: Some(ours),
        }
    }

    fn extend_to(&mut self, number: usize) {
        while self.children.len() < number {
            let mut cat = Command::new("cat");
            cat.stdin(OwnedFd::from(self.theirs.try_clone().unwrap()));
            self.children.push(cat.spawn().unwrap());
        }
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        self.ours = None;
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}
