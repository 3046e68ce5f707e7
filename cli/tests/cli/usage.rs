//! What the tool says when it is used wrongly, or there is nothing to use it on.

use std::time::{Duration, Instant};

use catga::MessageId;

use xtask::nats::{Server, ServerOptions};

use crate::{
    shop::{Paid, Till, dead_letters, node},
    support::{Tapping, output, run, server, tool},
};

const NOWHERE: &str = "nats://127.0.0.1:1";

#[test]
fn wrong_usage_ends_with_2_and_shows_the_right_one() {
    for arguments in ["", "dead", "dead list all", "dead show 7", "dead show", "tap --all", "alive list", "tap a b"] {
        let said = run(NOWHERE, arguments);
        assert_eq!((said.code, said.output.as_str()), (Some(2), ""), "{arguments}");
        assert!(said.errors.starts_with("catga: ") && said.errors.contains("catga dead list"), "{}", said.errors);
    }
    assert!(output(NOWHERE, "--help").contains("catga tap"));
}

#[test]
fn without_a_server_it_ends_with_1_and_names_the_address() {
    let started = Instant::now();
    for arguments in ["dead list", "tap"] {
        let said = run(NOWHERE, arguments);
        assert_eq!((said.code, said.output.as_str()), (Some(1), ""), "{arguments}");
        assert!(said.errors.contains("127.0.0.1:1") && said.errors.lines().count() == 1, "{}", said.errors);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_listener_that_says_nothing_is_given_up_within_10_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    let said = run(&format!("nats://user:secret@{}", silent.local_addr().unwrap()), "dead list");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(said.code, Some(1));
    assert!(said.errors.contains(&silent.local_addr().unwrap().to_string()), "{}", said.errors);
    assert!(!said.errors.contains("secret"), "{}", said.errors);
}

#[test]
fn an_application_that_does_not_exist_is_not_made() {
    let server = server();
    let said = run(&server.url(), "dead list --app shop");
    assert_eq!(said.code, Some(1));
    assert!(said.errors.contains("`shop`"), "{}", said.errors);
    let said = run(&server.url(), &format!("dead delete {} --app sh/op", MessageId::new()));
    assert_eq!(said.code, Some(1));
    assert!(said.errors.contains("`sh/op` is not the name"), "{}", said.errors);
    assert_eq!(server.monitor("/jsz").unwrap().field("streams"), Some("0"));
}

#[test]
fn credentials_are_those_of_the_environment() {
    let config = "authorization { user: anna, password: \"s3cret\" }".to_owned();
    let server = Server::start(&ServerOptions { config, ..ServerOptions::default() }).unwrap();
    for (password, says) in [("wrong", "anna"), ("s3cret", "there is no application `shop`")] {
        let mut command = tool(&server.url(), "dead list --app shop");
        let done = command.env("NATS_USER", "anna").env("NATS_PASSWORD", password).output().unwrap();
        let errors = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1));
        assert!(errors.contains(says) && !errors.contains(password), "{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_permissions_in_the_documentation_are_enough() {
    let text = std::fs::read_to_string(xtask::shell::root().join("docs/operations.md")).unwrap();
    let permissions = text
        .split("```text\n")
        .find_map(|block| block.starts_with("permissions: {").then(|| block.split("```").next()));
    let permissions = permissions.flatten().expect("the document says them");
    let users = format!(
        "authorization {{ users: [ {{ user: node, password: x }}, {{ user: tool, password: x, {permissions} }} ] }}"
    );
    let server = Server::start(&ServerOptions { config: users, ..ServerOptions::default() }).unwrap();
    let url = |user: &str| server.url().replace("//", &format!("//{user}:x@"));
    let till = Till::default();
    let mediator = node(&url("node"), &till).await;
    for order in 1..3 {
        mediator.publish(Paid { order, note: String::new() }).await.unwrap();
    }
    let ids = dead_letters(&mediator, 2).await;
    output(&url("tool"), &format!("dead delete {} --app shop", ids[0]));
    till.mend();
    output(&url("tool"), &format!("dead replay {} --app shop", ids[1]));
    assert_eq!(output(&url("tool"), "dead list --app shop"), "there are no dead letters\n");
    let tapping = Tapping::start(&url("tool"), "tap --app shop").read();
    mediator.publish(Paid { order: 3, note: String::new() }).await.unwrap();
    tapping.line(&["shop.reliable.shop.Paid"]);
    mediator.shutdown().await.unwrap();

    let said = run(&url("tool"), "tap --app mail");
    assert_eq!(said.code, Some(1));
    assert!(said.errors.contains("mail.>"), "{}", said.errors);
}
