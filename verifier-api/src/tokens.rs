//! Access tokens: made here, shown once, kept as hashes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use store::{Store, Token};

use crate::role::Role;

/// What a new token is for.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is; lists and the access log show it.
    pub label: String,
    /// What its owner is.
    pub role: Role,
    /// The projects it may see; empty for all, which only admin and supervisor may have.
    pub projects: Vec<String>,
    /// How long it is good, in days, 1 to 1100.
    pub days: u32,
}

const DAY_MS: i64 = 86_400_000;

/// Makes a token and stores its hash. The text returned is nowhere kept.
///
/// # Errors
/// A project that does not exist, a missing scope, or the store's failure.
pub async fn create(store: &Store, new: &NewToken, now_ms: i64) -> anyhow::Result<String> {
    anyhow::ensure!(
        !new.projects.is_empty() || matches!(new.role, Role::Admin | Role::Supervisor),
        "a {} needs --project: only admin and supervisor may have a token for all projects",
        new.role.name()
    );
    anyhow::ensure!(
        (1..=1100).contains(&new.days),
        "--days is between 1 and 1100"
    );
    anyhow::ensure!(
        !new.label.trim().is_empty() && !new.label.chars().any(char::is_control),
        "--label must name whose token it is"
    );
    let known = store.projects().await?;
    for project in &new.projects {
        anyhow::ensure!(
            known.iter().any(|known| known.id == *project),
            "there is no project `{project}`; `plan apply` creates one; there are: {}",
            known
                .iter()
                .map(|known| known.id.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    let mut random = [0; 32];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_unspecified| anyhow::anyhow!("the system gives no random numbers"))?;
    let secret = format!("fsv_{}", URL_SAFE_NO_PAD.encode(random));
    let token = Token {
        label: new.label.clone(),
        role: new.role.name().to_owned(),
        projects: new.projects.clone(),
        created_ms: now_ms,
        expires_ms: now_ms + i64::from(new.days) * DAY_MS,
        revoked_ms: None,
    };
    store.create_token(&secret, &token).await?;
    Ok(secret)
}
