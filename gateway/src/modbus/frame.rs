//! What may be asked, and what every answer is judged by, whatever the line.
//!
//! A question and an answer are the same bytes (the PDU) on every line; [`super::mbap`] and
//! [`super::rtu`] put them into frames. There is no type for a write: what cannot be expressed
//! cannot be sent.

use evidence::measurement::Table;

use crate::plan::Span;

/// Bytes of a question's PDU: the function, the first address, the count.
pub const QUESTION: usize = 5;

/// Bytes of an exception's PDU: the function with its highest bit set, the code.
pub(super) const EXCEPTION: usize = 2;

/// One read of one unit. Functions 1 to 4 are all that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The unit behind the connection.
    pub unit: u8,
    /// What to read: at most 125 registers or 2000 bits.
    pub span: Span,
}

/// What a device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// One word per register, or 0 or 1 per bit; exactly as many as were asked for.
    Words(Vec<u16>),
    /// The device refused, with a Modbus exception code.
    Exception(u8),
}

/// How an answer did not match its question. Any of these makes the line unusable until it was
/// cleaned: whatever follows on it could be taken for the answer to a later question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// Bytes were waiting although nothing had been asked: a late or double answer.
    #[error("sent bytes that nobody asked for (a late or double answer)")]
    Unasked,
    /// Not Modbus.
    #[error("answered with protocol id {0} instead of 0: it does not speak Modbus TCP")]
    Protocol(u16),
    /// The answer to another question.
    #[error("answered transaction {answered} instead of {asked}")]
    Transaction {
        /// Our number.
        asked: u16,
        /// The number in the answer.
        answered: u16,
    },
    /// The answer of another unit.
    #[error("answered as unit {answered} instead of {asked}")]
    Unit {
        /// The unit asked.
        asked: u8,
        /// The unit in the answer.
        answered: u8,
    },
    /// The answer to another function.
    #[error("answered function {answered} instead of {asked}")]
    Function {
        /// The function asked.
        asked: u8,
        /// The function in the answer.
        answered: u8,
    },
    /// The frame is longer or shorter than the answer to this question can be.
    #[error("sent a frame of {found} bytes where {expected} were due")]
    Length {
        /// Bytes due: on TCP those behind the length field, on RTU the whole frame.
        expected: usize,
        /// Bytes announced or, where the answer broke off, received.
        found: usize,
    },
    /// The check sum at the end of an RTU frame is wrong.
    #[error("sent a frame with a wrong check sum: noise, a collision, or wrong serial settings")]
    CheckSum,
    /// What came is our own question.
    #[error("did not answer; the line echoes what we send: switch the converter's echo off")]
    Echo,
    /// The byte count inside the answer does not fit the question.
    #[error("announced {found} bytes of values where {expected} were due")]
    ByteCount {
        /// Bytes due.
        expected: usize,
        /// Bytes announced.
        found: usize,
    },
}

impl Request {
    pub(super) const fn function(self) -> u8 {
        match self.span.table {
            Table::Coil => 1,
            Table::Discrete => 2,
            Table::Holding => 3,
            Table::Input => 4,
        }
    }

    /// How many bytes of values the answer has.
    pub(super) fn value_bytes(self) -> usize {
        let count = usize::from(self.span.count);
        if self.span.is_bits() {
            count.div_ceil(8)
        } else {
            count * 2
        }
    }

    /// The question in the library's words. None of them writes.
    #[must_use]
    pub const fn question(self) -> tokio_modbus::Request<'static> {
        let Span {
            table,
            address,
            count,
        } = self.span;
        match table {
            Table::Coil => tokio_modbus::Request::ReadCoils(address, count),
            Table::Discrete => tokio_modbus::Request::ReadDiscreteInputs(address, count),
            Table::Holding => tokio_modbus::Request::ReadHoldingRegisters(address, count),
            Table::Input => tokio_modbus::Request::ReadInputRegisters(address, count),
        }
    }

    /// The question as it is sent: one of the four reads.
    #[must_use]
    pub const fn pdu(self) -> [u8; QUESTION] {
        let [a0, a1] = self.span.address.to_be_bytes();
        let [c0, c1] = self.span.count.to_be_bytes();
        [self.function(), a0, a1, c0, c1]
    }

    /// How many bytes the answer's PDU has if it is no exception.
    #[must_use]
    pub fn answer_bytes(self) -> usize {
        2 + self.value_bytes()
    }

    /// Judges the PDU of an answer: the function, the byte count, the length.
    ///
    /// # Errors
    /// [`Misbehaviour`], named after the first field that is wrong.
    pub fn check_pdu(self, pdu: &[u8]) -> Result<(), Misbehaviour> {
        let expected = self.value_bytes();
        let short = Misbehaviour::Length {
            expected: self.answer_bytes() + 1,
            found: pdu.len() + 1,
        };
        let [function, detail, values @ ..] = pdu else {
            return Err(short);
        };
        if *function == self.function() | 0x80 && values.is_empty() {
            return Ok(());
        }
        if *function != self.function() {
            return Err(Misbehaviour::Function {
                asked: self.function(),
                answered: *function,
            });
        }
        let found = usize::from(*detail);
        if found != expected {
            return Err(Misbehaviour::ByteCount { expected, found });
        }
        if values.len() != expected {
            return Err(short);
        }
        Ok(())
    }

    /// Judges the PDU of an answer and reads it.
    ///
    /// # Errors
    /// [`Misbehaviour`], named after the first field that is wrong.
    pub fn read(self, pdu: &[u8]) -> Result<Answer, Misbehaviour> {
        self.check_pdu(pdu)?;
        match *pdu {
            [function, code] if function == self.function() | 0x80 => Ok(Answer::Exception(code)),
            [_, _, ref values @ ..] => self.words(values).map(Answer::Words),
            // `check_pdu` has refused it.
            _ => Err(Misbehaviour::Length {
                expected: self.answer_bytes() + 1,
                found: pdu.len() + 1,
            }),
        }
    }

    /// One word per register, or 0 or 1 per bit.
    fn words(self, values: &[u8]) -> Result<Vec<u16>, Misbehaviour> {
        let words: Vec<u16> = if self.span.is_bits() {
            // Whole bytes come; the bits behind the last one asked for mean nothing.
            let bits = values
                .iter()
                .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
            let asked = bits.take(usize::from(self.span.count));
            asked.map(u16::from).collect()
        } else {
            let (pairs, _none) = values.as_chunks::<2>();
            pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
        };
        // After `check_pdu` it cannot be; a wrong value must not depend on that.
        if words.len() == usize::from(self.span.count) && values.len() == self.value_bytes() {
            Ok(words)
        } else {
            let (expected, found) = (self.value_bytes(), values.len());
            Err(Misbehaviour::ByteCount { expected, found })
        }
    }
}

/// The text of an exception code in the Modbus application protocol, V1.1b3, section 7.
#[must_use]
pub const fn exception_text(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "server device failure",
        5 => "acknowledge, still working",
        6 => "server device busy",
        8 => "memory parity error",
        10 => "gateway path unavailable",
        11 => "gateway target device failed to respond",
        _ => "unknown exception",
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Misbehaviour, Request};
    use crate::plan::Span;
    use bytes::Bytes;
    use evidence::measurement::Table;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use tokio_modbus::Response;

    fn request(table: Table, count: u16) -> Request {
        Request {
            unit: 17,
            span: Span {
                table,
                address: 0x006B,
                count,
            },
        }
    }

    #[test]
    fn the_example_of_the_specification_is_asked_and_decoded() {
        let request = request(Table::Holding, 3);
        assert_eq!(request.pdu(), [3, 0, 0x6B, 0, 3]);
        let answer = request.read(&[3, 6, 0x02, 0x2B, 0, 0, 0, 0x64]).unwrap();
        assert_eq!(answer, Answer::Words(vec![555, 0, 100]));
        assert_eq!(request.read(&[0x83, 2]), Ok(Answer::Exception(2)));
    }

    #[test]
    fn bits_come_lowest_first_and_only_as_many_as_asked() {
        let request = request(Table::Coil, 10);
        let answer = request.read(&[1, 2, 0b1100_1101, 0b1111_1110]).unwrap();
        assert_eq!(answer, Answer::Words(vec![1, 0, 1, 1, 0, 0, 1, 1, 0, 1]));
    }

    #[test]
    fn an_answer_of_another_count_is_refused_even_if_nobody_judged_it_before() {
        let byte_count = |expected, found| Err(Misbehaviour::ByteCount { expected, found });
        let holding = request(Table::Holding, 3);
        assert_eq!(holding.words(&[0; 4]), byte_count(6, 4));
        assert_eq!(holding.words(&[0; 5]), byte_count(6, 5));
        assert_eq!(holding.words(&[0; 7]), byte_count(6, 7));
        assert_eq!(holding.words(&[0; 8]), byte_count(6, 8));
        let coils = request(Table::Coil, 10);
        assert_eq!(coils.words(&[0xff]), byte_count(2, 1));
        assert_eq!(coils.words(&[0xff; 3]), byte_count(2, 3));
    }

    #[test]
    fn each_wrong_field_is_named() {
        let request = request(Table::Holding, 3);
        let body = |bytes: &[u8]| request.read(bytes).unwrap_err();
        assert_eq!(
            body(&[4, 6, 0, 0, 0, 0, 0, 0]),
            Misbehaviour::Function {
                asked: 3,
                answered: 4
            }
        );
        assert_eq!(
            body(&[3, 4, 0, 0, 0, 0, 0, 0]),
            Misbehaviour::ByteCount {
                expected: 6,
                found: 4
            }
        );
        assert_eq!(
            body(&[3, 6, 0, 0, 0, 0]),
            Misbehaviour::Length {
                expected: 9,
                found: 7
            }
        );
        assert_eq!(
            body(&[0x84, 2]),
            Misbehaviour::Function {
                asked: 3,
                answered: 0x84
            }
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_yield_another_number_of_words(
            pdu in proptest::collection::vec(any::<u8>(), 0..260),
            count in 1_u16..=125, bits in any::<bool>(),
        ) {
            let request = request(if bits { Table::Discrete } else { Table::Input }, count);
            if let Ok(Answer::Words(words)) = request.read(&pdu) {
                prop_assert_eq!(words.len(), usize::from(count));
            }
        }

        #[test]
        fn what_is_judged_good_yields_the_words_that_the_library_reads_in_it(
            mut values in proptest::collection::vec(any::<u8>(), 250),
            count in 1_u16..=125, bits in any::<bool>(),
        ) {
            let request = request(if bits { Table::Discrete } else { Table::Input }, count);
            values.truncate(request.value_bytes());
            let mut pdu = vec![request.function(), u8::try_from(values.len()).unwrap()];
            pdu.extend(values);
            let Ok(Answer::Words(words)) = request.read(&pdu) else { panic!("{pdu:?}") };
            let mut theirs = match Response::try_from(Bytes::from(pdu)).unwrap() {
                Response::ReadInputRegisters(words) => words,
                Response::ReadDiscreteInputs(bits) => bits.into_iter().map(u16::from).collect(),
                other => panic!("{other:?}"),
            };
            theirs.truncate(usize::from(count));
            prop_assert_eq!(words, theirs);
        }

        /// The library, which others wrote, reads in our question what was meant.
        #[test]
        fn the_library_reads_our_question_as_it_was_meant(
            address in any::<u16>(), count in 1_u16..=125, table in 0_usize..4,
        ) {
            let table = [Table::Coil, Table::Discrete, Table::Holding, Table::Input][table];
            let request = Request { unit: 1, span: Span { table, address, count } };
            let bytes = Bytes::copy_from_slice(&request.pdu());
            prop_assert_eq!(tokio_modbus::Request::try_from(bytes).unwrap(), request.question());
        }
    }
}
