//! Every way in which an entry or its payload can be wrong, one name each.

use crate::cbor::CborError;
use crate::chunk::ChunkError;
use crate::measurement::MeasurementError;

/// Why an entry is refused. The index belongs to the caller, who knows what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The bytes are not an entry.
    #[error("the entry is malformed: {0}")]
    Malformed(CborError),
    /// Longer than an entry bundle can carry.
    #[error("the entry is longer than 65,535 bytes")]
    EntryTooLong,
    /// An entry type this version does not know.
    #[error("entry type {0} is unknown")]
    UnknownEntryType(u64),
    /// The index in the entry is not its position.
    #[error("the entry says index {found} but stands at {expected}")]
    IndexDiffers {
        /// Its position.
        expected: u64,
        /// What it says.
        found: u64,
    },
    /// The entry does not follow the one before it.
    #[error("the previous-entry hash does not match the entry before")]
    PreviousHashDiffers,
    /// The entry was made under another control state.
    #[error("the control pin does not name the latest control entry")]
    ControlPinDiffers,
    /// Signed by a key that is not in force at this index.
    #[error("signed by key {found}, which is not the entry key in force ({expected})")]
    KeyNotInForce {
        /// The key in force, hex of its id.
        expected: String,
        /// The key named, hex of its id.
        found: String,
    },
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
    /// A key that no honest gateway has.
    #[error("an enrolled or added key is refused: {0}")]
    KeyRefused(crate::key::KeyError),
    /// Boot counter and boot id contradict the entry before.
    #[error("boot counter and boot id do not follow from the entry before")]
    BootInconsistent,
    /// Monotonic time went backwards inside a boot.
    #[error("monotonic time decreased inside one boot")]
    MonotonicDecreased,
    /// The log does not start with a genesis entry, or has a second one.
    #[error("entry 0, and only it, is a genesis entry")]
    Genesis,
    /// The genesis entry is of another log.
    #[error("the genesis entry names the log `{0}`")]
    OriginDiffers(String),
    /// A pinned outside statement of unknown kind, or one at index 0.
    #[error("the freshness field is not valid")]
    Freshness,
    /// Data or gap before a configuration, or for a stream it does not have.
    #[error("stream {0} is not in the configuration in force")]
    UnknownStream(u16),
    /// Ticks are missing between two entries of a stream.
    #[error("tick gap: stream {stream} continues at tick {expected} but the entry starts at {found} ({} unexplained)", found - expected)]
    TickGap {
        /// The stream.
        stream: u16,
        /// Its next tick.
        expected: u64,
        /// The entry's first tick.
        found: u64,
    },
    /// Ticks are claimed twice.
    #[error(
        "tick overlap: stream {stream} continues at tick {expected} but the entry starts at {found}"
    )]
    TickOverlap {
        /// The stream.
        stream: u16,
        /// Its next tick.
        expected: u64,
        /// The entry's first tick.
        found: u64,
    },
    /// No ticks, more than an hour of them, or an hour boundary inside.
    #[error("the ticks of one entry must be at least one, at most an hour, and cross no hour")]
    SegmentShape,
    /// An entry has a trusted time although no clock event placed the axis again.
    #[error("the clock was unset and no clock event has placed the ticks since")]
    TimeWithoutClockEvent,
    /// A clock event that breaks its rules.
    #[error("clock event: {0}")]
    ClockEvent(&'static str),
    /// A payload is missing.
    #[error("the payload is missing")]
    PayloadMissing,
    /// A payload stands where none was signed.
    #[error("a payload stands where none was signed")]
    PayloadUnexpected,
    /// The payload has another length than was signed.
    #[error("the payload has {found} bytes, signed were {expected}")]
    PayloadLength {
        /// Signed.
        expected: u64,
        /// Found.
        found: u64,
    },
    /// The payload's root is not the signed one: a byte was changed.
    #[error("the payload's root is not the signed one")]
    PayloadRootDiffers,
    /// A chunk breaks its format.
    #[error("chunk of point {point}: {error}")]
    Chunk {
        /// The point index, as far as it could be read.
        point: u16,
        /// What is wrong.
        error: ChunkError,
    },
    /// The payload as a whole does not split into its chunks.
    #[error("payload: {0}")]
    Payload(ChunkError),
    /// The chunks are not exactly the points of the stream, in order.
    #[error("the chunks are not exactly the points of stream {0}")]
    PointsDiffer(u16),
    /// A chunk has another number of samples than the entry has ticks.
    #[error("chunk of point {point} has {found} samples for {expected} ticks")]
    SamplesDiffer {
        /// The point index.
        point: u16,
        /// Ticks.
        expected: u64,
        /// Samples.
        found: u64,
    },
    /// A codec that this point must not use here.
    #[error("chunk of point {0} does not use the codec its format asks for")]
    WrongCodec(u16),
    /// A column value that no register of the format can hold.
    #[error("chunk of point {0} holds a value its format cannot have")]
    NotAColumnValue(u16),
    /// A message lies outside its segment.
    #[error("chunk of point {0} has a message outside the segment")]
    MessageOutside(u16),
    /// A control kind this version does not know.
    #[error("control kind {0} is unknown")]
    UnknownControl(u64),
    /// A control body that cannot be read.
    #[error("control body of kind {kind}: {error}")]
    ControlBody {
        /// The kind.
        kind: u64,
        /// What is wrong.
        error: CborError,
    },
    /// A configuration that breaks its rules.
    #[error("configuration: {0}")]
    Configuration(#[from] MeasurementError),
    /// A stream of the new configuration does not start where it must.
    #[error("configuration: stream {stream} starts at tick {found}, its axis stands at {expected}")]
    StreamStart {
        /// The stream.
        stream: u16,
        /// Where it must start.
        expected: u64,
        /// Where it says it starts.
        found: u64,
    },
    /// A name that meant something else before.
    #[error("configuration: point `{0}` had another kind before; a name is never reused")]
    PointReused(String),
    /// A revocation of the key in force or of an unknown key.
    #[error("only a key that was replaced can be revoked")]
    Revocation,
    /// A range of dropped payloads that does not lie before its declaration.
    #[error("the dropped range does not lie before its declaration")]
    DroppedRange,
    /// A record of a project log that breaks its rules.
    #[error("record of kind {kind}: {error}")]
    Record {
        /// The kind.
        kind: u64,
        /// What is wrong.
        error: crate::project::RecordError,
    },
    /// A record that replaces an entry which is not there with that hash.
    #[error("it replaces entry {0}, and no entry with that hash stands there")]
    ReplacesUnknown(u64),
    /// A record that replaces one of another kind or about something else.
    #[error("it replaces entry {0}, which is of another kind or about another subject")]
    ReplacesOther(u64),
    /// A record that replaces one which was replaced before.
    #[error("it replaces entry {index}, which entry {by} replaced already")]
    ReplacedAlready {
        /// The entry.
        index: u64,
        /// What replaced it.
        by: u64,
    },
    /// A control kind of gateways in a project log, or the reverse.
    #[error("control kind {0} does not stand in a log of this sort")]
    KindElsewhere(u64),
    /// A data or gap entry in a project log.
    #[error("a project log holds control entries only")]
    NotInProjectLog,
    /// An entry of a project log without a time.
    #[error("an entry of a project log needs a clock that was set")]
    ProjectClockUnset,
}

impl Rejection {
    /// A stable code for programs, e.g. `E07`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::EntryTooLong | Self::UnknownEntryType(_) => "E01",
            Self::IndexDiffers { .. } => "E02",
            Self::PreviousHashDiffers => "E03",
            Self::ControlPinDiffers => "E04",
            Self::KeyNotInForce { .. } | Self::KeyRefused(_) | Self::Revocation => "E05",
            Self::BadSignature => "E06",
            Self::TickGap { .. } => "E07",
            Self::TickOverlap { .. } => "E08",
            Self::SegmentShape | Self::UnknownStream(_) => "E09",
            Self::BootInconsistent | Self::MonotonicDecreased => "E10",
            Self::Genesis | Self::OriginDiffers(_) => "E11",
            Self::Freshness => "E12",
            Self::TimeWithoutClockEvent | Self::ClockEvent(_) => "E13",
            Self::PayloadMissing
            | Self::PayloadUnexpected
            | Self::PayloadLength { .. }
            | Self::DroppedRange => "E14",
            Self::PayloadRootDiffers => "E15",
            Self::Chunk { .. } | Self::Payload(_) => "E16",
            Self::PointsDiffer(_) | Self::SamplesDiffer { .. } | Self::MessageOutside(_) => "E17",
            Self::WrongCodec(_) | Self::NotAColumnValue(_) => "E18",
            Self::UnknownControl(_) | Self::ControlBody { .. } | Self::Record { .. } => "E19",
            Self::Configuration(_) | Self::StreamStart { .. } | Self::PointReused(_) => "E20",
            Self::ReplacesUnknown(_) | Self::ReplacesOther(_) | Self::ReplacedAlready { .. } => {
                "E30"
            }
            Self::KindElsewhere(_) | Self::NotInProjectLog | Self::ProjectClockUnset => "E31",
        }
    }
}
