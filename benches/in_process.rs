//! What a call costs in one process, beside a bare call and a boxed one in the same run: `cargo bench -p catga-bench`.
//!
//! The handlers do nothing and are ready at once. Each row is one call, with its allocations. `no layers` is a mediator
//! with `default_layers(false)`, `default stack` one as `builder()` makes it: with a deadline, a limit of concurrency and a
//! time-out.

use catga_bench::{Add, Added, Bench, add, ready};
use divan::{AllocProfiler, Bencher, black_box};
use futures_util::future::BoxFuture;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// One command, one handler.
#[divan::bench_group(sample_count = 1000, sample_size = 1000)]
mod send {
    use super::*;

    fn command() -> Add {
        black_box(Add { a: 1, b: 2 })
    }

    /// The handler as a function: what cannot be beaten.
    #[divan::bench]
    fn bare_call(bencher: Bencher) {
        bencher.bench_local(|| ready(black_box(add(command()))));
    }

    /// The handler behind a pointer, as any dynamic dispatch has it.
    #[divan::bench]
    fn boxed_call(bencher: Bencher) {
        type Boxed = Box<dyn Fn(Add) -> BoxFuture<'static, u64>>;
        let boxed: Boxed = black_box(Box::new(|command| Box::pin(add(command))));
        bencher.bench_local(|| ready(boxed(command())));
    }

    #[divan::bench(name = "send, no layers")]
    fn no_layers(bencher: Bencher) {
        let bench = Bench::new(|builder| builder.default_layers(false));
        bench.enter(|mediator| bencher.bench_local(|| ready(mediator.send(command()))));
    }

    #[divan::bench(name = "send, default stack")]
    fn default_stack(bencher: Bencher) {
        let bench = Bench::new(|builder| builder);
        bench.enter(|mediator| bencher.bench_local(|| ready(mediator.send(command()))));
    }
}

/// One event of QoS 0, three handlers on the same node.
#[divan::bench_group(sample_count = 1000, sample_size = 1000)]
mod publish {
    use super::*;

    fn event() -> Added {
        black_box(Added { sum: 3 })
    }

    #[divan::bench]
    fn three_boxed_calls(bencher: Bencher) {
        type Boxed = Box<dyn Fn(Added) -> BoxFuture<'static, ()>>;
        let boxed: [Boxed; 3] = black_box([
            Box::new(|event| Box::pin(catga_bench::first(event))),
            Box::new(|event| Box::pin(catga_bench::second(event))),
            Box::new(|event| Box::pin(catga_bench::third(event))),
        ]);
        bencher.bench_local(|| {
            let event = event();
            boxed.iter().for_each(|handler| ready(handler(event.clone())));
        });
    }

    #[divan::bench(name = "publish to three, no layers")]
    fn no_layers(bencher: Bencher) {
        let bench = Bench::new(|builder| builder.default_layers(false));
        bench.enter(|mediator| bencher.bench_local(|| ready(mediator.publish(event()))));
    }

    #[divan::bench(name = "publish to three, default stack")]
    fn default_stack(bencher: Bencher) {
        let bench = Bench::new(|builder| builder);
        bench.enter(|mediator| bencher.bench_local(|| ready(mediator.publish(event()))));
    }
}
