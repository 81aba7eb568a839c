/**
 * Microsoft's browser bundles in Chromium, on a page of another origin than the server's: each
 * transport and protocol, with fetch and with XMLHttpRequest, and in a worker.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, describe, it, test } from "node:test";
import { runInNewContext } from "node:vm";
import { type Browser, chromium, type Page } from "playwright-core";
import { listen, stop } from "../support/network.js";
import { startApp } from "./app.js";
import { startOracle, Unavailable } from "./dotnet.js";
import type { Target } from "./suite/case.js";
import { combinations } from "./suite/clients.js";

const packages = "node_modules/@microsoft";
const folder = "test/signalr/browser";

/** What the page is made of. */
const files: Readonly<Record<string, readonly [file: string, type: string]>> = {
  "/": [`${folder}/page.html`, "text/html"],
  "/cases.js": [`${folder}/cases.js`, "text/javascript"],
  "/worker.js": [`${folder}/worker.js`, "text/javascript"],
  "/signalr.js": [`${packages}/signalr/dist/browser/signalr.js`, "text/javascript"],
  "/signalr-worker.js": [`${packages}/signalr/dist/webworker/signalr.js`, "text/javascript"],
  "/signalr-protocol-msgpack.js": [
    `${packages}/signalr-protocol-msgpack/dist/browser/signalr-protocol-msgpack.js`,
    "text/javascript",
  ],
};

/** The script itself says which cases it has. */
function caseNames(): { matrix: string[]; single: string[] } {
  const globals: { caseNames?: { matrix: string[]; single: string[] } } = {};
  runInNewContext(
    `globalThis.globalThis = globalThis; ${readFileSync(`${folder}/cases.js`)}`,
    globals,
  );
  assert.ok(globals.caseNames);
  return globals.caseNames;
}

const chromiumPath = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";

/** How the cases are run: name, function of the page, script that the page begins with. */
type Kind = readonly [name: string, runner: "runCase" | "runInWorker", initScript: string];

const withFetch: Kind = ["with fetch", "runCase", ""];
const kinds: readonly Kind[] = [
  withFetch,
  ["with XMLHttpRequest", "runCase", "delete window.fetch; window.fetch = undefined;"],
  ["in a worker", "runInWorker", ""],
];

function suite(name: string, chosen: readonly Kind[], start: () => Promise<Target>): void {
  describe(`in Chromium, on ${name}`, () => {
    const pages = createServer((request, response) => {
      const [file, type] = files[request.url ?? ""] ?? [];
      if (file === undefined) response.writeHead(404).end();
      else
        response
          .writeHead(200, { "Content-Type": `${type}; charset=utf-8` })
          .end(readFileSync(file));
    });
    let browser: Browser;
    let target: Target;
    let pageUrl: string;

    before(async () => {
      assert.ok(existsSync(chromiumPath), `no ${chromiumPath}: apt-get install chromium`);
      // Another port is another origin, but the same site, so that cookies are sent.
      pageUrl = `http://127.0.0.1:${await listen(pages)}/`;
      browser = await chromium.launch({
        executablePath: chromiumPath,
        args: [
          "--headless=new",
          "--no-sandbox",
          "--disable-gpu",
          "--disable-background-networking",
        ],
      });
      target = await start();
    });

    after(async () => {
      await browser?.close();
      await stop(pages);
      await target?.stop();
    });

    for (const [kind, runner, initScript] of chosen) {
      const { matrix, single } = caseNames();
      for (const [transport, protocol, names] of [
        ...combinations.map((each) => [...each, matrix] as const),
        [undefined, "json", single] as const,
        [undefined, "messagepack", single] as const,
      ]) {
        // A browser opens no more than six connections to a host.
        describe(`${kind}, ${transport ?? "any transport"}, ${protocol}`, {
          concurrency: 3,
        }, () => {
          let page: Page;
          before(async () => {
            page = await browser.newPage();
            if (initScript !== "") await page.addInitScript(initScript);
            await page.goto(pageUrl);
            assert.equal(
              await page.evaluate("typeof fetch"),
              initScript ? "undefined" : "function",
            );
          });
          after(() => page?.context().close());
          for (const each of names) {
            it(each, async () => {
              const wish = JSON.stringify({ baseUrl: target.baseUrl, transport, protocol });
              const call = `${runner}(${JSON.stringify(each)}, ${wish})`;
              const failure = await page.evaluate<string | undefined>(call);
              if (failure !== undefined) assert.fail(failure);
            });
          }
        });
      }
    }
  });
}

// The runner does not count a skipped suite, but a skipped test it does.
if (!existsSync(chromiumPath) && !process.env.CI) {
  test("SignalR in Chromium", { skip: "needs Chromium: apt-get install chromium" });
} else {
  suite("Halyard", kinds, startApp);
  try {
    const target = await startOracle();
    // To prove the cases one kind is enough.
    suite("ASP.NET Core", [withFetch], async () => target);
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    console.log(`Left out: Chromium against ASP.NET Core, because ${error.message}.`);
  }
}
