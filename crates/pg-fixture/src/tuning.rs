//! Settings for data that does not have to survive a crash.

use pg_install::Version;

use pg_cluster::StartOptions;

/// The settings of a temporary server, with the caller's own over them.
pub(crate) fn settings(version: &Version, given: &[(String, String)]) -> Vec<(String, String)> {
    let options = StartOptions::new().settings(given.iter().cloned());
    let is_given = |name: &str| options.value_of(name).is_some();
    let mut all: Vec<(&str, &str)> = vec![
        // Durability is for data that outlives the machine.
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
        // Initialising the default, 128 MB, takes time at each start.
        ("shared_buffers", "16MB"),
        // Memory-backed storage must not fill up with WAL that will never be replayed.
        ("max_wal_size", "128MB"),
        ("min_wal_size", "32MB"),
        // In the data directory, which is removed: nothing is left in /dev/shm after a SIGKILL.
        ("dynamic_shared_memory_type", "mmap"),
        ("huge_pages", "off"),
        // One process less at each start.
        ("max_logical_replication_workers", "0"),
    ];
    if version.major() >= 18 {
        // Three processes less.
        all.push(("io_method", "sync"));
    }
    if is_given("wal_level") || is_given("max_logical_replication_workers") {
        all.retain(|(name, _)| *name != "max_logical_replication_workers");
    }
    let ours = all.into_iter().filter(|(name, _)| !is_given(name));
    ours.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain(given.iter().cloned())
        .collect()
}

/// The settings of a server that many processes share, as far as the caller gives no others.
pub(crate) fn of_shared(given: &[(String, String)]) -> Vec<(String, String)> {
    let options = StartOptions::new().settings(given.iter().cloned());
    let all = [
        // Test runners start a process for each processor, and each may have a pool.
        ("max_connections", "500"),
        // Migrations lock each table that they touch until they are committed.
        ("max_locks_per_transaction", "256"),
        // Each database would be visited once in `autovacuum_naptime`, and those visits hold up
        // the copying and the dropping of databases.
        ("autovacuum", "off"),
    ];
    all.into_iter()
        .filter(|(name, _)| options.value_of(name).is_none())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Returns whether a server with these settings reads nothing below `base` before the first client
/// connects: see [`TempCluster`](crate::TempCluster).
pub(crate) fn leaves_databases_alone(given: &[(String, String)]) -> bool {
    !given.iter().any(|(name, _)| {
        let name = name.to_ascii_lowercase().replace('-', "_");
        name.starts_with("autovacuum")
            || name.ends_with("_preload_libraries")
            || name.starts_with("unix_socket")
            || name.starts_with("max_logical_replication")
            || name.contains('.')
            || name == "listen_addresses"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_has_the_last_word() {
        let version = Version::new(15, 1).unwrap();
        let given = [("FSYNC".to_owned(), "on".to_owned())];
        let all = settings(&version, &given);
        assert_eq!(
            all.iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("fsync"))
                .count(),
            1
        );
        assert_eq!(all.last(), Some(&given[0]));
        assert!(!all.iter().any(|(name, _)| name == "io_method"));
    }
}
