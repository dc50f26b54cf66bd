//! The guard between `tokio-modbus` and its socket.
//!
//! The library numbers its questions from 0 on every connection, silently drops bytes that nobody
//! asked for, and checks counts by debug assertion only. The guard makes up for it:
//!
//! - Out goes the question that was announced with [`Guard::expect`], under our transaction number,
//!   and nothing else: a write cannot leave, whatever the library is made to say.
//! - In comes one whole answer, every field judged against the question, or an error that says what
//!   was wrong. The library sees no byte of an answer that is not good to its end.
//!
//! A guard that has returned an error is of no more use; [`super::connection`] drops it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection::Failure;
use super::frame::{HEADER, Misbehaviour, QUESTION, Request};

/// More than the longest Modbus TCP frame (260 bytes), so that excess bytes show in the same read.
const MOST_BYTES: usize = 300;

/// A guarded socket. The library owns one clone, the connection another; both are used by the same
/// task, so the lock is never waited for.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    shared: Arc<Mutex<Exchange>>,
}

/// The socket, and the one question that may be in flight on it.
#[derive(Debug)]
struct Exchange {
    stream: TcpStream,
    /// The question announced and its transaction number; `None` before the first.
    expected: Option<(Request, u16)>,
    /// The question as it is sent, and how much of it is gone.
    question: [u8; QUESTION],
    sent: usize,
    /// The library's transaction number, which it wants to see again.
    theirs: [u8; 2],
    /// The answer, how much of it has come, whether that is all and good, how much is passed on.
    answer: [u8; MOST_BYTES],
    filled: usize,
    complete: bool,
    passed: usize,
}

impl Guard {
    pub(super) fn new(stream: TcpStream) -> Self {
        let shared = Arc::new(Mutex::new(Exchange {
            stream,
            expected: None,
            question: [0; QUESTION],
            sent: 0,
            theirs: [0; 2],
            answer: [0; MOST_BYTES],
            filled: 0,
            complete: false,
            passed: 0,
        }));
        Self { shared }
    }

    /// Announces the question that the library will be given next.
    pub(super) fn expect(&self, request: Request, transaction: u16) {
        let mut exchange = self.lock();
        exchange.expected = Some((request, transaction));
        (exchange.sent, exchange.filled, exchange.passed) = (0, 0, 0);
        exchange.complete = false;
    }

    /// Whether nothing waits to be read: neither a late or double answer nor the end of the stream.
    pub(super) fn is_clean(&self) -> bool {
        let mut byte = [0];
        matches!(self.lock().stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// Sends what is left of the question; `bytes` is what is left of the library's.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.sent == 0 {
            let asked = self.expected.zip(<[u8; QUESTION]>::try_from(bytes).ok());
            let Some(((_, transaction), frame)) =
                asked.filter(|((request, _), frame)| request.is_asked_by(*frame))
            else {
                return Poll::Ready(Err(not_expected("send")));
            };
            let ([t0, t1, ..], [o0, o1]) = (frame, transaction.to_be_bytes());
            self.question = frame;
            let [q0, q1, ..] = &mut self.question;
            (*q0, *q1, self.theirs) = (o0, o1, [t0, t1]);
        }
        let rest = self.question.get(self.sent..).unwrap_or_default();
        if rest.is_empty() || rest.len() != bytes.len() {
            return Poll::Ready(Err(not_expected("send")));
        }
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
        self.sent += count;
        Poll::Ready(Ok(count))
    }

    /// Reads until the answer is complete and good. One read normally takes all of it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((request, transaction)) = self.expected.filter(|_| self.sent == QUESTION) else {
            return Poll::Ready(Err(not_expected("read")));
        };
        while !self.complete {
            // Never an empty buffer: a complete answer is shorter than it.
            let mut buffer = ReadBuf::new(self.answer.get_mut(self.filled..).unwrap_or_default());
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let count = buffer.filled().len();
            if count == 0 {
                let closed = io::Error::new(io::ErrorKind::UnexpectedEof, Failure::Closed);
                return Poll::Ready(Err(closed));
            }
            self.filled += count;
            let received = self.answer.get(..self.filled).unwrap_or_default();
            self.complete =
                is_complete(request, transaction, received).map_err(|misbehaviour| {
                    let failure = Failure::Misbehaved(misbehaviour);
                    io::Error::new(io::ErrorKind::InvalidData, failure)
                })?;
            if self.complete {
                let [a0, a1, ..] = &mut self.answer;
                [*a0, *a1] = self.theirs;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Judges what has been received so far: good so far, or complete and good.
fn is_complete(request: Request, transaction: u16, received: &[u8]) -> Result<bool, Misbehaviour> {
    let Some((header, pdu)) = received.split_first_chunk::<HEADER>() else {
        return Ok(false);
    };
    let due = request.check_header(transaction, *header)?;
    if pdu.len() > due {
        return Err(Misbehaviour::Unasked);
    }
    if pdu.len() < due {
        return Ok(false);
    }
    request.check_pdu(pdu)?;
    Ok(true)
}

/// The library did something other than put the question and read its answer.
fn not_expected(what: &str) -> io::Error {
    io::Error::other(format!(
        "the Modbus library tried to {what} something other than the question in flight"
    ))
}

impl AsyncWrite for Guard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_send(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut exchange = self.lock();
        ready!(exchange.poll_receive(cx))?;
        let rest = exchange.answer.get(exchange.passed..exchange.filled);
        let rest = rest.unwrap_or_default();
        if rest.is_empty() {
            // Passing on nothing would say that the stream has ended.
            return Poll::Ready(Err(not_expected("read")));
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        exchange.passed += count;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::Guard;
    use crate::modbus::connection::Failure;
    use crate::modbus::frame::{Misbehaviour, Request};
    use crate::plan::Span;
    use evidence::measurement::Table;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use std::io;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    const REQUEST: Request = Request {
        unit: 17,
        span: Span {
            table: Table::Holding,
            address: 0x6B,
            count: 3,
        },
    };
    /// As the library writes it, with its transaction 5.
    const QUESTION: [u8; 12] = [0, 5, 0, 0, 0, 6, 17, 3, 0, 0x6B, 0, 3];
    const ANSWER: [u8; 15] = [0x15, 1, 0, 0, 0, 9, 17, 3, 6, 2, 0x2B, 0, 0, 0, 0x64];

    async fn pair() -> (Guard, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (Guard::new(near.unwrap()), far.unwrap().0)
    }

    /// A guard whose question has been sent as transaction 0x1501.
    async fn asked() -> (Guard, TcpStream) {
        let (mut guard, mut far) = pair().await;
        guard.expect(REQUEST, 0x1501);
        guard.write_all(&QUESTION).await.unwrap();
        let mut seen = [0; 12];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, [0x15, 1, 0, 0, 0, 6, 17, 3, 0, 0x6B, 0, 3]);
        (guard, far)
    }

    fn named(error: io::Error) -> Failure {
        error.downcast().unwrap()
    }

    #[tokio::test]
    async fn the_wire_sees_our_transaction_and_the_library_its_own() {
        let (mut guard, mut far) = asked().await;
        far.write_all(&ANSWER).await.unwrap();
        // In pieces, as a library with little room left would read it.
        let mut passed = [0; 15];
        for piece in passed.chunks_mut(4) {
            guard.read_exact(piece).await.unwrap();
        }
        assert_eq!(passed[..2], QUESTION[..2]);
        assert_eq!(passed[2..], ANSWER[2..]);
        assert!(guard.is_clean());
        // More than the answer is an error, not the end of the stream.
        guard.read_u8().await.unwrap_err();
    }

    #[tokio::test]
    async fn nothing_but_the_announced_question_leaves() {
        let (mut guard, mut far) = pair().await;
        guard.write_all(&QUESTION).await.unwrap_err();
        guard.expect(REQUEST, 1);
        let mut write = QUESTION;
        write[7] = 6;
        guard.write_all(&write).await.unwrap_err();
        guard.write_all(&QUESTION[..11]).await.unwrap_err();
        guard
            .write_all(&[&QUESTION[..], &[0]].concat())
            .await
            .unwrap_err();
        guard.write_all(&QUESTION).await.unwrap();
        guard.write_all(&QUESTION).await.unwrap_err();
        drop(guard);
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen[2..], QUESTION[2..]);
    }

    #[tokio::test]
    async fn the_end_of_the_stream_and_a_byte_too_many_are_named() {
        let (mut guard, mut far) = asked().await;
        far.write_all(&ANSWER[..9]).await.unwrap();
        drop(far);
        let failure = named(guard.read_u8().await.unwrap_err());
        assert!(matches!(failure, Failure::Closed), "{failure:?}");

        let (mut guard, mut far) = asked().await;
        far.write_all(&[&ANSWER[..], &[0]].concat()).await.unwrap();
        let failure = named(guard.read_u8().await.unwrap_err());
        assert!(
            matches!(failure, Failure::Misbehaved(Misbehaviour::Unasked)),
            "{failure:?}"
        );
    }

    proptest! {
        /// One byte of a good answer changed: in a value it comes through, anywhere else the library
        /// sees nothing at all.
        #[test]
        fn the_library_sees_no_byte_of_an_answer_with_a_wrong_field(
            place in 0_usize..ANSWER.len(), change in 1_u8..=255, more in any::<bool>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (mut guard, mut far) = asked().await;
                let mut answer = ANSWER;
                answer[place] ^= change;
                far.write_all(&answer).await.unwrap();
                if more {
                    far.write_all(&[0]).await.unwrap();
                }
                drop(far);
                let mut passed = [0; ANSWER.len()];
                match guard.read(&mut passed).await {
                    Ok(count) => {
                        prop_assert!(place >= 9, "byte {place} was not judged");
                        prop_assert_eq!(count, ANSWER.len());
                        prop_assert_eq!(&passed[2..], &answer[2..]);
                    }
                    Err(error) => prop_assert!(place < 9 || more, "{error}"),
                }
                Ok(())
            })?;
        }
    }
}
