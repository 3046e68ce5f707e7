//! Checks how an application is wired, and reports every mistake at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use crate::{
    builder::Selection,
    delivery::limits::Limits,
    error::Error,
    extract::Missing,
    handler::HandlerRegistration,
    id::is_name,
    message::{Kind, Place, Qos},
    registry,
};

/// What is wrong with the wiring.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    missing: BTreeMap<Missing, Vec<Party>>,
}

/// One mistake: what it is, who takes part, and what to do.
#[derive(Debug)]
struct Problem {
    what: String,
    parties: Vec<Party>,
    help: String,
}

/// A handler or a type, and where it stands.
type Party = (String, Place);

/// The handlers that a node runs, by name.
pub(crate) fn choose(selection: &Selection, problems: &mut Problems) -> Vec<&'static HandlerRegistration> {
    let linked = registry::handlers();
    let mut chosen: Vec<_> = match selection.discover {
        true => linked.clone(),
        false => Vec::new(),
    };
    for (identity, name) in &selection.functions {
        let found = linked.iter().find(|registration| (registration.identity)() == *identity);
        match found {
            Some(registration) if chosen.iter().any(|known| std::ptr::eq(*known, *registration)) => {}
            Some(registration) => chosen.push(registration),
            None => problems.add(
                format!("`{name}` is not a handler"),
                Vec::new(),
                "put `#[handler]` on it, or on the impl block that it is in".to_owned(),
            ),
        }
    }
    let named = selection.only.iter().flatten().map(|name| ("only", name));
    for (call, name) in named.chain(selection.without.iter().map(|name| ("without", name))) {
        if !chosen.iter().any(|registration| registration.name == name) {
            let known: Vec<_> = chosen.iter().map(|registration| format!("`{}`", registration.name)).collect();
            let help = match known.is_empty() {
                true => "no handlers are linked".to_owned(),
                false => format!("the handlers are {}", known.join(", ")),
            };
            problems.add(format!("`{call}` names `{name}`, but there is no such handler"), Vec::new(), help);
        }
    }
    if selection.discover && linked.is_empty() {
        problems.add(
            "no handlers are linked into this process".to_owned(),
            Vec::new(),
            "if they live in another crate, link it: `use that_crate as _;`; a node that only sends says `.discover(false)`"
                .to_owned(),
        );
    }
    if let Some(only) = &selection.only {
        chosen.retain(|registration| only.iter().any(|name| name == registration.name));
    }
    chosen.retain(|registration| !selection.without.iter().any(|name| name == registration.name));
    chosen.sort_by_key(|registration| (registration.name, registration.place));
    problems.check(&chosen, selection.discover);
    chosen
}

impl Problems {
    fn add(&mut self, what: String, parties: Vec<Party>, help: String) {
        self.found.push(Problem { what, parties, help });
    }

    fn check(&mut self, chosen: &[&'static HandlerRegistration], discover: bool) {
        self.check_names(chosen);
        self.check_requests(chosen);
        self.check_wire_names(chosen, discover);
        for registration in chosen {
            let reliable_event =
                registration.message.kind == Kind::Event && registration.message.qos == Qos::AtLeastOnce;
            if let Some(group) = registration.options.group {
                if !reliable_event {
                    self.add(
                        format!("group `{group}` on a handler of {} `{}`", registration.message.described(), registration.message.name),
                        vec![party(registration)],
                        "only reliable events go to one node of a group: put `#[reliable]` on the event, or remove `group`".to_owned(),
                    );
                }
                if !is_name(group) || group.contains('.') {
                    self.add(
                        format!("`{group}` is not a group name"),
                        vec![party(registration)],
                        "use letters, digits, `-` and `_`".to_owned(),
                    );
                }
            }
        }
    }

    fn check_names(&mut self, chosen: &[&'static HandlerRegistration]) {
        let mut names: BTreeMap<&str, Vec<Party>> = BTreeMap::new();
        for registration in chosen {
            names.entry(registration.name).or_default().push(party(registration));
        }
        for (name, parties) in names.into_iter().filter(|(_, parties)| parties.len() > 1) {
            self.add(
                format!("{} handlers are named `{name}`", count(parties.len())),
                parties,
                "a handler's name identifies it across restarts; name one: `#[handler(name = \"..\")]`".to_owned(),
            );
        }
    }

    fn check_requests(&mut self, chosen: &[&'static HandlerRegistration]) {
        let mut requests: BTreeMap<&str, Vec<&HandlerRegistration>> = BTreeMap::new();
        for registration in chosen.iter().filter(|registration| registration.message.kind != Kind::Event) {
            requests.entry(registration.message.name).or_default().push(registration);
        }
        for (name, handlers) in requests.into_iter().filter(|(_, handlers)| handlers.len() > 1) {
            let kind = handlers[0].message.kind;
            // Handlers of different types under one name are another mistake, reported as such.
            if handlers.iter().any(|handler| (handler.message.type_id)() != (handlers[0].message.type_id)()) {
                continue;
            }
            self.add(
                format!("{} handlers for {kind} `{name}`", count(handlers.len())),
                handlers.into_iter().map(party).collect(),
                format!("a {kind} has exactly one handler; remove one, or publish an event if both must run"),
            );
        }
    }

    /// Two types under one name would read each other's messages.
    fn check_wire_names(&mut self, chosen: &[&'static HandlerRegistration], discover: bool) {
        let handled: BTreeSet<_> = chosen.iter().map(|registration| (registration.message.type_id)()).collect();
        let mut names: BTreeMap<&str, Vec<Party>> = BTreeMap::new();
        for registration in registry::messages() {
            // A program that chooses its handlers may link types that it does not mean.
            if discover || handled.contains(&(registration.message.type_id)()) {
                let party = ((registration.message.type_name)().to_owned(), registration.place);
                names.entry(registration.message.name).or_default().push(party);
            }
        }
        for (name, parties) in names.into_iter().filter(|(_, parties)| parties.len() > 1) {
            self.add(
                format!("{} message types are named `{name}`", count(parties.len())),
                parties,
                "a name on the wire stands for one type; rename one: `#[catga(name = \"..\")]`".to_owned(),
            );
        }
    }

    /// A state that a handler needs and the builder was not given.
    pub(crate) fn missing(&mut self, registration: &HandlerRegistration, missing: Vec<Missing>) {
        for state in missing {
            self.missing.entry(state).or_default().push(party(registration));
        }
    }

    /// A node without an id on a transport that keeps what it misses.
    pub(crate) fn nameless_node(&mut self, chosen: &[&'static HandlerRegistration]) {
        let parties: Vec<_> = chosen
            .iter()
            .filter(|handler| handler.message.qos == Qos::AtLeastOnce && handler.options.group.is_none())
            .map(|handler| party(handler))
            .collect();
        if !parties.is_empty() {
            self.add(
                "reliable events on a node without an id".to_owned(),
                parties,
                "give it one, `.node(\"node1\")`, so that it gets what it missed when it comes back; \
                 or say `.generated_node()` if missing that is intended"
                    .to_owned(),
            );
        }
    }

    /// Values of which only the last would count.
    pub(crate) fn states_twice(&mut self, types: &[&'static str]) {
        for name in types {
            let help = "a state is found by its type: keep one, or wrap each in a type of its own".to_owned();
            self.add(format!("more than one `{name}` was given to `.state(..)`"), Vec::new(), help);
        }
    }

    /// A node with an id that is also to be given one.
    pub(crate) fn two_ids(&mut self) {
        let help = "keep one of `.node(..)` and `.generated_node()`".to_owned();
        self.add("an id was given, and one is to be made up".to_owned(), Vec::new(), help);
    }

    /// Checks that each limit leaves something to work with.
    pub(crate) fn limits(&mut self, limits: &Limits) {
        for (name, wrong) in limits.mistakes() {
            self.add(
                format!("the limit `{name}` {wrong}"),
                Vec::new(),
                "see `Limits` for what each one means".to_owned(),
            );
        }
    }

    /// Checks a name that becomes part of others.
    pub(crate) fn name(&mut self, what: &str, name: &str) -> Arc<str> {
        if !is_name(name) {
            self.add(
                format!("`{}` is not a name for the {what}", name.escape_debug()),
                Vec::new(),
                "use letters, digits, `-`, `_` and `.`, at most 64 of them".to_owned(),
            );
        }
        name.into()
    }

    /// Everything that is wrong, as one error.
    pub(crate) fn into_result(mut self) -> Result<(), Error> {
        for (missing, parties) in std::mem::take(&mut self.missing) {
            self.add(missing.to_string(), parties, missing.help());
        }
        if self.found.is_empty() {
            return Ok(());
        }
        let plural = if self.found.len() == 1 { "" } else { "s" };
        let mut text = format!("the application cannot start, {} problem{plural}:\n", self.found.len());
        for problem in &self.found {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {}\n", problem.what);
            let width = problem.parties.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            for (name, place) in &problem.parties {
                let _ = writeln!(text, "      {name:width$}  {place}");
            }
            let _ = writeln!(text, "    {}", problem.help);
        }
        Err(Error::configuration(text))
    }
}

fn party(registration: &HandlerRegistration) -> Party {
    (registration.name.to_owned(), registration.place)
}

fn count(number: usize) -> String {
    match number {
        2 => "two".to_owned(),
        3 => "three".to_owned(),
        more => more.to_string(),
    }
}
