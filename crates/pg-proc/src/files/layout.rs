//! The names that servers and `initdb` give to files and directories.

/// The directories that `initdb` makes, in all versions from 10 on (`subdirs` in
/// src/bin/initdb/initdb.c). Most are empty at first, so git does not keep them.
pub const DIRECTORIES: [&str; 21] = [
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

/// Returns whether `initdb`, of any version, makes a file or directory with this name at the top of
/// a data directory.
pub fn is_made_by_initdb(name: &str) -> bool {
    const OTHERS: [&str; 5] = [
        "PG_VERSION",
        "base",
        "global",
        "postgresql.conf",
        "postgresql.auto.conf",
    ];
    name.starts_with("pg_") || OTHERS.contains(&name)
}

/// Returns whether a base backup has a file with this name at the top, beside those of `initdb`
/// (src/backend/backup/basebackup.c, `GenerateRecoveryConfig` in src/fe_utils/recovery_gen.c).
pub fn is_made_by_base_backup(name: &str) -> bool {
    const NAMES: [&str; 5] = [
        "backup_label",
        "backup_manifest",
        "recovery.conf",
        "standby.signal",
        "tablespace_map",
    ];
    is_made_by_initdb(name) || NAMES.contains(&name)
}

/// Returns whether a server or an archiving tool makes a file or directory with this name in
/// `pg_wal` (`IsXLogFileName` and similar functions in src/include/access/xlog_internal.h).
///
/// ```
/// use pg_proc::data_directory::layout::is_made_in_pg_wal;
///
/// assert!(is_made_in_pg_wal("000000010000000000000001"));
/// assert!(is_made_in_pg_wal("00000002.history"));
/// assert!(!is_made_in_pg_wal("thesis.txt"));
/// ```
pub fn is_made_in_pg_wal(name: &str) -> bool {
    let (stem, rest) = name.split_at_checked(24).unwrap_or((name, ""));
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_segment = stem.len() == 24 && is_hex(stem);
    let timeline = name.strip_suffix(".history");
    is_segment && (rest.is_empty() || rest == ".partial" || rest.ends_with(".backup"))
        || timeline.is_some_and(|timeline| timeline.len() == 8 && is_hex(timeline))
        || name.starts_with("xlogtemp.")
        || matches!(
            name,
            "archive_status" | "summaries" | "RECOVERYXLOG" | "RECOVERYHISTORY"
        )
}

/// Returns whether this is the name of the directory that a cluster with this catalog version makes
/// in a tablespace, such as `PG_15_202209061` (`TABLESPACE_VERSION_DIRECTORY` in
/// src/include/common/relpath.h).
pub fn is_made_in_tablespace(name: &str, catalog_version: u32) -> bool {
    let version = name
        .strip_prefix("PG_")
        .and_then(|rest| rest.strip_suffix(&format!("_{catalog_version}")));
    version.is_some()
}
