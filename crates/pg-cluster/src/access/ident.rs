//! The user name maps of a cluster: `pg_ident.conf`.

use std::error::Error;
use std::path::Path;

use camino::Utf8Path;
use pgconf_parse::Loader;
use pgconf_parse::hba::{EditError, Fact, Facts, ReadError, Server};
use pgconf_parse::ident::{Decision, Document, Mapping, Mappings};

use super::rule_file::{Rows, RuleFile, boxed};
use super::{AccessError, AccessErrorKind, AccessLine, AccessProblem};
use crate::Cluster;
use crate::locked_file::lossy;

/// The user name maps in a cluster's `pg_ident.conf`, obtained from [`Cluster::ident`].
///
/// The path is that of the setting `ident_file`: see [`Cluster::ident_file`]. The documentation of
/// [`Hba`](crate::Hba) applies, with two differences: an empty file is valid, and a server
/// starts with a file that it rejects, without any mapping.
#[derive(Debug)]
pub struct Ident<'c>(RuleFile<'c>);

/// The decision whether a system user may connect as a database user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MappingDecision {
    /// The system user may, by this line.
    Allowed(AccessLine),
    /// The system user may not, because no line says so.
    Refused,
    /// The system user may not: this line refers by `\1` to parentheses that matched nothing, and
    /// the server does not try later lines.
    Broken(AccessLine),
    /// This line applies or not, depending on a fact that was not given. No earlier line applies.
    DependsOn(AccessLine, Fact),
}

impl Cluster {
    /// The user name maps in `pg_ident.conf`.
    pub fn ident(&self) -> Ident<'_> {
        let server = Server::new(self.installation().major_version().first());
        Ident(RuleFile {
            cluster: self,
            path: self.ident_file(),
            setting: "ident_file",
            view: (server.major() >= 15).then_some("pg_ident_file_mappings"),
            server,
            problems,
        })
    }
}

impl Ident<'_> {
    /// The path of the file, as configured. It may be a symbolic link.
    pub fn path(&self) -> &Utf8Path {
        &self.0.path
    }

    /// The file as a document, without the files that it includes.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn document(&self) -> Result<Document, AccessError> {
        let content = self.0.files().load(self.0.path.as_std_path());
        let content =
            content.map_err(|error| self.0.failed("read", AccessErrorKind::Read(error.into())))?;
        Ok(Document::parse_for(content, self.0.server.major()))
    }

    /// The mappings of the file and of all files that it includes, with the errors in them. See
    /// [`Hba::rules`](crate::Hba::rules).
    ///
    /// # Errors
    ///
    /// Fails if the file itself cannot be read.
    pub fn mappings(&self) -> Result<Mappings, AccessError> {
        Mappings::load(&self.0.files(), self.0.path.as_std_path(), &self.0.server)
            .map_err(|error| self.0.failed("read", AccessErrorKind::Load(error)))
    }

    /// Returns whether a system user may connect as a database user by this map, by the files as
    /// they are now. The facts about roles are those of the database user:
    /// see [`Hba::facts_for`](crate::Hba::facts_for).
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or if the server would reject it: then it has no mappings,
    /// or keeps those that it has.
    pub fn explain(
        &self,
        map: &str,
        system_user: &str,
        database_user: &str,
        facts: &Facts,
    ) -> Result<MappingDecision, AccessError> {
        let mappings = self.mappings()?;
        let problems = rejections(&mappings);
        if !problems.is_empty() {
            return Err(self
                .0
                .failed("explain", AccessErrorKind::Rejected(problems)));
        }
        let decision = mappings.decide(
            map.as_bytes(),
            system_user.as_bytes(),
            database_user.as_bytes(),
            facts,
        );
        Ok(match decision {
            Decision::Allowed(mapping) => MappingDecision::Allowed(line(&mapping)),
            Decision::Broken(mapping) => MappingDecision::Broken(line(&mapping)),
            Decision::DependsOn(mapping, fact) => MappingDecision::DependsOn(line(&mapping), fact),
            _ => MappingDecision::Refused,
        })
    }

    /// Returns successfully if the server would accept the file.
    ///
    /// # Errors
    ///
    /// Fails with [`AccessErrorKind::Rejected`] if it would not, or if the file cannot be read.
    pub fn validate(&self) -> Result<(), AccessError> {
        self.0
            .require_accepted(&self.0.files())
            .map_err(|kind| self.0.failed("validate", kind))
    }

    /// Changes the file: see [`Hba::edit`](crate::Hba::edit).
    ///
    /// # Errors
    ///
    /// As [`Hba::edit`](crate::Hba::edit).
    pub fn edit(
        &self,
        change: impl FnOnce(&mut Document) -> Result<(), EditError>,
    ) -> Result<bool, AccessError> {
        self.0
            .edit(self.changing(change), None)
            .map_err(|kind| self.0.failed("change", kind))
    }

    /// Changes the file, has the running server judge it, and has the server use it: see
    /// [`Hba::edit_and_reload`](crate::Hba::edit_and_reload). Before PostgreSQL 15, which has no
    /// view `pg_ident_file_mappings`, only the parser judges.
    ///
    /// # Errors
    ///
    /// As [`Hba::edit_and_reload`](crate::Hba::edit_and_reload).
    pub fn edit_and_reload<E>(
        &self,
        query: impl FnMut(&str) -> Result<Rows, E>,
        change: impl FnOnce(&mut Document) -> Result<(), EditError>,
    ) -> Result<bool, AccessError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.0
            .edit(self.changing(change), Some(&mut boxed(query)))
            .map_err(|kind| self.0.failed("change", kind))
    }

    /// Has the running server use the file as it is: see [`Hba::reload`](crate::Hba::reload).
    ///
    /// # Errors
    ///
    /// As [`Hba::reload`](crate::Hba::reload).
    pub fn reload<E>(&self, query: impl FnMut(&str) -> Result<Rows, E>) -> Result<(), AccessError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.0
            .edit(|old| Ok(old.to_vec()), Some(&mut boxed(query)))
            .map(|_| ())
            .map_err(|kind| self.0.failed("reload", kind))
    }

    fn changing(
        &self,
        change: impl FnOnce(&mut Document) -> Result<(), EditError>,
    ) -> impl FnOnce(&[u8]) -> Result<Vec<u8>, EditError> {
        let major = self.0.server.major();
        move |old| {
            let mut document = Document::parse_for(old, major);
            change(&mut document)?;
            Ok(document.into_bytes())
        }
    }
}

fn line(mapping: &Mapping<'_>) -> AccessLine {
    AccessLine::new(mapping.file(), mapping.line(), mapping.text())
}

fn problems(
    files: &dyn Loader,
    path: &Path,
    server: &Server,
) -> Result<Vec<AccessProblem>, ReadError> {
    Ok(rejections(&Mappings::load(files, path, server)?))
}

fn rejections(mappings: &Mappings) -> Vec<AccessProblem> {
    let errors = mappings.errors().map(|error| {
        AccessProblem::new(lossy(error.file()), Some(error.line()), error.to_string())
    });
    errors.collect()
}
