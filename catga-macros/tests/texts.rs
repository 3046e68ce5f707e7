//! The words that wrong programs get from catga, apart from how the compiler lays them out.

use std::{error::Error, fs, path::Path};

/// A program of `ui/`, and the lines of ours in what it is told.
#[rustfmt::skip]
const TEXTS: &[(&str, &[&str])] = &[
    ("handler_is_not_async", &["error: handler `place_order` must be an `async fn`", "help: write `async fn place_order(..)`"]),
    ("handler_without_a_parameter", &["error: handler `place_order` takes no message", "help: make the message its first parameter: `async fn place_order(command: YourCommand) -> ..`"]),
    ("message_by_reference", &["error: handler `place_order` borrows its message, but a handler owns the message it receives", "help: take `PlaceOrder` instead of `&PlaceOrder`"]),
    ("handler_is_generic", &["error: handler `place_order` cannot be generic: it is registered once, before a type can be chosen", "help: write one handler per message and call a shared generic function"]),
    ("attribute_on_a_method", &["error: a method is registered through its impl block", "help: move `#[handler]` to the `impl .. { .. }` around it"]),
    ("method_takes_mut_self", &["error: handlers run concurrently, so `place` cannot take `&mut self`", "help: take `&self`"]),
    ("attribute_on_a_struct", &["error: `#[handler]` belongs on an `async fn` or on an `impl` block"]),
    ("unknown_key", &["error: unknown key `naem`", "help: did you mean `name`? the keys are `name`, `group`, `attempts`, `backoff`, `timeout`, `concurrency`, `crate`"]),
    ("key_given_twice", &["error: `attempts` is given twice", "help: keep one of them"]),
    ("reliable_on_a_command", &["error: `#[reliable]` applies only to events", "help: remove it: `PlaceOrder` is a command: its sender always gets a reply or an error"]),
    ("response_on_an_event", &["error: an event has no response: any number of handlers may react to it", "help: remove `#[response(..)]`, or derive `Command` if exactly one handler must answer"]),
    ("query_without_response", &["error: query `GetOrder` does not say what it returns", "help: add `#[response(Type)]` below the derive"]),
    ("message_is_generic", &["error: `Changed` is generic, but a message has exactly one name on the wire", "help: declare one concrete type per message"]),
    ("message_borrows", &["error: `Renamed` borrows its data, but a message outlives the call that sends it", "help: own the data, for example with `String` instead of `&str`"]),
    ("wire_name_with_a_space", &["error: `order placed` is not a message name", "help: use letters, digits, `_` and `-`, in parts separated by single dots, for example `orders.OrderPlaced`"]),
    ("message_is_not_clone", &["`PlaceOrder` must be `Clone`: a second handler or a retry gets a copy", "add `Clone` to its derives"]),
    ("attempts_are_zero", &["error: `0` is not a whole number from 1 to 100", "help: write for example `attempts = 3`"]),
    ("timeout_without_a_unit", &["error: `\"5\"` is not a time from `\"1ms\"` to `\"24h\"`", "help: write a whole number and one of `ms`, `s`, `m` and `h`, for example `timeout = \"5s\"`"]),
    ("group_on_a_command", &["`group` applies only to handlers of events", "`PlaceOrder` is not an event", "remove `group`: a command or a query always goes to one node"]),
    ("parameter_is_no_message", &["`Plain` is not a catga message", "expected a command, a query or an event", "derive one of `Command`, `Query` or `Event` for `Plain`"]),
    ("parameter_is_no_extractor", &["`Db` cannot be a handler parameter", "not an extractor", "after the message, each parameter must be an extractor: `State<T>`, `Context`, `Mediator`, or a type that implements `FromContext`", "to share a `Db` with handlers, take `State<Db>` and give the value to `.state(..)` on the builder"]),
    ("return_type_does_not_fit", &["the return type of this handler does not fit its message", "expected `u64` or `Result<u64, E>`, found `Result<String, catga::Error>`"]),
    ("return_type_is_another", &["expected `u64` or `Result<u64, E>`, found `String`"]),
    ("message_of_two_kinds", &["conflicting implementations of trait `catga::Message` for type `PlaceOrder`", "first implementation here"]),
    ("value_without_a_key", &["error: `\"mail\"` stands without a key", "help: write `key = value`; the keys are `name`, `group`,"]),
    ("message_behind_an_extractor", &["error: handler `place_order` takes `catga::Context` in front of its message", "help: make the message its first parameter: `PlaceOrder`"]),
    ("response_borrows", &["error: `Greeting` cannot be answered with a reference: a reply is read from bytes", "help: own the data, for example with `String` instead of `&str`"]),
    ("error_is_a_box", &["or return `Result<_, catga::Failure>`: `?` makes one of any error, `Failure::new(code, message)` of a text"]),
    ("state_is_not_clone", &["`Db` must be `Clone` to be taken as `State<Db>`: each run of a handler gets a copy", "add `Clone` to its derives, or share one value: take `State<Arc<Db>>` and give the builder `.state(Arc::new(..))`"]),
    ("helper_in_a_block", &["`u64` is not a catga message", "methods that are not handlers belong in another `impl` block", "if this one is a handler, derive one of `Command`, `Query` or `Event` for `u64`"]),
    ("helper_that_borrows", &["help: take `String` instead of `&str`; methods that are not handlers belong in another `impl` block, without `#[handler]`"]),
    ("error_is_no_error", &["`MyErr` cannot be the error of a handler", "implement `std::error::Error` for `MyErr`, for example with `#[derive(thiserror::Error)]`"]),
    ("send_event", &["`OrderPlaced` cannot be sent, because it is not a command or a query", "`send` waits for one reply; if `OrderPlaced` is an event, announce it with `publish`"]),
    ("publish_command", &["`PlaceOrder` cannot be published, because it is not an event", "a command goes to exactly one handler: use `send`"]),
    ("emit_command", &["`PlaceOrder` cannot be published, because it is not an event", "a command goes to exactly one handler: use `send`"]),
];

#[test]
fn each_mistake_is_told_in_our_words() -> Result<(), Box<dyn Error>> {
    for (name, lines) in TEXTS {
        let stderr = fs::read_to_string(Path::new("tests/ui").join(name).with_extension("stderr"))?;
        for line in *lines {
            assert!(stderr.contains(line), "`{line}` is not in what {name} is told:\n{stderr}");
        }
    }
    Ok(())
}
