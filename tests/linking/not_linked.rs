//! What is said when handlers live in a crate that nobody linked: in this binary, the plug-in stands in `Cargo.toml` only.
#![allow(missing_docs)]

use catga::{ErrorKind, Mediator, Outcome};
use catga_tests::{Greet, Greeted, Written};

#[tokio::test]
async fn a_node_without_any_handler_does_not_start_and_says_how_to_link_them() {
    let error = Mediator::builder().build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("use that_crate as _;"), "{error}");
}

#[tokio::test]
async fn the_error_of_a_send_says_how_to_link_the_handler() {
    let mediator = Mediator::builder().discover(false).build().await.unwrap();
    let error = mediator.send(Greet { name: "Ada".into() }).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::NoHandler, Outcome::NotStarted));
    let text = error.to_string();
    assert!(text.contains("`catga-tests.Greet`") && text.contains("use that_crate as _;"), "{text}");
}

#[tokio::test]
async fn an_event_that_nobody_handles_is_mentioned_once_in_the_log() {
    let written = Written::default();
    let writer = written.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _quiet_again = tracing::subscriber::set_default(log);
    let mediator = Mediator::builder().discover(false).build().await.unwrap();
    for _ in 0..3 {
        mediator.publish(Greeted { name: "Ada".into() }).await.unwrap();
    }
    assert_eq!(written.lines("use that_crate as _;"), 1);
    assert_eq!(written.lines("catga-tests.Greeted"), 1);
    mediator.shutdown().await.unwrap();
}
