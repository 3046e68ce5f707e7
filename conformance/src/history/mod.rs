//! What happened, in order: what the checks judge.
//!
//! Every message of the suite carries a number of its own. A history is plain data, so that a check can be shown a
//! history that no transport should give.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use catga::{
    ErrorKind, MessageId, Outcome,
    transport::{Capabilities, Settlement},
};

mod queries;

/// The number of a message, unique in its history.
pub type Number = u64;

/// What happened, when and where.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Duration,
    pub node: Arc<str>,
    pub what: What,
}

/// How a message is handled on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerSpec {
    pub name: &'static str,
    /// The name of the message type.
    pub message: &'static str,
    pub group: Option<&'static str>,
    pub attempts: u32,
    /// The delay before the second run.
    pub backoff: Duration,
}

/// The headers by which a trace goes on, as W3C Trace Context names them; empty where they are missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    pub parent: String,
    pub state: String,
}

/// One run of a handler.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub handler: String,
    pub number: Number,
    pub attempt: u32,
    pub id: MessageId,
    pub correlation: MessageId,
    pub causation: Option<MessageId>,
    /// The text of the message, and that of its header.
    pub text: String,
    pub header: String,
    pub trace: Trace,
    /// Only a newer version of a message type has it.
    pub note: Option<String>,
    /// For what a handler emitted: its message and the number of its run.
    pub emitted_by: Option<(Number, u32)>,
    /// Whether the run emits an echo if it succeeds.
    pub emits: bool,
}

/// A message on its way, as the transport sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    pub id: MessageId,
    pub message: String,
    /// None if the payload is no message of the suite.
    pub number: Option<Number>,
    /// Of a retry: the handler that remains, and the number of its next run.
    pub retry: Option<(String, u32)>,
    pub replays: u32,
    pub correlation: MessageId,
    pub trace: Trace,
}

/// A dead letter as it is handed to the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    pub id: MessageId,
    pub durable: String,
    pub handler: Option<String>,
    pub attempts: u32,
    pub code: String,
    pub node: String,
    /// None if it holds bytes that are no message.
    pub message: Option<Parcel>,
    pub text: String,
    pub header: String,
}

/// A fault that the suite puts in force, or ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    Cut,
    Heal,
    /// The connections of a node end, and may be made again at once.
    Disconnect,
    /// Nothing gets through to a node or from it, and no side is told; what was sent meanwhile arrives when it is healed.
    Silence,
    /// Of the store, for which every node is cut off for a moment.
    Restart,
    LoseAcknowledgements(usize),
    LoseConfirmations(usize),
    LoseDeliveries(usize),
    LoseReplies(usize),
    DoubleDeliveries(usize),
    DoubleRequests(usize),
    DelayReplies(usize, Duration),
}

#[derive(Clone, Debug)]
pub enum What {
    /// What the transport says that it can do, and how exact time is.
    Began(Capabilities, Pace),
    /// The node receives from now on.
    Joined {
        handlers: Vec<HandlerSpec>,
        limits: Bounds,
    },
    /// It shut down; what was not started has gone back.
    Shutdown {
        took: Duration,
        for_good: bool,
        failed: Option<ErrorKind>,
    },
    Killed,
    Fault(Fault),

    /// A caller publishes a message of this name, and how that ended.
    Publishing {
        number: Number,
        message: &'static str,
        reliable: bool,
        /// Nothing in it slows its handlers down or makes them fail.
        healthy: bool,
        note: Option<String>,
    },
    Published {
        number: Number,
        outcome: Result<(), Outcome>,
    },
    /// A caller sends a request, and the end of it: the number in the reply.
    Asked {
        number: Number,
        deadline: Duration,
        command: bool,
    },
    Answered {
        number: Number,
        result: Result<Number, (ErrorKind, Outcome)>,
    },

    /// Handed to the store, for every durable or for one.
    Stored {
        parcel: Parcel,
    },
    StoredFor {
        durable: String,
        parcel: Parcel,
    },
    Buried(Letter),
    Replayed {
        letter: MessageId,
    },
    /// Nothing is under way any more, or so long that it never ends.
    AtRest,
    /// The dead letters that a node was shown.
    Listed(Vec<Letter>),
    Delivered {
        durable: String,
        shared: bool,
        sequence: u64,
        deliveries: u32,
        parcels: Vec<Parcel>,
    },
    /// A delivery reached the node: the same as the last, unless something stands between the node and its transport.
    Received {
        durable: String,
        sequence: u64,
        messages: usize,
        parcels: Vec<Parcel>,
    },
    Settled {
        durable: String,
        sequence: u64,
        settlement: Settlement,
    },
    Started(Run),
    /// What a handler is for: it stays when its node is killed.
    Effect(Run),
    Failed {
        run: Run,
        permanent: bool,
    },

    /// What the node knows of the cluster.
    View {
        online: BTreeSet<String>,
    },
    /// What the node has counted by the end.
    Counted {
        late_replies: u64,
        dropped: u64,
    },
}

/// What bounds a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Messages that are delivered to a durable and not settled, those included that may be under way.
    pub in_flight: usize,
    /// Runs of one handler at the same time.
    pub concurrency: usize,
    pub queue: usize,
    pub shutdown: Duration,
    pub heartbeat: Duration,
    pub silence: Duration,
    pub ack_wait: Duration,
}

/// How exact time is: nothing is late on a virtual clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// How late something may happen, because others have the processor.
    pub late: Duration,
    /// How long a node may take to be connected again when nothing stands in its way any more.
    pub reconnects: Duration,
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub struct History(pub Vec<Entry>);

/// A property that a history does not have.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation(pub String);

/// Says what is wrong.
macro_rules! violated {
    ($($text:tt)*) => { return Err($crate::history::Violation(format!($($text)*))) };
}
pub(crate) use violated;
