//! Projects, their plans and reports. Written rarely; every version stays.

use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, from_db, hash_from_db, to_db};
use crate::ids::SiteId;

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// A short name for addresses.
    pub id: String,
    /// The full name.
    pub name: String,
    /// When it was created.
    pub created_ms: i64,
}

/// One version of a project's monitoring plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Counted from 1.
    pub version: u64,
    /// SHA-256 of the text.
    pub hash: [u8; 32],
    /// The text, byte for byte.
    pub text: String,
    /// The decision that approved it.
    pub decision: String,
    /// Who applied it.
    pub applied_by: String,
    /// When.
    pub applied_ms: i64,
}

/// What lists show of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSummary {
    /// The report's id, unique in its project.
    pub id: String,
    /// Counted from 1.
    pub version: u64,
    /// A word of the API, such as `draft` or `issued`.
    pub status: String,
    /// `[from, to)` in unix milliseconds.
    pub period_ms: (i64, i64),
    /// The hash of the plan it was computed with.
    pub plan_hash: [u8; 32],
    /// JSON: the size of each log it was computed from.
    pub pinned: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_ms: i64,
}

/// A report, as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What lists show.
    pub summary: ReportSummary,
    /// The report's JSON, byte for byte.
    pub body: Vec<u8>,
}

type RawSummary = (String, i64, String, i64, i64, Vec<u8>, String, String, i64);

fn summary_from_db(raw: RawSummary) -> Result<ReportSummary, StoreError> {
    let (id, version, status, from_ms, to_ms, plan_hash, pinned, created_by, created_ms) = raw;
    Ok(ReportSummary {
        id,
        version: from_db("reports.version", version)?,
        status,
        period_ms: (from_ms, to_ms),
        plan_hash: hash_from_db("reports.plan_hash", &plan_hash)?,
        pinned,
        created_by,
        created_ms,
    })
}

type RawPlan = (i64, Vec<u8>, String, String, String, i64);

fn plan_from_db(raw: RawPlan) -> Result<Plan, StoreError> {
    let (version, hash, text, decision, applied_by, applied_ms) = raw;
    Ok(Plan {
        version: from_db("plans.version", version)?,
        hash: hash_from_db("plans.hash", &hash)?,
        text,
        decision,
        applied_by,
        applied_ms,
    })
}

impl Store {
    /// Creates a project, or renames the one of this id.
    pub async fn put_project(&self, project: &Project) -> Result<(), StoreError> {
        transaction!(self, "put project", |conn| {
            sqlx::query(
                "INSERT INTO projects (project_id, name, created_ms) VALUES ($1, $2, $3) \
                 ON CONFLICT (project_id) DO UPDATE SET name = excluded.name",
            )
            .bind(&*project.id)
            .bind(&*project.name)
            .bind(project.created_ms)
            .execute(&mut *conn)
            .await?;
        })
    }

    /// Lists all projects by id.
    pub async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        let rows: Vec<(String, String, i64)> = reading!(self, "projects", |conn| {
            sqlx::query_as("SELECT project_id, name, created_ms FROM projects ORDER BY project_id")
                .fetch_all(&mut *conn)
                .await?
        })?;
        Ok(rows
            .into_iter()
            .map(|(id, name, created_ms)| Project {
                id,
                name,
                created_ms,
            })
            .collect())
    }

    /// Says which sites a project has, replacing what was said before.
    pub async fn set_project_sites(
        &self,
        project: &str,
        sites: &[SiteId],
    ) -> Result<(), StoreError> {
        transaction!(self, "set project sites", |conn| {
            sqlx::query("DELETE FROM project_sites WHERE project_id = $1")
                .bind(project)
                .execute(&mut *conn)
                .await?;
            for site in sites {
                sqlx::query(
                    "INSERT INTO project_sites (project_id, site_id) VALUES ($1, $2) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(project)
                .bind(site.0)
                .execute(&mut *conn)
                .await?;
            }
        })
    }

    /// Lists the sites of a project.
    pub async fn project_sites(&self, project: &str) -> Result<Vec<SiteId>, StoreError> {
        let sites: Vec<i64> = reading!(self, "project sites", |conn| {
            sqlx::query_scalar(
                "SELECT site_id FROM project_sites WHERE project_id = $1 ORDER BY site_id",
            )
            .bind(project)
            .fetch_all(&mut *conn)
            .await?
        })?;
        Ok(sites.into_iter().map(SiteId).collect())
    }

    /// Adds a version of a plan; `plan.version` is one more than the newest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if that version is there, [`StoreError::Misuse`] if it would leave a
    /// hole.
    pub async fn add_plan(&self, project: &str, plan: &Plan) -> Result<(), StoreError> {
        let version = to_db("plan version", plan.version)?;
        let newest: i64 = transaction!(self, "add plan", |conn| {
            let newest: i64 = sqlx::query_scalar(
                "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM plans WHERE project_id = $1",
            )
            .bind(project)
            .fetch_one(&mut *conn)
            .await?;
            if newest + 1 == version {
                sqlx::query(
                    "INSERT INTO plans (project_id, version, hash, text, decision, applied_by, \
                     applied_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(project)
                .bind(version)
                .bind(&plan.hash[..])
                .bind(&*plan.text)
                .bind(&*plan.decision)
                .bind(&*plan.applied_by)
                .bind(plan.applied_ms)
                .execute(&mut *conn)
                .await?;
            }
            newest
        })?;
        match version - newest {
            1 => Ok(()),
            step if step <= 0 => Err(StoreError::Exists {
                what: format!("version {version} of the plan of `{project}`"),
            }),
            _ => Err(StoreError::Misuse(format!(
                "plan version {version} of `{project}` after version {newest}"
            ))),
        }
    }

    /// Returns the newest plan of a project.
    pub async fn newest_plan(&self, project: &str) -> Result<Option<Plan>, StoreError> {
        let raw: Option<RawPlan> = reading!(self, "newest plan", |conn| {
            sqlx::query_as(
                "SELECT version, hash, text, decision, applied_by, applied_ms FROM plans \
                 WHERE project_id = $1 ORDER BY version DESC LIMIT 1",
            )
            .bind(project)
            .fetch_optional(&mut *conn)
            .await?
        })?;
        raw.map(plan_from_db).transpose()
    }

    /// Lists all versions of a project's plan, oldest first.
    pub async fn plans(&self, project: &str) -> Result<Vec<Plan>, StoreError> {
        let raw: Vec<RawPlan> = reading!(self, "plans", |conn| {
            sqlx::query_as(
                "SELECT version, hash, text, decision, applied_by, applied_ms FROM plans \
                 WHERE project_id = $1 ORDER BY version",
            )
            .bind(project)
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(plan_from_db).collect()
    }

    /// Adds a report or a further version of one; the bytes are kept as given.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if that version is there.
    pub async fn add_report(&self, project: &str, report: &Report) -> Result<(), StoreError> {
        let summary = &report.summary;
        let version = to_db("report version", summary.version)?;
        let done = transaction!(self, "add report", |conn| {
            sqlx::query(
                "INSERT INTO reports (project_id, report_id, version, status, from_ms, to_ms, \
                 plan_hash, pinned, body, created_by, created_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
            )
            .bind(project)
            .bind(&*summary.id)
            .bind(version)
            .bind(&*summary.status)
            .bind(summary.period_ms.0)
            .bind(summary.period_ms.1)
            .bind(&summary.plan_hash[..])
            .bind(&*summary.pinned)
            .bind(&*report.body)
            .bind(&*summary.created_by)
            .bind(summary.created_ms)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        })?;
        if done == 0 {
            let what = format!("version {version} of report `{}`", summary.id);
            return Err(StoreError::Exists { what });
        }
        Ok(())
    }

    /// Lists the reports of a project, newest first, at most `most`.
    pub async fn reports(
        &self,
        project: &str,
        most: u32,
    ) -> Result<Vec<ReportSummary>, StoreError> {
        let raw: Vec<RawSummary> = reading!(self, "reports", |conn| {
            sqlx::query_as(
                "SELECT report_id, version, status, from_ms, to_ms, plan_hash, pinned, created_by, \
                 created_ms FROM reports WHERE project_id = $1 \
                 ORDER BY created_ms DESC, report_id, version DESC LIMIT $2",
            )
            .bind(project)
            .bind(i64::from(most))
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(summary_from_db).collect()
    }

    /// Returns a report; the newest version if none is named.
    pub async fn report(
        &self,
        project: &str,
        id: &str,
        version: Option<u64>,
    ) -> Result<Option<Report>, StoreError> {
        type Raw = (
            String,
            i64,
            String,
            i64,
            i64,
            Vec<u8>,
            String,
            String,
            i64,
            Vec<u8>,
        );
        let version = version
            .map(|version| to_db("report version", version))
            .transpose()?;
        let raw: Option<Raw> = reading!(self, "report", |conn| {
            sqlx::query_as(
                "SELECT report_id, version, status, from_ms, to_ms, plan_hash, pinned, created_by, \
                 created_ms, body FROM reports WHERE project_id = $1 AND report_id = $2 \
                 AND (version = $3 OR $3 = 0) ORDER BY version DESC LIMIT 1",
            )
            .bind(project)
            .bind(id)
            .bind(version.unwrap_or(0))
            .fetch_optional(&mut *conn)
            .await?
        })?;
        let Some((id, version, status, from, to, plan, pinned, by, at, body)) = raw else {
            return Ok(None);
        };
        let summary = summary_from_db((id, version, status, from, to, plan, pinned, by, at))?;
        Ok(Some(Report { summary, body }))
    }
}
