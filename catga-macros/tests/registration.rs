//! What the macros leave for `build()` to find.
#![deny(clippy::pedantic, missing_docs, unused_qualifications, unreachable_pub)]

use std::{any::TypeId, sync::Arc, time::Duration};

use catga::{
    __private::{HandlerRegistration, Kind, MessageRegistration, Qos, identity_of, inventory},
    Command, Context, Event, Message, Query, State, States, handler,
};
use serde::{Deserialize, Serialize};

#[derive(Command, Clone, Serialize, Deserialize)]
#[response(u64)]
struct PlaceOrder(u64);

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(Option<String>)]
#[catga(name = "orders.v2.Status", frame = 128)]
struct Status {
    id: u64,
}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
enum Changed {
    Placed,
    Cancelled,
}

#[handler]
async fn place_order(PlaceOrder(amount): PlaceOrder, State(limit): State<u64>, _: Context) -> u64 {
    amount.min(limit)
}

#[handler(name = "orders.status", group = "stock", attempts = 3, backoff = "100ms", timeout = "2m", concurrency = 8)]
async fn on_change(_: Changed) {}

struct Orders;

#[handler(timeout = "1h")]
impl Orders {
    fn describe(&self, id: u64) -> String {
        format!("{id} of {}", size_of_val(self))
    }

    async fn status(&self, Status { id }: Status) -> Option<String> {
        Some(self.describe(id))
    }

    #[handler(timeout = "1ms", name = "orders.changed")]
    async fn changed(&self, _: Changed) {}
}

fn handler_named(name: &str) -> &'static HandlerRegistration {
    let mut found = inventory::iter::<HandlerRegistration>().filter(|handler| handler.name == name);
    match (found.next(), found.next()) {
        (Some(handler), None) => handler,
        _ => unreachable!("not exactly one handler `{name}`"),
    }
}

#[test]
fn a_message_has_the_name_kind_and_quality_that_were_given() {
    assert_eq!(PlaceOrder::NAME, "catga-macros.PlaceOrder");
    assert_eq!((PlaceOrder::KIND, PlaceOrder::QOS, PlaceOrder::FRAME), (Kind::Command, Qos::AtMostOnce, 0));
    assert_eq!((Status::NAME, Status::KIND, Status::FRAME), ("orders.v2.Status", Kind::Query, 128));
    assert_eq!((Changed::KIND, Changed::QOS), (Kind::Event, Qos::AtLeastOnce));
    let _ = (Changed::Placed, Changed::Cancelled);
}

#[test]
fn a_message_is_registered_where_its_name_stands() {
    let mut names: Vec<_> = inventory::iter::<MessageRegistration>()
        .map(|message| (message.message.name, message.place.file, message.place.line))
        .collect();
    names.sort_unstable();
    let file = file!();
    assert_eq!(
        names,
        [("catga-macros.Changed", file, 25), ("catga-macros.PlaceOrder", file, 14), ("orders.v2.Status", file, 19)]
    );
}

#[test]
fn each_message_type_has_a_slot_of_its_own() {
    assert!(std::ptr::eq(Status::slot(), Status::slot()));
    assert!(!std::ptr::eq(Status::slot(), PlaceOrder::slot()));
}

#[test]
fn a_handler_is_named_after_its_package_and_function_or_type_and_method() {
    let mut names: Vec<_> = inventory::iter::<HandlerRegistration>().map(|handler| handler.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["catga-macros.Orders.status", "catga-macros.place_order", "orders.changed", "orders.status"]);
}

#[test]
fn a_handler_stands_where_its_name_stands() {
    let place = handler_named("catga-macros.place_order").place;
    assert_eq!((place.file, place.line), (file!(), 31));
    assert_eq!(handler_named("orders.status").place.line, 36);
    assert_eq!(handler_named("orders.changed").place.line, 51);
}

#[test]
fn a_handler_is_found_by_its_function() {
    assert_eq!((handler_named("catga-macros.place_order").identity)(), identity_of(&place_order));
    assert_eq!((handler_named("orders.changed").identity)(), identity_of(&Orders::changed));
    assert_ne!((handler_named("orders.status").identity)(), identity_of(&place_order));
}

#[test]
fn a_handler_knows_its_message() {
    let message = handler_named("orders.status").message;
    assert_eq!(message.name, "catga-macros.Changed");
    assert_eq!((message.type_id)(), TypeId::of::<Changed>());
}

#[test]
fn options_are_those_that_were_given() {
    let options = handler_named("orders.status").options;
    assert_eq!(options.group, Some("stock"));
    assert_eq!(options.attempts, Some(3));
    assert_eq!(options.backoff, Some(Duration::from_millis(100)));
    assert_eq!(options.timeout, Some(Duration::from_mins(2)));
    assert_eq!(options.concurrency, Some(8));
    let options = handler_named("catga-macros.place_order").options;
    assert!(options.group.is_none() && options.attempts.is_none() && options.timeout.is_none());
}

#[test]
fn a_method_takes_the_keys_of_its_block_unless_it_says_otherwise() {
    assert_eq!(handler_named("catga-macros.Orders.status").options.timeout, Some(Duration::from_hours(1)));
    assert_eq!(handler_named("orders.changed").options.timeout, Some(Duration::from_millis(1)));
}

#[test]
fn a_handler_asks_for_the_state_that_it_takes() {
    let none = States::default();
    let missing = |name| (handler_named(name).bind)(&none).err().map(|missing| format!("{missing:?}"));
    assert!(missing("catga-macros.place_order").is_some_and(|missing| missing.contains("u64")));
    assert!(missing("catga-macros.Orders.status").is_some_and(|missing| missing.contains("Orders")));
    assert!(missing("orders.status").is_none());
}

#[test]
fn a_handler_can_still_be_called() {
    let _ = place_order;
    let orders = Arc::new(Orders);
    drop(orders.status(Status { id: 7 }));
}
