//! Ed25519 keys: the only place that touches signature arithmetic.
//!
//! A public key enters the program through [`VerifyingKey::from_bytes`], which refuses the 14
//! encodings of points of small order. Under such a key one constant signature verifies for (almost)
//! any message, so whoever enrols one could later disown or swap every reading; `ring` accepts them.

use std::fmt;

use ring::rand::SecureRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use thiserror::Error;

use crate::hash::{sha256, to_hex};

/// Signature algorithms of entries, by their number in key ids and key bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032), keys of 32 and signatures of 64 bytes.
    Ed25519 = 1,
}

impl Algorithm {
    /// Returns the algorithm of number `code`.
    ///
    /// # Errors
    /// [`KeyError::ReservedAlgorithm`] for 2 (P-256), [`KeyError::UnknownAlgorithm`] for the rest.
    pub const fn from_code(code: u64) -> Result<Self, KeyError> {
        match code {
            1 => Ok(Self::Ed25519),
            2 => Err(KeyError::ReservedAlgorithm),
            _ => Err(KeyError::UnknownAlgorithm(code)),
        }
    }

    /// Returns its number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
        }
    }
}

/// Why bytes are no usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// One of the 14 encodings of a point of small order.
    #[error("public key {} has small order: one signature would fit every message; make a new key", to_hex(.0))]
    SmallOrder([u8; 32]),
    /// A byte string of another length than 32.
    #[error("an Ed25519 public key is 32 bytes, not {0}")]
    WrongLength(usize),
    /// Number 2, reserved for P-256.
    #[error(
        "key algorithm 2 (ECDSA P-256) is reserved and not supported in this version; use 1 (Ed25519)"
    )]
    ReservedAlgorithm,
    /// A number without meaning.
    #[error("key algorithm {0} is unknown; known is 1 (Ed25519)")]
    UnknownAlgorithm(u64),
    /// The random source failed.
    #[error("the random source of the operating system gave no bytes")]
    NoRandomness,
}

/// The signature does not belong to this message and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// A checked Ed25519 public key.
///
/// Not of small order. Whether the bytes are a point of the curve shows when a signature is
/// verified: under bytes that are none, nothing verifies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Checks the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// [`KeyError::SmallOrder`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        if is_small_order(bytes) {
            return Err(KeyError::SmallOrder(*bytes));
        }
        Ok(Self(*bytes))
    }

    /// As [`Self::from_bytes`], from a slice.
    ///
    /// # Errors
    /// [`KeyError::WrongLength`], [`KeyError::SmallOrder`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes
            .try_into()
            .map_err(|_e| KeyError::WrongLength(bytes.len()))?;
        Self::from_bytes(bytes)
    }

    /// Returns the 32 bytes of RFC 8032.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Verifies `signature` over `message`; about 36 µs on one core.
    ///
    /// # Errors
    /// [`BadSignature`]; there is no reason to tell causes apart.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .map_err(|_e| BadSignature)
    }

    /// Returns the id an entry names its key by:
    /// the first 8 bytes of SHA-256("fieldseal/key/v1\n" ‖ algorithm ‖ key).
    ///
    /// An id only selects; the key itself comes from the chain of control entries.
    #[must_use]
    pub fn key_id(&self) -> [u8; 8] {
        const LABEL: &[u8; 17] = b"fieldseal/key/v1\n";
        let mut input = Vec::with_capacity(LABEL.len() + 1 + 32);
        input.extend_from_slice(LABEL);
        input.push(Algorithm::Ed25519.code());
        input.extend_from_slice(&self.0);
        let hash = sha256(&input);
        let (id, _) = hash.0.split_first_chunk::<8>().expect("32 bytes hold 8");
        *id
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", to_hex(&self.0))
    }
}

/// An Ed25519 private key, ready to sign. `Debug` shows its public half only.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

impl SigningKey {
    /// Takes the 32-byte seed of RFC 8032; every seed is a key.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32-byte seed is a key");
        // A clamped scalar is a multiple of 8 and never 0 modulo the group order, so the public
        // key of a seed has full order: no small-order check can fail here.
        let public = VerifyingKey::from_slice(pair.public_key().as_ref())
            .expect("the public key of a seed is 32 bytes and of full order");
        Self { pair, public }
    }

    /// Makes a new key and returns it with its seed, which the caller must store before use.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate(random: &dyn SecureRandom) -> Result<(Self, [u8; 32]), KeyError> {
        let mut seed = [0_u8; 32];
        random
            .fill(&mut seed)
            .map_err(|_e| KeyError::NoRandomness)?;
        Ok((Self::from_seed(seed), seed))
    }

    /// Signs `message`; deterministic, as RFC 8032 demands.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair
            .sign(message)
            .as_ref()
            .try_into()
            .expect("an Ed25519 signature is 64 bytes")
    }

    /// Returns the public half.
    #[must_use]
    pub const fn public(&self) -> VerifyingKey {
        self.public
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// The y-coordinates (little endian, sign bit clear) of all points whose order divides 8, in every
/// encoding a lax decoder accepts: 0, 1, the two of order 8, p-1, and the unreduced p and p+1. With
/// the sign bit free these are 14 keys.
const SMALL_ORDER_Y: [[u8; 32]; 7] = [
    y(0x00, 0x00, 0x00),
    y(0x01, 0x00, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    y(0xec, 0xff, 0x7f),
    y(0xed, 0xff, 0x7f),
    y(0xee, 0xff, 0x7f),
];

/// `first ‖ 30 × middle ‖ last`.
const fn y(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let [_, inner @ .., _] = [middle; 32];
    let mut bytes = [first; 32];
    let [_, slots @ .., end] = &mut bytes;
    *slots = inner;
    *end = last;
    bytes
}

fn is_small_order(key: &[u8; 32]) -> bool {
    let mut without_sign = *key;
    let [.., last] = &mut without_sign;
    *last &= 0x7f;
    SMALL_ORDER_Y.contains(&without_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_14_small_order_encodings_are_refused() {
        let mut refused = 0;
        for y in SMALL_ORDER_Y {
            for sign in [0x00, 0x80] {
                let mut key = y;
                key[31] |= sign;
                assert_eq!(
                    VerifyingKey::from_bytes(&key),
                    Err(KeyError::SmallOrder(key))
                );
                refused += 1;
            }
        }
        assert_eq!(refused, 14);
    }

    #[test]
    fn a_neighbour_of_a_small_order_key_is_accepted() {
        for y in SMALL_ORDER_Y {
            let mut key = y;
            key[15] ^= 0x01;
            assert!(VerifyingKey::from_bytes(&key).is_ok());
        }
    }

    #[test]
    fn the_key_of_rfc_8032_test_2_signs_as_printed_there() {
        let seed = crate::hash::from_hex(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        )
        .unwrap();
        let key = SigningKey::from_seed(seed);
        assert_eq!(
            to_hex(key.public().bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            to_hex(&signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert_eq!(key.public().verify(&[0x72], &signature), Ok(()));
        assert_eq!(key.public().verify(&[0x73], &signature), Err(BadSignature));
    }

    #[test]
    fn algorithm_2_is_refused_by_name() {
        assert_eq!(Algorithm::from_code(1), Ok(Algorithm::Ed25519));
        assert_eq!(Algorithm::from_code(2), Err(KeyError::ReservedAlgorithm));
        assert_eq!(Algorithm::from_code(0), Err(KeyError::UnknownAlgorithm(0)));
    }

    #[test]
    fn a_private_key_does_not_print_its_seed() {
        let seed = [0x5a; 32];
        let key = SigningKey::from_seed(seed);
        assert!(!format!("{key:?}").contains(&to_hex(&seed)));
    }
}
