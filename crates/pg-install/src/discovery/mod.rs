//! Finding the installations of a machine.

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

/// How long [`Discovery::find`] waits for a program while another installation may fit: twice this,
/// once for the first program that hangs and once for all others, is less than two seconds.
const PATIENCE: Duration = Duration::from_millis(800);

/// A search for PostgreSQL installations, in the order of [`Source`]: first those that environment
/// variables name, then `PATH`, then the places where packages install PostgreSQL.
///
/// ```no_run
/// use pg_install::{Discovery, Request};
///
/// let found = Discovery::new().find(&"16".parse::<Request>()?)?;
/// println!("{} ({})", found.installation().version(), found.source());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Nothing is searched before it is needed: [`search`](Self::search) returns an iterator that runs
/// one program for each installation that is taken from it. An installation that is reached in
/// several ways, through symbolic links or by a `pg_config` in another directory, is reported
/// once, where it is found first.
///
/// # Environment
///
/// The search reads `PGINSTALLATION`, `PG_CONFIG`, `PATH`, `HOME` and the variables in the table of
/// [`places`](Self::places), from the environment of this process or from the one
/// [given](Self::environment). `PGINSTALLATION` may name a `pg_config` program, a `bin` directory,
/// or the directory above one; `PG_CONFIG` a `pg_config` program, to be looked for on `PATH` if the
/// value has no slash. An empty variable counts as not set. If `PGINSTALLATION` or `PG_CONFIG`
/// leads nowhere or to a program that fails, the search ends with a
/// [critical](DiscoveryError::is_critical) error. If it leads to a version that was not requested,
/// the search goes on.
#[derive(Clone)]
pub struct Discovery {
    environment: Environment,
    root: Option<Utf8PathBuf>,
    timeout: Duration,
}

/// An installation and the way by which it was found.
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
    /// A search of this machine with the environment of this process.
    pub fn new() -> Self {
        Self {
            environment: std::env::vars_os().collect(),
            root: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Uses these variables instead of the environment of this process for the search. The programs
    /// inherit them, except those that start with `PG`.
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

    /// Searches below this directory as if it were the root directory, such as a mounted image or a
    /// tree made for a test. Paths in environment variables are below it as well.
    ///
    /// Programs run outside of it, and the paths that they print are used as they are. Absolute
    /// symbolic links lead out of the directory.
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

    /// Searches lazily. Returns installations in order, and between them errors that do not end the
    /// search.
    ///
    /// Installations without a server, such as development packages, are included; see
    /// [`Installation::is_server`]. After a program has hung, all others are examined side by side.
    pub fn search(&self) -> Search {
        Search::new(self.clone())
    }

    /// Searches all places, running several programs at a time.
    ///
    /// The results are those of [`search`](Self::search), in the same order.
    pub fn all(&self) -> Vec<Result<DiscoveredInstallation, DiscoveryError>> {
        let mut search = self.search();
        search.run_ahead();
        search.collect()
    }

    /// Finds the first or the newest server that matches the request. For [`Request::any`] this is
    /// what py-postgresql's `default()` returns, found in more places.
    ///
    /// Installations that cannot be examined, that have no server, or that have another version are
    /// passed over. So are those whose program does not exit within 0.8 seconds, or within the
    /// [time limit](Self::timeout) if that is less, as long as another installation fits; if none
    /// does, they are examined again with the whole time limit. As soon as one program hangs, all
    /// others are examined side by side.
    ///
    /// # Errors
    ///
    /// Fails with [`DiscoveryErrorKind::NotFound`] if no server matches; the error lists the places
    /// that were searched. Fails if `PGINSTALLATION` or `PG_CONFIG` does not lead to an
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

    /// Searches all places and returns what was found at each of them.
    pub fn explain(&self) -> SearchedPlaces {
        let mut search = self.search();
        search.run_ahead();
        search.by_ref().for_each(drop);
        search.into_explanation()
    }

    /// The places that are searched after the environment's, in order, as patterns: `*` stands for
    /// any part of a name, `~` for the home directory, `$NAME` for an environment variable; a
    /// pattern with a variable that is not set is left out.
    ///
    /// Where a pattern has several matches, the one with the highest number comes first.
    pub fn places() -> impl ExactSizeIterator<Item = (Source, &'static str)> {
        place::PLACES.iter().copied()
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        let mut variables = self.environment.iter();
        let (_, value) = variables.find(|(variable, _)| variable == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// A path of the searched machine as this process has to spell it.
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

/// Takes the requested installation from a search.
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

/// Without the environment, which may hold secrets.
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

    /// Returns the installation.
    pub fn into_installation(self) -> Installation {
        self.installation
    }

    /// The way by which it was found first.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The directory or program that was found first. It is not always part of the installation: a
    /// `pg_config` on `PATH` may describe another directory.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}
