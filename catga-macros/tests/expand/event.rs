const _: () = {
    use crate::vendor::catga::__private as __catga;
    #[automatically_derived]
    impl crate::vendor::catga::Message for OrderPlaced {
        const NAME: &'static ::core::primitive::str = "orders.v2.Placed";
        const KIND: __catga::Kind = __catga::Kind::Event;
        const QOS: __catga::Qos = __catga::Qos::AtLeastOnce;
        const FRAME: ::core::primitive::usize = 1usize;
        type Reply = ();
        type Mark = __catga::AsEvent;
        fn slot() -> &'static __catga::Slot {
            static SLOT: __catga::Slot = __catga::Slot::new();
            &SLOT
        }
    }
    const __REGISTRATION: __catga::MessageRegistration = __catga::MessageRegistration {
        message: __catga::MessageInfo::of::<OrderPlaced>(),
        place: __catga::Place::here(),
    };
    __catga::inventory::submit! {
        __REGISTRATION
    }
};
