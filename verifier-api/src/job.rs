//! Long work in the background, with its progress.
//!
//! Jobs live in memory: a restart forgets those under way, and whoever waits asks again. What they
//! make is in the store before they say that they are done.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobState {
    /// Under way.
    Running,
    /// The report is in the store.
    Done,
    /// It could not be computed; `problem` says why.
    Failed,
}

/// A job as it stands.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobView {
    pub(crate) state: JobState,
    /// Entries checked so far.
    pub(crate) entries_done: u64,
    /// Entries to check; 0 while that is not known yet.
    pub(crate) entries_total: u64,
    /// The version that it makes; null until it is made.
    pub(crate) version: Option<u64>,
    pub(crate) problem: Option<Problem>,
}

/// A running job's counters.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done: AtomicU64,
    pub(crate) total: AtomicU64,
}

#[derive(Debug)]
struct Job {
    progress: Arc<Progress>,
    end: Option<Result<u64, Problem>>,
}

/// The jobs of this process, by project and report id. A new one replaces the ended one before.
#[derive(Debug)]
pub(crate) struct Jobs {
    table: Mutex<BTreeMap<(String, String), Job>>,
    /// How many may run at once: each reads whole logs.
    pub(crate) slots: Arc<tokio::sync::Semaphore>,
}

/// Jobs that run at once; others wait their turn.
const MOST_AT_ONCE: usize = 2;
/// Ended jobs that are remembered.
const MOST_REMEMBERED: usize = 1000;

impl Default for Jobs {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            slots: Arc::new(tokio::sync::Semaphore::new(MOST_AT_ONCE)),
        }
    }
}

impl Jobs {
    /// Begins a job; `None` if the same one is under way.
    pub(crate) fn begin(&self, project: &str, id: &str) -> Option<Arc<Progress>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (project.to_owned(), id.to_owned());
        if table.get(&key).is_some_and(|job| job.end.is_none()) {
            return None;
        }
        if table.len() >= MOST_REMEMBERED {
            table.retain(|_, job| job.end.is_none());
        }
        let progress = Arc::new(Progress::default());
        let job = Job {
            progress: Arc::clone(&progress),
            end: None,
        };
        table.insert(key, job);
        Some(progress)
    }

    /// Ends a job with the version it made or the problem it met.
    pub(crate) fn end(&self, project: &str, id: &str, end: Result<u64, Problem>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = table.get_mut(&(project.to_owned(), id.to_owned())) {
            job.end = Some(end);
        }
    }

    /// The newest job of a report.
    pub(crate) fn view(&self, project: &str, id: &str) -> Option<JobView> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let job = table.get(&(project.to_owned(), id.to_owned()))?;
        let (state, version, problem) = match &job.end {
            None => (JobState::Running, None, None),
            Some(Ok(version)) => (JobState::Done, Some(*version), None),
            Some(Err(problem)) => (JobState::Failed, None, Some(problem.clone())),
        };
        Some(JobView {
            state,
            entries_done: job.progress.done.load(Ordering::Relaxed),
            entries_total: job.progress.total.load(Ordering::Relaxed),
            version,
            problem,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{JobState, Jobs};
    use crate::problem::Problem;

    #[test]
    fn a_job_runs_once_at_a_time_and_can_be_repeated_after_its_end() {
        let jobs = Jobs::default();
        assert!(jobs.begin("p", "r").is_some());
        assert!(jobs.begin("p", "r").is_none(), "it is under way");
        assert!(jobs.begin("q", "r").is_some(), "another project's");
        assert_eq!(jobs.view("p", "r").unwrap().state, JobState::Running);
        jobs.end("p", "r", Err(Problem::refused("no")));
        assert_eq!(jobs.view("p", "r").unwrap().state, JobState::Failed);
        assert!(jobs.begin("p", "r").is_some());
        jobs.end("p", "r", Ok(2));
        assert_eq!(jobs.view("p", "r").unwrap().version, Some(2));
        assert!(jobs.view("p", "other").is_none());
    }
}
