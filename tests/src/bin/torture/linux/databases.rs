//! Users of databases in a shared server that are killed, and many of them.

use std::time::Duration;

use camino::Utf8PathBuf;
use pg_fixture::SharedCluster;
use pg_tests::{Victim, ask, connect_to, names};

use super::rng::Rng;
use super::scene::{Loss, Scene, ensure};
use super::victim::moment;

/// Longer than a database takes to be made.
const MAKE: Duration = Duration::from_millis(120);

/// Where the server of a case is made.
struct Place {
    cache: Utf8PathBuf,
    storage: Utf8PathBuf,
}

impl Place {
    fn new(scene: &Scene) -> Self {
        let storage = scene.room.directory("storage");
        let cache = scene.cache();
        Self { cache, storage }
    }

    fn user(&self, scene: &Scene, mode: &str) -> Result<Victim, Loss> {
        let arguments = [self.cache.as_str(), self.storage.as_str(), mode];
        scene.sibling("database-owner", arguments)
    }

    fn acquire(&self, scene: &Scene) -> Result<SharedCluster, Loss> {
        let builder = scene.temporary(&self.cache, &self.storage);
        let builder = builder.linger(Duration::from_millis(300));
        Ok(builder.share("databases")?)
    }

    /// The server has gone with its last user, and its files with it.
    fn is_empty(&self, scene: &Scene) -> Result<(), Loss> {
        scene.alone()?;
        let left = names(&self.storage);
        ensure!(left.is_empty(), "left behind: {left:?}");
        scene.no_memory_left()
    }
}

/// Killed while they acquire, drop and reset: a database that is in use stays what it is, and
/// others can be had.
pub(crate) fn users(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let place = Place::new(scene);
    let kept = place.acquire(scene)?;
    let mut client = connect_to(kept.connection_info());
    ask(&mut client, "CREATE TABLE kept AS SELECT 1 AS n; SELECT 1");
    for _ in 0..4 {
        let mut users = Vec::new();
        for _ in 0..1 + rng.below(3) {
            let mode = rng.pick(&["hold", "acquire", "reset", "50"]);
            users.push(place.user(scene, mode)?);
        }
        for mut user in users {
            if rng.one_in(2) {
                user.line();
            }
            moment(rng, &mut user, MAKE, &[]);
            user.kill();
            scene.fault();
        }
        if rng.one_in(2) {
            let fresh = place.acquire(scene)?;
            let mut other = connect_to(fresh.connection_info());
            let tables = ask(
                &mut other,
                "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'",
            );
            ensure!(tables == "0", "a new database is not a fresh copy");
            fresh.reset()?;
        }
        let n = ask(&mut client, "SELECT n FROM kept");
        ensure!(n == "1", "the database that is in use has {n:?}");
    }
    drop((client, kept));
    place.is_empty(scene)
}

/// Several processes take and release databases, some are killed, and the server never has many
/// more than are in use.
pub(crate) fn many(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let place = Place::new(scene);
    let kept = place.acquire(scene)?;
    let mut users = Vec::new();
    for _ in 0..4 {
        users.push(place.user(scene, "25")?);
    }
    let mut killed = place.user(scene, "acquire")?;
    moment(rng, &mut killed, MAKE * 4, &[]);
    killed.kill();
    scene.fault();
    for mut user in users {
        let line = user.line();
        ensure!(line == "done", "a user said {line:?}");
        user.finish();
    }
    let info = kept.connection_info().clone().with_database("postgres");
    let mut client = connect_to(&info);
    let count = ask(&mut client, "SELECT count(*) FROM pg_database");
    // Three of `initdb`, the template, those in use, those below the limit, and those that were
    // released while the last were dropped.
    ensure!(
        count.parse::<u32>()? < 160,
        "released databases are not dropped: {count}"
    );
    drop((client, kept));
    place.is_empty(scene)
}
