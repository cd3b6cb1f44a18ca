//! The access rules of a cluster: `pg_hba.conf`.

use std::error::Error;
use std::path::Path;

use camino::Utf8Path;
use pgconf_parse::Loader;
use pgconf_parse::hba::{
    Attempt, Decision, Document, EditError, Fact, Facts, Network, ReadError, Rules, Server,
};

use super::rule_file::{Rows, RuleFile, boxed};
use super::{AccessError, AccessErrorKind, AccessProblem, AccessRule};
use crate::Cluster;
use crate::locked_file::lossy;

/// The access rules in a cluster's `pg_hba.conf`, obtained from [`Cluster::hba`].
///
/// The path is that of the setting `hba_file`: see [`Cluster::hba_file`]. Each method reads the
/// file anew. Changes are made under a lock and replace the file as a whole. The new file has the
/// owner and the mode of the old one. A symbolic link is followed only if it belongs to root, to
/// the caller or to the owner of the file.
///
/// A server reads the file when it starts and at each [reload](Cluster::reload). It rejects a file
/// with one line in error as a whole: a running server keeps the rules that it has and only logs
/// the error, and a server does not start. Therefore no change is made that the server would
/// reject, as the parser judges it; [`edit_and_reload`](Self::edit_and_reload) also asks the
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
#[derive(Debug)]
pub struct Hba<'c>(RuleFile<'c>);

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
        Hba(RuleFile {
            cluster: self,
            path: self.hba_file(),
            server: Server::new(self.installation().major_version().first()),
            setting: "hba_file",
            view: Some("pg_hba_file_rules"),
            problems,
        })
    }
}

impl Hba<'_> {
    /// Reads the file as this server does: the version of the installation, unless set here. Use
    /// this for a server that was built without GSSAPI, LDAP or PAM.
    #[must_use]
    pub fn for_server(self, server: Server) -> Self {
        Self(RuleFile { server, ..self.0 })
    }

    /// The server that the file is read for.
    pub fn server(&self) -> &Server {
        &self.0.server
    }

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

    /// The rules of the file and of all files that it includes, with the errors in them. Under root
    /// a file that the [account](Cluster::account) of the server may not read counts as one that
    /// cannot be opened.
    ///
    /// # Errors
    ///
    /// Fails if the file itself cannot be read. Problems with included files are
    /// [errors](Rules::errors) of lines.
    pub fn rules(&self) -> Result<Rules, AccessError> {
        Rules::load(&self.0.files(), self.0.path.as_std_path(), &self.0.server)
            .map_err(|error| self.0.failed("read", AccessErrorKind::Load(error)))
    }

    /// The facts that this machine knows by itself: the addresses and networks of its interfaces,
    /// with which `samehost` and `samenet` are compared.
    ///
    /// # Errors
    ///
    /// Fails if the interfaces cannot be listed.
    pub fn facts(&self) -> Result<Facts, AccessError> {
        let interfaces = pg_proc::interface_addresses()
            .map_err(|error| self.0.failed("explain", AccessErrorKind::Interfaces(error)))?;
        let networks = interfaces
            .into_iter()
            .filter_map(|(address, mask)| Network::new(address, mask));
        Ok(Facts::new().interfaces(networks))
    }

    /// The [facts](Self::facts) of this machine and the roles that the database user of the attempt
    /// is a member of, which the running server is asked for. `query` is as for
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
        let roles = boxed(query)(
            "SELECT member.rolname, granted.rolname FROM pg_catalog.pg_auth_members AS grants \
             JOIN pg_catalog.pg_roles AS granted ON granted.oid = grants.roleid \
             JOIN pg_catalog.pg_roles AS member ON member.oid = grants.member",
        )
        .map_err(|kind| self.0.failed("explain", kind))?;
        Ok(facts.member_of(memberships(&roles, attempt.user())))
    }

    /// Returns which rule decides on an attempt to connect, by the files as they are now. A running
    /// server goes by the files as they were at its last reload.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or if the server would reject it: then none of its rules
    /// decides. [`rules`](Self::rules) and [`Rules::decide`] also answer for such a file.
    pub fn explain(&self, attempt: &Attempt, facts: &Facts) -> Result<AccessDecision, AccessError> {
        let failed = |kind| self.0.failed("explain", kind);
        let rules = self.rules()?;
        let problems = rejections(&rules, &self.0.path);
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
        change: impl FnOnce(&mut Document) -> Result<(), EditError>,
    ) -> Result<bool, AccessError> {
        self.0
            .edit(self.changing(change), None)
            .map_err(|kind| self.0.failed("change", kind))
    }

    /// Changes the file, has the running server judge it, and has the server use it. Waits until
    /// the server has read the file; connections that begin after that go by the new rules.
    ///
    /// The server's view `pg_hba_file_rules` reads the file that is in place. So the file is
    /// replaced first, then judged, and the old content is put back if the server rejects the new
    /// one. A reload by another program in between does no harm: the server rejects the file then
    /// as well and keeps its rules. `query` runs statements as a superuser: see
    /// [`Cluster::reload_and_verify`].
    ///
    /// # Errors
    ///
    /// As [`edit`](Self::edit), and fails if the server rejects the file, uses another file, or
    /// cannot be asked. The file is then as it was, except after
    /// [`AccessErrorKind::NotRestored`] and [`AccessErrorKind::Reload`].
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

    /// Has the running server use the file as it is, after it has judged it. See
    /// [`edit_and_reload`](Self::edit_and_reload).
    ///
    /// # Errors
    ///
    /// Fails if the server rejects the file: it keeps the rules that it has, and is not sent
    /// a reload request. Fails as well if there is no server or it cannot be asked.
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

fn problems(
    files: &dyn Loader,
    path: &Path,
    server: &Server,
) -> Result<Vec<AccessProblem>, ReadError> {
    Ok(rejections(&Rules::load(files, path, server)?, &lossy(path)))
}

fn rejections(rules: &Rules, path: &Utf8Path) -> Vec<AccessProblem> {
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

/// All roles that a user is a member of, directly or through other roles. Source:
/// `is_member_of_role_nosuper` in acl.c, which follows grants with and without `INHERIT`.
fn memberships(grants: &Rows, user: &[u8]) -> Vec<String> {
    let mut roles: Vec<String> = Vec::new();
    let mut next = vec![user.to_vec()];
    while let Some(member) = next.pop() {
        for grant in grants {
            if let [Some(of), Some(role)] = grant.as_slice()
                && of.as_bytes() == member
                && !roles.contains(role)
            {
                roles.push(role.clone());
                next.push(role.clone().into_bytes());
            }
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::memberships;

    #[test]
    fn memberships_are_followed_through_rings_of_roles() {
        let grant = |member: &str, role: &str| vec![Some(member.to_owned()), Some(role.to_owned())];
        let grants = vec![
            grant("staff", "all_staff"),
            grant("bob", "staff"),
            grant("ann", "admins"),
            grant("all_staff", "staff"),
        ];
        assert_eq!(memberships(&grants, b"bob"), ["staff", "all_staff"]);
        assert!(memberships(&grants, b"carol").is_empty());
    }
}
