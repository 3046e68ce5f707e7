//! The tasks of the repository: `cargo xtask test`, `ci`, `demo`, `bench`, `counts`, `nats-server`, and those of operators.
#![expect(clippy::print_stdout, reason = "it is read by the person who typed the command")]

mod ci;
mod counts;
mod test;

mod builds;
mod growth;

mod lines;
mod orders;

mod demo;
mod processes;
mod readme;
mod service;

use std::{os::unix::process::CommandExt, process::ExitCode};

use xtask::{nats, shell};

const HELP: &str = "\
The tasks of this repository.

  cargo xtask test   formatting, lints, each feature alone, documentation, all tests; fails on any warning
  cargo xtask ci     the same, then what only a clean clone shows: examples run, dependencies once, tree unchanged
  cargo xtask demo   three nodes of the order service: failover, QoS 0 against QoS 1, parallel broadcast
  cargo xtask demo --nats   the same and more with a NATS server and three processes: they are killed and paused, too

  cargo xtask bench [--quick]   catga beside native code for the same work, on a NATS server; takes some minutes
  cargo xtask bench build       what 100 messages and 100 handlers add to a build, beside plain functions
  cargo xtask bench growth      what many types, nodes and remembered requests cost; some minutes, and builds
  cargo xtask bench counts      system calls, allocations and memory of both; `cargo xtask bench --help` says more
  cargo xtask bench peers [--quick]   other frameworks for the same work, which it builds; `--help` lists the rows

  cargo xtask counts [--write]  instructions of a call, which may differ by 5 % from what is written; writes it anew

  cargo xtask nats-server [VERSION]   the path of a nats-server; installs one if there is none

  cargo xtask dead ..   dead letters on a NATS server: list, show, replay, delete; `cargo xtask dead` says more
  cargo xtask tap ..    what travels on a NATS server
";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["test"] => test::run(),
        ["ci"] => ci::run(),
        ["demo"] => demo::run(),
        ["demo", "--nats"] => demo::nats::run(),
        ["nats-server"] => nats_server(None),
        ["nats-server", version] => nats_server(Some(version)),
        ["counts"] => counts::run(false),
        ["counts", "--write"] => counts::run(true),
        ["bench", "build"] => builds::run(),
        ["bench", "growth"] => growth::run(),
        ["bench", "counts", ..] => {
            return become_cargo("run --release --package catga-bench --features count --bin rows", &words[1..]);
        }
        // Only whoever asks for them builds other frameworks.
        ["bench", "peers", ref rest @ ..] => return become_cargo_of("benches/peers", "run --release --locked", rest),
        // Optimised, and to its end: what is built for tests has no figures.
        ["bench", ref rest @ ..] => {
            return become_cargo("run --release --package catga-bench --bin rows", rest);
        }
        ["dead", ..] | ["tap", ..] => return become_cargo("run --quiet --package catga-cli", &words),
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

/// Another program of this repository takes the place of this one, so that signals reach it. It starts where the person
/// is: arguments and variables may hold paths.
fn become_cargo(arguments: &str, words: &[&str]) -> ExitCode {
    become_cargo_of("", arguments, words)
}

/// The same for the workspace in a folder of the repository.
fn become_cargo_of(folder: &str, arguments: &str, words: &[&str]) -> ExitCode {
    let manifest = shell::root().join(folder).join("Cargo.toml");
    let mut cargo = shell::cargo_here();
    cargo.args(arguments.split(' ')).arg("--manifest-path").arg(manifest).arg("--").args(words);
    if !folder.is_empty() {
        // Everything that is built stays in one folder.
        cargo.env("CARGO_TARGET_DIR", shell::target());
    }
    let error = cargo.exec();
    eprintln!("xtask: cargo cannot be run: {error}");
    ExitCode::FAILURE
}

fn nats_server(version: Option<&str>) -> shell::Result {
    println!("{}", nats::find(version)?.display());
    Ok(())
}
