//! What the README tells a person to type exists. Its Rust code is compiled and run in `foreign`.

use super::source::{read, root};

/// A fenced block of the README.
pub struct Block {
    /// What follows the fence, up to a comma: `rust`, `console`, `toml`.
    pub language: String,
    pub text: String,
}

/// The fenced blocks of the README, in order.
pub fn blocks() -> Vec<Block> {
    let readme = read("README.md");
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        blocks.push(Block { language: language.split(',').next().unwrap_or_default().to_owned(), text });
    }
    blocks
}

/// The commands in the README's `console` blocks: the lines that start with `$ `.
fn commands() -> Vec<String> {
    let console = blocks().into_iter().filter(|block| block.language == "console");
    let lines = console.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter_map(|line| line.strip_prefix("$ ").map(str::to_owned)).collect()
}

/// The names of the packages of this repository.
fn packages() -> Vec<String> {
    let members = [
        "catga",
        "catga-macros",
        "conformance",
        "examples/hello",
        "examples/order-service",
        "tests",
        "benches",
        "xtask",
    ];
    let name = |folder: &&str| {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        name.expect("a package has a name").to_owned()
    };
    members.iter().map(name).collect()
}

#[test]
fn every_command_of_the_readme_names_something_that_exists() {
    let commands = commands();
    let tasks = read("xtask/src/main.rs");
    let packages = packages();
    for command in &commands {
        let words: Vec<_> = command.split_whitespace().collect();
        let exists = match words[..] {
            ["cargo", "xtask", task, ..] => tasks.contains(&format!("[\"{task}\"] =>")),
            ["cargo", "run" | "bench", "-p", package, ..] => packages.iter().any(|name| name == package),
            ["bash", script] => root().join(script).is_file(),
            // `cargo xtask ci` sends these to the service and compares the answers.
            ["curl", ..] => command.contains("localhost:500"),
            _ => false,
        };
        assert!(exists, "`{command}` in README.md: nothing of the kind is known");
    }
    for expected in ["cargo run -p order-service", "cargo xtask test", "cargo xtask demo", "bash .ci/run"] {
        assert!(commands.iter().any(|command| command.starts_with(expected)), "the README does not show `{expected}`");
    }
}

#[test]
fn every_link_of_the_readme_leads_to_a_file() {
    for (document, text) in ["README.md", "ARCHITECTURE.md"].map(|document| (document, read(document))) {
        for (position, _) in text.match_indices("](") {
            let target = text[position + 2..].split([')', '#']).next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.starts_with("http");
            assert!(elsewhere || root().join(target).exists(), "{document} links to `{target}`, which does not exist");
        }
    }
}

#[test]
fn every_path_in_the_architecture_exists() {
    let text = read("ARCHITECTURE.md");
    let mut paths = 0;
    // What stands between backticks and starts as a path of the repository; every second piece is inside.
    for piece in text.split('`').skip(1).step_by(2) {
        let folders = ["tests/", "catga/", "catga-macros/", "examples/", "xtask/", "benches/"];
        if folders.iter().any(|folder| piece.starts_with(folder)) {
            assert!(root().join(piece).exists(), "ARCHITECTURE.md names `{piece}`, which does not exist");
            paths += 1;
        }
    }
    assert!(paths > 20, "only {paths} paths were found");
}
