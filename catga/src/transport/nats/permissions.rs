//! What a node must be permitted on the server, and the check at its start that it is.
//!
//! A client is told of a refusal beside everything else and not in answer to what was refused, which then only seems to
//! take too long. So a node tries everything once, in forms that do nothing, before it relies on it.

use std::{fmt, pin::pin, time::Duration};

use async_nats::{Event, HeaderMap, ServerError, Subject};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    names::{FRAME, Names, PROBE, REQUEST, StreamKind},
    settings::Settings,
};
use crate::{
    error::{Error, ErrorKind},
    transport::Registration,
};

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// The most events of the connection that are kept for the check: more than the client itself keeps.
const EVENTS: usize = 256;
/// Stands where a name would: no message, node or durable is called so.
const NOBODY: &str = "_check";
/// What every node asks to see that the server has read what came before.
pub(super) const INFO: &str = "$JS.API.INFO";

/// The least that the server must permit to the nodes of an application, as subjects to publish and to subscribe to.
///
/// [`Display`](fmt::Display) writes it as it stands in a user's entry in the configuration of the server:
///
/// ```text
/// authorization {
///   users: [
///     { user: "orders", password: "..",
///       permissions: { publish: [ .. ], subscribe: [ .. ] }
///     }
///   ]
/// }
/// ```
///
/// All nodes of an application can be one user. Where each is one of its own, the node's id, with `~` for each dot, can
/// stand for the first `*` in `<application>.node.*.*` and `<application>.reply.*.*`, so that no node can listen to what is
/// for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    publish: Vec<String>,
    subscribe: Vec<String>,
}

impl Permissions {
    pub(super) fn new(names: &Names, inbox: &str) -> Self {
        let mut publish: Vec<String> = vec!["_INBOX.>".to_owned()];
        publish.extend([names.all("event"), names.all("reliable"), names.cluster()].map(Subject::into_string));
        publish.extend([names.retry("*"), names.dead("*")].map(Subject::into_string));
        publish.extend([REQUEST, PROBE].map(|what| names.node("*", what).to_string()));
        publish.push(names.reply("*", FRAME).into_string());
        publish.extend(api(names, "*").into_iter().map(|(subject, _)| subject));
        let (events, advisories) = (names.stream(StreamKind::Events), names.stream(StreamKind::Advisories));
        for stream in [events, advisories] {
            publish.extend([format!("$JS.ACK.{stream}.>"), format!("$JS.ACK.*.*.{stream}.>")]);
        }
        let mut subscribe = vec![format!("{inbox}.>")];
        subscribe.extend([names.all("event"), names.all("request"), names.cluster()].map(Subject::into_string));
        subscribe.extend([names.node("*", "*"), names.reply("*", "*")].map(Subject::into_string));
        publish.sort();
        subscribe.sort();
        Self { publish, subscribe }
    }

    /// The subjects that a node publishes to.
    pub fn publish(&self) -> &[String] {
        &self.publish
    }

    /// The subjects that a node subscribes to.
    pub fn subscribe(&self) -> &[String] {
        &self.subscribe
    }

    /// Whether a refusal keeps a node from its work.
    pub(super) fn needs(&self, refused: &Refused) -> bool {
        let list = if refused.publish { &self.publish } else { &self.subscribe };
        !refused.is_an_answer() && list.iter().any(|pattern| covers(pattern, &refused.subject))
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "permissions: {{")?;
        for (name, subjects) in [("publish", &self.publish), ("subscribe", &self.subscribe)] {
            writeln!(f, "  {name}: [")?;
            for subject in subjects {
                writeln!(f, "    \"{subject}\"")?;
            }
            writeln!(f, "  ]")?;
        }
        write!(f, "}}")
    }
}

/// The calls of the server's API that a node makes, with bodies that change nothing.
fn api(names: &Names, consumer: &str) -> Vec<(String, String)> {
    let [events, dead, advisories] =
        [StreamKind::Events, StreamKind::Dead, StreamKind::Advisories].map(|it| names.stream(it));
    // What is in the body does not fit the subject: the server refuses it.
    let other = json!({ "name": NOBODY, "stream_name": NOBODY, "config": {} }).to_string();
    let absent = json!({ "last_by_subj": names.dead(NOBODY).as_str() }).to_string();
    let nothing = json!({ "filter": names.dead(NOBODY).as_str() }).to_string();
    let mut calls = Vec::new();
    for stream in [&events, &dead, &advisories] {
        calls.push((format!("STREAM.INFO.{stream}"), String::new()));
        calls.extend(["CREATE", "UPDATE"].map(|what| (format!("STREAM.{what}.{stream}"), other.clone())));
    }
    for stream in [&events, &advisories] {
        calls.push((format!("CONSUMER.CREATE.{stream}.{consumer}"), other.clone()));
        calls.push((format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"), String::new()));
    }
    calls.extend(["INFO", "DELETE"].map(|what| (format!("CONSUMER.{what}.{events}.{consumer}"), String::new())));
    calls.extend([&events, &dead].map(|stream| (format!("STREAM.MSG.GET.{stream}"), absent.clone())));
    calls.push((format!("STREAM.PURGE.{dead}"), nothing));
    calls.push(("INFO".to_owned(), String::new()));
    calls.into_iter().map(|(what, body)| (format!("$JS.API.{what}"), body)).collect()
}

/// What the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// To publish, not to subscribe.
    publish: bool,
    pub(super) subject: String,
}

impl Refused {
    /// Reads `Permissions Violation for Publish to "subject"`, and the same of a subscription.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("Permissions Violation for ")?;
        let publish = rest.starts_with("Publish");
        let (_, subject) = rest.split_once('"')?;
        let (subject, _) = subject.split_once('"')?;
        Some(Self { publish, subject: subject.to_owned() })
    }

    /// Whether it is of an answer to a foreign caller, which goes where that says: whether it may is the caller's affair.
    pub(super) fn is_an_answer(&self) -> bool {
        self.publish && self.subject.starts_with("_INBOX.")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", if self.publish { "publish to" } else { "subscribe to" }, self.subject)
    }
}

/// Whether a subject is one of those that a pattern permits.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for token in pattern.split('.') {
        match (token, subject.next()) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (token, Some(own)) if token == own => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Tries everything that a node needs, over a connection of its own.
///
/// # Errors
///
/// `Configuration` with all that is not permitted; what connecting says; `TimedOut` if there is no answer.
pub(super) async fn check(settings: &Settings, names: &Names, node: &Registration) -> Result<(), Error> {
    let (heard, mut events) = mpsc::channel(EVENTS);
    let listener = move |event| drop(heard.try_send(event));
    let (name, inbox) = (format!("{}/{}/{}/check", settings.name, node.app, node.node), settings.inbox(names));
    let client = settings.connect(&name, &inbox, listener).await?;
    let failed = |what: &dyn fmt::Display| {
        let text = format!("what is permitted could not be found out from the server: {what}");
        Error::not_started(ErrorKind::Transport, text)
    };

    for subject in subscriptions(names, node, &inbox) {
        // Gone at once: it is to take nothing from anybody.
        let mut subscriber = client.subscribe(subject).await.map_err(|error| failed(&error))?;
        subscriber.unsubscribe().await.map_err(|error| failed(&error))?;
    }
    for (subject, payload) in publications(names, node) {
        let mut headers = HeaderMap::new();
        // A message for a stream of this name is not stored.
        headers.insert("Nats-Expected-Stream", NOBODY);
        let published = match payload.is_empty() {
            true => client.publish_with_headers(subject, headers, payload.into()).await,
            false => client.publish(subject, payload.into()).await,
        };
        published.map_err(|error| failed(&error))?;
    }
    let (refused, answered) = {
        let mut refused = Vec::new();
        let mut answer = pin!(tokio::time::timeout(ANSWER, client.request(INFO, "".into())));
        let answered = loop {
            tokio::select! {
                answer = &mut answer => break matches!(answer, Ok(Ok(_))),
                Some(event) = events.recv() => if let Some(this) = refusal(&event) {
                    // The inbox for the answer, which was tried under another name, and the question come last.
                    let own = this.subject.starts_with(&inbox) && this.subject.ends_with(".*");
                    let last = own || this.subject == INFO;
                    refused.extend((!own).then_some(this));
                    if last {
                        break false;
                    }
                },
            }
        };
        (refused, answered)
    };
    // The last event says that the connection is closed: then all have been heard.
    drop(client);
    let mut refused = refused;
    while let Ok(Some(event)) = tokio::time::timeout(ANSWER, events.recv()).await {
        if event == Event::Closed {
            break;
        }
        refused.extend(refusal(&event));
    }
    refused.dedup();
    if !refused.is_empty() {
        let all: Vec<_> = refused.iter().map(Refused::to_string).collect();
        return Err(Error::configuration(format!(
            "the NATS server at {} does not permit this node to {}; `Nats::permissions` shows all that it needs",
            settings.address(),
            all.join(", ")
        )));
    }
    if !answered {
        return Err(failed(&format_args!("it did not answer within {ANSWER:?}")));
    }
    Ok(())
}

fn refusal(event: &Event) -> Option<Refused> {
    match event {
        Event::ServerError(ServerError::Other(text)) => Refused::read(text),
        _ => None,
    }
}

/// Everything that a node subscribes to.
fn subscriptions(names: &Names, node: &Registration, inbox: &str) -> Vec<Subject> {
    let mut subjects = vec![format!("{inbox}.{NOBODY}").into(), names.cluster()];
    subjects.extend([names.node(&node.node, "*"), names.reply(&node.node, "*")]);
    subjects.extend(node.events.iter().map(|name| names.event(name)));
    subjects.extend(node.requests.iter().map(|name| names.request(name)));
    subjects
}

/// One message for everything that a node publishes to; nobody does anything with it.
fn publications(names: &Names, node: &Registration) -> Vec<(String, String)> {
    let mut subjects: Vec<Subject> = vec![names.event(NOBODY), names.reliable(NOBODY), names.cluster()];
    subjects.extend([names.retry(NOBODY), names.dead(NOBODY)]);
    subjects.extend([REQUEST, PROBE].map(|what| names.node(NOBODY, what)));
    subjects.push(names.reply(NOBODY, FRAME));
    let mut all: Vec<_> = subjects.into_iter().map(|subject| (subject.into_string(), String::new())).collect();
    if !node.requests.is_empty() {
        // Where most foreign callers wait for their answers.
        all.push((format!("_INBOX.{NOBODY}"), String::new()));
    }
    for stream in [StreamKind::Events, StreamKind::Advisories].map(|it| names.stream(it)) {
        for before in ["", "_._."] {
            all.push((format!("$JS.ACK.{before}{stream}.{NOBODY}.1.1.1.1.0"), String::new()));
        }
    }
    // The call that is made last here is the one whose answer is waited for.
    all.extend(api(names, NOBODY));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_and_told_apart_from_what_is_not_needed() {
        let permissions = Permissions::new(&Names::new("shop"), "shop.inbox");
        let read = |text: &str| Refused::read(text);
        let node = read(r#"Permissions Violation for Publish to "shop.node.n1.request""#);
        assert!(node.as_ref().is_some_and(|it| it.to_string() == "publish to `shop.node.n1.request`"));
        assert!(node.is_some_and(|it| permissions.needs(&it)));
        let group = read(r#"Permissions Violation for Subscription to "shop.request.A.B" using queue "catga""#);
        assert!(group.is_some_and(|it| permissions.needs(&it)));
        for foreign in ["_INBOX.x.y", "elsewhere", "shop.request.A"] {
            let refused = read(&format!(r#"Permissions Violation for Publish to "{foreign}""#));
            assert!(refused.is_some_and(|it| !permissions.needs(&it)), "{foreign}");
        }
        assert_eq!(read("Maximum Payload Violation"), None);
    }

    #[test]
    fn a_pattern_covers_whole_tokens() {
        for (pattern, subject, expected) in [
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.*.c", "a.b.c", true),
            ("a.b", "a.bc", false),
        ] {
            assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
        }
    }
}
