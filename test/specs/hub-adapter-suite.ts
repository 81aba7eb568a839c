/** What `mapHub` and `mapConnection` promise in every framework. */
import assert from "node:assert/strict";
import type { IncomingMessage, Server } from "node:http";
import type { Http2Server } from "node:http2";
import type { Socket } from "node:net";
import { after, before, describe, it, mock, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpTransportType, type HubConnection, HubConnectionBuilder } from "@microsoft/signalr";
import type { Logger, WebSocketOptions } from "halyard";
import { type ConnectionOptions, Hub, type RawConnection } from "halyard/hub";
import type { TransportName } from "#dist/hub/transport.js";
import { openSession, openStream, readClose, readFrame } from "../support/http2.js";
import {
  keepingLogger,
  maskedFrame,
  once,
  openRaw,
  rawRequest,
  until,
  upgradeRequest,
  withTimeout,
} from "../support/network.js";
import { ask, clients, negotiate, openSocket, untilReceived } from "../support/transports.js";

/** A request as a middleware in front sees it, whatever the framework calls it. */
export interface Passing {
  readonly request: IncomingMessage;
  setUser(user: unknown): void;
  setHeader(name: string, value: string): void;
  addCookie(name: string, value: string): void;
}

export interface HubSetup {
  /** A middleware in front; a number refuses with that status. */
  readonly enter?: (passing: Passing) => number | undefined;
  /** On its way out, or at the response's end where the framework has no way out. */
  readonly leave?: (request: IncomingMessage) => void;
  /** `webSockets()` in front, with these. */
  readonly webSockets?: WebSocketOptions;
  /** A body parser in front that leaves text, or something else. */
  readonly bodies?: "text" | "object";
  readonly options?: ConnectionOptions;
  readonly isHttp2?: boolean;
}

export interface HubApp {
  readonly server: Server | Http2Server;
  /** What the framework's own error reporting saw. */
  readonly errors: readonly unknown[];
}

export interface HubHarness {
  /** Express does not. */
  readonly hasHttp2: boolean;
  /** Whether a parser in front takes the bodies of the plugin's own routes: Fastify's do not. */
  readonly parsesBodies: boolean;
  /** Serves `echo` at /echo and EchoHub at /hub, not listening. */
  start(setup: HubSetup, logger: Logger): Promise<HubApp>;
}

/** Sends back what comes, as text. */
export async function echo(connection: RawConnection): Promise<void> {
  for await (const bytes of connection) await connection.send(bytes, { type: "text" });
}

export class EchoHub extends Hub {
  echo(text: string) {
    return `${text} over ${this.context.transport}`;
  }

  whoAmI() {
    return [this.context.userId, this.context.user];
  }
}

const names: readonly TransportName[] = ["WebSockets", "ServerSentEvents", "LongPolling"];
const userOf = ({ headers }: IncomingMessage) => headers["x-user"];

export function describeHubAdapter(name: string, harness: HubHarness): void {
  const stray: unknown[] = [];
  const keepStray = (error: unknown) => void stray.push(error);

  async function start(t: TestContext, setup: HubSetup = {}) {
    const logger = keepingLogger();
    const { server, errors } = await harness.start(
      {
        ...setup,
        options: { logger, ...setup.options },
        ...(setup.webSockets && { webSockets: { logger, ...setup.webSockets } }),
      },
      logger,
    );
    const sockets = new Set<Socket>();
    server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    });
    if (!server.listening) {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
    }
    t.after(async () => {
      const closed = server.listening ? once(server, "close") : undefined;
      if (server.listening) server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    });
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    const { port } = address;
    const url = (path: string) => `http://127.0.0.1:${port}${path}`;
    return { server, errors, logger, port, url };
  }

  async function connectHub(
    t: TestContext,
    url: string,
    transport: TransportName,
    headers: Record<string, string> = {},
  ): Promise<HubConnection> {
    const hub = new HubConnectionBuilder()
      .withUrl(url, { transport: HttpTransportType[transport], headers })
      .configureLogging({ log() {} })
      .build();
    await withTimeout(hub.start());
    t.after(() => hub.stop());
    return hub;
  }

  describe(`hubs in ${name}`, () => {
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

    for (const transport of names) {
      it(`carries bytes over ${transport}`, async (t) => {
        const { url, errors } = await start(t);
        const client = await clients[transport](url("/echo"));
        for (const text of ["hello", "x".repeat(100_000), "bye"]) {
          await client.send(text);
          await untilReceived(client, text);
        }
        await client.close();
        assert.deepEqual(errors, []);
      });

      it(`serves Microsoft's client over ${transport}`, async (t) => {
        const { url, errors, logger } = await start(t);
        const hub = await connectHub(t, url("/hub"), transport);
        assert.equal(await hub.invoke("Echo", "hello"), `hello over ${transport}`);
        await hub.stop();
        assert.deepEqual(errors, []);
        assert.deepEqual(
          logger.lines.filter(({ level }) => level === "error" || level === "warn"),
          [],
        );
      });

      it(`runs what is in front for every request of ${transport}`, async (t) => {
        const seen = new Set<string>();
        const { url } = await start(t, {
          enter: ({ request }) => {
            const { pathname } = new URL(request.url ?? "", "http://x");
            const isUpgrade = request.headers.upgrade !== undefined;
            if (userOf(request) === undefined) return 401;
            seen.add(`${isUpgrade ? "upgrade" : request.method} ${pathname}`);
            return undefined;
          },
        });
        const target = url("/echo");
        const headers = { "X-User": "ann" };
        const anonymous = await ask(`${target}/negotiate?negotiateVersion=1`, { method: "POST" });
        assert.equal(anonymous.status, 401);
        const client = await clients[transport](target, headers);
        await client.send("hello");
        await untilReceived(client, "hello");
        const withToken = `${target}?id=${client.token}`;
        for (const method of ["GET", "POST", "DELETE"]) {
          assert.equal((await ask(withToken, { method })).status, 401, method);
        }
        const { port } = new URL(target);
        const upgrade = upgradeRequest({}, `/echo?id=${client.token}`);
        assert.equal((await rawRequest(Number(port), upgrade)).status, 401);
        await client.send("still there");
        await untilReceived(client, "still there");
        await client.close();
        const expected = {
          WebSockets: ["POST /echo/negotiate", "upgrade /echo"],
          ServerSentEvents: ["POST /echo/negotiate", "GET /echo", "POST /echo"],
          LongPolling: ["POST /echo/negotiate", "GET /echo", "POST /echo", "DELETE /echo"],
        };
        assert.deepEqual([...seen].sort(), expected[transport].sort());
      });

      it(`knows the user that what is in front has found, over ${transport}`, async (t) => {
        const { url, logger } = await start(t, {
          enter: (passing) => {
            const id = userOf(passing.request);
            if (id !== undefined) passing.setUser({ id });
            return undefined;
          },
        });
        const hub = await connectHub(t, url("/hub"), transport, { "X-User": "ann" });
        assert.deepEqual(await hub.invoke("WhoAmI"), ["ann", { id: "ann" }]);
        await hub.stop();
        const client = await clients[transport](url("/echo"), { "X-User": "ann" });
        const target = `${url("/echo")}?id=${client.token}`;
        const other = { headers: { "X-User": "bob" } };
        if (transport === "WebSockets") {
          const { port } = new URL(target);
          const { status } = await rawRequest(
            Number(port),
            upgradeRequest(other.headers, `/echo?id=${client.token}`),
          );
          assert.equal(status, 403);
        } else {
          assert.equal((await ask(target, { ...other, method: "POST", body: "x" })).status, 403);
        }
        if (transport === "LongPolling") {
          assert.equal((await ask(target, other)).status, 403);
          assert.equal((await ask(target, { ...other, method: "DELETE" })).status, 403);
        }
        assert.ok(logger.lines.some(({ message }) => message.includes("another user")));
        const fresh = await negotiate(url("/echo"), { headers: { "X-User": "ann" } });
        const stolen = await ask(`${url("/echo")}?id=${fresh.connectionToken}`, other);
        assert.equal(stolen.status, 403);
        await client.send("still mine");
        await untilReceived(client, "still mine");
        await client.close();
      });

      it(`stays in the pipeline while ${transport} lasts`, async (t) => {
        const entered: string[] = [];
        const left: string[] = [];
        const { url } = await start(t, {
          enter: ({ request }) => {
            entered.push(request.method as string);
            return undefined;
          },
          leave: (request) => void left.push(request.method as string),
        });
        const client = await clients[transport](url("/echo"));
        await client.send("hello");
        await untilReceived(client, "hello");
        const isInside = () => entered.length - left.length;
        await until(() => isInside() === 1, "one request that stays");
        await sleep(30);
        assert.equal(isInside(), 1);
        await client.close();
        await until(() => isInside() === 0, "the pipeline to unwind");
      });

      it(`ends ${transport} when the server closes`, async (t) => {
        const { url, server } = await start(t);
        const client = await clients[transport](url("/echo"));
        await client.send("hello");
        await untilReceived(client, "hello");
        if (transport === "LongPolling") await sleep(50);
        const closed = once(server, "close");
        server.close();
        const words = { WebSockets: "1001", ServerSentEvents: "ended", LongPolling: "204" };
        assert.equal(await withTimeout(client.ended), words[transport]);
        await closed;
      });
    }

    it("sends the headers and cookies of what is in front with every answer", async (t) => {
      const { url, port } = await start(t, {
        enter: (passing) => {
          passing.setHeader("X-Front", "yes");
          passing.addCookie("a", "1");
          return undefined;
        },
      });
      const check = (headers: Record<string, unknown>) => {
        assert.equal(headers["x-front"], "yes");
        assert.match(String(headers["set-cookie"]), /^a=1/);
      };
      const target = url("/echo");
      check((await ask(`${target}/negotiate`, { method: "POST" })).headers);
      check((await ask(target)).headers);
      const { connectionToken } = await negotiate(target);
      check((await ask(`${target}?id=${connectionToken}`)).headers);
      const upgraded = await rawRequest(port, upgradeRequest({}, "/echo"));
      assert.equal(upgraded.status, 101);
      check(Object.fromEntries(upgraded.headers));
      const stream = await openRaw(port);
      t.after(() => stream.destroy());
      const { connectionToken: other } = await negotiate(target);
      stream.write(
        `GET /echo?id=${other} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n`,
      );
      await until(() => stream.unread.includes(":\r\n"), "the stream");
      const head = stream.unread.toString("latin1").toLowerCase();
      assert.match(head, /\r\nx-front: yes\r\n/);
      assert.match(head, /\r\nset-cookie: a=1/);
    });

    it("answers what it refuses as the reference says", async (t) => {
      const { url } = await start(t);
      const target = url("/echo");
      const rows: [string, string, number, string][] = [
        ["GET", target, 400, "Connection ID required"],
        ["GET", `${target}?id=x`, 404, "No Connection with that ID"],
        ["PUT", target, 405, ""],
        ["GET", `${target}/negotiate`, 405, ""],
        ["POST", `${target}/refresh`, 404, '{"error":"refresh_disabled"}'],
      ];
      for (const [method, address, status, body] of rows) {
        const answer = await ask(address, { method });
        assert.deepEqual([method, answer.status, answer.body], [method, status, body]);
        const type = address.endsWith("refresh") ? "application/json" : "text/plain";
        assert.equal(answer.headers["content-type"], type);
      }
      assert.equal((await ask(target, { method: "HEAD" })).status, 405);
    });

    it("leaves other paths and OPTIONS to others", async (t) => {
      const { url } = await start(t);
      assert.equal((await ask(url("/other"))).body, "somebody else");
      assert.equal((await ask(url("/echo/other"))).body, "somebody else");
      assert.notEqual((await ask(url("/echo"), { method: "OPTIONS" })).status, 405);
    });

    it("warns once of a page that the CORS middleware does not know", async (t) => {
      const origin = "https://pages.example";
      const { url, logger } = await start(t, {
        enter: (passing) => {
          if (passing.request.headers["x-allow"]) {
            passing.setHeader("Access-Control-Allow-Origin", origin);
          }
          return undefined;
        },
      });
      const target = `${url("/echo")}/negotiate`;
      const warnings = () => logger.lines.filter(({ level }) => level === "warn").length;
      await ask(target, { method: "POST" });
      await ask(target, { method: "POST", headers: { Origin: new URL(target).origin } });
      await ask(target, { method: "POST", headers: { Origin: origin, "X-Allow": "1" } });
      assert.equal(warnings(), 0);
      await ask(target, { method: "OPTIONS", headers: { Origin: origin } });
      await ask(target, { method: "POST", headers: { Origin: origin } });
      assert.equal(warnings(), 1);
      assert.match(String(logger.lines.at(-1)?.message), /CORS middleware/);
    });

    it("works behind webSockets(), whose policy on origins then holds", async (t) => {
      const origin = "https://pages.example";
      const { url, port } = await start(t, { webSockets: { allowedOrigins: [origin] } });
      const client = await clients.WebSockets(url("/echo"), { Origin: origin });
      await client.send("hello");
      await untilReceived(client, "hello");
      await client.close();
      const foreign = upgradeRequest({ Origin: "https://evil.example" }, "/echo");
      assert.equal((await rawRequest(port, foreign)).status, 403);
      const polls = await clients.LongPolling(url("/echo"));
      await polls.send("hello");
      await untilReceived(polls, "hello");
      await polls.close();
    });

    it("refuses pages of other origins without webSockets() in front", async (t) => {
      const { port } = await start(t);
      const foreign = upgradeRequest({ Origin: "https://evil.example" }, "/echo");
      assert.equal((await rawRequest(port, foreign)).status, 403);
    });

    it("takes bodies that were read in front, if they were kept", async (t) => {
      const { url } = await start(t, { bodies: "text" });
      const client = await clients.ServerSentEvents(url("/echo"));
      await client.send("hello");
      await untilReceived(client, "hello");
      await client.close();
    });

    if (harness.parsesBodies) {
      it("says so when a body was read in front and made something else of", async (t) => {
        const { url, logger } = await start(t, { bodies: "object" });
        const client = await clients.ServerSentEvents(url("/echo"));
        const answer = await ask(`${url("/echo")}?id=${client.token}`, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: '{"type":6}',
        });
        assert.deepEqual(
          [answer.status, answer.body],
          [400, "Middleware of this server has read the body and not kept it."],
        );
        const lines = logger.lines.filter(({ level }) => level === "error");
        assert.equal(lines.length, 1);
        assert.match(String(lines[0]?.message), /body parser/);
        await client.close();
      });
    }

    if (harness.hasHttp2) {
      it("serves every transport over HTTP/2", async (t) => {
        const left: string[] = [];
        const { port, errors } = await start(t, {
          isHttp2: true,
          enter: (passing) => {
            passing.setHeader("X-Front", "yes");
            return undefined;
          },
          leave: (request) => void left.push(request.method as string),
        });
        const session = await openSession(t, port);
        const over = (path: string, asking: { method?: string; accept?: string; body?: string }) =>
          new Promise<{ status: number; body: string }>((resolve, reject) => {
            const { method = "GET", accept, body } = asking;
            const stream = session.request(
              { ":method": method, ":path": path, ...(accept && { accept }) },
              { endStream: body === undefined },
            );
            if (body !== undefined) stream.end(body);
            let status = 0;
            let text = "";
            stream.on("response", (headers) => {
              status = headers[":status"] as number;
              assert.equal(headers["x-front"], "yes");
            });
            stream.on("data", (chunk) => {
              text += chunk;
            });
            stream.on("end", () => resolve({ status, body: text }));
            stream.on("error", reject);
          });
        const newToken = async () => {
          const answer = await over("/echo/negotiate?negotiateVersion=1", {
            method: "POST",
            body: "",
          });
          assert.equal(answer.status, 200);
          const { availableTransports, connectionToken } = JSON.parse(answer.body);
          assert.equal(availableTransports.length, 3);
          return connectionToken as string;
        };

        const socket = await openStream(session, { ":path": `/echo?id=${await newToken()}` });
        socket.raw.write(maskedFrame(1, "over a socket"));
        const frame = await readFrame(socket.raw);
        assert.equal(frame.payload.toString(), "over a socket");
        socket.raw.write(maskedFrame(8, Buffer.from([0x03, 0xe8])));
        assert.equal(await readClose(socket.raw), 1000);

        const eventsPath = `/echo?id=${await newToken()}`;
        const events = session.request({ ":path": eventsPath, accept: "text/event-stream" });
        let text = "";
        events.on("data", (chunk) => {
          text += chunk;
        });
        await until(() => text === ":\r\n", "the stream's beginning");
        const posted = await over(eventsPath, { method: "POST", body: "over a stream" });
        assert.deepEqual(posted, { status: 200, body: "" });
        await until(() => text.endsWith("data: over a stream\r\n\r\n"), "the event");
        events.close();

        const pollPath = `/echo?id=${await newToken()}`;
        assert.deepEqual(await over(pollPath, {}), { status: 200, body: "" });
        const poll = over(pollPath, {});
        await over(pollPath, { method: "POST", body: "over polls" });
        assert.deepEqual(await poll, { status: 200, body: "over polls" });
        const last = over(pollPath, {});
        await sleep(20);
        assert.equal((await over(pollPath, { method: "DELETE" })).status, 202);
        assert.equal((await last).status, 204);
        assert.equal((await over(pollPath, {})).status, 404);
        await until(() => left.length === 12, "the pipelines to unwind");
        assert.deepEqual(errors, []);
      });
    }

    it("keeps what peers do from the framework's error reporting", async (t) => {
      const { url, errors, port } = await start(t);
      for (const transport of names) {
        const client = await clients[transport](url("/echo"));
        await client.send("hello");
        await untilReceived(client, "hello");
        client.vanish();
      }
      const raw = await openRaw(port);
      const { connectionToken } = await negotiate(url("/echo"));
      raw.write(`GET /echo?id=${connectionToken} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await raw.readResponse();
      raw.write(`GET /echo?id=${connectionToken} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await sleep(30);
      raw.socket.resetAndDestroy();
      const socket = await openSocket(url("/echo"), undefined);
      (socket as unknown as { _socket: Socket })._socket.resetAndDestroy();
      await sleep(50);
      assert.deepEqual(errors, []);
    });

    it("has thrown nothing at the process, and printed nothing", () => {
      assert.deepEqual(stray, []);
    });
  });
}
