//! PostgreSQL's regular expressions: checked as `src/backend/regex` does, evaluated where that is
//! simple.
//!
//! Simple expressions are compiled to programs of a machine that follows all alternatives at once,
//! so that matching takes a bounded time. Expressions with back references, lookaround, word
//! boundaries or embedded options are not evaluated.
//!
//! Servers match byte by byte, because they match names before they know the encoding of a
//! database.

mod parser;

use crate::hba::regex::parser::{Node, Parser};

/// Larger programs and longer texts are not evaluated.
const MAX_PROGRAM: usize = 4096;
const MAX_TEXT: usize = 512;

/// A regular expression that the server accepts.
#[derive(Clone, Debug)]
pub(crate) struct Regex {
    /// None if the expression cannot be evaluated here.
    program: Option<Vec<Step>>,
    has_captures: bool,
    /// All quantifiers are greedy, so the longest match counts.
    is_greedy: bool,
}

/// The part of a text that the first parentheses match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Capture<'t> {
    NoMatch,
    /// The expression matches, and the parentheses match nothing.
    Nothing,
    Text(&'t [u8]),
    Undecided,
}

#[derive(Clone, Debug)]
enum Step {
    Bytes(Box<[bool; 256]>),
    Split(usize, usize),
    Jump(usize),
    Start,
    End,
    Open,
    Close,
    Match,
}

impl Regex {
    /// Checks an expression, without the slash.
    ///
    /// # Errors
    ///
    /// Fails with the server's reason.
    pub(crate) fn new(pattern: &[u8]) -> Result<Self, &'static str> {
        let mut parser = Parser::new(pattern);
        let node = parser.parse();
        match parser.error {
            Some(error) => Err(error),
            None => Ok(Self::compiled(&parser, &node)),
        }
    }

    fn compiled(parser: &Parser<'_>, node: &Node) -> Self {
        let mut program = Some(Vec::new());
        emit(node, &mut program);
        if let Some(steps) = &mut program {
            steps.push(Step::Match);
        }
        Self {
            program: program.filter(|steps| parser.is_plain && steps.len() <= MAX_PROGRAM),
            has_captures: !parser.groups.is_empty(),
            is_greedy: parser.is_greedy,
        }
    }

    /// Returns whether a text matches. `None` if the expression cannot be evaluated.
    pub(crate) fn is_match(&self, text: &[u8]) -> Option<bool> {
        let program = self.program.as_ref().filter(|_| text.len() <= MAX_TEXT)?;
        let mut states = States::new(program.len());
        for at in 0..=text.len() {
            states.add(program, 0, at, text.len());
            if states.has_matched {
                return Some(true);
            }
            let Some(&byte) = text.get(at) else { break };
            states.step(program, byte, at + 1, text.len());
            if states.has_matched {
                return Some(true);
            }
        }
        Some(false)
    }

    /// The text for `\1`. All ways to the leftmost, longest match are compared. If they differ in
    /// the text of the parentheses, the result is undecided.
    pub(crate) fn capture<'t>(&self, text: &'t [u8]) -> Capture<'t> {
        let (Some(program), true) = (&self.program, self.is_greedy) else {
            return Capture::Undecided;
        };
        match self.is_match(text) {
            None => return Capture::Undecided,
            Some(false) => return Capture::NoMatch,
            Some(true) if !self.has_captures => return Capture::Nothing,
            Some(true) => {}
        }
        for start in 0..=text.len() {
            match ways(program, text, start) {
                None => return Capture::Undecided,
                Some(ways) if ways.is_empty() => {}
                Some(ways) => {
                    let mut ways = ways.into_iter();
                    return match (ways.next(), ways.next()) {
                        (Some((Some(from), Some(to))), None) => Capture::Text(&text[from..to]),
                        (Some((None, None)), None) => Capture::Nothing,
                        _ => Capture::Undecided,
                    };
                }
            }
        }
        Capture::NoMatch
    }
}

/// The places that the program may have reached.
struct States {
    now: Vec<usize>,
    seen: Vec<bool>,
    has_matched: bool,
}

impl States {
    fn new(size: usize) -> Self {
        Self {
            now: Vec::new(),
            seen: vec![false; size],
            has_matched: false,
        }
    }

    fn add(&mut self, program: &[Step], step: usize, at: usize, length: usize) {
        let mut pending = vec![step];
        while let Some(step) = pending.pop() {
            if std::mem::replace(&mut self.seen[step], true) {
                continue;
            }
            match &program[step] {
                Step::Bytes(_) => self.now.push(step),
                Step::Split(one, other) => pending.extend([*one, *other]),
                Step::Jump(to) => pending.push(*to),
                Step::Start if at == 0 => pending.push(step + 1),
                Step::End if at == length => pending.push(step + 1),
                Step::Start | Step::End => {}
                Step::Open | Step::Close => pending.push(step + 1),
                Step::Match => self.has_matched = true,
            }
        }
    }

    fn step(&mut self, program: &[Step], byte: u8, at: usize, length: usize) {
        let before = std::mem::take(&mut self.now);
        self.seen.fill(false);
        for step in before {
            if matches!(&program[step], Step::Bytes(set) if set[usize::from(byte)]) {
                self.add(program, step + 1, at, length);
            }
        }
    }
}

type Group = (Option<usize>, Option<usize>);

/// The texts of the first group in the longest match that begins there. `None` if there are too
/// many ways.
fn ways(program: &[Step], text: &[u8], start: usize) -> Option<std::collections::BTreeSet<Group>> {
    use std::collections::BTreeSet;
    const MAX_STATES: usize = 20_000;
    let mut longest = BTreeSet::new();
    let mut now: BTreeSet<(usize, Group)> = BTreeSet::from([(0, (None, None))]);
    for at in start..=text.len() {
        let mut pending: Vec<_> = now.iter().copied().collect();
        let mut reached = BTreeSet::new();
        let mut matched = BTreeSet::new();
        while let Some((step, group)) = pending.pop() {
            if !reached.insert((step, group)) {
                continue;
            }
            if reached.len() > MAX_STATES {
                return None;
            }
            match &program[step] {
                Step::Bytes(_) => {}
                Step::Split(one, other) => pending.extend([(*one, group), (*other, group)]),
                Step::Jump(to) => pending.push((*to, group)),
                Step::Start if at == 0 => pending.push((step + 1, group)),
                Step::End if at == text.len() => pending.push((step + 1, group)),
                Step::Start | Step::End => {}
                Step::Open => pending.push((step + 1, (Some(at), None))),
                Step::Close => pending.push((step + 1, (group.0, Some(at)))),
                Step::Match => {
                    matched.insert(group);
                }
            }
        }
        if !matched.is_empty() {
            longest = matched;
        }
        let Some(&byte) = text.get(at) else { break };
        now = reached
            .into_iter()
            .filter(
                |(step, _)| matches!(&program[*step], Step::Bytes(set) if set[usize::from(byte)]),
            )
            .map(|(step, group)| (step + 1, group))
            .collect();
    }
    Some(longest)
}

fn emit(node: &Node, program: &mut Option<Vec<Step>>) {
    let Some(steps) = program else { return };
    if steps.len() > MAX_PROGRAM {
        *program = None;
        return;
    }
    match node {
        Node::Bytes(set) => steps.push(Step::Bytes(set.clone())),
        Node::Start => steps.push(Step::Start),
        Node::End => steps.push(Step::End),
        Node::Other => *program = None,
        Node::Sequence(nodes) => nodes.iter().for_each(|node| emit(node, program)),
        Node::Group(node, false) => emit(node, program),
        Node::Group(node, true) => {
            steps.push(Step::Open);
            emit(node, program);
            if let Some(steps) = program {
                steps.push(Step::Close);
            }
        }
        Node::Alternatives(nodes) => {
            let mut jumps = Vec::new();
            for (n, node) in nodes.iter().enumerate() {
                let Some(steps) = program else { return };
                let split = steps.len();
                if n + 1 < nodes.len() {
                    steps.push(Step::Split(split + 1, 0));
                }
                emit(node, program);
                let Some(steps) = program else { return };
                if n + 1 < nodes.len() {
                    jumps.push(steps.len());
                    steps.push(Step::Jump(0));
                    steps[split] = Step::Split(split + 1, steps.len());
                }
            }
            let Some(steps) = program else { return };
            let end = steps.len();
            for jump in jumps {
                steps[jump] = Step::Jump(end);
            }
        }
        Node::Repeat(node, least, most) => {
            for _ in 0..*least {
                emit(node, program);
            }
            let optional = most.map_or(1, |most| most - least);
            for _ in 0..optional {
                let Some(steps) = program else { return };
                let split = steps.len();
                steps.push(Step::Split(split + 1, 0));
                emit(node, program);
                let Some(steps) = program else { return };
                if most.is_none() {
                    steps.push(Step::Jump(split));
                }
                steps[split] = Step::Split(split + 1, steps.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::{Capture, Regex};

    fn is_match(pattern: &str, text: &str) -> Option<bool> {
        Regex::new(pattern.as_bytes())
            .unwrap()
            .is_match(text.as_bytes())
    }

    #[test]
    fn plain_expressions_are_evaluated() {
        for (pattern, text, wanted) in [
            ("", "x", true),
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^a.*c$", "abc", true),
            ("^(a|bc)+$", "abca", true),
            ("^(a|bc)+$", "abcb", false),
            ("^[a-c]{2,3}$", "abc", true),
            ("^[a-c]{2,3}$", "abca", false),
            ("^[^a-c]?$", "", true),
            (r"^\d+\.\w$", "12.x", true),
            ("^(a*)*$", "aaab", false),
            ("^(|a){3}$", "aa", true),
            ("[[:alpha:]]", "1", false),
            ("***=a.b", "a.b", true),
            ("***=a.b", "axb", false),
        ] {
            assert_eq!(is_match(pattern, text), Some(wanted), "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_not_decided() {
        for pattern in [r"(a)\1", "(?=a)", r"\ma", "(?i)a", "[[:<:]]a"] {
            assert_eq!(is_match(pattern, "a"), None, "{pattern}");
        }
    }

    #[test]
    fn captures_are_given_where_they_are_certain() {
        let capture = |pattern: &str, text| Regex::new(pattern.as_bytes()).unwrap().capture(text);
        assert_eq!(
            capture("^(.*)@example$", b"bob@example"),
            Capture::Text(b"bob")
        );
        assert_eq!(capture("^(.*)@example$", b"bob@other"), Capture::NoMatch);
        assert_eq!(capture("b(.)", b"abcbd"), Capture::Text(b"c"));
        assert_eq!(capture("(a)|b", b"b"), Capture::Nothing);
        assert_eq!(capture("a", b"a"), Capture::Nothing);
        assert_eq!(capture("(a*)(a*)", b"aa"), Capture::Undecided);
        assert_eq!(capture("(a*?)b", b"aab"), Capture::Undecided);
    }
}
