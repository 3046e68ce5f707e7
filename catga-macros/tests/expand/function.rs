/// Places an order.
#[cfg(feature = "orders")]
async fn place_order(
    order: PlaceOrder,
    State(shop): State<Shop>,
    _: Context,
) -> Result<OrderId, ShopError> {
    shop.insert(order).await
}
#[cfg(feature = "orders")]
#[allow(dead_code, non_camel_case_types)]
struct __catga_place_order(
    [(); {
        const _: () = {
            use ::catga::__private as __catga;
            const __REGISTRATION: __catga::HandlerRegistration = __catga::HandlerRegistration {
                name: ::core::concat!(
                    ::core::env!("CARGO_PKG_NAME"), ".", "place_order"
                ),
                place: __catga::Place::here(),
                options: __catga::HandlerOptions::DEFAULT,
                message: __catga::message::<PlaceOrder>(),
                identity: || __catga::identity_of(&place_order),
                bind: |__states| {
                    let __binder = __catga::Binder::new(
                        __states,
                        |__message, (__parameter_0, __parameter_1): (_, _)| place_order(
                            __message,
                            __parameter_0,
                            __parameter_1,
                        ),
                    );
                    __catga::extractor(&__binder, |__all| __all.0);
                    __catga::extractor(&__binder, |__all| __all.1);
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
