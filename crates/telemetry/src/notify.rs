//! Pages: what a person must be woken for, to a webhook, Slack or Telegram. Made from the published state; each said once,
//! said again while it stands, and taken back when it is over. Whoever does not take them keeps nobody waiting.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use market::text::counted;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::client;
use crate::config::NotifySection;
use crate::published::Published;
use crate::standing::{Record, StandingPages};
use crate::state::State;
use crate::wall;

/// How often the state is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many looks lie between two searches for what others have left standing.
const SEARCH_EVERY: u64 = 10;
/// Attempts to send one message, the wait doubled after each.
const ATTEMPTS: u32 = 4;
/// Messages that wait for a channel; older ones are given up.
const WAITING: usize = 64;
/// How long the end of a node waits for its last pages.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// A state older than this means that the node hangs or has ended without a word.
const SILENT_MS: u64 = 15_000;

/// Gates that are no reason to wake somebody: the node's own doing, or over by themselves.
const QUIET: [&str; 9] = [
    "role",
    "starting",
    "warm_up",
    "dry_run",
    "stopping",
    "predecessor",
    "order_rate",
    "forewarner",
    "memory_unread",
];
/// Gates that wake at once.
const URGENT: [&str; 6] = ["kill", "kill_file", "foreign", "unexpected", "refused", "unlisted"];
/// Alerts that wake by themselves, whatever the gates do.
const ALERTS: [&str; 8] = [
    "ReconcileMismatch",
    "UnknownTooLong",
    "ExternalFill",
    "VenueClosed",
    "ExitStuck",
    "DropCopyDiffers",
    "Banned",
    "TradingStopped",
];

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub key: String,
    /// Is it over?
    pub resolved: bool,
    /// In words.
    pub text: String,
    /// When, ms since the epoch.
    pub at_ms: u64,
}

#[derive(Debug)]
struct Open {
    told_ms: u64,
    text: String,
}

/// Decides what is said, from one state to the next.
#[derive(Debug)]
pub struct Pager {
    after_ms: u64,
    repeat_ms: u64,
    max_per_minute: usize,
    open: BTreeMap<String, Open>,
    alerts: BTreeMap<String, u64>,
    run: u64,
    said_ms: Vec<u64>,
    held_back: u64,
}

impl Pager {
    /// By the configuration.
    pub fn new(section: &NotifySection) -> Self {
        Self {
            after_ms: section.after_ms,
            repeat_ms: section.repeat_ms,
            max_per_minute: section.max_per_minute as usize,
            open: BTreeMap::new(),
            alerts: BTreeMap::new(),
            run: 0,
            said_ms: Vec::new(),
            held_back: 0,
        }
    }

    /// What must be said of this state.
    pub fn look(&mut self, s: &State, now_ms: u64) -> Vec<Message> {
        let mut now: BTreeMap<String, String> = BTreeMap::new();
        if s.at_ms > 0 && now_ms.saturating_sub(s.at_ms) > SILENT_MS {
            now.insert("silent".to_owned(), "the node publishes nothing any more: it hangs".to_owned());
        }
        for g in s.account_gates().filter(|g| !QUIET.contains(&g.name.as_str())) {
            let wait = if URGENT.contains(&g.name.as_str()) { 0 } else { self.after_ms };
            if self.open.contains_key(&g.name) || s.at_ms.saturating_sub(g.since_ms) >= wait {
                now.insert(g.name.clone(), format!("{}; reopens: {}", g.cause, g.reopens));
            }
        }
        let mut wanted = Vec::new();
        let message = |key: &str, resolved, text: String| Message {
            key: key.to_owned(),
            resolved,
            text,
            at_ms: now_ms,
        };
        for (key, text) in &now {
            match self.open.get_mut(key) {
                None => {
                    self.open.insert(key.clone(), Open { told_ms: now_ms, text: text.clone() });
                    wanted.push(message(key, false, text.clone()));
                }
                Some(open) if now_ms.saturating_sub(open.told_ms) >= self.repeat_ms => {
                    open.told_ms = now_ms;
                    wanted.push(message(key, false, format!("still: {text}")));
                }
                Some(_) => {}
            }
        }
        self.open.retain(|key, open| {
            let stands = now.contains_key(key);
            if !stands {
                wanted.push(message(key, true, format!("over: {}", open.text)));
            }
            stands
        });
        wanted.extend(
            self.alerts(s)
                .into_iter()
                .map(|(kind, n)| message(&kind, false, format!("{kind}, {}", counted(n, "time")))),
        );
        self.within_rate(wanted, now_ms)
    }

    /// The node has ended: whatever stands is taken back, for a node that starts again tells it anew.
    fn end(&mut self, now_ms: u64) -> Vec<Message> {
        let stood = std::mem::take(&mut self.open).into_iter();
        let over = |(key, open): (String, Open)| Message {
            key,
            resolved: true,
            text: format!("the node has ended; until then: {}", open.text),
            at_ms: now_ms,
        };
        stood.map(over).collect()
    }

    /// What stands, and its text.
    fn standing(&self) -> Vec<(String, String)> {
        self.open.iter().map(|(key, open)| (key.clone(), open.text.clone())).collect()
    }

    /// Alerts that were counted since the last look.
    fn alerts(&mut self, s: &State) -> Vec<(String, u64)> {
        let first = std::mem::replace(&mut self.run, s.node.started_ms) != s.node.started_ms;
        let before = if first { BTreeMap::new() } else { std::mem::take(&mut self.alerts) };
        self.alerts.clone_from(&s.alerts);
        let new = s.alerts.iter().filter(|(kind, _)| ALERTS.contains(&kind.as_str()));
        let new = new.map(|(kind, n)| (kind.clone(), n - before.get(kind).copied().unwrap_or(0).min(*n)));
        new.filter(|(_, n)| *n > 0).collect()
    }

    fn within_rate(&mut self, wanted: Vec<Message>, now_ms: u64) -> Vec<Message> {
        self.said_ms.retain(|at| now_ms.saturating_sub(*at) < 60_000);
        let mut said = Vec::new();
        for mut message in wanted {
            // There are no more of these than there were pages; one that is held back would leave its page standing for ever.
            if self.said_ms.len() >= self.max_per_minute && !message.resolved {
                self.held_back += 1;
                continue;
            }
            let held_back = std::mem::take(&mut self.held_back);
            if held_back > 0 {
                message.text +=
                    &format!(" ({held_back} messages before it were held back: too many at once)");
            }
            self.said_ms.push(now_ms);
            said.push(message);
        }
        said
    }
}

/// Where messages go.
#[derive(Clone)]
enum Channel {
    Webhook(String),
    Slack(String),
    Telegram { url: String, chat: String },
}

impl Channel {
    fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Telegram { .. } => "telegram",
        }
    }

    fn url(&self) -> &str {
        match self {
            Self::Webhook(url) | Self::Slack(url) | Self::Telegram { url, .. } => url,
        }
    }

    fn body(&self, m: &Message, who: &str) -> serde_json::Value {
        let mark = if m.resolved { "RESOLVED" } else { "PAGE" };
        let text = format!("{mark} dolphin {who}: {} — {}", m.key, m.text);
        match self {
            Self::Webhook(_) => json!({
                "source": "dolphin", "node": who, "key": m.key, "status": if m.resolved { "resolved" } else { "firing" },
                "text": m.text, "at_ms": m.at_ms,
            }),
            Self::Slack(_) => json!({ "text": text }),
            Self::Telegram { chat, .. } => json!({ "chat_id": chat, "text": text }),
        }
    }
}

/// Sends messages. Its URLs hold secrets and are shown nowhere.
pub struct Notifier {
    channels: Vec<Channel>,
    /// By what the configuration names them: no secrets.
    names: Vec<String>,
    pager: Pager,
    http: reqwest::Client,
}

/// A secret file is its owner's alone.
pub(crate) fn private(path: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
    if meta.mode() & 0o077 != 0 {
        return Err(format!("{}: others may read it; chmod 600 it", path.display()));
    }
    Ok(())
}

/// The secret in a file.
pub fn secret(path: &Path) -> Result<String, String> {
    private(path)?;
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{}: it is empty", path.display())),
        secret => Ok(secret.to_owned()),
    }
}

impl Notifier {
    /// By the configuration. An error is for people.
    pub fn of(section: &NotifySection) -> Result<Self, String> {
        let url = |path: &Path| {
            let url = secret(path)?;
            let is_url = url.starts_with("https://") || url.starts_with("http://127.0.0.1:");
            if is_url { Ok(url) } else { Err(format!("{}: not an https URL", path.display())) }
        };
        let mut channels = Vec::new();
        if let Some(path) = &section.webhook_file {
            channels.push(Channel::Webhook(url(path)?));
        }
        if let Some(path) = &section.slack_file {
            channels.push(Channel::Slack(url(path)?));
        }
        match (&section.telegram_file, &section.telegram_chat) {
            (Some(path), Some(chat)) => {
                let base = section.telegram_url.trim_end_matches('/');
                let url = format!("{base}/bot{}/sendMessage", secret(path)?);
                channels.push(Channel::Telegram { url, chat: chat.clone() });
            }
            (None, None) => {}
            _ => {
                return Err("`telemetry.notify.telegram_file` and `telegram_chat` belong together".to_owned());
            }
        }
        let files = [&section.webhook_file, &section.slack_file, &section.telegram_file];
        let files = files.into_iter().flatten().map(|path| path.display().to_string());
        let names = files.chain(section.telegram_chat.clone()).collect();
        Ok(Self { channels, names, pager: Pager::new(section), http: client::http(None)? })
    }

    /// Sends one message to every channel, once each: what came of it, by channel.
    pub async fn test(&self) -> Vec<(&'static str, Result<(), String>)> {
        let message = Message {
            key: "test".to_owned(),
            resolved: false,
            text: "a test page: nothing is wrong".to_owned(),
            at_ms: 0,
        };
        let mut results = Vec::new();
        for channel in &self.channels {
            results.push((channel.name(), post(&self.http, channel, &message, "test").await));
        }
        results
    }
}

/// An error names no URL: it holds a secret.
async fn post(http: &reqwest::Client, channel: &Channel, m: &Message, who: &str) -> Result<(), String> {
    let answer = http.post(channel.url()).json(&channel.body(m, who)).send().await;
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("it answers {}", answer.status().as_u16())),
        Err(e) if e.is_connect() => Err("it cannot be reached".to_owned()),
        Err(e) if e.is_timeout() => Err("it does not answer in time".to_owned()),
        Err(_) => Err("the request failed".to_owned()),
    }
}

/// Pages of a running node.
pub struct Pages {
    pager: Pager,
    published: Arc<Published>,
    /// One for each channel, and the task that sends what is in it.
    queues: Vec<mpsc::Sender<(Message, String)>>,
    senders: Vec<JoinHandle<()>>,
    /// By what the configuration names the channels.
    names: Vec<String>,
    standing: Option<StandingPages>,
}

impl Pages {
    /// Of what is published; to be called in the runtime that sends them. `folder`: where what stands is kept over a kill.
    pub fn start(notifier: Notifier, published: Arc<Published>, folder: Option<&Path>) -> Self {
        let Notifier { channels, names, pager, http } = notifier;
        let folder = folder.filter(|_| !channels.is_empty());
        let standing = folder.and_then(|folder| match StandingPages::in_folder(folder) {
            Ok(standing) => Some(standing),
            Err(e) => {
                tracing::warn!(
                    "{}: {e}; pages that stand at a kill will be taken back by nobody",
                    folder.display()
                );
                None
            }
        });
        let (mut queues, mut senders) = (Vec::new(), Vec::new());
        for channel in channels {
            let (queue, mut waiting) = mpsc::channel::<(Message, String)>(WAITING);
            queues.push(queue);
            let http = http.clone();
            senders.push(tokio::spawn(async move {
                while let Some((message, who)) = waiting.recv().await {
                    deliver(&http, &channel, &message, &who).await;
                }
            }));
        }
        Self { pager, published, queues, senders, names, standing }
    }

    /// Looks and sends, for ever.
    pub async fn run(&mut self) {
        if self.queues.is_empty() {
            return std::future::pending().await;
        }
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = 0;
        loop {
            every.tick().await;
            let newest = self.published.newest();
            if newest.sequence > 0 {
                if looks % SEARCH_EVERY == 0 {
                    self.take_back_of_others(&newest.node.role);
                }
                looks += 1;
            }
            let messages = self.pager.look(&newest, wall::now_ms());
            self.send(&newest, messages);
            self.keep(&newest);
        }
    }

    /// The node has ended: takes back what stands, and waits a little for what is on its way.
    pub async fn finish(mut self) {
        let newest = self.published.newest();
        let messages = self.pager.end(wall::now_ms());
        self.send(&newest, messages);
        self.keep(&newest);
        self.queues.clear();
        let sent = async {
            for sender in self.senders {
                // A task that panicked sends nothing more.
                let _ = sender.await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, sent).await.is_err() {
            tracing::warn!("the last pages did not reach their channel");
        }
    }

    /// Takes back what stands of processes that can no longer do so. They were of this role, on this machine.
    fn take_back_of_others(&self, role: &str) {
        let Some(standing) = &self.standing else { return };
        let left = standing.left_by_others(&self.names, role).unwrap_or_else(|e| {
            tracing::warn!("pages that a killed process left standing cannot be read: {e}");
            Vec::new()
        });
        for Record { who, pages, .. } in left {
            for (key, text) in pages {
                let text = format!(
                    "the node is gone without a word, killed or with its machine; until then: {text}"
                );
                self.queue(&Message { key, resolved: true, text, at_ms: wall::now_ms() }, &who);
            }
        }
    }

    /// What stands outlives a kill.
    fn keep(&mut self, state: &State) {
        let Some(standing) = &mut self.standing else { return };
        let record = Record {
            channels: self.names.clone(),
            role: state.node.role.clone(),
            who: who(state),
            pages: self.pager.standing(),
        };
        if let Err(e) = standing.keep(record) {
            tracing::warn!("pages that stand cannot be kept: {e}; at a kill they are taken back by nobody");
        }
    }

    fn send(&self, state: &State, messages: Vec<Message>) {
        let who = who(state);
        for message in messages {
            self.queue(&message, &who);
        }
    }

    fn queue(&self, message: &Message, who: &str) {
        for queue in &self.queues {
            if queue.try_send((message.clone(), who.to_owned())).is_err() {
                tracing::warn!("a page was given up: its channel takes none ({})", message.key);
            }
        }
    }
}

/// Which node a page is of: several of a deployment may share a machine.
fn who(state: &State) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let n = &state.node;
    format!("{} on {}, process {} ({}, {})", n.role, host.trim(), std::process::id(), n.venue, n.profile)
}

async fn deliver(http: &reqwest::Client, channel: &Channel, message: &Message, who: &str) {
    let mut wait = Duration::from_secs(1);
    for attempt in 1..=ATTEMPTS {
        match post(http, channel, message, who).await {
            Ok(()) => return,
            Err(why) if attempt == ATTEMPTS => {
                tracing::warn!("a page did not reach {}: {why} ({})", channel.name(), message.key);
            }
            Err(_) => tokio::time::sleep(wait).await,
        }
        wait *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ClosedGate;

    fn with_gates(at_ms: u64, gates: &[(&str, u64)]) -> State {
        let gates = gates.iter().map(|(name, since_ms)| ClosedGate {
            name: (*name).to_owned(),
            cause: format!("{name} is shut"),
            since_ms: *since_ms,
            reopens: "time".to_owned(),
            symbols: Vec::new(),
        });
        State { at_ms, gates: gates.collect(), ..State::default() }
    }

    fn pager() -> Pager {
        Pager::new(&NotifySection::default())
    }

    #[test]
    fn a_page_is_said_once_again_while_it_stands_and_taken_back() {
        let mut pager = pager();
        let look = |pager: &mut Pager, at: u64, gates: &[(&str, u64)]| {
            let said = pager.look(&with_gates(at, gates), at);
            said.into_iter().map(|m| (m.key, m.resolved)).collect::<Vec<_>>()
        };
        let t = 1_000_000;
        assert_eq!(look(&mut pager, t + 5_000, &[("user_stream", t), ("warm_up", 0)]), []);
        assert_eq!(look(&mut pager, t + 15_000, &[("user_stream", t)]), [("user_stream".to_owned(), false)]);
        assert_eq!(
            look(&mut pager, t + 16_000, &[("user_stream", t), ("kill", t + 16_000)]),
            [("kill".to_owned(), false)]
        );
        assert_eq!(look(&mut pager, t + 60_000, &[("user_stream", t), ("kill", t)]), []);
        assert_eq!(look(&mut pager, t + 70_000, &[("kill", t)]), [("user_stream".to_owned(), true)]);
        let hour = t + 16_000 + 3_600_000;
        assert_eq!(look(&mut pager, hour, &[("kill", t)]), [("kill".to_owned(), false)]);
        assert_eq!(look(&mut pager, hour + 1, &[]), [("kill".to_owned(), true)]);
    }

    #[test]
    fn alerts_page_by_what_was_added_and_a_silent_node_by_its_silence() {
        let mut pager = pager();
        let mut state = with_gates(1_000, &[]);
        state.alerts = BTreeMap::from([("ExternalFill".to_owned(), 2), ("Rejected".to_owned(), 9)]);
        let said = pager.look(&state, 1_000);
        assert_eq!((said.len(), said[0].text.as_str()), (1, "ExternalFill, 2 times"));
        assert_eq!(pager.look(&state, 1_001), []);
        state.alerts.insert("ExternalFill".to_owned(), 3);
        assert_eq!(pager.look(&state, 1_002)[0].text, "ExternalFill, 1 time");
        assert_eq!(pager.look(&state, 20_000)[0].key, "silent");
    }

    #[test]
    fn the_end_of_a_node_takes_back_what_stands() {
        let mut pager = pager();
        assert_eq!(pager.look(&with_gates(100_000, &[("kill", 90_000), ("role", 1)]), 100_000).len(), 1);
        let said = pager.end(101_000);
        assert_eq!((said.len(), said[0].key.as_str(), said[0].resolved), (1, "kill", true));
        assert!(said[0].text.starts_with("the node has ended; until then: "), "{said:?}");
        assert_eq!(pager.end(102_000), []);
    }

    #[test]
    fn too_many_at_once_are_summed_up() {
        let mut pager = pager();
        let names: Vec<String> = (0..10).map(|i| format!("gate{i}")).collect();
        let gates: Vec<(&str, u64)> = names.iter().map(|n| (n.as_str(), 0)).collect();
        assert_eq!(pager.look(&with_gates(100_000, &gates), 100_000).len(), 6);
        let said = pager.look(&with_gates(170_000, &[]), 170_000);
        assert!(
            said[0].resolved && said[0].text.contains("(4 messages before it were held back"),
            "{said:?}"
        );
        assert_eq!(said.len(), 10, "what is over is always said");
    }

    #[test]
    fn secrets_of_others_and_bad_urls_are_refused_by_name() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slack");
        std::fs::write(&path, "https://hooks.example/secret\n").unwrap();
        let section = NotifySection { slack_file: Some(path.clone()), ..NotifySection::default() };
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(Notifier::of(&section).err().unwrap().contains("chmod 600"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(Notifier::of(&section).unwrap().channels.len(), 1);
        std::fs::write(&path, "ftp://x").unwrap();
        assert!(Notifier::of(&section).err().unwrap().contains("https"));
        let half = NotifySection { telegram_chat: Some("1".into()), ..NotifySection::default() };
        assert!(Notifier::of(&half).is_err());
    }
}
