//! What finding an installation costs, beside the program run that it needs.
//!
//! All candidates take turns in one process, so that they meet the same load; medians and their
//! ratios are printed. Needs one PostgreSQL with a `pg_config`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints and may panic"
)]

use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{Discovery, Installation, PgConfig, Program, Request, Version};

const ROUNDS: usize = 200;
const INSTALLATIONS: u16 = 8;

fn main() {
    let installed = Discovery::new()
        .find(&Request::any())
        .unwrap()
        .into_installation();
    let pg_config = installed.require(Program::PgConfig).unwrap();
    let bin = installed.bindir().unwrap();
    println!("{} in {bin}, {ROUNDS} rounds", installed.version());

    let named = Discovery::new().environment([("PG_CONFIG", pg_config)]);
    let path = format!("/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/opt/bin:/snap/bin:{bin}");
    let on_path = Discovery::new().environment([("PATH", path)]);
    let any = Request::any();
    report(
        "one installation",
        &mut [
            ("bare exec of pg_config", &mut || {
                black_box(Command::new(pg_config).output().unwrap());
            }),
            ("PgConfig::query", &mut || {
                black_box(PgConfig::query(pg_config).unwrap());
            }),
            ("Installation::from_pg_config", &mut || {
                black_box(Installation::from_pg_config(pg_config).unwrap());
            }),
            ("Discovery::find by PG_CONFIG", &mut || {
                black_box(named.find(&any).unwrap());
            }),
            ("Discovery::find on PATH", &mut || {
                black_box(on_path.find(&any).unwrap());
            }),
        ],
    );

    let postgres = installed.require(Program::Postgres).unwrap();
    report(
        "no pg_config",
        &mut [
            ("bare exec of postgres --version", &mut || {
                black_box(Command::new(postgres).arg("--version").output().unwrap());
            }),
            ("Installation::verify", &mut || installed.verify().unwrap()),
        ],
    );

    let machine = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::try_from(machine.path().to_owned()).unwrap();
    for major in 10..10 + INSTALLATIONS {
        // pg_config finds out where it is, so that a copy describes an installation of its own.
        let bin = root.join(format!("usr/lib/postgresql/{major}/bin"));
        fs::create_dir_all(&bin).unwrap();
        fs::copy(pg_config, bin.join("pg_config")).unwrap();
        fs::copy(pg_config, bin.join("postgres")).unwrap();
    }
    let machine = Discovery::new().root(&root).environment(no_variables());
    assert_eq!(machine.all().len(), usize::from(INSTALLATIONS));
    let copy = root.join("usr/lib/postgresql/10/bin/pg_config");
    report(
        "eight installations",
        &mut [
            ("bare exec of pg_config, eight times", &mut || {
                for _ in 0..INSTALLATIONS {
                    black_box(Command::new(&copy).output().unwrap());
                }
            }),
            ("Discovery::search", &mut || {
                drop(black_box(machine.search().collect::<Vec<_>>()))
            }),
            ("Discovery::all", &mut || drop(black_box(machine.all()))),
        ],
    );

    let line = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)";
    let start = Instant::now();
    for _ in 0..100_000 {
        black_box(black_box(line).parse::<Version>().unwrap());
    }
    println!("Version::from_str: {:?}", start.elapsed() / 100_000);
    ssl(&installed, bin);
}

/// The most expensive way of telling: reading the executable.
fn ssl(installed: &Installation, bin: &Utf8Path) {
    let start = Instant::now();
    let blind = [
        ("version", installed.version_string()),
        ("bindir", bin.as_str()),
    ];
    let enabled = Installation::from_pairs(blind).unwrap().ssl();
    println!(
        "Installation::ssl from the executable: {enabled}, {:?}",
        start.elapsed()
    );
}

fn no_variables() -> [(String, String); 0] {
    []
}

fn report(title: &str, candidates: &mut [(&str, &mut dyn FnMut())]) {
    let mut times = vec![Vec::with_capacity(ROUNDS); candidates.len()];
    for _ in 0..ROUNDS {
        for ((_, run), times) in candidates.iter_mut().zip(&mut times) {
            let start = Instant::now();
            run();
            times.push(start.elapsed());
        }
    }
    println!("\n{title}");
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    for ((name, _), time) in candidates.iter().zip(&medians) {
        let ratio = time.as_secs_f64() / medians[0].as_secs_f64();
        println!(
            "  {name:<40} {:>8.3} ms  {ratio:>5.2}",
            time.as_secs_f64() * 1e3
        );
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
