//! The bytes of a read request and of its answer, with every field of the answer checked.

use evidence::measurement::Table;

use crate::plan::Span;

/// Bytes before the PDU: transaction, protocol, length, unit.
pub const HEADER: usize = 7;

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

    /// The frame to send.
    #[must_use]
    pub fn encode(self, transaction: u16) -> [u8; 12] {
        let [t0, t1] = transaction.to_be_bytes();
        let [a0, a1] = self.span.address.to_be_bytes();
        let [c0, c1] = self.span.count.to_be_bytes();
        [
            t0,
            t1,
            0,
            0,
            0,
            6,
            self.unit,
            self.function(),
            a0,
            a1,
            c0,
            c1,
        ]
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

    /// Judges what follows the header and returns the values.
    ///
    /// # Errors
    /// [`Misbehaviour`], named after the first field that is wrong.
    pub fn decode(self, pdu: &[u8]) -> Result<Answer, Misbehaviour> {
        let expected = EXCEPTION_LENGTH + self.value_bytes();
        let short = Misbehaviour::Length {
            expected,
            found: pdu.len() + 1,
        };
        let [function, detail, values @ ..] = pdu else {
            return Err(short);
        };
        if *function == self.function() | 0x80 && values.is_empty() {
            return Ok(Answer::Exception(*detail));
        }
        if *function != self.function() {
            return Err(Misbehaviour::Function {
                asked: self.function(),
                answered: *function,
            });
        }
        if usize::from(*detail) != self.value_bytes() {
            let found = usize::from(*detail);
            return Err(Misbehaviour::ByteCount {
                expected: self.value_bytes(),
                found,
            });
        }
        if values.len() != self.value_bytes() {
            return Err(short);
        }
        Ok(Answer::Words(if self.span.is_bits() {
            let bits = values
                .iter()
                .flat_map(|byte| (0..8).map(move |bit| u16::from(byte >> bit & 1)));
            bits.take(usize::from(self.span.count)).collect()
        } else {
            values
                .chunks_exact(2)
                .map(|pair| {
                    pair.iter()
                        .fold(0_u16, |word, &byte| word << 8 | u16::from(byte))
                })
                .collect()
        }))
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
    use evidence::measurement::Table;
    use proptest::prelude::{any, prop_assert_eq, proptest};

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
    fn the_example_of_the_specification_encodes_and_decodes() {
        let request = request(Table::Holding, 3);
        assert_eq!(
            request.encode(0x1501),
            [0x15, 1, 0, 0, 0, 6, 17, 3, 0, 0x6B, 0, 3]
        );
        let rest = request
            .check_header(0x1501, [0x15, 1, 0, 0, 0, 9, 17])
            .unwrap();
        assert_eq!(rest, 8);
        let answer = request.decode(&[3, 6, 0x02, 0x2B, 0, 0, 0, 0x64]).unwrap();
        assert_eq!(answer, Answer::Words(vec![555, 0, 100]));
    }

    #[test]
    fn bits_come_lowest_first_and_only_as_many_as_asked() {
        let request = request(Table::Coil, 10);
        let answer = request.decode(&[1, 2, 0b1100_1101, 0b1111_1110]).unwrap();
        assert_eq!(answer, Answer::Words(vec![1, 0, 1, 1, 0, 0, 1, 1, 0, 1]));
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
        let body = |bytes: &[u8]| request.decode(bytes).unwrap_err();
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
        assert_eq!(request.decode(&[0x83, 2]), Ok(Answer::Exception(2)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_yield_another_number_of_words(
            header in any::<[u8; HEADER]>(), pdu in proptest::collection::vec(any::<u8>(), 0..260),
            count in 1_u16..=125, bits in any::<bool>(),
        ) {
            let request = request(if bits { Table::Discrete } else { Table::Input }, count);
            let _judged = request.check_header(1, header);
            if let Ok(Answer::Words(words)) = request.decode(&pdu) {
                prop_assert_eq!(words.len(), usize::from(count));
            }
        }
    }
}
