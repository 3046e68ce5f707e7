//! What handlers share, outside of every node: they do what a message says, and write down what they did.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use catga::{Context, Failure};

use crate::{
    history::{Number, Run, Trace, What},
    journal::Journal,
    messages::{Echo, HEADER, Plan, echo_number, text_of},
};

/// What handlers share, outside of every node.
#[derive(Clone)]
pub struct World {
    pub journal: Journal,
    /// What failed so far succeeds from now on.
    pub mended: Arc<AtomicBool>,
}

impl World {
    /// Does what the plan says and writes down each step.
    pub async fn run(
        &self,
        ctx: &Context,
        number: Number,
        text: String,
        plan: &Plan,
        emitted_by: Option<(Number, u32)>,
    ) -> Result<(), Failure> {
        let attempt = ctx.attempt();
        let run = Run { emitted_by, emits: plan.emits, ..self.run_of(ctx, number, text) };
        self.journal.record(ctx.node(), What::Started(run.clone()));
        if plan.emits {
            let number = echo_number(ctx.handler(), ctx.node(), number, attempt);
            ctx.emit(Echo { number, text: text_of(number), of: run.number, attempt });
        }
        work(plan.before_ms).await;
        if plan.hangs {
            std::future::pending::<()>().await;
        }
        if attempt <= plan.fails && !self.mended.load(Ordering::SeqCst) {
            self.journal.record(ctx.node(), What::Failed { run, permanent: plan.permanent });
            if plan.panics {
                // As a panic, but without its report on the screen.
                std::panic::resume_unwind(Box::new("by plan"));
            }
            let failure = Failure::new("planned", "by plan");
            return Err(if plan.permanent { failure.permanent() } else { failure });
        }
        self.effect(ctx, run);
        work(plan.after_ms).await;
        Ok(())
    }
}

impl World {
    fn run_of(&self, ctx: &Context, number: Number, text: String) -> Run {
        Run {
            handler: ctx.handler().to_owned(),
            number,
            attempt: ctx.attempt(),
            id: ctx.id(),
            correlation: ctx.correlation(),
            causation: ctx.causation(),
            text,
            header: ctx.headers().get(HEADER).unwrap_or_default().to_owned(),
            trace: Trace::of(ctx.headers()),
            note: None,
            emitted_by: None,
            emits: false,
        }
    }

    /// Writes down that a run begins.
    pub fn begin(&self, ctx: &Context, number: Number, text: String) -> Run {
        let run = self.run_of(ctx, number, text);
        self.journal.record(ctx.node(), What::Started(run.clone()));
        run
    }

    /// Writes down that a run took effect.
    pub fn effect(&self, ctx: &Context, run: Run) {
        self.journal.record(ctx.node(), What::Effect(run));
    }
}

async fn work(millis: u64) {
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}
