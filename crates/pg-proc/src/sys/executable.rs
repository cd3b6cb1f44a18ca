//! Returns whether an executable is a PostgreSQL server, by its content.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Result};

/// The name of a function that every server has, and exports to its extensions; other programs of
/// PostgreSQL do not have it. It is masked, so that programs with this crate in them do not
/// contain it.
const MASKED: [u8; 14] = masked(*b"PostmasterMain");
const MASK: u8 = 0x55;

/// The number of bytes of a program that are read.
const LONGEST: u64 = 32 << 20;

const fn masked<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    let mut n = 0;
    while n < N {
        bytes[n] ^= MASK;
        n += 1;
    }
    bytes
}

/// Reads until the name is found: in an ELF file it stands near the beginning, in the table of
/// dynamic symbols.
pub(super) fn is_server(program: File) -> Result<bool> {
    let mut program = program.take(LONGEST);
    // It must not be unmasked before the program runs.
    let name = masked(black_box(MASKED));
    let mut window = vec![0; 128 << 10];
    let mut kept = 0;
    loop {
        let n = program.read(window.get_mut(kept..).unwrap_or_default())?;
        if n == 0 {
            return Ok(false);
        }
        let filled = window.get(..kept + n).unwrap_or_default();
        if contains(filled, &name) {
            return Ok(true);
        }
        // It may be cut in two.
        let end = filled.len();
        kept = end.min(name.len() - 1);
        window.copy_within(end - kept..end, 0);
    }
}

fn contains(bytes: &[u8], name: &[u8; MASKED.len()]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte == name[0]) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(name) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn this_program_is_not_a_server() {
        let this = File::open(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_server(this).unwrap());
    }

    #[test]
    fn the_name_is_found_wherever_it_stands() {
        let name = masked(black_box(MASKED));
        let window = 128 << 10;
        for at in [0, 1, window - 20, window - 7, window, 3 * window - 40] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![b'P'; at]).unwrap();
            file.write_all(&name).unwrap();
            file.rewind().unwrap();
            assert!(is_server(file).unwrap(), "{at}");
        }
    }
}
