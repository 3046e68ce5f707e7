async fn changed(_: Changed) {}
#[allow(dead_code, non_camel_case_types)]
struct __catga_changed(
    [(); {
        const _: () = {
            use ::catga::__private as __catga;
            const __REGISTRATION: __catga::HandlerRegistration = __catga::HandlerRegistration {
                name: ::core::concat!(::core::env!("CARGO_PKG_NAME"), ".", "changed"),
                place: __catga::Place::here(),
                options: __catga::HandlerOptions::DEFAULT,
                message: __catga::message::<Changed>(),
                identity: || __catga::identity_of(&changed),
                bind: |__states| {
                    let __binder = __catga::Binder::new(
                        __states,
                        |__message, (): ()| changed(__message),
                    );
                    __binder.reply().bind()
                },
            };
            __catga::inventory::submit! {
                __REGISTRATION
            }
        };
        0
    }],
);
::core::compile_error! {
    "unknown key `naem`\nhelp: did you mean `name`? the keys are `name`, `group`, `attempts`, `backoff`, `timeout`, `concurrency`, `crate`"
}
