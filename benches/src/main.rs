//! How long things take, beside what they could take at best and what others need.
//!
//! `cargo xtask bench` runs this program, with a server in `PG_TESTS_BINDIRS`. Its arguments are
//! the names of groups; these variables say the rest:
//!
//! * `BENCH_ROUNDS`: how often each is measured, in turns;
//! * `BENCH_STORAGE`: where temporary clusters keep their files;
//! * `BENCH_PEERS`: the directory into which pip and cargo fetch other libraries, which are then
//!   measured too;
//! * `BENCH_WRITE`: put the tables into the documentation;
//! * `BENCH_REALTIME`: as root, waiting threads do not compete for a processor.
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

/// A group of rows, and what measures it.
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

/// How to measure.
struct Plan {
    rounds: usize,
    /// Where temporary clusters keep their files.
    storage: Utf8PathBuf,
    /// Where other libraries are kept, if they are measured.
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
        "the tables of the documentation are of one run of all groups"
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
    // Backwards: what the parser's texts leave of memory would be the next forks' to copy.
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
