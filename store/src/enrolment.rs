//! Enrolment: a log enters the store by a code that works once.

use std::fmt;

use crate::append::{Append, Appended, apply_append, check_append};
use crate::bulk::Bulk as _;
use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, hash_from_db};
use crate::ids::{LogRef, SiteId};

/// A single-use enrolment code.
///
/// The secret is kept as it is, not hashed: the collector needs it to check the HMAC that proves
/// that a gateway knows it. It loses its worth when the code is used or expires.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentCode {
    /// The public half, which names the code.
    pub id: String,
    /// The site that a log enrolled with this code will belong to.
    pub site: SiteId,
    /// The secret half.
    pub secret: Vec<u8>,
    /// When it was made.
    pub created_ms: i64,
    /// From this moment on it is worthless.
    pub expires_ms: i64,
    /// When it was used, and by which log.
    pub used: Option<(i64, LogRef)>,
}

impl fmt::Debug for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret: this type ends up in messages.
        f.debug_struct("EnrolmentCode")
            .field("id", &self.id)
            .field("site", &self.site)
            .field("expires_ms", &self.expires_ms)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

/// What [`Store::enrol`] needs.
#[derive(Clone, Debug)]
pub struct Enrol {
    /// The public half of the code.
    pub code_id: String,
    /// The log's origin, already checked.
    pub origin: String,
    /// The log's public key (Ed25519, 32 bytes), already checked.
    pub log_key: [u8; 32],
    /// The same key in the text form that verifiers use.
    pub log_vkey: String,
    /// SHA-256 of the token that the gateway will authenticate with.
    pub token: [u8; 32],
    /// The first append: old size 0, at least the genesis entry.
    pub genesis: Append,
}

/// What became of an enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrolled {
    /// The log is in the store with its genesis entry, and the code is used.
    New(LogRef),
    /// The very same log was there already (an answer got lost on the way, or the gateway lost its
    /// token and was given another code): nothing was appended, the token replaces the old one.
    Again(LogRef),
    /// The code was used by this log, which has delivered since: it has its token, and whoever repeats
    /// the request now would only take it away. Another code gives another token.
    Delivered(LogRef),
    /// No code of this id.
    UnknownCode,
    /// The code's time is over.
    Expired,
    /// The code was used by another log.
    Used,
    /// A log of this origin exists with other first bytes, or at another site.
    OriginTaken,
}

impl Store {
    /// Stores a new enrolment code.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if a code of this id is there.
    pub async fn create_code(&self, code: &EnrolmentCode) -> Result<(), StoreError> {
        let done = transaction!(self, "create enrolment code", |conn| {
            sqlx::query(
                "INSERT INTO enrolment_codes (code_id, site_id, secret, created_ms, expires_ms) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (code_id) DO NOTHING",
            )
            .bind(&*code.id)
            .bind(code.site.0)
            .bind(&*code.secret)
            .bind(code.created_ms)
            .bind(code.expires_ms)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        })?;
        if done == 0 {
            return Err(StoreError::Exists {
                what: format!("enrolment code `{}`", code.id),
            });
        }
        Ok(())
    }

    /// Returns an enrolment code by its id, used or not.
    pub async fn code(&self, id: &str) -> Result<Option<EnrolmentCode>, StoreError> {
        type Raw = (i64, Vec<u8>, i64, i64, Option<i64>, Option<Vec<u8>>);
        let row: Option<Raw> = reading!(self, "enrolment code", |conn| {
            sqlx::query_as(
                "SELECT site_id, secret, created_ms, expires_ms, used_ms, used_by \
                     FROM enrolment_codes WHERE code_id = $1",
            )
            .bind(id)
            .fetch_optional(&mut *conn)
            .await?
        })?;
        let Some((site, secret, created_ms, expires_ms, used_ms, used_by)) = row else {
            return Ok(None);
        };
        let site = SiteId(site);
        let used = match (used_ms, used_by) {
            (Some(at), Some(log)) => {
                let log = crate::ids::LogId(hash_from_db("enrolment_codes.used_by", &log)?);
                Some((at, LogRef { site, log }))
            }
            _ => None,
        };
        Ok(Some(EnrolmentCode {
            id: id.to_owned(),
            site,
            secret,
            created_ms,
            expires_ms,
            used,
        }))
    }

    /// Enters a log: uses the code, creates the head and appends the genesis entry, in one
    /// transaction.
    ///
    /// The caller has checked everything about the material itself (code known to the sender, key,
    /// genesis entry). The site is the code's. `genesis.log.site` must be that site.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misuse`] if the genesis append does not start at 0. That a code or origin is
    /// refused is an answer ([`Enrolled`]), not an error.
    pub async fn enrol(&self, enrol: &Enrol) -> Result<Enrolled, StoreError> {
        check_append(&enrol.genesis)?;
        if enrol.genesis.old_size != 0 {
            return Err(StoreError::Misuse(
                "a genesis append starts at 0".to_owned(),
            ));
        }
        match self.enrol_once(enrol).await {
            // PostgreSQL only: the same origin came in by another code between our look and our
            // insert. Everything was rolled back; the second look sees it.
            Err(StoreError::Database(error)) if is_unique_violation(&error) => {
                self.enrol_once(enrol).await
            }
            outcome => outcome,
        }
    }

    async fn enrol_once(&self, enrol: &Enrol) -> Result<Enrolled, StoreError> {
        let genesis = &enrol.genesis;
        let LogRef { site, log } = genesis.log;
        let now_ms = genesis.now_ms;
        transaction!(self, "enrol", |conn| {
            // Everything that refuses is looked at before anything is written, so that a refusal
            // leaves the code unused.
            let code: Option<(i64, i64, Option<Vec<u8>>)> = sqlx::query_as(
                "SELECT site_id, expires_ms, used_by FROM enrolment_codes WHERE code_id = $1",
            )
            .bind(&*enrol.code_id)
            .fetch_optional(&mut *conn)
            .await?;
            let known: Option<(i64, Vec<u8>, i64)> = sqlx::query_as(
                "SELECT s.site_id, s.entry, l.size FROM origins o JOIN segments s \
                 ON s.site_id = o.site_id AND s.log_id = o.log_id AND s.idx = 0 \
                 JOIN logs l ON l.site_id = o.site_id AND l.log_id = o.log_id \
                 WHERE o.log_id = $1",
            )
            .bind(&log.0[..])
            .fetch_optional(&mut *conn)
            .await?;
            let first = genesis.rows.first().map(|row| &*row.entry);
            let refused = match (&code, &known) {
                (None, _) => Some(Enrolled::UnknownCode),
                (Some((_, _, Some(by))), _) if by[..] != log.0[..] => Some(Enrolled::Used),
                (Some((_, expires_ms, _)), _) if *expires_ms <= now_ms => Some(Enrolled::Expired),
                (Some((code_site, _, _)), _) if *code_site != site.0 => Some(Enrolled::OriginTaken),
                (_, Some((held_site, held, _)))
                    if *held_site != site.0 || Some(&**held) != first =>
                {
                    Some(Enrolled::OriginTaken)
                }
                // Entries come in under the token only: the answer has arrived.
                (Some((_, _, Some(_))), Some((_, _, size))) if *size > 1 => {
                    Some(Enrolled::Delivered(genesis.log))
                }
                _ => None,
            };
            if let Some(refused) = refused {
                refused
            } else {
                let used = sqlx::query(
                    "UPDATE enrolment_codes SET used_ms = $1, used_by = $2 \
                     WHERE code_id = $3 AND (used_by IS NULL OR used_by = $2)",
                )
                .bind(now_ms)
                .bind(&log.0[..])
                .bind(&*enrol.code_id)
                .execute(&mut *conn)
                .await?
                .rows_affected();
                if used == 0 {
                    // PostgreSQL only: another log took the code between the two statements.
                    Enrolled::Used
                } else if known.is_some() {
                    sqlx::query("UPDATE origins SET token = $1 WHERE log_id = $2")
                        .bind(&enrol.token[..])
                        .bind(&log.0[..])
                        .execute(&mut *conn)
                        .await?;
                    Enrolled::Again(genesis.log)
                } else {
                    sqlx::query(
                        "INSERT INTO origins (log_id, site_id, origin, token) \
                         VALUES ($1, $2, $3, $4)",
                    )
                    .bind(&log.0[..])
                    .bind(site.0)
                    .bind(&*enrol.origin)
                    .bind(&enrol.token[..])
                    .execute(&mut *conn)
                    .await?;
                    sqlx::query(
                        "INSERT INTO logs (site_id, log_id, origin, log_key, log_vkey, size, root, \
                         chain, note, cosigned_s, trail_ms, created_ms, changed_ms) \
                         VALUES ($1, $2, $3, $4, $5, 0, $6, $6, $6, 0, 0, $7, $7)",
                    )
                    .bind(site.0)
                    .bind(&log.0[..])
                    .bind(&*enrol.origin)
                    .bind(&enrol.log_key[..])
                    .bind(&*enrol.log_vkey)
                    .bind(&[0u8; 0][..])
                    .bind(now_ms)
                    .execute(&mut *conn)
                    .await?;
                    match apply_append!(conn, genesis) {
                        Appended::At(_) => Enrolled::New(genesis.log),
                        Appended::HeadMoved { .. } => Enrolled::OriginTaken,
                    }
                }
            }
        })
    }
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
