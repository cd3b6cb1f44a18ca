//! Lists within one value: `unix_socket_directories`, `listen_addresses`, `search_path`.

use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::bytes::Bytes;
use crate::location;

/// Splits the value of `unix_socket_directories` and similar settings into directories.
///
/// The directories are separated by commas. Blanks around them are removed. A directory whose path
/// contains a comma is enclosed in double quotes.
///
/// Source: `SplitDirectoriesString` in src/backend/utils/adt/varlena.c, which also canonicalizes
/// the paths.
///
/// # Errors
///
/// Fails with [`ListError`] if the server would report "invalid list syntax".
///
/// ```
/// use std::path::Path;
/// use pgconf_parse::split_directories;
///
/// let directories = split_directories("/run/my pg/, \"/tmp/a,b\"")?;
/// assert_eq!(directories, [Path::new("/run/my pg"), Path::new("/tmp/a,b")]);
/// # Ok::<(), pgconf_parse::ListError>(())
/// ```
pub fn split_directories(value: impl AsRef<[u8]>) -> Result<Vec<PathBuf>, ListError> {
    let items = split(value.as_ref(), |byte| byte == b',')?;
    Ok(items
        .into_iter()
        .map(|item| {
            let path = location::canonical(&location::cut_off(item.text));
            PathBuf::from(std::ffi::OsString::from_vec(path))
        })
        .collect())
}

/// Joins directories into a value that [`split_directories`] splits into the same directories.
///
/// ```
/// use pgconf_parse::join_directories;
///
/// assert_eq!(join_directories(["/run/postgresql", "/tmp/a,b"]), b"/run/postgresql, \"/tmp/a,b\"");
/// ```
pub fn join_directories<P: AsRef<Path>>(directories: impl IntoIterator<Item = P>) -> Vec<u8> {
    join(
        directories
            .into_iter()
            .map(|directory| directory.as_ref().as_os_str().as_bytes().to_vec()),
    )
}

/// Splits the value of `listen_addresses`, `shared_preload_libraries` and similar settings into
/// names.
///
/// The names are separated by commas. Blanks around them are removed. A name that contains a comma
/// or a blank is enclosed in double quotes. Case is preserved, and paths are not canonicalized.
///
/// Source: `SplitGUCList` in varlena.c.
///
/// # Errors
///
/// Fails with [`ListError`] if the server would report "invalid list syntax".
///
/// ```
/// use pgconf_parse::split_guc_list;
///
/// assert_eq!(split_guc_list("localhost, \"a b\" ,::1")?, ["localhost", "a b", "::1"]);
/// let error = split_guc_list("localhost,").unwrap_err();
/// assert_eq!(error.to_string(), "invalid list `localhost,`: missing name at byte 10");
/// # Ok::<(), pgconf_parse::ListError>(())
/// ```
pub fn split_guc_list(value: &str) -> Result<Vec<String>, ListError> {
    Ok(words(value)?
        .into_iter()
        .map(|item| item.into_string(false))
        .collect())
}

/// Joins names into a value that [`split_guc_list`] and [`split_identifiers`] split into the same
/// names.
///
/// ```
/// use pgconf_parse::join_guc_list;
///
/// assert_eq!(join_guc_list(["public", "Sales", "a b"]), "public, \"Sales\", \"a b\"");
/// ```
pub fn join_guc_list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let joined = join(
        names
            .into_iter()
            .map(|name| name.as_ref().as_bytes().to_vec()),
    );
    String::from_utf8_lossy(&joined).into_owned()
}

/// Splits the value of `search_path`, of `session_preload_libraries` before 10.5, and of similar
/// settings into names.
///
/// Works as [`split_guc_list`], but converts names without quotes to lower case (ASCII only).
///
/// DIFFERENCE: `SplitIdentifierString` in varlena.c also truncates names to 63 bytes.
///
/// # Errors
///
/// Fails with [`ListError`] if the server would report "invalid list syntax".
///
/// ```
/// use pgconf_parse::split_identifiers;
///
/// assert_eq!(split_identifiers("\"$user\", Public, \"Sales\"")?, ["$user", "public", "Sales"]);
/// # Ok::<(), pgconf_parse::ListError>(())
/// ```
pub fn split_identifiers(value: &str) -> Result<Vec<String>, ListError> {
    Ok(words(value)?
        .into_iter()
        .map(|item| item.into_string(true))
        .collect())
}

struct Item {
    text: Vec<u8>,
    quoted: bool,
}

impl Item {
    fn into_string(self, fold: bool) -> String {
        let mut text = String::from_utf8_lossy(&self.text).into_owned();
        if fold && !self.quoted {
            text.make_ascii_lowercase();
        }
        text
    }
}

fn words(value: &str) -> Result<Vec<Item>, ListError> {
    split(value.as_bytes(), |byte| byte == b',' || is_blank(byte))
}

/// Splits at commas. A name without quotes ends at the first byte for which `ends` returns true;
/// blanks at its end are removed.
fn split(value: &[u8], ends: impl Fn(u8) -> bool) -> Result<Vec<Item>, ListError> {
    let blanks = |at: usize| {
        value[at..]
            .iter()
            .take_while(|&&byte| is_blank(byte))
            .count()
    };
    let mut at = blanks(0);
    let mut items = Vec::new();
    if at == value.len() {
        return Ok(items);
    }
    loop {
        if value.get(at) == Some(&b'"') {
            let (text, length) =
                unquote(&value[at + 1..]).ok_or(ListError::new(value, at, "unterminated quote"))?;
            items.push(Item { text, quoted: true });
            at += 1 + length;
        } else {
            let length = value[at..].iter().take_while(|&&byte| !ends(byte)).count();
            let text = value[at..at + length].trim_ascii_end();
            if text.is_empty() {
                return Err(ListError::new(value, at, "missing name"));
            }
            items.push(Item {
                text: text.to_vec(),
                quoted: false,
            });
            at += length;
        }
        at += blanks(at);
        match value.get(at) {
            None => return Ok(items),
            Some(b',') => at += 1 + blanks(at + 1),
            Some(_) => return Err(ListError::new(value, at, "missing comma")),
        }
    }
}

/// Returns the text up to the closing quote, with doubled quotes resolved, and its length in
/// `value` including that quote.
fn unquote(value: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    let mut at = 0;
    loop {
        match (value.get(at)?, value.get(at + 1)) {
            (b'"', Some(b'"')) => at += 1,
            (b'"', _) => return Some((text, at + 1)),
            _ => {}
        }
        text.push(value[at]);
        at += 1;
    }
}

fn join(items: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut value = Vec::new();
    for (n, item) in items.enumerate() {
        if n > 0 {
            value.extend(b", ");
        }
        let bare = |byte: &u8| !is_blank(*byte) && !matches!(byte, b',' | b'"' | b'A'..=b'Z');
        if !item.is_empty() && item.iter().all(bare) {
            value.extend(item);
        } else {
            value.push(b'"');
            for byte in item {
                value.push(byte);
                if byte == b'"' {
                    value.push(byte);
                }
            }
            value.push(b'"');
        }
    }
    value
}

/// Source: `scanner_isspace` in src/backend/parser/scansup.c. Only since PostgreSQL 16 is the
/// vertical tab a blank too.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

/// The error of the functions that split a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListError {
    value: Bytes,
    at: usize,
    problem: &'static str,
}

impl ListError {
    fn new(value: &[u8], at: usize, problem: &'static str) -> Self {
        Self {
            value: value.into(),
            at,
            problem,
        }
    }

    /// The byte offset of the error in the value.
    ///
    /// ```
    /// use pgconf_parse::split_directories;
    ///
    /// let error = split_directories("/run, \"/tmp").unwrap_err();
    /// assert_eq!(error.position(), 6);
    /// ```
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, at) = (self.value.escape_ascii(), self.at);
        write!(f, "invalid list `{value}`: {} at byte {at}", self.problem)
    }
}

impl std::error::Error for ListError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn splitting_reverses_joining_of_names(
            names in proptest::collection::vec("[aB,\" \t\u{e9}]{0,4}", 0..4),
        ) {
            let joined = join_guc_list(&names);
            prop_assert_eq!(split_guc_list(&joined).unwrap(), names.clone());
            prop_assert_eq!(split_identifiers(&joined).unwrap(), names);
        }

        #[test]
        fn splitting_reverses_joining_of_directories(
            names in proptest::collection::vec("(/[aB,\" ]{1,4}){1,3}", 0..4),
        ) {
            let joined = join_directories(&names);
            let split = split_directories(&joined).unwrap();
            prop_assert_eq!(split, names.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn lists_are_split_as_by_the_server() {
        let list = |text: &str| split_identifiers(text).ok();
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(
            list(" a ,\"B \"\"c\" , Ab\"c "),
            names(&["a", "B \"c", "ab\"c"])
        );
        assert_eq!(list(""), names(&[]));
        assert_eq!(list(" \n"), names(&[]));
        assert_eq!(list("\"\""), names(&[""]));
        for wrong in ["a,", ",a", "a b", "\"a\"b", "\"a", "a,,b"] {
            assert_eq!(list(wrong), None, "{wrong}");
        }
        let paths = split_directories(" /a b/ ,\"/c,d\"").unwrap();
        assert_eq!(paths, [Path::new("/a b"), Path::new("/c,d")]);
    }
}
