//! What may go wrong in a search.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;

use camino::Utf8PathBuf;

use super::{Discovery, Explanation, Source};
use crate::package::PackageSystem;
use crate::{Component, InstallationError, Request};

/// A search that found nothing, or a place that could not be searched.
#[derive(Debug, thiserror::Error)]
#[error("failed to find PostgreSQL{}", by_way_of(*.origin))]
pub struct DiscoveryError {
    origin: Option<Source>,
    #[source]
    kind: DiscoveryErrorKind,
    hint: Option<Box<str>>,
}

fn by_way_of(origin: Option<Source>) -> String {
    origin
        .map(|origin| format!(" by way of {origin}"))
        .unwrap_or_default()
}

/// What went wrong in a search.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryErrorKind {
    /// No server is what was requested, in any place.
    #[error("no server fits the request {request}\n{explanation}")]
    #[non_exhaustive]
    NotFound {
        /// What was requested.
        request: Request,
        /// What was searched, and what was there instead.
        explanation: Box<Explanation>,
    },
    /// A variable names a place where there is no PostgreSQL.
    #[error("there is no PostgreSQL at {}", .value.to_string_lossy())]
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
        /// Why not.
        source: io::Error,
    },
    /// What looked like an installation could not be examined.
    #[error(transparent)]
    Examine(Box<InstallationError>),
}

impl DiscoveryError {
    pub(super) fn not_found(
        request: Request,
        explanation: Explanation,
        discovery: &Discovery,
    ) -> Self {
        let packages = PackageSystem::read(discovery.root.as_deref());
        let hint = format!(
            "{}, or set PGINSTALLATION to a directory that holds bin/postgres",
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
        let kind = DiscoveryErrorKind::Read {
            path,
            source: error,
        };
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

    /// Whether the search cannot go on: nothing was found, or what a variable asks for is not
    /// there.
    ///
    /// Other errors concern one place among many.
    pub fn is_critical(&self) -> bool {
        self.origin.is_none_or(Source::is_explicit)
    }

    /// What led to the place; none if the search as a whole found nothing.
    pub fn origin(&self) -> Option<Source> {
        self.origin
    }

    /// What went wrong.
    pub fn kind(&self) -> &DiscoveryErrorKind {
        &self.kind
    }

    /// What could not be examined, and why.
    pub(super) fn examined(&self) -> Option<&InstallationError> {
        match &self.kind {
            DiscoveryErrorKind::Examine(error) => Some(error),
            _ => None,
        }
    }

    /// What was searched, if the search found nothing.
    pub fn explanation(&self) -> Option<&Explanation> {
        match &self.kind {
            DiscoveryErrorKind::NotFound { explanation, .. } => Some(explanation),
            _ => None,
        }
    }

    /// What may help.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        self.hint.as_deref().map(Cow::Borrowed)
    }
}
