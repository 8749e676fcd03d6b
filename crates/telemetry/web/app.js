// The page of a node: takes the state once a second and writes it down. Nothing here sends anything but questions.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const MOST_POINTS = 8000;
  // In the order in which the engine asks them.
  const GATES = ["no_day", "posture", "caller", "volatility", "forewarner", "breaker", "signal", "direction", "asset", "capital", "entered", "entry_working", "holding", "exit_working", "exited"];
  let last = null;
  let heard = 0;

  // ---- words ----------------------------------------------------------------------------------------------------
  const known = (x) => x !== null && x !== undefined;
  // What rounds to zero has no minus.
  const fixed = (x, d) => x.toFixed(d).replace(/^-(0(\.0+)?)$/, "$1");
  const num = (x, d) => (known(x) ? fixed(x, d) : "–");
  const signed = (x, d = 2) => (known(x) ? fixed(x, d).replace(/^(?!-)/, "+") : "–");
  const short = (x) => (known(x) ? String(Number(x.toPrecision(9))) : "–");
  const pct = (x, d = 1) => (known(x) ? (x * 100).toFixed(d) + " %" : "–");
  const secs = (s) =>
    !known(s) ? "–" : s < 1e-6 ? (s * 1e9).toFixed(0) + " ns" : s < 1e-3 ? (s * 1e6).toFixed(1) + " µs"
      : s < 1 ? (s * 1e3).toFixed(2) + " ms" : s.toFixed(1) + " s";
  const age = (ms) =>
    !known(ms) ? "–" : ms < 10e3 ? (ms / 1e3).toFixed(1) + " s" : ms < 120e3 ? (ms / 1e3).toFixed(0) + " s"
      : ms < 7200e3 ? (ms / 60e3).toFixed(0) + " min" : (ms / 3600e3).toFixed(0) + " h";
  const utc = (ms) => new Date(ms).toISOString().slice(11, 19);
  const tone = (x) => (!known(x) || x === 0 ? "" : x > 0 ? "good" : "bad");

  // ---- elements: text is set, never parsed ----------------------------------------------------------------------
  const put = (el, text, cls) => {
    if (el.textContent !== text) el.textContent = text;
    if (cls !== undefined && el.className !== cls) el.className = cls;
  };
  // As many children as rows; each is changed in place, so that nothing grows and focus and scroll stay.
  const rows = (parent, list, tag, fill) => {
    while (parent.children.length > list.length) parent.lastElementChild.remove();
    while (parent.children.length < list.length) parent.append(document.createElement(tag));
    list.forEach((one, i) => fill(parent.children[i], one, i));
  };
  const cells = (tr, list) =>
    rows(tr, list, "td", (td, c) => (Array.isArray(c) ? put(td, c[0], c[1]) : put(td, c, "")));
  const tiles = (parent, list) =>
    rows(parent, list, "div", (el, [label, value, cls, key]) => {
      el.className = "tile";
      if (!el.firstChild) el.append(document.createElement("b"), document.createElement("span"));
      put(el.firstChild, value, cls || "");
      put(el.lastChild, label);
      el.dataset.key = key || label;
    });
  const none = (parent, columns, text) =>
    rows(parent, [text], "tr", (tr) => {
      cells(tr, [[text, "dim"]]);
      tr.firstElementChild.colSpan = columns;
    });

  // ---- charts ---------------------------------------------------------------------------------------------------
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const PALETTE = ["#1f77b4", "#e8710a", "#2e9e4f", "#c43b3b", "#8a63c9", "#8c6d4f", "#d45fa8", "#7a8794", "#12a4b8"];
  const charts = {};
  const chart = (id, names, format, more) => {
    const make = () => {
      const el = $(id);
      const axis = { stroke: css("--dim"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") } };
      const series = names.map((n, i) => Object.assign(
        { label: n, stroke: PALETTE[i % PALETTE.length], width: 1.5, points: { show: false }, value: (_, v) => (known(v) ? format(v) : "–") },
        (more && more[i]) || {}));
      return new uPlot({
        width: Math.max(el.clientWidth, 200), height: 165, tzDate: (t) => uPlot.tzDate(new Date(t * 1e3), "UTC"),
        series: [{ label: "UTC", value: (_, t) => (known(t) ? utc(t * 1e3) : "–") }, ...series],
        axes: [Object.assign({ space: 70, values: (_, v) => v.map((t) => utc(t * 1e3)) }, axis), Object.assign({ size: 86, values: (_, v) => v.map(format) }, axis)],
        cursor: { drag: { x: true, y: false } }, legend: { live: true },
      }, charts[id] ? charts[id].data : [[], ...names.map(() => [])], el);
    };
    charts[id] = { data: [[], ...names.map(() => [])], make };
    charts[id].plot = make();
  };
  const point = (id, t, values) => {
    const d = charts[id].data;
    if (d[0].length && t <= d[0][d[0].length - 1]) return;
    d[0].push(t);
    values.forEach((v, i) => d[i + 1].push(known(v) ? v : null));
    if (d[0].length > MOST_POINTS) d.forEach((column) => column.splice(0, column.length - MOST_POINTS));
  };
  const draw = () => Object.values(charts).forEach((c) => c.plot.setData(c.data));
  const resize = () => Object.entries(charts).forEach(([id, c]) => c.plot.setSize({ width: Math.max($(id).clientWidth, 200), height: 165 }));
  const recolour = () => Object.values(charts).forEach((c) => { c.plot.destroy(); c.plot = c.make(); });

  let hops = [];
  let thresholds = [0, 0];
  const addPoint = (p) => {
    const t = p.t / 1e3;
    point("c-equity", t, [p.equity]);
    point("c-drawdown", t, [known(p.drawdown) ? -p.drawdown : null]);
    point("c-signal", t, [p.vel_div, ...thresholds]);
    point("c-latency", t, hops.map((_, i) => p.p99[i]));
  };
  const begin = (s) => {
    hops = s.latency.map((h) => h.name);
    thresholds = [s.signal.threshold, s.signal.extreme];
    const dash = { dash: [6, 4], width: 1 };
    chart("c-equity", ["equity"], (v) => fixed(v, 2));
    chart("c-drawdown", ["drawdown"], (v) => fixed(v * 100, 2) + " %", [{ fill: "rgba(196,59,59,.18)", stroke: "#c43b3b" }]);
    chart("c-signal", ["vel_div", "fires below", "extreme below"], (v) => fixed(v, 3), [{}, dash, dash]);
    chart("c-latency", hops, secs);
  };

  // ---- the page -------------------------------------------------------------------------------------------------
  const show = (s) => {
    const stopped = s.gates.filter((g) => !g.symbols.length);
    put($("armed"), s.armed ? "ARMED" : "NOT ARMED: " + (stopped[0] ? stopped[0].cause : "nothing is published yet"), s.armed ? "good" : "bad");
    const n = s.node;
    put($("who"), [n.venue, n.role, n.profile, "parameters " + n.param_hash.slice(0, 12), "v" + n.version].join(" · "));
    put($("clock"), utc(s.at_ms) + " UTC, up " + age(s.at_ms - n.started_ms));
    document.title = (s.armed ? "● " : "○ ") + n.venue + " dolphin";
    $("why").hidden = s.gates.length === 0;
    rows($("gates"), s.gates, "tr", (tr, g) => {
      tr.dataset.gate = g.name;
      cells(tr, [[g.name, g.symbols.length ? "warn" : "bad"], [g.cause + (g.symbols.length ? " (" + g.symbols.slice(0, 6).join(", ") + (g.symbols.length > 6 ? ", …" : "") + ")" : ""), "wrap"],
        age(s.at_ms - g.since_ms), [g.reopens, "wrap"]]);
    });
    const a = s.account;
    tiles($("account"), [
      ["equity", num(a.equity, 2), "", "equity"], ["today", signed(a.day_pnl), tone(a.day_pnl), "day_pnl"],
      ["unrealised", signed(a.unrealised), tone(a.unrealised)], ["drawdown", pct(a.drawdown, 2)],
      ["wallet", num(a.wallet, 2)], ["fees today", num(a.fees, 2)], ["free margin", num(a.margin_free, 2)],
      ["gross exposure", num(a.gross, 0)], ["fills", String(s.counts.fills), "", "fills"], ["round trips", String(s.counts.round_trips), "", "round_trips"],
      ["unknown orders", String(s.counts.unknown_now), s.counts.unknown_now ? "bad" : ""],
      ["reconciled", a.reconciled ? "yes" : "no", a.reconciled ? "good" : "bad"],
      ["data age", age(s.market.data_age_ms), s.market.data_age_ms > 1500 ? "bad" : ""],
      ["books", s.market.books_live + " of " + s.market.books, s.market.books_live < s.market.books ? "warn" : "good", "books"],
    ]);
    const g = s.signal;
    tiles($("signal"), [["velocity divergence", num(g.vel_div, 4)], ["fires below", num(g.threshold, 4)], ["last step", (g.gate || "–").replaceAll("_", " ")],
      ["posture", g.posture || "–"], ["Rm", num(g.rm, 3)], ["boost", num(g.boost, 3)], ["beta", num(g.beta, 3)],
      ["warm-up", g.warm_needed ? g.warm_bars + " of " + g.warm_needed : "none"]]);
    positions(s);
    const steps = Object.values(g.funnel).reduce((x, y) => x + y, 0) || 1;
    const funnel = Object.entries(g.funnel).filter(([, c]) => c > 0).sort(([x], [y]) => GATES.indexOf(x) - GATES.indexOf(y));
    rows($("funnel"), funnel, "tr", (tr, [gate, c]) => {
      cells(tr, [gate, [String(c), "n"], [pct(c / steps), "n"], ""]);
      bar(tr.lastElementChild, c / steps);
    });
    orders(s);
    if (!s.trades.length) none($("trades"), 8, "no round trip yet");
    else rows($("trades"), s.trades, "tr", (tr, t) => {
      if (tr.firstElementChild) tr.firstElementChild.colSpan = 1;
      cells(tr, [utc(t.at_ms), t.symbol, t.side, [short(t.entry_px), "n"], [short(t.exit_px), "n"], [signed(t.pnl), "n " + tone(t.pnl)], [num(t.fees, 2), "n"], t.reason]);
    });
    rows($("maker"), [["entries", s.maker.entries, 0.62], ["exits", s.maker.exits, 0.5], ["all", s.maker.all, null]], "tr", (tr, [leg, x, model]) =>
      cells(tr, [leg, [pct(x), "n"], [pct(model), "n"]]));
    rows($("limits"), Object.entries(s.limits), "tr", (tr, [name, used]) => {
      cells(tr, [name.replaceAll("_", " "), [pct(used), "n" + (used > 0.8 ? " bad" : "")], ""]);
      bar(tr.lastElementChild, used);
    });
    const lost = (c) => Object.values(c.lost).reduce((x, y) => x + y, 0);
    rows($("connections"), [...s.connections, null], "tr", (tr, c) => cells(tr, c
      ? [c.name, [c.up ? "up" : "DOWN", c.up ? "good" : "bad"], "lost " + lost(c)]
      : ["memory: " + s.memory.backend, [s.memory.connected ? "answers" : "AWAY", s.memory.connected ? "good" : "bad"], s.memory.pending + " waiting"]));
    rows($("latency"), s.latency, "tr", (tr, h) => {
      const m = h.minute || {};
      cells(tr, [h.name, [String(m.n || 0), "n"], [secs(m.p50), "n"], [secs(m.p99), "n"], [secs(m.max), "n"], [secs(h.all ? h.all.p99 : null), "n"]]);
    });
    rows($("stages"), s.stages, "tr", (tr, t) => cells(tr, [t.name, t.worker, [pct(t.duty), "n"], [secs(t.longest_ns / 1e9), "n"], [age(t.heartbeat_age_ms), "n"]]));
    rows($("rings"), s.rings, "tr", (tr, r) => cells(tr, [r.name, [String(r.high_water), "n"], [String(r.capacity), "n"], [String(r.full), "n" + (r.full && r.lossless ? " bad" : "")]]));
    rows($("books"), s.books, "div", (el, b) => {
      const spread = known(b.bid) && known(b.ask) ? (((b.ask - b.bid) / (b.ask + b.bid)) * 2e4).toFixed(1) + " bps" : "–";
      put(el, b.symbol + " " + (b.mask ? b.mask.toUpperCase() : spread) + ", " + age(b.age_ms), b.mask ? "off" : "");
    });
    const log = $("log"), pane = log.parentElement, below = pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 8;
    put(log, s.log.length ? s.log.map((l) => utc(l.at_ms) + " " + l.level.padEnd(5) + " " + l.text).join("\n") : "nothing yet");
    if (below) pane.scrollTop = pane.scrollHeight;
  };
  const bar = (td, share) => {
    let el = td.firstElementChild;
    if (!el) { td.textContent = ""; el = document.createElement("div"); el.className = "bar"; el.append(document.createElement("i")); td.append(el); }
    el.firstElementChild.style.width = Math.min(Math.max(share, 0), 1) * 100 + "%";
  };
  const orders = (s) => {
    const all = [...s.orders, ...s.done_orders];
    if (!all.length) return none($("orders"), 9, "no order yet");
    rows($("orders"), all, "tr", (tr, o) => {
      if (tr.firstElementChild) tr.firstElementChild.colSpan = 1;
      cells(tr, [o.id.split("-").slice(2).join("-"), o.symbol, o.purpose.replaceAll("_", " "), o.side, [short(o.px), "n"], [short(o.qty), "n"], [short(o.filled), "n"],
        [o.status.replaceAll("_", " "), o.status === "unknown" ? "bad" : ""], [age(o.until_ms - o.since_ms), "n"]]);
    });
  };
  const positions = (s) => {
    const parent = $("positions");
    if (!s.positions.length) { rows(parent, [0], "div", (el) => { el.className = "dim"; el.replaceChildren("flat"); }); return; }
    rows(parent, s.positions, "div", (el, p) => {
      const side = p.qty < 0 ? "SHORT" : "LONG";
      const head = document.createElement("div");
      head.append(Object.assign(document.createElement("b"), { textContent: side + " " + short(Math.abs(p.qty)) + " " + p.symbol }), "  ",
        Object.assign(document.createElement("span"), { textContent: signed(p.unrealised), className: tone(p.unrealised) }));
      const marks = [["entry", p.entry_px, ""], ["now", p.px, "now"], ["TP", p.tp_px, "tp"]].filter((m) => known(m[1]));
      const low = Math.min(...marks.map((m) => m[1])), high = Math.max(...marks.map((m) => m[1])), span = high - low || 1;
      const rail = document.createElement("div");
      rail.className = "rail";
      rail.setAttribute("role", "img");
      rail.setAttribute("aria-label", marks.map((m) => m[0] + " " + short(m[1])).join(", "));
      rail.append(Object.assign(document.createElement("div"), { className: "axis" }));
      for (const [name, px, cls] of marks) {
        const m = Object.assign(document.createElement("div"), { className: "m " + cls });
        m.style.left = 12 + ((px - low) / span) * 76 + "%";
        m.append(Object.assign(document.createElement("em"), { textContent: name + " " + short(px) }));
        rail.append(m);
      }
      el.className = "";
      el.replaceChildren(head, rail);
    });
  };

  // ---- news -----------------------------------------------------------------------------------------------------
  const take = (s) => {
    if (!s.sequence) return;
    heard = Date.now();
    if (!last) begin(s);
    last = s;
    show(s);
    const minute = (h) => (h.minute ? h.minute.p99 : null);
    addPoint({ t: s.at_ms, equity: s.account.equity, drawdown: s.account.drawdown, vel_div: s.signal.vel_div, p99: s.latency.map(minute) });
    draw();
    document.body.dataset.sequence = s.sequence;
  };
  const start = async () => {
    const first = await (await fetch("api/state")).json();
    const history = await (await fetch("api/history")).json();
    if (first.sequence) { begin(first); last = first; history.filter((p) => p.t < first.at_ms).forEach(addPoint); take(first); }
    const source = new EventSource("api/events");
    source.onmessage = (e) => take(JSON.parse(e.data));
  };
  setInterval(() => $("stale").classList.toggle("on", Date.now() - heard > 4000 || (last !== null && Date.now() - heard + (heard - last.at_ms) > 30000)), 1000);
  $("theme").onclick = () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    recolour();
  };
  matchMedia("(prefers-color-scheme:dark)").addEventListener("change", recolour);
  addEventListener("resize", resize);
  const retry = () => start().catch(() => setTimeout(retry, 2000));
  retry();
})();
