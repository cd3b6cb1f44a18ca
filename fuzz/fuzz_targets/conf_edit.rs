//! Sequences of edits of any file. Each edit has its documented effect, and the index of the
//! document agrees with its text.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pgconf_parse::{Action, Document, EditErrorKind, Place, Removal};

#[derive(Arbitrary, Debug)]
struct Session<'a> {
    edits: Vec<Edit<'a>>,
    source: &'a [u8],
}

#[derive(Arbitrary, Debug)]
enum Edit<'a> {
    Set {
        name: Name,
        value: &'a [u8],
    },
    Append {
        name: Name,
        value: &'a [u8],
        after: Name,
    },
    AppendToSection {
        name: Name,
        value: &'a [u8],
    },
    CommentOut {
        name: Name,
    },
    Delete {
        name: Name,
    },
    /// Sets a setting that occurs in the file.
    SetFound {
        number: usize,
        value: &'a [u8],
    },
}

/// A few names, so that edits affect the same settings.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Name {
    A,
    UpperA,
    Port,
    Dotted,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::UpperA => "A",
            Self::Port => "port",
            Self::Dotted => "a.b",
        }
    }
}

fuzz_target!(|session: Session<'_>| {
    let mut document = Document::parse(session.source);
    at_once(&document, &session.edits);
    for edit in session.edits {
        apply(&mut document, edit);
        check(&document);
    }
});

/// Edits in one session have the same result as single edits.
fn at_once(document: &Document, edits: &[Edit<'_>]) {
    let (mut one_by_one, mut together) = (document.clone(), document.clone());
    let made: Result<(), EditErrorKind> = together.edit(|session| {
        for edit in edits {
            match *edit {
                Edit::Set { name, value } => {
                    let made = session.set(name.text(), value);
                    assert_eq!(made, one_by_one.set(name.text(), value));
                }
                Edit::CommentOut { name } => {
                    let made = session.remove(name.text(), Removal::CommentOut);
                    assert_eq!(made, one_by_one.comment_out(name.text()));
                }
                Edit::Delete { name } => {
                    let made = session.remove(name.text(), Removal::Delete);
                    assert_eq!(made, one_by_one.remove(name.text(), Removal::Delete));
                }
                _ => {}
            }
        }
        Ok(())
    });
    assert_eq!(made, Ok(()));
    assert_eq!(together, one_by_one);
    check(&together);
}

fn apply(document: &mut Document, edit: Edit<'_>) {
    match edit {
        Edit::Set { name, value } => set(document, name.text().as_bytes(), value),
        Edit::SetFound { number, value } => {
            let found: Vec<_> = document
                .assignments()
                .chain(document.commented_out())
                .filter(|found| found.directive().is_none())
                .map(|found| found.name().to_vec())
                .collect();
            if !found.is_empty() {
                set(document, &found[number % found.len()], value);
            }
        }
        Edit::Append { name, value, after } => {
            let before = document.to_bytes();
            match document.append(name.text(), value, Place::After(after.text())) {
                Ok(change) => {
                    assert_eq!(change.action, Action::Appended);
                    let found = document.get(name.text()).expect("the appended setting");
                    assert_eq!((found.value().as_ref(), found.line()), (value, change.line));
                }
                Err(_) => assert_eq!(document.as_bytes(), before),
            }
        }
        Edit::AppendToSection { name, value } => {
            let _ = document.append(name.text(), value, Place::Section("S"));
        }
        Edit::CommentOut { name } => {
            document.comment_out(name.text());
            assert!(document.get(name.text()).is_none());
        }
        Edit::Delete { name } => {
            let count = document.get_all(name.text()).count();
            let before = lines(document.as_bytes()).len();
            assert_eq!(document.remove(name.text(), Removal::Delete), count);
            assert_eq!(before - lines(document.as_bytes()).len(), count);
        }
    }
}

fn set(document: &mut Document, name: &[u8], value: &[u8]) {
    let before = document.to_bytes();
    match document.set(name, value) {
        Ok(change) => {
            let found = document.get(name).expect("the setting that was set");
            assert_eq!((found.value().as_ref(), found.line()), (value, change.line));
            let (mut old, mut new) = (lines(&before), lines(document.as_bytes()));
            match change.action {
                Action::Unchanged => assert_eq!(old, new),
                Action::Appended => {
                    // The line before may have been completed with a newline.
                    assert_eq!(new.len(), old.len() + 1);
                    assert!(document.as_bytes().starts_with(&before));
                }
                _ => {
                    old.remove(change.line - 1);
                    new.remove(change.line - 1);
                    assert_eq!(old, new);
                }
            }
        }
        Err(error) => {
            assert_eq!(document.as_bytes(), before);
            match error.kind() {
                EditErrorKind::Nul => assert!(value.contains(&0)),
                EditErrorKind::Abandoned => assert!(document.abandoned_at().is_some()),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn check(document: &Document) {
    let anew = Document::parse(document.as_bytes());
    let places = |document: &Document| -> Vec<_> {
        let errors = document.errors().map(|error| (error.line(), error.span()));
        document
            .assignments()
            .map(|found| (found.line(), found.span()))
            .chain(errors)
            .collect()
    };
    assert_eq!(places(document), places(&anew));
    assert_eq!(document.abandoned_at(), anew.abandoned_at());
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').collect()
}
