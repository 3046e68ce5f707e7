//! Runs commands one after the other, and says which and how long each took.
#![expect(clippy::print_stdout, reason = "it is read by the person who typed the command")]

use std::{
    ffi::OsStr,
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
    in_root(Command::new(program), arguments)
}

/// A cargo command in the root of the repository.
pub fn cargo(arguments: &str) -> Command {
    in_root(cargo_here(), arguments)
}

/// The same cargo that runs this program, in the folder where the person is.
pub fn cargo_here() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo says to this program about its package. Build scripts that look at it would run anew, and all that depends
    // on them would be compiled anew, whenever another program calls cargo.
    let own = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    std::env::vars_os().filter(|(name, _)| own(name)).for_each(|(name, _)| {
        cargo.env_remove(name);
    });
    cargo
}

fn in_root(mut command: Command, arguments: &str) -> Command {
    command.args(arguments.split_whitespace()).current_dir(root()).stdin(Stdio::null());
    command
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_called_as_if_by_the_person_and_builds_nothing_anew() {
        let own = ["CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR", "CARGO_MANIFEST_DIR"];
        for name in own {
            assert!(std::env::var_os(name).is_some(), "cargo says {name} to its tests");
            assert!(cargo("build").get_envs().any(|change| change == (OsStr::new(name), None)), "{name} is kept");
        }
    }
}
