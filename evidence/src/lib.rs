//! The format of Fieldseal's evidence, and nothing else: no I/O, no clock, no async.
//!
//! A gateway keeps one RFC 6962 Merkle log. Each leaf is a small signed [`entry`]; the readings of
//! a segment hang below a data entry as column [`chunk`]s in a second, inner tree. [`chain`] is the
//! state machine that the gateway checks itself with, the collector admits with and the verifier
//! proves with: one implementation of every rule, used three times.
//!
//! Promises: exactly the bytes that are stored and sent are signed and hashed; nothing is
//! re-serialised; every parser is strict and total (bad bytes give a named error, never a panic);
//! whatever one byte string means, no other byte string means the same.
//!
//! `FORMAT.md` beside this crate is the normative text.

#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod aggregate;
pub mod bundle;
pub mod cbor;
pub mod chain;
pub mod checkpoint;
pub mod chunk;
pub mod control;
pub mod cosignature;
pub mod cosigner;
pub mod decimal;
pub mod entry;
pub mod hash;
pub mod key;
pub mod measurement;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod project;
pub mod proof;
pub mod quality;
pub mod rejection;
pub mod segment;
pub mod spot;
pub mod statement;
pub mod tiles;
pub mod timestamp;
pub mod unit;
pub mod value;
pub mod verification;
pub mod wire;
pub mod witness;

pub use rejection::Rejection;
