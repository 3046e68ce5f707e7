//! `catga tap`: shows what travels.

use std::time::Duration;

use catga::{
    tap::{Passed, Tap},
    transport::Nats,
};
use tokio::sync::oneshot;

use crate::{
    arguments::TapOptions,
    output::{Output, Stop},
};

/// How long a line that nobody reads may hold up the end.
const LAST_LINE: Duration = Duration::from_secs(1);

pub(crate) async fn run(nats: &Nats, app: &str, options: TapOptions, output: &mut Output) -> Result<(), Stop> {
    let tap = if options.payload { Tap::new().with_payloads() } else { Tap::new() };
    let mut passing = tap.listen(nats, app, options.subject.as_deref()).await?;
    eprintln!("catga: listening, Ctrl-C ends it");
    let mut interrupted = interrupt();
    loop {
        let passed = tokio::select! {
            passed = passing.next() => passed?,
            _ = &mut interrupted => return Ok(()),
        };
        match passed {
            Passed::Lines(lines) => output.lines(&lines.join("\n"))?,
            Passed::Missed { messages, interrupted } => {
                if messages > 0 {
                    eprintln!("catga: {messages} messages came faster than they were shown and are left out");
                }
                if interrupted {
                    eprintln!("catga: the connection was lost; what passed meanwhile is not shown");
                }
            }
            _ => {}
        }
    }
}

/// Ends with Ctrl-C. A program that writes to a pipe which nobody reads comes to no end by itself.
fn interrupt() -> oneshot::Receiver<()> {
    let (interrupt, interrupted) = oneshot::channel::<()>();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            drop(interrupt);
            tokio::time::sleep(LAST_LINE).await;
            std::process::exit(0);
        }
        // Without it the signal does what it always does; the channel stays open.
        std::future::pending::<()>().await;
    });
    interrupted
}
