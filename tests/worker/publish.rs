//! What a worker publishes, and what it is told of it.

use std::{ops::Range, time::Duration};

use catga::Mediator;

use crate::{
    handlers::{Noted, Seen},
    journal::Journal,
};

/// Publishes reliable events; writes which of them are stored.
pub(crate) async fn noted(mediator: Mediator, journal: Journal, numbers: Range<u32>, batch: usize, pace: Duration) {
    let numbers: Vec<_> = numbers.collect();
    for chunk in numbers.chunks(batch) {
        let result = match chunk {
            [number] => mediator.publish(Noted { number: *number }).await.map(|()| 1),
            _ => mediator.publish_all(chunk.iter().copied().map(|number| Noted { number })).await,
        };
        let stored = match &result {
            Ok(stored) => *stored,
            Err(error) => error.stored().unwrap_or(0),
        };
        journal.lines(chunk[..stored].iter().map(|number| format!("stored {number}")));
        if let Err(error) = result {
            // Of those behind it nothing is known.
            journal.line(format!("refused {} {:?} {:?} {error}", chunk[stored], error.outcome(), error.kind()));
        }
        tokio::time::sleep(pace).await;
    }
    journal.line("published");
}

/// Publishes events of QoS 0.
pub(crate) async fn seen(mediator: Mediator, journal: Journal, numbers: Range<u32>) {
    for number in numbers {
        let result = mediator.publish(Seen { number }).await;
        journal.line(format!("handed over {number} {}", result.is_ok()));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
