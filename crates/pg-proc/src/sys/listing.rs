//! The properties of a process that the system lists: by a system call where it has one, else by
//! `ps`.

use std::process::{Command, Stdio};

use rustix::io::Errno;

use crate::pid::Pid;

/// A process, as the system lists it.
pub(super) struct Listing {
    /// The first letter of what `ps` prints: `Z` for a zombie.
    pub(super) state: u8,
    pub(super) uid: u32,
    /// Seconds since 1970.
    pub(super) began: i64,
    pub(super) program: String,
}

/// The reason why a process is not listed.
pub(super) enum Unlisted {
    Absent,
    /// There is no `ps`, or one that does not work, or does not show this process.
    NoMeans,
}

impl Listing {
    pub(super) fn of(pid: Pid) -> Result<Self, Unlisted> {
        match Self::by_kernel(pid) {
            Some(listing) => Ok(listing),
            // On macOS `ps` may examine processes of other users, and its callers may not.
            None => Self::by_ps(pid),
        }
    }

    /// Source: `proc_pidinfo` in libproc.h of macOS, which has no manual page.
    #[cfg(target_vendor = "apple")]
    fn by_kernel(pid: Pid) -> Option<Self> {
        use nix::libc;
        let size = size_of::<libc::proc_bsdinfo>() as libc::c_int;
        // SAFETY: all zeros is a value of the plain C struct, which has this size.
        let info = unsafe {
            let mut info: libc::proc_bsdinfo = std::mem::zeroed();
            let place = (&raw mut info).cast();
            let got = libc::proc_pidinfo(pid.as_raw(), libc::PROC_PIDTBSDINFO, 0, place, size);
            (got == size).then_some(info)?
        };
        Some(Self {
            state: if info.pbi_status == libc::SZOMB {
                b'Z'
            } else {
                b'R'
            },
            uid: info.pbi_uid,
            began: i64::try_from(info.pbi_start_tvsec).ok()?,
            program: text(&info.pbi_comm),
        })
    }

    /// Source: sysctl(3) of FreeBSD, `KERN_PROC_PID`.
    #[cfg(target_os = "freebsd")]
    fn by_kernel(pid: Pid) -> Option<Self> {
        use nix::libc;
        let name = [
            libc::CTL_KERN,
            libc::KERN_PROC,
            libc::KERN_PROC_PID,
            pid.as_raw(),
        ];
        let mut size = size_of::<libc::kinfo_proc>();
        // SAFETY: all zeros is a value of the plain C struct, which has this size.
        let info = unsafe {
            let mut info: libc::kinfo_proc = std::mem::zeroed();
            let place = (&raw mut info).cast();
            let got = libc::sysctl(name.as_ptr(), 4, place, &mut size, std::ptr::null(), 0);
            (got == 0 && size == size_of_val(&info)).then_some(info)?
        };
        // The system writes its own size first, which differs where the structure does.
        (usize::try_from(info.ki_structsize) == Ok(size)).then(|| Self {
            state: if info.ki_stat == libc::SZOMB {
                b'Z'
            } else {
                b'R'
            },
            uid: info.ki_uid,
            began: info.ki_start.tv_sec as i64,
            program: text(&info.ki_comm),
        })
    }

    #[cfg(not(any(target_vendor = "apple", target_os = "freebsd")))]
    fn by_kernel(_pid: Pid) -> Option<Self> {
        None
    }

    fn by_ps(pid: Pid) -> Result<Self, Unlisted> {
        let output = Command::new("ps")
            .args([
                "-o", "stat=", "-o", "uid=", "-o", "etime=", "-o", "comm=", "-p",
            ])
            .arg(pid.to_string())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|_| Unlisted::NoMeans)?;
        let text = String::from_utf8_lossy(&output.stdout);
        Self::parse(&text).ok_or_else(|| {
            // Processes of other users may be hidden from `ps`, and not from this.
            match rustix::process::test_kill_process(pid.rustix()) {
                Err(Errno::SRCH) => Unlisted::Absent,
                _ => Unlisted::NoMeans,
            }
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let state = *words.next()?.as_bytes().first()?;
        let uid = words.next()?.parse().ok()?;
        let age = age(words.next()?)?;
        let program = words.collect::<Vec<_>>().join(" ");
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        Some(Self {
            state,
            uid,
            began: now.saturating_sub(age),
            program,
        })
    }

    /// The program's own name, and not one that contains it. `ps` of macOS prints a path.
    pub(super) fn is_postgres(&self) -> bool {
        let name = self.program.rsplit('/').next().unwrap_or_default();
        ["postgres", "postmaster", "edb-postgres"].contains(&name)
    }
}

/// The text up to the first zero byte.
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
fn text(field: &[nix::libc::c_char]) -> String {
    let bytes: Vec<u8> = field
        .iter()
        .map(|&byte| byte as u8)
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `[[days-]hours:]minutes:seconds`
fn age(text: &str) -> Option<i64> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let mut seconds: i64 = days.parse().ok()?;
    let mut parts: Vec<i64> = Vec::new();
    for part in clock.split(':') {
        parts.push(part.parse().ok()?);
    }
    let [hours, minutes, secs] = match parts.as_slice() {
        [m, s] => [0, *m, *s],
        [h, m, s] => [*h, *m, *s],
        _ => return None,
    };
    seconds = seconds.checked_mul(24)?.checked_add(hours)?;
    seconds = seconds.checked_mul(60)?.checked_add(minutes)?;
    seconds.checked_mul(60)?.checked_add(secs)
}
