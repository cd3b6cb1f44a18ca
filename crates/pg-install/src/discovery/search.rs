//! The search itself.

use std::collections::{HashSet, VecDeque};
use std::iter::FusedIterator;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};

use super::candidate::Candidate;
use super::explanation::{Explanation, Outcome, Searched};
use super::place::{Expansion, PLACES, expand};
use super::{Discovery, DiscoveryError, Found, Source};
use crate::Program;

/// A search that goes on as installations are taken from it; see [`Discovery::search`].
///
/// Its items are installations and the errors met between them. After a
/// [critical](DiscoveryError::is_critical) error it ends; other errors concern one installation
/// that could not be examined.
#[derive(Debug)]
pub struct Search {
    discovery: Discovery,
    steps: VecDeque<Step>,
    candidates: VecDeque<(Candidate, usize)>,
    ready: VecDeque<Result<Found, DiscoveryError>>,
    seen: HashSet<Utf8PathBuf>,
    searched: Vec<Searched>,
}

#[derive(Clone, Debug)]
enum Step {
    Pginstallation,
    PgConfig,
    /// One of the directories on `PATH`, or none of it.
    Path(Option<Utf8PathBuf>),
    Place(Source, &'static str),
}

type Examined = Vec<Result<Found, DiscoveryError>>;

impl Search {
    pub(super) fn new(discovery: Discovery) -> Self {
        let mut steps = VecDeque::from([Step::Pginstallation, Step::PgConfig]);
        match discovery.variable("PATH") {
            Some(path) => steps.extend(
                std::env::split_paths(path)
                    .filter_map(|directory| Utf8PathBuf::try_from(directory).ok())
                    // The empty name means the current directory, where nobody wants to find servers.
                    .filter(|directory| directory.is_absolute())
                    .map(|directory| Step::Path(Some(directory))),
            ),
            None => steps.push_back(Step::Path(None)),
        }
        steps.extend(
            PLACES
                .iter()
                .map(|(source, pattern)| Step::Place(*source, pattern)),
        );
        Self {
            discovery,
            steps,
            candidates: VecDeque::new(),
            ready: VecDeque::new(),
            seen: HashSet::new(),
            searched: Vec::new(),
        }
    }

    /// What has been searched so far.
    pub fn explanation(&self) -> Explanation {
        Explanation::new(self.searched.clone())
    }

    pub(super) fn into_explanation(self) -> Explanation {
        Explanation::new(self.searched)
    }

    /// Does all that is left of the search at once, asking several programs at a time.
    pub(super) fn run_ahead(&mut self) {
        while let Some(step) = self.steps.pop_front() {
            self.take(step);
        }
        let candidates: Vec<_> = self.candidates.drain(..).collect();
        let examined: Vec<Mutex<Examined>> = candidates.iter().map(|_| Mutex::default()).collect();
        let next = AtomicUsize::new(0);
        let examine = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((candidate, _)) = candidates.get(index) else {
                    break;
                };
                let results = candidate.examine(&self.discovery);
                *examined[index]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = results;
            }
        };
        // Most of a program's time here is its start, which waits for the disk as much as for a
        // processor.
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = candidates.len().min(processors * 2).min(16);
        thread::scope(|scope| {
            for _ in 1..threads {
                // If there are no more threads to be had, those that there are do the work.
                let _ = thread::Builder::new().spawn_scoped(scope, examine);
            }
            examine();
        });
        for ((candidate, place), results) in candidates.into_iter().zip(examined) {
            let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
            self.settle(&candidate, place, results);
        }
    }

    /// Finds the candidates of a step.
    fn take(&mut self, step: Step) {
        match step {
            Step::Pginstallation => self.take_variable(Source::Pginstallation, "PGINSTALLATION"),
            Step::PgConfig => self.take_variable(Source::PgConfig, "PG_CONFIG"),
            Step::Path(None) => {
                self.note(Source::Path, "PATH", vec![Outcome::NotSet("PATH".into())]);
            }
            Step::Path(Some(directory)) => {
                let rooted = self.discovery.rooted(&directory);
                self.take_directories(Source::Path, directory.as_str(), vec![rooted]);
            }
            Step::Place(source, pattern) => match expand(pattern, &self.discovery) {
                Expansion::NotSet(variable) => {
                    self.note(source, pattern, vec![Outcome::NotSet(variable.into())]);
                }
                Expansion::Directories(directories, errors) => {
                    let place = self.take_directories(source, pattern, directories);
                    for (path, error) in errors {
                        let error = DiscoveryError::read(source, path, error);
                        self.searched[place].push(Outcome::failed(&error));
                        self.ready.push_back(Err(error));
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
                Some(candidate) => self.candidates.push_back((candidate, place)),
                None if directory.is_dir() => {
                    self.searched[place].push(Outcome::NoPrograms(directory));
                }
                None => {}
            }
        }
        place
    }

    /// What a variable asks for: a program, a directory of programs, or the one above it.
    fn take_variable(&mut self, source: Source, name: &'static str) {
        let Some(value) = self.discovery.variable(name) else {
            self.note(source, name, vec![Outcome::NotSet(name.into())]);
            return;
        };
        let place_name = format!("{name}={}", value.to_string_lossy());
        let candidate = value
            .to_str()
            .and_then(|value| self.named(source, Utf8Path::new(value)));
        match candidate {
            Some(candidate) => {
                let place = self.note(source, &place_name, Vec::new());
                self.candidates.push_back((candidate, place));
            }
            None => {
                let error = DiscoveryError::nothing_named(source, value.to_owned());
                let outcome = Outcome::failed(&error);
                self.note(source, &place_name, vec![outcome]);
                self.ready.push_back(Err(error));
            }
        }
    }

    fn named(&self, source: Source, value: &Utf8Path) -> Option<Candidate> {
        if source == Source::PgConfig && !value.as_str().contains('/') {
            let path = std::env::split_paths(self.discovery.variable("PATH")?)
                .filter_map(|directory| Utf8PathBuf::try_from(directory).ok())
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

    /// Writes down what was examined, and keeps what is new.
    fn settle(&mut self, candidate: &Candidate, place: usize, results: Examined) {
        for result in results {
            let outcome = match &result {
                Ok(found) => {
                    let bin = found.installation.bindir().unwrap_or(&found.path);
                    let identity = bin.canonicalize_utf8().unwrap_or_else(|_| bin.to_owned());
                    if self.seen.insert(identity) {
                        Outcome::found(found)
                    } else {
                        self.searched[place].push(Outcome::Duplicate(bin.to_owned()));
                        continue;
                    }
                }
                Err(error) => Outcome::failed(error),
            };
            self.searched[place].push(outcome);
            self.ready.push_back(result);
        }
        self.seen.insert(candidate.identity.clone());
    }

    fn note(&mut self, source: Source, place: &str, outcomes: Vec<Outcome>) -> usize {
        self.searched.push(Searched::new(source, place, outcomes));
        self.searched.len() - 1
    }
}

impl Iterator for Search {
    type Item = Result<Found, DiscoveryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                if result.as_ref().is_err_and(DiscoveryError::is_critical) {
                    self.ready.clear();
                    self.candidates.clear();
                    self.steps.clear();
                }
                return Some(result);
            }
            if let Some((candidate, place)) = self.candidates.pop_front() {
                if self.seen.contains(&candidate.identity) {
                    self.searched[place].push(Outcome::Duplicate(candidate.path));
                } else {
                    let results = candidate.examine(&self.discovery);
                    self.settle(&candidate, place, results);
                }
            } else {
                let step = self.steps.pop_front()?;
                self.take(step);
            }
        }
    }
}

impl FusedIterator for Search {}
