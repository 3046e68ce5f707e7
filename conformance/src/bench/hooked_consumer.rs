//! The deliveries to one node, past hooks.

use std::{fmt, sync::Arc};

use catga::{
    Error,
    transport::{Consumed, Consumer, Delivery, Settle, Settlement},
};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::hooked::{Hooks, Place};

pub struct HookedConsumer<H> {
    inner: Box<dyn Consumer>,
    hooks: Arc<H>,
    place: Place,
    extra: Option<mpsc::Receiver<Delivery>>,
    /// A delivery on its way past the hooks, kept here because `next` may be dropped while it is.
    passing: Option<BoxFuture<'static, Option<Delivery>>>,
}

impl<H: Hooks> HookedConsumer<H> {
    pub fn new(inner: Box<dyn Consumer>, hooks: Arc<H>, place: Place) -> Self {
        let extra = hooks.extra(&place);
        Self { inner, hooks, place, extra, passing: None }
    }

    /// The hooks also see how the delivery is settled.
    fn watch(&self, mut delivery: Delivery) -> Delivery {
        delivery.settle = Arc::new(HookedSettle {
            inner: delivery.settle,
            hooks: self.hooks.clone(),
            place: self.place.clone(),
            sequence: delivery.sequence,
        });
        delivery
    }
}

impl<H: Hooks> Consumer for HookedConsumer<H> {
    fn next(&mut self, more: bool) -> BoxFuture<'_, Option<Consumed>> {
        Box::pin(async move {
            loop {
                if let Some(passing) = &mut self.passing {
                    let passed = passing.await;
                    self.passing = None;
                    if let Some(delivery) = passed {
                        return Some(Consumed::Delivery(delivery));
                    }
                }
                let extra = async {
                    match &mut self.extra {
                        Some(extra) => extra.recv().await,
                        None => std::future::pending().await,
                    }
                };
                let delivery = tokio::select! {
                    biased;
                    Some(delivery) = extra => return Some(Consumed::Delivery(delivery)),
                    consumed = self.inner.next(self.hooks.asking(&self.place, more)) => match consumed {
                        Some(Consumed::Delivery(delivery)) => delivery,
                        other => return other,
                    },
                };
                let delivery = self.watch(delivery);
                self.passing = Some(self.hooks.clone().delivering(&self.place, delivery));
            }
        })
    }

    fn close(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            let mut rest: Vec<_> = match self.passing.take() {
                Some(passing) => passing.await.into_iter().collect(),
                None => Vec::new(),
            };
            for delivery in self.inner.close().await {
                let delivery = self.watch(delivery);
                rest.extend(self.hooks.clone().delivering(&self.place, delivery).await);
            }
            self.hooks.draining(&self.place, rest)
        })
    }
}

struct HookedSettle<H> {
    inner: Arc<dyn Settle>,
    hooks: Arc<H>,
    place: Place,
    sequence: u64,
}

impl<H> fmt::Debug for HookedSettle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookedSettle({:?}, {})", self.place, self.sequence)
    }
}

impl<H: Hooks> Settle for HookedSettle<H> {
    fn settle(&self, settlement: Settlement) -> BoxFuture<'_, Result<(), Error>> {
        match self.hooks.settling(&self.place, self.sequence, settlement) {
            true => self.inner.settle(settlement),
            false => Box::pin(async { Ok(()) }),
        }
    }
}
