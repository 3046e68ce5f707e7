//! The tasks of the repository: `cargo xtask test`, `cargo xtask ci`, `cargo xtask demo`.
#![expect(clippy::print_stdout, reason = "it is read by the person who typed the command")]

mod shell;

mod ci;
mod test;

mod demo;
mod http;
mod readme;
mod service;

use std::process::ExitCode;

const HELP: &str = "\
The tasks of this repository.

  cargo xtask test   formatting, lints, each feature alone, documentation, all tests; fails on any warning
  cargo xtask ci     the same, then what only a clean clone shows: examples run, dependencies once, tree unchanged
  cargo xtask demo   three nodes of the order service: failover, QoS 0 against QoS 1, parallel broadcast
";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["test"] => test::run(),
        ["ci"] => ci::run(),
        ["demo"] => demo::run(),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
