//! How an application is put together, and everything that `build()` says about one that is put together wrongly.

use std::sync::{Arc, atomic::AtomicU32};

use catga::{
    Command, Context, Error, ErrorKind, Event, Failure, FromContext, Mediator, Missing, Query, State, States, handler,
};
use serde::{Deserialize, Serialize};

#[derive(Command, Clone, Serialize, Deserialize)]
#[catga(name = "wiring.Place")]
struct Place {}

#[derive(Clone)]
struct Db;

#[handler]
async fn place_first(_: Place, _: State<Db>) {}

#[handler]
async fn share(_: Told, _: State<Arc<Db>>) {}

#[handler]
async fn place_second(_: Place) {}

#[handler(name = "wiring.same")]
async fn same_name_first(_: Told) {}

#[handler(name = "wiring.same")]
async fn same_name_second(_: Told) {}

#[derive(Event, Clone, Serialize, Deserialize)]
#[reliable]
#[catga(name = "wiring.Told")]
struct Told {}

#[derive(Event, Clone, Serialize, Deserialize)]
#[catga(name = "wiring.Told")]
struct AlsoTold {}

#[handler]
async fn hear_also(_: AlsoTold) {}

#[derive(Event, Clone, Serialize, Deserialize)]
struct Whispered {}

#[handler(group = "ears")]
async fn hear_whisper(_: Whispered) {}

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(u32)]
struct Sum {
    add: u32,
}

#[derive(Default)]
struct Calculator {
    base: u32,
    calls: AtomicU32,
}

#[handler]
impl Calculator {
    async fn sum(&self, query: Sum) -> u32 {
        self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.base + query.add
    }
}

#[derive(Query, Clone, Serialize, Deserialize)]
#[response(String)]
struct WhoAmI {}

struct Tenant(String);

impl FromContext for Tenant {
    type Parts = Arc<Db>;

    fn resolve(states: &States) -> Result<Arc<Db>, Missing> {
        states.get()
    }

    fn from_context(_: &Arc<Db>, context: &Context) -> Result<Self, Failure> {
        let tenant = context.headers().get("tenant");
        tenant.map(|tenant| Self(tenant.to_owned())).ok_or_else(|| Failure::new("no_tenant", "say who you are"))
    }
}

#[handler]
async fn who_am_i(_: WhoAmI, Tenant(tenant): Tenant) -> String {
    tenant
}

async fn not_a_handler(_: Place) {}

fn builder() -> catga::Builder {
    Mediator::builder().discover(false)
}

async fn mistake(builder: catga::Builder) -> String {
    let error: Error = builder.build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    error.to_string()
}

#[tokio::test]
async fn every_mistake_is_reported_at_once_with_the_place_of_each_party() {
    let text = mistake(
        builder()
            .handler(place_first)
            .handler(place_second)
            .handler(same_name_first)
            .handler(same_name_second)
            .handler(hear_whisper)
            .handler(not_a_handler)
            .node("no spaces")
            .without(["catga-tests.place_frist"]),
    )
    .await;
    for part in [
        "the application cannot start, ",
        "two handlers are named `wiring.same`",
        "`without` names `catga-tests.place_frist`, but there is no such handler",
        "`scenarios::wiring::not_a_handler` is not a handler",
        "`no spaces` is not a name for the node",
    ] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
}

#[tokio::test]
async fn two_handlers_of_a_command_and_a_missing_state_are_named_with_their_places() {
    let text = mistake(builder().handler(place_first).handler(place_second)).await;
    let line = |function: &str| {
        let source = include_str!("wiring.rs");
        let before = source.find(&format!("async fn {function}")).unwrap();
        // The place is that of the attribute or of the function, whichever the macro sees.
        source[..before].lines().count()
    };
    assert!(text.contains("two handlers for command `wiring.Place`"), "{text}");
    assert!(text.contains("no `scenarios::wiring::Db` for `State<scenarios::wiring::Db>`"), "{text}");
    assert!(text.contains("give the builder one: `.state(db)`"), "{text}");
    for function in ["place_first", "place_second"] {
        let places = [line(function), line(function) + 1].map(|line| format!("wiring.rs:{line}"));
        assert!(text.contains(&format!("catga-tests.{function}")), "{text}");
        assert!(places.iter().any(|place| text.contains(place)), "{places:?} in {text}");
    }
}

#[tokio::test]
async fn one_name_for_two_types_and_a_group_without_reliability_are_refused() {
    let text = mistake(builder().handler(same_name_first).handler(hear_also).handler(hear_whisper)).await;
    assert!(text.contains("two message types are named `wiring.Told`"), "{text}");
    assert!(text.contains("scenarios::wiring::AlsoTold"), "{text}");
    assert!(text.contains("group `ears` on a handler of event"), "{text}");
}

#[tokio::test]
async fn handlers_in_an_impl_block_share_their_state() {
    let calculator = Calculator { base: 40, ..Calculator::default() };
    let mediator = builder().state(calculator).handler(Calculator::sum).build().await.unwrap();
    assert_eq!(mediator.send(Sum { add: 2 }).await.unwrap(), 42);
    let text = mistake(builder().handler(Calculator::sum)).await;
    assert!(text.contains("no `scenarios::wiring::Calculator` for `&self`"), "{text}");
    mediator.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_state_that_differs_from_what_is_wanted_by_an_arc_is_spoken_of() {
    let text = mistake(builder().state(Arc::new(Calculator::default())).handler(Calculator::sum)).await;
    let wanted = "state `Arc<scenarios::wiring::Calculator>` was given, `scenarios::wiring::Calculator` is wanted: \
                  pass the value itself";
    assert!(text.contains("no `scenarios::wiring::Calculator` for `&self`") && text.contains(wanted), "{text}");

    let text = mistake(builder().state(Arc::new(Db)).handler(place_first)).await;
    let wanted =
        "`scenarios::wiring::Db` is wanted: pass the value itself, or take `State<Arc<scenarios::wiring::Db>>`";
    assert!(text.contains(wanted), "{text}");

    assert!(mistake(builder().handler(share)).await.contains("give the builder one: `.state(..)`"));
    let text = mistake(builder().state(Db).handler(share)).await;
    let wanted = "state `scenarios::wiring::Db` was given, `Arc<scenarios::wiring::Db>` is wanted: \
                  wrap it in `Arc::new(..)`";
    assert!(text.contains(wanted), "{text}");
}

#[tokio::test]
async fn an_extractor_of_the_application_reads_headers_and_may_refuse() {
    let mediator = builder().state(Db).handler(who_am_i).build().await.unwrap();
    let mut options = catga::SendOptions::default();
    options.headers.insert("tenant", "acme").unwrap();
    assert_eq!(mediator.send_with(WhoAmI {}, options).await.unwrap(), "acme");
    assert_eq!(mediator.send(WhoAmI {}).await.unwrap_err().failure().unwrap().code(), "no_tenant");
    assert!(mistake(builder().handler(who_am_i)).await.contains("no `scenarios::wiring::Db`"));
    let text = mistake(builder().state(Db).state(Db).handler(who_am_i)).await;
    assert!(text.contains("more than one `scenarios::wiring::Db` was given to `.state(..)`"), "{text}");
    mediator.shutdown().await.unwrap();
}

#[tokio::test]
async fn only_and_without_choose_handlers() {
    let all = || builder().state(Db).handler(place_first).handler(place_second).handler(who_am_i);
    let mediator = all().without(["catga-tests.place_first"]).build().await.unwrap();
    mediator.send(Place {}).await.unwrap();
    mediator.shutdown().await.unwrap();
    let mediator = all().only(["catga-tests.place_first"]).build().await.unwrap();
    mediator.send(Place {}).await.unwrap();
    let error = mediator.send(WhoAmI {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoHandler);
    mediator.shutdown().await.unwrap();
}

#[test]
fn a_header_that_cannot_travel_is_refused() {
    let mut headers = catga::Headers::new();
    for (name, value) in [("", "x"), ("a b", "x"), ("a", "x\ry"), ("a", "x\0"), ("ä", "x")] {
        assert_eq!(headers.insert(name, value).unwrap_err().kind(), ErrorKind::Configuration, "{name:?} {value:?}");
    }
    headers.insert("a", "x".repeat(9_000)).unwrap_err();
}

#[tokio::test]
async fn limits_that_nothing_could_work_with_are_refused() {
    let zero = std::time::Duration::ZERO;
    let limits = catga::Limits { heartbeat: zero, crash_limit: 0, ..catga::Limits::default() };
    let text = mistake(builder().limits(limits)).await;
    assert!(
        text.contains("the limit `heartbeat` is zero") && text.contains("the limit `crash_limit` is zero"),
        "{text}"
    );
    let limits = catga::Limits { handler_timeout: std::time::Duration::MAX, ..catga::Limits::default() };
    assert!(mistake(builder().limits(limits)).await.contains("is longer than a year"));
    let max = usize::MAX;
    let limits = catga::Limits { queue: max, concurrency: max, in_flight: max, ..catga::Limits::default() };
    let text = mistake(builder().handler(hear_also).limits(limits)).await;
    for limit in ["queue", "concurrency", "in_flight"] {
        assert!(text.contains(&format!("the limit `{limit}` is more than 16,777,216")), "{text}");
    }
}
