//! What a parameter's type may not contain: borrowed data, and types that are chosen later.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{GenericArgument, PathArguments, ReturnType, Type, ext::IdentExt};

/// Why a type cannot be that of a handler's parameter.
pub(super) enum Unfit<'a> {
    /// `&T`, with the `T`.
    Borrow(&'a Type),
    /// A reference or a lifetime further inside.
    Borrows,
    /// `impl Trait`.
    Generic,
}

/// The first reason against a type.
pub(super) fn unfit(ty: &Type) -> Option<Unfit<'_>> {
    match ty {
        Type::Reference(reference) => match is_static(reference.lifetime.as_ref()) {
            true => unfit(&reference.elem),
            false => Some(Unfit::Borrow(&reference.elem)),
        },
        Type::ImplTrait(_) => Some(Unfit::Generic),
        // The group is a `$ty` of the user's own macro.
        Type::Group(group) => unfit(&group.elem),
        Type::Paren(paren) => unfit(&paren.elem),
        Type::Array(array) => inside(&array.elem),
        Type::Slice(slice) => inside(&slice.elem),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(inside),
        Type::Path(path) => path.path.segments.iter().find_map(|segment| match &segment.arguments {
            PathArguments::AngleBracketed(arguments) => arguments.args.iter().find_map(argument),
            _ => None,
        }),
        // In `fn(&T)` and `dyn Fn(&T)` a reference borrows nothing yet.
        _ => None,
    }
}

fn argument(argument: &GenericArgument) -> Option<Unfit<'_>> {
    match argument {
        GenericArgument::Lifetime(lifetime) if !is_static(Some(lifetime)) => Some(Unfit::Borrows),
        GenericArgument::Type(ty) => inside(ty),
        GenericArgument::AssocType(binding) => inside(&binding.ty),
        _ => None,
    }
}

fn inside(ty: &Type) -> Option<Unfit<'_>> {
    unfit(ty).map(|reason| match reason {
        Unfit::Borrow(_) | Unfit::Borrows => Unfit::Borrows,
        Unfit::Generic => Unfit::Generic,
    })
}

fn is_static(lifetime: Option<&syn::Lifetime>) -> bool {
    lifetime.is_some_and(|lifetime| lifetime.ident == "static")
}

/// `OrderService` of `crate::orders::OrderService`.
pub(super) fn name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.unraw().to_string()),
        Type::Group(group) => name(&group.elem),
        Type::Paren(paren) => name(&paren.elem),
        _ => None,
    }
}

/// A type as people write it.
pub(super) fn shown(ty: &Type) -> String {
    ty.to_token_stream().to_string().replace("& ", "&").replace(" < ", "<").replace(" >", ">").replace(" :: ", "::")
}

/// What owns the data that a reference to this type borrows.
pub(super) fn owned(ty: &Type) -> String {
    match ty {
        Type::Slice(slice) => format!("Vec<{}>", shown(&slice.elem)),
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        _ => shown(ty),
    }
}

/// The written return type.
pub(super) fn output(output: &ReturnType) -> Option<Type> {
    match output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some((**ty).clone()),
    }
}

/// The type of a method's parameter outside of its impl block, where `Self` has no meaning.
pub(super) fn outside(ty: &Type, owner: Option<&Type>) -> Type {
    let tokens = owner.map(|owner| without_self(ty.to_token_stream(), owner));
    tokens.and_then(|tokens| syn::parse2(tokens).ok()).unwrap_or_else(|| ty.clone())
}

fn without_self(tokens: TokenStream, owner: &Type) -> TokenStream {
    let mut tokens = tokens.into_iter().peekable();
    let mut replaced = TokenStream::new();
    while let Some(token) = tokens.next() {
        replaced.extend(match token {
            TokenTree::Ident(ident) if ident == "Self" => match tokens.peek() {
                Some(TokenTree::Punct(colon)) if colon.as_char() == ':' => quote!(<#owner>),
                _ => owner.to_token_stream(),
            },
            TokenTree::Group(group) => {
                Group::new(group.delimiter(), without_self(group.stream(), owner)).to_token_stream()
            }
            other => other.to_token_stream(),
        });
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Type {
        syn::parse_str(text).unwrap_or_else(|error| unreachable!("{text}: {error}"))
    }

    #[test]
    fn what_owns_its_data_is_fit() {
        for text in [
            "PlaceOrder",
            "&'static str",
            "State<Arc<dyn Fn(&str) -> u8>>",
            "State<fn(&str) -> &u8>",
            "Cow<'static, str>",
            "(Context, [u8; 4])",
        ] {
            assert!(unfit(&parsed(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn what_borrows_is_unfit_however_deep() {
        for text in ["&Db", "&'a mut Db", "(&Db)"] {
            assert!(matches!(unfit(&parsed(text)), Some(Unfit::Borrow(_))), "{text}");
        }
        for text in ["State<&Db>", "Cow<'a, str>", "Vec<Option<&str>>", "(Context, &Db)", "[&str; 2]", "A<T = &u8>"] {
            assert!(matches!(unfit(&parsed(text)), Some(Unfit::Borrows)), "{text}");
        }
    }

    #[test]
    fn what_is_chosen_later_is_unfit() {
        for text in ["impl Send", "State<impl Clone>"] {
            assert!(matches!(unfit(&parsed(text)), Some(Unfit::Generic)), "{text}");
        }
    }

    #[test]
    fn self_is_replaced_outside_of_its_block() {
        let owner = parsed("a::Orders<u8>");
        for (inside, expected) in [
            ("Self", "a::Orders<u8>"),
            ("Self::Message", "<a::Orders<u8>>::Message"),
            ("Wrap<(Self, u8)>", "Wrap<(a::Orders<u8>, u8)>"),
            ("Other", "Other"),
        ] {
            let outside = outside(&parsed(inside), Some(&owner)).to_token_stream().to_string();
            assert_eq!(outside, parsed(expected).to_token_stream().to_string());
        }
    }
}
