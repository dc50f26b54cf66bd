//! Timestamps (RFC 3161): what an authority is asked, and what its answer says.
//!
//! A timestamp says that some bytes existed at some time, by a body that knows nothing of logs. It does
//! not say that there is one history: of two parallel ones both can be stamped. So it stands beside
//! witnesses and never in their place.
//!
//! An answer is read strictly as DER. Reading proves nothing: [`Token::verify`] checks signature and
//! certificate against the authorities that the reader trusts.

mod authority;
mod der;

use thiserror::Error;

pub use authority::{AuthorityError, Roots};

use crate::hash::{Hash, sha256};
use der::Der;

/// What is asked for: a timestamp over SHA-256 of these bytes.
const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SIGNED_DATA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO_OID: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04,
];
const CONTENT_TYPE_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const CERTIFICATE_V1_OID: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x0c,
];
const CERTIFICATE_V2_OID: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f,
];

/// A timestamp as an authority's answer (`TimeStampResp`) holds it. Nothing is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of what was stamped.
    pub imprint: Hash,
    /// Unix second that the authority states; a fraction is cut.
    pub time_s: u64,
    /// The number that was asked with, big endian without leading zeros, if the authority repeats it.
    pub nonce: Option<Vec<u8>>,
    /// The bytes that carry the fields above (`TSTInfo`).
    pub content: Vec<u8>,
    /// Object id of the hash of `content` that is signed, its bytes in DER.
    pub digest: Vec<u8>,
    /// The hash of `content` as the signature covers it.
    pub content_digest: Vec<u8>,
    /// What is signed: the attributes as a DER set.
    pub signed: Vec<u8>,
    /// Object id of the signature's algorithm, its bytes in DER.
    pub algorithm: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The hash that names the signer's certificate: object id (`None`: SHA-1) and value.
    pub signer: (Option<Vec<u8>>, Vec<u8>),
    /// Certificates that came along, in DER.
    pub certificates: Vec<Vec<u8>>,
}

/// Why an answer holds no timestamp that could be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// Longer than [`Token::MAX_BYTES`].
    #[error("timestamp answer of {0} bytes; at most {max} are read", max = Token::MAX_BYTES)]
    TooLarge(usize),
    /// The authority did not stamp.
    #[error("the timestamp authority refused (status {0})")]
    NotGranted(u64),
    /// Not an answer in DER, or not one with exactly one signer and signed attributes.
    #[error("the timestamp answer is not RFC 3161 in DER: {0}")]
    Malformed(&'static str),
    /// Another hash than SHA-256.
    #[error("the timestamp is not over a SHA-256 hash")]
    OtherHash,
}

/// Returns the request for a timestamp over `bytes`, with the authority's certificate in the answer.
///
/// `nonce` is random: an answer without it is one to somebody else, or an old one.
#[must_use]
pub fn request(bytes: &[u8], nonce: u64) -> Vec<u8> {
    let imprint = [
        der::write(
            der::SEQUENCE,
            &[&der::write(der::OID, &[SHA256_OID]), &[5, 0]],
        ),
        der::write(der::OCTETS, &[sha256(bytes).as_bytes()]),
    ]
    .concat();
    let imprint = der::write(der::SEQUENCE, &[&imprint]);
    // Positive, so a leading 1 bit gets a zero byte in front.
    let digits = digits(nonce);
    let sign: &[u8] = match digits.first() {
        Some(..0x80) => &[],
        _ => &[0],
    };
    let nonce = der::write(der::INTEGER, &[sign, &digits]);
    der::write(
        der::SEQUENCE,
        &[
            &[der::INTEGER, 1, 1],
            &imprint,
            &nonce,
            &[der::BOOLEAN, 1, 0xff],
        ],
    )
}

/// A number big endian, without leading zeros; empty for 0.
fn digits(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

impl Token {
    /// Longest answer in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Reads an answer.
    ///
    /// # Errors
    /// [`TimestampError`].
    pub fn parse(answer: &[u8]) -> Result<Self, TimestampError> {
        if answer.len() > Self::MAX_BYTES {
            return Err(TimestampError::TooLarge(answer.len()));
        }
        let mut whole = Der(answer);
        let mut response = whole.inside(der::SEQUENCE, "the answer")?;
        whole.end("the answer")?;
        let mut status = response.inside(der::SEQUENCE, "its status")?;
        let status = number(status.value(der::INTEGER, "its status")?);
        // 0 granted, 1 granted with modifications.
        if status > 1 {
            return Err(TimestampError::NotGranted(status));
        }
        let mut token = response.inside(der::SEQUENCE, "the token")?;
        response.end("the answer")?;
        token.is(der::OID, SIGNED_DATA_OID, "the token is no signed data")?;
        let mut explicit = token.inside(der::CONTEXT_0, "the token")?;
        token.end("the token")?;
        let mut data = explicit.inside(der::SEQUENCE, "the signed data")?;
        explicit.end("the token")?;
        data.value(der::INTEGER, "the version")?;
        data.value(der::SET, "the digest algorithms")?;
        let content = content(&mut data)?;
        let certificates = match data.optional(der::CONTEXT_0) {
            Some(mut inside) => {
                let mut all = Vec::new();
                while !inside.0.is_empty() {
                    all.push(inside.whole(der::SEQUENCE, "a certificate")?.to_vec());
                }
                all
            }
            None => Vec::new(),
        };
        data.optional(der::CONTEXT_1);
        let mut signers = data.inside(der::SET, "the signers")?;
        data.end("the signed data")?;
        let signer = signers.inside(der::SEQUENCE, "the signer")?;
        signers.end("more than one signer")?;
        let info = Info::read(&content)?;
        Self::signed_by(signer, info, content, certificates)
    }

    fn signed_by(
        mut signer: Der<'_>,
        info: Info,
        content: Vec<u8>,
        certificates: Vec<Vec<u8>>,
    ) -> Result<Self, TimestampError> {
        signer.value(der::INTEGER, "the signer's version")?;
        if signer.optional(der::PRIMITIVE_0).is_none() {
            signer.value(der::SEQUENCE, "the signer's name")?;
        }
        let mut digest = signer.inside(der::SEQUENCE, "the digest algorithm")?;
        let digest = digest.value(der::OID, "the digest algorithm")?.to_vec();
        let attributes = signer.value(der::CONTEXT_0, "the signed attributes")?;
        let mut algorithm = signer.inside(der::SEQUENCE, "the signature algorithm")?;
        let algorithm = algorithm
            .value(der::OID, "the signature algorithm")?
            .to_vec();
        let signature = signer.value(der::OCTETS, "the signature")?.to_vec();
        signer.optional(der::CONTEXT_1);
        signer.end("the signer")?;
        let found = Attributes::read(attributes)?;
        Ok(Self {
            imprint: info.imprint,
            time_s: info.time_s,
            nonce: info.nonce,
            content,
            digest,
            content_digest: found.content_digest,
            // In the token they are tagged [0]; signed is the set (RFC 5652, 5.4).
            signed: der::write(der::SET, &[attributes]),
            algorithm,
            signature,
            signer: found.signer,
            certificates,
        })
    }

    /// Whether this answers the request with this nonce over these bytes.
    #[must_use]
    pub fn answers(&self, bytes: &[u8], nonce: u64) -> bool {
        self.imprint == sha256(bytes) && self.nonce.as_deref() == Some(&digits(nonce))
    }
}

/// The encapsulated content, which must be a `TSTInfo`.
fn content(data: &mut Der<'_>) -> Result<Vec<u8>, TimestampError> {
    let mut inside = data.inside(der::SEQUENCE, "the content")?;
    inside.is(der::OID, TST_INFO_OID, "the content is no timestamp")?;
    let mut explicit = inside.inside(der::CONTEXT_0, "the content")?;
    inside.end("the content")?;
    let content = explicit.value(der::OCTETS, "the content")?.to_vec();
    explicit.end("the content")?;
    Ok(content)
}

/// The fields of a `TSTInfo` that are used.
struct Info {
    imprint: Hash,
    time_s: u64,
    nonce: Option<Vec<u8>>,
}

impl Info {
    fn read(content: &[u8]) -> Result<Self, TimestampError> {
        let mut whole = Der(content);
        let mut info = whole.inside(der::SEQUENCE, "the timestamp")?;
        whole.end("the timestamp")?;
        info.is(der::INTEGER, &[1], "the timestamp's version")?;
        info.value(der::OID, "the policy")?;
        let mut imprint = info.inside(der::SEQUENCE, "the imprint")?;
        let mut algorithm = imprint.inside(der::SEQUENCE, "the imprint's algorithm")?;
        if algorithm.value(der::OID, "the imprint's algorithm")? != SHA256_OID {
            return Err(TimestampError::OtherHash);
        }
        let hash = imprint.value(der::OCTETS, "the imprint")?;
        let hash = Hash::from_slice(hash).map_err(|_e| TimestampError::OtherHash)?;
        imprint.end("the imprint")?;
        info.value(der::INTEGER, "the serial number")?;
        let time = info.value(der::GENERALIZED_TIME, "the time")?;
        let time_s = der::unix_seconds(time).ok_or(TimestampError::Malformed("the time"))?;
        // accuracy, ordering; then the nonce; tsa and extensions behind it.
        info.optional(der::SEQUENCE);
        info.optional(der::BOOLEAN);
        let nonce = info.optional(der::INTEGER).map(|nonce| {
            let significant = nonce.0.iter().skip_while(|byte| **byte == 0);
            significant.copied().collect()
        });
        Ok(Self {
            imprint: hash,
            time_s,
            nonce,
        })
    }
}

/// The signed attributes that RFC 3161 demands.
struct Attributes {
    content_digest: Vec<u8>,
    signer: (Option<Vec<u8>>, Vec<u8>),
}

impl Attributes {
    fn read(attributes: &[u8]) -> Result<Self, TimestampError> {
        let (mut kind, mut digest, mut signer) = (None, None, None);
        let twice = || TimestampError::Malformed("a signed attribute stands twice");
        let mut rest = Der(attributes);
        while !rest.0.is_empty() {
            let mut attribute = rest.inside(der::SEQUENCE, "a signed attribute")?;
            let id = attribute.value(der::OID, "a signed attribute")?;
            let mut values = attribute.inside(der::SET, "a signed attribute")?;
            let before = match id {
                CONTENT_TYPE_OID => kind
                    .replace(values.value(der::OID, "the content's type")?)
                    .is_some(),
                MESSAGE_DIGEST_OID => digest
                    .replace(values.value(der::OCTETS, "the content's digest")?.to_vec())
                    .is_some(),
                CERTIFICATE_V1_OID | CERTIFICATE_V2_OID => {
                    let named = certificate_hash(values, id == CERTIFICATE_V1_OID)?;
                    // An authority may give both; the newer one counts.
                    if id == CERTIFICATE_V2_OID || signer.is_none() {
                        signer = Some(named);
                    }
                    false
                }
                _ => false,
            };
            if before {
                return Err(twice());
            }
        }
        if kind != Some(TST_INFO_OID) {
            return Err(TimestampError::Malformed("the signed content type"));
        }
        Ok(Self {
            content_digest: digest.ok_or(TimestampError::Malformed("no signed digest"))?,
            signer: signer.ok_or(TimestampError::Malformed("no signed certificate id"))?,
        })
    }
}

/// `SigningCertificate(V2)`: the hash of the first certificate named is the signer's.
fn certificate_hash(
    mut values: Der<'_>,
    sha1: bool,
) -> Result<(Option<Vec<u8>>, Vec<u8>), TimestampError> {
    const WHAT: &str = "the signed certificate id";
    let mut signing = values.inside(der::SEQUENCE, WHAT)?;
    let mut ids = signing.inside(der::SEQUENCE, WHAT)?;
    let mut id = ids.inside(der::SEQUENCE, WHAT)?;
    let algorithm = match id.optional(der::SEQUENCE) {
        Some(mut algorithm) => Some(algorithm.value(der::OID, WHAT)?.to_vec()),
        None if sha1 => None,
        None => Some(SHA256_OID.to_vec()),
    };
    Ok((algorithm, id.value(der::OCTETS, WHAT)?.to_vec()))
}

/// A small number that is not negative; anything else is larger than every status there is.
fn number(bytes: &[u8]) -> u64 {
    match bytes {
        [one] if *one < 0x80 => u64::from(*one),
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests;
