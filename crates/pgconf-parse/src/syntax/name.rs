//! Names of settings.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::bytes::Bytes;
use crate::syntax::scan::{self, Token};

/// The name of a setting: an identifier, or two joined by a dot (`pg_stat_statements.max`).
///
/// Names are compared without regard to ASCII case, as by `guc_name_compare` in guc.c, and printed
/// as given. To the server, bytes from 0x80 on are letters; they need not be UTF-8. `include`,
/// `include_if_exists` and `include_dir` are directives and not setting names.
///
/// ```
/// use pgconf_parse::SettingName;
///
/// let name: SettingName = "Work_Mem".parse()?;
/// assert_eq!(name, "work_mem".parse()?);
/// assert_eq!(name.to_string(), "Work_Mem");
/// assert!("work mem".parse::<SettingName>().is_err());
/// assert!("include".parse::<SettingName>().is_err());
/// # Ok::<(), pgconf_parse::NameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SettingName(Bytes);

impl SettingName {
    /// Checks that the server would accept `name` as the name of a setting.
    ///
    /// # Errors
    ///
    /// Fails with [`NameError`] if `name` is neither an identifier nor a qualified identifier, or
    /// if it is a directive.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let name = name.as_ref();
        Self::check(name).map(|()| Self(name.into()))
    }

    pub(crate) fn check(name: &[u8]) -> Result<(), NameError> {
        let problem = match scan::sole_token(name) {
            Some(Token::Id | Token::QualifiedId) => match Directive::of(name) {
                None => return Ok(()),
                Some(_) => "directives are not settings",
            },
            _ => "expected an identifier, or two identifiers joined by a dot",
        };
        Err(NameError {
            name: name.into(),
            problem,
        })
    }

    /// The name as given.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl AsRef<[u8]> for SettingName {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for SettingName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_str_lossy().fmt(f)
    }
}

impl SettingName {
    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.iter().map(u8::to_ascii_lowercase)
    }
}

impl PartialEq for SettingName {
    fn eq(&self, other: &Self) -> bool {
        same_name(&self.0, &other.0)
    }
}

impl Eq for SettingName {}

impl Hash for SettingName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| state.write_u8(byte));
    }
}

impl PartialOrd for SettingName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SettingName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded().cmp(other.folded())
    }
}

/// Returns whether both are names of the same setting.
///
/// Source: `guc_name_compare` in guc.c. It folds ASCII letters only, so that the result does not
/// depend on the locale of the cluster.
#[inline]
pub(crate) fn same_name(a: &[u8], b: &[u8]) -> bool {
    // Names differ in length or last byte more often than in the first byte.
    let last = |name: &[u8]| name.last().map(u8::to_ascii_lowercase);
    // Most equal names are also spelled alike.
    a.len() == b.len() && last(a) == last(b) && (a == b || a.eq_ignore_ascii_case(b))
}

/// The directives that include other files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Directive {
    /// `include`: a file that must exist.
    Include,
    /// `include_if_exists`: a file that may be missing.
    IncludeIfExists,
    /// `include_dir`: every `*.conf` file of a directory, in the byte order of the names.
    IncludeDir,
}

impl Directive {
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        // Most names are excluded by their first byte.
        if !matches!(name.first(), Some(b'i' | b'I')) {
            return None;
        }
        [
            (b"include".as_slice(), Self::Include),
            (b"include_if_exists", Self::IncludeIfExists),
            (b"include_dir", Self::IncludeDir),
        ]
        .into_iter()
        .find_map(|(directive, this)| same_name(name, directive).then_some(this))
    }
}

/// The error of [`SettingName::new`]: the text is not a valid setting name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    name: Bytes,
    problem: &'static str,
}

impl NameError {
    /// The text that is not a valid name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not the name of a setting: {}",
            self.name.escape_ascii(),
            self.problem
        )
    }
}

impl std::error::Error for NameError {}
