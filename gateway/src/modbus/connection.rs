//! One TCP connection to a Modbus server.
//!
//! A connection answers or it is gone: every failure drops the stream, so a late answer has nothing
//! to arrive on. `tokio-modbus` speaks the protocol on it and [`super::guard`] stands between the
//! two. Transaction numbers are ours, not the library's: they go on across reconnects and start
//! anywhere, because cheap serial converters deliver what was asked on the old connection on the
//! new one.

use std::time::Duration;
use std::{fmt, io};

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_modbus::client::{Client as _, Context, tcp};
use tokio_modbus::slave::{Slave, SlaveContext as _};

use super::frame::{Answer, Misbehaviour, Request};
use super::guard::Guard;

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

/// What the guard or the socket said, out of the library's error.
impl From<tokio_modbus::Error> for Failure {
    fn from(error: tokio_modbus::Error) -> Self {
        match error {
            tokio_modbus::Error::Transport(error) => error.downcast().unwrap_or_else(Self::Broken),
            // The guard has judged the header and the function before; an answer that the library
            // still refuses is none.
            tokio_modbus::Error::Protocol(error) => {
                Self::Broken(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}

/// An open connection: the library's client and the guard of its socket. Dropping it closes it.
struct Line {
    client: Context,
    guard: Guard,
}

impl fmt::Debug for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The library's client cannot be shown.
        let mut shown = formatter.debug_struct("Line");
        shown.field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// A connection that is made when it is needed.
#[derive(Debug)]
pub struct Connection {
    host: String,
    port: u16,
    connect_delay: Duration,
    line: Option<Line>,
    /// Whether the line has already answered something.
    proven: bool,
    /// When the device may first be asked after it was connected to.
    usable_from: Instant,
    transaction: u16,
}

impl Connection {
    /// Prepares a connection; `first_transaction` should be random.
    #[must_use]
    pub fn new(host: &str, port: u16, connect_delay: Duration, first_transaction: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            connect_delay,
            line: None,
            proven: false,
            usable_from: Instant::now(),
            transaction: first_transaction,
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
        let mut line = self.connected(until).await?;
        if self.usable_from >= until {
            // The device wants a longer pause than this tick has; the connection is kept for the next.
            self.line = Some(line);
            return Err(Failure::NotAsked);
        }
        sleep_until(self.usable_from).await;
        line.guard.expect(request, self.transaction);
        line.client.set_slave(Slave(request.unit));
        // The line is dropped on every path but the last, cancelling included: that closes it. The
        // library's client is never asked again after it has failed or was interrupted.
        let answer = match timeout_at(until, line.client.call(request.question()))
            .await
            .map_err(|_elapsed| Failure::Timeout)??
        {
            Ok(response) => request.answer(response)?,
            Err(exception) => Answer::Exception(exception.into()),
        };
        (self.line, self.proven) = (Some(line), true);
        Ok(answer)
    }

    /// The kept line if it is clean, or a new one.
    async fn connected(&mut self, until: Instant) -> Result<Line, Failure> {
        if let Some(line) = self.line.take()
            && line.guard.is_clean()
        {
            return Ok(line);
        }
        self.proven = false;
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout_at(until, connect)
            .await
            .map_err(|_elapsed| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        self.usable_from = Instant::now() + self.connect_delay;
        let guard = Guard::new(stream);
        let client = tcp::attach(guard.clone());
        Ok(Line { client, guard })
    }
}
