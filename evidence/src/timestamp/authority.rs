//! Whether an authority that the reader trusts made a timestamp.

use std::cell::Cell;

use ring::digest::{self, digest};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use thiserror::Error;
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert,
};

use super::{SHA256_OID, Token};

/// id-kp-timeStamping.
const TIME_STAMPING: [usize; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 8];
const SHA384_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA512_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
/// 1.2.840.113549.1.1, the arc of RSA; 1 is the key type, 11 to 13 name SHA-256, 384, 512.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4.3, the arc of ECDSA with SHA-2; 2 to 4 name SHA-256, 384, 512.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];

/// The authorities that the reader trusts.
#[derive(Debug, Clone)]
pub struct Roots(Vec<TrustAnchor<'static>>);

/// Why a timestamp is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The file of trusted certificates.
    #[error("the trusted certificates: {0}")]
    Roots(String),
    /// The certificate that the signature names did not come along.
    #[error("the authority's certificate is not in the answer")]
    NoCertificate,
    /// The certificate is not for timestamps, expired then, or issued by nobody trusted.
    #[error("the authority's certificate: {0}")]
    Certificate(String),
    /// Content, attributes or signature were altered.
    #[error("the timestamp's signature does not verify")]
    Signature,
    /// An algorithm that is not verified here.
    #[error(
        "the timestamp is signed in a way that this program does not verify; check it with `openssl ts -verify`"
    )]
    Algorithm,
}

impl Roots {
    /// Reads certificates in PEM form, at least one.
    ///
    /// # Errors
    /// [`AuthorityError::Roots`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthorityError> {
        let bad = |why: String| AuthorityError::Roots(why);
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            let anchor =
                anchor_from_trusted_cert(&certificate).map_err(|error| bad(error.to_string()))?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() {
            return Err(bad("no certificate in PEM form".to_owned()));
        }
        Ok(Self(anchors))
    }
}

impl Token {
    /// Checks that an authority under one of `roots` signed this, with a certificate for timestamps that
    /// was valid at the stated time. Revocation is not looked at: that needs what the authority says
    /// today.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn verify(&self, roots: &Roots) -> Result<(), AuthorityError> {
        // What the signature covers is the attributes; they cover the content.
        let of_content = hash(&self.digest, &self.content)?;
        if of_content.as_ref() != self.content_digest {
            return Err(AuthorityError::Signature);
        }
        let named = |certificate: &&Vec<u8>| self.names(certificate);
        let certificate = self.certificates.iter().find(named);
        let certificate =
            CertificateDer::from(certificate.ok_or(AuthorityError::NoCertificate)?.as_slice());
        let others: Vec<CertificateDer<'_>> = self
            .certificates
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let broken = |error: webpki::Error| AuthorityError::Certificate(error.to_string());
        let signer = EndEntityCert::try_from(&certificate).map_err(broken)?;
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.time_s));
        let usage = TimeStamping(Cell::new(true));
        signer
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &roots.0,
                &others,
                time,
                &usage,
                None,
                None,
            )
            .map_err(broken)?;
        let algorithms = self.algorithms()?;
        let by = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            signer
                .verify_signature(*algorithm, &self.signed, &self.signature)
                .is_ok()
        };
        if algorithms.iter().any(by) {
            Ok(())
        } else {
            Err(AuthorityError::Signature)
        }
    }

    /// Whether the signed attributes name this certificate.
    fn names(&self, certificate: &[u8]) -> bool {
        let (algorithm, value) = &self.signer;
        let found = match algorithm {
            Some(oid) => hash(oid, certificate),
            // RFC 3161 of 2001 names it by SHA-1; it selects, and the chain decides.
            None => Ok(digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate)),
        };
        found.is_ok_and(|found| found.as_ref() == value.as_slice())
    }

    /// What the object ids of digest and signature can mean.
    fn algorithms(
        &self,
    ) -> Result<Vec<&'static dyn SignatureVerificationAlgorithm>, AuthorityError> {
        use webpki::ring as by;

        let size = match self.digest.as_slice() {
            SHA256_OID => 256,
            SHA384_OID => 384,
            SHA512_OID => 512,
            _ => return Err(AuthorityError::Algorithm),
        };
        let rsa = self.algorithm.strip_prefix(RSA);
        let ecdsa = self.algorithm.strip_prefix(ECDSA);
        // With attributes, both object ids name the same hash.
        Ok(match (rsa, ecdsa, size) {
            (Some([1 | 11]), _, 256) => vec![by::RSA_PKCS1_2048_8192_SHA256],
            (Some([1 | 12]), _, 384) => vec![by::RSA_PKCS1_2048_8192_SHA384],
            (Some([1 | 13]), _, 512) => vec![by::RSA_PKCS1_2048_8192_SHA512],
            (_, Some([2]), 256) => vec![by::ECDSA_P256_SHA256, by::ECDSA_P384_SHA256],
            (_, Some([3]), 384) => vec![by::ECDSA_P384_SHA384, by::ECDSA_P256_SHA384],
            _ => return Err(AuthorityError::Algorithm),
        })
    }
}

fn hash(oid: &[u8], bytes: &[u8]) -> Result<digest::Digest, AuthorityError> {
    let algorithm = match oid {
        SHA256_OID => &digest::SHA256,
        SHA384_OID => &digest::SHA384,
        SHA512_OID => &digest::SHA512,
        _ => return Err(AuthorityError::Algorithm),
    };
    Ok(digest(algorithm, bytes))
}

/// The signer's certificate is for timestamps and for nothing else (RFC 3161, 2.3); those above it may
/// be restricted to them.
struct TimeStamping(Cell<bool>);

impl ExtendedKeyUsageValidator for TimeStamping {
    fn validate(&self, ids: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let is_signer = self.0.replace(false);
        let (mut count, mut found) = (0_u32, false);
        for id in ids {
            count += 1;
            found |= id?.to_decoded_oid() == TIME_STAMPING;
        }
        let good = if is_signer {
            found && count == 1
        } else {
            found || count == 0
        };
        if good {
            Ok(())
        } else {
            Err(webpki::Error::UnsupportedCriticalExtension)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::CONTENT_TYPE_OID;

    const ANSWER: &[u8] = include_bytes!("../../testdata/timestamp/answer.tsr");
    const CA: &[u8] = include_bytes!("../../testdata/timestamp/ca.pem");
    /// Another root, of the same name.
    const OTHER_CA: &[u8] = include_bytes!("../../testdata/timestamp/other-ca.pem");

    #[test]
    fn a_timestamp_is_believed_under_its_own_root_and_under_no_other() {
        let token = Token::parse(ANSWER).unwrap();
        assert_eq!(token.verify(&Roots::from_pem(CA).unwrap()), Ok(()));
        let both = [OTHER_CA, CA].concat();
        assert_eq!(token.verify(&Roots::from_pem(&both).unwrap()), Ok(()));
        let other = token.verify(&Roots::from_pem(OTHER_CA).unwrap());
        assert!(matches!(other, Err(AuthorityError::Certificate(_))));
        assert!(Roots::from_pem(b"nothing").is_err());
        // The object id of an attribute is no hash.
        assert_eq!(
            hash(CONTENT_TYPE_OID, b"").err(),
            Some(AuthorityError::Algorithm)
        );
    }

    #[test]
    fn no_altered_answer_is_believed_as_another_statement() {
        let roots = Roots::from_pem(CA).unwrap();
        let whole = Token::parse(ANSWER).unwrap();
        let mut believed = 0;
        for at in 0..ANSWER.len() {
            let mut altered = ANSWER.to_vec();
            altered[at] ^= 1;
            let Ok(token) = Token::parse(&altered) else {
                continue;
            };
            if token.verify(&roots).is_ok() {
                believed += 1;
                assert_eq!(token.imprint, whole.imprint, "byte {at}");
                assert_eq!(token.time_s, whole.time_s, "byte {at}");
                assert_eq!(token.nonce, whole.nonce, "byte {at}");
            }
        }
        // The frame holds bytes that nobody signs: versions, the signer's name beside his certificate's.
        assert!(believed < 120, "{believed}");
    }

    #[test]
    fn a_certificate_that_is_not_for_timestamps_stamps_nothing() {
        let mut token = Token::parse(ANSWER).unwrap();
        // The root's own certificate, named and put in the signer's place.
        let root = CertificateDer::from_pem_slice(CA).unwrap().to_vec();
        token.signer = (
            Some(SHA256_OID.to_vec()),
            crate::hash::sha256(&root).0.to_vec(),
        );
        assert_eq!(
            token.verify(&Roots::from_pem(CA).unwrap()),
            Err(AuthorityError::NoCertificate)
        );
        token.certificates.push(root);
        let refused = token.verify(&Roots::from_pem(CA).unwrap());
        assert!(matches!(refused, Err(AuthorityError::Certificate(_))));
    }
}
