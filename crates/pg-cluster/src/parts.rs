//! The parts that a data directory consists of, and those that one lacks.

use camino::Utf8Path;

use crate::Cluster;

/// The directories that `initdb` makes, in all versions from 10 on (`subdirs` in
/// src/bin/initdb/initdb.c). Most are empty at first, and so are lost by git.
const DIRECTORIES: [&str; 21] = [
    "base",
    "base/1",
    "global",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_logical",
    "pg_logical/mappings",
    "pg_logical/snapshots",
    "pg_multixact",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal",
    "pg_xact",
];

/// All that is missing of a directory that has parts of a data directory and is none; empty if it is
/// one, has no part of one, or cannot be looked at.
pub(crate) fn of_half_a_cluster(cluster: &Cluster) -> Vec<String> {
    let has = |name: &str| cluster.data_directory().join(name).exists();
    let is_one = ["PG_VERSION", "base", "global"].into_iter().any(has);
    let is_whole = files(cluster).is_empty() && !lacks(&cluster.data_directory().join("base"));
    match is_one && !is_whole {
        true => missing(cluster),
        false => Vec::new(),
    }
}

/// All parts that are missing.
pub(crate) fn missing(cluster: &Cluster) -> Vec<String> {
    let is_missing = |name: &&str| lacks(&cluster.data_directory().join(name));
    let directories = DIRECTORIES.into_iter().filter(is_missing);
    let mut missing = files(cluster);
    missing.extend(directories.map(str::to_owned));
    missing
}

/// The files without which no server starts.
fn files(cluster: &Cluster) -> Vec<String> {
    let data = cluster.data_directory();
    let mut missing = Vec::new();
    let version = data.join("PG_VERSION");
    if lacks(&version) {
        missing.push("PG_VERSION".to_owned());
    } else if cluster.major_version().is_err() && pg_proc::open_regular_file(&version).is_ok() {
        missing.push("the version in PG_VERSION".to_owned());
    }
    if lacks(&data.join("global/pg_control")) {
        missing.push("global/pg_control".to_owned());
    }
    let file = cluster.config_file();
    if lacks(&file) {
        missing.push(file.strip_prefix(data).unwrap_or(&file).to_string());
    }
    missing
}

/// Whether there is certainly no such file: one that cannot be looked for may be there.
fn lacks(path: &Utf8Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

/// What to do about these missing parts.
pub(crate) fn advice(missing: &[String]) -> &'static str {
    let is_directory = |name: &String| DIRECTORIES.contains(&name.as_str());
    match missing {
        [file] if file.ends_with(".conf") => {
            "where the configuration is kept apart from the data, as on Debian, `Cluster::from_config_file` takes its path"
        }
        all if all.iter().all(is_directory) => {
            "git and some archivers lose empty directories: make them with mode 0700 and the owner of the data directory, or copy the \
             cluster anew"
        }
        _ => {
            "restore the missing parts from a backup; if the data are not needed, delete the directory and call `Cluster::init`"
        }
    }
}
