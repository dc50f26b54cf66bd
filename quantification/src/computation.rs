//! From sealed segments to a report.
//!
//! Feed every log of the plan in index order, a replaced log wholly before its successor
//! ([`crate::plan::Plan::feeding_order`]); logs that have nothing to do with one another may come in
//! any order, the report is the same. Feed from somewhat before the period's start to the first
//! readings after its end: what lies outside counts only for the edges of what costs.
//!
//! Nothing is filled. Time without a good reading is listed as a gap with what is known about it.

mod calculate;
mod compose;
mod coverage;
mod cuts;
mod density;
mod increase;
mod measured;
mod parameters;
mod run;
mod settle;
mod track;
mod weigh;

use std::collections::{BTreeSet, HashMap};

use evidence::hash::Hash;
use evidence::measurement::{Point, PointKind};
use evidence::segment::{ConfigInForce, Segment};

use crate::exact::ArithmeticError;
use crate::methodology::Aggregation;
use crate::period::{Cell, Period};
use crate::plan::{Bound, InputSource, PointReference};
use crate::report::Report;
use crate::unit::UnitError;
use cuts::Cuts;
use density::{Companions, DENSITY_DECIMALS};
use increase::{Increase, Limit};
use track::{Declared, Kind, Placed, Track};
use weigh::Weigh;

/// Why a computation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComputationError {
    /// A segment comes from a log the plan does not name.
    #[error("log `{0}` is not in the plan; add it under [[logs]] or do not feed it")]
    UnknownLog(String),
    /// Entries of a log came out of order.
    #[error(
        "entry {found} of log `{origin}` came after entry {last}; feed each log in index order"
    )]
    EntryOrder {
        /// The log.
        origin: String,
        /// The entry fed before.
        last: u64,
        /// The entry fed now.
        found: u64,
    },
    /// A replaced log came after its successor had begun.
    #[error(
        "log `{origin}` came after its successor for point {number}; feed a replaced log wholly before its successor"
    )]
    LogOrder {
        /// The replaced log.
        origin: String,
        /// The monitoring point.
        number: String,
    },
    /// The sealed configuration and the plan do not mean the same by a point.
    #[error(transparent)]
    ConfigDiffers(Box<ConfigDiffers>),
    /// A sum does not fit.
    #[error("a sum needs more digits than can be kept exactly")]
    Overflow,
    /// A formula has no result.
    #[error("formula `{formula}` in {interval}: {error}")]
    Formula {
        /// The formula.
        formula: String,
        /// The interval.
        interval: String,
        /// Why.
        error: ArithmeticError,
    },
    /// An aggregate cannot be given in the parameter's unit.
    #[error("`{input}`: {error}")]
    Unit {
        /// The parameter and member.
        input: String,
        /// Why.
        error: Box<UnitError>,
    },
    /// The formulas do what the declared direction denies.
    #[error(
        "`{input}` is declared `{declared}`, but a larger value gives {} emission reductions; \
         correct the direction in the methodology", if *.more { "more" } else { "fewer" }
    )]
    DirectionContradicted {
        /// The parameter and member.
        input: String,
        /// The declared direction.
        declared: &'static str,
        /// Whether a larger value gives more reductions.
        more: bool,
    },
    /// A fixed number does not hold for the whole period.
    #[error(
        "`{input}`: the fixed number holds from {from} to {to}, which does not cover the period"
    )]
    FixedNotValid {
        /// The parameter and member.
        input: String,
        /// The first day, or `-`.
        from: String,
        /// The last day, or `-`.
        to: String,
    },
    /// The discount factor is not above 0 and at most 1.
    #[error("the discount factor DF is {0}; it must be above 0 and at most 1")]
    DiscountFactor(String),
    /// The methodology's ER is not `(RE - PE_credited) * DF`.
    #[error(
        "in {interval} the methodology gives ER = {found}, but (RE - PE_credited) * DF = {expected}"
    )]
    NotTheBalance {
        /// The interval.
        interval: String,
        /// What the formula gives.
        found: String,
        /// What the balance gives.
        expected: String,
    },
}

/// Where a sealed configuration differs from the plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "log `{origin}`, configuration in entry {entry}: point `{point}` (monitoring point {number}) {difference}"
)]
pub struct ConfigDiffers {
    /// The log.
    pub origin: String,
    /// The entry that sealed the configuration.
    pub entry: u64,
    /// The point.
    pub point: String,
    /// The monitoring point number.
    pub number: String,
    /// What differs.
    pub difference: Difference,
}

/// What differs between a sealed configuration and the plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Difference {
    /// The unit.
    #[error(
        "is sealed in `{sealed}`, but the plan says `{planned}`; state the sealed unit in the plan"
    )]
    Unit {
        /// The sealed unit.
        sealed: String,
        /// The plan's unit.
        planned: String,
    },
    /// Pressure or temperature is not beside the flow.
    #[error(
        "is not sealed in the stream of the flow; poll flow, pressure and temperature at one interval in one gateway"
    )]
    Companion,
    /// The flow cannot become a mass flow.
    #[error("cannot become a mass flow: it must be polled, with at most 9 decimals")]
    NotForDensity,
    /// A totaliser is aggregated like a state, or a state like a totaliser.
    #[error(
        "is {sealed}, which cannot be aggregated as {aggregation}; change the plan's aggregation"
    )]
    Kind {
        /// What the point is.
        sealed: &'static str,
        /// What the plan does with it.
        aggregation: &'static str,
    },
}

/// What is known about one log of the plan.
#[derive(Debug, Default)]
struct LogState {
    origin: String,
    last_entry: Option<u64>,
    declared: Vec<Declared>,
    /// The configuration that the fields below belong to, by the entry that sealed it.
    config: Option<u64>,
    /// For each point of the configuration the tracks it feeds.
    routes: Vec<Vec<Route>>,
    /// Points the plan names and the configuration lacks.
    lacks: Vec<String>,
    /// What is wrong with the configuration; matters only once it is used within the period.
    wrong: Option<ComputationError>,
    /// Points lacking within the period, with the configuration's entry.
    lacking: BTreeSet<(u64, String)>,
}

#[derive(Debug, Clone, Copy)]
struct Route {
    track: usize,
    decimals: u8,
    /// Messages: how long a value holds; polled: none, it holds for its tick.
    stale_ms: Option<i64>,
    /// Where pressure and temperature are, when the samples are made into mass flows.
    companions: Option<Companions>,
}

/// A report in the making.
#[derive(Debug)]
pub struct Computation<'a> {
    bound: &'a Bound,
    period: &'a Period,
    cells: Vec<Cell>,
    cuts: Cuts,
    logs: Vec<LogState>,
    by_origin: HashMap<&'a str, usize>,
    tracks: Vec<Track>,
    stated: Vec<String>,
}

impl<'a> Computation<'a> {
    /// Begins a report for a period.
    #[must_use]
    pub fn new(bound: &'a Bound, period: &'a Period) -> Self {
        let cells = period.cells(bound.methodology.interval);
        let cuts = Cuts::new(&cells);
        let mut tracks = Vec::new();
        for (position, input) in bound.inputs.iter().enumerate() {
            let InputSource::Point(source) = &input.source else {
                continue;
            };
            let kind = if source.aggregation == Aggregation::Increase {
                Kind::Increase(Box::new(Increase::new(
                    cells.len(),
                    source.direction,
                    source.gap.clone(),
                    source.nameplate.clone().map(|nameplate| Limit {
                        label: input.label.clone(),
                        nameplate,
                        unit: source.sum_unit.clone(),
                    }),
                )))
            } else {
                Kind::Weigh(Box::new(Weigh::new(cells.len())))
            };
            tracks.push(Track::new(position, kind));
        }
        let plan_logs = &bound.plan.logs;
        let by_origin = plan_logs
            .iter()
            .enumerate()
            .map(|(i, log)| (log.origin.as_str(), i))
            .collect();
        let logs = plan_logs
            .iter()
            .map(|log| LogState {
                origin: log.origin.as_str().to_owned(),
                ..LogState::default()
            })
            .collect();
        Self {
            bound,
            period,
            cells,
            cuts,
            logs,
            by_origin,
            tracks,
            stated: Vec::new(),
        }
    }

    /// States a reason not to rely on the report yet, such as that the period is not over.
    ///
    /// It is kept in [`Report::stated_reasons`] and not written: the bytes of a report depend on the
    /// evidence, the plan, the methodology and the period alone. Readings that end before the period
    /// does make the report provisional in any case.
    pub fn provisional(&mut self, reason: impl Into<String>) {
        self.stated.push(reason.into());
    }

    /// Takes the readings of one data entry.
    ///
    /// A segment whose time was only settled later (a start without a clock) is fed with that shift
    /// in [`Segment::shift`]; without one it is counted and never the value of an hour.
    ///
    /// # Errors
    /// A log that is not in the plan, entries out of order, a sealed configuration that does not fit
    /// the plan, overflow.
    pub fn segment(
        &mut self,
        origin: &str,
        entry_index: u64,
        leaf: &Hash,
        segment: &Segment,
    ) -> Result<(), ComputationError> {
        let log = self.log(origin)?;
        if let Some(last) = self.logs[log]
            .last_entry
            .filter(|last| *last >= entry_index)
        {
            return Err(ComputationError::EntryOrder {
                origin: origin.to_owned(),
                last,
                found: entry_index,
            });
        }
        self.logs[log].last_entry = Some(entry_index);
        let (Some(start_ms), Some(end_ms)) = (segment.start_ms(), segment.end_ms()) else {
            return Ok(());
        };
        if self.logs[log].config != Some(segment.config.index) {
            self.route(log, &segment.config);
        }
        if end_ms > self.cuts.start() && start_ms < self.cuts.end() {
            let state = &mut self.logs[log];
            if let Some(wrong) = &state.wrong {
                return Err(wrong.clone());
            }
            state.lacking.extend(
                state
                    .lacks
                    .drain(..)
                    .map(|point| (segment.config.index, point)),
            );
        }
        let Self {
            logs,
            tracks,
            cuts,
            bound,
            ..
        } = self;
        let tick_ms = i64::from(segment.tick_ms);
        for column in &segment.columns {
            let routes = logs[log]
                .routes
                .get(usize::from(column.point))
                .map_or(&[][..], Vec::as_slice);
            for route in routes {
                let track = &mut tracks[route.track];
                if track.log() != Some(log) {
                    check_log_order(bound, track, log, origin)?;
                }
                let mass = route
                    .companions
                    .map(|companions| companions.mass(segment, column, cuts, &mut track.densities));
                let column = match &mass {
                    None => column,
                    Some(Some(mass)) => mass,
                    Some(None) => continue,
                };
                let placed = Placed {
                    column,
                    start_ms,
                    end_ms,
                    tick_ms,
                    hold_ms: route.stale_ms.unwrap_or(tick_ms),
                    decimals: route.decimals,
                    log,
                    entry: entry_index,
                    leaf,
                };
                track.feed(cuts, &placed)?;
            }
        }
        Ok(())
    }

    /// Takes a gap entry: `from_ms..to_ms` of a stream was declared not to be measured.
    ///
    /// A gap is found from the readings alone; the entry says why.
    ///
    /// # Errors
    /// A log that is not in the plan.
    pub fn gap(
        &mut self,
        origin: &str,
        entry_index: u64,
        stream: u16,
        from_ms: i64,
        to_ms: i64,
        reason: &str,
    ) -> Result<(), ComputationError> {
        let log = self.log(origin)?;
        let declared = Declared {
            entry: entry_index,
            stream,
            from_ms,
            to_ms,
            reason: reason.to_owned(),
        };
        self.logs[log].declared.push(declared);
        Ok(())
    }

    /// Ends the feeding and computes the report.
    ///
    /// # Errors
    /// A formula without a result, a contradicted direction, a fixed number that is not valid,
    /// overflow.
    pub fn finish(mut self) -> Result<Report, ComputationError> {
        for track in &mut self.tracks {
            track.finish(&self.cuts)?;
        }
        compose::compose(&self)
    }

    fn log(&self, origin: &str) -> Result<usize, ComputationError> {
        self.by_origin
            .get(origin)
            .copied()
            .ok_or_else(|| ComputationError::UnknownLog(origin.to_owned()))
    }

    /// Finds the plan's points in a configuration and checks that they are what the plan says.
    fn route(&mut self, log: usize, config: &ConfigInForce) {
        let state = &mut self.logs[log];
        state.config = Some(config.index);
        state.routes = vec![Vec::new(); config.config.points.len()];
        (state.lacks, state.wrong) = (Vec::new(), None);
        for (number, track) in self.tracks.iter_mut().enumerate() {
            let InputSource::Point(source) = &self.bound.inputs[track.input].source else {
                continue;
            };
            let planned = &self.bound.plan.points[source.point];
            let of_this_log =
                |reference: &&PointReference| reference.origin.as_str() == state.origin;
            let Some(reference) = planned.sources.iter().find(of_this_log) else {
                continue;
            };
            let Some((index, point)) = config.config.point(&reference.point) else {
                state.lacks.push(reference.point.clone());
                continue;
            };
            if let Err(wrong) = check_point(
                &state.origin,
                config.index,
                point,
                planned,
                source.aggregation,
            ) {
                state.wrong.get_or_insert(wrong);
                continue;
            }
            if !track.streams.contains(&(log, point.stream)) {
                track.streams.push((log, point.stream));
            }
            let messages = config
                .config
                .stream(point.stream)
                .is_some_and(|stream| stream.messages);
            let stale_ms = point
                .stale_after_s
                .filter(|_| messages)
                .map(|seconds| i64::from(seconds) * 1000);
            let companions = match companions(&state.origin, config, point, planned) {
                Ok(companions) => companions,
                Err(wrong) => {
                    state.wrong.get_or_insert(wrong);
                    continue;
                }
            };
            let more = if companions.is_some() {
                DENSITY_DECIMALS
            } else {
                0
            };
            let route = Route {
                track: number,
                decimals: point.decimals + more,
                stale_ms,
                companions,
            };
            if let Some(routes) = state.routes.get_mut(usize::from(index)) {
                routes.push(route);
            }
        }
    }
}

/// Finds pressure and temperature beside a flow that becomes a mass flow.
fn companions(
    origin: &str,
    config: &ConfigInForce,
    flow: &Point,
    planned: &crate::plan::Point,
) -> Result<Option<Companions>, ComputationError> {
    let Some(rule) = &planned.density else {
        return Ok(None);
    };
    let differs = |point: &str, difference| {
        Err(ComputationError::ConfigDiffers(Box::new(ConfigDiffers {
            origin: origin.to_owned(),
            entry: config.index,
            point: point.to_owned(),
            number: planned.number.clone(),
            difference,
        })))
    };
    let messages = config
        .config
        .stream(flow.stream)
        .is_some_and(|stream| stream.messages);
    // A mantissa has at most 15 decimals.
    if messages || flow.decimals > 15 - DENSITY_DECIMALS {
        return differs(&flow.name, Difference::NotForDensity);
    }
    let mut found = [(0, 0); 2];
    for (place, companion) in found.iter_mut().zip([&rule.pressure, &rule.temperature]) {
        let Some((index, point)) = config.config.point(&companion.point) else {
            return differs(&companion.point, Difference::Companion);
        };
        if point.stream != flow.stream {
            return differs(&companion.point, Difference::Companion);
        }
        if point.unit != companion.unit.symbol() {
            let (sealed, planned) = (point.unit.clone(), companion.unit.symbol().to_owned());
            return differs(&companion.point, Difference::Unit { sealed, planned });
        }
        *place = (index, point.decimals);
    }
    Companions::new(rule, found[0], found[1])
        .map(Some)
        .or(Err(ComputationError::Overflow))
}

/// Checks that a sealed point is what the plan says.
fn check_point(
    origin: &str,
    entry: u64,
    point: &Point,
    planned: &crate::plan::Point,
    aggregation: Aggregation,
) -> Result<(), ComputationError> {
    let totaliser = point.kind == PointKind::Register;
    let difference = if point.unit != planned.unit.symbol() {
        let (sealed, planned) = (point.unit.clone(), planned.unit.symbol().to_owned());
        Difference::Unit { sealed, planned }
    } else if totaliser != (aggregation == Aggregation::Increase) {
        let sealed = if totaliser {
            "a totaliser"
        } else {
            "a momentary value"
        };
        Difference::Kind {
            sealed,
            aggregation: aggregation.name(),
        }
    } else {
        return Ok(());
    };
    let (origin, name, number) = (
        origin.to_owned(),
        point.name.clone(),
        planned.number.clone(),
    );
    let differs = ConfigDiffers {
        origin,
        entry,
        point: name,
        number,
        difference,
    };
    Err(ComputationError::ConfigDiffers(Box::new(differs)))
}

/// A point that was fed from a log is not fed from the log that one replaced any more.
fn check_log_order(
    bound: &Bound,
    track: &Track,
    log: usize,
    origin: &str,
) -> Result<(), ComputationError> {
    let (Some(before), InputSource::Point(source)) =
        (track.log(), &bound.inputs[track.input].source)
    else {
        return Ok(());
    };
    let point = &bound.plan.points[source.point];
    let position = |log: usize| {
        point
            .sources
            .iter()
            .position(|s| s.origin == bound.plan.logs[log].origin)
    };
    if position(log) > position(before) {
        return Ok(());
    }
    Err(ComputationError::LogOrder {
        origin: origin.to_owned(),
        number: point.number.clone(),
    })
}
