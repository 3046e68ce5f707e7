//! A response is a reference.
#[derive(catga::Query, Clone, serde::Serialize, serde::Deserialize)]
#[response(&'static str)]
struct Greeting;

#[catga::handler]
async fn greeting(_: Greeting) -> &'static str {
    "hello"
}

fn main() {}
