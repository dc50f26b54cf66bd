//! One TCP connection to a Modbus server.
//!
//! A connection answers or it is gone: every failure drops the stream, so a late answer has nothing
//! to arrive on. Transaction numbers go on across reconnects and start anywhere, because cheap
//! serial converters deliver what was asked on the old connection on the new one.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::frame::{Answer, HEADER, Misbehaviour, Request};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection could be made.
    #[error("connect failed")]
    Connect(#[source] io::Error),
    /// No connection within the time.
    #[error("connect took too long")]
    ConnectTimeout,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The other side closed the connection instead of answering.
    #[error("the device closed the connection")]
    Closed,
    /// No answer within the time.
    #[error("no answer in time")]
    Timeout,
    /// The answer did not match the question.
    #[error("the device {0}")]
    Misbehaved(#[from] Misbehaviour),
    /// The line was busy with others until the tick was over; nothing was sent.
    #[error("the line was busy until the tick was over")]
    NotAsked,
    /// The device or its link is in back-off; nothing was sent.
    #[error("not asked because it was silent before")]
    BackedOff,
    /// The link's task has ended.
    #[error("the gateway is stopping")]
    Stopping,
}

impl Failure {
    /// Whether there was no connection to ask on: the link failed, not the unit.
    #[must_use]
    pub const fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::ConnectTimeout)
    }

    /// Whether asking again on a fresh connection can help: the device had dropped an idle
    /// connection or sent something stale.
    const fn is_stale(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Closed | Self::Misbehaved(_))
    }
}

/// More than the longest Modbus TCP frame (260 bytes), so that excess bytes show.
const MOST_BYTES: usize = 300;

/// A connection that is made when it is needed.
#[derive(Debug)]
pub struct Connection {
    host: String,
    port: u16,
    connect_delay: Duration,
    stream: Option<TcpStream>,
    /// Whether the stream has already answered something.
    proven: bool,
    /// When the device may first be asked after it was connected to.
    usable_from: Instant,
    transaction: u16,
    frame: Box<[u8; MOST_BYTES]>,
}

impl Connection {
    /// Prepares a connection; `first_transaction` should be random.
    #[must_use]
    pub fn new(host: &str, port: u16, connect_delay: Duration, first_transaction: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            connect_delay,
            stream: None,
            proven: false,
            usable_from: Instant::now(),
            transaction: first_transaction,
            frame: Box::new([0; MOST_BYTES]),
        }
    }

    /// Asks once and returns the answer by `until` at the latest.
    ///
    /// A kept connection that turns out stale is replaced and the question put once more: a device
    /// that closes idle connections costs nothing.
    ///
    /// # Errors
    /// [`Failure`]; the connection is closed afterwards.
    pub async fn ask(&mut self, request: Request, until: Instant) -> Result<Answer, Failure> {
        let proven = self.proven;
        match self.ask_once(request, until).await {
            Err(failure) if proven && failure.is_stale() && Instant::now() < until => {
                self.ask_once(request, until).await
            }
            other => other,
        }
    }

    async fn ask_once(&mut self, request: Request, until: Instant) -> Result<Answer, Failure> {
        self.transaction = self.transaction.wrapping_add(1);
        let mut stream = self.connected(until).await?;
        if self.usable_from >= until {
            // The device wants a longer pause than this tick has; the connection is kept for the next.
            self.stream = Some(stream);
            return Err(Failure::NotAsked);
        }
        sleep_until(self.usable_from).await;
        let exchange = exchange(&mut stream, request, self.transaction, &mut self.frame);
        // The stream is dropped on every path but the last: that closes it.
        let answer = timeout_at(until, exchange)
            .await
            .map_err(|_elapsed| Failure::Timeout)??;
        (self.stream, self.proven) = (Some(stream), true);
        Ok(answer)
    }

    /// The kept stream if it is clean, or a new one.
    async fn connected(&mut self, until: Instant) -> Result<TcpStream, Failure> {
        if let Some(stream) = self.stream.take()
            && is_clean(&stream)
        {
            return Ok(stream);
        }
        self.proven = false;
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout_at(until, connect)
            .await
            .map_err(|_elapsed| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        self.usable_from = Instant::now() + self.connect_delay;
        Ok(stream)
    }
}

/// Whether nothing waits to be read: neither a late or double answer nor the end of the stream.
fn is_clean(stream: &TcpStream) -> bool {
    let mut byte = [0];
    matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Sends the question and reads until the answer is complete. One read normally takes all of it.
async fn exchange(
    stream: &mut TcpStream,
    request: Request,
    transaction: u16,
    frame: &mut [u8; MOST_BYTES],
) -> Result<Answer, Failure> {
    stream
        .write_all(&request.encode(transaction))
        .await
        .map_err(Failure::Broken)?;
    let mut filled = 0;
    loop {
        // Never an empty buffer: a complete answer is shorter than the frame.
        match stream
            .read(frame.get_mut(filled..).unwrap_or_default())
            .await
        {
            Ok(0) => return Err(Failure::Closed),
            Ok(count) => filled += count,
            Err(error) => return Err(Failure::Broken(error)),
        }
        let received = frame.get(..filled).unwrap_or_default();
        let Some((header, pdu)) = received.split_first_chunk::<HEADER>() else {
            continue;
        };
        let due = request.check_header(transaction, *header)?;
        if pdu.len() > due {
            return Err(Misbehaviour::Unasked.into());
        }
        if pdu.len() == due {
            return Ok(request.decode(pdu)?);
        }
    }
}
