//! What today makes so far: RE, PE and ER since midnight of the reporting zone, always provisional.
//!
//! Computed from sealed segments by the same computation as a report. Kept until a log has grown,
//! and for at least some seconds, so that many watchers cost no more than one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use jiff::civil::Date;
use quantification::period::{self, Period};
use quantification::plan::Bound;
use quantification::report::Report;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Shared};
use crate::auth::Scope;
use crate::compute;
use crate::job::Progress;
use crate::plan::bound;
use crate::problem::{Answer, Problem};
use crate::time;

/// Emissions and reductions since midnight.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TodayView {
    /// Always true: the day is not over.
    pub(crate) provisional: bool,
    /// The day, in the zone.
    pub(crate) day: String,
    pub(crate) zone: String,
    /// Midnight.
    pub(crate) from: String,
    /// Until when every log holds sealed readings; null while one holds none.
    pub(crate) sealed_to: Option<String>,
    /// Always `tCO2`.
    pub(crate) unit: String,
    /// Reference emissions.
    pub(crate) re: String,
    /// Project emissions, as they are subtracted.
    pub(crate) pe: String,
    /// Emission reductions.
    pub(crate) er: String,
    /// Why these numbers may still change.
    pub(crate) reasons: Vec<String>,
    /// Each measured parameter with what it lacks.
    pub(crate) parameters: Vec<TodayParameter>,
    /// What people should look at.
    pub(crate) warnings: Vec<String>,
    /// The hash of the plan it was computed with.
    pub(crate) plan_sha256: String,
    /// When it was computed.
    pub(crate) computed: String,
}

/// A measured parameter today.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TodayParameter {
    /// `Q[W-1]`.
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) value: String,
    pub(crate) unit: String,
    /// Whether there was any good reading.
    pub(crate) known: bool,
    /// Seconds since midnight without a value, up to `sealed_to`.
    pub(crate) missing_s: i64,
    /// Good readings.
    pub(crate) good: u64,
}

/// What was computed last, per project.
#[derive(Debug, Default)]
pub(crate) struct Today {
    kept: Mutex<HashMap<String, Kept>>,
    /// Per project: lets one computation run while the others wait for what it makes.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Clone)]
struct Kept {
    /// Plan, day and the sizes of the logs.
    state: String,
    computed_ms: i64,
    took_ms: i64,
    /// A failure is kept too: it would fail again for every watcher.
    result: Answer<TodayView>,
}

/// However fast segments arrive: not computed again within these milliseconds.
const LEAST_AGE_MS: i64 = 5_000;
/// Computing takes at most one part in so many of the time.
const SHARE: i64 = 10;

impl Today {
    fn turn(&self, project: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(project.to_owned()).or_default())
    }

    fn fresh(&self, project: &str, now_ms: i64, state: Option<&str>) -> Option<Answer<TodayView>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(project)?;
        let age = now_ms.saturating_sub(kept.computed_ms);
        let young = (0..LEAST_AGE_MS.max(kept.took_ms * SHARE)).contains(&age);
        let same = state == Some(&kept.state) && kept.result.is_ok();
        (young || same).then(|| kept.result.clone())
    }
}

/// Today's running emission reductions.
#[utoipa::path(get, path = "/v1/projects/{project}/today", tag = "live",
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 200, body = TodayView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn today(State(app): State<Shared>, scope: Scope) -> Answer<Json<TodayView>> {
    if let Some(kept) = app.today.fresh(scope.id(), app.now_ms(), None) {
        return kept.map(Json);
    }
    let turn = app.today.turn(scope.id());
    let _mine = turn.lock().await;
    let now_ms = app.now_ms();
    let (stored, bound) = bound(&app, scope.id()).await?;
    let zone = period::zone(&bound.plan.reporting_zone);
    let zone = zone.map_err(|error| Problem::refused(error.to_string()))?;
    let day = time::day(now_ms, &zone).ok_or_else(|| Problem::internal(&"the clock"))?;
    let state = state(&app, &scope, &stored, &day.to_string()).await?;
    if let Some(kept) = app.today.fresh(scope.id(), now_ms, Some(&state)) {
        return kept.map(Json);
    }
    let result = since_midnight(&app, &stored, bound, day, now_ms).await;
    let kept = Kept {
        state,
        computed_ms: now_ms,
        took_ms: app.now_ms() - now_ms,
        result: result.clone(),
    };
    {
        let mut table = app
            .today
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        table.insert(scope.id().to_owned(), kept);
    }
    result.map(Json)
}

async fn since_midnight(
    app: &App,
    stored: &store::Plan,
    bound: Bound,
    day: Date,
    now_ms: i64,
) -> Answer<TodayView> {
    let period = Period::new(day, day, &bound.plan.reporting_zone);
    let period = period.map_err(|error| Problem::refused(error.to_string()))?;
    let spans = compute::spans(app, &bound, &period).await?;
    let reasons = compute::provisional(&spans, &period, now_ms);
    let (from_ms, zone) = (period.start_ms(), period.zone_name().to_owned());
    let reach = spans.iter().map(|span| span.reaches_ms).min().flatten();
    let progress = Arc::new(Progress::default());
    let report = compute::compute(app, bound, period, &spans, reasons, &progress).await?;
    Ok(TodayView {
        provisional: true,
        day: day.to_string(),
        zone,
        from: time::utc(from_ms),
        sealed_to: reach.map(time::utc),
        unit: "tCO2".to_owned(),
        re: report.totals.re.to_string(),
        pe: report.totals.pe_credited.to_string(),
        er: report.totals.er.to_string(),
        reasons: [&*report.stated_reasons, &*report.provisional_reasons].concat(),
        parameters: parameters(&report, reach),
        warnings: report
            .warnings
            .iter()
            .map(|warning| format!("{}: {}", warning.subject, warning.text))
            .collect(),
        plan_sha256: hex::encode(stored.hash),
        computed: time::utc(now_ms),
    })
}

/// What the numbers depend on.
async fn state(app: &App, scope: &Scope, plan: &store::Plan, day: &str) -> Answer<String> {
    let mut state = format!("{} {day}", hex::encode(plan.hash));
    for log in scope.logs(app).await? {
        state.push_str(&format!(" {}", log.size));
    }
    Ok(state)
}

/// Measured parameters; time after the last sealed reading is not missing yet.
fn parameters(report: &Report, reach: Option<i64>) -> Vec<TodayParameter> {
    let measured = report
        .parameters
        .iter()
        .filter_map(|p| Some((p, p.measured.as_ref()?)));
    measured
        .map(|(parameter, measured)| TodayParameter {
            name: parameter.name.clone(),
            description: parameter.description.clone(),
            value: parameter.value.to_string(),
            unit: parameter.unit.clone(),
            known: parameter.intervals.iter().any(|interval| interval.known),
            missing_s: parameter
                .gaps
                .iter()
                .filter_map(|gap| missing_ms(&gap.from, gap.length_ms, reach?))
                .sum::<i64>()
                / 1000,
            good: measured.good,
        })
        .collect()
}

/// The part of a gap before `reach_ms`.
fn missing_ms(from: &str, length_ms: i64, reach_ms: i64) -> Option<i64> {
    let from_ms = from.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    Some((from_ms + length_ms).min(reach_ms) - from_ms.min(reach_ms))
}

#[cfg(test)]
mod tests {
    use super::missing_ms;

    #[test]
    fn what_is_not_sealed_yet_is_not_missing() {
        let from = "2026-01-01T00:00:00Z";
        let start = 1_767_225_600_000;
        assert_eq!(missing_ms(from, 10_000, start + 60_000), Some(10_000));
        assert_eq!(missing_ms(from, 10_000, start + 4_000), Some(4_000));
        assert_eq!(missing_ms(from, 10_000, start - 4_000), Some(0));
    }
}
