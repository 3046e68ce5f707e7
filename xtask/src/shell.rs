//! Runs commands one after the other, and says which and how long each took.
#![expect(clippy::print_stdout, reason = "it is read by the person who typed the command")]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

/// What went wrong, in one sentence.
pub type Result<T = ()> = std::result::Result<T, String>;

/// The root of the repository.
pub fn root() -> PathBuf {
    // The manifest of this package is one folder below it.
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A command in the root of the repository, with nothing to read from its input.
pub fn command(program: &str, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(root()).stdin(Stdio::null());
    command
}

/// A cargo command; the same cargo that runs this program.
pub fn cargo(arguments: &str) -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

/// Runs a step to its end; its output goes to the terminal.
///
/// # Errors
///
/// If it fails, or cannot be run.
pub fn step(name: &str, command: &mut Command) -> Result {
    println!("== {name}");
    let started = Instant::now();
    let status =
        command.status().map_err(|error| format!("{name}: {:?} cannot be run: {error}", command.get_program()))?;
    let seconds = started.elapsed().as_secs_f32();
    if !status.success() {
        return Err(format!("{name} failed after {seconds:.1} s ({status}): {}", shown(command)));
    }
    println!("== {name}: {seconds:.1} s");
    Ok(())
}

/// Runs a command and gives what it wrote.
///
/// # Errors
///
/// If it fails, with what it wrote as errors; or if it cannot be run.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("`{}` cannot be run: {error}", shown(command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("`{}` failed: {}", shown(command), text(&output.stderr))),
    }
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
