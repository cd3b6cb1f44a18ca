//! One of the two access files: read, replaced, and compared with what the server reads in it.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use pgconf_parse::hba::{EditError, ReadError, Server};
use pgconf_parse::{LoadError, Loader};

use super::{AccessError, AccessErrorKind, AccessProblem};
use crate::Cluster;
use crate::locked_file::LockedFile;
use crate::settings::Readable;

/// The rows of an answer, as text.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// The caller's query, with its error boxed.
pub(super) type Ask<'a> = dyn FnMut(&str) -> Result<Rows, AccessErrorKind> + 'a;

/// One of the two files of a cluster.
#[derive(Debug)]
pub(super) struct RuleFile<'c> {
    pub(super) cluster: &'c Cluster,
    pub(super) path: Utf8PathBuf,
    pub(super) server: Server,
    /// The setting that names the file.
    pub(super) setting: &'static str,
    /// The view that reads the file anew, where the server has it.
    pub(super) view: Option<&'static str>,
    pub(super) problems: Problems,
}

/// Reads the file through a loader and returns the lines that the server would reject.
type Problems = fn(&dyn Loader, &Path, &Server) -> Result<Vec<AccessProblem>, ReadError>;

impl RuleFile<'_> {
    pub(super) fn failed(&self, operation: &'static str, kind: AccessErrorKind) -> AccessError {
        AccessError::new(operation, self.path.clone(), kind)
    }

    pub(super) fn files(&self) -> Readable<'_> {
        Readable::by(self.cluster.account())
    }

    /// Fails if the server would reject the file.
    pub(super) fn require_accepted(&self, files: &dyn Loader) -> Result<(), AccessErrorKind> {
        let problems = (self.problems)(files, self.path.as_std_path(), &self.server)
            .map_err(AccessErrorKind::Load)?;
        match problems.is_empty() {
            true => Ok(()),
            false => Err(AccessErrorKind::Rejected(problems)),
        }
    }

    /// Replaces the file by the result of `change`. With `ask`, has the running server judge and
    /// reload it. Returns whether the content has changed.
    pub(super) fn edit(
        &self,
        change: impl FnOnce(&[u8]) -> Result<Vec<u8>, EditError>,
        ask: Option<&mut Ask<'_>>,
    ) -> Result<bool, AccessErrorKind> {
        let held = LockedFile::acquire(self.cluster, &self.path)?;
        let old = held.read().map_err(AccessErrorKind::Read)?;
        let new = change(&old).map_err(AccessErrorKind::Edit)?;
        self.require_accepted(&Changed {
            files: self.files(),
            path: self.path.as_std_path(),
            content: &new,
        })?;
        let put = |content: &[u8]| held.stage(content)?.commit();
        let is_changed = new != old;
        let Some(ask) = ask else {
            if is_changed {
                put(&new).map_err(AccessErrorKind::Write)?;
            }
            return Ok(is_changed);
        };
        self.require_used(ask)?;
        if is_changed {
            put(&new).map_err(AccessErrorKind::Write)?;
        }
        if let Err(failure) = self.require_accepted_by_server(ask) {
            return Err(match is_changed.then(|| put(&old)) {
                None | Some(Ok(())) => failure,
                Some(Err(error)) => AccessErrorKind::NotRestored {
                    failure: Box::new(failure),
                    error,
                },
            });
        }
        self.cluster
            .reload_and_verify(|sql| ask(sql))
            .map_err(AccessErrorKind::Reload)?;
        Ok(is_changed)
    }

    /// The setting that names the file takes effect at the start of the server.
    fn require_used(&self, ask: &mut Ask<'_>) -> Result<(), AccessErrorKind> {
        let rows = ask(&format!(
            "SELECT pg_catalog.current_setting('{}')",
            self.setting
        ))?;
        let Some(Some(used)) = rows.first().and_then(|row| row.first()) else {
            return Err(AccessErrorKind::Answer(format!("{rows:?}")));
        };
        // The server's working directory is its data directory.
        let used = self.cluster.data_directory().join(used);
        let real = |path: &Utf8Path| path.canonicalize_utf8().unwrap_or(path.to_owned());
        match real(&used) == real(&self.path) {
            true => Ok(()),
            false => Err(AccessErrorKind::OtherFile(used)),
        }
    }

    /// Asks the server's view, which reads the file as it is now.
    fn require_accepted_by_server(&self, ask: &mut Ask<'_>) -> Result<(), AccessErrorKind> {
        let Some(view) = self.view else {
            return Ok(());
        };
        // The view has the file since PostgreSQL 16.
        let file = match self.server.major() {
            16.. => "file_name",
            _ => "NULL",
        };
        let rows = ask(&format!(
            "SELECT line_number, error, {file} FROM pg_catalog.{view} WHERE error IS NOT NULL"
        ))?;
        let mut problems = Vec::new();
        for row in rows {
            let [line, Some(message), file] = row.as_slice() else {
                return Err(AccessErrorKind::Answer(format!("{row:?}")));
            };
            // A rule that can never match, as for TLS on a server without it, is a warning.
            // Source: `parse_hba_line` in hba.c.
            if message.contains("record cannot match because") {
                continue;
            }
            let file = file.as_ref().map_or(self.path.clone(), Utf8PathBuf::from);
            let line = line.as_ref().and_then(|line| line.parse().ok());
            problems.push(AccessProblem::new(file, line, message.clone()));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(AccessErrorKind::Rejected(problems)),
        }
    }
}

/// Boxes the error of the caller's query.
pub(super) fn boxed<E: Into<Box<dyn Error + Send + Sync>>>(
    mut query: impl FnMut(&str) -> Result<Rows, E>,
) -> impl FnMut(&str) -> Result<Rows, AccessErrorKind> {
    move |sql| query(sql).map_err(|error| AccessErrorKind::Query(error.into()))
}

/// The files of this machine, with one of them changed.
struct Changed<'a> {
    files: Readable<'a>,
    path: &'a Path,
    content: &'a [u8],
}

impl Loader for Changed<'_> {
    fn load(&self, file: &Path) -> Result<Vec<u8>, LoadError> {
        match file == self.path {
            true => Ok(self.content.to_vec()),
            false => self.files.load(file),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.files.list(directory)
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        self.files.is_directory(path)
    }
}
