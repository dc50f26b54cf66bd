//! Frames of Modbus TCP: a header with a transaction number, a protocol id, a length and the unit.

use super::frame::{EXCEPTION, Misbehaviour, QUESTION, Request};

/// Bytes before the PDU.
const HEADER: usize = 7;

/// A question's frame.
pub const FRAME: usize = HEADER + QUESTION;

/// The question under a transaction number.
#[must_use]
pub const fn question(request: Request, transaction: u16) -> [u8; FRAME] {
    let [t0, t1] = transaction.to_be_bytes();
    let [function, a0, a1, c0, c1] = request.pdu();
    [t0, t1, 0, 0, 0, 6, request.unit, function, a0, a1, c0, c1]
}

/// Judges what has been received so far: `None` while it is good but not all, then the answer's PDU.
///
/// # Errors
/// [`Misbehaviour`], named after the first field that is wrong; as soon as it can be seen.
pub fn judge(
    request: Request,
    transaction: u16,
    received: &[u8],
) -> Result<Option<&[u8]>, Misbehaviour> {
    let Some((header, pdu)) = received.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let due = check_header(request, transaction, *header)?;
    if pdu.len() > due {
        return Err(Misbehaviour::Unasked);
    }
    if pdu.len() < due {
        return Ok(None);
    }
    request.check_pdu(pdu)?;
    Ok(Some(pdu))
}

/// Judges the first seven bytes of an answer and returns how many bytes follow.
fn check_header(
    request: Request,
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
    if unit != request.unit {
        return Err(Misbehaviour::Unit {
            asked: request.unit,
            answered: unit,
        });
    }
    // The length counts the unit as well.
    let found = usize::from(u16::from_be_bytes([l0, l1]));
    let expected = 1 + request.answer_bytes();
    if found != expected && found != 1 + EXCEPTION {
        return Err(Misbehaviour::Length { expected, found });
    }
    Ok(found - 1)
}

#[cfg(test)]
mod tests {
    use super::{judge, question};
    use crate::modbus::frame::{Misbehaviour, Request};
    use crate::plan::Span;
    use evidence::measurement::Table;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    const REQUEST: Request = Request {
        unit: 17,
        span: Span {
            table: Table::Holding,
            address: 0x6B,
            count: 3,
        },
    };
    const ANSWER: [u8; 15] = [0x15, 1, 0, 0, 0, 9, 17, 3, 6, 2, 0x2B, 0, 0, 0, 0x64];

    #[test]
    fn the_example_of_the_specification_is_asked_and_its_answer_taken_in_pieces() {
        let frame = [0x15, 1, 0, 0, 0, 6, 17, 3, 0, 0x6B, 0, 3];
        assert_eq!(question(REQUEST, 0x1501), frame);
        for part in 0..ANSWER.len() {
            assert_eq!(judge(REQUEST, 0x1501, &ANSWER[..part]), Ok(None));
        }
        assert_eq!(judge(REQUEST, 0x1501, &ANSWER), Ok(Some(&ANSWER[7..])));
        let excess = [&ANSWER[..], &[0]].concat();
        assert_eq!(judge(REQUEST, 0x1501, &excess), Err(Misbehaviour::Unasked));
        let exception = [0x15, 1, 0, 0, 0, 3, 17, 0x83, 2];
        assert_eq!(judge(REQUEST, 0x1501, &exception), Ok(Some(&[0x83, 2][..])));
    }

    #[test]
    fn each_wrong_field_is_named() {
        let header = |bytes: [u8; 7]| judge(REQUEST, 7, &bytes).unwrap_err();
        assert_eq!(header([0, 7, 0, 1, 0, 9, 17]), Misbehaviour::Protocol(1));
        let (asked, answered) = (7, 8);
        assert_eq!(
            header([0, 8, 0, 0, 0, 9, 17]),
            Misbehaviour::Transaction { asked, answered }
        );
        let (asked, answered) = (17, 18);
        assert_eq!(
            header([0, 7, 0, 0, 0, 9, 18]),
            Misbehaviour::Unit { asked, answered }
        );
        let (expected, found) = (9, 7);
        assert_eq!(
            header([0, 7, 0, 0, 0, 7, 17]),
            Misbehaviour::Length { expected, found }
        );
    }

    proptest! {
        /// One byte of a good answer changed: in a value it comes through, anywhere else it is seen.
        #[test]
        fn no_answer_with_a_wrong_field_is_taken(
            place in 0_usize..ANSWER.len(), change in 1_u8..=255, part in 0_usize..=ANSWER.len(),
        ) {
            let mut answer = ANSWER;
            answer[place] ^= change;
            match judge(REQUEST, 0x1501, &answer[..part]) {
                Ok(Some(pdu)) => {
                    prop_assert!(place >= 9, "byte {} was not judged", place);
                    prop_assert_eq!(pdu, &answer[7..]);
                }
                Ok(None) => prop_assert!(part < ANSWER.len()),
                Err(_) => prop_assert!(place < 9),
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _judged = judge(REQUEST, 0x1501, &bytes);
        }
    }
}
