//! Names namespaces, so that everybody can tell from a name whether its test still runs.

use std::fs;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What every name begins with.
pub(crate) const PREFIX: &str = "mamey_test_";

/// A namespace of a process that cannot be looked up, one on another machine for instance, is left
/// over once it is this old.
const AGE_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// A name that nobody has had: `mamey_test_<machine>_<pid>_<process start>_<time>_<number>`.
///
/// Only lower-case letters, digits and underscores, at most 63 of them: all four servers take it
/// without quotes.
pub(crate) fn fresh() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let pid = process::id();
    let started = start_ticks(pid).unwrap_or_default();
    format!("{PREFIX}{:08x}_{pid:x}_{started:x}_{:x}_{number:x}", machine(), now_unix_s())
}

/// Whether the process that the name belongs to has ended. Other names are never left over.
pub(crate) fn is_left_over(name: &str) -> bool {
    let Some(maker) = Maker::parse(name) else {
        return false;
    };
    if maker.machine == machine() && cfg!(target_os = "linux") {
        return start_ticks(maker.pid) != Some(maker.started);
    }
    now_unix_s().saturating_sub(maker.created_unix_s) > AGE_MAX.as_secs()
}

/// Who made a namespace, as its name says.
struct Maker {
    machine: u32,
    pid: u32,
    started: u64,
    created_unix_s: u64,
}

impl Maker {
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('_');
        let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
        let maker = Self {
            machine: next()?.try_into().ok()?,
            pid: next()?.try_into().ok()?,
            started: next()?,
            created_unix_s: next()?,
        };
        next()?;
        parts.next().is_none().then_some(maker)
    }
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// When a process that still runs was started, in clock ticks since boot. A pid is reused by
/// another process one day, which then has another start.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name is in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    // A zombie runs no longer; only its parent has not looked yet.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Tells machines apart, and containers of one machine, whose pids mean different processes.
fn machine() -> u32 {
    static MACHINE: OnceLock<u32> = OnceLock::new();
    *MACHINE.get_or_init(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let pids = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let text = format!("{boot}{}", pids.display());
        // FNV-1a: the value has to be the same in every program of one checkout.
        text.bytes()
            .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
    })
}

#[cfg(test)]
mod tests {
    use super::{AGE_MAX, PREFIX, fresh, is_left_over, machine, now_unix_s};

    #[test]
    fn fresh_names_differ_and_fit_every_server() {
        let (one, other) = (fresh(), fresh());
        assert_ne!(one, other);
        assert!(one.len() <= 63, "{one}");
        assert!(one.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{one}");
    }

    #[test]
    fn a_name_of_a_running_process_is_kept() {
        assert!(!is_left_over(&fresh()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_is_left_over_when_its_pid_belongs_to_another_process() {
        let pid = std::process::id();
        let name = format!("{PREFIX}{:08x}_{pid:x}_1_{:x}_0", machine(), now_unix_s());
        assert!(is_left_over(&name));
    }

    #[test]
    fn a_name_of_another_machine_is_left_over_by_age() {
        let other = machine() ^ 1;
        let young = format!("{PREFIX}{other:08x}_1_1_{:x}_0", now_unix_s());
        let old = format!("{PREFIX}{other:08x}_1_1_{:x}_0", now_unix_s() - AGE_MAX.as_secs() - 60);
        assert!(!is_left_over(&young));
        assert!(is_left_over(&old));
    }

    #[test]
    fn names_of_others_are_never_left_over() {
        for name in ["postgres", "mamey", "mamey_test_", "mamey_test_1_2_3_4", "mamey_test_orders"]
        {
            assert!(!is_left_over(name), "{name}");
        }
        assert!(!is_left_over(&format!("{}_0", fresh())));
    }
}
