//! Finding the installations of a machine.

mod candidate;
mod error;
mod explanation;
mod place;
mod search;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

pub use self::error::{DiscoveryError, DiscoveryErrorKind};
pub use self::explanation::{SearchOutcome, SearchedPlace, SearchedPlaces};
pub use self::place::Source;
pub use self::search::Search;
use crate::command::{DEFAULT_TIMEOUT, Environment, Runner};
use crate::installation::Finder;
use crate::installation::Installation;
use crate::request::Request;

/// How long [`Discovery::find`] waits for a program while another installation may fit: twice this,
/// once for the first program that hangs and once for all others, is less than two seconds.
const PATIENCE: Duration = Duration::from_millis(800);

/// A search for PostgreSQL installations, in the order of [`Source`]: what was asked for by
/// environment variables, then `PATH`, then the places where packages of all kinds put PostgreSQL.
///
/// ```no_run
/// use pg_install::{Discovery, Request};
///
/// let found = Discovery::new().find(&"16".parse::<Request>()?)?;
/// println!("{} ({})", found.installation().version(), found.source());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Nothing is searched before it is needed: [`search`](Self::search) gives an iterator that runs
/// one program for each installation that is taken from it. An installation that is reached in
/// several ways, through symbolic links or by a `pg_config` in another directory, is found once,
/// where it is met first.
///
/// # Environment
///
/// The search reads `PGINSTALLATION`, `PG_CONFIG`, `PATH`, `HOME` and the variables in the table of
/// [`places`](Self::places), from the environment of this process or from the one
/// [given](Self::environment). `PGINSTALLATION` may name a `pg_config` program, a `bin` directory, or
/// the directory above one; `PG_CONFIG` a `pg_config` program, to be looked for on `PATH` if the
/// value has no slash. A variable that is set to nothing counts as not set. If such a variable
/// leads nowhere or to a program that fails, that is a [critical](DiscoveryError::is_critical)
/// error: whoever set it wants to know. A version that was not requested is no error, the search
/// goes on.
#[derive(Clone)]
pub struct Discovery {
    environment: Environment,
    root: Option<Utf8PathBuf>,
    timeout: Duration,
}

/// An installation, and how it was found.
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

    /// Uses these variables in place of the environment of this process: for the search, and,
    /// less those that begin with `PG`, for the programs that it runs.
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

    /// Looks for everything below this directory as if it were the root: an image that is mounted
    /// there, or a tree made for a test. That includes what the environment names.
    ///
    /// Programs are run all the same, and believed in what they say. Absolute symbolic links lead
    /// out of it.
    #[must_use]
    pub fn root(self, directory: impl Into<Utf8PathBuf>) -> Self {
        Self {
            root: Some(directory.into()),
            ..self
        }
    }

    /// How long each program may take: 10 seconds if not told.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Searches lazily: installations in order, between them errors that do not end the search.
    ///
    /// Installations that have no server, as development packages do, are among them:
    /// [`Installation::is_server`].
    pub fn search(&self) -> Search {
        Search::new(self.clone())
    }

    /// Searches everything, with as many programs at a time as there are processors, twice over.
    ///
    /// The order is the same as that of [`search`](Self::search).
    pub fn all(&self) -> Vec<Result<DiscoveredInstallation, DiscoveryError>> {
        let mut search = self.search();
        search.run_ahead();
        search.collect()
    }

    /// Finds a server that is requested: the first one, or the newest. For [`Request::any`] it is
    /// what py-postgresql's `default()` gives, found in more places.
    ///
    /// Installations that cannot be examined, that have no server, or that have another version are
    /// passed over. So are those whose program does not exit within 0.8 seconds, or within the
    /// [time limit](Self::timeout) if that is less, as long as another installation fits; if none
    /// does, they are examined again with the whole time limit. As soon as one program hangs, all
    /// others are examined side by side.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError`] if there is none; it says where it was searched and what was there. If
    /// `PGINSTALLATION` or `PG_CONFIG` is set to something that is no installation, that error.
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

    /// Searches everything and tells what was looked at and what was there.
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

/// Takes from a search what is requested.
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

    /// The installation, to keep.
    pub fn into_installation(self) -> Installation {
        self.installation
    }

    /// What led to it first.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The directory or program that was met first. Not always in the installation itself: a
    /// `pg_config` on `PATH` may describe another directory.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}
