//! `POST /v1/enrol`: a log enters by a code that works once. No key is accepted unknown.

use std::net::SocketAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use evidence::chain::Chain;
use evidence::checkpoint::log_vkey;
use evidence::hash::Origin;
use evidence::note::Vkey;
use evidence::wire::{Record, Upload};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use store::{Append, Enrol, Enrolled, LogId, LogRef};

use crate::admission::{self, Covered};
use crate::answer::Answer;
use crate::clock::Doubt;
use crate::limits::peer_of;
use crate::server::Collector;

/// What a gateway sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// The public half of the code.
    code_id: String,
    /// The genesis entry, base64.
    entry0: String,
    /// The checkpoint of size 1, signed by the log's key.
    checkpoint: String,
    /// HMAC-SHA256 over the genesis entry's bytes with the code's secret (its 16 bytes), hex.
    mac: String,
    /// The log's key as verifiers write it.
    log_vkey: String,
}

/// What it gets.
#[derive(Debug, Serialize)]
pub(crate) struct Response {
    /// Bearer token for everything else; it proves nothing but who sends.
    token: String,
    /// The key that our cosignatures are made with.
    witness_vkey: String,
    /// SHA-256 of the origin, hex.
    log_id: String,
}

impl Request {
    pub(crate) fn code_id(&self) -> &str {
        &self.code_id
    }
}

impl Response {
    /// Token, cosigner's key, log id.
    pub(crate) fn into_parts(self) -> (String, String, String) {
        (self.token, self.witness_vkey, self.log_id)
    }
}

/// The largest enrolment: a genesis entry is below 1 KiB.
const MOST_BYTES: usize = 64 << 10;

pub(crate) async fn enrol(
    State(collector): State<Collector>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Response>, Answer> {
    // Guessing codes is slow for each peer, and nobody else waits for it. Taken before the work, so
    // that many at once count too, and given back unless it was the peer that failed.
    let peer = peer_of(address.ip());
    collector
        .enrolments
        .take(peer, collector.clock.now_ms())
        .map_err(|after_s| Answer::Later {
            status: StatusCode::TOO_MANY_REQUESTS,
            after_s,
            reason: format!("too many enrolments from {peer} were refused in the last minute"),
        })?;
    let outcome = collector.enrol_body(&headers, body).await;
    if !matches!(outcome, Err(Answer::Refused { .. })) {
        collector.enrolments.give_back(peer);
    }
    outcome.map(Json)
}

impl Collector {
    async fn enrol_body(&self, headers: &HeaderMap, body: Body) -> Result<Response, Answer> {
        let body = self.read_body(headers, body, MOST_BYTES).await?;
        let request: Request = serde_json::from_slice(&body)
            .map_err(|error| Answer::bad_request("enrolment", format!("enrolment: {error}")))?;
        self.enrol(&request).await
    }

    pub(crate) async fn enrol(&self, request: &Request) -> Result<Response, Answer> {
        let wrong = |field: &str, why: String| {
            Answer::bad_request("enrolment", format!("enrolment, `{field}`: {why}"))
        };
        let entry0 = STANDARD
            .decode(&request.entry0)
            .map_err(|error| wrong("entry0", error.to_string()))?;
        let mac = hex::decode(&request.mac).map_err(|error| wrong("mac", error.to_string()))?;
        // Who knows the code comes before what they say. One answer for an unknown code and a wrong
        // HMAC, so that nobody learns which codes exist.
        let refused = || {
            Answer::refused(
                StatusCode::FORBIDDEN,
                "code",
                "the enrolment code is unknown or its secret does not fit; ask for a new one",
            )
        };
        let code = self
            .store
            .code(&request.code_id)
            .await?
            .ok_or_else(refused)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &code.secret);
        // ring compares in constant time.
        hmac::verify(&key, &entry0, &mac).map_err(|_differs| refused())?;

        let vkey =
            Vkey::parse(&request.log_vkey).map_err(|error| wrong("log_vkey", error.to_string()))?;
        let origin =
            Origin::parse(vkey.name()).map_err(|error| wrong("log_vkey", error.to_string()))?;
        let (chain, record) = genesis(&origin, &vkey, &entry0)?;
        let records = vec![record.0];
        let upload = Upload {
            old: 0,
            note: request.checkpoint.as_bytes(),
            records,
        };
        let covered = match admission::covered(&upload, &request.log_vkey) {
            Ok(Ok(covered)) => covered,
            Ok(Err(refusal)) => {
                return Err(Answer::refused(
                    refusal.status,
                    refusal.code,
                    refusal.reason,
                ));
            }
            Err(error) => return Err(wrong("log_vkey", error.to_string())),
        };
        if covered.checkpoint.root != chain.root() {
            let why = "its root is not that of the genesis entry".to_owned();
            return Err(wrong("checkpoint", why));
        }
        let log = LogRef {
            site: code.site,
            log: LogId(origin.id().0),
        };
        let (token, enrol) = self.enrolment(request, log, &vkey, &chain, record.1, &covered)?;
        let (outcome, refused) = match self.store.enrol(&enrol).await? {
            Enrolled::New(_) => ("new", None),
            Enrolled::Again(_) => ("again", None),
            Enrolled::UnknownCode => return Err(refused()),
            Enrolled::Expired => (
                "",
                Some("the enrolment code has expired; ask for a new one"),
            ),
            Enrolled::Used => ("", Some("the enrolment code was used by another gateway")),
            Enrolled::Delivered(_) => (
                "",
                Some(
                    "the enrolment code was used by this log, which has delivered since; a gateway that lost its token needs another code",
                ),
            ),
            Enrolled::OriginTaken => (
                "",
                Some(
                    "a log of this origin is enrolled with another genesis entry or at another site; give the gateway another id",
                ),
            ),
        };
        if let Some(reason) = refused {
            tracing::warn!(log.origin = %origin, code.id = request.code_id, reason, "Refused an enrolment");
            return Err(Answer::refused(StatusCode::FORBIDDEN, "code", reason));
        }
        tracing::info!(log.origin = %origin, code.id = request.code_id, outcome, "Enrolled a log");
        Ok(Response {
            token,
            witness_vkey: self.cosigner.vkey().to_string(),
            log_id: log.log.to_hex(),
        })
    }

    /// Draws the token and makes the transaction.
    fn enrolment(
        &self,
        request: &Request,
        log: LogRef,
        vkey: &Vkey,
        chain: &Chain,
        row: store::NewRow,
        covered: &Covered,
    ) -> Result<(String, Enrol), Answer> {
        let mut random = [0; 32];
        SystemRandom::new().fill(&mut random).map_err(|_none| {
            tracing::error!("The machine gave no randomness for a token");
            Answer::Failed
        })?;
        let token = URL_SAFE_NO_PAD.encode(random);
        let now_ms = self.clock.now_ms();
        let doubtful = |doubt: Doubt| doubt.answer(vkey.name());
        let (note, cosigned_s) =
            admission::cosign(covered, 0, &self.cosigner, now_ms).map_err(doubtful)?;
        self.watch.check(&*self.clock).map_err(doubtful)?;
        let genesis = Append {
            log,
            old_size: 0,
            new_size: 1,
            new_root: chain.root().0,
            chain: chain.encode(),
            rows: vec![row],
            hours: Vec::new(),
            replaced: Vec::new(),
            merge: admission::merge_hours,
            placements: Vec::new(),
            note: note.to_bytes(),
            cosigned_s,
            trail: true,
            now_ms,
        };
        let enrol = Enrol {
            code_id: request.code_id.clone(),
            origin: vkey.name().to_owned(),
            log_key: *vkey.key().bytes(),
            log_vkey: request.log_vkey.clone(),
            token: evidence::hash::sha256(token.as_bytes()).0,
            genesis,
        };
        Ok((token, enrol))
    }
}

/// Checks a genesis entry by the state machine of every log, and that it names this very key.
fn genesis<'a>(
    origin: &Origin,
    vkey: &Vkey,
    entry0: &'a [u8],
) -> Result<(Chain, (Record<'a>, store::NewRow)), Answer> {
    let refused = |code, reason: String| {
        Answer::refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            code,
            format!("genesis entry: {reason}"),
        )
    };
    let mut chain = Chain::new(origin.clone());
    let record = Record {
        entry: entry0,
        payload: Some(&[]),
    };
    let applied = chain
        .apply(entry0, record.payload)
        .map_err(|rejection| refused(rejection.code(), rejection.to_string()))?;
    let named = chain
        .genesis()
        .map(|genesis| log_vkey(origin, &genesis.log_key));
    if named.as_ref() != Some(vkey) {
        return Err(refused(
            "E11",
            "it names another log key than `log_vkey`".to_owned(),
        ));
    }
    let row = admission::new_row(&record, &applied);
    Ok((chain, (record, row)))
}
