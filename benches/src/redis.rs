//! A Redis of the bench's own, and a minimal client of it.
//!
//! The server is Debian's `redis-server` on loopback with a free port, without persistence, and is ended with this value.
//! The client speaks RESP2 over one connection: commands are gathered and sent together, replies are read in order and
//! handed out as borrowed bytes, so that little of what is measured is the client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::timing::now;

const START_MAX: Duration = Duration::from_secs(20);

/// Read at once from the socket: the replies of a whole decision.
const BUFFER_BYTES: usize = 256 << 10;

/// Longest bulk string taken: an error of ours would otherwise ask for the machine's memory.
const BULK_BYTES_MAX: usize = 64 << 20;

/// A running `redis-server`.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// An error that says what to install where there is none.
    pub fn installed() -> anyhow::Result<()> {
        let found = Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        match found {
            Ok(status) if status.success() => Ok(()),
            _ => bail!("redis-server is not installed: apt-get install redis-server"),
        }
    }

    pub fn start() -> anyhow::Result<Self> {
        Self::installed()?;
        // Given back at once; nobody else asks for loopback ports at that rate.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--loglevel", "warning"])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.spawn().context("cannot run redis-server")?;
        let mut server = Self { child, port };
        server.wait()?;
        Ok(server)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let started = now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("redis-server ended with {status}");
            }
            if self.client().and_then(|mut client| client.ping()).is_ok() {
                return Ok(());
            }
            ensure!(
                started.elapsed() < START_MAX,
                "redis-server did not answer within {START_MAX:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn client(&self) -> anyhow::Result<Client> {
        Client::new(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: BufReader<TcpStream>,
    output: Vec<u8>,
    bulk: Vec<u8>,
    line: Vec<u8>,
}

impl Client {
    fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            input: BufReader::with_capacity(BUFFER_BYTES, stream.try_clone()?),
            stream,
            output: Vec::with_capacity(BUFFER_BYTES),
            bulk: Vec::new(),
            line: Vec::new(),
        })
    }

    /// Adds a command to what [`Client::send`] sends.
    pub fn add(&mut self, words: &[&[u8]]) {
        self.header(b'*', words.len());
        for word in words {
            self.header(b'$', word.len());
            self.output.extend_from_slice(word);
            self.output.extend_from_slice(b"\r\n");
        }
    }

    /// Sends the commands added since the last time, in one write.
    pub fn send(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// The bytes of a reply that is one string.
    pub fn bulk(&mut self) -> anyhow::Result<&[u8]> {
        self.length(b'$')?;
        Ok(&self.bulk)
    }

    /// The strings of a reply that is an array of them, in order; `length` of them are announced first.
    pub fn array(
        &mut self,
        mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for _ in 0..self.length(b'*')? {
            each(self.bulk()?)?;
        }
        Ok(())
    }

    /// A reply that is a number.
    pub fn integer(&mut self) -> anyhow::Result<usize> {
        self.length(b':')
    }

    /// A reply of one word, such as `OK`.
    pub fn word(&mut self) -> anyhow::Result<String> {
        self.line()?;
        let word = self.line.strip_prefix(b"+");
        let word = word.with_context(|| self.unexpected())?;
        Ok(String::from_utf8_lossy(word).into_owned())
    }

    fn ping(&mut self) -> anyhow::Result<()> {
        self.add(&[b"PING"]);
        self.send()?;
        ensure!(self.word()? == "PONG", "the answer to PING is not PONG");
        Ok(())
    }

    fn header(&mut self, kind: u8, length: usize) {
        self.output.push(kind);
        self.output.extend_from_slice(length.to_string().as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn line(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        self.input.read_until(b'\n', &mut self.line)?;
        let end = self
            .line
            .strip_suffix(b"\r\n")
            .context("the connection ended")?;
        self.line.truncate(end.len());
        Ok(())
    }

    /// Reads a line such as `$19`, and for a string its bytes.
    fn length(&mut self, kind: u8) -> anyhow::Result<usize> {
        self.line()?;
        let digits = match self.line.split_first() {
            Some((first, digits)) if *first == kind && !digits.is_empty() => digits,
            _ => bail!(self.unexpected()),
        };
        let mut length: usize = 0;
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            ensure!(digit < 10, self.unexpected());
            length = length * 10 + usize::from(digit);
            ensure!(
                length <= BULK_BYTES_MAX,
                "a reply of {length} bytes or more"
            );
        }
        if kind == b'$' {
            // With the line end that follows, which is cut off again.
            self.bulk.resize(length + 2, 0);
            self.input.read_exact(&mut self.bulk)?;
            self.bulk.truncate(length);
        }
        Ok(length)
    }

    fn unexpected(&self) -> String {
        format!(
            "Redis replied `{}`",
            String::from_utf8_lossy(&self.line).escape_debug()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client whose peer has said `replies`.
    fn told(replies: &[u8]) -> Client {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(replies).unwrap();
        Client::new(stream).unwrap()
    }

    #[test]
    fn replies_are_read_in_order() {
        let mut client = told(b"+OK\r\n:42\r\n*2\r\n$3\r\na\r\n\r\n$0\r\n\r\n$2\r\nhi\r\n*0\r\n");
        assert_eq!(client.word().unwrap(), "OK");
        assert_eq!(client.integer().unwrap(), 42);
        let mut strings = Vec::new();
        let collect = |bytes: &[u8]| {
            strings.push(bytes.to_vec());
            Ok(())
        };
        client.array(collect).unwrap();
        assert_eq!(strings, [b"a\r\n".to_vec(), Vec::new()]);
        assert_eq!(client.bulk().unwrap(), b"hi");
        client.array(|_| bail!("nothing was announced")).unwrap();
    }

    #[test]
    fn an_error_reply_and_an_absent_key_are_errors_that_say_so() {
        for (reply, said) in [
            (b"-ERR no such script\r\n".as_slice(), "no such script"),
            (b"$-1\r\n", "$-1"),
            (b"", "connection ended"),
        ] {
            let error = told(reply).bulk().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
