//! The directories of an installation.

use std::fmt;
use std::str::FromStr;

use crate::name::{self, ParseNameError};

/// A directory that `pg_config` reports, or the makefile of PGXS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum InstallationDirectory {
    /// `bindir`: the programs: `/usr/lib/postgresql/15/bin`.
    Bin,
    /// `docdir`: the documentation.
    Doc,
    /// `htmldir`: the documentation as HTML.
    Html,
    /// `includedir`: headers of the client interfaces.
    Include,
    /// `pkgincludedir`: other headers.
    PkgInclude,
    /// `includedir_server`: headers for building extensions.
    IncludeServer,
    /// `libdir`: libraries to link with, such as libpq.
    Lib,
    /// `pkglibdir`: modules that the server loads.
    PkgLib,
    /// `localedir`: message catalogs.
    Locale,
    /// `mandir`: manual pages.
    Man,
    /// `sharedir`: what is independent of the architecture, such as `postgres.bki` and sample
    /// files.
    Share,
    /// `sysconfdir`: system-wide configuration of clients.
    SysConf,
    /// `pgxs`: the makefile for building extensions; a file, unlike the others.
    Pgxs,
}

const ALL: [InstallationDirectory; 13] = [
    InstallationDirectory::Bin,
    InstallationDirectory::Doc,
    InstallationDirectory::Html,
    InstallationDirectory::Include,
    InstallationDirectory::PkgInclude,
    InstallationDirectory::IncludeServer,
    InstallationDirectory::Lib,
    InstallationDirectory::PkgLib,
    InstallationDirectory::Locale,
    InstallationDirectory::Man,
    InstallationDirectory::Share,
    InstallationDirectory::SysConf,
    InstallationDirectory::Pgxs,
];

impl InstallationDirectory {
    /// All directories, in the order in which `pg_config` prints them.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        ALL.into_iter()
    }

    /// The key in the output of `pg_config`, in the spelling of py-postgresql: `includedir_server`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Bin => "bindir",
            Self::Doc => "docdir",
            Self::Html => "htmldir",
            Self::Include => "includedir",
            Self::PkgInclude => "pkgincludedir",
            Self::IncludeServer => "includedir_server",
            Self::Lib => "libdir",
            Self::PkgLib => "pkglibdir",
            Self::Locale => "localedir",
            Self::Man => "mandir",
            Self::Share => "sharedir",
            Self::SysConf => "sysconfdir",
            Self::Pgxs => "pgxs",
        }
    }
}

/// The key: `bindir`.
impl fmt::Display for InstallationDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// The key: `bindir`.
impl FromStr for InstallationDirectory {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        name::parse(text, "a directory", Self::all())
    }
}
