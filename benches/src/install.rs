//! The cost of finding an installation, compared with running the program that it needs.

use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{Discovery, Installation, PgConfig, Program, Request};
use pg_tests::{Room, server};

use crate::Plan;
use crate::sheet::{Sheet, Who};

/// These runs are short, so more rounds are measured.
const TIMES_THE_ROUNDS: usize = 10;
const INSTALLATIONS: u16 = 8;

const ONE: &str = "find an installation";
const EIGHT: &str = "find eight installations";
const VERIFY: &str = "ask the server for its version";

pub(crate) fn measure(sheet: &mut Sheet, plan: &Plan) {
    let rounds = plan.rounds * TIMES_THE_ROUNDS;
    let installed = server();
    match installed.program(Program::PgConfig) {
        Some(pg_config) => {
            one(sheet, rounds, &installed, pg_config);
            eight(sheet, rounds, pg_config);
        }
        None => {
            for what in [ONE, EIGHT] {
                sheet.not_run(what, Who::Ours("`Discovery`"), "there is no pg_config");
            }
        }
    }
    let postgres = installed.require(Program::Postgres).unwrap();
    sheet.rounds(rounds, |sheet| {
        time(sheet, VERIFY, Who::Ours("`Installation::verify`"), || {
            installed.verify().unwrap()
        });
        time(
            sheet,
            VERIFY,
            Who::Floor("bare exec of `postgres --version`"),
            || Command::new(postgres).arg("--version").output().unwrap(),
        );
    });
}

fn one(sheet: &mut Sheet, rounds: usize, installed: &Installation, pg_config: &Utf8Path) {
    let bin = installed.bindir().unwrap();
    let named = Discovery::new().environment([("PG_CONFIG", pg_config)]);
    let path = format!("/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/opt/bin:/snap/bin:{bin}");
    let on_path = Discovery::new().environment([("PATH", path)]);
    let any = Request::any();
    sheet.rounds(rounds, |sheet| {
        time(
            sheet,
            ONE,
            Who::Ours("`Discovery::find`, by PG_CONFIG"),
            || named.find(&any).unwrap(),
        );
        time(sheet, ONE, Who::Ours("`Discovery::find`, on PATH"), || {
            on_path.find(&any).unwrap()
        });
        time(
            sheet,
            ONE,
            Who::Ours("`PgConfig::query`, nothing else"),
            || PgConfig::query(pg_config).unwrap(),
        );
        time(sheet, ONE, Who::Floor("bare exec of `pg_config`"), || {
            Command::new(pg_config).output().unwrap()
        });
    });
}

/// Measures a machine with Debian's layout and eight major versions.
fn eight(sheet: &mut Sheet, rounds: usize, pg_config: &Utf8Path) {
    let room = Room::new();
    let root = Utf8PathBuf::try_from(room.path().canonicalize().unwrap()).unwrap();
    for major in 10..10 + INSTALLATIONS {
        // pg_config reports its own directory, so each copy describes another installation.
        let bin = root.join(format!("usr/lib/postgresql/{major}/bin"));
        fs::create_dir_all(&bin).unwrap();
        fs::copy(pg_config, bin.join("pg_config")).unwrap();
        fs::copy(pg_config, bin.join("postgres")).unwrap();
    }
    let no_variables: [(&str, &str); 0] = [];
    let machine = Discovery::new().root(&root).environment(no_variables);
    assert_eq!(machine.all().len(), usize::from(INSTALLATIONS));
    let copy = root.join("usr/lib/postgresql/10/bin/pg_config");
    sheet.rounds(rounds, |sheet| {
        time(sheet, EIGHT, Who::Ours("`Discovery::all`"), || {
            machine.all()
        });
        let eight_times = "bare exec of `pg_config`, eight times";
        time(sheet, EIGHT, Who::Beside(eight_times), || {
            for _ in 0..INSTALLATIONS {
                black_box(Command::new(&copy).output().unwrap());
            }
        });
    });
}

fn time<T>(sheet: &mut Sheet, what: &str, who: Who<'_>, run: impl FnOnce() -> T) {
    let begun = Instant::now();
    let left = black_box(run());
    sheet.note(what, who, begun.elapsed());
    drop(left);
}
