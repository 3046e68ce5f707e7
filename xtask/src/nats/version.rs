//! The version of a nats-server: what it says of itself, and which is new enough.

use std::{ffi::OsStr, process::Command};

use crate::shell::Result;

/// Three numbers; a later version is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version([u32; 3]);

impl Version {
    /// The oldest server that catga works with.
    pub(super) const OLDEST: Self = Self([2, 10, 0]);

    /// Reads `2.15.1`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let version = [numbers.next()??, numbers.next()??, numbers.next()??];
        numbers.next().is_none().then_some(Self(version))
    }

    /// Asks a program, which answers `nats-server: v2.15.1`; of a preview, `v2.15.1-RC.1`, the numbers count.
    pub(super) fn of(program: &OsStr) -> Result<Self> {
        let shown = program.display();
        let output = Command::new(program).arg("--version").output();
        let output = output.map_err(|error| format!("`{shown}` cannot be run: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.trim().strip_prefix("nats-server: v");
        let version = version.and_then(|version| Self::parse(version.split(['-', '+']).next()?));
        version.ok_or_else(|| format!("`{shown} --version` does not answer as a nats-server does"))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |text| Version::parse(text).expect("it is a version");
        assert!(version("2.9.10") < Version::OLDEST && Version::OLDEST < version("2.10.26"));
        assert_eq!(version("2.15.1").to_string(), "2.15.1");
        for text in ["", "2.15", "2.15.1.0", "v2.15.1", "2.x.1", "../..", "2.15.1-RC.1"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
