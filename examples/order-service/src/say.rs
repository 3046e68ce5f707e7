//! What the service tells the person who watches it, one line at a time: `[node1] 📦 Processing order ..`.

use std::{
    fmt::Arguments,
    io::{Write, stdout},
};

/// Writes `[node] text`.
#[macro_export]
macro_rules! say {
    ($node:expr, $($text:tt)*) => {
        $crate::say::line(format_args!("[{}] {}", $node, format_args!($($text)*)))
    };
}

/// Writes a line. That nobody reads is no reason to stop, as `println!` would.
pub fn line(text: Arguments<'_>) {
    // In one piece, so that the lines of several nodes do not mix.
    drop(stdout().write_all(format!("{text}\n").as_bytes()));
}
