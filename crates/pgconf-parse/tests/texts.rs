//! The texts of errors.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pgconf_parse::{
    BaseUnit, Document, MAX_ERRORS, Place, Resolver, SettingName, split_directories, split_guc_list,
};

#[test]
fn syntax_errors() {
    for (source, shown, hint) in [
        (
            "port = 5432\n= 1\n",
            "line 2, column 1: expected the name of a setting, found `=`\n    = 1\n    ^",
            None,
        ),
        (
            "  port\t= # none\r\n",
            "line 1, column 10: expected a value, found end of line\n    \
             \u{20} port\t= # none\n    \u{20}     \t  ^",
            Some("an empty value is written as ''"),
        ),
        (
            "Straße = 'it's'",
            "line 1, column 15: expected end of line or a comment, found `s`\n    \
             Straße = 'it's'\n                 ^",
            Some("enclose this value in single quotes"),
        ),
        (
            "a = 'open",
            "line 1, column 5: expected a value, found `'`\n    a = 'open\n        ^",
            Some("close the quoted value on the line on which it begins"),
        ),
        (
            "a = \u{7}\u{1b}[2J",
            "line 1, column 5: expected a value, found `\\u{7}`\n    \
             a = \\u{7}\\u{1b}[2J\n        ^^^^^",
            Some("enclose this value in single quotes"),
        ),
    ] {
        let document = Document::parse(source);
        let error = document.errors().next().unwrap();
        assert_eq!(
            (error.to_string().as_str(), error.hint().as_deref()),
            (shown, hint)
        );
    }
}

#[test]
fn long_lines_are_shown_in_part() {
    let source = format!("a = {} {}", "x".repeat(100), "y.".repeat(1000));
    let shown = Document::parse(source).check().unwrap_err().to_string();
    assert_eq!(
        shown,
        format!(
            "line 1, column 106: expected end of line or a comment, found `{}...`\n    \
             ...{} {}...\n    {}{}",
            "y.".repeat(20),
            "x".repeat(59),
            "y.".repeat(20),
            " ".repeat(63),
            "^".repeat(40),
        ),
    );
}

#[test]
fn bytes_that_are_not_utf_8() {
    let error = Document::parse(b"\xe9 = \xff \xfe".as_slice())
        .check()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1, column 7: expected end of line or a comment, found `\\xfe`\n    \
         \\xe9 = \\xff \\xfe\n                ^^^^",
    );
}

#[test]
fn a_file_that_the_server_abandons() {
    let error = Document::parse("=\n".repeat(MAX_ERRORS + 1))
        .check()
        .unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.ends_with("\n    =\n    ^\ntoo many syntax errors, the rest of the file is not read")
    );
}

#[test]
fn impossible_edits() {
    let mut document = Document::parse("a = 1\nb = 2\n");
    let mut refused = |name: &str, value: &str, place| {
        let error = document.append(name, value, place).unwrap_err();
        (
            chain(&error),
            error.hint().map(std::borrow::Cow::into_owned),
        )
    };
    for (name, value, place, shown, hint) in [
        (
            "a b",
            "1",
            Place::End,
            "failed to set `a b`: the name is not valid: `a b` is not the name of a setting: \
             expected an identifier, or two identifiers joined by a dot",
            None,
        ),
        (
            "c",
            "\0",
            Place::End,
            "failed to set `c`: the value contains a NUL byte",
            None,
        ),
        (
            "c",
            "",
            Place::Section("Memory"),
            "failed to set `c`: the file has no such section or setting",
            None,
        ),
        (
            "B",
            "",
            Place::After("A"),
            "failed to set `B`: the assignment on line 2 would override the new one",
            Some("use `Document::set`, which edits that assignment"),
        ),
    ] {
        assert_eq!(
            refused(name, value, place),
            (shown.to_owned(), hint.map(str::to_owned))
        );
    }
    assert_eq!(
        chain(&document.set("a", f64::NAN).unwrap_err()),
        "failed to set `a`: the value is not a number",
    );
    assert_eq!(document.to_string(), "a = 1\nb = 2\n");
    let mut document = Document::parse("=\n".repeat(MAX_ERRORS));
    let error = document.set("a", 1).unwrap_err();
    assert_eq!(
        chain(&error),
        "failed to set `a`: the server stops reading above the new line, after too many errors",
    );
    assert_eq!(
        error.hint().unwrap(),
        "correct the syntax errors that `Document::check` reports"
    );
    assert_eq!(
        SettingName::new("Include").unwrap_err().to_string(),
        "`Include` is not the name of a setting: directives are not settings",
    );
}

/// The error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[test]
fn values_of_another_type() {
    let document = Document::parse("a = '64 Mb'\nb = maybe\nc = -1\n");
    let found = |name: &str| document.get(name).unwrap();
    let error = found("a").to_memory(BaseUnit::Kilobyte).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`64 Mb` is not a number with a valid unit"
    );
    assert_eq!(error.hint().unwrap(), "valid units are B, kB, MB, GB, TB");
    let error = found("b")
        .to_enum(&[("never", 0), ("always", 1)])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`maybe` is not one of the values that the setting accepts"
    );
    assert_eq!(error.hint().unwrap(), "available values: never, always");
    assert_eq!(
        found("b").to_bool().unwrap_err().to_string(),
        "`maybe` is not a boolean"
    );
    let error = found("c").to_duration(BaseUnit::Second).unwrap_err();
    assert_eq!(error.to_string(), "`-1` is not a length of time");
    assert_eq!(found("c").to_int(BaseUnit::Second), Ok(-1));

    let error = split_directories("/a, , /b").unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid list `/a, , /b`: missing name at byte 4"
    );
    let error = split_guc_list("a b").unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid list `a b`: missing comma at byte 2"
    );
    let error = split_guc_list("\"a").unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid list `\\\"a`: unterminated quote at byte 0"
    );
}

/// Programs whose `main` returns an error, and tests that unwrap one, print the `Debug` form.
#[test]
fn debug_forms() {
    let mut doc = Document::parse("port = 1\nwork_mem = '64 MB' # each\n");
    assert_eq!(
        format!("{:?}", doc.get("work_mem").unwrap()),
        "Assignment { line: 2, name: \"work_mem\", raw_value: \"'64 MB'\", \
         commented_out: false, .. }",
    );
    let error = doc.set("work mem", "1").unwrap_err();
    assert!(
        format!("{error:?}").starts_with(r#"EditError { name: "work mem", kind: Name("#),
        "{error:?}"
    );
    assert_eq!(
        format!("{:?}", "Port".parse::<SettingName>()),
        r#"Ok(SettingName("Port"))"#
    );
}

#[test]
fn configurations_with_problems() {
    let file = |path: &str, text: &str| (PathBuf::from(path), text.as_bytes().to_vec());
    let files = BTreeMap::from([
        file(
            "/d/postgresql.conf",
            "a = 1\ninclude 'b.conf'\ninclude 'c.conf'\ninclude_dir 'd'\ninclude ''\ninclude '.'\n",
        ),
        file("/d/b.conf", "a = b.c\ninclude './b.conf'\n"),
    ]);
    let read = Resolver::new()
        .load(&files, Path::new("/d/postgresql.conf"))
        .unwrap();
    let problems: Vec<String> = read.problems().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "/d/b.conf: line 1, column 5: expected a value, found `b.c`\n    a = b.c\n        ^^^",
            "/d/b.conf: line 2: configuration file recursion",
            "/d/postgresql.conf: line 3: could not open file \"/d/c.conf\"",
            "/d/postgresql.conf: line 4: could not open directory \"/d/d\"",
            "/d/postgresql.conf: line 5: empty configuration file name",
            "/d: line 1: input in flex scanner failed",
        ],
    );
    // A file that could not be read may assign to the setting, so each explanation has the problem.
    for (name, shown) in [
        ("a", "/d/postgresql.conf:1: a = 1 (in effect)"),
        ("b", "b is not set: the server's default is in effect"),
    ] {
        let explained = read.explain(name).to_string();
        let why = explained
            .strip_prefix(shown)
            .unwrap()
            .strip_prefix("\nbut the server rejects this configuration: ");
        assert_eq!(why, Some(problems[0].as_str()));
    }
    let error = Resolver::new()
        .load(&files, Path::new("/gone"))
        .unwrap_err();
    assert_eq!(
        chain(&error),
        "failed to read configuration file \"/gone\": the file cannot be opened: entity not found"
    );
}
