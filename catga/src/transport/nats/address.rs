//! The addresses of servers, as people write them: `nats://user:password@host:4222,tls://other`.

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use super::credentials::{Credentials, Secret};

/// One server, and the credentials that stood in its address. The client ignores those, and shows addresses in its log.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) server: ServerAddr,
    pub(super) credentials: Option<Credentials>,
}

/// Reads one address or several, separated by commas.
///
/// # Errors
///
/// One sentence, without the address: a password may be anywhere in what cannot be read.
pub(super) fn read(list: &str) -> Result<Vec<Address>, String> {
    list.split(',').map(|text| read_one(text.trim())).collect()
}

fn read_one(text: &str) -> Result<Address, String> {
    if text.is_empty() {
        return Err("the address of a server is empty".to_owned());
    }
    let wrong = |what: &dyn std::fmt::Display| {
        format!("the address of a server is not one such as `nats://host:4222` or `tls://host`: {what}")
    };
    let server: ServerAddr = text.parse().map_err(|error: std::io::Error| wrong(&error))?;
    if !["nats", "tls"].contains(&server.scheme()) {
        return Err(wrong(&format_args!("`{}` is not supported", server.scheme())));
    }
    let credentials = credentials(text)?;
    let mut url = server.into_inner();
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong(&"it has no host"));
    }
    if !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(&"nothing may stand behind the port"));
    }
    let stripped = url.set_username("").and_then(|()| url.set_password(None));
    stripped.map_err(|()| wrong(&"its credentials cannot be told from the host"))?;
    let server = ServerAddr::from_url(url).map_err(|error| wrong(&error))?;
    Ok(Address { server, credentials })
}

/// What stands before the `@`: a token, or a user and a password.
fn credentials(text: &str) -> Result<Option<Credentials>, String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((proof, _)) = authority.rsplit_once('@') else { return Ok(None) };
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(String::from).map_err(|_| "the credentials in the address of a server are not UTF-8".to_owned())
    };
    let credentials = match proof.split_once(':') {
        None => Credentials::Token(Secret::new(decode(proof)?)),
        Some((name, password)) => Credentials::User { name: decode(name)?, password: Secret::new(decode(password)?) },
    };
    credentials.prove(b"").map_err(|what| format!("in the address of a server, {what}"))?;
    Ok(Some(credentials))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn one(text: &str) -> (String, Option<Credentials>) {
        let Address { server, credentials } = read(text).unwrap().remove(0);
        (server.as_url_str().to_owned(), credentials)
    }

    #[test]
    fn credentials_are_taken_out_of_an_address() {
        let user = |name: &str, password: &str| {
            Some(Credentials::User { name: name.to_owned(), password: Secret::new(password) })
        };
        assert_eq!(one("host"), ("nats://host".to_owned(), None));
        assert_eq!(one("tls://u:p@host:1"), ("tls://host:1".to_owned(), user("u", "p")));
        assert_eq!(one("nats://a%40b:p%2Fq%3A%20r@[::1]:1/"), ("nats://[::1]:1/".to_owned(), user("a@b", "p/q: r")));
        assert_eq!(one("nats://t%25@host"), ("nats://host".to_owned(), Some(Credentials::Token(Secret::new("t%")))));
        let two = read("nats://a, tls://b:2").unwrap();
        assert_eq!((two[0].server.host(), two[1].server.host(), two[1].server.port()), ("a", "b", 2));
    }

    #[test]
    fn a_wrong_address_is_refused_without_showing_it() {
        for wrong in [
            "",
            "nats://a,,b",
            "nats://",
            "ws://SECRET@host",
            "http://SECRET@host",
            "nats://u:SECRET",
            "nats://u:SECRET@host:port",
            "nats://u:SECRET/x@host",
            "nats://u:SECRET@host/path",
            "nats://SECRET@host?x=1",
            "nats://SECRET:@host",
            "nats://:SECRET@host",
            "nats://@host",
            "nats://SECRET%ff@host",
        ] {
            let error = read(wrong).unwrap_err();
            assert!(!error.contains("SECRET"), "{wrong}: {error}");
        }
    }
}
