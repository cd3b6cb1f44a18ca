//! The parts of a data directory, and the ones that are missing.

use camino::Utf8Path;
use pg_proc::data_directory::layout::DIRECTORIES;

use crate::Cluster;

/// The missing parts of an incomplete data directory; empty for a complete one, and for a directory
/// that has no part of one or cannot be read.
pub(crate) fn of_half_a_cluster(cluster: &Cluster) -> Vec<String> {
    let has = |name: &str| cluster.data_directory().join(name).exists();
    let is_one = ["PG_VERSION", "base", "global"].into_iter().any(has);
    let is_whole = files(cluster).is_empty() && !lacks(&cluster.data_directory().join("base"));
    match is_one && !is_whole {
        true => missing(cluster),
        false => Vec::new(),
    }
}

/// All missing parts.
pub(crate) fn missing(cluster: &Cluster) -> Vec<String> {
    let is_missing = |name: &&str| lacks(&cluster.data_directory().join(name));
    let directories = DIRECTORIES.into_iter().filter(is_missing);
    let mut missing = files(cluster);
    missing.extend(directories.map(str::to_owned));
    missing
}

/// The missing files among those without which no server starts.
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

/// Returns whether the file certainly does not exist. A path that cannot be read may exist.
fn lacks(path: &Utf8Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

/// Advice for these missing parts.
pub(crate) fn advice(missing: &[String]) -> &'static str {
    let is_directory = |name: &String| DIRECTORIES.contains(&name.as_str());
    match missing {
        [file] if file.ends_with(".conf") => {
            "if the configuration is not in the data directory, as on Debian, pass its path to \
             `Cluster::from_config_file`"
        }
        all if all.iter().all(is_directory) => {
            "git and some archivers do not keep empty directories: create them with mode 0700 and \
             the owner of the data directory, or copy the cluster again"
        }
        _ => {
            "restore the missing parts from a backup; if the data are not needed, delete the \
             directory and call `Cluster::init`"
        }
    }
}
