//! How a server is to be started.

use std::ffi::OsString;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_proc::{Log, Ownership, Tenancy};

use crate::command_line;

/// How a server is to be started. The default is a server with the settings of its configuration
/// files, bound to this process, with the end of its log kept in memory, and waited for until it is
/// ready, for a minute.
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

/// When [`Cluster::start`](crate::Cluster::start) returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartWait {
    /// When the server accepts connections (or is a standby that never will).
    #[default]
    Ready,
    /// When the program runs; [`Cluster::wait_until_started`](crate::Cluster::wait_until_started)
    /// can follow.
    Spawned,
}

impl StartOptions {
    /// The defaults described at the type.
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

    /// A setting for this start, which wins over all configuration files. The value is passed as
    /// one argument: no quoting is needed and no shell sees it.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Several settings for this start.
    #[must_use]
    pub fn settings<N: Into<String>, V: Into<String>>(
        mut self,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.settings.extend(
            settings
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        self
    }

    /// The port, for this start.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.setting("port", port.to_string())
    }

    /// The addresses to listen on, for this start: names or numeric addresses, `*` for all; none
    /// means no TCP at all.
    #[must_use]
    pub fn listen_addresses<A: AsRef<str>>(self, addresses: impl IntoIterator<Item = A>) -> Self {
        let list = pgconf_parse::join_guc_list(addresses);
        self.setting("listen_addresses", list)
    }

    /// The directory for the Unix socket, for this start. Any path will do, commas and spaces
    /// included, if it is short enough: with `/.s.PGSQL.PORT` at most 107 bytes, 103 on macOS and
    /// the BSDs.
    #[must_use]
    pub fn socket_directory(self, directory: impl Into<Utf8PathBuf>) -> Self {
        let list = pgconf_parse::join_directories([directory.into().as_std_path()]);
        self.setting(
            "unix_socket_directories",
            String::from_utf8_lossy(&list).into_owned(),
        )
    }

    /// No TCP, and the Unix socket in this directory, for this start.
    #[must_use]
    pub fn socket_only(self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.socket_directory(directory)
            .listen_addresses::<&str>([])
    }

    /// Where the server's own output goes. If nothing is said, the last 64 KiB are kept in memory
    /// for a
    /// [bound](Ownership::Bound) server, and `server.log` in the data directory is appended to for a
    /// [detached](Ownership::Detached) one.
    #[must_use]
    pub fn log(mut self, log: Log) -> Self {
        self.log = Some(log);
        self
    }

    /// What becomes of the server when this process ends.
    #[must_use]
    pub fn ownership(mut self, ownership: Ownership) -> Self {
        self.ownership = ownership;
        self
    }

    /// A variable for the server's environment. It inherits the caller's without what begins with
    /// `PG`.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Whether to wait until the server is ready.
    #[must_use]
    pub fn wait(mut self, wait: StartWait) -> Self {
        self.wait = wait;
        self
    }

    /// How long the server may take to become ready; a minute if not set. Waiting for another
    /// thread that starts the same server is counted. The time that crash
    /// recovery takes while it makes progress is not counted: see
    /// [`recovery_patience`](Self::recovery_patience).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long crash recovery may show no sign of progress, once [`timeout`](Self::timeout) is
    /// over; a minute if not set.
    #[must_use]
    pub fn recovery_patience(mut self, patience: Duration) -> Self {
        self.recovery_patience = patience;
        self
    }

    /// Lets the server run as long as any process uses it: it is shut down after its last
    /// [`Tenant`](pg_proc::Tenant) has left, not when this process exits.
    ///
    /// The tenancy holds the reading end of the tenants' FIFO open. Once the server runs, drop these
    /// options and call [`Cluster::let_go`](crate::Cluster::let_go); until then this process counts
    /// as one that still serves.
    #[must_use]
    pub fn tenancy(mut self, tenancy: Tenancy) -> Self {
        self.tenancy = Some(tenancy);
        self
    }

    /// The value that these options give to a setting; the last one counts. Case does not matter,
    /// and a dash stands for an underscore, as on the server's command line.
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
            .rfind(|(given, _)| command_line::is_same(given, name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Default for StartOptions {
    fn default() -> Self {
        Self::new()
    }
}
