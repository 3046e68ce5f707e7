//! The runtime is built in floors: a file names what is on its own floor or below.

use super::source::{Source, rust_files};

/// The modules of `catga/src`, floor by floor.
const FLOORS: [&[&str]; 7] = [
    &["error", "id", "waiting"],
    &["message", "codec", "envelope", "frame", "dead_letter"],
    &["context", "extract", "handler", "registry", "checks"],
    &["middleware", "transport"],
    &["delivery", "idempotency", "cluster"],
    &["mediator", "sending", "emitting", "publishing", "builder", "assembly", "wiring", "dead_letters", "signal"],
    &["http", "tap", "testing", "private", "__private", "lib"],
];

/// Modules of one floor that do not know each other all the same.
const STRANGERS: [(&str, &str); 1] = [("middleware", "transport")];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

/// The module of the crate that a file belongs to.
fn module(path: &str) -> &str {
    let inside = path.trim_start_matches("catga/src/");
    inside.split(['/', '.']).next().unwrap_or(inside)
}

/// The names that follow `crate::` in code, also those in braces.
fn named(code: &str) -> Vec<String> {
    let ident = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for (position, _) in code.match_indices("crate::") {
        if code[..position].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[position + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.push(ident(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (index, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    names.push(ident(&list[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What a file names that it may not.
fn offences(file: &Source) -> Vec<String> {
    let own = module(&file.path);
    let Some(own_floor) = floor(own) else { return vec![format!("{}: `{own}` is on no floor", file.path)] };
    let mut offences = Vec::new();
    for name in named(&file.code()) {
        // The root of the crate is on the highest floor: below it, code names the module that something is in.
        let Some(floor) = floor(&name).or((own_floor == FLOORS.len() - 1).then_some(0)) else {
            offences.push(format!("{}: `crate::{name}` is no module with a floor", file.path));
            continue;
        };
        let strangers =
            STRANGERS.iter().any(|(a, b)| (own, name.as_str()) == (*a, *b) || (own, name.as_str()) == (*b, *a));
        if floor > own_floor || strangers {
            offences.push(format!("{} (floor {own_floor}) names `crate::{name}` (floor {floor})", file.path));
        }
    }
    offences
}

#[test]
fn a_file_of_the_runtime_names_only_its_own_floor_and_those_below() {
    let offences: Vec<_> = rust_files("catga/src").iter().flat_map(offences).collect();
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn every_module_of_a_floor_exists() {
    let files = rust_files("catga/src");
    let exists = |name: &str| name == "__private" || files.iter().any(|file| module(&file.path) == name);
    let absent: Vec<_> = FLOORS.iter().flat_map(|modules| modules.iter()).filter(|name| !exists(name)).collect();
    assert!(absent.is_empty(), "on a floor, but not in catga/src: {absent:?}");
}

#[test]
fn an_import_from_above_is_found_in_every_form() {
    let file = |code: &str| Source { path: "catga/src/context.rs".to_owned(), text: code.to_owned() };
    for code in [
        "use crate::mediator::Mediator;",
        "use crate::{\n    error::Error,\n    mediator::{self, Mediator},\n};",
        "use crate::{error::{self, Error}, delivery::node::Node};",
        "fn f(node: &crate::delivery::node::Node) {}",
        "use crate::Mediator;",
        "use crate::unheard_of::X;",
    ] {
        assert_eq!(offences(&file(code)).len(), 1, "{code}");
    }
    let allowed = "use crate::{error::Error, extract::State};\n// crate::mediator in a comment\nlet x = $crate::id::X;";
    assert_eq!(offences(&file(allowed)), Vec::<String>::new());
    let middleware =
        Source { path: "catga/src/middleware/x.rs".to_owned(), text: "use crate::transport::Link;".to_owned() };
    assert_eq!(offences(&middleware).len(), 1);
}

#[test]
fn only_the_registry_knows_how_handlers_are_found() {
    let knows = |file: &&Source| file.code().contains("inventory");
    let files = rust_files("catga/src");
    let knowing: Vec<_> = files.iter().filter(knows).map(|file| file.path.as_str()).collect();
    // The expansion of the macros names the crate through the private door.
    assert_eq!(knowing, ["catga/src/private.rs", "catga/src/registry.rs"]);
}
