//! Modbus TCP servers that show the plant, with switches for every way a line misbehaves.
//!
//! The framing is written here from the specification rather than taken from the library the
//! gateway uses, so that a mistake of that library is not made on both ends. One listener serves
//! several unit ids, as a serial-to-Ethernet converter does, and answers one request at a time on
//! a connection.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::registers::{self, DEVICES, Server, Table};
use crate::site::Site;

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;
const TARGET_DID_NOT_RESPOND: u8 = 0x0B;

/// What a server answers from: words of a unit's table at the present moment, or the exception
/// code it answers with. Bits are words of 0 and 1.
pub type Image = dyn Fn(u8, Table, u16, u16) -> Result<Vec<u16>, u8> + Send + Sync;

/// Where the present moment comes from, milliseconds since 1970 UTC.
pub type Now = dyn Fn() -> i64 + Send + Sync;

/// Returns the image of the plant behind one of its servers, at the instant the clock says.
pub fn plant_image(site: Site, server: Server, now: Arc<Now>) -> Arc<Image> {
    Arc::new(move |unit, table, start, count| {
        let device = DEVICES
            .iter()
            .find(|device| device.server == server && device.unit_id == unit)
            .ok_or(TARGET_DID_NOT_RESPOND)?;
        let state = site.state_at(now());
        registers::image(device, table, start, count, &state).ok_or(ILLEGAL_ADDRESS)
    })
}

/// Returns an image whose every register holds its own address.
///
/// Any mix-up of address, width or word order then shows in the value. Every unit answers;
/// discrete inputs hold the lowest bit of their address.
pub fn own_address_image() -> Arc<Image> {
    Arc::new(|_unit, table, start, count| {
        let end = u32::from(start) + u32::from(count);
        if end > 0x1_0000 {
            return Err(ILLEGAL_ADDRESS);
        }
        Ok((0..count)
            .map(|offset| start + offset)
            .map(|address| {
                if table == Table::Discrete {
                    address & 1
                } else {
                    address
                }
            })
            .collect())
    })
}

/// What a unit does instead of answering properly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers every request with this exception code.
    Exception(u8),
    /// Reads the request and never answers.
    Silent,
    /// Answers correctly, but this much later.
    Late(Duration),
    /// Closes the connection instead of answering.
    Close,
    /// Leaves out the last register, with a header that agrees.
    Short,
    /// Adds one register, with a header that agrees.
    Long,
    /// Answers twice.
    Twice,
    /// Answers with the unit id of another device.
    WrongUnit,
    /// Answers with another transaction's number.
    WrongTransaction,
    /// Sends bytes that are no Modbus.
    Noise,
    /// Cuts the answer in the middle and closes.
    Torn,
}

/// A request as it arrived, for tests that count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Unit asked.
    pub unit: u8,
    /// Function code.
    pub function: u8,
    /// First address.
    pub start: u16,
    /// How many registers or bits.
    pub count: u16,
}

#[derive(Default)]
struct Switches {
    faults: HashMap<u8, Fault>,
    seen: Vec<Seen>,
    connections: u64,
}

struct Shared {
    image: Arc<Image>,
    // A std mutex: held for a few instructions and never across an await.
    switches: Mutex<Switches>,
}

impl Shared {
    fn switches(&self) -> std::sync::MutexGuard<'_, Switches> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server. Dropping it stops the listener and closes every connection.
pub struct ModbusServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl fmt::Debug for ModbusServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModbusServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl ModbusServer {
    /// Starts a server on an address; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound.
    pub async fn start(address: SocketAddr, image: Arc<Image>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            image,
            switches: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self {
            address,
            shared,
            stop,
            task,
        })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets or clears what a unit does wrong, from the next request on.
    pub fn set_fault(&self, unit: u8, fault: Option<Fault>) {
        let mut switches = self.shared.switches();
        match fault {
            Some(fault) => switches.faults.insert(unit, fault),
            None => switches.faults.remove(&unit),
        };
    }

    /// Returns every request seen since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.switches().seen)
    }

    /// Returns how many connections were accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.switches().connections
    }

    /// Closes every connection and the listener, and returns once the port is free again.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // A cancelled task has ended too, which is all that is asked here.
        if let Err(error) = (&mut self.task).await {
            tracing::debug!(%error, "Modbus server task did not end by itself");
        }
    }
}

impl Drop for ModbusServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    // Connections end with this set, so none outlives the server.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                shared.switches().connections += 1;
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
            Err(error) => tracing::debug!(%error, "Modbus server could not accept"),
        }
        while connections.try_join_next().is_some() {}
    }
    connections.shutdown().await;
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    if let Err(error) = answer_all(&mut stream, &shared).await {
        tracing::debug!(%error, "Modbus connection ended");
    }
}

/// Answers until the client leaves or a fault closes the connection.
async fn answer_all(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut header = [0; 7];
        if stream.read_exact(&mut header).await.is_err() {
            return Ok(());
        }
        let [t0, t1, p0, p1, l0, l1, unit] = header;
        let length = u16::from_be_bytes([l0, l1]);
        if (p0, p1) != (0, 0) || !(2..=254).contains(&length) {
            return Err(io::Error::other("not a Modbus TCP header"));
        }
        let mut pdu = vec![0; usize::from(length) - 1];
        stream.read_exact(&mut pdu).await?;

        let fault = note(shared, unit, &pdu);
        let answer = match fault {
            Some(Fault::Exception(code)) => exception(&pdu, code),
            other => answer(&shared.image, unit, &pdu, other),
        };
        match fault {
            Some(Fault::Silent) => continue,
            Some(Fault::Close) => return Ok(()),
            Some(Fault::Noise) => {
                stream.write_all(b"\x55\xAA\x00\xFFnot modbus").await?;
                continue;
            }
            Some(Fault::Late(delay)) => tokio::time::sleep(delay).await,
            _ => {}
        }
        let transaction = u16::from_be_bytes([t0, t1]);
        let transaction = match fault {
            Some(Fault::WrongTransaction) => transaction.wrapping_sub(1),
            _ => transaction,
        };
        let unit = if fault == Some(Fault::WrongUnit) {
            unit ^ 1
        } else {
            unit
        };
        let frame = frame(transaction, unit, &answer);
        if fault == Some(Fault::Torn) {
            stream.write_all(&frame[..frame.len() / 2]).await?;
            return Ok(());
        }
        stream.write_all(&frame).await?;
        if fault == Some(Fault::Twice) {
            stream.write_all(&frame).await?;
        }
    }
}

/// Records a request and returns the fault its unit has.
fn note(shared: &Shared, unit: u8, pdu: &[u8]) -> Option<Fault> {
    let mut switches = shared.switches();
    if let [function, a, b, c, d] = *pdu {
        let (start, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        switches.seen.push(Seen {
            unit,
            function,
            start,
            count,
        });
    }
    switches.faults.get(&unit).copied()
}

fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
    let mut frame = Vec::with_capacity(pdu.len() + 7);
    frame.extend(transaction.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(length.to_be_bytes());
    frame.push(unit);
    frame.extend(pdu);
    frame
}

fn exception(request: &[u8], code: u8) -> Vec<u8> {
    vec![request.first().copied().unwrap_or(0) | 0x80, code]
}

/// Returns the answer to a read; every other function is refused, as on a meter with write
/// protection.
fn answer(image: &Arc<Image>, unit: u8, request: &[u8], fault: Option<Fault>) -> Vec<u8> {
    let [function @ 2..=4, a, b, c, d] = *request else {
        return exception(request, ILLEGAL_FUNCTION);
    };
    let (start, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let (table, most) = match function {
        2 => (Table::Discrete, 2_000),
        3 => (Table::Holding, 125),
        _ => (Table::Input, 125),
    };
    if !(1..=most).contains(&count) {
        return exception(request, ILLEGAL_VALUE);
    }
    let mut words = match image(unit, table, start, count) {
        Ok(words) => words,
        Err(code) => return exception(request, code),
    };
    match fault {
        Some(Fault::Short) => {
            words.pop();
        }
        Some(Fault::Long) => words.push(0xBAD0),
        _ => {}
    }
    let bytes: Vec<u8> = if table == Table::Discrete {
        words
            .chunks(8)
            .map(|eight| {
                eight
                    .iter()
                    .enumerate()
                    .fold(0_u8, |byte, (i, bit)| byte | (u8::from(*bit != 0) << i))
            })
            .collect()
    } else {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    };
    let mut answer = vec![function, u8::try_from(bytes.len()).unwrap_or(u8::MAX)];
    answer.extend(bytes);
    answer
}
