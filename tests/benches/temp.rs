//! How long a temporary cluster takes: ours, the floor, and `initdb` with `pg_ctl`, in turns in one run. Run it with `cargo xtask bench temp`.
//!
//! The floor is a copy of the template's files by [`std::fs::copy`], and a bare exec of the same server with the same settings, waited for by
//! reading its lock file over and over, and in the end a SIGKILL and [`std::fs::remove_dir_all`].

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Installation, Program, Storage, TempCluster};
use pg_tests::{Room, ask, connect_to, server, server_account};

struct Series {
    name: &'static str,
    create: Vec<Duration>,
    whole: Vec<Duration>,
}

fn main() {
    let rounds: usize = std::env::var("ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let installation = server();
    let room = Room::new();
    let storage = if Utf8Path::new("/dev/shm").is_dir() {
        Utf8PathBuf::from("/dev/shm")
    } else {
        Utf8PathBuf::from("/tmp")
    };
    let bench = Bench {
        installation,
        room,
        storage,
    };
    let template = bench.ours().into_files();
    let mut series = [
        Series::new("TempCluster"),
        Series::new("floor: copy + bare exec"),
        Series::new("initdb --no-sync + pg_ctl start -w"),
    ];
    for round in 0..=rounds {
        let (ours, floor, initdb) = (
            bench.time_ours(),
            bench.time_floor(&template, round),
            bench.time_initdb(round),
        );
        // The first round warms everything up.
        if round > 0 {
            for (series, (create, whole)) in series.iter_mut().zip([ours, floor, initdb]) {
                series.create.push(create);
                series.whole.push(whole);
            }
        }
    }
    fs::remove_dir_all(&template).unwrap();
    report(&mut series, &bench);
    bench.in_a_row();
    bench.at_once();
}

struct Bench {
    installation: Installation,
    room: Room,
    storage: Utf8PathBuf,
}

impl Bench {
    fn ours(&self) -> TempCluster {
        TempCluster::builder()
            .installation(self.installation.clone())
            .cache_directory(self.room.join("cache"))
            .storage(Storage::Directory(self.storage.clone()))
            .start()
            .unwrap()
    }

    fn time_ours(&self) -> (Duration, Duration) {
        let begun = Instant::now();
        let temp = self.ours();
        let client = first_answer(&temp.uri());
        let create = begun.elapsed();
        drop(client);
        drop(temp);
        (create, begun.elapsed())
    }

    fn time_floor(&self, template: &Utf8Path, round: usize) -> (Duration, Duration) {
        let root = self
            .storage
            .join(format!("floor-{}-{round}", std::process::id()));
        let begun = Instant::now();
        fs::create_dir(&root).unwrap();
        own(&root);
        let data = root.join("data");
        copy(&template.join("data"), &data);
        let mut command = self.program(Program::Postgres);
        command.args(["-D", data.as_str(), "-k", root.as_str(), "-h", ""]);
        for setting in [
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "shared_buffers=16MB",
            "max_wal_size=128MB",
            "min_wal_size=32MB",
            "dynamic_shared_memory_type=mmap",
            "huge_pages=off",
            "max_logical_replication_workers=0",
        ] {
            command.args(["-c", setting]);
        }
        if self.installation.version().major() >= 18 {
            command.args(["-c", "io_method=sync"]);
        }
        let mut server = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid_file = data.join("postmaster.pid");
        while !fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready")) {
            assert!(server.try_wait().unwrap().is_none(), "the server ended");
        }
        let client = first_answer(&socket_uri(&root));
        let create = begun.elapsed();
        drop(client);
        server.kill().unwrap();
        server.wait().unwrap();
        // The killed server's children write no more, but are not gone at once.
        while fs::remove_dir_all(&root).is_err() {}
        (create, begun.elapsed())
    }

    fn time_initdb(&self, round: usize) -> (Duration, Duration) {
        let root = self
            .storage
            .join(format!("initdb-{}-{round}", std::process::id()));
        let begun = Instant::now();
        fs::create_dir(&root).unwrap();
        own(&root);
        let data = root.join("data");
        let quiet = |mut command: Command| {
            let status = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(status.success());
        };
        let mut initdb = self.program(Program::Initdb);
        initdb.args([
            "-D",
            data.as_str(),
            "--no-sync",
            "-U",
            "postgres",
            "-A",
            "trust",
            "--locale=C",
            "-E",
            "UTF8",
        ]);
        quiet(initdb);
        let options = format!("-k {root} -h '' -F");
        let mut start = self.program(Program::PgCtl);
        start.args([
            "start",
            "-w",
            "-D",
            data.as_str(),
            "-l",
            root.join("log").as_str(),
            "-o",
            &options,
        ]);
        quiet(start);
        let client = first_answer(&socket_uri(&root));
        let create = begun.elapsed();
        drop(client);
        let mut stop = self.program(Program::PgCtl);
        stop.args(["stop", "-w", "-m", "immediate", "-D", data.as_str()]);
        quiet(stop);
        fs::remove_dir_all(&root).unwrap();
        (create, begun.elapsed())
    }

    fn program(&self, program: Program) -> Command {
        let mut command = Command::new(self.installation.require(program).unwrap());
        command.current_dir("/");
        if let Some(account) = server_account() {
            command.uid(account.uid()).gid(account.gid());
        }
        command
    }

    fn in_a_row(&self) {
        let times: Vec<Duration> = (0..100).map(|_| self.time_ours().1).collect();
        let (first, last) = (&mut times[..10].to_vec(), &mut times[90..].to_vec());
        let ratio = median(last).as_secs_f64() / median(first).as_secs_f64();
        println!(
            "a hundred in a row: the last ten took {ratio:.2} times the first ten (medians of the whole life)"
        );
    }

    fn at_once(&self) {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let temp = self.ours();
                    assert_eq!(
                        ask(&mut connect_to(temp.connection_info()), "SELECT 1"),
                        "1"
                    );
                });
            }
        });
        println!(
            "twenty at once: all answered and were gone after {:.0} ms",
            ms(begun.elapsed())
        );
    }
}

impl Series {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            create: Vec::new(),
            whole: Vec::new(),
        }
    }
}

fn report(series: &mut [Series; 3], bench: &Bench) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{} | {} | {cores} cores | storage {} | {} rounds, interleaved",
        std::env::consts::OS,
        bench.installation.version_string(),
        bench.storage,
        series[0].create.len()
    );
    println!();
    println!(
        "| ms: min / median / max | first answered `SELECT 1` | whole life with drop | after the answer |"
    );
    println!("|---|---|---|---|");
    for one in series.iter_mut() {
        let mut drops: Vec<Duration> = one
            .whole
            .iter()
            .zip(&one.create)
            .map(|(whole, create)| *whole - *create)
            .collect();
        println!(
            "| {} | {} | {} | {} |",
            one.name,
            summary(&mut one.create),
            summary(&mut one.whole),
            summary(&mut drops)
        );
    }
    println!();
    let [ours, floor, initdb] = series;
    let ratio = |a: &mut Vec<Duration>, b: &mut Vec<Duration>| {
        median(a).as_secs_f64() / median(b).as_secs_f64()
    };
    println!(
        "create: {:.2} times the floor; initdb + pg_ctl takes {:.1} times as long",
        ratio(&mut ours.create, &mut floor.create),
        ratio(&mut initdb.create, &mut ours.create)
    );
    println!(
        "whole:  {:.2} times the floor; initdb + pg_ctl takes {:.1} times as long",
        ratio(&mut ours.whole, &mut floor.whole),
        ratio(&mut initdb.whole, &mut ours.whole)
    );
}

fn summary(times: &mut [Duration]) -> String {
    let middle = median(times);
    let (least, most) = (times.first().unwrap(), times.last().unwrap());
    format!("{:.1} / {:.1} / {:.1}", ms(*least), ms(middle), ms(*most))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn first_answer(uri: &str) -> postgres::Client {
    let mut client = postgres::Client::connect(uri, postgres::NoTls).unwrap();
    assert_eq!(ask(&mut client, "SELECT 1"), "1");
    client
}

fn socket_uri(directory: &Utf8Path) -> String {
    pg_cluster::ConnectionInfo::socket(directory, 5432)
        .with_user("postgres")
        .with_database("postgres")
        .uri()
}

fn own(path: &Utf8Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    if let Some(account) = server_account() {
        std::os::unix::fs::chown(path, Some(account.uid()), Some(account.gid())).unwrap();
    }
}

fn copy(from: &Utf8Path, to: &Utf8Path) {
    fs::create_dir(to).unwrap();
    own(to);
    for entry in from.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            if let Some(account) = server_account() {
                std::os::unix::fs::chown(&target, Some(account.uid()), Some(account.gid()))
                    .unwrap();
            }
        }
    }
}
