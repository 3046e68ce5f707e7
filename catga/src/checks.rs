//! What an expansion asks of the types that a person wrote, so that one mistake is one error.
//!
//! Each type is checked by one call, whose span is the type's. A call that needs earlier ones to be right is found only
//! if they are: [`Binder::group`] only for a message, [`Binder::reply`] only for a message and extractors, [`Replying::bind`] only for a return type that fits.
//! Otherwise method lookup goes on to [`Unbound`], which asks for nothing. So nothing is reported twice.

use std::{marker::PhantomData, ops::Deref};

use crate::{
    extract::{Extractors, FromContext, Missing, States},
    handler::{self, Bound, IntoReply},
    message::{AsEvent, Message, MessageInfo},
};

/// The first parameter of a handler is a message.
pub const fn message<M: Message>() -> MessageInfo {
    MessageInfo::of::<M>()
}

/// The first parameter is a message, of a method that nobody called a handler: it may be meant as a helper.
pub const fn message_of_method<M: MessageOfMethod>() -> MessageInfo {
    MessageInfo::of::<M>()
}

/// `Message`, in words for a method that is a handler because of the block that it is in.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a catga message",
    label = "expected a command, a query or an event",
    note = "in this block every `async fn` with `&self` is a handler: methods that are not handlers belong in another `impl` block",
    note = "if this one is a handler, derive one of `Command`, `Query` or `Event` for `{Self}`"
)]
pub trait MessageOfMethod: Message {}

#[diagnostic::do_not_recommend]
impl<M: Message> MessageOfMethod for M {}

/// A message whose handlers can share it in a group.
#[diagnostic::on_unimplemented(
    message = "`group` applies only to handlers of events",
    label = "`{Self}` is not an event",
    note = "remove `group`: a command or a query always goes to one node"
)]
pub trait Grouped {}

#[diagnostic::do_not_recommend]
impl<M: Message<Mark = AsEvent>> Grouped for M {}

/// A further parameter of a handler is an extractor: the one that `_pick` takes from all of them.
pub fn extractor<M, Args, F, T: FromContext>(_: &Binder<'_, M, Args, F>, _pick: fn(Args) -> T) {}

/// Joins a function with its message and its extractors.
///
/// Their types come from the function and are not written again: a type that does not exist is reported once.
pub struct Binder<'a, M, Args, F> {
    states: &'a States,
    function: F,
    marker: PhantomData<fn() -> (M, Args)>,
}

impl<'a, M, Args, F> Binder<'a, M, Args, F> {
    /// Takes a function that has a message and a tuple of parameters.
    pub fn new<Fut>(states: &'a States, function: F) -> Self
    where
        F: Fn(M, Args) -> Fut,
    {
        Self { states, function, marker: PhantomData }
    }
}

impl<M: Message, Args, F> Binder<'_, M, Args, F> {
    /// The key `group` stands on a handler of an event.
    pub fn group(&self)
    where
        M: Grouped,
    {
    }
}

impl<'a, M, Args, F, Fut> Binder<'a, M, Args, F>
where
    M: Message,
    Args: Extractors,
    F: Fn(M, Args) -> Fut,
{
    /// The return type fits the message.
    pub fn reply(self) -> Replying<'a, M, Args, F>
    where
        Fut: Future<Output: IntoReply<M::Reply>>,
    {
        Replying(self)
    }
}

/// A binder of a function whose return type fits.
pub struct Replying<'a, M, Args, F>(Binder<'a, M, Args, F>);

impl<M, Args, F, Fut> Replying<'_, M, Args, F>
where
    M: Message,
    Args: Extractors,
    F: Fn(M, Args) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoReply<M::Reply>>,
{
    /// The future can move between threads.
    pub fn bind(self) -> Result<Bound, Vec<Missing>>
    where
        Fut: Send + 'static,
    {
        handler::bind(self.0.states, self.0.function)
    }
}

impl<M, Args, F> Deref for Binder<'_, M, Args, F> {
    type Target = Unbound;

    fn deref(&self) -> &Unbound {
        &Unbound
    }
}

impl<M, Args, F> Deref for Replying<'_, M, Args, F> {
    type Target = Unbound;

    fn deref(&self) -> &Unbound {
        &Unbound
    }
}

/// What a binder is while one of its types is wrong: never at run time, because such a program does not compile.
pub struct Unbound;

impl Unbound {
    /// Stands for [`Binder::group`].
    pub fn group(&self) {}

    /// Stands for [`Binder::reply`].
    pub fn reply(&self) -> Self {
        Self
    }

    /// Stands for [`Replying::bind`].
    pub fn bind(&self) -> Result<Bound, Vec<Missing>> {
        Err(Vec::new())
    }
}
