//! Records as programs and pages see them.

use std::collections::BTreeMap;

use evidence::control::Control;
use evidence::entry::{Body, ControlBody, Entry};
use evidence::project::{ProjectLog, Record};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Answer, Problem};
use crate::time;

/// A record of the project log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RecordView {
    pub(crate) index: u64,
    /// Leaf hash of its entry, hexadecimal.
    pub(crate) leaf: String,
    /// `certificate`, `exchange`, `hand-value`, `document`, `annotation`, `finding`, `transition`,
    /// `report-version`, `method`, `plan-version` or `period-close`.
    pub(crate) kind: String,
    /// What it is about.
    pub(crate) subject: String,
    /// The fields of its kind, as they are entered.
    #[schema(value_type = Object)]
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) person: PersonView,
    /// When the centre sealed it.
    pub(crate) entered: String,
    pub(crate) attachments: Vec<AttachmentView>,
    /// The record that it corrects.
    pub(crate) replaces: Option<ReplacesView>,
    /// The index of the record that corrects it.
    pub(crate) replaced_by: Option<u64>,
    /// Whether the collector has cosigned a tree that holds it.
    pub(crate) witnessed: bool,
}

/// Who entered a record, as the token said.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PersonView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: String,
}

/// A file that a record names.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AttachmentView {
    /// SHA-256, hexadecimal.
    pub(crate) sha256: String,
    pub(crate) name: String,
}

/// A correction.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ReplacesView {
    pub(crate) index: u64,
    pub(crate) reason: String,
}

/// The record in a stored row; none for genesis and keys.
pub(crate) fn record_of(row: &store::Row) -> Answer<Option<(Record, u64)>> {
    let wrong = |error: &dyn std::fmt::Display| {
        Problem::internal(&format!("entry {} of a project log: {error}", row.index))
    };
    let entry = Entry::parse(&row.entry)
        .map_err(|error| wrong(&error))?
        .entry;
    let Body::Control { kind, body } = &entry.body else {
        return Err(wrong(&"not a control entry"));
    };
    let bytes = match (body, &row.payload) {
        (ControlBody::Inline(bytes), _) => bytes,
        (ControlBody::Payload(_), Some(bytes)) => bytes,
        (ControlBody::Payload(_), None) => return Err(wrong(&"its body is missing")),
    };
    let control = Control::decode(*kind, bytes).map_err(|error| wrong(&error))?;
    match control {
        Control::Record(record) => Ok(Some((*record, entry.clock.unix_ms))),
        _ => Ok(None),
    }
}

/// A stored row as a record; `log` was checked and holds it.
pub(crate) fn view(
    log: &ProjectLog,
    row: &store::Row,
    witnessed: u64,
) -> Answer<Option<RecordView>> {
    let Some((record, entered_ms)) = record_of(row)? else {
        return Ok(None);
    };
    let known = log
        .known(row.index)
        .filter(|known| known.leaf.0 == row.leaf);
    let known = known.ok_or_else(|| Problem::internal(&"a row changed while it was read"))?;
    let fields = record.fields.iter();
    Ok(Some(RecordView {
        index: row.index,
        leaf: known.leaf.to_hex(),
        kind: record.kind.name().to_owned(),
        subject: record.subject.clone(),
        fields: fields
            .map(|(key, value)| ((*key).to_owned(), value.text()))
            .collect(),
        person: PersonView {
            id: record.person.id.clone(),
            name: record.person.name.clone(),
            role: record.person.role.clone(),
        },
        entered: time::utc(i64::try_from(entered_ms).unwrap_or(i64::MAX)),
        attachments: record
            .attachments
            .iter()
            .map(|attachment| AttachmentView {
                sha256: attachment.hash.to_hex(),
                name: attachment.name.clone(),
            })
            .collect(),
        replaces: record.replaces.as_ref().map(|replaces| ReplacesView {
            index: replaces.index,
            reason: replaces.reason.clone(),
        }),
        replaced_by: known.replaced_by,
        witnessed: row.index < witnessed,
    }))
}
