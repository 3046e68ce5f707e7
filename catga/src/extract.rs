//! What a handler may take behind its message: state, the context, and extractors of the application's own.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::Arc,
};

use crate::{
    context::{Context, Run},
    error::Failure,
};

/// A type that a handler can take as a parameter behind its message.
///
/// ```
/// use catga::{Context, Failure, FromContext, Missing, States};
///
/// struct Tenant(String);
///
/// impl FromContext for Tenant {
///     type Parts = ();
///
///     fn resolve(_: &States) -> Result<(), Missing> {
///         Ok(())
///     }
///
///     fn from_context((): &(), context: &Context) -> Result<Self, Failure> {
///         match context.headers().get("tenant") {
///             Some(tenant) => Ok(Self(tenant.to_owned())),
///             None => Err(Failure::new("no_tenant", "the header `tenant` is missing").permanent()),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a handler parameter",
    label = "not an extractor",
    note = "after the message, each parameter must be an extractor: `State<T>`, `Context`, `Mediator`, or a type that implements `FromContext`",
    note = "to share a `{Self}` with handlers, take `State<{Self}>` and give the value to `.state(..)` on the builder"
)]
pub trait FromContext: Sized + Send + 'static {
    /// What `build()` looks up once for each handler; `()` if there is nothing to look up.
    type Parts: Send + Sync + 'static;

    /// Looks the parts up, so that a missing one stops the start and not a message.
    ///
    /// # Errors
    ///
    /// The state that is missing; `build()` reports it with every handler that needs it.
    fn resolve(states: &States) -> Result<Self::Parts, Missing>;

    /// Makes the parameter, once for each run of the handler.
    ///
    /// # Errors
    ///
    /// A failure stands for the handler's own: the handler is not called.
    fn from_context(parts: &Self::Parts, context: &Context) -> Result<Self, Failure>;

    /// The form that costs no context; only the extractors of this crate need it.
    #[doc(hidden)]
    fn from_run(parts: &Self::Parts, run: &mut RunHandle<'_, '_>) -> Result<Self, Failure> {
        Self::from_context(parts, run.0.context())
    }
}

/// A run, seen through the public trait.
#[doc(hidden)]
pub struct RunHandle<'a, 'b>(pub(crate) &'a mut Run<'b>);

/// A value that the builder was given with [`state`](crate::Builder::state), cloned for each run.
///
/// ```
/// use std::sync::Arc;
/// use catga::{Command, State, handler};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Command, Clone, Serialize, Deserialize)]
/// struct Greet { name: String }
///
/// #[handler]
/// async fn greet(command: Greet, State(greeting): State<Arc<String>>) {
///     println!("{greeting}, {}", command.name);
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct State<T>(pub T);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// `Clone`, with a text that says why a state needs it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` must be `Clone` to be taken as `State<{Self}>`: each run of a handler gets a copy",
    label = "`{Self}` is not `Clone`",
    note = "add `Clone` to its derives, or share one value: take `State<Arc<{Self}>>` and give the builder `.state(Arc::new(..))`"
)]
#[doc(hidden)]
pub trait Copied: Sized {
    #[must_use]
    fn copied(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Clone> Copied for T {
    fn copied(&self) -> Self {
        self.clone()
    }
}

impl<T: Copied + Send + Sync + 'static> FromContext for State<T> {
    type Parts = Arc<T>;

    fn resolve(states: &States) -> Result<Arc<T>, Missing> {
        states.get()
    }

    fn from_context(parts: &Arc<T>, _: &Context) -> Result<Self, Failure> {
        Ok(Self(T::copied(parts)))
    }

    fn from_run(parts: &Arc<T>, _: &mut RunHandle<'_, '_>) -> Result<Self, Failure> {
        Ok(Self(T::copied(parts)))
    }
}

/// The `&self` of a handler in an impl block.
#[doc(hidden)]
pub struct Receiver<T>(pub Arc<T>);

impl<T: Send + Sync + 'static> FromContext for Receiver<T> {
    type Parts = Arc<T>;

    fn resolve(states: &States) -> Result<Arc<T>, Missing> {
        states.get().map_err(|missing: Missing| Missing { receiver: true, ..missing })
    }

    fn from_context(parts: &Arc<T>, _: &Context) -> Result<Self, Failure> {
        Ok(Self(parts.clone()))
    }

    fn from_run(parts: &Arc<T>, _: &mut RunHandle<'_, '_>) -> Result<Self, Failure> {
        Ok(Self(parts.clone()))
    }
}

impl FromContext for Context {
    type Parts = ();

    fn resolve(_: &States) -> Result<(), Missing> {
        Ok(())
    }

    fn from_context((): &(), context: &Context) -> Result<Self, Failure> {
        Ok(context.clone())
    }
}

/// The values that the builder was given, by type.
#[derive(Default)]
pub struct States {
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// For each type `T` that was given, what `Arc<T>` would be found by: the two are easily taken for each other.
    arcs: HashMap<TypeId, &'static str>,
}

impl States {
    /// Says whether there was none of this type yet.
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: Arc<T>) -> bool {
        self.arcs.insert(TypeId::of::<Arc<T>>(), type_name::<T>());
        self.values.insert(TypeId::of::<T>(), value).is_none()
    }

    /// The value of this type.
    ///
    /// # Errors
    ///
    /// `Missing` if the builder was given none.
    pub fn get<T: Send + Sync + 'static>(&self) -> Result<Arc<T>, Missing> {
        let value = self.values.get(&TypeId::of::<T>()).and_then(|value| value.clone().downcast().ok());
        value.ok_or_else(|| {
            let near = match self.arcs.get(&TypeId::of::<T>()) {
                Some(bare) => Near::Bare(bare),
                None if self.values.contains_key(&TypeId::of::<Arc<T>>()) => Near::InArc,
                None => Near::Nothing,
            };
            Missing { state: type_name::<T>(), receiver: false, near }
        })
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({})", self.values.len())
    }
}

/// A state that a handler needs and the builder was not given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    pub(crate) state: &'static str,
    /// Whether it is the `&self` of a handler and not a `State`.
    pub(crate) receiver: bool,
    near: Near,
}

/// What was given instead of a state that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Near {
    Nothing,
    /// The value in an `Arc`.
    InArc,
    /// The value of this type, without the `Arc` that is wanted.
    Bare(&'static str),
}

impl Missing {
    /// What to do about it.
    pub(crate) fn help(&self) -> String {
        let state = self.state;
        match self.near {
            Near::Nothing => {
                let name = state.rsplit("::").next().unwrap_or(state).to_lowercase();
                // A type with parameters would give the name of one, and `u64` is no name for a value.
                let plain = state.contains("::") && !state.contains(['<', '&', '(', '[', ' ']);
                let value = if plain { &name } else { ".." };
                format!("give the builder one: `.state({value})`")
            }
            Near::InArc => {
                let or = if self.receiver { String::new() } else { format!(", or take `State<Arc<{state}>>`") };
                format!("state `Arc<{state}>` was given, `{state}` is wanted: pass the value itself{or}")
            }
            Near::Bare(bare) => {
                format!("state `{bare}` was given, `Arc<{bare}>` is wanted: wrap it in `Arc::new(..)`")
            }
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.receiver {
            false => write!(f, "no `{0}` for `State<{0}>`", self.state),
            true => write!(f, "no `{}` for `&self`", self.state),
        }
    }
}

/// The parameters of a handler behind its message.
#[doc(hidden)]
pub trait Extractors: Sized + Send + 'static {
    type Parts: Send + Sync + 'static;
    fn resolve(states: &States) -> Result<Self::Parts, Vec<Missing>>;
    fn extract(parts: &Self::Parts, run: &mut RunHandle<'_, '_>) -> Result<Self, Failure>;
}

macro_rules! extractors {
    ($($name:ident)*) => {
        impl<$($name: FromContext),*> Extractors for ($($name,)*) {
            type Parts = ($($name::Parts,)*);

            #[allow(non_snake_case, unused_mut, unused_variables, reason = "a binding for each type parameter, or none")]
            fn resolve(states: &States) -> Result<Self::Parts, Vec<Missing>> {
                let mut missing = Vec::new();
                $(let $name = $name::resolve(states).map_err(|state| missing.push(state));)*
                match ($($name,)*) {
                    ($(Ok($name),)*) => Ok(($($name,)*)),
                    #[allow(unreachable_patterns, reason = "the empty tuple always matches")]
                    _ => Err(missing),
                }
            }

            #[allow(non_snake_case, unused_variables, clippy::unused_unit, reason = "see above")]
            fn extract(parts: &Self::Parts, run: &mut RunHandle<'_, '_>) -> Result<Self, Failure> {
                let ($($name,)*) = parts;
                Ok(($($name::from_run($name, run)?,)*))
            }
        }
    };
}

extractors!();
extractors!(A);
extractors!(A B);
extractors!(A B C);
extractors!(A B C D);
extractors!(A B C D E);
extractors!(A B C D E F);
extractors!(A B C D E F G);
extractors!(A B C D E F G H);
