//! The leaf of the log: one small signed statement (`COSE_Sign1`, deterministic CBOR).
//!
//! An entry is read here byte by byte; whether it may stand where it stands is decided by
//! [`crate::chain`].

use crate::cbor::{CborError, Reader, Writer};
use crate::hash::{Hash, Origin, leaf_hash};
use crate::key::{SigningKey, VerifyingKey};
use crate::rejection::Rejection;

/// The longest entry: entry bundles count its bytes in 16 bits.
pub const MOST_ENTRY_BYTES: usize = 65_535;
/// The longest control body inside an entry; a longer one is a payload of one chunk.
pub const MOST_INLINE_BODY: usize = 8_192;
/// The longest payload, in bytes: what a reader makes room for before a signature is checked.
pub const MOST_PAYLOAD_BYTES: u64 = 1 << 25;
/// The longest text of a gap entry, in bytes.
pub const MOST_GAP_TEXT: usize = 200;

/// An entry's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The position in the log.
    pub index: u64,
    /// The leaf hash of the entry before; zeros at index 0.
    pub previous: Hash,
    /// Index and leaf hash of the latest control entry; none at index 0.
    pub control: Option<(u64, Hash)>,
    /// The newest outside statement the gateway had verified when it sealed.
    pub freshness: Option<Freshness>,
    /// Which run of the device sealed this.
    pub boot: Boot,
    /// The clock at sealing.
    pub clock: ClockReading,
    /// What the entry says.
    pub body: Body,
}

/// An outside statement that nobody could know in advance: it proves *not before*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// What was hashed.
    pub kind: FreshnessKind,
    /// SHA-256 of the statement's bytes.
    pub hash: Hash,
}

/// The kinds of outside statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreshnessKind {
    /// A cosigned checkpoint note.
    CosignedNote = 1,
    /// An RFC 3161 token.
    TimestampToken = 2,
    /// A Roughtime answer.
    Roughtime = 3,
}

/// A run of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// Counts starts; never decreases.
    pub counter: u64,
    /// Random or from the kernel; changes exactly when the counter does.
    pub id: [u8; 8],
    /// Milliseconds since the boot began.
    pub monotonic_ms: u64,
}

/// A reading of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// Milliseconds since 1970-01-01 UTC, whatever the clock believed.
    pub unix_ms: u64,
    /// How far to believe it.
    pub status: ClockStatus,
    /// The estimated error in milliseconds.
    pub error_ms: u64,
}

/// How far a clock can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClockStatus {
    /// No source of time since the boot: the number means nothing.
    Unset = 0,
    /// Was set, or is kept by a hardware clock, and runs on its own.
    FreeRunning = 1,
    /// Synchronised by NTP.
    Ntp = 2,
    /// Synchronised by NTS, GNSS or an authenticated modem.
    Gnss = 3,
}

impl ClockStatus {
    /// The status of a sealed code.
    #[must_use]
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Unset),
            1 => Some(Self::FreeRunning),
            2 => Some(Self::Ntp),
            3 => Some(Self::Gnss),
            _ => None,
        }
    }

    /// The sealed code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unset => 0,
            Self::FreeRunning => 1,
            Self::Ntp => 2,
            Self::Gnss => 3,
        }
    }

    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::FreeRunning => "free-running",
            Self::Ntp => "NTP",
            Self::Gnss => "NTS/GNSS",
        }
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Type 0: something about the log itself.
    Control {
        /// One of [`crate::control::kind`].
        kind: u64,
        /// The body, or where it is.
        body: ControlBody,
    },
    /// Type 1: the samples of a stream.
    Data {
        /// The ticks covered.
        ticks: Ticks,
        /// The chunks.
        payload: PayloadRef,
    },
    /// Type 2: the gateway did not sample the stream.
    Gap {
        /// The ticks covered.
        ticks: Ticks,
        /// Why.
        reason: GapReason,
        /// In words.
        text: Option<String>,
    },
}

/// The body of a control entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlBody {
    /// In the entry.
    Inline(Vec<u8>),
    /// One payload chunk: the body itself, hashed as a leaf.
    Payload(PayloadRef),
}

/// A run of ticks of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// The stream.
    pub stream: u16,
    /// The first tick on the stream's axis.
    pub first: u64,
    /// How many, at least 1.
    pub count: u64,
}

impl Ticks {
    /// The tick after the last one.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// What was signed about a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadRef {
    /// The root of the inner tree.
    pub root: Hash,
    /// The number of chunks.
    pub chunks: u64,
    /// The length in bytes.
    pub bytes: u64,
}

/// Why a stream was not sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GapReason {
    /// The gateway was not running and says no more.
    Startup = 1,
    /// The gateway did not stop in order: power or a crash.
    Power = 2,
    /// There was no room left to write.
    Storage = 6,
    /// Somebody stopped the gateway.
    Operator = 7,
}

impl GapReason {
    const ALL: [Self; 4] = [Self::Startup, Self::Power, Self::Storage, Self::Operator];

    /// The sealed code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Startup => 1,
            Self::Power => 2,
            Self::Storage => 6,
            Self::Operator => 7,
        }
    }

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Power => "power",
            Self::Storage => "storage",
            Self::Operator => "operator",
        }
    }
}

/// An entry as received: contents, the exact bytes that were signed, the signature.
#[derive(Debug, Clone)]
pub struct SignedEntry<'a> {
    /// The contents.
    pub entry: Entry,
    /// The id of the key that is said to have signed.
    pub key_id: [u8; 8],
    bytes: &'a [u8],
    protected: &'a [u8],
    payload: &'a [u8],
    signature: [u8; 64],
}

const TAG_AND_ARRAY: [u8; 2] = [0xd2, 0x84];
/// `{1: -19, 4: <8 bytes>}` up to the key id.
const PROTECTED_HEAD: [u8; 5] = [0xa2, 0x01, 0x32, 0x04, 0x48];

impl Entry {
    /// Signs the entry; the result is the leaf, to be stored, hashed and sent as it is.
    #[must_use]
    pub fn sign(&self, origin: &Origin, key: &SigningKey) -> Vec<u8> {
        let mut protected = PROTECTED_HEAD.to_vec();
        protected.extend(key.public().key_id());
        let payload = self.payload();
        let signature = key.sign(&to_be_signed(origin, &protected, &payload));
        let mut writer = Writer::new();
        writer
            .raw(&TAG_AND_ARRAY)
            .byte_string(&protected)
            .map(0)
            .byte_string(&payload)
            .byte_string(&signature);
        writer.into_bytes()
    }

    fn payload(&self) -> Vec<u8> {
        let mut w = Writer::new();
        let (stream, ticks, payload) = match &self.body {
            Body::Control {
                body: ControlBody::Payload(payload),
                ..
            } => (0, None, Some(payload)),
            Body::Control { .. } => (0, None, None),
            Body::Data { ticks, payload } => (ticks.stream, Some(ticks), Some(payload)),
            Body::Gap { ticks, .. } => (ticks.stream, Some(ticks), None),
        };
        let own_pairs = match &self.body {
            Body::Control {
                body: ControlBody::Inline(_),
                ..
            } => 2,
            Body::Control { .. } => 1,
            Body::Data { .. } => 0,
            Body::Gap { text, .. } => 1 + usize::from(text.is_some()),
        };
        let pairs = 5
            + 2 * usize::from(self.control.is_some())
            + usize::from(stream != 0)
            + 2 * usize::from(ticks.is_some())
            + 3 * usize::from(payload.is_some())
            + own_pairs;
        let kind: u8 = match self.body {
            Body::Control { .. } => 0,
            Body::Data { .. } => 1,
            Body::Gap { .. } => 2,
        };
        w.map(pairs)
            .uint(0_u8)
            .uint(kind)
            .uint(1_u8)
            .uint(self.index)
            .uint(2_u8)
            .byte_string(&self.previous.0);
        if let Some((index, leaf)) = &self.control {
            w.uint(3_u8)
                .array(2)
                .uint(*index)
                .byte_string(&leaf.0)
                .uint(4_u8);
            match &self.freshness {
                Some(Freshness { kind, hash }) => {
                    let code: u8 = match kind {
                        FreshnessKind::CosignedNote => 1,
                        FreshnessKind::TimestampToken => 2,
                        FreshnessKind::Roughtime => 3,
                    };
                    w.array(2).uint(code).byte_string(&hash.0);
                }
                None => {
                    w.null();
                }
            }
        }
        w.uint(5_u8)
            .array(3)
            .uint(self.boot.counter)
            .byte_string(&self.boot.id)
            .uint(self.boot.monotonic_ms);
        w.uint(6_u8)
            .array(3)
            .uint(self.clock.unix_ms)
            .uint(self.clock.status.code())
            .uint(self.clock.error_ms);
        if stream != 0 {
            w.uint(9_u8).uint(stream);
        }
        if let Some(ticks) = ticks {
            w.uint(10_u8)
                .uint(ticks.first)
                .uint(11_u8)
                .uint(ticks.count);
        }
        if let Some(payload) = payload {
            w.uint(12_u8)
                .byte_string(&payload.root.0)
                .uint(13_u8)
                .uint(payload.chunks)
                .uint(14_u8)
                .uint(payload.bytes);
        }
        match &self.body {
            Body::Gap { reason, text, .. } => {
                w.uint(15_u8).uint(reason.code());
                if let Some(text) = text {
                    w.uint(16_u8).text(text);
                }
            }
            Body::Control { kind, body } => {
                w.uint(20_u8).uint(*kind);
                if let ControlBody::Inline(body) = body {
                    w.uint(21_u8).byte_string(body);
                }
            }
            Body::Data { .. } => {}
        }
        w.into_bytes()
    }

    /// Reads an entry; the signature is not checked yet.
    ///
    /// # Errors
    /// [`Rejection::Malformed`], [`Rejection::EntryTooLong`], [`Rejection::UnknownEntryType`] or
    /// [`Rejection::Freshness`].
    pub fn parse(bytes: &[u8]) -> Result<SignedEntry<'_>, Rejection> {
        if bytes.len() > MOST_ENTRY_BYTES {
            return Err(Rejection::EntryTooLong);
        }
        let (protected, payload, signature) = envelope(bytes).map_err(Rejection::Malformed)?;
        let mut head = Reader::new(protected);
        let key_id = head
            .literal(&PROTECTED_HEAD, "the protected header {1: -19, 4: key id}")
            .and_then(|()| {
                protected
                    .last_chunk::<8>()
                    .copied()
                    .ok_or(CborError::Truncated(protected.len()))
            })
            .map_err(Rejection::Malformed)?;
        if protected.len() != PROTECTED_HEAD.len() + 8 {
            return Err(Rejection::Malformed(CborError::Trailing(protected.len())));
        }
        let entry = contents(payload)?;
        Ok(SignedEntry {
            entry,
            key_id,
            bytes,
            protected,
            payload,
            signature,
        })
    }

    /// The payload that was signed for, if any.
    #[must_use]
    pub const fn payload_ref(&self) -> Option<&PayloadRef> {
        match &self.body {
            Body::Data { payload, .. }
            | Body::Control {
                body: ControlBody::Payload(payload),
                ..
            } => Some(payload),
            _ => None,
        }
    }

    /// The ticks covered, if any.
    #[must_use]
    pub const fn ticks(&self) -> Option<&Ticks> {
        match &self.body {
            Body::Data { ticks, .. } | Body::Gap { ticks, .. } => Some(ticks),
            Body::Control { .. } => None,
        }
    }
}

/// Protected header, signed payload and signature.
type Envelope<'a> = (&'a [u8], &'a [u8], [u8; 64]);

fn envelope(bytes: &[u8]) -> Result<Envelope<'_>, CborError> {
    let mut reader = Reader::new(bytes);
    reader.literal(&TAG_AND_ARRAY, "tag 18 and an array of four")?;
    let protected = reader.bytes()?;
    let at = reader.offset();
    if reader.map()?.finish(&reader).is_err() {
        return Err(CborError::Type {
            offset: at,
            expected: "an empty unprotected header",
        });
    }
    let payload = reader.bytes()?;
    let signature = reader.array_of()?;
    reader.end()?;
    Ok((protected, payload, signature))
}

fn contents(payload: &[u8]) -> Result<Entry, Rejection> {
    let reader = &mut Reader::new(payload);
    let malformed = Rejection::Malformed;
    let mut fields = reader.map().map_err(malformed)?;
    let kind = fields
        .required(reader, 0)
        .and_then(|()| reader.uint())
        .map_err(malformed)?;
    if kind > 2 {
        return Err(Rejection::UnknownEntryType(kind));
    }
    let index = fields
        .required(reader, 1)
        .and_then(|()| reader.uint())
        .map_err(malformed)?;
    let previous = fields
        .required(reader, 2)
        .and_then(|()| reader.array_of())
        .map(Hash)
        .map_err(malformed)?;
    let mut control = None;
    let mut freshness = None;
    if index > 0 {
        fields
            .required(reader, 3)
            .and_then(|()| reader.tuple(2))
            .map_err(malformed)?;
        let pinned = reader.uint().map_err(malformed)?;
        control = Some((pinned, reader.array_of().map(Hash).map_err(malformed)?));
        fields.required(reader, 4).map_err(malformed)?;
        if !reader.null() {
            reader.tuple(2).map_err(malformed)?;
            let kind = match reader.uint().map_err(malformed)? {
                1 => FreshnessKind::CosignedNote,
                2 => FreshnessKind::TimestampToken,
                3 => FreshnessKind::Roughtime,
                _ => return Err(Rejection::Freshness),
            };
            freshness = Some(Freshness {
                kind,
                hash: Hash(reader.array_of().map_err(malformed)?),
            });
        }
    }
    let (boot, clock, body) = rest(reader, fields, kind).map_err(malformed)?;
    Ok(Entry {
        index,
        previous,
        control,
        freshness,
        boot,
        clock,
        body,
    })
}

fn rest(
    reader: &mut Reader<'_>,
    mut fields: crate::cbor::Fields,
    kind: u64,
) -> Result<(Boot, ClockReading, Body), CborError> {
    fields.required(reader, 5)?;
    reader.tuple(3)?;
    let boot = Boot {
        counter: reader.uint()?,
        id: reader.array_of()?,
        monotonic_ms: reader.uint()?,
    };
    fields.required(reader, 6)?;
    reader.tuple(3)?;
    let unix_ms = reader.uint()?;
    let at = reader.offset();
    let status = ClockStatus::from_code(reader.uint()?).ok_or(CborError::Range(at))?;
    let clock = ClockReading {
        unix_ms,
        status,
        error_ms: reader.uint()?,
    };
    let mut stream = 0;
    if kind != 0 && fields.optional(reader, 9) {
        let at = reader.offset();
        stream = reader.small()?;
        if stream == 0 {
            return Err(CborError::Range(at));
        }
    }
    let mut ticks = Ticks {
        stream,
        first: 0,
        count: 0,
    };
    if kind != 0 {
        fields.required(reader, 10)?;
        ticks.first = reader.uint()?;
        fields.required(reader, 11)?;
        ticks.count = reader.uint()?;
    }
    let mut payload = None;
    if kind != 2 && fields.optional(reader, 12) {
        let root = Hash(reader.array_of()?);
        fields.required(reader, 13)?;
        let chunks = reader.uint()?;
        fields.required(reader, 14)?;
        let at = reader.offset();
        let bytes = reader.uint()?;
        if bytes > MOST_PAYLOAD_BYTES || chunks > bytes {
            return Err(CborError::Range(at));
        }
        payload = Some(PayloadRef {
            root,
            chunks,
            bytes,
        });
    }
    let missing = CborError::Key(reader.offset());
    let body = match kind {
        0 => {
            fields.required(reader, 20)?;
            let kind = reader.uint()?;
            let body = match payload {
                Some(payload) => ControlBody::Payload(payload),
                None => {
                    fields.required(reader, 21)?;
                    let at = reader.offset();
                    let body = reader.bytes()?;
                    if body.len() > MOST_INLINE_BODY {
                        return Err(CborError::TooLong(at));
                    }
                    ControlBody::Inline(body.to_vec())
                }
            };
            Body::Control { kind, body }
        }
        1 => Body::Data {
            ticks,
            payload: payload.ok_or(missing)?,
        },
        _ => {
            fields.required(reader, 15)?;
            let at = reader.offset();
            let code = reader.uint()?;
            let reason = GapReason::ALL
                .into_iter()
                .find(|reason| u64::from(reason.code()) == code)
                .ok_or(CborError::Range(at))?;
            let text = if fields.optional(reader, 16) {
                Some(reader.text(MOST_GAP_TEXT)?.to_owned())
            } else {
                None
            };
            Body::Gap {
                ticks,
                reason,
                text,
            }
        }
    };
    fields.finish(reader)?;
    reader.end()?;
    Ok((boot, clock, body))
}

/// COSE's `Sig_structure` with the log's name as external data: an entry of one log is no entry of another.
fn to_be_signed(origin: &Origin, protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut aad = b"fieldseal/entry/v1\n".to_vec();
    aad.extend_from_slice(origin.as_str().as_bytes());
    let mut writer = Writer::new();
    writer
        .array(4)
        .text("Signature1")
        .byte_string(protected)
        .byte_string(&aad)
        .byte_string(payload);
    writer.into_bytes()
}

impl SignedEntry<'_> {
    /// The leaf hash.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        leaf_hash(self.bytes)
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`Rejection::BadSignature`].
    pub fn verify(&self, origin: &Origin, key: &VerifyingKey) -> Result<(), Rejection> {
        key.verify(
            &to_be_signed(origin, self.protected, self.payload),
            &self.signature,
        )
        .map_err(|_bad| Rejection::BadSignature)
    }
}
