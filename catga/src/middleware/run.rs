//! One run of a handler under the default stack: panic isolation, time-out, and what it emitted.
//!
//! Hot: a run is polled once where it is made. Only one that is not ready then gets a timer and, if need be, a task.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    codec,
    context::{Context, MAX_EMITTED, Run},
    error::{ErrorKind, Failure, Retry},
    handler::{Running, failed, poll_isolated},
    id::MessageId,
    middleware::{
        meter::{Meter, Timing},
        retry::RetryPolicy,
    },
};

/// Why a run gave no reply.
#[derive(Clone, Debug)]
pub(crate) struct RunError {
    pub(crate) failure: Failure,
    pub(crate) cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The handler, or a layer around it, answered so.
    Answered,
    Panicked,
    /// The run was cut off at its time-out; what it did by then is not known.
    TimedOut,
    /// The handler succeeded, but what it emitted could not leave.
    NotEmitted,
}

impl RunError {
    pub(crate) fn answered(failure: Failure) -> Self {
        let cause = if failure.code() == "panic" { Cause::Panicked } else { Cause::Answered };
        Self { failure, cause }
    }

    fn timed_out(limit: Duration) -> Self {
        let failure = Failure::new("timeout", format!("the handler ran longer than its time-out of {limit:?}"));
        Self { failure, cause: Cause::TimedOut }
    }

    /// Whether an event's handler runs again after this.
    pub(crate) fn repeats_event(&self) -> bool {
        self.failure.retry() != Retry::Permanent
    }

    /// Whether a request's handler runs again after this, if it has attempts left.
    pub(crate) fn repeats_request(&self) -> bool {
        self.failure.retry() == Retry::Transient || self.cause == Cause::NotEmitted
    }
}

/// A run that has been started and perhaps polled.
pub(crate) struct Started<R> {
    running: Running<R>,
    context: Option<Context>,
    /// The reply of a run that still has to let go of what it emitted.
    reply: Option<R>,
    /// Of the run; none unless somebody listens at level `debug`.
    span: tracing::Span,
    /// Until the run has ended.
    timing: Option<Timing>,
}

/// Starts a run; a panic while its parameters are extracted is a failure of the run.
pub(crate) fn start<R: Send + 'static>(
    mut run: Run<'_>,
    meter: &Meter,
    make: impl FnOnce(&mut Run<'_>) -> Running<R>,
) -> Started<R> {
    let timing = Some(meter.begin());
    let span = tracing::debug_span!(target: "catga", "handler", name = %run.handler, attempt = run.attempt);
    let running = std::panic::catch_unwind(AssertUnwindSafe(|| make(&mut run)))
        .unwrap_or_else(|payload| failed(Failure::panicked(&*payload)));
    Started { running, context: run.context, reply: None, span, timing }
}

impl<R: Send + 'static> Started<R> {
    /// Polls the run once in place; pending runs go on with [`finish`](Self::finish).
    pub(crate) fn poll_first(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<R, RunError>> {
        let _entered = self.span.enter();
        let Poll::Ready(result) = poll_isolated(&mut self.running, cx) else { return Poll::Pending };
        let emitted = self.context.as_ref().is_some_and(Context::end);
        let result = match result {
            Err(failure) => Err(RunError::answered(failure)),
            Ok(reply) if emitted => {
                self.reply = Some(reply);
                return Poll::Pending;
            }
            Ok(reply) => Ok(reply),
        };
        if let Some(timing) = self.timing.take() {
            timing.end(&result);
        }
        Poll::Ready(result)
    }

    /// [`poll_first`](Self::poll_first) for a run that goes on in a task of its own, which polls it again: nobody is to be
    /// woken before.
    pub(crate) fn first(&mut self) -> Poll<Result<R, RunError>> {
        self.poll_first(&mut TaskContext::from_waker(Waker::noop()))
    }

    /// Runs to the end, at most for `limit`, and lets go of what the handler emitted, and of everything that the run held. It
    /// is borrowed: each future that it is moved into would keep a place for it.
    pub(crate) async fn finish(&mut self, limit: Duration) -> Result<R, RunError> {
        let result = self.go_on(limit).await;
        if let Some(timing) = self.timing.take() {
            timing.end(&result);
        }
        *self =
            Self { running: Running::over(), context: None, reply: None, span: tracing::Span::none(), timing: None };
        result
    }

    async fn go_on(&mut self, limit: Duration) -> Result<R, RunError> {
        let reply = match self.reply.take() {
            Some(reply) => reply,
            None => {
                let running = std::future::poll_fn(|cx| {
                    let _entered = self.span.enter();
                    poll_isolated(&mut self.running, cx)
                });
                let result = tokio::time::timeout(limit, running).await;
                if let Some(context) = &self.context {
                    context.end();
                }
                match result {
                    Ok(result) => result.map_err(RunError::answered)?,
                    Err(_) => return Err(RunError::timed_out(limit)),
                }
            }
        };
        // The handler's future may hold a context; it is gone before what it emitted leaves.
        self.running = Running::over();
        if let Some(context) = self.context.take().filter(Context::end) {
            let left = Box::pin(leave(context)).await;
            left.map_err(|failure| RunError { failure, cause: Cause::NotEmitted })?;
        }
        Ok(reply)
    }
}

/// Lets go of what a handler emitted, in order. A second run of the handler gives equal content equal ids; the same
/// handler on another node gives it another one, unless one node handles for all.
async fn leave(context: Context) -> Result<(), Failure> {
    let Some(emitted) = context.take_emitted() else {
        let text = format!("the handler emitted more than {MAX_EMITTED} messages");
        return Err(Failure::new("emitted_too_many", text).permanent());
    };
    let parent = context.id().as_u128().to_le_bytes();
    let mut occurrences: HashMap<u128, u32> = HashMap::new();
    // All are encoded before the first leaves: what cannot travel keeps the others back.
    let mut ready = Vec::with_capacity(emitted.len());
    for emission in emitted {
        let name = emission.event.name();
        let payload = codec::encode_isolated(&*emission.event)
            .map_err(|error| Failure::new("emit", error.to_string()).permanent())?;
        let content = crate::id::fingerprint(&[name.as_bytes(), &payload]);
        let nth = occurrences.entry(content).or_default();
        *nth += 1;
        let (seat, handler) = (context.seat().as_bytes(), context.handler().as_bytes());
        let id = MessageId::derived(&[&parent, seat, handler, name.as_bytes(), &payload, &nth.to_le_bytes()]);
        ready.push((emission, id, payload));
    }
    for (emission, id, payload) in ready {
        let name = emission.event.name();
        (emission.leave)(emission.event, context.clone(), id, payload).await.map_err(|error| {
            let failure = Failure::new("emit", format!("`{name}` could not leave: {error}"));
            if error.kind() == ErrorKind::TooLarge { failure.permanent() } else { failure.transient() }
        })?;
    }
    Ok(())
}

/// Finishes a run and repeats it by the policy, in place: for requests, and for events that nothing stores. Says how many
/// runs there were. What is given is a run, or how it ended; it is borrowed, as by [`Started::finish`].
pub(crate) async fn finish_with_retries<R: Send + 'static>(
    run: &mut Result<Started<R>, RunError>,
    policy: &RetryPolicy,
    limit: Duration,
    deadline: Option<Instant>,
    repeats: fn(&RunError) -> bool,
    again: impl Fn(u32) -> Started<R>,
) -> (Result<R, RunError>, u32) {
    let mut attempt = 1;
    loop {
        let result = match run {
            Ok(started) => started.finish(limit).await,
            Err(error) => Err(error.clone()),
        };
        let Err(error) = &result else { return (result, attempt) };
        if attempt >= policy.attempts || !repeats(error) {
            return (result, attempt);
        }
        let at = Instant::now() + policy.jittered(attempt);
        // Nobody would wait for what starts then.
        if deadline.is_some_and(|deadline| at >= deadline) {
            return (result, attempt);
        }
        tokio::time::sleep_until(at).await;
        attempt += 1;
        *run = Ok(again(attempt));
    }
}
