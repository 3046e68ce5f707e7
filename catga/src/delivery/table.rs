//! The handlers of a node, found by the number of a message type or, for what comes off the wire, by its name.

use std::{
    any::Any,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use rustc_hash::FxHashMap;

use super::{lane::Lane, reliable::ReliableLane};
use crate::{
    handler::{Bound, ErasedHandler, Start, Typed},
    message::{MessageInfo, Place, Qos},
    middleware::{
        gate::{Entry, Gate, Pass},
        meter::{Meter, Shown},
        retry::RetryPolicy,
    },
};

/// A handler of this node, with everything that it is run with.
pub(crate) struct HandlerEntry {
    pub(crate) name: Arc<str>,
    pub(crate) place: Place,
    pub(crate) message: MessageInfo,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Duration,
    pub(crate) concurrency: usize,
    pub(crate) bound: Bound,
    pub(crate) gate: Gate,
    pub(crate) meter: Meter,
}

impl HandlerEntry {
    /// The handler for callers that want the reply. Hot.
    pub(crate) fn typed<R: 'static>(&self) -> Option<&Arc<dyn Start<R>>> {
        self.bound.typed.downcast_ref::<Typed<R>>().map(|typed| &typed.0)
    }

    pub(crate) fn erased(&self) -> &Arc<dyn ErasedHandler> {
        &self.bound.erased
    }

    #[inline]
    pub(crate) fn enter(&self) -> Entry<'_> {
        self.gate.enter()
    }

    /// Asks for a permit, and for no place in the queue.
    pub(crate) fn try_enter(&self) -> Option<Pass<'_>> {
        self.gate.try_enter()
    }

    pub(crate) fn occupied(&self) -> usize {
        self.gate.occupied()
    }
}

/// What a node knows of one message type.
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) message: MessageInfo,
    /// The handler of a request.
    pub(crate) request: Option<Arc<HandlerEntry>>,
    /// The handlers of an event.
    pub(crate) events: Vec<Arc<HandlerEntry>>,
    /// The way out for events of QoS 0, opened by the first that leaves.
    pub(crate) lane: OnceLock<Lane>,
    /// That of reliable events into the store.
    pub(crate) reliable: OnceLock<ReliableLane>,
    /// Whether it was said that no handler is known.
    pub(crate) mentioned: AtomicBool,
    /// Whose turn it is among the nodes.
    pub(crate) turn: AtomicUsize,
    /// How many of its messages were sent or published.
    pub(crate) sent: Shown,
}

impl Route {
    pub(crate) fn new(message: MessageInfo) -> Self {
        Self {
            name: message.name.into(),
            message,
            request: None,
            events: Vec::new(),
            lane: OnceLock::new(),
            reliable: OnceLock::new(),
            mentioned: AtomicBool::new(false),
            turn: AtomicUsize::new(0),
            sent: Shown::sent(message.name),
        }
    }
}

/// The handlers of a node.
#[derive(Default)]
pub(crate) struct HandlerTable {
    /// By the number of the message type.
    slots: Vec<Option<Route>>,
    names: FxHashMap<Arc<str>, usize>,
}

impl HandlerTable {
    /// The route of a message type, made if it is new.
    pub(crate) fn route_mut(&mut self, message: MessageInfo) -> &mut Route {
        let index = (message.slot)().index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index].get_or_insert_with(|| Route::new(message))
    }

    /// Makes routes findable by name; those with handlers win over those without.
    pub(crate) fn index_names(&mut self) {
        for (index, route) in self.slots.iter().enumerate() {
            let Some(route) = route else { continue };
            let handled = route.request.is_some() || !route.events.is_empty();
            if handled || !self.names.contains_key(&route.name) {
                self.names.insert(route.name.clone(), index);
            }
        }
    }

    /// The route of the type with this number. Hot: one index.
    pub(crate) fn route(&self, index: usize) -> Option<&Route> {
        self.slots.get(index)?.as_ref()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Route> {
        self.route(self.index_of(name)?)
    }

    /// The number of a message type.
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.slots.iter().flatten()
    }

    pub(crate) fn handlers(&self) -> impl Iterator<Item = &Arc<HandlerEntry>> {
        self.routes().flat_map(|route| route.request.iter().chain(&route.events))
    }

    /// Handlers that run or wait.
    pub(crate) fn occupied(&self) -> usize {
        self.handlers().map(|handler| handler.occupied()).sum()
    }

    /// Handlers of requests that run or wait.
    pub(crate) fn answering(&self) -> usize {
        self.routes().filter_map(|route| route.request.as_ref()).map(|handler| handler.occupied()).sum()
    }

    /// The names of the events of one quality of service that have handlers.
    pub(crate) fn handled_events(&self, qos: Qos) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self
            .routes()
            .filter(|route| !route.events.is_empty() && route.message.qos == qos)
            .map(|route| route.name.clone())
            .collect();
        names.sort();
        names
    }

    /// The names of the requests that have a handler.
    pub(crate) fn handled_requests(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> =
            self.routes().filter(|route| route.request.is_some()).map(|route| route.name.clone()).collect();
        names.sort();
        names
    }
}

/// A message that was decoded once and is handed to several handlers.
pub(crate) type Decoded = Arc<dyn Any + Send + Sync>;
