
/* ---- tear sheet ---- */
(function tear() {
  const T = D.tear, show = (r) => r.value === null ? '–' : r.kind === 'pct' ? pct(r.value) : r.kind === 'int' ? int(r.value) : r.kind === 'money' ? signed(r.value) : num(r.value);
  const tiles = (box, list) => { for (const r of list) box.append(el('div', { className: 'tile' }, el('span', { textContent: r.label }), el('b', { textContent: show(r) }), el('span', { textContent: r.note || '\u00a0' }))); };
  tiles($('ratios'), T.ratios);
  const shade = (r, most) => { const a = Math.min(1, Math.abs(r) / (most || 1)) * 70; return `color-mix(in srgb, var(--${r < 0 ? 'loss' : 'win'}) ${a.toFixed(0)}%, var(--soft))`; };
  const years = [...new Set(T.months.map((m) => m.month.slice(0, 4)))], most = Math.max(0, ...T.months.map((m) => Math.abs(m.r)));
  const names = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
  $('months').append(el('thead', {}, el('tr', {}, el('th', { textContent: 'year' }), ...names.map((n) => el('th', { textContent: n })), el('th', { textContent: 'all' }))));
  const body = el('tbody');
  for (const y of years) {
    const row = el('tr', {}, el('th', { textContent: y })); let all = 1;
    for (let i = 1; i <= 12; i++) {
      const m = T.months.find((x) => x.month === `${y}-${String(i).padStart(2, '0')}`), cell = el('td', { textContent: m ? pct(m.r, 1) : '' });
      if (m) { all *= 1 + m.r; cell.style.background = shade(m.r, most); cell.title = many(m.trades, 'trade'); }
      row.append(cell);
    }
    row.append(el('td', { textContent: pct(all - 1, 1) })); body.append(row);
  }
  $('months').append(body);
  const deep = Math.max(0, ...T.daily.map((d) => Math.abs(d.r)));
  for (const d of T.daily) { const i = el('i', { title: `${d.date}: ${pct(d.r)}, ${many(d.trades, 'trade')}` }); if (d.trades) i.style.background = shade(d.r, deep); $('calendar').append(i); }
  $('rolling-note').textContent = `${T.window} days`;
  const none = (id, text) => { $(id).className = 'empty'; $(id).textContent = text; };
  const drawTear = () => {
    if (T.rolling.length > 1) {
      const v = T.rolling.map((r) => r.sharpe), f = frame($('rolling'), Math.min(0, ...v), Math.max(0, ...v), (x, step) => num(x, places(step)));
      const x = (i) => f.m.l + f.inner * i / (v.length - 1);
      f.s.append(svg('path', { d: v.map((y, i) => `${i ? 'L' : 'M'}${x(i).toFixed(1)} ${f.y(y).toFixed(1)}`).join(''), fill: 'none', stroke: 'var(--accent)', 'stroke-width': 1.8 }));
      hover(f, $('rolling'), v.length, x, (i) => `${T.rolling[i].date}\n${num(v[i])}`);
    } else none('rolling', `It needs more than ${T.window} days.`);
    if (T.distribution.length) {
      const b = T.distribution, f = frame($('distribution'), 0, Math.max(...b.map((x) => x.n)), (x) => int(x), 40), w = f.inner / b.length;
      b.forEach((x, i) => f.s.append(svg('rect', { x: f.m.l + w * i + 0.5, y: f.y(x.n), width: Math.max(1, w - 1), height: Math.max(0, f.y(0) - f.y(x.n)), fill: x.bps < 0 ? 'var(--loss)' : 'var(--win)' })));
      for (const i of [0, Math.floor(b.length / 2), b.length - 1]) f.s.append(svg('text', { x: f.m.l + w * (i + 0.5), y: f.h - 4, 'text-anchor': i ? (i === b.length - 1 ? 'end' : 'middle') : 'start' }, num(b[i].bps, 1)));
      hover(f, $('distribution'), b.length, (i) => f.m.l + w * (i + 0.5), (i) => `about ${num(b[i].bps, 1)} bps\n${many(b[i].n, 'trade')}`);
    } else none('distribution', 'No trades.');
  };
  drawTear();
  let later; addEventListener('resize', () => { clearTimeout(later); later = setTimeout(drawTear, 80); });
  table($('sides'), [{ name: 'side', get: (s) => s.side, text: true }, { name: 'trades', get: (s) => s.trades, show: int }, { name: 'won', get: (s) => s.wins / s.trades, show: (x) => pct(x, 0) }, { name: 'sum', get: (s) => s.pnl, show: (x) => signed(x), tone: true },
    { name: 'average', get: (s) => s.average, show: (x) => signed(x), tone: true }, { name: 'best', get: (s) => s.best, show: (x) => signed(x) }, { name: 'worst', get: (s) => s.worst, show: (x) => signed(x) }, { name: 'fees', get: (s) => s.fees, show: (x) => num(x) }], T.sides, false);
  if (T.drawdowns.length) table($('periods'), [{ name: 'from', get: (p) => p.from, text: true }, { name: 'lowest', get: (p) => p.low, text: true }, { name: 'over', get: (p) => p.to || 'not yet', text: true }, { name: 'days', get: (p) => p.days, show: int }, { name: 'depth', get: (p) => -p.depth, show: (x) => pct(x), tone: true }], T.drawdowns, false);
  else $('periods').append(el('caption', { className: 'muted', textContent: 'No day ended below a day before it.' }));

  /* ---- filters and CSV ---- */
  const wanted = () => D.trades.filter((t) => t.symbol.includes($('f-asset').value.trim().toUpperCase()) && (!$('f-side').value || t.direction === Number($('f-side').value)) && (!$('f-result').value || (t.pnl > 0) === ($('f-result').value === '1')));
  const filter = () => { const list = wanted(); listTrades(list.slice()); $('f-count').textContent = `${many(list.length, 'trade')}, ${signed(list.reduce((s, t) => s + t.pnl, 0))}`; };
  for (const id of ['f-asset', 'f-side', 'f-result']) $(id).oninput = filter;
  filter();
  $('csv').onclick = () => {
    const list = wanted(), keys = Object.keys(D.trades[0] || {}), quote = (x) => x === null ? '' : /[",\n]/.test(String(x)) ? '"' + String(x).replaceAll('"', '""') + '"' : String(x);
    const text = [keys.join(','), ...list.map((t) => keys.map((k) => quote(t[k])).join(','))].join('\n') + '\n';
    const a = el('a', { href: URL.createObjectURL(new Blob([text], { type: 'text/csv' })), download: 'trades.csv' });
    a.click(); URL.revokeObjectURL(a.href);
  };

  /* ---- what a live session adds ---- */
  if (D.live) {
    $('live').hidden = false;
    tiles($('live-tiles'), D.live.tiles);
    for (const t of D.live.tables) {
      const box = el('table');
      $('live-tables').append(el('h3', { textContent: t.title }), t.rows.length ? el('div', { className: 'scroll' }, box) : el('p', { className: 'muted', textContent: t.empty }));
      if (t.rows.length) table(box, t.columns.map((name, i) => ({ name, get: (r) => r[i], text: typeof t.rows[0][i] === 'string' })), t.rows, true);
    }
  }
})();
