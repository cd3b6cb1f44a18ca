//! The results of a search by place.

use std::error::Error;
use std::fmt;

use camino::Utf8PathBuf;

use super::{DiscoveredInstallation, DiscoveryError, Source};
use crate::version::Version;

/// The places that were searched, in order, with their results.
///
/// `Display` writes one line per result, and then lists the places without results.
#[derive(Clone, Default)]
pub struct SearchedPlaces(Vec<SearchedPlace>);

/// A place that was searched, with its results.
#[derive(Clone, Debug)]
pub struct SearchedPlace {
    source: Source,
    place: Box<str>,
    outcomes: Vec<SearchOutcome>,
}

/// One result of searching a place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SearchOutcome {
    /// The environment variable is not set.
    NotSet(Box<str>),
    /// The directory exists but contains neither `postgres` nor `pg_config`.
    NoPrograms(Utf8PathBuf),
    /// An installation was found.
    #[non_exhaustive]
    Found {
        /// The `bin` directory of the installation.
        path: Utf8PathBuf,
        /// The version of the installation.
        version: Version,
        /// True if it contains a server.
        is_server: bool,
    },
    /// An installation that was found before.
    Duplicate(Utf8PathBuf),
    /// The examination failed. The text is that of the error with its causes.
    Failed(Box<str>),
}

impl SearchedPlaces {
    pub(super) fn new(searched: Vec<SearchedPlace>) -> Self {
        Self(searched)
    }

    /// The places, in the order of the search.
    pub fn searched(&self) -> &[SearchedPlace] {
        &self.0
    }
}

impl SearchedPlace {
    pub(super) fn new(source: Source, place: &str, outcomes: Vec<SearchOutcome>) -> Self {
        Self {
            source,
            place: place.into(),
            outcomes,
        }
    }

    pub(super) fn push(&mut self, outcome: SearchOutcome) {
        self.outcomes.push(outcome);
    }

    /// The source of the place.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The variable with its value, the directory on `PATH`, or the pattern.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The results. Empty if no such directory exists.
    pub fn outcomes(&self) -> &[SearchOutcome] {
        &self.outcomes
    }

    fn has_programs(&self) -> bool {
        let is_program = |outcome: &SearchOutcome| {
            !matches!(
                outcome,
                SearchOutcome::NotSet(_) | SearchOutcome::NoPrograms(_)
            )
        };
        self.outcomes.iter().any(is_program)
    }
}

impl SearchOutcome {
    pub(super) fn found(found: &DiscoveredInstallation) -> Self {
        let installation = found.installation();
        Self::Found {
            path: installation.bindir().unwrap_or(found.path()).to_owned(),
            version: installation.version().clone(),
            is_server: installation.is_server(),
        }
    }

    pub(super) fn failed(error: &DiscoveryError) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self::Failed(text.into())
    }
}

impl fmt::Display for SearchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet(variable) => write!(f, "{variable} is not set"),
            Self::NoPrograms(path) => write!(f, "{path} contains no PostgreSQL programs"),
            Self::Found {
                path,
                version,
                is_server: true,
            } => write!(f, "PostgreSQL {version} in {path}"),
            Self::Found {
                path,
                version,
                is_server: false,
            } => {
                write!(f, "PostgreSQL {version} without a server, in {path}")
            }
            Self::Duplicate(path) => write!(f, "{path} was found before"),
            Self::Failed(error) => f.write_str(error),
        }
    }
}

/// Writes the [`Display`](fmt::Display) form, so that `unwrap` in a test shows a readable text.
impl fmt::Debug for SearchedPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SearchedPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (there, nothing): (Vec<_>, Vec<_>) = self.0.iter().partition(|s| s.has_programs());
        for SearchedPlace {
            source,
            place,
            outcomes,
        } in &there
        {
            for outcome in outcomes {
                writeln!(f, "{source}: {place}: {outcome}")?;
            }
        }
        f.write_str("nothing at: ")?;
        let mut last = None;
        for SearchedPlace { source, place, .. } in nothing {
            match last {
                Some(last) if last == source => write!(f, ", {place}")?,
                last => {
                    let separator = if last.is_some() { "; " } else { "" };
                    write!(f, "{separator}{source}")?;
                    // If a variable is not set, the place is the name of the source.
                    if source.to_string() != **place {
                        write!(f, ": {place}")?;
                    }
                }
            }
            last = Some(source);
        }
        Ok(())
    }
}
