//! What a process takes, as Linux tells it: processor time and memory.

use std::{fs, time::Duration};

use crate::shell::Result;

/// Processor time is counted in hundredths of a second (`USER_HZ`, which is 100 on every Linux).
const TICK: Duration = Duration::from_millis(10);

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// Processor time of a process: `self`, or its number.
///
/// # Errors
///
/// If there is no such process.
pub fn processor(process: &str) -> Result<Duration> {
    let text = read(&format!("/proc/{process}/stat"))?;
    // Behind the name, which may hold anything, the times for the program and for the system are the 12th and 13th word.
    let words = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Ok(words.filter_map(|word| word.parse::<u32>().ok()).map(|ticks| TICK * ticks).sum())
}

/// Processor time of this thread, to the nanosecond.
///
/// # Errors
///
/// If the system does not tell it.
pub fn thread() -> Result<Duration> {
    let text = read("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| "/proc/thread-self/schedstat is empty".to_owned())
}

/// Resident memory of a process, in KiB.
///
/// # Errors
///
/// If there is no such process.
pub fn memory(process: &str) -> Result<f64> {
    status(process, "VmRSS")
}

/// The most memory of a process since its start, or since that was cleared (`/proc/../clear_refs`), in KiB.
///
/// # Errors
///
/// If there is no such process.
pub fn peak(process: &str) -> Result<f64> {
    status(process, "VmHWM")
}

fn status(process: &str, name: &str) -> Result<f64> {
    let text = read(&format!("/proc/{process}/status"))?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let size = rest.and_then(|rest| rest.split_whitespace().next()).and_then(|size| size.parse().ok());
    size.ok_or_else(|| "the system does not say how much memory a process has".to_owned())
}
