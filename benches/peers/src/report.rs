//! The table, in Markdown.

use std::fmt::Write;

use catga_bench::rows::{
    Result,
    report::{processor, rate, waits},
    row::Figure,
    stats::{ratio, verdict},
};

use crate::{Row, Runs};

/// A line for each row.
pub fn table(rows: &[(Row, Result<Runs>)]) -> String {
    let mut table = "\
| row | callers | other framework | catga | the other | by hand | catga to the other | the other to by hand | P50 / P99, in this order | processor a message: client + server |
|---|---|---|---|---|---|---|---|---|---|
"
    .to_owned();
    for (Row { title, hand, peer, callers, .. }, runs) in rows {
        let cells = match runs {
            Ok(runs @ [catga, it, by_hand]) => format!(
                "{} | {} | {} | {} | {} | {} | {}",
                rate(catga),
                rate(it),
                rate(by_hand),
                compared(catga, it),
                compared(it, by_hand),
                each(runs, waits),
                each(runs, processor)
            ),
            Err(error) => format!("| | | no figure: {error} | | | "),
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(table, "| {title}; by hand: {hand} | {callers} | {peer} | {cells} |");
    }
    table
}

fn compared(one: &[Figure], other: &[Figure]) -> String {
    let rates = |runs: &[Figure]| runs.iter().map(|run| run.per_second).collect::<Vec<_>>();
    ratio(&rates(one), &rates(other)).map_or_else(String::new, |ratio| verdict(&ratio))
}

fn each(runs: &Runs, shown: impl Fn(&[Figure]) -> Option<String>) -> String {
    let shown: Option<Vec<_>> = runs.iter().map(|runs| shown(runs)).collect();
    shown.map_or_else(|| "-".to_owned(), |shown| format!("{} us", shown.join(", ")))
}
