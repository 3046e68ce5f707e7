//! The keys of `#[catga(..)]` and `#[handler(..)]`: `key = value`, separated by commas.
//!
//! A value is read as raw tokens first, so that one wrong pair hides no other mistake.

use std::ops::RangeInclusive;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Ident, LitInt, LitStr, Path, Token,
    ext::IdentExt,
    parse::{ParseStream, Parser},
};

use crate::errors::Problems;

/// The longest time that a key takes.
const LONGEST_MS: u64 = 24 * 60 * 60 * 1_000;

/// One `key = value`.
pub(crate) struct Pair {
    pub(crate) key: Ident,
    value: TokenStream,
}

/// Reads the pairs of an attribute; the pairs that come back have a key of `keys`, each at most once.
pub(crate) fn pairs(tokens: TokenStream, keys: &[&str], problems: &mut Problems) -> Vec<Pair> {
    let mut known: Vec<Pair> = Vec::new();
    let read = |input: ParseStream<'_>| {
        while !input.is_empty() {
            if !input.peek(Ident::peek_any) {
                let help = format!("write `key = value`; {}", listed(keys));
                let stray: TokenTree = input.parse()?;
                problems.add(&stray, format!("`{stray}` stands without a key"), help);
                // What follows it can be misread: that is no second mistake.
                input.parse::<TokenStream>()?;
                return Ok(());
            }
            let pair = pair(input)?;
            if !keys.iter().any(|key| pair.key == key) {
                problems.add(&pair.key, format!("unknown key `{}`", pair.key), suggestion(&pair.key.to_string(), keys));
            } else if known.iter().any(|earlier| earlier.key == pair.key) {
                problems.add(&pair.key, format!("`{}` is given twice", pair.key), "keep one of them");
            } else {
                known.push(pair);
            }
        }
        Ok(())
    };
    if let Err(error) = read.parse2(tokens) {
        problems.push(error);
    }
    known
}

/// Reads `key = value` with the comma behind it.
fn pair(input: ParseStream<'_>) -> syn::Result<Pair> {
    let key = input.call(Ident::parse_any)?;
    let mut value = TokenStream::new();
    if input.parse::<Option<Token![=]>>()?.is_some() {
        while !input.is_empty() && !input.peek(Token![,]) {
            value.extend([input.parse::<TokenTree>()?]);
        }
    } else if !input.is_empty() && !input.peek(Token![,]) {
        // `key(value)` or the like: the value check says what to write.
        input.parse::<TokenTree>()?;
    }
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
    }
    Ok(Pair { key, value })
}

/// What to write instead of an unknown key.
fn suggestion(key: &str, keys: &[&str]) -> String {
    let near = keys.iter().map(|known| (distance(key, known), known)).min();
    match near {
        Some((distance, known)) if distance <= 2 => format!("did you mean `{known}`? {}", listed(keys)),
        _ => listed(keys),
    }
}

fn listed(keys: &[&str]) -> String {
    let list = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    format!("the keys are {list}")
}

/// How many letters to change, add, remove or swap with their neighbour to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<_>, Vec<_>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let change = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

impl Pair {
    /// A name: letters, digits, `_` and `-`, in parts separated by single dots.
    pub(crate) fn name(&self, what: &str, example: &str, problems: &mut Problems) -> Option<LitStr> {
        let Ok(text) = syn::parse2::<LitStr>(self.value.clone()) else {
            let problem = self.is_not("text");
            problems.add(self.at(), problem, format!("write for example `{} = \"{example}\"`", self.key));
            return None;
        };
        if is_name(&text.value()) {
            return Some(text);
        }
        let problem = match text.value().as_str() {
            "" => format!("an empty text is not a {what} name"),
            name => format!("`{name}` is not a {what} name"),
        };
        let help =
            format!("use letters, digits, `_` and `-`, in parts separated by single dots, for example `{example}`");
        problems.add(&text, problem, help);
        None
    }

    /// A whole number within a range.
    pub(crate) fn number(&self, range: RangeInclusive<u32>, example: u32, problems: &mut Problems) -> Option<u32> {
        let number = syn::parse2::<LitInt>(self.value.clone()).ok().and_then(|literal| literal.base10_parse().ok());
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let problem = self.is_not(&format!("a whole number from {} to {}", range.start(), range.end()));
        problems.add(self.at(), problem, format!("write for example `{} = {example}`", self.key));
        None
    }

    /// A time in milliseconds.
    pub(crate) fn millis(&self, example: &str, problems: &mut Problems) -> Option<u64> {
        let text = syn::parse2::<LitStr>(self.value.clone()).ok();
        if let Some(millis) = text.and_then(|text| millis(&text.value())) {
            return Some(millis);
        }
        let problem = self.is_not("a time from `\"1ms\"` to `\"24h\"`");
        let help = format!(
            "write a whole number and one of `ms`, `s`, `m` and `h`, for example `{} = \"{example}\"`",
            self.key
        );
        problems.add(self.at(), problem, help);
        None
    }

    /// A path to a crate or module.
    pub(crate) fn path(&self, problems: &mut Problems) -> Option<Path> {
        let parser = Path::parse_mod_style;
        match parser.parse2(self.value.clone()) {
            Ok(path) => Some(path),
            Err(_) => {
                let problem = self.is_not("a path");
                problems.add(self.at(), problem, format!("write for example `{} = ::catga`", self.key));
                None
            }
        }
    }

    /// What is wrong with a value that is not what its key takes.
    fn is_not(&self, wanted: &str) -> String {
        match self.value.is_empty() {
            true => format!("`{}` has no value: it takes {wanted}", self.key),
            false => format!("`{}` is not {wanted}", self.value),
        }
    }

    /// What the message points at.
    fn at(&self) -> TokenStream {
        match self.value.is_empty() {
            true => self.key.to_token_stream(),
            false => self.value.clone(),
        }
    }
}

/// Whether a text can be the name of a message, a handler or a group.
fn is_name(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty() && part.chars().all(|letter| letter.is_alphanumeric() || letter == '_' || letter == '-')
    })
}

/// Reads `250ms`, `5s`, `2m` or `1h`.
fn millis(text: &str) -> Option<u64> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|millis| (1..=LONGEST_MS).contains(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit_and_have_limits() {
        assert_eq!(millis("250ms"), Some(250));
        assert_eq!(millis("5s"), Some(5_000));
        assert_eq!(millis("2m"), Some(120_000));
        assert_eq!(millis("24h"), Some(LONGEST_MS));
        for wrong in ["", "5", "s", "0s", "25h", "1.5s", "-1s", "5 s", "5sec", "99999999999999999999h"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_parts_between_single_dots() {
        for name in ["a", "orders.OrderPlaced", "order-service.v2.Place_Order", "Größe"] {
            assert!(is_name(name), "{name}");
        }
        for wrong in ["", ".", "a.", ".a", "a..b", "order placed", "a.*", "a.>", "a/b"] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn swapped_missing_and_foreign_letters_are_near() {
        assert_eq!(distance("naem", "name"), 1);
        assert_eq!(distance("atempts", "attempts"), 1);
        assert_eq!(distance("timeuot", "timeout"), 1);
        assert_eq!(distance("groups", "group"), 1);
        assert!(distance("retries", "attempts") > 2);
    }
}
