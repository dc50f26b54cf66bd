//! What people entered, in words.

use super::{Lines, number, utc};
use crate::verdict::project_log::{ProjectLogVerdict, RecordVerdict};

/// Records that are printed; the JSON has all.
const MOST_RECORDS: usize = 200;

pub(super) fn lines(out: &mut Lines, verdict: &ProjectLogVerdict) {
    let Some(origin) = &verdict.origin else {
        let carried = if verdict.carried {
            " (the bundle carries one; without its key in your plan it proves nothing)"
        } else {
            ""
        };
        out.line(
            "entered",
            &format!(
                "NOT WITNESSED: your plan names no [project_log]{carried}; what people entered by hand, \
                 certificates included, is as the report says and nothing proves when it was entered"
            ),
        );
        return;
    };
    if !verdict.checked {
        out.line(
            "entered",
            &format!("the proof of {origin} failed; nothing of it is confirmed"),
        );
        return;
    }
    let cosigned: Vec<String> = verdict
        .cosigned
        .iter()
        .map(|(name, count)| format!("{name} {}x", number(*count)))
        .collect();
    out.line(
        "entered",
        &format!(
            "{origin}   {} entries, {} records   root at {}  {}",
            number(verdict.size),
            verdict.records.len(),
            number(verdict.size),
            verdict.root
        ),
    );
    out.line(
        "",
        &format!(
            "signatures and chain unbroken, {} checkpoint roots reproduced, cosigned by {}",
            number(verdict.roots),
            if cosigned.is_empty() {
                "nobody: the policy names no witness".to_owned()
            } else {
                cosigned.join(", ")
            }
        ),
    );
    for record in verdict.records.iter().take(MOST_RECORDS) {
        record_lines(out, record);
    }
    let more = verdict.records.len().saturating_sub(MOST_RECORDS);
    if more > 0 {
        out.line("", &format!("and {more} more records; --json lists all"));
    }
    for attachment in &verdict.attachments {
        let state = if attachment.present {
            "in the bundle, the file that was entered"
        } else {
            "not in the bundle: declared by its hash only"
        };
        out.line(
            "attachment",
            &format!(
                "{} (#{})  sha256 {}: {state}",
                attachment.name, attachment.index, attachment.sha256
            ),
        );
    }
}

fn record_lines(out: &mut Lines, record: &RecordVerdict) {
    let fields: Vec<String> = record
        .fields
        .iter()
        .map(|(key, text)| format!("{key} {}", text.replace('\n', " / ")))
        .collect();
    out.line(
        "",
        &format!(
            "#{} {} {}: {}",
            record.index,
            record.kind,
            record.subject,
            fields.join("; ")
        ),
    );
    let (name, role, id) = &record.person;
    let seconds = |s: u64| {
        utc(i64::try_from(s)
            .unwrap_or(i64::MAX / 1000)
            .saturating_mul(1000))
    };
    let bracket = match (record.after_s, record.before_s) {
        (Some(after), Some(before)) => {
            format!("proven between {} and {}", seconds(after), seconds(before))
        }
        (None, Some(before)) => format!("proven before {}, no earlier bound", seconds(before)),
        (Some(after), None) => format!("proven after {}, nobody cosigned", seconds(after)),
        (None, None) => "at a time that nobody witnessed".to_owned(),
    };
    out.line(
        "",
        &format!(
            "   by {name} ({role}, {id}) on {}; {bracket}; class {}",
            utc(record.entered_ms),
            record.class
        ),
    );
    if let Some((index, reason)) = &record.replaces {
        out.line("", &format!("   corrects #{index}: {reason}"));
    }
    if let Some(by) = record.replaced_by {
        out.line(
            "",
            &format!("   REPLACED by #{by}, shown as it was entered"),
        );
    }
}
