//! Every test that the document of guarantees names exists.

use std::collections::BTreeSet;

use super::{
    files::FOLDERS,
    source::{read, rust_files},
};

/// The names in a text: between backticks, several words in lower case.
fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |piece: &&str| {
        piece.split('_').count() > 3
            && piece.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.split('`').skip(1).step_by(2).filter(is_name).collect()
}

#[test]
fn every_test_that_shows_a_guarantee_exists() {
    let document = read("docs/guarantees.md");
    let files: Vec<_> = FOLDERS.iter().flat_map(|folder| rust_files(folder)).collect();
    let exists = |name: &str| files.iter().any(|file| file.text.contains(&format!("fn {name}(")));
    let named = names(&document);
    let absent: Vec<_> = named.iter().filter(|name| !exists(name)).collect();
    assert!(absent.is_empty(), "docs/guarantees.md names tests that do not exist: {absent:#?}");
    assert!(named.len() > 60, "only {} names were found", named.len());
}

#[test]
fn every_promise_has_a_test() {
    let document = read("docs/guarantees.md");
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    for row in rows {
        assert!(!names(row).is_empty(), "nothing shows this promise: {row}");
    }
}
