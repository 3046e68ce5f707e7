//! The transports of catga are held to their own contract.

mod in_process {
    use crate::InProcessSubject;

    crate::conformance_tests!(Virtual, InProcessSubject::new());
}

mod nats {
    use crate::bench::nats::NatsSubject;

    crate::conformance_tests!(Real, NatsSubject::start().await);
}
