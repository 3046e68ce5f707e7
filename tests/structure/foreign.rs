//! A crate outside of the repository: the README's first program and its tests, with the dependencies that it names.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{
    readme::{Block, blocks},
    source::{read, root},
};

/// The README's blocks of one language.
fn blocks_of(language: &str) -> Vec<Block> {
    blocks().into_iter().filter(|block| block.language == language).collect()
}

fn cargo(folder: &Path, arguments: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Kept between runs of this test, so that only the first one compiles the dependencies.
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign"));
    let output = command.args(arguments).current_dir(folder).output().expect("cargo can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "cargo {arguments:?} in {}:\n{said}", folder.display());
    output
}

/// A folder outside of the repository, where cargo finds no workspace around it; gone with this value.
struct Outside(PathBuf);

impl Outside {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("catga-outside-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        Self(folder)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A fresh crate with the dependencies that the README names.
fn new_crate(outside: &Outside) -> PathBuf {
    let parent = &outside.0;
    let folder = parent.join("first-program");
    cargo(parent, &["new", "--quiet", "--vcs", "none", "--edition", "2024", "first-program"]);
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("cargo wrote a manifest");
    // The README's own lines, with the path of this repository in the place of the version.
    let path = root().join("catga").display().to_string().replace('\\', "/");
    let dependencies =
        blocks_of("toml").remove(0).text.replace("path = \"../catga/catga\"", &format!("path = \"{path}\""));
    assert!(dependencies.contains(&path), "the README's first `toml` block names catga by its path");
    let text = text.replace("[dependencies]\n", &dependencies);
    fs::write(&manifest, text).expect("the manifest can be written");
    // The versions that this repository is tested with: nothing is downloaded.
    fs::write(folder.join("Cargo.lock"), read("Cargo.lock")).expect("the lock file can be written");
    folder
}

#[test]
fn the_first_program_and_its_tests_run_in_a_crate_of_their_own() {
    let outside = Outside::new();
    let folder = new_crate(&outside);
    let mut rust = blocks_of("rust").into_iter().map(|block| block.text);
    let program = rust.next().expect("the README has a program");
    // Whatever Rust code follows is tests of this program, or stands for itself: nothing in the README goes uncompiled.
    let (tests, others): (Vec<_>, Vec<_>) = rust.partition(|block| block.contains("#[tokio::test"));
    let main = folder.join("src/main.rs");
    fs::write(&main, &program).expect("the program can be written");
    let output = cargo(&folder, &["run", "--quiet", "--offline"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // The README shows this output below the program, as the first block without a language.
    let shown = blocks_of("text").remove(0).text;
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // The receipt may be sent before or after the caller has its answer.
    assert_eq!(sorted(&said), sorted(&shown));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));

    // `cargo test` also compiles the examples of a crate. In one program, a node would find the handlers of all blocks.
    fs::create_dir(folder.join("examples")).expect("a folder can be made");
    for (number, block) in others.iter().enumerate() {
        let program = format!("#![allow(dead_code)]\n{block}\nfn main() {{}}\n");
        fs::write(folder.join(format!("examples/block_{number}.rs")), program).expect("a block can be written");
    }
    let tests_module = format!("#[cfg(test)]\nmod tests {{\n    use super::*;\n{}}}\n", tests.concat());
    fs::write(&main, format!("{program}\n{tests_module}")).expect("the tests can be written");
    let output = cargo(&folder, &["test", "--quiet", "--offline"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("{} passed", tests.len())), "{said}");
}
