//! Puts a node's parts together: handlers with their state and their layers, and the durables that serve them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    delivery::{
        limits::{Limits, MOST},
        node::Node,
        table::{HandlerEntry, HandlerTable},
    },
    extract::States,
    handler::HandlerRegistration,
    message::{Kind, Qos},
    middleware::{
        gate::{Gate, Turnstile},
        layer::{BoxLayer, wrap},
        meter::Meter,
        retry::RetryPolicy,
    },
    registry,
    transport::Durable,
    wiring,
};

/// What every handler is given.
pub(crate) struct Assembly<'a> {
    pub(crate) states: &'a States,
    pub(crate) layers: &'a [BoxLayer],
    pub(crate) default_layers: bool,
    pub(crate) limits: &'a Limits,
}

impl Assembly<'_> {
    /// Gives every handler its state, and puts the layers around it.
    pub(crate) fn bind(
        &self,
        chosen: &[&'static HandlerRegistration],
        problems: &mut wiring::Problems,
    ) -> (HandlerTable, Vec<Turnstile>) {
        let mut table = HandlerTable::default();
        let mut turnstiles = Vec::new();
        for registration in registry::messages() {
            table.route_mut(registration.message);
        }
        for registration in chosen {
            let mut bound = match (registration.bind)(self.states) {
                Ok(bound) => bound,
                Err(missing) => {
                    problems.missing(registration, missing);
                    continue;
                }
            };
            if !self.layers.is_empty() {
                let erased = bound.erased.clone();
                bound = erased.layered(wrap(erased.clone(), registration.message, self.layers));
            }
            let options = &registration.options;
            let event = registration.message.kind == Kind::Event;
            let attempts = if event { self.limits.event_attempts } else { self.limits.request_attempts };
            let concurrency = options.concurrency.map_or(self.limits.concurrency, |limit| limit as usize);
            // Without the default layers the gate only counts, so that shutting down can wait.
            let limit = if self.default_layers { concurrency } else { usize::MAX / 2 };
            // What is beyond is reported with whatever else is wrong, and no node is made of it.
            let (gate, turnstile) = Gate::new(limit, self.limits.queue.min(MOST));
            turnstiles.push(turnstile);
            let entry = Arc::new(HandlerEntry {
                name: registration.name.into(),
                place: registration.place,
                message: registration.message,
                group: options.group.map(Into::into),
                retry: RetryPolicy {
                    attempts: options.attempts.unwrap_or(attempts).max(1),
                    base: options.backoff.unwrap_or(self.limits.backoff),
                },
                timeout: match self.default_layers {
                    true => options.timeout.unwrap_or(self.limits.handler_timeout),
                    false => options.timeout.unwrap_or(std::time::Duration::MAX),
                },
                concurrency,
                bound,
                gate,
                meter: Meter::new(registration.message.name, registration.name, options.group),
            });
            let route = table.route_mut(registration.message);
            match event {
                true => route.events.push(entry),
                false => route.request = Some(entry),
            }
        }
        table.index_names();
        (table, turnstiles)
    }
}

/// The durables of a node, and the handlers that each of them serves.
pub(crate) fn durables_of(
    table: &HandlerTable,
    node: &Arc<str>,
    generated: bool,
    limits: &Limits,
) -> Vec<(Durable, Vec<Arc<HandlerEntry>>)> {
    let mut durables: BTreeMap<String, (Durable, Vec<Arc<HandlerEntry>>)> = BTreeMap::new();
    let reliable = table
        .handlers()
        .filter(|handler| handler.message.kind == Kind::Event && handler.message.qos == Qos::AtLeastOnce);
    for handler in reliable {
        let event: Arc<str> = handler.message.name.into();
        // A group has one durable for each event type: versions of an application do not fight over a filter, and one
        // type that fails does not hold up the others.
        let name = match &handler.group {
            Some(group) => format!("g.{group}.{event}"),
            None => format!("n.{node}"),
        };
        let lifetime = match (&handler.group, generated) {
            (Some(_), _) => None,
            (None, true) => Some(limits.generated_lifetime),
            (None, false) => Some(limits.durable_lifetime),
        };
        let (durable, handlers) = durables.entry(name.clone()).or_insert_with(|| {
            let (name, shared, ack_wait) = (name.into(), handler.group.is_some(), limits.ack_wait);
            (Durable { name, events: Vec::new(), shared, ack_wait, lifetime }, Vec::new())
        });
        if !durable.events.contains(&event) {
            durable.events.push(event);
        }
        handlers.push(handler.clone());
    }
    durables.into_values().collect()
}

/// Shows at the start what was found, one line a handler.
pub(crate) fn show_handlers(node: &Node) {
    let mut handlers: Vec<_> = node.handlers.handlers().collect();
    handlers.sort_by_key(|handler| (handler.message.name, handler.name.clone()));
    for handler in handlers {
        tracing::info!(
            target: "catga",
            node = %node.id,
            message_type = handler.message.name,
            kind = handler.message.described(),
            handler = %handler.name,
            group = handler.group.as_deref().unwrap_or("-"),
            attempts = handler.retry.attempts,
            concurrency = handler.concurrency,
            place = %handler.place,
            "handles"
        );
    }
}
