//! Connections, in the forms for programs and for people.

use std::process::Command;

use pg_cluster::proc::FindError;
use pg_cluster::{Cluster, ConnectionInfo, Host, Utf8Path};
use serde_json::{Map, Value, json};

/// Variables of libpq that lead to another server, or make the connection fail.
const MISLEADING: [&str; 22] = [
    "PGCHANNELBINDING",
    "PGGSSDELEGATION",
    "PGGSSENCMODE",
    "PGHOSTADDR",
    "PGLOADBALANCEHOSTS",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLCERTMODE",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLKEY",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLROOTCERT",
    "PGTARGETSESSIONATTRS",
];

/// The address of the running server, with the user and the database of the environment or
/// `postgres`; none if it listens nowhere.
pub(crate) fn of(cluster: &Cluster) -> Result<Option<ConnectionInfo>, FindError> {
    let of_environment = |name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        value.unwrap_or_else(|| "postgres".to_owned())
    };
    let address = cluster.connection_info()?;
    Ok(address.map(|address| {
        address
            .with_user(of_environment("PGUSER"))
            .with_database(of_environment("PGDATABASE"))
    }))
}

/// The variables that a program finds its server by: libpq's, `DATABASE_URL` and `PGDATA`.
pub(crate) fn variables(
    info: &ConnectionInfo,
    data_directory: &Utf8Path,
) -> Vec<(&'static str, String)> {
    let mut variables = info.env();
    variables.push(("DATABASE_URL", info.uri()));
    variables.push(("PGDATA", data_directory.to_string()));
    variables
}

/// Gives a program these variables in place of those that lead elsewhere.
pub(crate) fn connect(command: &mut Command, variables: Vec<(&'static str, String)>) {
    for name in MISLEADING {
        command.env_remove(name);
    }
    command.envs(variables);
}

/// The connection, with `host` as libpq takes it: the directory of a socket, or a name.
pub(crate) fn json(info: &ConnectionInfo) -> Map<String, Value> {
    let host = match info.host() {
        Host::SocketDirectory(directory) => directory.as_str(),
        Host::Tcp(host) => host,
        _ => "",
    };
    let object = json!({
        "uri": info.uri(),
        "host": host,
        "port": info.port(),
        "user": info.user(),
        "database": info.database(),
    });
    match object {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
