//! Control entries: what the log says about itself.

use std::sync::Arc;

use crate::cbor::{CborError, Reader, Writer};
use crate::entry::{Body, ClockStatus, ControlBody, MOST_INLINE_BODY, PayloadRef};
use crate::hash::{Hash, Origin, leaf_hash};
use crate::key::VerifyingKey;
use crate::measurement::MeasurementConfig;
use crate::project::{self, Record};
use crate::rejection::Rejection;
use crate::statement::{Approval, Revocation, Signed, Statement};

mod device;

pub use device::{DeviceEvent, DeviceReading, DeviceRole, DeviceStatement};

/// The control kinds of this version. Kinds 6, 7, 11 and 13 are reserved and refused.
pub mod kind {
    /// The first entry.
    pub const GENESIS: u64 = 1;
    /// The measurement table.
    pub const CONFIG: u64 = 2;
    /// The next entry key.
    pub const KEY_ADD: u64 = 3;
    /// An authority's word that a replaced entry key was stolen.
    pub const KEY_REVOKE: u64 = 4;
    /// Another version of the gateway's program runs from here on.
    pub const SOFTWARE: u64 = 5;
    /// A remark about earlier entries.
    pub const ANNOTATION: u64 = 8;
    /// Where the tick axes stand in time.
    pub const CLOCK: u64 = 9;
    /// The identity and settings that a device reported, or that a person confirmed.
    pub const DEVICE: u64 = 10;
    /// This log continues another one, or lost a file.
    pub const RECOVERY: u64 = 12;
    /// A site check or commissioning record.
    pub const COMMISSIONING: u64 = 14;
    /// Payloads that were dropped for want of room.
    pub const DROPPED: u64 = 15;
    /// Somebody approved an entry.
    pub const APPROVAL: u64 = 16;
}

/// A control entry's body, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Kind 1.
    Genesis(Genesis),
    /// Kind 2. Shared with the state of the log that takes it in: it may have thousands of points.
    Config(Arc<MeasurementConfig>),
    /// Kind 3: from the next entry on only this key signs.
    KeyAdd(VerifyingKey),
    /// Kind 4.
    KeyRevoke {
        /// The authority that says so.
        key: VerifyingKey,
        /// When the key was stolen at the earliest, unix seconds.
        since_s: u64,
        /// The id of a key that was replaced before.
        key_id: [u8; 8],
        /// Why.
        reason: String,
        /// The authority's signature over [`crate::statement::Revocation::message`].
        signature: [u8; 64],
    },
    /// Kind 5.
    Software {
        /// The version as the program says it.
        version: String,
        /// SHA-256 of the program file.
        binary: Hash,
    },
    /// Kind 8: never edits anything.
    Annotation {
        /// The first entry it speaks of.
        from: u64,
        /// The last one.
        to: u64,
        /// What it says.
        text: String,
        /// Who says it; none when the gateway itself does.
        person: Option<String>,
    },
    /// Kind 9.
    Clock(ClockEvent),
    /// Kind 10.
    Device(DeviceStatement),
    /// Kind 12.
    Recovery {
        /// The log that ended, or this log itself when only a file was lost.
        origin: String,
        /// The last index known of it.
        last_index: u64,
        /// Its leaf hash.
        last_leaf: Hash,
        /// Why.
        reason: String,
    },
    /// Kind 14: free text of a site check, with the hashes of its attachments.
    Commissioning {
        /// The record.
        text: String,
        /// SHA-256 of each attachment.
        attachments: Vec<Hash>,
    },
    /// Kind 15.
    Dropped {
        /// The first index without its payload.
        from: u64,
        /// The last one.
        to: u64,
        /// Why.
        reason: String,
    },
    /// Kind 16.
    Approval {
        /// The approved entry.
        index: u64,
        /// Its leaf hash.
        leaf: Hash,
        /// The approving key.
        key: VerifyingKey,
        /// Its signature over [`approval_message`].
        signature: [u8; 64],
    },
    /// Kinds 32 to 42: what a person entered, in project logs only.
    Record(Box<Record>),
}

/// The first entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The log's name.
    pub origin: String,
    /// The key that signs checkpoints, for the life of the log.
    pub log_key: VerifyingKey,
    /// The first entry key; it signs this entry too.
    pub entry_key: VerifyingKey,
    /// The program that made it.
    pub software: String,
}

/// A change of the relation between ticks and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockEvent {
    /// Where the time comes from.
    pub source: ClockStatus,
    /// Its estimated error in milliseconds.
    pub error_ms: u64,
    /// For every stream: from here on, time = (tick + shift) × tick length.
    pub shifts: Vec<(u16, i64)>,
    /// Entries of this boot that were sealed without a time, and the shift that places them.
    pub placed: Vec<Placed>,
    /// In words.
    pub note: String,
}

/// Entries that get their time afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The stream.
    pub stream: u16,
    /// The first entry.
    pub from: u64,
    /// The last entry.
    pub to: u64,
    /// Their shift.
    pub shift: i64,
}

/// The bytes an approver signs.
#[must_use]
pub fn approval_message(origin: &Origin, index: u64, leaf: &Hash) -> Vec<u8> {
    let approval = Approval {
        origin: origin.clone(),
        index,
        leaf: *leaf,
    };
    approval.message().into_bytes()
}

impl From<Signed> for Control {
    /// The control entry that seals an authority's statement.
    fn from(signed: Signed) -> Self {
        let Signed {
            statement,
            key,
            signature,
        } = signed;
        match statement {
            Statement::Approval(Approval { index, leaf, .. }) => Self::Approval {
                index,
                leaf,
                key,
                signature,
            },
            Statement::Revocation(Revocation {
                key_id,
                since_s,
                reason,
                ..
            }) => Self::KeyRevoke {
                key,
                since_s,
                key_id,
                reason,
                signature,
            },
        }
    }
}

/// The longest text in a control body.
const MOST_TEXT: usize = 4_000;
/// The beginning of a text that has at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// The only body format there is.
const FORMAT_VERSION: u64 = 1;

impl Control {
    /// The kind number.
    #[must_use]
    pub const fn kind(&self) -> u64 {
        match self {
            Self::Genesis(_) => kind::GENESIS,
            Self::Config(_) => kind::CONFIG,
            Self::KeyAdd(_) => kind::KEY_ADD,
            Self::KeyRevoke { .. } => kind::KEY_REVOKE,
            Self::Software { .. } => kind::SOFTWARE,
            Self::Annotation { .. } => kind::ANNOTATION,
            Self::Clock(_) => kind::CLOCK,
            Self::Device(_) => kind::DEVICE,
            Self::Recovery { .. } => kind::RECOVERY,
            Self::Commissioning { .. } => kind::COMMISSIONING,
            Self::Dropped { .. } => kind::DROPPED,
            Self::Approval { .. } => kind::APPROVAL,
            Self::Record(record) => record.kind.number(),
        }
    }

    /// The body to be sealed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match self {
            Self::Genesis(genesis) => {
                w.map(5)
                    .text("format")
                    .uint(FORMAT_VERSION)
                    .text("origin")
                    .text(&genesis.origin);
                w.text("log_key")
                    .byte_string(genesis.log_key.bytes())
                    .text("software")
                    .text(&genesis.software);
                w.text("entry_key").byte_string(genesis.entry_key.bytes());
            }
            Self::Config(config) => return config.encode(),
            Self::Record(record) => return record.encode(),
            Self::KeyAdd(key) => {
                w.map(1).text("key").byte_string(key.bytes());
            }
            Self::KeyRevoke {
                key,
                since_s,
                key_id,
                reason,
                signature,
            } => {
                w.map(5)
                    .text("key")
                    .byte_string(key.bytes())
                    .text("since")
                    .uint(*since_s);
                w.text("key_id")
                    .byte_string(key_id)
                    .text("reason")
                    .text(reason)
                    .text("signature")
                    .byte_string(signature);
            }
            Self::Software { version, binary } => {
                w.map(2)
                    .text("binary")
                    .byte_string(&binary.0)
                    .text("version")
                    .text(version);
            }
            Self::Annotation {
                from,
                to,
                text,
                person,
            } => {
                w.map(3 + usize::from(person.is_some()))
                    .text("to")
                    .uint(*to)
                    .text("from")
                    .uint(*from)
                    .text("text")
                    .text(text);
                if let Some(person) = person {
                    w.text("person").text(person);
                }
            }
            Self::Clock(event) => event.write(&mut w),
            Self::Device(statement) => statement.write(&mut w),
            Self::Recovery {
                origin,
                last_index,
                last_leaf,
                reason,
            } => {
                w.map(4)
                    .text("origin")
                    .text(origin)
                    .text("reason")
                    .text(reason);
                w.text("last_leaf")
                    .byte_string(&last_leaf.0)
                    .text("last_index")
                    .uint(*last_index);
            }
            Self::Commissioning { text, attachments } => {
                w.map(2)
                    .text("text")
                    .text(text)
                    .text("attachments")
                    .array(attachments.len());
                for hash in attachments {
                    w.byte_string(&hash.0);
                }
            }
            Self::Dropped { from, to, reason } => {
                w.map(3)
                    .text("to")
                    .uint(*to)
                    .text("from")
                    .uint(*from)
                    .text("reason")
                    .text(reason);
            }
            Self::Approval {
                index,
                leaf,
                key,
                signature,
            } => {
                w.map(4)
                    .text("key")
                    .byte_string(key.bytes())
                    .text("leaf")
                    .byte_string(&leaf.0);
                w.text("index")
                    .uint(*index)
                    .text("signature")
                    .byte_string(signature);
            }
        }
        w.into_bytes()
    }

    /// The body of an entry that seals this, and its payload when the body is too long for an entry.
    #[must_use]
    pub fn into_body(self) -> (Body, Vec<u8>) {
        let bytes = self.encode();
        let kind = self.kind();
        if bytes.len() <= MOST_INLINE_BODY {
            return (
                Body::Control {
                    kind,
                    body: ControlBody::Inline(bytes),
                },
                Vec::new(),
            );
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let signed = PayloadRef {
            root: leaf_hash(&bytes),
            chunks: 1,
            bytes: length,
        };
        (
            Body::Control {
                kind,
                body: ControlBody::Payload(signed),
            },
            bytes,
        )
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Rejection::UnknownControl`], [`Rejection::ControlBody`], [`Rejection::KeyRefused`],
    /// [`Rejection::Configuration`] or [`Rejection::Record`].
    pub fn decode(kind: u64, bytes: &[u8]) -> Result<Self, Rejection> {
        if kind == kind::CONFIG {
            return Ok(Self::Config(Arc::new(MeasurementConfig::decode(bytes)?)));
        }
        if let Some(kind) = project::Kind::from_number(kind) {
            let record = Record::decode(kind, bytes).map_err(|error| Rejection::Record {
                kind: kind.number(),
                error,
            })?;
            return Ok(Self::Record(Box::new(record)));
        }
        let mut keys = Vec::new();
        let control = decode_fields(kind, bytes, &mut keys)
            .map_err(|error| Rejection::ControlBody { kind, error })?
            .ok_or(Rejection::UnknownControl(kind))?;
        let mut checked = keys
            .into_iter()
            .map(|key| VerifyingKey::from_bytes(&key).map_err(Rejection::KeyRefused));
        let mut next_key = || {
            checked
                .next()
                .unwrap_or(Err(Rejection::UnknownControl(kind)))
        };
        Ok(match control {
            Raw::Genesis { origin, software } => Self::Genesis(Genesis {
                origin,
                software,
                log_key: next_key()?,
                entry_key: next_key()?,
            }),
            Raw::KeyAdd => Self::KeyAdd(next_key()?),
            Raw::KeyRevoke {
                since_s,
                key_id,
                reason,
                signature,
            } => Self::KeyRevoke {
                key: next_key()?,
                since_s,
                key_id,
                reason,
                signature,
            },
            Raw::Approval {
                index,
                leaf,
                signature,
            } => Self::Approval {
                key: next_key()?,
                index,
                leaf,
                signature,
            },
            Raw::Other(control) => control,
        })
    }
}

/// A body whose keys have not been checked yet.
enum Raw {
    Genesis {
        origin: String,
        software: String,
    },
    KeyAdd,
    KeyRevoke {
        since_s: u64,
        key_id: [u8; 8],
        reason: String,
        signature: [u8; 64],
    },
    Approval {
        index: u64,
        leaf: Hash,
        signature: [u8; 64],
    },
    Other(Control),
}

fn decode_fields(
    kind: u64,
    bytes: &[u8],
    keys: &mut Vec<[u8; 32]>,
) -> Result<Option<Raw>, CborError> {
    let r = &mut Reader::new(bytes);
    let mut fields = r.map()?;
    let text = |r: &mut Reader<'_>, fields: &mut crate::cbor::Fields, key: &str| {
        fields.required(r, key)?;
        r.text(MOST_TEXT).map(str::to_owned)
    };
    let raw = match kind {
        kind::GENESIS => {
            fields.required(r, "format")?;
            let at = r.offset();
            if r.uint()? != FORMAT_VERSION {
                return Err(CborError::Range(at));
            }
            let origin = text(r, &mut fields, "origin")?;
            fields.required(r, "log_key")?;
            keys.push(r.array_of()?);
            let software = text(r, &mut fields, "software")?;
            fields.required(r, "entry_key")?;
            keys.push(r.array_of()?);
            Raw::Genesis { origin, software }
        }
        kind::KEY_ADD => {
            fields.required(r, "key")?;
            keys.push(r.array_of()?);
            Raw::KeyAdd
        }
        kind::KEY_REVOKE => {
            fields.required(r, "key")?;
            keys.push(r.array_of()?);
            fields.required(r, "since")?;
            let since_s = r.uint()?;
            fields.required(r, "key_id")?;
            let key_id = r.array_of()?;
            let reason = text(r, &mut fields, "reason")?;
            fields.required(r, "signature")?;
            Raw::KeyRevoke {
                since_s,
                key_id,
                reason,
                signature: r.array_of()?,
            }
        }
        kind::SOFTWARE => {
            fields.required(r, "binary")?;
            let binary = Hash(r.array_of()?);
            Raw::Other(Control::Software {
                binary,
                version: text(r, &mut fields, "version")?,
            })
        }
        kind::ANNOTATION => {
            fields.required(r, "to")?;
            let to = r.uint()?;
            fields.required(r, "from")?;
            let from = r.uint()?;
            let remark = text(r, &mut fields, "text")?;
            let person = fields
                .optional(r, "person")
                .then(|| r.text(MOST_TEXT).map(str::to_owned))
                .transpose()?;
            Raw::Other(Control::Annotation {
                from,
                to,
                text: remark,
                person,
            })
        }
        kind::CLOCK => Raw::Other(Control::Clock(ClockEvent::read(r, &mut fields)?)),
        kind::DEVICE => Raw::Other(Control::Device(DeviceStatement::read(r, &mut fields)?)),
        kind::RECOVERY => {
            let origin = text(r, &mut fields, "origin")?;
            let reason = text(r, &mut fields, "reason")?;
            fields.required(r, "last_leaf")?;
            let last_leaf = Hash(r.array_of()?);
            fields.required(r, "last_index")?;
            Raw::Other(Control::Recovery {
                origin,
                last_index: r.uint()?,
                last_leaf,
                reason,
            })
        }
        kind::COMMISSIONING => {
            let record = text(r, &mut fields, "text")?;
            fields.required(r, "attachments")?;
            let attachments = (0..r.array()?)
                .map(|_| r.array_of().map(Hash))
                .collect::<Result<_, _>>()?;
            Raw::Other(Control::Commissioning {
                text: record,
                attachments,
            })
        }
        kind::DROPPED => {
            fields.required(r, "to")?;
            let to = r.uint()?;
            fields.required(r, "from")?;
            let from = r.uint()?;
            Raw::Other(Control::Dropped {
                from,
                to,
                reason: text(r, &mut fields, "reason")?,
            })
        }
        kind::APPROVAL => {
            fields.required(r, "key")?;
            keys.push(r.array_of()?);
            fields.required(r, "leaf")?;
            let leaf = Hash(r.array_of()?);
            fields.required(r, "index")?;
            let index = r.uint()?;
            fields.required(r, "signature")?;
            Raw::Approval {
                index,
                leaf,
                signature: r.array_of()?,
            }
        }
        _ => return Ok(None),
    };
    fields.finish(r)?;
    r.end()?;
    Ok(Some(raw))
}

impl ClockEvent {
    fn write(&self, w: &mut Writer) {
        w.map(5)
            .text("note")
            .text(&self.note)
            .text("placed")
            .array(self.placed.len());
        for placed in &self.placed {
            w.array(4)
                .uint(placed.stream)
                .uint(placed.from)
                .uint(placed.to)
                .int(placed.shift);
        }
        w.text("shifts").array(self.shifts.len());
        for (stream, shift) in &self.shifts {
            w.array(2).uint(*stream).int(*shift);
        }
        w.text("source")
            .uint(self.source.code())
            .text("error_ms")
            .uint(self.error_ms);
    }

    fn read(r: &mut Reader<'_>, fields: &mut crate::cbor::Fields) -> Result<Self, CborError> {
        fields.required(r, "note")?;
        let note = r.text(MOST_TEXT)?.to_owned();
        fields.required(r, "placed")?;
        let placed = (0..r.array()?)
            .map(|_| {
                r.tuple(4)?;
                Ok(Placed {
                    stream: r.small()?,
                    from: r.uint()?,
                    to: r.uint()?,
                    shift: r.int()?,
                })
            })
            .collect::<Result<_, CborError>>()?;
        fields.required(r, "shifts")?;
        let shifts = (0..r.array()?)
            .map(|_| {
                r.tuple(2)?;
                Ok((r.small()?, r.int()?))
            })
            .collect::<Result<_, CborError>>()?;
        fields.required(r, "source")?;
        let at = r.offset();
        let source = ClockStatus::from_code(r.uint()?).ok_or(CborError::Range(at))?;
        fields.required(r, "error_ms")?;
        Ok(Self {
            source,
            error_ms: r.uint()?,
            shifts,
            placed,
            note,
        })
    }
}
