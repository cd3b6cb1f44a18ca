//! The access rules of a cluster: `pg_hba.conf`.

use std::error::Error;
use std::marker::PhantomData;

use pgconf_parse::hba::{Attempt, Decision, Document, Fact, Facts, Network, Rules, Server};

use super::file::{AccessFile, Rows, boxed, of_rules};
use super::{AccessError, AccessErrorKind, AccessRule};
use crate::Cluster;

/// The access rules in a cluster's `pg_hba.conf`, obtained from [`Cluster::hba`].
///
/// The setting `hba_file` determines the path: see [`Cluster::hba_file`]. Each method reads the
/// file again. Changes are made under a lock and replace the file as a whole. The new file has the
/// owner and the mode of the old one. A symbolic link is followed only if it belongs to root, to
/// the caller or to the owner of the file.
///
/// A server reads the file when it starts and at each [reload](Cluster::reload). It rejects a file
/// with one invalid line as a whole: a running server keeps its rules and only logs the error, and
/// a stopped server does not start. Therefore the parser checks each change, and a change that the
/// server would reject is not made. [`edit_and_reload`](Self::edit_and_reload) also queries the
/// running server.
///
/// ```no_run
/// # use pg_cluster::{AccessDecision, Cluster};
/// # fn example(cluster: &Cluster) -> Result<(), Box<dyn std::error::Error>> {
/// use pg_cluster::conf::hba::{Attempt, Method, Name, NewRule};
///
/// let attempt = Attempt::host([10, 0, 0, 7], "app", "bob");
/// let facts = cluster.hba().facts()?;
/// let rule = NewRule::host(Name::of("app"), Name::of("bob"), "10.0.0.0/8", Method::ScramSha256);
/// let server = cluster.hba().server().clone();
/// cluster.hba().edit(|document| {
///     document.insert_before_match(&attempt, &facts, &server, &rule).map(|_| ())
/// })?;
/// if let AccessDecision::Rule(rule) = cluster.hba().explain(&attempt, &facts)? {
///     println!("{rule}");
/// }
/// cluster.reload()?;
/// # Ok(())
/// # }
/// ```
pub type Hba<'c> = AccessFile<'c, Document>;

/// The decision on an attempt to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessDecision {
    /// This rule applies. Its method has to be passed; later rules are not tried.
    Rule(AccessRule),
    /// No rule applies, so the server rejects the connection.
    NoRule,
    /// This rule applies or not, depending on a fact that was not given. No earlier rule applies.
    DependsOn(AccessRule, Fact),
}

impl Cluster {
    /// The access rules in `pg_hba.conf`.
    pub fn hba(&self) -> Hba<'_> {
        AccessFile {
            cluster: self,
            path: self.hba_file(),
            server: Server::new(self.installation().major_version().first()),
            document: PhantomData,
        }
    }
}

impl Hba<'_> {
    /// Reads the file as this server does: the version of the installation, unless set here. Use
    /// this for a server that was built without GSSAPI, LDAP or PAM.
    #[must_use]
    pub fn for_server(self, server: Server) -> Self {
        Self { server, ..self }
    }

    /// The server that the file is read for.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The rules of the file and of all files that it includes, with the errors in them. Under root
    /// a file that the [account](Cluster::account) of the server may not read counts as one that
    /// cannot be opened.
    ///
    /// # Errors
    ///
    /// Fails if the file itself cannot be read. Problems with included files are
    /// [errors](Rules::errors) of lines.
    pub fn rules(&self) -> Result<Rules, AccessError> {
        Rules::load(&self.files(), self.path.as_std_path(), &self.server)
            .map_err(|error| self.failed("read", AccessErrorKind::Load(error)))
    }

    /// The facts that this machine provides without a server: the addresses and networks of its
    /// interfaces, with which `samehost` and `samenet` are compared.
    ///
    /// # Errors
    ///
    /// Fails if the interfaces cannot be listed.
    pub fn facts(&self) -> Result<Facts, AccessError> {
        let interfaces = pg_proc::interface_addresses()
            .map_err(|error| self.failed("explain", AccessErrorKind::Interfaces(error)))?;
        let networks = interfaces
            .into_iter()
            .filter_map(|(address, mask)| Network::new(address, mask));
        Ok(Facts::new().interfaces(networks))
    }

    /// The [facts](Self::facts) of this machine, and the roles that the database user of the
    /// attempt is a member of, queried from the running server. `query` is described in
    /// [`Cluster::reload_and_verify`].
    ///
    /// # Errors
    ///
    /// Fails if the interfaces cannot be listed or the query fails.
    pub fn facts_for<E>(
        &self,
        attempt: &Attempt,
        query: impl FnMut(&str) -> Result<Rows, E>,
    ) -> Result<Facts, AccessError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let facts = self.facts()?;
        let grants = boxed(query)(
            "SELECT member.rolname, granted.rolname FROM pg_catalog.pg_auth_members AS grants \
             JOIN pg_catalog.pg_roles AS granted ON granted.oid = grants.roleid \
             JOIN pg_catalog.pg_roles AS member ON member.oid = grants.member",
        )
        .map_err(|kind| self.failed("explain", kind))?;
        let grants = grants.iter().filter_map(|grant| match grant.as_slice() {
            [Some(member), Some(role)] => Some((member, role)),
            _ => None,
        });
        Ok(facts.member_by_grants(attempt.user(), grants))
    }

    /// Returns which rule decides on an attempt to connect, by the current files. A running server
    /// uses the files as they were at its last reload.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use pg_cluster::AccessDecision;
    /// use pg_cluster::conf::hba::Attempt;
    ///
    /// let hba = cluster.hba();
    /// let attempt = Attempt::host([192, 0, 2, 7], "app", "bob");
    /// match hba.explain(&attempt, &hba.facts()?)? {
    ///     AccessDecision::Rule(rule) => println!("decided by {rule}"),
    ///     AccessDecision::NoRule => println!("rejected"),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or if the server would reject it: then none of its rules
    /// decides. [`rules`](Self::rules) and [`Rules::decide`] also answer for such a file.
    pub fn explain(&self, attempt: &Attempt, facts: &Facts) -> Result<AccessDecision, AccessError> {
        let failed = |kind| self.failed("explain", kind);
        let rules = self.rules()?;
        let problems = of_rules(&rules, &self.path);
        if !problems.is_empty() {
            return Err(failed(AccessErrorKind::Rejected(problems)));
        }
        Ok(match rules.decide(attempt, facts) {
            Decision::Rule(rule) => AccessDecision::Rule(AccessRule::new(&rule)),
            Decision::DependsOn(rule, fact) => {
                AccessDecision::DependsOn(AccessRule::new(&rule), fact)
            }
            _ => AccessDecision::NoRule,
        })
    }
}
