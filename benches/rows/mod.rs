//! What `cargo xtask bench` runs: each row beside its native twin, in turns, on a server of its own.
//!
//! What is public is for `benches/peers`, which runs other frameworks beside both sides of some rows.

pub mod bare;
mod calls;
mod chart;
mod counts;
mod http;
pub mod inside;
pub mod load;
pub mod messages;
pub mod ours;
pub mod report;
pub mod row;
pub mod stats;
pub mod tally;
mod tuned;
mod usage;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use xtask::shell;

use self::{
    report::Measured,
    row::{Figure, MAIN, PART, ROWS, Row, Side, Work},
};

/// What went wrong, in one sentence.
pub type Result<T = ()> = std::result::Result<T, String>;

/// How long runs take and how many there are of each side: for a look.
pub const QUICK: (Duration, usize) = (Duration::from_millis(500), 3);
/// And for a table.
pub const FULL: (Duration, usize) = (Duration::from_secs(2), 5);

const HELP: &str = "\
cargo xtask bench [--quick] [--only catga|bare] [ROW or GROUP ..]
cargo xtask bench counts
cargo xtask bench peers [--quick] [ROW ..]

  --quick   three short runs of each side instead of five longer ones: the main rows in under two minutes, builds aside
  --only    one side alone, for a profiler; writes nothing
  counts    system calls, allocations and memory of both sides for some of the rows
  peers     other frameworks beside both sides of some rows; it builds them first

It prints a table, and writes rows.json and rows.svg into target/bench. Without a name the group `main` is run. Rows:
";

/// The program.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let (mut chosen, mut sides, mut measure) = (Vec::new(), vec![Side::Ours, Side::Bare], FULL);
    let words: Vec<_> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "counts") {
        return counts::run(&words[1..]).map(|()| ExitCode::SUCCESS);
    }
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let named: Vec<_> = ROWS.into_iter().filter(|row| row.name == word || row.group == word).collect();
        match word.as_str() {
            "--quick" => measure = QUICK,
            "--only" => match words.next().as_deref().and_then(Side::named) {
                Some(side) => sides = vec![side],
                None => return Ok(help()),
            },
            _ if named.is_empty() => return Ok(help()),
            _ => chosen.extend(named),
        }
    }
    if chosen.is_empty() {
        chosen.extend(ROWS.into_iter().filter(|row| row.group == MAIN));
    }
    if sides.contains(&Side::Ours) && chosen.iter().any(|row| matches!(row.work, Work::Http { .. })) {
        http::build()?;
    }
    let began = Instant::now();
    let rows: Vec<_> = chosen.iter().map(|row| Measured::new(*row, measure_row(row, &sides, measure))).collect();
    println!("\n{}", report::table(&rows));
    if sides.len() == 2 {
        let folder = folder()?;
        write(folder.join("rows.json"), &serde_json::to_string_pretty(&rows).map_err(text)?)?;
        write(folder.join("rows.svg"), &chart::svg(&rows))?;
    }
    println!("took {:.0} s", began.elapsed().as_secs_f64());
    let whole = rows.iter().all(|measured| measured.failed.is_none());
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn help() -> ExitCode {
    eprint!("{HELP}");
    for Row { name, group, title, twin, callers, .. } in ROWS {
        eprintln!("  {group:<6} {name:<13} {title}, callers: {callers}; twin: {twin}");
    }
    ExitCode::from(2)
}

/// Both sides in turns; the first run that loses or invents a message ends the row.
fn measure_row(row: &Row, sides: &[Side], (time, runs): (Duration, usize)) -> Result<(Vec<Figure>, Vec<Figure>)> {
    println!("{} ({}, callers: {})", row.name, row.title, row.callers);
    let (mut ours, mut bare, mut pace) = (Vec::new(), Vec::new(), None);
    if row.paced {
        let most = row.measure(Side::Bare, "bench-most".to_owned(), time, None)?.per_second;
        println!("  the twin alone  {most:.0}/s");
        pace = Some(most * PART);
    }
    for number in 1..=runs {
        for side in sides {
            let figure = row
                .measure(*side, format!("bench-{number}"), time, pace)
                .map_err(|error| format!("{side:?}, run {number}: {error}"))
                .inspect_err(|error| println!("  {error}"))?;
            let seconds = figure.messages as f64 / figure.per_second;
            let used = figure.client_us.zip(figure.server_us);
            let used = used.map_or(String::new(), |(client, server)| format!(", {client:.2} + {server:.2} us each"));
            println!(
                "  {number} of {runs}  {side:?}  {:.0}/s: {} in {seconds:.2} s{used}",
                figure.per_second, figure.messages
            );
            match side {
                Side::Ours => ours.push(figure),
                Side::Bare => bare.push(figure),
            }
        }
    }
    Ok((ours, bare))
}

/// Where results are written, beside what cargo builds.
fn folder() -> Result<PathBuf> {
    let folder = shell::target().join("bench");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn write(path: PathBuf, content: &str) -> Result {
    fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// An error as text.
pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
