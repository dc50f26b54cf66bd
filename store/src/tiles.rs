//! Hashes for tiles and proofs, kept so that the log is never read again to serve them.
//!
//! Level 0 is the leaf hash in every row; levels 8, 16, ... are hashes of complete subtrees of
//! 256, 65,536, ... leaves, written in the transaction that completes them. Levels between are at
//! most 255 hashes away.

use crate::engine::{Store, reading};
use crate::error::{StoreError, hash_from_db, to_db};
use crate::ids::LogRef;

/// Leaves per tile, and hashes of one kept level below one of the next.
pub(crate) const WIDTH: u64 = 256;

/// Writes the hashes of all subtrees that became complete between two sizes.
macro_rules! store_complete_tiles {
    ($conn:ident, $log:expr, $old:expr, $new:expr) => {{
        let (log, mut old, mut new): ($crate::LogRef, u64, u64) = ($log, $old, $new);
        let mut level: i64 = 0;
        loop {
            (old, new) = (old / $crate::tiles::WIDTH, new / $crate::tiles::WIDTH);
            if old == new {
                break;
            }
            for tile in old..new {
                let first = $crate::error::to_db("tile", tile * $crate::tiles::WIDTH)?;
                let past = $crate::error::to_db("tile", (tile + 1) * $crate::tiles::WIDTH)?;
                let below: Vec<(Vec<u8>,)> = if level == 0 {
                    sqlx::query_as(
                        "SELECT leaf FROM segments WHERE site_id = $1 AND log_id = $2 \
                         AND idx >= $3 AND idx < $4 ORDER BY idx",
                    )
                    .bind(log.site.0)
                    .bind(&log.log.0[..])
                    .bind(first)
                    .bind(past)
                    .fetch_all(&mut *$conn)
                    .await?
                } else {
                    sqlx::query_as(
                        "SELECT hash FROM nodes WHERE site_id = $1 AND log_id = $2 AND level = $3 \
                         AND idx >= $4 AND idx < $5 ORDER BY idx",
                    )
                    .bind(log.site.0)
                    .bind(&log.log.0[..])
                    .bind(level)
                    .bind(first)
                    .bind(past)
                    .fetch_all(&mut *$conn)
                    .await?
                };
                let hash = $crate::tiles::root_of_tile(&below)?;
                sqlx::query(
                    "INSERT INTO nodes (site_id, log_id, level, idx, hash) \
                     VALUES ($1, $2, $3, $4, $5)",
                )
                .bind(log.site.0)
                .bind(&log.log.0[..])
                .bind(level + 8)
                .bind($crate::error::to_db("tile", tile)?)
                .bind(&hash[..])
                .execute(&mut *$conn)
                .await?;
            }
            level += 8;
        }
    }};
}

pub(crate) use store_complete_tiles;

/// The root of a complete tile.
pub(crate) fn root_of_tile(hashes: &[(Vec<u8>,)]) -> Result<[u8; 32], StoreError> {
    let mut hashes = hashes
        .iter()
        .map(|(hash,)| hash_from_db("hash of a tile", hash))
        .collect::<Result<Vec<_>, _>>()?;
    if to_db("tile width", WIDTH)? != i64::try_from(hashes.len()).unwrap_or(-1) {
        return Err(StoreError::Damaged(format!(
            "a full tile has {} hashes",
            hashes.len()
        )));
    }
    while hashes.len() > 1 {
        hashes = hashes
            .chunks(2)
            .map(|pair| {
                let mut context = ring::digest::Context::new(&ring::digest::SHA256);
                context.update(&[1]);
                for hash in pair {
                    context.update(hash);
                }
                let mut node = [0; 32];
                node.copy_from_slice(context.finish().as_ref());
                node
            })
            .collect();
    }
    hashes
        .pop()
        .ok_or_else(|| StoreError::Damaged("a full tile has no hash".to_owned()))
}

impl Store {
    /// Returns hashes of one kept level (0, 8, 16, ...), indices `[from, to)` of that level,
    /// ascending; fewer, or none, where the log ends. Index `i` of level `l` covers the leaves
    /// `[i << l, (i + 1) << l)`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misuse`] for a level that is not kept or more than 65,536 hashes at once.
    pub async fn hashes(
        &self,
        log: LogRef,
        level: u8,
        from: u64,
        to: u64,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        if !level.is_multiple_of(8) || level > 56 || to.saturating_sub(from) > 65_536 {
            return Err(StoreError::Misuse(format!(
                "hashes {from}..{to} of level {level}: kept are levels 0, 8, ..., 56, at most \
                 65,536 at once"
            )));
        }
        let (first, past) = (to_db("first hash", from)?, to_db("last hash", to)?);
        let raw: Vec<(Vec<u8>,)> = if level == 0 {
            reading!(self, "leaf hashes", |conn| {
                sqlx::query_as(
                    "SELECT leaf FROM segments WHERE site_id = $1 AND log_id = $2 \
                     AND idx >= $3 AND idx < $4 ORDER BY idx",
                )
                .bind(log.site.0)
                .bind(&log.log.0[..])
                .bind(first)
                .bind(past)
                .fetch_all(&mut *conn)
                .await?
            })?
        } else {
            reading!(self, "node hashes", |conn| {
                sqlx::query_as(
                    "SELECT hash FROM nodes WHERE site_id = $1 AND log_id = $2 AND level = $3 \
                     AND idx >= $4 AND idx < $5 ORDER BY idx",
                )
                .bind(log.site.0)
                .bind(&log.log.0[..])
                .bind(i64::from(level))
                .bind(first)
                .bind(past)
                .fetch_all(&mut *conn)
                .await?
            })?
        };
        raw.iter()
            .map(|(hash,)| hash_from_db("stored hash", hash))
            .collect()
    }
}
