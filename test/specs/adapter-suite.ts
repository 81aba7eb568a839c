/** What the middleware promises in every framework. Each test/adapters file brings a harness. */
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { after, before, describe, it, mock, type TestContext } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  HalyardError,
  handleUpgrades,
  type UpgradeOptions,
  type WebSocketConnection,
  type WebSocketManager,
  type WebSocketOptions,
} from "halyard";
import { WebSocket } from "ws";
import {
  keepingLogger,
  maskedFrame,
  once,
  openRaw,
  type RequestHeaders,
  rawRequest,
  requestText,
  Signal,
  timeLimit,
  until,
  upgradeHeaders,
  upgradeRequest,
  withTimeout,
} from "../support/network.js";

/** A request as the suite sees it, whatever the framework calls it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Only behind `webSockets()`. */
  readonly webSockets: WebSocketManager;
  /** By the framework's own means, like the next two. */
  setHeader(name: string, value: string): void;
  addCookie(name: string, value: string): void;
  answer(status: number, body: string): void;
}

/** A middleware in the words that every framework has. */
export interface Step {
  /** On the way in; one that answers ends the request. */
  enter?(exchange: Exchange): unknown;
  /** Runs everything behind it. */
  around?(run: () => unknown): unknown;
  /** On the way out: `finally`, or whatever the framework runs at a request's end. */
  leave?(): void;
}

export interface Setup {
  readonly options?: WebSocketOptions;
  /** Steps in front of `webSockets()`. */
  readonly steps?: readonly Step[];
  readonly handler: (exchange: Exchange) => unknown;
  /** How often `webSockets()` is registered. Default 1. */
  readonly registrations?: number;
  /** For `handleUpgrades`; `false` for not calling it. */
  readonly upgrades?: UpgradeOptions | false;
}

/** A server of the framework, listening. */
export interface App {
  readonly server: Server;
  /** What the framework's own error reporting saw. */
  readonly errors: readonly unknown[];
}

export interface Harness {
  /** Whether the framework tells when a handler has returned. */
  readonly awaitsHandlers: boolean;
  /** Whether its error handlers see what handlers throw before any middleware does. */
  readonly reportsEverything: boolean;
  /** The middleware itself, for its options. */
  readonly webSockets: (options?: WebSocketOptions) => unknown;
  start(setup: Setup): Promise<App>;
}

interface RunningApp extends App {
  readonly port: number;
  readonly connections: ReadonlySet<WebSocketConnection>;
}

/** Starts an app for one test; nothing of it outlives the test. */
export async function startApp(
  t: TestContext,
  harness: Harness,
  setup: Setup,
): Promise<RunningApp> {
  const logger = keepingLogger();
  const app = await harness.start({
    ...setup,
    options: { logger, ...setup.options },
    ...(setup.upgrades !== false && { upgrades: { logger, ...setup.upgrades } }),
  });
  const { server } = app;
  if (!server.listening) await once(server, "listening");
  const upgrades = setup.upgrades === false ? undefined : handleUpgrades(server);
  const connections = upgrades?.connections ?? new Set<WebSocketConnection>();
  t.after(async () => {
    for (const connection of connections) connection.abort();
    const closed = server.listening ? once(server, "close") : undefined;
    if (server.listening) server.close();
    server.closeAllConnections();
    await closed;
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return { ...app, port: address.port, connections };
}

interface ClientOptions {
  readonly path?: string;
  readonly protocols?: string[];
  readonly headers?: Record<string, string>;
}

/** An open client, and the headers of its 101. */
export async function openClient(
  t: TestContext,
  port: number,
  { path = "/ws", protocols = [], headers = {} }: ClientOptions = {},
): Promise<{ client: WebSocket; response: IncomingMessage }> {
  const client = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { headers });
  t.after(() => client.terminate());
  const upgraded = once(client, "upgrade");
  await once(client, "open");
  const [response] = await upgraded;
  return { client, response };
}

/** Sends a message and returns the next one that comes back. */
export async function ask(client: WebSocket, data: string | Buffer): Promise<string | Buffer> {
  const answer = once(client, "message");
  client.send(data);
  const [payload, isBinary] = await answer;
  return isBinary ? payload : payload.toString();
}

/** The status and reason with which the connection closes. */
export async function closeOf(client: WebSocket): Promise<[number, string]> {
  const [status, reason] = await once(client, "close");
  return [status, reason.toString()];
}

/** Accepts WebSockets and echoes them; other requests get 400. */
export async function echo({ webSockets, answer }: Exchange): Promise<void> {
  if (!webSockets.isWebSocketRequest) return answer(400, "this is for WebSockets");
  const socket = await webSockets.accept();
  for await (const message of socket) await socket.send(message.data);
}

const ordinaryRequest = (headers: RequestHeaders = {}) =>
  requestText("GET /ws HTTP/1.1", { Host: "127.0.0.1", Connection: "close", ...headers });

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ==";

export function describeAdapter(name: string, harness: Harness): void {
  /** What ended without anybody looking, or was printed for want of a better place. */
  const stray: unknown[] = [];
  const keepStray = (error: unknown) => void stray.push(error);
  const start = (t: TestContext, setup: Setup) => startApp(t, harness, setup);
  /** Where a framework reports all errors, those of the socket's own end are not the application's. */
  const applicationErrors = ({ errors }: App) =>
    harness.reportsEverything ? errors.filter((error) => !(error instanceof HalyardError)) : errors;

  describe(name, () => {
    before(() => {
      mock.method(console, "error", keepStray);
      mock.method(console, "warn", keepStray);
      process.on("unhandledRejection", keepStray);
      process.on("uncaughtExceptionMonitor", keepStray);
    });
    after(() => {
      mock.restoreAll();
      process.off("unhandledRejection", keepStray);
      process.off("uncaughtExceptionMonitor", keepStray);
    });

    describe("accept", () => {
      it("echoes text and binary of every length encoding", async (t) => {
        const { port, errors } = await start(t, { handler: echo });
        const { client } = await openClient(t, port);
        for (const size of [0, 1, 125, 126, 65_535, 65_536, 300_000]) {
          assert.equal(await ask(client, "x".repeat(size)), "x".repeat(size));
          const bytes = Buffer.alloc(size, 7);
          assert.deepEqual(await ask(client, bytes), bytes);
        }
        const closed = closeOf(client);
        client.close(4001, "enough");
        assert.deepEqual(await closed, [4001, "enough"]);
        assert.deepEqual(errors, []);
      });

      it("receives a frame that came in one packet with the request", async (t) => {
        const { port } = await start(t, { handler: echo });
        const connection = await openRaw(port);
        t.after(() => connection.destroy());
        connection.write(Buffer.concat([Buffer.from(upgradeRequest()), maskedFrame(1, "early")]));
        assert.equal((await connection.readResponse()).status, 101);
        assert.equal((await connection.readBytes(7)).toString("latin1"), "\x81\x05early");
      });

      it("gives the offered subprotocols in order and answers with the chosen one", async (t) => {
        const offered = new Signal<string[]>("the handler");
        const { port } = await start(t, {
          handler: async ({ webSockets }) => {
            offered.fire(webSockets.requestedProtocols);
            const socket = await webSockets.accept({ subprotocol: "chat.v1" });
            await socket.send(String(socket.subprotocol));
            await socket.close();
          },
        });
        const connection = await openRaw(port);
        t.after(() => connection.destroy());
        connection.write(
          upgradeRequest({ "Sec-WebSocket-Protocol": ["chat.v2, chat.v1", "soap"] }),
        );
        const response = await connection.readResponse();
        assert.equal(response.headers.get("sec-websocket-protocol"), "chat.v1");
        assert.deepEqual(await offered.wait(), ["chat.v2", "chat.v1", "soap"]);
        assert.equal((await connection.readBytes(9)).toString("latin1", 2), "chat.v1");
      });

      it("answers with no subprotocol unless the handler names one", async (t) => {
        const { port } = await start(t, { handler: echo });
        const response = await rawRequest(port, upgradeRequest({ "Sec-WebSocket-Protocol": "a" }));
        assert.equal(response.status, 101);
        assert.equal(response.headers.get("sec-websocket-protocol"), null);
      });

      it("throws for a subprotocol that was not offered: an ordinary 500", async (t) => {
        const app = await start(t, {
          handler: ({ webSockets }) => webSockets.accept({ subprotocol: "other" }),
        });
        const response = await rawRequest(
          app.port,
          upgradeRequest({ "Sec-WebSocket-Protocol": "chat" }),
        );
        assert.equal(response.status, 500);
        assert.equal(app.errors.length, 1);
        assert.match(String(app.errors[0]), /^TypeError: .*"other" was not offered/);
      });

      it("throws for an option out of range: an ordinary 500", async (t) => {
        const app = await start(t, {
          handler: ({ webSockets }) => webSockets.accept({ maxMessageSize: -1 }),
        });
        assert.equal((await rawRequest(app.port, upgradeRequest())).status, 500);
        assert.match(String(app.errors), /^RangeError: maxMessageSize/);
      });

      it("can be told options of its own", async (t) => {
        const { port } = await start(t, {
          options: { maxMessageSize: 10 },
          handler: async ({ request, webSockets }) => {
            const maxMessageSize = request.url === "/more" ? 20 : undefined;
            const socket = await webSockets.accept(maxMessageSize ? { maxMessageSize } : {});
            for await (const message of socket) await socket.send(message.data);
          },
        });
        const { client: more } = await openClient(t, port, { path: "/more" });
        assert.equal(await ask(more, "x".repeat(20)), "x".repeat(20));
        for (const [path, size] of [["/more", 21] as const, ["/ws", 11] as const]) {
          const { client } = await openClient(t, port, { path });
          const closed = closeOf(client);
          client.send("x".repeat(size));
          assert.equal((await closed)[0], 1009, path);
        }
      });

      it("throws ERR_ALREADY_ACCEPTED the second time and leaves the socket alone", async (t) => {
        const { port } = await start(t, {
          handler: async ({ webSockets }) => {
            const socket = await webSockets.accept();
            const code = await webSockets.accept().catch((error) => error.code);
            for await (const _ of socket) await socket.send(code);
          },
        });
        const { client } = await openClient(t, port);
        assert.equal(await ask(client, "?"), "ERR_ALREADY_ACCEPTED");
      });

      it("throws ERR_NOT_A_WEBSOCKET_REQUEST on an ordinary request", async (t) => {
        const app = await start(t, { handler: ({ webSockets }) => webSockets.accept() });
        assert.equal((await rawRequest(app.port, ordinaryRequest())).status, 500);
        assert.deepEqual(
          app.errors.map((error) => (error as HalyardError).code),
          ["ERR_NOT_A_WEBSOCKET_REQUEST"],
        );
      });

      it("throws ERR_UPGRADES_NOT_HANDLED without handleUpgrades: an ordinary 500", async (t) => {
        const app = await start(t, { upgrades: false, handler: echo });
        assert.equal((await rawRequest(app.port, upgradeRequest())).status, 500);
        assert.deepEqual(
          app.errors.map((error) => (error as HalyardError).code),
          ["ERR_UPGRADES_NOT_HANDLED"],
        );
      });
    });

    describe("the pipeline", () => {
      it("runs before the accept, and its headers and cookies reach the 101", async (t) => {
        const order: string[] = [];
        const { port } = await start(t, {
          steps: [
            {
              enter: async (exchange) => {
                await nextTurn();
                order.push("first");
                exchange.setHeader("X-Framework", "set");
                exchange.addCookie("a", "1");
                exchange.addCookie("b", "2");
              },
            },
            {
              enter: ({ response }) => {
                order.push("second");
                response.setHeader("X-Raw", "set");
              },
            },
          ],
          handler: async (exchange) => {
            order.push("handler");
            exchange.setHeader("X-Handler", "set");
            exchange.addCookie("c", "3");
            await echo(exchange);
          },
        });
        const { client, response } = await openClient(t, port);
        assert.deepEqual(order, ["first", "second", "handler"]);
        assert.equal(response.headers["x-framework"], "set");
        assert.equal(response.headers["x-raw"], "set");
        assert.equal(response.headers["x-handler"], "set");
        assert.deepEqual(
          response.headers["set-cookie"]?.map((cookie) => cookie.split(";")[0]),
          ["a=1", "b=2", "c=3"],
        );
        assert.equal(await ask(client, "still an echo"), "still an echo");
      });

      it("sends a 101 that has its own reason and no body, whatever was set before", async (t) => {
        const { port } = await start(t, {
          steps: [
            {
              enter: ({ response }) => {
                response.statusCode = 200;
                response.statusMessage = "Fine";
                response.setHeader("Content-Length", "5");
              },
            },
          ],
          handler: echo,
        });
        const { status, reason, headers } = await rawRequest(port, upgradeRequest());
        assert.deepEqual([status, reason], [101, "Switching Protocols"]);
        assert.equal(headers.get("content-length"), null);
        assert.equal(headers.get("transfer-encoding"), null);
        assert.equal(headers.get("connection"), "Upgrade");
        assert.equal(headers.get("upgrade"), "websocket");
        assert.equal(headers.get("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
      });

      it("may refuse: an ordinary response, and the connection ends", async (t) => {
        let isHandled = false;
        const left = new Signal("leaving the pipeline");
        const app = await start(t, {
          steps: [
            { leave: () => left.fire() },
            {
              enter: (exchange) => {
                exchange.setHeader("WWW-Authenticate", "Bearer");
                exchange.answer(401, "who are you?");
              },
            },
          ],
          handler: () => {
            isHandled = true;
          },
        });
        const connection = await openRaw(app.port);
        connection.write(upgradeRequest());
        const response = await connection.readResponse();
        assert.equal(response.status, 401);
        assert.equal(response.headers.get("www-authenticate"), "Bearer");
        assert.equal(response.headers.get("connection"), "close");
        assert.equal(response.body, "who are you?");
        await connection.whenEnded();
        await left.wait();
        assert.equal(isHandled, false);
        assert.deepEqual(app.errors, []);
      });

      it("may be answered by the handler without an accept", async (t) => {
        const app = await start(t, { handler: ({ answer }) => answer(403, "not today") });
        const connection = await openRaw(app.port);
        connection.write(upgradeRequest());
        const response = await connection.readResponse();
        assert.deepEqual([response.status, response.body], [403, "not today"]);
        await connection.whenEnded();
        assert.deepEqual(app.errors, []);
      });

      it("stays suspended until the socket closes, then unwinds", async (t) => {
        const order: string[] = [];
        const left = new Signal("leaving the pipeline");
        const responseClosed = new Signal("the response's close event");
        const app = await start(t, {
          steps: [
            {
              enter: ({ response }) => {
                order.push("enter");
                response.on("finish", () => order.push("finish"));
                response.once("close", () => responseClosed.fire());
              },
              leave: () => {
                order.push("leave");
                left.fire();
              },
            },
          ],
          handler: async (exchange) => {
            await echo(exchange);
            order.push("loop ended");
          },
        });
        const { client } = await openClient(t, app.port);
        for (let n = 0; n < 5; n++) await ask(client, `message ${n}`);
        assert.deepEqual(order, ["enter"]);
        assert.equal(app.connections.size, 1);
        client.close();
        await left.wait();
        await responseClosed.wait();
        // Whether `finish` or the framework's own way out is first is the framework's affair.
        assert.deepEqual(order.slice(0, 2), ["enter", "loop ended"]);
        assert.deepEqual(order.slice(2).sort(), ["finish", "leave"]);
        assert.deepEqual(app.errors, []);
      });

      for (const [how, vanish] of [
        ["ends TCP", (client: WebSocket) => client.terminate()],
        ["resets TCP", (client: WebSocket) => socketOf(client).resetAndDestroy()],
      ] as const) {
        it(`unwinds when the peer ${how} without a Close`, async (t) => {
          const left = new Signal("leaving the pipeline");
          const thrown = new Signal<unknown>("the receive loop's error");
          const app = await start(t, {
            steps: [{ leave: () => left.fire() }],
            handler: (exchange) =>
              echo(exchange).catch((error) => {
                thrown.fire(error);
                throw error;
              }),
          });
          const { client } = await openClient(t, app.port);
          await ask(client, "hello");
          vanish(client);
          assert.equal(((await thrown.wait()) as HalyardError).code, "ERR_CONNECTION_LOST");
          await left.wait();
          assert.deepEqual(applicationErrors(app), []);
        });
      }

      for (const [what, throwIt] of [
        ["while the socket is open", () => {}],
        ["after its own close()", (socket: WebSocketConnection) => socket.close(4000)],
        ["after the peer was lost", (socket: WebSocketConnection) => socket.abort()],
      ] as const) {
        it(`reports the error of a handler that throws ${what}, once`, async (t) => {
          const left = new Signal("leaving the pipeline");
          const mistake = new Error("a mistake in the handler");
          const app = await start(t, {
            steps: [{ leave: () => left.fire() }],
            handler: async ({ webSockets }) => {
              const socket = await webSockets.accept();
              await socket.receive();
              await throwIt(socket);
              throw mistake;
            },
          });
          const { client } = await openClient(t, app.port);
          const closed = closeOf(client);
          client.send("go");
          const expected = { "while the socket is open": 1011, "after its own close()": 4000 };
          assert.equal((await closed)[0], expected[what as keyof typeof expected] ?? 1006);
          await left.wait();
          await until(() => app.errors.length > 0, "a report of the error");
          await settled();
          assert.deepEqual(applicationErrors(app), [mistake]);
        });
      }

      // Express does not tell when a handler has returned.
      const whereAwaited: typeof it | (() => void) = harness.awaitsHandlers ? it : () => {};
      whereAwaited(
        "closes with 1000 when the handler returns with the socket open",
        async (t: TestContext) => {
          const left = new Signal("leaving the pipeline");
          const app = await start(t, {
            steps: [{ leave: () => left.fire() }],
            handler: async ({ webSockets }) => {
              const socket = await webSockets.accept();
              await socket.receive();
            },
          });
          const { client } = await openClient(t, app.port);
          const closed = closeOf(client);
          client.send("go");
          assert.deepEqual(await closed, [1000, ""]);
          await left.wait();
          assert.deepEqual(app.errors, []);
        },
      );

      it("keeps AsyncLocalStorage in the receive loop", async (t) => {
        const storage = new AsyncLocalStorage<string>();
        let count = 0;
        const { port } = await start(t, {
          steps: [{ around: (run) => storage.run(`request ${++count}`, run) }],
          handler: async ({ webSockets }) => {
            const socket = await webSockets.accept();
            for await (const _ of socket) await socket.send(String(storage.getStore()));
          },
        });
        const { client: first } = await openClient(t, port);
        const { client: second } = await openClient(t, port);
        for (let n = 0; n < 4; n++) {
          assert.equal(await ask(first, "?"), "request 1");
          assert.equal(await ask(second, "?"), "request 2");
        }
      });

      it("takes a second registration for none", async (t) => {
        const logger = keepingLogger();
        const left: string[] = [];
        const ended = new Signal("leaving the pipeline");
        const app = await start(t, {
          registrations: 2,
          options: { logger },
          steps: [
            {
              leave: () => {
                left.push("left");
                ended.fire();
              },
            },
          ],
          handler: echo,
        });
        const { client } = await openClient(t, app.port);
        assert.equal(await ask(client, "twice"), "twice");
        client.close();
        await ended.wait();
        assert.deepEqual(left, ["left"]);
        const refused = await rawRequest(
          app.port,
          upgradeRequest({ Origin: "https://evil.example" }),
        );
        assert.equal(refused.status, 403);
        assert.equal(logger.lines.filter(({ level }) => level === "warn").length, 1);
      });
    });

    describe("requests that are none, or malformed", () => {
      it("leaves ordinary requests to the handler", async (t) => {
        const app = await start(t, { handler: echo });
        const response = await rawRequest(app.port, ordinaryRequest());
        assert.deepEqual([response.status, response.body], [400, "this is for WebSockets"]);
        const { client } = await openClient(t, app.port);
        assert.equal(await ask(client, "and still"), "and still");
      });

      const good = upgradeHeaders();
      const rows: readonly (readonly [
        what: string,
        request: string,
        status: number,
        body: RegExp,
      ])[] = [
        ["another version", upgradeRequest({ "Sec-WebSocket-Version": "8" }), 426, /version 13/],
        ["no version", upgradeRequest({ "Sec-WebSocket-Version": undefined }), 400, /Version/],
        ["no key", upgradeRequest({ "Sec-WebSocket-Key": undefined }), 400, /Key/],
        ["a short key", upgradeRequest({ "Sec-WebSocket-Key": "c2hvcnQ=" }), 400, /16 bytes/],
        [
          "a key of 17 bytes",
          upgradeRequest({ "Sec-WebSocket-Key": "dGhpcyBpcyAxNyBieXRlcy4=" }),
          400,
          /16 bytes/,
        ],
        [
          "a key that is not base64",
          upgradeRequest({ "Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!==" }),
          400,
          /base64/,
        ],
        [
          "two keys",
          upgradeRequest({ "Sec-WebSocket-Key": [sampleKey, sampleKey] }),
          400,
          /16 bytes/,
        ],
        [
          "a subprotocol that is no token",
          upgradeRequest({ "Sec-WebSocket-Protocol": "a b" }),
          400,
          /Protocol/,
        ],
        ["POST", requestText("POST /ws HTTP/1.1", good), 400, /GET, not POST/],
        ["no Connection: Upgrade", upgradeRequest({ Connection: "keep-alive" }), 400, /Connection/],
        ["HTTP/1.0", requestText("GET /ws HTTP/1.0", good), 400, /HTTP\/1\.1/],
        [
          "a body with a length",
          requestText("GET /ws HTTP/1.1", upgradeHeaders({ "Content-Length": "4" }), "body"),
          400,
          /body/,
        ],
        [
          "a chunked body",
          requestText(
            "GET /ws HTTP/1.1",
            upgradeHeaders({ "Transfer-Encoding": "chunked" }),
            "4\r\nbody\r\n0\r\n\r\n",
          ),
          400,
          /body/,
        ],
        [
          "POST with a JSON body",
          requestText(
            "POST /ws HTTP/1.1",
            upgradeHeaders({ "Content-Length": "2", "Content-Type": "application/json" }),
            "{}",
          ),
          400,
          /./,
        ],
      ];
      for (const [what, request, status, body] of rows) {
        it(`refuses ${what} with ${status}`, async (t) => {
          const left = new Signal("leaving the pipeline");
          const app = await start(t, { steps: [{ leave: () => left.fire() }], handler: echo });
          const connection = await openRaw(app.port);
          t.after(() => connection.destroy());
          connection.write(request);
          const response = await connection.readResponse();
          assert.equal(response.status, status);
          assert.match(response.headers.get("content-type") ?? "", /^(text\/plain|application\/)/);
          assert.match(response.body, body);
          if (status === 426) {
            assert.equal(response.headers.get("sec-websocket-version"), "13");
            assert.equal(response.headers.get("upgrade"), "websocket");
          }
          await connection.whenEnded();
          await left.wait();
          await settled();
          assert.deepEqual(applicationErrors(app), []);
          const { client } = await openClient(t, app.port);
          assert.equal(await ask(client, "others are served"), "others are served");
        });
      }
    });

    describe("origins", () => {
      const rows: readonly (readonly [
        allowedOrigins: WebSocketOptions["allowedOrigins"],
        origin: string | undefined,
        status: number,
      ])[] = [
        [undefined, undefined, 101],
        [undefined, "http://app.example:8080", 101],
        [undefined, "HTTP://APP.EXAMPLE:8080", 101],
        [undefined, "http://app.example", 403],
        [undefined, "https://evil.example:8080", 403],
        [undefined, "null", 403],
        [["https://good.example"], "https://good.example", 101],
        [["https://good.example"], "http://app.example:8080", 403],
        ["*", "https://evil.example", 101],
      ];
      for (const [allowedOrigins, origin, status] of rows) {
        const allowed = allowedOrigins === undefined ? "the default" : `${allowedOrigins}`;
        it(`with ${allowed} answers ${origin ?? "no Origin"} with ${status}`, async (t) => {
          const logger = keepingLogger();
          let isHandled = false;
          const app = await start(t, {
            options: { logger, ...(allowedOrigins !== undefined && { allowedOrigins }) },
            handler: (exchange) => {
              isHandled = true;
              return echo(exchange);
            },
          });
          const connection = await openRaw(app.port);
          t.after(() => connection.destroy());
          connection.write(upgradeRequest({ Host: "app.example:8080", Origin: origin }));
          assert.equal((await connection.readResponse()).status, status);
          assert.equal(isHandled, status === 101);
          const warnings = logger.lines.filter(({ level }) => level === "warn");
          assert.equal(warnings.length, status === 101 ? 0 : 1);
          if (status === 403) {
            assert.deepEqual(warnings[0]?.details, { origin });
            await connection.whenEnded();
          }
          assert.deepEqual(app.errors, []);
        });
      }

      it("does not look at the origin of ordinary requests", async (t) => {
        const { port } = await start(t, { handler: ({ answer }) => answer(200, "fine") });
        const response = await rawRequest(
          port,
          ordinaryRequest({ Origin: "https://evil.example" }),
        );
        assert.equal(response.status, 200);
      });
    });

    describe("options", () => {
      const wrong: readonly (readonly [name: string, value: unknown])[] = [
        ["allowedOrigins", ["https://example.com/path"]],
        ["allowedOrigins", "https://example.com"],
        ["keepAliveInterval", -1],
        ["keepAliveTimeout", 1.5],
        ["receiveBufferSize", 0],
        ["receiveWindow", Number.NaN],
        ["maxMessageSize", "1024"],
        ["sendWindow", 0],
        ["maxSendBuffer", -5],
        ["closeTimeout", 2 ** 31],
        ["idleTimeout", -1],
        ["maxLifetime", null],
        ["memoryBudget", 5],
        ["logger", {}],
      ];
      for (const [option, value] of wrong) {
        it(`refuses ${option}: ${JSON.stringify(value)} at construction`, () => {
          const options = { [option]: value } as WebSocketOptions;
          assert.throws(
            () => harness.webSockets(options),
            (error) =>
              (error instanceof RangeError || error instanceof TypeError) &&
              error.message.includes(option),
          );
        });
      }
    });

    describe("the server", () => {
      it("closes its sockets with 1001 when it closes", async (t) => {
        const left = new Signal("leaving the pipeline");
        const app = await start(t, { steps: [{ leave: () => left.fire() }], handler: echo });
        const { client } = await openClient(t, app.port);
        const closed = closeOf(client);
        const serverClosed = once(app.server, "close");
        app.server.close();
        assert.deepEqual(await closed, [1001, "server shutting down"]);
        await left.wait();
        await serverClosed;
        assert.deepEqual(applicationErrors(app), []);
      });

      it("waits for a peer that does not answer only as long as shutdownTimeout", async (t) => {
        const left = new Signal("leaving the pipeline");
        const app = await start(t, {
          options: { closeTimeout: 10 * timeLimit },
          upgrades: { shutdownTimeout: 50 },
          steps: [{ leave: () => left.fire() }],
          handler: echo,
        });
        const silent = await openRaw(app.port);
        silent.write(upgradeRequest());
        assert.equal((await silent.readResponse()).status, 101);
        const serverClosed = once(app.server, "close");
        app.server.close();
        assert.deepEqual((await silent.readBytes(4)).subarray(2), Buffer.from([0x03, 0xe9]));
        await silent.whenEnded();
        await left.wait();
        await serverClosed;
        assert.deepEqual(applicationErrors(app), []);
      });

      it("answers 503 to requests that come while it closes", async (t) => {
        const app = await start(t, { upgrades: { shutdownTimeout: timeLimit }, handler: echo });
        const open = await openRaw(app.port);
        open.write(upgradeRequest());
        assert.equal((await open.readResponse()).status, 101);
        // Half a request, so that the server counts the connection as busy and keeps it.
        const connected = once(app.server, "connection");
        const late = await openRaw(app.port);
        const [serverSide] = await connected;
        const begun = once(serverSide, "data");
        const text = upgradeRequest();
        late.write(text.slice(0, 40));
        await begun;
        const serverClosed = once(app.server, "close");
        app.server.close();
        late.write(text.slice(40));
        const response = await late.readResponse();
        assert.equal(response.status, 503);
        await late.whenEnded();
        open.write(maskedFrame(8, Buffer.from([0x03, 0xe9])));
        await serverClosed;
        assert.deepEqual(applicationErrors(app), []);
      });

      it("answers 503 to more sockets than maxConnections", async (t) => {
        const app = await start(t, { upgrades: { maxConnections: 2 }, handler: echo });
        const { client } = await openClient(t, app.port);
        const { client: second } = await openClient(t, app.port);
        const connection = await openRaw(app.port);
        connection.write(upgradeRequest());
        const response = await connection.readResponse();
        assert.equal(response.status, 503);
        assert.match(response.body, /too many/);
        await connection.whenEnded();
        const [freed] = app.connections;
        assert.ok(freed);
        const gone = freed.whenGone();
        client.close();
        await withTimeout(gone, timeLimit, "the first socket's end");
        const { client: third } = await openClient(t, app.port);
        assert.equal(await ask(third, "room again"), "room again");
        assert.equal(await ask(second, "unharmed"), "unharmed");
        assert.deepEqual(applicationErrors(app), []);
      });

      for (const [what, late] of [
        ["accepts", ({ webSockets }: Exchange) => webSockets.accept()],
        ["answers", ({ answer }: Exchange) => answer(200, "sorry, I was busy")],
        ["returns", () => {}],
      ] as const) {
        it(`answers 503 for a handler that ${what} after handshakeTimeout`, async (t) => {
          const released = new Signal("the test");
          const done = new Signal<unknown>("the handler");
          const app = await start(t, {
            upgrades: { handshakeTimeout: 50 },
            handler: async (exchange) => {
              await released.promise;
              try {
                await late(exchange);
                done.fire(undefined);
              } catch (error) {
                done.fire(error);
                throw error;
              }
            },
          });
          const connection = await openRaw(app.port);
          connection.write(upgradeRequest());
          const response = await connection.readResponse();
          assert.equal(response.status, 503);
          await connection.whenEnded();
          released.fire();
          const error = await done.wait();
          if (what === "accepts") {
            assert.equal((error as HalyardError).code, "ERR_RESPONSE_SENT");
          }
          await settled();
        });
      }

      it("survives a peer that leaves before the accept", async (t) => {
        const arrived = new Signal<ServerResponse>("the handler");
        const done = new Signal<unknown>("the accept");
        const app = await start(t, {
          handler: async ({ response, webSockets }) => {
            const closed = once(response, "close");
            arrived.fire(response);
            await closed;
            await webSockets.accept().then(done.fire, (error) => {
              done.fire(error);
              throw error;
            });
          },
        });
        const connection = await openRaw(app.port);
        connection.write(upgradeRequest());
        await arrived.wait();
        connection.socket.resetAndDestroy();
        assert.equal(((await done.wait()) as HalyardError).code, "ERR_CONNECTION_LOST");
        await settled();
        assert.equal(app.connections.size, 0);
        assert.deepEqual(applicationErrors(app), []);
      });
    });

    // The last one, since it is about all the others.
    it("left nothing unhandled and printed nothing", async () => {
      await settled();
      assert.deepEqual(stray, []);
    });
  });
}

function socketOf(client: WebSocket): Socket {
  return (client as unknown as { _socket: Socket })._socket;
}

/** Gives what must not happen a chance to happen. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await nextTurn();
}
