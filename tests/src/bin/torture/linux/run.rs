//! A run: which cases, how many at a time, and what came of them.

use std::fs::{self, File, Permissions};
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{Cluster, Installation};
use pg_fixture::{Storage, TempCluster};
use pg_proc::{DirectoryGuard, GuardOptions};
use pg_tests::{init_options, is_root, servers};

use super::keeper::{Isolation, TEMPLATES};
use super::rng::Rng;
use super::scenarios::{self, ALL, Scenario};
use super::scene::{Loss, Scene};
use super::tally::Tally;

/// What a case prints at its end, before the number.
const FAULTS: &str = "faults: ";

pub(crate) struct Options {
    time: Duration,
    seed: u64,
    only: Option<&'static Scenario>,
    jobs: usize,
}

impl Options {
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            time: Duration::ZERO,
            seed: pg_tests::random(u64::from(u32::MAX)),
            only: None,
            jobs: 2,
        };
        let mut minutes = None;
        for pair in arguments.chunks(2) {
            let &[name, value] = pair else {
                return Err(format!("{pair:?} lacks a value"));
            };
            let number = || {
                value
                    .parse::<u64>()
                    .map_err(|_| format!("{value} is no number"))
            };
            match name {
                "--minutes" => minutes = Some(number()?),
                "--seed" => options.seed = number()?,
                "--jobs" => options.jobs = usize::try_from(number()?.max(1)).unwrap_or(1),
                "--only" => {
                    let found = scenarios::find(value);
                    options.only =
                        Some(found.ok_or_else(|| format!("there is no {value}; see --list"))?);
                }
                _ => return Err(format!("{name} is unknown")),
            }
        }
        // Who names a scenario and a seed wants one case.
        let minutes = minutes.unwrap_or(u64::from(options.only.is_none()));
        options.time = Duration::from_secs(60 * minutes);
        Ok(options)
    }

    /// The n-th case: scenario and seed. At first each scenario has its turn.
    fn case(&self, scenarios: &[&'static Scenario], n: u64) -> (&'static Scenario, u64) {
        if self.only.is_some() {
            return (scenarios[0], self.seed.wrapping_add(n));
        }
        let mut first: Vec<_> = scenarios.to_vec();
        Rng::new(self.seed).shuffle(&mut first);
        let mut rng = Rng::new(self.seed ^ n.rotate_left(32));
        let scenario = usize::try_from(n).ok().and_then(|n| first.get(n).copied());
        let scenario = scenario.unwrap_or_else(|| rng.pick(scenarios));
        (scenario, rng.next() >> 32)
    }
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match Run::prepare(options) {
        Ok(run) => run.all(),
        Err(loss) => {
            println!("torture: {loss}");
            ExitCode::FAILURE
        }
    }
}

struct Run<'a> {
    options: &'a Options,
    scenarios: Vec<&'static Scenario>,
    directory: Utf8PathBuf,
    state: Mutex<State>,
    begun: Instant,
    servers: Vec<Made>,
    /// Removes the directory even if this process is killed.
    _guard: DirectoryGuard,
}

/// A server, and whether its templates have been made.
struct Made {
    server: Installation,
    is_made: Mutex<bool>,
}

struct State {
    tally: Tally,
    next: u64,
    told: Instant,
}

impl<'a> Run<'a> {
    fn prepare(options: &'a Options) -> Result<Self, Loss> {
        println!("seed {}", options.seed);
        let mut tally = Tally::new(ALL.iter().map(|scenario| scenario.name));
        let directory = tempfile::Builder::new().prefix("torture").tempdir()?;
        let directory = Utf8PathBuf::try_from(directory.keep())?;
        fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        let guard = GuardOptions::new().remove(&directory).guard()?;

        let probe = this_program(["probe"]).env("TMPDIR", &directory).output()?;
        let isolated = probe.status.success();
        if !isolated {
            let why = String::from_utf8_lossy(&probe.stdout);
            let why = format!("no namespaces can be had: {}", why.trim_end());
            tally.not_run("full disks, and no `/proc`", why.clone());
            tally.not_run("whether shared memory is left", why);
        }
        let mut scenarios: Vec<_> = match options.only {
            Some(only) => vec![only],
            None => ALL.iter().collect(),
        };
        if !is_root() {
            tally.not_run("what root may do", "this is an ordinary user".to_owned());
        }
        scenarios.retain(|scenario| {
            (isolated || !scenario.needs_disk) && (is_root() || !scenario.needs_root)
        });
        if scenarios.is_empty() {
            println!("{tally}");
            return Err(Loss::new("nothing can be run"));
        }
        let made = |server| Made {
            server,
            is_made: Mutex::new(false),
        };
        Ok(Self {
            options,
            scenarios,
            directory,
            state: Mutex::new(State {
                tally,
                next: 0,
                told: Instant::now(),
            }),
            begun: Instant::now(),
            servers: servers().into_iter().map(made).collect(),
            _guard: guard,
        })
    }

    fn all(self) -> ExitCode {
        std::thread::scope(|scope| {
            for _ in 0..self.options.jobs {
                scope.spawn(|| {
                    while let Some((n, scenario, seed)) = self.next() {
                        self.keep(n, scenario, seed);
                    }
                });
            }
        });
        let state = self.state();
        println!("\n{}", state.tally);
        println!(
            "{}, seed {}",
            state.tally.brief(self.begun.elapsed()),
            self.options.seed
        );
        match state.tally.losses() {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// The next case, unless the time is over and each scenario has had its turn.
    fn next(&self) -> Option<(u64, &'static Scenario, u64)> {
        let mut state = self.state();
        let n = state.next;
        if n >= self.scenarios.len() as u64 && self.begun.elapsed() >= self.options.time {
            return None;
        }
        state.next += 1;
        let (scenario, seed) = self.options.case(&self.scenarios, n);
        Some((n, scenario, seed))
    }

    /// Runs a case in processes of its own, and counts it.
    fn keep(&self, n: u64, scenario: &Scenario, seed: u64) {
        let room = self.directory.join(format!("c{n}"));
        let log = self.directory.join(format!("c{n}.log"));
        let outcome = (|| {
            self.templates_for(seed)?;
            fs::create_dir(&room)?;
            fs::set_permissions(&room, Permissions::from_mode(0o755))?;
            let output = File::create(&log)?;
            this_program(["keep", scenario.name, &seed.to_string()])
                .env("TMPDIR", &room)
                // A panic says where it was; more would hide the rest.
                .env("RUST_BACKTRACE", "0")
                .env(TEMPLATES, self.templates())
                .stdout(output.try_clone()?)
                .stderr(output)
                .status()
                .map_err(Loss::from)
        })();
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let faults = text
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(FAULTS)?.parse().ok());
        let is_loss = !outcome.as_ref().is_ok_and(|status| status.success()) || faults.is_none();

        let mut state = self.state();
        state
            .tally
            .count(scenario.name, faults.unwrap_or_default(), is_loss);
        if is_loss {
            let name = scenario.name;
            println!("\rLOSS in {name}; to repeat it: --only {name} --seed {seed}");
            if let Err(error) = outcome {
                println!("    {error}");
            }
            let lines: Vec<_> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(40)..] {
                println!("    {line}");
            }
        }
        self.tell(&mut state);
        drop(state);
        let _ = fs::remove_file(log);
        let _ = fs::remove_dir_all(room);
    }

    fn templates(&self) -> Utf8PathBuf {
        self.directory.join("templates")
    }

    fn templates_for(&self, seed: u64) -> Result<(), Loss> {
        let n = server_of(seed, self.servers.len());
        let Made { server, is_made } = &self.servers[n];
        let mut is_made = is_made.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_made {
            make_templates(server, &self.templates().join(n.to_string()))?;
            *is_made = true;
        }
        Ok(())
    }

    /// How far it is: always on a terminal, in a log once a minute.
    fn tell(&self, state: &mut State) {
        let line = state.tally.brief(self.begun.elapsed());
        if std::io::stdout().is_terminal() {
            print!("\r{line} ");
            let _ = std::io::stdout().flush();
        } else if state.told.elapsed() >= Duration::from_secs(60) {
            println!("{line}");
            state.told = Instant::now();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One case, as the process for it.
pub(crate) fn case(scenario: &str, seed: &str) -> ExitCode {
    let (Some(scenario), Ok(seed)) = (scenarios::find(scenario), seed.parse()) else {
        println!("there is no such case");
        return ExitCode::FAILURE;
    };
    // A panic is a loss, and its message is printed already.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut rng = Rng::new(seed);
        let mut servers = servers();
        let server = server_of(seed, servers.len());
        let templates = Utf8PathBuf::from(std::env::var(TEMPLATES).unwrap_or_default());
        let templates = templates.join(server.to_string());
        let scene = Scene::new(servers.swap_remove(server), templates, Isolation::of_case());
        println!("PostgreSQL {}", scene.server.version());
        (scenario.run)(&mut rng, &scene)?;
        scene.close()
    }));
    match outcome {
        Ok(Ok(faults)) => {
            println!("{FAULTS}{faults}");
            ExitCode::SUCCESS
        }
        Ok(Err(loss)) => {
            println!("{loss}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// Which server a case is about.
fn server_of(seed: u64, servers: usize) -> usize {
    Rng::new(!seed).index(servers)
}

/// A data directory, and a cache with the template for temporary clusters.
fn make_templates(server: &Installation, place: &Utf8Path) -> Result<(), Loss> {
    let storage = place.join("storage");
    fs::create_dir_all(&storage)?;
    let mut options = init_options();
    if server.version().major() >= 11 {
        options = options.wal_segment_megabytes(1);
    }
    Cluster::new(server.clone(), place.join("data"))?.init(&options)?;
    TempCluster::builder()
        .installation(server.clone())
        .cache_directory(place.join("cache"))
        .storage(Storage::Directory(storage))
        .start()?;
    Ok(())
}

/// Not by its path: another file system may be mounted over it.
fn this_program<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).stdin(Stdio::null());
    command
}
