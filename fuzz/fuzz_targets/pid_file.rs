//! Lock files. A parsed file can be written in the server's form, and an incomplete file contains
//! no information that differs from the complete one.

#![no_main]

use std::fmt::Write as _;

use libfuzzer_sys::fuzz_target;
use pg_proc::{PidFile, PidFileErrorKind, ServerKind};

fuzz_target!(|content: &[u8]| {
    let file = match PidFile::parse(content) {
        Ok(file) => file,
        Err(error) => {
            if let PidFileErrorKind::Line { line, .. } = *error.kind() {
                assert!((1..=8).contains(&line));
            }
            // Errors are written to logs, so they must be short.
            assert!(error.to_string().len() < 2000);
            return;
        }
    };
    assert!(file.pid.as_raw() > 0);
    assert!(file.port != Some(0));
    assert!(file.start_time.is_none_or(|seconds| seconds >= 0));
    assert_eq!(
        PidFile::parse(written(&file).as_bytes()).expect("a file as servers write it"),
        file
    );

    for end in 0..content.len().min(400) {
        match PidFile::parse(&content[..end]) {
            Ok(early) => assert!(says_no_more(&early, &file)),
            Err(error) => {
                use PidFileErrorKind::{Empty, Torn};
                let begun = matches!(error.kind(), Empty | Torn);
                assert!(begun, "{error}");
            }
        }
    }
});

/// Writes a lock file as `CreateLockFile` and `AddToDataDirLockFile` in miscinit.c do.
fn written(file: &PidFile) -> String {
    let mut text = String::new();
    let mut line = |value: Option<String>| writeln!(text, "{}", value.unwrap_or_default()).unwrap();
    let sign = if file.kind == ServerKind::SingleUser {
        "-"
    } else {
        ""
    };
    line(Some(format!("{sign}{}", file.pid)));
    line(file.data_directory.as_ref().map(ToString::to_string));
    line(file.start_time.map(|seconds| seconds.to_string()));
    line(file.port.map(|port| port.to_string()));
    line(file.socket_directory.as_ref().map(ToString::to_string));
    line(file.listen_address.clone());
    line(file.shared_memory.map(|id| {
        format!(
            "{:9} {:9}",
            i64::from(id.key) as u64,
            i64::from(id.id) as u64
        )
    }));
    line(file.status.map(|status| format!("{status:<8}")));
    text
}

fn says_no_more(early: &PidFile, whole: &PidFile) -> bool {
    fn agree<T: PartialEq>(early: &Option<T>, whole: &Option<T>) -> bool {
        early.is_none() || early == whole
    }
    early.pid == whole.pid
        && early.kind == whole.kind
        && agree(&early.data_directory, &whole.data_directory)
        && agree(&early.start_time, &whole.start_time)
        && agree(&early.port, &whole.port)
        && agree(&early.socket_directory, &whole.socket_directory)
        && agree(&early.listen_address, &whole.listen_address)
        && agree(&early.shared_memory, &whole.shared_memory)
        && agree(&early.status, &whole.status)
}
