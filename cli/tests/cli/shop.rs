//! An application whose handler gives up until it is mended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use catga::{Context, Event, Failure, Mediator, MessageId, State, handler, transport::Nats};
use serde::{Deserialize, Serialize};

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
#[catga(name = "shop.Paid")]
pub(crate) struct Paid {
    pub(crate) order: u32,
    pub(crate) note: String,
}

#[derive(Clone, Default)]
pub(crate) struct Till {
    mended: Arc<AtomicBool>,
    booked: Arc<AtomicUsize>,
}

impl Till {
    /// Whatever comes is booked from now on.
    pub(crate) fn mend(&self) {
        self.mended.store(true, Ordering::Release);
    }

    /// How many were booked.
    pub(crate) fn booked(&self) -> usize {
        self.booked.load(Ordering::Acquire)
    }
}

#[handler(name = "shop.book")]
async fn book(event: Paid, State(till): State<Till>, ctx: Context) -> Result<(), Failure> {
    if till.mended.load(Ordering::Acquire) {
        till.booked.fetch_add(1, Ordering::AcqRel);
        return Ok(());
    }
    let text = format!("run {}: account {}\nis closed", ctx.attempt(), event.order);
    Err(Failure::new("closed", text).details(event.order).permanent())
}

/// A node of the application.
pub(crate) async fn node(url: &str, till: &Till) -> Mediator {
    let nats = Nats::connect(url).await.unwrap();
    let builder = Mediator::builder().transport(nats).app("shop").node("node1").discover(false);
    builder.state(till.clone()).handler(book).build().await.unwrap()
}

/// Waits for a condition.
pub(crate) async fn until(what: impl AsyncFn() -> bool) {
    let wait = async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it comes to that");
}

/// Waits until there are so many dead letters.
pub(crate) async fn dead_letters(mediator: &Mediator, count: usize) -> Vec<MessageId> {
    let letters = mediator.dead_letters();
    until(async || letters.list(None, 1_000).await.unwrap().len() == count).await;
    letters.list(None, 1_000).await.unwrap().iter().map(|letter| letter.id).collect()
}
