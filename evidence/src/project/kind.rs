//! The kinds of records and the fields of each: one table, from which bodies are written, read,
//! checked, entered by people and shown to them.

/// What a record is. The number is its control kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A calibration certificate of the meter at a monitoring point.
    Certificate = 32,
    /// A meter was exchanged.
    Exchange = 33,
    /// A value entered by hand.
    HandValue = 34,
    /// A document, by hash.
    Document = 35,
    /// A remark; it edits nothing.
    Annotation = 36,
    /// A finding of the verification, or what became of one.
    Finding = 37,
    /// A step in the life of a report.
    Transition = 38,
    /// A version of a report was made.
    ReportVersion = 39,
    /// A methodology was registered.
    Method = 40,
    /// A version of the monitoring plan was applied.
    PlanVersion = 41,
    /// A period was closed.
    PeriodClose = 42,
}

/// A field of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The key in the body.
    pub key: &'static str,
    /// What it holds.
    pub sort: Sort,
    /// Whether it must be there.
    pub required: bool,
    /// What it means, for people.
    pub help: &'static str,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Text of one or more lines, at most 4000 bytes.
    Text,
    /// A name: one line, at most 200 bytes.
    Name,
    /// A calendar date, `2026-03-31`.
    Date,
    /// An instant in unix milliseconds.
    Time,
    /// A whole number that is not negative.
    Number,
    /// An exact decimal.
    Decimal,
    /// SHA-256.
    Hash,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Calibration points: reference, error as found, error as left; 1 to 100 of them.
    Points,
    /// States of logs: origin, size, root; 1 to 1000 of them, ascending by origin.
    Logs,
}

impl Sort {
    /// How people write it.
    #[must_use]
    pub const fn form(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Name => "one line of at most 200 bytes",
            Self::Date => "a date like 2026-03-31",
            Self::Time => "unix milliseconds",
            Self::Number => "a whole number",
            Self::Decimal => "a decimal number like -0.25",
            Self::Hash => "64 hexadecimal digits",
            Self::Word(_) => "one of the listed words",
            Self::Points => "reference:error as found:error as left, separated by spaces",
            Self::Logs => "origin:size:root in hex, separated by spaces, ascending by origin",
        }
    }
}

/// The states of a report.
pub const REPORT_STATES: &[&str] = &[
    "draft",
    "submitted",
    "under verification",
    "revised",
    "verified",
    "issued",
    "withdrawn",
];

const fn must(key: &'static str, sort: Sort, help: &'static str) -> Field {
    Field {
        key,
        sort,
        required: true,
        help,
    }
}

const fn may(key: &'static str, sort: Sort, help: &'static str) -> Field {
    Field {
        key,
        sort,
        required: false,
        help,
    }
}

const CERTIFICATE: &[Field] = &[
    must("number", Sort::Name, "the certificate's number"),
    must("device", Sort::Name, "serial number of what was calibrated"),
    must("laboratory", Sort::Name, "who calibrated it"),
    must(
        "accreditation",
        Sort::Name,
        "the laboratory's accreditation number",
    ),
    must("standard", Sort::Name, "the reference standard used"),
    must("calibrated", Sort::Date, "the day of the calibration"),
    must("due", Sort::Date, "the day on which the next one is due"),
    must("unit", Sort::Name, "the unit of the references"),
    must(
        "points",
        Sort::Points,
        "reference, error as found and as left in percent of it",
    ),
    must(
        "uncertainty_percent",
        Sort::Decimal,
        "expanded uncertainty in percent",
    ),
    may(
        "mpe_percent",
        Sort::Decimal,
        "maximum permissible error in percent",
    ),
    may("text", Sort::Text, "what else it says"),
];

const EXCHANGE: &[Field] = &[
    must("at_ms", Sort::Time, "when"),
    must("unit", Sort::Name, "the unit of both readings"),
    must("old_device", Sort::Name, "serial number of the old meter"),
    must("old_final", Sort::Decimal, "its final reading"),
    must("new_device", Sort::Name, "serial number of the new meter"),
    must("new_first", Sort::Decimal, "its first reading"),
    must(
        "certificate",
        Sort::Name,
        "number of the new meter's certificate",
    ),
    may("text", Sort::Text, "why, and what else was seen"),
];

const HAND_VALUE: &[Field] = &[
    must("from", Sort::Date, "the first day that it holds for"),
    must("to", Sort::Date, "the last day, included"),
    must("value", Sort::Decimal, "the value"),
    must("unit", Sort::Name, "its unit"),
    must(
        "option",
        Sort::Word(&["A", "B", "C"]),
        "monitoring option: A public data, B transaction, C measured",
    ),
    must("source", Sort::Text, "where it comes from"),
];

const DOCUMENT: &[Field] = &[must("text", Sort::Text, "what it is")];

const ANNOTATION: &[Field] = &[
    must("text", Sort::Text, "the remark"),
    may("log", Sort::Name, "the log it is about"),
    may("from", Sort::Number, "the first entry of it"),
    may("to", Sort::Number, "the last entry of it"),
];

const FINDING: &[Field] = &[
    must(
        "sort",
        Sort::Word(&["CAR", "CL", "FAR"]),
        "corrective action, clarification, forward action",
    ),
    must(
        "state",
        Sort::Word(&["open", "answered", "closed"]),
        "where it stands with this record",
    ),
    must(
        "text",
        Sort::Text,
        "the finding, the answer or the conclusion",
    ),
    may("requirement", Sort::Text, "what it refers to"),
    may("about", Sort::Text, "the record, range or report cell"),
    may("due", Sort::Date, "by when it is to be answered"),
    may(
        "effect_t",
        Sort::Decimal,
        "effect on the emission reductions in tCO2",
    ),
];

const TRANSITION: &[Field] = &[
    must("version", Sort::Number, "the report's version"),
    must("from", Sort::Word(REPORT_STATES), "its state before"),
    must("to", Sort::Word(REPORT_STATES), "its state after"),
    may("text", Sort::Text, "why"),
];

const REPORT_VERSION: &[Field] = &[
    must("version", Sort::Number, "counted from 1"),
    must("sha256", Sort::Hash, "of the report's bytes"),
    must(
        "plan",
        Sort::Hash,
        "SHA-256 of the plan it was computed with",
    ),
    must("logs", Sort::Logs, "what it rests on"),
    must("software", Sort::Name, "what computed it"),
];

const METHOD: &[Field] = &[
    must("sha256", Sort::Hash, "of the methodology's file"),
    must("decision", Sort::Text, "the decision that approved it"),
];

const PLAN_VERSION: &[Field] = &[
    must("version", Sort::Number, "counted from 1"),
    must("sha256", Sort::Hash, "of the plan's file"),
    must("decision", Sort::Text, "the decision that approved it"),
];

const PERIOD_CLOSE: &[Field] = &[
    must("from", Sort::Date, "the first day"),
    must("to", Sort::Date, "the last day, included"),
    must("logs", Sort::Logs, "the logs as they were then"),
    may("text", Sort::Text, "a remark"),
];

impl Kind {
    /// All kinds, by number.
    pub const ALL: [Self; 11] = [
        Self::Certificate,
        Self::Exchange,
        Self::HandValue,
        Self::Document,
        Self::Annotation,
        Self::Finding,
        Self::Transition,
        Self::ReportVersion,
        Self::Method,
        Self::PlanVersion,
        Self::PeriodClose,
    ];

    /// The control kind.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::Certificate => 32,
            Self::Exchange => 33,
            Self::HandValue => 34,
            Self::Document => 35,
            Self::Annotation => 36,
            Self::Finding => 37,
            Self::Transition => 38,
            Self::ReportVersion => 39,
            Self::Method => 40,
            Self::PlanVersion => 41,
            Self::PeriodClose => 42,
        }
    }

    /// The kind of a control kind's number; none for kinds of gateways.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The word in addresses, commands and verdicts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Exchange => "exchange",
            Self::HandValue => "hand-value",
            Self::Document => "document",
            Self::Annotation => "annotation",
            Self::Finding => "finding",
            Self::Transition => "transition",
            Self::ReportVersion => "report-version",
            Self::Method => "method",
            Self::PlanVersion => "plan-version",
            Self::PeriodClose => "period-close",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What `subject` names for this kind.
    #[must_use]
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Certificate | Self::Exchange => "the monitoring point's number",
            Self::HandValue => "the parameter",
            Self::Document => "the document's title",
            Self::Annotation => "what the remark is about",
            Self::Finding => "the finding's number, like CAR 01",
            Self::Transition | Self::ReportVersion => "the report",
            Self::Method => "the methodology",
            Self::PlanVersion => "the project",
            Self::PeriodClose => "the period",
        }
    }

    /// Its own fields, besides person, subject, attachments and replaces.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::Certificate => CERTIFICATE,
            Self::Exchange => EXCHANGE,
            Self::HandValue => HAND_VALUE,
            Self::Document => DOCUMENT,
            Self::Annotation => ANNOTATION,
            Self::Finding => FINDING,
            Self::Transition => TRANSITION,
            Self::ReportVersion => REPORT_VERSION,
            Self::Method => METHOD,
            Self::PlanVersion => PLAN_VERSION,
            Self::PeriodClose => PERIOD_CLOSE,
        }
    }

    /// Whether a record of it is nothing without an attached document.
    #[must_use]
    pub const fn needs_attachment(self) -> bool {
        matches!(self, Self::Certificate | Self::HandValue | Self::Document)
    }
}
