//! The address of a server as a URI, as a keyword string and as libpq's environment.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::pid_file::PidFile;

/// The address of a server and, optionally, the user, the password and the database to connect
/// with.
///
/// It can be written in the three forms that clients take. Each form is quoted, so that libpq and
/// the Rust clients read exactly the given values.
///
/// ```
/// use pg_proc::ConnectionInfo;
///
/// let info = ConnectionInfo::socket("/tmp/it's here", 5433)
///     .with_user("o'neil")
///     .with_database("app");
/// assert_eq!(info.uri(), "postgresql://o%27neil@%2Ftmp%2Fit%27s%20here:5433/app");
/// assert_eq!(info.keywords(), r"host='/tmp/it\'s here' port='5433' user='o\'neil' dbname='app'");
/// ```
///
/// # Limitations
///
/// libpq reads `host` as a comma-separated list without any escape. So none of the three forms can
/// name a socket directory whose path contains a comma: see
/// [`is_expressible`](Self::is_expressible).
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    host: Host,
    port: u16,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    root_certificate: Option<Utf8PathBuf>,
}

/// The host part of the address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Host {
    /// The directory that holds the Unix socket `.s.PGSQL.PORT`.
    SocketDirectory(Utf8PathBuf),
    /// A host name or a numeric IPv4 or IPv6 address, without brackets.
    Tcp(String),
}

impl ConnectionInfo {
    /// The address of a Unix socket: its directory, and the port that is part of its name.
    pub fn socket(directory: impl Into<Utf8PathBuf>, port: u16) -> Self {
        Self::new(Host::SocketDirectory(directory.into()), port)
    }

    /// A TCP address.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::new(Host::Tcp(host.into()), port)
    }

    /// The TCP address at which a server is reached that listens on `address`: the loopback address
    /// for one that listens on all.
    pub fn listening(address: &str, port: u16) -> Self {
        let host = match address {
            "*" | "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        Self::tcp(host, port)
    }

    /// The address of the server that has written this lock file. A Unix socket is preferred to
    /// TCP. None if the server does not listen, or not yet.
    pub fn of_server(file: &PidFile, data_directory: &Utf8Path) -> Option<Self> {
        let given = |path: &&Utf8PathBuf| !path.as_str().is_empty();
        match file.socket_directory.as_ref().filter(given) {
            Some(directory) => {
                let directory = absolute_socket_directory(directory, data_directory);
                Some(Self::socket(directory, file.port?))
            }
            None => Self::tcp_of_server(file),
        }
    }

    /// Like [`of_server`](Self::of_server), for TCP only.
    pub fn tcp_of_server(file: &PidFile) -> Option<Self> {
        let address = file.listen_address.as_deref();
        let address = address.filter(|address| !address.is_empty())?;
        Some(Self::listening(address, file.port?))
    }

    fn new(host: Host, port: u16) -> Self {
        Self {
            host,
            port,
            user: None,
            password: None,
            database: None,
            root_certificate: None,
        }
    }

    /// Sets the database user. By default clients use the name of the operating system's user.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the password. It becomes part of each of the three forms.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets the database. By default clients use the database with the name of the user.
    #[must_use]
    pub fn with_database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// Sets the file with the certificates of authorities (`sslrootcert`), and has clients verify
    /// the server and its name (`sslmode=verify-full`). Both become part of each of the three
    /// forms; rust-postgres refuses them.
    #[must_use]
    pub fn with_root_certificate(mut self, path: impl Into<Utf8PathBuf>) -> Self {
        self.root_certificate = Some(path.into());
        self
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The directory of the Unix socket; none for a TCP address.
    pub fn socket_directory(&self) -> Option<&Utf8Path> {
        match &self.host {
            Host::SocketDirectory(directory) => Some(directory),
            Host::Tcp(_) => None,
        }
    }

    /// The TCP port, or the number in the name of the Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database user, if one is set.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The database, if one is set.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The file with the certificates of authorities, if one is set.
    pub fn root_certificate(&self) -> Option<&Utf8Path> {
        self.root_certificate.as_deref()
    }

    /// Returns whether libpq's forms can name this address: false for a socket directory that is
    /// relative or has a comma in its path.
    pub fn is_expressible(&self) -> bool {
        match &self.host {
            Host::SocketDirectory(directory) => {
                let found = directory.is_absolute() || directory.as_str().starts_with('@');
                found && !directory.as_str().contains(',')
            }
            Host::Tcp(host) => !host.contains(','),
        }
    }

    /// A connection URI, `postgresql://user:password@host:port/database`, with everything but
    /// unreserved characters percent-encoded (RFC 3986; PostgreSQL manual, "Connection URIs"). A
    /// socket directory is written, encoded, in the place of the host; libpq, rust-postgres and
    /// sqlx accept that.
    pub fn uri(&self) -> String {
        let mut uri = String::from("postgresql://");
        if let Some(user) = &self.user {
            percent_encode(user, &mut uri);
        }
        if let Some(password) = &self.password {
            uri.push(':');
            percent_encode(password, &mut uri);
        }
        if self.user.is_some() || self.password.is_some() {
            uri.push('@');
        }
        match &self.host {
            Host::SocketDirectory(directory) => percent_encode(directory.as_str(), &mut uri),
            Host::Tcp(host) if host.contains(':') => {
                uri.push('[');
                uri.push_str(&host.replace('%', "%25"));
                uri.push(']');
            }
            Host::Tcp(host) => percent_encode(host, &mut uri),
        }
        uri.push_str(&format!(":{}", self.port));
        if let Some(database) = &self.database {
            uri.push('/');
            percent_encode(database, &mut uri);
        }
        if let Some(path) = &self.root_certificate {
            uri.push_str("?sslmode=verify-full&sslrootcert=");
            percent_encode(path.as_str(), &mut uri);
        }
        uri
    }

    /// A keyword string, `host='...' port='...'`. Every value is quoted, and its quotes and
    /// backslashes are escaped with a backslash (PostgreSQL manual, "Keyword/Value Connection
    /// Strings").
    pub fn keywords(&self) -> String {
        let parameters = self
            .parameters()
            .map(|(_, keyword, value)| (keyword, value));
        keyword_string(parameters)
    }

    /// The [keyword string](Self::keywords) without the password, and with these keywords and their
    /// values after it.
    pub fn keywords_with(&self, more: &[(&'static str, &str)]) -> String {
        let own = self
            .parameters()
            .map(|(_, keyword, value)| (keyword, value));
        let own = own.filter(|(keyword, _)| *keyword != "password");
        let more = more
            .iter()
            .map(|&(keyword, value)| (keyword, value.to_owned()));
        keyword_string(own.chain(more))
    }

    /// The password, if one is set.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// libpq's environment variables with their values, for programs such as `psql`: `PGHOST` and
    /// `PGPORT`, and those of `PGUSER`, `PGPASSWORD`, `PGDATABASE`, `PGSSLMODE` and `PGSSLROOTCERT`
    /// that are set. The values are
    /// not quoted.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        self.parameters()
            .map(|(variable, _, value)| (variable, value))
            .collect()
    }

    fn parameters(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> {
        let host = match &self.host {
            Host::SocketDirectory(directory) => directory.as_str(),
            Host::Tcp(host) => host,
        };
        let certificate = self.root_certificate();
        [
            ("PGHOST", "host", Some(host.to_owned())),
            ("PGPORT", "port", Some(self.port.to_string())),
            ("PGUSER", "user", self.user.clone()),
            ("PGPASSWORD", "password", self.password.clone()),
            ("PGDATABASE", "dbname", self.database.clone()),
            (
                "PGSSLMODE",
                "sslmode",
                certificate.map(|_| "verify-full".to_owned()),
            ),
            (
                "PGSSLROOTCERT",
                "sslrootcert",
                certificate.map(Utf8Path::to_string),
            ),
        ]
        .into_iter()
        .filter_map(|(variable, keyword, value)| Some((variable, keyword, value?)))
    }
}

/// The password is left out.
impl fmt::Debug for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionInfo")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "..."))
            .field("database", &self.database)
            .field("root_certificate", &self.root_certificate)
            .finish()
    }
}

fn keyword_string(parameters: impl Iterator<Item = (&'static str, String)>) -> String {
    let mut string = String::new();
    for (keyword, value) in parameters {
        if !string.is_empty() {
            string.push(' ');
        }
        string.push_str(keyword);
        string.push_str("='");
        for character in value.chars() {
            if matches!(character, '\'' | '\\') {
                string.push('\\');
            }
            string.push(character);
        }
        string.push('\'');
    }
    string
}

/// A socket directory by its absolute path. A server resolves a relative one against its data
/// directory, where it works. A name that starts with `@` is an abstract socket, not a path
/// (src/common/ip.c).
pub fn absolute_socket_directory(path: &Utf8Path, data_directory: &Utf8Path) -> Utf8PathBuf {
    match path.as_str().starts_with('@') {
        true => path.to_owned(),
        false => data_directory.join(path),
    }
}

fn percent_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}
