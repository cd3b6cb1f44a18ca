//! Paths of included files, as the server builds them.
//!
//! The server compares these paths to detect a file that includes itself, and reports them.
//! They are therefore built here byte for byte as the server builds them. If the path of the first
//! file is relative, the paths of included files are relative too; in the server, all are absolute.

use memchr::memrchr;

/// The length of the longest path that the server builds, one byte less than `MAXPGPATH`. The
/// server truncates longer paths.
const LONGEST: usize = 1023;

/// The path of a file or directory named by a directive in the file `calling_file`.
///
/// Source: `AbsoluteConfigLocation` in conffiles.c (guc-file.l before PostgreSQL 16).
pub(crate) fn included(location: &[u8], calling_file: &[u8], major: u16) -> Vec<u8> {
    if location.starts_with(b"/") {
        return location.to_vec();
    }
    let mut directory = cut_off(calling_file.to_vec());
    trim_directory(&mut directory);
    joined(&directory, location, major)
}

/// The canonical path of `name` within a directory.
///
/// Source: `join_path_components` and `canonicalize_path` in src/port/path.c.
pub(crate) fn joined(directory: &[u8], mut name: &[u8], major: u16) -> Vec<u8> {
    let mut path = cut_off(directory.to_vec());
    if major < 15 {
        while let Some(rest) = name.strip_prefix(b"./") {
            name = rest;
        }
    }
    if !name.is_empty() {
        if !directory.is_empty() {
            path.push(b'/');
        }
        path.extend(name);
    }
    let path = cut_off(path);
    if major < 15 {
        trimmed_at_end(path)
    } else {
        canonical(&path)
    }
}

pub(crate) fn cut_off(mut path: Vec<u8>) -> Vec<u8> {
    path.truncate(LONGEST);
    path
}

/// Removes double slashes, a trailing slash, each `.`, and each `..` with the name before it.
///
/// Source: `canonicalize_path` since PostgreSQL 15.
pub(crate) fn canonical(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return Vec::new();
    }
    let absolute = path[0] == b'/';
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(&last) if last != b".." => {
                    parts.pop();
                }
                None if absolute => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let path = parts.join(&b'/');
    match (absolute, path.is_empty()) {
        (true, _) => [b"/", path.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => path,
    }
}

/// `canonicalize_path` before PostgreSQL 15, which resolved `.` and `..` only at the end of the
/// path: `sub/../x.conf` remains as it is.
fn trimmed_at_end(mut path: Vec<u8>) -> Vec<u8> {
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    path.dedup_by(|a, b| (*a, *b) == (b'/', b'/'));
    let mut pending = 0;
    loop {
        if path.ends_with(b"/.") {
            trim_directory(&mut path);
        } else if path == b"." {
            if pending > 0 {
                path.clear();
            }
            break;
        } else if path.ends_with(b"/..") || path == b".." {
            trim_directory(&mut path);
            pending += 1;
        } else if pending > 0 && !path.is_empty() {
            // At the root nothing is left to cancel, but the count still goes down.
            trim_directory(&mut path);
            pending -= 1;
            if path.is_empty() {
                path.push(b'.');
            }
        } else {
            break;
        }
    }
    if pending > 0 {
        path.extend([b"..".as_slice()].repeat(pending).join(&b'/'));
    }
    path
}

/// Removes the last component with its slash, but not the slash of the root directory.
///
/// Source: `trim_directory` in src/port/path.c, which implements `get_parent_directory`.
fn trim_directory(path: &mut Vec<u8>) {
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    let mut end = memrchr(b'/', path).unwrap_or(0);
    while end > 0 && path[end - 1] == b'/' {
        end -= 1;
    }
    if end == 0 && path.first() == Some(&b'/') {
        end = 1;
    }
    path.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_canonical_as_in_each_server_version() {
        for (directory, name, since_15, before) in [
            ("/d", "x", "/d/x", "/d/x"),
            ("/d", "./x", "/d/x", "/d/x"),
            ("/d", "././x", "/d/x", "/d/x"),
            ("/d", "a/./x", "/d/a/x", "/d/a/./x"),
            ("/d", "a//x/", "/d/a/x", "/d/a/x"),
            ("/d", "a/../x", "/d/x", "/d/a/../x"),
            ("/d", "../x", "/x", "/d/../x"),
            ("/d", ".", "/d", "/d"),
            ("/d", "..", "/", "/"),
            ("/d/e", "..", "/d", "/d"),
            ("/d/e", "a/..", "/d/e", "/d/e"),
            ("/d/e", "a/../..", "/d", "/d"),
            ("", "..", "..", ".."),
            ("", "a/..", ".", "."),
            ("", "../a/..", "..", ".."),
            ("a", "../../..", "../..", "../.."),
        ] {
            for (major, expected) in [(18, since_15), (15, since_15), (14, before), (10, before)] {
                let path = joined(directory.as_bytes(), name.as_bytes(), major);
                let path = String::from_utf8_lossy(&path);
                assert_eq!(path, expected, "{directory} {name} {major}");
            }
        }
    }

    #[test]
    fn relative_paths_start_in_the_directory_of_the_including_file() {
        for (location, calling_file, path) in [
            ("b", "/d/a", "/d/b"),
            ("b", "/a", "/b"),
            ("b", "a", "b"),
            ("b", "/d//a", "/d/b"),
            ("/x//b/../c", "/d/a", "/x//b/../c"),
        ] {
            let included = included(location.as_bytes(), calling_file.as_bytes(), 18);
            assert_eq!(String::from_utf8_lossy(&included), path);
        }
    }
}
