//! Layers: any tower layer around every handler, on every path.

use std::time::Duration;

use catga::{
    Command, ErrorKind, Event, Failure, handler,
    middleware::{Answer, Call, Next, from_fn},
    testing::Harness,
};
use catga_tests::Log;
use serde::{Deserialize, Serialize};

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u32)]
struct Double {
    number: u32,
}

#[handler]
async fn double(command: Double) -> u32 {
    command.number * 2
}

#[derive(Command, Clone, Serialize, Deserialize)]
struct Sleep {
    seconds: u64,
}

#[handler]
async fn sleep(command: Sleep) {
    tokio::time::sleep(Duration::from_secs(command.seconds)).await;
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
struct Doubled {}

#[handler]
async fn note_doubled(_: Doubled) {}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Halved {}

#[handler]
async fn note_halved(_: Halved) {}

fn note(
    log: &Log,
    word: &'static str,
) -> impl Fn(Call, Next) -> futures_util::future::BoxFuture<'static, Result<Answer, Failure>> + Clone + Send + Sync + 'static
{
    let log = log.clone();
    move |call, next| {
        let log = log.clone();
        Box::pin(async move {
            log.add(format!("{word} {} {}", call.name(), call.context().handler()));
            let answer = next.run(call).await?;
            log.add(format!("{word} {:?}", answer.reply::<u32>()));
            Ok(answer)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn layers_see_every_run_of_every_handler_the_first_layer_outermost() {
    let (harness, log) = (Harness::new(), Log::default());
    let node = harness.node("node1").discover(false).handler(double).handler(note_doubled).handler(note_halved);
    let node = node.layer(from_fn(note(&log, "outer"))).layer(from_fn(note(&log, "inner"))).build().await.unwrap();
    let caller = harness.node("caller").discover(false).build().await.unwrap();
    let expected = [
        "outer catga-tests.Double catga-tests.double",
        "inner catga-tests.Double catga-tests.double",
        "inner Some(4)",
        "outer Some(4)",
    ];
    assert_eq!(node.send(Double { number: 2 }).await.unwrap(), 4);
    assert_eq!(log.lines(), expected);
    assert_eq!(caller.send(Double { number: 2 }).await.unwrap(), 4);
    assert_eq!(log.lines()[4..], expected);
    node.publish(Doubled {}).await.unwrap();
    caller.publish(Halved {}).await.unwrap();
    harness.settled().await.unwrap();
    assert_eq!(log.count("inner catga-tests.Doubled catga-tests.note_doubled"), 1);
    assert_eq!(log.count("outer catga-tests.Halved catga-tests.note_halved"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_layer_may_refuse_and_a_layer_of_tower_may_cut_short() {
    let harness = Harness::new();
    let refuse = |_: Call, _: Next| async { Err::<Answer, _>(Failure::new("closed", "come back later")) };
    let node = harness.node("node1").discover(false).handler(double).layer(from_fn(refuse)).build().await.unwrap();
    let error = node.send(Double { number: 2 }).await.unwrap_err();
    assert_eq!((error.kind(), error.failure().unwrap().code()), (ErrorKind::Handler, "closed"));
    let timeout = tower::timeout::TimeoutLayer::new(Duration::from_secs(1));
    let node = harness.node("node2").discover(false).handler(sleep).layer(timeout).build().await.unwrap();
    node.send(Sleep { seconds: 0 }).await.unwrap();
    let error = node.send(Sleep { seconds: 3 }).await.unwrap_err();
    assert_eq!(error.failure().unwrap().code(), "error");
    assert!(error.to_string().contains("timed out"), "{error}");
}
