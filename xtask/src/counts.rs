//! How many instructions a call costs, counted by valgrind: alike on every run, also where times are not.
#![expect(clippy::print_stdout, reason = "it is read by the person who typed the command")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use xtask::shell::{Result, cargo, command, output, root, step, target};

/// What a call cost when the counts were last written.
const FILE: &str = "benches/counts.txt";
/// A count that differs by more than this is to be explained, or to be gone.
const PERCENT: u64 = 5;
/// Two runs of each piece make so many calls: what lies between them is what the calls cost.
const CALLS: [u64; 2] = [1_000, 5_000];

/// The instructions of a call, and whose they are.
#[derive(Debug, PartialEq)]
struct Count {
    piece: String,
    /// Those of the program, which is the same on every machine.
    own: u64,
    /// With the C library, whose code is another one on another system or processor.
    all: u64,
}

/// Counts, and compares with what is written, or writes it anew.
pub(crate) fn run(write: bool) -> Result {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("== counts: nothing is checked here, those of {FILE} are for Linux on x86_64");
        return Ok(());
    }
    output(&mut command("valgrind", "--version"))
        .map_err(|_| "valgrind counts instructions, and is not there: `apt-get install valgrind`".to_owned())?;
    step("what is counted", &mut cargo("build --release --package catga-bench --bin counted"))?;
    let program = target().join("release/counted");
    let pieces = output(&mut Command::new(&program))?;
    println!("{:>12} {:>12} {:>12}", "instructions", "with libc", "written");
    let file = root().join(FILE);
    let written = if write { String::new() } else { text(&file)? };
    let written = parse(&written)?;
    let mut counts = Vec::new();
    for piece in pieces.lines() {
        let count = count(&program, piece)?;
        let before = find(&written, piece).map_or("-".to_owned(), |before| before.to_string());
        println!("{:>12} {:>12} {before:>12}  {piece}", count.own, count.all);
        counts.push(count);
    }
    if write {
        return fs::write(&file, shown(&counts)).map_err(|error| format!("{}: {error}", file.display()));
    }
    let complaints = compare(&counts, &written);
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

/// What is more than so many per cent away from what is written, and what is not written at all.
fn compare(counts: &[Count], written: &[(String, u64)]) -> Vec<String> {
    let anew = "write the counts anew: `cargo xtask counts --write`";
    let mut complaints = Vec::new();
    for Count { piece, own, .. } in counts {
        match find(written, piece) {
            None => complaints.push(format!("`{piece}` is not in {FILE}; {anew}")),
            Some(before) if own * 100 > before * (100 + PERCENT) => complaints.push(format!(
                "`{piece}` takes {own} instructions, more than {PERCENT} % above the {before} of {FILE}; if that is worth it, {anew}"
            )),
            Some(before) if own * 100 < before * (100 - PERCENT) => complaints.push(format!(
                "`{piece}` takes {own} instructions, more than {PERCENT} % below the {before} of {FILE}; so that it stays there, {anew}"
            )),
            Some(_) => {}
        }
    }
    let gone = written.iter().filter(|(piece, _)| !counts.iter().any(|count| count.piece == *piece));
    complaints.extend(gone.map(|(piece, _)| format!("`{piece}` of {FILE} is not counted any more; {anew}")));
    complaints
}

fn find(written: &[(String, u64)], piece: &str) -> Option<u64> {
    written.iter().find(|(name, _)| name == piece).map(|(_, count)| *count)
}

/// Runs a piece twice.
fn count(program: &Path, piece: &str) -> Result<Count> {
    let [(own, all), (more_own, more_all)] = [run_once(program, piece, CALLS[0])?, run_once(program, piece, CALLS[1])?];
    let each = |few: u64, many: u64| many.saturating_sub(few) / (CALLS[1] - CALLS[0]);
    Ok(Count { piece: piece.to_owned(), own: each(own, more_own), all: each(all, more_all) })
}

fn run_once(program: &Path, piece: &str, calls: u64) -> Result<(u64, u64)> {
    let profile = target().join("bench/callgrind.out");
    fs::create_dir_all(profile.with_file_name("")).map_err(|error| format!("{}: {error}", profile.display()))?;
    let mut valgrind = command("valgrind", "--quiet --tool=callgrind --compress-strings=no --compress-pos=no");
    valgrind.arg(format!("--callgrind-out-file={}", profile.display()));
    output(valgrind.arg(program).arg(piece).arg(calls.to_string()).stdin(Stdio::null()))?;
    Ok(sum(&text(&profile)?, &program.display().to_string()))
}

/// The instructions in a profile of callgrind: those of the program itself, and all of them.
fn sum(profile: &str, program: &str) -> (u64, u64) {
    let (mut own, mut all) = (0, 0);
    let mut inside = false;
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        if let Some(object) = line.strip_prefix("ob=") {
            inside = object == program;
        } else if line.starts_with("calls=") {
            // The next line is what the called function cost; that stands at the function, too.
            lines.next();
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost: u64 = line.split(' ').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or(0);
            all += cost;
            own += if inside { cost } else { 0 };
        }
    }
    (own, all)
}

/// The written counts: a number and a name in each line.
fn parse(text: &str) -> Result<Vec<(String, u64)>> {
    let line = |line: &str| {
        let (count, piece) = line.trim().split_once(' ')?;
        Some((piece.trim().to_owned(), count.parse().ok()?))
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|text| line(text).ok_or_else(|| format!("{FILE}: `{text}` is no number and name"))).collect()
}

fn shown(counts: &[Count]) -> String {
    let lines = counts.iter().map(|count| format!("{:>7} {}\n", count.own, count.piece));
    format!(
        "# Instructions of a call, without the C library. `cargo xtask counts --write` wrote it.\n{}",
        lines.collect::<String>()
    )
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(piece: &str, own: u64) -> Count {
        Count { piece: piece.to_owned(), own, all: 0 }
    }

    #[test]
    fn a_count_that_went_up_or_down_by_more_than_a_twentieth_is_reported() {
        let written = parse("# a comment\n    100 send, no layers\n").expect("counts");
        for (own, complaints) in [(94, 1), (95, 0), (100, 0), (105, 0), (106, 1)] {
            assert_eq!(compare(&[count("send, no layers", own)], &written).len(), complaints, "{own}");
        }
    }

    #[test]
    fn a_piece_that_is_new_or_gone_is_reported() {
        let written = parse("100 send\n").expect("counts");
        assert_eq!(compare(&[count("send", 100), count("publish", 7)], &written).len(), 1);
        assert_eq!(compare(&[], &written).len(), 1);
        assert!(parse("send 100").is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = parse(&shown(&[count("send, no layers", 312), count("read a frame of 32", 9)])).expect("counts");
        assert_eq!(written, [("send, no layers".to_owned(), 312), ("read a frame of 32".to_owned(), 9)]);
    }

    #[test]
    fn instructions_of_called_functions_count_once_and_those_of_the_library_apart() {
        let profile = "events: Ir\n\nob=/a/counted\nfl=counted.rs\nfn=main\n0 5\ncob=/lib/libc.so.6\ncfn=malloc\n\
                       calls=1 0\n0 30\n7 2\n\nob=/lib/libc.so.6\nfn=malloc\n0 30\n\ntotals: 37\n";
        assert_eq!(sum(profile, "/a/counted"), (7, 37));
    }
}
