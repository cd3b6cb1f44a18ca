//! The addresses on which a server listens.

use camino::Utf8PathBuf;
use pg_proc::{ConnectionInfo, FindError, SocketPath, absolute_socket_directory};
use pgconf_parse::{BaseUnit, Configuration, split_directories, split_guc_list};

use crate::{Cluster, StartOptions};

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
            .map(|path| absolute_socket_directory(&path, cluster.data_directory()))
            .collect(),
        tcp_hosts: hosts
            .into_iter()
            .map(|host| match host.as_str() {
                "*" => "0.0.0.0".to_owned(),
                _ => host,
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
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// let address = cluster.connection_info()?.ok_or("the server listens nowhere")?;
    /// println!("psql '{}'", address.with_user("postgres").with_database("app").uri());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if it cannot be determined whether a server is running.
    pub fn connection_info(&self) -> Result<Option<ConnectionInfo>, FindError> {
        let file = self.pid_file()?;
        let info = file.and_then(|file| ConnectionInfo::of_server(&file, self.data_directory()));
        if info.is_some() {
            return Ok(info);
        }
        let listening = self.listening()?;
        Ok(match listening.socket_directories.first() {
            Some(directory) => Some(ConnectionInfo::socket(directory, listening.port)),
            None => listening.tcp(),
        })
    }

    /// Like [`connection_info`](Self::connection_info), for TCP only.
    ///
    /// # Errors
    ///
    /// Fails as [`connection_info`](Self::connection_info) does.
    pub fn tcp_connection_info(&self) -> Result<Option<ConnectionInfo>, FindError> {
        let file = self.pid_file()?;
        match file.as_ref().and_then(ConnectionInfo::tcp_of_server) {
            Some(info) => Ok(Some(info)),
            None => Ok(self.listening()?.tcp()),
        }
    }

    /// The addresses of the running server, or else the ones in the configuration files.
    fn listening(&self) -> Result<Listening, FindError> {
        let opts = self.running_opts()?;
        let configuration = self.settings().effective().ok();
        let given = |name: &str| opts.as_ref()?.setting(name);
        Ok(of(self, configuration.as_ref(), given))
    }
}

impl Listening {
    /// The sockets of this machine; a path that is too long makes none.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = SocketPath> {
        let directories = self.socket_directories.iter();
        directories.filter_map(|directory| SocketPath::new(directory, self.port).ok())
    }

    fn tcp(&self) -> Option<ConnectionInfo> {
        let host = self.tcp_hosts.first()?;
        Some(ConnectionInfo::listening(host, self.port))
    }
}
