//! A node in a process of its own, for tests that kill, stop and cut off processes.
//!
//! It is told what to do by words, `name=value`, and writes what it does into its [journal](journal), where a test counts
//! whatever became of the process.

mod handlers;
mod journal;
mod load;
mod options;
mod publish;

use std::time::Duration;

use catga::{ClusterChange, Counts, Limits, Mediator, transport::Nats};

use self::{handlers::Manner, journal::Journal, options::Options};

/// How often is looked at what the node counts.
const LOOK: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::read(std::env::args().skip(1))?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("info,catga=debug").with_ansi(false).init();
    let journal = Journal::open(&options.journal)?;

    let mut builder = Mediator::builder()
        .node(&options.node)
        .transport(Nats::connect(&options.url).await?)
        .limits(limits())
        .discover(false)
        .state(Manner { journal: journal.clone(), sleep: options.sleep, dies_at: options.dies_at });
    for role in &options.roles {
        builder = match role.as_str() {
            "all" => builder.handler(handlers::all),
            "group" => builder.handler(handlers::group),
            "seen" => builder.handler(handlers::seen),
            "serve" => builder.handler(handlers::query).handler(handlers::command),
            other => return Err(format!("`{other}` is no role").into()),
        };
    }
    let mediator = builder.build().await?;
    journal.line("ready");

    tokio::spawn(watch(mediator.clone(), journal.clone()));
    tokio::spawn(look_around(mediator.clone(), journal.clone()));
    if let Some(numbers) = options.seen.clone() {
        tokio::spawn(publish::seen(mediator.clone(), journal.clone(), numbers));
    }
    if let Some(numbers) = options.publish.clone() {
        tokio::spawn(publish::noted(mediator.clone(), journal.clone(), numbers, options.batch, options.pace));
    }
    if options.rate > 0 {
        tokio::spawn(load::run(mediator.clone(), journal.clone(), options.rate, options.requests));
    }
    mediator.run_until_signal().await?;
    Ok(())
}

/// Times that a test need not wait for long.
fn limits() -> Limits {
    Limits {
        ack_wait: Duration::from_secs(1),
        backoff: Duration::from_millis(50),
        heartbeat: Duration::from_millis(250),
        silence: Duration::from_secs(1),
        crash_limit: 4,
        in_flight: 256,
        ..Limits::default()
    }
}

/// Says what the node misses, and what it gives up.
async fn watch(mediator: Mediator, journal: Journal) {
    let mut before = Counts::default();
    loop {
        let now = mediator.counts();
        if now.lagged > before.lagged {
            journal.line(format!("missed {}", now.lagged - before.lagged));
        }
        if now.dead_letters > before.dead_letters {
            journal.line(format!("buried {}", now.dead_letters - before.dead_letters));
        }
        before = now;
        tokio::time::sleep(LOOK).await;
    }
}

/// Says who is in the cluster, whenever that changes.
async fn look_around(mediator: Mediator, journal: Journal) {
    let mut changes = mediator.cluster().changes();
    loop {
        let nodes = mediator.cluster().nodes().into_iter().filter(|node| node.online);
        journal.line(format!("sees {}", nodes.map(|node| node.id).collect::<Vec<_>>().join(",")));
        match changes.next().await {
            Some(ClusterChange::Restarted(node)) => journal.line(format!("restarted {node}")),
            Some(_) => {}
            None => return,
        }
    }
}
