//! What a node does with each message. Nothing here knows of HTTP, or on which node it runs.

use catga::{Context, State, handler};

use crate::{
    messages::{CreateOrder, FindOrder, Order, OrderCreated, OrderId, OrderShipped, Placed, Status},
    say::{self, Told},
    store::Store,
};

/// Runs on one node: the one that the command was routed to.
#[handler]
async fn create_order(command: CreateOrder, State(store): State<Store>, ctx: Context) -> Placed {
    let order = Order {
        order_id: OrderId::new(ctx.node(), ctx.id()),
        product_id: command.product_id,
        quantity: command.quantity,
        status: Status::Created,
        processed_by: ctx.node().to_owned(),
        tracking_number: None,
    };
    let text = format_args!("📦 Processing order {} on {}", order.order_id, order.processed_by);
    say::order(Told::Taken, ctx.node(), &order.order_id, text);
    store.created(order.clone());

    // Both leave when this handler has succeeded, and before the client gets its answer.
    ctx.emit(OrderCreated { order: order.clone() });
    ctx.emit(OrderShipped { order: order.clone().shipped() });
    Placed { order_id: order.order_id, status: order.status, processed_by: order.processed_by }
}

/// Runs on every node that is there.
#[handler]
async fn note_created(event: OrderCreated, State(store): State<Store>, ctx: Context) {
    let id = event.order.order_id.clone();
    store.created(event.order);
    say::order(Told::Created, ctx.node(), &id, format_args!("📝 [QoS 0] Order created: {id}"));
}

/// Runs on every node, once it is back if it was away.
#[handler]
async fn note_shipped(event: OrderShipped, State(store): State<Store>, ctx: Context) {
    let id = event.order.order_id.clone();
    store.shipped(event.order);
    say::order(Told::Shipped, ctx.node(), &id, format_args!("📦 [QoS 1] Order shipped: {id}"));
}

/// Answers from what this node has seen.
#[handler]
async fn find_order(query: FindOrder, State(store): State<Store>) -> Option<Order> {
    store.find(&query.0)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use catga::{Error, testing::Harness};

    use super::*;

    /// Three nodes under virtual time; what they do is recorded.
    #[tokio::test(start_paused = true)]
    async fn every_node_knows_an_order_that_one_of_them_took() -> Result<(), Error> {
        let harness = Harness::new();
        let stores = [Store::new(), Store::new(), Store::new()];
        let mut nodes = Vec::new();
        for (id, store) in ["node1", "node2", "node3"].into_iter().zip(&stores) {
            nodes.push(harness.node(id).state(store.clone()).build().await?);
        }

        let placed = nodes[0].send(CreateOrder { product_id: "tea".into(), quantity: NonZeroU32::MIN }).await?;
        harness.settled().await?;

        assert_eq!((placed.status, placed.order_id.node()), (Status::Created, "node1"));
        for store in &stores {
            assert_eq!(store.find(&placed.order_id).map(|order| order.status), Some(Status::Shipped));
        }
        assert_eq!(harness.record().handled::<OrderCreated>().count(), 3);
        assert_eq!(harness.record().handled::<OrderShipped>().count(), 3);
        Ok(())
    }

    /// A handler is a function: this is how one is tested by itself.
    #[tokio::test]
    async fn an_order_that_was_not_seen_is_not_found() {
        let id = OrderId::new("node1", catga::MessageId::new());
        assert_eq!(find_order(FindOrder(id), State(Store::new())).await, None);
    }
}
