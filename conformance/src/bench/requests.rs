//! Requests as load.

use std::time::Duration;

use catga::{Error, Request, SendOptions};

use super::Bench;
use crate::{
    history::{Number, What},
    messages::{Order, Plan, Question, trace_of},
};

impl Bench {
    /// Sends a command.
    pub async fn order(&self, node: &str, number: Number, plan: Plan, options: SendOptions) -> Result<Number, Error> {
        self.ask(node, number, Order { number, plan }, true, options).await
    }

    /// Sends a query.
    pub async fn question(&self, node: &str, number: Number, plan: Plan) -> Result<Number, Error> {
        self.ask(node, number, Question { number, plan }, false, SendOptions::default()).await
    }

    async fn ask<R: Request<Response = Number>>(
        &self,
        node: &str,
        number: Number,
        request: R,
        command: bool,
        mut options: SendOptions,
    ) -> Result<Number, Error> {
        let deadline = *options.timeout.get_or_insert(Duration::from_secs(5));
        trace_of(number).into(&mut options.headers);
        self.journal.record(node, What::Asked { number, deadline, command });
        let reply = self.node(node).send_with(request, options).await;
        let result = reply.as_ref().copied().map_err(|error| (error.kind(), error.outcome()));
        self.journal.record(node, What::Answered { number, result });
        reply
    }
}
