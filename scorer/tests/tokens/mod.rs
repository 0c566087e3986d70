//! An issuer of tokens on loopback, as OpenID Connect has them for programs: whoever shows its id and secret gets one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![allow(
    clippy::disallowed_methods,
    reason = "tokens end by the clock of the machine"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) const CLIENT: &str = "tollgate-client";
pub(crate) const SECRET: &str = "of-the-client";

const SECONDS_VALID: u64 = 300;

pub(crate) struct Issuer {
    pub(crate) address: SocketAddr,
    issued: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Issuer {
    /// Issues tokens for a user until the test ends.
    pub(crate) fn start(user: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = Self {
            address: listener.local_addr().unwrap(),
            issued: Arc::default(),
            refused: Arc::default(),
        };
        let (issued, refused) = (Arc::clone(&issuer.issued), Arc::clone(&issuer.refused));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = match answer(stream, user) {
                    Ok(true) => &issued,
                    // Someone who hangs up has not shown a secret either.
                    Ok(false) | Err(_) => &refused,
                };
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        issuer
    }

    pub(crate) fn issued(&self) -> usize {
        self.issued.load(Ordering::SeqCst)
    }

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

/// Answers one request; whether with a token.
fn answer(stream: TcpStream, user: &str) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut shown, mut line) = (0, String::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => value.clone_into(&mut shown),
            _ => {}
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let expected = base64(format!("{CLIENT}:{SECRET}").as_bytes(), b"+/", true);
    let asks = String::from_utf8_lossy(&body).contains("grant_type=client_credentials");
    let is_known = asks && shown == format!("Basic {expected}");
    let (status, text) = match is_known {
        true => ("200 OK", grant(user)),
        false => (
            "401 Unauthorized",
            r#"{"error": "invalid_client"}"#.to_owned(),
        ),
    };
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )?;
    Ok(is_known)
}

/// A token without a signature, which is all that the brokers' validator for tests looks at.
fn grant(user: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let end = now + SECONDS_VALID;
    let header = base64(br#"{"alg":"none"}"#, b"-_", false);
    let claims = format!(r#"{{"sub":"{user}","iat":{now},"exp":{end}}}"#);
    let claims = base64(claims.as_bytes(), b"-_", false);
    format!(
        r#"{{"access_token": "{header}.{claims}.", "token_type": "Bearer", "expires_in": {SECONDS_VALID}}}"#
    )
}

fn base64(bytes: &[u8], last_two: &[u8; 2], padded: bool) -> String {
    let letters: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(*last_two)
        .collect();
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let of = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = (of(0) << 16) | (of(1) << 8) | of(2);
        for at in 0..=three.len() {
            let six = usize::try_from((bits >> (18 - 6 * at)) & 63).unwrap();
            text.push(char::from(letters[six]));
        }
    }
    while padded && !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}
