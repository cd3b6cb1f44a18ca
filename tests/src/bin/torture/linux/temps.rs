//! Users of temporary and shared clusters that are killed.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use pg_tests::{Victim, connect_to, names};

use super::rng::Rng;
use super::scene::{Loss, Scene, answers, ensure};
use super::victim::moment;

const START: Duration = Duration::from_millis(250);
const BUILD: Duration = Duration::from_millis(2000);

/// Where the clusters of a case are made.
pub(super) struct Place {
    cache: Utf8PathBuf,
    storage: Utf8PathBuf,
}

impl Place {
    pub(super) fn new(scene: &Scene, cache: Utf8PathBuf) -> Self {
        let storage = scene.room.directory("storage");
        Self { cache, storage }
    }

    pub(super) fn owner(&self, scene: &Scene, mode: &str) -> Result<Victim, Loss> {
        scene.sibling(
            "temp-owner",
            [self.cache.as_str(), self.storage.as_str(), mode],
        )
    }

    /// The next start removes what a killed program had no guard for. What it had not even marked
    /// is removed when it is old enough, which we help with.
    pub(super) fn is_swept(&self, scene: &Scene) -> Result<(), Loss> {
        scene.alone()?;
        self.start(scene)?;
        scene.alone()?;
        for name in names(&self.storage) {
            let path = self.storage.join(&name);
            let mode = fs::symlink_metadata(&path)?.permissions().mode() & 0o7777;
            ensure!(
                mode == 0o1700,
                "left behind: {path}, mode {mode:o}, with {:?}",
                names(&path)
            );
            let old = SystemTime::now() - Duration::from_secs(60);
            File::open(&path)?.set_times(FileTimes::new().set_modified(old))?;
        }
        self.start(scene)?;
        scene.alone()?;
        let left = names(&self.storage);
        ensure!(left.is_empty(), "left behind: {left:?}");
        scene.no_memory_left()
    }

    fn start(&self, scene: &Scene) -> Result<(), Loss> {
        let temp = scene.temporary(&self.cache, &self.storage).start()?;
        answers(&mut connect_to(temp.connection_info()))
    }
}

/// Cloning, starting, serving, dropping: nothing is left of it.
pub(crate) fn owners(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let place = Place::new(scene, scene.cache());
    for _ in 0..3 {
        let mut owners = Vec::new();
        for _ in 0..1 + rng.below(3) {
            let mode = rng.pick(&["temp", "many", "drop"]);
            owners.push(place.owner(scene, mode)?);
        }
        for mut owner in owners {
            moment(rng, &mut owner, START, &[]);
            owner.kill();
            scene.fault();
        }
    }
    place.is_swept(scene)
}

/// A killed builder leaves a cache in which the next one builds.
pub(crate) fn builders(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let place = Place::new(scene, scene.room.join("cache"));
    let sights = [place.cache.join("building"), place.cache.join("templates")];
    for _ in 0..3 {
        let mut builder = place.owner(scene, "setup")?;
        let mut waiting = rng
            .one_in(2)
            .then(|| place.owner(scene, "setup"))
            .transpose()?;
        moment(rng, &mut builder, BUILD, &sights);
        builder.kill();
        scene.fault();
        if let Some(waiting) = &mut waiting {
            moment(rng, waiting, BUILD, &[]);
        }
    }
    let mut builder = place.owner(scene, "setup")?;
    let line = builder.line();
    // Unless a killed one has got that far.
    let rest = builder.finish();
    ensure!(
        line == "built" || rest == "built\n",
        "it said {line:?} and {rest:?}"
    );
    scene.alone()?;
    let building = place.cache.join("building");
    for key in names(&building) {
        let left = names(&building.join(&key));
        ensure!(left.is_empty(), "left of what was built: {left:?}");
    }
    place.is_swept(scene)
}

/// However its users end, the server ends with the last of them and not before.
pub(crate) fn shared(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let place = Place::new(scene, scene.cache());
    let mut users: Vec<Victim> = Vec::new();
    for _ in 0..8 {
        if users.is_empty() || rng.one_in(2) {
            users.push(place.owner(scene, "shared")?);
        } else {
            let mut user = users.swap_remove(rng.index(users.len()));
            moment(rng, &mut user, START, &[]);
            user.kill();
            scene.fault();
        }
    }
    // Among those who are left is one that has got in, or it would have been an error.
    let mut last = place.owner(scene, "shared")?;
    let line = last.line();
    let Some((_, uri)) = line.split_once(' ') else {
        return Err(Loss::new(format_args!("no database, but {line:?}")));
    };
    for user in users {
        user.kill();
        scene.fault();
    }
    let mut client = postgres::Client::connect(uri, postgres::NoTls)?;
    answers(&mut client)?;
    drop(client);
    last.finish();
    place.is_swept(scene)
}

/// A template whose files were damaged is made again.
pub(crate) fn damaged_caches(rng: &mut Rng, scene: &Scene) -> Result<(), Loss> {
    let place = Place::new(scene, scene.cache());
    for _ in 0..3 {
        let mut files = Vec::new();
        files_below(&place.cache.join("templates"), &mut files);
        ensure!(!files.is_empty(), "no template in the cache");
        let file = rng.pick(&files);
        super::hostile::corrupt(rng, &file)?;
        scene.fault();
        place.start(scene)?;
    }
    place.is_swept(scene)
}

fn files_below(directory: &Utf8Path, files: &mut Vec<Utf8PathBuf>) {
    for name in names(directory) {
        let path = directory.join(name);
        match path.is_dir() {
            true => files_below(&path, files),
            false => files.push(path),
        }
    }
    files.sort();
}
