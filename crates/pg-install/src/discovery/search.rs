//! The iterator that searches.

use std::ffi::OsStr;
use std::iter::FusedIterator;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::candidate::Candidate;
use super::place::{Expansion, PLACES, expand};
use super::searched::{SearchOutcome, SearchedPlace, SearchedPlaces};
use super::{DiscoveredInstallation, Discovery, DiscoveryError, Source};
use crate::command::ProgramErrorKind;
use crate::installation::Finder;
use crate::installation::error::{InstallationError, InstallationErrorKind};
use crate::program::Program;

/// A lazy iterator over installations and errors; see [`Discovery::search`].
///
/// It ends after a [critical](DiscoveryError::is_critical) error. Other errors concern one
/// installation that could not be examined.
#[derive(Debug)]
pub struct Search {
    discovery: Discovery,
    steps: std::vec::IntoIter<Step>,
    /// The results of steps that have not been examined yet, each with the index of its place.
    pending: Vec<(Pending, usize)>,
    ready: Vec<Result<DiscoveredInstallation, DiscoveryError>>,
    seen: Vec<Utf8PathBuf>,
    searched: Vec<SearchedPlace>,
    /// A shorter time limit for programs that are not named by a variable.
    patience: Option<Duration>,
    /// The candidates that exceeded `patience`, each with the index of its place.
    deferred: Vec<(Candidate, usize)>,
}

#[derive(Clone, Debug)]
enum Step {
    Pginstallation,
    PgConfig,
    /// A directory on `PATH`, or `None` if `PATH` is not set.
    Path(Option<Utf8PathBuf>),
    Place(Source, &'static str),
}

#[derive(Debug)]
enum Pending {
    Candidate(Candidate),
    Error(DiscoveryError),
}

type Examined = Vec<Result<DiscoveredInstallation, DiscoveryError>>;

impl Search {
    pub(super) fn new(discovery: Discovery) -> Self {
        let mut steps = vec![Step::Pginstallation, Step::PgConfig];
        match discovery.variable("PATH") {
            Some(path) => {
                steps.extend(
                    absolute_directories(path).map(|directory| Step::Path(Some(directory))),
                );
            }
            None => steps.push(Step::Path(None)),
        }
        steps.extend(
            PLACES
                .iter()
                .map(|(source, pattern)| Step::Place(*source, pattern)),
        );
        Self {
            discovery,
            steps: steps.into_iter(),
            pending: Vec::new(),
            ready: Vec::new(),
            seen: Vec::new(),
            searched: Vec::new(),
            patience: None,
            deferred: Vec::new(),
        }
    }

    /// Defers candidates whose program takes longer than `patience`, unless a variable names them.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// Examines the deferred candidates with the whole time limit. Returns whether there were any.
    pub(super) fn resume(&mut self) -> bool {
        self.patience = None;
        let deferred = std::mem::take(&mut self.deferred);
        let candidates: Vec<_> = deferred.iter().map(|(c, _)| Some(c)).collect();
        let examined = self.examine_all(&candidates);
        for (&(ref candidate, place), examined) in deferred.iter().zip(examined) {
            self.conclude(candidate, place, examined);
        }
        !deferred.is_empty()
    }

    /// Returns the places that have been searched so far.
    ///
    /// ```no_run
    /// use pg_install::Discovery;
    ///
    /// let mut search = Discovery::new().search();
    /// let first = search.next();
    /// println!("{first:?} was found in:\n{}", search.explanation());
    /// ```
    pub fn explanation(&self) -> SearchedPlaces {
        SearchedPlaces::new(self.searched.clone())
    }

    pub(super) fn into_explanation(self) -> SearchedPlaces {
        SearchedPlaces::new(self.searched)
    }

    /// Examines all remaining places and runs several programs concurrently.
    pub(super) fn run_ahead(&mut self) {
        while let Some(step) = self.steps.next() {
            self.take(step);
        }
        let pending = std::mem::take(&mut self.pending);
        let mut identities = Vec::new();
        let fresh: Vec<Option<&Candidate>> = pending
            .iter()
            .map(|(pending, _)| match pending {
                Pending::Candidate(candidate) => {
                    insert(&mut identities, &candidate.identity).then_some(candidate)
                }
                Pending::Error(_) => None,
            })
            .collect();
        let examined = self.examine_all(&fresh);
        for ((pending, place), examined) in pending.into_iter().zip(examined) {
            self.settle(pending, place, |_, _| examined);
        }
    }

    fn finder(&self, source: Source) -> Finder {
        let timeout = self.discovery.timeout;
        let patience = self.patience.filter(|_| !source.is_explicit());
        self.discovery
            .finder(patience.map_or(timeout, |patience| patience.min(timeout)))
    }

    /// Finds the candidates of a step.
    fn take(&mut self, step: Step) {
        match step {
            Step::Pginstallation => self.take_variable(Source::Pginstallation, "PGINSTALLATION"),
            Step::PgConfig => self.take_variable(Source::PgConfig, "PG_CONFIG"),
            Step::Path(None) => {
                self.note(
                    Source::Path,
                    "PATH",
                    vec![SearchOutcome::NotSet("PATH".into())],
                );
            }
            Step::Path(Some(directory)) => {
                let rooted = self.discovery.rooted(&directory);
                self.take_directories(Source::Path, directory.as_str(), vec![rooted]);
            }
            Step::Place(source, pattern) => match expand(pattern, &self.discovery) {
                Expansion::NotSet(variable) => {
                    self.note(
                        source,
                        pattern,
                        vec![SearchOutcome::NotSet(variable.into())],
                    );
                }
                Expansion::Directories(directories, errors) => {
                    let place = self.take_directories(source, pattern, directories);
                    for (path, error) in errors {
                        let error = DiscoveryError::read(source, path, error);
                        self.pending.push((Pending::Error(error), place));
                    }
                }
            },
        }
    }

    fn take_directories(
        &mut self,
        source: Source,
        name: &str,
        directories: Vec<Utf8PathBuf>,
    ) -> usize {
        let place = self.note(source, name, Vec::new());
        for directory in directories {
            match Candidate::directory(source, &directory) {
                Some(candidate) => {
                    self.pending.push((Pending::Candidate(candidate), place));
                }
                None if directory.is_dir() => {
                    self.searched[place].push(SearchOutcome::NoPrograms(directory));
                }
                None => {}
            }
        }
        place
    }

    /// Finds the candidate that a variable names: a program, a directory of programs, or the
    /// directory above it.
    fn take_variable(&mut self, source: Source, name: &'static str) {
        let Some(value) = self.discovery.variable(name) else {
            self.note(source, name, vec![SearchOutcome::NotSet(name.into())]);
            return;
        };
        let place_name = format!("{name}={}", value.to_string_lossy());
        let candidate = value
            .to_str()
            .and_then(|value| self.named(source, Utf8Path::new(value)));
        let pending = match candidate {
            Some(candidate) => Pending::Candidate(candidate),
            None => Pending::Error(DiscoveryError::nothing_named(source, value.to_owned())),
        };
        let place = self.note(source, &place_name, Vec::new());
        self.pending.push((pending, place));
    }

    fn named(&self, source: Source, value: &Utf8Path) -> Option<Candidate> {
        if source == Source::PgConfig && !value.as_str().contains('/') {
            let path = absolute_directories(self.discovery.variable("PATH")?)
                .map(|directory| self.discovery.rooted(&directory).join(value))
                .find(|path| path.is_file())?;
            return Some(Candidate::pg_config(source, path));
        }
        let path = self.discovery.rooted(value);
        if path.is_dir() {
            return Candidate::directory(source, &path)
                .or_else(|| Candidate::directory(source, &path.join("bin")));
        }
        if path.file_name() == Some(Program::Postgres.name()) {
            return Candidate::directory(source, path.parent()?);
        }
        path.exists().then(|| Candidate::pg_config(source, path))
    }

    /// Examines a pending candidate, unless it was examined before. Returns whether a program did
    /// not exit in time.
    fn settle(
        &mut self,
        pending: Pending,
        place: usize,
        examine: impl FnOnce(&Self, &Candidate) -> Examined,
    ) -> bool {
        let candidate = match pending {
            Pending::Candidate(candidate) => candidate,
            Pending::Error(error) => {
                self.searched[place].push(SearchOutcome::failed(&error));
                self.ready.push(Err(error));
                return false;
            }
        };
        if !insert(&mut self.seen, candidate.identity.clone()) {
            self.searched[place].push(SearchOutcome::Duplicate(candidate.path));
            return false;
        }
        let examined = examine(self, &candidate);
        let hangs = examined.iter().any(has_timed_out);
        let is_open = hangs && !examined.iter().any(Result::is_ok);
        if is_open && self.patience.is_some() && !candidate.source.is_explicit() {
            self.deferred.push((candidate, place));
        } else {
            self.conclude(&candidate, place, examined);
        }
        hangs
    }

    /// Records the results of a candidate, and queues those that are new.
    fn conclude(&mut self, candidate: &Candidate, place: usize, examined: Examined) {
        // If the requested server exists, an error of its `pg_config` is ignored.
        let is_forgiven = candidate.source.is_explicit() && examined.iter().any(Result::is_ok);
        for result in examined {
            let outcome = match &result {
                Ok(found) => {
                    let bin = found.installation.bindir().unwrap_or(&found.path);
                    let identity = bin.canonicalize_utf8().unwrap_or_else(|_| bin.to_owned());
                    if identity != candidate.identity && !insert(&mut self.seen, identity) {
                        self.searched[place].push(SearchOutcome::Duplicate(bin.to_owned()));
                        continue;
                    }
                    SearchOutcome::found(found)
                }
                Err(error) => SearchOutcome::failed(error),
            };
            self.searched[place].push(outcome);
            if result.is_ok() || !is_forgiven {
                self.ready.push(result);
            }
        }
    }

    fn note(&mut self, source: Source, place: &str, outcomes: Vec<SearchOutcome>) -> usize {
        self.searched
            .push(SearchedPlace::new(source, place, outcomes));
        self.searched.len() - 1
    }
}

impl Iterator for Search {
    type Item = Result<DiscoveredInstallation, DiscoveryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if !self.ready.is_empty() {
                let result = self.ready.remove(0);
                if result.as_ref().is_err_and(DiscoveryError::is_critical) {
                    self.ready.clear();
                    self.pending.clear();
                    self.steps = Vec::new().into_iter();
                    self.deferred.clear();
                }
                return Some(result);
            }
            if !self.pending.is_empty() {
                let (pending, place) = self.pending.remove(0);
                let hangs = self.settle(pending, place, |search, candidate| {
                    candidate.examine(&search.finder(candidate.source))
                });
                // If one program hangs, others may too, so the rest are examined concurrently.
                if hangs {
                    self.run_ahead();
                }
            } else {
                let step = self.steps.next()?;
                self.take(step);
            }
        }
    }
}

impl FusedIterator for Search {}

/// Returns the absolute directories on a `PATH`. Relative and empty names are skipped, so that the
/// result does not depend on the current directory.
fn absolute_directories(path: &OsStr) -> impl Iterator<Item = Utf8PathBuf> {
    std::env::split_paths(path)
        .filter_map(|directory| Utf8PathBuf::try_from(directory).ok())
        .filter(|directory| directory.is_absolute())
}

/// Adds a value unless it is present. Returns whether it was added.
fn insert<T: PartialEq>(values: &mut Vec<T>, value: T) -> bool {
    let is_new = !values.contains(&value);
    if is_new {
        values.push(value);
    }
    is_new
}

fn has_timed_out(examined: &Result<DiscoveredInstallation, DiscoveryError>) -> bool {
    let kind = examined.as_ref().err().and_then(DiscoveryError::examined);
    matches!(
        kind.map(InstallationError::kind),
        Some(InstallationErrorKind::Program(error))
            if matches!(error.kind(), ProgramErrorKind::TimedOut { .. })
    )
}

impl Search {
    /// Examines candidates concurrently, with two threads per processor and at least eight. A
    /// program waits for the disk when it starts, and a program that hangs needs no processor.
    fn examine_all(&self, candidates: &[Option<&Candidate>]) -> Vec<Examined> {
        let results: Vec<Mutex<Examined>> = candidates.iter().map(|_| Mutex::default()).collect();
        let jobs = Mutex::new(candidates.iter().zip(&results));
        let work = || {
            loop {
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((candidate, result)) = job else {
                    break;
                };
                let examined = candidate.map(|c| c.examine(&self.finder(c.source)));
                *result.lock().unwrap_or_else(PoisonError::into_inner) =
                    examined.unwrap_or_default();
            }
        };
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = candidates.len().min((processors * 2).clamp(8, 16));
        thread::scope(|scope| {
            for _ in 1..threads {
                // If a thread cannot be started, the others do the work.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let result = |result: Mutex<_>| result.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.into_iter().map(result).collect()
    }
}
