//! What a handler must be: an `async fn` that owns its message and its parameters.

use quote::ToTokens;
use syn::{Attribute, FnArg, GenericParam, Ident, Meta, PatType, Safety, Signature, Type, parse_quote};

use super::{
    Handler,
    options::{self, Options},
    parse::{self, Block, Function, Method},
    types::{self, Unfit},
};
use crate::errors::Problems;

/// The most parameters behind the message; the runtime has no more.
const MAX_EXTRACTORS: usize = 8;

/// The extractors that a borrowed parameter may mean.
const EXTRACTORS: [&str; 3] = ["Context", "Mediator", "State"];

/// A free function: the handler, if it can be one.
pub(super) fn function(function: &Function, options: Options, problems: &mut Problems) -> Option<Handler> {
    let signature = &function.signature;
    if let Some(receiver) = signature.receiver() {
        problems.add(
            receiver,
            "a method is registered through its impl block",
            "move `#[handler]` to the `impl .. { .. }` around it",
        );
        return None;
    }
    handler(function, Place::Alone, options, problems)
}

/// An impl block: the handlers in it.
pub(super) fn block(block: &Block, options: &Options, problems: &mut Problems) -> Vec<Handler> {
    if let Some(of_trait) = &block.of_trait {
        let help = "write the methods in an `impl` block of the type itself";
        problems.add(of_trait, "handlers cannot be methods of a trait", help);
        return Vec::new();
    }
    if !block.generics.params.is_empty() {
        let name = types::name(&block.receiver).unwrap_or_default();
        let problem =
            format!("`{name}` cannot be generic: its handlers are registered once, before a type can be chosen");
        problems.add(&block.generics, problem, "write the `impl` block for one concrete type");
        return Vec::new();
    }
    let marked = |method: &&Method| !method.handler.is_empty() || parse::is_handler(&method.function.signature);
    let mut found = false;
    let mut handlers = Vec::new();
    for method in block.methods.iter().filter(marked) {
        found = true;
        let options = options::of_method(&method.handler, options, problems);
        handlers.extend(self::method(method, &block.receiver, options, problems));
    }
    if !found {
        let help = "write at least one `async fn` with `&self` and a message";
        problems.add(&block.receiver, "this `impl` block has no handler", help);
    }
    for handler in &mut handlers {
        handler.attributes.extend(shared(&block.attributes));
    }
    handlers
}

fn method(method: &Method, owner: &Type, options: Options, problems: &mut Problems) -> Option<Handler> {
    let signature = &method.function.signature;
    let ident = &signature.ident;
    match signature.receiver().map(|receiver| (receiver, parse::borrow(receiver))) {
        Some((_, Some(false))) => {
            let place = Place::Block { owner, marked: !method.handler.is_empty() };
            return handler(&method.function, place, options, problems);
        }
        Some((receiver, Some(true))) => {
            let problem = format!("handlers run concurrently, so `{ident}` cannot take `&mut self`");
            problems.add(receiver, problem, "take `&self`");
        }
        owned => {
            let at = owned.map_or(ident.to_token_stream(), |(receiver, _)| receiver.to_token_stream());
            let help = format!("write `async fn {ident}(&self, ..)`");
            problems.add(at, format!("handler `{ident}` must take `&self`"), help);
        }
    }
    None
}

/// Where a handler stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    Alone,
    /// In an impl block of a type, with or without a `#[handler]` of its own.
    Block {
        owner: &'a Type,
        marked: bool,
    },
}

impl Place<'_> {
    /// What else helps where a method may have been meant as a helper.
    fn or_move(self) -> &'static str {
        match self {
            Self::Block { marked: false, .. } => {
                "; methods that are not handlers belong in another `impl` block, without `#[handler]`"
            }
            _ => "",
        }
    }
}

/// What functions and methods have in common.
fn handler(function: &Function, place: Place<'_>, options: Options, problems: &mut Problems) -> Option<Handler> {
    let Signature { ident, .. } = &function.signature;
    let mut own = Problems::default();
    shape(&function.signature, place, &mut own);
    let parameters: Vec<&PatType> = function.signature.inputs.iter().filter_map(typed).collect();
    for (position, parameter) in parameters.iter().enumerate() {
        self::parameter(ident, position, parameter, place, &mut own);
    }
    behind(ident, &parameters, &mut own);
    let (message, extractors) = parameters.split_first().map(|(message, rest)| (&*message.ty, rest)).unzip();
    if !own.is_empty() {
        problems.append(own);
        return None;
    }
    let (receiver, marked) = match place {
        Place::Alone => (None, true),
        Place::Block { owner, marked } => (Some(owner), marked),
    };
    Some(Handler {
        attributes: shared(&function.attributes),
        ident: ident.clone(),
        marked,
        receiver: receiver.cloned(),
        message: types::outside(message?, receiver),
        extractors: extractors?.iter().map(|parameter| (*parameter.ty).clone()).collect(),
        output: types::output(&function.signature.output),
        options,
        krate: parse_quote!(::catga),
    })
}

/// Checks all but the types of the parameters.
fn shape(signature: &Signature, place: Place<'_>, problems: &mut Problems) {
    let ident = &signature.ident;
    if signature.asyncness.is_none() {
        problems.add(
            signature.fn_token,
            format!("handler `{ident}` must be an `async fn`"),
            format!("write `async fn {ident}(..)`"),
        );
    }
    if let Safety::Unsafe(token) = &signature.safety {
        problems.add(token, format!("handler `{ident}` cannot be unsafe: catga calls it"), "remove `unsafe`");
    }
    let borrows = |parameter: &&PatType| matches!(types::unfit(&parameter.ty), Some(Unfit::Borrow(_) | Unfit::Borrows));
    let borrowing = signature.inputs.iter().filter_map(typed).any(|parameter| borrows(&parameter));
    // The lifetime of a borrowed parameter is not a second mistake.
    let generic = signature.generics.params.iter().find(|parameter| match parameter {
        GenericParam::Lifetime(_) => !borrowing,
        _ => true,
    });
    if let Some(parameter) = generic {
        self::generic(ident, parameter, place, problems);
    }
    let behind = signature.inputs.iter().filter_map(typed).skip(1);
    if let Some(excess) = behind.clone().nth(MAX_EXTRACTORS) {
        problems.add(
            excess,
            format!("handler `{ident}` takes more than {MAX_EXTRACTORS} parameters behind its message"),
            "join some of them in a struct that implements `FromContext`",
        );
    }
    if signature.inputs.iter().find_map(typed).is_none() {
        let receiver = match place {
            Place::Alone => "",
            Place::Block { .. } => "&self, ",
        };
        let or_move = place.or_move();
        let help = format!(
            "make the message its first parameter: `async fn {ident}({receiver}command: YourCommand) -> ..`{or_move}"
        );
        problems.add(ident, format!("handler `{ident}` takes no message"), help);
    }
}

fn generic(ident: &Ident, at: impl ToTokens, place: Place<'_>, problems: &mut Problems) {
    problems.add(
        at,
        format!("handler `{ident}` cannot be generic: it is registered once, before a type can be chosen"),
        format!("write one handler per message and call a shared generic function{}", place.or_move()),
    );
}

/// Checks that the message does not stand behind an extractor of catga: both would be refused, in words for other mistakes.
fn behind(ident: &Ident, parameters: &[&PatType], problems: &mut Problems) {
    let is_extractor =
        |parameter: &PatType| types::name(&parameter.ty).is_some_and(|name| EXTRACTORS.contains(&&*name));
    let [first, others @ ..] = parameters else { return };
    let Some(message) = others.iter().find(|parameter| !is_extractor(parameter)) else { return };
    if is_extractor(first) && types::unfit(&first.ty).is_none() {
        let (first, message) = (&first.ty, types::shown(&message.ty));
        let problem = format!("handler `{ident}` takes `{}` in front of its message", types::shown(first));
        problems.add(first, problem, format!("make the message its first parameter: `{message}`"));
    }
}

/// Checks the type of the message (position 0) or of an extractor.
fn parameter(ident: &Ident, position: usize, parameter: &PatType, place: Place<'_>, problems: &mut Problems) {
    let ty = &*parameter.ty;
    if let Some(cfg) = parameter.attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
        let help = format!("write two functions `{ident}`, each with its own `#[cfg(..)]`");
        problems.add(cfg, format!("a parameter of handler `{ident}` cannot depend on `#[cfg(..)]`"), help);
    }
    let what = match position {
        0 => "its message, but a handler owns the message it receives",
        _ => "a parameter, but a handler owns what it takes",
    };
    let or_move = if position == 0 { place.or_move() } else { "" };
    match types::unfit(ty) {
        None => {}
        Some(Unfit::Generic) => generic(ident, ty, place, problems),
        Some(Unfit::Borrow(owned)) => {
            let is_extractor = types::name(owned).is_some_and(|name| EXTRACTORS.contains(&name.as_str()));
            let wanted = match position > 0 && !is_extractor {
                true => format!("State<{}>", types::owned(owned)),
                false => types::owned(owned),
            };
            let help = format!("take `{wanted}` instead of `{}`{or_move}", types::shown(ty));
            problems.add(ty, format!("handler `{ident}` borrows {what}"), help);
        }
        Some(Unfit::Borrows) => {
            let help = format!("own the data, for example with `String` instead of `&str`{or_move}");
            problems.add(ty, format!("handler `{ident}` borrows {what}"), help);
        }
    }
}

fn typed(input: &FnArg) -> Option<&PatType> {
    match input {
        FnArg::Typed(parameter) => Some(parameter),
        FnArg::Receiver(_) => None,
    }
}

/// The attributes of a function that hold for its registration too.
fn shared(attributes: &[Attribute]) -> Vec<Attribute> {
    let shared = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") || list.path.is_ident("allow") => Some(attribute.clone()),
        // An expectation is met in the function alone.
        Meta::List(list) if list.path.is_ident("expect") => {
            let lints = &list.tokens;
            Some(parse_quote!(#[allow(#lints)]))
        }
        // To register what is deprecated is not to use it.
        meta if meta.path().is_ident("deprecated") => Some(parse_quote!(#[allow(deprecated)])),
        _ => None,
    });
    shared.collect()
}
