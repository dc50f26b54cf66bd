//! The verdict in words, for somebody who is not a cryptographer: the same page as text and as HTML.

mod authorities;
mod project_log;

use crate::catalogue::Language;
use crate::terminal::{harmless, harmless_lines, wrapped, wrapped_from};
use crate::verdict::{EventVerdict, ForkVerdict, LogVerdict, StreamVerdict, TimeVerdict, Verdict};

/// Failures that are printed; the JSON has all.
const MOST_FAILURES: usize = 30;
/// Ranges of a weaker class that are printed.
const MOST_RUNS: usize = 8;

/// What is told, in order.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) language: Language,
    pub(crate) facts: Vec<Fact>,
    pub(crate) forks: Vec<Fork>,
    pub(crate) failures: Vec<Told>,
    pub(crate) conclusion: Vec<Said>,
}

/// A line under a label; without one it goes on with the label before.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) label: String,
    pub(crate) text: String,
}

/// Two notes that cannot both be true, each under a heading.
#[derive(Debug)]
pub(crate) struct Fork {
    pub(crate) text: String,
    pub(crate) notes: [(String, String); 2],
}

/// A failure.
#[derive(Debug)]
pub(crate) struct Told {
    /// What kind it is, in the page's language.
    pub(crate) title: String,
    /// Code, place and rule.
    pub(crate) text: String,
}

/// A sentence of the conclusion.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) tone: Tone,
    pub(crate) text: String,
}

/// How a sentence is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Doubt,
    Bad,
    Plain,
}

/// The whole text.
pub(crate) fn text(verdict: &Verdict, language: Language) -> String {
    let page = page(verdict, language);
    let mut out = String::new();
    for fact in &page.facts {
        wrapped(&mut out, &fact.label, &fact.text);
    }
    for fork in &page.forks {
        wrapped(&mut out, &language.t("label_fork"), &fork.text);
        for (what, note) in &fork.notes {
            for line in [
                "--- ",
                what.as_str(),
                "\n",
                note.trim_end_matches('\n'),
                "\n",
            ] {
                out.push_str(line);
            }
        }
        out.push_str("---\n");
    }
    for failure in &page.failures {
        // The rule is told in English; elsewhere its kind stands before it.
        let text = match language {
            Language::English => failure.text.clone(),
            Language::Japanese => format!("{} — {}", failure.title, failure.text),
        };
        wrapped(&mut out, &language.t("label_failed"), &text);
    }
    for said in &page.conclusion {
        wrapped_from(&mut out, 0, &said.text);
    }
    out
}

/// Everything that is told of a verdict.
pub(crate) fn page(verdict: &Verdict, language: Language) -> Page {
    let mut lines = Lines {
        language,
        facts: Vec::new(),
    };
    period_lines(&mut lines, verdict);
    for log in &verdict.logs {
        log_lines(&mut lines, log, verdict);
    }
    hand_overs(&mut lines, verdict);
    project_log::lines(&mut lines, &verdict.project_log);
    report_lines(&mut lines, verdict);
    Page {
        language,
        forks: verdict
            .forks
            .iter()
            .map(|fork| forked(language, fork))
            .collect(),
        failures: failures(language, verdict),
        conclusion: conclusion(language, verdict),
        facts: lines.facts,
    }
}

/// Collects facts.
struct Lines {
    language: Language,
    facts: Vec<Fact>,
}

impl Lines {
    /// A line under the label of this key, or under the one before when the key is empty.
    fn line(&mut self, label: &str, text: impl AsRef<str>) {
        let label = if label.is_empty() {
            String::new()
        } else {
            self.language.t(label)
        };
        let text = harmless(text.as_ref());
        self.facts.push(Fact { label, text });
    }
}

fn period_lines(out: &mut Lines, verdict: &Verdict) {
    let (l, period) = (out.language, &verdict.period);
    let (from, to) = (utc(period.from_ms), utc(period.to_ms));
    out.line(
        "label_period",
        l.f(
            "period",
            &[&period.from, &period.to, &period.zone, &from, &to],
        ),
    );
    if period.claimed {
        out.line("", l.t("period_claimed"));
    }
    let plan = if verdict.plan_equal {
        "plan_equal"
    } else {
        "plan_other"
    };
    out.line("label_plan", l.f(plan, &[&verdict.plan_sha256]));
}

fn log_lines(out: &mut Lines, log: &LogVerdict, verdict: &Verdict) {
    let l = out.language;
    out.line(
        "label_log",
        l.f(
            "log",
            &[
                &log.origin,
                &number(log.first),
                &number(log.size.saturating_sub(1)),
                &number(log.size),
                &log.root,
            ],
        ),
    );
    if !log.complete {
        out.line("", l.t("log_stopped"));
        return;
    }
    let entries = log.size - log.first;
    out.line(
        "label_signatures",
        l.f("signatures", &[&number(entries), &number(log.entry_keys)]),
    );
    for (key, hours) in &log.long_keys {
        out.line("", l.f("long_key", &[key, hours]));
    }
    let cosigned: Vec<String> = log
        .cosigned
        .iter()
        .map(|(name, count)| l.f("cosigned_one", &[name, &number(*count)]))
        .collect();
    let cosigned = if cosigned.is_empty() {
        l.t("cosigned_none")
    } else {
        cosigned.join(&l.t("list"))
    };
    out.line("label_cosigned", cosigned);
    out.line(
        "",
        l.f("quorum", &[&verdict.policy.quorum, &number(log.quorum_met)]),
    );
    out.line("", split_view(l, verdict));
    out.line(
        "label_order",
        l.f("order", &[&number(log.controls), &number(log.roots)]),
    );
    remembered_lines(out, log);
    for stream in &log.streams {
        stream_lines(out, stream);
    }
    if log.dropped > 0 {
        out.line("", l.f("dropped", &[&number(log.dropped)]));
    }
    match log.disclosure {
        'B' => {
            let names = log.disclosed.join(&l.t("list"));
            out.line(
                "label_disclosure",
                l.f("disclosure_B", &[&log.disclosed.len(), &names]),
            );
        }
        'C' => out.line("label_disclosure", l.t("disclosure_C")),
        _ => {}
    }
    if log.samples > 0 {
        quality_lines(out, log);
    }
    time_lines(out, &log.time);
    class_lines(out, log);
    for event in &log.events {
        event_line(out, event);
    }
    authorities::lines(out, log, verdict);
}

fn split_view(l: Language, verdict: &Verdict) -> String {
    let policy = &verdict.policy;
    if policy.split_view_witnesses.is_empty() {
        return l.t("split_none");
    }
    let names = policy.split_view_witnesses.join(&l.t("and"));
    l.f("split", &[&policy.split_view_number, &names])
}

/// What became of checkpoints of earlier audits.
fn remembered_lines(out: &mut Lines, log: &LogVerdict) {
    let l = out.language;
    let mut label = "label_earlier";
    for now in ["continued", "forked", "older", "before", "open"] {
        let known = log.remembered.iter().filter(|known| known.now == now);
        let sizes: Vec<String> = known.map(|known| number(known.size)).collect();
        if !sizes.is_empty() {
            let sizes = sizes.join(&l.t("list"));
            out.line(label, l.f(&format!("earlier_{now}"), &[&sizes]));
            label = "";
        }
    }
}

fn stream_lines(out: &mut Lines, stream: &StreamVerdict) {
    let l = out.language;
    let declared: u64 = stream.gaps.values().map(|gap| gap.ticks).sum();
    let key = if stream.relevant {
        "completeness"
    } else {
        "completeness_unused"
    };
    out.line(
        "label_completeness",
        l.f(
            key,
            &[
                &stream.stream,
                &stream.tick_ms,
                &number(stream.expected),
                &number(stream.measured),
                &number(declared),
                &number(stream.holes),
                &number(stream.overlaps),
            ],
        ),
    );
    let tick = |ticks: u64| duration(l, ticks.saturating_mul(u64::from(stream.tick_ms)) / 1000);
    let mut gaps: Vec<String> = stream
        .gaps
        .iter()
        .filter(|(_, gap)| gap.ticks > 0)
        .map(|(reason, gap)| {
            let reason = l.known(&format!("reason_{reason}")).unwrap_or(reason);
            l.f(
                "gap_one",
                &[&reason, &number(gap.entries), &tick(gap.ticks)],
            )
        })
        .collect();
    if stream.holes > 0 {
        gaps.push(l.f("gap_holes", &[&tick(stream.holes)]));
    }
    if let Some((from, to)) = stream.longest_gap_ms {
        let gaps = gaps.join(&l.t("list"));
        out.line("", l.f("gaps", &[&gaps, &utc(from), &utc(to)]));
    }
    if stream.unplaced > 0 {
        out.line("", l.f("unplaced", &[&number(stream.unplaced)]));
    }
}

fn quality_lines(out: &mut Lines, log: &LogVerdict) {
    let l = out.language;
    let bad: u64 = log.not_good.values().sum();
    let good = percent(log.samples - bad.min(log.samples), log.samples);
    out.line(
        "label_quality",
        l.f("quality", &[&number(log.samples), &good, &number(bad)]),
    );
    let codes: Vec<String> = log
        .not_good
        .iter()
        .map(|(code, count)| {
            let known = evidence::quality::Quality::from_code(*code);
            let name = known.map_or("", evidence::quality::Quality::name);
            format!("{name} {}", number(*count))
        })
        .collect();
    if !codes.is_empty() {
        out.line("", codes.join(&l.t("list")));
    }
}

fn time_lines(out: &mut Lines, time: &TimeVerdict) {
    let l = out.language;
    let all = time.within.iter().sum::<u64>() + time.no_lower + time.no_upper;
    if all == 0 {
        return;
    }
    let mut parts: Vec<String> = Vec::new();
    for (slot, ticks) in time
        .within
        .iter()
        .enumerate()
        .filter(|(_, ticks)| **ticks > 0)
    {
        let label = l.t(&format!("within_{slot}"));
        parts.push(l.f("share", &[&percent(*ticks, all), &label]));
    }
    for (key, ticks) in [("no_lower", time.no_lower), ("no_upper", time.no_upper)] {
        if ticks > 0 {
            parts.push(l.f(key, &[&percent(ticks, all)]));
        }
    }
    let parts = parts.join(&l.t("list"));
    out.line("label_time", l.f("time", &[&parts, &number(time.outside)]));
    if time.widest_s > 0 {
        out.line("", l.f("widest", &[&duration(l, time.widest_s)]));
    }
    if time.no_upper < all {
        out.line("", l.f("latest", &[&duration(l, time.latest_s)]));
    }
    if time.pins_unknown > 0 {
        out.line("", l.f("pins_unknown", &[&number(time.pins_unknown)]));
    }
    let mut classes: Vec<String> = Vec::new();
    for (class, ticks) in time
        .classes
        .iter()
        .enumerate()
        .filter(|(_, ticks)| **ticks > 0)
    {
        let name = l.t(&format!("class_{class}"));
        classes.push(l.f("share", &[&percent(*ticks, all), &name]));
    }
    out.line("", classes.join(&l.t("list")));
    timestamp_lines(out, time, all);
}

/// What timestamps add: a time by a body that knows nothing of logs, and no word about other histories.
fn timestamp_lines(out: &mut Lines, time: &TimeVerdict, all: u64) {
    let l = out.language;
    let (present, verified) = (number(time.timestamps), number(time.timestamps_verified));
    if time.timestamps == 0 {
        return;
    }
    let label = "label_timestamps";
    if !time.timestamps_checked {
        out.line(label, l.f("timestamps_unchecked", &[&present]));
        return;
    }
    let share = percent(time.stamped, all);
    out.line(label, l.f("timestamps", &[&verified, &present, &share]));
    if let Some(why) = &time.timestamp_error {
        out.line("", l.f("timestamp_error", &[why]));
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
    let l = out.language;
    let best = log.class_runs.iter().map(|run| run.0).max();
    let weaker = || log.class_runs.iter().filter(|run| Some(run.0) != best);
    for (class, first, last, from_ms, to_ms) in weaker().take(MOST_RUNS) {
        let (from, to) = (utc(*from_ms), utc(*to_ms));
        out.line("", l.f("class_run", &[class, first, last, &from, &to]));
    }
    let more = weaker().count().saturating_sub(MOST_RUNS);
    if more > 0 {
        out.line("", l.f("class_more", &[&more]));
    }
}

fn event_line(out: &mut Lines, event: &EventVerdict) {
    if matches!(event.kind, "key" | "genesis") {
        return;
    }
    let l = out.language;
    let (index, kind, text) = (&event.index, &event.kind, &event.text);
    let told = match (&event.approved_by, event.changes_values) {
        (Some(key), _) => l.f("event_approved", &[index, kind, text, key]),
        (None, true) => l.f("event_unapproved", &[index, kind, text]),
        (None, false) => l.f("event", &[index, kind, text]),
    };
    out.line("label_says", told);
}

fn hand_overs(out: &mut Lines, verdict: &Verdict) {
    let l = out.language;
    for seam in &verdict.hand_overs {
        let gap = u64::try_from(seam.begins_ms - seam.ends_ms).unwrap_or(0) / 1000;
        let key = if seam.sealed {
            "hand_over"
        } else {
            "hand_over_plan"
        };
        out.line(
            "label_hand_over",
            l.f(
                key,
                &[
                    &seam.number,
                    &seam.from,
                    &utc(seam.ends_ms),
                    &seam.to,
                    &utc(seam.begins_ms),
                    &duration(l, gap),
                ],
            ),
        );
    }
}

fn report_lines(out: &mut Lines, verdict: &Verdict) {
    let (l, report) = (out.language, &verdict.report);
    let mut label = "label_report";
    if let (Some(er), Some(credited)) = (&report.er, &report.credited) {
        let key = match (report.claimed, report.equal) {
            (true, true) => "report_equal",
            (true, false) => "report_differs",
            (false, _) => "report_unclaimed",
        };
        out.line(label, l.f(key, &[er, credited]));
        label = "";
    }
    for (name, value, unit) in &report.parameters {
        out.line(label, l.f("parameter", &[name, value, unit]));
        label = "";
    }
    if report.cells_differ > 0 {
        out.line(label, l.f("cells_differ", &[&number(report.cells_differ)]));
        label = "";
    }
    authorities::report_line(out, label, report);
}

fn forked(l: Language, fork: &ForkVerdict) -> Fork {
    Fork {
        text: l.f("fork", &[&fork.log]),
        notes: [
            (l.t("fork_seen"), harmless_lines(&fork.remembered)),
            (l.t("fork_here"), harmless_lines(&fork.found)),
        ],
    }
}

fn failures(l: Language, verdict: &Verdict) -> Vec<Told> {
    let mut told: Vec<Told> = verdict
        .failures
        .iter()
        .take(MOST_FAILURES)
        .map(|failure| {
            let known = l.known(&format!("failure_{}", failure.code));
            Told {
                title: known.map_or_else(|| l.t("failure_other"), str::to_owned),
                text: harmless(&failure.text),
            }
        })
        .collect();
    let more = verdict.failures.len().saturating_sub(MOST_FAILURES);
    if more > 0 {
        told.push(Told {
            title: String::new(),
            text: l.f("failures_more", &[&more]),
        });
    }
    told
}

fn conclusion(l: Language, verdict: &Verdict) -> Vec<Said> {
    let mut said = Vec::new();
    let mut say = |tone, text: String| {
        let text = harmless(&text);
        said.push(Said { tone, text });
    };
    let data_fails = verdict.failures.iter().any(|failure| failure.exit != 5);
    if data_fails {
        say(Tone::Bad, l.t("not_confirmed"));
    } else {
        let class = match verdict.class {
            Some(1) if all_stamped(verdict) => "stamped".to_owned(),
            Some(class) => class.to_string(),
            None => "nothing".to_owned(),
        };
        let class = l.t(&format!("conclusion_{class}"));
        say(Tone::Good, l.f("confirmed", &[&class]));
    }
    let report = &verdict.report;
    let (tone, key) = match (report.claimed, report.recomputed, report.equal) {
        (_, false, _) if data_fails => (Tone::Doubt, "arithmetic_unchecked"),
        (_, false, _) if !report.hidden.is_empty() => (Tone::Doubt, "arithmetic_hidden"),
        (_, false, _) => (Tone::Bad, "arithmetic_unfit"),
        (true, true, true) if !report.provisional_reasons.is_empty() => {
            (Tone::Doubt, "arithmetic_provisional")
        }
        (true, true, true) => (Tone::Good, "arithmetic_reproduced"),
        (true, true, false) => (Tone::Bad, "arithmetic_differs"),
        (false, true, _) => (Tone::Doubt, "arithmetic_unclaimed"),
    };
    say(tone, l.t(key));
    if !report.hidden.is_empty() {
        let hidden = report.hidden.join(&l.t("list"));
        say(Tone::Plain, l.f("hidden", &[&hidden]));
    }
    if !report.compared.is_empty() {
        let (tone, key) = if report.cells_differ > 0 {
            (Tone::Bad, "compared_differ")
        } else {
            (Tone::Plain, "compared_equal")
        };
        say(tone, l.f(key, &[&report.compared.join(&l.t("list"))]));
    }
    for reason in &report.provisional_reasons {
        say(Tone::Plain, l.f("provisional", &[reason]));
    }
    if verdict.exit == 1 {
        let (found, limit) = (
            percent(verdict.unmeasured_ppm, 1_000_000),
            percent(verdict.unmeasured_limit_ppm, 1_000_000),
        );
        say(Tone::Doubt, l.f("gaps_over", &[&found, &limit]));
    }
    say(Tone::Plain, l.t("no_opinion"));
    if !data_fails {
        say(Tone::Plain, collusion(l, verdict));
    }
    say(Tone::Plain, l.t("not_proven"));
    let samples: u64 = verdict.logs.iter().map(|log| log.samples).sum();
    say(
        Tone::Plain,
        l.f(
            "last",
            &[&number(samples), &verdict.bundle_sha256, &verdict.exit],
        ),
    );
    said
}

/// The most useful line for a non-cryptographer: who would have had to work together.
fn collusion(l: Language, verdict: &Verdict) -> String {
    let who = verdict.policy.split_view_witnesses.join(&l.t("and_key"));
    if who.is_empty() {
        return l.t("collusion_none");
    }
    let mut text = l.f("collusion", &[&who]);
    if let Some(seconds) = verdict.logs.iter().map(|log| log.time.latest_s).max() {
        text.push(' ');
        text.push_str(&l.f("collusion_before", &[&duration(l, seconds)]));
    }
    text
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
fn duration(l: Language, seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => l.f("seconds", &[&seconds]),
        (0, 0, _) => l.f("minutes", &[&minutes, &(seconds % 60)]),
        (0, _, _) => l.f("hours", &[&hours, &minutes]),
        _ => l.f("days", &[&days, &hours]),
    }
}

pub(crate) fn utc(ms: i64) -> String {
    quantification::period::utc(ms)
}

#[cfg(test)]
mod tests {
    use super::{duration, number, percent};
    use crate::catalogue::Language;

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
            [40, 3_900, 273_600].map(|seconds| duration(Language::English, seconds)),
            ["40 s", "1 h 5 min", "3 d 4 h"]
        );
    }
}
