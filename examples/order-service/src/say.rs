//! What the service tells the person who watches it, one line at a time: `[node1] 📦 Processing order ..`.

use std::{
    fmt::Arguments,
    io::{Write, stdout},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::messages::OrderId;

/// There if single orders are only counted: for each [`Told`] how many there were, and the sum of their numbers.
static COUNTS: OnceLock<[[AtomicU64; 2]; 3]> = OnceLock::new();

/// What can be told of an order.
#[derive(Clone, Copy)]
pub enum Told {
    Taken,
    Created,
    Shipped,
}

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

/// From now on single orders are counted, and no line is written for them: under load the lines are most of the work.
pub fn count_orders() {
    COUNTS.get_or_init(Default::default);
}

/// Writes a line of an order, or counts it.
pub fn order(told: Told, node: &str, id: &OrderId, text: Arguments<'_>) {
    match COUNTS.get() {
        None => say!(node, "{text}"),
        Some(counts) => {
            let [orders, sum] = &counts[told as usize];
            orders.fetch_add(1, Relaxed);
            sum.fetch_add(id.low_half(), Relaxed);
        }
    }
}

/// Writes what was counted, if it was: equal sums say that it was the same orders.
pub fn counted() {
    let Some(counts) = COUNTS.get() else { return };
    for (name, [orders, sum]) in ["taken", "created", "shipped"].iter().zip(counts) {
        line(format_args!("counted {name} {} {}", orders.load(Relaxed), sum.load(Relaxed)));
    }
}
