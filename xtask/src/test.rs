//! Everything that must hold before a change is kept, the cheapest first.

use xtask::shell::{Result, cargo, root, step};

pub(crate) fn run() -> Result {
    step("formatting", &mut cargo("fmt --all --check"))?;
    // Clippy is the compiler with more lints: each set of features compiles, and without a warning.
    step("no feature", &mut cargo("clippy -p catga --no-default-features -- -D warnings"))?;
    for feature in features()? {
        let arguments = format!("clippy -p catga --no-default-features --features {feature} -- -D warnings");
        step(&format!("feature `{feature}` alone"), &mut cargo(&arguments))?;
    }
    // All targets: benchmarks, too, compile without a warning.
    step("lints", &mut cargo("clippy --workspace --all-targets --all-features -- -D warnings"))?;
    let documentation = "doc --workspace --all-features --no-deps";
    step("documentation", cargo(documentation).env("RUSTDOCFLAGS", "-D warnings"))?;
    // With private items, links between them are followed; without, a public text may not link to one.
    let private = format!("{documentation} --document-private-items");
    step("documentation of private items", cargo(&private).env("RUSTDOCFLAGS", "-D warnings"))?;
    // Tests on real servers wait more than they compute: on two cores, four at a time take half the time of two.
    step("tests", cargo("test --workspace --all-features --no-fail-fast").env("RUST_TEST_THREADS", "4"))
}

/// The features of the runtime crate, as its manifest lists them, so that a new one is not forgotten.
fn features() -> Result<Vec<String>> {
    let manifest = root().join("catga/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let section =
        text.lines().skip_while(|line| *line != "[features]").skip(1).take_while(|line| !line.starts_with('['));
    let names = section.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim().to_owned());
    let names: Vec<_> = names.filter(|name| !name.starts_with('#') && name != "default").collect();
    match names.is_empty() {
        true => Err("no features were found in catga/Cargo.toml".to_owned()),
        false => Ok(names),
    }
}
