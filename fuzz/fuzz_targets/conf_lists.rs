//! Lists within a value. A list that was split and joined is split into the same names, and so are
//! arbitrary names that were joined.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgconf_parse::{
    join_directories, join_guc_list, split_directories, split_guc_list, split_identifiers,
};

fuzz_target!(|value: &[u8]| {
    match split_directories(value) {
        Ok(directories) => {
            assert_eq!(
                split_directories(join_directories(&directories)).as_ref(),
                Ok(&directories)
            );
        }
        Err(error) => assert!(error.position() <= value.len()),
    }
    let Ok(value) = std::str::from_utf8(value) else {
        return;
    };
    match split_guc_list(value) {
        Ok(names) => {
            assert_eq!(split_guc_list(&join_guc_list(&names)).as_ref(), Ok(&names));
            let folded = split_identifiers(value).expect("the same syntax");
            assert_eq!(folded.len(), names.len());
            assert!(
                folded
                    .iter()
                    .zip(&names)
                    .all(|(folded, name)| folded.eq_ignore_ascii_case(name))
            );
            assert_eq!(
                split_identifiers(&join_guc_list(&folded)).as_ref(),
                Ok(&folded)
            );
        }
        Err(error) => assert_eq!(split_identifiers(value).as_ref(), Err(&error)),
    }
    // Arbitrary names.
    let names: Vec<&str> = value.split('\0').collect();
    assert_eq!(
        split_guc_list(&join_guc_list(&names)).expect("a joined list"),
        names
    );
    assert_eq!(
        split_identifiers(&join_guc_list(&names)).expect("a joined list"),
        names
    );
});
