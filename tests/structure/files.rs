//! The shape of files: each says first what it is for, none is long, and none leaves work undone.

use super::source::{read, root, rust_files};

/// Where the code of the repository is.
pub const FOLDERS: [&str; 8] = ["catga", "catga-macros", "cli", "conformance", "examples", "tests", "benches", "xtask"];
/// Compiled by the tests of the macros as they stand: what is in them is one mistake each.
const FIXTURES: [&str; 2] = ["catga-macros/tests/ui/", "catga-macros/tests/expand/"];
/// The most lines of a file.
const LINES: usize = 400;
/// Files that are longer, how long they may be, and why.
const LONG: [(&str, usize, &str); 0] = [];

#[test]
fn every_file_says_in_its_first_line_what_it_is_for() {
    for file in FOLDERS.iter().flat_map(|folder| rust_files(folder)) {
        if !FIXTURES.iter().any(|fixture| file.path.starts_with(fixture)) {
            assert!(file.text.starts_with("//! "), "{}: the first line is no `//!`", file.path);
        }
    }
}

#[test]
fn no_file_is_long() {
    let long = |path: &str| LONG.iter().find(|(long, ..)| *long == path).map_or(LINES, |(_, lines, _)| *lines);
    let mut offences = Vec::new();
    for file in FOLDERS.iter().flat_map(|folder| rust_files(folder)) {
        let lines = file.text.lines().count();
        if lines > long(&file.path) {
            offences.push(format!("{}: {lines} lines", file.path));
        }
    }
    assert!(offences.is_empty(), "longer than {LINES} lines; look for the seam:\n{}", offences.join("\n"));
}

#[test]
fn the_runtime_leaves_no_work_undone() {
    for file in ["catga/src", "catga-macros/src"].iter().flat_map(|folder| rust_files(folder)) {
        for word in ["todo!", "unimplemented!", "FIXME", "XXX"] {
            assert!(!file.text.contains(word), "{} contains `{word}`", file.path);
        }
    }
}

#[test]
fn the_runtime_refuses_locks_and_unbounded_queues() {
    let lints = read("catga/clippy.toml");
    for library in ["std", "tokio", "parking_lot"] {
        for lock in ["Mutex", "RwLock", "Semaphore", "Condvar"] {
            // What a library does not have cannot be refused.
            let absent = matches!((library, lock), ("std" | "parking_lot", "Semaphore") | ("tokio", "Condvar"));
            let module = if library == "parking_lot" { library.to_owned() } else { format!("{library}::sync") };
            assert!(absent || lints.contains(&format!("\"{module}::{lock}\"")), "{module}::{lock} is not refused");
        }
    }
    assert!(lints.contains("\"tokio::sync::mpsc::unbounded_channel\""));
    // The harness records behind a lock: it is on no path of a message in production.
    for file in rust_files("catga/src").iter().filter(|file| !file.path.starts_with("catga/src/testing/")) {
        for exception in ["clippy::disallowed_types", "clippy::disallowed_methods"] {
            assert!(!file.text.contains(exception), "{} makes an exception from {exception}", file.path);
        }
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = read("catga/Cargo.toml");
    let section = manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap_or_default();
    // Those that the project was given, and those whose sentence stands at the workspace.
    let given = ["catga-macros", "serde", "serde_json", "thiserror", "tokio", "tracing"];
    let mut before = "";
    for line in section.lines().filter(|line| !line.is_empty()) {
        let name = line.split(['=', '.']).next().unwrap_or_default().trim();
        let explained = before.starts_with('#') || line.starts_with('#') || given.contains(&name);
        assert!(explained, "`{name}` in catga/Cargo.toml: say above it why it is there");
        before = line;
    }
}

#[test]
fn the_repository_has_what_a_rust_project_is_expected_to_have() {
    for path in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "rust-toolchain.toml"]
    {
        assert!(root().join(path).is_file(), "{path} is missing");
    }
}
