/** The echo sample on a secure server of node:http2: a browser takes HTTP/2 for its WebSocket too. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createSecureServer } from "node:http2";
import test, { after, before, describe } from "node:test";
import { handleUpgrades } from "halyard";
import { type Browser, chromium } from "playwright-core";
import { createEchoApp } from "../../samples/echo/server.js";
import { selfSigned, serveUntilEnd } from "../support/http2.js";
import { Signal, until } from "../support/network.js";

const chromiumPath = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
const withoutChromium = !existsSync(chromiumPath) && !process.env.CI;

// The runner does not count a skipped suite, but a skipped test it does.
if (withoutChromium) test("echo page", { skip: "needs Chromium: apt-get install chromium" });
else describe("echo page over HTTP/2", suite);

function suite(): void {
  let browser: Browser;

  before(async () => {
    assert.ok(existsSync(chromiumPath), `no ${chromiumPath}: apt-get install chromium`);
    browser = await chromium.launch({
      executablePath: chromiumPath,
      args: [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--ignore-certificate-errors",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
  });

  after(() => browser?.close());

  test("connects, talks and closes on a stream of the page's own connection", async (t) => {
    const server = createSecureServer({ ...selfSigned(), allowHTTP1: true });
    server.on("request", createEchoApp().callback());
    const { connections } = handleUpgrades(server);
    const protocols: unknown[] = [];
    const closed = new Signal<number | undefined>("the end of the WebSocket's stream");
    let http1Upgrades = 0;
    let sessions = 0;
    server.on("upgrade", () => http1Upgrades++);
    server.on("session", () => sessions++);
    server.on("stream", (stream, headers) => {
      if (headers[":protocol"] === undefined) return;
      protocols.push(headers[":protocol"]);
      stream.on("close", () => closed.fire(stream.rstCode));
    });
    const port = await serveUntilEnd(t, server);

    const context = await browser.newContext({ locale: "en-GB", ignoreHTTPSErrors: true });
    t.after(() => context.close());
    context.setDefaultTimeout(10_000);
    const page = await context.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    const status = (text: string) =>
      page
        .getByRole("status")
        .and(page.getByText(text, { exact: true }))
        .waitFor();
    await page.goto(`https://localhost:${port}`);
    assert.equal(await page.locator("#url").inputValue(), `wss://localhost:${port}/ws`);
    await page.locator("#connect").click();
    await status("Open");
    assert.equal(connections.size, 1);
    await page.locator("#message").fill("ahoy over HTTP/2");
    await page.locator("#send").click();
    await page.locator("tbody tr:nth-child(3)").waitFor();
    assert.match(
      (await page.locator("tbody tr:nth-child(3)").textContent()) ?? "",
      /ahoy over HTTP\/2/,
    );
    await page.locator("#close").click();
    await status("Closed");
    await closed.wait();
    await until(() => connections.size === 0, "the socket's end");
    assert.deepEqual(protocols, ["websocket"]);
    assert.equal(http1Upgrades, 0);
    assert.equal(sessions, 1);
    assert.deepEqual(errors, []);
  });
}
