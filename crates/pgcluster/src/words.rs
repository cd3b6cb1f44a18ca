//! Styled words, durations and names of states for people.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use pg_cluster::State;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(crate) const PLAIN: Style = Style::new();

/// The text in this style. Where no terminal reads it, the style is removed again.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The text with control characters written as escapes: names of other users' directories and what
/// a server has logged must not command the terminal of who reads about them, or look like lines of
/// this program.
pub(crate) fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\t' => harmless.push(letter),
            _ if letter.is_control() => harmless.extend(letter.escape_default()),
            _ => harmless.push(letter),
        }
    }
    harmless
}

/// A duration to its largest unit: `3 min`.
pub(crate) fn rounded(duration: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let seconds = duration.as_secs();
    let unit = UNITS.iter().find(|(length, _)| seconds >= *length);
    match unit {
        Some((length, name)) => format!("{} {name}", seconds / length),
        None => format!("{seconds} s"),
    }
}

/// The name of a state, as in the output with `--json`.
pub(crate) fn state_name(state: State) -> &'static str {
    match state {
        State::Absent => "absent",
        State::Uninitialized => "uninitialized",
        State::Stopped => "stopped",
        State::Starting(_) => "starting",
        State::Ready(_) => "ready",
        State::Standby(_) => "standby",
        State::Stopping(_) => "stopping",
        State::Suspended(_) => "suspended",
        State::SingleUser(_) => "single-user",
        _ => "unknown",
    }
}

/// The style of a state.
pub(crate) fn state_style(state: &str) -> Style {
    match state {
        "ready" | "standby" => GREEN,
        "stopped" | "absent" => DIM,
        _ => YELLOW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        let text = |seconds| rounded(Duration::from_secs(seconds));
        let expected = ["59 s", "1 min", "59 min", "1 h", "23 h", "2 d"];
        let given = [59, 60, 3_599, 3_600, 86_399, 200_000];
        assert_eq!(given.map(text), expected);
    }
}
