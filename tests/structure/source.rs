//! The files of the repository, as text.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is one folder below the root").to_owned()
}

/// The text of a file, by its path from the root.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A Rust file, and its path from the root.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// The Rust files below a folder of the repository, by path.
pub fn rust_files(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "no Rust file in {folder}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be read to its end").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            let path = path.strip_prefix(root()).expect("it is in the repository").to_string_lossy().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
}

impl Source {
    /// The code: without comments, and without the tests at its end.
    pub fn code(&self) -> String {
        let code = self.text.lines().map(|line| line.split("//").next().unwrap_or_default());
        let code = code.take_while(|line| line.trim() != "#[cfg(test)]");
        code.map(|line| format!("{line}\n")).collect()
    }
}
