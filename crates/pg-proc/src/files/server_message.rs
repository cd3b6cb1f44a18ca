//! The messages of servers and their programs, in each format of a log.

use std::fmt;

use crate::files::replication_problem::BackupProgress;

/// The severity of a message (`src/include/utils/elog.h`), from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// `DEBUG` and `DEBUG1` to `DEBUG5`.
    Debug,
    /// `LOG`.
    Log,
    /// `INFO`.
    Info,
    /// `NOTICE`.
    Notice,
    /// `WARNING`, and `warning:` of a client program.
    Warning,
    /// `ERROR`, and `error:` of a client program.
    Error,
    /// `FATAL`, and `fatal:` of a client program before PostgreSQL 14.
    Fatal,
    /// `PANIC`.
    Panic,
}

/// A message of a server, or of a program such as `initdb`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerMessage {
    /// The severity. None in languages other than English outside of `csvlog` and `jsonlog`, and
    /// for a line that is not a message.
    pub severity: Option<Severity>,
    /// The message itself, without time, process and severity.
    pub message: String,
    /// `DETAIL`.
    pub detail: Option<String>,
    /// `HINT`.
    pub hint: Option<String>,
    /// `CONTEXT`.
    pub context: Option<String>,
}

impl ServerMessage {
    /// Reads all messages of a log or of the standard error of a program: plain text with any
    /// `log_line_prefix`, `csvlog` and `jsonlog`, also mixed. A record whose beginning is cut off
    /// is skipped line by line.
    ///
    /// (`send_message_to_server_log` in src/backend/utils/error/elog.c, `write_csvlog` in csvlog.c,
    /// `write_jsonlog` in jsonlog.c, `pg_log_generic_v` in src/common/logging.c.)
    ///
    /// ```
    /// use pg_proc::{ServerMessage, Severity};
    ///
    /// let log = "[7] FATAL:  lock file \"x\" already exists\n[7] HINT:  Is it used?\n";
    /// let messages = ServerMessage::read_all(log);
    /// assert_eq!(messages[0].severity, Some(Severity::Fatal));
    /// assert_eq!(messages[0].message, "lock file \"x\" already exists");
    /// assert_eq!(messages[0].hint.as_deref(), Some("Is it used?"));
    /// ```
    pub fn read_all(text: &str) -> Vec<Self> {
        let mut reader = Reader::default();
        let mut rest = text;
        while !rest.is_empty() {
            rest = match csv_record(rest) {
                Some((message, after)) => {
                    reader.begin(message, Part::Done);
                    after
                }
                None => {
                    let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
                    reader.line(line.trim_end_matches('\r'));
                    after
                }
            };
        }
        reader.messages
    }

    /// The first of the gravest messages, if there is one from [`Severity::Error`] on.
    pub fn gravest(messages: &[Self]) -> Option<&Self> {
        let gravest = messages.iter().filter_map(|message| message.severity).max();
        messages
            .iter()
            .find(|message| message.severity == gravest && gravest >= Some(Severity::Error))
    }

    /// The reason why a program failed, from its output: the [gravest](Self::gravest) message, or
    /// else the last three lines. None if the output is empty.
    pub fn reason(text: &str) -> Option<Self> {
        let messages = Self::read_all(text);
        if let Some(gravest) = Self::gravest(&messages) {
            return Some(gravest.clone());
        }
        let said = |message: &&Self| !message.is_closing();
        let lines: Vec<&str> = messages
            .iter()
            .filter(said)
            .map(|message| message.message.as_str())
            .collect();
        let last = &lines[lines.len().saturating_sub(3)..];
        (!last.is_empty()).then(|| Self {
            message: last.join("; "),
            ..Self::default()
        })
    }

    /// Returns whether any part of the message contains these words.
    pub fn contains(&self, words: &str) -> bool {
        let parts = [&self.detail, &self.hint, &self.context];
        self.message.contains(words) || parts.into_iter().flatten().any(|part| part.contains(words))
    }

    /// Returns whether the message is about shared memory that cannot be used: its DETAIL names the
    /// failed system call, or the segment, in every language.
    pub fn is_about_shared_memory(&self) -> bool {
        const SIGNS: [&str; 6] = [
            "shmget(",
            "shmat(",
            "shmctl(",
            "anonymous shared memory",
            "shared memory segment",
            "/PostgreSQL.",
        ];
        SIGNS.iter().any(|sign| self.contains(sign))
    }

    /// The messages of `initdb` and `pg_basebackup` about the files that they made before they
    /// failed (`cleanup_directories_atexit` in both), and lines of progress.
    fn is_closing(&self) -> bool {
        self.message.contains("not removed at user's request")
            || self.message.starts_with("initdb: removing ")
            || self.message.starts_with("removing ")
            || self.message.starts_with("child process exited ")
            || BackupProgress::parse(&self.message).is_some()
    }
}

/// The message with its detail. The hint is advice, and stays apart.
impl fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.detail {
            Some(detail) => write!(f, " ({})", detail.trim_end_matches('.')),
            None => Ok(()),
        }
    }
}

/// A message can be the cause of an error, as the reason of a program that failed.
impl std::error::Error for ServerMessage {}

/// The part of a message that a line continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Done,
    Message,
    Detail,
    Hint,
    Context,
    /// A statement or a position, which is passed over.
    Other,
}

/// The words before the two spaces (`error_severity` and `send_message_to_server_log`).
const SEVERITIES: [(&str, Severity); 13] = [
    ("DEBUG", Severity::Debug),
    ("DEBUG1", Severity::Debug),
    ("DEBUG2", Severity::Debug),
    ("DEBUG3", Severity::Debug),
    ("DEBUG4", Severity::Debug),
    ("DEBUG5", Severity::Debug),
    ("LOG", Severity::Log),
    ("INFO", Severity::Info),
    ("NOTICE", Severity::Notice),
    ("WARNING", Severity::Warning),
    ("ERROR", Severity::Error),
    ("FATAL", Severity::Fatal),
    ("PANIC", Severity::Panic),
];
const PARTS: [(&str, Part); 7] = [
    ("DETAIL", Part::Detail),
    ("HINT", Part::Hint),
    ("CONTEXT", Part::Context),
    ("QUERY", Part::Other),
    ("STATEMENT", Part::Other),
    ("LOCATION", Part::Other),
    ("BACKTRACE", Part::Other),
];
const OF_PROGRAMS: [(&str, Severity); 3] = [
    ("error", Severity::Error),
    ("fatal", Severity::Fatal),
    ("warning", Severity::Warning),
];

#[derive(Debug, Default)]
struct Reader {
    messages: Vec<ServerMessage>,
    part: Part,
}

impl Reader {
    fn begin(&mut self, message: ServerMessage, part: Part) {
        self.messages.push(message);
        self.part = part;
    }

    fn line(&mut self, line: &str) {
        if let Some(message) = json_record(line) {
            return self.begin(message, Part::Done);
        }
        // Each further line of a message begins with a tab (`append_with_tabs`).
        if let Some(more) = line.strip_prefix('\t').filter(|_| self.part != Part::Done) {
            if let Some(text) = self.current() {
                text.push('\n');
                text.push_str(more);
            }
            return;
        }
        let text = line.trim();
        if text.is_empty() {
            return;
        }
        if let Some((part, text)) = part_of(text).filter(|_| !self.messages.is_empty()) {
            self.part = part;
            if let Some(current) = self.current() {
                text.clone_into(current);
            }
            return;
        }
        let (severity, message) = split(text);
        let message = ServerMessage {
            severity,
            message: message.to_owned(),
            ..ServerMessage::default()
        };
        self.begin(message, Part::Message);
    }

    fn current(&mut self) -> Option<&mut String> {
        let message = self.messages.last_mut()?;
        Some(match self.part {
            Part::Message => &mut message.message,
            Part::Detail => message.detail.get_or_insert_default(),
            Part::Hint => message.hint.get_or_insert_default(),
            Part::Context => message.context.get_or_insert_default(),
            Part::Done | Part::Other => return None,
        })
    }
}

/// A line that adds to a message: `... DETAIL:  text`, and `initdb: detail: text`.
fn part_of(line: &str) -> Option<(Part, &str)> {
    let (before, text) = line.split_once(":  ").unwrap_or((line, ""));
    if let Some(&(_, part)) = PARTS.iter().find(|(word, _)| ends_with_word(before, word)) {
        return Some((part, text.trim()));
    }
    let (_, said) = line.split_once(": ")?;
    let of_program = |word: &str| said.strip_prefix(word);
    of_program("detail: ")
        .map(|text| (Part::Detail, text))
        .or_else(|| of_program("hint: ").map(|text| (Part::Hint, text)))
}

/// Severity and text: `... FATAL:  text`, and `initdb: error: text`. In another language the word
/// is not known, but it is followed by the same two spaces.
fn split(line: &str) -> (Option<Severity>, &str) {
    if let Some((before, text)) = line.split_once(":  ") {
        let known = SEVERITIES
            .iter()
            .find(|(word, _)| ends_with_word(before, word));
        return (known.map(|&(_, severity)| severity), text.trim());
    }
    let of_program = |&(word, severity): &(&str, Severity)| {
        let (_, said) = line.split_once(": ")?;
        let text = said.strip_prefix(word)?.strip_prefix(": ")?;
        Some((Some(severity), text))
    };
    OF_PROGRAMS
        .iter()
        .find_map(of_program)
        .unwrap_or((None, line))
}

fn ends_with_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word)
        .is_some_and(|before| !before.ends_with(|c: char| c.is_ascii_alphanumeric()))
}

fn severity(word: &str) -> Option<Severity> {
    let found = SEVERITIES.iter().find(|(known, _)| *known == word);
    found.map(|&(_, severity)| severity)
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A row of `csvlog`, whose fields may have line breaks, and the text after it. From PostgreSQL 10
/// on the first nineteen columns are the same.
fn csv_record(text: &str) -> Option<(ServerMessage, &str)> {
    const SEVERITY: usize = 11;
    // For example `2024-02-29 12:00:00.000 UTC,`, which may also be a `log_line_prefix`.
    let time = text.get(..24)?;
    let is_time = time.char_indices().all(|(at, c)| match at {
        4 | 7 => c == '-',
        10 | 23 => c == ' ',
        13 | 16 => c == ':',
        19 => c == '.',
        _ => c.is_ascii_digit(),
    });
    if !is_time {
        return None;
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = csv_field(rest)?;
        fields.push(field);
        rest = after;
        let Some(more) = after.strip_prefix(',') else {
            break;
        };
        rest = more;
    }
    let after = rest
        .strip_prefix('\n')
        .or_else(|| rest.is_empty().then_some(""))?;
    let field = |column: usize| fields.get(SEVERITY + column).map_or("", String::as_str);
    if fields.len() < 23 {
        return None;
    }
    let message = ServerMessage {
        severity: severity(field(0)),
        message: field(2).to_owned(),
        detail: some(field(3)),
        hint: some(field(4)),
        context: some(field(7)),
    };
    Some((message, after))
}

fn csv_field(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\n', '"']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut field = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        let Some(more) = after.strip_prefix('"') else {
            return Some((field, after));
        };
        field.push('"');
        rest = more;
    }
}

/// A line of `jsonlog`: one object without objects in it.
fn json_record(line: &str) -> Option<ServerMessage> {
    let mut rest = line.strip_prefix("{\"timestamp\":")?;
    let mut message = ServerMessage::default();
    let mut key = String::new();
    loop {
        let (value, after) = json_value(rest)?;
        match key.as_str() {
            "error_severity" => message.severity = severity(&value),
            "message" => message.message = value,
            "detail" => message.detail = some(&value),
            "hint" => message.hint = some(&value),
            "context" => message.context = some(&value),
            _ => {}
        }
        let Some(more) = after.strip_prefix(',') else {
            return after.starts_with('}').then_some(message);
        };
        let (name, after) = json_value(more)?;
        key = name;
        rest = after.strip_prefix(':')?;
    }
}

/// A string, or a number as it stands (`escape_json` in src/backend/utils/adt/json.c).
fn json_value(text: &str) -> Option<(String, &str)> {
    let Some(text) = text.strip_prefix('"') else {
        let end = text.find([',', '}'])?;
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        let escaped = match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => letters.next()?.1,
            letter => {
                value.push(letter);
                continue;
            }
        };
        value.push(match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            // Only control characters are written in this form.
            'u' => {
                let digits = text.get(at + 2..at + 6)?;
                letters.nth(3)?;
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            other => other,
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{ServerMessage, Severity};

    fn only(text: &str) -> ServerMessage {
        let mut all = ServerMessage::read_all(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all.swap_remove(0)
    }

    #[test]
    fn each_form_of_log_yields_the_same_message() {
        let plain = "2024-02-29 12:00:00.000 UTC [7] FATAL:  a \"b\",\n\tc\n\
                     2024-02-29 12:00:00.000 UTC [7] DETAIL:  d: e.\n\
                     2024-02-29 12:00:00.000 UTC [7] HINT:  f\n\
                     2024-02-29 12:00:00.000 UTC [7] CONTEXT:  g\n\
                     2024-02-29 12:00:00.000 UTC [7] STATEMENT:  select 'FATAL:  x'\n\t, 1\n";
        let csv = "2024-02-29 12:00:00.000 UTC,,,7,,5f.7,1,,2024-02-29 12:00:00 UTC,,0,FATAL,XX000,\
                   \"a \"\"b\"\",\nc\",\"d: e.\",\"f\",,,\"g\",,,,\"\",\"postmaster\",,0\n";
        let json = concat!(
            r#"{"timestamp":"2024-02-29 12:00:00.000 UTC","pid":7,"error_severity":"FATAL","#,
            r#""message":"a \"b\",\nc","detail":"d: e.","hint":"f","context":"g","query_id":0}"#
        );
        let expected = ServerMessage {
            severity: Some(Severity::Fatal),
            message: "a \"b\",\nc".to_owned(),
            detail: Some("d: e.".to_owned()),
            hint: Some("f".to_owned()),
            context: Some("g".to_owned()),
        };
        for text in [plain, csv, json] {
            assert_eq!(only(text), expected, "{text}");
        }
        let all = [csv, plain, json].concat();
        assert_eq!(
            ServerMessage::read_all(&all),
            [expected.clone(), expected.clone(), expected]
        );
    }

    #[test]
    fn a_prefix_that_looks_like_a_row_is_plain_text() {
        let message = only("2024-02-29 12:00:00.000 UTC,7,LOG:  x, y\n");
        assert_eq!(message.severity, Some(Severity::Log));
        assert_eq!(message.message, "x, y");
    }

    #[test]
    fn the_gravest_message_comes_first_and_closing_words_last() {
        let reason = |text: &str| ServerMessage::reason(text).map(|reason| reason.to_string());
        let child = "x ... FATAL:  first\nDETAIL:  why.\nPANIC:  worse\n\
                     child process exited with exit code 1\n\
                     initdb: data directory \"/x\" not removed at user's request\n";
        assert_eq!(reason(child).as_deref(), Some("worse"));
        let new = "initdb: error: no\ninitdb: detail: d\ninitdb: hint: h\n\
                   initdb: removing contents of x\n";
        assert_eq!(reason(new).as_deref(), Some("no (d)"));
        let old = "a\nb\nc\nd\ninitdb: removing contents of x\n";
        assert_eq!(reason(old).as_deref(), Some("b; c; d"));
        assert_eq!(reason("\n"), None);
    }

    #[test]
    fn any_cut_is_read_without_a_panic() {
        let csv = "2024-02-29 12:00:00.000 UTC,,,7,,5f.7,1,,x,,0,LOG,XX000,\
                   \"é\n\"\"\",\"d\",,,,,,,,\"\",\"p\",,0\n";
        let json = "{\"timestamp\":\"x\",\"message\":\"\\u000a\\\\é\"}\n";
        let all = [csv, json].concat();
        for at in (0..all.len()).filter(|&at| all.is_char_boundary(at)) {
            ServerMessage::read_all(&all[at..]);
            ServerMessage::read_all(&all[..at]);
        }
    }
}
