//! The ways in which brokers for tests ask clients who they are, and the certificate they show.
//!
//! User and password are no secret: they open brokers that only this machine can reach and that hold nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::tools;

const USER: &str = "toll";
const PASSWORD: &str = "toll-of-tests";

/// Opens the brokers' key store, which would not do without.
const STORE_PASSWORD: &str = "of-no-worth";

const MODULES: &str = "org.apache.kafka.common.security";

/// What follows in a broker's properties, whose listeners are called SASL, SASL_TLS and TLS.
pub(super) fn properties(root: &Path) -> String {
    let mut text = format!(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,\
         SASL_TLS:SASL_SSL,TLS:SSL\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n\
         ssl.keystore.location={}\nssl.keystore.type=PKCS12\nssl.keystore.password={STORE_PASSWORD}\n",
        root.join("broker.p12").display()
    );
    let plain = format!("plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\"");
    // Takes any token that says of itself whose it is: enough to see that one is sent.
    let token = format!(
        "oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"{USER}\""
    );
    for listener in ["sasl", "sasl_tls"] {
        for (mechanism, module) in [
            ("plain", plain.as_str()),
            ("scram-sha-256", "scram.ScramLoginModule required"),
            ("scram-sha-512", "scram.ScramLoginModule required"),
            ("oauthbearer", token.as_str()),
        ] {
            text += &format!(
                "listener.name.{listener}.{mechanism}.sasl.jaas.config={MODULES}.{module};\n"
            );
        }
    }
    text
}

/// Arguments that have the storage formatted with users in it.
pub(super) fn scram_users() -> Vec<String> {
    let user = |mechanism| format!("{mechanism}=[name={USER},password={PASSWORD}]");
    let users = ["SCRAM-SHA-256", "SCRAM-SHA-512"].map(user);
    users
        .into_iter()
        .flat_map(|user| ["--add-scram".to_owned(), user])
        .collect()
}

/// Makes the certificate of 127.0.0.1 that all brokers show, and `ca.pem` for clients to know it by.
pub(super) fn make_certificate(root: &Path) -> anyhow::Result<()> {
    let (store, certificate) = (root.join("broker.p12"), root.join("ca.pem"));
    // One that is there would be kept, and may have run out.
    let _ = std::fs::remove_file(&store);
    let keytool = |words: &[&str]| {
        let mut keytool = Command::new("keytool");
        keytool
            .args(words)
            .args(["-alias", "broker", "-keystore"])
            .arg(&store);
        keytool.args(["-storetype", "PKCS12", "-storepass", STORE_PASSWORD]);
        keytool.stderr(Stdio::null());
        keytool
    };
    let mut generate = keytool(&["-genkeypair", "-keyalg", "EC", "-validity", "365"]);
    generate.args(["-dname", "CN=127.0.0.1", "-ext", "SAN=IP:127.0.0.1"]);
    tools::run(&mut generate).context("no certificate for the brokers")?;
    let mut export = keytool(&["-exportcert", "-rfc"]);
    export.arg("-file").arg(certificate);
    tools::run(&mut export).context("no certificate for clients")
}
