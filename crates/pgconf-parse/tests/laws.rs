//! Laws that hold for every file and every edit.

#![allow(clippy::unwrap_used, reason = "a test")]

mod inputs;

use inputs::{any_file, likely_file, name, value};
use pgconf_parse::{
    Action, Document, EditError, MAX_ERRORS, Place, Removal, Statement, Value, assignments,
    statements,
};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn parsing_and_writing_return_the_input(source in any_file()) {
        let document = Document::parse(source.clone());
        prop_assert_eq!(document.as_bytes(), &source);
        prop_assert_eq!(document.to_bytes(), source);
    }

    #[test]
    fn iterator_and_document_agree(source in any_file()) {
        let document = Document::parse(source.clone());
        let all: Vec<_> = statements(&source).map(|found| seen(&found)).collect();
        prop_assert_eq!(document.statements().map(|found| seen(&found)).collect::<Vec<_>>(), all);
        let spans: Vec<_> = assignments(&source).map(|found| found.span()).collect();
        let found = document.assignments().map(|found| found.span());
        prop_assert_eq!(found.collect::<Vec<_>>(), spans);
    }

    /// A file can be split at any newline. Its parts are read as in the whole.
    #[test]
    fn lines_are_read_one_by_one(source in any_file()) {
        let whole: Vec<_> = statements(&source).map(|found| seen(&found).1).collect();
        let mut parts = Vec::new();
        for line in source.split_inclusive(|&byte| byte == b'\n') {
            parts.extend(statements(line).map(|found| seen(&found).1));
        }
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn spans_refer_to_the_text(source in any_file()) {
        for found in statements(&source) {
            let (line, column, span) = match &found {
                Statement::Assignment(found) => (found.line(), found.column(), found.span()),
                Statement::Error(error) => (error.line(), error.column(), error.span()),
                _ => unreachable!("`Statement` has no other variants"),
            };
            let before = &source[..span.start];
            let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |n| n + 1);
            prop_assert_eq!(line, before.iter().filter(|&&byte| byte == b'\n').count() + 1);
            prop_assert_eq!(column, span.start - start + 1);
            let crosses_lines = source[span].contains(&b'\n');
            prop_assert!(!crosses_lines);
        }
    }

    #[test]
    fn get_returns_the_value_that_was_set(source in any_file(), name in name(), value in value()) {
        let mut document = Document::parse(source);
        let change = document.set(&name, value.as_slice()).unwrap();
        let found = document.get(&name).unwrap();
        prop_assert_eq!(found.value().to_vec(), value.clone());
        prop_assert_eq!(found.line(), change.line);
        assert_index_is_true(&document)?;
        let bytes = document.to_bytes();
        prop_assert_eq!(document.set(&name, value).unwrap().action, Action::Unchanged);
        prop_assert_eq!(document.to_bytes(), bytes);
    }

    #[test]
    fn set_changes_no_other_line(source in any_file(), name in name(), value in value()) {
        let mut document = Document::parse(source.clone());
        let change = document.set(&name, value).unwrap();
        let (mut before, mut after) = (lines(&source), lines(document.as_bytes()));
        match change.action {
            Action::Unchanged => {}
            Action::Appended => {
                after.remove(change.line - 1);
                // The last line may have been completed with a newline.
                if !source.is_empty() && !source.ends_with(b"\n") {
                    let (old, new) = (before.pop().unwrap(), after.pop().unwrap());
                    let end = new.strip_prefix(old.as_slice()).unwrap();
                    prop_assert!([&b"\n"[..], b"\r\n"].contains(&end));
                }
            }
            _ => {
                before.remove(change.line - 1);
                after.remove(change.line - 1);
            }
        }
        prop_assert_eq!(before, after);
    }

    #[test]
    fn set_moves_errors_with_their_lines(source in any_file(), name in name(), value in value()) {
        let mut document = Document::parse(source);
        let errors = |document: &Document| -> Vec<_> {
            document.errors().map(|error| error.text().trim_ascii_end().to_vec()).collect()
        };
        let before = errors(&document);
        document.set(&name, value).unwrap();
        document.remove("a", Removal::CommentOut);
        prop_assert_eq!(errors(&document), before);
    }

    /// The comment keeps its column if there is room.
    #[test]
    fn set_keeps_the_comment_after_the_value(
        source in likely_file(), name in name(), value in value(),
    ) {
        let comment = |document: &Document| {
            let found = document.get(&name)?;
            let line = document.as_bytes()[found.span().end..].split(|&byte| byte == b'\n').next()?;
            line.iter().position(|&byte| byte == b'#').map(|at| line[at..].to_vec())
        };
        let mut document = Document::parse(source);
        let before = comment(&document);
        if document.set(&name, value).unwrap().action == Action::Edited {
            prop_assert_eq!(comment(&document), before);
        }
    }

    #[test]
    fn added_lines_have_the_line_ends_of_the_file(
        source in likely_file(), settings in vec((name(), value()), 1..4),
    ) {
        let unix: Vec<u8> = source.into_iter().filter(|&byte| byte != b'\r').collect();
        let dos: Vec<u8> = unix
            .split_inclusive(|&byte| byte == b'\n')
            .flat_map(|line| match line.strip_suffix(b"\n") {
                Some(line) => [line, b"\r\n"].concat(),
                None => line.to_vec(),
            })
            .collect();
        if !unix.contains(&b'\n') {
            return Ok(());
        }
        let (mut unix, mut dos) = (Document::parse(unix), Document::parse(dos));
        unix.update(settings.clone()).unwrap();
        dos.update(settings).unwrap();
        let without_cr: Vec<u8> =
            dos.as_bytes().iter().copied().filter(|&byte| byte != b'\r').collect();
        prop_assert_eq!(without_cr, unix.to_bytes());
        for line in lines(dos.as_bytes()) {
            prop_assert!(line.ends_with(b"\r\n") || !line.ends_with(b"\n"));
        }
    }

    #[test]
    fn remove_disables_every_line(source in any_file(), name in name(), delete in any::<bool>()) {
        let mut document = Document::parse(source.clone());
        let count = document.get_all(&name).count();
        let removal = if delete { Removal::Delete } else { Removal::CommentOut };
        let others = |document: &Document| -> Vec<_> {
            let all = document.statements().map(|found| seen(&found).1);
            all.filter(|found| !is(found, &name)).collect()
        };
        let kept = others(&document);
        prop_assert_eq!(document.remove(&name, removal), count);
        prop_assert!(document.get(&name).is_none());
        prop_assert_eq!(others(&document), kept);
        assert_index_is_true(&document)?;
        if delete {
            prop_assert_eq!(lines(&source).len() - lines(document.as_bytes()).len(), count);
        }
    }

    /// `set` reverses `comment_out`, whatever else is commented out in the file.
    #[test]
    fn a_commented_out_setting_is_set_as_if_it_were_live(
        source in any_file(), name in name(), value in value(),
    ) {
        let mut live = Document::parse(source);
        let Some(line) = live.get(&name).map(|found| found.line()) else {
            return Ok(());
        };
        // The assignments before the last one stay commented out.
        let old = live.get(&name).unwrap().value().into_owned();
        if live.get_all(&name).count() > 1 {
            live.comment_out(&name);
            live.set(&name, old).unwrap();
        }
        let mut commented_out = live.clone();
        commented_out.comment_out(&name);
        let change = commented_out.set(&name, value.as_slice()).unwrap();
        live.set(&name, value).unwrap();
        prop_assert_eq!(change.line, line);
        prop_assert_eq!(change.action, Action::Uncommented);
        prop_assert_eq!(commented_out.as_bytes(), live.as_bytes());
    }

    #[test]
    fn repeated_toggling_restores_the_text(
        source in any_file(), name in name(), rounds in 1..4,
    ) {
        let mut document = Document::parse(source.clone());
        if document.get_all(&name).count() != 1 {
            return Ok(());
        }
        let value = document.get(&name).unwrap().value().into_owned();
        for _ in 0..rounds {
            document.comment_out(&name);
            document.set(&name, value.as_slice()).unwrap();
            prop_assert_eq!(document.as_bytes(), &source);
        }
    }

    #[test]
    fn a_session_equals_single_edits(source in any_file(), edits in vec(edit(), 0..24)) {
        let mut one_by_one = Document::parse(source.clone());
        let mut expected = Vec::new();
        for edit in &edits {
            expected.push(match edit {
                Edit::Set(name, value) => one_by_one.set(name, value.as_slice()).ok(),
                Edit::Remove(name, removal) => {
                    one_by_one.remove(name, *removal);
                    None
                }
            });
        }
        let mut at_once = Document::parse(source);
        let seen = at_once.edit(|session| {
            let made = edits.iter().map(|edit| match edit {
                Edit::Set(name, value) => session.set(name, value.as_slice()).ok(),
                Edit::Remove(name, removal) => {
                    session.remove(name, *removal);
                    assert!(session.get(name).is_none());
                    None
                }
            });
            Ok::<_, EditError>(made.collect::<Vec<_>>())
        });
        prop_assert_eq!(seen.unwrap(), expected);
        prop_assert_eq!(at_once.as_bytes(), one_by_one.as_bytes());
        assert_index_is_true(&at_once)?;
        assert_index_is_true(&one_by_one)?;
    }

    #[test]
    fn update_equals_repeated_set(source in any_file(), settings in vec((name(), value()), 0..5)) {
        let mut one_by_one = Document::parse(source);
        let mut at_once = one_by_one.clone();
        let set = |(name, value): &(String, Vec<u8>)| one_by_one.set(name, value.as_slice());
        let changes: Vec<_> = settings.iter().map(set).map(Result::unwrap).collect();
        prop_assert_eq!(at_once.update(settings.clone()).unwrap(), changes);
        prop_assert_eq!(&at_once, &one_by_one);
        assert_index_is_true(&at_once)?;

        let before = at_once.clone();
        let with_nul = settings.into_iter().chain([("a".to_owned(), b"\0".to_vec())]);
        prop_assert!(at_once.update(with_nul).is_err());
        prop_assert_eq!(at_once, before);
    }

    #[test]
    fn append_adds_one_line(
        source in any_file(), name in name(), after in name(), value in value(),
    ) {
        let mut document = Document::parse(source.clone());
        if let Ok(change) = document.append(&name, value.as_slice(), Place::After(&after)) {
            let mut after = lines(document.as_bytes());
            after.remove(change.line - 1);
            let rest = after.concat();
            prop_assert_eq!(rest.trim_ascii_end(), source.trim_ascii_end());
            let found = document.get(&name).unwrap();
            prop_assert_eq!((found.line(), found.value().to_vec()), (change.line, value));
            assert_index_is_true(&document)?;
        } else {
            prop_assert_eq!(document.to_bytes(), source);
        }
    }

    #[test]
    fn errors_are_shown_with_their_line(source in any_file()) {
        for error in Document::parse(source).errors() {
            let shown = error.to_string();
            prop_assert_eq!(shown.lines().count(), 3);
            prop_assert!(shown.lines().last().unwrap().trim_start().starts_with('^'));
            prop_assert!(!shown.chars().any(|c| c.is_control() && !"\n\t".contains(c)));
        }
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Set(String, Vec<u8>),
    Remove(String, Removal),
}

/// Edits of a few names that recur, and of enough others that an index is built.
fn edit() -> impl Strategy<Value = Edit> {
    let name = || prop_oneof![4 => name(), 1 => "[a-m]"];
    let removal = any::<bool>().prop_map(|delete| match delete {
        true => Removal::Delete,
        false => Removal::CommentOut,
    });
    prop_oneof![
        3 => (name(), value()).prop_map(|(name, value)| Edit::Set(name, value)),
        2 => (name(), removal).prop_map(|(name, removal)| Edit::Remove(name, removal)),
    ]
}

/// Toggling a value keeps the column of its comment, and a later example is not mistaken for the
/// setting that was in effect.
#[test]
fn toggling_keeps_the_column_and_the_line() {
    for source in [
        "port = 5432 # c\n",
        "  port = 5432\t# c\r\n# port = 9999\n",
        "abcdefg\t\t1 # c\nport = 1 \t # c\n#port = 2\n#port = 3",
        "#port = 1\nport 5432 # bare\n#port = 2\n",
        "##port = 1\nport = 5432\n##port = 2\n",
        "port=+5432# c",
        "\rport'5432'",
    ] {
        let mut document = Document::parse(source);
        let value = document.get("port").unwrap().value_lossy().into_owned();
        for _ in 0..3 {
            document.comment_out("port");
            document.set("port", &value).unwrap();
            assert_eq!(document.to_string(), source);
        }
    }
    // The value may change when it is uncommented.
    let mut document = Document::parse("port = 5432 # c\n# port = 9999\n");
    for value in ["5433", "5434", "5435", "5432"] {
        document.comment_out("port");
        document.set("port", value).unwrap();
    }
    assert_eq!(document.to_string(), "port = 5432 # c\n# port = 9999\n");
}

#[test]
fn after_a_hundred_errors_the_rest_is_ignored() {
    let mut source = "a = 1\n#c = 0\n".to_owned() + &"=\n".repeat(MAX_ERRORS);
    source.push_str("a = 2\n#b = 3\n#c = 4\n");
    let mut document = Document::parse(source.as_str());
    let error = document.check().unwrap_err();
    assert_eq!((error.errors().len(), error.gave_up()), (MAX_ERRORS, true));
    assert_eq!(document.get("a").unwrap().line(), 1);
    assert_eq!(document.commented_out().count(), 1);
    assert!(
        document.set("b", 1).is_err(),
        "an added or uncommented line would not be read"
    );
    assert_eq!(document.as_bytes(), source.as_bytes());
    document.set("c", 5).unwrap();
    document.set("a", 6).unwrap();
    assert_eq!(
        document.to_string(),
        source.replace("a = 1\n#c = 0", "a = 6\nc = 5")
    );
    assert!(document.update([("a", 7), ("b", 8)]).is_err());
    assert_eq!(
        document.get("a").unwrap().value_lossy(),
        "6",
        "a failed session changes nothing"
    );
}

/// One error less than the limit does not end the reading.
#[test]
fn ninety_nine_errors_do_not_end_the_reading() {
    let document = Document::parse("=\n".repeat(MAX_ERRORS - 1) + "a = 2");
    assert_eq!(document.get("a").unwrap().line(), MAX_ERRORS);
    assert!(!document.check().unwrap_err().gave_up());
}

#[test]
fn invalid_names_are_rejected() {
    let mut document = Document::parse("a = 1\n");
    for name in [
        "",
        "1a",
        "a b",
        "a=b",
        "a.b.c",
        "a-b",
        "'a'",
        "a\n",
        "include",
        "INCLUDE_DIR",
        "#a",
    ] {
        assert!(document.set(name, 1).is_err(), "{name}");
    }
    assert_eq!(document.to_string(), "a = 1\n");
}

#[test]
fn values_are_quoted_if_needed() {
    for (value, written) in [
        (Value::from("on"), "on"),
        ("".into(), "''"),
        (Value::from(-1), "-1"),
        (Value::from(0.25), "0.25"),
        (Value::from(f64::NEG_INFINITY), "'-inf'"),
        ("1.5GB".into(), "'1.5GB'"),
        ("127.0.0.1".into(), "'127.0.0.1'"),
        ("a.b".into(), "'a.b'"),
        ("scram-sha-256".into(), "scram-sha-256"),
        ("/tmp".into(), "'/tmp'"),
        ("ä".into(), "'ä'"),
        (r"C:\x 'y'".into(), r"'C:\\x ''y'''"),
        ("a\r\nb\tc".into(), "'a\\r\\nb\tc'"),
    ] {
        let mut document = Document::default();
        document.set("x", &value).unwrap();
        assert_eq!(document.to_string(), format!("x = {written}\n"));
    }
}

/// The comparable part of a statement: its line and its content.
type Seen = (usize, Said);

/// Name and value, or the text of a line in error and what was expected there.
type Said = Result<(Vec<u8>, Vec<u8>), (Vec<u8>, String)>;

fn seen(found: &Statement<'_>) -> Seen {
    match found {
        Statement::Assignment(found) => (
            found.span().start,
            Ok((found.name().to_vec(), found.value().into_owned())),
        ),
        Statement::Error(error) => (
            error.span().start,
            Err((error.text().to_vec(), error.expected().to_string())),
        ),
        _ => unreachable!("`Statement` has no other variants"),
    }
}

fn is(found: &Said, name: &str) -> bool {
    found
        .as_ref()
        .is_ok_and(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
}

/// A line that was commented out without an equals sign could be prose, in the same session too.
#[test]
fn a_comment_that_could_be_prose_is_not_uncommented() {
    let mut document = Document::parse("port 5\nport=5\n");
    let edited = document.edit(|session| {
        session.remove("port", Removal::CommentOut);
        session.set("port", 6)?;
        session.remove("port", Removal::Delete);
        session.set("port", 7)
    });
    assert_eq!(edited.unwrap().action, Action::Appended);
    assert_eq!(document.to_string(), "#port 5\nport = 7\n");
}

/// Asserts that the index of an edited document equals that of a new one with the same text.
fn assert_index_is_true(document: &Document) -> Result<(), TestCaseError> {
    let anew = Document::parse(document.to_bytes());
    let all = |document: &Document| -> Vec<_> {
        document.statements().map(|found| seen(&found)).collect()
    };
    prop_assert_eq!(all(document), all(&anew));
    let numbers = |document: &Document| -> Vec<_> {
        let errors = document
            .errors()
            .map(|error| (error.line(), error.column()));
        document
            .assignments()
            .map(|found| (found.line(), found.column()))
            .chain(errors)
            .collect()
    };
    prop_assert_eq!(numbers(document), numbers(&anew));
    prop_assert_eq!(document.abandoned_at(), anew.abandoned_at());
    Ok(())
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|&byte| byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}
