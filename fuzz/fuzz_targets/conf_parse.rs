//! Any bytes. Parsing does not panic or lose bytes, and all ways of reading agree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgconf_parse::{BaseUnit, Document, Statement, assignments, split_directories};

fuzz_target!(|source: &[u8]| {
    let document = Document::parse(source);
    assert_eq!(document.as_bytes(), source);

    let spans = assignments(source).map(|found| found.span());
    assert!(spans.eq(document.assignments().map(|found| found.span())));

    for statement in document.statements() {
        match statement {
            Statement::Assignment(found) => {
                assert!(!found.value().contains(&0));
                for unit in [BaseUnit::None, BaseUnit::Kilobyte, BaseUnit::Second] {
                    let _ = (found.to_int(unit), found.to_real(unit));
                    let _ = (found.to_memory(unit), found.to_duration(unit));
                }
                let _ = (found.to_bool(), split_directories(found.value()));
            }
            Statement::Error(error) => {
                let newlines = source[..error.span().start]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count();
                assert_eq!(error.line(), newlines + 1);
                assert!(error.to_string().contains('^'));
            }
            _ => {}
        }
    }
    for found in document.commented_out() {
        assert!(found.is_commented_out());
    }
});
