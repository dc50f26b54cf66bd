//! The receiving half of a port, and the task that reads it.
//!
//! The task gets something that can be read and nothing that can be written to: transmitting on a
//! line that belongs to another master is not forbidden here, it is not possible.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, split};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{info, warn};

use super::decoder::Decoder;
use super::heard::Heard;
use crate::config::{Endpoint, LineConfig};
use crate::modbus::claim::Claim;
use crate::modbus::serial;

/// How long the line is believed when nothing arrives: a wake-up later than this plus [`HELD_UP`]
/// says that the process was not running, and nobody knows when the bytes came.
const BEAT: Duration = Duration::from_millis(20);

/// More than this between two looks at the port, and what came meanwhile has no time.
const HELD_UP: Duration = Duration::from_millis(500);

/// Bytes taken at once. A serial line brings 12 in a millisecond at 115200 baud.
const AT_ONCE: usize = 1_024;

/// The pause after [`AT_ONCE`] bytes at once: what no serial line sends must not cost the processor.
const BREATH: Duration = Duration::from_millis(10);

/// How long connecting to a converter may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The longest pause between two attempts to open the port.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is left of a port when its sending half is given away.
pub type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;

type Opening = Pin<Box<dyn Future<Output = io::Result<ReadHalf>> + Send>>;

/// Opens the receiving half of a line, again and again if need be.
pub struct Opener(Box<dyn FnMut() -> Opening + Send>);

impl Opener {
    /// Wraps what opens the port and gives its sending half away.
    #[must_use]
    pub fn new<F>(mut open: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<ReadHalf>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(open())))
    }

    /// Opens the line as it is configured: a serial port, or a converter that sends to every
    /// connection what comes from the bus.
    #[must_use]
    pub fn of(line: &LineConfig) -> Self {
        let endpoint = line.endpoint.clone();
        // Kept from one opening to the next: no process of ours is to become the second master.
        let claim = Arc::new(Mutex::new(Claim::default()));
        Self::new(move || receive(endpoint.clone(), Arc::clone(&claim)))
    }
}

/// Opens an endpoint and keeps the receiving half only.
async fn receive(endpoint: Endpoint, claim: Arc<Mutex<Claim>>) -> io::Result<ReadHalf> {
    let mut claim = claim.lock().await;
    match endpoint {
        Endpoint::Serial(port) => {
            claim.port(&port)?;
            let (read, _) = split(serial::open(&port)?);
            Ok(Box::new(read))
        }
        Endpoint::RtuOverTcp { host, port } => {
            let connect = async {
                let addresses = claim.converter(&host, port).await?;
                TcpStream::connect(&*addresses).await
            };
            let stream = timeout(CONNECT_TIME, connect).await;
            let stream = stream.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
            let (read, write) = stream.into_split();
            // Given up without telling the other side, which might close both directions.
            write.forget();
            Ok(Box::new(read))
        }
        Endpoint::Tcp { .. } | Endpoint::Tls { .. } => Err(io::Error::other(
            "only a line with RTU frames can be listened on",
        )),
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

/// Starts the task that listens until nobody else keeps `heard`. Must be called within a runtime.
pub fn start(mut opener: Opener, mut decoder: Decoder, heard: &Arc<Heard>) {
    let heard = Arc::clone(heard);
    drop(tokio::spawn(async move {
        let mut failures: u32 = 0;
        while Arc::strong_count(&heard) > 1 {
            let name = heard.name().to_owned();
            let why = match (opener.0)().await {
                Ok(port) => {
                    info!(
                        line.name = name,
                        "Listening on {name}; nothing is ever sent"
                    );
                    failures = 0;
                    heard.opened();
                    decoder.opened(Instant::now());
                    listen(port, &mut decoder, &heard).await
                }
                Err(error) => error.to_string(),
            };
            heard.closed(&why);
            failures = failures.saturating_add(1);
            let pause = Duration::from_secs(1)
                .saturating_mul(1 << failures.min(5).saturating_sub(1))
                .min(LONGEST_PAUSE);
            if failures == 1 {
                warn!(
                    line.name = name,
                    "Line {name} is not heard: {why}; opened again in {pause:?}, then less often"
                );
            }
            sleep(pause).await;
        }
    }));
}

/// Listens until the port fails; returns why.
async fn listen(mut port: ReadHalf, decoder: &mut Decoder, heard: &Arc<Heard>) -> String {
    let mut bytes = vec![0; AT_ONCE];
    let mut looked = Instant::now();
    // Whether what is read may have waited since before the process was held up.
    let mut is_old = false;
    while Arc::strong_count(heard) > 1 {
        let beat = looked + BEAT;
        let due = decoder.due().map_or(beat, |due| due.min(beat));
        let read = timeout_at(due, port.read(&mut bytes)).await;
        let now = Instant::now();
        let was_held_up = now.saturating_duration_since(looked) > HELD_UP;
        looked = now;
        match read {
            Err(_elapsed) => decoder.advance(now),
            Ok(Ok(0)) => return "the other side closed the connection".to_owned(),
            Ok(Ok(count)) => {
                is_old |= was_held_up;
                if is_old {
                    decoder.held_up();
                    is_old = count == AT_ONCE;
                    heard.take(&decoder.events(), now);
                    continue;
                }
                decoder.push(bytes.get(..count).unwrap_or_default(), now);
                if count == AT_ONCE {
                    heard.take(&decoder.events(), now);
                    sleep_until(now + BREATH).await;
                    continue;
                }
            }
            Ok(Err(error)) => return error.to_string(),
        }
        heard.take(&decoder.events(), now);
    }
    "nobody listens any more".to_owned()
}
