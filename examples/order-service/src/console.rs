//! The console of the three nodes: says what to try, and obeys what is typed.

use std::{
    io::{BufRead, stdin},
    time::Duration,
};

use catga::{Signals, transport::Transport};
use tokio::sync::mpsc;

use crate::{cluster::Cluster, end_at_once_when_asked_again, say};

/// How many lines wait to be obeyed.
const LINES: usize = 16;

/// How often the console looks whether it has come to the foreground.
const FOREGROUND: Duration = Duration::from_millis(500);

/// Obeys the console until `quit` or a signal, then stops the nodes gently.
pub async fn run(mut cluster: Cluster<impl Transport + Clone>, mut signals: Signals) -> Result<(), catga::Error> {
    say::line(format_args!("{}", welcome(&cluster)));
    let mut lines = typed_lines();
    loop {
        let line = tokio::select! {
            () = signals.asked() => break,
            // Without input, as in the background, the service goes on.
            Some(line) = lines.recv() => line,
        };
        let words: Vec<_> = line.split_whitespace().collect();
        let obeyed = match words[..] {
            [] => Ok(()),
            ["kill", node] => cluster.kill(node).await,
            ["start", node] => cluster.start_again(node).await,
            ["nodes"] => {
                say::line(format_args!("{}", cluster.describe()));
                Ok(())
            }
            ["quit" | "exit"] => break,
            _ => Err("type `kill node2`, `start node2`, `nodes` or `quit`".to_owned()),
        };
        if let Err(wrong) = obeyed {
            say::line(format_args!("❓ {wrong}"));
        }
    }
    end_at_once_when_asked_again(signals);
    cluster.stop().await
}

/// The lines that are typed. A thread of its own reads them, for nothing can interrupt it: it ends with the process.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        loop {
            while in_background() {
                std::thread::sleep(FOREGROUND);
            }
            line.clear();
            match stdin().lock().read_until(b'\n', &mut line) {
                Ok(1..) if sender.blocking_send(String::from_utf8_lossy(&line).into_owned()).is_ok() => {}
                _ => return,
            }
        }
    });
    lines
}

/// Whether reading would stop this process: a terminal does so to what runs in its background, as after `&`.
#[cfg(unix)]
fn in_background() -> bool {
    rustix::termios::tcgetpgrp(stdin()).is_ok_and(|foreground| foreground != rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn in_background() -> bool {
    false
}

fn welcome(cluster: &Cluster<impl Transport + Clone>) -> String {
    let ports: Vec<_> = cluster.ports().collect();
    let [first, second, third] = ports[..] else { return String::new() };
    format!(
        "\
Three nodes are up. Try in another terminal:

  curl -i localhost:{first}/orders -H 'Content-Type: application/json' -d '{{\"productId\":\"tea\",\"quantity\":2}}'
  curl -i localhost:{second}/orders/<orderId>
  curl -s localhost:{third}/health

the same key on two nodes, and one order:

  curl -i localhost:{first}/orders -H 'Idempotency-Key: 42' -H 'Content-Type: application/json' -d '{{\"productId\":\"tea\",\"quantity\":2}}'
  curl -i localhost:{second}/orders -H 'Idempotency-Key: 42' -H 'Content-Type: application/json' -d '{{\"productId\":\"tea\",\"quantity\":2}}'

and type here: `kill node2`, send orders, `start node2` (it gets the QoS 1 events that it missed), `nodes`, `quit`.
"
    )
}
