//! What a message must be: one concrete, owned type with one name, and attributes that fit its kind.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, DeriveInput, GenericParam, Meta, Type, parse_quote};

use super::{Kind, Message};
use crate::{attr, errors::Problems};

/// The keys of `#[catga(..)]`.
const KEYS: &[&str] = &["name", "frame", "crate"];

/// The message, unless the type cannot be one, and all that is wrong.
pub(super) fn check(kind: Kind, input: DeriveInput) -> (Option<Message>, Problems) {
    let mut problems = Problems::default();
    if !is_concrete(&input, &mut problems) {
        return (None, problems);
    }
    let mut message = Message {
        kind,
        deprecated: input.attrs.iter().any(|attribute| attribute.path().is_ident("deprecated")),
        ident: input.ident,
        response: quote!(()),
        reliable: false,
        name: None,
        frame: None,
        krate: parse_quote!(::catga),
    };
    match once(&input.attrs, "response", &mut problems) {
        Some(attribute) => response(attribute, &mut message, &mut problems),
        None if kind == Kind::Query => {
            let ident = &message.ident;
            let problem = format!("query `{ident}` does not say what it returns");
            message.response = wrong(ident, &problem, "add `#[response(Type)]` below the derive");
        }
        None => {}
    }
    if let Some(attribute) = once(&input.attrs, "reliable", &mut problems) {
        reliable(attribute, &mut message, &mut problems);
    }
    if let Some(attribute) = once(&input.attrs, "catga", &mut problems) {
        keys(attribute, &mut message, &mut problems);
    }
    (Some(message), problems)
}

/// Refuses type parameters and borrowed data: no further check makes sense for such a type.
fn is_concrete(input: &DeriveInput, problems: &mut Problems) -> bool {
    let ident = &input.ident;
    match input.generics.params.first() {
        None => return true,
        Some(GenericParam::Lifetime(lifetime)) => problems.add(
            lifetime,
            format!("`{ident}` borrows its data, but a message outlives the call that sends it"),
            "own the data, for example with `String` instead of `&str`",
        ),
        Some(parameter) => problems.add(
            parameter,
            format!("`{ident}` is generic, but a message has exactly one name on the wire"),
            "declare one concrete type per message",
        ),
    }
    false
}

/// The attribute of this name; a second one is a mistake.
fn once<'a>(attributes: &'a [Attribute], name: &str, problems: &mut Problems) -> Option<&'a Attribute> {
    let mut found = attributes.iter().filter(|attribute| attribute.path().is_ident(name));
    let first = found.next();
    for again in found {
        problems.add(again.path(), format!("`{name}` is given twice"), "keep one of them");
    }
    first
}

/// A type that is itself the error, so that nothing else is said of what depends on it.
fn wrong(at: impl ToTokens, problem: &str, help: &str) -> TokenStream {
    let mut wrong = Problems::default();
    wrong.add(at, problem, help);
    let wrong = wrong.into_tokens();
    quote!([(); { #wrong }])
}

fn response(attribute: &Attribute, message: &mut Message, problems: &mut Problems) {
    if message.kind == Kind::Event {
        let help = "remove `#[response(..)]`, or derive `Command` if exactly one handler must answer";
        problems.add(attribute, "an event has no response: any number of handlers may react to it", help);
        return;
    }
    message.response = match attribute.parse_args::<Type>() {
        Ok(Type::Reference(response)) => {
            let problem =
                format!("`{}` cannot be answered with a reference: a reply is read from bytes", message.ident);
            wrong(response, &problem, "own the data, for example with `String` instead of `&str`")
        }
        Ok(response) => response.into_token_stream(),
        Err(_) => wrong(attribute, "`response` takes one type", "write for example `#[response(OrderId)]`"),
    };
}

fn reliable(attribute: &Attribute, message: &mut Message, problems: &mut Problems) {
    let (kind, ident) = (message.kind, &message.ident);
    if kind != Kind::Event {
        let help = format!("remove it: `{ident}` is a {kind}: its sender always gets a reply or an error");
        problems.add(attribute, "`#[reliable]` applies only to events", help);
    } else if !matches!(attribute.meta, Meta::Path(_)) {
        problems.add(attribute, "`reliable` takes no value", "write `#[reliable]`");
    }
    message.reliable = kind == Kind::Event;
}

fn keys(attribute: &Attribute, message: &mut Message, problems: &mut Problems) {
    let tokens = match &attribute.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => {
            problems.add(
                attribute,
                "`catga` takes keys",
                "write for example `#[catga(name = \"orders.OrderPlaced\")]`",
            );
            return;
        }
    };
    for pair in attr::pairs(tokens, KEYS, problems) {
        if pair.key == "name" {
            message.name = pair.name("message", "orders.OrderPlaced", problems);
        } else if pair.key == "frame" {
            message.frame = pair.number(1..=128, 1, problems);
        } else if let Some(path) = pair.path(problems) {
            message.krate = path;
        }
    }
}
