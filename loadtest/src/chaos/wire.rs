//! A gRPC client on bare HTTP/2.
//!
//! Chaos runs ask for what a client library hides: the bytes of an answer, windows that never open, connections that
//! nobody reads, and whether a stream was begun by the server or refused before. It also costs less than half.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use http::{Method, Request, Uri, Version};
use prost::Message as _;
use tokio::net::TcpStream;
use tollgate_proto::v1;
use tonic::{Code, Status};

const PATH: &str = "/tollgate.v1.ScoringService/Score";

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// An answer is far smaller; no window of ours ever holds one back.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 24;

/// A connection that cannot be opened within this never will be.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// A message's own header: compressed or not, and its length.
const FRAME_BYTES: usize = 5;

/// Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    uri: Uri,
}

/// The frames of a connection move only while this is awaited; the connection ends when it is dropped.
pub(crate) type Driver = h2::client::Connection<TcpStream, Bytes>;

/// What came back.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are the large one, which a box would make dearer"
)]
pub(crate) enum Reply {
    /// The answer, and the bytes that it was on the wire.
    Answer(v1::ScoreResponse, Bytes),
    /// The service said no.
    Error(Status),
    /// The server has not begun with it: it was refused by GOAWAY or RST_STREAM, or never left. Clients of gRPC send such
    /// a request again without asking.
    Refused,
    /// It was accepted, as far as anybody can tell, and no answer came.
    Lost(String),
}

impl Connection {
    /// Opens a connection that reads as fast as it can.
    pub(crate) async fn open(address: &str) -> Result<Self> {
        let (connection, driver) =
            Self::with_window(address, STREAM_WINDOW, CONNECTION_WINDOW).await?;
        // It ends with the connection; what that means for a stream, the stream says.
        tokio::spawn(async move {
            let _ended = driver.await;
        });
        Ok(connection)
    }

    pub(crate) async fn open_many(address: &str, count: usize) -> Result<Vec<Self>> {
        let mut opened = Vec::with_capacity(count);
        for _ in 0..count {
            opened.push(Self::open(address).await?);
        }
        Ok(opened)
    }

    /// Opens one with windows of the caller's choice, which nothing drives yet.
    pub(crate) async fn with_window(
        address: &str,
        stream: u32,
        connection: u32,
    ) -> Result<(Self, Driver)> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(address)
            .path_and_query(PATH)
            .build()?;
        let open = async {
            let socket = TcpStream::connect(address).await?;
            // Nagle's algorithm would hold small requests back for milliseconds.
            socket.set_nodelay(true)?;
            let mut builder = Builder::new();
            builder
                .initial_window_size(stream)
                .initial_connection_window_size(connection)
                .enable_push(false);
            anyhow::Ok(builder.handshake(socket).await?)
        };
        let opened = tokio::time::timeout(OPEN_MAX, open).await;
        let (send, driver) = opened
            .context("no HTTP/2 connection in time")
            .flatten()
            .with_context(|| format!("cannot connect to the scoring service at {address}"))?;
        Ok((Self { send, uri }, driver))
    }

    /// Asks for a decision and waits for whatever comes. `timeout` is what the request says of its deadline.
    pub(crate) async fn call(&self, framed: Bytes, timeout: Option<HeaderValue>) -> Reply {
        let response = match self.begin(framed, timeout).await {
            Ok(response) => response,
            Err(_refused) => return Reply::Refused,
        };
        match receive(response).await {
            Ok(received) => received.reply(),
            Err(error) if is_refusal(&error) => Reply::Refused,
            Err(error) => Reply::Lost(error.to_string()),
        }
    }

    /// Whether it takes further requests: it has not failed, and the server has not said that it closes it.
    pub(crate) async fn is_open(&self) -> bool {
        self.send.clone().ready().await.is_ok()
    }

    /// Hands a request over to the connection; an error means that it has not left.
    pub(crate) async fn begin(
        &self,
        framed: Bytes,
        timeout: Option<HeaderValue>,
    ) -> Result<h2::client::ResponseFuture, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert(TE, TRAILERS);
        if let Some(timeout) = timeout {
            headers.insert(GRPC_TIMEOUT, timeout);
        }
        let (response, mut stream) = send.send_request(request, false)?;
        // An error here is the stream's own, which the response tells better.
        let _told_by_response = stream.send_data(framed, true);
        Ok(response)
    }
}

/// The header `grpc-timeout`, in microseconds.
pub(crate) fn timeout_header(timeout: Duration) -> Result<HeaderValue> {
    Ok(HeaderValue::from_str(&format!("{}u", timeout.as_micros()))?)
}

struct Received {
    body: Bytes,
    /// Of the response, or of its trailers.
    status: HeaderMap,
}

async fn receive(response: h2::client::ResponseFuture) -> Result<Received, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Bytes::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body = if body.is_empty() {
            chunk
        } else {
            let mut joined = BytesMut::from(body.as_ref());
            joined.extend_from_slice(&chunk);
            joined.freeze()
        };
    }
    let trailers = stream.trailers().await?;
    Ok(Received {
        body,
        status: trailers.unwrap_or(head.headers),
    })
}

impl Received {
    fn reply(self) -> Reply {
        let text = |name: &str| self.status.get(name).and_then(|value| value.to_str().ok());
        let code = text("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
        match code {
            None => Reply::Lost("an answer without a gRPC status".to_owned()),
            Some(Code::Ok) => {
                let message = self.body.slice(FRAME_BYTES.min(self.body.len())..);
                match v1::ScoreResponse::decode(message.clone()) {
                    Ok(response) => Reply::Answer(response, message),
                    Err(error) => Reply::Lost(format!("an answer that is none: {error}")),
                }
            }
            Some(code) => Reply::Error(Status::new(code, text("grpc-message").unwrap_or_default())),
        }
    }
}

/// Whether the peer says that it has not begun with the stream (RFC 9113, 6.8 and 8.7).
fn is_refusal(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && ((error.is_go_away() && reason == Some(h2::Reason::NO_ERROR))
            || (error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::requests::Requests;
    use crate::score::fake;

    #[tokio::test]
    async fn answers_come_with_their_bytes_and_requests_carry_their_deadline() {
        let service = fake::start().await;
        let connection = Connection::open(&service.address).await.unwrap();
        let requests = Requests::with(10, 1, 10).unwrap();
        let timeout = timeout_header(Duration::from_millis(2)).unwrap();
        let reply = connection.call(requests.request(7), Some(timeout)).await;
        let Reply::Answer(response, bytes) = reply else {
            panic!("no answer");
        };
        assert_eq!(response.transaction_id, "c-000000000007");
        assert_eq!(response.encode_to_vec(), bytes);
        assert_eq!(service.timeouts(), ["2000u"]);
    }

    #[tokio::test]
    async fn what_the_service_refuses_is_an_error_with_its_code() {
        let service = fake::start().await;
        let connection = Connection::open(&service.address).await.unwrap();
        let refused = v1::ScoreRequest {
            transaction: Some(v1::Transaction {
                transaction_id: "refuse".to_owned(),
                ..v1::Transaction::default()
            }),
            include_features: false,
        };
        let message = refused.encode_to_vec();
        let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
        framed.extend(message);
        let reply = connection.call(framed.into(), None).await;
        let Reply::Error(status) = reply else {
            panic!("no error");
        };
        assert_eq!(status.code(), Code::InvalidArgument);
        // Spaces come percent-encoded.
        assert!(status.message().starts_with("transaction_id:"));
    }

    #[tokio::test]
    async fn a_server_that_closes_without_an_answer_has_lost_the_request() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut server = h2::server::handshake(socket).await.unwrap();
            // It takes one request, and is gone.
            let _request = server.accept().await.unwrap().unwrap();
        });
        let connection = Connection::open(&address).await.unwrap();
        let requests = Requests::with(10, 1, 10).unwrap();
        let reply = connection.call(requests.request(1), None).await;
        assert!(matches!(reply, Reply::Lost(_)));
        // What is asked from now on never leaves.
        let reply = connection.call(requests.request(2), None).await;
        assert!(matches!(reply, Reply::Refused));
        assert!(!connection.is_open().await);
    }

    #[tokio::test]
    async fn a_stream_beyond_the_last_that_a_stopping_server_takes_is_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut server = h2::server::handshake(socket).await.unwrap();
            let (_request, mut respond) = server.accept().await.unwrap().unwrap();
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            while server.accept().await.is_some() {}
        });
        let connection = Connection::open(&address).await.unwrap();
        let requests = Requests::with(10, 1, 10).unwrap();
        let reply = connection.call(requests.request(1), None).await;
        assert!(matches!(reply, Reply::Refused));
        assert!(connection.is_open().await);
    }
}
