//! Says of every fiftieth event that it is stored, and drops it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use catga::transport::{Envelope, Transport};

use super::rejects;
use crate::{
    bench::hooked::{Hooked, Hooks},
    checks::Property,
};

#[derive(Default)]
struct LosesAfterOk(AtomicUsize);

impl Hooks for LosesAfterOk {
    fn storing(&self, _: &str, batch: &mut Vec<Envelope>) {
        batch.retain(|_| self.0.fetch_add(1, Ordering::Relaxed) % 50 != 49);
    }
}

fn breakage(transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
    Hooked::around(transport, LosesAfterOk::default())
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_loses_what_it_says_is_stored_is_rejected_for_the_loss() {
    rejects(breakage, &[Property::P1]).await;
}
