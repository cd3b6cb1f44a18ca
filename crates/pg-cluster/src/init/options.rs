//! The options of `initdb`, and its arguments for them.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{MajorVersion, Version};

use super::InitErrorKind;
use super::superuser::name_for_initdb;

/// The options for a new data directory. By default the cluster has the superuser `postgres`,
/// encoding UTF-8 and locale `C`, which is the same on every machine and does not depend on the
/// environment.
///
/// ```
/// use pg_cluster::{InitOptions, Locale};
///
/// let options = InitOptions::new()
///     .user("admin")
///     .password("s3cret")
///     .locale(Locale::Named("en_US.UTF-8".into()));
/// ```
///
/// DIFFERENCE: `initdb` takes locale and encoding from the environment and names the superuser
/// after the operating system's user. [`Locale::Environment`] and [`user`](Self::user) choose the
/// same here.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitOptions {
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) encoding: Option<String>,
    pub(crate) auth_local: Option<String>,
    pub(crate) auth_host: Option<String>,
    pub(crate) locale: Locale,
    pub(crate) locale_parts: Vec<(LocaleCategory, String)>,
    pub(crate) locale_provider: Option<LocaleProvider>,
    pub(crate) data_checksums: Option<DataChecksums>,
    pub(crate) wal_segment_megabytes: Option<u32>,
    pub(crate) wal_directory: Option<Utf8PathBuf>,
    pub(crate) access: DirectoryAccess,
    pub(crate) durability: Durability,
    pub(crate) extra_arguments: Vec<String>,
    pub(crate) timeout: Duration,
}

/// The locale of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Locale {
    /// `C`, which sorts by bytes and exists on every machine.
    C,
    /// One name for all categories, such as `de_DE.UTF-8`. It has to exist on the machine (`locale
    /// -a`).
    Named(String),
    /// The locale in `LC_ALL`, `LC_*` and `LANG` of the calling process.
    Environment,
}

/// A part of the locale that can be set on its own: the `--lc-...` options of `initdb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LocaleCategory {
    /// Order of strings.
    Collate,
    /// Classes of characters.
    Ctype,
    /// Language of the server's messages.
    Messages,
    /// Format of amounts of money.
    Monetary,
    /// Format of numbers.
    Numeric,
    /// Format of dates.
    Time,
}

/// The library that provides the default collation: `--locale-provider`, from PostgreSQL 15 on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocaleProvider {
    /// The operating system's C library.
    Libc,
    /// ICU, with the name of its locale, such as `en` or `und-u-ks-level2`.
    Icu(String),
    /// PostgreSQL's own, from 17 on, with `C`, `C.UTF-8` or, from 18 on, `PG_UNICODE_FAST`.
    Builtin(String),
}

/// Page checksums. The default of `initdb` is off up to 17, and on from 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataChecksums {
    /// `--data-checksums`.
    On,
    /// `--no-data-checksums` from 18 on, and no option before.
    Off,
}

/// The access to the data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DirectoryAccess {
    /// Only the owner has access: mode 0700.
    #[default]
    Owner,
    /// The owner's group may read too: mode 0750, from PostgreSQL 11 on.
    Group,
}

/// The durability of the new files when `initdb` returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// `initdb` waits.
    #[default]
    Synced,
    /// `initdb` does not wait (`--no-sync`): a crash of the machine soon afterwards may leave a
    /// damaged cluster. Suitable for disposable data.
    NotSynced,
}

impl InitOptions {
    /// The defaults, as described above.
    pub fn new() -> Self {
        Self {
            user: "postgres".to_owned(),
            password: None,
            encoding: Some("UTF8".to_owned()),
            auth_local: None,
            auth_host: None,
            locale: Locale::C,
            locale_parts: Vec::new(),
            locale_provider: None,
            data_checksums: None,
            wal_segment_megabytes: None,
            wal_directory: None,
            access: DirectoryAccess::Owner,
            durability: Durability::Synced,
            extra_arguments: Vec::new(),
            timeout: Duration::from_secs(300),
        }
    }

    /// The name of the superuser (`-U`): any text of at most 63 bytes without line breaks that does
    /// not begin with `pg_`.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.user = name.into();
        self
    }

    /// The superuser's password.
    ///
    /// It is passed to `initdb` through a pipe, and not in an argument, a variable or a file. With
    /// a password the default authentication is `scram-sha-256`.
    ///
    /// DIFFERENCE: the default of `initdb` is `trust`, which makes the password useless.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The encoding of the template databases (`-E`), by PostgreSQL's name for it.
    #[must_use]
    pub fn encoding(mut self, name: impl Into<String>) -> Self {
        self.encoding = Some(name.into());
        self
    }

    /// Lets `initdb` derive the encoding from the locale.
    #[must_use]
    pub fn encoding_from_locale(mut self) -> Self {
        self.encoding = None;
        self
    }

    /// The method in `pg_hba.conf` for connections by Unix socket (`--auth-local`).
    #[must_use]
    pub fn auth_local(mut self, method: impl Into<String>) -> Self {
        self.auth_local = Some(method.into());
        self
    }

    /// The method in `pg_hba.conf` for TCP connections from this machine (`--auth-host`).
    #[must_use]
    pub fn auth_host(mut self, method: impl Into<String>) -> Self {
        self.auth_host = Some(method.into());
        self
    }

    /// The locale of all categories without a [locale of their own](Self::locale_category).
    #[must_use]
    pub fn locale(mut self, locale: Locale) -> Self {
        self.locale = locale;
        self
    }

    /// The locale of one category (`--lc-collate` and similar options).
    #[must_use]
    pub fn locale_category(mut self, category: LocaleCategory, name: impl Into<String>) -> Self {
        self.locale_parts.push((category, name.into()));
        self
    }

    /// The provider of the default collation.
    #[must_use]
    pub fn locale_provider(mut self, provider: LocaleProvider) -> Self {
        self.locale_provider = Some(provider);
        self
    }

    /// Sets whether data pages carry checksums.
    #[must_use]
    pub fn data_checksums(mut self, choice: DataChecksums) -> Self {
        self.data_checksums = Some(choice);
        self
    }

    /// The size of a WAL segment file in megabytes (`--wal-segsize`, from PostgreSQL 11 on): a
    /// power of two from 1 to 1024.
    #[must_use]
    pub fn wal_segment_megabytes(mut self, megabytes: u32) -> Self {
        self.wal_segment_megabytes = Some(megabytes);
        self
    }

    /// An empty or new directory for the write-ahead log (`--waldir`), by its absolute path;
    /// `pg_wal` becomes a link to it.
    #[must_use]
    pub fn wal_directory(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.wal_directory = Some(directory.into());
        self
    }

    /// The access to the data directory.
    #[must_use]
    pub fn access(mut self, access: DirectoryAccess) -> Self {
        self.access = access;
        self
    }

    /// Sets whether `initdb` waits until all its files are on disk.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// An additional argument for `initdb`, after all others.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.extra_arguments.push(argument.into());
        self
    }

    /// The time after which `initdb` is stopped; five minutes by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The name of the superuser.
    pub fn superuser(&self) -> &str {
        &self.user
    }

    /// The superuser's password, if one is set.
    pub fn superuser_password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The size of a WAL segment in megabytes, if one is set.
    pub fn wal_segment_size(&self) -> Option<u32> {
        self.wal_segment_megabytes
    }

    /// The directory for the write-ahead log, if one is set.
    pub fn wal_location(&self) -> Option<&Utf8Path> {
        self.wal_directory.as_deref()
    }

    /// The arguments added with [`argument`](Self::argument).
    pub fn additional_arguments(&self) -> &[String] {
        &self.extra_arguments
    }

    /// The variables `LC_*` and `LANG` of the calling process, which are passed to `initdb`; none
    /// unless [`Locale::Environment`] is chosen.
    pub fn locale_environment(&self) -> Vec<(String, String)> {
        if self.locale != Locale::Environment {
            return Vec::new();
        }
        // The name of a locale is UTF-8; other variables need not be.
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("LC_") || name == "LANG")
            .collect()
    }

    /// Checks for options that `initdb` of this version would refuse, or silently get wrong.
    /// [`Cluster::init`](crate::Cluster::init) does so first.
    ///
    /// # Errors
    ///
    /// [`InitErrorKind::Option`] or [`InitErrorKind::Unsupported`].
    pub fn check(&self, version: &Version) -> Result<(), InitErrorKind> {
        let broken = |text: &str| text.contains(['\n', '\r', '\0']);
        let impossible = match &self.password {
            Some(password) if password.is_empty() => Some("the password is empty"),
            Some(password) if broken(password) => {
                Some("the password holds a line break or NUL, and initdb reads one line")
            }
            // `get_set_pwd` in initdb.c up to version 13 reads into a buffer of 1024 bytes.
            Some(password) if password.len() > 1000 => {
                Some("the password is longer than 1000 bytes")
            }
            _ if self.user.is_empty() => Some("the superuser's name is empty"),
            _ if self.user.len() > 63 => Some("the superuser's name is longer than 63 bytes"),
            _ if broken(&self.user) => Some("the superuser's name holds a line break or NUL"),
            _ if self
                .wal_directory
                .as_ref()
                .is_some_and(|path| path.is_relative()) =>
            {
                Some("the path of the WAL directory is not absolute")
            }
            _ if self.user.starts_with("pg_") => Some("names that begin with pg_ are reserved"),
            _ => None,
        };
        if let Some(problem) = impossible {
            return Err(InitErrorKind::Option(problem));
        }
        let unsupported = self
            .needed_versions()
            .into_iter()
            .find(|&(needed, _)| version.major_version() < MajorVersion::new(needed));
        match unsupported {
            Some((needed, option)) => Err(InitErrorKind::Unsupported {
                option,
                since: MajorVersion::new(needed),
                version: version.clone(),
            }),
            None => Ok(()),
        }
    }

    /// The options in use that older versions of `initdb` lack, with the first version that has
    /// them.
    fn needed_versions(&self) -> Vec<(u16, &'static str)> {
        let mut needed = Vec::new();
        if self.wal_segment_megabytes.is_some() {
            needed.push((11, "--wal-segsize"));
        }
        if self.access == DirectoryAccess::Group {
            needed.push((11, "--allow-group-access"));
        }
        match self.locale_provider {
            Some(LocaleProvider::Builtin(_)) => needed.push((17, "--locale-provider=builtin")),
            Some(_) => needed.push((15, "--locale-provider")),
            None => {}
        }
        needed
    }

    /// The arguments that `initdb` of this version gets for these options and this data directory.
    /// The password is not among them.
    pub fn initdb_arguments(&self, version: &Version, directory: &Utf8Path) -> Vec<String> {
        let mut arguments = vec![
            format!("--pgdata={directory}"),
            format!("--username={}", name_for_initdb(&self.user)),
            // `Cluster::init` removes the files of a failed `initdb`, and releases its shared
            // memory first, for which it needs the lock file.
            "--no-clean".to_owned(),
        ];
        let mut option = |name: &str, value: &str| arguments.push(format!("--{name}={value}"));
        if let Some(encoding) = &self.encoding {
            option("encoding", encoding);
        }
        match &self.locale {
            Locale::C => option("locale", "C"),
            Locale::Named(name) => option("locale", name),
            Locale::Environment => {}
        }
        for (category, name) in &self.locale_parts {
            option(category.option(), name);
        }
        match &self.locale_provider {
            None => {}
            Some(LocaleProvider::Libc) => option("locale-provider", "libc"),
            Some(LocaleProvider::Icu(locale)) => {
                option("locale-provider", "icu");
                option("icu-locale", locale);
            }
            Some(LocaleProvider::Builtin(locale)) => {
                option("locale-provider", "builtin");
                option("builtin-locale", locale);
            }
        }
        let default_method = self.password.as_ref().map(|_| "scram-sha-256");
        if let Some(method) = self.auth_local.as_deref().or(default_method) {
            option("auth-local", method);
        }
        if let Some(method) = self.auth_host.as_deref().or(default_method) {
            option("auth-host", method);
        }
        if let Some(megabytes) = self.wal_segment_megabytes {
            option("wal-segsize", &megabytes.to_string());
        }
        if let Some(directory) = &self.wal_directory {
            option("waldir", directory.as_str());
        }
        match self.data_checksums {
            None => {}
            Some(DataChecksums::On) => arguments.push("--data-checksums".to_owned()),
            Some(DataChecksums::Off) if version.major_version() >= MajorVersion::new(18) => {
                arguments.push("--no-data-checksums".to_owned());
            }
            Some(DataChecksums::Off) => {}
        }
        if self.access == DirectoryAccess::Group {
            arguments.push("--allow-group-access".to_owned());
        }
        if self.durability == Durability::NotSynced {
            arguments.push("--no-sync".to_owned());
        }
        arguments.extend(self.extra_arguments.iter().cloned());
        arguments
    }
}

impl Default for InitOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The password is left out.
impl std::fmt::Debug for InitOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InitOptions")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "..."))
            .field("encoding", &self.encoding)
            .field("locale", &self.locale)
            .finish_non_exhaustive()
    }
}

impl LocaleCategory {
    fn option(self) -> &'static str {
        match self {
            Self::Collate => "lc-collate",
            Self::Ctype => "lc-ctype",
            Self::Messages => "lc-messages",
            Self::Monetary => "lc-monetary",
            Self::Numeric => "lc-numeric",
            Self::Time => "lc-time",
        }
    }
}
