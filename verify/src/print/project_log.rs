//! What people entered, in words.

use super::{Lines, number, utc};
use crate::catalogue::Language;
use crate::verdict::project_log::{ProjectLogVerdict, RecordVerdict};

/// Records that are printed; the JSON has all.
const MOST_RECORDS: usize = 200;

pub(super) fn lines(out: &mut Lines, verdict: &ProjectLogVerdict) {
    let l = out.language;
    let Some(origin) = &verdict.origin else {
        out.line("label_entered", l.t("entered_unwitnessed"));
        if verdict.carried {
            out.line("", l.t("entered_carried"));
        }
        return;
    };
    if !verdict.checked {
        out.line("label_entered", l.f("entered_failed", &[origin]));
        return;
    }
    out.line(
        "label_entered",
        l.f(
            "entered",
            &[
                origin,
                &number(verdict.size),
                &verdict.records.len(),
                &number(verdict.size),
                &verdict.root,
            ],
        ),
    );
    let cosigned: Vec<String> = verdict
        .cosigned
        .iter()
        .map(|(name, count)| l.f("cosigned_one", &[name, &number(*count)]))
        .collect();
    let cosigned = if cosigned.is_empty() {
        l.t("cosigned_none")
    } else {
        cosigned.join(&l.t("list"))
    };
    out.line(
        "",
        l.f("entered_chain", &[&number(verdict.roots), &cosigned]),
    );
    for record in verdict.records.iter().take(MOST_RECORDS) {
        record_lines(out, record);
    }
    let more = verdict.records.len().saturating_sub(MOST_RECORDS);
    if more > 0 {
        out.line("", l.f("entered_more", &[&more]));
    }
    for attachment in &verdict.attachments {
        let key = if attachment.present {
            "attachment_present"
        } else {
            "attachment_absent"
        };
        out.line(
            "label_attachment",
            l.f(
                key,
                &[&attachment.name, &attachment.index, &attachment.sha256],
            ),
        );
    }
}

fn record_lines(out: &mut Lines, record: &RecordVerdict) {
    let l = out.language;
    let fields: Vec<String> = record
        .fields
        .iter()
        .map(|(key, text)| format!("{key} {}", text.replace('\n', " / ")))
        .collect();
    out.line(
        "",
        l.f(
            "record",
            &[
                &record.index,
                &record.kind,
                &record.subject,
                &fields.join("; "),
            ],
        ),
    );
    let (name, role, id) = &record.person;
    let (entered, bracket) = (utc(record.entered_ms), bracket(l, record));
    out.line(
        "",
        l.f(
            "record_by",
            &[name, role, id, &entered, &bracket, &record.class],
        ),
    );
    if let Some((index, reason)) = &record.replaces {
        out.line("", l.f("record_corrects", &[index, reason]));
    }
    if let Some(by) = record.replaced_by {
        out.line("", l.f("record_replaced", &[&by]));
    }
}

/// Between which statements it was entered.
fn bracket(l: Language, record: &RecordVerdict) -> String {
    let seconds = |s: u64| {
        utc(i64::try_from(s)
            .unwrap_or(i64::MAX / 1000)
            .saturating_mul(1000))
    };
    match (record.after_s, record.before_s) {
        (Some(after), Some(before)) => l.f("record_between", &[&seconds(after), &seconds(before)]),
        (None, Some(before)) => l.f("record_before", &[&seconds(before)]),
        (Some(after), None) => l.f("record_after", &[&seconds(after)]),
        (None, None) => l.t("record_unwitnessed"),
    }
}
