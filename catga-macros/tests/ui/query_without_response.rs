//! A query does not say what it returns.
#[derive(catga::Query, Clone, serde::Serialize, serde::Deserialize)]
struct GetOrder;

fn main() {}
