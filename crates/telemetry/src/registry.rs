//! Every metric: name, kind, unit, labels, meaning. The exporter writes these and no others; a test holds the reference in
//! the book, the alert rules and the Grafana dashboards against this list.

use std::fmt::Write as _;

/// What kind of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Counts by value.
    Histogram,
    /// Texts, in labels; its value is 1.
    Info,
}

impl Kind {
    /// As OpenMetrics has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name of its family: counters are exported with `_total`, texts with `_info`.
    pub family: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Unit, also the end of the family's name; empty: a number.
    pub unit: &'static str,
    /// Labels, each of few values.
    pub labels: &'static [&'static str],
    /// What it means, and when it is not there.
    pub meaning: &'static str,
}

impl Metric {
    /// The name of its samples in queries.
    pub fn name(&self) -> String {
        let end = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{end}", self.family)
    }
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $family:literal $unit:literal [$($label:literal)*] $meaning:literal;)+) => {
        $(
            #[doc = $meaning]
            pub const $id: Metric = Metric {
                family: $family,
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                meaning: $meaning,
            };
        )+
        /// All of them, in the order in which they are exported.
        pub const ALL: &[Metric] = &[$($id),+];
    };
}

metrics! {
    BUILD = Info "dolphin_build" "" ["version" "commit" "venue" "role" "profile"] "What runs, and against which venue.";
    STATE_AGE = Gauge "dolphin_state_age_seconds" "seconds" [] "Age of the state that all other values are taken from. It is published four times a second; if it grows the control thread hangs.";
    START = Gauge "dolphin_start_timestamp_seconds" "seconds" [] "Start of the run.";
    ARMED = Gauge "dolphin_trading_armed" "" [] "1: no gate of the account is closed, positions may be opened. 0: see dolphin_gate_closed.";
    TRADING_STATE = Gauge "dolphin_trading_state" "" [] "2 ACTIVE, 1 REDUCING (exits and cancels alone), 0 HALTED.";
    GATE = Gauge "dolphin_gate_closed" "" ["gate"] "1: the gate is closed, 0: it is open. Every gate of the list is always there.";
    GATE_AGE = Gauge "dolphin_gate_closed_seconds" "seconds" ["gate"] "How long the gate has been closed. Only of gates that are closed.";
    KILL = Gauge "dolphin_kill_switch_latched" "" [] "1: the kill switch was pulled and is latched.";
    POSTURE = Gauge "dolphin_posture" "" ["posture"] "1 for the posture in force, 0 for the others.";
    RM = Gauge "dolphin_rm_ratio" "ratio" ["source"] "Rm of the survival stack: in force, and of our own sensors. Absent before the first tick.";
    MAX_LEVERAGE = Gauge "dolphin_leverage_max" "" [] "Highest leverage that the posture and Rm allow now.";
    EQUITY = Gauge "dolphin_equity_usd" "usd" [] "Wallet and unrealised profit, in the quote asset. Absent while a balance or a price is not known.";
    WALLET = Gauge "dolphin_wallet_usd" "usd" [] "Wallet balance in the quote asset. Absent before the first comparison with the venue.";
    PNL = Gauge "dolphin_pnl_usd" "usd" ["kind"] "Profit: of the day, of it realised, and unrealised. Absent where not known.";
    DRAWDOWN = Gauge "dolphin_drawdown_ratio" "ratio" [] "Fall of equity from the day's peak. Absent while equity is not known.";
    FEES = Gauge "dolphin_day_fees_usd" "usd" [] "Commissions of the day.";
    TURNOVER = Gauge "dolphin_day_turnover_usd" "usd" [] "Value of the day's fills.";
    MARGIN_FREE = Gauge "dolphin_margin_free_usd" "usd" [] "Margin that is free, at the last comparison with the venue. Absent before it.";
    EXPOSURE = Gauge "dolphin_exposure_usd" "usd" ["kind"] "Value of all positions: gross, and net with its sign.";
    POSITION = Gauge "dolphin_position_lots" "lots" ["symbol"] "Open positions, signed. Absent while flat.";
    RECONCILED = Gauge "dolphin_reconciled" "" [] "1: the last comparison with the venue was clean and the connection is unbroken since.";
    RECONCILED_AT = Gauge "dolphin_reconcile_last_success_timestamp_seconds" "seconds" [] "When the venue was last asked for the account and told of everything. Absent before.";
    MISMATCH = Counter "dolphin_reconcile_mismatch" "" [] "Differences that comparisons with the venue found.";
    DEAD_MAN = Gauge "dolphin_deadman_refresh_age_seconds" "seconds" [] "Age of the oldest dead-man switch that protects resting orders; 0: none rest.";
    ORDERS = Counter "dolphin_orders" "" ["op"] "Requests sent to the venue.";
    OPEN = Gauge "dolphin_orders_open" "" [] "Orders that work, or whose fate is unknown.";
    UNKNOWN = Gauge "dolphin_orders_unknown" "" [] "Orders whose fate is unknown.";
    UNKNOWN_AGE = Gauge "dolphin_orders_unknown_oldest_seconds" "seconds" [] "How long the oldest of them has been unknown; 0: there is none.";
    REJECTS = Counter "dolphin_orders_rejected" "" [] "Orders refused by the venue.";
    REJECT_CODES = Counter "dolphin_venue_rejects" "" ["code"] "Refusals by the venue's error code. Absent before the first of a code.";
    DENIALS = Counter "dolphin_risk_denials" "" ["check"] "Orders refused by our own checks, by check. Absent before the first of a check.";
    FILLS = Counter "dolphin_fills" "" [] "Fills of our orders.";
    TRIPS = Counter "dolphin_round_trips" "" [] "Positions opened and closed again.";
    ABANDONED = Counter "dolphin_entries_abandoned" "" [] "Entries that came to no position.";
    REPEGS = Counter "dolphin_repegs" "" [] "Resting orders moved to a new price.";
    DUPLICATES = Counter "dolphin_duplicate_reports" "" [] "Fill reports that were told before.";
    EXTERNAL = Counter "dolphin_external_fills" "" [] "Fills on the account that are not ours.";
    LATE = Counter "dolphin_late_fills" "" [] "Fills of orders that were done.";
    MAKER = Gauge "dolphin_maker_share_ratio" "ratio" ["leg"] "Share of filled value that rested; the model has 0.62 for entries, 0.50 for exits. Absent before the first fill.";
    LIMIT = Gauge "dolphin_limit_used_ratio" "ratio" ["limit"] "Share used of a limit: the venue's windows (weight, orders) and our own (loss and drawdown of the day, orders).";
    DATA_AGE = Gauge "dolphin_feed_age_seconds" "seconds" [] "Since the last market frame. Absent before the first, and in roles without a feed.";
    FRAMES = Counter "dolphin_frames" "" [] "Market frames received.";
    FRAMES_DROPPED = Counter "dolphin_frames_dropped" "" [] "Frames given up because the books were behind; they are found as gaps.";
    DECODE = Counter "dolphin_decode_errors" "" [] "Market frames refused whole.";
    EVENTS = Counter "dolphin_market_events" "" [] "Frames decoded into events.";
    SAMPLES = Counter "dolphin_samples" "" [] "Ticks: samples of all symbols.";
    SAMPLES_LOST = Counter "dolphin_samples_lost" "" [] "Ticks whose place a newer one took because the engine was behind.";
    SAMPLES_PREPARED = Counter "dolphin_samples_prepared" "" [] "Ticks whose features had all been computed before the boundary came.";
    FEATURES_LATE = Counter "dolphin_features_late" "" [] "Features that had to be computed at the boundary, symbol by symbol.";
    SCANS_PREPARED = Counter "dolphin_scans_prepared" "" [] "Ticks whose eigen scan had been made before the boundary came.";
    BOOKS = Gauge "dolphin_books" "" [] "Books that are followed.";
    BOOKS_LIVE = Gauge "dolphin_books_synced" "" [] "Books in sync and not masked.";
    BOOK = Gauge "dolphin_book_synced" "" ["symbol"] "1: this book is in sync and used, 0: it is masked.";
    BOOK_AGE = Gauge "dolphin_book_age_seconds" "seconds" ["symbol"] "Since the book's last update. Absent before its first.";
    SPREAD = Gauge "dolphin_book_spread_ratio" "ratio" ["symbol"] "Spread over mid. Absent while the book has not two sides.";
    GAPS = Counter "dolphin_book_gaps" "" [] "Depth updates that did not chain.";
    RESYNCS = Counter "dolphin_book_resyncs" "" [] "Books taken again after they had been in sync.";
    RESYNC_LONGEST = Gauge "dolphin_book_resync_longest_seconds" "seconds" [] "Longest time that took.";
    TOUCHES = Counter "dolphin_touch_checks" "" ["result"] "States of books of which bookTicker and the book both told the best bid and ask, by result.";
    AUDITS = Counter "dolphin_book_audits" "" ["result"] "Books compared level by level with the venue's, by result.";
    STREAMS_SILENT = Counter "dolphin_streams_silent" "" [] "Streams found silent.";
    RECONNECTS = Counter "dolphin_ws_reconnects" "" ["conn" "reason"] "Connections lost, by reason. Absent before the first of a reason.";
    CONNECT_FAILED = Counter "dolphin_ws_connect_failed" "" ["conn"] "Attempts to connect that failed.";
    CONN_AGE = Gauge "dolphin_ws_last_message_age_seconds" "seconds" ["conn"] "Since the last frame of a market connection, to half a second. Absent before its first one; the account's connections are silent while nothing happens.";
    CONN_UP = Gauge "dolphin_ws_up" "" ["conn"] "1: the connection is there.";
    VEL_DIV = Gauge "dolphin_signal_vel_div" "" [] "Velocity divergence of the newest scan. Absent during warm-up and between scans.";
    THRESHOLD = Gauge "dolphin_signal_threshold" "" ["kind"] "Below it a short may fire; below the extreme one at the highest strength.";
    STEPS = Counter "dolphin_engine_steps" "" ["gate"] "Steps of the engine by the gate they came to.";
    WARM = Gauge "dolphin_warmup_ratio" "ratio" [] "Warm-up done; 1: complete.";
    BOOST = Gauge "dolphin_acb_boost" "" [] "Boost in force. Absent before the first tick.";
    BETA = Gauge "dolphin_acb_beta" "" [] "Beta in force. Absent before the first tick.";
    STAGE_LATENCY = Histogram "dolphin_stage_latency_seconds" "seconds" ["stage"] "Latency of one hop.";
    TICK_TO_SEND = Histogram "dolphin_tick_to_send_seconds" "seconds" [] "From the frame that made a tick due to the signed order's bytes on the socket.";
    ACK = Histogram "dolphin_order_ack_seconds" "seconds" [] "From there to the venue's first word of the order.";
    HOP_MINUTE = Gauge "dolphin_hop_last_minute_seconds" "seconds" ["hop" "quantile"] "Percentiles of the last minute. Absent where there was no sample.";
    LATENCY_LOST = Counter "dolphin_latency_samples_lost" "" [] "Latency samples given up.";
    HEARTBEAT = Gauge "dolphin_stage_heartbeat_age_seconds" "seconds" ["stage"] "Since the stage's last duty cycle.";
    CYCLES = Counter "dolphin_stage_cycles" "" ["stage" "result"] "Duty cycles, by whether they found work.";
    CYCLE_LONGEST = Gauge "dolphin_stage_longest_cycle_seconds" "seconds" ["stage"] "Longest duty cycle since the start.";
    RING_CAPACITY = Gauge "dolphin_ring_capacity" "" ["ring"] "Slots.";
    RING_HIGH = Gauge "dolphin_ring_high_water" "" ["ring"] "Most slots in use at once since the start.";
    RING_FULL = Counter "dolphin_ring_drops" "" ["ring" "lossless"] "Messages that found no slot. In a lossless ring the sender waits, elsewhere the message is given up or conflated; dolphin topology says which.";
    RING_MESSAGES = Counter "dolphin_ring_messages" "" ["ring"] "Messages that went in.";
    CLOCK_OFFSET = Gauge "dolphin_clock_offset_seconds" "seconds" [] "The venue's clock against ours. Absent before it was measured.";
    CLOCK_ERROR = Gauge "dolphin_clock_error_seconds" "seconds" [] "Bound of its error. Absent before it was measured.";
    MEMORY_UP = Gauge "dolphin_memory_connected" "" ["backend"] "1: system memory answers.";
    MEMORY_PENDING = Gauge "dolphin_memory_pending_writes" "" [] "Values that wait to be written.";
    MEMORY_WRITTEN = Counter "dolphin_memory_written" "" [] "Values that memory has.";
    MEMORY_LOST = Counter "dolphin_memory_lost" "" [] "Values given up.";
    MEMORY_OUTAGES = Counter "dolphin_memory_outages" "" [] "Times that memory went away.";
    JOURNAL_RECORDS = Counter "dolphin_journal_records" "" [] "Records in the journal. Absent without a journal.";
    JOURNAL_LOST = Counter "dolphin_journal_records_lost" "" [] "Records that the journal has not: a hole, and nothing is opened for a minute. Absent without a journal.";
    JOURNAL_BYTES = Counter "dolphin_journal_written_bytes" "bytes" [] "Bytes written, before segments are compressed. Absent without a journal.";
    JOURNAL_LAG = Gauge "dolphin_journal_lag_records" "records" [] "Records that waited for the journal's writer when it looked last, which it does every 20 ms. Absent without a journal.";
    JOURNAL_SYNCS = Counter "dolphin_journal_fsyncs" "" [] "Times that the disk was asked to keep what was written. Absent without a journal.";
    JOURNAL_SYNC = Counter "dolphin_journal_fsync_seconds" "seconds" [] "Time that this took in all. Absent without a journal.";
    JOURNAL_SYNC_LONGEST = Gauge "dolphin_journal_fsync_longest_seconds" "seconds" [] "The longest since the start. Absent without a journal.";
    DISK_FREE = Gauge "dolphin_disk_free_bytes" "bytes" [] "Free on the journal's disk. Absent without a journal.";
    DISK_SIZE = Gauge "dolphin_disk_size_bytes" "bytes" [] "All of the journal's disk. Absent without a journal.";
    ALERTS = Counter "dolphin_alerts" "" ["kind"] "Alerts of the node by kind. Absent before the first of a kind.";
}

/// Gates by name, with what each is about: the values of the label `gate`.
pub const GATES: &[(&str, &str)] = &[
    ("starting", "nothing has been published by the router yet"),
    ("warm_up", "the scanner or the volatility regime has not seen enough bars"),
    ("market_data", "no market data has come lately"),
    ("books", "books are not in sync or not to be trusted"),
    ("order_path", "the connection for orders is down"),
    ("user_stream", "the user stream is down: fills would not be heard of"),
    ("rest_fallback", "requests go over REST because the connection for orders is down"),
    ("worker_silent", "a worker does not turn"),
    ("state_unkept", "the state can be written neither to memory nor to a local file"),
    ("journal_hole", "records of the journal are lost: what is decided now could not be explained"),
    ("memory_unread", "system memory was silent at the start"),
    ("dry_run", "the run changes nothing at the venue"),
    ("stopping", "the run is ending"),
    ("kill_file", "the kill file is there"),
    ("hibernate", "posture HIBERNATE"),
    ("forewarner", "the forewarner says RED for the day"),
    ("state", "the trading state is not ACTIVE"),
    ("kill", "the kill switch is latched"),
    ("lease", "the lease is not confirmed"),
    ("role", "the node trades nothing by its role, or stands by for the one that holds the lease"),
    ("reconciled", "not reconciled with the venue"),
    ("predecessor", "an order of the run before may still arrive"),
    ("breaker", "the circuit breaker is open"),
    ("clock", "the clock is off, or was never measured"),
    ("clock_error", "the clock is not known well enough"),
    ("unknown_orders", "the fate of orders is unknown"),
    ("unlisted", "positions or orders in instruments that are not followed"),
    ("margin", "the venue found the margin insufficient"),
    ("backoff", "the venue has told us to wait"),
    ("order_rate", "our own budget of orders is used up"),
    ("equity_unknown", "equity is not known"),
    ("day_loss", "loss of the day"),
    ("drawdown", "drawdown of the day"),
    ("free_margin", "too little margin is free"),
    ("liquidation_distance", "a liquidation price is near"),
    ("dead_man", "the dead-man switch is not refreshed"),
    ("order_to_trade", "too many orders for each that was filled"),
    ("turnover", "turnover of the day"),
    ("fees", "commissions of the day"),
    ("repeated", "too many entries within the window: latched"),
    ("reject_rate", "too many refusals by the venue: latched"),
    ("foreign", "orders of another program or a person: latched"),
    ("account_mode", "the account's settings were changed from outside: latched"),
    ("slippage", "a fill far from its decision: latched"),
    ("unexpected", "a position that no intent explains: latched"),
    ("refused", "the venue refused our key or account: latched"),
    ("tripped", "another limit has latched"),
];

/// Postures by name: the values of the label `posture`.
pub const POSTURES: [&str; 4] = ["APEX", "STALKER", "TURTLE", "HIBERNATE"];

/// The reference for the book.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Metrics\n\n<!-- Made from crates/telemetry/src/registry.rs: DOLPHIN_WRITE_DOCS=1 cargo test -p telemetry --test \
         registry -->\n\nA running node serves these at `/metrics` (OpenMetrics) on `telemetry.listen`. Counters begin at 0 \
         with the process. Histograms have fixed buckets, 1, 2, 5 to the decade from 1 µs to 10 s: the text format has no \
         native ones.\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for m in ALL {
        let labels: Vec<String> = m.labels.iter().map(|l| format!("`{l}`")).collect();
        let _ =
            writeln!(out, "| `{}` | {} | {} | {} |", m.name(), m.kind.name(), labels.join(" "), m.meaning);
    }
    out.push_str(
        "\n## Gates\n\nThe values of the label `gate` of `dolphin_gate_closed`, and the names in the status line, `/readyz`, \
         `/api/state`, `dolphin top` and the dashboard.\n\n| gate | closed because |\n|---|---|\n",
    );
    for (name, about) in GATES {
        let _ = writeln!(out, "| `{name}` | {about} |");
    }
    out
}
