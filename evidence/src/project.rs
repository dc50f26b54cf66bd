//! The project log: what people enter at the centre, as entries of one log per project.
//!
//! Certificates, meter exchanges, values entered by hand, documents, findings, steps in the life of
//! a report: each is a control entry of kind 32 to 42 with the person who entered it. The log has
//! the form of every other log and is cosigned by the same witnesses, so nobody can change a record
//! later unnoticed; a correction is a new record that names the one it replaces.
//!
//! [`Record`] is a body, [`ProjectLog`] decides which entry may stand next.

mod kind;
mod log;
mod value;

use crate::cbor::{CborError, Fields, Reader, Writer};
use crate::hash::Hash;

pub use kind::{Field, Kind, REPORT_STATES, Sort};
pub use log::{Entered, Known, ProjectLog};
pub use value::{LogState, Value};

/// The most attachments of one record.
pub const MOST_ATTACHMENTS: usize = 100;

/// What somebody entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// What it is about; see [`Kind::subject`].
    pub subject: String,
    /// Who entered it.
    pub person: Person,
    /// What it rests on, ascending by hash.
    pub attachments: Vec<Attachment>,
    /// The record that it corrects.
    pub replaces: Option<Replaces>,
    /// The fields of its kind that it has, in the order of [`Kind::fields`].
    pub fields: Vec<(&'static str, Value)>,
}

/// Who entered a record: as the centre knew them, never as they said in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The id of the account or token.
    pub id: String,
    /// The name.
    pub name: String,
    /// What they are to the project.
    pub role: String,
}

/// A file beside the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// SHA-256 of its bytes.
    pub hash: Hash,
    /// Its name when it was entered.
    pub name: String,
}

/// A correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// The entry that is replaced.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Why.
    pub reason: String,
}

/// Why a record cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes are not a body.
    #[error("{0}")]
    Cbor(#[from] CborError),
    /// A field that every record of its kind has.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field that the kind does not have.
    #[error("`{0}` is no field of this kind")]
    Unknown(String),
    /// A value that is not of its form.
    #[error("`{key}` must be {form}")]
    Form {
        /// The field.
        key: &'static str,
        /// The form.
        form: String,
    },
    /// The attachments are not in order, too many, or none where one must be.
    #[error("{0}")]
    Attachments(&'static str),
    /// A rule between two fields.
    #[error("{0}")]
    Rule(&'static str),
}

/// The keys that every record may have: key, whether it must.
const COMMON: [(&str, bool); 4] = [
    ("person", true),
    ("subject", true),
    ("replaces", false),
    ("attachments", true),
];

/// One pair of a body.
enum Part {
    Common(&'static str),
    Own(&'static Field),
}

/// All keys of a kind in the deterministic order: shorter first, then bytewise.
fn keys(kind: Kind) -> Vec<(&'static str, Part)> {
    let own = kind
        .fields()
        .iter()
        .map(|field| (field.key, Part::Own(field)));
    let common = COMMON.iter().map(|(key, _)| (*key, Part::Common(key)));
    let mut keys: Vec<_> = common.chain(own).collect();
    keys.sort_by_key(|(key, _)| (key.len(), *key));
    keys
}

impl Record {
    /// A field's value.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&Value> {
        let found = self.fields.iter().find(|(known, _)| *known == key);
        found.map(|(_, value)| value)
    }

    /// Builds a record of what a person wrote: `fields` are keys and texts in any order.
    ///
    /// # Errors
    /// The first [`RecordError`], which names the field.
    pub fn enter<'t>(
        kind: Kind,
        subject: &str,
        person: Person,
        mut attachments: Vec<Attachment>,
        replaces: Option<Replaces>,
        fields: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Result<Self, RecordError> {
        let mut given: Vec<(&str, &str)> = fields.into_iter().collect();
        let mut own = Vec::new();
        for field in kind.fields() {
            if let Some(at) = given.iter().position(|(key, _)| *key == field.key) {
                let (_, text) = given.swap_remove(at);
                own.push((field.key, Value::parse(field.key, field.sort, text)?));
            }
        }
        if let Some((key, _)) = given.first() {
            return Err(RecordError::Unknown((*key).to_owned()));
        }
        attachments.sort();
        let record = Self {
            kind,
            subject: subject.to_owned(),
            person,
            attachments,
            replaces,
            fields: own,
        };
        record.check()?;
        Ok(record)
    }

    /// Whether it obeys every rule that needs no other entry.
    ///
    /// # Errors
    /// The first [`RecordError`].
    pub fn check(&self) -> Result<(), RecordError> {
        let name = |key, text: &str| {
            if value::is_name(text) {
                Ok(())
            } else {
                let form = Sort::Name.form().to_owned();
                Err(RecordError::Form { key, form })
            }
        };
        name("subject", &self.subject)?;
        for text in [&self.person.id, &self.person.name, &self.person.role] {
            name("person", text)?;
        }
        if let Some(replaces) = &self.replaces {
            name("replaces", &replaces.reason)?;
        }
        for attachment in &self.attachments {
            name("attachments", &attachment.name)?;
        }
        if !self.attachments.is_sorted_by(|a, b| a.hash < b.hash) {
            let why = "attachments stand ascending by hash, each once";
            return Err(RecordError::Attachments(why));
        }
        if self.attachments.len() > MOST_ATTACHMENTS {
            return Err(RecordError::Attachments("more than 100 attachments"));
        }
        if self.kind.needs_attachment() && self.attachments.is_empty() {
            let why = "this kind of record needs the document attached";
            return Err(RecordError::Attachments(why));
        }
        let mut own = self.fields.iter().peekable();
        for field in self.kind.fields() {
            match own.next_if(|(key, _)| *key == field.key) {
                Some((_, value)) if value.fits(field.sort) => {}
                Some(_) => {
                    let form = match field.sort {
                        Sort::Word(words) => words.join(", "),
                        sort => sort.form().to_owned(),
                    };
                    return Err(RecordError::Form {
                        key: field.key,
                        form,
                    });
                }
                None if field.required => return Err(RecordError::Missing(field.key)),
                None => {}
            }
        }
        if let Some((key, _)) = own.next() {
            return Err(RecordError::Unknown((*key).to_owned()));
        }
        self.check_between()
    }

    /// The rules between fields.
    fn check_between(&self) -> Result<(), RecordError> {
        let rule = |holds: bool, text| {
            if holds {
                Ok(())
            } else {
                Err(RecordError::Rule(text))
            }
        };
        let text = |key| match self.field(key) {
            Some(Value::Text(text)) => text.as_str(),
            _ => "",
        };
        match self.kind {
            // Dates of one form compare as texts.
            Kind::Certificate => rule(
                text("calibrated") < text("due"),
                "`due` lies behind `calibrated`",
            ),
            Kind::HandValue | Kind::PeriodClose => {
                rule(text("from") <= text("to"), "`to` is not before `from`")
            }
            Kind::Transition => rule(text("from") != text("to"), "`from` and `to` are two states"),
            Kind::Annotation => {
                let (from, to) = (self.field("from"), self.field("to"));
                let about = self.field("log").is_some();
                let range = match (from, to) {
                    (Some(Value::Number(from)), Some(Value::Number(to))) => about && from <= to,
                    (None, None) => true,
                    _ => false,
                };
                rule(
                    range,
                    "`from` and `to` stand together, in order, with `log`",
                )
            }
            _ => Ok(()),
        }
    }

    /// The body to be sealed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(self.fields.len() + 3 + usize::from(self.replaces.is_some()));
        for (key, part) in keys(self.kind) {
            match part {
                Part::Own(_) => {
                    if let Some(value) = self.field(key) {
                        w.text(key);
                        value.write(&mut w);
                    }
                }
                Part::Common("subject") => {
                    w.text(key).text(&self.subject);
                }
                Part::Common("person") => {
                    w.text(key).map(3).text("id").text(&self.person.id);
                    w.text("name").text(&self.person.name);
                    w.text("role").text(&self.person.role);
                }
                Part::Common("replaces") => {
                    if let Some(replaces) = &self.replaces {
                        w.text(key)
                            .map(3)
                            .text("leaf")
                            .byte_string(&replaces.leaf.0);
                        w.text("index").uint(replaces.index);
                        w.text("reason").text(&replaces.reason);
                    }
                }
                Part::Common(_) => {
                    w.text(key).array(self.attachments.len());
                    for attachment in &self.attachments {
                        w.array(2)
                            .byte_string(&attachment.hash.0)
                            .text(&attachment.name);
                    }
                }
            }
        }
        w.into_bytes()
    }

    /// Reads a body.
    ///
    /// # Errors
    /// The first [`RecordError`].
    pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Self, RecordError> {
        let r = &mut Reader::new(bytes);
        let mut fields = r.map()?;
        let (mut subject, mut person, mut replaces) = (String::new(), None, None);
        let (mut attachments, mut own) = (Vec::new(), Vec::new());
        for (key, part) in keys(kind) {
            match part {
                Part::Own(field) if field.required => {
                    fields.required(r, key)?;
                    own.push((field.key, Value::read(r, field.sort)?));
                }
                Part::Own(field) => {
                    if fields.optional(r, key) {
                        own.push((field.key, Value::read(r, field.sort)?));
                    }
                }
                Part::Common("subject") => {
                    fields.required(r, key)?;
                    r.text(value::MOST_NAME)?.clone_into(&mut subject);
                }
                Part::Common("person") => {
                    fields.required(r, key)?;
                    person = Some(read_person(r)?);
                }
                Part::Common("replaces") => {
                    if fields.optional(r, key) {
                        replaces = Some(read_replaces(r)?);
                    }
                }
                Part::Common(_) => {
                    fields.required(r, key)?;
                    for _ in 0..value::counted(r, MOST_ATTACHMENTS)? {
                        r.tuple(2)?;
                        attachments.push(Attachment {
                            hash: Hash(r.array_of()?),
                            name: r.text(value::MOST_NAME)?.to_owned(),
                        });
                    }
                }
            }
        }
        fields.finish(r)?;
        r.end()?;
        let place = |key: &str| kind.fields().iter().position(|field| field.key == key);
        own.sort_by_key(|(key, _)| place(key));
        let record = Self {
            kind,
            subject,
            person: person.ok_or(RecordError::Missing("person"))?,
            attachments,
            replaces,
            fields: own,
        };
        record.check()?;
        Ok(record)
    }

    /// What it says in one line, without person and attachments.
    #[must_use]
    pub fn words(&self) -> String {
        let mut parts = Vec::with_capacity(self.fields.len());
        for (key, value) in &self.fields {
            parts.push(format!("{key} {}", value.text().replace('\n', " / ")));
        }
        format!("{}: {}", self.subject, parts.join("; "))
    }
}

fn read_person(r: &mut Reader<'_>) -> Result<Person, CborError> {
    let mut fields = r.map()?;
    let text = |r: &mut Reader<'_>, fields: &mut Fields, key: &str| {
        fields.required(r, key)?;
        r.text(value::MOST_NAME).map(str::to_owned)
    };
    let person = Person {
        id: text(r, &mut fields, "id")?,
        name: text(r, &mut fields, "name")?,
        role: text(r, &mut fields, "role")?,
    };
    fields.finish(r)?;
    Ok(person)
}

fn read_replaces(r: &mut Reader<'_>) -> Result<Replaces, CborError> {
    let mut fields = r.map()?;
    fields.required(r, "leaf")?;
    let leaf = Hash(r.array_of()?);
    fields.required(r, "index")?;
    let index = r.uint()?;
    fields.required(r, "reason")?;
    let reason = r.text(value::MOST_NAME)?.to_owned();
    fields.finish(r)?;
    Ok(Replaces {
        index,
        leaf,
        reason,
    })
}

#[cfg(test)]
mod tests;
