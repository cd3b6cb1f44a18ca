//! `cargo xtask bench`: runs the benchmarks in `benches`, and fetches a server if necessary.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};

use crate::postgres::{self, Cache, Wanted};
use crate::{memory, workspace};

/// The groups of `pg-benches`, and `all`.
const GROUPS: [&str; 9] = [
    "parse", "edits", "access", "install", "proc", "temp", "flat", "replicas", "all",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_parser = GROUPS, default_value = "all")]
    what: String,
    /// Number of rounds; each round measures everything once
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Directory of the server's programs [default: that of a complete installation, which is
    /// fetched if necessary]
    #[arg(long, value_name = "DIR", conflicts_with = "major")]
    bindir: Option<Utf8PathBuf>,
    /// Major version of the server, which is fetched if necessary
    #[arg(long)]
    major: Option<u32>,
    /// Directory for temporary clusters [default: /dev/shm if it has 3 GiB of free space, else
    /// /tmp]
    #[arg(long, value_name = "DIR")]
    storage: Option<Utf8PathBuf>,
    /// Also measure other libraries for temporary clusters, which pip and cargo fetch into the
    /// cache
    #[arg(long)]
    peers: bool,
    /// Write the tables of a complete run into the documentation
    #[arg(long)]
    write: bool,
}

/// The space for twenty clusters, some templates, and the files of other libraries.
const ROOM: u64 = 3 << 30;

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let is_whole = args.what == "all";
    ensure!(
        !args.write || is_whole,
        "the tables of the documentation must be from one run: --write requires `all`"
    );
    let server = match (&args.bindir, args.major) {
        (Some(bin), _) => postgres::in_directory(bin)?,
        (None, Some(major)) => postgres::one(Wanted::Major(major))?,
        (None, None) => postgres::one(Wanted::Complete)?,
    };
    let memory_or_disk = || memory::with_room(ROOM).unwrap_or(Utf8Path::new("/tmp"));
    let storage = args.storage.as_deref().unwrap_or_else(memory_or_disk);
    let mut cargo = workspace::cargo_without_server();
    cargo
        .args([
            "run",
            "--quiet",
            "--profile",
            "bench",
            "--package",
            "pg-benches",
            "--",
        ])
        .args((!is_whole).then_some(&args.what))
        .env("PG_TESTS_BINDIRS", &server.bin)
        .env("BENCH_SERVER", server.brief())
        .env("BENCH_ROUNDS", args.rounds.to_string())
        .env("BENCH_STORAGE", storage);
    if args.peers {
        cargo.env("BENCH_PEERS", Cache::open()?.root().join("peers"));
    }
    if args.write {
        cargo.env("BENCH_WRITE", "1");
    }
    let status = cargo.status().context("failed to run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
