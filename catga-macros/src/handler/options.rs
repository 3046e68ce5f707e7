//! The keys of `#[handler(..)]`.

use proc_macro2::TokenStream;
use syn::{Attribute, Ident, LitStr, Meta, Path};

use crate::{attr, errors::Problems};

/// All keys, as messages list them.
const KEYS: &[&str] = &["name", "group", "attempts", "backoff", "timeout", "concurrency", "crate"];

/// What was said about one handler, or about all handlers of a block.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) name: Option<LitStr>,
    /// With the key, which answers for a group on a handler that can have none.
    pub(super) group: Option<(Ident, LitStr)>,
    pub(super) attempts: Option<u32>,
    pub(super) backoff_ms: Option<u64>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) concurrency: Option<u32>,
}

/// The keys of a function's attribute.
pub(super) fn of_function(keys: TokenStream, krate: &mut Path, problems: &mut Problems) -> Options {
    let mut options = Options::default();
    for pair in attr::pairs(keys, KEYS, problems) {
        if pair.key == "crate" {
            *krate = pair.path(problems).unwrap_or_else(|| krate.clone());
        } else {
            options.set(&pair, problems);
        }
    }
    options
}

/// The keys of a block's attribute, which hold for each of its handlers.
pub(super) fn of_block(keys: TokenStream, krate: &mut Path, problems: &mut Problems) -> Options {
    let mut options = of_function(keys, krate, problems);
    if let Some(name) = options.name.take() {
        let help = "give it to the method: `#[handler(name = \"..\")]`";
        problems.add(name, "`name` names one handler, not a block of them", help);
    }
    options
}

/// The keys of a method's own attributes, over those of its block.
pub(super) fn of_method(attributes: &[Attribute], block: &Options, problems: &mut Problems) -> Options {
    let mut options = block.clone();
    for attribute in attributes.iter().skip(1) {
        problems.add(attribute, "`#[handler]` is given twice", "keep one of them");
    }
    if let Some(Meta::List(list)) = attributes.first().map(|attribute| &attribute.meta) {
        for pair in attr::pairs(list.tokens.clone(), KEYS, problems) {
            if pair.key == "crate" {
                problems.add(&pair.key, "`crate` holds for a whole block", "give it to the `#[handler]` of the `impl`");
            } else {
                options.set(&pair, problems);
            }
        }
    }
    options
}

impl Options {
    fn set(&mut self, pair: &attr::Pair, problems: &mut Problems) {
        match pair.key.to_string().as_str() {
            "name" => self.name = pair.name("handler", "orders.place", problems),
            "group" => self.group = pair.name("group", "mail", problems).map(|group| (pair.key.clone(), group)),
            "attempts" => self.attempts = pair.number(1..=100, 3, problems),
            "backoff" => self.backoff_ms = pair.millis("100ms", problems),
            "timeout" => self.timeout_ms = pair.millis("5s", problems),
            _ => self.concurrency = pair.number(1..=100_000, 8, problems),
        }
    }
}
