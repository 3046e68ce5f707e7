//! Reads signatures and leaves bodies as raw tokens: what stands in them is the compiler's to judge.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Generics, Receiver, ReceiverKind, Signature, Token, Type, Visibility, braced,
    parse::{ParseStream, Parser},
};

/// What `#[handler]` was put on.
pub(super) enum Item {
    Function(Box<Function>),
    Block(Box<Block>),
    Other,
}

/// A function without its body.
pub(super) struct Function {
    pub(super) attributes: Vec<Attribute>,
    pub(super) signature: Signature,
}

/// An impl block.
pub(super) struct Block {
    pub(super) attributes: Vec<Attribute>,
    pub(super) generics: Generics,
    /// The trait of a trait impl.
    pub(super) of_trait: Option<Type>,
    pub(super) receiver: Type,
    pub(super) methods: Vec<Method>,
    /// Everything in front of the braces.
    head: TokenStream,
    /// The braces with what is in them, without the `#[handler(..)]` of methods.
    body: TokenTree,
}

/// A function in an impl block.
pub(super) struct Method {
    pub(super) function: Function,
    /// Its own `#[handler]` attributes.
    pub(super) handler: Vec<Attribute>,
}

pub(super) fn item(tokens: TokenStream) -> syn::Result<Item> {
    let raw = tokens.clone();
    let read = |input: ParseStream<'_>| {
        let attributes = input.call(Attribute::parse_outer)?;
        let ahead = input.fork();
        ahead.parse::<Option<Token![unsafe]>>()?;
        if ahead.peek(Token![impl]) {
            return block(attributes, raw, input).map(|block| Item::Block(Box::new(block)));
        }
        input.parse::<Visibility>()?;
        if !is_function(input) {
            input.parse::<TokenStream>()?;
            return Ok(Item::Other);
        }
        let signature = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(Item::Function(Box::new(Function { attributes, signature })))
    };
    read.parse2(tokens)
}

/// Whether the words in front of `fn` come next.
fn is_function(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    ahead.parse::<Option<Token![const]>>().is_ok()
        && ahead.parse::<Option<Token![async]>>().is_ok()
        && ahead.parse::<Option<Token![unsafe]>>().is_ok()
        && ahead.parse::<Option<syn::Abi>>().is_ok()
        && ahead.peek(Token![fn])
}

fn block(attributes: Vec<Attribute>, raw: TokenStream, input: ParseStream<'_>) -> syn::Result<Block> {
    input.parse::<Option<Token![unsafe]>>()?;
    input.parse::<Token![impl]>()?;
    let mut generics: Generics = input.parse()?;
    let mut receiver: Type = input.parse()?;
    let of_trait = match input.parse::<Option<Token![for]>>()? {
        Some(_) => Some(std::mem::replace(&mut receiver, input.parse()?)),
        None => None,
    };
    generics.where_clause = input.parse()?;
    let content;
    let braces = braced!(content in input);
    let mut body = TokenStream::new();
    for attribute in content.call(Attribute::parse_inner)? {
        attribute.to_tokens(&mut body);
    }
    let mut methods = Vec::new();
    while !content.is_empty() {
        methods.extend(member(&content, &mut body)?);
    }
    let mut group = Group::new(Delimiter::Brace, body);
    group.set_span(braces.span.join());
    let mut head: Vec<TokenTree> = raw.into_iter().collect();
    head.pop();
    let head = head.into_iter().collect();
    Ok(Block { attributes, generics, of_trait, receiver, methods, head, body: group.into() })
}

/// Copies one member of an impl block to `body`, and reads it if it is a function.
fn member(input: ParseStream<'_>, body: &mut TokenStream) -> syn::Result<Option<Method>> {
    let ahead = input.fork();
    let attributes = ahead.call(Attribute::parse_outer)?;
    ahead.parse::<Visibility>()?;
    if !is_function(&ahead) {
        input.parse::<syn::ImplItem>()?.to_tokens(body);
        return Ok(None);
    }
    input.call(Attribute::parse_outer)?;
    let (handler, attributes): (Vec<_>, Vec<_>) = attributes.into_iter().partition(is_handler_attribute);
    let visibility: Visibility = input.parse()?;
    let signature: Signature = input.parse()?;
    if is_handler(&signature) {
        // A handler is async also where it awaits nothing; clippy sees that of functions, but not of methods.
        body.extend(quote!(#[allow(clippy::unused_async)]));
    }
    for attribute in &attributes {
        attribute.to_tokens(body);
    }
    visibility.to_tokens(body);
    signature.to_tokens(body);
    let end: TokenTree = input.parse()?;
    end.to_tokens(body);
    Ok(Some(Method { function: Function { attributes, signature }, handler }))
}

/// Whether a method in a block is a handler without saying so.
pub(super) fn is_handler(signature: &Signature) -> bool {
    signature.asyncness.is_some() && signature.receiver().and_then(borrow).is_some()
}

/// Whether a receiver is borrowed, and whether mutably.
pub(super) fn borrow(receiver: &Receiver) -> Option<bool> {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => Some(mutability.is_some()),
        ReceiverKind::Typed(_, ty) => match &**ty {
            Type::Reference(reference) => Some(reference.mutability.is_some()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether it is `#[handler]`, also as `#[catga::handler]`.
fn is_handler_attribute(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "handler")
}

impl Block {
    /// The block as the compiler may see it: on a method, the attribute is a note to this macro.
    pub(super) fn without_handler_attributes(self) -> TokenStream {
        let mut tokens = self.head;
        tokens.extend([self.body]);
        tokens
    }
}
