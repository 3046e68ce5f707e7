//! How to reach the servers, how to prove who one is, and what bounds the streams.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Nats, address,
    bounds::Bounds,
    credentials::{Credentials, Secret},
    settings::{Settings, Tls},
};
use crate::error::Error;

/// Where a server is looked for if no address is given: where one on this machine listens by default.
const LOCAL: &str = "nats://localhost:4222";

/// Describes a connection to NATS: the servers, how to prove who one is, TLS, and what bounds the streams.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), catga::Error> {
/// use catga::transport::Nats;
///
/// let nats = Nats::builder()
///     .server("tls://nats-1.example.com")
///     .server("tls://nats-2.example.com")
///     .credentials_file("/etc/catga/orders.creds")
///     .root_certificates("/etc/catga/ca.pem")
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "call `connect`"]
pub struct NatsBuilder {
    /// Each is one address or a list; they may hold credentials.
    servers: Vec<Secret>,
    credentials: Vec<Credentials>,
    tls: Tls,
    name: Option<String>,
    inbox: Option<String>,
    bounds: Bounds,
}

impl NatsBuilder {
    /// A server, or several separated by commas: `nats://host:4222`, or `tls://host` where TLS is to be demanded. A user and
    /// password or a token may stand before the host: `nats://user:password@host`, percent-encoded where need be.
    ///
    /// Each call adds to the ones before. Without any it is `nats://localhost:4222`. The other servers of a cluster are
    /// found by themselves.
    pub fn server(mut self, address: impl Into<String>) -> Self {
        self.servers.push(Secret::new(address));
        self
    }

    /// What the connections are called on the server, before the application, the node and what each is for; `catga` by
    /// default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A user and a password.
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.proof(Credentials::User { name: name.into(), password: Secret::new(password) })
    }

    /// A token.
    pub fn token(self, token: impl Into<String>) -> Self {
        self.proof(Credentials::Token(Secret::new(token)))
    }

    /// The seed of a user's nkey, which begins with `SU`.
    pub fn nkey(self, seed: impl Into<String>) -> Self {
        self.proof(Credentials::Seed(Secret::new(seed)))
    }

    /// A file with the seed of a user's nkey, which is read again for each connection that is made.
    pub fn nkey_file(self, path: impl Into<PathBuf>) -> Self {
        self.proof(Credentials::SeedFile(path.into()))
    }

    /// A user's JWT, and the seed that signs for it.
    pub fn jwt(self, jwt: impl Into<String>, seed: impl Into<String>) -> Self {
        self.proof(Credentials::Jwt { jwt: Secret::new(jwt), seed: Secret::new(seed) })
    }

    /// The text of a credentials file, such as `nsc generate creds` writes it.
    pub fn credentials(self, text: impl Into<String>) -> Self {
        self.proof(Credentials::Text(Secret::new(text)))
    }

    /// A credentials file, which is read again for each connection that is made.
    pub fn credentials_file(self, path: impl Into<PathBuf>) -> Self {
        self.proof(Credentials::File(path.into()))
    }

    fn proof(mut self, credentials: Credentials) -> Self {
        self.credentials.push(credentials);
        self
    }

    /// Refuses a server that does not speak TLS.
    pub fn require_tls(mut self) -> Self {
        self.tls.required = true;
        self
    }

    /// A PEM file with the certificates that are trusted, instead of those of the system; demands TLS. Each call adds to
    /// the ones before.
    pub fn root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.required = true;
        self.tls.roots.push(path.into());
        self
    }

    /// PEM files with the certificate of this client and its key; demands TLS.
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.required = true;
        self.tls.client = Some((certificate.into(), key.into()));
        self
    }

    /// Begins with TLS, before the server says anything: for servers with `handshake_first`.
    pub fn tls_first(mut self) -> Self {
        (self.tls.required, self.tls.first) = (true, true);
        self
    }

    /// What the subjects of answers to this client begin with, instead of `<application>.inbox`: with one of its own, no
    /// other user of the server can listen to them.
    pub fn inbox_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.inbox = Some(prefix.into());
        self
    }

    /// On how many servers each stream is kept: an odd number up to 5. By default three in a cluster, else one.
    ///
    /// This and the other bounds count for streams that are there, too: the node that starts last decides. What is not
    /// set is left as it is.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.bounds.replicas = Some(replicas);
        self
    }

    /// How long reliable events are kept; 7 days by default. A node that is away for longer misses what is older.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.bounds.max_age = Some(age);
        self
    }

    /// How many bytes of reliable events are kept, and as many of dead letters; 1 GiB by default. The oldest go first.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        // More than that no store holds.
        self.bounds.max_bytes = Some(i64::try_from(bytes).unwrap_or(i64::MAX));
        self
    }

    /// For how long the server recognises what is stored twice; 2 minutes by default. Each id takes about 200 bytes of the
    /// server's memory.
    pub fn duplicate_window(mut self, window: Duration) -> Self {
        self.bounds.duplicate_window = Some(window);
        self
    }

    /// How long dead letters are kept; 30 days by default.
    pub fn dead_letter_age(mut self, age: Duration) -> Self {
        self.bounds.dead_letter_age = Some(age);
        self
    }

    /// Connects to a server, and checks that it can be used.
    ///
    /// # Errors
    ///
    /// `Configuration` with everything that is wrong with these options; also when the server refuses the credentials or
    /// the certificate, is older than 2.10 or has no JetStream. `Transport` with the address when there is no server
    /// within 8 seconds.
    pub async fn connect(self) -> Result<Nats, Error> {
        let bounds = self.bounds.clone();
        Nats::open(self.finish()?, bounds).await
    }

    /// Checks what can be checked without a server.
    fn finish(self) -> Result<Settings, Error> {
        let mut problems = Vec::new();
        let (mut servers, mut credentials) = (Vec::new(), self.credentials);
        let local = Secret::new(LOCAL);
        let given = if self.servers.is_empty() { std::slice::from_ref(&local) } else { &self.servers };
        for list in given {
            match address::read(list.reveal()) {
                Ok(addresses) => {
                    for address in addresses {
                        servers.push(address.server);
                        credentials.extend(address.credentials);
                    }
                }
                Err(what) => problems.push(what),
            }
        }
        // The same credentials may stand in each address.
        credentials.dedup();
        for one in &credentials {
            problems.extend(one.prove(b"").err());
        }
        if credentials.len() > 1 {
            let given: Vec<_> = credentials.iter().map(Credentials::to_string).collect();
            problems.push(format!("only one can say who this is: {}", given.join(", and ")));
        }
        self.tls.check(&mut problems);
        let name = self.name.unwrap_or_else(|| "catga".to_owned());
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            problems.push("the name of the connections is empty or holds what cannot be shown".to_owned());
        }
        if self.inbox.as_deref().is_some_and(|prefix| !is_subject(prefix)) {
            let prefix = self.inbox.as_deref().unwrap_or_default().escape_debug();
            problems
                .push(format!("`{prefix}` is no prefix for inboxes: use letters, digits, `-` and `_`, parted by `.`"));
        }
        self.bounds.check(&mut problems);
        if !problems.is_empty() {
            return Err(Error::configuration(format!("NATS is set up wrongly: {}", problems.join("; "))));
        }
        Ok(Settings { servers, credentials: credentials.pop().map(Arc::new), tls: self.tls, name, inbox: self.inbox })
    }
}

fn is_subject(text: &str) -> bool {
    let good = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    text.split('.').all(|token| !token.is_empty() && token.chars().all(good))
}

impl Tls {
    /// Whether the files are what they are said to be: the client takes a file without a certificate in silence.
    fn check(&self, problems: &mut Vec<String>) {
        let mut holds = |path: &PathBuf, what: &str| match fs::read(path) {
            Err(error) => problems.push(format!("`{}` cannot be read: {error}", path.display())),
            Ok(bytes) if !String::from_utf8_lossy(&bytes).contains(&format!("{what}-----")) => {
                problems.push(format!("`{}` holds no {} in the form PEM", path.display(), what.to_lowercase()));
            }
            Ok(_) => {}
        };
        self.roots.iter().for_each(|path| holds(path, "CERTIFICATE"));
        if let Some((certificate, key)) = &self.client {
            holds(certificate, "CERTIFICATE");
            holds(key, "PRIVATE KEY");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_nothing_secret() {
        let wrong = NatsBuilder::default()
            .server("nats://host:SECRET")
            .user("me", "SECRET")
            .token("SECRET")
            .nkey("SECRET")
            .root_certificates("/absent.pem")
            .client_certificate("/dev/null", "/dev/null")
            .name("")
            .inbox_prefix("a.*")
            .replicas(0)
            .max_bytes(0)
            .duplicate_window(Duration::from_secs(1))
            .max_age(Duration::ZERO);
        let shown = format!("{wrong:?}");
        let error = wrong.finish().err().unwrap();
        assert_eq!(error.kind(), crate::error::ErrorKind::Configuration);
        let text = error.to_string();
        for part in [
            "the address of a server",
            "the nkey is",
            "user `me` and the password, and the token, and the nkey",
            "`/absent.pem` cannot be read",
            "`/dev/null` holds no certificate",
            "`/dev/null` holds no private key",
            "the name of the connections",
            "`a.*` is no prefix",
            "1 to 5 replicas",
            "no bytes",
            "duplicate window is shorter",
            "less than the duplicate window",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("SECRET") && !shown.contains("SECRET"), "{text}\n{shown}");
    }

    #[test]
    fn credentials_in_an_address_count_and_do_not_contradict_others() {
        let finish = |builder: NatsBuilder| builder.finish();
        let both = finish(NatsBuilder::default().server("nats://u:p@a,nats://u:p@b")).unwrap();
        assert_eq!(both.address(), "a:4222, b:4222");
        assert!(both.credentials.is_some());
        assert_eq!(finish(NatsBuilder::default().server("u:p@[::1]:1")).unwrap().address(), "[::1]:1");
        assert!(finish(NatsBuilder::default().server("u:p@a").user("u", "p")).is_ok());
        for contradiction in [
            NatsBuilder::default().server("u:p@a").user("u", "other"),
            NatsBuilder::default().server("u:p@a,token@b"),
            NatsBuilder::default().token("a").credentials_file("/b"),
        ] {
            assert!(finish(contradiction).is_err());
        }
    }
}
