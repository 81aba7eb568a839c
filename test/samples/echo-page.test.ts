import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import test, { after, before, describe } from "node:test";
import { handleUpgrades } from "halyard";
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { type WebSocket, WebSocketServer } from "ws";
import { createEchoApp } from "../../samples/echo/server.js";
import {
  fits,
  launchChromium,
  needsChromium,
  screenshot,
  weakTexts,
  withoutChromium,
} from "../support/chromium.js";

/** The sample itself, as `npm start` serves it. */
async function startServer(): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(createEchoApp().callback());
  handleUpgrades(server);
  const port = await listen(server);
  return { url: `http://localhost:${port}`, close: () => stop(server) };
}

const openedRow = ["Connection opened"];
const closedRow = ["Connection closed. Code: 1000. Reason: Closing from client"];

// The runner does not count a skipped suite, but a skipped test it does.
if (withoutChromium) test("echo page", { skip: needsChromium });
else describe("echo page", suite);

function suite(): void {
  let browser: Browser;
  let server: Awaited<ReturnType<typeof startServer>>;

  before(async () => {
    server = await startServer();
    browser = await launchChromium();
  });

  after(async () => {
    await browser?.close();
    await server?.close();
  });

  /** Runs `body` in a fresh browser profile; any error in the console that is not expected fails. */
  async function withPage(
    options: BrowserContextOptions & { expectedError?: RegExp; initScript?: string },
    body: (page: EchoPage) => Promise<void>,
  ): Promise<void> {
    const { expectedError, initScript, ...contextOptions } = options;
    const context = await browser.newContext({ locale: "en-GB", ...contextOptions });
    try {
      context.setDefaultTimeout(10_000);
      if (initScript) await context.addInitScript(initScript);
      const page = await context.newPage();
      const errors: string[] = [];
      page.on("pageerror", (error) => errors.push(String(error)));
      page.on("dialog", (dialog) => errors.push(`dialog: ${dialog.message()}`));
      page.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") errors.push(message.text());
      });
      await page.goto(server.url);
      await body(echoPage(page));
      assert.deepEqual(
        errors.filter((error) => !expectedError?.test(error)),
        [],
      );
      if (expectedError) assert.ok(errors.length > 0, "the expected error did not come");
    } finally {
      await context.close();
    }
  }

  describe("states", () => {
    test("page loaded", async () => {
      await withPage({}, async (page) => {
        await page.status("Ready to connect...");
        await page.controlsAre("disconnected");
        const address = `${server.url.replace("http", "ws")}/ws`;
        assert.equal(await page.url.inputValue(), address);
        assert.deepEqual(await page.rows(0), []);
        assert.equal(await page.page.title(), "WebSocket Sample Application");
        for (const text of ["WebSocket Sample Application", "Communication Log"]) {
          await page.page.getByRole("heading", { name: text, exact: true }).waitFor();
        }
        assert.deepEqual(await page.page.locator("th").allTextContents(), ["From", "To", "Data"]);
        await page.screenshot("initial");
      });
    });

    test("a conversation gives four rows and leaves the page ready for another", async () => {
      await withPage({}, async (page) => {
        await page.connect.click();
        await page.status("Open");
        await page.controlsAre("connected");
        assert.deepEqual(await page.rows(1), [openedRow]);
        await page.message.fill("hello");
        await page.send.click();
        const talk = [openedRow, ["Client", "Server", "hello"], ["Server", "Client", "hello"]];
        assert.deepEqual(await page.rows(3), talk);
        await page.status("Open");
        await page.controlsAre("connected");
        await page.close.click();
        await page.status("Closed");
        await page.controlsAre("disconnected");
        assert.deepEqual(await page.rows(4), [...talk, closedRow]);
        assert.equal(await page.message.inputValue(), "hello");
        await page.screenshot("conversation");
      });
    });

    test("connecting disables everything until the server answers", async () => {
      await using peer = await startPeer({ held: true });
      await withPage({}, async (page) => {
        await page.url.fill(peer.url);
        await page.connect.click();
        await page.status("Connecting");
        await page.controlsAre("busy");
        assert.deepEqual(await page.rows(0), []);
        peer.release();
        await page.status("Open");
        await page.controlsAre("connected");
      });
    });

    test("closing stays Open until the close event, and sends nothing more", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        const socket = await page.connectTo(peer);
        socket.pause();
        await page.close.click();
        await page.status("Open");
        await page.controlsAre("connected");
        await page.send.click();
        assert.deepEqual(await page.rows(1), [openedRow]);
        socket.resume();
        await page.status("Closed");
        assert.deepEqual(await page.rows(2), [openedRow, closedRow]);
      });
    });

    test("the server's close code and reason are logged", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        const socket = await page.connectTo(peer);
        socket.close(4001, "Vessel left harbour");
        await page.status("Closed");
        await page.controlsAre("disconnected");
        const row = "Connection closed. Code: 4001. Reason: Vessel left harbour";
        assert.deepEqual(await page.rows(2), [openedRow, [row]]);
      });
    });

    test("a lost connection is logged as 1006", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        const socket = await page.connectTo(peer);
        socket.terminate();
        await page.status("Closed");
        await page.controlsAre("disconnected");
        assert.deepEqual(await page.rows(2), [
          openedRow,
          ["Connection closed. Code: 1006. Reason: "],
        ]);
      });
    });

    test("a refused connection is logged as 1006", async () => {
      const port = await closedPort();
      await withPage({ expectedError: /ERR_CONNECTION_REFUSED/ }, async (page) => {
        await page.url.fill(`ws://localhost:${port}/ws`);
        await page.connect.click();
        await page.status("Closed");
        await page.controlsAre("disconnected");
        assert.deepEqual(await page.rows(1), [["Connection closed. Code: 1006. Reason: "]]);
      });
    });

    test("a double click on Connect opens one socket", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        await page.url.fill(peer.url);
        await page.connect.dblclick();
        await page.status("Open");
        assert.equal(peer.connections(), 1);
        assert.deepEqual(await page.rows(1), [openedRow]);
      });
    });

    test("two submits in one turn open one socket", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        await page.url.fill(peer.url);
        await page.page.evaluate("connect.click(); connect.click();");
        await page.status("Open");
        assert.equal(peer.connections(), 1);
      });
    });

    test("the log survives a reconnect", async () => {
      await withPage({}, async (page) => {
        for (const _ of [1, 2]) {
          await page.connect.click();
          await page.status("Open");
          await page.close.click();
          await page.status("Closed");
        }
        assert.deepEqual(await page.rows(4), [openedRow, closedRow, openedRow, closedRow]);
      });
    });
  });

  describe("address", () => {
    for (const address of [
      "",
      "hello",
      "localhost:5000/ws",
      "/ws",
      "ws://",
      "ftp://localhost/ws",
    ]) {
      test(`"${address}" is called invalid`, async () => {
        await withPage({}, async (page) => {
          await page.url.fill(address);
          await page.connect.click();
          assert.match(await page.problem(), /^This is not a WebSocket address\./);
          assert.equal(await page.url.getAttribute("aria-invalid"), "true");
          assert.equal(await page.focused(), "url");
          await page.status("Ready to connect...");
          await page.controlsAre("disconnected");
          assert.deepEqual(await page.rows(0), []);
        });
      });
    }

    test("a fragment is called invalid", async () => {
      await withPage({}, async (page) => {
        await page.url.fill("ws://localhost/ws#part");
        await page.url.press("Enter");
        assert.match(await page.problem(), /can't contain #/);
      });
    });

    test("an address that the browser forbids is called invalid", async () => {
      const initScript = `window.WebSocket = class { constructor() {
        throw new DOMException("An insecure connection may not be made", "SecurityError"); } };`;
      await withPage({ initScript }, async (page) => {
        await page.connect.click();
        assert.match(await page.problem(), /refuses to open .* insecure connection/);
        await page.status("Ready to connect...");
        await page.controlsAre("disconnected");
      });
    });

    test("correcting it removes the complaint and connects", async () => {
      await withPage({}, async (page) => {
        const address = await page.url.inputValue();
        await page.url.fill("nonsense");
        await page.connect.click();
        await page.problem();
        await page.screenshot("invalid-address");
        await page.url.fill(address);
        assert.equal(await page.page.getByRole("alert").textContent(), "");
        assert.equal(await page.url.getAttribute("aria-invalid"), null);
        await page.connect.click();
        await page.status("Open");
      });
    });

    test("http:// and white space are put right", async () => {
      await withPage({}, async (page) => {
        const address = await page.url.inputValue();
        await page.url.fill(` ${address.replace("ws://", "HTTP://")} `);
        await page.connect.click();
        await page.status("Open");
        assert.equal(await page.url.inputValue(), address);
      });
    });
  });

  describe("keyboard", () => {
    test("Enter connects, Enter sends, and the focus follows", async () => {
      await withPage({}, async (page) => {
        await page.url.press("Enter");
        await page.status("Open");
        assert.equal(await page.focused(), "message");
        await page.page.keyboard.type("ahoy");
        await page.page.keyboard.press("Enter");
        await page.rows(3);
        assert.equal(await page.focused(), "message");
        await page.page.keyboard.press("Tab");
        await page.page.keyboard.press("Tab");
        assert.equal(await page.focused(), "close");
        await page.page.keyboard.press("Space");
        await page.status("Closed");
        assert.equal(await page.focused(), "connect");
        const rows = await page.rows(4);
        assert.deepEqual(rows[2], ["Server", "Client", "ahoy"]);
      });
    });

    test("the focus is left with whoever reads the log", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        const socket = await page.connectTo(peer);
        await page.page.getByRole("log").focus();
        socket.close();
        await page.status("Closed");
        assert.equal(await page.focused(), "log");
      });
    });

    test("the focus is visible", async () => {
      await withPage({}, async (page) => {
        await page.url.focus();
        const outline = await page.page.evaluate<string>("getComputedStyle(url).outline");
        assert.match(outline, /solid 3px/);
      });
    });
  });

  describe("data", () => {
    test("an empty message is sent and logged", async () => {
      await withPage({}, async (page) => {
        await page.connect.click();
        await page.status("Open");
        await page.send.click();
        assert.deepEqual(await page.rows(3), [
          openedRow,
          ["Client", "Server", ""],
          ["Server", "Client", ""],
        ]);
      });
    });

    test("markup is shown literally", async () => {
      const text = `<img src=x onerror="alert(1)"> & <b>'bold'</b>`;
      await withPage({}, async (page) => {
        await page.say(text);
        const rows = await page.rows(3);
        assert.deepEqual(rows.slice(1), [
          ["Client", "Server", text],
          ["Server", "Client", text],
        ]);
        assert.equal(await page.page.locator("tbody img, tbody b").count(), 0);
      });
    });

    test("markup in a close reason is shown literally", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        const socket = await page.connectTo(peer);
        socket.close(4000, "<img src=x onerror=alert(1)>");
        const rows = await page.rows(2);
        assert.match(rows[1]?.[0] ?? "", /Reason: <img src=x onerror=alert\(1\)>$/);
      });
    });

    test("binary data is shown as bytes", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        const socket = await page.connectTo(peer);
        socket.send(Buffer.from("Hello"));
        socket.send(Buffer.of(7));
        socket.send(Buffer.alloc(0));
        socket.send(Buffer.alloc(100, 0xff));
        const cells = (await page.rows(5)).slice(1).map((row) => row[2]);
        assert.deepEqual(cells, [
          "Binary, 5 bytes: 48 65 6c 6c 6f",
          "Binary, 1 byte: 07",
          "Binary, 0 bytes: ",
          `Binary, 100 bytes: ${"ff ".repeat(64)}…`,
        ]);
      });
    });

    test("a long word wraps", async () => {
      await withPage({ viewport: { width: 360, height: 740 } }, async (page) => {
        await page.say("x".repeat(5000));
        await page.rows(3);
        await page.fits();
        assert.equal(await page.page.evaluate("log.scrollWidth - log.clientWidth"), 0);
      });
    });

    test("the log keeps the newest 1,000 rows in sight", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        const socket = await page.connectTo(peer);
        for (let number = 1; number <= 1100; number++) socket.send(String(number));
        await page.page.getByRole("cell", { name: "1100", exact: true }).waitFor();
        const rows = await page.rows(1000);
        assert.deepEqual(rows[0], ["Server", "Client", "101"]);
        await page.page.waitForFunction("log.scrollHeight - log.scrollTop - log.clientHeight < 1");
      });
    });

    test("the log does not follow while an older row is read", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        const socket = await page.connectTo(peer);
        for (let number = 1; number <= 100; number++) socket.send(String(number));
        await page.rows(101);
        await page.page.evaluate("log.scrollTop = 100");
        socket.send("newer");
        await page.rows(102);
        assert.equal(await page.page.evaluate("log.scrollTop"), 100);
      });
    });
  });

  describe("language", () => {
    const chinese = "WebSocket 範例應用程式";
    const english = "WebSocket Sample Application";
    const choices = [
      ["zh-TW", "zh-Hant", chinese],
      ["zh-HK", "zh-Hant", chinese],
      ["zh-Hant", "zh-Hant", chinese],
      ["zh-CN", "zh-Hant", chinese],
      ["en-US", "en", english],
      ["de-DE", "en", english],
    ] as const;
    for (const [locale, lang, title] of choices) {
      test(`a ${locale} browser gets ${lang}`, async () => {
        await withPage({ locale }, async (page) => {
          assert.equal(await page.page.locator("h1").textContent(), title);
          assert.equal(await page.page.title(), title);
          assert.equal(await page.lang(), lang);
        });
      });
    }

    test("the whole conversation in Chinese", async () => {
      await withPage({ locale: "zh-TW" }, async ({ page, ...echo }) => {
        await echo.status("準備就緒，可以連線");
        await page.getByLabel("WebSocket 伺服器網址：").waitFor();
        await page.getByRole("button", { name: "連線" }).click();
        await echo.status("已開啟");
        await page.getByLabel("要傳送的訊息：").fill("你好，世界！");
        await page.getByRole("button", { name: "傳送" }).click();
        await echo.rows(3);
        await page.getByRole("button", { name: "關閉 Socket" }).click();
        await echo.status("已關閉");
        assert.deepEqual(await page.locator("th").allTextContents(), ["傳送端", "接收端", "資料"]);
        assert.deepEqual(await echo.rows(4), [
          ["連線已開啟"],
          ["用戶端", "伺服器", "你好，世界！"],
          ["伺服器", "用戶端", "你好，世界！"],
          ["連線已關閉。代碼：1000。原因：Closing from client"],
        ]);
        await echo.screenshot("zh-Hant");
      });
    });

    test("the switch says everything again, rows and complaints too, and is remembered", async () => {
      await using peer = await startPeer();
      await withPage({}, async (page) => {
        const socket = await page.connectTo(peer);
        socket.send(Buffer.from("Hello"));
        socket.close(1000, "done");
        await page.rows(3);
        await page.url.fill("nonsense");
        await page.connect.click();
        await page.switchTo("繁體中文");
        await page.status("已關閉");
        assert.match(await page.problem(), /^這不是 WebSocket 網址。/);
        assert.deepEqual(await page.rows(3), [
          ["連線已開啟"],
          ["伺服器", "用戶端", "二進位資料，5 個位元組：48 65 6c 6c 6f"],
          ["連線已關閉。代碼：1000。原因：done"],
        ]);
        assert.equal(await page.lang(), "zh-Hant");
        await page.page.reload();
        await page.status("準備就緒，可以連線");
        await page.switchTo("English");
        await page.status("Ready to connect...");
        assert.equal(await page.lang(), "en");
      });
    });

    test("every text exists in both languages", async () => {
      await withPage({}, async ({ page }) => {
        const missing = await page.evaluate<
          string[]
        >(`import("/messages.js").then(({ messages }) => {
          const kinds = (texts) => Object.entries(texts).map(([key, text]) =>
            [key, typeof text, text.length > 0 || "empty"].join()).sort();
          const [en, zh] = [kinds(messages.en), kinds(messages["zh-Hant"])];
          return [...en.filter((kind) => !zh.includes(kind)), ...zh.filter((kind) => !en.includes(kind))];
        })`);
        assert.deepEqual(missing, []);
      });
    });

    test("the switch works where storage is forbidden", async () => {
      const initScript = `Object.defineProperty(window, "localStorage", {
        get() { throw new DOMException("denied", "SecurityError"); } });`;
      await withPage({ initScript }, async (page) => {
        await page.switchTo("繁體中文");
        await page.status("準備就緒，可以連線");
      });
    });
  });

  describe("appearance", () => {
    for (const colorScheme of ["light", "dark"] as const) {
      test(`every text is readable in the ${colorScheme} scheme`, async () => {
        await withPage({ colorScheme }, async (page) => {
          await page.say("Permission to come aboard?");
          await page.rows(3);
          await page.close.click();
          await page.status("Closed");
          await page.switchTo("English");
          assert.deepEqual(await weakTexts(page.page), []);
          if (colorScheme === "dark") await page.screenshot("dark");
        });
      });
    }

    test("chips are white on green for the client, white on red for the server", async () => {
      await withPage({}, async (page) => {
        await page.say("hello");
        await page.rows(3);
        const colours = await page.page.evaluate(
          `[...document.querySelectorAll("tbody tr:nth-child(2) .chip")].map((chip) => getComputedStyle(chip))
            .map((style) => [style.color, style.backgroundColor])`,
        );
        assert.deepEqual(colours, [
          ["rgb(255, 255, 255)", "rgb(26, 122, 58)"],
          ["rgb(255, 255, 255)", "rgb(200, 16, 46)"],
        ]);
      });
    });

    test("a page 360 pixels wide does not scroll sideways", async () => {
      for (const locale of ["en", "zh-TW"]) {
        await withPage({ locale, viewport: { width: 360, height: 740 } }, async (page) => {
          await page.fits();
          await page.say("hello");
          await page.rows(3);
          await page.close.click();
          await page.rows(4);
          await page.fits();
          if (locale === "en") await page.screenshot("narrow");
          await page.url.fill("nonsense");
          await page.connect.click();
          await page.fits();
          await page.screenshot(`narrow-invalid-address-${locale}`);
        });
      }
    });

    test("nothing moves where the reader asked for that", async () => {
      await withPage({ reducedMotion: "reduce" }, async (page) => {
        await page.connect.click();
        await page.rows(1);
        assert.equal(await page.page.evaluate("document.getAnimations().length"), 0);
      });
    });

    test("status and log are announced politely", async () => {
      await withPage({}, async ({ page }) => {
        for (const role of ["status", "log"] as const) {
          assert.equal(await page.getByRole(role).getAttribute("aria-live"), "polite");
        }
      });
    });
  });
}

// ---- the page, as a reader sees it ---------------------------------------------------------------

interface EchoPage {
  page: Page;
  url: Locator;
  connect: Locator;
  message: Locator;
  send: Locator;
  close: Locator;
  status(text: string): Promise<void>;
  controlsAre(state: "disconnected" | "connected" | "busy"): Promise<void>;
  rows(count: number): Promise<string[][]>;
  connectTo(peer: Peer): Promise<WebSocket>;
  say(text: string): Promise<void>;
  problem(): Promise<string>;
  focused(): Promise<string>;
  lang(): Promise<string>;
  switchTo(language: string): Promise<void>;
  fits(): Promise<void>;
  screenshot(name: string): Promise<void>;
}

/** Finds controls by identity, not by label, so that every language can be driven. */
function echoPage(page: Page): EchoPage {
  const [url, connect, message, send, close] = ["url", "connect", "message", "send", "close"].map(
    (id) => page.locator(`#${id}`),
  ) as [Locator, Locator, Locator, Locator, Locator];
  const self: EchoPage = {
    page,
    url,
    connect,
    message,
    send,
    close,
    async status(text) {
      await page
        .getByRole("status")
        .and(page.getByText(text, { exact: true }))
        .waitFor();
    },
    async controlsAre(state) {
      const enabled = await Promise.all([url, connect, message, send, close].map(isEnabled));
      const connecting = state === "disconnected";
      const talking = state === "connected";
      assert.deepEqual(enabled, [connecting, connecting, talking, talking, talking]);
    },
    async rows(count) {
      if (count > 0) await page.locator(`tbody tr:nth-child(${count})`).waitFor();
      const rows = await page.evaluate<string[][]>(
        `[...document.querySelectorAll("tbody tr")].map((r) => [...r.cells].map((c) => c.textContent))`,
      );
      assert.equal(rows.length, count);
      return rows;
    },
    async connectTo(peer) {
      await url.fill(peer.url);
      await connect.click();
      await self.status("Open");
      return peer.socket();
    },
    async say(text) {
      await connect.click();
      await page.locator("#send:enabled").waitFor();
      await message.fill(text);
      await send.click();
    },
    async problem() {
      await page.locator("[role=alert]:not(:empty)").waitFor();
      return (await page.getByRole("alert").textContent()) ?? "";
    },
    focused: () => page.evaluate("document.activeElement.id"),
    lang: () => page.evaluate("document.documentElement.lang"),
    async switchTo(language) {
      const button = page.getByRole("button", { name: language, exact: true });
      await button.click();
      assert.equal(await button.getAttribute("aria-pressed"), "true");
    },
    fits: () => fits(page),
    screenshot: (name) => screenshot(page, `echo-${name}`),
  };
  return self;
}

function isEnabled(control: Locator): Promise<boolean> {
  return control.isEnabled();
}

// ---- servers that do what the echo does not --------------------------------------------------------

interface Peer extends AsyncDisposable {
  url: string;
  connections(): number;
  /** The newest connection. */
  socket(): WebSocket;
  /** Lets a held handshake finish. */
  release(): void;
}

async function startPeer({ held = false } = {}): Promise<Peer> {
  const server = createServer();
  const sockets = new WebSocketServer({ noServer: true });
  const accepted: WebSocket[] = [];
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  if (!held) release();
  server.on("upgrade", async (request, socket, head) => {
    await gate;
    sockets.handleUpgrade(request, socket as Socket, head, (webSocket) => accepted.push(webSocket));
  });
  const port = await listen(server);
  return {
    url: `ws://localhost:${port}/ws`,
    connections: () => accepted.length,
    socket() {
      const newest = accepted.at(-1);
      assert.ok(newest, "nobody has connected");
      return newest;
    },
    release,
    [Symbol.asyncDispose]: () => stop(server),
  };
}

const connections = new WeakMap<Server, Set<Socket>>();

function listen(server: Server): Promise<number> {
  const open = new Set<Socket>();
  connections.set(server, open);
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
  return new Promise((resolve) => {
    server.listen(0, "localhost", () => resolve((server.address() as AddressInfo).port));
  });
}

/** Upgraded connections no longer belong to the server: only their sockets can end them. */
function stop(server: Server): Promise<void> {
  for (const socket of connections.get(server) ?? []) socket.destroy();
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

async function closedPort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await stop(server);
  return port;
}
