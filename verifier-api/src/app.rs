//! What every handler shares.

use std::sync::Arc;

use quantification::methodology::Methodology;
use ring::rand::{SecureRandom as _, SystemRandom};
use store::{LogRef, SiteId, Store};

use crate::clock::Clock;
use crate::job::Jobs;
use crate::live::Hub;
use crate::problem::Answer;
use crate::session::Sessions;
use crate::today::Today;

/// The server's state; one per process, shared by all handlers.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sessions: Sessions,
    pub(crate) live: Hub,
    pub(crate) jobs: Jobs,
    pub(crate) today: Today,
    pub(crate) project_logs: crate::project_log::Writer,
    /// Besides the shipped ones.
    pub(crate) methodologies: Vec<Methodology>,
    /// Whether the server itself speaks TLS.
    pub(crate) tls: bool,
    pub(crate) random: SystemRandom,
}

pub(crate) type Shared = Arc<App>;

impl App {
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Random bytes; the system's generator does not fail once it has been seeded.
    pub(crate) fn random<const N: usize>(&self) -> Answer<[u8; N]> {
        let mut bytes = [0; N];
        self.random
            .fill(&mut bytes)
            .map_err(|_unspecified| crate::problem::Problem::internal(&"no random numbers"))?;
        Ok(bytes)
    }

    /// The methodology of this id, and of this version if several are known.
    pub(crate) fn methodology(&self, id: &str) -> Option<Methodology> {
        let own = self.methodologies.iter().find(|known| known.id == id);
        own.cloned().or_else(|| crate::plan::shipped(id))
    }

    /// Writes into the access log before anything is handed out. Without it nothing is.
    pub(crate) async fn note_access(
        &self,
        who: &str,
        site: SiteId,
        log: Option<LogRef>,
        what: String,
    ) -> Answer<()> {
        let nonce = i64::from_be_bytes(self.random()?);
        let access = store::Access {
            at_ms: self.now_ms(),
            site,
            log: log.map(|log| log.log),
            who: who.to_owned(),
            what,
        };
        Ok(self.store.note_access(&access, nonce).await?)
    }
}
