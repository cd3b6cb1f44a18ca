//! Errors about one installation.

use std::borrow::Cow;
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::{ParseVersionError, Program, ProgramError, Version};

/// Something that is no installation, or one that is not as it should be.
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

/// What is wrong with an installation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallationErrorKind {
    /// A program could not be run, or failed, or printed something unexpected.
    #[error(transparent)]
    Program(ProgramError),
    /// A program that is needed is not there.
    #[error(transparent)]
    MissingProgram(MissingProgramError),
    /// There is no `version` among the data.
    #[error("there is no version in it")]
    NoVersion,
    /// The `version` is none of PostgreSQL's.
    #[error(transparent)]
    Version(ParseVersionError),
    /// The version or the `bin` directory is not UTF-8.
    #[error("its {key} is not UTF-8")]
    #[non_exhaustive]
    NotUtf8 {
        /// The key whose value it is: `version` or `bindir`.
        key: &'static str,
    },
    /// There is neither a `postgres` nor a `pg_config` in the directory.
    #[error("there is neither postgres nor pg_config in it")]
    NothingHere,
    /// There is no `postgres`, and the `pg_config` belongs to another directory.
    #[error("there is no postgres in it, and its pg_config describes {}", or_no_directory(.elsewhere))]
    #[non_exhaustive]
    NotHere {
        /// The directory that it describes.
        elsewhere: Option<Utf8PathBuf>,
    },
    /// `pg_config` and `postgres` have different versions.
    #[error("pg_config says {pg_config}, but postgres says {server}")]
    #[non_exhaustive]
    Inconsistent {
        /// What `pg_config` says.
        pg_config: Version,
        /// What `postgres` says.
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

    /// The program or directory that was examined; none if it was the caller's data.
    pub fn path(&self) -> Option<&Utf8Path> {
        self.path.as_deref()
    }

    /// What is wrong.
    pub fn kind(&self) -> &InstallationErrorKind {
        &self.kind
    }

    /// What may help.
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

/// An installation lacks a program.
#[derive(Clone, Debug)]
pub struct MissingProgramError {
    pub(crate) program: Program,
    pub(crate) version: Version,
    pub(crate) bin_directory: Option<Utf8PathBuf>,
    pub(crate) not_executable: bool,
    pub(crate) hint: String,
}

impl MissingProgramError {
    /// The program.
    pub fn program(&self) -> Program {
        self.program
    }

    /// The version of the installation.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The only directory where it was looked for; none if the installation's is not known.
    pub fn bin_directory(&self) -> Option<&Utf8Path> {
        self.bin_directory.as_deref()
    }

    /// What may help: on which systems which package has it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.hint))
    }
}

impl fmt::Display for MissingProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            program, version, ..
        } = self;
        let version = version.without_vendor();
        match &self.bin_directory {
            Some(bin) if self.not_executable => {
                write!(
                    f,
                    "{bin}/{program} of PostgreSQL {version} is no executable file"
                )
            }
            Some(bin) => write!(f, "there is no {program} of PostgreSQL {version} in {bin}"),
            None => write!(
                f,
                "there is no {program} of PostgreSQL {version}: its bin directory is not known"
            ),
        }
    }
}

impl std::error::Error for MissingProgramError {}
