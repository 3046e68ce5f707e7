//! The messages of the suite, which say themselves what their handlers are to do, and the handlers.

use std::time::Duration;

use catga::{Builder, Command, Context, Event, Failure, Headers, Query, State, handler};
use serde::{Deserialize, Serialize};

use crate::{
    history::{HandlerSpec, Number, Trace},
    world::World,
};

/// The header that travels with what the suite publishes.
pub const HEADER: &str = "suite";
/// The headers of a trace.
const TRACE_PARENT: &str = "traceparent";
const TRACE_STATE: &str = "tracestate";

/// What a handler is to do with a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// So many runs fail, until the world is mended.
    pub fails: u32,
    /// A failure is a panic.
    pub panics: bool,
    /// A failure is final.
    pub permanent: bool,
    /// The handler never ends.
    pub hangs: bool,
    /// Work before the effect, and between the effect and the end of the run, in milliseconds.
    pub before_ms: u64,
    pub after_ms: u64,
    /// Each run emits an echo that names it.
    pub emits: bool,
}

/// A reliable event.
#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
#[catga(name = "conformance.fact")]
pub struct Fact {
    pub number: Number,
    pub text: String,
    pub plan: Plan,
}

/// A reliable event that a handler emits.
#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
#[catga(name = "conformance.echo")]
pub struct Echo {
    pub number: Number,
    pub text: String,
    pub of: Number,
    pub attempt: u32,
}

/// An event of QoS 0.
#[derive(Event, Clone, Serialize, Deserialize)]
#[catga(name = "conformance.rumour")]
pub struct Rumour {
    pub number: Number,
    pub text: String,
    pub plan: Plan,
}

/// A command; the reply is its number.
#[derive(Command, Clone, Serialize, Deserialize)]
#[response(Number)]
#[catga(name = "conformance.order")]
pub struct Order {
    pub number: Number,
    pub plan: Plan,
}

/// A query; the reply is its number.
#[derive(Query, Clone, Serialize, Deserialize)]
#[response(Number)]
#[catga(name = "conformance.question")]
pub struct Question {
    pub number: Number,
    pub plan: Plan,
}

/// A handler that a node can be given.
pub struct Role {
    pub spec: HandlerSpec,
    pub add: fn(Builder) -> Builder,
}

const fn spec(name: &'static str, message: &'static str, group: Option<&'static str>) -> HandlerSpec {
    HandlerSpec { name, message, group, attempts: 4, backoff: Duration::from_millis(100) }
}

pub const NOTE: Role =
    Role { spec: spec("conformance.note", "conformance.fact", None), add: |builder| builder.handler(note) };

pub const AUDIT: Role = Role {
    spec: HandlerSpec {
        attempts: 2,
        backoff: Duration::from_secs(1),
        ..spec("conformance.audit", "conformance.fact", None)
    },
    add: |builder| builder.handler(audit),
};

pub const SHARE: Role =
    Role { spec: spec("conformance.share", "conformance.fact", Some("team")), add: |builder| builder.handler(share) };

pub const HEAR: Role =
    Role { spec: spec("conformance.hear", "conformance.echo", None), add: |builder| builder.handler(hear) };

pub const GOSSIP: Role =
    Role { spec: spec("conformance.gossip", "conformance.rumour", None), add: |builder| builder.handler(gossip) };

pub const EXECUTE: Role = Role {
    spec: HandlerSpec { attempts: 1, ..spec("conformance.execute", "conformance.order", None) },
    add: |builder| builder.handler(execute),
};

pub const ANSWER: Role = Role {
    spec: HandlerSpec { attempts: 1, ..spec("conformance.answer", "conformance.question", None) },
    add: |builder| builder.handler(answer),
};

#[handler(name = "conformance.note")]
async fn note(fact: Fact, State(world): State<World>, ctx: Context) -> Result<(), Failure> {
    world.run(&ctx, fact.number, fact.text, &fact.plan, None).await
}

#[handler(name = "conformance.audit", attempts = 2, backoff = "1s")]
async fn audit(fact: Fact, State(world): State<World>, ctx: Context) -> Result<(), Failure> {
    world.run(&ctx, fact.number, fact.text, &Plan { emits: false, ..fact.plan }, None).await
}

#[handler(name = "conformance.share", group = "team")]
async fn share(fact: Fact, State(world): State<World>, ctx: Context) -> Result<(), Failure> {
    world.run(&ctx, fact.number, fact.text, &fact.plan, None).await
}

#[handler(name = "conformance.hear")]
async fn hear(echo: Echo, State(world): State<World>, ctx: Context) -> Result<(), Failure> {
    world.run(&ctx, echo.number, echo.text, &Plan::default(), Some((echo.of, echo.attempt))).await
}

#[handler(name = "conformance.gossip")]
async fn gossip(rumour: Rumour, State(world): State<World>, ctx: Context) -> Result<(), Failure> {
    world.run(&ctx, rumour.number, rumour.text, &rumour.plan, None).await
}

#[handler(name = "conformance.execute")]
async fn execute(order: Order, State(world): State<World>, ctx: Context) -> Result<Number, Failure> {
    world.run(&ctx, order.number, String::new(), &order.plan, None).await.map(|()| order.number)
}

#[handler(name = "conformance.answer")]
async fn answer(question: Question, State(world): State<World>, ctx: Context) -> Result<Number, Failure> {
    world.run(&ctx, question.number, String::new(), &question.plan, None).await.map(|()| question.number)
}

/// The number of the echo that a run emits: one for each handler, and for each node where every node runs it.
pub fn echo_number(handler: &str, node: &str, number: Number, attempt: u32) -> Number {
    let seat = if handler == SHARE.spec.name { "" } else { node };
    let seed = handler.bytes().chain(seat.bytes()).fold(0_u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    // Behind every number that a driver publishes.
    (1 << 40) + (seed % 100_000) * 1_000_000 + number * 100 + Number::from(attempt)
}

/// The text of the message with this number; long enough that two messages do not agree by chance.
pub fn text_of(number: Number) -> String {
    let mut random = fastrand::Rng::with_seed(number);
    let length = random.usize(8..200);
    std::iter::repeat_with(|| random.alphanumeric()).take(length).collect()
}

/// The trace to which what the suite sends under this number belongs: one of its own.
pub fn trace_of(number: Number) -> Trace {
    Trace { parent: format!("00-{:032x}-{:016x}-01", number + 1, number + 1), state: format!("suite={number}") }
}

impl Trace {
    /// The trace that headers name.
    pub fn of(headers: &Headers) -> Self {
        let value = |name| headers.get(name).unwrap_or_default().to_owned();
        Self { parent: value(TRACE_PARENT), state: value(TRACE_STATE) }
    }

    /// Puts it into headers.
    pub fn into(self, headers: &mut Headers) {
        headers.insert(TRACE_PARENT, self.parent).unwrap();
        headers.insert(TRACE_STATE, self.state).unwrap();
    }
}
