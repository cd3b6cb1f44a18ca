//! Progress: bars on a terminal, plain lines otherwise.

use std::io::{IsTerminal, Read};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

#[derive(Clone)]
pub(crate) struct Progress {
    bars: Option<MultiProgress>,
}

/// The progress of one package.
pub(crate) struct Task {
    name: String,
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress {
            bars: std::io::stderr().is_terminal().then(MultiProgress::new),
        }
    }

    pub(crate) fn task(&self, name: impl ToString) -> Task {
        let name = name.to_string();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Task {
            name,
            bar,
            started: Instant::now(),
        }
    }
}

impl Task {
    /// A step of unknown length.
    pub(crate) fn step(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => eprintln!("{}: {what}", self.name),
        }
    }

    /// A step measured by the bytes that are read from `input`.
    pub(crate) fn reading<R: Read>(&self, input: R, size: u64) -> impl Read + use<R> {
        let bar = self.bar.clone().unwrap_or_else(ProgressBar::hidden);
        bar.set_style(bytes_style());
        bar.set_length(size);
        bar.set_position(0);
        bar.wrap_read(input)
    }

    pub(crate) fn read(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    pub(crate) fn done(self) {
        let message = format!("ready after {:.1} s", self.started.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.finish_with_message(message),
            None => eprintln!("{}: {message}", self.name),
        }
    }
}

impl Drop for Task {
    /// A failed task's bar must not go on turning under the error message.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

fn bytes_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {msg} [{bar:30}] {bytes}/{total_bytes}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
