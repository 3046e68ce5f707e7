//! What `cargo xtask bench peers` runs: each row by catga, by another framework and by hand, in turns.

mod broker;
mod inside;
mod nats;
mod report;

use std::{process::ExitCode, time::Duration};

use catga_bench::rows::{
    FULL, QUICK, Result,
    row::{Figure, ROWS},
};

/// The rows over NATS, as `cargo xtask bench` calls them.
const NATS: [&str; 7] = ["publish", "store-one", "store", "store-window", "deliver", "ask-one", "ask"];

const RUSTSTREAM: &str = "RustStream";

const INSIDE: [Row; 4] = [
    Row { name: "send", title: "in process, a command", hand: "a boxed call", peer: "medi-rs", callers: 1 },
    Row {
        name: "event",
        title: "in process, an event to a handler",
        hand: "a boxed call",
        peer: "rust_bus",
        callers: 1,
    },
    Row {
        name: "queued",
        title: "in process, an event to a handler",
        hand: "a boxed call",
        peer: "medi-rs, its queue",
        callers: 1,
    },
    Row { name: "broker", title: "through a broker in the process", hand: "a channel", peer: RUSTSTREAM, callers: 16 },
];

/// One row.
#[derive(Clone, Copy)]
struct Row {
    /// What it is called on the command line.
    name: &'static str,
    /// What it is called in the table.
    title: &'static str,
    /// What is done without a framework.
    hand: &'static str,
    /// The other framework.
    peer: &'static str,
    /// How many calls are under way at the same time.
    callers: u64,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Catga,
    Peer,
    Hand,
}

const SIDES: [Side; 3] = [Side::Catga, Side::Peer, Side::Hand];

/// The runs of each side.
type Runs = [Vec<Figure>; SIDES.len()];

fn main() -> ExitCode {
    let (mut chosen, mut measure) = (Vec::new(), FULL);
    for word in std::env::args().skip(1) {
        match rows().find(|row| row.name == word) {
            Some(row) => chosen.push(row),
            None if word == "--quick" => measure = QUICK,
            None => return help(),
        }
    }
    if chosen.is_empty() {
        chosen.extend(rows());
    }
    let measured: Vec<_> = chosen.into_iter().map(|row| (row, row.measure_all(measure))).collect();
    println!("\n{}", report::table(&measured));
    match measured.iter().all(|(_, runs)| runs.is_ok()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn rows() -> impl Iterator<Item = Row> {
    let over_nats = NATS.iter().filter_map(|name| ROWS.iter().find(|row| row.name == *name));
    let over_nats = over_nats.map(|row| Row {
        name: row.name,
        title: row.title,
        hand: row.twin,
        peer: RUSTSTREAM,
        callers: row.callers,
    });
    over_nats.chain(INSIDE)
}

fn help() -> ExitCode {
    eprintln!("cargo xtask bench peers [--quick] [ROW ..]\n");
    for Row { name, title, hand, peer, callers } in rows() {
        eprintln!("  {name:<10} {peer:<18} {title}, callers: {callers}; by hand: {hand}");
    }
    ExitCode::from(2)
}

impl Row {
    /// All sides in turns; the first run that loses or invents a message ends the row.
    fn measure_all(&self, (time, runs): (Duration, usize)) -> Result<Runs> {
        println!("{} ({} beside {}, callers: {})", self.name, self.title, self.peer, self.callers);
        let mut figures = Runs::default();
        for number in 1..=runs {
            for (side, figures) in SIDES.into_iter().zip(&mut figures) {
                let figure = self
                    .measure(side, time)
                    .map_err(|error| format!("{side:?}, run {number}: {error}"))
                    .inspect_err(|error| println!("  {error}"))?;
                println!("  {number} of {runs}  {side:?}  {:.0}/s: {}", figure.per_second, figure.messages);
                figures.push(figure);
            }
        }
        Ok(figures)
    }

    fn measure(&self, side: Side, time: Duration) -> Result<Figure> {
        match self.name {
            "send" => Ok(inside::send(side, time)),
            "event" => inside::event(side, time),
            "queued" => inside::queued(side, time),
            "broker" => broker::measure(side, self.callers, time),
            name => nats::measure(name, side, time),
        }
    }
}
