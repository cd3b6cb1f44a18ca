//! PostgreSQL's version numbers of both numbering schemes.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::major::MajorVersion;
use crate::name::{self, ParseNameError};

/// A PostgreSQL version, such as `15.18`, `9.6.24`, `18beta1` or `15.18 (Debian 15.18-0+deb12u1)`.
///
/// PostgreSQL has used two schemes. Up to 9.6 the first *two* numbers are the major version and
/// the third is the minor release: 9.6.24. Since 10 the first number is the major version: 15.18.
/// [`major`](Self::major), [`minor`](Self::minor) and [`patch`](Self::patch) return the numbers by
/// position. [`major_version`](Self::major_version) returns the release series in both schemes.
///
/// # Equality and order
///
/// Versions are ordered as they were released: `17devel < 17beta1 < 17beta2 < 17rc1 < 17.0 < 17.1`.
/// The vendor's text is ignored in comparisons and hashes, so Debian's build of 15.18 is equal to
/// 15.18. Compare [`vendor`](Self::vendor) as well to distinguish builds.
///
/// # Text
///
/// [`FromStr`] accepts a version alone, and any line in which PostgreSQL prints it:
///
/// ```
/// use pg_install::{Stage, Version};
///
/// let version: Version = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".parse()?;
/// assert_eq!((version.major(), version.minor(), version.patch()), (15, 18, 0));
/// assert_eq!(version.stage(), Stage::Final);
/// assert_eq!(version.vendor(), Some("(Debian 15.18-0+deb12u1)"));
/// assert_eq!(version.num(), 150_018);
/// assert_eq!(version.to_string(), "15.18 (Debian 15.18-0+deb12u1)");
/// assert!(version < "16beta1".parse()?);
/// # Ok::<(), pg_install::ParseVersionError>(())
/// ```
#[derive(Clone)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
    stage: Stage,
    level: u16,
    /// The text after the version, verbatim, including the separator.
    suffix: Box<str>,
}

/// The stage of development of a version.
///
/// The variants are in the order in which PostgreSQL publishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// `devel`: built from the development branch.
    Devel,
    /// `alpha`, which PostgreSQL published for 8.5 and 9.1 only.
    Alpha,
    /// `beta`
    Beta,
    /// `rc`: a release candidate.
    Rc,
    /// A release.
    Final,
}

/// The largest first number of a version, and the largest minor number since 10.
///
/// `PG_VERSION_NUM` has four digits for the minor number.
pub(crate) const MAX_NUMBER: u16 = 9999;

/// The largest second and third number before 10: `PG_VERSION_NUM` has two digits for each.
pub(crate) const MAX_OLD_NUMBER: u16 = 99;

impl Version {
    /// Creates the release `major.minor`, for PostgreSQL 10 and later.
    ///
    /// Returns `None` if `major` is below 10 or if a number is above 9999. For versions before 10
    /// use [`from_num`](Self::from_num). Development and test versions are created by parsing.
    ///
    /// ```
    /// use pg_install::Version;
    ///
    /// assert_eq!(Version::new(15, 18), Version::from_num(150_018));
    /// assert_eq!(Version::new(9, 6), None);
    /// assert_eq!(Version::from_num(90_624).unwrap().to_string(), "9.6.24");
    /// ```
    pub fn new(major: u16, minor: u16) -> Option<Self> {
        if major < 10 {
            None
        } else {
            Self::from_parts(major, minor, 0, Stage::Final, 0, "")
        }
    }

    /// Creates the release with this `PG_VERSION_NUM` or `server_version_num`: 150018 is 15.18, and
    /// 90624 is 9.6.24.
    ///
    /// Returns `None` if no version can have that number. Test versions have the number of the
    /// first release of their series, so the result for the number of 16beta1, 160000, is 16.0.
    pub fn from_num(num: u32) -> Option<Self> {
        let part = |value: u32| u16::try_from(value).ok();
        let major = part(num / 10_000)?;
        let (minor, patch) = if major < 10 {
            (part(num / 100 % 100)?, part(num % 100)?)
        } else {
            (part(num % 10_000)?, 0)
        };
        Self::from_parts(major, minor, patch, Stage::Final, 0, "")
    }

    pub(crate) fn from_parts(
        major: u16,
        minor: u16,
        patch: u16,
        stage: Stage,
        level: u16,
        suffix: &str,
    ) -> Option<Self> {
        let fits = if major < 10 {
            minor <= MAX_OLD_NUMBER && patch <= MAX_OLD_NUMBER
        } else {
            minor <= MAX_NUMBER && patch == 0
        };
        (major > 0 && major <= MAX_NUMBER && fits).then(|| Self {
            major,
            minor,
            patch,
            stage,
            level,
            suffix: suffix.into(),
        })
    }

    /// The first number: 15 in 15.18, 9 in 9.6.24.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The second number: 18 in 15.18, 6 in 9.6.24, 0 in 18beta1.
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// The third number of a version before 10: 24 in 9.6.24. Always 0 since 10.
    pub fn patch(&self) -> u16 {
        self.patch
    }

    /// The stage of development: a release, or a development or test version.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The number of the alpha, beta or release candidate: 2 in `18beta2`. Zero for `devel` and for
    /// releases.
    pub fn level(&self) -> u16 {
        self.level
    }

    /// The text that the packager added after the version, such as `(Debian 15.18-0+deb12u1)`.
    ///
    /// If a version has more numbers than PostgreSQL's versions, the vendor's text begins with the
    /// dot before the first additional one: `.5` in EnterpriseDB's `9.5.0.5`.
    pub fn vendor(&self) -> Option<&str> {
        let vendor = self.suffix.trim();
        (!vendor.is_empty()).then_some(vendor)
    }

    /// Returns the version without the packager's text.
    ///
    /// ```
    /// use pg_install::Version;
    ///
    /// let version: Version = "EnterpriseDB 9.5.0.5".parse()?;
    /// assert_eq!(version.vendor(), Some(".5"));
    /// assert_eq!(version.without_vendor().to_string(), "9.5.0");
    /// # Ok::<(), pg_install::ParseVersionError>(())
    /// ```
    #[must_use]
    pub fn without_vendor(&self) -> Self {
        Self {
            suffix: Box::default(),
            ..self.clone()
        }
    }

    /// The release series: 15 for 15.18, 9.6 for 9.6.24.
    ///
    /// A data directory belongs to one series, which its file `PG_VERSION` contains.
    ///
    /// ```
    /// use pg_install::{Stage, Version};
    ///
    /// let version: Version = "18beta2".parse()?;
    /// assert_eq!(version.major_version().to_string(), "18");
    /// assert_eq!((version.stage(), version.level()), (Stage::Beta, 2));
    /// assert_eq!("9.6.24".parse::<Version>()?.major_version().to_string(), "9.6");
    /// # Ok::<(), pg_install::ParseVersionError>(())
    /// ```
    pub fn major_version(&self) -> MajorVersion {
        MajorVersion::of(self.major, self.minor)
    }

    /// The number that PostgreSQL calls `PG_VERSION_NUM` and `server_version_num`: 150018 for
    /// 15.18, 90624 for 9.6.24.
    ///
    /// As in PostgreSQL, development and test versions have the number of the first release:
    /// 180000 for 18beta1 and 18devel. To distinguish these, compare versions instead of numbers.
    pub fn num(&self) -> u32 {
        let (major, minor) = (u32::from(self.major), u32::from(self.minor));
        if self.major < 10 {
            major * 10_000 + minor * 100 + u32::from(self.patch)
        } else {
            major * 10_000 + minor
        }
    }

    fn key(&self) -> (u16, u16, u16, Stage, u16) {
        (self.major, self.minor, self.patch, self.stage, self.level)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// Writes the version with the vendor's text: `15.18 (Debian 15.18-0+deb12u1)`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = self.major_version();
        match (self.stage, self.major < 10) {
            (Stage::Final, true) => write!(f, "{series}.{}", self.patch)?,
            (Stage::Final, false) => write!(f, "{series}.{}", self.minor)?,
            (Stage::Devel, _) => write!(f, "{series}devel")?,
            (stage, _) => write!(f, "{series}{stage}{}", self.level)?,
        }
        f.write_str(&self.suffix)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

/// Writes `devel`, `alpha`, `beta`, `rc` or `final`, as py-postgresql does.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Devel => "devel",
            Self::Alpha => "alpha",
            Self::Beta => "beta",
            Self::Rc => "rc",
            Self::Final => "final",
        })
    }
}

/// Parses the displayed name: `beta`.
impl FromStr for Stage {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let all = [Self::Devel, Self::Alpha, Self::Beta, Self::Rc, Self::Final].into_iter();
        name::parse(text, "a stage", all)
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |kind| ParseVersionError::new(text, kind);
        let line = text.trim().lines().next().unwrap_or_default();
        let start = version_start(line).ok_or_else(|| error(VersionFault::NoNumber))?;
        scan(&line[start..]).map_err(error)
    }
}

/// Returns the start of the version in a line such as `postgres (PostgreSQL) 16.3`, which is the
/// first word that begins with a digit.
///
/// Only the name of the product, or that of the program with the product in parentheses, may
/// precede it: `Loading module 3 of 4` is not a version.
fn version_start(line: &str) -> Option<usize> {
    let starts_word = |at: usize| at == 0 || line.as_bytes()[at - 1].is_ascii_whitespace();
    let at = (0..line.len()).find(|&at| starts_word(at) && line.as_bytes()[at].is_ascii_digit())?;
    let name = line[..at].trim_end();
    let program = match name.split_once(" (") {
        Some((program, product)) if product.ends_with(')') => program,
        _ => name,
    };
    (!program.contains(char::is_whitespace)).then_some(at)
}

fn scan(text: &str) -> Result<Version, VersionFault> {
    let (major, mut rest) = number(text)?;
    let old_scheme = major < 10;
    let after_major = rest.len();
    let (minor, patch, stage, level);
    (minor, rest) = dotted_number(rest)?.unwrap_or((0, rest));
    (stage, level, rest) = stage_and_level(rest)?;
    (patch, rest) = match stage {
        Stage::Final if old_scheme => dotted_number(rest)?.unwrap_or((0, rest)),
        _ => (0, rest),
    };
    let suffix = rest.trim_end();
    // `--with-extra-version` adds any text, with or without a separator. It follows a minor number
    // or a stage, by which `16.3mybuild` is distinguished from `3rd`.
    let is_short = rest.len() == after_major && stage == Stage::Final;
    if is_short && suffix.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(VersionFault::Trailing(suffix.into()));
    }
    if stage != Stage::Final && !old_scheme && minor != 0 {
        return Err(VersionFault::StageOfMinor);
    }
    Version::from_parts(major, minor, patch, stage, level, suffix).ok_or(VersionFault::OutOfRange)
}

fn number(text: &str) -> Result<(u16, &str), VersionFault> {
    let end = text
        .bytes()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(VersionFault::NoNumber);
    }
    digits
        .parse()
        .map(|n| (n, rest))
        .map_err(|_| VersionFault::OutOfRange)
}

/// Parses a dot and a number. Returns `None` if the text does not begin with these.
fn dotted_number(text: &str) -> Result<Option<(u16, &str)>, VersionFault> {
    match text.strip_prefix('.') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => number(rest).map(Some),
        _ => Ok(None),
    }
}

fn stage_and_level(text: &str) -> Result<(Stage, u16, &str), VersionFault> {
    if let Some(rest) = text.strip_prefix("devel") {
        return Ok((Stage::Devel, 0, rest));
    }
    for (name, stage) in [
        ("alpha", Stage::Alpha),
        ("beta", Stage::Beta),
        ("rc", Stage::Rc),
    ] {
        if let Some(rest) = text.strip_prefix(name) {
            let (level, rest) = number(rest)?;
            return Ok((stage, level, rest));
        }
    }
    Ok((Stage::Final, 0, text))
}

/// The error of parsing a [`Version`] or a [`MajorVersion`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse {text:?} as a PostgreSQL version")]
pub struct ParseVersionError {
    text: Box<str>,
    #[source]
    fault: VersionFault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VersionFault {
    #[error("the version number is missing")]
    NoNumber,
    #[error("a version number is too large")]
    OutOfRange,
    #[error("{0:?} follows the major version without a separator")]
    Trailing(Box<str>),
    #[error("minor releases have no alpha, beta or development versions")]
    StageOfMinor,
    #[error("the text is not a major version")]
    NotMajor,
}

impl ParseVersionError {
    pub(crate) fn new(text: &str, fault: VersionFault) -> Self {
        // The text may be the whole output of a program. Keep a readable part.
        let text = text.chars().take(120).collect::<String>().into();
        Self { text, fault }
    }

    /// The text that was parsed, truncated to 120 characters.
    pub fn text(&self) -> &str {
        &self.text
    }
}
