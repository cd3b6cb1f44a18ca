//! The options of a start.

use std::ffi::OsString;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_proc::{Log, Ownership, Tenancy};

/// The options of a start. By default the server has the settings of its configuration files and is
/// bound to this process, the end of its log is kept in memory, and [`Cluster::start`] waits up to
/// a minute until it is ready.
///
/// [`Cluster::start`]: crate::Cluster::start
///
/// ```
/// use pg_cluster::{Log, Ownership, StartOptions};
///
/// let options = StartOptions::new()
///     .setting("log_line_prefix", "%m it's $(fine) ")
///     .log(Log::File("/var/log/mine.log".into()))
///     .ownership(Ownership::Detached);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartOptions {
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) log: Option<Log>,
    pub(crate) ownership: Ownership,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) wait: StartWait,
    pub(crate) timeout: Duration,
    pub(crate) recovery_patience: Duration,
    pub(crate) tenancy: Option<Tenancy>,
}

/// The moment at which [`Cluster::start`](crate::Cluster::start) returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartWait {
    /// When the server accepts connections, or is a standby that accepts none.
    #[default]
    Ready,
    /// When the program has been executed;
    /// [`Cluster::wait_until_started`](crate::Cluster::wait_until_started) can follow.
    Spawned,
}

impl StartOptions {
    /// The defaults, as described above.
    pub fn new() -> Self {
        Self {
            settings: Vec::new(),
            log: None,
            ownership: Ownership::default(),
            environment: Vec::new(),
            wait: StartWait::Ready,
            timeout: Duration::from_secs(60),
            recovery_patience: Duration::from_secs(60),
            tenancy: None,
        }
    }

    /// A setting for this start, which overrides all configuration files. A dash in the name stands
    /// for an underscore, as on the server's command line (`ParseLongOption`). The value is passed
    /// as one argument, without a shell, and needs no quotes.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings
            .push((name.into().replace('-', "_"), value.into()));
        self
    }

    /// Several settings for this start.
    #[must_use]
    pub fn settings<N: Into<String>, V: Into<String>>(
        self,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let add = |options: Self, (name, value)| options.setting(name, value);
        settings.into_iter().fold(self, add)
    }

    /// The port, for this start.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.setting("port", port.to_string())
    }

    /// The addresses to listen on, for this start: names or numeric addresses, or `*` for all. An
    /// empty list disables TCP.
    #[must_use]
    pub fn listen_addresses<A: AsRef<str>>(self, addresses: impl IntoIterator<Item = A>) -> Self {
        let list = pgconf_parse::join_guc_list(addresses);
        self.setting("listen_addresses", list)
    }

    /// The directory of the Unix socket, for this start. The path may contain commas and spaces.
    /// With `/.s.PGSQL.PORT` it has at most 107 bytes, or 103 on macOS and the BSDs.
    #[must_use]
    pub fn socket_directory(self, directory: impl Into<Utf8PathBuf>) -> Self {
        let list = pgconf_parse::join_directories([directory.into().as_std_path()]);
        self.setting(
            "unix_socket_directories",
            String::from_utf8_lossy(&list).into_owned(),
        )
    }

    /// Disables TCP and puts the Unix socket into this directory, for this start.
    #[must_use]
    pub fn socket_only(self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.socket_directory(directory)
            .listen_addresses::<&str>([])
    }

    /// The destination of the server's output. By default the last 64 KiB of a
    /// [bound](Ownership::Bound) server are kept in memory, and a [detached](Ownership::Detached)
    /// server appends to `server.log` in the data directory.
    #[must_use]
    pub fn log(mut self, log: Log) -> Self {
        self.log = Some(log);
        self
    }

    /// The effect on the server when this process exits.
    #[must_use]
    pub fn ownership(mut self, ownership: Ownership) -> Self {
        self.ownership = ownership;
        self
    }

    /// A variable for the environment of the server, which inherits the environment of the caller
    /// except variables that start with `PG`.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets whether to wait until the server is ready.
    #[must_use]
    pub fn wait(mut self, wait: StartWait) -> Self {
        self.wait = wait;
        self
    }

    /// The time in which the server has to become ready; a minute by default. It includes the wait
    /// for another thread that starts the same server, and does not include crash recovery that
    /// makes progress: see [`recovery_patience`](Self::recovery_patience).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The time in which crash recovery has to make progress after [`timeout`](Self::timeout) has
    /// passed; a minute by default.
    #[must_use]
    pub fn recovery_patience(mut self, patience: Duration) -> Self {
        self.recovery_patience = patience;
        self
    }

    /// Lets the server run as long as any process uses it. It is shut down after its last
    /// [`Tenant`](pg_proc::Tenant) has left, not when this process exits.
    ///
    /// The tenancy holds the reading end of the tenants' FIFO open. After the start, drop these
    /// options and call [`Cluster::let_go`](crate::Cluster::let_go). Until then this process counts
    /// as a tenant.
    #[must_use]
    pub fn tenancy(mut self, tenancy: Tenancy) -> Self {
        self.tenancy = Some(tenancy);
        self
    }

    /// The value that these options give to a setting; the last one counts. Names are compared
    /// without ASCII case.
    ///
    /// ```
    /// use pg_cluster::StartOptions;
    ///
    /// let options = StartOptions::new().port(5433).setting("work-mem", "64MB");
    /// assert_eq!(options.value_of("port"), Some("5433"));
    /// assert_eq!(options.value_of("work_mem"), Some("64MB"));
    /// assert_eq!(options.value_of("fsync"), None);
    /// ```
    pub fn value_of(&self, name: &str) -> Option<&str> {
        let found = self
            .settings
            .iter()
            .rfind(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Default for StartOptions {
    fn default() -> Self {
        Self::new()
    }
}
