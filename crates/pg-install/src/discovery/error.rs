//! Errors of searches.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;

use camino::Utf8PathBuf;

use super::{Discovery, SearchedPlaces, Source};
use crate::installation::error::InstallationError;
use crate::package::PackageSystem;
use crate::program::Component;
use crate::request::Request;

/// The error of a search, or of one place in a search.
///
/// ```
/// use pg_install::{Discovery, DiscoveryErrorKind, Request};
///
/// let directory = tempfile::tempdir()?;
/// let root = pg_install::Utf8PathBuf::try_from(directory.path().to_owned())?;
/// let discovery = Discovery::new().root(root).environment([("PATH", "/usr/bin")]);
/// let error = discovery.find(&Request::any()).unwrap_err();
/// assert!(matches!(error.kind(), DiscoveryErrorKind::NotFound { .. }));
/// assert!(error.explanation().unwrap().to_string().contains("PATH: /usr/bin"));
/// assert!(error.hint().unwrap().contains("PGINSTALLATION"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[error("failed to find PostgreSQL{}", via(*.origin))]
pub struct DiscoveryError {
    origin: Option<Source>,
    #[source]
    kind: DiscoveryErrorKind,
    hint: Option<Box<str>>,
}

fn via(origin: Option<Source>) -> String {
    origin
        .map(|origin| format!(" via {origin}"))
        .unwrap_or_default()
}

/// The reason why a search or a part of it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryErrorKind {
    /// No server in any place matches the request.
    #[error("no server matches the request {request}\n{explanation}")]
    #[non_exhaustive]
    NotFound {
        /// The request.
        request: Request,
        /// The places that were searched, and the results.
        explanation: Box<SearchedPlaces>,
    },
    /// An environment variable names a place that does not contain PostgreSQL.
    #[error("{} does not lead to PostgreSQL", .value.to_string_lossy())]
    #[non_exhaustive]
    NothingNamed {
        /// The value of the variable.
        value: OsString,
    },
    /// A directory could not be read.
    #[error("the directory {path} cannot be read")]
    #[non_exhaustive]
    Read {
        /// The directory.
        path: Utf8PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// A directory or program that looked like an installation could not be examined.
    #[error(transparent)]
    Examine(Box<InstallationError>),
}

impl DiscoveryError {
    pub(super) fn not_found(
        request: Request,
        explanation: SearchedPlaces,
        discovery: &Discovery,
    ) -> Self {
        let packages = PackageSystem::read(discovery.root.as_deref());
        let hint = format!(
            "{}, or set PGINSTALLATION to a directory that contains bin/postgres",
            packages.hint(Component::Server, request.only_series())
        );
        let kind = DiscoveryErrorKind::NotFound {
            request,
            explanation: Box::new(explanation),
        };
        Self {
            origin: None,
            kind,
            hint: Some(hint.into()),
        }
    }

    pub(super) fn nothing_named(source: Source, value: OsString) -> Self {
        let hint = format!("correct or unset {source}").into();
        Self {
            origin: Some(source),
            kind: DiscoveryErrorKind::NothingNamed { value },
            hint: Some(hint),
        }
    }

    pub(super) fn read(source: Source, path: Utf8PathBuf, error: io::Error) -> Self {
        let kind = DiscoveryErrorKind::Read { path, error };
        Self {
            origin: Some(source),
            kind,
            hint: None,
        }
    }

    pub(super) fn examine(source: Source, error: InstallationError) -> Self {
        let hint = source
            .is_explicit()
            .then(|| format!("correct or unset {source}").into());
        Self {
            origin: Some(source),
            kind: DiscoveryErrorKind::Examine(Box::new(error)),
            hint,
        }
    }

    /// Returns whether the error ends the search: no installation was found, or the one that a
    /// variable names does not exist.
    ///
    /// Other errors concern one of several places, and the search continues.
    pub fn is_critical(&self) -> bool {
        self.origin.is_none_or(Source::is_explicit)
    }

    /// The source of the place. `None` if the search as a whole failed.
    pub fn origin(&self) -> Option<Source> {
        self.origin
    }

    /// The reason.
    pub fn kind(&self) -> &DiscoveryErrorKind {
        &self.kind
    }

    /// The error of the examination, if the examination failed.
    pub(super) fn examined(&self) -> Option<&InstallationError> {
        match &self.kind {
            DiscoveryErrorKind::Examine(error) => Some(error),
            _ => None,
        }
    }

    /// The places that were searched, if no installation was found.
    pub fn explanation(&self) -> Option<&SearchedPlaces> {
        match &self.kind {
            DiscoveryErrorKind::NotFound { explanation, .. } => Some(explanation),
            _ => None,
        }
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        self.hint.as_deref().map(Cow::Borrowed)
    }
}
