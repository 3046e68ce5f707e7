//! What proves who one is: the JWTs of an operator's server, certificates, and files for them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as TlsKey};
use serde_json::{Value, json};

/// A folder for one test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("catga-security-{:016x}", fastrand::u64(..)));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An operator, with one account whose users may do everything.
pub struct Operator {
    account: KeyPair,
    /// What a server is to be told.
    pub config: String,
}

impl Operator {
    pub fn new() -> Self {
        let (operator, account, system) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let account_jwt = jwt(&operator, &account, json!({ "limits": limits, "type": "account", "version": 2 }));
        // The system's account may not store.
        let few = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1 });
        let system_jwt = jwt(&operator, &system, json!({ "limits": few, "type": "account", "version": 2 }));
        let operator_jwt = jwt(&operator, &operator, json!({ "type": "operator", "version": 2 }));
        let (account_key, system_key) = (account.public_key(), system.public_key());
        let config = format!(
            "operator: {operator_jwt}\nsystem_account: {system_key}\nresolver: MEMORY\n\
             resolver_preload: {{ {account_key}: {account_jwt}, {system_key}: {system_jwt} }}\n"
        );
        Self { account, config }
    }

    /// A new user: the JWT and the seed.
    pub fn user(&self) -> (String, String) {
        let key = KeyPair::new_user();
        let permissions =
            json!({ "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
        (jwt(&self.account, &key, permissions), key.seed().unwrap())
    }
}

/// A credentials file, as `nsc` writes it.
pub fn credentials(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": format!("{:x}", fastrand::u128(..)), "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test",
        "sub": subject.public_key(), "nats": nats,
    });
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// Certificates of one authority, in files: `ca.pem`, and `server` and `client` with a key each.
pub struct Certificates(pub Folder);

impl Certificates {
    pub fn new() -> Self {
        let folder = Folder::new();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, TlsKey::generate().unwrap()).unwrap();
        folder.write("ca.pem", &authority.pem());
        for name in ["server", "client"] {
            let key = TlsKey::generate().unwrap();
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
            folder.write(&format!("{name}.pem"), &certificate.pem());
            folder.write(&format!("{name}-key.pem"), &key.serialize_pem());
        }
        Self(folder)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What a server is to be told.
    pub fn config(&self, further: &str) -> String {
        let path = |name: &str| self.file(name).display().to_string();
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {further} }}",
            path("server.pem"),
            path("server-key.pem"),
            path("ca.pem")
        )
    }
}
