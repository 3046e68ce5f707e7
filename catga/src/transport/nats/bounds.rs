//! What bounds the streams of an application.

use std::time::Duration;

use async_nats::jetstream::stream;

use super::names::StreamKind;

/// As many copies of a stream as a server keeps.
const MOST_REPLICAS: usize = 5;
/// The shortest window in which the server recognises what is stored twice: repeats come for up to half of it.
pub(super) const SHORTEST_WINDOW: Duration = Duration::from_secs(60);

/// What bounds the streams; what nobody has set has a default in a new stream, and is left as it is in one that is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bounds {
    pub(super) max_age: Option<Duration>,
    pub(super) max_bytes: Option<i64>,
    pub(super) duplicate_window: Option<Duration>,
    pub(super) dead_letter_age: Option<Duration>,
    /// Three where the server is one of a cluster of at least three, else one.
    pub(super) replicas: Option<usize>,
}

impl Bounds {
    pub(super) fn max_age(&self) -> Duration {
        // A week bridges a long weekend without anybody looking.
        self.max_age.unwrap_or(Duration::from_secs(7 * 24 * 3600))
    }

    pub(super) fn max_bytes(&self) -> i64 {
        self.max_bytes.unwrap_or(1 << 30)
    }

    pub(super) fn duplicate_window(&self) -> Duration {
        // Longer than any repeat of a store; each id takes about 200 bytes of the server's memory.
        self.duplicate_window.unwrap_or(Duration::from_secs(120))
    }

    pub(super) fn dead_letter_age(&self) -> Duration {
        self.dead_letter_age.unwrap_or(Duration::from_secs(30 * 24 * 3600))
    }

    /// What was set for a stream and is otherwise there, under the names of the server's API.
    pub(super) fn changes(&self, kind: StreamKind, there: &stream::Config) -> Vec<(&'static str, serde_json::Value)> {
        let age = if kind == StreamKind::Dead { self.dead_letter_age } else { self.max_age };
        let bytes = if kind == StreamKind::Advisories { None } else { self.max_bytes };
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).into();
        let mut changes = Vec::new();
        changes.extend(age.filter(|age| *age != there.max_age).map(|age| ("max_age", nanos(age))));
        changes.extend(bytes.filter(|bytes| *bytes != there.max_bytes).map(|bytes| ("max_bytes", bytes.into())));
        let window = self.duplicate_window.filter(|window| *window != there.duplicate_window);
        changes.extend(window.map(|window| ("duplicate_window", nanos(window))));
        let replicas = self.replicas.filter(|replicas| *replicas != there.num_replicas);
        changes.extend(replicas.map(|replicas| ("num_replicas", replicas.into())));
        changes
    }

    /// What cannot be.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.replicas.is_some_and(|replicas| !(1..=MOST_REPLICAS).contains(&replicas)) {
            problems.push(format!("a stream has 1 to {MOST_REPLICAS} replicas"));
        }
        if self.max_bytes == Some(0) {
            problems.push("streams of no bytes keep nothing".to_owned());
        }
        let window = self.duplicate_window();
        if window < SHORTEST_WINDOW {
            problems.push(format!(
                "the duplicate window is shorter than {SHORTEST_WINDOW:?}, and repeats come for as long"
            ));
        }
        if self.max_age() < window || self.dead_letter_age() < window {
            problems
                .push(format!("events and dead letters are to be kept for less than the duplicate window, {window:?}"));
        }
    }
}
