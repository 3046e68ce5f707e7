//! How messages get from senders to handlers.
//!
//! [`lane`] carries events out and [`reliable`] those that are stored; [`events`] takes those of QoS 0 in, [`durable`] the
//! reliable ones. [`call`] finds a node for a request, [`attempt`] asks it and [`requests`] brings it there; [`server`] runs it and remembers
//! what came of it. What tasks are handed is bounded by [`places`]; [`waiting`](crate::waiting) is who waits for them.

pub(crate) mod limits;

pub(crate) mod counters;
pub(crate) mod observe;
pub(crate) mod tasks;

pub(crate) mod node;
pub(crate) mod table;

pub(crate) mod asks;
mod attempt;
pub(crate) mod call;
pub(crate) mod durable;
pub(crate) mod events;
mod gather;
pub(crate) mod lane;
mod places;
pub(crate) mod recent;
pub(crate) mod reliable;
pub(crate) mod request_run;
pub(crate) mod requests;
mod round;
mod runs;
pub(crate) mod server;
pub(crate) mod shutdown;
pub(crate) mod storing;
mod suspects;
mod unfinished;
mod work;
