//! The streams and consumers of an application: made by the first node that needs them, checked by all.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::jetstream::{
    consumer::{self, AckPolicy, DeliverPolicy},
    stream::{self, DiscardPolicy, RetentionPolicy, StorageType},
};
use serde::Serialize;

use super::{
    api::{Api, Failed, Refusal},
    bounds::{Bounds, SHORTEST_WINDOW},
    names::{Names, StreamKind, token},
};
use crate::{error::Error, transport::Durable};

/// Where a stream or consumer says which layout it has; only a node with a newer one changes it.
const LAYOUT: &str = "catga.layout";
/// The layout that this version makes.
const LAYOUT_NUMBER: u32 = 1;
/// How often a delivery is made before the server gives up: a net for what ends the client before this code sees it, and for
/// a suspect that the store has no room to count. Twice the crash limit, which ends everything else before.
const MAX_DELIVERIES: i64 = 20;
/// The consumer of what the server says of messages that it gave up.
pub(super) const REAPER: &str = "reaper";
/// The most deliveries of a durable that are not settled: what waits for its next run is among them.
const MAX_UNSETTLED: i64 = 8_192;

/// Makes and checks the streams and consumers of an application.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) api: Api,
    pub(super) names: Names,
    pub(super) bounds: Bounds,
    /// Whether the server is one of a cluster.
    pub(super) clustered: bool,
}

#[derive(Serialize)]
struct CreateConsumer<'a> {
    stream_name: &'a str,
    config: &'a consumer::Config,
}

/// The body of a call that needs none.
#[derive(Serialize)]
struct Nothing {}

const NO_BODY: Nothing = Nothing {};

impl Streams {
    /// Makes what is missing; gives the stream of events.
    pub(super) async fn ensure(&self) -> Result<stream::Info, Error> {
        let mut events = None;
        for kind in StreamKind::ALL {
            let info = self.ensure_stream(kind).await?;
            if kind == StreamKind::Events {
                events = Some(info);
            }
        }
        self.ensure_reaper().await?;
        events.ok_or_else(|| Error::configuration("there is no stream of events"))
    }

    /// Applies the bounds that were set to streams that are there.
    pub(super) async fn fit(&self) -> Result<(), Error> {
        if let Some(replicas) = self.bounds.replicas.filter(|replicas| *replicas > 1 && !self.clustered) {
            // Servers before 2.15 take it, and keep one.
            return Err(Error::configuration(format!("{replicas} replicas need a cluster, and the server is in none")));
        }
        for kind in StreamKind::ALL {
            let info = self.info(kind).await.map_err(|failed| failed.into_error("STREAM.INFO"))?;
            let changes = self.bounds.changes(kind, &info.config);
            if changes.is_empty() {
                continue;
            }
            // As JSON: what this version does not know stays as it is.
            let what = format!("STREAM.INFO.{}", info.config.name);
            let mut there: serde_json::Value =
                self.api.call(&what, &NO_BODY).await.map_err(|failed| failed.into_error(&what))?;
            for (name, value) in changes {
                tracing::info!(target: "catga::nats", stream = info.config.name, name, %value, "bound changed");
                there["config"][name] = value;
            }
            let what = format!("STREAM.UPDATE.{}", info.config.name);
            let updated = self.api.call::<serde_json::Value>(&what, &there["config"]).await;
            updated.map_err(|failed| failed.into_error(&what))?;
        }
        Ok(())
    }

    async fn ensure_stream(&self, kind: StreamKind) -> Result<stream::Info, Error> {
        let wanted = self.config(kind);
        let name = &wanted.name;
        let what = format!("STREAM.INFO.{name}");
        let there = match self.api.call::<stream::Info>(&what, &NO_BODY).await {
            Ok(info) => info,
            Err(failed) if failed.is(Refusal::STREAM_NOT_FOUND) => self.create_stream(&wanted).await?,
            Err(failed) => return Err(failed.into_error(&what)),
        };
        check(&there.config, &wanted)?;
        if layout(&there.config.metadata) >= LAYOUT_NUMBER {
            return Ok(there);
        }
        // What an operator has set stays: a stream made by hand, or one of an older layout, gets what is missing.
        let mut config = there.config;
        config.metadata.extend(wanted.metadata.clone());
        let what = format!("STREAM.UPDATE.{name}");
        self.api.call(&what, &config).await.map_err(|failed| failed.into_error(&what))
    }

    async fn create_stream(&self, wanted: &stream::Config) -> Result<stream::Info, Error> {
        let what = format!("STREAM.CREATE.{}", wanted.name);
        let mut wanted = wanted.clone();
        loop {
            let failed = match self.api.call::<stream::Info>(&what, &wanted).await {
                Ok(info) => {
                    tracing::info!(target: "catga::nats", stream = wanted.name, replicas = wanted.num_replicas, "stream made");
                    return Ok(info);
                }
                Err(failed) => failed,
            };
            if failed.is(Refusal::STREAM_NAME_IN_USE) {
                // Another node was faster, with other bounds.
                let what = format!("STREAM.INFO.{}", wanted.name);
                return self.api.call(&what, &NO_BODY).await.map_err(|failed| failed.into_error(&what));
            }
            let guessed = self.bounds.replicas.is_none() && wanted.num_replicas > 1;
            if guessed && let Failed::Refused(refusal) = &failed {
                tracing::warn!(
                    target: "catga::nats", stream = wanted.name, replicas = wanted.num_replicas, reason = refusal.description,
                    "the cluster does not keep so many replicas: the stream is made with one, and keeps it until `replicas` is set"
                );
                wanted.num_replicas = 1;
                continue;
            }
            return Err(failed.into_error(&what));
        }
    }

    fn config(&self, kind: StreamKind) -> stream::Config {
        let bounds = &self.bounds;
        let base = stream::Config {
            name: self.names.stream(kind),
            storage: StorageType::File,
            num_replicas: bounds.replicas.unwrap_or(if self.clustered { 3 } else { 1 }),
            discard: DiscardPolicy::Old,
            retention: RetentionPolicy::Limits,
            max_messages: -1,
            max_messages_per_subject: -1,
            duplicate_window: bounds.duplicate_window(),
            metadata: HashMap::from([(LAYOUT.to_owned(), LAYOUT_NUMBER.to_string())]),
            ..stream::Config::default()
        };
        match kind {
            StreamKind::Events => stream::Config {
                subjects: vec![self.names.all("reliable").to_string(), self.names.all("retry").to_string()],
                max_age: bounds.max_age(),
                max_bytes: bounds.max_bytes(),
                ..base
            },
            StreamKind::Dead => stream::Config {
                subjects: vec![self.names.all("dead").to_string()],
                max_age: bounds.dead_letter_age(),
                max_bytes: bounds.max_bytes(),
                max_messages_per_subject: 1,
                ..base
            },
            StreamKind::Advisories => stream::Config {
                subjects: vec![format!(
                    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{}.>",
                    self.names.stream(StreamKind::Events)
                )],
                retention: RetentionPolicy::WorkQueue,
                max_age: bounds.max_age(),
                max_bytes: 64 << 20,
                ..base
            },
        }
    }

    /// What is known of a stream.
    pub(super) async fn info(&self, kind: StreamKind) -> Result<stream::Info, Failed> {
        self.api.call(&format!("STREAM.INFO.{}", self.names.stream(kind)), &NO_BODY).await
    }

    /// What is known of a durable; `None` if there is none.
    pub(super) async fn durable(&self, durable: &str) -> Result<Option<consumer::Info>, Error> {
        let what = format!("CONSUMER.INFO.{}.{}", self.names.stream(StreamKind::Events), token(durable));
        match self.api.call(&what, &NO_BODY).await {
            Ok(info) => Ok(Some(info)),
            Err(failed) if failed.is(Refusal::CONSUMER_NOT_FOUND) => Ok(None),
            Err(failed) => Err(failed.into_error(&what)),
        }
    }

    /// Makes a durable that is not there, beginning at `start` or with what is new; fits one that is. Gives what was there.
    pub(super) async fn ensure_durable(
        &self,
        durable: &Durable,
        start: Option<u64>,
    ) -> Result<(consumer::Info, bool), Error> {
        let mut config = self.consumer_config(durable);
        config.deliver_policy = match start {
            Some(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence },
            None => DeliverPolicy::New,
        };
        if let Some(there) = self.durable(&durable.name).await? {
            // These stay as they were made.
            config.deliver_policy = there.config.deliver_policy;
            config.num_replicas = there.config.num_replicas;
            // A member of an older or newer version may rely on a longer time.
            config.ack_wait = config.ack_wait.max(if durable.shared { there.config.ack_wait } else { Duration::ZERO });
            let same = there.config.filter_subjects == config.filter_subjects
                && there.config.filter_subject == config.filter_subject
                && there.config.ack_wait == config.ack_wait
                && there.config.inactive_threshold == config.inactive_threshold;
            if same || layout(&there.config.metadata) > LAYOUT_NUMBER {
                return Ok((there, false));
            }
            return Ok((self.create_consumer(StreamKind::Events, &config).await?, false));
        }
        Ok((self.create_consumer(StreamKind::Events, &config).await?, true))
    }

    /// Makes the consumer of advisories.
    pub(super) async fn ensure_reaper(&self) -> Result<(), Error> {
        let config = consumer::Config {
            durable_name: Some(REAPER.to_owned()),
            name: Some(REAPER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(30),
            ..consumer::Config::default()
        };
        self.create_consumer(StreamKind::Advisories, &config).await.map(drop)
    }

    /// Makes a consumer, or changes one that is there.
    async fn create_consumer(&self, stream: StreamKind, config: &consumer::Config) -> Result<consumer::Info, Error> {
        let stream = self.names.stream(stream);
        let name = config.durable_name.as_deref().unwrap_or_default();
        let what = format!("CONSUMER.CREATE.{stream}.{name}");
        let body = CreateConsumer { stream_name: &stream, config };
        let made: consumer::Info = self.api.call(&what, &body).await.map_err(|failed| failed.into_error(&what))?;
        // A server that is too old leaves out what it does not know, without a word.
        if made.config.filter_subjects != config.filter_subjects {
            return Err(Error::configuration(format!(
                "the server did not take the subjects of consumer `{name}`: catga needs nats-server 2.10 or newer"
            )));
        }
        Ok(made)
    }

    /// Gives up a durable.
    pub(super) async fn delete_durable(&self, durable: &str) -> Result<(), Error> {
        let what = format!("CONSUMER.DELETE.{}.{}", self.names.stream(StreamKind::Events), token(durable));
        match self.api.call::<serde_json::Value>(&what, &NO_BODY).await {
            Ok(_) => Ok(()),
            Err(failed) if failed.is(Refusal::CONSUMER_NOT_FOUND) => Ok(()),
            Err(failed) => Err(failed.into_error(&what)),
        }
    }

    fn consumer_config(&self, durable: &Durable) -> consumer::Config {
        let mut subjects: Vec<_> = durable.events.iter().map(|name| self.names.reliable(name).to_string()).collect();
        subjects.push(self.names.retry(&durable.name).to_string());
        subjects.sort();
        let name = token(&durable.name);
        consumer::Config {
            durable_name: Some(name.clone()),
            name: Some(name),
            ack_policy: AckPolicy::Explicit,
            ack_wait: durable.ack_wait,
            max_deliver: MAX_DELIVERIES,
            max_ack_pending: MAX_UNSETTLED,
            filter_subjects: subjects,
            inactive_threshold: durable.lifetime.unwrap_or_default(),
            metadata: HashMap::from([(LAYOUT.to_owned(), LAYOUT_NUMBER.to_string())]),
            ..consumer::Config::default()
        }
    }
}

fn layout(metadata: &HashMap<String, String>) -> u32 {
    metadata.get(LAYOUT).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Refuses a stream that is there and does not keep what is promised.
fn check(there: &stream::Config, wanted: &stream::Config) -> Result<(), Error> {
    let mut wrong = Vec::new();
    for subject in &wanted.subjects {
        if !there.subjects.contains(subject) {
            wrong.push(format!("it does not take `{subject}`"));
        }
    }
    if there.retention != wanted.retention {
        wrong.push(format!("its retention is {:?}, not {:?}", there.retention, wanted.retention));
    }
    if there.duplicate_window < SHORTEST_WINDOW && !there.duplicate_window.is_zero() {
        wrong.push(format!("it forgets ids after {:?}, and repeats come for up to a minute", there.duplicate_window));
    }
    let (kept, enough) = (there.max_messages_per_subject, wanted.max_messages_per_subject);
    if kept > 0 && (enough <= 0 || kept < enough) {
        wrong.push(format!("of each subject it keeps only the last {kept}"));
    }
    if there.no_ack {
        wrong.push("it confirms nothing (`no_ack`)".to_owned());
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::configuration(format!(
            "stream `{}` is there, but cannot be used: {}; change it, delete it, or choose another name with `.app(..)`",
            there.name,
            wrong.join("; ")
        ))),
    }
}

/// A name for the part of the code that stores.
pub(super) fn stream_name(names: &Names, kind: StreamKind) -> Arc<str> {
    names.stream(kind).into()
}
