//! The output of `pg_config` as data.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::command::{ProgramError, ProgramErrorKind, Runner};
use crate::program::Program;

/// The output of `pg_config`. It is read from the program, parsed from text, or created from pairs.
///
/// Keys are compared without regard to case, and dashes are equal to underscores:
/// `INCLUDEDIR-SERVER`, `includedir-server` and `includedir_server` are one key.
/// [`iter`](Self::iter) returns the last of these spellings. DIFFERENCE: in py-postgresql's
/// dictionary the key is `includedir-server`, while its list of directories has
/// `includedir_server`.
///
/// The keys of PostgreSQL 9.2 to 18 are `bindir`, `docdir`, `htmldir`, `includedir`,
/// `pkgincludedir`, `includedir_server`, `libdir`, `pkglibdir`, `localedir`, `mandir`, `sharedir`,
/// `sysconfdir`, `pgxs`, `configure`, `cc`, `cppflags`, `cflags`, `cflags_sl`, `ldflags`,
/// `ldflags_ex`, `ldflags_sl`, `libs` and `version` (src/common/config_info.c). Older versions have
/// fewer keys. Other keys are kept.
///
/// ```
/// use pg_install::PgConfig;
///
/// let config: PgConfig = "BINDIR = /opt/pg/bin\nVERSION = PostgreSQL 9.0devel\n".parse().unwrap();
/// assert_eq!(config.get("bindir"), Some("/opt/pg/bin"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PgConfig {
    /// Bytes, because paths need not be UTF-8.
    values: BTreeMap<String, Vec<u8>>,
    program: Option<Utf8PathBuf>,
}

impl PgConfig {
    /// Runs the program `pg_config` at `path` and reads what it prints.
    ///
    /// The program runs without arguments, with an empty standard input and with `LC_ALL=C`. It
    /// inherits the environment of this process, except variables that start with `PG`. After 10
    /// seconds it is killed together with its process group. Up to 1 MiB of output is accepted.
    ///
    /// `pg_config` of PostgreSQL 8.0 and older requires an option. If the program fails without
    /// arguments, it is therefore run with each option that `pg_config --help` lists, until the
    /// time limit is reached.
    ///
    /// If the path names another program of PostgreSQL, the program is not run.
    ///
    /// ```no_run
    /// use pg_install::PgConfig;
    ///
    /// let config = PgConfig::query("/usr/bin/pg_config")?;
    /// println!("{} in {}", config.get("version").unwrap(), config.get("bindir").unwrap_or("?"));
    /// # Ok::<(), pg_install::ProgramError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the program cannot be run, exits with an error, does not exit in time, or does not
    /// print `VERSION`.
    pub fn query(path: impl AsRef<Utf8Path>) -> Result<Self, ProgramError> {
        Self::query_with(path.as_ref(), &Runner::default())
    }

    /// Runs the program as [`query`](Self::query) does, with another time limit.
    ///
    /// # Errors
    ///
    /// Fails as [`query`](Self::query) does.
    pub fn query_within(
        path: impl AsRef<Utf8Path>,
        timeout: Duration,
    ) -> Result<Self, ProgramError> {
        Self::query_with(path.as_ref(), &Runner::new(None, timeout))
    }

    pub(crate) fn query_with(path: &Utf8Path, runner: &Runner) -> Result<Self, ProgramError> {
        if let Some(program) = other_program(path) {
            let kind = ProgramErrorKind::OtherProgram { program };
            return Err(ProgramError::new(path, &[], kind));
        }
        let ask = |arguments: &[&str]| runner.run(path, arguments);
        let mut config = match ask(&[]) {
            Ok(printed) => {
                let config = Self::from_bytes(&printed);
                if config.get_bytes("version").is_none() {
                    let kind = ProgramErrorKind::unexpected("VERSION is missing", &printed);
                    return Err(ProgramError::new(path, &[], kind));
                }
                config
            }
            Err(error) if has_failed(&error) => {
                Self::query_one_by_one(&ask, runner.timeout())?.ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        config.program = Some(path.to_owned());
        Ok(config)
    }

    /// Uses the protocol of 8.0 and older, which requires at least one option. Returns `None` if
    /// the program does not follow this protocol either.
    ///
    /// Options that fail are skipped, because 7.x documents some that it does not support.
    fn query_one_by_one(
        ask: &impl Fn(&[&str]) -> Result<Vec<u8>, ProgramError>,
        timeout: Duration,
    ) -> Result<Option<Self>, ProgramError> {
        let began = Instant::now();
        let answer = |option: &str| match ask(&[option]) {
            Ok(printed) => Ok(Some(printed)),
            Err(error) if has_failed(&error) => Ok(None),
            Err(error) => Err(error),
        };
        let Some(help) = answer("--help")? else {
            return Ok(None);
        };
        let help = String::from_utf8_lossy(&help);
        // Other programs also have `--help` and `--version`.
        if !help.contains("--bindir") {
            return Ok(None);
        }
        let options = help
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|word| word.len() > 2 && word.starts_with("--"))
            .filter(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
            .filter(|word| *word != "--help");
        let mut values = BTreeMap::new();
        for option in options {
            let key = key(option.as_bytes());
            if values.contains_key(&key) {
                continue;
            }
            // The help may list any number of options, and each run may be slow.
            if began.elapsed() > timeout {
                return Ok(None);
            }
            if let Some(printed) = answer(option)? {
                values.insert(key, printed.trim_ascii().to_vec());
            }
        }
        Ok(values.contains_key("version").then_some(Self {
            values,
            program: None,
        }))
    }

    /// Parses the output of `pg_config`: lines of `KEY = value`.
    ///
    /// Lines without `=` are skipped. If a key is repeated, the last value counts.
    pub fn from_bytes(output: &[u8]) -> Self {
        let mut values = BTreeMap::new();
        for line in output.split(|&b| b == b'\n') {
            if let Some(at) = line.iter().position(|&b| b == b'=') {
                let name = key(line[..at].trim_ascii());
                values.insert(name, line[at + 1..].trim_ascii().to_vec());
            }
        }
        Self {
            values,
            program: None,
        }
    }

    /// Creates the output from pairs of keys and values, for example in a test.
    ///
    /// ```
    /// use pg_install::PgConfig;
    ///
    /// let pairs = [("version", "PostgreSQL 16.3"), ("bindir", "/opt/pg/bin")];
    /// let config = PgConfig::from_pairs(pairs);
    /// assert_eq!(config.get("VERSION"), Some("PostgreSQL 16.3"));
    /// ```
    pub fn from_pairs<K: AsRef<str>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut config = Self::default();
        for (name, value) in pairs {
            config.insert(name.as_ref(), value.into());
        }
        config
    }

    fn insert(&mut self, name: &str, value: String) {
        self.values.insert(key(name.as_bytes()), value.into_bytes());
    }

    /// Returns the value of a key, or `None` if the key is missing or its value is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_bytes(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Returns the value of a key, byte for byte as `pg_config` printed it.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.values.get(&key(name.as_bytes())).map(Vec::as_slice)
    }

    /// Iterates over the keys whose values are UTF-8, in alphabetical order.
    ///
    /// ```
    /// use pg_install::PgConfig;
    ///
    /// let config = PgConfig::from_bytes(b"VERSION = PostgreSQL 16.3\nINCLUDEDIR-SERVER = /i\n");
    /// let pairs: Vec<_> = config.iter().collect();
    /// assert_eq!(pairs, [("includedir_server", "/i"), ("version", "PostgreSQL 16.3")]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value).ok()?)))
    }

    /// The program that was run, if any.
    pub fn program(&self) -> Option<&Utf8Path> {
        self.program.as_deref()
    }
}

/// Returns the program of PostgreSQL, other than `pg_config`, that a path names directly or through
/// a symbolic link. Such a program must not be run: `createdb`, for example, needs no arguments to
/// create a database.
fn other_program(path: &Utf8Path) -> Option<Program> {
    let named = |path: &Utf8Path| {
        // psql16, psql-16
        let version = |c: char| c.is_ascii_digit() || c == '-' || c == '.';
        let name = path.file_name()?.trim_end_matches(version);
        let program = name.parse().ok()?;
        (program != Program::PgConfig).then_some(program)
    };
    named(path).or_else(|| {
        let target = path.is_symlink().then(|| path.canonicalize_utf8().ok());
        named(&target.flatten()?)
    })
}

/// Returns whether the program exited with an error, as it does if a required option is missing.
fn has_failed(error: &ProgramError) -> bool {
    matches!(
        error.kind(),
        ProgramErrorKind::Failed { .. } | ProgramErrorKind::StatusLost { .. }
    )
}

/// Parses any text; see [`PgConfig::from_bytes`].
impl FromStr for PgConfig {
    type Err = std::convert::Infallible;

    fn from_str(output: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_bytes(output.as_bytes()))
    }
}

impl<K: AsRef<str>, V: Into<String>> FromIterator<(K, V)> for PgConfig {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self::from_pairs(pairs)
    }
}

impl fmt::Debug for PgConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self
            .values
            .iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(value)));
        f.debug_map().entries(values).finish()
    }
}

fn key(name: &[u8]) -> String {
    String::from_utf8_lossy(name)
        .trim_start_matches('-')
        .to_ascii_lowercase()
        .replace('-', "_")
}
