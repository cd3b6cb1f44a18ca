//! The search for the installations of a machine.

mod candidate;
mod error;
mod place;
mod search;
mod searched;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

pub use self::error::{DiscoveryError, DiscoveryErrorKind};
pub use self::place::Source;
pub use self::search::Search;
pub use self::searched::{SearchOutcome, SearchedPlace, SearchedPlaces};
use crate::command::{DEFAULT_TIMEOUT, Environment, Runner};
use crate::installation::Finder;
use crate::installation::Installation;
use crate::request::Request;

/// The time limit of [`Discovery::find`] for a program while another installation may match.
///
/// The search waits at most twice this time: once for the first program that hangs, and once for
/// all others. That is less than two seconds.
const PATIENCE: Duration = Duration::from_millis(800);

/// A search for PostgreSQL installations.
///
/// Places are searched in the order of [`Source`]: those that environment variables name, then
/// `PATH`, then the directories into which packages install PostgreSQL.
///
/// ```no_run
/// use pg_install::{Discovery, Request};
///
/// let found = Discovery::new().find(&"16".parse::<Request>()?)?;
/// println!("{} ({})", found.installation().version(), found.source());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The search is lazy. [`search`](Self::search) returns an iterator that runs one program for each
/// installation that it returns. If symbolic links or a `pg_config` in another directory lead to
/// the same installation, it is returned once, at the first place.
///
/// # Environment
///
/// The search reads `PGINSTALLATION`, `PG_CONFIG`, `PATH`, `HOME` and the variables in the table of
/// [`places`](Self::places). It reads them from the environment of this process, or from the one
/// [given](Self::environment). An empty variable is treated as not set.
///
/// * `PGINSTALLATION` names a `pg_config` program, a `bin` directory, or the directory above one.
/// * `PG_CONFIG` names a `pg_config` program, which is searched on `PATH` if the value has no
///   slash.
///
/// If one of these two does not lead to an installation, or if its program fails, the search ends
/// with a [critical](DiscoveryError::is_critical) error. If the version was not requested, the
/// search continues.
#[derive(Clone)]
pub struct Discovery {
    environment: Environment,
    root: Option<Utf8PathBuf>,
    timeout: Duration,
}

/// An installation and the place where it was found.
#[derive(Clone, Debug)]
pub struct DiscoveredInstallation {
    installation: Installation,
    source: Source,
    path: Utf8PathBuf,
}

impl Default for Discovery {
    fn default() -> Self {
        Self::new()
    }
}

impl Discovery {
    /// Creates a search of this machine with the environment of this process.
    pub fn new() -> Self {
        Self {
            environment: std::env::vars_os().collect(),
            root: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Replaces the environment of this process for the search. Programs inherit these variables,
    /// except those that start with `PG`.
    #[must_use]
    pub fn environment<K: Into<OsString>, V: Into<OsString>>(
        self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let environment = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self {
            environment: environment.collect(),
            ..self
        }
    }

    /// Searches below this directory instead of the root directory, for example a mounted image or
    /// the directory of a test. Paths in environment variables are relative to it as well.
    ///
    /// Programs are not run with this root directory, and the paths that they print are used
    /// unchanged. Absolute symbolic links lead out of the directory.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt as _;
    /// use pg_install::{Discovery, Request, Utf8PathBuf};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let root = Utf8PathBuf::try_from(directory.path().canonicalize()?)?;
    /// let bin = root.join("usr/lib/postgresql/16/bin");
    /// std::fs::create_dir_all(&bin)?;
    /// std::fs::write(bin.join("postgres"), "#!/bin/sh\necho 'postgres (PostgreSQL) 16.3'\n")?;
    /// std::fs::set_permissions(bin.join("postgres"), std::fs::Permissions::from_mode(0o755))?;
    ///
    /// let discovery = Discovery::new().root(&root).environment([("PATH", "/usr/bin")]);
    /// let found = discovery.find(&Request::any())?;
    /// assert_eq!(found.installation().version().to_string(), "16.3");
    /// assert_eq!(found.source().to_string(), "Debian");
    /// assert_eq!(found.path(), bin);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn root(self, directory: impl Into<Utf8PathBuf>) -> Self {
        Self {
            root: Some(directory.into()),
            ..self
        }
    }

    /// Sets the time limit of each program. The default is 10 seconds.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Returns an iterator that searches lazily. Its items are installations, in order, and errors
    /// that concern one place.
    ///
    /// Installations without a server, such as development packages, are included; see
    /// [`Installation::is_server`]. After a program has hung, all others are run concurrently.
    ///
    /// ```no_run
    /// use pg_install::Discovery;
    ///
    /// for found in Discovery::new().search() {
    ///     match found {
    ///         Ok(found) => println!("{} in {}", found.installation().version(), found.path()),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    /// }
    /// ```
    pub fn search(&self) -> Search {
        Search::new(self.clone())
    }

    /// Searches all places and runs several programs concurrently.
    ///
    /// ```no_run
    /// use pg_install::Discovery;
    ///
    /// let servers = Discovery::new().all().into_iter().flatten();
    /// for found in servers.filter(|found| found.installation().is_server()) {
    ///     println!("{} via {}", found.installation().version(), found.source());
    /// }
    /// ```
    ///
    ///
    /// The results are those of [`search`](Self::search), in the same order.
    pub fn all(&self) -> Vec<Result<DiscoveredInstallation, DiscoveryError>> {
        let mut search = self.search();
        search.run_ahead();
        search.collect()
    }

    /// Finds the first or the newest server that matches the request. [`Request::any`] corresponds
    /// to py-postgresql's `default()`, with more places.
    ///
    /// Installations are skipped if they cannot be examined, have no server or have another
    /// version. An installation is deferred if its program does not exit within 0.8 seconds, or
    /// within the [time limit](Self::timeout) if that is less. If no other installation matches, it
    /// is examined again with the whole time limit. After one program has hung, all others are run
    /// concurrently.
    ///
    /// # Errors
    ///
    /// Fails with [`DiscoveryErrorKind::NotFound`] if no server matches. The error lists the places
    /// that were searched. Also fails if `PGINSTALLATION` or `PG_CONFIG` does not lead to an
    /// installation.
    pub fn find(&self, request: &Request) -> Result<DiscoveredInstallation, DiscoveryError> {
        let mut search = self.search().with_patience(PATIENCE);
        if request.wants_newest() {
            search.run_ahead();
        }
        let mut chosen = choose(&mut search, request)?;
        if chosen.is_none() && search.resume() {
            chosen = choose(&mut search, request)?;
        }
        chosen.ok_or_else(|| {
            DiscoveryError::not_found(request.clone(), search.into_explanation(), self)
        })
    }

    /// Searches all places and returns the results for each of them.
    ///
    /// ```
    /// use pg_install::{Discovery, SearchOutcome, Source};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let root = pg_install::Utf8PathBuf::try_from(directory.path().to_owned())?;
    /// let explained = Discovery::new().root(root).environment([("PATH", "/bin")]).explain();
    /// let first = &explained.searched()[0];
    /// assert_eq!(first.source(), Source::Pginstallation);
    /// assert!(matches!(&first.outcomes()[0], SearchOutcome::NotSet(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self) -> SearchedPlaces {
        let mut search = self.search();
        search.run_ahead();
        search.by_ref().for_each(drop);
        search.into_explanation()
    }

    /// Returns the patterns of the directories that are searched after those of the environment, in
    /// order.
    ///
    /// In a pattern, `*` stands for any part of a name, `~` for the home directory and `$NAME` for
    /// an environment variable. A pattern with a variable that is not set is skipped. If a pattern
    /// has several matches, the one with the highest number is searched first.
    ///
    /// ```
    /// use pg_install::{Discovery, Source};
    ///
    /// assert!(Discovery::places().any(|place| place == (Source::RedHat, "/usr/pgsql-*/bin")));
    /// ```
    pub fn places() -> impl ExactSizeIterator<Item = (Source, &'static str)> {
        place::PLACES.iter().copied()
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        let mut variables = self.environment.iter();
        let (_, value) = variables.find(|(variable, _)| variable == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// Converts a path on the searched machine to a path of this process.
    fn rooted(&self, path: &Utf8Path) -> Utf8PathBuf {
        match &self.root {
            Some(root) if path.is_absolute() => root.join(path.as_str().trim_start_matches('/')),
            _ => path.to_owned(),
        }
    }

    fn finder(&self, timeout: Duration) -> Finder {
        let runner = Runner::new(Some(self.environment.clone()), timeout);
        Finder {
            runner,
            root: self.root.clone(),
        }
    }
}

/// Returns the requested installation of a search.
fn choose(
    search: &mut Search,
    request: &Request,
) -> Result<Option<DiscoveredInstallation>, DiscoveryError> {
    let mut best: Option<DiscoveredInstallation> = None;
    for found in search {
        let found = match found {
            Ok(found) => found,
            Err(error) if error.is_critical() => return Err(error),
            Err(_) => continue,
        };
        let installation = found.installation();
        if !installation.is_server() || !request.accepts(installation.version()) {
            continue;
        }
        if !request.wants_newest() {
            return Ok(Some(found));
        }
        let best_rank = best.as_ref().map(|best| Request::rank(best.installation()));
        if best_rank.is_none_or(|best| best < Request::rank(installation)) {
            best = Some(found);
        }
    }
    Ok(best)
}

/// Omits the environment, which may contain secrets.
impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("root", &self.root)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl DiscoveredInstallation {
    /// The installation.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Converts the result into the installation.
    pub fn into_installation(self) -> Installation {
        self.installation
    }

    /// The source of the first place that led to the installation.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The first directory or program that led to the installation. It need not be part of the
    /// installation: a `pg_config` on `PATH` may describe another directory.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}
