//! What the verifier brings: plan, methodology, policy, keys, period. All from his own disk.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use evidence::bundle::{Bundle, ReadAt};
use evidence::note::{SignatureKind, Vkey};
use evidence::policy::Policy;
use evidence::timestamp::Roots;
use evidence::verification::{Approvals, Trust};
use quantification::methodology::{self, Methodology};
use quantification::period::{Period, date};
use quantification::plan::{Bound, Plan};
use quantification::report::Report;

use crate::approve;
use crate::args::BundleArgs;
use crate::state::{SeenNote, State};

/// Everything that is trusted, read and checked.
#[derive(Debug)]
pub struct Inputs {
    /// The plan joined with its methodology.
    pub bound: Bound,
    /// The bytes of the plan.
    pub plan_text: String,
    /// The key of each log, in the order of the plan's logs.
    pub anchors: Vec<Vkey>,
    /// Policy, period and limits.
    pub trust: Trust,
    /// The period.
    pub period: Period,
    /// Whether the period was taken from the report under test.
    pub period_claimed: bool,
    /// What earlier audits saw, by log: size, root, note. None without a state file.
    pub seen: Option<HashMap<String, Vec<SeenNote>>>,
    /// Percent of unmeasured ticks that is still exit code 0.
    pub gap_limit_percent: u32,
}

/// The longest report that is read.
pub const MOST_REPORT_BYTES: u64 = 256 << 20;

impl Inputs {
    /// Reads all inputs. From the bundle only the claimed period is taken, and only when none was given.
    ///
    /// # Errors
    /// The first mistake, with file, line and remedy.
    pub fn load(
        args: &BundleArgs,
        source: &dyn ReadAt,
        state: Option<&State>,
    ) -> anyhow::Result<Self> {
        let plan_text = read(&args.plan, "the plan")?;
        let plan = Plan::parse(&plan_text, &args.plan.display().to_string())?;
        let methodology = methodology_of(args, &plan)?;
        let bound = plan.bind(&methodology)?;
        let policy = Policy::parse(&read(&args.policy, "the policy")?)
            .with_context(|| format!("the policy {}", args.policy.display()))?;
        let collector = collector(args, &policy)?;
        let anchors = anchors(&args.anchor, &plan)?;
        for anchor in anchors.iter().chain(&bound.plan.project_log) {
            anyhow::ensure!(
                policy.logs().is_empty() || policy.logs().contains(anchor),
                "the policy {} lists logs, but not this one of the plan with this key; add the line: log {anchor}",
                args.policy.display()
            );
        }
        let (period, period_claimed) = period(args, &plan, source)?;
        let approvers = args
            .approver
            .iter()
            .map(|text| approve::authority(text))
            .collect::<Result<Vec<_>, _>>()?;
        let revocations = args
            .revocation
            .iter()
            .map(|path| approve::revocation(path, &approvers))
            .collect::<Result<Vec<_>, _>>()?;
        for (revocation, _) in &revocations {
            anyhow::ensure!(
                plan.logs.iter().any(|log| log.origin == revocation.origin),
                "--revocation: it is about log `{}`, which the plan does not name",
                revocation.origin
            );
        }
        let timestamp_roots = args
            .timestamp_roots
            .as_deref()
            .map(|path| {
                let pem = std::fs::read(path)
                    .with_context(|| format!("cannot read --timestamp-roots {}", path.display()))?;
                Roots::from_pem(&pem)
                    .with_context(|| format!("--timestamp-roots {}", path.display()))
            })
            .transpose()?;
        let trust = Trust {
            policy,
            collector,
            from_ms: period.start_ms(),
            to_ms: period.end_ms(),
            tolerance_ms: i64::from(args.tolerance_s) * 1000,
            max_delay_s: u64::from(args.max_delay_h) * 3600,
            approvers,
            timestamp_roots,
            approvals: if args.approvals == "required" {
                Approvals::Required
            } else {
                Approvals::Reported
            },
            revocations,
        };
        let seen = state.map(|state| {
            let of = |anchor: &Vkey| Ok((anchor.name().to_owned(), state.seen(anchor)?));
            anchors.iter().map(of).collect::<anyhow::Result<_>>()
        });
        Ok(Self {
            bound,
            plan_text,
            seen: seen.transpose()?,
            anchors,
            trust,
            period,
            period_claimed,
            gap_limit_percent: args.gap_limit_percent,
        })
    }
}

pub(crate) fn read(path: &Path, what: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {what} {}", path.display()))
}

fn methodology_of(args: &BundleArgs, plan: &Plan) -> anyhow::Result<Methodology> {
    if let Some(path) = &args.methodology {
        let text = read(path, "the methodology")?;
        return Ok(Methodology::parse(&text, &path.display().to_string())?);
    }
    methodology::shipped(&plan.methodology_id).with_context(|| {
        format!(
            "the plan names methodology `{}`, which does not ship with this program ({}); give its file with --methodology",
            plan.methodology_id,
            methodology::shipped_ids().join(", ")
        )
    })
}

fn collector(args: &BundleArgs, policy: &Policy) -> anyhow::Result<Option<String>> {
    let names: Vec<&str> = policy
        .witnesses()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    match &args.collector {
        Some(name) if names.contains(&name.as_str()) => Ok(Some(name.clone())),
        Some(name) => anyhow::bail!(
            "--collector `{name}` is no witness of the policy; it has: {}",
            names.join(", ")
        ),
        None => Ok(names.contains(&"W0").then(|| "W0".to_owned())),
    }
}

/// The plan's keys, which the given ones must equal where they are given.
fn anchors(given: &[String], plan: &Plan) -> anyhow::Result<Vec<Vkey>> {
    for text in given {
        let key = Vkey::parse(text).with_context(|| format!("--anchor {text}"))?;
        anyhow::ensure!(
            key.kind() == SignatureKind::Ed25519,
            "--anchor {text}: this is a witness's key; an anchor is the log's own (type 01)"
        );
        let Some(log) = plan
            .logs
            .iter()
            .find(|log| log.origin.as_str() == key.name())
        else {
            anyhow::bail!("--anchor {text}: the plan names no log `{}`", key.name());
        };
        anyhow::ensure!(
            log.anchor == key,
            "--anchor {text}: your plan names another key for `{}`: {}; find out which is right before you go on",
            key.name(),
            log.anchor
        );
    }
    Ok(plan.logs.iter().map(|log| log.anchor.clone()).collect())
}

fn period(args: &BundleArgs, plan: &Plan, source: &dyn ReadAt) -> anyhow::Result<(Period, bool)> {
    if let (Some(from), Some(to)) = (&args.from, &args.to) {
        return Ok((plan.period(date(from)?, date(to)?)?, false));
    }
    let claim = || -> Option<Report> {
        let file = Bundle::read(source).ok()?.report?;
        Report::from_json(&file.read(source, MOST_REPORT_BYTES).ok()?).ok()
    };
    let Some(report) = claim() else {
        anyhow::bail!(
            "the bundle has no readable report to take the period from; give --from and --to"
        );
    };
    Ok((
        plan.period(date(&report.period.from)?, date(&report.period.to)?)?,
        true,
    ))
}
