//! What the server of a test has said: waiting for a message, the statements it was sent, and the
//! end of the log beside the panic of a failing test.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{LogError, LogMark, ServerMessage};
use pg_proc::Log;

use crate::builder::TempClusterBuilder;
use crate::error::TempErrorKind;
use crate::shared::LOG;
use crate::temp_cluster::TempCluster;

/// What is printed to standard error if a [`TempCluster`] is dropped while its thread panics, as in
/// a failing test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnPanic {
    /// The end of the server's log: at most 100 lines and 16 KiB.
    #[default]
    PrintLog,
    /// Nothing of the log.
    Silent,
}

/// The number of lines or bytes of a log that are printed.
const MOST_LINES: usize = 100;
const MOST_BYTES: usize = 16 << 10;
/// The size of the log that is kept in memory, for waits for a message.
pub(crate) const KEPT: usize = 1 << 20;

/// The settings by which statements are logged so that [`TempCluster::statements`] can read them.
const STATEMENTS: [(&str, &str); 7] = [
    ("log_statement", "all"),
    ("log_line_prefix", "%m [%p] %q%d "),
    ("log_min_messages", "warning"),
    ("log_error_verbosity", "default"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("lc_messages", "C"),
];

/// A statement that a server was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statement {
    /// The database of the session.
    pub database: String,
    /// The text, with parameters as `$1`. Several statements that were sent in one simple query are
    /// one text.
    pub text: String,
    /// The parameters of a prepared statement, as the server writes them: `$1 = '7', $2 = NULL`.
    pub parameters: Option<String>,
}

/// The statements that a server was sent cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("failed to list the statements of the temporary cluster {path}")]
pub struct StatementsError {
    path: Utf8PathBuf,
    #[source]
    kind: StatementsErrorKind,
}

/// The reason of a [`StatementsError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementsErrorKind {
    /// The logging of statements was not enabled in the builder.
    #[error("statements are not logged")]
    NotLogged,
    /// Memory did not keep this many bytes of the log.
    #[error("{0} bytes of the log were dropped from memory")]
    Missed(u64),
    /// The log cannot be read.
    #[error(transparent)]
    Log(LogError),
}

impl StatementsError {
    pub(crate) fn new(path: Utf8PathBuf, kind: StatementsErrorKind) -> Self {
        Self { path, kind }
    }

    /// The directory of the cluster.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The reason.
    pub fn kind(&self) -> &StatementsErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            StatementsErrorKind::NotLogged => {
                Some("use `TempClusterBuilder::log_statements`".into())
            }
            StatementsErrorKind::Missed(_) => {
                Some("leave out `TempClusterBuilder::log`, or give it a file".into())
            }
            StatementsErrorKind::Log(error) => error.hint(),
        }
    }
}

impl TempClusterBuilder {
    /// Has the server log every statement, for [`TempCluster::statements`]. The log is kept in a
    /// file of the cluster unless [`log`](Self::log) names another, and `log_statement`,
    /// `log_line_prefix` and five other settings of logging are set and cannot be set otherwise.
    pub fn log_statements(mut self) -> Self {
        self.logs_statements = true;
        self
    }

    /// Sets what is printed if the cluster is dropped while its thread panics. Unless set, this is
    /// the end of the server's log.
    pub fn on_panic(mut self, choice: OnPanic) -> Self {
        self.on_panic = choice;
        self
    }

    pub(crate) fn check_log(&self) -> Result<(), TempErrorKind> {
        if !self.logs_statements {
            return Ok(());
        }
        let refuse = |problem: String| Err(TempErrorKind::Option(problem));
        let is_ours = |name: &str| STATEMENTS.iter().any(|(ours, _)| is_same(ours, name));
        if let Some((name, _)) = self.settings.iter().find(|(name, _)| is_ours(name)) {
            return refuse(format!("{name} cannot be set where statements are logged"));
        }
        if matches!(self.log, Some(Log::Inherit | Log::Null)) {
            return refuse("statements are logged, and the log is not kept".to_owned());
        }
        Ok(())
    }

    /// The settings of logging.
    pub(crate) fn log_settings(&self) -> &'static [(&'static str, &'static str)] {
        if self.logs_statements {
            &STATEMENTS
        } else {
            &[]
        }
    }

    /// Where the log goes, of a cluster with this data directory.
    pub(crate) fn log_destination(&self, data_directory: &Utf8Path) -> Option<Log> {
        match &self.log {
            Some(log) => Some(log.clone()),
            None if self.is_detached() => None,
            // In a pipe long statements of several sessions would be mixed up.
            None if self.logs_statements => Some(Log::File(data_directory.join(LOG))),
            None => Some(Log::Tail(KEPT)),
        }
    }
}

/// Returns whether two names denote the same setting (`guc_name_compare`; `ParseLongOption` for the
/// dash).
pub(crate) fn is_same(ours: &str, given: &str) -> bool {
    given.replace('-', "_").eq_ignore_ascii_case(ours)
}

impl TempCluster {
    /// The current end of the server's log, to [wait](Self::wait_for_message) for what comes after
    /// it.
    ///
    /// # Errors
    ///
    /// Fails if the log is not kept or cannot be read.
    pub fn log_mark(&self) -> Result<LogMark, LogError> {
        self.cluster.log_mark()
    }

    /// Waits until the server has logged a message that contains these words, in its text, DETAIL,
    /// HINT or CONTEXT, and returns it. All that the server has logged since its start counts.
    ///
    /// The caller sleeps until the server writes. Of a log in memory, the default, the last 1 MiB
    /// is kept.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = pg_fixture::TempCluster::builder().setting("log_connections", "on").start()?;
    /// // ... the code under test connects ...
    /// server.wait_for_log("connection authorized", Duration::from_secs(10))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if no such message comes within the timeout, as soon as the server exits without one,
    /// if a log collector (`logging_collector`) writes the log, and if the log is not kept.
    pub fn wait_for_log(&self, words: &str, timeout: Duration) -> Result<ServerMessage, LogError> {
        self.wait_for_message(LogMark::beginning(), timeout, |message| {
            message.contains(words)
        })
    }

    /// Waits until the server has logged a message that `matches` accepts, after a
    /// [mark](Self::log_mark) or from the [beginning](LogMark::beginning) of its log on, and
    /// returns the message.
    ///
    /// # Errors
    ///
    /// Fails as [`wait_for_log`](Self::wait_for_log) does.
    pub fn wait_for_message(
        &self,
        mark: LogMark,
        timeout: Duration,
        matches: impl FnMut(&ServerMessage) -> bool,
    ) -> Result<ServerMessage, LogError> {
        self.cluster.wait_for_log(mark, timeout, matches)
    }

    /// The statements that the server was sent since its last start, by all sessions and in all
    /// databases, in the order in which they were logged; for tests that count queries. Takes
    /// [`log_statements`](TempClusterBuilder::log_statements).
    ///
    /// They are read from the log. A statement is logged before it is executed, so those whose
    /// results a client has seen are there. Not among them are statements with a syntax error, and
    /// further rows fetched of a result. Statements within functions are not sent by clients.
    ///
    /// # Errors
    ///
    /// Fails if the builder did not enable statement logging, or the log cannot be read or is not
    /// complete.
    pub fn statements(&self) -> Result<Vec<Statement>, StatementsError> {
        self.statements_since(LogMark::beginning())
    }

    /// The [statements](Self::statements) since a [mark](Self::log_mark).
    ///
    /// # Errors
    ///
    /// Fails as [`statements`](Self::statements) does.
    pub fn statements_since(&self, mark: LogMark) -> Result<Vec<Statement>, StatementsError> {
        let failed = |kind| StatementsError::new(self.path().to_owned(), kind);
        if !self.log_use.has_statements {
            return Err(failed(StatementsErrorKind::NotLogged));
        }
        let excerpt = self.cluster.log_since(mark);
        let excerpt = excerpt.map_err(|error| failed(StatementsErrorKind::Log(error)))?;
        if excerpt.missed > 0 {
            return Err(failed(StatementsErrorKind::Missed(excerpt.missed)));
        }
        Ok(read_statements(&excerpt.text))
    }

    /// Prints the end of the log beside the message of a panic.
    pub(crate) fn explain_panic(&self) {
        if self.log_use.on_panic == OnPanic::PrintLog && std::thread::panicking() {
            let log = self.cluster.log_tail().unwrap_or_default();
            print(&format!(
                "the log of the temporary cluster {}{}",
                self.path(),
                indented_end(&log)
            ));
        }
    }
}

/// The use that a temporary cluster makes of its log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogUse {
    pub(crate) has_statements: bool,
    pub(crate) on_panic: OnPanic,
}

/// Prints to standard error, and ignores a failure to write: `eprintln!` panics then, which
/// aborts the process if another panic is unwinding.
#[expect(
    clippy::print_stderr,
    reason = "a test that fails has no other place to say why"
)]
pub(crate) fn print(text: &str) {
    let _ = std::panic::catch_unwind(|| eprintln!("{text}"));
}

fn indented_end(log: &str) -> String {
    let log = log.trim_end();
    if log.is_empty() {
        return " is empty".to_owned();
    }
    let mut begin = log.len().saturating_sub(MOST_BYTES);
    while !log.is_char_boundary(begin) {
        begin += 1;
    }
    let lines: Vec<&str> = log[begin..].lines().collect();
    let shown = &lines[lines.len().saturating_sub(MOST_LINES)..];
    let is_whole = begin == 0 && shown.len() == lines.len();
    let mut text = if is_whole { ":" } else { " ends so:" }.to_owned();
    for line in shown {
        let _ = write!(text, "\n    {line}");
    }
    text
}

/// Reads the statements of a log with our [prefix](STATEMENTS) (`check_log_statement`,
/// `exec_simple_query` and `exec_execute_message` in src/backend/tcop/postgres.c).
fn read_statements(log: &str) -> Vec<Statement> {
    enum Open {
        Nothing,
        Text,
        Parameters,
    }
    let mut statements: Vec<Statement> = Vec::new();
    let mut open = Open::Nothing;
    for line in log.lines() {
        // Line breaks within a message are followed by a tab (`append_with_tabs`).
        if let Some(more) = line.strip_prefix('\t') {
            if let Some(last) = statements.last_mut() {
                match (&open, &mut last.parameters) {
                    (Open::Text, _) => last.text += &format!("\n{more}"),
                    (Open::Parameters, Some(parameters)) => *parameters += &format!("\n{more}"),
                    _ => {}
                }
            }
            continue;
        }
        open = Open::Nothing;
        let Some((_, session)) = line.split_once("] ") else {
            continue;
        };
        if let Some((database, said)) = session.split_once(" LOG:  ") {
            let text = said.strip_prefix("statement: ").or_else(|| {
                let (_, text) = said
                    .strip_prefix("execute ")
                    .filter(|said| !said.starts_with("fetch from "))?
                    .split_once(": ")?;
                Some(text)
            });
            if let Some(text) = text {
                open = Open::Text;
                statements.push(Statement {
                    database: database.to_owned(),
                    text: text.to_owned(),
                    parameters: None,
                });
            }
        } else if let Some((_, said)) = session.split_once(" DETAIL:  ")
            // With a small letter before PostgreSQL 16.
            && let Some(parameters) = ["parameters: ", "Parameters: "]
                .iter()
                .find_map(|word| said.strip_prefix(word))
            && let Some(last) = statements.last_mut()
        {
            open = Open::Parameters;
            last.parameters = Some(parameters.to_owned());
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_whole_and_nothing_else_is() {
        let log = "2026-11-25 17:00:00.000 UTC [7] LOG:  database system is ready\n\
                   2026-11-25 17:00:00.000 UTC [8] app LOG:  statement: SELECT 1,\n\t'a] LOG:  b'\n\
                   2026-11-25 17:00:00.000 UTC [9] my db LOG:  execute s1: SELECT $1\n\
                   2026-11-25 17:00:00.000 UTC [9] my db DETAIL:  Parameters: $1 = 'x\n\ty'\n\
                   2026-11-25 17:00:00.000 UTC [9] my db LOG:  execute fetch from s1: SELECT $1\n\
                   2026-11-25 17:00:00.000 UTC [8] app ERROR:  division by zero\n\
                   2026-11-25 17:00:00.000 UTC [8] app STATEMENT:  SELECT 1/0\n\tLOG:  no\n";
        let read = read_statements(log);
        assert_eq!(read.len(), 2, "{read:#?}");
        assert_eq!(read[0].database, "app");
        assert_eq!(read[0].text, "SELECT 1,\n'a] LOG:  b'");
        assert_eq!(read[0].parameters, None);
        assert_eq!(read[1].database, "my db");
        assert_eq!(read[1].text, "SELECT $1");
        assert_eq!(read[1].parameters.as_deref(), Some("$1 = 'x\ny'"));
    }

    #[test]
    fn what_is_printed_is_bounded() {
        assert_eq!(indented_end("\n"), " is empty");
        assert_eq!(indented_end("a\nb\n"), ":\n    a\n    b");
        let many = indented_end(&"line\n".repeat(1000));
        assert_eq!(many.lines().count(), MOST_LINES + 1);
        let long = indented_end(&"é".repeat(1 << 20));
        assert!(long.len() < MOST_BYTES + 100, "{}", long.len());
    }
}
