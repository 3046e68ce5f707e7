//! The program that `cargo xtask bench` runs.

use std::process::ExitCode;

/// Costs time where it counts, so it is there for `counts` alone.
#[cfg(feature = "count")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    catga_bench::rows::main()
}
