//! The options of the `configure` run that built an installation.

use std::fmt;

/// The options that PostgreSQL was configured with, as `pg_config --configure` prints them.
///
/// Names are normalized as in py-postgresql: without leading dashes, in lower case, with
/// underscores for dashes. `--enable-debug` becomes `enable_debug`.
///
/// ```
/// use pg_install::ConfigureOptions;
///
/// let text = "'--prefix' '/opt/pg' '--with-ssl=openssl' 'CC=gcc -m64'";
/// let options = ConfigureOptions::parse(text);
/// assert_eq!(options.value("prefix"), Some("/opt/pg"));
/// assert_eq!(options.value("--with-ssl"), Some("openssl"));
/// assert_eq!(options.assignment("CC"), Some("gcc -m64"));
/// ```
///
/// PostgreSQL's meson builds (possible since 16) do not record options. All collections are then
/// empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConfigureOptions {
    words: Vec<String>,
    options: Vec<(String, Option<String>)>,
    assignments: Vec<(String, String)>,
}

/// The options of autoconf's `configure` whose value may be the next word.
///
/// In `--with-x y` and `--enable-x y`, `y` is an operand and not the value.
const VALUE_MAY_FOLLOW: [&str; 31] = [
    "bindir",
    "build",
    "cache_file",
    "datadir",
    "datarootdir",
    "docdir",
    "dvidir",
    "exec_prefix",
    "host",
    "htmldir",
    "includedir",
    "infodir",
    "libdir",
    "libexecdir",
    "localedir",
    "localstatedir",
    "mandir",
    "oldincludedir",
    "pdfdir",
    "prefix",
    "program_prefix",
    "program_suffix",
    "program_transform_name",
    "psdir",
    "runstatedir",
    "sbindir",
    "sharedstatedir",
    "srcdir",
    "sysconfdir",
    "target",
    "x_includes",
];

impl ConfigureOptions {
    /// Reads the options from the text after `CONFIGURE = `.
    ///
    /// The text is quoted for a shell: autoconf encloses each word in single quotes. Double quotes
    /// and backslashes are accepted too. Parsing never fails; an unterminated quote extends to the
    /// end.
    pub fn parse(text: &str) -> Self {
        let words = shell_words(text);
        let (mut options, mut assignments) = (Vec::new(), Vec::new());
        let mut rest = words.iter().peekable();
        while let Some(word) = rest.next() {
            if let Some(option) = word.strip_prefix('-') {
                let (name, value) = match option.split_once('=') {
                    Some((name, value)) => (normalized(name), Some(value.to_owned())),
                    None => (normalized(option), None),
                };
                let value = value.or_else(|| {
                    let takes_next = VALUE_MAY_FOLLOW.contains(&name.as_str());
                    rest.next_if(|_| takes_next).cloned()
                });
                options.push((name, value));
            } else if let Some((name, value)) = word.split_once('=') {
                assignments.push((name.to_owned(), value.to_owned()));
            }
        }
        Self {
            words,
            options,
            assignments,
        }
    }

    /// Returns the value of an option: `Some(None)` if it was given without a value, `None` if it
    /// was not given.
    ///
    /// If an option was given more than once, the last one counts, as for `configure`. The name
    /// may be spelled `with_ssl` or `--with-ssl`.
    ///
    /// ```
    /// use pg_install::ConfigureOptions;
    ///
    /// let options = ConfigureOptions::parse("'--with-icu' '--prefix=/a' '--prefix=/b'");
    /// assert_eq!(options.get("prefix"), Some(Some("/b")));
    /// assert_eq!(options.get("with_icu"), Some(None));
    /// assert_eq!(options.get("with_llvm"), None);
    /// assert_eq!(options.get_all("prefix").count(), 2);
    /// ```
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        self.get_all(name).last()
    }

    /// Iterates over the values of an option that was given more than once, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        let name = normalized(name);
        self.iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// Returns whether an option was given, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the value of an option. Returns `None` if the option was not given or has no value.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.get(name).flatten()
    }

    /// Returns whether a feature or package was enabled by `--enable-NAME` or `--with-NAME`, or
    /// disabled by `--disable-NAME` or `--without-NAME`. Returns `None` if no option decides, so
    /// that PostgreSQL's default applies.
    ///
    /// As in autoconf, `--with-NAME=no` is the same as `--without-NAME`, `--enable-NAME=no` is the
    /// same as `--disable-NAME`, and the last option counts.
    ///
    /// ```
    /// use pg_install::ConfigureOptions;
    ///
    /// let text = "'--enable-debug' '--without-icu' '--with-ssl=openssl'";
    /// let options = ConfigureOptions::parse(text);
    /// assert_eq!(options.is_enabled("debug"), Some(true));
    /// assert_eq!(options.is_enabled("icu"), Some(false));
    /// assert_eq!(options.is_enabled("ssl"), Some(true));
    /// assert_eq!(options.is_enabled("llvm"), None);
    /// ```
    pub fn is_enabled(&self, name: &str) -> Option<bool> {
        let name = normalized(name);
        let decision = |(option, value): (&str, Option<&str>)| {
            let (verb, subject) = option.split_once('_')?;
            (subject == name).then_some(())?;
            match verb {
                "with" | "enable" => Some(value != Some("no")),
                "without" | "disable" => Some(false),
                _ => None,
            }
        };
        self.iter().filter_map(decision).next_back()
    }

    /// Iterates over all options with their values, in the order given, including repetitions.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, Option<&str>)> + Clone {
        self.options
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Returns the value of a variable that was given to `configure` as `NAME=value`, such as
    /// `CFLAGS`.
    ///
    /// Names of variables are not normalized.
    pub fn assignment(&self, name: &str) -> Option<&str> {
        self.assignments()
            .rfind(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// Iterates over all variables that were given to `configure`, in order.
    ///
    /// ```
    /// use pg_install::ConfigureOptions;
    ///
    /// let options = ConfigureOptions::parse("'CC=clang' '--with-icu' 'CFLAGS=-O2 -g'");
    /// let assignments: Vec<_> = options.assignments().collect();
    /// assert_eq!(assignments, [("CC", "clang"), ("CFLAGS", "-O2 -g")]);
    /// assert_eq!(options.words().len(), 3);
    /// ```
    pub fn assignments(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + Clone {
        self.assignments
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The words of the command line, unquoted.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Returns whether there are neither options nor assignments, as for meson builds and for
    /// installations without `pg_config`.
    pub fn is_empty(&self) -> bool {
        self.options.is_empty() && self.assignments.is_empty()
    }
}

impl fmt::Debug for ConfigureOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.words).finish()
    }
}

fn normalized(name: &str) -> String {
    name.trim_start_matches('-')
        .to_ascii_lowercase()
        .replace('-', "_")
}

/// Splits a text into words by a shell's quoting rules.
///
/// `$` is kept: the shell expanded variables before `configure` read its arguments.
fn shell_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|&c| c != '\''));
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next().filter(|&c| c != '"') {
                    match c {
                        '\\' => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some('\n') => {}
                            Some(c) => word.extend(['\\', c]),
                            None => word.push('\\'),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word
                .get_or_insert_default()
                .push(chars.next().unwrap_or('\\')),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
