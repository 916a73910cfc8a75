// Walks through the pages in a real Chromium, as a person does in the morning.
//
//   TIDEMILL_BROWSER   a directory with node_modules, as `cargo xtask test` makes it
//   node walk.mjs http://127.0.0.1:PORT PROJECT SCREENSHOTS
//
// The project is the one that tests/e2e/browser.rs makes.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [site, project, screenshots] = process.argv.slice(2);
const require = createRequire(join(process.env.TIDEMILL_BROWSER, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const PATIENCE = 60_000;
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// What the browser complains of, such as a script that the policy forbids, is a defect.
const complaints = [];

async function open(options = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "light", ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error.message}`));
  page.on("console", (message) => {
    // A page that is not found, or a form that is refused, says so here, too.
    const expected = /status of (404|422)/.test(message.text());
    if (message.type() === "error" && !expected) complaints.push(`${page.url()}: ${message.text()}`);
  });
  return page;
}

const heading = (page, text) => page.locator("h1", { hasText: text }).waitFor();

async function accessible(page, what) {
  const problems = await page.evaluate(async (source) => {
    // The policy of the pages lets no script in; the tests' may come by way of the debugger.
    if (!window.axe) (0, eval)(source);
    const found = await window.axe.run(document, { iframes: false });
    return found.violations.map((one) =>
      `${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
  }, axe);
  assert.deepEqual(problems, [], `${what} is hard to use for some`);
}

async function keep(page, name) {
  await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
}

// Home: what went wrong, and why: one click.
const page = await open({ bypassCSP: true });
await page.goto(site);
await heading(page, "slow crashed");
await page.getByRole("link", { name: "See why" }).click();
await heading(page, "Its process died");

// It is resumed, and cancelled.
await page.getByRole("button", { name: "Resume" }).click();
await heading(page, "Running: 0 of 1");
await page.getByRole("button", { name: "Cancel the run" }).click();
await heading(page, "Cancelled after");

// A run by the form, watched until its end.
await page.goto(`${site}/pipelines/ecommerce_nightly`);
await page.getByLabel("rows").fill("-1");
await page.getByLabel("Date").fill("2026-11-20");
await page.getByRole("button", { name: "Run now" }).click();
await page.locator("#p-rows-wrong", { hasText: "must be at least 0, not -1" }).waitFor();
assert.equal(await page.evaluate(() => document.activeElement.id), "p-rows");
assert.equal(await page.getByLabel("Date").inputValue(), "2026-11-20");
await accessible(page, "a form with a wrong value");
await keep(page, "form-refused");
await page.getByLabel("rows").fill("3000");
await page.getByLabel("Date").fill("2026-11-20");
await page.getByRole("button", { name: "Run now" }).click();
await heading(page, "Running");
await page.evaluate(() => { window.sameDocument = true; });
await page.getByLabel("Find").fill("typed while it goes on");
await heading(page, "Succeeded in");
assert.equal(await page.evaluate(() => window.sameDocument), true, "the page was loaded again");
assert.equal(await page.getByLabel("Find").inputValue(), "typed while it goes on");
const nightly = page.url();

// A task that fails: its log, and the run again from there.
await page.goto(site);
await page.getByRole("button", { name: "Run scores" }).click();
await heading(page, "Failed: the command ended with exit code 3: no model");
const failed = page.url();
await page.locator("ol.log li", { hasText: "no model" }).first().waitFor();
await page.locator("#task-score summary").click();
assert.match(await page.locator("#task-score").innerText(), /1: from .*, failed after/);
await page.getByLabel("Level").selectOption("warn and error");
await page.getByRole("button", { name: "Show" }).click();
await page.waitForURL(/level=warn/);
assert.equal(await page.locator("ol.log li", { hasText: "info" }).count(), 0);
writeFileSync(join(project, "model"), "");
await page.getByRole("button", { name: "Run again from score" }).click();
await heading(page, "Succeeded in");
await page.goto(site);
await heading(page, "All is well now");

// The dashboard, in its frame: a chart tells of the point below the mouse.
await page.goto(`${site}/dashboards/nightly`);
const frame = page.frameLocator("iframe.artifact");
const chart = frame.locator(".plot").first();
await chart.locator(".plot-container, svg").first().waitFor();
await chart.scrollIntoViewIfNeeded();
const box = await chart.boundingBox();
const hover = frame.locator(".hoverlayer .hovertext").first();
for (let part = 2; part < 9 && !(await hover.isVisible()); part += 1) {
  await page.mouse.move(box.x + (box.width * part) / 10, box.y + box.height / 2, { steps: 3 });
  await page.waitForTimeout(200);
}
await hover.waitFor();
await keep(page, "dashboard-hover");

// A page that is open hears of a file that breaks, and of one that is mended.
await page.goto(`${site}/pipelines/hello`);
const hello = join(project, "pipelines/hello.yaml");
const text = readFileSync(hello, "utf8");
writeFileSync(hello, text.replaceAll("uses: shell", "uses: shel"));
await page.locator(".says.error").first().waitFor();
await keep(page, "problems");
writeFileSync(hello, text);
await page.locator(".says.error").first().waitFor({ state: "detached" });

// Without JavaScript every act is a form.
const plain = await open({ javaScriptEnabled: false });
await plain.goto(`${site}/pipelines/hello`);
await plain.getByRole("button", { name: "Run now" }).click();
assert.match(plain.url(), /\/runs\/[0-9a-f]+$/);
await plain.getByRole("button", { name: "Dark" }).click();
assert.equal(await plain.locator("html").getAttribute("data-theme"), "dark");

// By the keyboard: the first stop leads past the top bar.
await page.goto(site);
await page.keyboard.press("Tab");
assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
await page.keyboard.press("Enter");
assert.equal(new URL(page.url()).hash, "#main");

// Every page, wide and narrow, light and dark: nothing that axe objects to, nothing too wide.
const path = (url) => new URL(url).pathname;
const pages = {
  home: "/", runs: "/runs", pipeline: "/pipelines/ecommerce_nightly", run: path(nightly),
  "run-failed": path(failed), datasets: "/datasets", dataset: "/datasets/table:nightly_orders",
  dashboards: "/dashboards", dashboard: "/dashboards/nightly", admin: "/admin",
  login: "/login", missing: "/nothing",
};
for (const [size, viewport] of Object.entries({ wide: DESKTOP, phone: PHONE })) {
  for (const colorScheme of ["light", "dark"]) {
    const view = await open({ viewport, colorScheme, bypassCSP: true });
    for (const [name, where] of Object.entries(pages)) {
      const what = `${name}-${size}-${colorScheme}`;
      await view.goto(site + where);
      await accessible(view, what);
      const excess = await view.evaluate(() =>
        document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(excess <= 0, `${what} is ${excess} px too wide`);
      await keep(view, what);
    }
    await view.context().close();
  }
}

// As people see them, with the policy in force: the browser complains of what it forbids.
const guarded = await open();
for (const where of Object.values(pages)) {
  await guarded.goto(site + where);
}
await guarded.goto(`${site}/dashboards/nightly`);
await guarded.frameLocator("iframe.artifact").locator(".plot .plot-container").first().waitFor();

await browser.close();
assert.deepEqual(complaints, []);
console.log("walked");
