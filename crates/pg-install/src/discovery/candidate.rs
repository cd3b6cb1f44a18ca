//! Candidates: directories and programs that may lead to an installation.

use camino::{Utf8Path, Utf8PathBuf};

use super::{DiscoveredInstallation, DiscoveryError, Source};
use crate::installation::Installation;
use crate::installation::error::InstallationError;
use crate::installation::{Finder, executable, is_same};
use crate::program::Program;

/// A directory with PostgreSQL's programs, or a `pg_config`, that has not been examined yet.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) source: Source,
    /// The path that was searched.
    pub(super) path: Utf8PathBuf,
    kind: CandidateKind,
    /// The directory of the installation as far as it is known, with all links resolved.
    pub(super) identity: Utf8PathBuf,
}

#[derive(Clone, Debug)]
enum CandidateKind {
    /// A `pg_config` in any directory.
    PgConfig,
    /// A directory with `postgres` and without `pg_config`.
    Server {
        /// The directory of `postgres` with links resolved.
        bin: Utf8PathBuf,
    },
    /// A directory with `pg_config`.
    Described {
        pg_config: Utf8PathBuf,
        /// The directory of `postgres` with links resolved, if the directory contains it.
        server: Option<Utf8PathBuf>,
    },
}

impl Candidate {
    pub(super) fn pg_config(source: Source, path: Utf8PathBuf) -> Self {
        // The directory that it describes is not known until it is run.
        let identity = path.canonicalize_utf8().unwrap_or_else(|_| path.clone());
        Self {
            source,
            path,
            kind: CandidateKind::PgConfig,
            identity,
        }
    }

    /// Returns `None` if the directory contains neither `postgres` nor `pg_config`.
    pub(super) fn directory(source: Source, path: &Utf8Path) -> Option<Self> {
        let pg_config = executable(path, Program::PgConfig);
        let server =
            executable(path, Program::Postgres).map(|postgres| real_directory(&postgres, path));
        let leads_to = server.as_deref().unwrap_or(path);
        let identity = leads_to
            .canonicalize_utf8()
            .unwrap_or_else(|_| leads_to.to_owned());
        let kind = match (pg_config, server) {
            (Some(pg_config), server) => CandidateKind::Described { pg_config, server },
            (None, Some(bin)) => CandidateKind::Server { bin },
            (None, None) => return None,
        };
        Some(Self {
            source,
            path: path.to_owned(),
            kind,
            identity,
        })
    }

    /// Runs the programs that identify the installation, which is almost always one program.
    pub(super) fn examine(
        &self,
        finder: &Finder,
    ) -> Vec<Result<DiscoveredInstallation, DiscoveryError>> {
        let examined = match &self.kind {
            CandidateKind::PgConfig => {
                let described = finder.pg_config(&self.path);
                let own = self.server_beside(&described);
                both(described, own.map(|bin| finder.server_only(bin)))
            }
            CandidateKind::Server { bin } => vec![finder.bin_directory(bin)],
            CandidateKind::Described { pg_config, server } => {
                let described = finder.pg_config(pg_config);
                let own = server.as_deref().filter(|bin| !describes(&described, bin));
                let own = own.map(|bin| match pg_config.parent() == Some(bin) {
                    true => finder.server_only(bin),
                    false => finder.bin_directory(bin),
                });
                both(described, own)
            }
        };
        let found = |installation| DiscoveredInstallation {
            installation,
            source: self.source,
            path: self.path.clone(),
        };
        examined
            .into_iter()
            .map(|result| {
                result
                    .map(found)
                    .map_err(|e| DiscoveryError::examine(self.source, e))
            })
            .collect()
    }
}

impl Candidate {
    /// Returns the directory of a `pg_config` that does not report a `bin` directory, if that
    /// directory contains a server.
    ///
    /// If `PGINSTALLATION` names the installation, the `pg_config` may even fail. The `pg_config`
    /// of nixpkgs does so in a profile, because it is in another package.
    fn server_beside(&self, described: &Examined) -> Option<&Utf8Path> {
        let is_useless = match described {
            Ok(installation) => installation.bindir().is_none(),
            Err(_) => self.source == Source::Pginstallation,
        };
        let bin = self.path.parent().filter(|_| is_useless)?;
        executable(bin, Program::Postgres).map(|_| bin)
    }
}

type Examined = Result<Installation, InstallationError>;

fn describes(described: &Examined, bin: &Utf8Path) -> bool {
    described
        .as_ref()
        .is_ok_and(|i| i.bindir().is_some_and(|bindir| is_same(bindir, bin)))
}

/// Returns the installations of a directory whose `pg_config` describes another directory, and
/// whose `postgres` may be a separate installation.
///
/// If the versions are equal, the directory contains shims for the other one's programs, and there
/// is one installation.
fn both(described: Examined, own: Option<Examined>) -> Vec<Examined> {
    match (described, own) {
        (described, None) => vec![described],
        (Ok(described), Some(Ok(own))) if described.bindir().is_none() => vec![Ok(own)],
        (Ok(described), Some(Ok(own)))
            if described.is_server() && described.version() == own.version() =>
        {
            vec![Ok(described)]
        }
        (described, Some(own)) => vec![described, own],
    }
}

/// Returns the directory of a program. If the program is a symbolic link to one of the same name,
/// returns the directory of the target: `/usr/bin/postgres` may be the only link to
/// `/usr/libexec/postgresql16`.
fn real_directory(program: &Utf8Path, directory: &Utf8Path) -> Utf8PathBuf {
    let target = program
        .is_symlink()
        .then(|| program.canonicalize_utf8().ok())
        .flatten()
        .filter(|target| target.file_name() == program.file_name());
    target
        .as_deref()
        .and_then(Utf8Path::parent)
        .unwrap_or(directory)
        .to_owned()
}
