//! Why a request has no answer.

use std::io;

use super::frame::Misbehaviour;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection could be made.
    #[error("connect failed")]
    Connect(#[source] io::Error),
    /// No connection within the time.
    #[error("connect took too long")]
    ConnectTimeout,
    /// TLS was refused by one side, or one of its files cannot be used.
    #[error("no secure connection")]
    Secure(#[source] io::Error),
    /// The serial port cannot be opened.
    #[error("the port cannot be opened")]
    Port(#[source] io::Error),
    /// Another process speaks on the RTU line.
    #[error("the line is taken")]
    Taken(#[source] io::Error),
    /// Something on an RTU line sends without end, so nothing can be asked on it.
    #[error("the line is never silent: noise, another master, or wrong serial settings")]
    NeverSilent,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The other side closed the connection instead of answering.
    #[error("the device closed the connection")]
    Closed,
    /// No answer within the time.
    #[error("no answer in time")]
    Timeout,
    /// The answer did not match the question.
    #[error("the device {0}")]
    Misbehaved(#[from] Misbehaviour),
    /// The line was busy with others until the tick was over; nothing was sent.
    #[error("the line was busy until the tick was over")]
    NotAsked,
    /// After a failure the line had to fall silent until the tick was over; nothing was sent.
    #[error("the line had to fall silent after a failure until the tick was over")]
    Draining,
    /// The device or its link is in back-off; nothing was sent.
    #[error("not asked because it was silent before")]
    BackedOff,
    /// The line is only listened on; nothing is ever sent.
    #[error("the line is only listened on (mode = \"listen\")")]
    ListenOnly,
}

impl Failure {
    /// Whether there was no line to ask on: the link failed, not the unit.
    #[must_use]
    pub const fn is_connect(&self) -> bool {
        matches!(
            self,
            Self::Connect(_)
                | Self::ConnectTimeout
                | Self::Secure(_)
                | Self::Port(_)
                | Self::Taken(_)
                | Self::NeverSilent
        )
    }

    /// Whether nothing was sent, so that nothing is known about the unit or the link.
    #[must_use]
    pub const fn is_unasked(&self) -> bool {
        matches!(
            self,
            Self::NotAsked | Self::Draining | Self::BackedOff | Self::ListenOnly
        )
    }

    /// Whether asking again on a fresh connection can help: the device had dropped an idle
    /// connection or sent something stale.
    pub(super) const fn is_stale(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Closed | Self::Misbehaved(_))
    }
}
