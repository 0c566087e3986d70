//! The loop that accepts connections, and the task of each.
//!
//! tonic's own server is not used: its limits are per connection, its timeout starts late and answers CANCELLED, and its
//! graceful shutdown waits for clients without end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connections::{Connections, Entered};
use super::entrance::{Entrance, Services};
use crate::config::GrpcConfig;
use crate::metrics::ConnectionEvent;

/// After the operating system had no descriptor or memory for a connection: trying again at once would only use CPU that
/// those which are open need.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection on which nothing at all has come for so long after it was opened is no client's.
const FIRST_BYTE_MAX: Duration = Duration::from_secs(10);

/// The same once the drain has begun: what a client sends right after it has connected is under way, and is answered.
const FIRST_BYTE_IN_DRAIN_MAX: Duration = Duration::from_millis(200);

/// How long an idle connection that was sent away may take to be gone.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// What all connections are to do, in the order it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Take nothing new, end what is in progress, then close.
    Drain,
    /// Close.
    Cut,
}

pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) services: Arc<Services>,
    pub(super) connections: Arc<Connections>,
    pub(super) config: GrpcConfig,
    /// Every task of a connection has a copy, so its sender knows when the last one has ended.
    pub(super) phase: watch::Receiver<Phase>,
}

impl Acceptor {
    /// Accepts until the drain. Those that the operating system has accepted by then are served too: their clients take
    /// them to be open.
    pub(super) async fn run(mut self) {
        let mut phase = self.phase.clone();
        loop {
            tokio::select! {
                // The drain first: there may always be another connection.
                biased;
                () = reached(&mut phase, Phase::Drain) => break,
                accepted = self.listener.accept() => {
                    if let Some(pause) = self.accepted(accepted.map(|(socket, _)| socket)) {
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        }
        // However many they are, none of them is waited for.
        let next = || tokio::task::unconstrained(self.listener.accept()).now_or_never();
        while let Some(accepted) = next() {
            match accepted {
                Ok((socket, _)) => self.serve(socket),
                Err(error) if pause_after(&error).is_none() => {}
                Err(_) => break,
            }
        }
    }

    /// Deals with what `accept` brought; how long to wait before the next, if it was an error that would come again.
    fn accepted(&mut self, accepted: io::Result<TcpStream>) -> Option<Duration> {
        match accepted {
            Ok(socket) => {
                self.serve(socket);
                None
            }
            Err(error) => {
                let metrics = &self.services.metrics;
                metrics.note(ConnectionEvent::AcceptFailed);
                let pause = pause_after(&error)?;
                tracing::warn!(%error, "a connection could not be accepted");
                Some(pause)
            }
        }
    }

    fn serve(&self, socket: TcpStream) {
        let metrics = &self.services.metrics;
        let Some(entered) = self.connections.enter() else {
            metrics.note(ConnectionEvent::Refused);
            return;
        };
        metrics.note(ConnectionEvent::Accepted);
        if entered.sent_away {
            metrics.note(ConnectionEvent::SentAway);
        }
        // A segment that waits for another one would cost milliseconds. A socket that cannot be set is closed already.
        let _ = socket.set_nodelay(true);
        let services = Arc::clone(&self.services);
        let task = serve(
            socket,
            entered,
            services,
            self.config.clone(),
            self.phase.clone(),
        );
        tokio::spawn(task);
    }
}

/// `None` for errors of the one connection, which another attempt leaves behind.
fn pause_after(error: &io::Error) -> Option<Duration> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    let of_the_connection = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        Interrupted,
    ];
    (!of_the_connection.contains(&error.kind())).then_some(ACCEPT_PAUSE)
}

/// Serves one connection until its client leaves, or it is told to.
async fn serve(
    socket: TcpStream,
    entered: Entered,
    services: Arc<Services>,
    config: GrpcConfig,
    mut phase: watch::Receiver<Phase>,
) {
    let mut cut = phase.clone();
    let serving = async {
        let first_byte = |limit| tokio::time::timeout(limit, socket.readable());
        let first_byte = tokio::select! {
            // What has been sent is read, whatever else there is to do.
            biased;
            first_byte = first_byte(FIRST_BYTE_MAX) => first_byte,
            () = entered.connection.told_to_leave() => return,
            () = reached(&mut phase, Phase::Drain) => first_byte(FIRST_BYTE_IN_DRAIN_MAX).await,
        };
        if !matches!(first_byte, Ok(Ok(()))) {
            return;
        }
        let mut serving = std::pin::pin!(connection(socket, &entered, services, &config));
        let leaves = tokio::select! {
            // How a connection ends is its client's business.
            _ = serving.as_mut() => return,
            () = entered.connection.told_to_leave() => true,
            () = reached(&mut phase, Phase::Drain) => false,
        };
        serving.as_mut().graceful_shutdown();
        if leaves {
            let _ = tokio::time::timeout(LEAVE_MAX, serving).await;
        } else {
            let _ = serving.await;
        }
    };
    tokio::select! {
        () = reached(&mut cut, Phase::Cut) => {}
        () = serving => {}
    }
}

/// Waits until the server has come as far as `phase`, or is gone.
async fn reached(current: &mut watch::Receiver<Phase>, phase: Phase) {
    let _ = current.wait_for(|current| *current >= phase).await;
}

/// The connection as hyper serves it.
fn connection(
    socket: TcpStream,
    entered: &Entered,
    services: Arc<Services>,
    config: &GrpcConfig,
) -> http2::Connection<TokioIo<TcpStream>, Entrance, TokioExecutor> {
    let entrance = Entrance {
        services,
        connections: Arc::clone(&entered.connections),
        connection: Arc::clone(&entered.connection),
    };
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_per_connection_max)
        .max_pending_accept_reset_streams(Some(resets_max(config)))
        .keep_alive_interval(config.keepalive())
        .keep_alive_timeout(config.keepalive_timeout());
    builder.serve_connection(TokioIo::new(socket), entrance)
}

/// Requests of one connection that are found given up before they were looked at, beyond which the connection is closed as
/// an attack. A client in a hurry gives up all it may have open some tens of times while the machine pauses.
fn resets_max(config: &GrpcConfig) -> usize {
    usize::try_from(config.streams_per_connection_max)
        .unwrap_or(usize::MAX)
        .saturating_mul(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_would_come_again_are_waited_out() {
        let raw = |code| pause_after(&io::Error::from_raw_os_error(code));
        let (out_of_descriptors, aborted) = (24, 103);
        assert_eq!(raw(out_of_descriptors), Some(ACCEPT_PAUSE));
        assert_eq!(raw(aborted), None);
    }
}
