//! Overlays of installations: extensions under test, without a trace in the directories of the
//! installation.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::install::{InstallationDirectory, Overlay, OverlayErrorKind};
use pg_cluster::{Installation, Program};
use pg_fixture::TempCluster;
use pg_tests::{Room, ask, child_as, connect_to, names, role, server, servers, stranger};

const CONTROL: &str = "default_version = '1.0'\nmodule_pathname = '$libdir/my'\n";
/// The module is a copy of `dict_snowball`, which every server has.
const SCRIPT: &str = "\
    CREATE FUNCTION my_answer() RETURNS int LANGUAGE sql AS 'SELECT 42';
    CREATE FUNCTION my_init(internal) RETURNS internal
        AS 'MODULE_PATHNAME', 'dsnowball_init' LANGUAGE C STRICT;
    CREATE FUNCTION my_lexize(internal, internal, internal, internal) RETURNS internal
        AS 'MODULE_PATHNAME', 'dsnowball_lexize' LANGUAGE C STRICT;
    CREATE TEXT SEARCH TEMPLATE my_snowball (INIT = my_init, LEXIZE = my_lexize);
    CREATE TEXT SEARCH DICTIONARY my_stem (TEMPLATE = my_snowball, Language = english);
";

/// The files of an extension as its author has them, with the module as Cargo names it.
fn extension(room: &Room, installation: &Installation) -> [Utf8PathBuf; 3] {
    let sources = room.join(&format!("source-{}", installation.version().num()));
    fs::create_dir_all(&sources).unwrap();
    let path = |name: &str| sources.join(name);
    fs::write(path("my.control"), CONTROL).unwrap();
    fs::write(path("my--1.0.sql"), SCRIPT).unwrap();
    let module = installation.pkglibdir().unwrap().join("dict_snowball.so");
    fs::copy(module, path("libmy.so")).unwrap();
    ["libmy.so", "my.control", "my--1.0.sql"].map(path)
}

/// The files of an installation below its `bin`, `share` and library directories, with what tells
/// that they have changed.
fn files(installation: &Installation) -> BTreeMap<Utf8PathBuf, (u64, i64, u64)> {
    let mut all = BTreeMap::new();
    let mut todo: Vec<Utf8PathBuf> = [
        InstallationDirectory::Bin,
        InstallationDirectory::Share,
        InstallationDirectory::PkgLib,
    ]
    .iter()
    .map(|&directory| installation.directory(directory).unwrap().to_owned())
    .collect();
    while let Some(directory) = todo.pop() {
        for entry in directory.read_dir_utf8().unwrap().flatten() {
            let found = fs::symlink_metadata(entry.path()).unwrap();
            if found.is_dir() {
                todo.push(entry.path().to_owned());
            }
            let state = (found.size(), found.ctime(), found.ino());
            all.insert(entry.into_path(), state);
        }
    }
    all
}

fn temp(room: &Room, overlay: &Overlay) -> TempCluster {
    TempCluster::builder()
        .cache_directory(room.join("cache"))
        .installation(overlay.installation().clone())
        .start()
        .unwrap()
}

fn assert_works(temp: &TempCluster) {
    let mut client = connect_to(temp.connection_info());
    client.batch_execute("CREATE EXTENSION my").unwrap();
    assert_eq!(ask(&mut client, "SELECT my_answer()"), "42");
    assert_eq!(
        ask(&mut client, "SELECT ts_lexize('my_stem', 'pears')"),
        "{pear}"
    );
}

#[test]
fn an_extension_under_test_is_nowhere_but_in_its_overlay() {
    let room = Room::new();
    for installation in servers() {
        let before = files(&installation);
        let overlay = installation.overlay(room.join("overlays")).unwrap();
        let overlay = overlay.add(extension(&room, &installation)).unwrap();
        let copy = overlay.installation();
        assert_eq!(copy.version(), installation.version());
        for directory in [
            InstallationDirectory::Bin,
            InstallationDirectory::Share,
            InstallationDirectory::PkgLib,
        ] {
            let path = copy.directory(directory).unwrap();
            assert!(path.starts_with(overlay.directory()), "{path}");
        }
        for program in Program::all().filter(|&it| it != Program::Postmaster) {
            let is_there = [&installation, copy].map(|it| it.program(program).is_some());
            assert_eq!(is_there[0], is_there[1], "{program}");
            // It finds its libraries.
            if let Some(path) = copy.program(program) {
                let output = std::process::Command::new(path)
                    .arg("--version")
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{path}: {output:?}");
            }
        }
        let temp = temp(&room, &overlay);
        assert_works(&temp);
        let mut client = connect_to(temp.connection_info());
        // What comes with the installation is still there.
        let known = "SELECT count(*) > 0 FROM pg_timezone_names WHERE name = 'UTC'";
        assert_eq!(ask(&mut client, known), "t");
        let extensions = |of: &Installation| names(&of.sharedir().unwrap().join("extension"));
        let mut all = extensions(&installation);
        all.extend(["my--1.0.sql", "my.control"].map(str::to_owned));
        all.sort();
        assert_eq!(extensions(copy), all);
        drop(temp);
        assert_eq!(before, files(&installation), "{}", installation.version());
    }
}

#[test]
fn an_overlay_is_found_again_with_what_was_added() {
    let room = Room::new();
    let installation = server();
    let [module, control, script] = extension(&room, &installation);
    let make = || installation.overlay(room.join("overlays")).unwrap();
    let first = make().add([&module, &control, &script]).unwrap();
    let again = make();
    assert_eq!(again.directory(), first.directory());
    assert_works(&temp(&room, &again));

    // A changed script takes the place of the one before.
    fs::write(&script, SCRIPT.replace("42", "43")).unwrap();
    let changed = again.add([&script]).unwrap();
    let temp = temp(&room, &changed);
    let mut client = connect_to(temp.connection_info());
    client.batch_execute("CREATE EXTENSION my").unwrap();
    assert_eq!(ask(&mut client, "SELECT my_answer()"), "43");
    assert_eq!(names(&room.join("overlays")).len(), 1);
}

#[test]
fn what_is_added_takes_the_place_of_a_link_and_not_of_its_target() {
    let room = Room::new();
    let installation = server();
    let name = "plpgsql--1.0.sql";
    let original = installation
        .sharedir()
        .unwrap()
        .join("extension")
        .join(name);
    let before = fs::read(&original).unwrap();
    let mine = room.join(name);
    fs::write(&mine, "SELECT 1;").unwrap();
    let overlay = installation.overlay(room.join("overlays")).unwrap();
    let place = overlay
        .installation()
        .sharedir()
        .unwrap()
        .join("extension")
        .join(name);
    assert!(place.is_symlink());
    overlay.add([&mine]).unwrap();
    assert!(!place.is_symlink());
    assert_eq!(fs::read(place).unwrap(), b"SELECT 1;");
    assert_eq!(fs::read(original).unwrap(), before);
}

#[test]
fn many_may_make_the_same_overlay_at_once() {
    let room = Room::new();
    let installation = server();
    let files = extension(&room, &installation);
    let overlays: Vec<Overlay> = std::thread::scope(|scope| {
        let make = || {
            let overlay = installation.overlay(room.join("overlays")).unwrap();
            overlay.add(&files).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let directory = overlays[0].directory();
    assert!(
        overlays
            .iter()
            .all(|overlay| overlay.directory() == directory)
    );
    assert_eq!(names(&room.join("overlays")).len(), 1);
    let extensions = overlays[0]
        .installation()
        .sharedir()
        .unwrap()
        .join("extension");
    assert!(names(&extensions).iter().all(|name| !name.starts_with('.')));
    assert_works(&temp(&room, &overlays[0]));
}

#[test]
fn a_file_that_is_no_part_of_an_extension_is_refused() {
    let room = Room::new();
    let make = || server().overlay(room.join("overlays")).unwrap();
    for name in ["README.md", "my", ".so"] {
        let file = room.join(name);
        fs::write(&file, "").unwrap();
        let error = make().add([&file]).unwrap_err();
        assert!(
            matches!(error.kind(), OverlayErrorKind::UnknownKind),
            "{error:?}"
        );
        assert_eq!(error.file(), Some(&*file));
    }
    let error = make().add([room.join("absent.so")]).unwrap_err();
    let OverlayErrorKind::File(path, _) = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(*path, room.join("absent.so"));
    // Nobody writes into this pipe.
    let pipe = room.join("pipe.sql");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let error = make().add([&pipe]).unwrap_err();
    assert!(
        matches!(error.kind(), OverlayErrorKind::File(path, _) if *path == pipe),
        "{error:?}"
    );
}

#[test]
fn an_ordinary_user_needs_no_rights_of_the_installation() {
    const TEST: &str = "an_ordinary_user_needs_no_rights_of_the_installation";
    if let Some(path) = role() {
        let room = Room::new();
        let installation = Installation::from_bin_directory(&path).unwrap();
        let overlay = installation.overlay(room.join("overlays")).unwrap();
        let overlay = overlay.add(extension(&room, &installation)).unwrap();
        return assert_works(&temp(&room, &overlay));
    }
    let Some(account) = stranger() else { return };
    let room = Room::new();
    let bin = server().bindir().map(Utf8Path::to_owned).unwrap();
    let status = child_as(&account, &room, TEST, bin.as_str()).status();
    assert!(status.unwrap().success());
}
