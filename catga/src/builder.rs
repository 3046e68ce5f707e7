//! Puts a mediator together: finds the handlers, checks the wiring, joins the transport, starts the tasks.

use std::{
    any::{TypeId, type_name, type_name_of_val},
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Layer, Service};

use crate::{
    assembly::{Assembly, durables_of, show_handlers},
    cluster::{
        Cluster, Routing,
        membership::{Membership, Pending},
        record::{Record, hash_of},
        snapshot::{NodeView, Table, Vitals},
    },
    delivery::{
        asks::Asks,
        counters::Counters,
        durable::DurableTask,
        events::EventIntake,
        limits::Limits,
        node::Node,
        observe::Observer,
        requests::Requests,
        server::{Server, answer_probes},
        tasks::Tasks,
    },
    error::{BoxError, Error},
    extract::States,
    id::{incarnation, now_millis},
    mediator::Mediator,
    message::Qos,
    middleware::{
        Answer, Call, HandlerService,
        layer::{BoxLayer, boxed},
    },
    transport::{InProcess, Joined, Registration, Transport},
    wiring,
};

/// Describes a mediator; [`build`](Self::build) makes it.
pub struct Builder {
    states: States,
    /// Types of which more than one value was given.
    states_twice: Vec<&'static str>,
    layers: Vec<BoxLayer>,
    default_layers: bool,
    transport: Option<Arc<dyn Transport>>,
    node: Option<String>,
    generated: bool,
    endpoint: Option<String>,
    app: String,
    routing: Routing,
    limits: Limits,
    pub(crate) selection: Selection,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) kill: Option<CancellationToken>,
}

/// Which of the linked handlers a node runs.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) discover: bool,
    /// Functions that were named, by their type, and how they are called.
    pub(crate) functions: Vec<(TypeId, &'static str)>,
    pub(crate) only: Option<Vec<String>>,
    pub(crate) without: Vec<String>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            states: States::default(),
            states_twice: Vec::new(),
            layers: Vec::new(),
            default_layers: true,
            transport: None,
            node: None,
            generated: false,
            endpoint: None,
            app: "catga".to_owned(),
            routing: Routing::default(),
            limits: Limits::default(),
            selection: Selection { discover: true, functions: Vec::new(), only: None, without: Vec::new() },
            observer: None,
            kill: None,
        }
    }

    /// Gives handlers a value: for `State<T>`, and for the `&self` of handlers in an impl block of `T`.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        if !self.states.insert(Arc::new(value)) {
            self.states_twice.push(type_name::<T>());
        }
        self
    }

    /// Puts a layer around every handler; the first layer is the outermost.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + Sync + 'static,
        L::Service: Service<Call, Response = Answer> + Clone + Send + Sync + 'static,
        <L::Service as Service<Call>>::Error: Into<BoxError>,
        <L::Service as Service<Call>>::Future: Send + 'static,
    {
        self.layers.push(boxed(layer));
        self
    }

    /// Whether handlers run under the default layers: deadline, limit of concurrency and time-out. Panics are isolated in any case.
    /// Without them a local call is as fast as it gets, and a handler that never ends is waited for for ever.
    #[must_use]
    pub fn default_layers(mut self, on: bool) -> Self {
        self.default_layers = on;
        self
    }

    /// Joins other nodes by this transport. Without one, the node has a broker of its own in this process.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// The id of this node: letters, digits, `-`, `_` and `.`. A node that comes back under its id gets what it missed.
    #[must_use]
    pub fn node(mut self, id: impl Into<String>) -> Self {
        self.node = Some(id.into());
        self
    }

    /// Makes up an id at each start: what is stored for the node while it is away is lost, and that is intended.
    #[must_use]
    pub fn generated_node(mut self) -> Self {
        self.generated = true;
        self
    }

    /// Where this node serves, for other nodes to see.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// The application, `catga` by default: nodes of different applications do not meet.
    #[must_use]
    pub fn app(mut self, app: impl Into<String>) -> Self {
        self.app = app.into();
        self
    }

    /// How requests without a key find their node.
    #[must_use]
    pub fn routing(mut self, routing: Routing) -> Self {
        self.routing = routing;
        self
    }

    /// How long the outcome of a command is remembered, and how many bytes outcomes may take.
    #[must_use]
    pub fn idempotency(mut self, window: std::time::Duration, bytes: u64) -> Self {
        (self.limits.idempotency_window, self.limits.idempotency_bytes) = (window, bytes);
        self
    }

    /// The limits of this node.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the handlers that are linked into this process are found by themselves; so it is by default.
    #[must_use]
    pub fn discover(mut self, on: bool) -> Self {
        self.selection.discover = on;
        self
    }

    /// Runs this handler: a function, or a method such as `OrderService::place`, that carries `#[handler]`.
    #[must_use]
    pub fn handler<F: 'static>(mut self, function: F) -> Self {
        self.selection.functions.push((TypeId::of::<F>(), type_name_of_val(&function)));
        self
    }

    /// Runs only the handlers of these names, which are `<package>.<function>`, `<package>.<Type>.<method>` or what
    /// `#[handler(name = "..")]` says. A name that no handler has is a mistake of the wiring.
    ///
    /// ```
    /// use catga::Mediator;
    ///
    /// let front = Mediator::builder().only(["shop.place_order", "shop.Prices.price"]);
    /// ```
    #[must_use]
    pub fn only(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.selection.only.get_or_insert_default().extend(names.into_iter().map(Into::into));
        self
    }

    /// Does not run the handlers of these names; see [`only`](Self::only).
    ///
    /// ```
    /// use catga::Mediator;
    ///
    /// let without_mail = Mediator::builder().without(["shop.send_receipt"]);
    /// ```
    #[must_use]
    pub fn without(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.selection.without.extend(names.into_iter().map(Into::into));
        self
    }

    /// Checks the wiring, joins the transport and starts the node. When it returns, the node receives.
    ///
    /// # Errors
    ///
    /// `Configuration` with every mistake of the wiring at once; what the transport says.
    ///
    /// # Cancellation
    ///
    /// No node is started when the future is dropped.
    pub async fn build(mut self) -> Result<Mediator, Error> {
        let private = self.transport.is_none();
        let transport = self.transport.take().unwrap_or_else(|| Arc::new(InProcess::new()));
        let capabilities = transport.capabilities();
        let mut problems = wiring::Problems::default();
        problems.limits(&self.limits);
        problems.states_twice(&self.states_twice);
        let app = problems.name("application", &self.app);
        let given = self.node.as_deref().map(|id| problems.name("node", id));
        let generated = given.is_none();
        if self.generated && !generated {
            problems.two_ids();
        }
        let chosen = wiring::choose(&self.selection, &mut problems);
        if generated && !self.generated && capabilities.survives_the_process {
            problems.nameless_node(&chosen);
        }
        let assembly = Assembly {
            states: &self.states,
            layers: &self.layers,
            default_layers: self.default_layers,
            limits: &self.limits,
        };
        let handlers = assembly.bind(&chosen, &mut problems);
        problems.into_result()?;

        let (incarnation, started_ms) = (incarnation(), now_millis());
        let id = given.unwrap_or_else(|| format!("node-{:016x}", fastrand::u64(..)).into());
        let (table, turnstiles) = handlers;
        let durables = durables_of(&table, &id, generated, &self.limits);
        let requests = table.handled_requests();
        let registration = Registration {
            app,
            node: id.clone(),
            incarnation,
            events: table.handled_events(Qos::AtMostOnce),
            requests: requests.clone(),
            durables: durables.iter().map(|(spec, _)| spec.clone()).collect(),
            queue: self.limits.queue,
        };
        let Joined { link, inbox, consumers } = transport.join(registration).await?;

        let endpoint: Option<Arc<str>> = self.endpoint.map(Into::into);
        let ended = CancellationToken::new();
        let known = Arc::new(Table::new(NodeView {
            id: id.clone(),
            incarnation,
            started_ms,
            endpoint: endpoint.clone(),
            requests: requests.clone().into(),
            online: true,
            own: true,
            vitals: Arc::new(Vitals::new()),
        }));
        let cluster = Cluster::new(known, ended.clone());
        let (asks, asks_receiver) = Asks::new(self.limits.queue);
        let (local, local_receiver) = mpsc::channel(self.limits.queue.max(1));
        let node = Arc::new_cyclic(|this| Node {
            id: id.clone(),
            incarnation,
            generated,
            limits: self.limits,
            routing: self.routing,
            private,
            default_layers: self.default_layers,
            handlers: table,
            cluster: cluster.clone(),
            link: link.clone(),
            capabilities,
            asks,
            local,
            counters: Arc::new(Counters::new()),
            tasks: Tasks::new(self.kill),
            stop: CancellationToken::new(),
            cancel: CancellationToken::new(),
            served: CancellationToken::new(),
            closed: CancellationToken::new(),
            ended,
            farewell: OnceLock::new(),
            shutting_down: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            cut_off: OnceLock::new(),
            observer: self.observer,
            started: Instant::now(),
            durables: TaskTracker::new(),
            this: this.clone(),
        });
        for turnstile in turnstiles {
            node.tasks.spawn(turnstile.run(node.stop.clone()));
        }
        for ((spec, handlers), consumer) in durables.into_iter().zip(consumers) {
            let task = DurableTask::new(node.clone(), spec, handlers, consumer);
            node.tasks.spawn(node.durables.track_future(task.run()));
        }
        node.tasks.spawn(Requests::new(node.clone(), asks_receiver, inbox.replies, inbox.lost_replies).run());
        node.tasks.spawn(Server::new(node.clone(), inbox.requests, local_receiver).run());
        node.tasks.spawn(answer_probes(node.clone(), inbox.probes));
        let intake = EventIntake::new(node.clone(), inbox.events);
        node.tasks.spawn(intake.run());
        let (loaded, replaced) = (Arc::downgrade(&node), Arc::downgrade(&node));
        let membership = Membership {
            own: Record {
                node: id,
                incarnation,
                endpoint,
                load: 0,
                started_ms,
                requests_hash: hash_of(&requests),
                requests: Some(requests),
            },
            load: Arc::new(move || loaded.upgrade().map_or(0, |node| node.handlers.occupied() as u64)),
            replaced: Arc::new(move || replaced.upgrade().iter().for_each(|node| node.give_way())),
            cluster,
            link,
            inbox: inbox.cluster,
            heartbeat: node.limits.heartbeat,
            silence: node.limits.silence,
            members: BTreeMap::new(),
            left: BTreeMap::new(),
            pending: Pending::default(),
            stop: node.stop.clone(),
        };
        node.tasks.spawn(membership.run());
        if let Some(observer) = &node.observer {
            observer.joined(&node);
        }
        show_handlers(&node);
        Ok(Mediator::new(node))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("node", &self.node).field("app", &self.app).finish_non_exhaustive()
    }
}
