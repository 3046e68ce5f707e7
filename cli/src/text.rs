//! Values as text for people: nothing that a message holds can change what a terminal does.

use std::fmt::Write;

/// How many bytes of what is no message are shown.
const DUMPED: usize = 1_024;

/// A text without characters that a terminal obeys, line breaks among them.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_control() || is_direction(char) {
            true => plain.extend(char.escape_unicode()),
            false => plain.push(char),
        }
    }
    plain
}

/// A [`plain`] text of at most so many characters.
pub(crate) fn short(text: &str, limit: usize) -> String {
    let text = plain(text);
    match text.char_indices().nth(limit) {
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
        None => text,
    }
}

/// Characters that turn the direction of the text around them.
fn is_direction(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A time in milliseconds since 1970, as RFC 3339 writes it.
pub(crate) fn time(millis: u64) -> String {
    let (days, seconds) = (millis / 86_400_000, millis / 1_000 % 86_400);
    // Years are counted from March, in eras of 400 years: a leap day is the last of its year.
    let days = days.saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    format!(
        "{:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        era * 400 + year + u64::from(month <= 2),
        day - (153 * from_march + 2) / 5 + 1,
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        millis % 1_000,
    )
}

/// JSON with a line for each value, its numbers and the order of its fields as they are; other bytes as [`dump`].
pub(crate) fn pretty(payload: &[u8]) -> String {
    let text = std::str::from_utf8(payload).ok();
    // Reading it bounds how deep it is.
    match text.filter(|text| serde_json::from_str::<serde_json::Value>(text).is_ok()) {
        Some(json) => indent(json),
        None => dump(payload),
    }
}

fn indent(json: &str) -> String {
    let (mut text, mut depth, mut inside, mut escaped) = (String::new(), 0_usize, false, false);
    let mut rest = json.chars().filter(|char| !char.is_control()).peekable();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(char) = rest.next() {
        match char {
            '"' if !escaped => inside = !inside,
            ' ' if !inside => continue,
            '{' | '[' if !inside => {
                while rest.next_if_eq(&' ').is_some() {}
                text.push(char);
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => text.push(end),
                    None => {
                        depth += 1;
                        line(&mut text, depth);
                    }
                }
                continue;
            }
            '}' | ']' if !inside => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
            }
            _ => {}
        }
        escaped = inside && char == '\\' && !escaped;
        match is_direction(char) {
            true => text.extend(char.escape_unicode()),
            false => text.push(char),
        }
        match char {
            ',' if !inside => line(&mut text, depth),
            ':' if !inside => text.push(' '),
            _ => {}
        }
    }
    text
}

/// The first bytes, sixteen a line, as numbers and as characters.
pub(crate) fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in bytes[..bytes.len().min(DUMPED)].chunks(16).enumerate() {
        let numbers: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
        let characters: String = bytes.iter().map(shown).collect();
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{:08x}  {:<47}  {characters}", line * 16, numbers.join(" "));
    }
    if bytes.len() > DUMPED {
        let _ = writeln!(text, "and {} bytes more", bytes.len() - DUMPED);
    }
    text
}

/// Rows under headings, each column as wide as it was ever needed.
pub(crate) struct Table<const N: usize> {
    headings: Option<[&'static str; N]>,
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(headings: [&'static str; N]) -> Self {
        Self { headings: Some(headings), widths: headings.map(str::len) }
    }

    /// The next rows; the headings stand above the first ones.
    pub(crate) fn rows(&mut self, rows: &[[String; N]]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let headings = self.headings.take().map(|headings| headings.map(str::to_owned));
        let mut text = String::new();
        for row in headings.iter().chain(rows) {
            let cells = row.iter().zip(self.widths).map(|(cell, width)| format!("{cell:<width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_827_696_007), "2000-02-29T12:34:56.007Z");
        assert_eq!(time(1_763_900_000_500), "2025-11-23T12:13:20.500Z");
        assert_eq!(time(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert!(time(u64::MAX).ends_with('Z'), "any number is shown");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let evil = "a\u{1b}[2Jb\nc\u{9b}d\u{202e}e";
        let harmless = |text: &str| !text.replace('\n', "").chars().any(|char| char.is_control() || is_direction(char));
        assert!(harmless(&plain(evil)) && !plain(evil).contains('\n'));
        let json = serde_json::to_vec(evil).expect("a text");
        assert!(harmless(&pretty(&json)));
        assert!(harmless(&pretty(evil.as_bytes())));
        assert_eq!(short("äöü€", 3), "äö…");
        assert_eq!(short("äöü", 3), "äöü");
    }

    #[test]
    fn json_is_laid_out_and_nothing_in_it_changes() {
        let json = r#" {"b":12345678901234567890123,"a":["x, {y}: \" z",{},[ ],null] } "#;
        let expected = "{\n  \"b\": 12345678901234567890123,\n  \"a\": [\n    \"x, {y}: \\\" z\",\n    {},\n    [],\n    null\n  ]\n}";
        assert_eq!(pretty(json.as_bytes()), expected);
        assert_eq!(pretty(b"\"a\\\\\""), "\"a\\\\\"");
        assert_eq!(pretty(b"7"), "7");
    }

    #[test]
    fn what_is_no_json_is_dumped_and_bounded() {
        assert_eq!(
            pretty(b"no json, \xff\x00 at all"),
            "00000000  6e 6f 20 6a 73 6f 6e 2c 20 ff 00 20 61 74 20 61  no json, .. at a\n00000010  6c 6c                                            ll\n"
        );
        let long = pretty(&[0xCA; 100_000]);
        assert!(long.len() < 8_000 && long.ends_with("and 98976 bytes more\n"), "{long}");
        assert!(pretty("[".repeat(100_000).as_bytes()).len() < 8_000);
    }

    #[test]
    fn a_column_is_as_wide_as_it_was_ever_needed() {
        let mut table = Table::new(["ID", "WHAT"]);
        let row = |id: &str, what: &str| [id.to_owned(), what.to_owned()];
        assert_eq!(table.rows(&[row("a", "x"), row("bbb", "y")]), "ID   WHAT\na    x\nbbb  y\n");
        assert_eq!(table.rows(&[row("c", "z")]), "c    z\n");
    }
}
