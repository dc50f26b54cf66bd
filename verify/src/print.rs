//! The verdict in words, for somebody who is not a cryptographer.

use std::fmt::Write as _;

use evidence::quality::Quality;

use crate::verdict::{
    ApprovedOnlyVerdict, ForkVerdict, LogVerdict, StreamVerdict, TimeVerdict, Verdict,
};

mod project_log;

/// Failures that are printed; the JSON has all.
const MOST_FAILURES: usize = 30;
/// Ranges of a weaker class that are printed.
const MOST_RUNS: usize = 8;

/// The whole text.
pub(crate) fn text(verdict: &Verdict) -> String {
    let mut out = Lines(String::new());
    let period = &verdict.period;
    let claimed = if period.claimed {
        " (as the report claims; give --from and --to to decide it yourself)"
    } else {
        ""
    };
    out.line(
        "period",
        &format!(
            "{} to {} in {}, {} to {}{claimed}",
            period.from,
            period.to,
            period.zone,
            utc(period.from_ms),
            utc(period.to_ms)
        ),
    );
    let plan = if verdict.plan_equal {
        "the bundle carries the same"
    } else {
        "the bundle carries another one; yours decides"
    };
    out.line("plan", &format!("sha256 {}, {plan}", verdict.plan_sha256));
    for log in &verdict.logs {
        log_lines(&mut out, log, verdict);
    }
    hand_overs(&mut out, verdict);
    project_log::lines(&mut out, &verdict.project_log);
    report_lines(&mut out, verdict);
    for fork in &verdict.forks {
        fork_lines(&mut out, fork);
    }
    for failure in verdict.failures.iter().take(MOST_FAILURES) {
        out.line("FAILED", &failure.text);
    }
    let more = verdict.failures.len().saturating_sub(MOST_FAILURES);
    if more > 0 {
        out.line("FAILED", &format!("and {more} more; --json lists all"));
    }
    conclusion(&mut out, verdict);
    out.0
}

/// Lines with a label in front.
struct Lines(String);

impl Lines {
    fn line(&mut self, label: &str, text: &str) {
        writeln!(self.0, "{label:<13}{text}").expect("a String takes every write");
    }

    fn plain(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }
}

fn log_lines(out: &mut Lines, log: &LogVerdict, verdict: &Verdict) {
    out.line(
        "log",
        &format!(
            "{}   entries {}..{}   root at {}  {}",
            log.origin,
            number(log.first),
            number(log.size.saturating_sub(1)),
            number(log.size),
            log.root
        ),
    );
    if !log.complete {
        out.line(
            "",
            "the proof of this log stopped; the failure below says where",
        );
        return;
    }
    let entries = log.size - log.first;
    out.line(
        "signatures",
        &format!(
            "{} entries, {} entry {} (Ed25519), 1 log key          all valid",
            number(entries),
            number(log.entry_keys),
            if log.entry_keys == 1 { "key" } else { "keys" }
        ),
    );
    for (key, hours) in &log.long_keys {
        out.line(
            "",
            &format!("entry key {key} was in use for {hours} h, longer than 25 h"),
        );
    }
    let cosigned: Vec<String> = log
        .cosigned
        .iter()
        .map(|(name, count)| format!("{name} {}x", number(*count)))
        .collect();
    out.line(
        "cosigned by",
        &if cosigned.is_empty() {
            "nobody: the policy names no witness".to_owned()
        } else {
            cosigned.join(", ")
        },
    );
    out.line("", &quorum(verdict, log.quorum_met));
    out.line("order", &format!(
        "index and hash chain unbroken, {} control entries proven, {} checkpoint roots reproduced",
        number(log.controls), number(log.roots)
    ));
    remembered_lines(out, log);
    for stream in &log.streams {
        stream_lines(out, stream);
    }
    if log.dropped > 0 {
        out.line(
            "",
            &format!(
                "{} payloads were declared dropped by the gateway (counted as gap \"storage\")",
                number(log.dropped)
            ),
        );
    }
    match log.disclosure {
        'B' => out.line(
            "disclosure",
            &format!(
                "class B: readings of {} listed points are shown ({}); of the others only hashes",
                number(u64::try_from(log.disclosed.len()).unwrap_or(u64::MAX)),
                log.disclosed.join(", ")
            ),
        ),
        'C' => out.line(
            "disclosure",
            "class C: no reading is shown; order, completeness and time are proven all the same",
        ),
        _ => {}
    }
    let bad: u64 = log.not_good.values().sum();
    out.line(
        "quality",
        &format!(
            "{} samples, {} good, {} flagged or without value{}",
            number(log.samples),
            percent(log.samples - bad.min(log.samples), log.samples),
            number(bad),
            codes(log)
        ),
    );
    time_lines(out, &log.time);
    class_lines(out, log);
    for event in &log.events {
        if matches!(event.kind, "key" | "genesis") {
            continue;
        }
        let approval = match (&event.approved_by, event.changes_values) {
            (Some(key), _) => format!(" (approved: key {key})"),
            (None, true) => " (NOT APPROVED by a key you named)".to_owned(),
            (None, false) => String::new(),
        };
        out.line(
            "log says",
            &format!("#{} {}: {}{approval}", event.index, event.kind, event.text),
        );
    }
    authority_lines(out, log, verdict);
}

/// Configurations that nobody approved, and stolen keys.
fn authority_lines(out: &mut Lines, log: &LogVerdict, verdict: &Verdict) {
    let label = "approvals";
    if verdict.approvers == 0 {
        out.line(
            label,
            "you named no authority (--approver): who approved the configurations was not checked",
        );
    } else if log.unapproved.is_empty() {
        out.line(
            label,
            "every configuration used in the period is approved by an authority you named",
        );
    } else {
        let policy = if verdict.approvals_required {
            "required by you"
        } else {
            "reported; with --approvals required this is a failure"
        };
        for (at, found) in log.unapproved.iter().enumerate() {
            let since = found.since_ms.and_then(|ms| i64::try_from(ms).ok());
            let since = since.map_or_else(|| "an unset clock".to_owned(), utc);
            let label = if at == 0 { label } else { "" };
            out.line(
                label,
                &format!(
                    "configuration #{} is NOT APPROVED since {since}: {} measured ticks of the period ({policy})",
                    found.index,
                    number(found.ticks)
                ),
            );
        }
    }
    for found in &log.revocations {
        let since = i64::try_from(found.since_s).unwrap_or(i64::MAX / 1000);
        let place = found
            .entry
            .map_or_else(|| "your file".to_owned(), |entry| format!("entry #{entry}"));
        let follows = match (found.accepted, found.known, found.void_from) {
            (false, _, _) => "its signer is no authority you named, so nothing follows".to_owned(),
            (_, false, _) => "this log never used that key, so nothing follows".to_owned(),
            (_, _, Some(from)) => format!("everything from entry #{from} on is void"),
            (_, _, None) => {
                "witnesses had seen all it signed before, so nothing is void".to_owned()
            }
        };
        out.line(
            "revoked",
            &format!(
                "entry key {}, stolen since {} ({place}, by {}): {}; {follows}",
                found.key_id,
                utc(since.saturating_mul(1000)),
                found.by,
                found.reason
            ),
        );
    }
}

/// Both notes, whole: with them anybody can prove the fork.
fn fork_lines(out: &mut Lines, fork: &ForkVerdict) {
    out.line(
        "FORK",
        &format!(
            "{} has two histories; keep both notes, each is signed by the log's own key",
            fork.log
        ),
    );
    for (what, note) in [
        ("seen before", &fork.remembered),
        ("in this bundle", &fork.found),
    ] {
        out.plain(&format!("--- {what}"));
        out.plain(note.trim_end_matches('\n'));
    }
    out.plain("---");
}

fn remembered_lines(out: &mut Lines, log: &LogVerdict) {
    let of = |now: &str| -> Vec<String> {
        let known = log.remembered.iter().filter(|known| known.now == now);
        known.map(|known| number(known.size)).collect()
    };
    let texts = [
        (
            "continued",
            "this tree continues the checkpoints seen before of size",
        ),
        (
            "forked",
            "this tree CONTRADICTS the checkpoints seen before of size",
        ),
        (
            "older",
            "this bundle is OLDER than what was seen before: the log had already the size",
        ),
        (
            "before",
            "not comparable, because the bundle begins behind it (ask for one that begins earlier): size",
        ),
        ("open", "not reached: size"),
    ];
    for (now, text) in texts {
        let sizes = of(now);
        if !sizes.is_empty() {
            out.line("earlier", &format!("{text} {}", sizes.join(", ")));
        }
    }
}

fn quorum(verdict: &Verdict, met: u64) -> String {
    let policy = &verdict.policy;
    let needed = match policy.split_view_witnesses.as_slice() {
        [] => "a split view would have needed no dishonest witness".to_owned(),
        names => format!(
            "a split view would have needed {} dishonest {}: {}",
            policy.split_view_number,
            if names.len() == 1 {
                "witness"
            } else {
                "witnesses"
            },
            names.join(" and ")
        ),
    };
    format!(
        "quorum \"{}\": met {}x; {needed}",
        policy.quorum,
        number(met)
    )
}

fn stream_lines(out: &mut Lines, stream: &StreamVerdict) {
    let declared: u64 = stream.gaps.values().map(|gap| gap.ticks).sum();
    let relevance = if stream.relevant {
        ""
    } else {
        ", not used by the plan"
    };
    out.line("completeness", &format!(
        "stream {} ({} ms{relevance}): {} ticks expected = {} measured + {} declared gap + {} holes - {} covered twice   (0 unexplained)",
        stream.stream, stream.tick_ms, number(stream.expected), number(stream.measured), number(declared),
        number(stream.holes), number(stream.overlaps)
    ));
    let tick = |ticks: u64| duration(ticks.saturating_mul(u64::from(stream.tick_ms)) / 1000);
    let mut gaps: Vec<String> = stream
        .gaps
        .iter()
        .filter(|(_, gap)| gap.ticks > 0)
        .map(|(reason, gap)| format!("{reason} {} ({})", number(gap.entries), tick(gap.ticks)))
        .collect();
    if stream.holes > 0 {
        gaps.push(format!("holes ({})", tick(stream.holes)));
    }
    if let Some((from, to)) = stream.longest_gap_ms {
        out.line(
            "",
            &format!(
                "gaps: {}   longest {} to {}",
                gaps.join(", "),
                utc(from),
                utc(to)
            ),
        );
    }
    if stream.unplaced > 0 {
        out.line("", &format!("{} ticks never got a time; they prove that registers went on and are no value of any hour", number(stream.unplaced)));
    }
}

fn codes(log: &LogVerdict) -> String {
    if log.not_good.is_empty() {
        return String::new();
    }
    let names: Vec<String> = log
        .not_good
        .iter()
        .map(|(code, count)| {
            let name = Quality::from_code(*code).map_or("good", Quality::name);
            format!("{name} {}", number(*count))
        })
        .collect();
    format!(" ({})", names.join(", "))
}

fn time_lines(out: &mut Lines, time: &TimeVerdict) {
    let all = time.within.iter().sum::<u64>() + time.no_lower + time.no_upper;
    if all == 0 {
        return;
    }
    let labels = [
        "within 5 min",
        "within 70 min",
        "within a day",
        "within a week",
        "more than a week apart",
    ];
    let mut parts: Vec<String> = labels
        .iter()
        .zip(time.within)
        .filter(|(_, ticks)| *ticks > 0)
        .map(|(label, ticks)| format!("{} {label}", percent(ticks, all)))
        .collect();
    if time.no_lower > 0 {
        parts.push(format!(
            "{} without a lower bound (no outside statement was pinned)",
            percent(time.no_lower, all)
        ));
    }
    if time.no_upper > 0 {
        parts.push(format!(
            "{} without an upper bound (nobody cosigned)",
            percent(time.no_upper, all)
        ));
    }
    out.line(
        "time",
        &format!(
            "ticks bracketed between statements of witnesses: {}; {} entries outside their bracket",
            parts.join(", "),
            number(time.outside)
        ),
    );
    let widest = if time.widest_s > 0 {
        format!("widest bracket {}; ", duration(time.widest_s))
    } else {
        String::new()
    };
    if time.no_upper < all {
        out.line(
            "",
            &format!(
                "{widest}witnesses vouched at most {} after the claimed time",
                duration(time.latest_s)
            ),
        );
    }
    if time.pins_unknown > 0 {
        out.line("", &format!("{} entries pin a statement that is not in the bundle or not by your witnesses: it proves nothing", number(time.pins_unknown)));
    }
    let names = [
        "class 0 (gateway signature only)",
        "class 1 (collector's cosignature)",
        "class 2 (independent witness)",
    ];
    let classes: Vec<String> = names
        .iter()
        .zip(time.classes)
        .filter(|(_, ticks)| *ticks > 0)
        .map(|(name, ticks)| format!("{} {name}", percent(ticks, all)))
        .collect();
    out.line("", &classes.join(", "));
    timestamp_lines(out, time, all);
}

/// What timestamps add: a time by a body that knows nothing of logs, and no word about other histories.
fn timestamp_lines(out: &mut Lines, time: &TimeVerdict, all: u64) {
    let (present, verified) = (number(time.timestamps), number(time.timestamps_verified));
    if time.timestamps == 0 {
        return;
    }
    if !time.timestamps_checked {
        out.line(
            "timestamps",
            &format!("{present} present, NOT checked: give --timestamp-roots, or use openssl as the bundle's README.txt says"),
        );
        return;
    }
    out.line(
        "timestamps",
        &format!(
            "{verified} of {present} verified under your roots; they cover {} of the ticks in time",
            percent(time.stamped, all)
        ),
    );
    if let Some(why) = &time.timestamp_error {
        out.line("", &format!("not verified: {why}"));
    }
}

/// Whether verified timestamps cover every measured tick of every log.
fn all_stamped(verdict: &Verdict) -> bool {
    verdict.logs.iter().all(|log| {
        let measured: u64 = log.time.classes.iter().sum();
        log.time.stamped == measured
    })
}

/// Where the class is below the best one reached, range by range.
fn class_lines(out: &mut Lines, log: &LogVerdict) {
    let best = log.class_runs.iter().map(|run| run.0).max();
    let weaker = || log.class_runs.iter().filter(|run| Some(run.0) != best);
    for (class, first, last, from_ms, to_ms) in weaker().take(MOST_RUNS) {
        out.line(
            "",
            &format!(
                "class {class} only: entries {first} to {last}, ticks up to {} to {}",
                utc(*from_ms),
                utc(*to_ms)
            ),
        );
    }
    let more = weaker().count().saturating_sub(MOST_RUNS);
    if more > 0 {
        out.line("", &format!("and {more} more ranges; --json lists them"));
    }
}

fn hand_overs(out: &mut Lines, verdict: &Verdict) {
    for seam in &verdict.hand_overs {
        let gap = u64::try_from(seam.begins_ms - seam.ends_ms).unwrap_or(0) / 1000;
        let sealed = if seam.sealed {
            "named in the successor's log"
        } else {
            "named in the plan only"
        };
        out.line(
            "hand-over",
            &format!(
                "point {}: {} until {}, {} from {}, gap {} ({sealed})",
                seam.number,
                seam.from,
                utc(seam.ends_ms),
                seam.to,
                utc(seam.begins_ms),
                duration(gap)
            ),
        );
    }
}

fn report_lines(out: &mut Lines, verdict: &Verdict) {
    let report = &verdict.report;
    if let (Some(er), Some(credited)) = (&report.er, &report.credited) {
        let claim = match (report.claimed, report.equal) {
            (true, true) => " = claimed",
            (true, false) => ", NOT as claimed",
            (false, _) => "; the bundle claims nothing",
        };
        out.line(
            "report",
            &format!("recomputed ER {er} t, credited {credited} t{claim}"),
        );
        for (name, value, unit) in &report.parameters {
            out.line("", &format!("{name} = {value} {unit}"));
        }
        if report.cells_differ > 0 {
            out.line("", &format!("{} cells differ", number(report.cells_differ)));
        }
        match &report.approved_only {
            Some(ApprovedOnlyVerdict {
                er: Some(er),
                credited: Some(credited),
                ..
            }) => out.line(
                "",
                &format!("counting approved configurations only: ER {er} t, credited {credited} t"),
            ),
            Some(ApprovedOnlyVerdict {
                problem: Some(problem),
                ..
            }) => out.line(
                "",
                &format!("counting approved configurations only, it cannot be computed: {problem}"),
            ),
            _ => {}
        }
    }
}

fn conclusion(out: &mut Lines, verdict: &Verdict) {
    let data_fails = verdict.failures.iter().any(|failure| failure.exit != 5);
    let class = match verdict.class {
        _ if data_fails => None,
        Some(2) => Some("class 2 (independent witness, software key)"),
        Some(1) if all_stamped(verdict) => Some(
            "class 1 with a timestamp authority (witnessed by the collector and stamped, software key; nobody independent says that there is no second history)",
        ),
        Some(1) => Some(
            "class 1 (witnessed by the collector, software key; nobody independent, or too late)",
        ),
        Some(_) => Some("class 0 (gateway signature only)"),
        None => Some("nothing was measured in the period"),
    };
    match class {
        Some(class) => out.plain(&format!("DATA INTEGRITY: CONFIRMED, {class}")),
        None => out.plain("DATA INTEGRITY: NOT CONFIRMED"),
    }
    let report = &verdict.report;
    out.plain(match (report.claimed, report.recomputed, report.equal) {
        (_, false, _) if data_fails => {
            "REPORT ARITHMETIC: NOT CHECKED, because the data are not confirmed"
        }
        (_, false, _) if !report.hidden.is_empty() => "REPORT ARITHMETIC: NOT CHECKED as a whole",
        (_, false, _) => "REPORT ARITHMETIC: NOT REPRODUCED, the readings do not fit the plan",
        (true, true, true) if !report.provisional_reasons.is_empty() => {
            "REPORT ARITHMETIC: REPRODUCED, but the report is PROVISIONAL"
        }
        (true, true, true) => "REPORT ARITHMETIC: REPRODUCED",
        (true, true, false) => "REPORT ARITHMETIC: DIFFERS",
        (false, true, _) => "REPORT ARITHMETIC: nothing claimed; the figures above are recomputed",
    });
    if !report.hidden.is_empty() {
        out.plain(&format!(
            "  the readings of {} are not all shown: totals and whatever rests on them were not computed",
            report.hidden.join(", ")
        ));
        if !report.compared.is_empty() {
            let differ = report.cells_differ > 0;
            out.plain(&format!(
                "  recomputed from what is shown and {}: {}",
                if differ {
                    "NOT as claimed"
                } else {
                    "equal to the claim"
                },
                report.compared.join(", ")
            ));
        }
    }
    for reason in &report.provisional_reasons {
        out.plain(&format!("  provisional because {reason}"));
    }
    if verdict.exit == 1 {
        out.plain(&format!(
            "GAPS: {} of a stream or between two logs is unmeasured, more than the limit of {}",
            percent(verdict.unmeasured_ppm, 1_000_000),
            percent(verdict.unmeasured_limit_ppm, 1_000_000)
        ));
    }
    out.plain("This is not a verification opinion.");
    if !data_fails {
        out.plain(&collusion(verdict));
    }
    out.plain("NOT PROVEN by cryptography: that sensors told the truth, were installed as described, or were calibrated; \
anything before the gateway's bus input.");
    let samples: u64 = verdict.logs.iter().map(|log| log.samples).sum();
    out.plain(&format!(
        "{} readings verified; bundle sha256 {}; exit code {}",
        number(samples),
        verdict.bundle_sha256,
        verdict.exit
    ));
}

/// The most useful line for a non-cryptographer: who would have had to work together.
fn collusion(verdict: &Verdict) -> String {
    let who = verdict.policy.split_view_witnesses.join(" AND ");
    if who.is_empty() {
        "To alter a reading unnoticed someone needed: that day's entry key AND the log key, at any time. Your policy asks for no witness \
whose lie it would take.".to_owned()
    } else {
        let latest_s = verdict.logs.iter().map(|log| log.time.latest_s).max();
        let before = latest_s.map_or(String::new(), |seconds| {
            format!(
                " Before a reading was cosigned, here at most {} after it was taken, the two gateway keys alone sufficed.",
                duration(seconds)
            )
        });
        format!(
            "To alter a cosigned reading unnoticed someone needed: that day's entry key AND the log key AND {who}.{before}"
        )
    }
}

/// `129 609`
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `99.982 %`, never rounded up to 100.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part == whole {
        return "100 %".to_owned();
    }
    let thousandths = u128::from(part) * 100_000 / u128::from(whole);
    format!("{}.{:03} %", thousandths / 1000, thousandths % 1000)
}

/// `3 d 4 h`, `1 h 5 min`, `40 s`
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn utc(ms: i64) -> String {
    quantification::period::utc(ms)
}

#[cfg(test)]
mod tests {
    use super::{duration, number, percent};

    #[test]
    fn numbers_read_easily_and_a_share_is_never_rounded_up() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(number),
            ["0", "999", "1 000", "1 234 567"]
        );
        assert_eq!(percent(999_999, 1_000_000), "99.999 %");
        assert_eq!(percent(9_999_999, 10_000_000), "99.999 %");
        assert_eq!(percent(5, 5), "100 %");
        assert_eq!(
            [40, 3_900, 273_600].map(duration),
            ["40 s", "1 h 5 min", "3 d 4 h"]
        );
    }
}
