//! Runs what `benches/growth` measures, each part in a process of its own, so that memory is counted from nothing.

use xtask::shell::{Result, cargo, step};

/// How many message types are linked; half are commands, half events.
const TYPES: [&str; 4] = ["2", "100", "300", "1000"];
const PARTS: [&str; 10] = [
    "nodes 1",
    "nodes 10",
    "nodes 100",
    "nodes 1 nats",
    "nodes 10 nats",
    "nodes 100 nats",
    "members 100",
    "members 300",
    "members 1000",
    "entries 1000000",
];

pub(crate) fn run() -> Result {
    let growth = |types: &str, part: &str| {
        let arguments = format!("run --quiet --release --package catga-growth -- {part}");
        step(&format!("growth {part}"), cargo(&arguments).env("CATGA_TYPES", types))
    };
    TYPES.iter().rev().try_for_each(|types| growth(types, "types"))?;
    PARTS.iter().try_for_each(|part| growth("2", part))
}
