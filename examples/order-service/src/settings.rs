//! What the arguments and the environment ask for.

use std::{
    env,
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use catga::Routing;

use crate::messages::is_node_id;

pub const HELP: &str = "\
An order service on catga.

  order-service                 three nodes in this process, on ports 5001 to 5003
  order-service <NODE> <PORT>   one node by itself, such as `order-service node1 5001`
  order-service --help          this text

Environment:
  NODE_ID, NODE_PORT   one node, as with the arguments
  LISTEN               the address to listen on (127.0.0.1); 0.0.0.0 lets other machines in, as a container needs it
  PORT_BASE            the first of the three ports (5001); 0 takes any that are free
  NATS_URL             a NATS server, such as nats://localhost:4222: nodes of several processes are one cluster;
                       without, one node is alone, and three share a broker in their process
  ROUTING              local-first (default) or round-robin
  QUIET                1 writes no line for a single order, and at the end how many were taken and heard of
  RUST_LOG             what the framework logs on stderr (warn); `catga=info` shows the handlers
";

const DEFAULT_BASE: u16 = 5001;

pub struct Settings {
    pub what: What,
    /// The NATS server between the nodes; none is a broker in this process.
    pub nats: Option<String>,
    pub routing: Routing,
    /// Whether single orders are counted instead of told.
    pub quiet: bool,
}

/// What is to be done.
pub enum What {
    Help,
    Run(Nodes),
}

/// The nodes that this process is to run.
pub enum Nodes {
    One { id: String, address: SocketAddr },
    Three { addresses: [SocketAddr; 3] },
}

impl Settings {
    /// Reads them; an error is one sentence that says what is wrong.
    pub fn read() -> Result<Self, String> {
        let mut arguments = Vec::new();
        for argument in env::args_os().skip(1) {
            let argument = argument.into_string();
            arguments.push(argument.map_err(|wrong| format!("the argument {wrong:?} is not text"))?);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let listen = match variable("LISTEN")? {
            Some(address) => address.parse().map_err(|error| format!("LISTEN is `{address}`: {error}"))?,
            None => IpAddr::from(Ipv4Addr::LOCALHOST),
        };
        let at = |port| SocketAddr::new(listen, port);
        let what = match arguments[..] {
            ["--help" | "-h", ..] => What::Help,
            [option, ..] | [_, option, ..] if option.starts_with('-') => {
                return Err(format!("there is no option `{option}`"));
            }
            [] => match (variable("NODE_ID")?, variable("NODE_PORT")?) {
                (Some(id), Some(port)) => {
                    What::Run(Nodes::One { id: node(&id)?, address: at(read("NODE_PORT", &port)?) })
                }
                (Some(_), None) => return Err("NODE_ID is set, and NODE_PORT is missing".to_owned()),
                (None, Some(_)) => return Err("NODE_PORT is set, and NODE_ID is missing".to_owned()),
                (None, None) => What::Run(Nodes::Three { addresses: three_ports()?.map(at) }),
            },
            [id, port] => What::Run(Nodes::One { id: node(id)?, address: at(read("the port", port)?) }),
            [_] => return Err("a node needs a port, such as `node1 5001`".to_owned()),
            _ => return Err("there are too many arguments: a node and its port are all".to_owned()),
        };
        let routing = match variable("ROUTING")?.as_deref() {
            None | Some("local-first") => Routing::LocalFirst,
            Some("round-robin") => Routing::RoundRobin,
            Some(other) => return Err(format!("ROUTING must be `local-first` or `round-robin`, not `{other}`")),
        };
        let quiet = match variable("QUIET")?.as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(other) => return Err(format!("QUIET must be `1` or `0`, not `{other}`")),
        };
        Ok(Self { what, nats: variable("NATS_URL")?, routing, quiet })
    }
}

fn node(id: &str) -> Result<String, String> {
    if is_node_id(id) {
        Ok(id.to_owned())
    } else {
        Err(format!("the node is `{id}`; a name has 1 to 64 letters, digits, `-`, `_` and `.`"))
    }
}

fn three_ports() -> Result<[u16; 3], String> {
    let base = variable("PORT_BASE")?.map_or(Ok(DEFAULT_BASE), |base| read("PORT_BASE", &base))?;
    match base {
        0 => Ok([0; 3]),
        base if base > u16::MAX - 2 => Err(format!("PORT_BASE is {base}, which leaves no room for three ports")),
        base => Ok([base, base + 1, base + 2]),
    }
}

/// A variable of the environment; an empty one counts as not set.
fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name} is not text")),
    }
}

fn read<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{what} is `{text}`, which is not a port: {error}"))
}
