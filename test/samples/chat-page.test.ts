/** The chat sample, as `npm start` serves it: pages with Microsoft's own bundle talk to each other. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import test, { after, before, describe } from "node:test";
import { handleUpgrades } from "halyard";
import { hubContext } from "halyard/hub";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { createSamplesApp } from "../../samples/app.js";
import { ChatHub } from "../../samples/chat/hub.js";
import {
  fits,
  launchChromium,
  needsChromium,
  screenshot,
  weakTexts,
  withoutChromium,
} from "../support/chromium.js";

// The runner does not count a skipped suite, but a skipped test it does.
if (withoutChromium) test("chat page", { skip: needsChromium });
else describe("chat page", suite);

type Transport = "" | "WebSockets" | "ServerSentEvents" | "LongPolling";
type Protocol = "json" | "messagepack";

interface Visit extends BrowserContextOptions {
  readonly name: string;
  readonly transport?: Transport;
  readonly protocol?: Protocol;
  readonly room?: string;
}

function suite(): void {
  let browser: Browser;
  let server: Server;
  let url: string;
  let rooms = 0;

  before(async () => {
    server = await startServer();
    url = `http://localhost:${(server.address() as AddressInfo).port}/chat/`;
    browser = await launchChromium();
  });

  after(async () => {
    await browser?.close();
    if (server) await stop(server);
  });

  /** Runs `body` with a page for each visitor; a complaint in a console fails. */
  async function withPages(
    visits: readonly Visit[],
    body: (...pages: ChatPage[]) => Promise<void>,
  ): Promise<void> {
    const room = `Room ${++rooms}`;
    const contexts = await Promise.all(
      visits.map((visit) => browser.newContext({ locale: "en-GB", ...visit })),
    );
    try {
      const errors: string[] = [];
      const pages = await Promise.all(
        contexts.map(async (context, index) => {
          context.setDefaultTimeout(10_000);
          const visit = { room, ...visits[index] } as Visit;
          const page = await context.newPage();
          page.on("pageerror", (error) => errors.push(String(error)));
          page.on("console", (message) => {
            if (!["error", "warning"].includes(message.type())) return;
            // The client's last POST may come when its event stream or connection is gone.
            const hasPosts = ["ServerSentEvents", "LongPolling"].includes(visit.transport ?? "");
            if (hasPosts && / 404 /.test(message.text())) return;
            errors.push(message.text());
          });
          await page.goto(url);
          return new ChatPage(page, visit);
        }),
      );
      await body(...pages);
      assert.deepEqual(errors, []);
    } finally {
      await Promise.all(contexts.map((context) => context.close()));
    }
  }

  describe("two pages chat", () => {
    const ways: [Transport, Protocol, string][] = [
      ["WebSockets", "json", "WebSockets, JSON"],
      ["WebSockets", "messagepack", "WebSockets, MessagePack"],
      ["ServerSentEvents", "json", "Server-Sent Events, JSON"],
      ["LongPolling", "json", "long polling, JSON"],
      ["LongPolling", "messagepack", "long polling, MessagePack"],
      ["", "json", "the best transport"],
    ];
    for (const [transport, protocol, title] of ways) {
      test(title, async () => {
        const way = { transport, protocol };
        await withPages(
          [
            { name: "Ann", ...way },
            { name: "Ben", ...way },
          ],
          async (ann, ben) => {
            await ann.join();
            await ann.say("Is anybody here?");
            await ben.join();
            await ben.sees("Is anybody here?"); // the stream of what was said before
            await ann.sees("Ben came in");
            await ann.hasPeople("Ann", "Ben");
            await ben.hasPeople("Ann", "Ben");
            for (const page of [ann, ben]) {
              assert.deepEqual(await page.facts(), [transport || "WebSockets", protocol]);
              assert.match(await page.text("#id-fact"), /^[\w-]{22}$/);
            }
            assert.notEqual(await ann.text("#id-fact"), await ben.text("#id-fact"));

            await ben.say("Aye aye, Käpt’n ⚓");
            await ann.sees("Aye aye, Käpt’n ⚓");
            await ann.page.fill("#message", "Tea");
            await ben.page.getByText("Ann is typing…").waitFor();

            await ann.ask("Tea?");
            await ann.sees("Yes 0 · No 0 · Waiting for 1");
            await ben.answer("Yes");
            await ann.sees("Yes 1 · No 0");
            await ben.sees("Ann asked “Tea?”: yes 1, no 0");
            await screenshot(ann.page, `chat-${transport || "automatic"}-${protocol}`);

            await ben.leave();
            await ann.sees("Ben left");
            await ann.hasPeople("Ann");
            assert.equal(await ben.status(), "Disconnected");
          },
        );
      });
    }
  });

  test("pages that came by different ways share a room", async () => {
    await withPages(
      [
        { name: "Ann", transport: "WebSockets", protocol: "messagepack" },
        { name: "Ben", transport: "ServerSentEvents" },
        { name: "Chen", transport: "LongPolling", protocol: "messagepack", locale: "zh-TW" },
      ],
      async (ann, ben, chen) => {
        for (const page of [ann, ben, chen]) await page.join();
        for (const page of [ann, ben, chen]) await page.hasPeople("Ann", "Ben", "Chen");
        await chen.say("午安");
        for (const page of [ann, ben, chen]) await page.sees("午安");
        await ben.ask("Shore leave?");
        await ann.answer("No");
        await ben.sees("Yes 0 · No 1 · Waiting for 1");
        await chen.page.getByText("Ben 想問：").waitFor();
        await screenshot(chen.page, "chat-question-zh-Hant");
        await chen.answer("是");
        await ben.sees("Yes 1 · No 1");
        await chen.sees("Ben 問了「Shore leave?」：是 1，否 1");
        await screenshot(ben.page, "chat-three");
      },
    );
  });

  test("a page whose connection ends comes back to its room", async () => {
    await withPages([{ name: "Ann" }, { name: "Ben" }], async (ann, ben) => {
      await ben.join();
      await ann.join();
      const id = await ann.text("#id-fact");
      assert.ok(hubContext(ChatHub).disconnect(id, { allowReconnect: true }));
      await ann.sees("Back again");
      await ann.sees("The connection was lost");
      assert.notEqual(await ann.text("#id-fact"), id);
      await ann.hasPeople("Ben", "Ann");
      await ann.say("Here I am again.");
      await ben.sees("Here I am again.");
    });
  });

  test("a name that the contract refuses is answered by its text", async () => {
    await withPages([{ name: " " }], async (ann) => {
      await ann.start();
      const problem = ann.page.getByRole("alert").and(ann.page.locator(":not(:empty)"));
      await problem.waitFor();
      assert.match((await problem.textContent()) ?? "", /^That did not work: .*Argument 1/);
      assert.equal(await ann.status(), "Disconnected");
      await screenshot(ann.page, "chat-problem");
    });
  });

  test("Server-Sent Events do not offer MessagePack", async () => {
    await withPages([{ name: "Ann", protocol: "messagepack" }], async ({ page }) => {
      await page.selectOption("#protocol", "messagepack");
      await page.selectOption("#transport", "ServerSentEvents");
      assert.equal(await page.inputValue("#protocol"), "json");
      assert.equal(await page.isDisabled("#protocol [value=messagepack]"), true);
      await page.getByText("Server-Sent Events carry text only").waitFor();
      await page.selectOption("#transport", "LongPolling");
      assert.equal(await page.isDisabled("#protocol [value=messagepack]"), false);
    });
  });

  test("everything can be done by keyboard", async () => {
    await withPages([{ name: "Ann" }, { name: "Ben" }], async (ann, ben) => {
      await ben.join();
      const { keyboard } = ann.page;
      await ann.page.focus("#name");
      await keyboard.type("Ann");
      await keyboard.press("Tab");
      await keyboard.type(await ben.text("#room-fact"));
      await keyboard.press("Enter");
      await ann.page.locator("#message:focus").waitFor();
      await keyboard.type("Ahoy");
      await keyboard.press("Enter");
      await ben.sees("Ahoy");
      await ben.ask("Dinner?");
      await ann.page.getByRole("button", { name: "Yes", exact: true }).waitFor();
      await keyboard.press("Shift+Tab");
      await keyboard.press("Shift+Tab");
      await keyboard.press("Enter");
      await ben.sees("Yes 1 · No 0");
      assert.equal(await ann.page.evaluate("document.activeElement.id"), "message");
    });
  });

  test("what one page says is text to the others", async () => {
    await withPages([{ name: "Ann" }, { name: "<b>Ben</b>" }], async (ann, ben) => {
      await ann.join();
      await ben.join();
      await ben.say("<img src=x onerror=alert(1)>");
      await ann.sees("<img src=x onerror=alert(1)>");
      await ann.hasPeople("Ann", "<b>Ben</b>");
    });
  });

  test("both languages have every text", async () => {
    await withPages([{ name: "Ann" }], async (ann) => {
      const missing = await ann.page.evaluate(`import("/chat/messages.js").then(({ messages }) => {
        const kinds = (texts) => Object.entries(texts).map(([key, text]) =>
          [key, typeof text, text.length > 0 || "empty"].join()).sort();
        const [en, zh] = [kinds(messages.en), kinds(messages["zh-Hant"])];
        return [...en.filter((kind) => !zh.includes(kind)), ...zh.filter((kind) => !en.includes(kind))];
      })`);
      assert.deepEqual(missing, []);
      await ann.page.getByRole("button", { name: "繁體中文" }).click();
      assert.equal(await ann.status(), "尚未連線");
      await ann.page.getByRole("link", { name: "回應" }).click();
      await ann.page.getByRole("heading", { name: "WebSocket 範例應用程式" }).waitFor();
      await ann.page.getByRole("link", { name: "聊天室" }).click();
      await ann.page.getByRole("heading", { name: "聊天室範例應用程式" }).waitFor();
    });
  });

  for (const colorScheme of ["light", "dark"] as const) {
    test(`every text is readable in the ${colorScheme} scheme`, async () => {
      await withPages([{ name: "Ann", colorScheme }, { name: "Ben" }], async (ann, ben) => {
        assert.deepEqual(await weakTexts(ann.page), []);
        await screenshot(ann.page, `chat-initial-${colorScheme}`);
        await ann.join();
        await ben.join();
        await ann.say("Permission to come aboard?");
        await ben.say("Granted.");
        await ann.sees("Granted.");
        await ben.ask("A cup of tea?");
        await ann.page.getByRole("button", { name: "Yes", exact: true }).waitFor();
        assert.deepEqual(await weakTexts(ann.page), []);
        await screenshot(ann.page, `chat-${colorScheme}`);
      });
    });
  }

  test("a page 360 pixels wide does not scroll sideways", async () => {
    for (const locale of ["en", "zh-TW"]) {
      const narrow = { locale, viewport: { width: 360, height: 740 } };
      await withPages([{ name: "Ann", ...narrow }, { name: "Ben" }], async (ann, ben) => {
        await fits(ann.page);
        await screenshot(ann.page, `chat-narrow-initial-${locale}`);
        await ann.join();
        await ben.join();
        await ben.say(`Look: ${"long ".repeat(20)}${"x".repeat(60)}`);
        await ben.ask("Tea or coffee or a very long question about something else?");
        await ann.page.locator(".answers").waitFor();
        await fits(ann.page);
        await screenshot(ann.page, `chat-narrow-${locale}`);
      });
    }
  });
}

/** The page, as a reader sees it. Controls are found by identity, so that every language works. */
class ChatPage {
  readonly page: Page;
  readonly #visit: Visit;

  constructor(page: Page, visit: Visit) {
    this.page = page;
    this.#visit = visit;
  }

  /** Fills the form and sends it. */
  async start(): Promise<void> {
    const { name, room = "", transport = "", protocol = "json" } = this.#visit;
    await this.page.fill("#name", name);
    await this.page.fill("#room", room);
    await this.page.selectOption("#transport", transport);
    await this.page.selectOption("#protocol", protocol);
    await this.page.click("#join");
  }

  async join(): Promise<void> {
    await this.start();
    await this.page.locator("#message:enabled").waitFor();
  }

  async leave(): Promise<void> {
    await this.page.click("#leave");
    await this.page.locator("#join:enabled").waitFor();
  }

  async say(text: string): Promise<void> {
    await this.page.fill("#message", text);
    await this.page.click("#send");
  }

  async ask(question: string): Promise<void> {
    await this.page.fill("#message", question);
    await this.page.click("#ask");
  }

  async answer(label: string): Promise<void> {
    await this.page.getByRole("button", { name: label, exact: true }).click();
  }

  async sees(text: string): Promise<void> {
    await this.page.getByRole("log").getByText(text, { exact: true }).waitFor();
  }

  async hasPeople(...names: string[]): Promise<void> {
    const expected = JSON.stringify(names);
    await this.page.waitForFunction(
      `JSON.stringify([...document.querySelectorAll("#people li")].map((e) => e.textContent)) === ${JSON.stringify(expected)}`,
    );
  }

  async status(): Promise<string> {
    return this.text("#status");
  }

  async facts(): Promise<string[]> {
    return Promise.all(["#transport-fact", "#protocol-fact"].map((id) => this.text(id)));
  }

  async text(selector: string): Promise<string> {
    return (await this.page.textContent(selector)) ?? "";
  }
}

async function startServer(): Promise<Server> {
  const server = createServer(createSamplesApp().callback());
  handleUpgrades(server);
  await new Promise<void>((resolve) => {
    server.listen(0, "localhost", resolve);
  });
  return server;
}

/** `handleUpgrades` closes sockets, and the hub its event streams and polls. */
function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
