//! The chart: a bar for each row, as long as catga is faster than its twin.

use std::fmt::Write;

use super::{report::Measured, stats::verdict};

const LEFT: f64 = 330.0;
const WIDTH: f64 = 420.0;
const LINE: f64 = 26.0;

/// An SVG with the ratios of all rows that have one.
pub fn svg(rows: &[Measured]) -> String {
    let bars: Vec<_> = rows
        .iter()
        .filter(|measured| !measured.row.paced)
        .filter_map(|measured| Some((measured.row, measured.ratio?)))
        .collect();
    let most = bars.iter().map(|(_, ratio)| ratio.most).fold(1.0, f64::max);
    let x = |ratio: f64| LEFT + WIDTH * ratio / most;
    let height = LINE * (bars.len() as f64 + 2.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\">catga beside async-nats by hand (a boxed call in process): messages a second; the line is 1x</text>\n"
    );
    for (index, (row, ratio)) in bars.iter().enumerate() {
        let y = LINE * (index as f64 + 1.0);
        let (end, least, most) = (x(ratio.median), x(ratio.least), x(ratio.most));
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{text}\">{name}, callers: {callers}</text>\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{long}\" height=\"16\" fill=\"#3b7dd8\"/>\
             <line x1=\"{least}\" x2=\"{most}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"black\"/>\
             <text x=\"{behind}\" y=\"{text}\">{verdict}</text>",
            text = y + 16.0,
            name = row.title.replace('`', ""),
            callers = row.callers,
            top = y + 4.0,
            long = end - LEFT,
            middle = y + 12.0,
            behind = most + 8.0,
            verdict = verdict(ratio),
        );
    }
    let one = x(1.0);
    let _ = writeln!(
        svg,
        "<line x1=\"{one}\" x2=\"{one}\" y1=\"{LINE}\" y2=\"{}\" stroke=\"#c33\" stroke-dasharray=\"4 3\"/>\n</svg>",
        height - LINE + 8.0
    );
    svg
}
