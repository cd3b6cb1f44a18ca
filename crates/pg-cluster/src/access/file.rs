//! The operations that both access files share: reading, replacing, and comparing with the rules
//! that the server reads.

use std::error::Error;
use std::marker::PhantomData;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::FileErrorKind;
use pgconf_parse::hba::{self, EditError, ReadError, Rules, Server};
use pgconf_parse::ident::{self, Mappings};
use pgconf_parse::{Edited, Loader};

use super::{AccessError, AccessErrorKind, AccessProblem};
use crate::Cluster;
use crate::files::{MAX_TEXT, lossy};
use crate::settings::Readable;

/// The rows of an answer, as text.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// The caller's query, with its error boxed.
type Ask<'a> = dyn FnMut(&str) -> Result<Rows, AccessErrorKind> + 'a;

/// A `pg_hba.conf` or `pg_ident.conf` of a cluster: see [`Hba`](crate::Hba) and
/// [`Ident`](crate::Ident).
#[derive(Debug)]
pub struct AccessFile<'c, D> {
    pub(super) cluster: &'c Cluster,
    pub(super) path: Utf8PathBuf,
    pub(super) server: Server,
    pub(super) document: PhantomData<fn() -> D>,
}

/// The document of an access file: of `pg_hba.conf` or of `pg_ident.conf`. The trait is sealed.
pub trait AccessDocument: sealed::Document {}

impl<D: sealed::Document> AccessDocument for D {}

pub(super) mod sealed {
    use super::*;

    pub trait Document: Sized {
        /// The setting that names the file.
        const SETTING: &'static str;
        /// The view that reads the file anew, and the first major version that has it.
        const VIEW: (&'static str, u16);

        fn parse(source: Vec<u8>, major: u16) -> Self;

        fn into_bytes(self) -> Vec<u8>;

        /// The problems for which the server would reject the file.
        fn problems(
            files: &dyn Loader,
            path: &Path,
            server: &Server,
        ) -> Result<Vec<AccessProblem>, ReadError>;
    }

    impl Document for hba::Document {
        const SETTING: &'static str = "hba_file";
        const VIEW: (&'static str, u16) = ("pg_hba_file_rules", 10);

        fn parse(source: Vec<u8>, major: u16) -> Self {
            Self::parse_for(source, major)
        }

        fn into_bytes(self) -> Vec<u8> {
            self.into_bytes()
        }

        fn problems(
            files: &dyn Loader,
            path: &Path,
            server: &Server,
        ) -> Result<Vec<AccessProblem>, ReadError> {
            Ok(of_rules(&Rules::load(files, path, server)?, &lossy(path)))
        }
    }

    impl Document for ident::Document {
        const SETTING: &'static str = "ident_file";
        const VIEW: (&'static str, u16) = ("pg_ident_file_mappings", 15);

        fn parse(source: Vec<u8>, major: u16) -> Self {
            Self::parse_for(source, major)
        }

        fn into_bytes(self) -> Vec<u8> {
            self.into_bytes()
        }

        fn problems(
            files: &dyn Loader,
            path: &Path,
            server: &Server,
        ) -> Result<Vec<AccessProblem>, ReadError> {
            Ok(of_mappings(&Mappings::load(files, path, server)?))
        }
    }
}

pub(super) fn of_rules(rules: &Rules, path: &Utf8Path) -> Vec<AccessProblem> {
    let errors = rules.errors().filter(|error| !error.is_warning());
    let mut problems: Vec<AccessProblem> = errors
        .map(|error| {
            let (file, line) = (lossy(error.file()), Some(error.line()));
            AccessProblem::new(file, line, error.to_string()).with_hint(error.hint())
        })
        .collect();
    if problems.is_empty() && !rules.is_accepted() {
        let message = "the file contains no entries".to_owned();
        problems.push(AccessProblem::new(path.to_owned(), None, message));
    }
    problems
}

pub(super) fn of_mappings(mappings: &Mappings) -> Vec<AccessProblem> {
    let errors = mappings.errors().map(|error| {
        AccessProblem::new(lossy(error.file()), Some(error.line()), error.to_string())
    });
    errors.collect()
}

impl<D: AccessDocument> AccessFile<'_, D> {
    /// The path of the file, as configured. It may be a symbolic link.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The file as a document, without the files that it includes.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn document(&self) -> Result<D, AccessError> {
        let content = self.files().load(self.path.as_std_path());
        let content = content
            .map_err(|error| self.failed("read", FileErrorKind::Read(error.into()).into()))?;
        Ok(D::parse(content, self.server.major()))
    }

    /// Returns successfully if the server would accept the file.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Err(error) = cluster.hba().validate() {
    ///     println!("{}", pg_cluster::Report::new(&error));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`AccessErrorKind::Rejected`] if it would not, or if the file cannot be read.
    pub fn validate(&self) -> Result<(), AccessError> {
        self.require_accepted(&self.files())
            .map_err(|kind| self.failed("validate", kind))
    }

    /// Changes the file: one read, one write, under the lock. Nothing is written if the closure
    /// leaves the document as it was. Returns whether the content has changed. A running server
    /// uses the rules after a [reload](Cluster::reload).
    ///
    /// # Errors
    ///
    /// Fails with the error of the closure, if the server would reject the changed file, or if the
    /// file cannot be read or replaced. The file is then as it was.
    pub fn edit(
        &self,
        change: impl FnOnce(&mut D) -> Result<(), EditError>,
    ) -> Result<bool, AccessError> {
        self.replace(self.changing(change), None)
            .map_err(|kind| self.failed("change", kind))
    }

    /// Changes the file, has the running server check it, and has the server use it. Waits until
    /// the server has read the file. The new rules apply to connections that begin after that.
    ///
    /// The server's view of the file reads the file that is in place. So the file is replaced
    /// first, then checked, and the old content is restored if the server rejects the new one. A
    /// reload by another program meanwhile is harmless: the server then rejects the file as well
    /// and keeps its rules. `query` runs statements as a superuser: see
    /// [`Cluster::reload_and_verify`].
    ///
    /// # Errors
    ///
    /// Fails as [`edit`](Self::edit) does, and if the server rejects the file, uses another file,
    /// or cannot be queried. The old file is then restored, except after
    /// [`AccessErrorKind::NotRestored`] and [`AccessErrorKind::Reload`].
    pub fn edit_and_reload<E>(
        &self,
        query: impl FnMut(&str) -> Result<Rows, E>,
        change: impl FnOnce(&mut D) -> Result<(), EditError>,
    ) -> Result<bool, AccessError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.replace(self.changing(change), Some(&mut boxed(query)))
            .map_err(|kind| self.failed("change", kind))
    }

    /// Has the running server check the file as it is, and use it. See
    /// [`edit_and_reload`](Self::edit_and_reload).
    ///
    /// # Errors
    ///
    /// Fails if the server rejects the file: the server keeps its rules, and is not notified to
    /// reload. Also fails if no server is running or it cannot be queried.
    pub fn reload<E>(&self, query: impl FnMut(&str) -> Result<Rows, E>) -> Result<(), AccessError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.replace(|old| Ok(old.to_vec()), Some(&mut boxed(query)))
            .map(|_| ())
            .map_err(|kind| self.failed("reload", kind))
    }

    fn changing(
        &self,
        change: impl FnOnce(&mut D) -> Result<(), EditError>,
    ) -> impl FnOnce(&[u8]) -> Result<Vec<u8>, EditError> {
        let major = self.server.major();
        move |old| {
            let mut document = D::parse(old.to_vec(), major);
            change(&mut document)?;
            Ok(document.into_bytes())
        }
    }

    pub(super) fn failed(&self, operation: &'static str, kind: AccessErrorKind) -> AccessError {
        AccessError::new(operation, self.path.clone(), kind)
    }

    pub(super) fn files(&self) -> Readable<'_> {
        Readable::by(self.cluster.account())
    }

    /// Fails if the server would reject the file.
    pub(super) fn require_accepted(&self, files: &dyn Loader) -> Result<(), AccessErrorKind> {
        let problems = D::problems(files, self.path.as_std_path(), &self.server)
            .map_err(AccessErrorKind::Load)?;
        match problems.is_empty() {
            true => Ok(()),
            false => Err(AccessErrorKind::Rejected(problems)),
        }
    }

    /// Replaces the file by the result of `change`. With `ask`, has the running server check and
    /// reload it. Returns whether the content has changed.
    fn replace(
        &self,
        change: impl FnOnce(&[u8]) -> Result<Vec<u8>, EditError>,
        ask: Option<&mut Ask<'_>>,
    ) -> Result<bool, AccessErrorKind> {
        let held = self.cluster.lock_file(&self.path)?;
        let old = held.read(MAX_TEXT)?;
        let new = change(&old).map_err(AccessErrorKind::Edit)?;
        self.require_accepted(&Edited::new(self.files(), self.path.as_std_path(), &new))?;
        let put = |content: &[u8]| held.stage(content)?.commit();
        let is_changed = new != old;
        let Some(ask) = ask else {
            if is_changed {
                put(&new).map_err(FileErrorKind::Write)?;
            }
            return Ok(is_changed);
        };
        self.require_used(ask)?;
        if is_changed {
            put(&new).map_err(FileErrorKind::Write)?;
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
            D::SETTING
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
        let (view, since) = D::VIEW;
        if self.server.major() < since {
            return Ok(());
        }
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
