//! A line in memory with a device on it that does what a script says, one act per question.
//!
//! The device sees a question in the very call that sends it and answers into the same memory, so
//! nothing depends on how fast the machine is. What the device may not do is kept by time stamps:
//! see [`Rules`].

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gateway::modbus::{Opener, Stream, rtu};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

/// Which frames are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    Mbap,
    Rtu,
}

/// What the device does with one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Answers properly.
    Answer,
    /// Answers properly after this many milliseconds.
    Late(u64),
    /// Answers properly, so many bytes at a time with a millisecond between.
    Pieces(usize),
    /// Answers properly, and once more after this many milliseconds.
    Twice(u64),
    /// One register less, or more, than asked, in a frame that is right in itself.
    Short,
    Long,
    /// Half an answer, then nothing.
    Cut,
    /// A byte count that lies.
    ByteCount,
    /// As another unit, as another function, as another transaction.
    Unit,
    Function,
    Transaction,
    /// The answer to the question before this one.
    Previous,
    /// An exception.
    Exception(u8),
    /// Bytes that mean nothing, alone, before the answer, or behind it.
    Noise(Vec<u8>),
    NoiseThenAnswer(Vec<u8>),
    AnswerThenNoise(Vec<u8>),
    /// What was asked, back.
    Echo,
    /// Nothing.
    Silence,
    /// The end of the stream instead of an answer, or behind one.
    Close,
    AnswerThenClose,
}

/// What the device keeps to, whatever the script says. Broken rules are broken on purpose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Nothing comes later than this after its question.
    pub(crate) within: Duration,
    /// Nothing is sent a second time once another question was heard.
    pub(crate) once: bool,
    /// What comes while the line is closed waits for the next connection, as in a converter; else
    /// it is lost.
    pub(crate) keeps: bool,
}

/// The wire and the device.
#[derive(Clone)]
pub(crate) struct Line {
    frames: Frames,
    rules: Rules,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Act>,
    /// Units that never answer.
    dead: Vec<u8>,
    /// Counts the questions; part of every register's value.
    generation: u16,
    /// Bytes on their way to the gateway, those sent while nothing was open, and the open stream.
    to_gateway: VecDeque<u8>,
    kept: VecDeque<u8>,
    open: Option<u64>,
    opened: u64,
    ended: bool,
    waker: Option<Waker>,
    /// The last question and what was, or would have been, its answer.
    previous: Option<(Vec<u8>, Vec<u8>)>,
    /// Every question: when, and its unit, address, count.
    pub(crate) questions: Vec<(Instant, (u8, u16, u16))>,
}

/// What a register holds: its own place, and when it was asked for.
pub(crate) fn register(unit: u8, address: u16, generation: u16) -> u16 {
    address & 15 | u16::from(unit & 3) << 4 | generation << 6
}

impl Line {
    pub(crate) fn new(frames: Frames, rules: Rules) -> Self {
        let state = Arc::default();
        Self {
            frames,
            rules,
            state,
        }
    }

    /// Makes the gateway's end, each time it opens the line.
    pub(crate) fn opener(&self) -> Opener {
        let line = self.clone();
        Arc::new(move || {
            let mut state = line.lock();
            state.opened += 1;
            let id = state.opened;
            (state.open, state.ended) = (Some(id), false);
            state.to_gateway = std::mem::take(&mut state.kept);
            drop(state);
            let end: Box<dyn Stream> = Box::new(End {
                line: line.clone(),
                id,
            });
            Box::pin(std::future::ready(Ok(end)))
        })
    }

    /// What the device will do with the next question, and which generation it will be.
    pub(crate) fn then(&self, act: Act) {
        self.lock().script.push_back(act);
    }

    /// A unit falls silent for ever.
    pub(crate) fn kill(&self, unit: u8) {
        self.lock().dead.push(unit);
    }

    /// Every question so far.
    pub(crate) fn questions(&self) -> Vec<(Instant, (u8, u16, u16))> {
        self.lock().questions.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Bytes from the device.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if state.open.is_some() {
            state.to_gateway.extend(bytes);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        } else if self.rules.keeps {
            state.kept.extend(bytes);
        }
    }

    fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Sends after a while, as far as the rules allow.
    fn send_later(&self, asked: Instant, after: Duration, bytes: Vec<u8>, again: bool) {
        let line = self.clone();
        let questions = self.lock().questions.len();
        tokio::spawn(async move {
            sleep_until(Instant::now() + after).await;
            let newer = line.lock().questions.len() > questions;
            let late = asked.elapsed() >= line.rules.within;
            let repeated = again && newer && line.rules.once;
            if !late && !repeated {
                line.send(&bytes);
            }
        });
    }

    /// A question has been sent.
    fn hear(&self, question: &[u8]) {
        let asked = Instant::now();
        let (head, unit, pdu) = match self.frames {
            Frames::Mbap => (&question[..2], question[6], &question[7..12]),
            Frames::Rtu => (&question[..0], question[0], &question[1..6]),
        };
        let function = pdu[0];
        let address = u16::from_be_bytes([pdu[1], pdu[2]]);
        let count = u16::from_be_bytes([pdu[3], pdu[4]]);
        let frame = |head: &[u8], unit: u8, pdu: &[u8]| match self.frames {
            Frames::Mbap => {
                let length = u8::try_from(pdu.len() + 1).unwrap();
                [head, &[0, 0, 0, length, unit], pdu].concat()
            }
            Frames::Rtu => {
                let body = [&[unit], pdu].concat();
                [&body[..], &rtu::crc(&body)].concat()
            }
        };
        let (act, generation, previous);
        {
            let mut state = self.lock();
            state.questions.push((asked, (unit, address, count)));
            state.generation += 1;
            generation = state.generation;
            act = if state.dead.contains(&unit) {
                Act::Silence
            } else {
                state.script.pop_front().unwrap_or(Act::Answer)
            };
        }
        let values = |count: u16| {
            let mut pdu = vec![function, u8::try_from(count * 2).unwrap()];
            for place in 0..count {
                pdu.extend(register(unit, address + place, generation).to_be_bytes());
            }
            pdu
        };
        let answer = frame(head, unit, &values(count));
        {
            let mut state = self.lock();
            previous = state.previous.replace((question.to_vec(), answer.clone()));
        }
        let other_head = [head.first().map_or(0, |first| first ^ 1), 0];
        let other_head = &other_head[..head.len()];
        match act {
            Act::Answer => self.send(&answer),
            Act::Late(ms) => {
                self.send_later(asked, Duration::from_millis(ms), answer, false);
            }
            Act::Pieces(size) => {
                for (place, piece) in (0..).zip(answer.chunks(size)) {
                    if place == 0 {
                        self.send(piece);
                    } else {
                        let after = Duration::from_millis(place);
                        self.send_later(asked, after, piece.to_vec(), true);
                    }
                }
            }
            Act::Twice(ms) => {
                self.send(&answer);
                self.send_later(asked, Duration::from_millis(ms), answer, true);
            }
            Act::Short => self.send(&frame(head, unit, &values(count - 1))),
            Act::Long => self.send(&frame(head, unit, &values(count + 1))),
            Act::Cut => self.send(&answer[..answer.len() / 2]),
            Act::ByteCount => {
                let mut pdu = values(count);
                pdu[1] ^= 2;
                self.send(&frame(head, unit, &pdu));
            }
            Act::Unit => self.send(&frame(head, unit + 1, &values(count))),
            Act::Function => {
                let mut pdu = values(count);
                pdu[0] ^= 7;
                self.send(&frame(head, unit, &pdu));
            }
            Act::Transaction => match self.frames {
                Frames::Mbap => self.send(&frame(other_head, unit, &values(count))),
                // There is none: the line brings a changed bit instead.
                Frames::Rtu => {
                    let mut frame = answer;
                    frame[3] ^= 0x40;
                    self.send(&frame);
                }
            },
            Act::Previous => {
                if let Some((asked_before, answer)) = previous {
                    // On RTU an answer of the same unit, function and length cannot be told from
                    // the right one: a device that gives it breaks the rule of answering once.
                    let same = asked_before[0] == question[0]
                        && asked_before[1] == question[1]
                        && asked_before[4..6] == question[4..6];
                    if self.frames == Frames::Mbap || !same || !self.rules.once {
                        self.send(&answer);
                    }
                }
            }
            Act::Exception(code) => self.send(&frame(head, unit, &[function | 0x80, code])),
            Act::Noise(bytes) => self.send(&bytes),
            Act::NoiseThenAnswer(bytes) => self.send(&[&bytes[..], &answer].concat()),
            Act::AnswerThenNoise(bytes) => self.send(&[&answer[..], &bytes].concat()),
            Act::Echo => self.send(question),
            Act::Silence => {}
            Act::Close => self.end(),
            Act::AnswerThenClose => {
                self.send(&answer);
                self.end();
            }
        }
    }
}

/// The gateway's end of the line.
struct End {
    line: Line,
    id: u64,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        if state.open == Some(self.id) {
            state.open = None;
            // What the gateway has not taken yet is lost with the port, or waits in a converter.
            let left = std::mem::take(&mut state.to_gateway);
            if self.line.rules.keeps {
                state.kept.extend(left);
            }
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.line.lock();
        if state.to_gateway.is_empty() && !state.ended {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while into.remaining() > 0
            && let Some(byte) = state.to_gateway.pop_front()
        {
            into.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.line.lock().ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.line.hear(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
