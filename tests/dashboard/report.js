// The report of a session, in Chromium: it draws without an error and without a request, at both widths and themes; its
// numbers are those of the files beside it; filters and CSV work.
"use strict";
const fs = require("fs");
const { chromium } = require("playwright-core");
const webp = require("./webp.js");
const [, , dir, shots, browserPath] = process.argv;

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
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true })).newPage();
  const errors = [], requests = [];
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) errors.push(m.text()); });
  page.on("pageerror", (e) => errors.push(String(e)));
  page.on("request", (r) => requests.push(r.url()));
  await page.goto(`file://${dir}/report.html`);
  const trades = fs.readFileSync(`${dir}/trades.jsonl`, "utf8").trim().split("\n").filter(Boolean).map((l) => JSON.parse(l));
  const fills = fs.readFileSync(`${dir}/fills.jsonl`, "utf8").trim().split("\n").filter(Boolean);
  check("there are trades and fills", trades.length > 0 && fills.length >= 2 * trades.length, [trades.length, fills.length]);
  const rows = () => page.locator("#trades tbody tr").count();
  check("every trade is listed", (await rows()) === trades.length, [await rows(), trades.length]);
  check("the session's part is shown", await page.locator("#live").isVisible(), null);
  const tiles = await page.locator("#ratios .tile").count();
  check("ratios are told", tiles >= 10, tiles);
  await page.selectOption("#f-result", "1");
  const won = trades.filter((t) => t.pnl > 0).length;
  check("a filter shows what was won", (await rows()) === won, [await rows(), won]);
  await page.selectOption("#f-result", "");
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#csv").click()]);
  const csv = fs.readFileSync(await download.path(), "utf8").trim().split("\n");
  check("the CSV has a line for each trade and a head", csv.length === trades.length + 1 && csv[0].includes("entry_price"), csv.slice(0, 2));
  for (const width of [1280, 390]) {
    for (const scheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme: scheme });
      await page.waitForTimeout(400);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(`nothing is wider than ${width} px (${scheme})`, wide <= 0, wide);
      await page.screenshot({ path: `${shots}/report-${width}-${scheme}.png`, fullPage: true });
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
  await page.waitForTimeout(400);
  await webp(browser, await page.screenshot({ clip: { x: 0, y: 0, width: 1280, height: 1000 }, fullPage: true }), `${shots}/report.webp`, 960);
  check("no error on the console", errors.length === 0, errors);
  const outside = requests.filter((r) => !r.startsWith("file:") && !r.startsWith("data:") && !r.startsWith("blob:"));
  check("no request leaves the file", outside.length === 0, outside);
  await browser.close();
})().catch((e) => { console.error(e); process.exit(1); });
