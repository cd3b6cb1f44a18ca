//! Other libraries that create servers for tests.
//!
//! Each runs in a separate process and environment, so none is a dependency of this workspace. The
//! adapters are in `benches/peers`.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::temp::lives::{Ground, Life, as_server_account};

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Peer {
    name: String,
    /// The file for standard error.
    errors: Utf8PathBuf,
    /// The process, or the reason why it could not be started.
    process: Result<Process, String>,
}

struct Process {
    child: Child,
    turns: ChildStdin,
    answers: Receiver<String>,
}

impl Peer {
    /// Fetches and builds the libraries in `room`, unless an earlier run did. They use the storage
    /// of `ground`, and run as the account of the servers, because none of them supports root.
    pub(crate) fn all(ground: &Ground, room: &Utf8Path) -> Vec<Self> {
        fs::create_dir_all(room).expect("a directory for the peers");
        let python = python(room);
        let start = |library: &Library| {
            eprintln!("==> {} {}", library.name, library.version);
            let home = ground.fresh("peer");
            let errors = home.join("errors");
            let start = || {
                let command = library.prepare(room, &python, ground.bin())?;
                let errors = File::create(&errors)?;
                Process::start(&command, ground.bin(), &home, errors)
                    .with_context(|| command[0].clone())
            };
            Self {
                name: format!("{} {}", library.name, library.version),
                process: start().map_err(|error| format!("{error:#}")),
                errors,
            }
        };
        LIBRARIES.iter().map(start).collect()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs one turn, or returns the reason for its failure. The peer is not run again after that.
    pub(crate) fn turn(&mut self) -> Result<Life, String> {
        let process = self.process.as_mut().map_err(|reason| reason.clone())?;
        process.turn().map_err(|reason| {
            let reason = reason.unwrap_or_else(|| self.last_words());
            self.process = Err(reason.clone());
            reason
        })
    }

    fn last_words(&self) -> String {
        let errors = fs::read(&self.errors).unwrap_or_default();
        let errors = String::from_utf8_lossy(&errors);
        let said = errors
            .lines()
            .rfind(|line| !line.trim().is_empty() && !line.starts_with("note: "));
        said.unwrap_or("the process exited without a message")
            .trim()
            .to_owned()
    }
}

impl Process {
    fn start(
        command: &[String],
        bin: &Utf8Path,
        home: &Utf8Path,
        errors: File,
    ) -> io::Result<Self> {
        let mut program = Command::new(&command[0]);
        as_server_account(&mut program);
        let mut child = program
            .args(&command[1..])
            .arg(bin)
            .current_dir(home)
            .env("HOME", home)
            .env("TMPDIR", home)
            .env("LC_ALL", "C")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        let (sender, answers) = channel();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Self {
            turns: child.stdin.take().expect("a pipe"),
            child,
            answers,
        })
    }

    /// Runs one turn. The error is `None` if the process exited and printed the reason to standard
    /// error.
    fn turn(&mut self) -> Result<Life, Option<String>> {
        self.turns.write_all(b"go\n").map_err(|_| None)?;
        loop {
            let line = self
                .answers
                .recv_timeout(PATIENCE)
                .map_err(|error| match error {
                    RecvTimeoutError::Timeout => {
                        Some(format!("no answer for {} seconds", PATIENCE.as_secs()))
                    }
                    RecvTimeoutError::Disconnected => None,
                })?;
            if let Some(life) = life(&line) {
                return Ok(life);
            }
        }
    }
}

struct Library {
    /// The name in the registry.
    name: &'static str,
    version: &'static str,
    adapter: &'static str,
    language: Language,
}

enum Language {
    Python,
    /// A crate, with the options of the dependency.
    Rust(&'static str),
}

const LIBRARIES: [Library; 5] = [
    Library {
        name: "pgtemp",
        version: "0.7.1",
        adapter: include_str!("../../peers/pgtemp.rs"),
        language: Language::Rust(""),
    },
    Library {
        name: "postgresql_embedded",
        version: "0.22.0",
        adapter: include_str!("../../peers/postgresql_embedded.rs"),
        language: Language::Rust("default-features = false, features = [\"blocking\"]"),
    },
    Library {
        name: "testing.postgresql",
        version: "1.3.0",
        adapter: include_str!("../../peers/testing.postgresql.py"),
        language: Language::Python,
    },
    Library {
        name: "pytest-postgresql",
        version: "9.1.1",
        adapter: include_str!("../../peers/pytest-postgresql.py"),
        language: Language::Python,
    },
    Library {
        name: "py-postgresql",
        version: "1.3.1",
        adapter: include_str!("../../peers/py-postgresql.py"),
        language: Language::Python,
    },
];

const TURNS_IN_PYTHON: &str = include_str!("../../peers/turns.py");
const TURNS_IN_RUST: &str = include_str!("../../peers/turns.rs");
/// The other dependencies of the adapters.
const CLIENTS_IN_PYTHON: [&str; 2] = ["psycopg[binary]==3.3.9", "port-for==1.1.1"];
const CLIENTS_IN_RUST: &str = "postgres = \"=0.19.14\"";

impl Library {
    /// Returns the command that runs the adapter.
    fn prepare(
        &self,
        room: &Utf8Path,
        python: &Result<Utf8PathBuf>,
        bin: &Utf8Path,
    ) -> Result<Vec<String>> {
        match (&self.language, python) {
            (Language::Python, Ok(python)) => self.python(room, python, bin),
            (Language::Python, Err(reason)) => anyhow::bail!("{reason:#}"),
            (Language::Rust(options), _) => self.rust(room, options),
        }
    }

    fn python(&self, room: &Utf8Path, python: &Utf8Path, bin: &Utf8Path) -> Result<Vec<String>> {
        if self.name == "py-postgresql" {
            anyhow::ensure!(bin.join("pg_config").exists(), "pg_config is required");
        }
        let script = room.join(format!("{}.py", self.name));
        fs::write(&script, self.adapter)?;
        Ok(vec![python.to_string(), script.to_string()])
    }

    fn rust(&self, room: &Utf8Path, options: &str) -> Result<Vec<String>> {
        let project = room.join(self.name);
        fs::create_dir_all(project.join("src"))?;
        let Library { name, version, .. } = self;
        let comma = if options.is_empty() { "" } else { ", " };
        let manifest = format!(
            "[package]\nname = \"{name}-turns\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [dependencies]\n{CLIENTS_IN_RUST}\n\
             {name} = {{ version = \"={version}\"{comma}{options} }}\n"
        );
        fs::write(project.join("Cargo.toml"), manifest)?;
        fs::write(project.join("src/main.rs"), self.adapter)?;
        fs::write(project.join("src/turns.rs"), TURNS_IN_RUST)?;
        let target = room.join("target");
        let mut cargo = Command::new("cargo");
        cargo
            .args([
                "build",
                "--release",
                "--quiet",
                "--target-dir",
                target.as_str(),
            ])
            .current_dir(&project);
        run(&mut cargo)?;
        Ok(vec![
            target.join(format!("release/{name}-turns")).to_string(),
        ])
    }
}

/// Returns the interpreter of an environment with all peers in Python.
fn python(room: &Utf8Path) -> Result<Utf8PathBuf> {
    let environment = room.join("python");
    let python = environment.join("bin/python");
    let of_python = |peer: &&Library| matches!(peer.language, Language::Python);
    let peers = LIBRARIES
        .iter()
        .filter(of_python)
        .map(|peer| format!("{}=={}", peer.name, peer.version));
    let wanted: Vec<_> = peers.chain(CLIENTS_IN_PYTHON.map(str::to_owned)).collect();
    fs::write(room.join("turns.py"), TURNS_IN_PYTHON)?;
    // This file is written last, so an environment that contains it is complete.
    let list = environment.join("requirements.txt");
    if fs::read_to_string(&list).is_ok_and(|text| text == wanted.join("\n")) {
        return Ok(python);
    }
    let open_python = open_python()?;
    let python_itself = || Command::new(open_python);
    run(python_itself().args([
        "-m",
        "venv",
        "--clear",
        "--without-pip",
        environment.as_str(),
    ]))?;
    // The pip on PATH may belong to another Python than the one that other accounts can execute.
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "--python",
            python.as_str(),
            "install",
            "--quiet",
            "--no-input",
        ])
        .arg("--disable-pip-version-check")
        .args(&wanted))?;
    fs::write(&list, wanted.join("\n"))?;
    Ok(python)
}

/// Returns a Python that the account of the servers can execute. It cannot execute one in root's
/// home directory, such as that of pyenv.
fn open_python() -> Result<&'static str> {
    let is_open = |name: &&str| {
        let mut command = Command::new(name);
        as_server_account(&mut command);
        run(command.arg("--version").current_dir("/")).is_ok()
    };
    ["python3", "/usr/bin/python3", "/usr/local/bin/python3"]
        .into_iter()
        .find(is_open)
        .context("the account of the servers cannot execute any python3")
}

/// Runs a program. The error contains the line of its output that most likely gives the reason.
fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {program}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let is_error = |line: &&str| line.to_ascii_lowercase().starts_with("error");
        let line = text.lines().find(is_error).or(text.lines().last());
        anyhow::bail!(
            "{}",
            line.unwrap_or("the program failed without a message")
                .trim()
        );
    }
    Ok(output)
}

/// Parses a line such as `took: 0.5 0.6`.
fn life(line: &str) -> Option<Life> {
    let (create, whole) = line.strip_prefix("took: ")?.split_once(' ')?;
    let duration = |text: &str| Some(Duration::from_secs_f64(text.parse().ok()?));
    Some(Life {
        create: duration(create)?,
        whole: duration(whole)?,
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
