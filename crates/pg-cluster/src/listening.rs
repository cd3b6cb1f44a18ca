//! The addresses on which a server listens.

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{FindError, PidFile};
use pgconf_parse::{BaseUnit, Configuration, split_directories, split_guc_list};

use crate::{Cluster, ConnectionInfo, StartOptions};

/// The addresses on which a server listens by its configuration.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) port: u16,
    pub(crate) socket_directories: Vec<Utf8PathBuf>,
    /// Host names or numeric addresses.
    pub(crate) tcp_hosts: Vec<String>,
}

const DEFAULT_PORT: u16 = 5432;

/// The addresses that the next start with these options uses.
pub(crate) fn before_start(cluster: &Cluster, options: &StartOptions) -> Listening {
    let configuration = cluster.settings().effective().ok();
    let given = |name: &str| options.value_of(name).map(str::to_owned);
    of(cluster, configuration.as_ref(), given)
}

fn of(
    cluster: &Cluster,
    configuration: Option<&Configuration>,
    given: impl Fn(&str) -> Option<String>,
) -> Listening {
    let text = |name: &str| {
        given(name).or_else(|| Some(configuration?.get(name)?.value_lossy().into_owned()))
    };
    let port = given("port")
        .map(|value| value.trim().parse().ok())
        .unwrap_or_else(|| {
            let number = configuration?
                .get("port")?
                .assignment()
                .to_int(BaseUnit::None)
                .ok()?;
            u16::try_from(number).ok()
        });
    let directories = text("unix_socket_directories")
        .or_else(|| {
            let parameters = cluster.installation().server_parameters().ok()?;
            parameters
                .get("unix_socket_directories")?
                .boot_value()
                .map(str::to_owned)
        })
        .unwrap_or_else(|| "/tmp".to_owned());
    let directories = split_directories(&directories).unwrap_or_default();
    let hosts = text("listen_addresses").unwrap_or_else(|| "localhost".to_owned());
    let hosts = split_guc_list(&hosts).unwrap_or_default();
    Listening {
        port: port.unwrap_or(DEFAULT_PORT),
        socket_directories: directories
            .into_iter()
            .filter_map(|path| Utf8PathBuf::from_path_buf(path).ok())
            .map(|path| socket_directory(cluster.data_directory(), &path))
            .collect(),
        tcp_hosts: hosts
            .into_iter()
            .map(|host| {
                if host == "*" {
                    "0.0.0.0".to_owned()
                } else {
                    host
                }
            })
            .collect(),
    }
}

impl Cluster {
    /// The address at which clients reach the server, from the lock file of the running server, or
    /// else from the configuration files, which the next start may override. A Unix socket is
    /// preferred to TCP. The caller adds user, password and database.
    ///
    /// None if the server does not listen.
    ///
    /// # Errors
    ///
    /// If it cannot be determined whether a server is running.
    pub fn connection_info(&self) -> Result<Option<ConnectionInfo>, FindError> {
        if let Some(info) = self
            .pid_file()?
            .and_then(|file| of_pid_file(self.data_directory(), &file))
        {
            return Ok(Some(info));
        }
        let listening = self.listening()?;
        let socket = listening.socket_directories.first();
        Ok(match (socket, listening.tcp_hosts.first()) {
            (Some(directory), _) => Some(ConnectionInfo::socket(directory, listening.port)),
            (None, Some(host)) => Some(ConnectionInfo::tcp(reachable(host), listening.port)),
            (None, None) => None,
        })
    }

    /// As [`connection_info`](Self::connection_info), for TCP only.
    ///
    /// # Errors
    ///
    /// As [`connection_info`](Self::connection_info).
    pub fn tcp_connection_info(&self) -> Result<Option<ConnectionInfo>, FindError> {
        if let Some(file) = self.pid_file()? {
            let address = file
                .listen_address
                .as_deref()
                .filter(|address| !address.is_empty());
            if let (Some(host), Some(port)) = (address, file.port) {
                return Ok(Some(ConnectionInfo::tcp(reachable(host), port)));
            }
        }
        let listening = self.listening()?;
        let host = listening.tcp_hosts.first();
        Ok(host.map(|host| ConnectionInfo::tcp(reachable(host), listening.port)))
    }
}

impl Cluster {
    /// The addresses of the running server, or else the ones in the configuration files.
    fn listening(&self) -> Result<Listening, FindError> {
        let opts = self.running_opts()?;
        let configuration = self.settings().effective().ok();
        let given = |name: &str| opts.as_ref()?.setting(name);
        Ok(of(self, configuration.as_ref(), given))
    }
}

fn of_pid_file(data_directory: &Utf8Path, file: &PidFile) -> Option<ConnectionInfo> {
    let port = file.port?;
    let socket = file
        .socket_directory
        .as_deref()
        .filter(|path| !path.as_str().is_empty());
    if let Some(directory) = socket {
        let directory = socket_directory(data_directory, directory);
        return Some(ConnectionInfo::socket(directory, port));
    }
    let host = file
        .listen_address
        .as_deref()
        .filter(|address| !address.is_empty())?;
    Some(ConnectionInfo::tcp(reachable(host), port))
}

/// A relative path is resolved against the data directory, where the server works. A name that
/// starts with `@` is an abstract socket, not a path (src/common/ip.c).
fn socket_directory(data_directory: &Utf8Path, path: &Utf8Path) -> Utf8PathBuf {
    if path.as_str().starts_with('@') {
        path.to_owned()
    } else {
        data_directory.join(path)
    }
}

/// A server that listens on every address is reached at the loopback address.
fn reachable(host: &str) -> &str {
    match host {
        "*" | "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    }
}
