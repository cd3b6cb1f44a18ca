//! Rules that can never apply.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::hba::address::Address;
use crate::hba::decide::{is_host, list};
use crate::hba::method::ConnectionType;
use crate::hba::parse_line;
use crate::hba::rules::{Rule, RuleName, Rules};

/// A rule that can never apply.
#[derive(Clone, Copy, Debug)]
pub struct Shadowed<'a> {
    rule: Rule<'a>,
    reason: Shadow<'a>,
}

/// The reason that a rule can never apply.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Shadow<'a> {
    /// This earlier rule applies to everything that the rule applies to.
    Covered(Rule<'a>),
    /// The server does not encrypt connections in this way. The reason has the server's words.
    Encryption(&'static str),
}

impl<'a> Shadowed<'a> {
    /// The rule.
    #[must_use]
    pub fn rule(&self) -> Rule<'a> {
        self.rule
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Shadow<'a> {
        self.reason
    }
}

impl Rules {
    /// The rules that can never apply, each with the reason.
    ///
    /// A rule is found if a single earlier rule covers it. Several rules that cover a rule together
    /// are not found. Host names are not compared with networks, nor members of a role with members
    /// of another role. The time grows with the number of rules, and only with many regular
    /// expressions or long lists with its square.
    ///
    /// ```
    /// use pgconf_parse::hba::{Rules, Server, Shadow};
    ///
    /// let rules = Rules::parse(
    ///     "host all all 10.0.0.0/8 md5\nhostssl app bob 10.1.0.0/16 reject\n",
    ///     &Server::default(),
    /// );
    /// let shadowed = rules.shadowed();
    /// assert_eq!(shadowed[0].rule().line(), 2);
    /// assert!(matches!(shadowed[0].reason(), Shadow::Covered(by) if by.line() == 1));
    /// ```
    #[must_use]
    pub fn shadowed(&self) -> Vec<Shadowed<'_>> {
        let mut before = Index::default();
        let mut found = Vec::new();
        for rule in self.rules() {
            let reason = match parse_line::cannot_match(rule.connection(), &self.server) {
                Some(reason) => Some(Shadow::Encryption(reason)),
                None => before.first_that_covers(&rule).map(Shadow::Covered),
            };
            match reason {
                Some(reason) => found.push(Shadowed { rule, reason }),
                None => before.add(rule),
            }
        }
        found
    }
}

/// A rule with more pairs of a database and a user is found by its address alone.
const MAX_PAIRS: usize = 64;

/// Rules by what a rule that they cover has in common with them.
///
/// A rule that covers another one names its first database and its first user, or all of them, and
/// a network that its network is in. So a search compares few rules, unless many have regular
/// expressions or long lists.
#[derive(Default)]
struct Index<'a> {
    rules: Vec<Rule<'a>>,
    by_key: HashMap<Key<'a>, Vec<usize>>,
    /// The masks of all networks among the rules.
    masks: Vec<IpAddr>,
}

/// An address, a database and a user.
type Key<'a> = (Place, Named<'a>, Named<'a>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    /// Anything that is neither a network nor a host.
    Other,
    /// The bits of an address that are set in the mask, and the mask.
    Network(IpAddr, IpAddr),
    /// The name of a host or a domain, in lower case.
    Host(Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Named<'a> {
    /// All names, or those that match a regular expression.
    Many,
    One(&'a [u8]),
}

impl<'a> Named<'a> {
    /// A role and the members of a role have one key: the one covers the other.
    fn of(name: RuleName<'a>) -> Self {
        if name.is_keyword("all") || name.regex().is_some() {
            Self::Many
        } else {
            Self::exactly(name)
        }
    }

    fn exactly(name: RuleName<'a>) -> Self {
        Self::One(name.members_of().unwrap_or(name.text()))
    }
}

impl<'a> Index<'a> {
    fn add(&mut self, rule: Rule<'a>) {
        let number = self.rules.len();
        self.rules.push(rule);
        let place = match rule.address() {
            Some(Address::Network(network)) => {
                if !self.masks.contains(&network.mask()) {
                    self.masks.push(network.mask());
                }
                Place::Network(masked(network.address(), network.mask()), network.mask())
            }
            Some(Address::Host(name)) => Place::Host(name.to_ascii_lowercase()),
            _ => Place::Other,
        };
        let (databases, users) = (rule.databases(), rule.users());
        let mut add = |database, user| {
            let numbers = self
                .by_key
                .entry((place.clone(), database, user))
                .or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        };
        if databases.clone().count() * users.clone().count() > MAX_PAIRS {
            add(Named::Many, Named::Many);
            return;
        }
        for database in databases.map(Named::of) {
            users
                .clone()
                .for_each(|user| add(database, Named::of(user)));
        }
    }

    fn first_that_covers(&self, later: &Rule<'a>) -> Option<Rule<'a>> {
        let (database, user) = (later.databases().next()?, later.users().next()?);
        let mut first: Option<usize> = None;
        for place in self.places(later) {
            for database in [Named::Many, Named::exactly(database)] {
                for user in [Named::Many, Named::exactly(user)] {
                    let key = (place.clone(), database, user);
                    let mut numbers = self.by_key.get(&key).into_iter().flatten().copied();
                    let covering = numbers.find(|&number| {
                        first.is_none_or(|first| number < first)
                            && covers(&self.rules[number], later)
                    });
                    first = covering.or(first);
                }
            }
        }
        first.map(|number| self.rules[number])
    }

    /// Where rules are that may cover the address of a rule.
    fn places(&self, later: &Rule<'a>) -> Vec<Place> {
        let mut places = vec![Place::Other];
        match later.address() {
            Some(Address::Network(network)) => {
                let masks = self.masks.iter().filter(|mask| {
                    mask.is_ipv4() == network.mask().is_ipv4()
                        && masked(network.mask(), **mask) == **mask
                });
                places.extend(
                    masks.map(|mask| Place::Network(masked(network.address(), *mask), *mask)),
                );
            }
            Some(Address::Host(name)) => {
                let name = name.to_ascii_lowercase();
                let domains = memchr::memchr_iter(b'.', &name).filter(|dot| *dot > 0);
                let domains = domains.map(|dot| Place::Host(name[dot..].to_vec()));
                places.extend(domains);
                places.push(Place::Host(name));
            }
            _ => {}
        }
        places
    }
}

/// The bits of an address that are set in a mask of the same family.
fn masked(address: IpAddr, mask: IpAddr) -> IpAddr {
    match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => (address & mask).into(),
        (IpAddr::V6(address), IpAddr::V6(mask)) => (address & mask).into(),
        _ => address,
    }
}

fn covers(earlier: &Rule<'_>, later: &Rule<'_>) -> bool {
    let connections = match (earlier.connection(), later.connection()) {
        (ConnectionType::Host, ConnectionType::Local) => false,
        (ConnectionType::Host, _)
        | (ConnectionType::HostNoGssEnc, ConnectionType::HostSsl)
        | (ConnectionType::HostNoSsl, ConnectionType::HostGssEnc) => true,
        (one, other) => one == other,
    };
    let addresses = || match (earlier.address(), later.address()) {
        (None | Some(Address::All), _) => true,
        (Some(Address::Network(one)), Some(Address::Network(other))) => one.covers(&other),
        (Some(Address::Host(one)), Some(Address::Host(other))) => is_host(one, other),
        (one, other) => one == other,
    };
    connections
        && addresses()
        && later.databases().all(|name| {
            earlier.databases().any(|other| {
                let all = other.is_keyword("all") && !name.is_keyword("replication");
                all && list(name).is_none() || covers_name(other, name)
            })
        })
        && later.users().all(|name| {
            let mut others = earlier.users();
            others.any(|other| {
                let is_member = other.members_of() == Some(name.text()) && is_literal(name);
                other.is_keyword("all") || is_member || covers_name(other, name)
            })
        })
}

fn covers_name(one: RuleName<'_>, other: RuleName<'_>) -> bool {
    if one.text() == other.text() && is_literal(one) == is_literal(other) {
        return true;
    }
    let regex = one.compiled().filter(|_| is_literal(other));
    regex.and_then(|regex| regex.is_match(other.text())) == Some(true)
}

/// Returns whether a name is not a keyword, a role's members, an expression or a list.
fn is_literal(name: RuleName<'_>) -> bool {
    const KEYWORDS: [&[u8]; 5] = [
        b"all",
        b"sameuser",
        b"samerole",
        b"samegroup",
        b"replication",
    ];
    name.regex().is_none()
        && (name.is_quoted()
            || !(KEYWORDS.contains(&name.text()) || name.text().starts_with(b"+"))
                && list(name).is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::hba::server::Server;

    /// Rules in which names, networks and hosts cover each other often.
    fn rule() -> impl Strategy<Value = String> {
        let kind = select(vec![
            "host",
            "hostssl",
            "hostnossl",
            "hostgssenc",
            "hostnogssenc",
        ]);
        let names = || {
            let name = select(vec![
                "all",
                "\"all\"",
                "a",
                "b",
                "+a",
                "\"+a\"",
                "/^a",
                "sameuser",
                "replication",
                "@a",
            ]);
            prop::collection::vec(name, 1..3).prop_map(|names| names.join(","))
        };
        let address = select(vec![
            "all",
            "samehost",
            "samenet",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.1.2.3/8",
            "10.0.0.7 255.0.0.255",
            "0.0.0.0/0",
            "::/0",
            "fe80::/10",
            "db.example.com",
            "DB.example.com",
            ".example.com",
            ".com",
            "com",
        ]);
        let host = (kind, names(), names(), address);
        prop_oneof![
            8 => host.prop_map(|(kind, databases, users, address)| {
                format!("{kind} {databases} {users} {address} trust\n")
            }),
            2 => (names(), names()).prop_map(|(databases, users)| {
                format!("local {databases} {users} trust\n")
            }),
        ]
    }

    proptest! {
        #[test]
        fn the_index_finds_what_comparing_all_rules_finds(
            lines in prop::collection::vec(rule(), 0..40),
        ) {
            let rules = Rules::parse(lines.concat(), &Server::default());
            let mut before: Vec<Rule<'_>> = Vec::new();
            let mut expected = Vec::new();
            for rule in rules.rules() {
                match before.iter().find(|earlier| covers(earlier, &rule)) {
                    Some(earlier) => expected.push((rule.line(), earlier.line())),
                    None => before.push(rule),
                }
            }
            let shadowed = rules.shadowed();
            let found = shadowed.iter().map(|shadowed| match shadowed.reason() {
                Shadow::Covered(by) => (shadowed.rule().line(), by.line()),
                Shadow::Encryption(reason) => panic!("{reason}"),
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }
}
