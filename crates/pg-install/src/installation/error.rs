//! Errors of one installation.

use std::borrow::Cow;

use camino::{Utf8Path, Utf8PathBuf};

use crate::command::ProgramError;
use crate::program::Program;
use crate::version::{ParseVersionError, Version};

/// The error of examining a directory, a program or data as an installation.
///
/// ```
/// use std::error::Error as _;
/// use pg_install::{Installation, InstallationErrorKind};
///
/// let error = Installation::from_bin_directory("/missing/bin").unwrap_err();
/// assert!(matches!(error.kind(), InstallationErrorKind::NothingHere));
/// assert_eq!(error.to_string(), "failed to examine /missing/bin");
/// assert_eq!(
///     error.source().unwrap().to_string(),
///     "the directory contains neither postgres nor pg_config",
/// );
/// ```
#[derive(Debug, thiserror::Error)]
#[error("failed to examine {}", place(.path.as_deref()))]
pub struct InstallationError {
    path: Option<Utf8PathBuf>,
    #[source]
    kind: InstallationErrorKind,
}

fn place(path: Option<&Utf8Path>) -> &str {
    path.map_or(
        "the given data as a PostgreSQL installation",
        Utf8Path::as_str,
    )
}

/// The reason why an installation could not be examined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallationErrorKind {
    /// A program could not be run, failed, or printed unexpected output.
    #[error(transparent)]
    Program(ProgramError),
    /// The installation lacks a program that is needed.
    #[error(transparent)]
    MissingProgram(MissingProgramError),
    /// The data contain no `version`.
    #[error("the version is missing")]
    NoVersion,
    /// The `version` is not a PostgreSQL version.
    #[error(transparent)]
    Version(ParseVersionError),
    /// The version or the `bin` directory is not UTF-8.
    #[error("the value of {key} is not UTF-8")]
    #[non_exhaustive]
    NotUtf8 {
        /// The key: `version` or `bindir`.
        key: &'static str,
    },
    /// The directory contains neither `postgres` nor `pg_config`.
    #[error("the directory contains neither postgres nor pg_config")]
    NothingHere,
    /// The directory contains no `postgres`, and its `pg_config` describes another directory.
    #[error(
        "the directory contains no postgres, and its pg_config describes {}",
        or_no_directory(.elsewhere)
    )]
    #[non_exhaustive]
    NotHere {
        /// The directory that `pg_config` describes.
        elsewhere: Option<Utf8PathBuf>,
    },
    /// `pg_config` and `postgres` report different versions.
    #[error("pg_config reports version {pg_config}, but postgres reports {server}")]
    #[non_exhaustive]
    Inconsistent {
        /// The version that `pg_config` reports.
        pg_config: Version,
        /// The version that `postgres` reports.
        server: Version,
    },
}

fn or_no_directory(path: &Option<Utf8PathBuf>) -> &str {
    path.as_deref().map_or("no directory", Utf8Path::as_str)
}

impl InstallationError {
    pub(crate) fn new(path: Option<&Utf8Path>, kind: InstallationErrorKind) -> Self {
        Self {
            path: path.map(Utf8Path::to_owned),
            kind,
        }
    }

    pub(crate) fn at(self, path: &Utf8Path) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..self
        }
    }

    /// The program or directory that was examined. `None` if the caller provided the data.
    pub fn path(&self) -> Option<&Utf8Path> {
        self.path.as_deref()
    }

    /// The reason.
    pub fn kind(&self) -> &InstallationErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            InstallationErrorKind::MissingProgram(missing) => missing.hint(),
            InstallationErrorKind::Inconsistent { .. } => Some(
                "update the packages of the server and of pg_config to the same version".into(),
            ),
            InstallationErrorKind::NotHere {
                elsewhere: Some(elsewhere),
            } => Some(format!("use {elsewhere}").into()),
            _ => None,
        }
    }
}

/// The error of [`Installation::require`](crate::Installation::require): a program is missing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to find {program} of PostgreSQL {version}")]
pub struct MissingProgramError {
    program: Program,
    version: Version,
    #[source]
    kind: MissingProgramErrorKind,
    hint: String,
}

/// The reason why a program cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MissingProgramErrorKind {
    /// The file does not exist.
    #[error("{path} does not exist")]
    #[non_exhaustive]
    NotFound {
        /// The path at which the program should be.
        path: Utf8PathBuf,
    },
    /// The file exists, but is not a regular file or not executable.
    #[error("{path} is not an executable file")]
    #[non_exhaustive]
    NotExecutable {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The `bin` directory of the installation is not known.
    #[error("the bin directory of the installation is not known")]
    NoBinDirectory,
}

impl MissingProgramError {
    pub(super) fn new(
        program: Program,
        version: Version,
        kind: MissingProgramErrorKind,
        hint: String,
    ) -> Self {
        Self {
            program,
            version,
            kind,
            hint,
        }
    }

    /// The program.
    pub fn program(&self) -> Program {
        self.program
    }

    /// The version of the installation, without the vendor's text.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The reason.
    pub fn kind(&self) -> &MissingProgramErrorKind {
        &self.kind
    }

    /// Advice on the package that contains the program on this system.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.hint))
    }
}
