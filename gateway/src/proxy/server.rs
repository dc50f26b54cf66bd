//! The Modbus TCP server towards clients nobody trusts.
//!
//! Not `tokio-modbus`'s server, whose behaviour under hostile input does not fit here (0.17): it
//! ends at the first failed `accept`, has no limit of connections and no time limits, waits for up
//! to 64 KiB before it looks at the protocol id, closes the connection upon a malformed write where
//! a client deserves an exception, and multiplies a client's count unchecked.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::clients::Place;
use super::request::{self, HEADER, Header, LONGEST_PDU, NO_PATH, Refusal};
use super::{Offers, State};
use crate::config::ProxyConfig;

/// How long a client may take for the rest of a request it has begun.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to accept an answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The pause before a listener that could not be opened is tried again.
const REOPEN: Duration = Duration::from_secs(10);

/// Addresses turned away that are remembered, so that each is logged once.
const MOST_STRANGERS: usize = 64;

/// What every connection needs.
struct Context {
    config: ProxyConfig,
    offers: Offers,
    state: Arc<State>,
    strangers: Mutex<HashSet<IpAddr>>,
}

/// Serves for good. A listener that cannot be opened is tried again and again: recording does not
/// depend on it.
pub(super) async fn serve(config: ProxyConfig, offers: Offers, state: Arc<State>) {
    let context = Arc::new(Context {
        config,
        offers,
        state,
        strangers: Mutex::default(),
    });
    let listen = context.config.listen;
    let mut is_first = true;
    let listener = loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => break listener,
            Err(error) => {
                let text = format!("{error}: {}", remedy(&error, listen));
                if is_first {
                    error!(
                        proxy.listen = %listen,
                        "Proxy cannot listen on {listen}: {text}; recording goes on, tried again every {} s",
                        REOPEN.as_secs()
                    );
                }
                is_first = false;
                context.state.set_trouble(Some(text));
                sleep(REOPEN).await;
            }
        }
    };
    context.state.set_address(listener.local_addr().ok());
    context.state.set_trouble(None);
    info!(proxy.listen = %listen, "Proxy answers reads on {listen}; writes are refused");
    accept(&listener, &context).await;
}

/// What to do about a listener that cannot be opened.
fn remedy(error: &io::Error, listen: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program has the port (`ss -ltnp sport = :{}` names it); stop it or choose another port",
            listen.port()
        ),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 belong to root; choose 1502 or another above".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}; `ip address` shows those it has",
            listen.ip()
        ),
        _ => "check listen in [[proxy]]".to_owned(),
    }
}

async fn accept(listener: &TcpListener, context: &Arc<Context>) {
    let mut connections = JoinSet::new();
    loop {
        // Ended connections are let go of as new ones come.
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly too many open files: what helps is time.
                debug!("Proxy could not accept a connection: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let allow = &context.config.allow;
        if !allow.iter().any(|network| network.contains(peer.ip())) {
            context.turned_away(peer);
            continue;
        }
        let Some(place) = context.state.clients.enter(Instant::now()) else {
            context.state.counts.full.fetch_add(1, Ordering::Relaxed);
            debug!("Proxy has no place for {peer}");
            continue;
        };
        let id = place.id();
        let its = Arc::clone(context);
        let task = connections.spawn(async move {
            if let Err(error) = converse(stream, &its, place).await {
                debug!("Proxy closed the connection of {peer}: {error}");
            }
        });
        context.state.clients.ends_by(id, task);
    }
}

impl Context {
    fn turned_away(&self, peer: SocketAddr) {
        self.state
            .counts
            .turned_away
            .fetch_add(1, Ordering::Relaxed);
        let mut strangers = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ip = peer.ip().to_canonical();
        if strangers.len() < MOST_STRANGERS && strangers.insert(ip) {
            let listen = self.config.listen;
            warn!(
                proxy.listen = %listen,
                "Proxy on {listen} turned {ip} away; if it may read, add it to allow in [[proxy]]"
            );
        }
    }
}

/// One connection, until it ends, breaks the protocol or takes too long.
async fn converse(stream: TcpStream, context: &Context, mut place: Place) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(HEADER + LONGEST_PDU, read);
    let mut pdu = [0; LONGEST_PDU];
    loop {
        let mut first = 0;
        let idle = context.config.idle_timeout;
        match timeout(idle, read.read(std::slice::from_mut(&mut first))).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(read) => read?,
            Err(_elapsed) => return Err(io::Error::other("no request for too long")),
        };
        let request = async {
            let mut rest = [0; HEADER - 1];
            read.read_exact(&mut rest).await?;
            let [b, c, d, e, f, g] = rest;
            let header = Header::read([first, b, c, d, e, f, g]).map_err(|malformed| {
                context
                    .state
                    .counts
                    .malformed
                    .fetch_add(1, Ordering::Relaxed);
                io::Error::new(io::ErrorKind::InvalidData, malformed)
            })?;
            let pdu = pdu.get_mut(..header.pdu).unwrap_or_default();
            read.read_exact(pdu).await?;
            Ok::<_, io::Error>((header, &*pdu))
        };
        let (header, pdu) = timeout(REQUEST_TIME, request)
            .await
            .map_err(|_elapsed| io::Error::other("a request that never ends"))??;
        place.asked().await;
        let answer = answer(context, header, pdu).await;
        timeout(ANSWER_TIME, write.write_all(&answer))
            .await
            .map_err(|_elapsed| io::Error::other("does not take its answer"))??;
    }
}

/// The bytes that answer a request.
async fn answer(context: &Context, header: Header, pdu: &[u8]) -> Vec<u8> {
    let counts = &context.state.counts;
    let span = match request::read(pdu) {
        Ok(span) => span,
        Err(refusal) => {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            return request::refusal(header, refusal);
        }
    };
    let Some(offer) = context.offers.get(&header.unit) else {
        counts.refused.fetch_add(1, Ordering::Relaxed);
        let function = pdu.first().copied().unwrap_or(0);
        let code = NO_PATH;
        return request::refusal(header, Refusal { function, code });
    };
    let served = offer.read(span, context.config.max_age).await;
    let count = if served.is_from_line {
        &counts.from_line
    } else {
        &counts.from_memory
    };
    count.fetch_add(1, Ordering::Relaxed);
    request::answer(header, span, &served.answer)
}
