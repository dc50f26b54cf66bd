//! What a piece of a serial line's byte stream may be, judged by length and CRC.
//!
//! A listener does not see who sends. The same eight bytes may be a question or an answer, so
//! [`look`] says everything a piece can be and leaves the decision to who knows what came before.

use evidence::measurement::Table;

use crate::modbus::frame::{Answer, Request};
use crate::modbus::rtu::crc;
use crate::plan::Span;

/// The longest RTU frame.
pub const LONGEST: usize = 256;

/// A question of functions 1 to 4, and the echo of the writes with one value.
const QUESTION: usize = 8;

/// An exception.
const EXCEPTION: usize = 5;

/// What stands at the beginning of a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A master asks for registers or bits.
    Question(Request),
    /// A device answers functions 1 to 4; which registers these are only its question tells.
    Answer(Reply),
    /// Eight bytes that are a question as well as an answer with 17 to 24 bits.
    Either(Request, Reply),
    /// A frame of another function: a write, a diagnosis; question or answer.
    Other {
        /// The unit.
        unit: u8,
        /// The function.
        function: u8,
    },
}

/// A device's answer before its question is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The unit that answers.
    pub unit: u8,
    /// The function, 1 to 4.
    pub function: u8,
    /// The value bytes, or the exception code.
    pub content: Result<Vec<u8>, u8>,
}

/// What a look at the beginning of a buffer gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// A frame of this many bytes.
    Frame(Piece, usize),
    /// More bytes may make it a frame.
    More,
    /// No frame begins here, whatever follows.
    Noise,
}

/// The table that a function from 1 to 4 reads.
const fn table_of(function: u8) -> Option<Table> {
    match function {
        1 => Some(Table::Coil),
        2 => Some(Table::Discrete),
        3 => Some(Table::Holding),
        4 => Some(Table::Input),
        _ => None,
    }
}

/// A frame without its CRC, if `length` bytes are there and the CRC is right.
fn checked(buffer: &[u8], length: usize) -> Option<&[u8]> {
    let (body, sum) = buffer.get(..length)?.split_at(length.checked_sub(2)?);
    (sum == crc(body)).then_some(body)
}

/// Looks at the beginning of `buffer`. `ended` says that nothing will follow soon.
#[must_use]
pub fn look(buffer: &[u8], ended: bool) -> Look {
    let [unit, function, rest @ ..] = buffer else {
        return if ended { Look::Noise } else { Look::More };
    };
    let (unit, function) = (*unit, *function);
    let mut lengths = Lengths::new(buffer.len());
    let found = if let Some(table) = table_of(function) {
        let question = lengths
            .of(QUESTION)
            .and_then(|length| checked(buffer, length))
            .and_then(|body| question(unit, table, body));
        let answer = answer_length(table, rest, &mut lengths)
            .and_then(|length| Some((checked(buffer, length)?, length)))
            .and_then(|(body, length)| {
                let reply = Reply {
                    unit,
                    function,
                    content: Ok(body.get(3..)?.to_vec()),
                };
                Some((reply, length))
            });
        match (question, answer) {
            (Some(question), Some((reply, QUESTION))) => {
                Some((Piece::Either(question, reply), QUESTION))
            }
            (Some(question), _) => Some((Piece::Question(question), QUESTION)),
            (None, Some((reply, length))) => Some((Piece::Answer(reply), length)),
            (None, None) => None,
        }
    } else if table_of(function ^ 0x80).is_some() {
        let code = lengths
            .of(EXCEPTION)
            .and_then(|length| checked(buffer, length))
            .and_then(|body| body.get(2).copied());
        code.map(|code| {
            let reply = Reply {
                unit,
                function: function ^ 0x80,
                content: Err(code),
            };
            (Piece::Answer(reply), EXCEPTION)
        })
    } else {
        other_lengths(function, rest, &mut lengths)
            .into_iter()
            .find(|&length| checked(buffer, length).is_some())
            .map(|length| (Piece::Other { unit, function }, length))
    };
    match found {
        Some((piece, length)) => Look::Frame(piece, length),
        None if lengths.is_waiting && !ended => Look::More,
        None => Look::Noise,
    }
}

/// Which lengths fit the bytes at hand, and whether a longer one may still come.
struct Lengths {
    have: usize,
    is_waiting: bool,
}

impl Lengths {
    const fn new(have: usize) -> Self {
        Self {
            have,
            is_waiting: false,
        }
    }

    /// The length, if that many bytes are there.
    const fn of(&mut self, length: usize) -> Option<usize> {
        if length > LONGEST {
            return None;
        }
        if length > self.have {
            self.is_waiting = true;
            return None;
        }
        Some(length)
    }

    /// `fixed` bytes and as many as the byte at `place` behind the function says.
    fn counted(&mut self, rest: &[u8], place: usize, fixed: usize) -> Option<usize> {
        match rest.get(place) {
            Some(&count) => self.of(fixed + usize::from(count)),
            None => {
                self.is_waiting = true;
                None
            }
        }
    }
}

fn question(unit: u8, table: Table, body: &[u8]) -> Option<Request> {
    let [_, _, a0, a1, c0, c1] = *body else {
        return None;
    };
    let span = Span {
        table,
        address: u16::from_be_bytes([a0, a1]),
        count: u16::from_be_bytes([c0, c1]),
    };
    let most = if span.is_bits() { 2_000 } else { 125 };
    let fits = (1..=most).contains(&span.count) && span.end() <= 65_536;
    fits.then_some(Request { unit, span })
}

fn answer_length(table: Table, rest: &[u8], lengths: &mut Lengths) -> Option<usize> {
    let bits = matches!(table, Table::Coil | Table::Discrete);
    let plausible = |count: u8| (1..=250).contains(&count) && (bits || count.is_multiple_of(2));
    if rest.first().is_some_and(|&count| !plausible(count)) {
        return None;
    }
    lengths.counted(rest, 0, 5)
}

/// The lengths that a question or an answer of another function may have (Modbus application
/// protocol V1.1b3, section 6). A maker's own functions have no known length: they are noise.
fn other_lengths(function: u8, rest: &[u8], lengths: &mut Lengths) -> Vec<usize> {
    let fixed: &[usize] = match function {
        5 | 6 | 8 => &[8],
        7 => &[4, 5],
        11 => &[4, 8],
        12 | 17 => &[4],
        15 | 16 => &[8],
        22 => &[10],
        24 => &[6],
        43 => &[7],
        0x80.. => &[EXCEPTION],
        _ => &[],
    };
    let mut fitting: Vec<usize> = fixed
        .iter()
        .filter_map(|&length| lengths.of(length))
        .collect();
    match function {
        12 | 17 | 20 | 21 => fitting.extend(lengths.counted(rest, 0, 5)),
        15 | 16 => fitting.extend(lengths.counted(rest, 4, 9)),
        23 => {
            fitting.extend(lengths.counted(rest, 0, 5));
            fitting.extend(lengths.counted(rest, 8, 13));
        }
        _ => {}
    }
    fitting
}

impl Reply {
    /// Whether this can be an answer to the question.
    #[must_use]
    pub fn answers(&self, request: Request) -> bool {
        let fits = match &self.content {
            Ok(bytes) => bytes.len() == request.value_bytes(),
            Err(_) => true,
        };
        fits && self.unit == request.unit && self.function == request.function()
    }

    /// The answer in words, one for each register or bit asked for; `None` if it is no answer to
    /// the question.
    #[must_use]
    pub fn words(&self, request: Request) -> Option<Answer> {
        if !self.answers(request) {
            return None;
        }
        let pdu = match &self.content {
            Ok(bytes) => {
                let count = u8::try_from(bytes.len()).ok()?;
                [&[self.function, count], &bytes[..]].concat()
            }
            Err(code) => vec![self.function | 0x80, *code],
        };
        request.read(&pdu).ok()
    }

    /// Whether the bits behind the last one asked for are 0, as the protocol wants them.
    #[must_use]
    pub fn is_padded(&self, request: Request) -> bool {
        let used = request.span.count % 8;
        match &self.content {
            Ok(bytes) if request.span.is_bits() && used > 0 => {
                bytes.last().is_none_or(|&last| last >> used == 0)
            }
            _ => true,
        }
    }
}

/// Writes a frame: `body` and its CRC. For tests and tools that play a device; the listener has no
/// way to send it.
#[must_use]
pub fn frame(body: &[u8]) -> Vec<u8> {
    [body, &crc(body)].concat()
}

#[cfg(test)]
mod tests {
    use super::{Look, Piece, Reply, frame, look};
    use crate::modbus::frame::{Answer, Request};
    use crate::plan::Span;
    use evidence::measurement::Table;
    use proptest::prelude::{any, prop_assert, proptest};

    fn holding(address: u16, count: u16) -> Request {
        Request {
            unit: 17,
            span: Span {
                table: Table::Holding,
                address,
                count,
            },
        }
    }

    #[test]
    fn a_question_and_its_answer_are_told_apart_by_length_and_crc() {
        let question = frame(&[17, 3, 0, 0x6B, 0, 3]);
        assert_eq!(
            look(&question, false),
            Look::Frame(Piece::Question(holding(0x6B, 3)), 8)
        );
        let answer = frame(&[17, 3, 6, 0x02, 0x2B, 0, 0, 0, 0x64]);
        let Look::Frame(Piece::Answer(reply), 11) = look(&answer, false) else {
            panic!("{:?}", look(&answer, false));
        };
        assert_eq!(
            reply.words(holding(0x6B, 3)),
            Some(Answer::Words(vec![555, 0, 100]))
        );
        assert_eq!(reply.words(holding(0x6B, 4)), None);
        for cut in 0..answer.len() {
            assert_eq!(look(&answer[..cut], false), Look::More, "{cut} bytes");
        }
        assert_eq!(look(&answer[..10], true), Look::Noise);
    }

    #[test]
    fn exceptions_and_writes_are_recognised() {
        let exception = frame(&[17, 0x83, 2]);
        let Look::Frame(Piece::Answer(reply), 5) = look(&exception, false) else {
            panic!();
        };
        assert_eq!(reply.words(holding(0, 9)), Some(Answer::Exception(2)));
        for (body, function) in [
            (vec![17, 6, 0, 1, 0, 3], 6),
            (vec![17, 16, 0, 1, 0, 2, 4, 0, 10, 1, 2], 16),
            (vec![17, 16, 0, 1, 0, 2], 16),
            (vec![17, 0x90, 3], 0x90),
            (vec![17, 23, 0, 3, 0, 6, 0, 14, 0, 1, 2, 0, 255], 23),
            (vec![17, 17], 17),
            (vec![17, 43, 14, 1, 0], 43),
        ] {
            let bytes = frame(&body);
            let expected = Piece::Other { unit: 17, function };
            assert_eq!(look(&bytes, false), Look::Frame(expected, bytes.len()));
        }
    }

    #[test]
    fn an_answer_with_20_bits_may_look_like_a_question() {
        let bytes = frame(&[1, 1, 3, 0xD0, 0x00, 0x04]);
        let Look::Frame(Piece::Either(question, reply), 8) = look(&bytes, false) else {
            panic!("{:?}", look(&bytes, false));
        };
        assert_eq!((question.span.address, question.span.count), (0x03D0, 4));
        let asked = Request {
            unit: 1,
            span: Span {
                table: Table::Coil,
                address: 0,
                count: 20,
            },
        };
        assert!(reply.answers(asked) && reply.is_padded(asked));
        let reply = Reply {
            content: Ok(vec![0xD0, 0, 0x14]),
            ..reply
        };
        assert!(!reply.is_padded(asked));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_a_frame_lies_within_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), ended in any::<bool>(),
        ) {
            match look(&bytes, ended) {
                Look::Frame(_, length) => prop_assert!((4..=bytes.len()).contains(&length)),
                Look::More => prop_assert!(!ended && bytes.len() < super::LONGEST),
                Look::Noise => {}
            }
        }
    }
}
