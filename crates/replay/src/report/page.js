'use strict';
const D = JSON.parse(document.getElementById('data').textContent);
const $ = (id) => document.getElementById(id);
const el = (tag, props = {}, ...kids) => { const e = Object.assign(document.createElement(tag), props); e.append(...kids); return e; };
const SVG = 'http://www.w3.org/2000/svg';
const svg = (tag, attrs, text) => { const e = document.createElementNS(SVG, tag); for (const k in attrs) e.setAttribute(k, attrs[k]); if (text !== undefined) e.textContent = text; return e; };
// What rounds to zero has no sign.
const num = (x, d = 2) => x === null || x === undefined ? '–' : x.toLocaleString('en-US', { minimumFractionDigits: d, maximumFractionDigits: d, signDisplay: 'negative' }).replace('-', '−');
const int = (x) => num(x, 0);
const signed = (x, d = 2) => (x > 0 ? '+' : '') + num(x, d);
const pct = (x, d = 2) => x === null ? '–' : num(x * 100, d) + ' %';
const many = (n, what) => int(n) + ' ' + what + (n === 1 ? '' : 's');
const tone = (x) => x > 0 ? 'win' : x < 0 ? 'loss' : '';
const places = (step) => Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
const money = (x, step) => Math.abs(x) >= 1000 ? num(x / 1000, places(step / 1000)) + 'k' : num(x, places(step));

/* ---- head ---- */
const side = { '-1': 'SHORT', '0': 'LONG and SHORT', '1': 'LONG' }[D.direction];
const span = D.days.length ? (D.days.length > 1 ? D.days[0].date + ' to ' + D.days[D.days.length - 1].date : D.days[0].date) : 'no days';
document.title = (D.live ? 'DOLPHIN session · ' : 'DOLPHIN replay · ') + span;
if (D.live) document.querySelector('.kicker').textContent = 'DOLPHIN · session';
$('title').textContent = span;
$('subtitle').textContent = `${many(D.days.length, 'day')} · ${int(D.bars)} bars of ${D.assets} assets · ${many(D.trade_count, 'trade')} · ${side}`;
const badge = (text, cls = '') => $('badges').append(el('li', { textContent: text, className: cls }));
// The champion is SHORT alone: its parameters with another direction are another system.
const champion = D.champion && D.direction === -1;
badge('profile ' + D.profile, champion ? 'ok' : '');
badge(champion ? 'champion hash verified' : D.champion ? 'champion’s parameters, but ' + side : 'not the champion’s parameters', champion ? 'ok' : 'warn');
badge('hash ' + D.hash.slice(0, 12));
if (D.open) badge(`still open: ${D.open.direction < 0 ? 'SHORT' : 'LONG'} ${D.open.symbol}`);
if (D.notes.length) badge(many(D.notes.length, 'note') + ' below', 'warn');

for (const h of D.headline) {
  const show = (x) => x === null ? '–' : h.kind === 'pct' ? pct(x) : h.kind === 'int' ? int(x) : num(x, h.digits);
  const text = (h.key === 'roi' && h.value > 0 ? '+' : '') + show(h.value);
  $('tiles').append(el('div', { className: 'tile' }, el('span', { textContent: h.label }),
    el('b', { textContent: text, className: h.key === 'roi' ? tone(h.value) : '' }),
    el('span', { textContent: h.champion === null ? (h.note || '\u00a0') : 'champion ' + show(h.champion) })));
}
$('champion-note').textContent = 'The champion’s figures are those of its own data set (5 s bars, SHORT only): a yardstick, not a target for other data.';

/* ---- charts ---- */
function ticks(lo, hi, n) {
  const raw = (hi - lo) / Math.max(1, n), mag = 10 ** Math.floor(Math.log10(raw || 1));
  const step = [1, 2, 5, 10].map((m) => m * mag).find((s) => s >= raw) || mag;
  const out = []; for (let v = Math.ceil(lo / step) * step; v <= hi + step * 1e-9; v += step) out.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return { values: out, step };
}
function frame(box, lo, hi, format, left = 52) {
  const w = box.clientWidth, h = box.clientHeight, m = { l: left, r: 8, t: 8, b: 22 };
  const s = svg('svg', { viewBox: `0 0 ${w} ${h}`, role: 'img' });
  const y = (v) => m.t + (h - m.t - m.b) * (1 - (v - lo) / ((hi - lo) || 1));
  const { values, step } = ticks(lo, hi, Math.max(2, Math.floor(h / (h < 150 ? 32 : 55))));
  for (const v of values) {
    s.append(svg('line', { x1: m.l, x2: w - m.r, y1: y(v), y2: y(v), class: v === 0 ? 'zero' : 'grid-line' }));
    s.append(svg('text', { x: m.l - 8, y: y(v) + 4, 'text-anchor': 'end' }, format(v, step)));
  }
  box.replaceChildren(s);
  const tip = el('div', { className: 'tip' }); box.append(tip);
  return { s, w, h, m, y, tip, inner: w - m.l - m.r };
}
function hover(f, box, count, place, text) {
  const mark = svg('line', { y1: f.m.t, y2: f.h - f.m.b, class: 'zero', visibility: 'hidden' }); f.s.append(mark);
  const leave = () => { f.tip.style.visibility = 'hidden'; mark.setAttribute('visibility', 'hidden'); };
  box.onpointermove = (e) => {
    const x = e.clientX - box.getBoundingClientRect().left;
    let best = 0, dist = Infinity;
    for (let i = 0; i < count; i++) { const d = Math.abs(place(i) - x); if (d < dist) { dist = d; best = i; } }
    f.tip.textContent = text(best); f.tip.style.visibility = 'visible';
    mark.setAttribute('x1', place(best)); mark.setAttribute('x2', place(best)); mark.setAttribute('visibility', 'visible');
    f.tip.style.left = Math.min(Math.max(0, place(best) + 10), f.w - f.tip.offsetWidth) + 'px';
  };
  box.onpointerleave = leave;
}
const dayLabels = (f, place) => {
  const n = D.days.length, months = n > 90, gap = months ? 62 : 50;
  let free = -Infinity;
  for (let i = 0; i < n; i++) {
    const date = D.days[i].date, x = place(i);
    if (x < free || x > f.w - 22 || (months && date.slice(8) !== '01')) continue;
    f.s.append(svg('text', { x, y: f.h - 4, 'text-anchor': 'middle' }, months ? date.slice(0, 7) : date.slice(5)));
    free = x + gap;
  }
};
function area(box, points, value, color, base, format, text) {
  const values = points.map(value);
  let lo = Math.min(base, ...values), hi = Math.max(base, ...values);
  const pad = (hi - lo) * 0.06 || Math.abs(base) * 0.01 || 0.01; if (lo < base) lo -= pad; if (hi > base || lo === hi) hi += pad;
  const f = frame(box, lo, hi, format);
  const x = (p) => f.m.l + f.inner * p.x / Math.max(1, D.days.length);
  const line = points.map((p, i) => `${i ? 'L' : 'M'}${x(p).toFixed(1)} ${f.y(value(p)).toFixed(1)}`).join('');
  const zero = f.y(base);
  f.s.append(svg('path', { d: `${line}L${x(points[points.length - 1])} ${zero}L${x(points[0])} ${zero}Z`, fill: color, opacity: 0.13 }));
  f.s.append(svg('line', { x1: f.m.l, x2: f.w - f.m.r, y1: zero, y2: zero, class: 'zero', 'stroke-dasharray': '3 3' }));
  f.s.append(svg('path', { d: line, fill: 'none', stroke: color, 'stroke-width': 1.8, 'stroke-linejoin': 'round' }));
  dayLabels(f, (i) => f.m.l + f.inner * (i + 0.5) / D.days.length);
  hover(f, box, points.length, (i) => x(points[i]), (i) => text(points[i]));
}
function columns(box, items, labels) {
  const pnl = items.map((d) => d.pnl);
  let lo = Math.min(0, ...pnl), hi = Math.max(0, ...pnl); if (lo === hi) hi = 1;
  const pad = (hi - lo) * 0.06; if (lo < 0) lo -= pad; if (hi > 0) hi += pad;
  const f = frame(box, lo, hi, money, 46), slot = f.inner / items.length, width = Math.max(1, Math.min(44, slot * 0.72));
  const mid = (i) => f.m.l + slot * (i + 0.5);
  items.forEach((d, i) => {
    const top = f.y(Math.max(0, d.pnl)), height = Math.max(d.trades ? 1 : 0, Math.abs(f.y(d.pnl) - f.y(0)));
    f.s.append(svg('rect', { x: mid(i) - width / 2, y: top, width, height, rx: Math.min(2, width / 4), fill: d.pnl < 0 ? 'var(--loss)' : 'var(--win)' }));
  });
  labels(f, mid);
  hover(f, box, items.length, mid, (i) => `${items[i].label}\n${many(items[i].trades, 'trade')}\n${signed(items[i].pnl)}`);
}
const hourLabels = (f, mid) => { for (let i = 0; i < 24; i += f.w < 420 ? 6 : 3) f.s.append(svg('text', { x: mid(i), y: f.h - 4, 'text-anchor': 'middle' }, String(i).padStart(2, '0'))); };
function draw() {
  if (!D.days.length) { for (const id of ['equity', 'drawdown', 'by-day']) { $(id).className = 'empty'; $(id).textContent = 'No day was replayed.'; } return; }
  if (!D.trade_count) { for (const id of ['equity', 'drawdown', 'by-day', 'by-hour']) { $(id).className = 'empty'; $(id).textContent = 'No trade was closed: the gate funnel says where the bars went.'; } return; }
  area($('equity'), D.equity, (p) => p.c, 'var(--accent)', D.initial, money, (p) => `${p.t}\n${num(p.c)}`);
  area($('drawdown'), D.equity, (p) => -p.d, 'var(--loss)', 0, (v, step) => pct(v, places(step * 100)), (p) => `${p.t}\n${pct(-p.d)}`);
  columns($('by-day'), D.days.map((d) => ({ ...d, label: d.date })), dayLabels);
  if (D.hours.length) columns($('by-hour'), D.hours, hourLabels);
}
if (!D.hours.length) { $('by-hour').className = ''; $('by-hour').append(el('p', { className: 'muted', textContent: D.trade_count ? 'The data has no timestamps.' : 'No trades.' })); }
$('equity-note').textContent = `After each trade, from ${num(D.initial)} to ${num(D.final)}. ` + (D.open ? 'A position is still open at the end; it is not in these numbers.' : '');

/* ---- rows ---- */
function groups(box, items, shown = items.length) {
  if (!items.length) { box.append(el('p', { className: 'muted', textContent: 'No trades.' })); return; }
  const most = Math.max(1e-12, ...items.map((g) => Math.abs(g.pnl)));
  const grid = (list, head) => {
    const rows = el('div', { className: 'rows' });
    if (head) ['', 'profit and loss', 'trades · won', 'sum'].forEach((t, i) => rows.append(el('span', { className: 'head' + (i > 1 ? ' num' : ''), textContent: t })));
    for (const g of list) {
      const bar = el('div', { className: 'bar' }, el('i', { className: 'axis' })), fill = el('i');
      const half = Math.abs(g.pnl) / most * 50;
      fill.style.cssText = `left:${g.pnl < 0 ? 50 - half : 50}%;width:${half}%;background:var(--${g.pnl < 0 ? 'loss' : 'win'})`;
      bar.append(fill);
      rows.append(el('span', { textContent: g.label }), bar, el('span', { className: 'num muted', textContent: `${g.trades} · ${pct(g.wins / g.trades, 0)}` }), el('span', { className: 'num ' + tone(g.pnl), textContent: signed(g.pnl, 0) }));
    }
    return rows;
  };
  box.append(grid(items.slice(0, shown), true));
  if (items.length > shown) box.append(el('details', {}, el('summary', { textContent: `${items.length - shown} more` }), grid(items.slice(shown), false)));
}
groups($('by-asset'), D.by_asset, 12);
groups($('by-bucket'), D.by_bucket);
groups($('by-reason'), D.by_reason);

(function funnel() {
  $('funnel-note').textContent = `Of ${int(D.bars)} bars, ${int(D.held)} went by with a position held. On the others the gates are tried in this order (bars on a logarithmic scale):`;
  const rows = el('div', { className: 'rows' }), top = Math.log(1 + Math.max(1, D.funnel.length ? D.funnel[0].left : 1));
  ['gate', '', 'let through', 'bars left'].forEach((t, i) => rows.append(el('span', { className: 'head' + (i > 1 ? ' num' : ''), textContent: t })));
  for (const g of D.funnel) {
    const bar = el('div', { className: 'bar' }), fill = el('i');
    fill.style.cssText = `left:0;width:${Math.log(1 + g.left) / top * 100}%;background:var(--accent)`;
    bar.append(fill);
    rows.append(el('span', { textContent: g.label }), bar, el('span', { className: 'num muted', textContent: g.came ? pct(g.left / g.came, 1) : '–' }), el('span', { className: 'num', textContent: int(g.left) }));
  }
  $('funnel').append(rows);
})();

/* ---- tables ---- */
function table(t, cols, rows, order) {
  const head = el('tr'), body = el('tbody');
  let sorted = -1, up = true;
  const fill = () => body.replaceChildren(...rows.map((r) => el('tr', {}, ...cols.map((c) => el('td', { className: (c.text ? 'text ' : '') + (c.mono ? 'mono ' : '') + (c.tone ? tone(c.get(r)) : ''), textContent: c.show ? c.show(c.get(r), r) : c.get(r) })))));
  cols.forEach((c, i) => {
    const b = el('button', { textContent: c.name, type: 'button', title: 'sort' });
    b.onclick = () => {
      up = sorted === i ? !up : true; sorted = i;
      rows.sort((a, z) => { const p = c.get(a), q = c.get(z); return (p < q ? -1 : p > q ? 1 : 0) * (up ? 1 : -1); });
      head.querySelectorAll('th').forEach((h, j) => h.setAttribute('aria-sort', j === i ? (up ? 'ascending' : 'descending') : 'none'));
      head.querySelectorAll('button').forEach((h, j) => { h.textContent = cols[j].name + (j === i ? (up ? ' ↑' : ' ↓') : ''); });
      fill();
    };
    head.append(el('th', { className: c.text ? 'text' : '' }, order ? b : c.name));
  });
  t.append(el('thead', {}, head), body); fill();
  return (wanted) => { rows = wanted; fill(); };
}
const at = (d, b) => d + ' · ' + b, flag = (x) => x === null ? '–' : x ? 'maker' : 'taker';
const price = (x) => x.toLocaleString('en-US', { maximumSignificantDigits: 8 });
const listTrades = table($('trades'), [
  { name: '#', get: (t) => t.n }, { name: 'asset', get: (t) => t.symbol, text: true },
  { name: 'side', get: (t) => t.direction, show: (d) => d < 0 ? 'SHORT' : 'LONG', text: true },
  { name: 'entry day · bar', get: (t) => t.entry_date + String(t.entry_bar).padStart(9, '0'), show: (_, t) => at(t.entry_date, t.entry_bar), text: true },
  { name: 'held', get: (t) => t.bars_held, show: int }, { name: 'entry', get: (t) => t.entry_price, show: price }, { name: 'exit', get: (t) => t.exit_price, show: price },
  { name: 'lev.', get: (t) => t.leverage, show: (x) => num(x) }, { name: 'notional', get: (t) => t.notional, show: (x) => num(x, 0) },
  ...(D.trades.some((t) => t.mae_bps !== null) ? [{ name: 'MAE', get: (t) => t.mae_bps, show: (x) => num(x, 1) }, { name: 'MFE', get: (t) => t.mfe_bps, show: (x) => num(x, 1) }] : []),
  { name: 'vel_div', get: (t) => t.vel_div, show: (x) => num(x, 4) }, { name: 'fills', get: (t) => flag(t.maker_entry) + ' · ' + flag(t.maker_exit), text: true },
  { name: 'fees', get: (t) => t.fees, show: (x) => num(x) }, { name: 'pnl', get: (t) => t.pnl, show: (x) => signed(x), tone: true },
  { name: 'capital', get: (t) => t.capital_after, show: (x) => num(x) }, { name: 'by', get: (t) => t.reason, show: (r) => r.replace('_', ' '), text: true },
], D.trades.slice(), true);
$('trades-note').textContent = D.trades.length < D.trade_count ? `The first ${int(D.trades.length)} of ${int(D.trade_count)}; all of them are in trades.jsonl and trades.parquet. A click on a column sorts.` : 'A click on a column sorts.';
table($('days'), [
  { name: 'date', get: (d) => d.date }, { name: 'bars', get: (d) => d.bars, show: int }, { name: 'trades', get: (d) => d.trades, show: int }, { name: 'pnl', get: (d) => d.pnl, show: (x) => signed(x), tone: true },
  { name: 'capital', get: (d) => d.capital, show: (x) => num(x) }, { name: 'posture', get: (d) => d.posture, text: true }, { name: 'boost', get: (d) => d.boost, show: (x) => num(x, 3) }, { name: 'beta', get: (d) => d.beta, show: (x) => num(x) },
  { name: 'forewarner', get: (d) => d.mc_status, text: true },
], D.days.slice(), true);
const put = (k, v, cls = '') => $('provenance').append(el('dt', { textContent: k }), el('dd', { textContent: v, className: cls }));
put('Config', D.config); put('Parameter hash', D.hash, 'mono'); put('Profile', D.profile); put('Data', D.data);
put('Digest of the data', D.digest, 'mono'); put('Program', 'dolphin ' + D.version + (D.made_at ? ', ' + D.made_at : '')); put('Time taken', num(D.elapsed, 2) + ' s (' + int(D.bars / Math.max(1e-9, D.elapsed)) + ' bars/s with reading)');
for (const n of D.notes) $('notes').append(el('p', { className: 'note', textContent: n }));
table($('params'), [{ name: 'parameter', get: (p) => p.name, mono: true }, { name: 'value', get: (p) => p.value, mono: true }, { name: 'champion', get: (p) => p.same ? 'same' : p.champion, mono: true }], D.params, false);
table($('files'), [{ name: 'file', get: (f) => f.name }, { name: 'bytes', get: (f) => f.bytes, show: int }, { name: 'SHA-256', get: (f) => f.sha256, mono: true, text: true }], D.files, false);
draw();
let again; addEventListener('resize', () => { clearTimeout(again); again = setTimeout(draw, 80); });
