//! What an ordinary container leaves of root's rights.

/// The capabilities that Docker leaves root by default, as `CapEff` in `/proc/self/status` shows
/// them.
pub const DOCKER: u64 = 0xa804_25fb;

/// Takes all other capabilities from the programs that this thread executes from now on.
///
/// # Errors
///
/// The system refuses, as it does to those who are not root.
#[cfg(target_os = "linux")]
pub fn confine() -> std::io::Result<()> {
    use rustix::io::Errno;
    use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
    for number in 0..u64::BITS {
        if DOCKER & (1 << number) == 0 {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            match remove_capability_from_bounding_set(capability) {
                // The kernel has no more of them.
                Err(Errno::INVAL) => break,
                result => result?,
            }
        }
    }
    Ok(())
}

/// Whether this process may mount file systems: root may, unless it is confined.
///
/// # Panics
///
/// If root may not, and `PG_TESTS_CONFINED` does not say that it is meant to be so.
pub fn can_mount() -> bool {
    if !crate::is_root() {
        // `cargo xtask test` runs this as root, too.
        return false;
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CapabilitySet, capabilities};
        let own = capabilities(None).expect("capabilities").effective;
        if !own.contains(CapabilitySet::SYS_ADMIN) {
            assert!(
                std::env::var_os("PG_TESTS_CONFINED").is_some(),
                "root may not mount here: set PG_TESTS_CONFINED to do without"
            );
            return false;
        }
    }
    true
}
