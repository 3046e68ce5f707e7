//! A query that does not say what it returns has a handler.
#[derive(catga::Query, Clone, serde::Serialize, serde::Deserialize)]
struct GetOrder;

#[catga::handler]
async fn get_order(_: GetOrder) -> String {
    String::new()
}

fn main() {}
