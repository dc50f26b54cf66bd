//! Project logs: what people enter at the centre, one log per project.
//!
//! The log lies in the same tables as every log, under a site number of its own, so that rows, tiles
//! and trail notes are read with the same calls ([`Store::rows`], [`Store::hashes`],
//! [`Store::trail_notes_by_size`]) and an entry enters by [`Store::append`] like any other. Two things
//! differ. The writer is the verifier API, whose appends carry its own checkpoint without a
//! cosignature. And the collector's state as a witness is a row of its own ([`Witnessed`]), since the
//! head is not the collector's: it moves only by [`Store::cosign`], by compare-and-swap.

use crate::append::{Append, Appended, apply_append, check_append};
use crate::bulk::Bulk as _;
use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, from_db, hash_from_db, to_db};
use crate::ids::{LogId, LogRef, SiteId, sha256};

/// The longest attachment, in bytes.
pub const MOST_ATTACHMENT_BYTES: usize = 16 << 20;

/// Which log is a project's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectLog {
    /// The project.
    pub project: String,
    /// Where its log lies.
    pub log: LogRef,
    /// The log's name.
    pub origin: String,
    /// The log's public key in text form.
    pub log_vkey: String,
    /// When it was made.
    pub created_ms: i64,
}

/// A project log that begins.
#[derive(Clone, Debug)]
pub struct NewProjectLog {
    /// The project.
    pub project: String,
    /// The log's name.
    pub origin: String,
    /// Its public key (Ed25519).
    pub log_key: [u8; 32],
    /// The same key in text form.
    pub log_vkey: String,
    /// Thirty-two random bytes that no token hashes to: nobody uploads to this log.
    pub token: [u8; 32],
    /// The genesis entry, appended at 0; its log is [`LogRef::of_project`].
    pub genesis: Append,
}

/// The collector's state as a witness of a log that others write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// The size it cosigned last; 0 before the first time.
    pub size: u64,
    /// The root of that size; empty before the first time.
    pub root: Vec<u8>,
    /// The second of that cosignature.
    pub cosigned_s: u64,
    /// The cosigned note; empty before the first time.
    pub note: Vec<u8>,
}

/// A cosignature that is to be given.
#[derive(Clone, Debug)]
pub struct Cosign {
    /// The log.
    pub log: LogRef,
    /// The size of [`Witnessed`] that the caller saw.
    pub old_size: u64,
    /// The size of the checkpoint; not less.
    pub new_size: u64,
    /// Its root.
    pub new_root: [u8; 32],
    /// The note with the cosignature.
    pub note: Vec<u8>,
    /// The cosignature's second; never less than the one before.
    pub cosigned_s: u64,
    /// Now.
    pub now_ms: i64,
}

/// An attachment without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentLine {
    /// SHA-256 of the content.
    pub hash: [u8; 32],
    /// The content's length in bytes.
    pub bytes: u64,
    /// When it came.
    pub created_ms: i64,
}

impl LogRef {
    /// Where the log of a project lies.
    pub fn of_project(project: &str, origin: &str) -> Self {
        Self {
            site: SiteId::of_project(project),
            log: LogId::of_origin(origin),
        }
    }
}

type Raw = (String, i64, Vec<u8>, String, String, i64);

fn from_row(raw: Raw) -> Result<ProjectLog, StoreError> {
    let (project, site, log, origin, log_vkey, created_ms) = raw;
    Ok(ProjectLog {
        project,
        log: LogRef {
            site: SiteId(site),
            log: LogId(hash_from_db("project_logs.log_id", &log)?),
        },
        origin,
        log_vkey,
        created_ms,
    })
}

impl Store {
    /// Begins the log of a project with its genesis entry, all or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if the project has a log or the origin is taken, [`StoreError::Misuse`]
    /// if the genesis append does not start at 0 or is of another log.
    pub async fn create_project_log(&self, new: &NewProjectLog) -> Result<(), StoreError> {
        let genesis = &new.genesis;
        check_append(genesis)?;
        if genesis.old_size != 0 || genesis.log != LogRef::of_project(&new.project, &new.origin) {
            let why = "a project log starts at 0, at its project's place";
            return Err(StoreError::Misuse(why.to_owned()));
        }
        let LogRef { site, log } = genesis.log;
        let now_ms = genesis.now_ms;
        let made = transaction!(self, "create project log", |conn| {
            let entered = sqlx::query(
                "INSERT INTO project_logs (project_id, site_id, log_id, origin, log_vkey, created_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .bind(&*new.project)
            .bind(site.0)
            .bind(&log.0[..])
            .bind(&*new.origin)
            .bind(&*new.log_vkey)
            .bind(now_ms)
            .execute(&mut *conn)
            .await?
            .rows_affected();
            let placed = sqlx::query(
                "INSERT INTO origins (log_id, site_id, origin, token) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(&log.0[..])
            .bind(site.0)
            .bind(&*new.origin)
            .bind(&new.token[..])
            .execute(&mut *conn)
            .await?
            .rows_affected();
            if entered == 1 && placed == 1 {
                sqlx::query(
                    "INSERT INTO logs (site_id, log_id, origin, log_key, log_vkey, size, root, \
                     chain, note, cosigned_s, trail_ms, created_ms, changed_ms) \
                     VALUES ($1, $2, $3, $4, $5, 0, $6, $6, $6, 0, 0, $7, $7)",
                )
                .bind(site.0)
                .bind(&log.0[..])
                .bind(&*new.origin)
                .bind(&new.log_key[..])
                .bind(&*new.log_vkey)
                .bind(&[0u8; 0][..])
                .bind(now_ms)
                .execute(&mut *conn)
                .await?;
                sqlx::query(
                    "INSERT INTO witnessed (site_id, log_id, size, root, cosigned_s, note) \
                     VALUES ($1, $2, 0, $3, 0, $3)",
                )
                .bind(site.0)
                .bind(&log.0[..])
                .bind(&[0u8; 0][..])
                .execute(&mut *conn)
                .await?;
                match apply_append!(conn, genesis) {
                    Appended::At(_) => true,
                    Appended::HeadMoved { .. } => false,
                }
            } else {
                // One of the two rows may have gone in: an error takes it out again.
                return_exists(new)?
            }
        })?;
        if made {
            Ok(())
        } else {
            return_exists(new).map(drop)
        }
    }

    /// Returns the log of a project.
    pub async fn project_log(&self, project: &str) -> Result<Option<ProjectLog>, StoreError> {
        let raw: Option<Raw> = reading!(self, "project log", |conn| {
            sqlx::query_as(
                "SELECT project_id, site_id, log_id, origin, log_vkey, created_ms \
                 FROM project_logs WHERE project_id = $1",
            )
            .bind(project)
            .fetch_optional(&mut *conn)
            .await?
        })?;
        raw.map(from_row).transpose()
    }

    /// Lists the logs of all projects, by project.
    pub async fn project_logs(&self) -> Result<Vec<ProjectLog>, StoreError> {
        let raw: Vec<Raw> = reading!(self, "project logs", |conn| {
            sqlx::query_as(
                "SELECT project_id, site_id, log_id, origin, log_vkey, created_ms \
                 FROM project_logs ORDER BY project_id",
            )
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(from_row).collect()
    }

    /// Returns the collector's state as a witness of a log that others write.
    pub async fn witnessed(&self, log: LogRef) -> Result<Option<Witnessed>, StoreError> {
        let raw: Option<(i64, Vec<u8>, i64, Vec<u8>)> = reading!(self, "witnessed", |conn| {
            sqlx::query_as(
                "SELECT size, root, cosigned_s, note FROM witnessed \
                 WHERE site_id = $1 AND log_id = $2",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .fetch_optional(&mut *conn)
            .await?
        })?;
        let Some((size, root, cosigned_s, note)) = raw else {
            return Ok(None);
        };
        Ok(Some(Witnessed {
            size: from_db("witnessed.size", size)?,
            root,
            cosigned_s: from_db("witnessed.cosigned_s", cosigned_s)?,
            note,
        }))
    }

    /// Moves the collector's state as a witness, keeps the note for ever, and shows it at the head if
    /// the head still has its size; all in one transaction. The note leaves only after it returned.
    ///
    /// # Errors
    ///
    /// [`StoreError::Absent`] if there is no such log, [`StoreError::Misuse`] for a smaller size.
    pub async fn cosign(&self, cosign: &Cosign) -> Result<Appended, StoreError> {
        if cosign.new_size < cosign.old_size {
            let why = "a witness never goes back to a smaller size";
            return Err(StoreError::Misuse(why.to_owned()));
        }
        let (site, log) = (cosign.log.site.0, &cosign.log.log.0[..]);
        let (old, new) = (
            to_db("old size", cosign.old_size)?,
            to_db("new size", cosign.new_size)?,
        );
        let second = to_db("cosignature time", cosign.cosigned_s)?;
        let found: Option<i64> = transaction!(self, "cosign", |conn| {
            let swapped = sqlx::query(
                "UPDATE witnessed SET size = $1, root = $2, cosigned_s = $3, note = $4 \
                 WHERE site_id = $5 AND log_id = $6 AND size = $7 AND cosigned_s <= $3",
            )
            .bind(new)
            .bind(&cosign.new_root[..])
            .bind(second)
            .bind(&*cosign.note)
            .bind(site)
            .bind(log)
            .bind(old)
            .execute(&mut *conn)
            .await?
            .rows_affected();
            if swapped == 1 {
                sqlx::query(
                    "UPDATE logs SET note = $1 WHERE site_id = $2 AND log_id = $3 AND size = $4",
                )
                .bind(&*cosign.note)
                .bind(site)
                .bind(log)
                .bind(new)
                .execute(&mut *conn)
                .await?;
                sqlx::query(
                    "INSERT INTO trail (site_id, log_id, at_ms, size, note) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                )
                .bind(site)
                .bind(log)
                .bind(cosign.now_ms)
                .bind(new)
                .bind(&*cosign.note)
                .execute(&mut *conn)
                .await?;
                Some(-1)
            } else {
                sqlx::query_scalar("SELECT size FROM witnessed WHERE site_id = $1 AND log_id = $2")
                    .bind(site)
                    .bind(log)
                    .fetch_optional(&mut *conn)
                    .await?
            }
        })?;
        match found {
            Some(-1) => Ok(Appended::At(cosign.new_size)),
            Some(size) => Ok(Appended::HeadMoved {
                size: from_db("witnessed.size", size)?,
            }),
            None => Err(StoreError::Absent {
                what: format!("log {}", cosign.log.log),
            }),
        }
    }

    /// Keeps an attachment, once; returns its hash.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misuse`] beyond [`MOST_ATTACHMENT_BYTES`].
    pub async fn put_attachment(
        &self,
        log: LogRef,
        content: &[u8],
        now_ms: i64,
    ) -> Result<[u8; 32], StoreError> {
        if content.len() > MOST_ATTACHMENT_BYTES {
            return Err(StoreError::Misuse(format!(
                "an attachment of {} bytes; at most {MOST_ATTACHMENT_BYTES} are kept",
                content.len()
            )));
        }
        let hash = sha256(content);
        transaction!(self, "put attachment", |conn| {
            sqlx::query(
                "INSERT INTO attachments (site_id, hash, content, created_ms) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            )
            .bind(log.site.0)
            .bind(&hash[..])
            .bind(content)
            .bind(now_ms)
            .execute(&mut *conn)
            .await?;
        })?;
        Ok(hash)
    }

    /// Returns an attachment.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if its content has another hash: nothing wrong is handed out.
    pub async fn attachment(
        &self,
        log: LogRef,
        hash: [u8; 32],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let content: Option<Vec<u8>> = reading!(self, "attachment", |conn| {
            sqlx::query_scalar("SELECT content FROM attachments WHERE site_id = $1 AND hash = $2")
                .bind(log.site.0)
                .bind(&hash[..])
                .fetch_optional(&mut *conn)
                .await?
        })?;
        match content {
            Some(content) if sha256(&content) != hash => Err(StoreError::Damaged(format!(
                "the content of attachment {}",
                hex::encode(hash)
            ))),
            content => Ok(content),
        }
    }

    /// Lists the attachments of a project's log by hash, without their contents.
    pub async fn attachments(&self, log: LogRef) -> Result<Vec<AttachmentLine>, StoreError> {
        let raw: Vec<(Vec<u8>, i64, i64)> = reading!(self, "attachments", |conn| {
            sqlx::query_as(
                "SELECT hash, CAST(LENGTH(content) AS BIGINT), created_ms FROM attachments \
                 WHERE site_id = $1 ORDER BY hash",
            )
            .bind(log.site.0)
            .fetch_all(&mut *conn)
            .await?
        })?;
        let line = |(hash, bytes, created_ms): (Vec<u8>, i64, i64)| {
            Ok(AttachmentLine {
                hash: hash_from_db("attachments.hash", &hash)?,
                bytes: from_db("attachments.content", bytes)?,
                created_ms,
            })
        };
        raw.into_iter().map(line).collect()
    }
}

fn return_exists(new: &NewProjectLog) -> Result<bool, StoreError> {
    Err(StoreError::Exists {
        what: format!(
            "a log of project `{}` or one named `{}`",
            new.project, new.origin
        ),
    })
}
