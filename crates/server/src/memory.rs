//! What the process keeps of memory that it does not need.
//!
//! Two habits of the system make an idle daemon look larger than what it works with:
//!
//! - glibc gives threads that allocate at the same time arenas of their own, up to eight per CPU, and
//!   what is freed in one stays with it. The daemon has a dozen threads that are idle nearly always.
//! - A page of code that was run once stays mapped, with the fifteen around it. Most of the code that
//!   was run at start (migrations, arguments, libvirt's libraries setting themselves up) never is
//!   again.
//!
//! What that costs was measured (docs/findings.md).

use std::ops::Range;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

const ARENAS: libc::c_int = 2;
/// After that, starting is over, and how often code is let go of that was not run since.
const SETTLED: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(600);

/// Bounds the number of arenas. To be called before there are other threads.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "a call to the C library")]
pub fn bound_arenas() {
    // SAFETY: mallopt(3) takes two numbers and may be called at any time.
    let done = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    if done == 0 {
        debug!(arenas = ARENAS, "the C library keeps its number of arenas");
    }
}

/// Other C libraries have no arenas.
#[cfg(not(target_env = "gnu"))]
pub fn bound_arenas() {}

/// Lets go of code that is not being run, once after the start and every few minutes. Never returns.
pub async fn let_go_of_code() {
    tokio::time::sleep(SETTLED).await;
    let mut due = interval(AGAIN);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        match tokio::fs::read_to_string("/proc/self/smaps").await {
            Ok(smaps) => clean_code(&smaps).into_iter().for_each(let_go),
            Err(error) => {
                debug!(%error, "the mappings of this process cannot be read");
                return;
            }
        }
    }
}

/// Mappings of code of which every page is as it is in its file (proc(5), `smaps`). A page that was
/// changed, by a debugger or because a library is linked in an old way, would lose its changes; it
/// counts as anonymous.
fn clean_code(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(head) = Head::parse(line) {
            current = head.is_code_of_a_file.then_some(head.range);
        } else if let Some(amount) = line.strip_prefix("Anonymous:") {
            let range = current.take();
            found.extend(range.filter(|_| amount.trim() == "0 kB"));
        }
    }
    found
}

/// First line of a mapping: `7f0000-7f1000 r-xp 00000000 08:01 42   /usr/lib/libc.so.6`.
struct Head {
    range: Range<usize>,
    is_code_of_a_file: bool,
}

impl Head {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let range = number(start)?..number(end)?;
        let is_code = words.next()? == "r-xp";
        let file = words.nth(3);
        let is_code_of_a_file = is_code && file.is_some_and(|path| path.starts_with('/'));
        Some(Self { range, is_code_of_a_file })
    }
}

#[allow(unsafe_code, reason = "a call to the system")]
fn let_go(range: Range<usize>) {
    let (address, length) = (range.start as *mut libc::c_void, range.len());
    // SAFETY: the pages are read-only, private, and as they are in their file, from which madvise(2)
    // gets them again when they are run or read. Whoever is running in them just waits for that.
    let done = unsafe { libc::madvise(address, length, libc::MADV_DONTNEED) };
    if done != 0 {
        // Locked in memory, or unmapped meanwhile.
        debug!(error = %std::io::Error::last_os_error(), "code stays mapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0c0000000-55d0c1000000 r--p 00000000 fe:00 7   /usr/bin/reprieved
Rss:                 100 kB
Anonymous:             0 kB
55d0c1000000-55d0c2000000 r-xp 01000000 fe:00 7   /usr/bin/reprieved
Rss:               12140 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
7f0000000000-7f0000010000 r-xp 00000000 fe:00 8   /usr/lib/with text relocations.so
Anonymous:             4 kB
7f0000020000-7f0000030000 rwxp 00000000 fe:00 9   /usr/lib/writable.so
Anonymous:             0 kB
7f0000040000-7f0000050000 r-xp 00000000 00:00 0
Anonymous:             0 kB
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0   [vdso]
Anonymous:             0 kB
7f0000060000-7f0000070000 r-xp 00001000 fe:00 10  /usr/lib/libc.so.6
Size:                 64 kB
";

    #[test]
    fn only_code_that_is_as_in_its_file() {
        let found: Vec<_> =
            clean_code(SMAPS).iter().map(|range| (range.start, range.end)).collect();
        assert_eq!(found, [(0x55d0_c100_0000, 0x55d0_c200_0000)]);
        assert!(clean_code("nonsense\n\n1-2\nAnonymous: 0 kB").is_empty());
    }

    #[test]
    fn code_that_was_let_go_of_goes_on_to_run() {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let code = clean_code(&smaps);
        let here = clean_code as fn(&str) -> Vec<Range<usize>> as usize;
        assert!(code.iter().any(|range| range.contains(&here)), "its own code is among it");
        code.into_iter().for_each(let_go);
        only_code_that_is_as_in_its_file();
    }
}
