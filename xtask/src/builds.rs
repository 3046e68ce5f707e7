//! What messages and handlers add to the time of a build: a crate with 100 of each beside the same structs and functions.
#![expect(clippy::print_stdout, reason = "it is read by the person who typed the command")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use xtask::{
    generated::{Style, messages},
    shell::{Result, cargo, output, root, target},
};

const MESSAGES: usize = 100;
const RUNS: usize = 5;

/// The crates: a folder, what is in it, what it depends on.
const CRATES: [(&str, Style, &str); 3] = [
    ("catga-100", Style::Catga, "catga = { path = \"ROOT/catga\" }"),
    ("plain-100", Style::Plain, ""),
    ("plain-json-100", Style::PlainJson, "serde_json = \"1\""),
];

/// What is timed. The profiles are cargo's own, as a new project has them.
const BUILDS: [&str; 3] = ["check", "build", "build --release"];

/// Times each build of each crate alone, with everything that it depends on built before.
pub(crate) fn run() -> Result {
    let folder = write_crates()?;
    println!(
        "| {MESSAGES} messages, {MESSAGES} handlers: seconds, median of {RUNS} (least to most) | catga | structs and functions | the same, and a table that calls them with JSON |"
    );
    println!("|---|---|---|---|");
    for build in BUILDS {
        output(&mut inside(&folder, build))?;
        let mut times = [const { Vec::new() }; CRATES.len()];
        // In turns: what slows the machine down slows neighbours in time alike.
        for _ in 0..RUNS {
            for ((name, ..), times) in CRATES.iter().zip(&mut times) {
                times.push(time(&folder, name, build)?);
            }
        }
        let cells: Vec<_> = times.into_iter().map(shown).collect();
        println!("| `cargo {build}` | {} |", cells.join(" | "));
    }
    Ok(())
}

/// One build of one crate, from nothing.
fn time(folder: &Path, name: &str, build: &str) -> Result<Duration> {
    let release = if build.ends_with("--release") { " --release" } else { "" };
    output(&mut inside(folder, &format!("clean --package {name}{release}")))?;
    let mut build = inside(folder, &format!("{build} --package {name}"));
    let began = Instant::now();
    output(&mut build)?;
    Ok(began.elapsed())
}

/// A command of cargo in that workspace.
fn inside(folder: &Path, arguments: &str) -> Command {
    let mut command = cargo(&format!("{arguments} --offline --quiet"));
    command.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    command
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let seconds = |place: usize| times.get(place).map_or(f64::NAN, Duration::as_secs_f64);
    format!("{:.2} ({:.2} to {:.2})", seconds(RUNS / 2), seconds(0), seconds(RUNS - 1))
}

/// A workspace of its own, beside what cargo builds here; its target folder is its own, too.
fn write_crates() -> Result<PathBuf> {
    let folder = target().join("bench/build");
    let names: Vec<_> = CRATES.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
    let workspace = format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n", names.join(", "));
    write(folder.join("Cargo.toml"), &workspace)?;
    // The versions that this repository is tested with.
    let lock = root().join("Cargo.lock");
    write(
        folder.join("Cargo.lock"),
        &fs::read_to_string(&lock).map_err(|error| format!("{}: {error}", lock.display()))?,
    )?;
    for (name, style, dependency) in CRATES {
        let dependency = dependency.replace("ROOT", &root().display().to_string());
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nserde = {{ version = \"1\", features = [\"derive\"] }}\n{dependency}\n"
        );
        write(folder.join(name).join("Cargo.toml"), &manifest)?;
        write(folder.join(name).join("src/lib.rs"), &messages(style, MESSAGES))?;
    }
    Ok(folder)
}

fn write(path: PathBuf, text: &str) -> Result {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
    written.map_err(|error| format!("{}: {error}", path.display()))
}
