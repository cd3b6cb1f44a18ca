//! Programs that want the same at the same time.

use std::fs;
use std::time::Duration;

use pg_cluster::{Cluster, InitErrorKind, StopPlan};
use pg_tests::{Victim, init_options, names};

use super::rng::Rng;
use super::scene::{Loss, Scene, ensure};

/// One starts the server, and the others are told its number.
pub(crate) fn starters(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let cluster = scene.cluster()?;
    scene.start_options();
    let sockets = scene.room.join("s");
    for _ in 0..3 {
        let mut rivals: Vec<Victim> = (0..2 + rng.below(4))
            .map(|_| {
                let data = cluster.data_directory().as_str();
                scene.victim(["start", data, sockets.as_str(), "bound"])
            })
            .collect();
        for rival in &mut rivals {
            rival.line();
        }
        for rival in &mut rivals {
            if rng.one_in(3) {
                std::thread::sleep(rng.time_below(Duration::from_millis(40)));
            }
            rival.say("go");
            scene.fault();
        }
        let said: Vec<String> = rivals.iter_mut().map(Victim::line).collect();
        let is_now = |line: &&String| line.starts_with("now ");
        let winners: Vec<_> = said.iter().filter(is_now).collect();
        ensure!(winners.len() == 1, "not one winner: {said:?}");
        let pid = winners[0].trim_start_matches("now ");
        for line in &said {
            let named = line.split_once(' ').is_some_and(|(_, named)| named == pid);
            ensure!(
                named && !line.starts_with("error"),
                "not the winner: {said:?}"
            );
        }
        let found = cluster.pid()?.map(|pid| pid.to_string());
        ensure!(found.as_deref() == Some(pid), "{found:?} runs, {said:?}");
        // The next time, the lock file is that of a server that was killed, or there is none.
        match rng.below(3) {
            0 => {
                cluster.kill()?;
            }
            1 => {
                cluster.stop(&StopPlan::fast())?;
            }
            _ => {}
        }
        for rival in rivals {
            rival.kill();
        }
        scene.alone()?;
    }
    scene.serves(&cluster)
}

/// Of several who initialise the same directory one does, and the others are told.
pub(crate) fn initialisers(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let data = scene.room.join("data");
    let delays: Vec<Duration> = (0..2 + rng.below(2))
        .map(|_| rng.time_below(Duration::from_millis(300)))
        .collect();
    let server = &scene.server;
    let attempt = |delay: Duration| {
        std::thread::sleep(delay);
        Cluster::new(server.clone(), &data).map(|cluster| cluster.init(&init_options()))
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let attempts: Vec<_> = delays
            .iter()
            .map(|&delay| scope.spawn(move || attempt(delay)))
            .collect();
        attempts
            .into_iter()
            .filter_map(|attempt| attempt.join().ok())
            .collect()
    });
    let mut done = 0;
    for outcome in outcomes {
        scene.fault();
        match outcome? {
            Ok(()) => done += 1,
            Err(error) => ensure!(
                matches!(error.kind(), InitErrorKind::AlreadyInitialized),
                "{error:?}"
            ),
        }
    }
    ensure!(done == 1, "{done} have initialised it");
    scene.serves(&Cluster::new(scene.server.clone(), &data)?)
}

/// Each update that was acknowledged is there, and no other but the one that a killed editor was
/// about.
pub(crate) fn editors(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let data = scene.room.directory("data");
    fs::write(data.join("postgresql.conf"), "my.v = 0\n")?;
    let cluster = Cluster::new(scene.server.clone(), &data)?;
    let writers: Vec<String> = (0..2 + rng.below(6)).map(|n| format!("w{n}")).collect();
    let mut editors: Vec<Victim> = writers
        .iter()
        .map(|name| scene.victim(["count", data.as_str(), name]))
        .collect();
    for editor in &mut editors {
        editor.line();
    }
    let mut acknowledged = Vec::new();
    for editor in editors {
        std::thread::sleep(rng.time_below(Duration::from_millis(60)));
        acknowledged.push(editor.kill().lines().count());
        scene.fault();
    }
    let document = cluster.settings().document()?;
    let mut sum = 0;
    for (name, acknowledged) in writers.iter().zip(acknowledged) {
        let there = (0..)
            .take_while(|n| document.get(format!("my.{name}_{n}")).is_some())
            .count();
        ensure!(
            there == acknowledged || there == acknowledged + 1,
            "{name}: {there} are there of {acknowledged}"
        );
        sum += there;
    }
    let found = cluster.settings().get("my.v")?;
    ensure!(found == Some(sum.to_string()), "{found:?} instead of {sum}");
    cluster.settings().set("my.v", 0)?;
    let left = names(&data);
    ensure!(left.len() == 1, "left: {left:?}");
    Ok(())
}
