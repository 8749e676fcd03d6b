//! What may change at the venue behind our back: filters and status of instruments, settings of the account.

use std::sync::Arc;

use binance::Symbols;
use binance::rest::{CommissionRate, ExchangeInfo, RestClient, RestError};
use execution::Check;
use market::{Instrument, InstrumentStatus, Nanos, SymbolId};

use super::state::{Blocked, Control, Done, HALTED_EVERY_NS, Settings, push};
use crate::config::Rates;
use crate::stages::gateway::GatewayCommand;
use crate::stages::router::RouterCommand;

/// An instrument that was refused although nothing has changed is tried again after this, then twice as long …
const TRY_AGAIN_NS: u64 = 30 * Nanos::SECOND;
/// … and so on, six times doubled at most.
const DOUBLINGS: u32 = 6;

impl Control {
    /// What is due.
    pub(super) fn tend_watch(&mut self, now: u64) {
        if now >= self.watch.settings_due {
            self.check_settings_now();
        }
        if now >= self.watch.instruments_due {
            self.read_instruments(now);
        }
    }

    // ---- settings of the account --------------------------------------------------------------------------------

    pub(super) fn check_settings_now(&mut self) {
        self.watch.settings_due = self.clock.now_ns() + self.watch.account_ms * Nanos::MS;
        if std::mem::replace(&mut self.watch.settings_running, true) {
            return;
        }
        let (rest, symbols) = (Arc::clone(&self.rest), self.symbols.clone());
        self.start(async move { Done::Settings(settings(&rest, &symbols).await) });
        if let (None, Some(i)) = (self.seen.commission, self.symbols.all().first()) {
            let (rest, name) = (Arc::clone(&self.rest), i.symbol.clone());
            self.start(async move { Done::Rates(rest.commission_rate(&name).await) });
        }
    }

    /// What the account pays: told in the summary, no reason to stay away from the market.
    pub(super) fn rates_read(&mut self, result: Result<CommissionRate, RestError>) {
        match result {
            Ok(rate) => self.seen.commission = Some(Rates { maker: rate.maker, taker: rate.taker }),
            Err(error) => tracing::warn!("the account's commissions: {error}"),
        }
    }

    pub(super) fn settings_read(&mut self, result: Result<Settings, RestError>) {
        self.watch.settings_running = false;
        let now = match result {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!("settings of the account: {error}");
                return self.private_error(&error);
            }
        };
        let before = self.watch.settings.replace(now.clone()).unwrap_or_else(|| now.clone());
        let change = now.differs(&before);
        let barred = (!now.can_trade).then(|| "the account may not trade".to_owned());
        if let Some(change) = change.or(barred) {
            tracing::error!("the account was changed from outside: {change}; nothing is opened any more");
            self.alert("AccountMode");
            self.router_commands.push_back(RouterCommand::Trip(Check::AccountMode));
        }
    }

    // ---- filters and status of instruments ----------------------------------------------------------------------

    /// The venue refused an order by a rule that we did not know: the rules are read before the next order.
    pub(super) fn refresh_filters(&mut self, symbol: SymbolId) {
        let now = self.clock.now_ns();
        let block = self.watch.blocked.entry(symbol).or_insert(Blocked { times: 0, again_at: 0 });
        block.again_at = now + (TRY_AGAIN_NS << block.times.min(DOUBLINGS));
        block.times += 1;
        self.read_instruments(now);
    }

    fn read_instruments(&mut self, now: u64) {
        self.watch.instruments_due = now + self.watch.instruments_ms * Nanos::MS;
        if std::mem::replace(&mut self.watch.reading, true) {
            return;
        }
        let rest = Arc::clone(&self.rest);
        let names: Vec<String> = self.symbols.all().iter().map(|i| i.symbol.clone()).collect();
        self.start(async move { Done::Instruments(instruments(&rest, names).await) });
    }

    pub(super) fn instruments_read(&mut self, result: Result<ExchangeInfo, RestError>) {
        let now = self.clock.now_ns();
        self.watch.reading = false;
        let info = match result {
            Ok(info) => info,
            Err(error) => {
                tracing::warn!("filters: {error}");
                self.watch.instruments_due = now + HALTED_EVERY_NS;
                return;
            }
        };
        let mut table = self.symbols.all().to_vec();
        let mut changed = false;
        for known in &mut table {
            let told = info.instruments.iter().find(|i| i.symbol == known.symbol);
            let Some(fresh) = judge(self.watch.session.get(known.id).unwrap_or(known), known, told) else {
                self.router_commands.push_back(RouterCommand::Halt(known.id));
                continue;
            };
            let refused = self.watch.blocked.get(&known.id).copied();
            let new = fresh != *known;
            // Refused although nothing changed: tried again, later and later.
            if new || refused.is_some_and(|b| now >= b.again_at) {
                let command = RouterCommand::Instrument(Box::new(fresh.clone()));
                self.router_commands.push_back(command);
                if new {
                    self.watch.blocked.remove(&known.id);
                    self.alert("FiltersChanged");
                }
            }
            changed |= new;
            *known = fresh;
        }
        if changed {
            self.symbols = Symbols::new(table);
            push(&mut self.ends.to_gateway, GatewayCommand::Symbols(self.symbols.clone()));
        }
        self.watch.set_instruments_due(&self.symbols, now);
    }
}

/// An instrument as it is now, in the session's units; halted where it is not listed any more. `None`: its ticks or
/// lots do not fit the session's.
fn judge(session: &Instrument, known: &Instrument, told: Option<&Instrument>) -> Option<Instrument> {
    let name = &known.symbol;
    let gone = Instrument { status: InstrumentStatus::Halted, ..known.clone() };
    let fresh = told.map_or(Some(gone), |i| i.in_units_of(session));
    match &fresh {
        None => tracing::error!("{name} has finer ticks or lots now: nothing is opened until the next start"),
        Some(fresh) if fresh == known => {}
        Some(fresh) if fresh.status == InstrumentStatus::Halted => {
            tracing::warn!("{name} does not trade now, or is not listed: halted");
        }
        Some(_) => tracing::warn!("{name}: filters or status have changed and are in force"),
    }
    fresh
}

/// The instruments of `names` that are still listed.
async fn instruments(rest: &RestClient, mut names: Vec<String>) -> Result<ExchangeInfo, RestError> {
    loop {
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        match rest.exchange_info(&wanted).await {
            Err(RestError::Instruments(binance::rest::InstrumentError::NoSuchSymbol(gone))) => {
                names.retain(|name| !gone.contains(name));
            }
            other => return other,
        }
    }
}

async fn settings(rest: &RestClient, symbols: &Symbols) -> Result<Settings, RestError> {
    let account = rest.account_config().await?;
    let rows = rest.symbol_configs(None).await?;
    let ours = rows.into_iter().filter(|row| symbols.by_name(&row.symbol).is_some());
    Ok(Settings {
        can_trade: account.can_trade,
        hedge: account.dual_side,
        multi_assets: account.multi_assets,
        symbols: ours.map(|row| (row.symbol, (row.leverage, row.isolated))).collect(),
    })
}
