//! `postgresql.conf.sample` of every server at hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pg_tests::servers;
use pgconf_parse::{Document, SettingName};

#[test]
fn they_are_kept_to_the_byte_and_their_defaults_are_readable() {
    for server in servers() {
        let path = server.sharedir().unwrap().join("postgresql.conf.sample");
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let document = Document::parse(text.clone());
        assert_eq!(document.as_bytes(), text, "{path}");
        document.check().unwrap();

        let parameters = server.server_parameters().unwrap();
        let defaults: Vec<_> = document.commented_out().collect();
        assert!(defaults.len() > 200, "{path}: {}", defaults.len());
        for default in defaults
            .into_iter()
            .filter(|found| found.directive().is_none())
        {
            let name = SettingName::new(default.name()).unwrap();
            let known = parameters.get(&name.to_string()).is_some();
            assert!(known, "{path}:{}: {name}", default.line());
            // What stands there is what the server would read without the `#`.
            let live = [default.name(), b" = ", default.raw_value(), b"\n"].concat();
            let live = Document::parse(live);
            assert_eq!(
                live.get(&name).unwrap().value(),
                default.value(),
                "{path}: {name}"
            );
        }

        // Every line that looks like a setting is found as one, but for those without a value in
        // the file.
        let lines = String::from_utf8_lossy(&text);
        let looks = lines.lines().filter(|line| {
            let rest = line.strip_prefix('#').unwrap_or_default();
            let name = rest.split(" = ").next().unwrap_or_default();
            rest.contains(" = ")
                && !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        });
        for line in looks {
            let name = line[1..].split(" = ").next().unwrap_or_default();
            let found = document.commented_out().any(|default| default.is(name));
            let without_value = Document::parse(&line[1..]).check().is_err();
            assert!(found || without_value, "{path}: {line}");
        }
    }
}
