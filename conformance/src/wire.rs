//! Bytes that are no frame: a delivery that nobody can read ends as a dead letter, and harms nothing else.

use std::sync::Arc;

use bytes::Bytes;
use catga::{
    Error, ErrorKind, Outcome,
    transport::{DeadContent, Delivery, Transport},
};
use futures_util::future::BoxFuture;

use crate::{
    bench::{
        Bench,
        hooked::{Hooked, Hooks, Place},
        in_process::InProcessSubject,
    },
    checks::Property,
    history::Number,
    messages::{NOTE, Plan, SHARE},
};

/// What stands where a frame should.
const GARBAGE: &[u8] = b"\xCA\x01\x01\xFFno frame at all";

/// Turns each delivery of the message with number 7 into bytes that are no frame.
struct Garbles;

const GARBLED: Number = 7;

impl Hooks for Garbles {
    fn delivering(self: Arc<Self>, _: &Place, mut delivery: Delivery) -> BoxFuture<'static, Option<Delivery>> {
        let wanted = format!("\"number\":{GARBLED},");
        let is_garbled = |payload: &Bytes| String::from_utf8_lossy(payload).contains(&wanted);
        if delivery.messages.iter().flatten().any(|envelope| is_garbled(&envelope.payload)) {
            let error = Error::new(ErrorKind::Codec, Outcome::NotStarted, "not a frame");
            delivery.messages = Err((Bytes::from_static(GARBAGE), error));
        }
        Box::pin(async move { Some(delivery) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_cannot_be_read_becomes_a_dead_letter_and_harms_nothing_else() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, Garbles);
    let bench = Bench::new(Arc::new(InProcessSubject::new()), Some(breakage));
    bench.start("node1", &[NOTE]).await;
    bench.start("node2", &[SHARE]).await;
    for number in 0..20 {
        bench.publish("node1", number, Plan::default()).await.unwrap();
    }
    bench.settled().await;
    let letters = bench.letters("node1").await;
    // One for each durable.
    assert_eq!(letters.len(), 2);
    for letter in letters {
        assert!(matches!(&letter.content, DeadContent::Unreadable(bytes) if bytes == GARBAGE), "{letter:?}");
        assert_eq!((letter.failure.code(), letter.attempts, letter.handler), ("codec", 4, None));
        let error = bench.node("node1").dead_letters().replay(letter.id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec);
        bench.node("node1").dead_letters().delete(letter.id).await.unwrap();
    }
    let history = bench.finish();
    assert_eq!(history.effects().filter(|(.., run)| run.number != GARBLED).count(), 38);
    // What nobody could read had no effect, and was not lost either: all else is as it should be.
    for property in Property::ALL.into_iter().filter(|one| ![Property::P1, Property::P5, Property::P15].contains(one)) {
        property.check(&history).unwrap();
    }
}
