//! Who is let in, by which proof, over which connection; and what is said to everybody else.

mod identity;

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use catga::{
    Error, ErrorKind, Mediator, Outcome,
    transport::{Nats, NatsBuilder},
};
use nkeys::KeyPair;
use xtask::nats::{Server, ServerOptions};

use self::identity::{Certificates, Folder, Operator, credentials};

const SECRET: &str = "s3cret:/@ %x";

fn server(config: &str) -> Server {
    Server::start(&ServerOptions { config: config.to_owned(), ..ServerOptions::default() }).unwrap()
}

/// A node can start over this connection.
async fn works(builder: NatsBuilder) {
    let nats = builder.connect().await.unwrap();
    let shown = format!("{nats:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    let mediator = Mediator::builder().transport(nats).node("node1").discover(false).build().await.unwrap();
    mediator.ready().unwrap();
    mediator.shutdown().await.unwrap();
}

/// The reason why there is no connection: soon, and without a secret.
async fn refused(builder: NatsBuilder, kind: ErrorKind) -> String {
    let start = Instant::now();
    let shown = format!("{builder:?}");
    let error = builder.connect().await.err().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{error}");
    assert_eq!((error.kind(), error.outcome()), (kind, Outcome::NotStarted), "{error}");
    let chain = format!("{} {:?}", texts(&error), std::error::Error::source(&error));
    for hidden in [SECRET, "s3cret", "SUA"] {
        assert!(!chain.contains(hidden) && !shown.contains(hidden), "{chain}\n{shown}");
    }
    error.to_string()
}

fn texts(error: &Error) -> String {
    let mut texts = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        texts = format!("{texts}: {cause}");
        source = cause.source();
    }
    texts
}

fn at(server: &Server) -> NatsBuilder {
    Nats::builder().server(server.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_let_in_by_the_password_and_nobody_else() {
    let server = server(&format!("authorization {{ user: alice, password: {SECRET:?} }}"));
    let port = server.port();
    works(at(&server).user("alice", SECRET)).await;
    let encoded = "s3cret%3A%2F%40%20%25x";
    works(Nats::builder().server(format!("nats://alice:{encoded}@127.0.0.1:{port}"))).await;
    works(Nats::builder().server("127.0.0.1:1").server(format!("nats://alice:{encoded}@localhost:{port}"))).await;
    for wrong in [
        at(&server).user("alice", format!("{SECRET}!")),
        at(&server).token(SECRET),
        at(&server).nkey(KeyPair::new_user().seed().unwrap()),
        Nats::builder().server(format!("nats://alice:{encoded}x@127.0.0.1:{port}")),
        at(&server),
    ] {
        let text = refused(wrong, ErrorKind::Configuration).await;
        assert!(text.contains(&format!("127.0.0.1:{port} refuses")), "{text}");
    }
    let text = refused(at(&server).user("alice", ""), ErrorKind::Configuration).await;
    assert!(text.contains("password of the user is empty"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_proof_enough_where_it_is_asked_for() {
    let server = server(&format!("authorization {{ token: {SECRET:?} }}"));
    works(at(&server).token(SECRET)).await;
    works(Nats::builder().server(format!("nats://s3cret%3A%2F%40%20%25x@127.0.0.1:{}", server.port()))).await;
    let text = refused(at(&server).token("s3cret"), ErrorKind::Configuration).await;
    assert!(text.ends_with("refuses the token"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nkey_signs_from_a_seed_and_from_a_file() {
    let (key, folder) = (KeyPair::new_user(), Folder::new());
    let server = server(&format!("authorization {{ users: [ {{ nkey: {} }} ] }}", key.public_key()));
    let seed = key.seed().unwrap();
    works(at(&server).nkey(&seed)).await;
    works(at(&server).nkey_file(folder.write("user.nk", &format!("{seed}\n")))).await;
    let other = folder.write("other.nk", &KeyPair::new_user().seed().unwrap());
    let text = refused(at(&server).nkey_file(&other), ErrorKind::Configuration).await;
    assert!(text.contains("other.nk"), "{text}");
    let account = KeyPair::new_account().seed().unwrap();
    let text = refused(at(&server).nkey(account), ErrorKind::Configuration).await;
    assert!(text.contains("begins with `SU`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_credentials_are_taken_in_each_form_and_read_again() {
    let (operator, folder) = (Operator::new(), Folder::new());
    let server = server(&operator.config);
    let (jwt, seed) = operator.user();
    works(at(&server).jwt(&jwt, &seed)).await;
    works(at(&server).credentials(credentials(&jwt, &seed))).await;
    let file = folder.write("user.creds", &credentials(&jwt, &seed));
    works(at(&server).credentials_file(&file)).await;
    let (stranger, its_seed) = Operator::new().user();
    refused(at(&server).jwt(&jwt, &its_seed), ErrorKind::Configuration).await;
    refused(at(&server).credentials(credentials(&stranger, &its_seed)), ErrorKind::Configuration).await;
    let text = refused(at(&server).credentials_file(folder.path().join("absent")), ErrorKind::Configuration).await;
    assert!(text.contains("absent` cannot be read"), "{text}");

    // What the file holds later counts for the connections that are made then.
    let nats = at(&server).credentials_file(&file).connect().await.unwrap();
    let build = || Mediator::builder().transport(nats.clone()).node("node1").discover(false).build();
    folder.write("user.creds", "nothing");
    let error = build().await.err().unwrap();
    assert!(error.to_string().contains("user.creds"), "{error}");
    let (jwt, seed) = operator.user();
    folder.write("user.creds", &credentials(&jwt, &seed));
    build().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_is_trusted_by_its_certificate() {
    let (own, others) = (Certificates::new(), Certificates::new());
    let server = server(&own.config(""));
    works(at(&server).root_certificates(own.file("ca.pem"))).await;
    works(Nats::builder().server(format!("tls://localhost:{}", server.port())).root_certificates(own.file("ca.pem")))
        .await;
    for wrong in [at(&server), at(&server).root_certificates(others.file("ca.pem"))] {
        let text = refused(wrong, ErrorKind::Configuration).await;
        assert!(text.contains("there is no TLS") && text.contains("certificate"), "{text}");
    }
    let text = refused(at(&server).root_certificates(own.file("absent.pem")), ErrorKind::Configuration).await;
    assert!(text.contains("absent.pem` cannot be read"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_it_is_demanded() {
    let (server, certificates) = (server(""), Certificates::new());
    let port = server.port();
    for demanding in [
        at(&server).require_tls(),
        at(&server).tls_first(),
        at(&server).root_certificates(certificates.file("ca.pem")),
        Nats::builder().server(format!("tls://127.0.0.1:{port}")),
    ] {
        let text = refused(demanding, ErrorKind::Configuration).await;
        assert!(text.contains("there is no TLS"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate_where_it_is_asked_for() {
    let (own, others) = (Certificates::new(), Certificates::new());
    let server = server(&own.config("verify: true"));
    let trusting = || at(&server).root_certificates(own.file("ca.pem"));
    works(trusting().client_certificate(own.file("client.pem"), own.file("client-key.pem"))).await;
    let other = trusting().client_certificate(others.file("client.pem"), others.file("client-key.pem"));
    for wrong in [trusting(), other] {
        let text = refused(wrong, ErrorKind::Configuration).await;
        assert!(text.contains("there is no TLS"), "{text}");
    }
    let mixed = trusting().client_certificate(own.file("client.pem"), own.file("server-key.pem"));
    refused(mixed, ErrorKind::Configuration).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_comes_first_where_the_server_waits_for_it() {
    let own = Certificates::new();
    let server = server(&own.config("handshake_first: true"));
    let trusting = || at(&server).root_certificates(own.file("ca.pem"));
    works(trusting().tls_first()).await;
    let text = refused(trusting(), ErrorKind::Transport).await;
    assert!(text.contains("needs `.tls_first()`"), "{text}");
}

#[tokio::test]
async fn nothing_secret_gets_into_the_log() {
    let (lines, seed) = (Lines::default(), KeyPair::new_user().seed().unwrap());
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(log.finish());
    let server = server(&format!("authorization {{ user: alice, password: {SECRET:?} }}"));
    works(at(&server).user("alice", SECRET)).await;
    works(Nats::builder().server(format!("nats://alice:s3cret%3A%2F%40%20%25x@127.0.0.1:{}", server.port()))).await;
    for wrong in [at(&server).user("alice", "s3cret"), at(&server).token("s3cret"), at(&server).nkey(&seed)] {
        refused(wrong, ErrorKind::Configuration).await;
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("authorization violation") && text.contains("catga/catga/node1/work"), "{text}");
    for hidden in ["s3cret", &*seed] {
        assert!(!text.contains(hidden), "{text}");
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Something that listens and answers each connection so.
fn listening(answer: impl Fn(&mut std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&mut stream.unwrap());
        }
    });
    port
}

/// A server that says this of itself.
fn claiming(version: &'static str, jetstream: bool) -> u16 {
    listening(move |stream| {
        let info = format!(
            r#"INFO {{"server_id":"x","server_name":"x","version":"{version}","go":"x","host":"x","port":1,"headers":true,
               "max_payload":1048576,"proto":1,"jetstream":{jetstream}}}"#
        );
        stream.write_all(format!("{}\r\n", info.replace('\n', "")).as_bytes()).unwrap();
        let _some = stream.read(&mut [0; 4_096]).unwrap();
        stream.write_all(b"PONG\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(500));
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_usable_server_is_refused_in_a_sentence() {
    let to = |port: u16| Nats::builder().server(format!("nats://me:s3cret@127.0.0.1:{port}"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = listening(|_| std::thread::sleep(Duration::from_secs(20)));
    let other = listening(|stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
        std::thread::sleep(Duration::from_secs(4));
    });
    for port in [nobody, silent, listening(|_| {}), other] {
        let text = refused(to(port), ErrorKind::Transport).await;
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    }
    let text = refused(Nats::builder().server("nats://host.invalid"), ErrorKind::Transport).await;
    assert!(text.contains("host.invalid:4222 is not found"), "{text}");
    for (port, says) in [
        (claiming("2.9.25", true), "nats-server 2.9.25: catga needs 2.10 or newer"),
        (claiming("2.12.1", false), "no JetStream"),
    ] {
        let text = refused(to(port), ErrorKind::Configuration).await;
        assert!(text.contains(says), "{text}");
    }
    let without = server("jetstream: false");
    let text = refused(at(&without), ErrorKind::Configuration).await;
    assert!(text.contains("no JetStream"), "{text}");
    for wrong in ["", "nats://", "http://127.0.0.1", "nats://me:s3cret@127.0.0.1:x", "nats://a/b"] {
        refused(Nats::builder().server(wrong), ErrorKind::Configuration).await;
        assert_eq!(Nats::connect(wrong).await.err().unwrap().kind(), ErrorKind::Configuration);
    }
}
