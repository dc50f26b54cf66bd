//! Tokens, access log, projects, plans, reports.

use store::{Access, Plan, Project, Report, ReportSummary, StoreError, Token, TokenState};

use crate::bed::{Bed, NOW};
use crate::on_both;

fn token(projects: &[&str]) -> Token {
    Token {
        label: "verifier one".to_owned(),
        role: "verifier".to_owned(),
        projects: projects.iter().map(|&project| project.to_owned()).collect(),
        created_ms: NOW,
        expires_ms: NOW + 100,
        revoked_ms: None,
    }
}

fn plan(version: u64) -> Plan {
    Plan {
        version,
        hash: [3; 32],
        text: format!("version = {version}\n"),
        decision: "JC 2026-01".to_owned(),
        applied_by: "admin".to_owned(),
        applied_ms: NOW,
    }
}

fn report(version: u64) -> Report {
    let summary = ReportSummary {
        id: "2026-01".to_owned(),
        version,
        status: "draft".to_owned(),
        period_ms: (NOW, NOW + 9),
        plan_hash: [3; 32],
        pinned: "{\"log\":12}".to_owned(),
        created_by: "preparer".to_owned(),
        created_ms: NOW + i64::try_from(version).unwrap(),
    };
    Report {
        summary,
        body: format!("{{\"version\": {version}}}").into_bytes(),
    }
}

on_both! {
    async fn a_token_is_good_until_it_expires_or_is_revoked(bed: &Bed) {
        let store = &bed.store;
        store.create_token("s3cret", &token(&[])).await.unwrap();
        assert!(matches!(
            store.create_token("s3cret", &token(&[])).await,
            Err(StoreError::Exists { .. })
        ));
        assert_eq!(store.check_token("s3cret", NOW).await.unwrap(), TokenState::Valid(token(&[])));
        assert_eq!(store.check_token("s3cret", NOW + 100).await.unwrap(), TokenState::Expired);
        assert_eq!(store.check_token("S3cret", NOW).await.unwrap(), TokenState::Unknown);
        assert_eq!(store.revoke_tokens("verifier one", NOW + 5).await.unwrap(), 1);
        assert_eq!(store.revoke_tokens("verifier one", NOW + 6).await.unwrap(), 0);
        assert_eq!(store.check_token("s3cret", NOW).await.unwrap(), TokenState::Revoked);
        let revoked = Token { revoked_ms: Some(NOW + 5), ..token(&[]) };
        assert_eq!(store.tokens().await.unwrap(), vec![revoked]);
    }

    async fn a_token_covers_the_sites_of_its_projects_only(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let covers = async |projects: &[&str]| {
            bed.store.log_for(&token(projects), log.log).await.unwrap() == Some(log)
        };
        assert!(covers(&[]).await);
        assert!(!covers(&["p1"]).await);
        bed.store.set_project_sites("p1", &[log.site, log.site]).await.unwrap();
        assert!(covers(&["p1"]).await);
        assert!(covers(&["p0", "p1"]).await);
        assert!(!covers(&["p2"]).await);
        assert_eq!(bed.store.project_sites("p1").await.unwrap(), vec![log.site]);
        bed.store.set_project_sites("p1", &[]).await.unwrap();
        assert!(!covers(&["p1"]).await);
    }

    async fn reads_of_evidence_are_listed_newest_first(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let access = |at_ms, what: &str| Access {
            at_ms,
            site: log.site,
            log: (at_ms != NOW).then_some(log.log),
            who: "verifier one".to_owned(),
            what: what.to_owned(),
        };
        for (nonce, at) in [(5, NOW), (6, NOW + 1), (7, NOW + 1), (8, NOW + 2)] {
            bed.store.note_access(&access(at, &format!("read {nonce}")), nonce).await.unwrap();
        }
        let read = bed.store.accesses(log.site, NOW..NOW + 2, 2).await.unwrap();
        assert_eq!(read, vec![access(NOW + 1, "read 6"), access(NOW + 1, "read 7")]);
        let all = bed.store.accesses(log.site, NOW..NOW + 3, 9).await.unwrap();
        assert_eq!(all.last(), Some(&access(NOW, "read 5")));
    }

    async fn every_version_of_a_plan_stays_and_none_is_skipped(bed: &Bed) {
        let project =
            Project { id: "p1".to_owned(), name: "Project One".to_owned(), created_ms: NOW };
        bed.store.put_project(&project).await.unwrap();
        bed.store.put_project(&project).await.unwrap();
        assert_eq!(bed.store.projects().await.unwrap(), vec![project]);
        assert_eq!(bed.store.newest_plan("p1").await.unwrap(), None);
        bed.store.add_plan("p1", &plan(1)).await.unwrap();
        assert!(matches!(
            bed.store.add_plan("p1", &plan(3)).await,
            Err(StoreError::Misuse(_))
        ));
        assert!(matches!(
            bed.store.add_plan("p1", &plan(1)).await,
            Err(StoreError::Exists { .. })
        ));
        bed.store.add_plan("p1", &plan(2)).await.unwrap();
        assert_eq!(bed.store.newest_plan("p1").await.unwrap(), Some(plan(2)));
        assert_eq!(bed.store.plans("p1").await.unwrap(), vec![plan(1), plan(2)]);
    }

    async fn a_report_is_kept_byte_for_byte_in_every_version(bed: &Bed) {
        bed.store.add_report("p1", &report(1)).await.unwrap();
        bed.store.add_report("p1", &report(2)).await.unwrap();
        assert!(matches!(
            bed.store.add_report("p1", &report(2)).await,
            Err(StoreError::Exists { .. })
        ));
        let read = async |version| bed.store.report("p1", "2026-01", version).await.unwrap();
        assert_eq!(read(None).await, Some(report(2)));
        assert_eq!(read(Some(1)).await, Some(report(1)));
        assert_eq!(read(Some(3)).await, None);
        let listed = bed.store.reports("p1", 9).await.unwrap();
        assert_eq!(listed, vec![report(2).summary, report(1).summary]);
        assert!(bed.store.reports("p2", 9).await.unwrap().is_empty());
    }
}
