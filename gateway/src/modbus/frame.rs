//! What may be asked, and every field of an answer judged against its question.
//!
//! `tokio-modbus` writes the questions and reads the answers. It takes more for an answer than we
//! may: it checks lengths and counts by debug assertion only. So each answer is judged here first.

use evidence::measurement::Table;
use tokio_modbus::Response;

use crate::plan::Span;

/// Bytes before the PDU: transaction, protocol, length, unit.
pub const HEADER: usize = 7;

/// Bytes of a question: the header, the function, the first address, the count.
pub const QUESTION: usize = 12;

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

/// How an answer did not match its question. Any of these makes the connection unusable: whatever
/// follows on it could be taken for the answer to a later question.
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
        /// Bytes behind the length field that were due.
        expected: usize,
        /// Bytes announced.
        found: usize,
    },
    /// The byte count inside the answer does not fit the question.
    #[error("announced {found} bytes of values where {expected} were due")]
    ByteCount {
        /// Bytes due.
        expected: usize,
        /// Bytes announced.
        found: usize,
    },
}

/// The two lengths an answer may have, counted from behind the length field.
const EXCEPTION_LENGTH: usize = 3;

impl Request {
    const fn function(self) -> u8 {
        match self.span.table {
            Table::Coil => 1,
            Table::Discrete => 2,
            Table::Holding => 3,
            Table::Input => 4,
        }
    }

    fn value_bytes(self) -> usize {
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

    /// Whether a frame asks this and nothing else, whatever its transaction.
    #[must_use]
    pub fn is_asked_by(self, frame: [u8; QUESTION]) -> bool {
        let [_, _, rest @ ..] = frame;
        let [a0, a1] = self.span.address.to_be_bytes();
        let [c0, c1] = self.span.count.to_be_bytes();
        rest == [0, 0, 0, 6, self.unit, self.function(), a0, a1, c0, c1]
    }

    /// Judges the first seven bytes of an answer and returns how many bytes follow.
    ///
    /// # Errors
    /// [`Misbehaviour`], named after the first field that is wrong.
    pub fn check_header(
        self,
        transaction: u16,
        header: [u8; HEADER],
    ) -> Result<usize, Misbehaviour> {
        let [t0, t1, p0, p1, l0, l1, unit] = header;
        let protocol = u16::from_be_bytes([p0, p1]);
        if protocol != 0 {
            return Err(Misbehaviour::Protocol(protocol));
        }
        let answered = u16::from_be_bytes([t0, t1]);
        if answered != transaction {
            return Err(Misbehaviour::Transaction {
                asked: transaction,
                answered,
            });
        }
        if unit != self.unit {
            return Err(Misbehaviour::Unit {
                asked: self.unit,
                answered: unit,
            });
        }
        let found = usize::from(u16::from_be_bytes([l0, l1]));
        let expected = EXCEPTION_LENGTH + self.value_bytes();
        if found != expected && found != EXCEPTION_LENGTH {
            return Err(Misbehaviour::Length { expected, found });
        }
        Ok(found - 1)
    }

    /// Judges what follows the header: the function, the byte count, the length.
    ///
    /// # Errors
    /// [`Misbehaviour`], named after the first field that is wrong.
    pub fn check_pdu(self, pdu: &[u8]) -> Result<(), Misbehaviour> {
        let expected = self.value_bytes();
        let short = Misbehaviour::Length {
            expected: EXCEPTION_LENGTH + expected,
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

    /// Takes the values out of the library's answer: exactly as many as were asked for.
    ///
    /// # Errors
    /// [`Misbehaviour`] if it is another function's answer or holds another number of values. After
    /// [`Self::check_pdu`] neither can be; a wrong value must not depend on that.
    pub fn answer(self, response: Response) -> Result<Answer, Misbehaviour> {
        let byte_count = |found| Misbehaviour::ByteCount {
            expected: self.value_bytes(),
            found,
        };
        let words = match (self.span.table, response) {
            (Table::Holding, Response::ReadHoldingRegisters(words))
            | (Table::Input, Response::ReadInputRegisters(words)) => {
                if words.len() != usize::from(self.span.count) {
                    return Err(byte_count(words.len() * 2));
                }
                words
            }
            (Table::Coil, Response::ReadCoils(bits))
            | (Table::Discrete, Response::ReadDiscreteInputs(bits)) => {
                // The library gives whole bytes; the bits behind the last one asked for mean nothing.
                if bits.len() != self.value_bytes() * 8 {
                    return Err(byte_count(bits.len() / 8));
                }
                let asked = bits.into_iter().take(usize::from(self.span.count));
                asked.map(u16::from).collect()
            }
            (_, other) => {
                return Err(Misbehaviour::Function {
                    asked: self.function(),
                    answered: other.function_code().value(),
                });
            }
        };
        Ok(Answer::Words(words))
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
    use super::{Answer, HEADER, Misbehaviour, Request};
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

    /// What the library makes of an answer that was judged good.
    fn decoded(request: Request, pdu: &[u8]) -> Result<Answer, Misbehaviour> {
        request.check_pdu(pdu)?;
        request.answer(Response::try_from(Bytes::copy_from_slice(pdu)).unwrap())
    }

    #[test]
    fn the_example_of_the_specification_is_recognised_and_decoded() {
        let request = request(Table::Holding, 3);
        let frame = [0x15, 1, 0, 0, 0, 6, 17, 3, 0, 0x6B, 0, 3];
        assert!(request.is_asked_by(frame));
        for place in 2..frame.len() {
            let mut other = frame;
            other[place] ^= 1;
            assert!(!request.is_asked_by(other), "byte {place}");
        }
        let rest = request
            .check_header(0x1501, [0x15, 1, 0, 0, 0, 9, 17])
            .unwrap();
        assert_eq!(rest, 8);
        let answer = decoded(request, &[3, 6, 0x02, 0x2B, 0, 0, 0, 0x64]).unwrap();
        assert_eq!(answer, Answer::Words(vec![555, 0, 100]));
    }

    #[test]
    fn bits_come_lowest_first_and_only_as_many_as_asked() {
        let request = request(Table::Coil, 10);
        let answer = decoded(request, &[1, 2, 0b1100_1101, 0b1111_1110]).unwrap();
        assert_eq!(answer, Answer::Words(vec![1, 0, 1, 1, 0, 0, 1, 1, 0, 1]));
    }

    #[test]
    fn an_answer_of_another_function_or_count_is_refused_even_if_nobody_judged_it_before() {
        let words = |count| Response::ReadHoldingRegisters(vec![0; count]);
        let byte_count = |expected, found| Err(Misbehaviour::ByteCount { expected, found });
        let holding = request(Table::Holding, 3);
        assert_eq!(holding.answer(words(2)), byte_count(6, 4));
        assert_eq!(holding.answer(words(4)), byte_count(6, 8));
        let coils = request(Table::Coil, 10);
        assert_eq!(
            coils.answer(Response::ReadCoils(vec![true; 8])),
            byte_count(2, 1)
        );
        assert_eq!(
            request(Table::Input, 3).answer(words(3)),
            Err(Misbehaviour::Function {
                asked: 4,
                answered: 3
            })
        );
    }

    #[test]
    fn each_wrong_field_is_named() {
        let request = request(Table::Holding, 3);
        let header = |bytes| request.check_header(7, bytes).unwrap_err();
        assert_eq!(header([0, 7, 0, 1, 0, 9, 17]), Misbehaviour::Protocol(1));
        assert_eq!(
            header([0, 8, 0, 0, 0, 9, 17]),
            Misbehaviour::Transaction {
                asked: 7,
                answered: 8
            }
        );
        assert_eq!(
            header([0, 7, 0, 0, 0, 9, 18]),
            Misbehaviour::Unit {
                asked: 17,
                answered: 18
            }
        );
        assert_eq!(
            header([0, 7, 0, 0, 0, 7, 17]),
            Misbehaviour::Length {
                expected: 9,
                found: 7
            }
        );
        let body = |bytes: &[u8]| request.check_pdu(bytes).unwrap_err();
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
        assert_eq!(request.check_pdu(&[0x83, 2]), Ok(()));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_yield_another_number_of_words(
            header in any::<[u8; HEADER]>(), pdu in proptest::collection::vec(any::<u8>(), 0..260),
            count in 1_u16..=125, bits in any::<bool>(),
        ) {
            let request = request(if bits { Table::Discrete } else { Table::Input }, count);
            let _judged = request.check_header(1, header);
            if request.check_pdu(&pdu).is_ok() && pdu.len() > 2 {
                let Ok(Answer::Words(words)) = decoded(request, &pdu) else { panic!("{pdu:?}") };
                prop_assert_eq!(words.len(), usize::from(count));
            }
        }

        #[test]
        fn what_is_judged_good_the_library_can_read_and_yields_the_count(
            mut values in proptest::collection::vec(any::<u8>(), 250),
            count in 1_u16..=125, bits in any::<bool>(),
        ) {
            let request = request(if bits { Table::Discrete } else { Table::Input }, count);
            values.truncate(request.value_bytes());
            let mut pdu = vec![request.function(), u8::try_from(values.len()).unwrap()];
            pdu.extend(values);
            let Ok(Answer::Words(words)) = decoded(request, &pdu) else { panic!("{pdu:?}") };
            prop_assert_eq!(words.len(), usize::from(count));
        }
    }
}
