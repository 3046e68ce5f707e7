//! `#[derive(Command)]`, `#[derive(Query)]` and `#[derive(Event)]`.

mod check;
mod expand;

use std::fmt;

use proc_macro2::TokenStream;
use syn::{Ident, LitStr, Path};

/// Which derive it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Query,
    Event,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Event => "event",
        })
    }
}

/// A message that can be expanded.
struct Message {
    kind: Kind,
    ident: Ident,
    /// Whether its use is discouraged; to declare it is not to use it.
    deprecated: bool,
    /// What its handler answers, as a type.
    response: TokenStream,
    reliable: bool,
    /// Its name on the wire; `None` for `<package>.<Type>`.
    name: Option<LitStr>,
    frame: Option<u32>,
    /// Where catga is found.
    krate: Path,
}

/// The derive macros.
pub(crate) fn derive(kind: Kind, item: TokenStream) -> TokenStream {
    let input = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.to_compile_error(),
    };
    let (message, problems) = check::check(kind, input);
    let mut tokens = message.as_ref().map(expand::expand).unwrap_or_default();
    tokens.extend(problems.into_tokens());
    tokens
}
