//! Signed-in pages: a token is exchanged for a cookie.
//!
//! The cookie holds a random number; the table of sessions is in memory, so a restart signs
//! everybody out. Each request looks the token up again: revoking a token ends its sessions at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ring::digest::{SHA256, digest};

/// The cookie's name. The prefix makes browsers refuse it without `Secure`, so it is used with TLS only.
pub(crate) const SECURE_COOKIE: &str = "__Host-fieldseal";
/// The same without TLS, on a loopback address.
pub(crate) const PLAIN_COOKIE: &str = "fieldseal";

/// More sessions than this at once: the oldest ends.
const MOST_SESSIONS: usize = 10_000;

/// The sessions of this process.
#[derive(Debug)]
pub(crate) struct Sessions {
    hours: u32,
    /// By the SHA-256 of the cookie, so that a look-up's time tells nothing about other cookies.
    table: Mutex<HashMap<[u8; 32], Session>>,
}

struct Session {
    token: String,
    until_ms: i64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token: this type ends up in messages.
        f.debug_struct("Session")
            .field("until_ms", &self.until_ms)
            .finish_non_exhaustive()
    }
}

fn hashed(cookie: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, cookie.as_bytes()).as_ref());
    hash
}

impl Sessions {
    pub(crate) fn new(hours: u32) -> Self {
        Self {
            hours,
            table: Mutex::default(),
        }
    }

    /// Opens a session; `random` becomes the cookie.
    pub(crate) fn open(&self, token: String, random: [u8; 32], now_ms: i64) -> String {
        let cookie = hex::encode(random);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, session| session.until_ms > now_ms);
        if table.len() >= MOST_SESSIONS
            && let Some(oldest) = table
                .iter()
                .min_by_key(|(_, session)| session.until_ms)
                .map(|(hash, _)| *hash)
        {
            table.remove(&oldest);
        }
        let until_ms = now_ms + i64::from(self.hours) * 3_600_000;
        table.insert(hashed(&cookie), Session { token, until_ms });
        cookie
    }

    /// The token behind a cookie, while the session lasts.
    pub(crate) fn token(&self, cookie: &str, now_ms: i64) -> Option<String> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let session = table.get(&hashed(cookie))?;
        (session.until_ms > now_ms).then(|| session.token.clone())
    }

    /// Ends a session.
    pub(crate) fn close(&self, cookie: &str) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.remove(&hashed(cookie));
    }

    /// The header that sets the cookie in the browser; an empty cookie takes it away.
    pub(crate) fn set_cookie(&self, cookie: &str, tls: bool) -> String {
        let (name, secure) = if tls {
            (SECURE_COOKIE, "; Secure")
        } else {
            (PLAIN_COOKIE, "")
        };
        let age = if cookie.is_empty() {
            0
        } else {
            self.hours * 3600
        };
        format!("{name}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
    }
}

/// The value of our cookie among all that a browser sent.
pub(crate) fn cookie_of(header: &str, tls: bool) -> Option<&str> {
    let wanted = if tls { SECURE_COOKIE } else { PLAIN_COOKIE };
    header
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Sessions, cookie_of};

    #[test]
    fn a_session_ends_by_time_and_by_closing() {
        let sessions = Sessions::new(1);
        let cookie = sessions.open("secret".to_owned(), [7; 32], 1000);
        assert_eq!(sessions.token(&cookie, 1000).as_deref(), Some("secret"));
        assert_eq!(sessions.token(&cookie, 1000 + 3_600_000), None);
        assert_eq!(sessions.token("ff", 1000), None);
        sessions.close(&cookie);
        assert_eq!(sessions.token(&cookie, 1000), None);
        assert!(!format!("{sessions:?}").contains("secret"));
    }

    #[test]
    fn our_cookie_is_found_among_others() {
        let header = "a=1; __Host-fieldseal=abc; b=2";
        assert_eq!(cookie_of(header, true), Some("abc"));
        assert_eq!(cookie_of(header, false), None);
        assert_eq!(cookie_of("__Host-fieldseal=", true), None);
    }
}
