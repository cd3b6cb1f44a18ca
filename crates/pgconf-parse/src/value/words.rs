//! Hidden values of enum settings, which the server accepts but does not list.

/// Returns the listed word that `value` means, if servers of the major version accept `value` for a
/// setting with that list.
///
/// Source: all hidden entries of the `config_enum_entry` tables in guc.c (guc_tables.c since 16,
/// and xlogdesc.c for `wal_level`) in 10 to 18. A hidden word without a listed synonym is mapped to
/// the nearest: `info` to `notice`, because messages of the level INFO reach the client at every
/// setting.
pub(crate) fn meant<'w>(value: &[u8], words: &[&'w str], major: u16) -> Option<&'w str> {
    let is = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
    let listed = |name: &str| {
        let mut words = words.iter().copied();
        words.find(|word| word.eq_ignore_ascii_case(name))
    };
    let lists = |names: &[&str]| names.iter().all(|name| listed(name).is_some());
    if let Some(word) = words.iter().copied().find(|word| is(word)) {
        return Some(word);
    }
    if lists(&["on", "off"]) {
        if ["true", "yes", "1"].into_iter().any(is) {
            return listed("on");
        }
        if ["false", "no", "0"].into_iter().any(is) {
            return listed("off");
        }
    }
    if lists(&["debug2", "notice"]) {
        if is("debug") {
            return listed("debug2");
        }
        if is("info") {
            return listed("notice");
        }
        if major < 12 && (is("fatal") || is("panic")) {
            return listed("error");
        }
    }
    if lists(&["minimal", "replica"]) && (is("archive") || is("hot_standby")) {
        return listed("replica");
    }
    // `password_encryption` was a boolean before 10.
    let was_boolean = major < 14 && lists(&["md5", "scram-sha-256"]);
    if was_boolean && ["on", "true", "yes", "1"].into_iter().any(is) {
        return listed("md5");
    }
    None
}
