//! Subjects, and the names of streams and consumers.
//!
//! The names of applications, nodes and durables may contain dots, which separate tokens in a subject and may not stand
//! in the name of a stream or consumer. There they become `~`, which no name contains: no two names become one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_nats::Subject;
use rustc_hash::FxHashMap;

/// The names that one application uses on a server.
#[derive(Clone, Debug)]
pub(super) struct Names {
    app: Arc<str>,
    /// Subjects that were made, by what they are for and the name in them: they are asked for with each frame.
    made: Arc<[Made; 5]>,
}

type Made = ArcSwap<FxHashMap<Box<str>, Subject>>;

/// What a subject is for that is asked for with each frame.
#[derive(Clone, Copy)]
enum Often {
    Event,
    Reliable,
    Request,
    Probe,
    Reply,
}

/// The most subjects of a kind that are kept: as many as there are nodes at the most.
const KEPT: usize = 4_096;

/// The last tokens of the subjects to one node.
pub(super) const REQUEST: &str = "request";
pub(super) const PROBE: &str = "probe";
/// That of replies.
pub(super) const FRAME: &str = "frame";

/// The streams of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    /// Reliable events, and what is stored again for one durable.
    Events,
    /// Dead letters.
    Dead,
    /// What the server says of messages that it gave up.
    Advisories,
}

impl StreamKind {
    pub(super) const ALL: [Self; 3] = [Self::Events, Self::Dead, Self::Advisories];
}

impl Names {
    pub(super) fn new(app: &str) -> Self {
        Self { app: token(app).into(), made: Arc::default() }
    }

    /// An event of QoS 0.
    pub(super) fn event(&self, name: &str) -> Subject {
        self.often(Often::Event, name, || self.subject("event", name))
    }

    /// A reliable event.
    pub(super) fn reliable(&self, name: &str) -> Subject {
        self.often(Often::Reliable, name, || self.subject("reliable", name))
    }

    /// What is stored for one durable alone.
    pub(super) fn retry(&self, durable: &str) -> Subject {
        self.subject("retry", &token(durable))
    }

    /// A request from a foreign caller, to any node that handles it.
    pub(super) fn request(&self, name: &str) -> Subject {
        self.subject("request", name)
    }

    /// Whatever one node alone is to do.
    pub(super) fn node(&self, node: &str, what: &str) -> Subject {
        format!("{}.node.{}.{what}", self.app, token(node)).into()
    }

    /// Requests to one node.
    pub(super) fn requests(&self, node: &str) -> Subject {
        self.often(Often::Request, node, || self.node(node, REQUEST))
    }

    /// Requests that only ask whether a node is alive.
    pub(super) fn probes(&self, node: &str) -> Subject {
        self.often(Often::Probe, node, || self.node(node, PROBE))
    }

    /// Whatever comes back for the requests of one node.
    pub(super) fn reply(&self, node: &str, what: &str) -> Subject {
        format!("{}.reply.{}.{what}", self.app, token(node)).into()
    }

    /// Replies to one node.
    pub(super) fn replies(&self, node: &str) -> Subject {
        self.often(Often::Reply, node, || self.reply(node, FRAME))
    }

    /// What nodes say of themselves.
    pub(super) fn cluster(&self) -> Subject {
        self.subject("cluster", "node")
    }

    /// A dead letter.
    pub(super) fn dead(&self, id: &str) -> Subject {
        self.subject("dead", id)
    }

    /// All subjects of one sort, such as `event`.
    pub(super) fn all(&self, sort: &str) -> Subject {
        self.subject(sort, ">")
    }

    /// Whatever travels under the application's name.
    pub(super) fn everything(&self) -> Subject {
        format!("{}.>", self.app).into()
    }

    /// What the client's own inboxes begin with.
    pub(super) fn inbox(&self) -> String {
        format!("{}.inbox", self.app)
    }

    pub(super) fn stream(&self, kind: StreamKind) -> String {
        let what = match kind {
            StreamKind::Events => "events",
            StreamKind::Dead => "dead",
            StreamKind::Advisories => "advisories",
        };
        format!("{}-{what}", self.app)
    }

    /// The message type that a subject of this sort speaks of.
    pub(super) fn type_of<'a>(&self, sort: &str, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&*self.app)?.strip_prefix('.')?.strip_prefix(sort)?.strip_prefix('.')
    }

    /// A subject that was made before, or is made now.
    fn often(&self, what: Often, name: &str, make: impl Fn() -> Subject) -> Subject {
        let made = &self.made[what as usize];
        if let Some(subject) = made.load().get(name) {
            return subject.clone();
        }
        let subject = make();
        made.rcu(|known| {
            // Nodes come and go under new names: once it is full, those that are there now are kept instead.
            let full = known.len() >= KEPT && !known.contains_key(name);
            let mut known = if full { FxHashMap::default() } else { FxHashMap::clone(known) };
            known.insert(name.into(), subject.clone());
            known
        });
        subject
    }

    fn subject(&self, sort: &str, rest: &str) -> Subject {
        format!("{}.{sort}.{rest}", self.app).into()
    }
}

/// A name as one token of a subject, or as the name of a consumer.
pub(super) fn token(name: &str) -> String {
    name.replace('.', "~")
}

/// The name behind a [`token`].
pub(super) fn untoken(token: &str) -> String {
    token.replace('~', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_become_one() {
        assert_ne!(Names::new("a.event").event("b"), Names::new("a").event("event.b"));
        assert_ne!(token("n.a.b"), token("n.a-b"));
        assert_eq!(untoken(&token("n.a.b")), "n.a.b");
        assert_ne!(Names::new("a").node("b.request", "probe"), Names::new("a").node("b", "request.probe"));
    }

    #[test]
    fn subjects_that_are_asked_for_now_are_kept() {
        let names = Names::new("a");
        let kept = |node: &str| names.made[Often::Request as usize].load().contains_key(node);
        for number in 0..=KEPT {
            let node = format!("n{number}");
            assert_eq!(&*names.requests(&node), format!("a.node.{node}.request"));
            assert!(kept(&node));
        }
        assert!(!kept("n0"));
        assert!(names.made[Often::Request as usize].load().len() <= KEPT);
    }

    #[test]
    fn the_type_is_found_in_the_subject() {
        let names = Names::new("my.app");
        assert_eq!(names.type_of("event", &names.event("orders.Placed")), Some("orders.Placed"));
        assert_eq!(names.type_of("event", &names.reliable("orders.Placed")), None);
        assert_eq!(Names::new("my").type_of("event", &names.event("orders.Placed")), None);
    }
}
