//! The proof of a whole project: every log of the plan, their seams, and the report over all of them.

use std::collections::{BTreeSet, HashMap};

use evidence::bundle::{Bundle, BundleLog, ReadAt};
use evidence::hash::Hash;
use evidence::note::Note;
use evidence::verification::{
    Checked, Failure, HandOver, LogFacts, LogRole, LogVerifier, Problem, verify_project,
};
use quantification::computation::Computation;
use quantification::plan::{InputSource, Log};
use quantification::report::Report;

use crate::Progress;
use crate::inputs::{Inputs, MOST_REPORT_BYTES};
use crate::pipeline;
use crate::verdict::project_log::ProjectLogVerdict;
use crate::verdict::{
    ApprovedOnlyVerdict, Exit, FailureVerdict, ForkVerdict, HandOverVerdict, LogVerdict,
    PeriodVerdict, PolicyVerdict, ReportVerdict, Samples, StreamVerdict, Verdict,
};

/// Failures that are listed one by one; more are counted.
const MOST_CELLS: usize = 20;

/// Runs all checks over a bundle.
#[must_use]
pub fn verify(
    source: &(dyn ReadAt + Sync),
    inputs: &Inputs,
    threads: u16,
    progress: Progress<'_>,
) -> Verdict {
    let mut proof = Proof {
        inputs,
        failures: Vec::new(),
        logs: Vec::new(),
        hand_overs: Vec::new(),
        plan_equal: false,
        forks: Vec::new(),
        entered: ProjectLogVerdict::default(),
        approved_trouble: None,
    };
    let report = match Bundle::read(source) {
        Ok(bundle) => proof.bundle(source, &bundle, threads, progress),
        Err(error) => {
            proof.failures.push(Failure::new(error));
            nothing_claimed()
        }
    };
    proof.verdict(report)
}

const fn nothing_claimed() -> ReportVerdict {
    ReportVerdict {
        claimed: false,
        recomputed: false,
        provisional_reasons: Vec::new(),
        equal: false,
        er: None,
        credited: None,
        approved_only: None,
        parameters: Vec::new(),
        cells_differ: 0,
        hidden: Vec::new(),
        compared: Vec::new(),
    }
}

struct Proof<'i> {
    inputs: &'i Inputs,
    failures: Vec<Failure>,
    logs: Vec<LogVerdict>,
    hand_overs: Vec<HandOverVerdict>,
    plan_equal: bool,
    forks: Vec<ForkVerdict>,
    entered: ProjectLogVerdict,
    /// Why the report over approved configurations alone cannot be computed.
    approved_trouble: Option<String>,
}

/// The report, as far as it is summed up.
struct Sums<'i> {
    all: Computation<'i>,
    /// The same over approved configurations alone, where that is another question.
    approved_only: Option<Computation<'i>>,
}

/// A log of the plan that the bundle holds, after its pass.
struct Passed {
    facts: LogFacts,
    continues: HashMap<String, HandOver>,
}

impl Proof<'_> {
    fn bundle(
        &mut self,
        source: &(dyn ReadAt + Sync),
        bundle: &Bundle,
        threads: u16,
        progress: Progress<'_>,
    ) -> ReportVerdict {
        let plan = &self.inputs.bound.plan;
        self.plan_equal = bundle
            .plan
            .read(source, 16 << 20)
            .is_ok_and(|text| text == self.inputs.plan_text.as_bytes());
        for log in &bundle.logs {
            if !plan
                .logs
                .iter()
                .any(|planned| planned.origin.id() == log.id)
            {
                let file = &log.origin;
                self.failures
                    .push(Failure::new(Problem::LogUnknown).at(&file.path, file.offset));
            }
        }
        let order: Vec<&Log> = plan.feeding_order();
        let mut open = self.open(source, bundle, &order);
        for number in 0..open.len() {
            // What a successor says of its predecessor ends the predecessor.
            let Some(end) = open.get(number).and_then(|(log, _, _)| {
                let successor = open
                    .iter()
                    .find(|(other, _, _)| other.succeeds.as_ref() == Some(&log.origin));
                successor.and_then(|(_, _, verifier)| verifier.continues(&log.origin))
            }) else {
                continue;
            };
            if let Some((_, _, verifier)) = open.get_mut(number) {
                verifier.ends_at(end);
            }
        }
        let all: u64 = open.iter().map(|(_, _, verifier)| verifier.entries()).sum();
        let mut done = 0;
        let computation = || Computation::new(&self.inputs.bound, &self.inputs.period);
        // Computed a second time, without what nobody approved, where that is another question.
        let asked = !self.inputs.trust.approvers.is_empty();
        let unapproved = open
            .iter()
            .any(|(_, _, verifier)| verifier.any_unapproved());
        let mut sums = Sums {
            all: computation(),
            approved_only: (asked && unapproved).then(computation),
        };
        let mut passed: HashMap<String, Passed> = HashMap::new();
        for (log, files, verifier) in open {
            let continues = plan
                .logs
                .iter()
                .filter_map(|other| {
                    Some((other.origin.to_string(), verifier.continues(&other.origin)?))
                })
                .collect();
            let facts = self.pass(source, files, verifier, threads, &mut sums, &mut |_| {
                done += 1;
                progress(done, all);
            });
            passed.insert(log.origin.to_string(), Passed { facts, continues });
        }
        self.missing_logs(&order, &passed);
        self.seams(&passed);
        self.project_log(source, bundle);
        let hidden = self.hidden(&passed);
        self.report(source, bundle, sums, &hidden)
    }

    /// Opens every log of the plan that the bundle holds; what fails to open is reported and left out.
    fn open<'b>(
        &mut self,
        source: &dyn ReadAt,
        bundle: &'b Bundle,
        order: &[&'b Log],
    ) -> Vec<(&'b Log, &'b BundleLog, LogVerifier<'b>)>
    where
        Self: 'b,
    {
        let inputs = self.inputs;
        let mut open = Vec::new();
        for log in order {
            let Some(files) = bundle.logs.iter().find(|files| files.id == log.origin.id()) else {
                continue;
            };
            let anchor = inputs
                .bound
                .plan
                .logs
                .iter()
                .zip(&inputs.anchors)
                .find(|(planned, _)| planned.origin == log.origin)
                .map(|(_, anchor)| anchor);
            let Some(anchor) = anchor else {
                self.failures
                    .push(Failure::new(Problem::NoAnchor).of_log(log.origin.as_str()));
                continue;
            };
            let here = |origin: &evidence::hash::Origin| {
                bundle.logs.iter().any(|files| files.id == origin.id())
            };
            let role = LogRole {
                succeeds: log.succeeds.as_ref().is_some_and(here),
                points: points_of(inputs, log),
            };
            match LogVerifier::open(source, files, anchor, &inputs.trust, role) {
                Ok(mut verifier) => {
                    self.remember(source, files, &mut verifier);
                    open.push((*log, files, verifier));
                }
                Err(failure) => self.failures.push(failure),
            }
        }
        open
    }

    /// Holds a log against what earlier audits saw.
    fn remember(&mut self, source: &dyn ReadAt, files: &BundleLog, verifier: &mut LogVerifier<'_>) {
        let origin = verifier.origin().to_string();
        let seen = self.inputs.seen.as_ref().and_then(|seen| seen.get(&origin));
        for (size, root, _) in seen.into_iter().flatten() {
            if let Err(failure) = verifier.remember(*size, *root) {
                self.failures.push(failure);
                self.forked(source, files, &origin, *size);
            }
        }
    }

    /// Puts the two notes of a fork side by side.
    fn forked(&mut self, source: &dyn ReadAt, files: &BundleLog, origin: &str, size: u64) {
        let seen = self.inputs.seen.as_ref().and_then(|seen| seen.get(origin));
        let remembered = seen.into_iter().flatten().find(|(of, _, _)| *of == size);
        // A trail note of that very size is the stronger proof: it needs no entries.
        let note = files.trail.iter().find(|trail| trail.size == size);
        let note = note.map_or(&files.checkpoint, |trail| &trail.note);
        let most = u64::try_from(Note::MAX_BYTES).unwrap_or(u64::MAX);
        if let (Some((_, _, remembered)), Ok(found)) = (remembered, note.read(source, most)) {
            self.forks.push(ForkVerdict {
                log: origin.to_owned(),
                size,
                remembered: remembered.clone(),
                found: String::from_utf8_lossy(&found).into_owned(),
            });
        }
    }

    fn pass(
        &mut self,
        source: &(dyn ReadAt + Sync),
        files: &BundleLog,
        mut verifier: LogVerifier<'_>,
        threads: u16,
        sums: &mut Sums<'_>,
        advanced: &mut dyn FnMut(u64),
    ) -> LogFacts {
        let approved = verifier.approved_configurations();
        let mut trouble = None;
        let origin = verifier.origin().to_string();
        let mut samples = Samples::default();
        let mut refused = None;
        let result = pipeline::pass(
            &mut verifier,
            source,
            &files.entries.path,
            threads,
            &mut |checked: Checked| {
                samples.all += checked.samples;
                for (code, count) in &checked.not_good {
                    *samples.not_good.entry(*code).or_default() += count;
                }
                if checked.counted
                    && trouble.is_none()
                    && let Some(computation) = &mut sums.approved_only
                {
                    trouble = feed_approved(computation, &origin, &checked, &approved).err();
                }
                if checked.counted
                    && refused.is_none()
                    && let Err(error) = feed(&mut sums.all, &origin, &checked)
                {
                    // The proof goes on: that the readings do not fit the plan says nothing about them.
                    refused = Some((checked.index, error));
                }
                advanced(checked.index);
                Ok(())
            },
        );
        let complete = result.is_ok();
        if let Some(error) = trouble {
            self.approved_trouble.get_or_insert(error);
        }
        if let Some((index, error)) = refused {
            let failure = Failure::new(Problem::Computation(error))
                .of_log(&origin)
                .of_entry(index);
            self.failures.push(failure);
        }
        let (facts, failures) = verifier.finish();
        for failure in &failures {
            if let Problem::Forked { size, .. } = *failure.problem {
                self.forked(source, files, &origin, size);
            }
        }
        match result {
            // What the log as a whole lacks says nothing once its entries do not stand.
            Err(failure) => self.failures.push(failure),
            Ok(()) => self.failures.extend(failures),
        }
        self.logs.push(LogVerdict::new(&facts, samples, complete));
        facts
    }

    /// What people entered, under the key that the plan names.
    fn project_log(&mut self, source: &dyn ReadAt, bundle: &Bundle) {
        self.entered.carried = bundle.project.is_some();
        let Some(anchor) = &self.inputs.bound.plan.project_log else {
            return;
        };
        self.entered.origin = Some(anchor.name().to_owned());
        let Some(files) = &bundle.project else {
            let missing = Failure::new(Problem::ProjectLogMissing);
            self.failures.push(missing.of_log(anchor.name()));
            return;
        };
        match verify_project(source, files, &bundle.inputs, anchor, &self.inputs.trust) {
            Ok(facts) => self.entered = ProjectLogVerdict::new(&facts),
            Err(failure) => self.failures.push(failure),
        }
    }

    /// A log of the plan may be absent only when the log before or after it covers the whole period.
    fn missing_logs(&mut self, order: &[&Log], passed: &HashMap<String, Passed>) {
        let covers_start = |log: &Log| {
            passed.get(log.origin.as_str()).is_some_and(|passed| {
                passed.facts.points.iter().all(|(_, span)| {
                    span.is_some_and(|(from, _)| from <= self.inputs.trust.from_ms)
                })
            })
        };
        let failed = |origin: &str| {
            self.failures
                .iter()
                .any(|failure| failure.log.as_deref() == Some(origin))
        };
        let mut missing = Vec::new();
        for log in order {
            let origin = log.origin.as_str();
            if passed.contains_key(origin) || failed(origin) {
                continue;
            }
            let before = log
                .succeeds
                .as_ref()
                .is_some_and(|before| passed.contains_key(before.as_str()));
            let after = order
                .iter()
                .any(|other| other.succeeds.as_ref() == Some(&log.origin) && covers_start(other));
            if !before && !after {
                missing.push(Failure::new(Problem::LogMissing).of_log(origin));
            }
        }
        self.failures.extend(missing);
    }

    /// No tick of a point in a log and its successor, none in neither unless it is a gap.
    fn seams(&mut self, passed: &HashMap<String, Passed>) {
        for point in &self.inputs.bound.plan.points {
            for pair in point.sources.windows(2) {
                let [from, to] = pair else { continue };
                let (Some(first), Some(second)) = (
                    passed.get(from.origin.as_str()),
                    passed.get(to.origin.as_str()),
                ) else {
                    continue;
                };
                let span = |passed: &Passed, name: &str| {
                    passed
                        .facts
                        .points
                        .iter()
                        .find(|(known, _)| known == name)
                        .and_then(|(_, span)| *span)
                };
                let (Some((_, ends_ms)), Some((begins_ms, _))) =
                    (span(first, &from.point), span(second, &to.point))
                else {
                    continue;
                };
                let sealed = second.continues.contains_key(from.origin.as_str());
                if begins_ms < ends_ms {
                    let problem = format!(
                        "point {}: both logs hold the ticks of {} s; {}",
                        point.number,
                        (ends_ms - begins_ms) / 1000,
                        if sealed {
                            "the successor began before the entry it names"
                        } else {
                            "the successor's log does not say where the first one ends"
                        },
                    );
                    let problem = Problem::HandOver {
                        successor: to.origin.to_string(),
                        problem,
                    };
                    self.failures
                        .push(Failure::new(problem).of_log(from.origin.as_str()));
                }
                self.hand_overs.push(HandOverVerdict {
                    number: point.number.clone(),
                    from: from.origin.to_string(),
                    to: to.origin.to_string(),
                    ends_ms,
                    begins_ms,
                    sealed,
                });
            }
        }
    }

    fn report(
        &mut self,
        source: &dyn ReadAt,
        bundle: &Bundle,
        sums: Sums<'_>,
        hidden: &[usize],
    ) -> ReportVerdict {
        let mut verdict = nothing_claimed();
        verdict.claimed = bundle.report.is_some();
        let points = &self.inputs.bound.plan.points;
        verdict.hidden = hidden
            .iter()
            .filter_map(|point| Some(points.get(*point)?.number.clone()))
            .collect();
        // Readings that were not proven are not worth recomputing.
        if !self.failures.is_empty() {
            return verdict;
        }
        let shown = self.shown_parameters(hidden);
        let recomputed = match sums.all.finish() {
            Ok(report) => report,
            // Formulas may have no result without the readings that are not shown.
            Err(_) if !hidden.is_empty() => return verdict,
            Err(error) => {
                self.failures
                    .push(Failure::new(Problem::Computation(error.to_string())));
                return verdict;
            }
        };
        if !hidden.is_empty() {
            self.shown_part(source, bundle, &recomputed, shown, &mut verdict);
            return verdict;
        }
        verdict.recomputed = true;
        if self.logs.iter().any(|log| !log.unapproved.is_empty()) {
            verdict.approved_only = sums.approved_only.map(|computation| {
                let trouble = self.approved_trouble.take();
                let report = match trouble {
                    Some(trouble) => Err(trouble),
                    None => computation.finish().map_err(|error| error.to_string()),
                };
                match report {
                    Ok(report) => ApprovedOnlyVerdict {
                        er: Some(report.totals.er.to_string()),
                        credited: Some(report.rounding.er.to_string()),
                        problem: None,
                    },
                    Err(problem) => ApprovedOnlyVerdict {
                        er: None,
                        credited: None,
                        problem: Some(problem),
                    },
                }
            });
        }
        verdict
            .provisional_reasons
            .clone_from(&recomputed.provisional_reasons);
        verdict.er = Some(recomputed.totals.er.to_string());
        verdict.credited = Some(recomputed.rounding.er.to_string());
        verdict.parameters = recomputed
            .parameters
            .iter()
            .map(|parameter| {
                (
                    parameter.name.clone(),
                    parameter.value.to_string(),
                    parameter.unit.clone(),
                )
            })
            .collect();
        let Some(file) = &bundle.report else {
            return verdict;
        };
        let at = |problem: Problem| Failure::new(problem).at(&file.path, file.offset);
        let claimed = match file.read(source, MOST_REPORT_BYTES) {
            Ok(claimed) => claimed,
            Err(error) => {
                self.failures.push(Failure::new(error));
                return verdict;
            }
        };
        verdict.equal = claimed == recomputed.to_json();
        if verdict.equal {
            return verdict;
        }
        match Report::from_json(&claimed) {
            Err(error) => self.failures.push(at(Problem::Report(format!(
                "it is not a report of this version: {error}"
            )))),
            Ok(claimed) => {
                let cells = Report::differences(&claimed, &recomputed);
                verdict.cells_differ = u64::try_from(cells.len()).unwrap_or(u64::MAX);
                if cells.is_empty() {
                    self.failures.push(at(Problem::Report(
                        "the same values in another writing".to_owned(),
                    )));
                }
                for cell in cells.into_iter().take(MOST_CELLS) {
                    let problem = Problem::ReportCell {
                        path: cell.path,
                        claimed: cell.claimed,
                        recomputed: cell.recomputed,
                    };
                    self.failures.push(at(problem));
                }
            }
        }
        verdict
    }

    /// The plan's points, by position, of which not every reading is in the bundle.
    fn hidden(&self, passed: &HashMap<String, Passed>) -> Vec<usize> {
        let shows = |point: &quantification::plan::Point,
                     source: &quantification::plan::PointReference| {
            passed.get(source.origin.as_str()).is_none_or(|passed| {
                let mut names = point.names_in(source).into_iter();
                names.all(|name| passed.facts.disclosure.names(&name))
            })
        };
        let points = self.inputs.bound.plan.points.iter().enumerate();
        points
            .filter(|(_, point)| !point.sources.iter().all(|source| shows(point, source)))
            .map(|(position, _)| position)
            .collect()
    }

    /// The measured parameters that rest on shown points alone.
    fn shown_parameters(&self, hidden: &[usize]) -> Vec<String> {
        let inputs = self.inputs.bound.inputs.iter();
        inputs
            .filter(|input| match &input.source {
                InputSource::Point(source) => !hidden.contains(&source.point),
                _ => false,
            })
            .map(|input| input.label.clone())
            .collect()
    }

    /// Compares what can be compared when some readings are not shown: the parameters that rest on
    /// shown points. Totals and formulas need all readings and are left alone.
    fn shown_part(
        &mut self,
        source: &dyn ReadAt,
        bundle: &Bundle,
        recomputed: &Report,
        shown: Vec<String>,
        verdict: &mut ReportVerdict,
    ) {
        verdict.parameters = recomputed
            .parameters
            .iter()
            .filter(|parameter| shown.contains(&parameter.name))
            .map(|parameter| {
                (
                    parameter.name.clone(),
                    parameter.value.to_string(),
                    parameter.unit.clone(),
                )
            })
            .collect();
        let Some(file) = &bundle.report else { return };
        let at = |problem: Problem| Failure::new(problem).at(&file.path, file.offset);
        let claimed = match file.read(source, MOST_REPORT_BYTES) {
            Ok(claimed) => Report::from_json(&claimed),
            Err(error) => {
                self.failures.push(Failure::new(error));
                return;
            }
        };
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                let problem = format!("it is not a report of this version: {error}");
                self.failures.push(at(Problem::Report(problem)));
                return;
            }
        };
        let of_shown = |path: &str| {
            let name = path.strip_prefix("parameters/");
            name.is_some_and(|rest| {
                let mut names = shown.iter();
                names.any(|name| {
                    let rest = rest.strip_prefix(name.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                })
            })
        };
        let mut cells = Report::differences(&claimed, recomputed);
        cells.retain(|cell| cell.path == "plan_sha256" || of_shown(&cell.path));
        verdict.cells_differ = u64::try_from(cells.len()).unwrap_or(u64::MAX);
        for cell in cells.into_iter().take(MOST_CELLS) {
            let problem = Problem::ReportCell {
                path: cell.path,
                claimed: cell.claimed,
                recomputed: cell.recomputed,
            };
            self.failures.push(at(problem));
        }
        verdict.compared = shown;
    }

    fn verdict(self, report: ReportVerdict) -> Verdict {
        let inputs = self.inputs;
        let streams = || {
            self.logs
                .iter()
                .flat_map(|log| &log.streams)
                .filter(|stream| stream.relevant)
        };
        let share = |stream: &StreamVerdict| {
            stream
                .unmeasured()
                .saturating_mul(1_000_000)
                .checked_div(stream.expected)
                .unwrap_or(0)
        };
        let (from, to) = (inputs.trust.from_ms, inputs.trust.to_ms);
        let between = |seam: &HandOverVerdict| {
            let gap = seam.begins_ms.min(to) - seam.ends_ms.max(from);
            let [gap, whole] = [gap, to - from].map(|ms| u64::try_from(ms).unwrap_or(0));
            gap.saturating_mul(1_000_000)
                .checked_div(whole)
                .unwrap_or(0)
        };
        let shares = streams()
            .map(share)
            .chain(self.hand_overs.iter().map(between));
        let unmeasured_ppm = shares.max().unwrap_or(0);
        let limit = u64::from(inputs.gap_limit_percent) * 10_000;
        let class = (0_u8..3).find(|class| {
            self.logs.iter().any(|log| {
                log.time
                    .classes
                    .get(usize::from(*class))
                    .is_some_and(|ticks| *ticks > 0)
            })
        });
        let worst = self
            .failures
            .iter()
            .map(|failure| failure.problem.class())
            .min();
        let exit = match worst {
            Some(class) => Exit::Failed(class),
            None if unmeasured_ppm > limit => Exit::Gaps,
            None => Exit::Proven,
        };
        let policy = &inputs.trust.policy;
        Verdict {
            format: crate::verdict::FORMAT,
            exit: exit.code(),
            bundle_sha256: String::new(),
            plan_sha256: inputs.bound.plan.hash().to_hex(),
            plan_equal: self.plan_equal,
            period: PeriodVerdict {
                from: inputs.period.from().to_string(),
                to: inputs.period.to().to_string(),
                zone: inputs.period.zone_name().to_owned(),
                from_ms: inputs.period.start_ms(),
                to_ms: inputs.period.end_ms(),
                claimed: inputs.period_claimed,
            },
            policy: PolicyVerdict {
                quorum: policy.describe(),
                split_view_number: policy.split_view_number(),
                split_view_witnesses: policy
                    .split_view_witnesses()
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
                collector: inputs.trust.collector.clone(),
            },
            logs: self.logs,
            hand_overs: self.hand_overs,
            project_log: self.entered,
            report,
            class,
            unmeasured_ppm,
            unmeasured_limit_ppm: limit,
            forks: self.forks,
            approvers: inputs.trust.approvers.len(),
            approvals_required: inputs.trust.approvals.are_required(),
            failures: self.failures.iter().map(FailureVerdict::from).collect(),
        }
    }
}

/// The names of the points of a log that the plan uses.
fn points_of(inputs: &Inputs, log: &Log) -> Vec<String> {
    let mut names: Vec<String> = inputs
        .bound
        .plan
        .points
        .iter()
        .flat_map(|point| &point.sources)
        .filter(|source| source.origin == log.origin)
        .map(|source| source.point.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// As [`feed`], but what was sealed under a configuration that nobody approved is a gap.
fn feed_approved(
    computation: &mut Computation<'_>,
    origin: &str,
    checked: &Checked,
    approved: &BTreeSet<u64>,
) -> Result<(), String> {
    let Some(segment) = checked
        .segment
        .as_ref()
        .filter(|segment| !approved.contains(&segment.config.index))
    else {
        return feed(computation, origin, checked);
    };
    let time = |tick| {
        let shift = segment.shift?;
        evidence::segment::tick_time(tick, shift, segment.tick_ms)
    };
    let (Some(from_ms), Some(to_ms)) = (time(segment.ticks.first), time(segment.ticks.end()))
    else {
        return Ok(()); // without a time it is no value anyway
    };
    let stream = segment.ticks.stream;
    computation
        .gap(origin, checked.index, stream, from_ms, to_ms, "unapproved")
        .map_err(|error| error.to_string())
}

/// Hands a checked entry to the computation, as whoever made the report did.
fn feed(computation: &mut Computation<'_>, origin: &str, checked: &Checked) -> Result<(), String> {
    let leaf: &Hash = &checked.leaf;
    if let Some(segment) = &checked.segment {
        computation
            .segment(origin, checked.index, leaf, segment)
            .map_err(|error| error.to_string())?;
    }
    if let Some(gap) = &checked.gap {
        computation
            .gap(
                origin,
                checked.index,
                gap.stream,
                gap.from_ms,
                gap.to_ms,
                gap.reason,
            )
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
