//! What can go wrong with a REST request, in words that say what to do.

use market::{ExecutionReport, OrderRequest};

use crate::errors::{Action, Class, ErrorRule};
use crate::hosts::HostError;
use crate::limits::Wait;
use crate::report::{FrameError, error_report};

use super::instruments::InstrumentError;

/// How a transport failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// No connection, so nothing was sent.
    Connect,
    /// No answer in time.
    TimedOut,
    /// The connection broke after the request was on its way, or the answer was cut.
    Broken,
}

/// A failed REST request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RestError {
    /// The venue answered with an error.
    #[error("{endpoint}: the venue answered {status}, code {code} ({text}): {}", .rule.meaning)]
    Venue {
        /// Method and path.
        endpoint: &'static str,
        /// HTTP status.
        status: u16,
        /// Venue's code (0 = none).
        code: i32,
        /// Venue's text, cut to 200 characters.
        text: String,
        /// What it means.
        rule: &'static ErrorRule,
    },
    /// The venue could not be reached, or did not answer.
    #[error("{endpoint}: {host} {}: {why}", match .kind {
        TransportKind::Connect => "cannot be reached (is the port open, the host right, the network up?)",
        TransportKind::TimedOut => "did not answer in time",
        TransportKind::Broken => "broke the connection",
    })]
    Transport {
        /// Method and path.
        endpoint: &'static str,
        /// Host asked.
        host: String,
        /// How it failed.
        kind: TransportKind,
        /// What the system said (never the URL: it holds the signature).
        why: String,
    },
    /// The answer points elsewhere. It is not followed.
    #[error("{endpoint}: {host} sends us elsewhere (status {status}): wrong host?")]
    Redirect {
        /// Method and path.
        endpoint: &'static str,
        /// Host asked.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// The answer is not what the endpoint promises: wrong host, or a proxy in between.
    #[error(
        "{endpoint}: the answer is not understood: {why}; is this host a Binance futures venue (--venue, venue.rest_url)?"
    )]
    Answer {
        /// Method and path.
        endpoint: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A rate limit, known before sending: nothing was sent.
    #[error("not sent: {0}")]
    Wait(#[from] Wait),
    /// Nothing is left of the time in which the request may be executed: nothing was sent.
    #[error("not sent: the time in which it may be executed is over")]
    TooLate,
    /// No API key, but the request needs one.
    #[error("{0} needs an API key: give one with --keys")]
    NoKey(&'static str),
    /// The host cannot be used.
    #[error(transparent)]
    Host(#[from] HostError),
    /// exchangeInfo does not hold what is needed.
    #[error(transparent)]
    Instruments(#[from] InstrumentError),
    /// The request is for an instrument that is not in the session's table.
    #[error("no such instrument in this session")]
    NoInstrument,
}

impl RestError {
    /// What it says about the request. Unknown: it may have been executed.
    pub fn class(&self) -> Class {
        match self {
            Self::Venue { rule, .. } => rule.class,
            Self::Transport { kind: TransportKind::Connect, .. } => Class::Retry,
            Self::Transport { .. } | Self::Answer { .. } => Class::Unknown,
            Self::Wait(_) => Class::Throttled,
            Self::TooLate => Class::Failed,
            Self::Redirect { .. } | Self::Host(_) => Class::Fatal,
            Self::NoKey(_) | Self::Instruments(_) | Self::NoInstrument => Class::Bug,
        }
    }

    /// What is done about it.
    pub fn action(&self) -> Action {
        match self {
            Self::Venue { rule, .. } => rule.action,
            Self::Transport { kind: TransportKind::Connect, .. } => Action::BackOff,
            Self::Transport { .. } | Self::Answer { .. } => Action::Query,
            Self::Wait(Wait::Ban { .. }) => Action::WaitForBan,
            Self::Wait(Wait::Window { .. }) => Action::WaitForWindow,
            Self::Redirect { .. } | Self::Host(_) => Action::HaltTrading,
            Self::TooLate | Self::NoKey(_) | Self::Instruments(_) | Self::NoInstrument => Action::Report,
        }
    }

    /// What the failed request says of its order, as the gateway would report it.
    pub fn report(&self, request: &OrderRequest) -> ExecutionReport {
        error_report(request, self.class(), self.code())
    }

    /// The venue's code (0 = none).
    pub fn code(&self) -> i32 {
        match self {
            Self::Venue { code, .. } => *code,
            _ => 0,
        }
    }

    pub(crate) fn answer(endpoint: &'static str, why: impl Into<String>) -> Self {
        Self::Answer { endpoint, why: why.into() }
    }

    pub(crate) fn frame(endpoint: &'static str) -> impl Fn(FrameError) -> Self {
        move |e| Self::answer(endpoint, e.to_string())
    }
}
