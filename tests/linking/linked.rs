//! Handlers of another crate are found when that crate is linked.
#![allow(missing_docs)]

use catga::{Mediator, testing::Harness};
// Nothing of it is named: linking it is enough.
use catga_test_plugin as _;
use catga_tests::{Greet, Greeted, Written};

#[tokio::test(start_paused = true)]
async fn handlers_of_a_linked_crate_are_found() {
    let harness = Harness::new();
    let mediator = harness.node("node1").build().await.unwrap();
    assert_eq!(mediator.send(Greet { name: "Ada".into() }).await.unwrap(), "hello, Ada");
    harness.settled().await.unwrap();
    assert_eq!(harness.record().handled::<Greeted>().by("catga-test-plugin.remember").count(), 1);
}

#[tokio::test]
async fn a_node_chooses_among_linked_handlers_by_name() {
    let mediator = Mediator::builder().only(["catga-test-plugin.greet"]).build().await.unwrap();
    assert_eq!(mediator.send(Greet { name: "Ada".into() }).await.unwrap(), "hello, Ada");
    let error = Mediator::builder().only(["catga-test-plugin.wave"]).build().await.unwrap_err();
    assert!(error.to_string().contains("`catga-test-plugin.greet`, `catga-test-plugin.remember`"), "{error}");
}

#[tokio::test]
async fn the_log_names_each_handler_that_was_found_with_its_message() {
    let written = Written::default();
    let writer = written.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // For all threads: what one without a log meets first would stay without one for all.
    tracing::subscriber::set_global_default(log).unwrap();
    let mediator = Mediator::builder().node("logged").build().await.unwrap();
    // The text of the event comes first, and no field takes its place.
    assert_eq!(written.lines("catga: handles node=logged"), 2);
    assert!(written.lines("message_type=\"catga-tests.Greet\"") >= 1, "other tests may log it, too");
    mediator.shutdown().await.unwrap();
}
