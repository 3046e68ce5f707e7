//! What a clean clone must show beside the tests.

use xtask::shell::{Result, cargo, command, output, step};

use crate::{counts, demo, readme, test};

pub(crate) fn run() -> Result {
    let before = tree()?;
    test::run()?;
    counts::run(false)?;
    step("example hello", &mut cargo("run --quiet -p hello"))?;
    demo::run()?;
    demo::nats::run()?;
    readme::run()?;
    duplicates()?;
    let after = tree()?;
    if before != after {
        return Err(format!("the checks changed the tree:\n{after}\nwhere it was before:\n{before}"));
    }
    println!("== all checks passed");
    Ok(())
}

/// What differs from the last commit; nothing in a clean clone.
fn tree() -> Result<String> {
    output(&mut command("git", "status --porcelain"))
}

/// Whoever depends on catga gets each of its dependencies once.
fn duplicates() -> Result {
    println!("== dependencies");
    let tree = output(&mut cargo("tree --duplicates --edges normal --package catga"))?;
    let versions: Vec<_> = tree.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic())).collect();
    match versions.is_empty() {
        true => Ok(()),
        false => Err(format!("catga brings several versions of a package: {}", versions.join(", "))),
    }
}
