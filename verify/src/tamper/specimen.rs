//! The bundle that the matrix is tried on: one gateway over a day and two hours, with published keys.

use anyhow::Context as _;
use evidence::key::SigningKey;
use evidence::policy::Policy;
use evidence::verification::{Approvals, Trust};
use quantification::methodology;
use quantification::period::date;
use quantification::plan::Plan;

use super::{Good, Keys};
use crate::inputs::Inputs;
use crate::verdict::Verdict;

const BUNDLE: &[u8] = include_bytes!("../../testdata/specimen/bundle.tar");
const PLAN: &str = include_str!("../../testdata/specimen/plan.toml");
const POLICY: &str = include_str!("../../testdata/specimen/ours.policy");
/// The period of its report.
const DAY: &str = "2026-01-05";

/// A good bundle and what a verifier would bring for it.
#[derive(Debug)]
pub struct Specimen {
    /// The bundle.
    pub good: Good,
    /// The verifier's side.
    pub inputs: Inputs,
}

/// Reads the specimen that ships with this program.
///
/// # Errors
/// Never in a program as it was built: a test reads it.
pub fn specimen() -> anyhow::Result<Specimen> {
    let key = |seed: u8| SigningKey::from_seed([seed; 32]);
    let keys = Keys {
        log: key(1),
        entries: (2..8).map(key).collect(),
        witnesses: vec![
            ("collector.example/w0".to_owned(), key(90)),
            ("registry.example/w1".to_owned(), key(91)),
        ],
    };
    let plan = Plan::parse(PLAN, "the specimen's plan.toml")?;
    let methodology = methodology::shipped(&plan.methodology_id)
        .with_context(|| format!("methodology `{}`", plan.methodology_id))?;
    let period = plan.period(date(DAY)?, date(DAY)?)?;
    let trust = Trust {
        policy: Policy::parse(POLICY).context("the specimen's ours.policy")?,
        collector: Some("W0".to_owned()),
        from_ms: period.start_ms(),
        to_ms: period.end_ms(),
        tolerance_ms: 300_000,
        max_delay_s: 86_400,
        approvers: vec![key(92).public()],
        approvals: Approvals::Reported,
        revocations: Vec::new(),
        timestamp_roots: None,
    };
    Ok(Specimen {
        good: Good::new(BUNDLE, keys).context("the specimen is no bundle of its keys")?,
        inputs: Inputs {
            bound: plan.bind(&methodology)?,
            plan_text: PLAN.to_owned(),
            anchors: plan.logs.iter().map(|log| log.anchor.clone()).collect(),
            trust,
            period,
            period_claimed: false,
            seen: None,
            gap_limit_percent: 100,
        },
    })
}

impl Specimen {
    /// What the verifier says about bytes in place of the specimen.
    #[must_use]
    pub fn verify(&self, bytes: &[u8], threads: u16) -> Verdict {
        let source = bytes.to_vec();
        crate::project::verify(&source, &self.inputs, threads, &|_, _| {})
    }
}
