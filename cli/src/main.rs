//! `catga`: what operators use. It looks at an application from outside and is no node of it.

mod arguments;
mod text;

mod dead;
mod output;
mod tap;

use std::process::ExitCode;

use catga::transport::Nats;
use tracing_subscriber::EnvFilter;

use self::{
    arguments::{Command, Work},
    output::{Output, Stop},
};

fn main() -> ExitCode {
    let mut output = Output::new();
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(mistake) => {
            eprintln!("catga: {mistake}\n\n{}", arguments::HELP);
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Help => output.lines(arguments::HELP),
        Command::Work { app, work } => run(&app, work, &mut output),
    };
    match done {
        // Whoever read the output has read enough.
        Ok(()) | Err(Stop::Closed) => ExitCode::SUCCESS,
        Err(Stop::Failed(why)) => {
            eprintln!("catga: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(app: &str, work: Work, output: &mut Output) -> Result<(), Stop> {
    // What the library warns of, such as a dead letter that it leaves out, belongs beside the output.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("catga=warn"))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
    // A thread of its own goes on to receive while the output is slow.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Stop::Failed(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let nats = Nats::from_env().await?;
        match work {
            Work::Dead(task) => dead::run(&nats, app, task, output).await,
            Work::Tap(options) => tap::run(&nats, app, options, output).await,
        }
    })
}
