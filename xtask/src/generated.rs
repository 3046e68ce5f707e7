//! Text of programs with as many message types as one likes: half of them commands, half of them events of QoS 0.
//!
//! A message has an id, a text and a list, as most have; its handler adds something up and counts its run.

use std::fmt::Write;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Messages and handlers of catga.
    Catga,
    /// The same structs with serde's derives, and functions.
    Plain,
    /// Those, and a table by which each is called with JSON and answers in JSON: what a handler behind any queue needs.
    PlainJson,
}

const CATGA: &str = "\
use catga::{Command, Event, State, handler};
use serde::{Deserialize, Serialize};
";
const PLAIN: &str = "\
use serde::{Deserialize, Serialize};

/// What a function is given beside its message.
pub struct State<T>(pub T);
";
const CALLS: &str = "
/// Counts the calls of all handlers.
#[derive(Clone, Default)]
pub struct Calls(pub std::sync::Arc<std::sync::atomic::AtomicU64>);
";

/// A module with so many messages and as many handlers.
#[must_use]
pub fn messages(style: Style, messages: usize) -> String {
    let mut text = if style == Style::Catga { CATGA } else { PLAIN }.to_owned();
    text.push_str(CALLS);
    (0..messages).for_each(|number| message(&mut text, style, number));
    if style == Style::PlainJson {
        text.push_str(&table(messages));
    }
    text
}

fn message(text: &mut String, style: Style, number: usize) {
    let command = number.is_multiple_of(2);
    let (derives, response, handler) = match (style, command) {
        (Style::Catga, true) => ("Command, Clone, Serialize, Deserialize", "#[response(u64)]\n", "#[handler]\n"),
        (Style::Catga, false) => ("Event, Clone, Serialize, Deserialize", "", "#[handler]\n"),
        (Style::Plain | Style::PlainJson, _) => ("Clone, Serialize, Deserialize", "", ""),
    };
    let (reply, value) = if command { (" -> u64", "message.id + 1") } else { ("", "assert!(message.id < u64::MAX);") };
    // Writing to a `String` cannot fail.
    let _ = write!(
        text,
        "
/// Message {number}.
#[derive({derives})]
{response}pub struct M{number} {{
    /// Which one it is.
    pub id: u64,
    /// What it is called.
    pub name: String,
    /// How many of each.
    pub quantities: Vec<u32>,
}}

/// Handles message {number}.
{handler}pub async fn h{number}(message: M{number}, State(calls): State<Calls>){reply} {{
    calls.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    {value}
}}
"
    );
    if style == Style::PlainJson {
        let _ = write!(
            text,
            "
/// Reads message {number} and writes the reply.
async fn j{number}(message: &[u8], calls: Calls) -> serde_json::Result<Vec<u8>> {{
    serde_json::to_vec(&h{number}(serde_json::from_slice(message)?, State(calls)).await)
}}
"
        );
    }
}

/// A table of all functions: what nothing can call is not compiled to its end.
fn table(messages: usize) -> String {
    let mut text = format!(
        "
/// A run of a function.
pub type Run<'a> = std::pin::Pin<Box<dyn Future<Output = serde_json::Result<Vec<u8>>> + Send + 'a>>;

/// All functions, by the number of their message.
pub static TABLE: [for<'a> fn(&'a [u8], Calls) -> Run<'a>; {messages}] = [
"
    );
    for number in 0..messages {
        let _ = writeln!(text, "    |message, calls| Box::pin(j{number}(message, calls)),");
    }
    text.push_str("];\n");
    text
}

/// For each command a function that sends one, for each event one that publishes it; beside each what calls the handler
/// as a boxed future.
#[must_use]
pub fn calls(messages: usize) -> String {
    let mut text = String::new();
    let new = |number| format!("M{number} {{ id, name: String::new(), quantities: Vec::new() }}");
    for (name, first, call) in [("SENDS", 0, "send"), ("PUBLISHES", 1, "publish")] {
        let numbers = || (first..messages).step_by(2);
        let count = numbers().count();
        let _ = writeln!(
            text,
            "\n/// Calls through a mediator.\npub const {name}: [fn(&catga::Mediator, u64) -> bool; {count}] = ["
        );
        for number in numbers() {
            let _ = writeln!(text, "    |mediator, id| crate::ready(mediator.{call}({})).is_ok(),", new(number));
        }
        let _ =
            writeln!(text, "];\n\n/// The same as boxed calls.\npub const {name}_BARE: [fn(&Calls, u64); {count}] = [");
        for number in numbers() {
            let _ = writeln!(
                text,
                "    |calls, id| {{ crate::ready(crate::boxed(h{number}({}, State(calls.clone())))); }},",
                new(number)
            );
        }
        text.push_str("];\n");
    }
    text
}
