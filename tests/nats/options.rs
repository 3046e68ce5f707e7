//! What is asked of a connection counts: bounds of streams, names, inboxes, and what the environment says.

use std::{process::Command, time::Duration};

use async_nats::jetstream;
use catga::{
    Mediator,
    transport::{Nats, NatsBuilder},
};
use xtask::nats::{Server, ServerOptions};

use crate::support::{bare, server};

const HOUR: Duration = Duration::from_secs(3_600);

/// A node starts and ends.
async fn visit(nats: Nats) {
    let mediator = Mediator::builder().transport(nats).node("node1").discover(false).build().await.unwrap();
    mediator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_count_for_new_streams_and_for_those_that_are_there() {
    let server = server();
    let jetstream = jetstream::new(bare(&server).await);
    let bounds = async |stream: &str| {
        let config = jetstream.get_stream(stream).await.unwrap().get_info().await.unwrap().config;
        (config.max_age, config.max_bytes, config.duplicate_window)
    };
    let start = async |change: fn(NatsBuilder) -> NatsBuilder| {
        visit(change(Nats::builder().server(server.url())).connect().await.unwrap()).await;
    };
    start(|it| it.max_age(3 * HOUR).max_bytes(5_000_000).duplicate_window(HOUR).dead_letter_age(4 * HOUR).replicas(1))
        .await;
    assert_eq!(bounds("catga-events").await, (3 * HOUR, 5_000_000, HOUR));
    assert_eq!(bounds("catga-dead").await, (4 * HOUR, 5_000_000, HOUR));
    start(|it| it).await;
    assert_eq!(bounds("catga-events").await, (3 * HOUR, 5_000_000, HOUR), "what nobody sets stays");
    start(|it| it.max_age(2 * HOUR).max_bytes(6_000_000)).await;
    assert_eq!(bounds("catga-events").await, (2 * HOUR, 6_000_000, HOUR));
    assert_eq!(bounds("catga-dead").await, (4 * HOUR, 6_000_000, HOUR));

    let three = Nats::builder().server(server.url()).replicas(3).connect().await.unwrap();
    let error = Mediator::builder().transport(three).node("node1").discover(false).build().await.err().unwrap();
    assert!(error.to_string().contains("replicas"), "what cannot be is not passed over: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_the_name_and_the_inbox_that_were_asked_for() {
    let server = server();
    let builder = Nats::builder().server(server.url()).name("billing").inbox_prefix("_INBOX_billing.x");
    let nats = builder.connect().await.unwrap();
    let subscribe = nats.permissions("catga").subscribe().to_vec();
    assert!(subscribe.contains(&"_INBOX_billing.x.>".to_owned()) && !subscribe.contains(&"catga.inbox.>".to_owned()));
    let mediator = Mediator::builder().transport(nats).node("node1").discover(false).build().await.unwrap();
    let connections = server.monitor("/connz?subs=1").unwrap().body;
    for role in ["control", "events", "store", "work"] {
        assert!(connections.contains(&format!("\"billing/catga/node1/{role}\"")), "{connections}");
    }
    assert!(connections.contains("\"_INBOX_billing.x.") && !connections.contains("\"catga.inbox."), "{connections}");
    mediator.shutdown().await.unwrap();
}

#[test]
fn the_environment_says_where_the_server_is_and_who_one_is() {
    let config = "authorization { user: env, password: \"p@ss word\" }".to_owned();
    let server = Server::start(&ServerOptions { config, ..ServerOptions::default() }).unwrap();
    let connect = |variables: &[(&str, &str)]| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "options::connects_as_the_environment_says", "--ignored", "--nocapture"]);
        let output = child.envs(variables.iter().copied()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let url = server.url();
    let (good, text) = connect(&[("NATS_URL", &url), ("NATS_USER", "env"), ("NATS_PASSWORD", "p@ss word")]);
    assert!(good, "{text}");
    for (variables, reason) in [
        (vec![("NATS_USER", "env"), ("NATS_PASSWORD", "p@ss")], "refuses user `env` and the password"),
        (vec![("NATS_USER", "env"), ("NATS_PASSWORD", "")], "NATS_PASSWORD is empty"),
        (vec![("NATS_PASSWORD", "p@ss word")], "NATS_PASSWORD is set without NATS_USER"),
        (vec![("NATS_TOKEN", "p@ss word"), ("NATS_CREDS", "/absent")], "only one can say who this is"),
    ] {
        let (good, text) = connect(&[&[("NATS_URL", &*url)], &*variables].concat());
        assert!(!good && text.contains(reason) && !text.contains("p@ss"), "{variables:?}: {text}");
    }
}

#[tokio::test]
#[ignore = "another test runs it under its own environment"]
async fn connects_as_the_environment_says() {
    Nats::from_env().await.unwrap();
}
