//! Compares the texts of the errors with those in `texts.txt`: every kind of error once, with its
//! causes and advice. After a change of a text, `PG_UPDATE_TEXTS=1 cargo test` writes that file
//! anew.
//!
//! A link in the directory `texts` of each crate leads here, so that a packaged crate has a copy.

use std::borrow::Cow;
use std::error::Error;

/// An error, its causes below each other, and the hint.
#[allow(dead_code, reason = "a crate may show only some of the causes")]
pub(crate) fn shown(error: &dyn Error, hint: Option<Cow<'_, str>>) -> String {
    shown_where(error, hint, |_| true)
}

/// The same with only some of the causes, for errors whose texts are checked elsewhere.
pub(crate) fn shown_where(
    error: &dyn Error,
    hint: Option<Cow<'_, str>>,
    is_ours: fn(&(dyn Error + 'static)) -> bool,
) -> String {
    let mut text = format!("{error}\n");
    let (mut above, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        let said = cause.to_string();
        assert!(!above.contains(&said), "said twice: {above}: {said}");
        if is_ours(cause) {
            text += &format!("  because {said}\n");
        }
        (above, next) = (said, cause.source());
    }
    text + &hint.map_or(String::new(), |hint| format!("  hint: {hint}\n"))
}

/// Compares the texts with those in `texts/texts.txt` of the crate, or writes that file.
pub(crate) fn compare(text: &str, crate_directory: &str, expected: &str) {
    if std::env::var_os("PG_UPDATE_TEXTS").is_some() {
        let path = format!("{crate_directory}/texts/texts.txt");
        std::fs::write(path, text).expect("a writable checkout");
        return;
    }
    assert_eq!(text, expected);
}
