
/* ---- what is known of every bar: equity at market prices, excursions, trades on the price ---- */
(function marked() {
  const M = D.marked;
  if (!M) return;
  const at = (f) => (x) => f.m.l + f.inner * x / Math.max(1, D.days.length);
  const path = (points, x, y) => { let pen = 'M'; return points.map((p) => { const v = y(p); if (v === null) { pen = 'M'; return ''; } const d = `${pen}${x(p).toFixed(1)} ${v.toFixed(1)}`; pen = 'L'; return d; }).join(''); };
  const range = (values) => { let lo = Infinity, hi = -Infinity; for (const v of values) { if (v === null) continue; if (v < lo) lo = v; if (v > hi) hi = v; } const pad = (hi - lo) * 0.06 || Math.abs(hi) * 0.01 || 1; return [lo - pad, hi + pad]; };
  const first = M.benchmark ? M.benchmark.find((p) => p > 0) : undefined;
  const benchmark = first ? M.benchmark.map((p) => p > 0 ? D.initial * p / first : null) : [];
  $('marked-card').hidden = false;
  $('marked-note').textContent = 'The open position counted at the price of each bar; the band is what lies between two points.' + (benchmark.length ? ` Dashed: the same capital in ${M.reference}, bought at the first bar and kept.` : '');
  function equity() {
    const box = $('marked'), P = M.points;
    const f = frame(box, ...range([...P.map((p) => p.lo), ...P.map((p) => p.hi), ...benchmark]), money), x = at(f);
    const up = path(P, (p) => x(p.x), (p) => f.y(p.hi)), down = path([...P].reverse(), (p) => x(p.x), (p) => f.y(p.lo)).replace('M', 'L');
    f.s.append(svg('path', { d: up + down + 'Z', fill: 'var(--accent)', opacity: 0.2 }));
    if (benchmark.length) f.s.append(svg('path', { d: path(P.map((p, i) => ({ x: p.x, c: benchmark[i] })), (p) => x(p.x), (p) => p.c === null ? null : f.y(p.c)), fill: 'none', stroke: 'var(--muted)', 'stroke-width': 1.4, 'stroke-dasharray': '4 3' }));
    f.s.append(svg('path', { d: path(P, (p) => x(p.x), (p) => f.y(p.c)), fill: 'none', stroke: 'var(--accent)', 'stroke-width': 1.6 }));
    dayLabels(f, (i) => f.m.l + f.inner * (i + 0.5) / D.days.length);
    hover(f, box, P.length, (i) => x(P[i].x), (i) => `${num(P[i].c)}\nlowest ${num(P[i].lo)}` + (benchmark.length && benchmark[i] !== null ? `\n${M.reference} ${num(benchmark[i])}` : ''));
  }
  const trades = D.trades.filter((t) => t.mae_bps !== null), net = (t) => t.pnl / t.notional * 1e4;
  function scatter(id, get) {
    const box = $(id), f = frame(box, ...range(trades.map(net)), (x) => num(x, 0), 46);
    const [lo, hi] = range(trades.map(get)), x = (v) => f.m.l + f.inner * (v - lo) / (hi - lo);
    for (const t of trades) {
      const dot = svg('circle', { cx: x(get(t)), cy: f.y(net(t)), r: trades.length > 500 ? 1.8 : 3, fill: t.pnl < 0 ? 'var(--loss)' : 'var(--win)', opacity: 0.7 });
      dot.append(svg('title', {}, `#${t.n} ${t.symbol}: MAE ${num(t.mae_bps, 1)}, MFE ${num(t.mfe_bps, 1)}, net ${num(net(t), 1)} bps`));
      f.s.append(dot);
    }
    const { values, step } = ticks(lo, hi, 5);
    for (const v of values) f.s.append(svg('text', { x: x(v), y: f.h - 4, 'text-anchor': 'middle' }, num(v, places(step))));
  }
  const names = Object.keys(M.prices).sort((a, b) => D.trades.filter((t) => t.symbol === b).length - D.trades.filter((t) => t.symbol === a).length);
  for (const name of names) $('price-asset').append(el('option', { value: name, textContent: name }));
  function prices() {
    const name = $('price-asset').value, row = M.prices[name], own = D.trades.filter((t) => t.symbol === name), box = $('price');
    const ends = own.flatMap((t) => [t.entry_price, t.exit_price]);
    const f = frame(box, ...range([...row, ...ends]), (v) => num(v, Math.max(0, Math.min(8, 4 - Math.floor(Math.log10(Math.abs(v) || 1))))), 70), x = at(f);
    f.s.append(svg('path', { d: path(M.x.map((v, i) => ({ x: v, p: row[i] })), (p) => x(p.x), (p) => p.p === null ? null : f.y(p.p)), fill: 'none', stroke: 'var(--muted)', 'stroke-width': 1.2 }));
    for (const t of own) {
      const color = t.pnl < 0 ? 'var(--loss)' : 'var(--win)', a = [x(t.from_x), f.y(t.entry_price)], z = [x(t.to_x), f.y(t.exit_price)], d = t.direction < 0 ? 1 : -1;
      const g = svg('g');
      g.append(svg('line', { x1: a[0], y1: a[1], x2: z[0], y2: z[1], stroke: color, 'stroke-width': 2 }),
        svg('path', { d: `M${a[0]} ${a[1] + 5 * d}l-5 ${-8 * d}h10Z`, fill: color }), svg('circle', { cx: z[0], cy: z[1], r: 3.5, fill: 'var(--card)', stroke: color, 'stroke-width': 2 }),
        svg('title', {}, `#${t.n} ${t.direction < 0 ? 'SHORT' : 'LONG'} ${t.entry_date} bar ${t.entry_bar} at ${t.entry_price}, out ${t.exit_date} bar ${t.exit_bar} at ${t.exit_price}: ${signed(t.pnl)}`));
      f.s.append(g);
    }
    dayLabels(f, (i) => f.m.l + f.inner * (i + 0.5) / D.days.length);
    $('price-note').textContent = `${many(own.length, 'trade')}, ${signed(own.reduce((s, t) => s + t.pnl, 0))}. A triangle is an entry (down: SHORT), a ring an exit.`;
  }
  const drawAll = () => { equity(); if (trades.length) { scatter('mae', (t) => t.mae_bps); scatter('mfe', (t) => t.mfe_bps); } if (names.length) prices(); };
  $('far-card').hidden = !trades.length;
  $('price-card').hidden = !names.length;
  $('price-asset').onchange = prices;
  drawAll();
  let later; addEventListener('resize', () => { clearTimeout(later); later = setTimeout(drawAll, 80); });
})();
