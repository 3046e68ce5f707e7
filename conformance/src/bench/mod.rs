//! What a driver works with: nodes on the transport under test, load, faults, and the journal of it all.

mod clocks;
pub mod hooked;
mod hooked_consumer;
pub mod in_process;
#[cfg(test)]
pub mod nats;
mod recorder;
mod requests;
pub mod subject;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak, atomic::Ordering},
    time::Duration,
};

use catga::{
    Error, Event, Headers, Limits, Mediator, MessageId, PublishOptions,
    transport::{DeadLetter, Transport},
};
use futures_util::future::join_all;
use tokio::time::Instant;

use self::{
    clocks::Clocks,
    hooked::{Hooked, Shared},
    recorder::{Links, NodeSide, StoreSide, letter},
    subject::Subject,
};
use crate::{
    history::{Bounds, Entry, Fault, History, Number, What},
    journal::Journal,
    messages::{Fact, HEADER, Plan, Role, Rumour, text_of, trace_of},
    world::World,
};

/// Turns a transport into one that is broken.
pub type Breakage = fn(Arc<dyn Transport>) -> Arc<dyn Transport>;

/// Nodes, load and faults on one subject.
pub struct Bench {
    pub subject: Arc<dyn Subject>,
    pub journal: Journal,
    pub world: World,
    /// The subject's transport, recorded, and broken if that is wanted.
    transport: Arc<dyn Transport>,
    nodes: Mutex<BTreeMap<String, Member>>,
    clocks: Clocks,
    /// The ways out of nodes, to ask how much waits for them. Whoever held one on would keep a node from ending.
    links: Links,
    /// Whether the transport is to be trusted to come to rest.
    sound: bool,
}

/// A node that was started.
struct Member {
    mediator: Mediator,
    /// Neither killed nor shut down.
    live: bool,
}

/// How long the suite waits for a broken transport to come to rest, which it may never do.
const PATIENCE_WITH_BROKEN: Duration = Duration::from_secs(20);
/// How often it is looked whether all is at rest.
const LOOK: Duration = Duration::from_millis(1);
/// How often nothing must be found in a row: what is stored and delivered is never in neither, but two nodes are not asked
/// at the same moment.
const QUIET_LOOKS: u32 = 3;

impl Bench {
    pub fn new(subject: Arc<dyn Subject>, breakage: Option<Breakage>) -> Self {
        let journal = Journal::new();
        journal.record("", What::Began(subject.transport().capabilities(), subject.pace()));
        let links = Links::default();
        let side = StoreSide { journal: journal.clone(), links: links.clone() };
        let store = Hooked::around(subject.transport(), side);
        let (stored, sound) = match breakage {
            Some(breakage) => (breakage(store), false),
            None => (store, true),
        };
        let clocks = Clocks::default();
        let transport = Hooked::around(Hooked::around(stored, clocks.clone()), NodeSide(journal.clone()));
        let world = World { journal: journal.clone(), mended: Arc::default() };
        Self { subject, journal, world, transport, nodes: Mutex::default(), clocks, links, sound }
    }

    /// Sets the clock of a node wrong, by so many minutes.
    pub fn set_clock(&self, node: &str, minutes: i64) {
        self.clocks.set(node, minutes * 60_000);
    }

    /// Starts a node with these handlers.
    pub async fn start(&self, id: &str, roles: &[Role]) -> Mediator {
        self.start_with(id, roles, self.limits()).await
    }

    /// The limits of a node that nobody says anything else of.
    pub fn limits(&self) -> Limits {
        self.subject.limits()
    }

    pub async fn start_with(&self, id: &str, roles: &[Role], limits: Limits) -> Mediator {
        let builder = Mediator::builder().node(id).transport(Shared(self.transport.clone())).killable();
        let builder = builder.discover(false).state(self.world.clone()).limits(limits.clone());
        let node = roles.iter().fold(builder, |builder, role| (role.add)(builder)).build().await.unwrap();
        let limits = Bounds {
            in_flight: limits.in_flight + self.subject.under_way(),
            concurrency: limits.concurrency,
            queue: limits.queue,
            shutdown: limits.shutdown,
            heartbeat: limits.heartbeat,
            silence: limits.silence,
            ack_wait: limits.ack_wait,
        };
        let handlers = roles.iter().map(|role| role.spec.clone()).collect();
        self.journal.record(id, What::Joined { handlers, limits });
        self.nodes.lock().unwrap().insert(id.to_owned(), Member { mediator: node.clone(), live: true });
        node
    }

    /// A node that was started.
    pub fn node(&self, id: &str) -> Mediator {
        self.nodes.lock().unwrap()[id].mediator.clone()
    }

    /// Ends a node as `kill -9` ends a process.
    pub fn kill(&self, id: &str) {
        assert!(self.node(id).kill());
        self.mark_gone(id);
        self.subject.killed(id);
        self.journal.record(id, What::Killed);
    }

    pub async fn shut_down(&self, id: &str, for_good: bool) {
        let (node, start) = (self.node(id), Instant::now());
        self.mark_gone(id);
        let result = if for_good { node.leave_for_good().await } else { node.shutdown().await };
        let failed = result.err().map(|error| error.kind());
        self.journal.record(id, What::Shutdown { took: start.elapsed(), for_good, failed });
    }

    fn mark_gone(&self, id: &str) {
        if let Some(member) = self.nodes.lock().unwrap().get_mut(id) {
            member.live = false;
        }
    }

    /// Writes down what every living node knows of the cluster, again and again for some time.
    pub async fn watch(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for (id, member) in self.nodes.lock().unwrap().iter().filter(|(_, member)| member.live) {
                let known = member.mediator.cluster().nodes().into_iter();
                let online = known.filter(|node| node.online).map(|node| node.id).collect();
                self.journal.record(id, What::View { online });
            }
            tokio::time::sleep(self.limits().heartbeat / 10).await;
        }
    }

    /// Puts a fault in force; `node` matters for what strikes one node.
    pub async fn fault(&self, node: &str, fault: Fault) {
        self.journal.record(node, What::Fault(fault.clone()));
        let faults = self.subject.faults();
        match fault {
            Fault::Cut => faults.cut(node).await,
            Fault::Disconnect => faults.disconnect(node).await,
            Fault::Silence => faults.silence(node).await,
            Fault::Heal => faults.heal().await,
            Fault::Restart => faults.restart().await,
            Fault::LoseAcknowledgements(count) => faults.lose_acknowledgements(count).await,
            Fault::LoseConfirmations(count) => faults.lose_store_confirmations(count).await,
            Fault::LoseDeliveries(count) => faults.lose_deliveries(count).await,
            Fault::LoseReplies(count) => faults.lose_replies(count).await,
            Fault::DoubleDeliveries(count) => faults.double_deliveries(count).await,
            Fault::DoubleRequests(count) => faults.double_requests(count).await,
            Fault::DelayReplies(count, delay) => faults.delay_replies(count, delay).await,
        }
    }

    /// Publishes a reliable event.
    pub async fn publish(&self, node: &str, number: Number, plan: Plan) -> Result<(), Error> {
        let healthy = plan == Plan::default();
        self.publish_event(node, number, healthy, None, Fact { number, text: text_of(number), plan }).await
    }

    /// Publishes reliable events at the same time, so that they share deliveries.
    pub async fn publish_all(&self, node: &str, numbers: impl IntoIterator<Item = Number>, plan: &Plan) {
        join_all(numbers.into_iter().map(|number| self.publish(node, number, plan.clone()))).await;
    }

    /// Publishes an event of QoS 0.
    pub async fn gossip(&self, node: &str, number: Number, plan: Plan) {
        let healthy = plan == Plan::default();
        let rumour = Rumour { number, text: text_of(number), plan };
        self.publish_event(node, number, healthy, None, rumour).await.unwrap();
    }

    /// Publishes an event of any type under the number of the suite.
    pub async fn publish_event<E: Event>(
        &self,
        node: &str,
        number: Number,
        healthy: bool,
        note: Option<String>,
        event: E,
    ) -> Result<(), Error> {
        let mut headers = Headers::new();
        headers.insert(HEADER, number.to_string()).unwrap();
        trace_of(number).into(&mut headers);
        let reliable = E::QOS == catga::Qos::AtLeastOnce;
        self.journal.record(node, What::Publishing { number, message: E::NAME, reliable, healthy, note });
        let options = PublishOptions { headers, ..PublishOptions::default() };
        let result = self.node(node).publish_with(event, options).await;
        let outcome = result.as_ref().copied().map_err(Error::outcome);
        self.journal.record(node, What::Published { number, outcome });
        result
    }

    /// Has a dead letter handled again.
    pub async fn replay(&self, node: &str, letter: MessageId) {
        self.journal.record(node, What::Replayed { letter });
        self.node(node).dead_letters().replay(letter).await.unwrap();
    }

    /// Has a node list the dead letters.
    pub async fn letters(&self, node: &str) -> Vec<DeadLetter> {
        let letters = self.node(node).dead_letters().list(None, 1_000).await.unwrap();
        self.journal.record(node, What::Listed(letters.iter().map(letter).collect()));
        letters
    }

    /// What failed so far succeeds from now on.
    pub fn mend(&self) {
        self.world.mended.store(true, Ordering::SeqCst);
    }

    /// Waits until nothing is under way for a node that is there: delivered, retried or buried, all of it.
    pub async fn settled(&self) {
        let patience = if self.sound { self.subject.patience() } else { PATIENCE_WITH_BROKEN };
        let in_time = tokio::time::timeout(patience, self.rest()).await;
        assert!(in_time.is_ok() || !self.sound, "there is still work after {patience:?}: {:?}", self.waiting().await);
        self.journal.record("", What::AtRest);
    }

    async fn rest(&self) {
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            let at_rest = self.waiting().await.values().all(|waiting| *waiting == Some(0));
            quiet = if at_rest { quiet + 1 } else { 0 };
            tokio::time::sleep(LOOK.max(self.subject.pace().late / 20)).await;
        }
    }

    /// How much is stored for each living node and not settled, as the transport says it.
    async fn waiting(&self) -> BTreeMap<String, Option<usize>> {
        let is_live = |(id, member): (&String, &Member)| member.live.then(|| id.clone());
        let live: Vec<_> = self.nodes.lock().unwrap().iter().filter_map(is_live).collect();
        let mut waiting = BTreeMap::new();
        for id in live {
            let link = self.links.lock().unwrap().get(&id).and_then(Weak::upgrade);
            let backlog = match link {
                Some(link) => link.backlog().await.ok(),
                None => None,
            };
            waiting.insert(id, backlog.map(|backlog| backlog.here));
        }
        waiting
    }

    /// Lets time pass: what is to happen, or not to happen, in it is seen in the journal.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until as many runs as wanted took effect.
    pub async fn effects(&self, wanted: usize) {
        self.journal.wait_for(wanted, self.subject.patience(), |entry| matches!(entry.what, What::Effect(_))).await;
    }

    /// Waits until as many runs as wanted began on a node.
    pub async fn starts(&self, node: &str, wanted: usize) {
        let fits = |entry: &Entry| &*entry.node == node && matches!(entry.what, What::Started(_));
        self.journal.wait_for(wanted, self.subject.patience(), fits).await;
    }

    /// Waits until every living node knows of every other one; for some time only, as a broken transport may hide them.
    pub async fn acquainted(&self) {
        let end = Instant::now() + PATIENCE_WITH_BROKEN;
        while Instant::now() < end && !self.all_know_all() {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn all_know_all(&self) -> bool {
        let nodes = self.nodes.lock().unwrap();
        let living = || nodes.iter().filter(|(_, member)| member.live);
        living().all(|(_, member)| {
            let known = member.mediator.cluster().nodes();
            living().all(|(id, _)| known.iter().any(|node| node.online && node.id == *id))
        })
    }

    /// Ends everything; gives what happened.
    pub fn finish(self) -> History {
        let nodes = self.nodes.into_inner().unwrap();
        for (id, member) in &nodes {
            let counts = member.mediator.counts();
            let what = What::Counted { late_replies: counts.late_replies, dropped: counts.dropped + counts.gaps };
            self.journal.record(id, what);
        }
        let history = self.journal.history();
        for member in nodes.into_values() {
            member.mediator.kill();
        }
        history
    }
}
