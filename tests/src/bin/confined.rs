//! Runs a program as root in an ordinary container would: `confined PROGRAM [ARGUMENT...]`.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::os::unix::process::CommandExt as _;
    let mut words = std::env::args_os().skip(1);
    let program = words.next().ok_or("which program?")?;
    pg_tests::confine()?;
    Err(std::process::Command::new(program)
        .args(words)
        .exec()
        .into())
}

#[cfg(not(target_os = "linux"))]
fn main() {}
