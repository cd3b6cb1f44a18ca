//! The parts that a data directory consists of, and those that one lacks.

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

/// What keeps the directory from being a data directory, and all else that is missing with it;
/// empty if it is a data directory, or has no part of one.
pub(crate) fn of_half_a_cluster(cluster: &Cluster) -> Vec<String> {
    let has = |name: &str| cluster.data_directory().join(name).exists();
    let is_one = ["PG_VERSION", "base", "global"].into_iter().any(has);
    if !is_one || (cluster.is_initialized() && cluster.major_version().is_ok()) {
        return Vec::new();
    }
    missing(cluster)
}

/// All parts that are missing.
pub(crate) fn missing(cluster: &Cluster) -> Vec<String> {
    let has = |name: &str| cluster.data_directory().join(name).exists();
    let mut missing = Vec::new();
    if !has("PG_VERSION") {
        missing.push("PG_VERSION".to_owned());
    } else if cluster.major_version().is_err() {
        missing.push("the version in PG_VERSION".to_owned());
    }
    if !has("global/pg_control") {
        missing.push("global/pg_control".to_owned());
    }
    let file = cluster.config_file();
    if !file.exists() {
        let name = file.strip_prefix(cluster.data_directory());
        missing.push(name.unwrap_or(&file).to_string());
    }
    let directories = DIRECTORIES.into_iter().filter(|name| !has(name));
    missing.extend(directories.map(str::to_owned));
    missing
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
