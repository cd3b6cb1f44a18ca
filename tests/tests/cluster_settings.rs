//! Settings: the server reads the values that were written, and ineffective values are reported.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use pg_cluster::conf::Removal;
use pg_cluster::{
    Cluster, ConfigurationProblem, SettingProblemKind, SettingsErrorKind, StopPlan, Validation,
};
use pg_tests::{Room, ask, connect, rows, server, servers};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[test]
fn settings_are_a_map_over_the_file() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let settings = cluster.settings();
    let before = fs::read_to_string(settings.path()).unwrap();
    assert_eq!(settings.get("work_mem").unwrap(), None);
    assert!(!settings.contains("work_mem").unwrap());
    assert!(settings.contains("MAX_connections").unwrap());

    settings.set("work_mem", "7MB").unwrap();
    assert_eq!(settings.get("Work_Mem").unwrap().as_deref(), Some("7MB"));
    let after = fs::read_to_string(settings.path()).unwrap();
    let changed = before.lines().zip(after.lines()).filter(|(a, b)| a != b);
    assert_eq!(changed.count(), 1, "the commented-out line, and no other");
    assert_eq!(before.lines().count(), after.lines().count());

    settings.update([("my.a", "1"), ("my.b", "it's")]).unwrap();
    let both = settings.get_many(["my.a", "my.b", "my.c"]).unwrap();
    let expected = [("my.a", "1"), ("my.b", "it's")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(both, BTreeMap::from(expected));
    assert!(!settings.set("work_mem", "7MB").unwrap().changed);

    let all: Vec<_> = settings.iter().unwrap().collect();
    assert!(all.contains(&("my.b".to_owned(), "it's".to_owned())));
    settings.remove("my.b").unwrap();
    assert!(!settings.contains("my.b").unwrap());
    settings
        .edit(|session| {
            session.remove("my.a", Removal::Delete);
            session.set("include_me", true).map(|_| ())
        })
        .unwrap();
    assert_eq!(settings.get("include_me").unwrap().as_deref(), Some("on"));

    // All or nothing.
    let file = fs::read(settings.path()).unwrap();
    let error = settings
        .update([("my.c", "1"), ("no name", "2")])
        .unwrap_err();
    assert!(
        matches!(error.kind(), SettingsErrorKind::Edit(_)),
        "{error:?}"
    );
    assert!(settings.set("my.c", "a\0b").is_err());
    assert_eq!(fs::read(settings.path()).unwrap(), file);
    assert_eq!(
        error.to_string(),
        format!("failed to change {}", settings.path())
    );
    fs::remove_file(settings.path()).unwrap();
    let error = settings.get("work_mem").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("failed to read {}", settings.path())
    );
}

/// The server reads the values that were set: many at once, read back by `pg_file_settings` and
/// `SHOW`.
#[test]
fn the_server_reads_what_was_set() {
    let value = prop_oneof![
        "[a-z'\"\\\\$()`#=, \\t-]{0,20}",
        "-{0,2}[a-z]{1,4}",
        "\\PC{0,12}",
        Just("a\\nb\\101\\".to_owned()),
    ];
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let sockets = room.start_options();
        cluster.start(&sockets).unwrap();
        let client = std::cell::RefCell::new(connect(&cluster));
        let mut runner = TestRunner::new(Config {
            cases: 4,
            failure_persistence: None,
            ..Config::default()
        });
        let many = proptest::collection::vec(value.clone(), 40);
        runner
            .run(&many, |values| {
                let client = &mut *client.borrow_mut();
                let named = values
                    .iter()
                    .enumerate()
                    .map(|(n, value)| (format!("my.v{n}"), value));
                cluster.settings().update(named).unwrap();
                for (n, value) in values.iter().enumerate() {
                    let query =
                        format!("SELECT setting FROM pg_file_settings WHERE name = 'my.v{n}'");
                    prop_assert_eq!(&ask(client, &query), value);
                    let found = cluster.settings().get(&format!("my.v{n}")).unwrap();
                    prop_assert_eq!(found.as_ref(), Some(value));
                }
                cluster.reload_and_verify(|sql| rows(client, sql)).unwrap();
                for (n, value) in values.iter().enumerate() {
                    prop_assert_eq!(&ask(client, &format!("SHOW my.v{n}")), value);
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_later_assignment_in_another_file_is_reported() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let settings = cluster.settings();
    let auto = cluster.data_directory().join("postgresql.auto.conf");
    fs::write(&auto, "# by ALTER SYSTEM\nWORK_MEM = '9MB'\n").unwrap();
    for _ in 0..2 {
        // The second time the file already has the value, and the server still does not.
        let written = settings.set("work_mem", "7MB").unwrap();
        let shadowed = &written.shadowed[..];
        assert!(
            matches!(shadowed, [s] if s.name == "work_mem"
                && (&*s.by.file, s.by.line, &*s.by.value) == (&*auto, 2, "9MB")),
            "{written:?}"
        );
    }
    assert!(settings.set("work_mem", "9MB").unwrap().shadowed.is_empty());
    assert_eq!(settings.remove("work_mem").unwrap().shadowed.len(), 1);
    assert!(settings.set("my.a", 1).unwrap().shadowed.is_empty());

    fs::write(room.join("more.conf"), "my.a = 2\n").unwrap();
    let include = format!("\ninclude '{}'\n", room.join("more.conf"));
    let text = fs::read_to_string(settings.path()).unwrap() + &include;
    fs::write(settings.path(), text).unwrap();
    let written = settings.set("my.a", "3").unwrap();
    assert_eq!(written.shadowed[0].by.file, room.join("more.conf"));
    assert!(settings.iter().unwrap().all(|(name, _)| name != "include"));

    let history = settings.explain("my.a").unwrap();
    assert_eq!(history.assignments().len(), 2);
    assert_eq!(history.winner().unwrap().value, "2");
    let line = settings.document().unwrap().get("my.a").unwrap().line();
    assert_eq!(
        history.to_string(),
        format!(
            "{}:{line}: my.a = 3 (overridden)\n{}:1: my.a = 2 (in effect)",
            settings.path(),
            room.join("more.conf")
        )
    );
    assert_eq!(
        settings.explain("my.b").unwrap().to_string(),
        "my.b is not set: the server's default is in effect"
    );
    assert_eq!(history.problem(), None);
    fs::write(room.join("more.conf"), "my.a = 2\na b c\n").unwrap();
    let history = settings.explain("my.a").unwrap();
    assert!(
        history.to_string().ends_with(history.problem().unwrap()),
        "{history}"
    );
    fs::write(room.join("more.conf"), "my.a = 2\n").unwrap();
    // The server agrees.
    cluster.start(&room.start_options()).unwrap();
    let mut client = connect(&cluster);
    assert_eq!(ask(&mut client, "SHOW my.a"), "2");
    assert_eq!(ask(&mut client, "SHOW work_mem"), "9MB");
}

#[test]
fn mode_owner_and_link_remain() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let path = cluster.config_file();
    let etc = room.directory("etc");
    let target = etc.join("postgresql.conf");
    fs::rename(&path, &target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&target, &path).unwrap();
    let before = fs::metadata(&target).unwrap();
    cluster.settings().set("work_mem", "7MB").unwrap();
    let after = fs::metadata(&target).unwrap();
    assert!(path.is_symlink());
    assert_ne!(before.ino(), after.ino());
    assert_eq!(
        (before.mode(), before.uid(), before.gid()),
        (after.mode(), after.uid(), after.gid())
    );
    assert_eq!(
        fs::read_dir(&etc).unwrap().count(),
        1,
        "nothing is left beside it"
    );
    cluster.start(&room.start_options()).unwrap();
    assert_eq!(ask(&mut connect(&cluster), "SHOW work_mem"), "7MB");
}

#[test]
fn the_servers_own_program_checks_settings() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let settings = cluster.settings().validated(Validation::Server);
        assert!(settings.set("work_mem", "7MB").unwrap().changed);
        let before = fs::read(settings.path()).unwrap();
        for (name, value, words) in [
            (
                "work_mem",
                "lots",
                "invalid value for parameter \"work_mem\"",
            ),
            ("port", "70000", "is outside the valid range"),
            (
                "no_such_setting",
                "1",
                "unrecognized configuration parameter",
            ),
        ] {
            let error = settings.set(name, value).unwrap_err();
            let SettingsErrorKind::Rejected(problems) = error.kind() else {
                panic!("{error:?}")
            };
            assert!(problems[0].message.contains(words), "{problems:?}");
            assert!(
                !problems[0].message.contains(".pg-cluster-new"),
                "{problems:?}"
            );
            assert_eq!(fs::read(settings.path()).unwrap(), before);
        }
        assert_eq!(
            fs::read_dir(cluster.data_directory())
                .unwrap()
                .filter(|e| e
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with('.'))
                .count(),
            0
        );
    }
}

#[test]
fn settings_are_checked_before_they_are_written() {
    for installation in servers() {
        // The cluster need not exist.
        let room = Room::new();
        let cluster = Cluster::new(installation, room.join("none")).unwrap();
        let check = |name: &str, value: &str| cluster.settings().check(name, value).unwrap();
        let good = check("Work_Mem", "64MB");
        assert!(good.problem.is_none() && !good.needs_restart);
        assert!(check("shared_buffers", "64MB").needs_restart);
        assert!(check("my.own", "anything").problem.is_none());
        let kind = |name: &str, value: &str| check(name, value).problem.expect("a problem").kind;
        assert!(
            matches!(kind("wrok_mem", "1MB"), SettingProblemKind::Unknown { nearest: Some(name) }
                if name == "work_mem")
        );
        assert!(matches!(
            kind("zzzzzzzz", "1"),
            SettingProblemKind::Unknown { nearest: None }
        ));
        assert!(
            matches!(kind("port", "70000"), SettingProblemKind::OutOfRange { message }
                if message.contains("65535"))
        );
        assert!(matches!(
            kind("fsync", "perhaps"),
            SettingProblemKind::Invalid { .. }
        ));
        assert!(matches!(
            kind("wal_level", "high"),
            SettingProblemKind::Invalid { .. }
        ));
        assert!(matches!(
            kind("server_version", "1"),
            SettingProblemKind::ReadOnly
        ));
        let problem = check("wrok_mem", "1").problem.unwrap();
        assert_eq!(
            problem.to_string(),
            "setting `wrok_mem` is unknown to this server; the nearest known one is `work_mem`"
        );
    }
}

#[test]
fn a_reload_is_verified() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        let settings = cluster.settings();
        settings
            .update([("work_mem", "7MB"), ("max_connections", "33")])
            .unwrap();
        let outcome = cluster
            .reload_and_verify(|sql| rows(&mut client, sql))
            .unwrap();
        assert_eq!(
            (outcome.problems, outcome.pending_restart),
            (vec![], vec!["max_connections".to_owned()])
        );
        assert_eq!(ask(&mut client, "SHOW work_mem"), "7MB");

        settings.set("work_mem", "lots").unwrap();
        let line =
            u32::try_from(settings.document().unwrap().get("work_mem").unwrap().line()).unwrap();
        let outcome = cluster
            .reload_and_verify(|sql| rows(&mut client, sql))
            .unwrap();
        assert!(
            matches!(&outcome.problems[..],
                [ConfigurationProblem { file: Some(file), line: Some(found), message, .. }]
                if *file == settings.path() && *found == line && message.starts_with("work_mem")),
            "{outcome:?}"
        );
        assert_eq!(ask(&mut client, "SHOW work_mem"), "7MB");
        drop(client);
        cluster.stop(&StopPlan::fast()).unwrap();
        assert!(cluster.reload().is_err());
    }
}
