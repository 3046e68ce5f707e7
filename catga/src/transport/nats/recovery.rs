//! How a durable's task finds out what it has lost, and makes it good: the durable itself, the stream, or messages.

use tokio::time::{Duration, Instant};

use super::{
    consumer::Progress,
    names::StreamKind,
    puller::{PAUSE, Puller},
};
use crate::{error::Error, transport::Consumed};

/// How often a durable that is behind looks whether it has missed something.
const LOOK: Duration = Duration::from_secs(5);

impl Puller {
    /// Finds out whether something fell off the stream before it came.
    pub(super) async fn look_for_missed(&mut self) {
        self.look_at = Instant::now() + LOOK;
        // A server that does not answer now is asked again, and does not keep the node from ending.
        let asked = self.stop.run_until_cancelled(self.streams.info(StreamKind::Events)).await;
        let Some(Ok(stream)) = asked else { return };
        let state = stream.state;
        // Where all has fallen off, the last of it is as young as anything that was lost.
        let oldest = if state.messages == 0 { state.last_timestamp } else { state.first_timestamp };
        let missed = self.progress.missed(state.first_sequence, millis(oldest));
        if missed > 0 {
            self.pass_on(Consumed::Lagged { missed }).await;
        }
    }

    /// Finds out whether the durable is there, and makes it anew behind what is done if it is not.
    pub(super) async fn recover(&mut self) {
        self.progress.fall_behind(self.clock.server_ms() - millis_of(self.last_sign.elapsed()));
        self.asked = 0;
        self.last_sign = Instant::now();
        if !self.connection.is_connected() {
            return tokio::time::sleep(PAUSE).await;
        }
        if let Err(error) = self.look().await {
            tracing::warn!(target: "catga::nats", %error, durable = %self.spec.name, "the durable cannot be looked at");
            tokio::time::sleep(PAUSE).await;
        }
        self.last_sign = Instant::now();
    }

    async fn look(&mut self) -> Result<(), Error> {
        if self.streams.durable(&self.spec.name).await?.is_some() {
            return Ok(());
        }
        let stream = self.streams.ensure().await?;
        let made = stream.created.to_string();
        if made != self.stream_made {
            tracing::error!(
                target: "catga::nats", durable = %self.spec.name, stream = stream.config.name,
                "the stream was deleted and made anew: what it held is lost"
            );
            self.stream_made = made;
            self.progress = Progress::new(0, None);
            self.held.clear();
            // It has been there only for as long as this durable was missing: all of it is new.
            self.streams.ensure_durable(&self.spec, Some(1)).await?;
            return Ok(());
        }
        let start = self.progress.start_again();
        self.streams.ensure_durable(&self.spec, Some(start)).await?;
        tracing::error!(
            target: "catga::nats", durable = %self.spec.name, start,
            "the durable was deleted on the server; it was made anew behind what is done here"
        );
        Ok(())
    }
}

/// A time of the server, in milliseconds since 1970.
pub(super) fn millis(time: async_nats::datetime::DateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

pub(super) fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
