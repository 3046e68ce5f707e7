//! The program starts, obeys and ends as it says.

use std::{io::Write, net::TcpListener};

use crate::{
    client::{self, connect, get, order_tea},
    service::{Service, command},
};

#[test]
fn a_signal_stops_three_nodes_gently() {
    for signal in ["-TERM", "-INT"] {
        let mut service = Service::start();
        order_tea(service.ports[0]);
        service.signal(signal);
        let (status, errors) = service.end();
        assert_eq!((status.code(), &*errors), (Some(0), ""), "{signal}: {:#?}", service.said);
        assert_eq!(service.count("👋 Stopped"), 3, "{:#?}", service.said);
        // Each node handles what is stored for it before it goes.
        assert_eq!(service.count("📦 [QoS 1]"), 3, "{:#?}", service.said);
    }
}

#[test]
fn a_signal_stops_one_node_gently() {
    let mut service = Service::start_one();
    order_tea(service.ports[0]);
    service.signal("-TERM");
    let (status, errors) = service.end();
    assert_eq!((status.code(), &*errors), (Some(0), ""), "{:#?}", service.said);
    assert_eq!(service.count("[QoS 1]"), 1, "what is stored is handled first: {:#?}", service.said);
}

#[test]
fn a_request_that_is_under_way_is_answered_before_the_end() {
    let mut service = Service::start_one();
    let mut stream = connect(service.ports[0]).unwrap();
    let (body, rest) = (r#"{"productId":"tea","#, r#""quantity":2}"#);
    let length = body.len() + rest.len();
    let head = "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n";
    stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).unwrap();
    // The interim response shows that the handler waits for the body.
    let mut interim = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut interim).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 Continue"));
    service.signal("-TERM");
    crate::service::until("the listener is closed", || connect(service.ports[0]).err());
    stream.write_all(rest.as_bytes()).unwrap();
    assert_eq!(client::read(stream).unwrap().status, 201);
    assert_eq!(service.end().0.code(), Some(0));
}

#[test]
fn an_open_connection_does_not_hold_up_the_end() {
    let mut service = Service::start_one();
    let idle = connect(service.ports[0]).unwrap();
    service.signal("-TERM");
    assert_eq!(service.end().0.code(), Some(0));
    drop(idle);
}

#[test]
fn quit_ends_it_and_the_end_of_input_does_not() {
    let mut service = Service::start();
    service.type_in("quit");
    assert_eq!(service.end().0.code(), Some(0));

    let mut service = Service::start();
    service.end_input();
    order_tea(service.ports[0]);
    service.wait_for_times("[QoS 1]", 3);
    service.signal("-TERM");
    assert_eq!(service.end().0.code(), Some(0));
}

#[test]
fn a_quiet_service_counts_orders_instead_of_telling_each() {
    let mut service = Service::start_with(&[("QUIET", "1")]);
    order_tea(service.ports[0]);
    service.signal("-TERM");
    assert_eq!(service.end().0.code(), Some(0));
    assert_eq!(service.count("📦") + service.count("📝"), 0, "{:#?}", service.said);
    let taken = service.wait_for("counted taken 1 ");
    let sum: u64 = taken.rsplit(' ').next().unwrap().parse().unwrap();
    // On three nodes.
    service.wait_for(&format!("counted shipped 3 {}", sum.wrapping_mul(3)));
}

#[test]
fn the_console_says_what_it_does_not_understand() {
    let mut service = Service::start();
    for (typed, said) in [
        ("", ""),
        ("dance", "❓ type `kill node2`"),
        ("kill", "❓ type `kill node2`"),
        ("kill node9", "❓ there is no `node9`; the nodes are node1, node2, node3"),
        ("start node1", "❓ node1 runs already"),
        ("  kill   node3  ", "[node3] 💀 Killed"),
        ("kill node3", "❓ node3 does not run"),
        ("nodes", "node3  http://localhost:"),
    ] {
        service.type_in(typed);
        service.wait_for(said);
    }
    assert_eq!(get(service.ports[0], "/health").status, 200);
}

#[test]
fn a_port_in_use_is_one_sentence_and_exit_code_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut three = command(&[]);
    three.env("PORT_BASE", &port);
    let mut named = command(&[]);
    named.env("NODE_ID", "node1").env("NODE_PORT", &port);
    for command in [command(&["node1", &port]), three, named] {
        let (status, errors) = Service::spawn(command).end();
        assert_eq!(status.code(), Some(2), "{errors}");
        let sentence = format!("order-service: port {port} is in use; stop what uses it, or choose another port\n");
        assert_eq!(errors, sentence);
    }
}

#[test]
fn a_wrong_argument_is_one_sentence_and_exit_code_2() {
    for (arguments, reason) in [
        (&["node1"][..], "a node needs a port"),
        (&["node1", "port"], "the port is `port`"),
        (&["node1", "65536"], "the port is `65536`"),
        (&["node1", "-1"], "there is no option `-1`"),
        (&["node1", "5001", "more"], "too many arguments"),
        (&["--verbose"], "there is no option `--verbose`"),
        (&["", "0"], "the node is ``"),
        (&["no spaces", "0"], "the node is `no spaces`"),
        (&["a*", "0"], "the node is `a*`"),
        (&["ü", "0"], "the node is `ü`"),
    ] {
        refused(&mut command(arguments), reason);
    }
    for (variable, value, reason) in [
        ("ROUTING", "random", "ROUTING must be `local-first` or `round-robin`, not `random`"),
        ("LISTEN", "everywhere", "LISTEN is `everywhere`"),
        ("PORT_BASE", "many", "PORT_BASE is `many`"),
        ("PORT_BASE", "65534", "no room for three ports"),
        ("NODE_ID", "node1", "NODE_PORT is missing"),
        ("NODE_PORT", "5001", "NODE_ID is missing"),
    ] {
        refused(command(&[]).env(variable, value), reason);
    }
}

#[track_caller]
fn refused(command: &mut std::process::Command, reason: &str) {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{reason}: {errors}");
    assert!(errors.contains(reason), "{reason}: {errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_tells_every_argument_and_variable() {
    for option in ["--help", "-h"] {
        let output = command(&[option]).output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
        let help = String::from_utf8(output.stdout).unwrap();
        for word in [
            "<NODE> <PORT>",
            "NODE_ID",
            "NODE_PORT",
            "LISTEN",
            "PORT_BASE",
            "NATS_URL",
            "ROUTING",
            "round-robin",
            "QUIET",
            "RUST_LOG",
        ] {
            assert!(help.contains(word), "{word}");
        }
    }
}

// Other systems have one address of their own, not a range of them.
#[cfg(target_os = "linux")]
#[test]
fn a_node_listens_where_it_is_told_to() {
    let mut command = command(&["node1", "0"]);
    command.env("LISTEN", "127.0.0.2");
    let mut service = Service::spawn(command);
    service.wait_for("[node1] 🚀 Serving");
    let port = service.ports[0];
    let answers = |address| std::net::TcpStream::connect((address, port)).is_ok();
    assert_eq!((answers("127.0.0.2"), answers("127.0.0.1")), (true, false));
}

#[test]
fn one_node_starts_by_its_environment() {
    let mut command = command(&[]);
    command.env("NODE_ID", "till-7").env("NODE_PORT", "0");
    let mut service = Service::spawn(command);
    service.wait_for("[till-7] 🚀 Serving");
    assert!(order_tea(service.ports[0]).starts_with("till-7-"));
}
