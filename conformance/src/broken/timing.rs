//! Transports that deliver too early, too often, too much, or do not take back.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use catga::transport::{Delivery, Envelope, Settlement, Transport};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{Ways, rejects};
use crate::{
    bench::hooked::{Hooked, Hooks, Place},
    checks::Property,
};

/// How many messages share a delivery at the most.
const FULL: usize = 32;

/// Delivers after half the time.
struct ShortensDelays;

impl Hooks for ShortensDelays {
    fn storing_for(&self, _: &str, _: &str, _: &mut Envelope, delay: &mut Duration) {
        *delay /= 2;
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_shortens_delays_is_rejected_for_runs_that_come_too_early() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, ShortensDelays);
    rejects(breakage, &[Property::P8]).await;
}

/// Takes the time at which a message was made for one of its own clock, and has a retry wait from then on.
struct BelievesClocks;

impl Hooks for BelievesClocks {
    fn storing_for(&self, _: &str, _: &str, message: &mut Envelope, delay: &mut Duration) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let made = Duration::from_millis(message.time_ms);
        let (ahead, behind) = (made.saturating_sub(now), now.saturating_sub(made));
        // What the load takes is no reason: time stands still meanwhile.
        if ahead.max(behind) > Duration::from_secs(60) {
            *delay = (*delay + ahead).saturating_sub(behind);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_believes_clocks_is_rejected_for_runs_that_come_too_early_and_too_late() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, BelievesClocks);
    rejects(breakage, &[Property::P8]).await;
}

/// Counts a retry twice.
struct MiscountsAttempts;

impl Hooks for MiscountsAttempts {
    fn storing_for(&self, _: &str, _: &str, message: &mut Envelope, _: &mut Duration) {
        if let Some(retry) = &mut message.retry {
            retry.attempt += u32::from(retry.attempt == 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_miscounts_attempts_is_rejected_for_the_run_that_is_missing() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, MiscountsAttempts);
    rejects(breakage, &[Property::P6]).await;
}

/// Delivers without being asked.
struct Floods;

impl Hooks for Floods {
    fn asking(&self, _: &Place, _: bool) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_delivers_without_being_asked_is_rejected_for_the_memory_that_it_fills() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, Floods);
    rejects(breakage, &[Property::P14]).await;
}

/// Does not hear what is given back.
struct KeepsWhatIsGivenBack;

impl Hooks for KeepsWhatIsGivenBack {
    fn settling(&self, _: &Place, _: u64, settlement: Settlement) -> bool {
        !matches!(settlement, Settlement::GiveBack(_) | Settlement::Untouched)
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_takes_nothing_back_is_rejected_for_what_a_shutdown_leaves_behind() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, KeepsWhatIsGivenBack);
    rejects(breakage, &[Property::P9]).await;
}

/// Takes its time to hand a delivery over, and keeps what it still has when the node stops taking.
struct DropsOnDrain;

impl Hooks for DropsOnDrain {
    fn delivering(self: Arc<Self>, place: &Place, delivery: Delivery) -> BoxFuture<'static, Option<Delivery>> {
        // In groups only: no scenario measures the time there.
        let handing_over = Duration::from_millis(if place.shared { 10 } else { 0 });
        Box::pin(async move {
            tokio::time::sleep(handing_over).await;
            Some(delivery)
        })
    }

    fn draining(&self, _: &Place, _: Vec<Delivery>) -> Vec<Delivery> {
        Vec::new()
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_drops_what_is_left_at_its_end_is_rejected_for_what_was_left_without_a_word() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, DropsOnDrain);
    rejects(breakage, &[Property::P9]).await;
}

/// Makes full deliveries again that were acknowledged.
#[derive(Default)]
struct DeliversAgain(Ways);

impl Hooks for DeliversAgain {
    fn extra(&self, place: &Place) -> Option<mpsc::Receiver<Delivery>> {
        let (sender, receiver) = mpsc::channel(1_000);
        self.0.lock().unwrap().insert((place.durable.clone(), place.node.clone()), sender);
        Some(receiver)
    }

    fn delivering(self: Arc<Self>, place: &Place, delivery: Delivery) -> BoxFuture<'static, Option<Delivery>> {
        if delivery.messages.as_ref().map_or(0, Vec::len) < FULL {
            return Box::pin(async move { Some(delivery) });
        }
        let sender = self.0.lock().unwrap()[&(place.durable.clone(), place.node.clone())].clone();
        let messages = delivery.messages.iter().flatten().cloned().collect();
        let again = Delivery::new(delivery.sequence, delivery.deliveries + 1, Ok(messages), delivery.settle.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            // A node that is gone gets nothing.
            drop(sender.send(again).await);
        });
        Box::pin(async move { Some(delivery) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_delivers_again_what_was_acknowledged_is_rejected_for_the_duplicates() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, DeliversAgain::default());
    rejects(breakage, &[Property::P3]).await;
}
