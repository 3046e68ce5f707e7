//! One server: from its start to its end, and back.

use std::{
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use xtask::{
    nats::{Server, ServerOptions, find},
    shell::Result,
};

use crate::protocol::Client;

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[test]
fn a_server_keeps_its_port_and_what_is_stored_when_it_is_killed_or_stopped() -> Result {
    let mut server = Server::start(&ServerOptions::default())?;
    let url = server.url();
    let mut client = Client::connect(&server);
    client.create_stream(1);
    client.store();
    server.kill();
    assert!(!server.is_running() && !listens(server.port()));
    server.kill();
    server.restart()?;
    let mut client = Client::connect(&server);
    assert_eq!(client.stored(), "1");
    client.store();
    server.stop()?;
    assert!(!server.is_running() && !listens(server.port()));
    server.stop()?;
    assert!(server.pause().is_err(), "it does not run");
    server.restart()?;
    assert_eq!(Client::connect(&server).stored(), "2");
    server.restart()?;
    assert_eq!(Client::connect(&server).stored(), "2");
    assert_eq!(server.url(), url);
    assert!(server.log().contains("Server is ready"), "{}", server.log());
    Ok(())
}

#[test]
fn a_paused_server_answers_once_it_is_resumed() -> Result {
    let mut server = Server::start(&ServerOptions::default())?;
    let mut client = Client::connect(&server);
    server.pause()?;
    client.write("PING\r\n");
    assert_eq!(client.line_within(Duration::from_millis(200)), None);
    server.resume()?;
    assert_eq!(client.line(), "PONG");
    Ok(())
}

#[test]
fn further_configuration_counts() -> Result {
    let config =
        "accounts { A { jetstream: enabled, users: [{ user: ann, password: tea }] } }\nmax_payload: 2048".into();
    let server = Server::start(&ServerOptions { config, ..ServerOptions::default() })?;
    let mut stranger = Client::connect_with(&server, "");
    stranger.write("PING\r\n");
    assert_eq!(stranger.line(), "-ERR 'Authorization Violation'");
    let mut ann = Client::connect_with(&server, r#","user":"ann","pass":"tea""#);
    ann.create_stream(1);
    assert_eq!(server.monitor("/varz")?.field("max_payload"), Some("2048"));
    Ok(())
}

#[test]
fn another_configuration_counts_while_the_server_runs() -> Result {
    let mut server = Server::start(&ServerOptions::default())?;
    let mut client = Client::connect(&server);
    server.reload("max_payload: 2048")?;
    assert_eq!(server.monitor("/varz")?.field("max_payload"), Some("2048"));
    client.write("PING\r\n");
    assert_eq!(client.line(), "PONG");
    let error = server.reload("no_such_setting: 1").expect_err("it refuses such a configuration");
    assert!(error.contains("no_such_setting"), "{error}");
    server.reload("max_payload: 4096")
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let error = Server::start(&ServerOptions { config: "no_such_setting: 1".into(), ..ServerOptions::default() });
    let error = error.expect_err("it refuses such a configuration");
    assert!(error.contains("ended at its start") && error.contains("no_such_setting"), "{error}");
}

#[test]
fn a_server_of_the_version_that_is_asked_for_is_started() -> Result {
    for version in ["2.10.26", "2.12.8"] {
        let server = Server::start(&ServerOptions { version: Some(version.into()), ..ServerOptions::default() })?;
        assert_eq!(server.monitor("/varz")?.field("version"), Some(version), "{}", find(Some(version))?.display());
        let mut client = Client::connect(&server);
        client.create_stream(1);
        client.store();
    }
    Ok(())
}
