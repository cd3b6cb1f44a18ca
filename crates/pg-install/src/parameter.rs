//! The parameters of a server as its executable describes them.

use std::fmt;
use std::str::FromStr;

use camino::Utf8Path;

use crate::command::{ProgramError, ProgramErrorKind, Runner};
use crate::name::{self, ParseNameError};

/// A parameter of the server, as `postgres --describe-config` prints it.
///
/// The program does not print units or the values of enumerations. Up to PostgreSQL 18 it does not
/// print the boot values of booleans and numbers either; see [`boot_value`](Self::boot_value).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServerParameter {
    name: String,
    context: ParameterContext,
    group: String,
    kind: ParameterKind,
    boot_value: Option<String>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    description: String,
    details: Option<String>,
}

/// The context in which a parameter can be set (`GucContext_Names` in guc_tables.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum ParameterContext {
    /// Never. The parameter shows how the server was built or its cluster was initialized.
    Internal,
    /// At server start.
    Postmaster,
    /// In the configuration file, effective after a reload.
    Sighup,
    /// At the start of a session, by a superuser, and in the configuration file.
    SuperuserBackend,
    /// At the start of a session, and in the configuration file.
    Backend,
    /// By superusers, and in the configuration file.
    Superuser,
    /// By any user.
    User,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum ParameterKind {
    /// `BOOLEAN`
    Boolean,
    /// `INTEGER`, optionally with a unit.
    Integer,
    /// `REAL`, optionally with a unit.
    Real,
    /// `STRING`
    String,
    /// `ENUM`: one of a list of words, which is not printed.
    Enum,
}

impl ServerParameter {
    /// The name, in PostgreSQL's spelling: `DateStyle`, `work_mem`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The context in which the parameter can be set.
    pub fn context(&self) -> ParameterContext {
        self.context
    }

    /// The section of the manual: `Resource Usage / Memory`.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The type of the parameter.
    pub fn kind(&self) -> ParameterKind {
        self.kind
    }

    /// The built-in value of a string or an enumeration. The server or `initdb` may replace it.
    ///
    /// ```
    /// use pg_install::ServerParameters;
    ///
    /// let lines = b"DateStyle\tuser\tLocale\tSTRING\tISO, MDY\t\t\tSets the display format.\t\n\
    ///     port\tpostmaster\tConnections\tINTEGER\t0\t1\t65535\tSets the TCP port.\t\n";
    /// let parameters = ServerParameters::parse(lines)?;
    /// assert_eq!(parameters.get("datestyle").unwrap().boot_value(), Some("ISO, MDY"));
    /// assert_eq!(parameters.get("port").unwrap().boot_value(), None);
    /// # Ok::<(), pg_install::ParseParametersError>(())
    /// ```
    ///
    /// `None` for booleans and numbers. The program prints `FALSE` and 0 for all of these, because
    /// it reads a field that only a running server sets (`printMixedStruct` in help_config.c).
    pub fn boot_value(&self) -> Option<&str> {
        self.boot_value.as_deref()
    }

    /// The smallest value of a number, in the base unit of the parameter.
    pub fn minimum(&self) -> Option<f64> {
        self.minimum
    }

    /// The largest value of a number, in the base unit of the parameter.
    ///
    /// Reals are printed with six digits, so a bound such as 1.79769e+308 is rounded.
    pub fn maximum(&self) -> Option<f64> {
        self.maximum
    }

    /// The purpose of the parameter, in one sentence.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// A longer description.
    pub fn details(&self) -> Option<&str> {
        self.details.as_deref()
    }
}

/// The parameters that `postgres --describe-config` lists.
///
/// The list is not complete, so the server may accept a name that is not listed. It omits:
///
/// * the parameters of extensions, whose names contain a dot,
/// * about sixty parameters that are not allowed in configuration files or not part of the sample
///   file, such as `zero_damaged_pages` and `allow_system_table_mods`.
///
/// Source: `displayStruct` in help_config.c, with the flags `GUC_NO_SHOW_ALL`, `GUC_NOT_IN_SAMPLE`
/// and `GUC_DISALLOW_IN_FILE`.
///
/// ```
/// use pg_install::{ParameterContext, ParameterKind, ServerParameters};
///
/// let line = b"work_mem\tuser\tResource Usage\tINTEGER\t4096\t64\t2147483647\tA memory.\t\n";
/// let parameters = ServerParameters::parse(line)?;
/// let found = parameters.get("Work_Mem").unwrap();
/// assert_eq!((found.context(), found.kind()), (ParameterContext::User, ParameterKind::Integer));
/// assert_eq!((found.minimum(), found.maximum()), (Some(64.0), Some(2147483647.0)));
/// assert_eq!(parameters.iter().count(), 1);
/// # Ok::<(), pg_install::ParseParametersError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct ServerParameters(Vec<ServerParameter>);

impl ServerParameters {
    pub(crate) fn query(postgres: &Utf8Path, runner: &Runner) -> Result<Self, ProgramError> {
        let arguments = ["--describe-config"];
        let printed = runner.run(postgres, &arguments)?;
        Self::parse(&printed).map_err(|reason| {
            let kind = ProgramErrorKind::unexpected(reason.chain(), &printed);
            ProgramError::new(postgres, &arguments, kind)
        })
    }

    /// Parses the output: one line per parameter, with nine columns separated by tabs.
    ///
    /// # Errors
    ///
    /// Fails if a line does not have this form. The error has the number of the first such line.
    pub fn parse(output: &[u8]) -> Result<Self, ParseParametersError> {
        let text = String::from_utf8_lossy(output);
        let lines = text.split_terminator('\n').enumerate();
        let parameters: Result<Vec<_>, _> = lines
            .map(|(index, line)| {
                parse_line(line).map_err(|reason| ParseParametersError {
                    line: index + 1,
                    reason: Reason(reason),
                })
            })
            .collect();
        Self::new(parameters?).ok_or(ParseParametersError {
            line: 1,
            reason: Reason("the output is empty"),
        })
    }

    /// Returns `None` if the list is empty.
    pub(crate) fn new(mut parameters: Vec<ServerParameter>) -> Option<Self> {
        parameters.sort_unstable_by(|a, b| folded(&a.name).cmp(folded(&b.name)));
        (!parameters.is_empty()).then_some(Self(parameters))
    }

    /// Returns the parameter whose name is most similar to a mistyped one, by edit distance.
    /// Returns `None` if half of the letters differ.
    ///
    /// ```
    /// use pg_install::ServerParameters;
    ///
    /// let line = b"work_mem\tuser\tResource Usage\tINTEGER\t4096\t64\t2147483647\tA memory.\t\n";
    /// let parameters = ServerParameters::parse(line)?;
    /// let nearest = |name| parameters.nearest(name).map(|found| found.name());
    /// assert_eq!(nearest("wrok_mem"), Some("work_mem"));
    /// assert_eq!(nearest("port"), None);
    /// # Ok::<(), pg_install::ParseParametersError>(())
    /// ```
    pub fn nearest(&self, name: &str) -> Option<&ServerParameter> {
        let name = name.to_ascii_lowercase();
        self.iter()
            .map(|parameter| (edit_distance(&parameter.name, &name), parameter))
            .min_by_key(|(distance, parameter)| (*distance, &parameter.name))
            .filter(|(distance, _)| *distance * 2 < name.len().max(2))
            .map(|(_, parameter)| parameter)
    }

    /// Returns the parameter with this name. Case is ignored, as by the server.
    pub fn get(&self, name: &str) -> Option<&ServerParameter> {
        let found = self
            .0
            .binary_search_by(|other| folded(&other.name).cmp(folded(name)));
        found.ok().map(|index| &self.0[index])
    }

    /// Iterates over the parameters, sorted by name.
    pub fn iter(&self) -> std::slice::Iter<'_, ServerParameter> {
        self.0.iter()
    }

    /// The number of parameters, which is about 300 to 350 since PostgreSQL 15.
    #[expect(clippy::len_without_is_empty, reason = "the list is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a ServerParameters {
    type Item = &'a ServerParameter;
    type IntoIter = std::slice::Iter<'a, ServerParameter>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Names are compared without regard to the case of ASCII letters (`guc_name_compare` in guc.c).
fn folded(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().map(|b| b.to_ascii_lowercase())
}

/// ```c
/// printf("%s\t%s\t%s\t", name, GucContext_Names[context], _(config_group_names[group]));
/// printf("INTEGER\t%d\t%d\t%d\t", reset_val, min, max);
/// printf("%s\t%s\n", short_desc, long_desc);
/// ```
fn parse_line(line: &str) -> Result<ServerParameter, &'static str> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [
        name,
        context,
        group,
        kind,
        boot,
        minimum,
        maximum,
        description,
        details,
    ] = columns[..]
    else {
        return Err("the line does not have nine columns");
    };
    if name.is_empty() {
        return Err("the name is empty");
    }
    let kind = match kind {
        "BOOLEAN" => ParameterKind::Boolean,
        "INTEGER" => ParameterKind::Integer,
        "REAL" => ParameterKind::Real,
        "STRING" => ParameterKind::String,
        "ENUM" => ParameterKind::Enum,
        _ => return Err("the type is unknown"),
    };
    let context = context.parse().map_err(|_| "the context is unknown")?;
    let bound = |text: &str| match text {
        "" => Ok(None),
        // Rust parses `NaN`, which is unequal to itself.
        text => match text.parse() {
            Ok(number) if !f64::is_nan(number) => Ok(Some(number)),
            _ => Err("a bound is not a number"),
        },
    };
    let has_boot_value = matches!(kind, ParameterKind::String | ParameterKind::Enum);
    Ok(ServerParameter {
        name: name.to_owned(),
        context,
        group: group.to_owned(),
        kind,
        boot_value: has_boot_value.then(|| boot.to_owned()),
        minimum: bound(minimum)?,
        maximum: bound(maximum)?,
        description: description.to_owned(),
        details: (!details.is_empty()).then(|| details.to_owned()),
    })
}

/// The name that the view `pg_settings` uses: `superuser-backend`.
impl fmt::Display for ParameterContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Internal => "internal",
            Self::Postmaster => "postmaster",
            Self::Sighup => "sighup",
            Self::SuperuserBackend => "superuser-backend",
            Self::Backend => "backend",
            Self::Superuser => "superuser",
            Self::User => "user",
        })
    }
}

/// The name that `pg_settings` uses: `superuser-backend`.
impl FromStr for ParameterContext {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let all = [
            Self::Internal,
            Self::Postmaster,
            Self::Sighup,
            Self::SuperuserBackend,
            Self::Backend,
            Self::Superuser,
            Self::User,
        ];
        name::parse(text, "a context", all.into_iter())
    }
}

/// The error of [`ServerParameters::parse`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse line {line} as a server parameter")]
pub struct ParseParametersError {
    line: usize,
    #[source]
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Reason(&'static str);

impl ParseParametersError {
    fn chain(&self) -> String {
        format!("{self}: {}", self.reason)
    }

    /// The line number, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Computes the Levenshtein distance row by row.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x.to_ascii_lowercase() != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
