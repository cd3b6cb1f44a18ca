//! Benchmarks that compare the crates with lower bounds and with other libraries.
//!
//! `cargo xtask bench` runs this program, with a server in `PG_TESTS_BINDIRS`. Its arguments are
//! the names of groups. These environment variables are read:
//!
//! * `BENCH_ROUNDS`: the number of rounds,
//! * `BENCH_STORAGE`: the directory for temporary clusters,
//! * `BENCH_PEERS`: the directory into which pip and cargo fetch other libraries; if set, these are
//!   measured too,
//! * `BENCH_WRITE`: if set, the tables are written into the documentation,
//! * `BENCH_REALTIME`: if set and run by root, waiting threads have real-time priority.
#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod access;
mod documents;
mod edits;
mod install;
mod machine;
mod parse;
mod proc;
mod replicas;
mod sheet;
mod table;
mod temp;

use anyhow::{Result, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};

use machine::Machine;
use sheet::Sheet;

/// A group of rows, and the function that measures it.
type Group = (&'static str, fn(&mut Sheet, &Plan));

const GROUPS: [Group; 8] = [
    ("parse", parse::measure),
    ("edits", edits::measure),
    ("access", access::measure),
    ("install", install::measure),
    ("proc", proc::measure),
    ("temp", temp::measure),
    ("flat", temp::measure_flat),
    ("replicas", replicas::measure),
];

/// The options of a run.
struct Plan {
    rounds: usize,
    /// The directory for temporary clusters.
    storage: Utf8PathBuf,
    /// The directory of other libraries, if these are measured.
    peers: Option<Utf8PathBuf>,
}

fn main() -> Result<()> {
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|name| GROUPS.iter().all(|group| group.0 != **name))
    {
        bail!(
            "{unknown:?} is not one of {:?}",
            GROUPS.map(|(name, _)| name)
        );
    }
    let writes = std::env::var_os("BENCH_WRITE").is_some();
    ensure!(
        !writes || wanted.is_empty(),
        "the tables of the documentation must be from one run of all groups"
    );
    let rounds = std::env::var("BENCH_ROUNDS").map_or(Ok(20), |text| text.parse())?;
    let storage = std::env::var("BENCH_STORAGE").map_or_else(|_| memory_or_disk(), Into::into);
    let peers = std::env::var("BENCH_PEERS").ok().map(Into::into);
    let plan = Plan {
        rounds,
        storage,
        peers,
    };

    let machine = Machine::look(&plan);
    let mut sheet = Sheet::default();
    // In reverse order: the memory of the parser's texts would slow down the forks of later groups.
    for (name, measure) in GROUPS.into_iter().rev() {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            eprintln!("==> {name}");
            sheet.begin(name);
            measure(&mut sheet, &plan);
        }
    }
    sheet.sort(&GROUPS.map(|(name, _)| name));
    println!("{machine}\n\n{}", table::full(sheet.rows()));
    if writes {
        documents::write(&machine, sheet.rows())?;
    }
    Ok(())
}

fn memory_or_disk() -> Utf8PathBuf {
    let memory = Utf8Path::new("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        Utf8Path::new("/tmp")
    }
    .to_owned()
}
