//! What a node does with each message. Nothing here knows of HTTP, or on which node it runs.

use catga::{Context, State, handler};

use crate::{
    messages::{CreateOrder, FindOrder, Order, OrderCreated, OrderId, OrderShipped, Placed, Status},
    say,
    store::Store,
};

/// Runs on one node: the one that the command was routed to.
#[handler]
async fn create_order(command: CreateOrder, State(store): State<Store>, ctx: Context) -> Placed {
    let CreateOrder { product_id, quantity } = command;
    let (order_id, processed_by) = (OrderId::new(ctx.node(), ctx.id()), ctx.node().to_owned());
    say!(ctx.node(), "📦 Processing order {order_id} on {processed_by}");

    let status = Status::Created;
    let order =
        Order { order_id, product_id, quantity, status, processed_by: processed_by.clone(), tracking_number: None };
    store.created(order.clone());

    // Both leave when this handler has succeeded, and before the client gets its answer.
    let order_id = order.order_id.clone();
    let tracking_number = Some(order_id.tracking_number());
    ctx.emit(OrderCreated { order: order.clone() });
    ctx.emit(OrderShipped { order: Order { status: Status::Shipped, tracking_number, ..order } });
    Placed { order_id, processed_by }
}

/// Runs on every node that is there.
#[handler]
async fn note_created(event: OrderCreated, State(store): State<Store>, ctx: Context) {
    let id = event.order.order_id.clone();
    store.created(event.order);
    say!(ctx.node(), "📝 [QoS 0] Order created: {id}");
}

/// Runs on every node, once it is back if it was away.
#[handler]
async fn note_shipped(event: OrderShipped, State(store): State<Store>, ctx: Context) {
    let id = event.order.order_id.clone();
    store.shipped(event.order);
    say!(ctx.node(), "📦 [QoS 1] Order shipped: {id}");
}

/// Answers from what this node has seen.
#[handler]
async fn find_order(query: FindOrder, State(store): State<Store>) -> Option<Order> {
    store.find(&query.0)
}
