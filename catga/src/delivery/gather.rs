//! Takes along what comes in a moment.

use futures_util::FutureExt;
use tokio::sync::mpsc;

/// Lets whoever is ready run once, and takes along what they hand over: where others are under way, more comes in a moment,
/// and a task that takes each at once sends them one by one.
pub(super) async fn gather<T>(receiver: &mut mpsc::Receiver<T>, items: &mut Vec<T>, limit: usize) {
    if items.len() < limit {
        tokio::task::yield_now().await;
        let room = limit - items.len();
        let _ = receiver.recv_many(items, room).now_or_never();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_others_are_about_to_hand_over_is_taken_along() {
        let (sender, mut receiver) = mpsc::channel(8);
        for number in 1..5 {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(number).await });
        }
        let mut items = vec![0];
        gather(&mut receiver, &mut items, 3).await;
        assert_eq!(items, [0, 1, 2]);
    }
}
