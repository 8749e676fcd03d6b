//! The life of the user data stream: listen key, its keep-alive, reconnects, and the question whether it is really
//! alive.
//!
//! The venue replays nothing. So after every interruption (a new key, a new connection, an expired key) the account
//! must be reconciled over REST before the stream counts as healthy. A connection may also be open and dead: an
//! expired key leaves the socket up, and pongs prove nothing. Three things find that out: the keep-alive's own
//! answer (−1125), a check of the key after each lost connection, and an order that was acknowledged but of which the
//! stream says nothing ([`Echo`]).
//!
//! The key stands in the URL's query, with every kind of event named (SPEC §8). In production a key in the path, or no
//! `events`, connects and stays silent; the testnet has taken either form. So where no event has ever come of an
//! acknowledged order, the other form is tried, once.
//!
//! Pure cores: results and time in, things to do out.

use std::fmt;

use arrayvec::ArrayVec;
use market::planted::{Bug, planted};
use market::{ClientOrderId, Nanos};
use secrecy::{ExposeSecret, SecretString};

use crate::errors::Action;
use crate::sign::percent_encode;
use crate::user::UserEventKind;

/// Settings of the user stream. Times in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserStreamConfig {
    /// Between two extensions of the key, which lives 60 minutes.
    pub keep_alive: u64,
    /// After a failed extension or creation, doubling up to `max_retry`.
    pub min_retry: u64,
    /// Longest wait between two attempts.
    pub max_retry: u64,
}

impl Default for UserStreamConfig {
    fn default() -> Self {
        Self { keep_alive: 30 * 60 * Nanos::SECOND, min_retry: Nanos::SECOND, max_retry: 60 * Nanos::SECOND }
    }
}

/// What is to be done now. Report each result by the method named.
pub enum UserAction {
    /// `RestClient::create_listen_key`, then [`UserStream::on_key`].
    CreateKey,
    /// `RestClient::keep_listen_key`, then [`UserStream::on_kept`].
    KeepKey,
    /// Give this path to the connection (`WsConn::set_path`) and open it, or replace the open one.
    Connect {
        /// Path and query, with the key.
        path: SecretString,
    },
    /// Read open orders, fills since the last known one, positions and balances; then [`UserStream::on_reconciled`].
    Reconcile,
}

impl fmt::Debug for UserAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateKey => "CreateKey",
            Self::KeepKey => "KeepKey",
            Self::Connect { .. } => "Connect",
            Self::Reconcile => "Reconcile",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Wanted at this time.
    Missing { at: Nanos },
    /// Asked for.
    Creating,
    /// Good; to be extended at this time.
    Good { keep_at: Nanos },
    /// Being extended.
    Keeping,
}

/// How the listen key stands in the stream's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// `…/ws?listenKey=K&events=A/B/…`: the documented one, and the only one that delivers in production.
    Query,
    /// `…/ws/K`.
    Path,
}

impl KeyForm {
    fn url(self, base_path: &str, key: &SecretString) -> SecretString {
        let mut url = format!("{base_path}/ws");
        match self {
            Self::Query => {
                url.push_str("?listenKey=");
                percent_encode(key.expose_secret(), &mut url);
                url.push_str("&events=");
                let names: Vec<&str> = UserEventKind::ALL.iter().map(|kind| kind.name()).collect();
                url.push_str(&names.join("/"));
            }
            Self::Path => {
                url.push('/');
                percent_encode(key.expose_secret(), &mut url);
            }
        }
        url.into()
    }
}

/// The user stream core; see the module's text.
pub struct UserStream {
    config: UserStreamConfig,
    base_path: String,
    form: KeyForm,
    /// The other form has had its one trial.
    tried_path: bool,
    path: Option<SecretString>,
    key: Key,
    failures: u32,
    connect_due: bool,
    open: bool,
    reconcile_due: bool,
    reconciling: bool,
    healthy: bool,
}

impl UserStream {
    /// A stream below `base_path`, the path of [`crate::hosts::Hosts::private`] (`/private`).
    pub fn new(base_path: &str, config: UserStreamConfig) -> Self {
        Self {
            config,
            base_path: base_path.trim_end_matches('/').to_owned(),
            form: KeyForm::Query,
            tried_path: false,
            path: None,
            key: Key::Missing { at: Nanos(0) },
            failures: 0,
            connect_due: false,
            open: false,
            reconcile_due: false,
            reconciling: false,
            healthy: false,
        }
    }

    /// What is to be done now, if anything. Call it until it gives nothing.
    pub fn poll(&mut self, now: Nanos) -> Option<UserAction> {
        match self.key {
            Key::Missing { at } if now >= at => {
                self.key = Key::Creating;
                return Some(UserAction::CreateKey);
            }
            Key::Good { keep_at } if now >= keep_at && !planted(Bug::ListenKeyNotRenewed) => {
                self.key = Key::Keeping;
                return Some(UserAction::KeepKey);
            }
            _ => {}
        }
        if self.connect_due
            && let Some(path) = &self.path
        {
            self.connect_due = false;
            return Some(UserAction::Connect { path: path.clone() });
        }
        if self.reconcile_due && self.open && !self.reconciling {
            self.reconcile_due = false;
            self.reconciling = true;
            return Some(UserAction::Reconcile);
        }
        None
    }

    /// The key was created (or the live one returned), or not.
    pub fn on_key(&mut self, key: Result<SecretString, Action>, now: Nanos) {
        match key {
            Ok(key) => {
                self.failures = 0;
                self.path = Some(self.form.url(&self.base_path, &key));
                self.key = Key::Good { keep_at: now.plus(self.config.keep_alive) };
                self.connect_due = true;
            }
            Err(why) => self.key = Key::Missing { at: self.retry_at(now, why) },
        }
    }

    /// The key was extended, or not.
    pub fn on_kept(&mut self, kept: Result<(), Action>, now: Nanos) {
        match kept {
            Ok(()) => {
                self.failures = 0;
                self.key = Key::Good { keep_at: now.plus(self.config.keep_alive) };
            }
            Err(Action::NewListenKey) => self.renew(now),
            // Not answered: the key lives for half an hour more. But a stream that cannot be extended is renewed
            // before it can die unnoticed.
            Err(why) if self.failures < 3 => self.key = Key::Good { keep_at: self.retry_at(now, why) },
            Err(_) => self.renew(now),
        }
    }

    /// The connection is open. Events may have been missed before.
    pub fn on_open(&mut self) {
        self.open = true;
        self.distrust();
    }

    /// A successor took over while the connection was open. After a rollover by age nothing was missed and the stream
    /// stays healthy; after a new key it becomes so. What is certain is asked for in both cases.
    pub fn on_replaced(&mut self) {
        self.open = true;
        self.reconcile_due = true;
    }

    /// The connection is lost. It opens again by itself; whether its key still lives is asked meanwhile.
    pub fn on_lost(&mut self, now: Nanos) {
        self.open = false;
        self.distrust();
        if let Key::Good { .. } = self.key {
            self.key = Key::Good { keep_at: now };
        }
    }

    /// The stream told that its key has expired: nothing more comes on this connection, even if it stays open.
    pub fn on_expired(&mut self, now: Nanos) {
        self.renew(now);
    }

    /// The order path works and the stream is mute ([`Echo::is_overdue`]): begin anew. POST returns the key if it
    /// still lives. `heard`: the stream has told of an order before ([`Echo::has_heard`]), so its URL is right and
    /// something else is wrong. Returns the form of the URL that is tried next, if it is another one: to be said.
    pub fn on_mute(&mut self, heard: bool, now: Nanos) -> Option<KeyForm> {
        self.renew(now);
        let other = match self.form {
            KeyForm::Query if !heard && !self.tried_path => KeyForm::Path,
            KeyForm::Path if !heard => KeyForm::Query,
            _ => return None,
        };
        self.tried_path = true;
        self.form = other;
        Some(other)
    }

    /// The account has been reconciled, or that failed and must be done again.
    pub fn on_reconciled(&mut self, done: bool) {
        self.reconciling = false;
        // An interruption in the meantime has set the flag again: what was read may be from before it.
        if done && self.open && !self.reconcile_due {
            self.healthy = true;
        } else {
            self.reconcile_due = true;
        }
    }

    /// Is it connected, and the account reconciled since?
    pub const fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Takes the key as dead.
    fn renew(&mut self, now: Nanos) {
        if planted(Bug::ListenKeyNotRenewed) {
            return;
        }
        self.distrust();
        if self.key != Key::Creating {
            let at = if self.failures == 0 { now } else { self.retry_at(now, Action::BackOff) };
            self.key = Key::Missing { at };
        }
    }

    fn distrust(&mut self) {
        self.healthy = false;
        self.reconcile_due = true;
    }

    fn retry_at(&mut self, now: Nanos, why: Action) -> Nanos {
        let doubled = self.config.min_retry.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        // A refused key does not become good by asking.
        let wait = if why == Action::HaltTrading { u64::MAX } else { doubled };
        now.plus(wait.min(self.config.max_retry))
    }
}

/// Acknowledged orders of which the stream has not told yet. Reply and event race each other, so an event that came
/// first is remembered too.
#[derive(Debug, Default)]
pub struct Echo {
    waiting: ArrayVec<(ClientOrderId, Nanos), 32>,
    heard: ArrayVec<ClientOrderId, 64>,
    ever: bool,
}

impl Echo {
    /// The stream may be this late.
    pub const TIMEOUT: u64 = 3 * Nanos::SECOND;

    /// The venue acknowledged a new order.
    pub fn acknowledged(&mut self, id: ClientOrderId, now: Nanos) {
        if !self.heard.contains(&id) {
            // With 32 waiting the oldest will tell.
            let _ = self.waiting.try_push((id, now));
        }
    }

    /// The stream told of an order.
    pub fn heard(&mut self, id: ClientOrderId) {
        self.ever = true;
        self.waiting.retain(|(waiting, _)| *waiting != id);
        if self.heard.last() == Some(&id) {
            return;
        }
        if self.heard.is_full() {
            self.heard.remove(0);
        }
        self.heard.push(id);
    }

    /// Has the stream kept silent of an order for too long? Told once: then it begins anew.
    pub fn is_overdue(&mut self, now: Nanos) -> bool {
        let overdue = self.waiting.first().is_some_and(|(_, since)| now.since(*since).0 >= Self::TIMEOUT);
        if overdue {
            self.waiting.clear();
        }
        overdue
    }

    /// Has the stream ever told of an order of ours?
    pub const fn has_heard(&self) -> bool {
        self.ever
    }

    /// The stream is down: what it does not tell now is reconciled.
    pub fn interrupted(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = Nanos::SECOND;

    fn at(seconds: u64) -> Nanos {
        Nanos(1_800_000_000 * S + seconds * S)
    }

    fn all(stream: &mut UserStream, now: Nanos) -> Vec<String> {
        std::iter::from_fn(|| stream.poll(now)).map(|a| format!("{a:?}")).collect()
    }

    /// SPEC §8: the key in the query, and every kind of event named. Anything else connects and stays silent.
    const IN_QUERY: &str = "/private/ws?listenKey=LK1&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE/TRADE_LITE/MARGIN_CALL/\
        ACCOUNT_CONFIG_UPDATE/ALGO_UPDATE/CONDITIONAL_ORDER_TRIGGER_REJECT/STRATEGY_UPDATE/GRID_UPDATE/listenKeyExpired";

    fn healthy(now: Nanos) -> UserStream {
        let mut stream = UserStream::new("/private/", UserStreamConfig::default());
        assert_eq!(all(&mut stream, now), ["CreateKey"]);
        stream.on_key(Ok("LK1".into()), now);
        match stream.poll(now) {
            Some(UserAction::Connect { path }) => assert_eq!(path.expose_secret(), IN_QUERY),
            other => panic!("{other:?}"),
        }
        assert_eq!(all(&mut stream, now), [""; 0]);
        stream.on_open();
        assert_eq!(all(&mut stream, now), ["Reconcile"]);
        assert!(!stream.is_healthy());
        stream.on_reconciled(true);
        assert!(stream.is_healthy());
        stream
    }

    #[test]
    fn the_key_is_kept_alive_every_half_hour() {
        let mut stream = healthy(at(0));
        assert_eq!(all(&mut stream, at(1799)), [""; 0]);
        assert_eq!(all(&mut stream, at(1800)), ["KeepKey"]);
        assert_eq!(all(&mut stream, at(1801)), [""; 0], "asked once");
        stream.on_kept(Ok(()), at(1801));
        assert_eq!(all(&mut stream, at(3601)), ["KeepKey"]);
        assert!(stream.is_healthy());
    }

    #[test]
    fn a_dead_key_is_created_anew_not_extended_for_ever() {
        let mut stream = healthy(at(0));
        all(&mut stream, at(1800));
        stream.on_kept(Err(Action::NewListenKey), at(1800));
        assert!(!stream.is_healthy());
        assert_eq!(all(&mut stream, at(1800))[0], "CreateKey");
    }

    #[test]
    fn creation_backs_off() {
        let mut stream = UserStream::new("/private", UserStreamConfig::default());
        let mut asked = Vec::new();
        for second in 0..100 {
            if !all(&mut stream, at(second)).is_empty() {
                asked.push(second);
                stream.on_key(Err(Action::BackOff), at(second));
            }
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63]);
    }

    #[test]
    fn expiry_makes_a_new_key_a_new_connection_and_a_reconciliation() {
        let mut stream = healthy(at(0));
        stream.on_expired(at(10));
        assert!(!stream.is_healthy());
        assert!(all(&mut stream, at(10)).contains(&"CreateKey".to_owned()));
        stream.on_key(Ok("LK2".into()), at(11));
        assert!(all(&mut stream, at(11)).contains(&"Connect".to_owned()));
        stream.on_reconciled(true); // the one that began before the new connection
        stream.on_open();
        assert!(!stream.is_healthy());
        assert_eq!(all(&mut stream, at(12)), ["Reconcile"]);
        stream.on_reconciled(false);
        assert!(!stream.is_healthy());
        assert_eq!(all(&mut stream, at(13)), ["Reconcile"]);
        stream.on_reconciled(true);
        assert!(stream.is_healthy());
    }

    #[test]
    fn a_lost_connection_asks_after_its_key() {
        let mut stream = healthy(at(0));
        stream.on_lost(at(5));
        assert!(!stream.is_healthy());
        assert_eq!(all(&mut stream, at(5)), ["KeepKey"]);
        stream.on_kept(Ok(()), at(5));
        stream.on_open();
        assert_eq!(all(&mut stream, at(6)), ["Reconcile"]);
    }

    #[test]
    fn a_mute_stream_is_found_by_an_acknowledged_order() {
        let id = |attempt| ClientOrderId { run: 1, intent: 2, attempt };
        let mut echo = Echo::default();
        // The event may come before the reply, or after it.
        echo.heard(id(1));
        echo.acknowledged(id(1), at(10));
        echo.acknowledged(id(2), at(11));
        echo.heard(id(2));
        assert!(!echo.is_overdue(at(100)));
        echo.acknowledged(id(3), at(20));
        assert!(!echo.is_overdue(at(22)));
        assert!(echo.is_overdue(at(23)));
        assert!(!echo.is_overdue(at(24)), "told once");
        echo.acknowledged(id(4), at(30));
        echo.interrupted();
        assert!(!echo.is_overdue(at(60)));

        let mut stream = healthy(at(0));
        assert_eq!(stream.on_mute(true, at(23)), None, "its URL has delivered before");
        assert_eq!(all(&mut stream, at(23))[0], "CreateKey");
        assert!(!stream.is_healthy());
        stream.on_key(Ok("LK1".into()), at(24));
        all(&mut stream, at(24));
        stream.on_replaced();
        stream.on_reconciled(false); // it began before the successor was open
        assert_eq!(all(&mut stream, at(25)), ["Reconcile"]);
        stream.on_reconciled(true);
        assert!(stream.is_healthy());
    }

    /// Connects with a new key and gives the URL, the stream being mute.
    fn url_after_mute(stream: &mut UserStream, heard: bool, second: u64) -> (Option<KeyForm>, String) {
        let form = stream.on_mute(heard, at(second));
        assert_eq!(all(stream, at(second))[0], "CreateKey");
        stream.on_key(Ok("LK1".into()), at(second));
        let Some(UserAction::Connect { path }) = stream.poll(at(second)) else { panic!("no connection") };
        stream.on_replaced();
        all(stream, at(second));
        stream.on_reconciled(true);
        (form, path.expose_secret().to_owned())
    }

    #[test]
    fn where_no_event_ever_came_the_other_form_of_the_url_is_tried_once() {
        let mut echo = Echo::default();
        assert!(!echo.has_heard());
        let mut stream = healthy(at(0));
        let path = "/private/ws/LK1".to_owned();
        assert_eq!(url_after_mute(&mut stream, false, 10), (Some(KeyForm::Path), path));
        assert_eq!(url_after_mute(&mut stream, false, 20), (Some(KeyForm::Query), IN_QUERY.to_owned()));
        assert_eq!(url_after_mute(&mut stream, false, 30), (None, IN_QUERY.to_owned()), "once");

        // What has delivered is kept.
        let mut stream = healthy(at(0));
        assert_eq!(url_after_mute(&mut stream, false, 10).0, Some(KeyForm::Path));
        echo.heard(ClientOrderId { run: 1, intent: 1, attempt: 1 });
        assert_eq!(url_after_mute(&mut stream, echo.has_heard(), 20), (None, "/private/ws/LK1".to_owned()));
    }

    #[test]
    fn a_rollover_keeps_it_healthy_and_a_refused_key_is_not_asked_for_again_and_again() {
        let mut stream = healthy(at(0));
        stream.on_replaced();
        assert!(stream.is_healthy());
        assert_eq!(all(&mut stream, at(1)), ["Reconcile"]);
        stream.on_reconciled(true);
        stream.on_expired(at(2));
        assert_eq!(all(&mut stream, at(2))[0], "CreateKey");
        stream.on_key(Err(Action::HaltTrading), at(2));
        assert_eq!(all(&mut stream, at(61)), [""; 0]);
        assert_eq!(all(&mut stream, at(62)), ["CreateKey"]);
    }
}
