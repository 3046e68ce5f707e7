impl Mailer {
    fn sender(&self) -> &str {
        &self.sender
    }
    #[allow(clippy::unused_async)]
    async fn receipt(&self, event: OrderPlaced) -> Result<(), MailError> {
        self.send(event, self.sender()).await
    }
}
const _: () = {
    use ::catga::__private as __catga;
    const __REGISTRATION: __catga::HandlerRegistration = __catga::HandlerRegistration {
        name: ::core::concat!(::core::env!("CARGO_PKG_NAME"), ".", "Mailer.receipt"),
        place: __catga::Place::here(),
        options: __catga::HandlerOptions {
            group: ::core::option::Option::Some("mail"),
            attempts: ::core::option::Option::Some(3u32),
            backoff: ::core::option::Option::Some(
                ::core::time::Duration::from_millis(100u64),
            ),
            timeout: ::core::option::Option::Some(
                ::core::time::Duration::from_millis(5000u64),
            ),
            ..__catga::HandlerOptions::DEFAULT
        },
        message: __catga::message::<OrderPlaced>(),
        identity: || __catga::identity_of(&<Mailer>::receipt),
        bind: |__states| {
            let __binder = __catga::Binder::new(
                __states,
                |__message, (__receiver,): (__catga::Receiver<Mailer>,)| async move {
                    <Mailer>::receipt(&__receiver.0, __message).await
                },
            );
            __binder.group();
            __catga::extractor(&__binder, |__all| __all.0);
            __binder.reply().bind()
        },
    };
    __catga::inventory::submit! {
        __REGISTRATION
    }
};
