//! Frames of Modbus RTU: the unit, the PDU, a check sum.
//!
//! A frame has no length and no number. How long an answer is follows from the question, so an
//! answer is complete when it has that many bytes (or the five of an exception). That it belongs to
//! this question and not to one before cannot be seen in it: the line sees to that
//! ([`super::connection`]).

use super::frame::{EXCEPTION, Misbehaviour, QUESTION, Request};

/// Bytes of a question's frame.
pub const FRAME: usize = 1 + QUESTION + CRC;

/// Bytes of the check sum.
const CRC: usize = 2;

/// Bytes of an exception's frame.
const EXCEPTION_FRAME: usize = 1 + EXCEPTION + CRC;

/// An answer that is right in every field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complete<'a> {
    /// The answer's PDU.
    pub pdu: &'a [u8],
    /// How many bytes came behind it that nobody asked for.
    pub excess: usize,
}

/// The question.
#[must_use]
pub fn question(request: Request) -> [u8; FRAME] {
    let [function, a0, a1, n0, n1] = request.pdu();
    let [low, high] = crc(&[request.unit, function, a0, a1, n0, n1]);
    [request.unit, function, a0, a1, n0, n1, low, high]
}

/// How many bytes the answer has if it is no exception.
#[must_use]
pub fn answer_bytes(request: Request) -> usize {
    1 + request.answer_bytes() + CRC
}

/// Judges what has been received so far: `None` while it is good but not all, then the answer.
///
/// # Errors
/// [`Misbehaviour`], named after the first field that is wrong; as soon as it can be seen.
pub fn judge(request: Request, received: &[u8]) -> Result<Option<Complete<'_>>, Misbehaviour> {
    let [unit, rest @ ..] = received else {
        return Ok(None);
    };
    if *unit != request.unit {
        return Err(Misbehaviour::Unit {
            asked: request.unit,
            answered: *unit,
        });
    }
    let [function, rest @ ..] = rest else {
        return Ok(None);
    };
    let asked = request.function();
    if *function != asked && *function != asked | 0x80 {
        let answered = *function;
        return Err(Misbehaviour::Function { asked, answered });
    }
    let refused = *function != asked;
    let due = if refused {
        EXCEPTION_FRAME
    } else {
        if received.starts_with(&question(request)) {
            return Err(Misbehaviour::Echo);
        }
        let expected = request.value_bytes();
        // An echo has the same byte here as the address asked for; it is told apart when it is whole.
        let could_be_echo = received.len() < FRAME && question(request).starts_with(received);
        if let Some(found) = rest.first().map(|found| usize::from(*found))
            && found != expected
            && !could_be_echo
        {
            return Err(Misbehaviour::ByteCount { expected, found });
        }
        answer_bytes(request)
    };
    let Some((frame, excess)) = received.split_at_checked(due) else {
        return Ok(None);
    };
    let (body, sum) = frame.split_at(due - CRC);
    if crc(body) != *sum {
        return Err(Misbehaviour::CheckSum);
    }
    let pdu = body.get(1..).unwrap_or_default();
    request.check_pdu(pdu)?;
    let excess = excess.len();
    Ok(Some(Complete { pdu, excess }))
}

/// The check sum of a frame, in the order it is sent (CRC-16/MODBUS, low byte first).
#[must_use]
pub fn crc(bytes: &[u8]) -> [u8; CRC] {
    let mut sum = 0xFFFF_u16;
    for byte in bytes {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ 0xA001
            } else {
                sum >> 1
            };
        }
    }
    sum.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Complete, answer_bytes, crc, judge, question};
    use crate::modbus::frame::{Answer, Misbehaviour, Request};
    use crate::plan::Span;
    use evidence::measurement::Table;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn request(table: Table, address: u16, count: u16) -> Request {
        let unit = 17;
        let span = Span {
            table,
            address,
            count,
        };
        Request { unit, span }
    }

    const HOLDING: Request = Request {
        unit: 17,
        span: Span {
            table: Table::Holding,
            address: 0x6B,
            count: 3,
        },
    };

    fn framed(body: &[u8]) -> Vec<u8> {
        [body, &crc(body)].concat()
    }

    /// The specification's example of holding registers 108-110 with its values.
    fn answer() -> Vec<u8> {
        framed(&[17, 3, 6, 2, 0x2B, 0, 0, 0, 0x64])
    }

    #[test]
    fn the_check_sum_is_that_of_the_specification() {
        // "Modbus over serial line" V1.02, appendix B: 02 07 gives 41 12.
        assert_eq!(crc(&[2, 7]), [0x41, 0x12]);
        // The catalogue's check value of CRC-16/MODBUS: 0x4B37 over "123456789".
        assert_eq!(crc(b"123456789"), [0x37, 0x4B]);
        assert_eq!(
            question(HOLDING),
            [17, 3, 0, 0x6B, 0, 3, 0x76, 0x87],
            "a printed example of this question"
        );
    }

    #[test]
    fn an_answer_is_complete_by_its_length_and_excess_is_counted() {
        let answer = answer();
        for part in 0..answer.len() {
            assert_eq!(judge(HOLDING, &answer[..part]), Ok(None), "{part} bytes");
        }
        let complete = |excess| {
            Ok(Some(Complete {
                pdu: &answer[1..9],
                excess,
            }))
        };
        assert_eq!(judge(HOLDING, &answer), complete(0));
        assert_eq!(
            judge(HOLDING, &[&answer[..], &[0, 0]].concat()),
            complete(2)
        );
        let refusal = framed(&[17, 0x83, 2]);
        let found = judge(HOLDING, &refusal).unwrap().unwrap();
        assert_eq!(HOLDING.read(found.pdu), Ok(Answer::Exception(2)));
    }

    #[test]
    fn each_wrong_field_is_named_and_an_echo_is_called_one() {
        let judged = |bytes: &[u8]| judge(HOLDING, bytes).unwrap_err();
        let (asked, answered) = (17, 18);
        assert_eq!(judged(&[18]), Misbehaviour::Unit { asked, answered });
        let (asked, answered) = (3, 4);
        assert_eq!(judged(&[17, 4]), Misbehaviour::Function { asked, answered });
        let (expected, found) = (6, 4);
        assert_eq!(
            judged(&[17, 3, 4]),
            Misbehaviour::ByteCount { expected, found }
        );
        let mut noisy = answer();
        noisy[5] ^= 0x10;
        assert_eq!(judged(&noisy), Misbehaviour::CheckSum);
        assert_eq!(judged(&question(HOLDING)), Misbehaviour::Echo);
        // Even where the first byte of the address is the byte count that is due.
        let tricky = request(Table::Holding, 0x0600, 3);
        assert_eq!(judge(tricky, &question(tricky)), Err(Misbehaviour::Echo));
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_always_seen(place in 0_usize..11, change in 1_u8..=255) {
            let mut changed = answer();
            changed[place] ^= change;
            // A change may turn the answer into the beginning of something longer, never into an answer.
            prop_assert!(!matches!(judge(HOLDING, &changed), Ok(Some(_))));
        }

        #[test]
        fn random_bytes_never_panic_and_what_is_taken_is_right_in_every_field(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
            table in 0_usize..4, address in any::<u16>(), count in 1_u16..=125, shape in any::<bool>(), sum in any::<bool>(),
        ) {
            let table = [Table::Coil, Table::Discrete, Table::Holding, Table::Input][table];
            let request = request(table, address, count);
            if shape {
                // Half of the cases begin as an answer does, or nothing would ever come far.
                let values = u8::try_from(request.value_bytes()).unwrap();
                let start = [request.unit, request.function(), values];
                bytes.splice(..bytes.len().min(3), start);
                if sum && bytes.len() >= answer_bytes(request) {
                    let end = answer_bytes(request);
                    let good = crc(&bytes[..end - 2]);
                    bytes[end - 2..end].copy_from_slice(&good);
                }
            }
            if let Ok(Some(Complete { pdu, excess })) = judge(request, &bytes) {
                let frame = &bytes[..bytes.len() - excess];
                prop_assert_eq!(&crc(&frame[..frame.len() - 2])[..], &frame[frame.len() - 2..]);
                prop_assert_eq!(frame[0], request.unit);
                if let Ok(Answer::Words(words)) = request.read(pdu) {
                    prop_assert_eq!(words.len(), usize::from(count));
                }
            }
        }
    }
}
