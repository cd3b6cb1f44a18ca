//! The user name maps of a cluster: `pg_ident.conf`.

use std::marker::PhantomData;

use pgconf_parse::hba::{Fact, Facts, Server};
use pgconf_parse::ident::{Decision, Document, Mapping, Mappings};

use super::file::{AccessFile, of_mappings};
use super::{AccessError, AccessErrorKind, AccessLine};
use crate::Cluster;

/// The user name maps in a cluster's `pg_ident.conf`, obtained from [`Cluster::ident`].
///
/// The setting `ident_file` determines the path: see [`Cluster::ident_file`]. The description of
/// [`Hba`](crate::Hba) applies, with three differences. An empty file is valid. A server starts
/// with a file that it rejects, without any mapping. Before PostgreSQL 15, which adds the view
/// `pg_ident_file_mappings`, only the parser checks the file.
pub type Ident<'c> = AccessFile<'c, Document>;

/// The decision whether a system user may connect as a database user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MappingDecision {
    /// The system user may, by this line.
    Allowed(AccessLine),
    /// The system user is refused, because no line allows the mapping.
    Refused,
    /// The system user may not: this line refers by `\1` to parentheses that matched nothing, and
    /// the server does not try later lines.
    Broken(AccessLine),
    /// This line applies or not, depending on a fact that was not given. No earlier line applies.
    DependsOn(AccessLine, Fact),
}

impl Cluster {
    /// The user name maps in `pg_ident.conf`.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// cluster.ident().validate()?;
    /// println!("{:?}", cluster.ident().mappings()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ident(&self) -> Ident<'_> {
        AccessFile {
            cluster: self,
            path: self.ident_file(),
            server: Server::new(self.installation().major_version().first()),
            document: PhantomData,
        }
    }
}

impl Ident<'_> {
    /// The mappings of the file and of all files that it includes, with the errors in them. See
    /// [`Hba::rules`](crate::Hba::rules).
    ///
    /// # Errors
    ///
    /// Fails if the file itself cannot be read.
    pub fn mappings(&self) -> Result<Mappings, AccessError> {
        Mappings::load(&self.files(), self.path.as_std_path(), &self.server)
            .map_err(|error| self.failed("read", AccessErrorKind::Load(error)))
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
        let problems = of_mappings(&mappings);
        if !problems.is_empty() {
            return Err(self.failed("explain", AccessErrorKind::Rejected(problems)));
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
}

fn line(mapping: &Mapping<'_>) -> AccessLine {
    AccessLine::new(mapping.file(), mapping.line(), mapping.text())
}
