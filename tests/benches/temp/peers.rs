//! Other libraries, each in a process of its own that takes its turn when it is told to: see
//! `xtask/peers`.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::lives::{Ground, Life, as_server_account};

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Peer {
    name: String,
    /// Where its standard error goes.
    errors: Utf8PathBuf,
    /// Or why there is none.
    process: Result<Process, String>,
}

struct Process {
    child: Child,
    turns: ChildStdin,
    answers: Receiver<String>,
}

impl Peer {
    /// Those of `BENCH_PEERS`, which `cargo xtask bench --peers` sets. They put their files where
    /// ours are, and run as the account of the servers, since none of them can do as root.
    pub(crate) fn all(ground: &Ground) -> Vec<Self> {
        let Ok(text) = std::env::var("BENCH_PEERS") else {
            return Vec::new();
        };
        let peers: Vec<(String, Vec<String>, Option<String>)> =
            serde_json::from_str(&text).expect("names, commands, and reasons for there being none");
        let start = |(name, command, not_run): (String, Vec<String>, Option<String>)| {
            let home = ground.fresh("peer");
            let errors = home.join("errors");
            let start = || {
                let errors = File::create(&errors).unwrap();
                let started = Process::start(&command, ground.bin(), &home, errors);
                started.map_err(|error| format!("{}: {error}", command[0]))
            };
            let process = not_run.map_or_else(start, Err);
            Self {
                name,
                errors,
                process,
            }
        };
        peers.into_iter().map(start).collect()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Or why it could not, which it will not be able to in the next round either.
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
        said.unwrap_or("it ended without a word").trim().to_owned()
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

    /// Fails without a reason if the process has ended and said it elsewhere.
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

/// `took: 0.5 0.6`
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
