//! The checks of a demo: each is shown, and one that fails makes the demo fail.

use xtask::shell::Result;

/// The checks that were made.
#[derive(Default)]
pub(super) struct Checks {
    made: usize,
    failed: usize,
}

impl Checks {
    pub(super) fn check(&mut self, holds: bool, what: impl AsRef<str>) {
        println!("  {} {}", if holds { '✓' } else { '✗' }, what.as_ref());
        self.made += 1;
        self.failed += usize::from(!holds);
    }

    pub(super) fn result(&self) -> Result {
        match self.failed {
            0 => {
                println!("\n{} checks, all of them true", self.made);
                Ok(())
            }
            failed => Err(format!("{failed} of {} checks of the demo failed", self.made)),
        }
    }
}
