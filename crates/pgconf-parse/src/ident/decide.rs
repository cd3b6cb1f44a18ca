//! The database users that a system user may become: `check_usermap`.

use crate::hba::regex::Capture;
use crate::hba::{Answer, Fact, Facts};
use crate::ident::mappings::{Mapping, Mappings};

/// The decision whether a system user may become a database user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decision<'a> {
    /// The system user may, by this mapping.
    Allowed(Mapping<'a>),
    /// The system user may not, because no mapping says so.
    Refused,
    /// The system user may not: this mapping refers by `\1` to parentheses that matched nothing,
    /// and the server does not try later mappings.
    Broken(Mapping<'a>),
    /// This mapping applies or not, depending on a fact. No earlier mapping applies.
    DependsOn(Mapping<'a>, Fact),
}

/// Database users that a system user may become.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Users {
    /// This one.
    Named(Vec<u8>),
    /// Any user.
    All,
    /// Members of this role.
    MembersOf(Vec<u8>),
    /// Users whose names match this regular expression.
    Matching(Vec<u8>),
    /// The users depend on a fact.
    DependsOn(Fact),
}

impl Mappings {
    /// Returns whether a system user may become a database user by a map. The facts about roles
    /// are those of the database user.
    ///
    /// [`Rule::map`] is the name of the map of a rule. Without a map, or with an empty name, the
    /// two users must have the same name.
    ///
    /// [`Rule::map`]: crate::hba::Rule::map
    ///
    /// ```
    /// use pgconf_parse::hba::{Facts, Server};
    /// use pgconf_parse::ident::{Decision, Mappings};
    ///
    /// let mappings = Mappings::parse("m /^(.*)@example\\.com$ \\1\n", &Server::default());
    /// let decide = |user| mappings.decide(b"m", b"bob@example.com", user, &Facts::new());
    /// assert!(matches!(decide(b"bob"), Decision::Allowed(_)));
    /// assert!(matches!(decide(b"ann"), Decision::Refused));
    /// ```
    #[must_use]
    pub fn decide(
        &self,
        map: &[u8],
        system_user: &[u8],
        database_user: &[u8],
        facts: &Facts,
    ) -> Decision<'_> {
        for mapping in self.mappings().filter(|mapping| mapping.map() == map) {
            let Some(users) = users_of(&mapping, system_user) else {
                continue;
            };
            let Ok(users) = users else {
                return Decision::Broken(mapping);
            };
            match includes(&mapping, &users, database_user, facts) {
                Answer::Yes => return Decision::Allowed(mapping),
                Answer::No => {}
                Answer::Unknown(fact) => return Decision::DependsOn(mapping, fact),
            }
        }
        Decision::Refused
    }

    /// The database users that a system user may become by a map, each with its mapping, in the
    /// order in which the server tries them.
    ///
    /// ```
    /// use pgconf_parse::hba::Server;
    /// use pgconf_parse::ident::{Mappings, Users};
    ///
    /// let mappings = Mappings::parse(
    ///     "m root postgres\nm /^(.*)$ \\1\nm root +staff\n",
    ///     &Server::default(),
    /// );
    /// let users: Vec<Users> = mappings.users(b"m", b"root").map(|(_, users)| users).collect();
    /// assert_eq!(users, [
    ///     Users::Named(b"postgres".to_vec()),
    ///     Users::Named(b"root".to_vec()),
    ///     Users::MembersOf(b"staff".to_vec()),
    /// ]);
    /// ```
    pub fn users<'a>(
        &'a self,
        map: &'a [u8],
        system_user: &'a [u8],
    ) -> impl Iterator<Item = (Mapping<'a>, Users)> {
        self.mappings()
            .filter(move |mapping| mapping.map() == map)
            .filter_map(move |mapping| Some((mapping, users_of(&mapping, system_user)?)))
            // A mapping with an error ends the search.
            .map_while(|(mapping, users)| Some((mapping, users.ok()?)))
    }
}

/// The `\1` of a mapping refers to parentheses that matched nothing.
struct NoGroup;

/// Source: `check_ident_usermap` in hba.c. None if the mapping is not for that system user.
fn users_of(mapping: &Mapping<'_>, system_user: &[u8]) -> Option<Result<Users, NoGroup>> {
    let named = |name: &[u8]| Some(Ok(Users::Named(name.to_vec())));
    let Some(regex) = mapping.system_regex() else {
        let is_same = mapping.system_user() == system_user;
        return is_same.then(|| Ok(meaning(mapping)));
    };
    let users = meaning(mapping);
    let reference = match &users {
        Users::Named(name) => memchr::memmem::find(name, b"\\1"),
        // `all` has no backslash, and the others are not looked into.
        _ => None,
    };
    let pattern = || Users::DependsOn(Fact::Regex(mapping.system_user()[1..].to_vec()));
    let Some(at) = reference else {
        return match regex.is_match(system_user) {
            Some(false) => None,
            Some(true) => Some(Ok(users)),
            None => Some(Ok(pattern())),
        };
    };
    match regex.capture(system_user) {
        Capture::NoMatch => None,
        Capture::Nothing => Some(Err(NoGroup)),
        Capture::Undecided => Some(Ok(pattern())),
        Capture::Text(group) => {
            let name = mapping.database_user();
            named(&[&name[..at], group, &name[at + 2..]].concat())
        }
    }
}

/// The meaning of the third field before `\1` is replaced.
fn meaning(mapping: &Mapping<'_>) -> Users {
    let text = mapping.database_user();
    if mapping.server().major() >= 16 {
        if mapping.database_regex().is_some() {
            return Users::Matching(text[1..].to_vec());
        }
        if !mapping.is_database_user_quoted() {
            match text {
                b"all" => return Users::All,
                [b'+', role @ ..] => return Users::MembersOf(role.to_vec()),
                _ => {}
            }
        }
    }
    Users::Named(text.to_vec())
}

/// Source: `check_role` in hba.c.
fn includes(mapping: &Mapping<'_>, users: &Users, user: &[u8], facts: &Facts) -> Answer {
    match users {
        Users::Named(name) => (name == user).into(),
        Users::All => Answer::Yes,
        Users::MembersOf(role) => facts.is_member(user, role),
        Users::DependsOn(fact) => Answer::Unknown(fact.clone()),
        Users::Matching(pattern) => {
            match mapping
                .database_regex()
                .and_then(|regex| regex.is_match(user))
            {
                Some(is) => is.into(),
                None => Answer::Unknown(Fact::Regex(pattern.clone())),
            }
        }
    }
}
