//! What a message costs beside time: system calls, allocations, memory.
//!
//! Each figure is of a process of its own, from the start of what is measured to its end. System calls are counted by
//! strace, which slows the process down; allocations and memory without it.

use std::{
    env, fs,
    io::ErrorKind,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use xtask::process::Process;

use super::{
    Result,
    row::{ROWS, Side},
    text,
};

/// The rows whose messages are counted.
const COUNTED: [&str; 4] = ["publish", "store-window", "ask", "deliver"];
/// The calls that have a column; the last holds all calls.
const CALLS: [&str; 5] = ["futex", "writev", "recvfrom", "epoll_wait", "total"];
const TIME: Duration = Duration::from_secs(1);
/// In the environment of a process that counts: whether strace is to watch it.
const TRACED: &str = "CATGA_BENCH_TRACED";
/// How long strace may take to attach to all threads, and to sum up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was counted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Counts {
    messages: u64,
    /// As [`CALLS`], if it was traced.
    calls: Option<[u64; CALLS.len()]>,
    allocations: u64,
    /// The most memory that the process had, in kilobytes.
    peak_kb: u64,
}

/// Counts from its start on.
pub struct Watch {
    strace: Option<(Process, PathBuf)>,
    allocations: u64,
}

impl Watch {
    /// None in a process that does not count.
    pub fn start() -> Result<Option<Self>> {
        let Some(traced) = env::var_os(TRACED) else { return Ok(None) };
        // From here on the peak is a new one.
        fs::write("/proc/self/clear_refs", "5").map_err(text)?;
        let strace = if traced == "1" { Some(attach()?) } else { None };
        Ok(Some(Self { strace, allocations: allocations() }))
    }

    /// What was counted since.
    pub fn stop(self, messages: u64) -> Result<Counts> {
        let allocations = allocations() - self.allocations;
        let peak_kb = xtask::usage::peak("self")? as u64;
        let calls = self.strace.map(|(strace, path)| detach(strace, &path)).transpose()?;
        Ok(Counts { messages, calls, allocations, peak_kb })
    }
}

/// How often anything was allocated so far, or made larger.
fn allocations() -> u64 {
    #[cfg(feature = "count")]
    let stats = stats_alloc::INSTRUMENTED_SYSTEM.stats();
    #[cfg(feature = "count")]
    return (stats.allocations + stats.reallocations) as u64;
    #[cfg(not(feature = "count"))]
    0
}

fn attach() -> Result<(Process, PathBuf)> {
    let own = std::process::id();
    let path = env::temp_dir().join(format!("catga-bench-{own}.strace"));
    let mut command = Process::command("strace", None);
    command.args(["-f", "-c", "-q", "-p", &own.to_string(), "-o"]).arg(&path).stderr(Stdio::inherit());
    let mut strace = Process::spawn(command)?;
    let deadline = Instant::now() + PATIENCE;
    while !is_traced()? {
        if strace.ended()?.is_some() || Instant::now() > deadline {
            return Err("strace may not watch this process: root may".to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((strace, path))
}

/// Whether each thread is watched.
fn is_traced() -> Result<bool> {
    let mut threads = fs::read_dir("/proc/self/task").map_err(text)?.filter_map(|thread| thread.ok());
    Ok(threads.all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        !status.lines().any(|line| line == "TracerPid:\t0")
    }))
}

fn detach(mut strace: Process, path: &PathBuf) -> Result<[u64; CALLS.len()]> {
    strace.signal("INT")?;
    strace.wait(PATIENCE)?.ok_or("strace does not end")?;
    let table = fs::read_to_string(path).map_err(text)?;
    fs::remove_file(path).map_err(text)?;
    Ok(CALLS.map(|name| called(&table, name)))
}

/// How often a call stands in what strace writes: share, seconds, microseconds a call, calls, perhaps errors, name.
fn called(table: &str, name: &str) -> u64 {
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let count = line.filter(|words| words.last() == Some(&name)).find_map(|words| words.get(3)?.parse().ok());
    count.unwrap_or_default()
}

/// `counts` prints the table; `counts <side> <row>` is one process of it.
pub fn run(words: &[String]) -> Result {
    let [side, name] = words else { return table() };
    let row = ROWS.iter().find(|row| row.name == name).ok_or("there is no such row")?;
    let figure = row.measure(Side::named(side).ok_or("there is no such side")?, "bench-1".to_owned(), TIME, None)?;
    println!("{}", serde_json::to_string(&figure.counts).map_err(text)?);
    Ok(())
}

fn table() -> Result {
    if let Err(error) = Command::new("strace").arg("-V").output() {
        return Err(match error.kind() {
            ErrorKind::NotFound => "strace is missing; `sudo apt-get install strace` installs it".to_owned(),
            _ => format!("strace cannot be run: {error}"),
        });
    }
    let columns = CALLS.map(|name| if name == "total" { "all calls" } else { name }).join(" | ");
    println!(
        "| row | side | {columns} | allocations a message | peak MB |\n|---|---|{}",
        "---|".repeat(CALLS.len() + 2)
    );
    for row in COUNTED {
        for side in ["catga", "bare"] {
            let (traced, free) = (count(side, row, "1")?, count(side, row, "0")?);
            let a_million = |calls: u64| format!("{:.0}", calls as f64 * 1e6 / traced.messages as f64);
            let calls = traced.calls.ok_or("no system calls were counted")?.map(a_million).join(" | ");
            let allocations = match cfg!(feature = "count") {
                true => format!("{:.2}", free.allocations as f64 / free.messages as f64),
                false => "-".to_owned(),
            };
            println!("| {row} | {side} | {calls} | {allocations} | {:.1} |", free.peak_kb as f64 / 1024.0);
        }
    }
    Ok(())
}

/// One process.
fn count(side: &str, row: &str, traced: &str) -> Result<Counts> {
    let own = env::current_exe().map_err(text)?;
    let output = xtask::shell::output(Command::new(own).args(["counts", side, row]).env(TRACED, traced))?;
    serde_json::from_str(output.trim()).map_err(|error| format!("{row}, {side}: {error}: {output}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_what_strace_writes() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.001000           5       200        12 futex
 40.00    0.000500           5       100           writev
------ ----------- ----------- --------- --------- ----------------
100.00    0.001500           5       300        12 total
";
        assert_eq!(CALLS.map(|name| called(table, name)), [200, 100, 0, 0, 300]);
    }
}
