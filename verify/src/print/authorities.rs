//! Configurations that nobody approved, and stolen keys.

use super::{Lines, number, utc};
use crate::verdict::{ApprovedOnlyVerdict, LogVerdict, ReportVerdict, Verdict};

pub(super) fn lines(out: &mut Lines, log: &LogVerdict, verdict: &Verdict) {
    let l = out.language;
    let label = "label_approvals";
    if verdict.approvers == 0 {
        out.line(label, l.t("approvals_unchecked"));
    } else if log.unapproved.is_empty() {
        out.line(label, l.t("approvals_all"));
    } else {
        let policy = l.t(if verdict.approvals_required {
            "approvals_required"
        } else {
            "approvals_reported"
        });
        for (at, found) in log.unapproved.iter().enumerate() {
            let since = found.since_ms.and_then(|ms| i64::try_from(ms).ok());
            let since = since.map_or_else(|| l.t("clock_unset"), utc);
            let label = if at == 0 { label } else { "" };
            out.line(
                label,
                l.f(
                    "unapproved",
                    &[&found.index, &since, &number(found.ticks), &policy],
                ),
            );
        }
    }
    for found in &log.revocations {
        let since = i64::try_from(found.since_s).unwrap_or(i64::MAX / 1000);
        let place = found.entry.map_or_else(
            || l.t("revoked_file"),
            |entry| l.f("revoked_entry", &[&entry]),
        );
        let follows = match (found.accepted, found.known, found.void_from) {
            (false, _, _) => l.t("revoked_stranger"),
            (_, false, _) => l.t("revoked_unused"),
            (_, _, Some(from)) => l.f("revoked_void", &[&from]),
            (_, _, None) => l.t("revoked_seen"),
        };
        out.line(
            "label_revoked",
            l.f(
                "revoked",
                &[
                    &found.key_id,
                    &utc(since.saturating_mul(1000)),
                    &place,
                    &found.by,
                    &found.reason,
                    &follows,
                ],
            ),
        );
    }
}

/// What the report would be over approved configurations alone.
pub(super) fn report_line(out: &mut Lines, label: &str, report: &ReportVerdict) {
    let l = out.language;
    match &report.approved_only {
        Some(ApprovedOnlyVerdict {
            er: Some(er),
            credited: Some(credited),
            ..
        }) => out.line(label, l.f("approved_only", &[er, credited])),
        Some(ApprovedOnlyVerdict {
            problem: Some(problem),
            ..
        }) => out.line(label, l.f("approved_only_problem", &[problem])),
        _ => {}
    }
}
