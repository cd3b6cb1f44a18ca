//! The places that a search has looked at.

use std::error::Error;
use std::fmt;

use camino::Utf8PathBuf;

use super::{DiscoveredInstallation, DiscoveryError, Source};
use crate::version::Version;

/// The places that were searched, in order, and what was found there.
///
/// The displayed text has a line for each result, and lists the places without one after them.
#[derive(Clone, Default)]
pub struct SearchedPlaces(Vec<SearchedPlace>);

/// A place that was searched.
#[derive(Clone, Debug)]
pub struct SearchedPlace {
    source: Source,
    place: Box<str>,
    outcomes: Vec<SearchOutcome>,
}

/// A result at a place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SearchOutcome {
    /// The environment variable is not set.
    NotSet(Box<str>),
    /// The directory exists but contains neither `postgres` nor `pg_config`.
    NoPrograms(Utf8PathBuf),
    /// An installation.
    #[non_exhaustive]
    Found {
        /// Its `bin` directory.
        path: Utf8PathBuf,
        /// Its version.
        version: Version,
        /// True if it contains a server.
        is_server: bool,
    },
    /// An installation that was found before.
    Duplicate(Utf8PathBuf),
    /// A failed examination: the error with its causes.
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

    /// The reason for searching this place.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The variable with its value, the directory on `PATH`, or the pattern.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The results, or none if no such directory exists.
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
            Self::Duplicate(path) => write!(f, "{path} again"),
            Self::Failed(error) => f.write_str(error),
        }
    }
}

/// The same as [`Display`](fmt::Display), so that a test that unwraps the error of a search shows a
/// readable text.
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
                    // The name of a variable says it all if the variable is not set.
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
