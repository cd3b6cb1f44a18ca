//! A line on the terminal while something takes longer than half a second.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The time before progress is shown.
const SILENCE: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(100);
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// Shows what is being done, until it is dropped. Without a terminal at standard error nothing is
/// shown.
#[derive(Debug)]
pub(crate) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    pub(crate) fn of(what: impl Into<String>) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if is_dumb || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let what = what.into();
        let (stop, stopped) = mpsc::channel::<()>();
        let show = move || {
            let begun = Instant::now();
            let mut pause = SILENCE;
            let mut frames = FRAMES.iter().cycle();
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = TICK;
                let seconds = begun.elapsed().as_secs_f64();
                let frame = frames.next().unwrap_or(&' ');
                say(&format!("\r{frame} {what} ({seconds:.1} s)"));
            }
            if pause == TICK {
                // Back to the first column, and the line erased.
                say("\r\x1b[K");
            }
        };
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(show);
        Self(thread.ok().map(|thread| (stop, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// A terminal that has gone does not matter.
fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
