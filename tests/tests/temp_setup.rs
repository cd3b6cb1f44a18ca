//! Setup steps: files as their keys, and programs as the steps.
#![allow(clippy::unwrap_used)]

use std::error::Error as _;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use camino::Utf8Path;
use pg_fixture::{SetupKey, TempClusterBuilder, TempError, TempErrorKind};
use pg_tests::{Room, ask, connect_to, server, temp_builder};
use postgres::NoTls;

fn builder(room: &Room) -> TempClusterBuilder {
    temp_builder(room, server())
}

#[test]
fn a_change_of_the_files_runs_the_step_again() {
    let room = Room::new();
    let migrations = room.directory("migrations");
    let write = |name: &str, text: &str| fs::write(migrations.join(name), text).unwrap();
    write("1.sql", "CREATE TABLE first ()");
    let runs = Arc::new(AtomicUsize::new(0));
    let (counter, directory) = (Arc::clone(&runs), migrations.clone());
    let builder = builder(&room).setup_from([migrations.clone()], move |info| {
        counter.fetch_add(1, Ordering::Relaxed);
        let mut client = postgres::Client::connect(&info.uri(), NoTls)?;
        for name in pg_tests::names(&directory) {
            client.batch_execute(&fs::read_to_string(directory.join(name)).unwrap())?;
        }
        Ok::<(), postgres::Error>(())
    });
    let tables = || {
        let temp = builder.start().unwrap();
        let mut client = connect_to(temp.connection_info());
        ask(
            &mut client,
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
        )
    };
    assert_eq!((tables(), tables()), ("1".to_owned(), "1".to_owned()));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    write("2.sql", "CREATE TABLE second ()");
    assert_eq!(tables(), "2");
    fs::rename(migrations.join("2.sql"), migrations.join("3.sql")).unwrap();
    assert_eq!(tables(), "2");
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    write("1.sql", "no SQL");
    let error = builder.start().unwrap_err();
    match error.kind() {
        TempErrorKind::Setup(name, _) => assert_eq!(name, migrations.as_str()),
        other => panic!("{other:?}"),
    }
}

/// A template is not kept under the key of files that were others when the step read them.
#[test]
fn files_that_change_while_the_step_runs_are_an_error() {
    let room = Room::new();
    let file = room.join("schema.sql");
    fs::write(&file, "first").unwrap();
    let changing = file.clone();
    let builder = builder(&room).setup_from([file], move |_| fs::write(&changing, "second"));
    let error = builder.start().unwrap_err();
    assert!(
        matches!(error.kind(), TempErrorKind::Setup(..)),
        "{error:?}"
    );
    builder.start().unwrap();
}

#[test]
fn a_program_can_be_the_setup_step() {
    let room = Room::new();
    room.directory("work");
    let script = |text: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", text]).current_dir(room.join("work"));
        command.env("EXTRA", "more");
        command
    };
    let minute = Duration::from_secs(60);
    let noted = "echo \"$DATABASE_URL|$PGHOST|$PGDATABASE|$EXTRA|$PGDATA\" >note";
    let temp = builder(&room).database("app");
    let temp = temp
        .setup_command("1", &script(noted), minute)
        .start()
        .unwrap();
    let note = fs::read_to_string(room.join("work/note")).unwrap();
    let note: Vec<&str> = note.trim_end().split('|').collect();
    assert!(note[0].starts_with("postgresql://postgres@"), "{note:?}");
    assert!(Utf8Path::new(note[1]).is_absolute(), "{note:?}");
    assert_eq!(note[2..], ["app", "more", ""]);
    drop(temp);
    let failing = script("echo unheard; echo the migration is broken >&2; exit 3");
    let error = builder(&room)
        .setup_command(SetupKey::files(["/etc/passwd"]), &failing, minute)
        .start()
        .unwrap_err();
    let told = chain(&error);
    for part in ["/etc/passwd", "exit status: 3", "the migration is broken"] {
        assert!(told.contains(part), "{told}");
    }
    let error = builder(&room)
        .setup_command(
            "2",
            &script("sleep 1000 & sleep 1000"),
            Duration::from_millis(100),
        )
        .start()
        .unwrap_err();
    assert!(chain(&error).contains("timed out"), "{error:?}");
    let error = builder(&room)
        .setup_command("3", &Command::new("no-such-program"), minute)
        .start()
        .unwrap_err();
    assert!(chain(&error).contains("no-such-program"), "{error:?}");
    assert_eq!(pg_tests::names(&room.join("storage")), [""; 0]);
}

fn chain(error: &TempError) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        told += &format!(": {cause}");
        next = cause.source();
    }
    told
}
