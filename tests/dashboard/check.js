// Drives the page; prints one line a check, exits 1 at the first that does not hold.
"use strict";
const { chromium } = require("playwright-core");
const webp = require("./webp.js");
const [, , node, shots, browserPath, minutes = "0"] = process.argv;

const check = (what, holds, found) => {
  if (!holds) { console.error(`FAILED ${what}: ${JSON.stringify(found)}`); process.exit(1); }
  console.log(`ok     ${what}`);
};

(async () => {
  const browser = await chromium.launch({
    executablePath: browserPath, headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const errors = [], outside = [];
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) errors.push(m.text()); });
  page.on("pageerror", (e) => errors.push(String(e)));
  page.on("request", (r) => { if (!r.url().startsWith(node + "/") && !r.url().startsWith("data:")) outside.push(r.url()); });
  await page.goto(node + "/", { waitUntil: "load" });
  await page.waitForFunction(() => document.body.dataset.sequence, null, { timeout: 15000 });
  await page.waitForTimeout(2500);

  // The page's values are the state's: both are taken at one sequence, by asking the page which state it shows.
  const text = (sel) => page.locator(sel).innerText();
  const wanted = async () => (await page.request.get(node + "/api/state")).json();
  let same = false, seen = null;
  for (let i = 0; i < 20 && !same; i++) {
    const s = await wanted();
    const shown = {
      trips: await text('[data-key="round_trips"] b'), fills: await text('[data-key="fills"] b'), books: await text('[data-key="books"] b'),
      equity: Number(await text('[data-key="equity"] b')), armed: await text("#armed"), trades: await page.locator("#trades tr").count(),
      symbols: await page.locator("#books > div").count(), gates: await page.locator("#gates tr").count(), stages: await page.locator("#stages tr").count(),
      hops: await page.locator("#latency tr").count(),
    };
    const after = await wanted();
    const between = (x, a, b) => x >= Math.min(a, b) - 0.011 && x <= Math.max(a, b) + 0.011;
    seen = { shown, state: { trips: after.counts.round_trips, fills: after.counts.fills, equity: after.account.equity, armed: after.armed } };
    same = [s, after].some((x) => shown.trips === String(x.counts.round_trips)) && [s, after].some((x) => shown.fills === String(x.counts.fills)) &&
      shown.books === `${after.market.books_live} of ${after.market.books}` && (shown.armed === "ARMED") === after.armed &&
      shown.trades === after.trades.length && shown.symbols === after.books.length && shown.gates === after.gates.length &&
      shown.stages === after.stages.length && shown.hops === after.latency.length &&
      (between(shown.equity, s.account.equity, after.account.equity) || Math.abs(shown.equity / after.account.equity - 1) < 1e-3);
    if (!same) await page.waitForTimeout(500);
  }
  check("what stands on the page is what /api/state says", same, seen);
  check("charts are drawn", (await page.locator(".uplot canvas").count()) === 4, await page.locator(".uplot canvas").count());

  // Both themes, both widths, nothing wider than the window.
  for (const width of [1280, 390]) {
    for (const scheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme: scheme });
      await page.waitForTimeout(1200);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(`nothing is wider than ${width} px (${scheme})`, wide <= 0, wide);
      const [ink, paper] = await page.evaluate(() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]);
      const light = (c) => c.match(/\d+/g).slice(0, 3).reduce((x, y) => x + Number(y), 0);
      check(`${scheme} is ${scheme}`, scheme === "dark" ? light(ink) > 500 && light(paper) < 150 : light(ink) < 200 && light(paper) > 650, [ink, paper]);
      await page.screenshot({ path: `${shots}/dashboard-${width}-${scheme}.png`, fullPage: width === 390 });
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
  await page.waitForTimeout(1200);
  await webp(browser, await page.screenshot({ clip: { x: 0, y: 0, width: 1280, height: 1000 }, fullPage: true }), `${shots}/dashboard.webp`, 960);

  // Keyboard and screen reader: everything that acts or scrolls can be reached, and every part has a name.
  const reached = new Set();
  await page.evaluate(() => document.activeElement.blur());
  for (let i = 0; i < 25; i++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.className));
  }
  check("Tab reaches the skip link, the theme button and what scrolls", ["skip", "theme", "scroll"].every((x) => reached.has(x)), [...reached]);
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("section")].filter((s) => {
    const h = document.getElementById(s.getAttribute("aria-labelledby"));
    return !h || !h.textContent.trim();
  }).length);
  check("every section has a name", unnamed === 0, unnamed);
  await page.locator("#theme").focus();
  await page.keyboard.press("Enter");
  check("the theme is switched by the keyboard", (await page.evaluate(() => document.documentElement.dataset.theme)) !== undefined, null);

  // It lives: the sequence moves on, and the page does not grow with it.
  const nodes = () => page.evaluate(() => document.getElementsByTagName("*").length);
  const [first, sizeBefore] = [await page.evaluate(() => Number(document.body.dataset.sequence)), await nodes()];
  await page.waitForTimeout(6000);
  const [later, sizeAfter] = [await page.evaluate(() => Number(document.body.dataset.sequence)), await nodes()];
  check("states come in", later > first + 8, [first, later]);
  check("the page does not grow with them", sizeAfter < sizeBefore + 400, [sizeBefore, sizeAfter]);

  // Nor does its memory, over the minutes asked for: elements, and the heap after a collection, MB.
  if (Number(minutes) > 0) {
    const session = await context.newCDPSession(page);
    const seen = [];
    for (let minute = 0; minute <= Number(minutes); minute++) {
      await session.send("HeapProfiler.collectGarbage");
      const { usedSize } = await session.send("Runtime.getHeapUsage");
      const sequence = await page.evaluate(() => Number(document.body.dataset.sequence));
      seen.push({ minute, elements: await nodes(), heap: Math.round(usedSize / 1e4) / 100, sequence });
      console.log(`       ${JSON.stringify(seen.at(-1))}`);
      if (minute < Number(minutes)) await page.waitForTimeout(60000);
    }
    const [middle, end] = [seen[Math.floor(seen.length / 2)], seen.at(-1)];
    check(`${minutes} minutes of states came in`, end.sequence > seen[0].sequence + minutes * 60, seen);
    check("elements do not grow", end.elements < middle.elements * 1.02 + 100, seen);
    check("memory does not grow", end.heap < middle.heap * 1.1 + 1, seen);
  }
  check("no error on the console", errors.length === 0, errors);
  check("no request leaves the origin", outside.length === 0, outside);
  await browser.close();
})().catch((e) => { console.error(e); process.exit(1); });
