//! Laws of the files that servers write, for all content.

use pg_proc::{Pid, PidFile, PidFileErrorKind, PostmasterOpts, ServerKind, Status};
use proptest::prelude::*;

/// A file in the format of PostgreSQL 10 and later, cut after this number of lines.
fn lines(number: i32, seconds: i64, port: u16, key: i32, id: i32, count: usize) -> String {
    let (key, id) = (key as i64 as u64, id as i64 as u64);
    let all = [
        number.to_string(),
        "/srv/data".to_owned(),
        seconds.to_string(),
        port.to_string(),
        "/tmp".to_owned(),
        "*".to_owned(),
        format!("{key:9} {id:9}"),
        "standby ".to_owned(),
    ];
    all[..count].iter().flat_map(|line| [line, "\n"]).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(file) = PidFile::parse(&bytes) {
            prop_assert!(file.pid.as_raw() > 0);
            prop_assert_ne!(file.port, Some(0));
        }
    }

    #[test]
    fn nearly_right_files_are_read_or_refused(
        text in concat!(
            r"-?[0-9]{1,12}\n(/[a-z]{0,5}\n)?(-?[0-9]{0,20}\n){0,2}",
            r"(.{0,5}\n){0,4}(ready|starting)? {0,3}\n?",
        ),
    ) {
        if let Ok(file) = PidFile::parse(text.as_bytes()) {
            prop_assert!(file.pid.as_raw() > 0);
        }
    }

    #[test]
    fn server_files_are_read_as_written(
        number in 1..=i32::MAX, single in any::<bool>(), seconds in 0..=i64::MAX,
        port in 1..=u16::MAX, key in any::<i32>(), id in any::<i32>(), count in 1..=8_usize,
    ) {
        let signed = if single { -number } else { number };
        let text = lines(signed, seconds, port, key, id, count);
        let file = PidFile::parse(text.as_bytes()).expect("a file");
        prop_assert_eq!(file.pid.as_raw(), number);
        prop_assert_eq!(file.kind == ServerKind::SingleUser, single);
        prop_assert_eq!(file.start_time, (count >= 3).then_some(seconds));
        prop_assert_eq!(file.port, (count >= 4).then_some(port));
        prop_assert_eq!(file.listen_address.as_deref(), (count >= 6).then_some("*"));
        let memory = file.shared_memory.map(|memory| (memory.key, memory.id));
        prop_assert_eq!(memory, (count >= 7).then_some((key, id)));
        prop_assert_eq!(file.status, (count >= 8).then_some(Status::Standby));
    }

    /// A truncated file is never read as anything that the whole file does not contain.
    #[test]
    fn a_torn_file_is_never_misread(at in 0..80_usize) {
        let whole = lines(4711, 1_700_000_000, 5432, 5, 6, 8);
        let at = at.min(whole.len());
        let full = PidFile::parse(whole.as_bytes()).expect("a file");
        match PidFile::parse(&whole.as_bytes()[..at]) {
            Ok(torn) => {
                prop_assert_eq!(torn.pid, full.pid);
                prop_assert!(torn.start_time.is_none() || torn.start_time == full.start_time);
                prop_assert!(torn.port.is_none() || torn.port == full.port);
                let memory = torn.shared_memory;
                prop_assert!(memory.is_none() || memory == full.shared_memory);
            }
            Err(error) => {
                use PidFileErrorKind::{Empty, Torn};
                prop_assert!(matches!(error.kind(), Empty | Torn));
            }
        }
    }

    #[test]
    fn any_command_line_is_read_or_refused(text in any::<String>()) {
        if let Ok(opts) = text.parse::<PostmasterOpts>() {
            prop_assert!(!opts.program.as_str().is_empty());
        }
    }

    /// Nothing is escaped in that file, so arguments that contain `" "` are the one exception.
    #[test]
    fn command_lines_are_read_back(
        program in "/[a-z ]{1,10}[a-z]",
        arguments in proptest::collection::vec("[^\"]{0,8}", 0..5),
    ) {
        prop_assume!(!program.contains(" '") && !arguments.iter().any(|a| a.contains('\0')));
        let quoted: String = arguments.iter().map(|a| format!(" \"{a}\"")).collect();
        let opts: PostmasterOpts = format!("{program}{quoted}\n").parse().expect("a command line");
        prop_assert_eq!(opts.program, program);
        prop_assert_eq!(opts.arguments, arguments);
    }

    #[test]
    fn process_ids_are_positive(number in any::<i64>()) {
        let parsed = number.to_string().parse::<Pid>();
        prop_assert_eq!(parsed.is_ok(), (1..=i64::from(i32::MAX)).contains(&number));
    }
}

#[test]
fn old_layouts() {
    let v8 = PidFile::parse(b"4711\n/srv/data\n  5432001    163840\n").expect("8.x");
    assert_eq!(
        v8.shared_memory.map(|m| (m.key, m.id)),
        Some((5_432_001, 163_840))
    );
    assert_eq!((v8.start_time, v8.port, v8.status), (None, None, None));

    let v9 = b"4711\n/srv/data\n1300000000\n5432\n/tmp\nlocalhost\n  5432001    163840\n";
    let v9 = PidFile::parse(v9).expect("9.1");
    assert_eq!(v9.listen_address.as_deref(), Some("localhost"));
    assert!(v9.started_at().is_some_and(|time| time.elapsed().is_ok()));
    assert_eq!(v9.status, None);

    // Bootstrap and single-user mode fill some lines with nothing.
    let single =
        PidFile::parse(b"-4711\n/srv/data\n1700000000\n5432\n\n\n  5 6\n").expect("single");
    assert_eq!(single.kind, ServerKind::SingleUser);
    assert_eq!(
        (single.socket_directory, single.listen_address),
        (None, None)
    );
}

#[cfg(feature = "serde")]
#[test]
fn serialized() {
    let file =
        PidFile::parse(lines(4711, 1_700_000_000, 5432, 5, 6, 8).as_bytes()).expect("a file");
    let text = serde_json::to_string(&file).expect("JSON");
    assert!(
        text.contains(r#""pid":4711"#) && text.contains(r#""status":"standby""#),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<PidFile>(&text).expect("JSON"), file);
    serde_json::from_str::<Pid>("0").expect_err("no process");
}
