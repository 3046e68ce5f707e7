//! `#[handler]` on functions and impl blocks.

mod check;
mod expand;
mod options;
mod parse;
mod types;

use proc_macro2::{Span, TokenStream};
use syn::{Attribute, Ident, Path, Type, parse_quote};

use self::{options::Options, parse::Item};
use crate::errors::Problems;

/// A handler that can be expanded.
struct Handler {
    /// The `#[cfg(..)]` and `#[allow(..)]` of the function, which hold for the registration too.
    attributes: Vec<Attribute>,
    ident: Ident,
    /// Whether `#[handler]` stands on the function itself, and not only on its block.
    marked: bool,
    /// The type of `&self`, of a method.
    receiver: Option<Type>,
    message: Type,
    extractors: Vec<Type>,
    /// The return type, if one is written.
    output: Option<Type>,
    options: Options,
    /// Where catga is found.
    krate: Path,
}

/// The attribute macro: the user's item first, then the registrations, then what is wrong.
pub(crate) fn attribute(keys: TokenStream, item: TokenStream) -> TokenStream {
    let mut problems = Problems::default();
    let mut krate: Path = parse_quote!(::catga);
    let parsed = match parse::item(item.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            // The compiler reports broken syntax itself, and better; the function is what it is.
            problems.push(error);
            return [item, problems.into_tokens()].into_iter().collect();
        }
    };
    let handlers = match &parsed {
        Item::Function(function) => {
            let options = options::of_function(keys, &mut krate, &mut problems);
            check::function(function, options, &mut problems).into_iter().collect()
        }
        Item::Block(block) => {
            let options = options::of_block(keys, &mut krate, &mut problems);
            check::block(block, &options, &mut problems)
        }
        Item::Other => {
            let at = Span::call_site();
            problems.push(syn::Error::new(at, "`#[handler]` belongs on an `async fn` or on an `impl` block"));
            Vec::new()
        }
    };
    let mut tokens = match parsed {
        Item::Block(block) => block.without_handler_attributes(),
        Item::Function(_) | Item::Other => item,
    };
    tokens.extend(handlers.into_iter().map(|handler| expand::expand(&Handler { krate: krate.clone(), ..handler })));
    tokens.extend(problems.into_tokens());
    tokens
}
