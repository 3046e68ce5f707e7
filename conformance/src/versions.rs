//! One message type in two versions: the newer one has a further field, which the older one does not know. The two are
//! handled on different nodes.

use catga::{Context, Event, State, handler};
use serde::{Deserialize, Serialize};

use crate::{
    bench::Bench,
    history::{HandlerSpec, Number},
    messages::{NOTE, Plan, Role, text_of},
    world::World,
};

/// The version that came first.
mod old {
    use super::*;

    #[derive(Event, Clone, Serialize, Deserialize)]
    #[reliable]
    #[catga(name = "conformance.parcel")]
    pub struct Parcel {
        pub number: Number,
        pub text: String,
    }
}

/// The version that came later.
mod new {
    use super::*;

    #[derive(Event, Clone, Serialize, Deserialize)]
    #[reliable]
    #[catga(name = "conformance.parcel")]
    pub struct Parcel {
        pub number: Number,
        pub text: String,
        #[serde(default)]
        pub note: Option<String>,
    }
}

/// The name on the wire of both versions.
pub const PARCEL: &str = "conformance.parcel";
/// The name of the handler that reads the newer version.
pub const READS_NOTES: &str = "conformance.read_new";

pub const READ_OLD: Role = Role {
    spec: HandlerSpec { name: "conformance.read_old", message: PARCEL, ..NOTE.spec },
    add: |builder| builder.handler(read_old),
};

pub const READ_NEW: Role = Role {
    spec: HandlerSpec { name: READS_NOTES, message: PARCEL, ..NOTE.spec },
    add: |builder| builder.handler(read_new),
};

#[handler(name = "conformance.read_old")]
async fn read_old(parcel: old::Parcel, State(world): State<World>, ctx: Context) {
    let run = world.begin(&ctx, parcel.number, parcel.text);
    world.effect(&ctx, run);
}

#[handler(name = "conformance.read_new")]
async fn read_new(parcel: new::Parcel, State(world): State<World>, ctx: Context) {
    let mut run = world.begin(&ctx, parcel.number, parcel.text);
    run.note = parcel.note;
    world.effect(&ctx, run);
}

impl Bench {
    /// Publishes the version that came first.
    pub async fn send_old(&self, node: &str, number: Number) {
        let parcel = old::Parcel { number, text: text_of(number) };
        self.publish_event(node, number, true, None, parcel).await.unwrap();
    }

    /// Publishes the version that came later.
    pub async fn send_new(&self, node: &str, number: Number) {
        let note = Some(format!("note {number}"));
        let parcel = new::Parcel { number, text: text_of(number), note: note.clone() };
        self.publish_event(node, number, true, note, parcel).await.unwrap();
    }
}

/// A type that stands for a fact in another program, whose payload nobody can read.
mod foreign {
    use super::*;

    #[derive(Event, Clone, Serialize, Deserialize)]
    #[reliable]
    #[catga(name = "conformance.fact")]
    pub struct Fact {
        pub number: Number,
        pub text: Vec<u8>,
        pub plan: Plan,
    }
}

impl Bench {
    /// Publishes a fact that its handlers cannot read.
    pub async fn publish_poison(&self, node: &str, number: Number) {
        let fact = foreign::Fact { number, text: text_of(number).into_bytes(), plan: Plan::default() };
        self.publish_event(node, number, false, None, fact).await.unwrap();
    }
}
