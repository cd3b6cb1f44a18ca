//! `cargo xtask bench`: how long things take, beside what they could take at best and what others
//! need.
//!
//! The benchmarks are programs of their own, in `crates/pgconf-parse/benches` and `tests/benches`.
//! Each has everybody take turns, and says what it measured in lines of JSON; here they become one
//! table, plots, and the tables of the documentation.

mod documents;
mod machine;
mod measured;
mod peers;
mod plot;
mod table;

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};

use crate::postgres::{self, Server, Wanted};
use crate::{memory, workspace};
use machine::Machine;
use measured::Measured;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum, default_value_t = What::All)]
    what: What,
    /// How often each is measured, in turns
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Directory of the server's programs [default: of a complete installation, fetched if there is
    /// none]
    #[arg(long, value_name = "DIR", conflicts_with = "major")]
    bindir: Option<Utf8PathBuf>,
    /// Major version of the server, fetched if need be
    #[arg(long)]
    major: Option<u32>,
    /// Where temporary clusters keep their files [default: /dev/shm if 3 GiB are free there, else
    /// /tmp]
    #[arg(long, value_name = "DIR")]
    storage: Option<Utf8PathBuf>,
    /// Measure other libraries for temporary clusters too, which pip and cargo fetch into the cache
    #[arg(long)]
    peers: bool,
    /// Draw plots into this directory
    #[arg(long, value_name = "DIR")]
    plots: Option<Utf8PathBuf>,
    /// Put tables and plots of a whole run into the documentation
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Configuration files: pgconf-parse, beside toml_edit and memchr
    Parse,
    /// Installations: pg-install, beside bare runs of pg_config
    Install,
    /// Servers: pg-proc, beside pg_ctl and a spinning observer
    Proc,
    /// Temporary clusters, beside initdb with pg_ctl, and a bare copy and exec
    Temp,
    All,
}

/// What is measured, in which package and by which of its benchmarks.
const PROGRAMS: [(What, &str, &str); 4] = [
    (What::Parse, "pgconf-parse", "speed"),
    (What::Install, "pg-tests", "install"),
    (What::Proc, "pg-tests", "proc"),
    (What::Temp, "pg-tests", "temp"),
];

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(
        !args.write || args.what == What::All,
        "the tables of the documentation are of one run: --write needs `all`"
    );
    let wants = |what| args.what == what || args.what == What::All;
    let server = choose_server(args)?;
    let storage = args.storage.clone().unwrap_or_else(memory_or_disk);
    let peers = if args.peers && wants(What::Temp) {
        Some(peers::prepare(&server)?)
    } else {
        None
    };
    let benchmark = Benchmark {
        rounds: args.rounds,
        server: &server,
        storage: &storage,
        peers,
    };
    let mut measured = Measured::default();
    let machine = Machine::look(&server, &storage, args.rounds);
    for (what, package, name) in PROGRAMS {
        if wants(what) {
            measured.add(&benchmark.run(package, name)?)?;
        }
    }

    println!("{machine}\n\n{}", table::full(&measured.rows));
    if let Some(directory) = &args.plots {
        fs::create_dir_all(directory).with_context(|| format!("failed to create {directory}"))?;
        plot::draw(&measured.points, directory)?;
    }
    if args.write {
        documents::write(&workspace::root(), &machine, &measured)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn choose_server(args: &Args) -> Result<Server> {
    if let Some(bin) = &args.bindir {
        return postgres::in_directory(bin);
    }
    postgres::one(match args.major {
        Some(major) => Wanted::Major(major),
        None => Wanted::Complete,
    })
}

/// Twenty clusters at once, some templates, and what peers leave.
const ROOM: u64 = 3 << 30;

fn memory_or_disk() -> Utf8PathBuf {
    memory::with_room(ROOM)
        .unwrap_or(Utf8Path::new("/tmp"))
        .to_owned()
}

struct Benchmark<'a> {
    rounds: u32,
    server: &'a Server,
    storage: &'a Utf8Path,
    /// As the benchmark of temporary clusters wants them.
    peers: Option<String>,
}

impl Benchmark<'_> {
    /// What the program wrote.
    fn run(&self, package: &str, name: &str) -> Result<String> {
        eprintln!("==> {package}, {name}");
        let mut cargo: Command = workspace::cargo();
        for (variable, _) in std::env::vars_os() {
            // Neither the caller's server nor its defaults.
            if variable.to_string_lossy().starts_with("PG") {
                cargo.env_remove(variable);
            }
        }
        cargo
            .args(["bench", "--package", package, "--bench", name])
            .env("PG_TESTS_BINDIRS", &self.server.bin)
            .env("BENCH_ROUNDS", self.rounds.to_string())
            .env("BENCH_STORAGE", self.storage)
            .stderr(Stdio::inherit());
        if let Some(peers) = &self.peers {
            cargo.env("BENCH_PEERS", peers);
        }
        let output = cargo.output().context("failed to run cargo")?;
        if !output.status.success() {
            bail!("the benchmark `{name}` of {package} failed");
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
