//! Requests for versions.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::installation::Installation;
use crate::major::MajorVersion;
use crate::version::{ParseVersionError, Version};

/// A request for an installation: any, the newest, one of a release series, or one of a range.
///
/// | text | request |
/// |---|---|
/// | `any`, or the empty text | the first installation found |
/// | `newest` | the installation with the highest version |
/// | `16`, `9.6` | the first installation of that series |
/// | `15.18`, `9.6.24`, `18beta1` | exactly that version |
/// | `>=14`, `>14`, `<=14`, `<14` | series from, after, up to, or before that one |
/// | `>=14.2`, `<15.4` | versions from, or before that one |
/// | `>=14,<17`, `>=14,newest` | all conditions together |
///
/// A number that names a series is compared with series: `>14` begins with 15, and `<=14` ends with
/// the last 14.x. `newest` prefers releases: a development or test version is only chosen if
/// no release matches.
///
/// ```
/// use pg_install::Request;
///
/// let request: Request = ">=14,<17".parse()?;
/// assert!(request.accepts(&"16.3".parse().unwrap()));
/// assert!(!request.accepts(&"17beta1".parse().unwrap()));
/// # Ok::<(), pg_install::ParseRequestError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Request {
    conditions: Vec<Condition>,
    newest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Condition {
    relation: Relation,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Relation {
    Less,
    AtMost,
    Equal,
    AtLeast,
    Greater,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Bound {
    Series(MajorVersion),
    Version(Version),
}

impl Request {
    /// Requests any version: the first installation found.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests the newest version. All installations have to be examined.
    pub fn newest() -> Self {
        Self {
            newest: true,
            ..Self::default()
        }
    }

    /// Requests a release series.
    pub fn series(major: MajorVersion) -> Self {
        Self::equal(Bound::Series(major))
    }

    /// Requests one version, of any vendor.
    ///
    /// ```
    /// use pg_install::{MajorVersion, Request};
    ///
    /// let request = Request::exactly("16.3".parse()?);
    /// assert!(request.accepts(&"16.3 (Debian 16.3-1)".parse()?));
    /// assert!(!request.accepts(&"16.4".parse()?));
    /// assert!(Request::series(MajorVersion::new(16)).accepts(&"16.4".parse()?));
    /// assert!(Request::newest().wants_newest());
    /// # Ok::<(), pg_install::ParseVersionError>(())
    /// ```
    pub fn exactly(version: Version) -> Self {
        Self::equal(Bound::Version(version.without_vendor()))
    }

    fn equal(bound: Bound) -> Self {
        Self {
            conditions: vec![Condition {
                relation: Relation::Equal,
                bound,
            }],
            newest: false,
        }
    }

    /// Returns whether a version matches.
    pub fn accepts(&self, version: &Version) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds(version))
    }

    /// Returns whether the newest matching version is requested instead of the first.
    pub fn wants_newest(&self) -> bool {
        self.newest
    }

    /// The series of the first condition with a lower bound or an exact version, for hints.
    pub(crate) fn only_series(&self) -> Option<MajorVersion> {
        self.conditions
            .iter()
            .find_map(|condition| match (&condition.bound, condition.relation) {
                (Bound::Series(major), Relation::Equal | Relation::AtLeast) => Some(*major),
                (Bound::Version(version), Relation::Equal | Relation::AtLeast) => {
                    Some(version.major_version())
                }
                _ => None,
            })
    }

    /// The key by which [`newest`](Self::newest) orders installations: releases are preferred, then
    /// higher versions.
    pub(crate) fn rank(installation: &Installation) -> (bool, &Version) {
        let version = installation.version();
        (version.stage() == crate::Stage::Final, version)
    }
}

impl Condition {
    fn holds(&self, version: &Version) -> bool {
        let order = match &self.bound {
            Bound::Series(major) => version.major_version().cmp(major),
            Bound::Version(bound) => version.cmp(bound),
        };
        match self.relation {
            Relation::Less => order.is_lt(),
            Relation::AtMost => order.is_le(),
            Relation::Equal => order.is_eq(),
            Relation::AtLeast => order.is_ge(),
            Relation::Greater => order.is_gt(),
        }
    }
}

impl FromStr for Request {
    type Err = ParseRequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut request = Self::any();
        for part in text.split(',').map(str::trim) {
            match part {
                "any" => {}
                "" if text.trim().is_empty() => {}
                "newest" | "latest" => request.newest = true,
                part => {
                    let condition = condition(part);
                    let condition = condition.map_err(|reason| ParseRequestError {
                        text: text.into(),
                        reason,
                    })?;
                    request.conditions.push(condition);
                }
            }
        }
        Ok(request)
    }
}

fn condition(text: &str) -> Result<Condition, ParseVersionError> {
    let relations = [
        (">=", Relation::AtLeast),
        ("<=", Relation::AtMost),
        ("==", Relation::Equal),
        (">", Relation::Greater),
        ("<", Relation::Less),
        ("=", Relation::Equal),
    ];
    let (relation, bound) = relations
        .iter()
        .find_map(|(sign, relation)| Some((*relation, text.strip_prefix(sign)?.trim_start())))
        .unwrap_or((Relation::Equal, text));
    let bound = match bound.parse::<MajorVersion>() {
        Ok(major) => Bound::Series(major),
        Err(error) => match bound.parse::<Version>() {
            // "PostgreSQL 16" and "9" parse as versions but are not valid in a request.
            Ok(version) if version.without_vendor().to_string() == bound => Bound::Version(version),
            _ => return Err(error),
        },
    };
    Ok(Condition { relation, bound })
}

/// Writes a text that [`Request::from_str`] parses as the same request.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conditions.is_empty() && !self.newest {
            return f.write_str("any");
        }
        for (index, Condition { relation, bound }) in self.conditions.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let sign = match relation {
                Relation::Less => "<",
                Relation::AtMost => "<=",
                Relation::Equal => "",
                Relation::AtLeast => ">=",
                Relation::Greater => ">",
            };
            match bound {
                Bound::Series(major) => write!(f, "{comma}{sign}{major}")?,
                Bound::Version(version) => write!(f, "{comma}{sign}{version}")?,
            }
        }
        if self.newest {
            f.write_str(if self.conditions.is_empty() {
                "newest"
            } else {
                ",newest"
            })?;
        }
        Ok(())
    }
}

impl From<MajorVersion> for Request {
    fn from(major: MajorVersion) -> Self {
        Self::series(major)
    }
}

/// The error of parsing a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse {text:?} as a request for PostgreSQL")]
pub struct ParseRequestError {
    text: Box<str>,
    #[source]
    reason: ParseVersionError,
}

impl ParseRequestError {
    /// The text that was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Advice on the forms of a request.
    ///
    /// ```
    /// use pg_install::Request;
    ///
    /// let error = "sixteen".parse::<Request>().unwrap_err();
    /// assert_eq!(error.to_string(), "failed to parse \"sixteen\" as a request for PostgreSQL");
    /// assert!(error.hint().unwrap().contains("a version such as 15.18"));
    /// ```
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(
            "request any, newest, a series such as 16, a version such as 15.18, or a range such \
             as >=14,<17",
        ))
    }
}
