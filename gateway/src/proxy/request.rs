//! What a client sent, judged byte by byte; what it is answered.
//!
//! Only the reads of functions 1 to 4 become something that can be asked. Everything else ends here:
//! there is no way from a client's write to the line.

use evidence::measurement::Table;

use crate::modbus::frame::Answer;
use crate::plan::Span;

/// Bytes before a PDU: transaction, protocol, length, unit.
pub const HEADER: usize = 7;

/// The longest PDU (Modbus application protocol V1.1b3, section 4.1).
pub const LONGEST_PDU: usize = 253;

/// "Illegal function".
pub const ILLEGAL_FUNCTION: u8 = 1;
/// "Illegal data address".
pub const ILLEGAL_ADDRESS: u8 = 2;
/// "Illegal data value".
pub const ILLEGAL_VALUE: u8 = 3;
/// "Server device busy": ask again.
pub const BUSY: u8 = 6;
/// "Gateway path unavailable".
pub const NO_PATH: u8 = 10;
/// "Gateway target device failed to respond".
pub const SILENT: u8 = 11;

/// The header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The client's number of the request, echoed in the answer.
    pub transaction: u16,
    /// The unit asked.
    pub unit: u8,
    /// Bytes of the PDU that follows, 1 to [`LONGEST_PDU`].
    pub pdu: usize,
}

/// A client that does not speak Modbus TCP. Nothing it sends later can be trusted either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The protocol id is not 0.
    #[error("protocol id {0} instead of 0")]
    Protocol(u16),
    /// No PDU, or one longer than any.
    #[error("a length of {0} bytes, which no request has")]
    Length(u16),
}

/// A request that is answered with an exception without asking anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The function asked for.
    pub function: u8,
    /// The exception code.
    pub code: u8,
}

impl Header {
    /// Judges the first bytes of a request.
    ///
    /// # Errors
    /// [`Malformed`]: the connection has to be closed.
    pub const fn read(bytes: [u8; HEADER]) -> Result<Self, Malformed> {
        let [t0, t1, p0, p1, l0, l1, unit] = bytes;
        let (protocol, length) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([l0, l1]));
        if protocol != 0 {
            return Err(Malformed::Protocol(protocol));
        }
        let bytes = length as usize;
        if bytes < 2 || bytes > LONGEST_PDU + 1 {
            return Err(Malformed::Length(length));
        }
        Ok(Self {
            transaction: u16::from_be_bytes([t0, t1]),
            unit,
            pdu: bytes - 1,
        })
    }
}

/// Judges a PDU: what it asks to read.
///
/// # Errors
/// [`Refusal`]: every function but 1 to 4 with exception 1, a wrong length or count with exception 3,
/// addresses beyond 65535 with exception 2.
pub fn read(pdu: &[u8]) -> Result<Span, Refusal> {
    let function = pdu.first().copied().unwrap_or(0);
    let refuse = |code| Refusal { function, code };
    let table = match function {
        1 => Table::Coil,
        2 => Table::Discrete,
        3 => Table::Holding,
        4 => Table::Input,
        _ => return Err(refuse(ILLEGAL_FUNCTION)),
    };
    let [_, a0, a1, c0, c1] = *pdu else {
        return Err(refuse(ILLEGAL_VALUE));
    };
    let span = Span {
        table,
        address: u16::from_be_bytes([a0, a1]),
        count: u16::from_be_bytes([c0, c1]),
    };
    let most = if span.is_bits() { 2_000 } else { 125 };
    if !(1..=most).contains(&span.count) {
        return Err(refuse(ILLEGAL_VALUE));
    }
    if span.end() > 65_536 {
        return Err(refuse(ILLEGAL_ADDRESS));
    }
    Ok(span)
}

/// The bytes that answer a read. An answer with another number of words than was asked for cannot
/// be sent: the client is told that the device failed to respond.
#[must_use]
pub fn answer(header: Header, span: Span, answer: &Answer) -> Vec<u8> {
    let function = match span.table {
        Table::Coil => 1,
        Table::Discrete => 2,
        Table::Holding => 3,
        Table::Input => 4,
    };
    let refuse = |code| refusal(header, Refusal { function, code });
    let words = match answer {
        Answer::Words(words) if words.len() == usize::from(span.count) => words,
        Answer::Words(_) => return refuse(SILENT),
        Answer::Exception(code) => return refuse(*code),
    };
    let values: Vec<u8> = if span.is_bits() {
        let pack = |bits: &[u16]| {
            let bits = bits.iter().rev();
            bits.fold(0, |byte, &bit| byte << 1 | u8::from(bit != 0))
        };
        words.chunks(8).map(pack).collect()
    } else {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    };
    let Ok(count) = u8::try_from(values.len()) else {
        return refuse(SILENT);
    };
    framed(header, &[&[function, count], &values[..]].concat())
}

/// The bytes that refuse a request.
#[must_use]
pub fn refusal(header: Header, refusal: Refusal) -> Vec<u8> {
    framed(header, &[refusal.function | 0x80, refusal.code])
}

fn framed(header: Header, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(HEADER + pdu.len());
    bytes.extend(header.transaction.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.push(header.unit);
    bytes.extend(pdu);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Header, Malformed, Refusal, answer, read, refusal};
    use crate::modbus::frame::Answer;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    const HEADER: Header = Header {
        transaction: 0x1501,
        unit: 9,
        pdu: 5,
    };

    #[test]
    fn the_example_of_the_specification_is_read_and_answered() {
        let header = Header::read([0x15, 1, 0, 0, 0, 6, 9]).unwrap();
        assert_eq!(header, HEADER);
        let span = read(&[3, 0, 0x6B, 0, 3]).unwrap();
        let bytes = answer(header, span, &Answer::Words(vec![0x022B, 0, 0x64]));
        let expected = [0x15, 1, 0, 0, 0, 9, 9, 3, 6, 0x02, 0x2B, 0, 0, 0, 0x64];
        assert_eq!(bytes, expected);
        let span = read(&[1, 0, 0x13, 0, 19]).unwrap();
        let bits = [0xCD_u8, 0x6B, 0x05]
            .iter()
            .flat_map(|byte| (0..8).map(move |place| u16::from(byte >> place & 1)));
        let bytes = answer(header, span, &Answer::Words(bits.take(19).collect()));
        assert_eq!(bytes[7..], [1, 3, 0xCD, 0x6B, 0x05]);
        let bytes = answer(header, span, &Answer::Exception(2));
        assert_eq!(bytes, [0x15, 1, 0, 0, 0, 3, 9, 0x81, 2]);
    }

    #[test]
    fn every_function_but_the_reads_is_an_illegal_function() {
        for function in (0..=255).filter(|function| !(1..=4).contains(function)) {
            for rest in [&[][..], &[0, 1, 0, 1], &[0, 1, 0, 1, 2, 0, 7]] {
                let pdu = [&[function], rest].concat();
                assert_eq!(read(&pdu), Err(Refusal { function, code: 1 }));
            }
        }
        assert_eq!(
            refusal(
                HEADER,
                Refusal {
                    function: 6,
                    code: 1
                }
            )[7..],
            [0x86, 1]
        );
    }

    #[test]
    fn counts_lengths_and_addresses_that_cannot_be_are_refused_without_asking() {
        for (pdu, code) in [
            (vec![3, 0, 0, 0, 0], 3),
            (vec![3, 0, 0, 0, 126], 3),
            (vec![1, 0, 0, 0x07, 0xD1], 3),
            (vec![3, 0xFF, 0xFF, 0, 2], 2),
            (vec![3, 0, 0, 0], 3),
            (vec![3, 0, 0, 0, 1, 0], 3),
        ] {
            let function = pdu[0];
            assert_eq!(read(&pdu), Err(Refusal { function, code }), "{pdu:?}");
        }
        assert!(read(&[3, 0xFF, 0xFF, 0, 1]).is_ok());
        assert_eq!(
            Header::read([0, 0, 0, 1, 0, 6, 1]),
            Err(Malformed::Protocol(1))
        );
        assert_eq!(
            Header::read([0, 0, 0, 0, 0, 1, 1]),
            Err(Malformed::Length(1))
        );
        assert_eq!(
            Header::read([0, 0, 0, 0, 0, 255, 1]),
            Err(Malformed::Length(255))
        );
        assert_eq!(Header::read([0, 0, 0, 0, 0, 254, 1]).unwrap().pdu, 253);
    }

    proptest! {
        #[test]
        fn an_answer_always_fits_its_frame(
            pdu in proptest::collection::vec(any::<u8>(), 0..260), words in proptest::collection::vec(any::<u16>(), 0..200),
        ) {
            match read(&pdu) {
                Ok(span) => {
                    let bytes = answer(HEADER, span, &Answer::Words(words));
                    prop_assert_eq!(usize::from(u16::from_be_bytes([bytes[4], bytes[5]])), bytes.len() - 6);
                    prop_assert!(bytes.len() <= 260);
                }
                Err(refused) => prop_assert_eq!(refusal(HEADER, refused).len(), 9),
            }
        }
    }
}
