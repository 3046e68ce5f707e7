//! `catga dead`: lists, shows, replays and deletes dead letters.

use catga::{
    DeadLetters, Retry,
    transport::{DeadContent, DeadLetter, Nats},
};

use crate::{
    arguments::Task,
    output::{Output, Stop},
    text::{Table, dump, plain, pretty, short, time},
};

/// How many dead letters are asked for at a time: they come with their payloads.
const PAGE: usize = 100;
/// How much of a failure's message a list shows.
const MESSAGE: usize = 60;
/// How much of a name a list shows.
const NAME: usize = 48;

pub(crate) async fn run(nats: &Nats, app: &str, task: Task, output: &mut Output) -> Result<(), Stop> {
    let letters = nats.dead_letters(app).await?;
    match task {
        Task::List => list(&letters, output).await,
        Task::Show(id) => output.lines(&show(&letters.get(id).await?)),
        Task::Replay(id) => {
            letters.replay(id).await?;
            output.lines(&format!("dead letter {id} is on its way to its handler again"))
        }
        Task::Delete(id) => {
            letters.delete(id).await?;
            output.lines(&format!("dead letter {id} is deleted"))
        }
    }
}

async fn list(letters: &DeadLetters, output: &mut Output) -> Result<(), Stop> {
    let mut table = Table::new(["ID", "TIME", "TYPE", "HANDLER", "ATTEMPTS", "CODE", "MESSAGE"]);
    let mut last = None;
    loop {
        let page = letters.list(last, PAGE).await?;
        match page.is_empty() {
            false => output.lines(&table.rows(&page.iter().map(row).collect::<Vec<_>>()))?,
            true if last.is_none() => output.lines("there are no dead letters")?,
            true => {}
        }
        if page.len() < PAGE {
            return Ok(());
        }
        last = page.last().map(|letter| letter.id);
    }
}

fn row(letter: &DeadLetter) -> [String; 7] {
    [
        letter.id.to_string(),
        time(letter.time_ms),
        letter.message().map_or_else(|| "unreadable".to_owned(), |event| short(&event.name, NAME)),
        short(letter.handler.as_deref().unwrap_or("-"), NAME),
        letter.attempts.to_string(),
        short(letter.failure.code(), NAME),
        short(letter.failure.message(), MESSAGE),
    ]
}

fn show(letter: &DeadLetter) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<13}{}\n", plain(value)));
    line("id", &letter.id.to_string());
    line("time", &time(letter.time_ms));
    line("handler", letter.handler.as_deref().unwrap_or("none: the message could not be read"));
    line("durable", &letter.durable);
    line("node", &letter.node);
    line("attempts", &letter.attempts.to_string());
    line("replays", &letter.replays.to_string());
    line("code", letter.failure.code());
    line("message", letter.failure.message());
    match letter.failure.retry() {
        Retry::Permanent => line("retry", "the failure was marked as permanent"),
        Retry::Transient => line("retry", "the failure was marked as transient"),
        Retry::Unmarked => {}
    }
    if let Some(details) = letter.failure.details_as::<serde_json::Value>() {
        line("details", &details.to_string());
    }
    let payload = match &letter.content {
        DeadContent::Message(event) => {
            line("type", &event.name);
            line("event", &event.id.to_string());
            line("published", &time(event.time_ms));
            line("source", &event.source);
            line("correlation", &event.correlation.to_string());
            if let Some(causation) = event.causation {
                line("causation", &causation.to_string());
            }
            for (name, value) in event.headers.iter() {
                line("header", &format!("{name}: {value}"));
            }
            line("payload", &format!("{} bytes", event.payload.len()));
            pretty(&event.payload)
        }
        DeadContent::Unreadable(bytes) => {
            line("payload", &format!("{} bytes that are no message", bytes.len()));
            dump(bytes)
        }
    };
    text.push_str(&payload);
    text
}
