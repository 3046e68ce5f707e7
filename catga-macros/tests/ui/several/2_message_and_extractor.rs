//! Neither parameter can be one: two mistakes.
struct Plain;
struct Db;

#[catga::handler]
async fn place_order(_: Plain, _: Db) -> Result<String, Db> {
    Err(Db)
}

fn main() {}
