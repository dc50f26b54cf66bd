//! What people carry to and from a collector: the end of a log, its control entries, and revocations.
//!
//! A revocation closes a log for new entries when a stolen key still signs in it, or signed what was not
//! cosigned here before the theft. Nothing stored is touched: what counts of it is the verifier's matter.

use anyhow::Context as _;
use evidence::chain::Chain;
use evidence::control::{Control, kind};
use evidence::cosignature::verify_cosignature;
use evidence::entry::Entry;
use evidence::hash::{Hash, Origin};
use evidence::key::VerifyingKey;
use evidence::note::{Note, Vkey};
use evidence::statement::{Controls, LogEnd, Revocation, Signed, Statement};
use store::{Head, LogId, LogRef, Store};

use crate::admission::CONTROL;
use crate::placing;

/// Rows read at once.
const PAGE: u32 = 256;

/// The name of the fact that a log takes no new entries; its value is the reason in words.
pub(crate) fn closed_name(log: LogRef) -> String {
    format!("closed/{}", hex::encode(log.log.0))
}

/// Finds a log by its name.
async fn find(store: &Store, origin: &str) -> anyhow::Result<(Origin, Head)> {
    let origin = Origin::parse(origin).with_context(|| format!("`{origin}`"))?;
    let known = store.locate(LogId(origin.id().0)).await?;
    let unknown = || format!("no log `{origin}` is enrolled here; `status` lists them");
    let (log, _token) = known.with_context(unknown)?;
    let head = store.head(log).await?.with_context(unknown)?;
    Ok((origin, head))
}

/// The last entry of a log, for the recovery entry of its successor.
///
/// # Errors
///
/// An unknown or empty log, or the store.
pub(crate) async fn log_end(store: &Store, origin: &str) -> anyhow::Result<LogEnd> {
    let (origin, head) = find(store, origin).await?;
    let size = head.log.size;
    let last_index = size.checked_sub(1).context("the log has no entries here")?;
    let rows = store.rows(head.log.log, last_index..size, 1, false).await?;
    let last = rows.last().context("the last entry is missing")?;
    Ok(LogEnd {
        origin,
        last_index,
        last_leaf: Hash(last.leaf),
    })
}

/// Every control entry of a log, for an authority that is to approve one.
///
/// # Errors
///
/// An unknown log, or the store.
pub(crate) async fn controls(store: &Store, origin: &str) -> anyhow::Result<Controls> {
    let (origin, head) = find(store, origin).await?;
    let mut entries = Vec::new();
    let mut after = None;
    loop {
        let kinds = CONTROL..CONTROL + 100;
        let rows = store.rows_of_kind(head.log.log, kinds, after, PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.index);
        for row in rows {
            let signed = Entry::parse(&row.entry)
                .map_err(|rejection| anyhow::anyhow!("entry {}: {rejection}", row.index))?;
            let body = signed.entry.payload_ref().and(row.payload.clone());
            entries.push((row.entry.clone(), body));
        }
    }
    Ok(Controls { origin, entries })
}

/// What a revocation came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// The log takes no new entries any more.
    Closed,
    /// All that the key signed was cosigned here before the theft: it is only kept.
    Kept,
}

/// Takes a revocation in.
///
/// # Errors
///
/// A file that is none, another signer than `authority`, an unknown log or key, or the store.
pub(crate) async fn revoke(
    store: &Store,
    witness: &Vkey,
    file: &[u8],
    authority: &VerifyingKey,
) -> anyhow::Result<(Revocation, Revoked)> {
    let signed = Signed::parse(file)?;
    anyhow::ensure!(
        signed.key == *authority,
        "it is signed by {}, not by the authority you named",
        hex::encode(signed.key.bytes())
    );
    let Statement::Revocation(revocation) = signed.statement else {
        anyhow::bail!("it is an approval; the gateway seals those (`fieldseal-gateway approve`)");
    };
    let (_origin, head) = find(store, revocation.origin.as_str()).await?;
    let log = head.log.log;
    let end = end_of_key(store, &head, revocation.key_id).await?;
    let covered = covered_before(store, &head, witness, revocation.since_s).await?;
    let id = hex::encode(revocation.key_id);
    let kept = format!("revoked/{}/{id}", hex::encode(log.log.0));
    store.put_meta(&kept, file).await?;
    if end.is_some_and(|end| end <= covered) {
        return Ok((revocation, Revoked::Kept));
    }
    let reason = format!(
        "entry key {id} of this log was stolen ({}), and what it signed was not all cosigned here before; \
         begin a new log: another origin and data_dir in gateway.toml, then `fieldseal-gateway init --after` \
         with the old data_dir",
        revocation.reason
    );
    store.put_meta(&closed_name(log), reason.as_bytes()).await?;
    Ok((revocation, Revoked::Closed))
}

/// The index behind the last entry that a key signed; none while it is in force.
async fn end_of_key(store: &Store, head: &Head, key_id: [u8; 8]) -> anyhow::Result<Option<u64>> {
    let chain = Chain::decode(&head.chain)
        .with_context(|| format!("the stored state of log {}", head.log.origin))?;
    if chain.entry_key().is_some_and(|key| key.key_id() == key_id) {
        return Ok(None);
    }
    let log = head.log.log;
    let mut keys = placing::controls(store, log, kind::GENESIS).await?;
    keys.extend(placing::controls(store, log, kind::KEY_ADD).await?);
    let ids: Vec<(u64, [u8; 8])> = keys
        .iter()
        .filter_map(|(index, control)| match control {
            Control::Genesis(genesis) => Some((*index, genesis.entry_key.key_id())),
            Control::KeyAdd(key) => Some((*index, key.key_id())),
            _ => None,
        })
        .collect();
    let position = ids.iter().rposition(|(_, id)| *id == key_id);
    let next = position.and_then(|at| ids.get(at + 1));
    let (index, _) = next.with_context(|| {
        format!(
            "log {} never used an entry key of id {}",
            head.log.origin,
            hex::encode(key_id)
        )
    })?;
    Ok(Some(index + 1))
}

/// The largest size that this collector cosigned before a moment, by the notes it kept.
async fn covered_before(
    store: &Store,
    head: &Head,
    witness: &Vkey,
    unix_s: u64,
) -> anyhow::Result<u64> {
    let mut covered = 0;
    let notes = store
        .trail_notes_by_size(head.log.log, 0, head.log.size)
        .await?;
    for kept in notes {
        let note = Note::parse(&kept.note)?;
        if verify_cosignature(&note, witness)?.is_some_and(|time| time < unix_s) {
            covered = covered.max(kept.size);
        }
    }
    if head.log.cosigned_s < unix_s {
        covered = head.log.size;
    }
    Ok(covered)
}
