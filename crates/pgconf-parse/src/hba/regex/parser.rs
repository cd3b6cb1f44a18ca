//! The lexer of regc_lex.c and the parser of regcomp.c, with one token of lookahead as there, for
//! that decides which of several errors is reported.

// Long, because the lexer depends on the state of the parser.

/// The greatest number of repetitions: `DUPMAX`.
const MAX_REPETITIONS: u32 = 255;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Bytes(Box<[bool; 256]>),
    Start,
    End,
    Sequence(Vec<Node>),
    Alternatives(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>),
    /// Within capturing parentheses, the first ones or others.
    Group(Box<Node>, bool),
    /// A construct that is not evaluated.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    Expression,
    Bound,
    Bracket,
    /// Within `[.`, `[=` or `[:`, up to that byte and a bracket.
    Name(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Empty,
    End,
    Plain(u32),
    Digit(u32),
    /// `|`, `(`, `)`, `^`, `$`, `.`, `*`, `+`, `?`, `{`, `}`, `,` and `]`; quantifiers with whether
    /// they are greedy, `(` with whether it counts.
    Sign(u8, bool),
    /// `[`, with whether it is without `^`.
    Bracket(bool),
    Range,
    /// `\d` and the like, with whether it is not its complement.
    Class(u8, bool),
    NameStart(u8),
    NameEnd,
    BackReference(u32),
    /// Lookahead and lookbehind.
    Look,
    /// `\A`, `\m` and others that match no character.
    Boundary,
}

const PARENTHESES: &str = "parentheses () not balanced";
const BRACKETS: &str = "brackets [] not balanced";
const BRACES: &str = "braces {} not balanced";
const COUNTS: &str = "invalid repetition count(s)";
const RANGE: &str = "invalid character range";
const OPERAND: &str = "quantifier operand invalid";
const ESCAPE: &str = "invalid escape \\ sequence";
const BACK_REFERENCE: &str = "invalid backreference number";
const CLASS: &str = "invalid character class";
const COLLATING: &str = "invalid collating element";
const OPTION: &str = "invalid embedded option";
const PATTERN: &str = "invalid regexp (reg version 0.8)";

pub(super) struct Parser<'p> {
    input: &'p [u8],
    at: usize,
    context: Context,
    next: Token,
    /// The first error.
    pub(super) error: Option<&'static str>,
    /// For each group, whether it is closed.
    pub(super) groups: Vec<bool>,
    /// All constructs so far can be evaluated.
    pub(super) is_plain: bool,
    /// All quantifiers are greedy.
    pub(super) is_greedy: bool,
}

impl<'p> Parser<'p> {
    pub(super) fn new(pattern: &'p [u8]) -> Self {
        Self {
            input: pattern,
            at: 0,
            context: Context::Expression,
            next: Token::Empty,
            error: None,
            groups: Vec::new(),
            is_plain: true,
            is_greedy: true,
        }
    }

    /// Source: `pg_regcomp` in regcomp.c.
    pub(super) fn parse(&mut self) -> Node {
        if let Some(node) = self.prefixes() {
            return node;
        }
        self.next();
        self.alternatives(Token::End)
    }
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn rest(&self) -> &[u8] {
        &self.input[self.at..]
    }

    /// The first error counts. After it there are no more tokens.
    fn fail(&mut self, error: &'static str) -> Token {
        self.error.get_or_insert(error);
        self.next = Token::End;
        Token::End
    }

    /// Source: `prefixes` in regc_lex.c. An expression that is a literal is returned.
    fn prefixes(&mut self) -> Option<Node> {
        if let Some(rest) = self.rest().strip_prefix(b"***") {
            match rest.first() {
                Some(b'=') => return Some(literal(&rest[1..])),
                Some(b':') => self.at += 4,
                Some(b'?') => {
                    self.fail(PATTERN);
                }
                _ => {
                    self.fail(OPERAND);
                }
            }
            if self.error.is_some() {
                return None;
            }
        }
        if let [b'(', b'?', b'a'..=b'z' | b'A'..=b'Z', ..] = self.rest() {
            self.at += 2;
            self.is_plain = false;
            let mut is_checked = true;
            while let Some(option @ (b'a'..=b'z' | b'A'..=b'Z')) = self.peek() {
                self.at += 1;
                match option {
                    // DIFFERENCE: the rest of the expression is not checked.
                    b'b' | b'e' | b'q' | b'x' => is_checked = false,
                    b'c' | b'i' | b'm' | b'n' | b'p' | b's' | b't' | b'w' => {}
                    _ => {
                        self.fail(OPTION);
                        return None;
                    }
                }
            }
            if self.peek() != Some(b')') {
                self.fail(OPTION);
            } else if is_checked {
                self.at += 1;
            } else {
                return Some(Node::Other);
            }
        }
        None
    }

    fn next(&mut self) {
        if self.error.is_some() {
            return;
        }
        let token = self.lex();
        if self.error.is_none() {
            self.next = token;
        }
    }

    /// Source: `next` in regc_lex.c.
    fn lex(&mut self) -> Token {
        let Some(byte) = self.peek() else {
            return match self.context {
                Context::Expression => Token::End,
                Context::Bound => self.fail(BRACES),
                Context::Bracket | Context::Name(_) => self.fail(BRACKETS),
            };
        };
        self.at += 1;
        match self.context {
            Context::Expression => self.lex_expression(byte),
            Context::Bound => match byte {
                b'0'..=b'9' => Token::Digit(u32::from(byte - b'0')),
                b',' => Token::Sign(b',', true),
                b'}' => {
                    self.context = Context::Expression;
                    Token::Sign(b'}', self.is_greedy())
                }
                _ => self.fail(COUNTS),
            },
            Context::Bracket => self.lex_bracket(byte),
            Context::Name(end) if byte == end && self.peek() == Some(b']') => {
                self.at += 1;
                self.context = Context::Bracket;
                Token::NameEnd
            }
            Context::Name(_) => Token::Plain(u32::from(byte)),
        }
    }

    /// A question mark after a quantifier makes it non-greedy.
    fn is_greedy(&mut self) -> bool {
        let is_lazy = self.peek() == Some(b'?');
        self.at += usize::from(is_lazy);
        self.is_greedy &= !is_lazy;
        !is_lazy
    }

    fn lex_expression(&mut self, byte: u8) -> Token {
        match byte {
            b'*' | b'+' | b'?' => Token::Sign(byte, self.is_greedy()),
            b'{' if self.peek().is_some_and(|next| next.is_ascii_digit()) => {
                self.context = Context::Bound;
                Token::Sign(b'{', true)
            }
            b'(' if self.peek() == Some(b'?') => {
                self.at += 1;
                self.lex_special()
            }
            b'(' | b')' | b'|' | b'^' | b'$' | b'.' => Token::Sign(byte, true),
            b'[' => {
                if self.rest().starts_with(b"[:<:]]") || self.rest().starts_with(b"[:>:]]") {
                    self.at += 6;
                    return Token::Boundary;
                }
                self.context = Context::Bracket;
                let is_complement = self.peek() == Some(b'^');
                self.at += usize::from(is_complement);
                Token::Bracket(!is_complement)
            }
            b'\\' if self.peek().is_none() => self.fail(ESCAPE),
            b'\\' => self.lex_escape(),
            _ => Token::Plain(u32::from(byte)),
        }
    }

    /// Reads the text after `(?`.
    fn lex_special(&mut self) -> Token {
        let kind = self.peek();
        self.at += usize::from(kind.is_some());
        match kind {
            Some(b':') => Token::Sign(b'(', false),
            Some(b'#') => {
                while self.peek().is_some_and(|byte| byte != b')') {
                    self.at += 1;
                }
                self.at = (self.at + 1).min(self.input.len());
                self.lex()
            }
            Some(b'=' | b'!') => Token::Look,
            Some(b'<') if matches!(self.peek(), Some(b'=' | b'!')) => {
                self.at += 1;
                Token::Look
            }
            _ => self.fail(OPERAND),
        }
    }

    fn lex_bracket(&mut self, byte: u8) -> Token {
        let is_first = matches!(self.last_in_bracket(), Token::Bracket(_));
        match byte {
            b'\\' if self.peek().is_none() => self.fail(ESCAPE),
            b'\\' => match self.lex_escape() {
                token @ (Token::Plain(_) | Token::Class(..)) => token,
                _ => self.fail(ESCAPE),
            },
            b'-' if !is_first && self.peek() != Some(b']') => Token::Range,
            b'[' => match self.peek() {
                None => self.fail(BRACKETS),
                Some(end @ (b'.' | b'=' | b':')) => {
                    self.at += 1;
                    self.context = Context::Name(end);
                    Token::NameStart(end)
                }
                Some(_) => Token::Plain(u32::from(byte)),
            },
            b']' if !is_first => {
                self.context = Context::Expression;
                Token::Sign(b']', true)
            }
            _ => Token::Plain(u32::from(byte)),
        }
    }

    /// The token before the one that is being made.
    fn last_in_bracket(&self) -> Token {
        self.next
    }

    /// Source: `lexescape` in regc_lex.c.
    fn lex_escape(&mut self) -> Token {
        let Some(byte) = self.peek() else {
            return self.fail(ESCAPE);
        };
        self.at += 1;
        let plain = |byte: u8| Token::Plain(u32::from(byte));
        match byte {
            b'a' => plain(7),
            b'b' => plain(8),
            b'B' => plain(b'\\'),
            b'c' => match self.peek() {
                None => self.fail(ESCAPE),
                Some(next) => {
                    self.at += 1;
                    plain(next & 0x1f)
                }
            },
            b'd' | b's' | b'w' => Token::Class(byte, true),
            b'D' | b'S' | b'W' => Token::Class(byte.to_ascii_lowercase(), false),
            b'e' => plain(0x1b),
            b'f' => plain(0xc),
            b'n' => plain(b'\n'),
            b'r' => plain(b'\r'),
            b't' => plain(b'\t'),
            b'v' => plain(0xb),
            b'A' | b'm' | b'M' | b'y' | b'Y' | b'Z' => Token::Boundary,
            b'u' => self.lex_digits(16, 4, 4).map_or(Token::End, Token::Plain),
            b'U' => self.lex_digits(16, 8, 8).map_or(Token::End, Token::Plain),
            b'x' => self.lex_digits(16, 1, 255).map_or(Token::End, Token::Plain),
            b'0'..=b'9' => self.lex_number(byte),
            _ if byte.is_ascii_alphabetic() => self.fail(ESCAPE),
            _ => plain(byte),
        }
    }

    /// A back reference, or the number of a character: with two digits it is the former if there
    /// are as many groups.
    fn lex_number(&mut self, first: u8) -> Token {
        let after_first = self.at;
        self.at -= 1;
        if first != b'0' {
            let number = self.lex_digits(10, 1, 255).unwrap_or(u32::MAX);
            if self.at == after_first || number as usize <= self.groups.len() {
                return Token::BackReference(number);
            }
            self.at = after_first - 1;
        }
        let number = self.lex_digits(8, 1, 3);
        match number {
            Some(number) if number > 0xff => {
                self.at -= 1;
                Token::Plain(number >> 3)
            }
            Some(number) => Token::Plain(number),
            None => Token::End,
        }
    }

    fn lex_digits(&mut self, base: u32, least: usize, most: usize) -> Option<u32> {
        let mut number = 0_u32;
        let mut count = 0;
        while let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(base)) {
            if count == most {
                break;
            }
            number = number.wrapping_mul(base).wrapping_add(digit);
            self.at += 1;
            count += 1;
        }
        if count < least || number > 0x7fff_fffe {
            self.fail(ESCAPE);
            return None;
        }
        Some(number)
    }

    /// Source: `parse` in regcomp.c.
    fn alternatives(&mut self, stopper: Token) -> Node {
        let mut all = Vec::new();
        loop {
            let mut sequence = Vec::new();
            while self.error.is_none()
                && self.next != stopper
                && self.next != Token::End
                && self.next != Token::Sign(b'|', true)
            {
                let node = self.quantified();
                sequence.push(node);
            }
            all.push(Node::Sequence(sequence));
            if self.error.is_some() || self.next != Token::Sign(b'|', true) {
                break;
            }
            self.next();
        }
        if self.error.is_none() && self.next != stopper {
            self.fail(PARENTHESES);
        }
        if all.len() == 1 {
            all.remove(0)
        } else {
            Node::Alternatives(all)
        }
    }

    /// Source: `parseqatom` in regcomp.c.
    fn quantified(&mut self) -> Node {
        let atom = match self.next {
            Token::Sign(b'^', _) => {
                self.next();
                return Node::Start;
            }
            Token::Sign(b'$', _) => {
                self.next();
                return Node::End;
            }
            Token::Boundary => {
                self.next();
                self.is_plain = false;
                return Node::Other;
            }
            Token::Look => {
                self.is_plain = false;
                self.next();
                self.alternatives(Token::Sign(b')', true));
                self.next();
                return Node::Other;
            }
            Token::Sign(b'(', counts) => self.group(counts),
            Token::Sign(b')', _) => {
                self.fail(PARENTHESES);
                return Node::Other;
            }
            Token::Bracket(is_plain) => self.bracket(is_plain),
            Token::Class(class, is_plain) => {
                self.next();
                Node::Bytes(Box::new(members(class_bytes(class), is_plain)))
            }
            Token::BackReference(number) => {
                self.is_plain = false;
                if (number as usize) == 0
                    || !self.groups.get(number as usize - 1).is_some_and(|g| *g)
                {
                    self.fail(BACK_REFERENCE);
                    return Node::Other;
                }
                self.next();
                Node::Other
            }
            Token::Plain(value) => {
                self.next();
                self.one(value)
            }
            Token::Sign(b'.', _) => {
                self.next();
                Node::Bytes(Box::new([true; 256]))
            }
            _ => {
                self.fail(OPERAND);
                return Node::Other;
            }
        };
        let (least, most) = match self.next {
            Token::Sign(b'*', _) => (0, None),
            Token::Sign(b'+', _) => (1, None),
            Token::Sign(b'?', _) => (0, Some(1)),
            Token::Sign(b'{', _) => {
                let bounds = self.bounds();
                if self.error.is_some() {
                    return Node::Other;
                }
                bounds
            }
            _ => return atom,
        };
        self.next();
        Node::Repeat(Box::new(atom), least, most)
    }

    fn one(&mut self, value: u32) -> Node {
        let Ok(byte) = u8::try_from(value) else {
            self.is_plain = false;
            return Node::Other;
        };
        let mut set = [false; 256];
        set[usize::from(byte)] = true;
        Node::Bytes(Box::new(set))
    }

    fn group(&mut self, counts: bool) -> Node {
        let number = self.groups.len();
        if counts {
            self.groups.push(false);
        }
        self.next();
        let inside = self.alternatives(Token::Sign(b')', true));
        if counts {
            self.groups[number] = true;
        }
        self.next();
        Node::Group(Box::new(inside), counts && number == 0)
    }

    /// `{m}`, `{m,}` or `{m,n}`, up to the closing brace.
    fn bounds(&mut self) -> (u32, Option<u32>) {
        self.next();
        let least = self.number();
        let most = if self.next == Token::Sign(b',', true) {
            self.next();
            let most = matches!(self.next, Token::Digit(_)).then(|| self.number());
            if most.is_some_and(|most| least > most) {
                self.fail(COUNTS);
            }
            most
        } else {
            Some(least)
        };
        if !matches!(self.next, Token::Sign(b'}', _)) {
            self.fail(COUNTS);
        }
        (least, most)
    }

    fn number(&mut self) -> u32 {
        let mut number = 0;
        while let Token::Digit(digit) = self.next {
            if number >= MAX_REPETITIONS {
                break;
            }
            number = number * 10 + digit;
            self.next();
        }
        if matches!(self.next, Token::Digit(_)) || number > MAX_REPETITIONS {
            self.fail(COUNTS);
        }
        number
    }

    /// Source: `bracket` and `brackpart` in regcomp.c.
    fn bracket(&mut self, is_plain: bool) -> Node {
        let mut set = [false; 256];
        self.next();
        while self.error.is_none() && self.next != Token::Sign(b']', true) {
            self.bracket_part(&mut set);
        }
        self.next();
        Node::Bytes(Box::new(members(set, is_plain)))
    }

    fn bracket_part(&mut self, set: &mut [bool; 256]) {
        let from = match self.next {
            Token::Plain(value) => {
                self.next();
                value
            }
            Token::Class(class, is_plain) => {
                let found = members(class_bytes(class), is_plain);
                set.iter_mut().zip(found).for_each(|(have, is)| *have |= is);
                self.next();
                return;
            }
            Token::NameStart(b'.') => match self.collating_element() {
                Some(value) => value,
                None => return,
            },
            Token::NameStart(b'=') => {
                if let Some(value) = self.collating_element() {
                    self.add_range(set, value, value);
                }
                return;
            }
            Token::NameStart(_) => {
                let name = self.name();
                match named_class(&name) {
                    Some(found) => {
                        set.iter_mut().zip(found).for_each(|(have, is)| *have |= is);
                    }
                    None if self.error.is_none() => {
                        self.fail(CLASS);
                    }
                    None => {}
                }
                return;
            }
            _ => {
                self.fail(RANGE);
                return;
            }
        };
        let to = if self.next == Token::Range {
            self.next();
            match self.next {
                Token::Plain(value) => {
                    self.next();
                    value
                }
                Token::Range => {
                    self.next();
                    u32::from(b'-')
                }
                Token::NameStart(b'.') => match self.collating_element() {
                    Some(value) => value,
                    None => return,
                },
                _ => {
                    self.fail(RANGE);
                    return;
                }
            }
        } else {
            from
        };
        if from > to {
            self.fail(RANGE);
            return;
        }
        self.add_range(set, from, to);
    }

    fn add_range(&mut self, set: &mut [bool; 256], from: u32, to: u32) {
        if to > 255 {
            self.is_plain = false;
        }
        for value in from..=to.min(255) {
            set[value as usize] = true;
        }
    }

    /// The name between `[:` and `:]`, or between the other pairs.
    fn name(&mut self) -> Vec<u8> {
        self.next();
        let mut name = Vec::new();
        while let Token::Plain(value) = self.next {
            name.push(value as u8);
            self.next();
        }
        if self.error.is_none() {
            self.next();
        }
        name
    }

    /// DIFFERENCE: names of characters, such as `[.hyphen.]`, are not looked up.
    fn collating_element(&mut self) -> Option<u32> {
        let name = self.name();
        if self.error.is_some() {
            return None;
        }
        match name.as_slice() {
            [byte] => Some(u32::from(*byte)),
            name if CHARACTERS.contains(&name) => {
                self.is_plain = false;
                Some(u32::from(b'-'))
            }
            _ => {
                self.fail(COLLATING);
                None
            }
        }
    }
}

/// The names of characters that are known here. `cnames` in regc_locale.c has about a hundred.
const CHARACTERS: [&[u8]; 6] = [
    b"hyphen",
    b"minus",
    b"space",
    b"period",
    b"slash",
    b"underscore",
];

fn literal(text: &[u8]) -> Node {
    let bytes = text.iter().map(|&byte| {
        let mut set = [false; 256];
        set[usize::from(byte)] = true;
        Node::Bytes(Box::new(set))
    });
    Node::Sequence(bytes.collect())
}

fn members(mut set: [bool; 256], is_plain: bool) -> [bool; 256] {
    if !is_plain {
        set.iter_mut().for_each(|is| *is = !*is);
    }
    set
}

fn class_bytes(class: u8) -> [bool; 256] {
    let name: &[u8] = match class {
        b'd' => b"digit",
        b's' => b"space",
        _ => b"word",
    };
    named_class(name).unwrap_or([false; 256])
}

/// Source: `cclasscvec` in the locale C. The server reads these expressions in that locale.
fn named_class(name: &[u8]) -> Option<[bool; 256]> {
    let is: fn(u8) -> bool = match name {
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"ascii" => |byte| byte.is_ascii(),
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"digit" => |byte| byte.is_ascii_digit(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"print" => |byte| byte.is_ascii_graphic() || byte == b' ',
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"space" => |byte| matches!(byte, b' ' | 9..=13),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        b"word" => |byte| byte.is_ascii_alphanumeric() || byte == b'_',
        _ => return None,
    };
    Some(std::array::from_fn(|byte| is(byte as u8)))
}
