//! A Modbus TCP device whose registers the test sets, and which can be taken off its connection.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Answers every unit with the same holding registers; 0 where the test set none.
#[derive(Clone)]
pub(crate) struct Settable {
    pub(crate) port: u16,
    registers: Arc<Mutex<HashMap<u16, u16>>>,
    /// Refused with exception 2.
    pub(crate) holes: Arc<Mutex<HashSet<u16>>>,
    /// Questions that touch these get no answer.
    pub(crate) mute: Arc<Mutex<HashSet<u16>>>,
    /// First address and count of every request.
    asked: Arc<Mutex<Vec<(u16, u16)>>>,
    hang_up: Arc<watch::Sender<u64>>,
}

impl Settable {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            registers: Arc::default(),
            holes: Arc::default(),
            mute: Arc::default(),
            asked: Arc::default(),
            hang_up: Arc::new(watch::Sender::new(0)),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut hang_up = serving.hang_up.subscribe();
                let serving = serving.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = serving.serve(stream) => {}
                        _ = hang_up.changed() => {}
                    }
                });
            }
        });
        server
    }

    pub(crate) fn put(&self, address: u16, word: u16) {
        self.registers.lock().unwrap().insert(address, word);
    }

    /// The cable is pulled and plugged in again.
    pub(crate) fn hang_up(&self) {
        self.hang_up.send_modify(|times| *times += 1);
    }

    /// Whether an address was asked for since the last call.
    pub(crate) fn was_asked(&self, address: u16) -> bool {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked
            .iter()
            .any(|&(first, count)| (first..first + count).contains(&address))
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = [0; 12];
        while stream.read_exact(&mut request).await.is_ok() {
            let [t0, t1, _, _, _, _, unit, function, a0, a1, c0, c1] = request;
            let (first, count) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([c0, c1]));
            self.asked.lock().unwrap().push((first, count));
            let touches = |set: &Mutex<HashSet<u16>>| {
                let set = set.lock().unwrap();
                (first..first + count).any(|address| set.contains(&address))
            };
            if touches(&self.mute) {
                continue;
            }
            let mut frame = if touches(&self.holes) {
                vec![t0, t1, 0, 0, 0, 3, unit, function | 0x80, 2]
            } else {
                let bytes = u8::try_from(count * 2).unwrap();
                vec![t0, t1, 0, 0, 0, bytes + 3, unit, function, bytes]
            };
            if frame.len() == 9 && frame[7] == function {
                let registers = self.registers.lock().unwrap();
                for address in first..first + count {
                    let word = registers.get(&address).copied().unwrap_or(0);
                    frame.extend(word.to_be_bytes());
                }
            }
            if stream.write_all(&frame).await.is_err() {
                return;
            }
        }
    }
}
