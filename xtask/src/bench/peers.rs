//! Other libraries that make servers for tests: each in an environment of its own in the cache,
//! none a dependency of anything here.
//!
//! What drives them is in `xtask/peers`; `tests/benches/temp` has them take their turns.

use std::fs;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::postgres::{Cache, Client, Server, closed_ancestor};
use crate::workspace;

struct Peer {
    /// As the registry has it.
    name: &'static str,
    version: &'static str,
    adapter: &'static str,
    language: Language,
}

enum Language {
    Python,
    /// With the dependency's options.
    Rust(&'static str),
}

const PEERS: [Peer; 5] = [
    Peer {
        name: "pgtemp",
        version: "0.7.1",
        adapter: include_str!("../../peers/pgtemp.rs"),
        language: Language::Rust(""),
    },
    Peer {
        name: "postgresql_embedded",
        version: "0.22.0",
        adapter: include_str!("../../peers/postgresql_embedded.rs"),
        language: Language::Rust("default-features = false, features = [\"blocking\"]"),
    },
    Peer {
        name: "testing.postgresql",
        version: "1.3.0",
        adapter: include_str!("../../peers/testing.postgresql.py"),
        language: Language::Python,
    },
    Peer {
        name: "pytest-postgresql",
        version: "9.1.1",
        adapter: include_str!("../../peers/pytest-postgresql.py"),
        language: Language::Python,
    },
    Peer {
        name: "py-postgresql",
        version: "1.3.1",
        adapter: include_str!("../../peers/py-postgresql.py"),
        language: Language::Python,
    },
];

const TURNS_IN_PYTHON: &str = include_str!("../../peers/turns.py");
const TURNS_IN_RUST: &str = include_str!("../../peers/turns.rs");
/// What the adapters use beside the peers.
const CLIENTS_IN_PYTHON: [&str; 2] = ["psycopg[binary]==3.3.9", "port-for==1.1.1"];
const CLIENTS_IN_RUST: &str = "postgres = \"=0.19.14\"";

/// Fetches and builds them, unless an earlier run did. The result is what `tests/benches/temp`
/// takes: names, and for each a command, or why there is none.
pub(super) fn prepare(server: &Server) -> Result<String> {
    let room = Cache::open()?.root().join("peers");
    fs::create_dir_all(&room).with_context(|| format!("failed to create {room}"))?;
    let python = python(&room).map_err(|error| format!("{error:#}"));
    let prepare = |peer: &Peer| {
        eprintln!("==> {} {}", peer.name, peer.version);
        let command = match (&peer.language, &python) {
            (Language::Python, Ok(python)) => peer.python(&room, python, server),
            (Language::Python, Err(reason)) => return Err(reason.clone()),
            (Language::Rust(options), _) => peer.rust(&room, options),
        };
        command.map_err(|error| format!("{error:#}"))
    };
    let describe = |peer: &Peer| {
        let (command, reason) = match prepare(peer) {
            Ok(command) => (command, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        (format!("{} {}", peer.name, peer.version), command, reason)
    };
    let peers: Vec<_> = PEERS.iter().map(describe).collect();
    Ok(serde_json::to_string(&peers)?)
}

impl Peer {
    fn python(&self, room: &Utf8Path, python: &Utf8Path, server: &Server) -> Result<Vec<String>> {
        if self.name == "py-postgresql" {
            anyhow::ensure!(server.is_complete(), "it needs pg_config");
        }
        let script = room.join(format!("{}.py", self.name));
        fs::write(&script, self.adapter)?;
        Ok(vec![python.to_string(), script.to_string()])
    }

    fn rust(&self, room: &Utf8Path, options: &str) -> Result<Vec<String>> {
        let project = room.join(self.name);
        fs::create_dir_all(project.join("src"))?;
        let Peer { name, version, .. } = self;
        let comma = if options.is_empty() { "" } else { ", " };
        let manifest = format!(
            "[package]\nname = \"{name}-turns\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [dependencies]\n{CLIENTS_IN_RUST}\n{name} = {{ version = \"={version}\"{comma}{options} }}\n"
        );
        fs::write(project.join("Cargo.toml"), manifest)?;
        fs::write(project.join("src/main.rs"), self.adapter)?;
        fs::write(project.join("src/turns.rs"), TURNS_IN_RUST)?;
        let target = room.join("target");
        let mut cargo = workspace::cargo();
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

/// The interpreter of an environment that has all peers of Python.
fn python(room: &Utf8Path) -> Result<Utf8PathBuf> {
    let environment = room.join("python");
    let python = environment.join("bin/python");
    let of_python = |peer: &&Peer| matches!(peer.language, Language::Python);
    let peers = PEERS
        .iter()
        .filter(of_python)
        .map(|peer| format!("{}=={}", peer.name, peer.version));
    let wanted: Vec<_> = peers.chain(CLIENTS_IN_PYTHON.map(str::to_owned)).collect();
    fs::write(room.join("turns.py"), TURNS_IN_PYTHON)?;
    // Written last, so that an environment with it is whole.
    let list = environment.join("requirements.txt");
    if fs::read_to_string(&list).is_ok_and(|text| text == wanted.join("\n")) {
        return Ok(python);
    }
    let pip = Client::Pip.find().context("there is no pip")?;
    let mut venv = Command::new(open_python()?);
    run(venv.args([
        "-m",
        "venv",
        "--clear",
        "--without-pip",
        environment.as_str(),
    ]))?;
    let mut install = pip.command();
    install
        .args([
            "--python",
            python.as_str(),
            "install",
            "--quiet",
            "--no-input",
        ])
        .arg("--disable-pip-version-check")
        .args(&wanted);
    run(&mut install)?;
    fs::write(&list, wanted.join("\n"))?;
    Ok(python)
}

/// A Python that the account of the servers may execute. One in root's home, as pyenv's, it may
/// not.
fn open_python() -> Result<Utf8PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    let real = |name: &str| {
        let script = "import os, sys; print(os.path.realpath(sys.executable))";
        let output = run(Command::new(name).args(["-c", script])).ok()?;
        let path = Utf8PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        (!is_root || closed_ancestor(&path).is_none()).then_some(path)
    };
    ["python3", "/usr/bin/python3", "/usr/local/bin/python3"]
        .into_iter()
        .find_map(real)
        .context("there is no python3 that the account of the servers may execute")
}

/// Fails with the line of what the program wrote that is most likely to say why.
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
        anyhow::bail!("{}", line.unwrap_or("it failed without a word").trim());
    }
    Ok(output)
}
