//! Programs that are killed while they keep, restore and branch states, fill a pool, or freeze a
//! server.

use std::time::Duration;

use super::rng::Rng;
use super::scene::{Loss, Scene};
use super::temps::Place;
use super::victim::moment;

/// About as long as a round of the slowest one takes.
const ROUND: Duration = Duration::from_millis(400);

/// During snapshot, restore and branch: nothing is left of the servers and the copies.
pub(crate) fn snapshots(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    kill(rng, scene, "states")
}

/// While its pool starts servers, hands them out and is dropped.
pub(crate) fn pools(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    kill(rng, scene, "pool")
}

/// While it freezes, thaws, crashes and restarts a server: no frozen process is left.
pub(crate) fn freezers(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    kill(rng, scene, "freeze")
}

fn kill(rng: &mut Rng, scene: &Scene, mode: &str) -> Result<(), Loss> {
    let place = Place::new(scene, scene.cache());
    for _ in 0..4 {
        let mut owner = place.owner(scene, mode)?;
        // What it does first takes it less time than the rest.
        for _ in 0..rng.below(5) {
            owner.line();
        }
        moment(rng, &mut owner, ROUND, &[]);
        owner.kill();
        scene.fault();
    }
    place.is_swept(scene)
}
