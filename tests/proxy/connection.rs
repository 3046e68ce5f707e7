//! One connection through the proxy, and what happens to it.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    Network,
    protocol::{Frame, next_frame},
    rules::{Direction, Fate},
};

/// How many pieces are under way in one direction; beyond, the sender is slowed down.
const UNDER_WAY: usize = 4_096;

/// Carries everything between a client and the server, until one of them ends the connection or it is cut.
pub(super) async fn run(
    mut client: TcpStream,
    server: SocketAddr,
    network: Arc<Network>,
    mut cut: watch::Receiver<bool>,
) {
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(client) };
    // As a network carries it: at once.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let was_cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            // Neither side of the protocol goes on when the other has closed.
            _ = carry(from_client, to_server, Direction::ToServer, &network) => false,
            _ = carry(from_server, to_client, Direction::ToClient, &network) => false,
            _ = cut.wait_for(|cut| *cut) => true,
        }
    };
    if was_cut {
        reset(client);
        reset(server);
    }
    // Last: who cuts waits until this is dropped.
    drop(cut);
}

/// Closes a connection with a reset instead of an end.
pub(super) fn reset(stream: TcpStream) {
    // An error means that it is closed already.
    let _ = stream.set_zero_linger();
}

async fn carry(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    direction: Direction,
    network: &Network,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    tokio::try_join!(take(from, sender, direction, network), hand_over(to, receiver, network)).map(|_| ())
}

/// Reads what a side says, and decides on each piece.
async fn take(
    mut from: impl AsyncRead + Unpin,
    sender: mpsc::Sender<(Instant, Bytes)>,
    direction: Direction,
    network: &Network,
) -> io::Result<()> {
    let mut thawed = network.thawed.subscribe();
    let mut buffer = BytesMut::new();
    loop {
        // What nobody reads stays with the sender, as when its packets are lost.
        let _ = thawed.wait_for(|thawed| *thawed).await;
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(Frame { bytes, message }) = next_frame(&mut buffer)? {
            let Fate { copies, late } = message.map_or(Fate::PASSES, |message| network.rules.fate(direction, &message));
            let arrives = Instant::now() + *network.delay.borrow();
            if !late.is_zero() {
                // In a task of its own, so that what comes behind it overtakes it. A connection that has ended takes nothing.
                let sender = sender.clone();
                tokio::spawn(async move {
                    sleep_until(arrives + late).await;
                    drop(sender.send((Instant::now(), bytes)).await);
                });
                continue;
            }
            for _ in 0..copies {
                if sender.send((arrives, bytes.clone())).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Writes it, when it is time.
async fn hand_over(
    mut to: impl AsyncWrite + Unpin,
    mut receiver: mpsc::Receiver<(Instant, Bytes)>,
    network: &Network,
) -> io::Result<()> {
    let mut thawed = network.thawed.subscribe();
    while let Some((arrives, bytes)) = receiver.recv().await {
        sleep_until(arrives).await;
        let _ = thawed.wait_for(|thawed| *thawed).await;
        to.write_all(&bytes).await?;
    }
    Ok(())
}
