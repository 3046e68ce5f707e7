//! What the benchmarks share: messages, handlers that do nothing, and mediators with them; and the rows.

pub mod rows;

use std::future::Future;

use catga::{Builder, Command, Event, Mediator, handler};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

/// A command of the size of a small message.
#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
pub struct Add {
    /// The first number.
    pub a: u64,
    /// The second one.
    pub b: u64,
}

/// An event of QoS 0.
#[derive(Event, Clone, Serialize, Deserialize)]
pub struct Added {
    /// The sum.
    pub sum: u64,
}

/// Adds.
#[handler]
pub async fn add(command: Add) -> u64 {
    command.a + command.b
}

/// Handles an event, first of three.
#[handler]
pub async fn first(event: Added) {
    divan::black_box(event.sum);
}

/// Handles an event, second of three.
#[handler]
pub async fn second(event: Added) {
    divan::black_box(event.sum);
}

/// Handles an event, third of three.
#[handler]
pub async fn third(event: Added) {
    divan::black_box(event.sum);
}

/// A mediator with the handlers of this file, and the runtime that it belongs to.
pub struct Bench {
    runtime: Runtime,
    /// The mediator.
    pub mediator: Mediator,
}

impl Bench {
    /// Builds one.
    ///
    /// # Panics
    ///
    /// If it cannot be built.
    pub fn new(describe: impl FnOnce(Builder) -> Builder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let builder = Mediator::builder().discover(false).handler(add).handler(first).handler(second).handler(third);
        let mediator = runtime.block_on(describe(builder).build()).expect("a mediator");
        Self { runtime, mediator }
    }

    /// Runs work where the mediator's runtime is at hand. Its tasks stand still meanwhile: what is measured is the call.
    pub fn enter<T>(&self, work: impl FnOnce(&Mediator) -> T) -> T {
        let _entered = self.runtime.enter();
        work(&self.mediator)
    }

    /// Runs work that waits for the mediator's tasks, which run beside it on the same thread.
    pub fn run<T>(&self, work: impl AsyncFnOnce(&Mediator) -> T) -> T {
        self.runtime.block_on(work(&self.mediator))
    }
}

/// The output of a future that is ready at its first poll.
///
/// # Panics
///
/// If it is not.
pub fn ready<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("the handler is ready at once")
}
