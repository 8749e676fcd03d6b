// Opens one page of the dashboard for each URL and keeps them open; at SIGTERM prints what each has seen, as JSON.
"use strict";
const { chromium } = require("playwright-core");
const [, , browserPath, ...urls] = process.argv;

(async () => {
  const browser = await chromium.launch({
    executablePath: browserPath, headless: true, handleSIGTERM: false,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  const pages = [];
  for (const url of urls) {
    const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage();
    const seen = { url, errors: [], outside: [], states: 0 };
    page.on("pageerror", (e) => seen.errors.push(String(e)));
    page.on("request", (r) => { if (!r.url().startsWith(url + "/") && !r.url().startsWith("data:")) seen.outside.push(r.url()); });
    await page.exposeFunction("dolphinSeen", () => { seen.states += 1; });
    await page.goto(url + "/", { waitUntil: "load" });
    await page.waitForFunction(() => document.body.dataset.sequence, null, { timeout: 60000 });
    // The page says which state it shows; each new one is counted.
    await page.evaluate(() => new MutationObserver(() => window.dolphinSeen()).observe(document.body, { attributeFilter: ["data-sequence"] }));
    console.log(`open ${url}`);
    pages.push({ page, seen });
  }
  process.once("SIGTERM", async () => {
    for (const { page, seen } of pages) {
      seen.armed = await page.locator("#armed").innerText();
      seen.elements = await page.evaluate(() => document.querySelectorAll("*").length);
    }
    console.log(JSON.stringify(pages.map((p) => p.seen)));
    await browser.close();
    process.exit(0);
  });
})().catch((e) => { console.error(e); process.exit(1); });
