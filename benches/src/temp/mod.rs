//! The cost of a temporary cluster, compared with `initdb` and `pg_ctl`, with other libraries, and
//! with the lower bound.

mod databases;
mod flat;
mod floor;
mod lives;
mod peers;
mod states;

use std::fs;
use std::time::Instant;

use camino::Utf8Path;
use floor::Pack;
use lives::Ground;
use peers::Peer;

use crate::Plan;
use crate::sheet::{Sheet, Who};

const CREATE: &str = "from nothing to the first `SELECT 1`";
const WHOLE: &str = "the whole life, until nothing is left";
const DROP: &str = "the end alone, from the answer on";
const TUNED: &str = "exec of a server, until the first answer";
const LARGE: &str = "`SELECT 1` from a template with 64 MB of data, on disk";
const IN_A_ROW: &str = "whole lives, a hundred in a row";
const AT_ONCE: &str = "twenty at once, until all are gone";

const OURS: Who<'static> = Who::Ours("`TempCluster`");
const FLOOR: Who<'static> = Who::Floor("the same tricks, nothing checked");
const COPY: Who<'static> = Who::Floor("copy and bare exec, watched by spinning");
const BY_HAND: Who<'static> = Who::Beside("`initdb --no-sync`, `pg_ctl -w`");

pub(crate) use flat::measure as measure_flat;

pub(crate) fn measure(sheet: &mut Sheet, plan: &Plan) {
    let ground = Ground::in_directory(&plan.storage);
    lives(sheet, plan, &ground);
    tuned(sheet, plan.rounds, &ground);
    states::measure(sheet, plan.rounds, &ground);
    large(sheet, plan.rounds.min(5), &ground);
    in_a_row(sheet, &ground);
    at_once(sheet, &ground);
    databases::measure(sheet, plan.rounds, &ground);
}

fn lives(sheet: &mut Sheet, plan: &Plan, ground: &Ground) {
    let pack = Pack::new(ground);
    let mut peers = plan
        .peers
        .as_ref()
        .map(|room| Peer::all(ground, room))
        .unwrap_or_default();
    sheet.rounds(plan.rounds, |sheet| {
        for (who, life) in [
            (OURS, ground.ours()),
            (FLOOR, pack.life(ground)),
            (BY_HAND, ground.by_hand()),
        ] {
            sheet.note(CREATE, who, life.create);
            sheet.note(WHOLE, who, life.whole);
            sheet.note(DROP, who, life.whole - life.create);
        }
        for peer in &mut peers {
            let life = peer.turn();
            let who = Who::Beside(peer.name());
            match life {
                Ok(life) => {
                    sheet.note(CREATE, who, life.create);
                    sheet.note(WHOLE, who, life.whole);
                }
                Err(reason) => {
                    sheet.not_run(CREATE, who, &reason);
                    sheet.not_run(WHOLE, who, &reason);
                }
            }
        }
    });
}

/// Starts the same data directory with the settings of `TempCluster` and with the defaults.
fn tuned(sheet: &mut Sheet, rounds: usize, ground: &Ground) {
    let template = ground.template();
    sheet.rounds(rounds, |sheet| {
        for (who, arguments) in [
            (
                Who::Ours("settings for throw-away data"),
                &template.arguments,
            ),
            (
                Who::Beside("the server's defaults"),
                &template.plain_arguments(),
            ),
        ] {
            let begun = Instant::now();
            let server = ground.execute(&template.root, arguments);
            sheet.note(TUNED, who, begun.elapsed());
            server.shut_down();
        }
    });
}

/// Files are removed at the end, because some file systems are slow to create files after others
/// were removed.
fn large(sheet: &mut Sheet, rounds: usize, ground: &Ground) {
    let ground = ground.on_disk_with_data();
    let template = ground.template();
    let ours = if has_reflinks(ground.storage()) {
        Who::Ours("`TempCluster`, by reflinks")
    } else {
        Who::Ours("`TempCluster` (the file system has no reflinks)")
    };
    sheet.rounds(rounds, |sheet| {
        let begun = Instant::now();
        let temp = ground.start();
        drop(lives::first_answer(temp.connection_info()));
        sheet.note(LARGE, ours, begun.elapsed());
        temp.into_files();

        let begun = Instant::now();
        let server = ground.copy_and_execute(&template);
        sheet.note(LARGE, COPY, begun.elapsed());
        server.shut_down();
    });
}

fn has_reflinks(directory: &Utf8Path) -> bool {
    let (from, to) = (directory.join("from"), directory.join("to"));
    fs::write(&from, [1; 1 << 16]).unwrap();
    reflink_copy::reflink(&from, &to).is_ok()
}

fn in_a_row(sheet: &mut Sheet, ground: &Ground) {
    for n in 1..=100 {
        let whole = ground.ours().whole;
        match n {
            1..=10 => sheet.note(IN_A_ROW, Who::Beside("the first ten of them"), whole),
            91..=100 => sheet.note(IN_A_ROW, Who::Ours("`TempCluster`, the last ten"), whole),
            _ => {}
        }
    }
}

fn at_once(sheet: &mut Sheet, ground: &Ground) {
    let time = |life: fn(&Ground) -> lives::Life| {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| life(ground));
            }
        });
        begun.elapsed()
    };
    for _ in 0..3 {
        sheet.note(AT_ONCE, OURS, time(Ground::ours));
    }
    sheet.note(AT_ONCE, BY_HAND, time(Ground::by_hand));
}
