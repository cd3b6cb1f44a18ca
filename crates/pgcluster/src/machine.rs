//! The clusters and servers of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::proc::{Account, Found, Pid, PidFile, Postmaster, RunningServer};
use pg_cluster::{ConnectionInfo, MajorVersion};

use crate::target::{DEBIAN_CONFIGURATION, read_configuration};

/// Where data directories are kept, with `*` for any name: by Debian and its images, by Red Hat, by
/// Alpine and Arch, and by Homebrew.
const PLACES: [&str; 7] = [
    "/var/lib/postgresql/*/*",
    "/var/lib/postgresql/*",
    "/var/lib/pgsql/*/*",
    "/var/lib/pgsql/*",
    "/var/lib/postgres/*",
    "/opt/homebrew/var/*",
    "/usr/local/var/*",
];

/// The marker in the directory of a temporary cluster.
const MARKER: &str = ".pg-cluster-temporary";

/// A cluster, a server, or both.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// As it was found, which may be by a link.
    pub(crate) data_directory: Option<Utf8PathBuf>,
    /// The version of the data directory, such as 16.
    pub(crate) version: Option<String>,
    pub(crate) state: &'static str,
    pub(crate) pid: Option<Pid>,
    pub(crate) port: Option<u16>,
    pub(crate) uri: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) temporary: bool,
    /// Debian's name of it, such as `16/main`.
    pub(crate) name: Option<String>,
}

/// All that are known, by directory; and why servers may be missing.
pub(crate) fn clusters() -> (Vec<Known>, Option<String>) {
    let mut found: BTreeMap<(u64, u64), Known> = BTreeMap::new();
    let mut unreachable = Vec::new();
    let (servers, problem) = match RunningServer::all() {
        Ok(servers) => (servers, None),
        Err(error) => {
            let problem = format!("servers cannot be listed: {error}");
            (Vec::new(), Some(problem))
        }
    };
    for server in servers {
        let directory = server.data_directory().filter(|_| server.is_reachable());
        match directory.and_then(|directory| Some((id(directory)?, of_directory(directory)))) {
            Some((id, mut known)) => {
                known.started_at = server.started_at();
                known.pid.get_or_insert(server.pid());
                found.insert(id, known);
            }
            None => unreachable.push(of_process(&server)),
        }
    }
    let names = of_debian(Utf8Path::new("/"));
    let debian = names.iter().map(|(directory, _)| directory.clone());
    let pgdata = std::env::var("PGDATA").ok().map(Utf8PathBuf::from);
    for directory in debian.chain(pgdata).chain(in_places(Utf8Path::new("/"))) {
        if let Some(id) = id(&directory) {
            found.entry(id).or_insert_with(|| of_directory(&directory));
        }
    }
    for (directory, name) in names {
        if let Some(known) = id(&directory).and_then(|id| found.get_mut(&id)) {
            known.name = Some(name);
        }
    }
    let mut all: Vec<Known> = found.into_values().chain(unreachable).collect();
    all.sort_by(|a, b| a.data_directory.cmp(&b.data_directory));
    (all, problem)
}

fn id(directory: &Utf8Path) -> Option<(u64, u64)> {
    let meta = fs::metadata(directory).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// The visible facts about a data directory and its server.
fn of_directory(directory: &Utf8Path) -> Known {
    let file = PidFile::read(directory).ok().flatten();
    let mut known = Known {
        data_directory: Some(directory.to_owned()),
        version: MajorVersion::from_pg_version_file(directory.join("PG_VERSION"))
            .ok()
            .map(|major| major.to_string()),
        owner: fs::metadata(directory).ok().map(|meta| name_of(meta.uid())),
        temporary: directory
            .parent()
            .is_some_and(|parent| parent.join(MARKER).exists()),
        ..Known::default()
    };
    (known.state, known.pid) = match Postmaster::find(directory) {
        Ok(Found::Running(server)) => {
            let status = server.status().ok().flatten();
            let state = match status {
                _ if server.is_suspended() => "suspended",
                Some(status) => status.as_str(),
                None => "starting",
            };
            (state, Some(server.pid()))
        }
        Ok(Found::SingleUser(pid)) => ("single-user", Some(pid)),
        Ok(Found::Unknown { pid, .. }) => ("unknown", Some(pid)),
        Ok(_) => ("stopped", None),
        Err(_) => ("unknown", None),
    };
    if let Some(file) = file.filter(|file| Some(file.pid) == known.pid) {
        known.port = file.port;
        known.started_at = file.started_at();
        let socket = file.socket_directory.zip(file.port);
        known.uri = socket.map(|(directory, port)| ConnectionInfo::socket(directory, port).uri());
    }
    known
}

/// The visible facts about a server whose data directory the caller cannot reach.
fn of_process(server: &RunningServer) -> Known {
    Known {
        data_directory: server.data_directory().map(Utf8Path::to_owned),
        state: "running",
        pid: Some(server.pid()),
        owner: server.uid().map(name_of),
        started_at: server.started_at(),
        ..Known::default()
    }
}

fn name_of(uid: u32) -> String {
    let account = Account::by_id(uid).ok();
    let name = account.and_then(|account| account.name().map(str::to_owned));
    name.unwrap_or_else(|| uid.to_string())
}

/// Debian's data directories with the names of their clusters, by their configuration.
fn of_debian(root: &Utf8Path) -> Vec<(Utf8PathBuf, String)> {
    let pattern = format!("{DEBIAN_CONFIGURATION}/*/*");
    let data = |directory: Utf8PathBuf| {
        let document = read_configuration(&directory.join("postgresql.conf"))?;
        let data = document.get("data_directory")?.value_lossy().into_owned();
        let name = directory
            .strip_prefix(inside(root, DEBIAN_CONFIGURATION))
            .ok()?;
        Some((inside(root, &data), name.to_string()))
    };
    matching(root, &pattern)
        .into_iter()
        .filter_map(data)
        .collect()
}

/// The data directories in the usual places.
fn in_places(root: &Utf8Path) -> Vec<Utf8PathBuf> {
    let all = PLACES.iter().flat_map(|pattern| matching(root, pattern));
    all.filter(|path| path.join("PG_VERSION").exists())
        .collect()
}

fn inside(root: &Utf8Path, path: &str) -> Utf8PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// The directories that match a pattern in which only whole names are `*`.
fn matching(root: &Utf8Path, pattern: &str) -> Vec<Utf8PathBuf> {
    let names = pattern.split('/').filter(|name| !name.is_empty());
    names.fold(vec![root.to_owned()], |found, name| match name {
        "*" => found.iter().flat_map(|path| subdirectories(path)).collect(),
        name => found.iter().map(|path| path.join(name)).collect(),
    })
}

fn subdirectories(path: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = path.read_dir_utf8().into_iter().flatten().flatten();
    entries
        .map(|entry| entry.into_path())
        .filter(|path| path.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_found_where_distributions_keep_them() {
        let root = std::env::temp_dir().join(format!("machine-{}", std::process::id()));
        let root = Utf8PathBuf::from_path_buf(root).unwrap();
        for data in [
            "var/lib/postgresql/15/main",
            "var/lib/pgsql/data",
            "srv/odd",
        ] {
            fs::create_dir_all(root.join(data)).unwrap();
            fs::write(root.join(data).join("PG_VERSION"), "15\n").unwrap();
        }
        for (name, data) in [
            ("15/main", "/var/lib/postgresql/15/main"),
            ("15/odd", "/srv/odd"),
        ] {
            let directory = root.join("etc/postgresql").join(name);
            fs::create_dir_all(&directory).unwrap();
            let text = format!("data_directory = '{data}'\n");
            fs::write(directory.join("postgresql.conf"), text).unwrap();
        }
        // No process writes into this pipe.
        let hostile = root.join("etc/postgresql/15/pipe");
        fs::create_dir_all(&hostile).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(hostile.join("postgresql.conf"))
            .status();
        assert!(made.unwrap().success());
        let mut named = of_debian(&root);
        named.sort();
        let placed = in_places(&root);
        fs::remove_dir_all(&root).unwrap();
        let expected = [
            ("srv/odd", "15/odd"),
            ("var/lib/postgresql/15/main", "15/main"),
        ];
        assert_eq!(
            named,
            expected.map(|(path, name)| (root.join(path), name.to_owned()))
        );
        let expected = ["var/lib/postgresql/15/main", "var/lib/pgsql/data"];
        assert_eq!(placed, expected.map(|path| root.join(path)));
    }
}
