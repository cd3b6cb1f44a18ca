//! Root reads the configuration of an account's server with the rights of that account.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

use pg_cluster::{Cluster, FileErrorKind, SettingsErrorKind};
use pg_tests::{Room, report, server, stranger};

#[test]
fn a_link_of_the_account_shows_no_file_that_only_root_can_read() {
    let Some(account) = stranger() else { return };
    let room = Room::new();
    let data = room.directory("data");
    let (uid, gid) = (Some(account.uid()), Some(account.gid()));
    chown(&data, uid, gid).unwrap();
    let target = room.join("target");
    fs::write(&target, "secret = 's3cret'\ns3cret\n").unwrap();
    let set_mode = |mode| fs::set_permissions(&target, Permissions::from_mode(mode)).unwrap();
    let cluster = Cluster::new(server(), &data).unwrap();
    symlink(&target, cluster.config_file()).unwrap();
    lchown(cluster.config_file(), uid, gid).unwrap();

    // Includes files that only root's group can read.
    for mode in [0o600, 0o640] {
        set_mode(mode);
        let error = cluster.settings().get("secret").unwrap_err();
        assert!(
            matches!(
                error.kind(),
                SettingsErrorKind::File(FileErrorKind::Read(_))
            ),
            "{error:?}"
        );
        assert!(!report(&error).contains("s3cret"), "{error:?}");
        cluster.settings().document().unwrap_err();
        let error = cluster.settings().effective().unwrap_err();
        assert!(!report(&error).contains("s3cret"), "{error:?}");
    }

    // The server reads what everybody can read.
    set_mode(0o644);
    let secret = cluster.settings().get("secret").unwrap();
    assert_eq!(secret.as_deref(), Some("s3cret"));
    // A file of root's that no link of the account leads to is root's own affair.
    fs::remove_file(cluster.config_file()).unwrap();
    set_mode(0o600);
    fs::rename(&target, cluster.config_file()).unwrap();
    let secret = cluster.settings().get("secret").unwrap();
    assert_eq!(secret.as_deref(), Some("s3cret"));
}
