//! What a worker is told: words of the form `name=value`.

use std::{error::Error, ops::Range, path::PathBuf, time::Duration};

pub(crate) struct Options {
    pub(crate) node: String,
    pub(crate) url: String,
    /// Where it writes what it does.
    pub(crate) journal: PathBuf,
    /// What it handles: `all`, `group`, `seen`, `serve`.
    pub(crate) roles: Vec<String>,
    /// How long its handlers take.
    pub(crate) sleep: Duration,
    /// The number of the event that kills the process.
    pub(crate) dies_at: Option<u32>,
    /// The reliable events that it publishes.
    pub(crate) publish: Option<Range<u32>>,
    /// How many at a time; one goes by `publish`, more by `publish_all`.
    pub(crate) batch: usize,
    /// The pause between two batches.
    pub(crate) pace: Duration,
    /// The events of QoS 0 that it publishes.
    pub(crate) seen: Option<Range<u32>>,
    /// How many requests it sends in a second, and how many in all.
    pub(crate) rate: u32,
    pub(crate) requests: u32,
}

impl Options {
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            node: String::new(),
            url: String::new(),
            journal: PathBuf::new(),
            roles: Vec::new(),
            sleep: Duration::ZERO,
            dies_at: None,
            publish: None,
            batch: 1,
            pace: Duration::ZERO,
            seen: None,
            rate: 0,
            requests: 0,
        };
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not `name=value`"))?;
            match name {
                "node" => options.node = value.to_owned(),
                "url" => options.url = value.to_owned(),
                "journal" => options.journal = value.into(),
                "roles" => options.roles = value.split(',').map(str::to_owned).collect(),
                "sleep_ms" => options.sleep = Duration::from_millis(value.parse()?),
                "dies_at" => options.dies_at = Some(value.parse()?),
                "publish" => options.publish = Some(range(value)?),
                "batch" => options.batch = value.parse()?,
                "pace_ms" => options.pace = Duration::from_millis(value.parse()?),
                "seen" => options.seen = Some(range(value)?),
                "rate" => options.rate = value.parse()?,
                "requests" => options.requests = value.parse()?,
                _ => return Err(format!("there is no `{name}`").into()),
            }
        }
        Ok(options)
    }
}

/// Reads `0..1000`.
fn range(text: &str) -> Result<Range<u32>, Box<dyn Error>> {
    let (from, to) = text.split_once("..").ok_or_else(|| format!("`{text}` is no range"))?;
    Ok(from.parse()?..to.parse()?)
}
