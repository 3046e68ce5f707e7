//! Options that are read from the environment, under the names that the `nats` command uses.

use std::{env, ffi::OsString};

use super::{NatsBuilder, credentials::is_seed};
use crate::error::Error;

impl NatsBuilder {
    /// Options from these variables of the environment; what is not set is left out, and each can be added to:
    ///
    /// | variable | what it holds |
    /// |---|---|
    /// | `NATS_URL` | one address, or several separated by commas |
    /// | `NATS_USER`, `NATS_PASSWORD` | both; a user alone is a token |
    /// | `NATS_TOKEN` | a token |
    /// | `NATS_CREDS` | the path of a credentials file |
    /// | `NATS_NKEY` | the path of a file with the seed of an nkey, or the seed itself |
    /// | `NATS_CA` | the path of the certificates that are trusted |
    /// | `NATS_CERT`, `NATS_KEY` | the paths of a certificate and of its key |
    ///
    /// # Errors
    ///
    /// `Configuration`, naming each variable that is empty, is not text, or lacks its other half. Variables that
    /// contradict each other are found by [`connect`](Self::connect).
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let mut text = |name: &str| {
            let value = variable(name)?;
            let text = value.into_string().ok().filter(|text| !text.trim().is_empty());
            if text.is_none() {
                problems.push(format!("{name} is empty or no text: give it a value, or unset it"));
            }
            text
        };
        let mut builder = Self::default();
        if let Some(servers) = text("NATS_URL") {
            builder = builder.server(servers);
        }
        let (user, password) = (text("NATS_USER"), text("NATS_PASSWORD"));
        let (certificate, key) = (text("NATS_CERT"), text("NATS_KEY"));
        if let Some(token) = text("NATS_TOKEN") {
            builder = builder.token(token);
        }
        if let Some(path) = text("NATS_CREDS") {
            builder = builder.credentials_file(path);
        }
        if let Some(key) = text("NATS_NKEY") {
            builder = if is_seed(&key) { builder.nkey(key) } else { builder.nkey_file(key) };
        }
        if let Some(path) = text("NATS_CA") {
            builder = builder.root_certificates(path);
        }
        builder = match (user, password) {
            (Some(user), Some(password)) => builder.user(user, password),
            // The `nats` command takes it so, too.
            (Some(token), None) => builder.token(token),
            (None, Some(_)) => {
                problems.push("NATS_PASSWORD is set without NATS_USER".to_owned());
                builder
            }
            (None, None) => builder,
        };
        builder = match (certificate, key) {
            (Some(certificate), Some(key)) => builder.client_certificate(certificate, key),
            (None, None) => builder,
            (Some(_), None) => {
                problems.push("NATS_CERT is set without NATS_KEY".to_owned());
                builder
            }
            (None, Some(_)) => {
                problems.push("NATS_KEY is set without NATS_CERT".to_owned());
                builder
            }
        };
        match problems.is_empty() {
            true => Ok(builder),
            false => Err(Error::configuration(format!("the environment is set up wrongly: {}", problems.join("; ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<NatsBuilder, Error> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        NatsBuilder::from_variables(|name| find(name).map(|(_, value)| (*value).into()))
    }

    #[test]
    fn every_variable_has_its_option() {
        let seed = nkeys::KeyPair::new_user().seed().unwrap();
        for (variables, option) in [
            (vec![("NATS_URL", "nats://a,b")], NatsBuilder::default().server("nats://a,b")),
            (vec![("NATS_USER", "u"), ("NATS_PASSWORD", "p")], NatsBuilder::default().user("u", "p")),
            (vec![("NATS_USER", "t")], NatsBuilder::default().token("t")),
            (vec![("NATS_TOKEN", "t")], NatsBuilder::default().token("t")),
            (vec![("NATS_CREDS", "/c")], NatsBuilder::default().credentials_file("/c")),
            (vec![("NATS_NKEY", "/n")], NatsBuilder::default().nkey_file("/n")),
            (vec![("NATS_NKEY", &*seed)], NatsBuilder::default().nkey(&*seed)),
            (vec![("NATS_CA", "/a")], NatsBuilder::default().root_certificates("/a")),
            (vec![("NATS_CERT", "/c"), ("NATS_KEY", "/k")], NatsBuilder::default().client_certificate("/c", "/k")),
            (vec![("OTHER", "x")], NatsBuilder::default()),
        ] {
            assert!(from(&variables).unwrap() == option, "{variables:?}");
        }
    }

    #[test]
    fn each_variable_that_is_wrong_is_named() {
        let names = ["NATS_URL", "NATS_USER", "NATS_PASSWORD", "NATS_TOKEN", "NATS_CREDS", "NATS_NKEY", "NATS_CA"];
        let empty: Vec<_> = names.into_iter().map(|name| (name, " ")).collect();
        let error = from(&empty).unwrap_err().to_string();
        assert!(names.iter().all(|name| error.contains(&format!("{name} is empty"))), "{error}");
        for (wrong, text) in [
            ("NATS_PASSWORD", "without NATS_USER"),
            ("NATS_CERT", "without NATS_KEY"),
            ("NATS_KEY", "without NATS_CERT"),
        ] {
            let error = from(&[(wrong, "SECRET")]).unwrap_err().to_string();
            assert!(error.contains(text) && !error.contains("SECRET"), "{error}");
        }
    }
}
