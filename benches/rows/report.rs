//! What all runs of a row come to: a line of the table, and the JSON.

use std::fmt::Write;

use serde::Serialize;

use super::{
    row::{Figure, Row},
    stats::{Spread, ratio, verdict},
};

/// A row that was measured.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// What was measured.
    #[serde(flatten)]
    pub row: Row,
    /// Runs of catga.
    pub ours: Vec<Figure>,
    /// Runs of the twin, each beside the one of catga with its number.
    pub bare: Vec<Figure>,
    /// How they compare; none if a message was lost or invented.
    pub ratio: Option<Spread>,
    /// Why there is no figure.
    pub failed: Option<String>,
}

impl Measured {
    /// What was measured, or why it was not.
    pub fn new(row: Row, runs: Result<(Vec<Figure>, Vec<Figure>), String>) -> Self {
        let (ours, bare, failed) = match runs {
            Ok((ours, bare)) => (ours, bare, None),
            Err(error) => (Vec::new(), Vec::new(), Some(error)),
        };
        let rates = |runs: &[Figure]| runs.iter().map(|run| run.per_second).collect::<Vec<_>>();
        let ratio = ratio(&rates(&ours), &rates(&bare));
        Self { row, ours, bare, ratio, failed }
    }
}

/// The table, in Markdown.
pub fn table(rows: &[Measured]) -> String {
    let mut table = "\
| row | callers | catga | native twin | ratio | messages a frame | P50 / P99 | processor a message: client + server |
|---|---|---|---|---|---|---|---|
"
    .to_owned();
    for measured in rows {
        let Row { title, twin, callers, .. } = measured.row;
        let line = match (&measured.ratio, &measured.failed) {
            (Some(ratio), _) => {
                let (ours, bare) = (&measured.ours[..], &measured.bare[..]);
                format!(
                    "| {title}; twin: {twin} | {callers} | {} | {} | {} | {} | {} | {} |",
                    rate(ours),
                    rate(bare),
                    if measured.row.paced { "paced".to_owned() } else { verdict(ratio) },
                    middle(ours, |run| run.frame).map_or_else(none, |frame| format!("{frame:.1}")),
                    both(ours, bare, waits),
                    both(ours, bare, processor),
                )
            }
            (None, failed) => {
                let why = failed.as_deref().unwrap_or("not run");
                format!("| {title}; twin: {twin} | {callers} | | | no figure: {why} | | | |")
            }
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(table, "{line}");
    }
    table
}

fn none() -> String {
    "-".to_owned()
}

fn middle(runs: &[Figure], value: impl Fn(&Figure) -> Option<f64>) -> Option<f64> {
    let values: Vec<_> = runs.iter().filter_map(value).collect();
    Some(Spread::of(&values)?.median)
}

/// The median, and how far the runs lie apart.
pub fn rate(runs: &[Figure]) -> String {
    let rates: Vec<_> = runs.iter().map(|run| run.per_second).collect();
    let Some(spread) = Spread::of(&rates) else { return none() };
    let shown = match spread.median {
        rate if rate >= 5e6 => format!("{:.1} ns a call", 1e9 / rate),
        rate if rate >= 1e6 => format!("{:.2}M/s", rate / 1e6),
        rate => format!("{:.1}k/s", rate / 1e3),
    };
    format!("{shown} ± {:.0} %", spread.width() * 50.0)
}

fn both(ours: &[Figure], bare: &[Figure], shown: impl Fn(&[Figure]) -> Option<String>) -> String {
    match (shown(ours), shown(bare)) {
        (Some(ours), Some(bare)) => format!("{ours} us, twin {bare} us"),
        _ => none(),
    }
}

/// Half of the calls, and 99 of 100, took so long at most.
pub fn waits(runs: &[Figure]) -> Option<String> {
    Some(format!("{:.0} / {:.0}", middle(runs, |run| run.p50_us)?, middle(runs, |run| run.p99_us)?))
}

/// What a message took of the client and of the server.
pub fn processor(runs: &[Figure]) -> Option<String> {
    Some(format!("{:.2} + {:.2}", middle(runs, |run| run.client_us)?, middle(runs, |run| run.server_us)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::row::ROWS;

    fn runs(rates: &[f64]) -> Vec<Figure> {
        rates.iter().map(|rate| Figure { per_second: *rate, frame: Some(32.0), ..Figure::default() }).collect()
    }

    #[test]
    fn a_line_says_medians_spread_and_ratio() {
        let measured = Measured::new(ROWS[1], Ok((runs(&[300e3, 330e3, 270e3]), runs(&[100e3, 110e3, 90e3]))));
        let line = table(&[measured]);
        for part in ["| 256 |", "300.0k/s ± 10 %", "100.0k/s ± 10 %", "| 3.00x |", "| 32.0 |"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }

    #[test]
    fn a_row_that_lost_a_message_has_no_figure() {
        let line = table(&[Measured::new(ROWS[0], Err("2 messages were sent and 1 handled".to_owned()))]);
        assert!(line.contains("no figure: 2 messages were sent and 1 handled"), "{line}");
    }
}
