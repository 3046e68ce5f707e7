//! What a wrong program is told, and that right programs compile.
//!
//! A file of `ui/` has one mistake and is named after it; a file of `ui/several/` has as many as its name says.
//! `TRYBUILD=overwrite cargo test -p catga-macros --test ui` accepts what the compiler says.

use std::{error::Error, fs, path::Path};

#[test]
fn wrong_programs_are_told_why_and_right_ones_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.compile_fail("tests/ui/several/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}

#[test]
fn one_mistake_gets_one_error() -> Result<(), Box<dyn Error>> {
    for (name, stderr) in outputs("tests/ui")? {
        assert_eq!(errors(&stderr), 1, "{name}:\n{stderr}");
    }
    Ok(())
}

#[test]
fn all_mistakes_of_an_item_are_reported_together() -> Result<(), Box<dyn Error>> {
    for (name, stderr) in outputs("tests/ui/several")? {
        let mistakes: usize = name.split('_').next().unwrap_or_default().parse()?;
        assert_eq!(errors(&stderr), mistakes, "{name}:\n{stderr}");
    }
    Ok(())
}

#[test]
fn a_wrong_program_fits_on_a_screen_and_says_what_its_mistake_is() -> Result<(), Box<dyn Error>> {
    for (name, source) in files("tests/ui", "rs")? {
        assert!(source.starts_with("//! "), "{name} does not say what its mistake is");
        assert!(source.lines().count() <= 15, "{name} is too long");
    }
    Ok(())
}

/// How many errors the compiler printed.
fn errors(stderr: &str) -> usize {
    stderr.lines().filter(|line| line.starts_with("error:") || line.starts_with("error[")).count()
}

/// The expected outputs of a folder; each wrong program must have one.
fn outputs(folder: &str) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let programs = files(folder, "rs")?;
    assert!(!programs.is_empty(), "no program in {folder}");
    programs
        .into_iter()
        .map(|(name, _)| Ok((name.clone(), fs::read_to_string(Path::new(folder).join(name).with_extension("stderr"))?)))
        .collect()
}

fn files(folder: &str, extension: &str) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, fs::read_to_string(&path)?));
        }
    }
    Ok(files)
}
