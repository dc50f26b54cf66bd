//! What carries a line's bytes: a TCP connection, TLS, a serial port, or a stream of a test's making.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::client::TlsStream;
use tokio_serial::SerialStream;

use super::claim::Claim;
use super::failure::Failure;
use super::security::secure;
use super::serial;
use crate::config::Endpoint;

/// Bytes that can be sent and received.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes a stream each time the line is opened.
pub type Opener = Arc<dyn Fn() -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send + Sync>;

/// Where the bytes come from.
#[derive(Clone)]
pub(super) enum Place {
    /// What the configuration says.
    Endpoint(Endpoint),
    /// A stream that somebody else makes.
    Made(Opener),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::Made(_) => f.write_str("a stream made elsewhere"),
        }
    }
}

impl Place {
    /// Opens the line; an RTU line is claimed first. Whoever waits bounds the time; giving up leaves
    /// nothing open.
    pub(super) async fn open(&self, claim: &mut Claim) -> Result<Wire, Failure> {
        let carrier = match self {
            Self::Endpoint(Endpoint::Tcp { host, port }) => {
                Carrier::Tcp(connect((host.as_str(), *port)).await?)
            }
            Self::Endpoint(Endpoint::RtuOverTcp { host, port }) => {
                let addresses = claim.converter(host, *port).await.map_err(unclaimed)?;
                let stream = connect(&*addresses).await?;
                // Closed with a reset: an ordinary close would go on delivering a question that was
                // given up, and its answer could come after the next question.
                stream.set_zero_linger().map_err(Failure::Connect)?;
                Carrier::Tcp(stream)
            }
            Self::Endpoint(Endpoint::Tls { host, port, files }) => {
                let stream = connect((host.as_str(), *port)).await?;
                let stream = secure(stream, host, files).await.map_err(Failure::Secure)?;
                Carrier::Tls(Box::new(stream))
            }
            Self::Endpoint(Endpoint::Serial(port)) => {
                claim.port(port).map_err(unclaimed)?;
                Carrier::Serial(Box::new(serial::open(port).map_err(Failure::Port)?))
            }
            Self::Made(opener) => Carrier::Made(opener().await.map_err(Failure::Connect)?),
        };
        Ok(Wire {
            carrier,
            alarm: Alarm {
                sleep: Box::pin(sleep_until(Instant::now() + Duration::from_secs(60))),
            },
        })
    }
}

/// A line that another process has is told apart from a host that does not resolve.
fn unclaimed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ResourceBusy => Failure::Taken(error),
        _ => Failure::Connect(error),
    }
}

async fn connect(place: impl ToSocketAddrs) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(place).await.map_err(Failure::Connect)?;
    stream.set_nodelay(true).map_err(Failure::Connect)?;
    Ok(stream)
}

enum Carrier {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Serial(Box<SerialStream>),
    Made(Box<dyn Stream>),
}

/// An open line. Dropping it closes it.
pub(super) struct Wire {
    carrier: Carrier,
    alarm: Alarm,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.carrier {
            Carrier::Tcp(_) => "a TCP connection",
            Carrier::Tls(_) => "a TLS connection",
            Carrier::Serial(_) => "a serial port",
            Carrier::Made(_) => "a stream made elsewhere",
        })
    }
}

impl Wire {
    /// Sends all of `bytes` by `until`.
    pub(super) async fn send(&mut self, bytes: &[u8], until: Instant) -> Result<(), Failure> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let Self { carrier, alarm } = self;
            let count = poll_fn(|cx| match carrier.poll_write(cx, rest) {
                Poll::Ready(result) => Poll::Ready(result.map_err(broken)),
                Poll::Pending => alarm.poll(cx, until).map(|()| Err(Failure::Timeout)),
            })
            .await?;
            if count == 0 {
                return Err(Failure::Closed);
            }
            sent += count;
        }
        if let Self {
            carrier: Carrier::Tls(stream),
            alarm,
        } = self
        {
            // TLS may keep what was written to itself; the others hand it on at once.
            poll_fn(|cx| match Pin::new(&mut *stream).poll_flush(cx) {
                Poll::Ready(result) => Poll::Ready(result.map_err(broken)),
                Poll::Pending => alarm.poll(cx, until).map(|()| Err(Failure::Timeout)),
            })
            .await?;
        }
        Ok(())
    }

    /// Receives what comes next; never returns 0 bytes.
    pub(super) async fn receive(
        &mut self,
        into: &mut [u8],
        until: Instant,
    ) -> Result<usize, Failure> {
        let Self { carrier, alarm } = self;
        let count = poll_fn(|cx| match carrier.poll_read(cx, into) {
            Poll::Ready(result) => Poll::Ready(result.map_err(broken)),
            Poll::Pending => alarm.poll(cx, until).map(|()| Err(Failure::Timeout)),
        })
        .await?;
        if count == 0 {
            return Err(Failure::Closed);
        }
        Ok(count)
    }

    /// Takes what is waiting at this moment; 0 if nothing is.
    pub(super) fn waiting(&mut self) -> Result<usize, Failure> {
        let mut scratch = [0; 256];
        if let Carrier::Serial(port) = &mut self.carrier {
            // Asks the system, whatever the runtime has noticed so far.
            return match port.try_read(&mut scratch) {
                Ok(0) => Err(Failure::Closed),
                Ok(count) => Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                Err(error) => Err(Failure::Broken(error)),
            };
        }
        if let Carrier::Tcp(stream) = &self.carrier {
            return match stream.try_read(&mut scratch) {
                Ok(0) => Err(Failure::Closed),
                Ok(count) => Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                Err(error) => Err(Failure::Broken(error)),
            };
        }
        let carrier = &mut self.carrier;
        let found = poll_fn(|cx| carrier.poll_read(cx, &mut scratch)).now_or_never();
        match found {
            None => Ok(0),
            Some(Ok(0)) => Err(Failure::Closed),
            Some(Ok(count)) => Ok(count),
            Some(Err(error)) => Err(broken(error)),
        }
    }
}

/// With TLS 1.3 a server refuses our certificate by the first answer, not in the handshake.
fn broken(error: io::Error) -> Failure {
    let tls = error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>());
    if tls {
        Failure::Secure(error)
    } else {
        Failure::Broken(error)
    }
}

impl Carrier {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        let polled = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Serial(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Made(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        polled.map_ok(|()| buffer.filled().len())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Serial(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Made(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }
}

/// One timer of the runtime for every wait on a wire: setting one up for each question costs more
/// than the question's own work. It rings early or never; it is set again only when it rings.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    fn poll(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        if self.sleep.deadline() > until {
            self.sleep.as_mut().reset(until);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}
