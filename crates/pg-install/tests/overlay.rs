//! Overlays that cannot be created. Successful ones need a server and are tested in `pg-tests`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use pg_install::{Installation, InstallationDirectory, OverlayError, OverlayErrorKind};
use tree::Tree;

/// Returns an installation with the given directories.
fn installation(tree: &Tree, pairs: &[(&str, &str)]) -> Installation {
    let at = |path: &str| tree.at(path).into_string();
    let given = pairs.iter().map(|&(key, path)| (key, at(path)));
    let version = [("version", "PostgreSQL 16.3".to_owned())];
    Installation::from_pairs(version.into_iter().chain(given)).unwrap()
}

fn with_server(tree: &Tree, content: &str) -> Installation {
    let postgres = tree.file("/i/bin/postgres", content);
    fs::set_permissions(&postgres, Permissions::from_mode(0o755)).unwrap();
    tree.file("/i/share/postgres.bki", "");
    tree.file("/i/lib/plpgsql.so", "");
    let pairs = [
        ("bindir", "/i/bin"),
        ("sharedir", "/i/share"),
        ("pkglibdir", "/i/lib"),
    ];
    installation(tree, &pairs)
}

fn error(installation: &Installation, tree: &Tree) -> OverlayError {
    let room = tree.at("/room");
    let error = installation.overlay(&room).unwrap_err();
    assert_eq!(error.path(), room);
    assert_eq!(error.file(), None);
    error
}

#[test]
fn an_installation_without_a_server_has_no_overlay() {
    let tree = Tree::new();
    let error = error(&installation(&tree, &[("bindir", "/nowhere")]), &tree);
    let kind = error.kind();
    assert!(
        matches!(kind, OverlayErrorKind::MissingProgram(_)),
        "{kind:?}"
    );
    assert!(error.hint().is_some());
    assert!(!tree.at("/room").exists());
}

#[test]
fn a_script_in_place_of_the_server_is_rejected() {
    let tree = Tree::new();
    let error = error(
        &with_server(&tree, "#!/bin/sh\nexec /opt/postgres\n"),
        &tree,
    );
    let OverlayErrorKind::Script(path) = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(*path, tree.at("/i/bin/postgres"));
}

#[test]
fn an_unknown_directory_is_named() {
    let tree = Tree::new();
    with_server(&tree, "\x7fELF");
    let without = installation(&tree, &[("bindir", "/i/bin"), ("sharedir", "/i/share")]);
    let error = error(&without, &tree);
    let kind = error.kind();
    let expected = InstallationDirectory::PkgLib;
    assert!(
        matches!(kind, OverlayErrorKind::NoDirectory(directory) if *directory == expected),
        "{kind:?}"
    );
}

#[test]
fn a_directory_that_all_users_can_write_to_is_rejected() {
    let tree = Tree::new();
    let installation = with_server(&tree, "\x7fELF");
    fs::create_dir(tree.at("/room")).unwrap();
    fs::set_permissions(tree.at("/room"), Permissions::from_mode(0o1777)).unwrap();
    let error = error(&installation, &tree);
    let kind = error.kind();
    assert!(
        matches!(kind, OverlayErrorKind::NotPrivate { mode: 0o1777, .. }),
        "{kind:?}"
    );
    assert_eq!(tree.at("/room").read_dir_utf8().unwrap().count(), 0);
}

#[test]
fn a_copy_that_cannot_be_run_is_an_error() {
    let tree = Tree::new();
    let installation = with_server(&tree, "\x7fELF");
    for _ in 0..2 {
        let error = error(&installation, &tree);
        let kind = error.kind();
        assert!(
            matches!(kind, OverlayErrorKind::Installation(_)),
            "{kind:?}"
        );
        // The original is unchanged.
        let there = fs::read(tree.at("/i/bin/postgres")).unwrap();
        assert_eq!(there, b"\x7fELF");
        let names: Vec<_> = tree.at("/room").read_dir_utf8().unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
