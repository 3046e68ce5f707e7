//! What bounds a broker inside a process.

use std::time::Duration;

use super::{InProcess, Settings, link::STORE_ATTEMPTS};
use crate::error::Error;

/// Describes a broker for nodes in one process: how much it keeps, and for how long.
///
/// ```
/// use std::time::Duration;
/// use catga::transport::InProcess;
///
/// # fn main() -> Result<(), catga::Error> {
/// let broker = InProcess::builder().max_bytes(64 << 20).max_age(Duration::from_secs(3600)).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "call `build`"]
pub struct InProcessBuilder {
    settings: Settings,
}

impl InProcessBuilder {
    /// How long reliable events are kept; 7 days by default. A node that is away for longer misses what is older.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.settings.max_age = age;
        self
    }

    /// How many bytes of reliable events are kept, and again of what waits for another attempt; 1 GiB each by default. Of
    /// events the oldest go first; an attempt that finds no room waits on its node. A larger event is refused as `TooLarge`.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_bytes = bytes;
        self
    }

    /// The largest message, in bytes; 1 MiB by default, as a NATS server has it: what fits here fits there.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.settings.max_payload = bytes;
        self
    }

    /// For how long what is stored twice is recognised; 2 minutes by default. Each id takes about 50 bytes.
    pub fn duplicate_window(mut self, window: Duration) -> Self {
        self.settings.duplicate_window = window;
        self
    }

    /// How long a node waits for the confirmation that something is stored, before it asks again or gives up; 2 s by
    /// default.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.settings.store_timeout = timeout;
        self
    }

    /// How long dead letters are kept; 30 days by default.
    pub fn dead_letter_age(mut self, age: Duration) -> Self {
        self.settings.dead_letter_age = age;
        self
    }

    /// How many bytes of dead letters are kept; 256 MiB by default. The oldest go first, and an error is logged.
    pub fn dead_letter_bytes(mut self, bytes: usize) -> Self {
        self.settings.dead_letter_bytes = bytes;
        self
    }

    /// Makes the broker.
    ///
    /// # Errors
    ///
    /// `Configuration` with everything that is wrong with these options.
    pub fn build(self) -> Result<InProcess, Error> {
        let settings = self.settings;
        let zeros = [
            ("max_age", settings.max_age.is_zero()),
            ("max_bytes", settings.max_bytes == 0),
            ("max_payload", settings.max_payload == 0),
            ("store_timeout", settings.store_timeout.is_zero()),
            ("dead_letter_age", settings.dead_letter_age.is_zero()),
            ("dead_letter_bytes", settings.dead_letter_bytes == 0),
        ];
        let zeros = zeros.iter().filter(|(_, zero)| *zero);
        let mut problems: Vec<_> = zeros.map(|(name, _)| format!("`{name}` is zero")).collect();
        let repeats = settings.store_timeout.saturating_mul(STORE_ATTEMPTS);
        if settings.duplicate_window < repeats {
            problems
                .push(format!("`duplicate_window` is shorter than {repeats:?}, and a store is repeated for as long"));
        }
        match problems.is_empty() {
            true => Ok(InProcess::with(settings)),
            false => Err(Error::configuration(format!("the broker is set up wrongly: {}", problems.join("; ")))),
        }
    }
}
