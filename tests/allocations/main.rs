//! How often a call within one process allocates: exactly, so that a change that adds one shows.
#![allow(missing_docs)]

use std::{
    alloc::System,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use catga::{Builder, Command, Context, Event, Mediator, State, handler, transport::InProcess};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
struct Add(u64, u64);

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
struct AddTo(u64);

#[derive(Command, Clone, Serialize, Deserialize)]
struct Look;

#[derive(Event, Clone, Serialize, Deserialize)]
struct Added(u64);

#[handler]
async fn add(command: Add) -> u64 {
    command.0 + command.1
}

#[handler]
async fn add_to(command: AddTo, State(start): State<Arc<u64>>) -> u64 {
    command.0 + *start
}

#[handler]
async fn look(_: Look, ctx: Context) {
    assert_eq!(ctx.attempt(), 1);
}

#[handler]
async fn first(event: Added) {
    std::hint::black_box(event.0);
}

#[handler]
async fn second(event: Added) {
    std::hint::black_box(event.0);
}

#[handler]
async fn third(event: Added) {
    std::hint::black_box(event.0);
}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Waited(u64);

#[handler]
async fn wait(event: Waited) {
    tokio::task::yield_now().await;
    std::hint::black_box(event.0);
}

/// Calls in one round, so that what allocates once in a while shows.
const CALLS: usize = 500;
/// The harness of the tests allocates in threads of its own: of many rounds, the one that it disturbed least counts.
const ROUNDS: usize = 40;

/// The allocations of `CALLS` calls, each of which is ready at its first poll.
fn allocations<F: Future>(call: impl Fn() -> F) -> usize {
    let round = || {
        let region = Region::new(ALLOCATOR);
        for _ in 0..CALLS {
            call().now_or_never().expect("the handlers are ready at once");
        }
        let change = region.change();
        change.allocations + change.reallocations
    };
    (0..ROUNDS).map(|_| round()).min().expect("there are rounds")
}

/// The counts are those of the process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A mediator whose tasks stand still while it is measured.
fn with_mediator(describe: impl FnOnce(Builder) -> Builder, measure: impl FnOnce(&Mediator)) {
    // A test that failed in its turn has left nothing behind.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let handlers = Mediator::builder().discover(false).handler(add).handler(add_to).handler(look);
    let handlers = handlers.handler(first).handler(second).handler(third).state(Arc::new(40_u64));
    let mediator = runtime.block_on(describe(handlers).build()).expect("a mediator");
    let _entered = runtime.enter();
    measure(&mediator);
}

#[test]
fn a_send_without_layers_allocates_the_future_of_its_handler_and_nothing_else() {
    with_mediator(
        |builder| builder.default_layers(false),
        |mediator| {
            assert_eq!(allocations(|| mediator.send(Add(1, 2))), CALLS);
            assert_eq!(allocations(|| mediator.send(AddTo(2))), CALLS);
        },
    );
}

#[test]
fn the_default_stack_adds_no_allocation() {
    with_mediator(
        |builder| builder,
        |mediator| {
            assert_eq!(allocations(|| mediator.send(Add(1, 2))), CALLS);
            assert_eq!(allocations(|| mediator.send(AddTo(2))), CALLS);
        },
    );
}

#[test]
fn a_context_costs_one_allocation_and_only_the_handler_that_asks_for_it() {
    with_mediator(|builder| builder, |mediator| assert_eq!(allocations(|| mediator.send(Look)), 2 * CALLS));
}

#[test]
fn a_publish_to_three_handlers_allocates_three_futures_and_nothing_else() {
    with_mediator(
        |builder| builder.default_layers(false),
        |mediator| assert_eq!(allocations(|| mediator.publish(Added(3))), 3 * CALLS),
    );
    with_mediator(|builder| builder, |mediator| assert_eq!(allocations(|| mediator.publish(Added(3))), 3 * CALLS));
}

/// The bytes that a call allocates where it is made, at its first poll; what it leads to runs between the rounds.
fn bytes<F: Future>(runtime: &tokio::runtime::Runtime, call: impl Fn() -> F) -> usize {
    let round = || {
        // What the round before has handed over is taken up, so that queues have room.
        runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(5)).await });
        let _entered = runtime.enter();
        let region = Region::new(ALLOCATOR);
        for _ in 0..CALLS {
            drop(call().now_or_never());
        }
        region.change().bytes_allocated / CALLS
    };
    (0..ROUNDS).map(|_| round()).min().expect("there are rounds")
}

/// Above 1,032 bytes glibc keeps nothing for the thread that frees it, and takes the lock of an arena for each piece. Futures
/// grow unseen: what is moved into another one, or borrowed in one, has its place more than once.
#[test]
fn what_waits_for_another_node_or_for_a_handler_takes_about_a_thousand_bytes() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let broker = InProcess::new();
    let node = |id| Mediator::builder().discover(false).node(id).transport(broker.clone());
    let (caller, _other) = runtime.block_on(async {
        let caller = node("caller").handler(wait).build().await.expect("a node");
        (caller, node("other").handler(add).build().await.expect("a node"))
    });
    let request = bytes(&runtime, || caller.send(Add(1, 2)));
    let event = bytes(&runtime, || caller.publish(Waited(3)));
    assert!((500..1_500).contains(&request), "{request} bytes: the future, the envelope, its places in queues");
    assert!((500..1_500).contains(&event), "{event} bytes: the task, the handler's future");
}
