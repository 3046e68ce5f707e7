//! What a message costs where there are many types, many nodes and many remembered requests: `cargo xtask bench growth`.
//!
//! One thread and one runtime: what is measured is work, and not how two cores share it.

mod entries;
mod load;
mod members;
mod nodes;
mod types;

use std::{future::Future, process::ExitCode};

use futures_util::{FutureExt, future::BoxFuture};

/// What went wrong, in one sentence.
type Result<T = ()> = std::result::Result<T, String>;

const HELP: &str = "\
growth types                     calls in a process with as many message types as CATGA_TYPES said at the build
growth nodes NODES [nats]        a cluster in this process, over a broker in it or over a server
growth members NODES             announcements of so many simulated nodes into one
growth entries REQUESTS          requests with a key, and what the memory of their outcomes takes
";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<usize>().map_err(|_| format!("`{word}` is no number"));
    let result = match words[..] {
        ["types"] => types::run(),
        ["nodes", count] => number(count).and_then(|count| nodes::run(count, false)),
        ["nodes", count, "nats"] => number(count).and_then(|count| nodes::run(count, true)),
        ["members", count] => number(count).and_then(members::run),
        ["entries", count] => number(count).and_then(entries::run),
        _ => Err(HELP.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("growth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)
}

/// The output of a future that is ready at its first poll.
///
/// # Panics
///
/// If it is not.
fn ready<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("a handler that does nothing is ready at once")
}

/// A future behind a pointer that nobody sees through.
fn boxed<T>(future: impl Future<Output = T> + Send + 'static) -> BoxFuture<'static, T> {
    std::hint::black_box(future.boxed())
}

/// An error as text.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
