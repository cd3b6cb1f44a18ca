//! Programs that tests start to kill them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A program that tells by lines how far it has come, and waits for the end of its input if it has
/// nothing to do. Killed when dropped.
#[derive(Debug)]
pub struct Victim {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Victim {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it cannot be started, as everything here that goes wrong with the program itself.
    pub fn spawn(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        Self { process, output }
    }

    /// The next line that it prints; empty if it ends before.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// Gives it a line.
    pub fn say(&mut self, line: &str) {
        if let Some(input) = &mut self.process.stdin {
            // It may be dead already.
            let _ = writeln!(input, "{line}");
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("a child").is_some()
    }

    /// Kills it, and returns what it had printed and nobody had read.
    pub fn kill(mut self) -> String {
        self.process.kill().expect("a child");
        self.process.wait().expect("a child");
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        rest
    }

    /// Lets it end by itself, and returns what it still prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn finish(mut self) -> String {
        drop(self.process.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        assert!(self.process.wait().expect("a child").success());
        rest
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
