use super::*;

/// What `openssl ts` (3.0.19) made: a request over [`NOTE`] with [`NONCE`], and the answer of an
/// authority with a P-256 key whose certificate `testdata/timestamp/ca.pem` issued.
const NOTE: &[u8] = b"a trail note\n";
const NONCE: u64 = 0xe121_603c_7200_243d;
const ANSWER: &[u8] = include_bytes!("../../testdata/timestamp/answer.tsr");
const REQUEST: &str = "3044020101\
    3031300d060960864801650304020105000420\
    58bf6b2bbc939135709fb27711a668c64c29c713718ed1045f5f74b6b5b81d18\
    020900e121603c7200243d0101ff";

#[test]
fn a_request_is_the_one_that_openssl_writes() {
    assert_eq!(crate::hash::to_hex(&request(NOTE, NONCE)), REQUEST);
    let small = crate::hash::to_hex(&request(NOTE, 0x7f));
    assert!(small.ends_with("02017f0101ff"), "{small}");
    let zero = crate::hash::to_hex(&request(NOTE, 0));
    assert!(zero.ends_with("0201000101ff"), "{zero}");
}

#[test]
fn an_answer_of_openssl_says_what_was_stamped_when_and_for_whom() {
    let token = Token::parse(ANSWER).unwrap();
    assert_eq!(token.imprint, sha256(NOTE));
    // 2026-11-23T08:32:44Z
    assert_eq!(token.time_s, 1_795_422_764);
    assert!(token.answers(NOTE, NONCE));
    assert!(!token.answers(NOTE, NONCE + 1) && !token.answers(b"another", NONCE));
    assert_eq!(token.certificates.len(), 1);
    assert_eq!(token.content_digest, sha256(&token.content).0);
    assert_eq!(
        token.signer,
        (
            Some(SHA256_OID.to_vec()),
            sha256(&token.certificates[0]).0.to_vec()
        )
    );
    assert_eq!(token.signed.first(), Some(&der::SET));
}

#[test]
fn an_answer_that_is_cut_or_altered_never_passes_for_the_same_statement() {
    let whole = Token::parse(ANSWER).unwrap();
    for length in 0..ANSWER.len() {
        assert!(Token::parse(&ANSWER[..length]).is_err(), "{length}");
    }
    assert!(Token::parse(&[ANSWER, &[0]].concat()).is_err());
    for at in 0..ANSWER.len() {
        for bit in 0..8 {
            let mut altered = ANSWER.to_vec();
            altered[at] ^= 1 << bit;
            // What is not read (versions, names, policies of the frame) may change; what was stamped,
            // and everything the signature covers, shows it.
            if let Ok(token) = Token::parse(&altered) {
                let same = token.imprint == whole.imprint && token.time_s == whole.time_s;
                let signed = sha256(&token.content).0.to_vec() == token.content_digest
                    && token.signed == whole.signed;
                assert!(same || !signed, "byte {at} bit {bit}");
            }
        }
    }
    assert_eq!(
        Token::parse(&vec![0; Token::MAX_BYTES + 1]),
        Err(TimestampError::TooLarge(Token::MAX_BYTES + 1))
    );
}

#[test]
fn a_refusal_is_told_with_its_status() {
    let refused = [0x30, 5, 0x30, 3, 2, 1, 2];
    assert_eq!(Token::parse(&refused), Err(TimestampError::NotGranted(2)));
}

#[test]
fn times_are_read_as_the_calendar_has_them() {
    for (text, expected) in [
        ("19700101000000Z", Some(0)),
        ("20000229120000.5Z", Some(951_825_600)),
        ("20240229235959Z", Some(1_709_251_199)),
        ("20260101000000Z", Some(1_767_225_600)),
        ("20990301000000Z", Some(4_076_006_400)),
        ("20230229000000Z", None),
        ("20261301000000Z", None),
        ("20260100000000Z", None),
        ("20260101240000Z", None),
        ("20260101000000", None),
        ("20260101000000+0100", None),
        ("20260101000000.Z", None),
        ("19691231235959Z", None),
        ("202601010000Z", None),
    ] {
        assert_eq!(der::unix_seconds(text.as_bytes()), expected, "{text}");
    }
}
