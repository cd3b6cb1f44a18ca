//! The rule that decides on a connection: `check_hba`, with "it depends" where a fact is missing.

use std::fmt;
use std::net::IpAddr;

use crate::hba::address::{Address, Network};
use crate::hba::method::ConnectionType;
use crate::hba::rules::{Rule, RuleName, Rules};

/// An attempt to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    address: Option<IpAddr>,
    encryption: Encryption,
    database: Vec<u8>,
    user: Vec<u8>,
    is_replication: bool,
}

/// How a connection over TCP is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encryption {
    /// The connection is not encrypted.
    None,
    /// TLS.
    Tls,
    /// GSSAPI.
    Gss,
}

impl Attempt {
    /// An attempt over the Unix socket.
    pub fn local(database: impl Into<Vec<u8>>, user: impl Into<Vec<u8>>) -> Self {
        Self {
            address: None,
            encryption: Encryption::None,
            database: database.into(),
            user: user.into(),
            is_replication: false,
        }
    }

    /// An attempt over TCP from that address, without encryption.
    pub fn host(
        address: impl Into<IpAddr>,
        database: impl Into<Vec<u8>>,
        user: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            address: Some(address.into()),
            ..Self::local(database, user)
        }
    }

    /// The encryption of the connection.
    #[must_use]
    pub fn encrypted(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// Makes it an attempt for physical replication. Only the keyword `replication` applies to it.
    /// Logical replication connects to a database like any other client.
    #[must_use]
    pub fn replication(mut self) -> Self {
        self.is_replication = true;
        self
    }

    /// The address of the client. None over a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &[u8] {
        &self.database
    }

    /// The database user.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        &self.user
    }
}

/// The facts that the server looks up, as far as the caller knows them.
///
/// ```
/// use pgconf_parse::hba::Facts;
///
/// let facts = Facts::new()
///     .member_of(["admins"])
///     .host_name("db.example.com", ["10.0.0.7".parse()?]);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Facts {
    roles: Option<Vec<Vec<u8>>>,
    host: Option<Host>,
    networks: Option<Vec<Network>>,
}

#[derive(Clone, Debug)]
struct Host {
    name: Option<Vec<u8>>,
    addresses: Vec<IpAddr>,
}

impl Facts {
    /// No facts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All roles that the user is a member of, directly or through other roles. The user's own role
    /// may be left out. A superuser is a member only of the roles that were granted to it.
    ///
    /// Source: `is_member_of_role_nosuper` in acl.c.
    #[must_use]
    pub fn member_of<R: Into<Vec<u8>>>(mut self, roles: impl IntoIterator<Item = R>) -> Self {
        self.roles = Some(roles.into_iter().map(Into::into).collect());
        self
    }

    /// As [`member_of`](Self::member_of), by all grants of the server: pairs of a member and a role
    /// that was granted to it (`pg_auth_members`). They are followed whatever they let inherit.
    ///
    /// ```
    /// use pgconf_parse::hba::Facts;
    ///
    /// let grants = [("bob", "staff"), ("staff", "everybody"), ("everybody", "staff")];
    /// let facts = Facts::new().member_by_grants("bob", grants);
    /// # let of = |roles: &[&str]| format!("{:?}", Facts::new().member_of(roles.to_vec()));
    /// # assert_eq!(format!("{facts:?}"), of(&["staff", "everybody"]));
    /// # assert_eq!(format!("{:?}", Facts::new().member_by_grants("ann", grants)), of(&[]));
    /// ```
    #[must_use]
    pub fn member_by_grants<M: AsRef<[u8]>, R: AsRef<[u8]>>(
        self,
        user: impl AsRef<[u8]>,
        grants: impl IntoIterator<Item = (M, R)>,
    ) -> Self {
        let grants: Vec<(M, R)> = grants.into_iter().collect();
        let mut roles: Vec<&[u8]> = Vec::new();
        let mut next = vec![user.as_ref()];
        while let Some(member) = next.pop() {
            for (of, role) in &grants {
                let role = role.as_ref();
                if of.as_ref() == member && !roles.contains(&role) {
                    roles.push(role);
                    next.push(role);
                }
            }
        }
        self.member_of(roles)
    }

    /// The name that the client's address resolves to, and the addresses that the name resolves
    /// to. If the client's address is not among them, no host name matches.
    ///
    /// Source: `check_hostname` in hba.c.
    #[must_use]
    pub fn host_name(
        mut self,
        name: impl Into<Vec<u8>>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        self.host = Some(Host {
            name: Some(name.into()),
            addresses: addresses.into_iter().collect(),
        });
        self
    }

    /// States that the client's address does not resolve to a name.
    #[must_use]
    pub fn no_host_name(mut self) -> Self {
        self.host = Some(Host {
            name: None,
            addresses: Vec::new(),
        });
        self
    }

    /// The addresses of the server's machine, with the masks of their networks.
    #[must_use]
    pub fn interfaces(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.networks = Some(networks.into_iter().collect());
        self
    }

    /// Source: `is_member` in hba.c.
    pub(crate) fn is_member(&self, user: &[u8], role: &[u8]) -> Answer {
        if user == role {
            return Answer::Yes;
        }
        match &self.roles {
            Some(roles) => Answer::from(roles.iter().any(|known| known == role)),
            None => Answer::Unknown(Fact::Membership(role.to_vec())),
        }
    }
}

/// A fact that a decision depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fact {
    /// The membership of the user in this role.
    Membership(Vec<u8>),
    /// The name of the client's host.
    HostName,
    /// The addresses and networks of the server's machine.
    Interfaces,
    /// The match of a name with this regular expression, which cannot be evaluated here.
    Regex(Vec<u8>),
    /// The names in this list, which was not read.
    List(Vec<u8>),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self {
            Self::Membership(role) => ("whether the user is a member of role", role),
            Self::HostName => return f.write_str("the host name of the client"),
            Self::Interfaces => return f.write_str("the networks of the server"),
            Self::Regex(pattern) => ("whether the name matches", pattern),
            Self::List(file) => ("the list in file", file),
        };
        write!(f, "{what} \"{}\"", String::from_utf8_lossy(name))
    }
}

/// The decision on an attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decision<'a> {
    /// This rule applies. Its method has to be passed; later rules are not tried.
    Rule(Rule<'a>),
    /// No rule applies, so the server rejects the connection.
    NoRule,
    /// This rule applies or not, depending on a fact. No earlier rule applies.
    DependsOn(Rule<'a>, Fact),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    Unknown(Fact),
}

impl From<bool> for Answer {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

impl Answer {
    /// Returns whether one of a list applies.
    fn any(answers: impl Iterator<Item = Self>) -> Self {
        let mut all = Self::No;
        for answer in answers {
            match answer {
                Self::Yes => return Self::Yes,
                Self::Unknown(_) if all == Self::No => all = answer,
                _ => {}
            }
        }
        all
    }
}

impl Rules {
    /// Returns the rule that decides on an attempt. Lines in error are skipped: see
    /// [`is_accepted`](Self::is_accepted).
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use pgconf_parse::hba::{Attempt, Decision, Fact, Facts, Rules, Server};
    ///
    /// let rules = Rules::parse(
    ///     "local all all peer\n\
    ///      host app +staff 10.0.0.0/8 scram-sha-256\n\
    ///      host all all 10.0.0.0/8 reject\n",
    ///     &Server::default(),
    /// );
    /// let attempt = Attempt::host(Ipv4Addr::new(10, 0, 0, 7), "app", "bob");
    /// let Decision::DependsOn(rule, fact) = rules.decide(&attempt, &Facts::new()) else {
    ///     panic!("the server has to look up the role");
    /// };
    /// assert_eq!((rule.line(), fact), (2, Fact::Membership(b"staff".to_vec())));
    ///
    /// let facts = Facts::new().member_of(["guests"]);
    /// let Decision::Rule(rule) = rules.decide(&attempt, &facts) else {
    ///     panic!("the role is known");
    /// };
    /// assert_eq!(rule.line(), 3);
    /// ```
    #[must_use]
    pub fn decide(&self, attempt: &Attempt, facts: &Facts) -> Decision<'_> {
        for rule in self.rules() {
            match applies(&rule, attempt, facts) {
                Answer::Yes => return Decision::Rule(rule),
                Answer::No => {}
                Answer::Unknown(fact) => return Decision::DependsOn(rule, fact),
            }
        }
        Decision::NoRule
    }
}

/// Source: the body of the loop in `check_hba`. Conditions that need no facts are checked first, so
/// a rule that does not apply anyway does not depend on a fact.
pub(crate) fn applies(rule: &Rule<'_>, attempt: &Attempt, facts: &Facts) -> Answer {
    if !connects(rule, attempt) {
        return Answer::No;
    }
    let databases = Answer::any(rule.databases().map(|name| database(name, attempt, facts)));
    if databases == Answer::No {
        return Answer::No;
    }
    let users = Answer::any(rule.users().map(|name| user(name, &attempt.user, facts)));
    if users == Answer::No {
        return Answer::No;
    }
    let address = address(rule, attempt, facts);
    match (address, databases, users) {
        (Answer::No, ..) => Answer::No,
        (Answer::Unknown(fact), ..)
        | (_, Answer::Unknown(fact), _)
        | (.., Answer::Unknown(fact)) => Answer::Unknown(fact),
        _ => Answer::Yes,
    }
}

fn connects(rule: &Rule<'_>, attempt: &Attempt) -> bool {
    let is_remote = attempt.address.is_some();
    let is_tls = attempt.encryption == Encryption::Tls;
    let is_gss = attempt.encryption == Encryption::Gss;
    match rule.connection() {
        ConnectionType::Local => !is_remote,
        ConnectionType::Host => is_remote,
        ConnectionType::HostSsl => is_remote && is_tls,
        ConnectionType::HostNoSsl => is_remote && !is_tls,
        ConnectionType::HostGssEnc => is_remote && is_gss,
        ConnectionType::HostNoGssEnc => is_remote && !is_gss,
    }
}

fn address(rule: &Rule<'_>, attempt: &Attempt, facts: &Facts) -> Answer {
    let (Some(address), Some(client)) = (rule.address(), attempt.address) else {
        return Answer::Yes;
    };
    let networks = |is: fn(&Network, IpAddr) -> bool| match &facts.networks {
        None => Answer::Unknown(Fact::Interfaces),
        Some(networks) => networks.iter().any(|network| is(network, client)).into(),
    };
    match address {
        Address::All => Answer::Yes,
        Address::Network(network) => network.contains(client).into(),
        Address::SameHost => networks(|network, client| network.address() == client),
        Address::SameNet => networks(Network::contains),
        Address::Host(pattern) => match &facts.host {
            None => Answer::Unknown(Fact::HostName),
            Some(host) => {
                let is_named = |name: &Vec<u8>| is_host(pattern, name);
                let is_named = host.name.as_ref().is_some_and(is_named);
                (is_named && host.addresses.contains(&client)).into()
            }
        },
    }
}

/// Source: `hostname_match` in hba.c.
pub(crate) fn is_host(pattern: &[u8], name: &[u8]) -> bool {
    if pattern.starts_with(b".") {
        let start = name.len().checked_sub(pattern.len());
        start.is_some_and(|start| name[start..].eq_ignore_ascii_case(pattern))
    } else {
        name.eq_ignore_ascii_case(pattern)
    }
}

/// Source: `check_db` in hba.c.
fn database(name: RuleName<'_>, attempt: &Attempt, facts: &Facts) -> Answer {
    if attempt.is_replication {
        return match list(name) {
            Some(fact) => Answer::Unknown(fact),
            None => name.is_keyword("replication").into(),
        };
    }
    if !name.is_quoted() {
        match name.text() {
            b"all" => return Answer::Yes,
            b"sameuser" => return (attempt.database == attempt.user).into(),
            b"samerole" | b"samegroup" => {
                return facts.is_member(&attempt.user, &attempt.database);
            }
            b"replication" => return Answer::No,
            _ => {}
        }
    }
    spelled(name, &attempt.database)
}

/// Source: `check_role` in hba.c.
fn user(name: RuleName<'_>, user: &[u8], facts: &Facts) -> Answer {
    match name.members_of() {
        Some(role) => facts.is_member(user, role),
        None if name.is_keyword("all") => Answer::Yes,
        None => spelled(name, user),
    }
}

fn spelled(name: RuleName<'_>, wanted: &[u8]) -> Answer {
    if let Some(fact) = list(name) {
        return Answer::Unknown(fact);
    }
    match (name.regex(), name.compiled()) {
        (Some(pattern), Some(regex)) => match regex.is_match(wanted) {
            Some(is) => is.into(),
            None => Answer::Unknown(Fact::Regex(pattern.to_vec())),
        },
        _ => (name.text() == wanted).into(),
    }
}

/// A list that is only named, because the file was read alone.
pub(crate) fn list(name: RuleName<'_>) -> Option<Fact> {
    let is_list = !name.is_quoted() && name.text().len() > 1;
    let file = name.text().strip_prefix(b"@").filter(|_| is_list)?;
    Some(Fact::List(file.to_vec()))
}
