//! Clients that order without a pause while something happens to the service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use xtask::shell::Result;

use crate::{
    demo::Nodes,
    lines::PATIENCE,
    orders::{Order, order},
};

/// The pause of a client between two orders: what the nodes write must be read, too.
const PAUSE: Duration = Duration::from_millis(20);
/// How many clients ask each of the nodes.
const CLIENTS: usize = 2;

/// Clients that order until they are told to stop.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Ordered>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    /// How many orders were answered.
    answered: AtomicUsize,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Ordered {
    pub(super) orders: Vec<Order>,
    /// Why orders were refused.
    pub(super) refused: Vec<String>,
}

impl Ordered {
    /// The ids of the orders that were answered.
    pub(super) fn ids(&self) -> Vec<String> {
        self.orders.iter().map(|order| order.id.clone()).collect()
    }

    /// How long the slowest of them took.
    pub(super) fn slowest(&self) -> Duration {
        self.orders.iter().map(|order| order.took).max().unwrap_or_default()
    }
}

impl Load {
    /// Orders of these nodes.
    pub(super) fn start(nodes: &impl Nodes, asked: &[usize]) -> Self {
        let shared = Arc::new(Shared::default());
        let ports = asked.iter().flat_map(|node| [nodes.port(*node); CLIENTS]);
        let clients = ports.map(|port| {
            let shared = shared.clone();
            thread::spawn(move || run(port, &shared))
        });
        Self { clients: clients.collect(), shared }
    }

    /// Waits until so many more orders are answered, while what the nodes write is read; says whether it came to that.
    pub(super) fn goes_on(&self, nodes: &mut impl Nodes, more: usize) -> bool {
        let goal = self.answered() + more;
        let deadline = Instant::now() + PATIENCE;
        while self.answered() < goal && Instant::now() < deadline {
            // Nothing to read is no error here.
            let _ = nodes.lines().receive(Instant::now() + PAUSE);
        }
        self.answered() >= goal
    }

    /// How many orders were answered.
    pub(super) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Lets the clients finish, and gathers what they have.
    pub(super) fn stop(mut self) -> Result<Ordered> {
        self.shared.ends.store(true, Ordering::Relaxed);
        let mut all = Ordered::default();
        for client in self.clients.drain(..) {
            let ordered = client.join().map_err(|_| "a client panicked")?;
            all.orders.extend(ordered.orders);
            all.refused.extend(ordered.refused);
        }
        Ok(all)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
    }
}

fn run(port: u16, shared: &Shared) -> Ordered {
    let mut ordered = Ordered::default();
    while !shared.ends.load(Ordering::Relaxed) {
        match order(port) {
            Ok(order) => {
                ordered.orders.push(order);
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(refused) => ordered.refused.push(refused),
        }
        thread::sleep(PAUSE);
    }
    ordered
}
