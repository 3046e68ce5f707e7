const _: () = {
    use ::catga::__private as __catga;
    #[automatically_derived]
    impl ::catga::Message for PlaceOrder {
        const NAME: &'static ::core::primitive::str = ::core::concat!(
            ::core::env!("CARGO_PKG_NAME"), ".", "PlaceOrder"
        );
        const KIND: __catga::Kind = __catga::Kind::Command;
        const QOS: __catga::Qos = __catga::Qos::AtMostOnce;
        type Reply = OrderId;
        type Mark = __catga::AsCommand;
        fn slot() -> &'static __catga::Slot {
            static SLOT: __catga::Slot = __catga::Slot::new();
            &SLOT
        }
    }
    const __REGISTRATION: __catga::MessageRegistration = __catga::MessageRegistration {
        message: __catga::MessageInfo::of::<PlaceOrder>(),
        place: __catga::Place::here(),
    };
    __catga::inventory::submit! {
        __REGISTRATION
    }
};
