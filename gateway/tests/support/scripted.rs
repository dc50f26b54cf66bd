//! A Modbus TCP server that misbehaves as it is told, one behaviour per request.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Answers properly.
    Answer,
    /// Answers properly, byte by byte.
    Dribble,
    /// Answers properly, twice.
    Twice,
    /// Answers properly, but only after this many milliseconds.
    Late(u64),
    /// One register less than asked, in a frame that is consistent with itself.
    Short,
    /// One register more than asked, in a frame that is consistent with itself.
    Long,
    /// The proper frame with more bytes behind it.
    Excess,
    /// A frame whose byte count lies.
    ByteCount,
    /// As another unit.
    Unit,
    /// As another function.
    Function,
    /// As another transaction.
    Transaction,
    /// The answer to the request before this one, if there was one.
    Previous,
    /// With a protocol id that is not Modbus.
    Protocol,
    /// A Modbus exception.
    Exception(u8),
    /// Bytes that mean nothing.
    Garbage,
    /// Nothing, and the connection stays open.
    Silence,
    /// Half an answer, then the end of the connection.
    HalfThenClose,
    /// The end of the connection instead of an answer.
    Close,
    /// A proper answer, then the end of the connection.
    AnswerThenClose,
}

/// The server's side of a test.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    pub(crate) port: u16,
    /// Added to every register, so that an answer shows when it was made.
    pub(crate) epoch: Arc<AtomicU16>,
    /// Acts still to come; afterwards the server answers properly.
    script: Arc<Mutex<VecDeque<Act>>>,
    /// Requests seen: unit, first address, count.
    requests: Arc<Mutex<Vec<(u8, u16, u16)>>>,
    /// Units that never get an answer.
    silent: Arc<Mutex<Vec<u8>>>,
    /// Addresses that do not exist.
    holes: Arc<Mutex<Vec<u16>>>,
    /// Most registers in one request; 0 is no limit.
    limit: Arc<AtomicU16>,
    previous: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        Self::start_on(0).await
    }

    /// Listens on a port of the test's choice.
    pub(crate) async fn start_on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            epoch: Arc::default(),
            script: Arc::default(),
            requests: Arc::default(),
            silent: Arc::default(),
            holes: Arc::default(),
            limit: Arc::default(),
            previous: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        server
    }

    pub(crate) fn then(&self, acts: &[Act]) {
        self.script.lock().unwrap().extend(acts);
    }

    pub(crate) fn silence(&self, unit: u8) {
        self.silent.lock().unwrap().push(unit);
    }

    pub(crate) fn speak(&self, unit: u8) {
        self.silent.lock().unwrap().retain(|silent| *silent != unit);
    }

    pub(crate) fn remove(&self, address: u16) {
        self.holes.lock().unwrap().push(address);
    }

    pub(crate) fn requests(&self) -> Vec<(u8, u16, u16)> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    pub(crate) fn limit(&self, registers: u16) {
        self.limit.store(registers, Ordering::SeqCst);
    }

    /// What a register holds at present.
    pub(crate) fn register(&self, unit: u8, address: u16) -> u16 {
        let epoch = self.epoch.load(Ordering::SeqCst);
        address
            .wrapping_add(u16::from(unit) << 12)
            .wrapping_add(epoch << 8)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = [0; 12];
        while stream.read_exact(&mut request).await.is_ok() {
            if self.act(&mut stream, request).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: [u8; 12], more: i32) -> Vec<u8> {
        let [t0, t1, _, _, _, _, unit, function, a0, a1, c0, c1] = request;
        let address = u16::from_be_bytes([a0, a1]);
        let count = i32::from(u16::from_be_bytes([c0, c1])) + more;
        let mut words = Vec::new();
        for place in 0..u16::try_from(count.max(0)).unwrap() {
            words.extend(
                self.register(unit, address.wrapping_add(place))
                    .to_be_bytes(),
            );
        }
        let bytes = u8::try_from(words.len()).unwrap();
        let mut frame = vec![t0, t1, 0, 0, 0, bytes + 3, unit, function, bytes];
        frame.extend(words);
        frame
    }

    /// Fails when the connection is to be closed.
    async fn act(&self, stream: &mut TcpStream, request: [u8; 12]) -> std::io::Result<()> {
        let [t0, t1, _, _, _, _, unit, function, a0, a1, c0, c1] = request;
        let (address, count) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([c0, c1]));
        self.requests.lock().unwrap().push((unit, address, count));
        let close = || Err(std::io::Error::other("closed as told"));
        if self.silent.lock().unwrap().contains(&unit) {
            return Ok(());
        }
        let exception = |code| [t0, t1, 0, 0, 0, 3, unit, function | 0x80, code];
        let missing = self
            .holes
            .lock()
            .unwrap()
            .iter()
            .any(|hole| (address..address + count).contains(hole));
        if missing {
            return stream.write_all(&exception(2)).await;
        }
        let limit = self.limit.load(Ordering::SeqCst);
        if limit > 0 && count > limit {
            return stream.write_all(&exception(3)).await;
        }
        let mut answer = self.answer(request, 0);
        let act = self
            .script
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Act::Answer);
        let previous = std::mem::replace(&mut *self.previous.lock().unwrap(), answer.clone());
        match act {
            Act::Answer => {}
            Act::Dribble => {
                for byte in &answer {
                    stream.write_all(&[*byte]).await?;
                    tokio::task::yield_now().await;
                }
                return Ok(());
            }
            Act::Twice => {
                let again = answer.clone();
                answer.extend(again);
            }
            Act::Late(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Act::Short => answer = self.answer(request, -1),
            Act::Long => answer = self.answer(request, 1),
            Act::Excess => answer.extend([0, 0]),
            Act::ByteCount => answer[8] = answer[8].wrapping_add(2),
            Act::Unit => answer[6] = answer[6].wrapping_add(1),
            Act::Function => answer[7] ^= 7,
            Act::Transaction => answer[1] = answer[1].wrapping_sub(1),
            Act::Previous => answer = previous,
            Act::Protocol => answer[3] = 1,
            Act::Exception(code) => answer = exception(code).to_vec(),
            Act::Garbage => answer = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Act::Silence => return Ok(()),
            Act::HalfThenClose => {
                stream.write_all(&answer[..answer.len() / 2]).await?;
                return close();
            }
            Act::Close => return close(),
            Act::AnswerThenClose => {
                stream.write_all(&answer).await?;
                return close();
            }
        }
        stream.write_all(&answer).await
    }
}
