//! Who a node says that it is, and how it proves that to the server.

use std::{fmt, fs, path::PathBuf};

use async_nats::Auth;
use nkeys::KeyPair;

/// What must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// One way to prove who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    User {
        name: String,
        password: Secret,
    },
    Token(Secret),
    /// The seed of an nkey.
    Seed(Secret),
    SeedFile(PathBuf),
    /// A user's JWT, and the seed that signs for it.
    Jwt {
        jwt: Secret,
        seed: Secret,
    },
    /// The text of a credentials file.
    Text(Secret),
    File(PathBuf),
}

impl Credentials {
    /// What the server is told in answer to its nonce. Files are read each time, so that new credentials count from the
    /// next connection on.
    ///
    /// # Errors
    ///
    /// One sentence, without anything secret, when they are no credentials.
    pub(super) fn prove(&self, nonce: &[u8]) -> Result<Auth, String> {
        let mut auth = Auth::new();
        match self {
            Self::User { name, password } => {
                if name.is_empty() || password.0.is_empty() {
                    return Err("the name or the password of the user is empty".to_owned());
                }
                (auth.username, auth.password) = (Some(name.clone()), Some(password.0.clone()));
            }
            Self::Token(token) if token.0.is_empty() => return Err("the token is empty".to_owned()),
            Self::Token(token) => auth.token = Some(token.0.clone()),
            Self::Seed(seed) => {
                sign_with_key(&mut auth, nonce, &seed.0).map_err(|what| format!("the nkey is {what}"))?
            }
            Self::SeedFile(path) => sign_with_key(&mut auth, nonce, &read(path)?)
                .map_err(|what| format!("what `{}` holds is {what}", path.display()))?,
            Self::Jwt { jwt, seed } => sign_with_jwt(&mut auth, nonce, &jwt.0, &seed.0)
                .map_err(|what| format!("the JWT and its seed are {what}"))?,
            Self::Text(text) => sign_with_jwt(&mut auth, nonce, &text.0, &text.0)
                .map_err(|what| format!("the text of the credentials is {what}"))?,
            Self::File(path) => {
                let text = read(path)?;
                sign_with_jwt(&mut auth, nonce, &text, &text)
                    .map_err(|what| format!("what `{}` holds is {what}", path.display()))?;
            }
        }
        Ok(auth)
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name, .. } => write!(f, "user `{name}` and the password"),
            Self::Token(_) => f.write_str("the token"),
            Self::Seed(_) => f.write_str("the nkey"),
            Self::SeedFile(path) => write!(f, "the nkey in `{}`", path.display()),
            Self::Jwt { .. } => f.write_str("the JWT"),
            Self::Text(_) => f.write_str("the credentials given as text"),
            Self::File(path) => write!(f, "the credentials in `{}`", path.display()),
        }
    }
}

/// Whether a text is the seed of a user's key.
pub(super) fn is_seed(text: &str) -> bool {
    user_key(text).is_ok()
}

fn read(path: &PathBuf) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
}

/// The key whose seed stands in a line of its own.
fn user_key(text: &str) -> Result<KeyPair, &'static str> {
    let mut seeds = text.lines().map(str::trim).filter(|line| line.starts_with("SU"));
    seeds.find_map(|line| KeyPair::from_seed(line).ok()).ok_or("no seed of a user's nkey, which begins with `SU`")
}

fn sign_with_key(auth: &mut Auth, nonce: &[u8], seed: &str) -> Result<(), &'static str> {
    let key = user_key(seed)?;
    auth.signature = Some(key.sign(nonce).map_err(|_| "no key that signs")?);
    auth.nkey = Some(key.public_key());
    Ok(())
}

fn sign_with_jwt(auth: &mut Auth, nonce: &[u8], jwt: &str, seed: &str) -> Result<(), &'static str> {
    let mut lines = jwt.lines().map(str::trim);
    // Every JWT begins with this: its header is a JSON object in base64.
    let jwt = lines.find(|line| line.starts_with("eyJ")).ok_or("without a user's JWT")?;
    auth.signature = Some(user_key(seed)?.sign(nonce).map_err(|_| "with a key that does not sign")?);
    auth.jwt = Some(jwt.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn credentials_are_read_as_other_clients_write_them() {
        let seed = KeyPair::new_user().seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\r\neyJ0.e30.sig\r\n------END NATS USER JWT------\r\n\r\n\
             -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n"
        );
        let auth = Credentials::Text(Secret::new(text)).prove(b"nonce").unwrap();
        let key = KeyPair::from_seed(&seed).unwrap();
        assert_eq!(auth.jwt.as_deref(), Some("eyJ0.e30.sig"));
        assert!(key.verify(b"nonce", &auth.signature.unwrap()).is_ok());
        let auth = Credentials::Seed(Secret::new(format!(" {seed}\n"))).prove(b"nonce").unwrap();
        assert_eq!((auth.nkey, auth.jwt), (Some(key.public_key()), None));
    }

    #[test]
    fn what_is_wrong_with_credentials_is_said_without_them() {
        let secret = || Secret::new("SUSECRET");
        for wrong in [
            Credentials::User { name: String::new(), password: secret() },
            Credentials::User { name: "SUSECRET".to_owned(), password: Secret::new("") },
            Credentials::Token(Secret::new("")),
            Credentials::Seed(secret()),
            Credentials::Jwt { jwt: secret(), seed: secret() },
            Credentials::Text(secret()),
            Credentials::File("/absent".into()),
            Credentials::SeedFile("/dev/null".into()),
        ] {
            let text = wrong.prove(b"nonce").err().unwrap();
            assert!(!text.contains("SECRET") && !text.is_empty(), "{text}");
        }
        for shown in [Credentials::Token(secret()), Credentials::User { name: "me".to_owned(), password: secret() }] {
            assert!(!format!("{shown} {shown:?}").contains("SECRET"), "{shown:?}");
        }
    }
}
