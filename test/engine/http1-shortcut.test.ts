import assert from "node:assert/strict";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
} from "node:http";
import type { Socket } from "node:net";
import { buffer as readAll } from "node:stream/consumers";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { compose, handleUpgrades, type UpgradeOptions, webSockets } from "halyard";
import {
  keepingLogger,
  listen,
  maskedFrame,
  once,
  openRaw,
  requestText,
  stop,
  until,
  upgradeHeaders,
  upgradeRequest,
  withTimeout,
} from "../support/network.js";

const quiet = keepingLogger();

/** Whether node:http's parser has never had the connection of a request. */
const tookShortcut = ({ socket }: IncomingMessage) => !("parser" in socket);

/** Tells everything about a request, and ends the connection. */
const tellAll: RequestListener = (request, response) => {
  const { method, url, httpVersion, httpVersionMajor, httpVersionMinor } = request;
  const { headers, headersDistinct, rawHeaders, trailers, rawTrailers } = request;
  const { complete, aborted, readableEnded, readableLength, destroyed } = request;
  const upgrade = (request as { upgrade?: unknown }).upgrade;
  const body = JSON.stringify({
    ...{ method, url, httpVersion, httpVersionMajor, httpVersionMinor, upgrade },
    ...{ headers, headersDistinct, rawHeaders, trailers, rawTrailers },
    ...{ complete, aborted, readableEnded, readableLength, destroyed },
  });
  response.setHeader("Connection", "close");
  response.sendDate = false;
  response.end(body);
};

async function start(
  t: TestContext,
  listener: RequestListener,
  options: ServerOptions & UpgradeOptions = {},
): Promise<{ server: Server; port: number }> {
  const server = createServer(options, listener);
  handleUpgrades(server, { logger: quiet, ...options });
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket));
  const port = await listen(server);
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    return stop(server);
  });
  return { server, port };
}

/** What a server says to bytes, until it has ended the connection. */
async function answerTo(port: number, pieces: readonly Buffer[]): Promise<string> {
  const { socket } = await openRaw(port);
  socket.removeAllListeners("data");
  socket.setNoDelay(true);
  const answer = withTimeout(readAll(socket));
  for (const [index, piece] of pieces.entries()) {
    if (index > 0) await wait(5);
    socket.write(piece);
  }
  socket.end();
  return (await answer).toString("latin1");
}

const bytes = (text: string) => Buffer.from(text, "latin1");
const lines = (...parts: string[]) => bytes(`${parts.join("\r\n")}\r\n\r\n`);
const handshake = [
  "Host: localhost",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
];

const heads: readonly { name: string; head: Buffer; isShort?: boolean }[] = [
  { name: "the plain one", head: lines("GET / HTTP/1.1", ...handshake), isShort: true },
  {
    name: "that of a browser",
    head: lines(
      "GET /chat?room=1&name=%C3%A9 HTTP/1.1",
      ...handshake,
      "Origin: http://localhost",
      "Cookie: a=1; b=2",
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
      "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
      "Accept-Encoding: gzip, deflate, br, zstd",
    ),
    isShort: true,
  },
  {
    name: "one with Firefox's Connection",
    head: lines(
      "GET / HTTP/1.1",
      ...handshake.map((line) => line.replace(": Upgrade", ": keep-alive, Upgrade")),
    ),
    isShort: true,
  },
  {
    name: "headers that node:http joins or drops when they come twice",
    head: lines(
      "GET /a//b/../c;d?e=f&g HTTP/1.1",
      ...handshake,
      ...[
        "Cookie: a=1",
        "cookie: b=2",
        "X-Own: 1",
        "x-own: 2",
        "Set-Cookie: c=3",
        "Set-Cookie: d=4",
      ],
      ...["User-Agent: one", "User-Agent: two", "__proto__: x", "constructor: y", "ETag: z"],
    ),
    isShort: true,
  },
  {
    name: "blanks before and in values, values of other bytes, an empty one",
    head: lines(
      "GET / HTTP/1.1",
      ...handshake,
      ...["X-A:   1", "X-B: 2 \t 3", "X-C:", "X-D: caf\xe9 \xff", "X-E:4"],
    ),
    isShort: true,
  },
  // To node:http this is no upgrade.
  ...["Connection: Upgrade\t", "Connection:\tUpgrade", "Connection: Upgrade "].map((line) => ({
    name: JSON.stringify(line),
    head: lines("GET / HTTP/1.1", ...handshake.with(2, line)),
  })),
  { name: "blanks alone", head: lines("GET / HTTP/1.1", ...handshake, "X-A: ", "X-B: \t ") },
  { name: "the key twice", head: lines("GET / HTTP/1.1", ...handshake, handshake[3] ?? "") },
  { name: "a body", head: lines("GET / HTTP/1.1", ...handshake, "Content-Length: 0") },
  { name: "chunks", head: lines("GET / HTTP/1.1", ...handshake, "Transfer-Encoding: chunked") },
  { name: "a folded line", head: lines("GET / HTTP/1.1", ...handshake, "X-A: 1", " 2") },
  { name: "a bare LF", head: lines("GET / HTTP/1.1", ...handshake, "X-A: 1\nX-B: 2") },
  { name: "a bare CR", head: lines("GET / HTTP/1.1", ...handshake, "X-A: 1\rX-B: 2") },
  { name: "a NUL", head: lines("GET / HTTP/1.1", ...handshake, "X-A: 1\x002") },
  { name: "a blank before the colon", head: lines("GET / HTTP/1.1", ...handshake, "X-A : 1") },
  { name: "a name that is no token", head: lines("GET / HTTP/1.1", ...handshake, "X(A): 1") },
  { name: "no name", head: lines("GET / HTTP/1.1", ...handshake, ": 1") },
  { name: "HTTP/1.0", head: lines("GET / HTTP/1.0", ...handshake) },
  { name: "POST", head: lines("POST / HTTP/1.1", ...handshake) },
  { name: "an absolute target", head: lines("GET http://a/b HTTP/1.1", ...handshake) },
  { name: "a target with a blank", head: lines("GET /a b HTTP/1.1", ...handshake) },
  { name: "a target with other bytes", head: lines("GET /\xe9 HTTP/1.1", ...handshake) },
  {
    name: "another protocol",
    head: lines("GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c"),
  },
  { name: "no Upgrade", head: lines("GET / HTTP/1.1", "Host: localhost") },
  { name: "no Connection", head: lines("GET / HTTP/1.1", "Host: a", "Upgrade: websocket") },
  { name: "an empty line first", head: lines("", "GET / HTTP/1.1", ...handshake) },
  {
    name: "too many bytes",
    head: lines("GET / HTTP/1.1", ...handshake, `X: ${"x".repeat(20_000)}`),
  },
  {
    name: "very many lines",
    head: lines(
      "GET / HTTP/1.1",
      ...handshake,
      ...Array.from({ length: 900 }, (_, n) => `X${n}: 1`),
    ),
  },
  { name: "nothing", head: bytes("") },
  { name: "half a head", head: lines("GET / HTTP/1.1", ...handshake).subarray(0, 60) },
];

/** Always the same numbers, so that a failure can be had again. */
function* randomNumbers(seed: number): Generator<number, never> {
  let state = seed;
  for (;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** The head with one to three bytes changed, added or taken away. */
function mutated(head: Buffer, random: Generator<number, never>): Buffer {
  const below = (limit: number) => Math.floor(random.next().value * limit);
  const special = bytes(' \t\r\n:,;\0\x7f\x80\xff()/#?@"Az0');
  const result = [...head];
  for (let count = 1 + below(3); count > 0; count--) {
    const byte = below(4) === 0 ? below(256) : (special[below(special.length)] as number);
    result.splice(below(result.length), below(2), ...(below(4) === 0 ? [] : [byte]));
  }
  return Buffer.from(result);
}

describe("the short way past node:http's parser", () => {
  /** Two servers that differ in the way only: one with a time limit has every socket go Node's. */
  async function both(t: TestContext) {
    let shortcuts = 0;
    const counting: RequestListener = (request, response) => {
      if (tookShortcut(request)) shortcuts++;
      tellAll(request, response);
    };
    const short = await start(t, counting);
    const nodes = await start(t, tellAll);
    nodes.server.timeout = 60_000;
    return {
      /** Both answers, and whether the first server took the short way. */
      async ask(...pieces: Buffer[]) {
        shortcuts = 0;
        const answers = await Promise.all([
          answerTo(short.port, pieces),
          answerTo(nodes.port, pieces),
        ]);
        return { answers, tookShortcut: shortcuts > 0 };
      },
      port: short.port,
    };
  }

  /** Keeps the server's trust, which the odd requests of these tests use up. */
  const plain = lines("GET / HTTP/1.1", ...handshake);

  it("makes the request that node:http makes, or leaves it to node:http", async (t) => {
    const { ask } = await both(t);
    for (const { name, head, isShort = false } of heads) {
      const { answers, tookShortcut } = await ask(head);
      assert.equal(answers[0], answers[1], name);
      assert.equal(tookShortcut, isShort, name);
      assert.equal((await ask(plain)).tookShortcut, true);
    }
  });

  it("says to a head in two pieces what node:http says", async (t) => {
    const { ask } = await both(t);
    for (const { name, head } of heads.slice(0, 6)) {
      const { answers } = await ask(head.subarray(0, 25), head.subarray(25));
      assert.equal(answers[0], answers[1], name);
      await ask(plain);
    }
  });

  it("says to changed heads what node:http says", { timeout: 60_000 }, async (t) => {
    const { ask } = await both(t);
    const random = randomNumbers(7);
    const models = heads.filter(({ isShort }) => isShort);
    for (let count = 0; count < 600; count++) {
      const model = models[count % models.length]?.head as Buffer;
      const head = mutated(model, random);
      const { answers } = await ask(head);
      assert.equal(answers[0], answers[1], JSON.stringify(head.toString("latin1")));
      if (count % 4 === 0) await ask(plain);
    }
  });

  const echo = compose([
    webSockets({ logger: quiet }),
    async (request) => {
      const socket = await request.webSockets.accept();
      for await (const message of socket) await socket.send(message.data);
    },
  ]);

  it("keeps frames that come with the request or before the handler accepts", async (t) => {
    const late = compose([
      webSockets({ logger: quiet }),
      async (request) => {
        await wait(20);
        const socket = await request.webSockets.accept();
        for await (const message of socket) await socket.send(message.data);
      },
    ]);
    for (const listener of [echo, late]) {
      const { port } = await start(t, listener);
      const connection = await openRaw(port);
      t.after(() => connection.destroy());
      connection.write(Buffer.concat([bytes(upgradeRequest()), maskedFrame(0x81, "one")]));
      await wait(5);
      connection.write(maskedFrame(0x81, "two"));
      assert.equal((await connection.readResponse()).status, 101);
      assert.equal(String((await connection.readBytes(5)).subarray(2)), "one");
      assert.equal(String((await connection.readBytes(5)).subarray(2)), "two");
    }
  });

  it("sends what middleware has set, and runs what hooks into writeHead", async (t) => {
    const { port } = await start(t, (request, response) => {
      const { writeHead } = response;
      response.setHeader("Set-Cookie", ["a=1", "b=2"]);
      response.writeHead = function (this: typeof response, ...args: unknown[]) {
        this.setHeader("X-Late", "caf\xe9");
        return Reflect.apply(writeHead, this, args);
      } as typeof writeHead;
      assert.ok(tookShortcut(request));
      echo(request, response);
    });
    const connection = await openRaw(port);
    t.after(() => connection.destroy());
    connection.write(upgradeRequest());
    const { status, headers } = await connection.readResponse();
    assert.equal(status, 101);
    assert.deepEqual(headers.getSetCookie(), ["a=1", "b=2"]);
    assert.equal(headers.get("x-late"), "caf\xe9");
    assert.ok(headers.has("date"));
  });

  it("believes a middleware that has changed the headers", async (t) => {
    const { port } = await start(t, (request, response) => {
      request.headers["sec-websocket-version"] = "12";
      echo(request, response);
    });
    const connection = await openRaw(port);
    t.after(() => connection.destroy());
    connection.write(upgradeRequest());
    assert.equal((await connection.readResponse()).status, 426);
  });

  it("asks the predicate once, and lets other listeners see what is ours", async (t) => {
    const asked: string[] = [];
    const accepts = ({ url = "" }: IncomingMessage) => asked.push(url) > 0 && url === "/ws";
    const { server, port } = await start(t, echo, { accepts });
    const seen: string[] = [];
    server.on("upgrade", (request, socket) => {
      seen.push(request.url ?? "");
      if (request.url === "/other") socket.end("HTTP/1.1 418 Other\r\nContent-Length: 0\r\n\r\n");
    });
    for (const [path, status] of [["/ws", 101] as const, ["/other", 418] as const]) {
      const connection = await openRaw(port);
      t.after(() => connection.destroy());
      connection.write(upgradeRequest({}, path));
      assert.equal((await connection.readResponse()).status, status);
    }
    assert.deepEqual(asked, ["/ws", "/other"]);
    assert.deepEqual(seen, ["/ws", "/other"]);
  });

  it("is left when somebody else reads the connection, who gets every byte", async (t) => {
    const { server, port } = await start(t, (_, response) => void response.end("ok"));
    const seen: Buffer[] = [];
    server.on("connection", (socket) => socket.on("data", (chunk: Buffer) => seen.push(chunk)));
    const connection = await openRaw(port);
    t.after(() => connection.destroy());
    const request = requestText("GET /a HTTP/1.1", { Host: "a" });
    for (const text of [request, request]) {
      connection.write(text);
      assert.equal((await connection.readResponse()).body, "ok");
    }
    assert.equal(Buffer.concat(seen).toString("latin1"), request + request);
  });

  it("is taken no more where other requests come, until WebSockets come again", async (t) => {
    const ways: boolean[] = [];
    const { server, port } = await start(t, tellAll);
    server.on("connection", (socket) => ways.push("parser" in socket));
    const ordinary = requestText("GET / HTTP/1.1", { Host: "a" });
    for (let count = 0; count < 20; count++) await answerTo(port, [bytes(ordinary)]);
    assert.deepEqual([ways[0], ways[15], ways[16], ways[19]], [false, false, true, true]);
    await answerTo(port, [plain]);
    await answerTo(port, [plain]);
    assert.deepEqual(ways.slice(20), [true, false]);
  });
});

describe("a connection that sends nothing", () => {
  const ok: RequestListener = (_, response) => void response.end("ok");

  it("meets the time limits of node:http", async (t) => {
    const limits = { headersTimeout: 200, requestTimeout: 200, connectionsCheckingInterval: 50 };
    const { port } = await start(t, ok, limits);
    const connection = await openRaw(port);
    t.after(() => connection.destroy());
    assert.equal((await connection.readResponse()).status, 408);
  });

  it("may send its request later", async (t) => {
    const { server, port } = await start(t, ok);
    const connected = once(server, "connection");
    const connection = await openRaw(port);
    t.after(() => connection.destroy());
    const [socket] = await connected;
    await until(() => "parser" in socket, "node:http to have the connection");
    connection.write(requestText("GET / HTTP/1.1", { Host: "a" }));
    assert.equal((await connection.readResponse()).body, "ok");
  });

  it("stays paused where a listener has paused it", async (t) => {
    const { server, port } = await start(t, ok);
    const connected = once(server, "connection");
    server.on("connection", (socket) => socket.pause());
    const connection = await openRaw(port);
    t.after(() => connection.destroy());
    const [socket] = await connected;
    let requests = 0;
    server.on("request", () => requests++);
    await until(() => "parser" in socket, "node:http to have the connection");
    connection.write(requestText("GET / HTTP/1.1", { Host: "a" }));
    await wait(50);
    assert.equal(requests, 0);
    socket.resume();
    assert.equal((await connection.readResponse()).body, "ok");
  });

  it("ends when its bytes were made text, which node:http does not allow", async (t) => {
    const { server, port } = await start(t, ok);
    server.on("connection", (socket) => socket.setEncoding("utf8"));
    const connection = await openRaw(port);
    connection.write(requestText("GET / HTTP/1.1", { Host: "a" }));
    await connection.whenEnded();
  });

  it("may end, or be reset", async (t) => {
    const { server, port } = await start(t, ok);
    const ended = await openRaw(port);
    ended.socket.end();
    await ended.whenEnded();
    const failed = once(server, "clientError");
    const connected = once(server, "connection");
    const reset = await openRaw(port);
    await connected;
    reset.socket.resetAndDestroy();
    assert.equal((await failed)[0].code, "ECONNRESET");
  });

  it("is closed by closeAllConnections()", async (t) => {
    const { server, port } = await start(t, ok);
    const connected = once(server, "connection");
    const connection = await openRaw(port);
    t.after(() => connection.destroy());
    await connected;
    server.closeAllConnections();
    await connection.whenEnded();
  });
});

describe("a server that the short way is not for", () => {
  it("uses its own class of requests", async (t) => {
    const { IncomingMessage: Base } = await import("node:http");
    class Own extends Base {}
    let isOwn = false;
    const { port } = await start(
      t,
      (request, response) => {
        isOwn = request instanceof Own && tookShortcut(request);
        tellAll(request, response);
      },
      { IncomingMessage: Own } as ServerOptions,
    );
    await answerTo(port, [bytes(upgradeRequest(upgradeHeaders()))]);
    assert.ok(isOwn);
  });
});
