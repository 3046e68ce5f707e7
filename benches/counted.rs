//! What `cargo xtask counts` runs under valgrind: one piece of work, so many times. What a run costs beside the calls is the
//! same for any number of them, so the difference of two runs is what the calls cost.
//!
//! One thread does everything, and nothing waits for time. Without arguments it names its pieces.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use catga::{
    Event, Kind, Mediator, Message, SendOptions, handler,
    transport::{
        Envelope,
        frame::{decode_messages, encode_messages},
    },
};
use catga_bench::{Add, Added, Bench, add, ready};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// What does so many calls.
type Piece = fn(u64);

const PIECES: [(&str, Piece); 9] = [
    ("a boxed call", boxed),
    ("send, no layers", |calls| send(calls, false)),
    ("send, default stack", |calls| send(calls, true)),
    ("send, a new key", |calls| keyed(calls, |number| number)),
    ("send, a key that was answered", |calls| keyed(calls, |_| 0)),
    ("publish to three", publish),
    ("publish to the store, handle, acknowledge", reliable),
    ("write a frame of 32", write),
    ("read a frame of 32", read),
];

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [name, calls] = &words[..] else {
        return PIECES.iter().for_each(|(name, _)| println!("{name}"));
    };
    let (_, piece) = PIECES.iter().find(|(piece, _)| piece == name).expect("a piece of that name");
    piece(calls.parse().expect("a number of calls"));
}

/// What cannot be beaten: it shows what changes with the compiler alone.
fn boxed(calls: u64) {
    type Boxed = Box<dyn Fn(Add) -> BoxFuture<'static, u64>>;
    let boxed: Boxed = black_box(Box::new(|command| Box::pin(add(command))));
    repeat(calls, |number| ready(boxed(Add { a: number, b: 1 })));
}

fn send(calls: u64, layers: bool) {
    let bench = Bench::new(|builder| builder.default_layers(layers));
    bench.enter(|mediator| repeat(calls, |number| ready(mediator.send(Add { a: number, b: 1 })).expect("a sum")));
}

/// By way of the memory of requests, one after the other.
fn keyed(calls: u64, key: fn(u64) -> u64) {
    Bench::new(|builder| builder).run(async |mediator: &Mediator| {
        for number in 0..calls {
            let key = key(number);
            let options = SendOptions { key: Some(key.to_string()), ..SendOptions::default() };
            let sum = mediator.send_with(Add { a: key, b: 1 }, options).await;
            assert_eq!(sum.expect("a sum"), key + 1);
        }
    });
}

fn publish(calls: u64) {
    let bench = Bench::new(|builder| builder);
    bench.enter(|mediator| repeat(calls, |number| ready(mediator.publish(Added { sum: number })).expect("handled")));
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Kept {
    sum: u64,
}

static KEPT: AtomicU64 = AtomicU64::new(0);

#[handler]
async fn keep(event: Kept) {
    KEPT.fetch_add(event.sum, Ordering::Relaxed);
}

/// Into the store inside the process and out of it, one event after the other.
fn reliable(calls: u64) {
    Bench::new(|builder| builder.handler(keep)).run(async |mediator: &Mediator| {
        for number in 1..=calls {
            mediator.publish(Kept { sum: 1 }).await.expect("stored");
            while KEPT.load(Ordering::Relaxed) < number {
                tokio::task::yield_now().await;
            }
        }
    });
}

/// As many messages as a full frame of a lane holds, of 70 bytes each.
fn messages() -> Vec<Envelope> {
    let payload = Bytes::from_static(&[b'7'; 70]);
    let (name, source) = (Arc::from(Kept::NAME), Arc::from("a-node"));
    let message = |_| Envelope::new(Arc::clone(&name), Kind::Event, &source, payload.clone());
    (0..32).map(message).collect()
}

fn write(calls: u64) {
    let messages = messages();
    repeat(calls, |_| encode_messages(black_box(&messages)).expect("a frame"));
}

fn read(calls: u64) {
    let frame = encode_messages(&messages()).expect("a frame");
    repeat(calls, |_| decode_messages(black_box(&frame)).expect("messages"));
}

fn repeat<T>(calls: u64, work: impl Fn(u64) -> T) {
    for number in 0..calls {
        black_box(work(black_box(number)));
    }
}
