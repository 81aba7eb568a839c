import assert from "node:assert/strict";
import { createServer as createHttp1Server } from "node:http";
import {
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerOptions,
} from "node:http2";
import { connect as connectTcp } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import {
  type ConnectionClosedError,
  type ConnectOptions,
  compose,
  connect,
  HandshakeError,
  handleUpgrades,
  type Logger,
  type UpgradeOptions,
  type WebSocketConnection,
  type WebSocketOptions,
  type WebSocketRequest,
  webSockets,
} from "halyard";
import {
  connectHeaders,
  endOf,
  openSession,
  openStream,
  readClose,
  readFrame,
  requestStream,
  selfSigned,
  serveUntilEnd,
} from "../support/http2.js";
import {
  keepingLogger,
  listen,
  maskedFrame,
  once,
  Signal,
  timeLimit,
  until,
  withTimeout,
} from "../support/network.js";

const certificate = selfSigned();
const trusting = { ca: certificate.cert };
const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_PROTOCOL_ERROR } = constants;

interface Setup {
  readonly handler?: (
    request: WebSocketRequest,
    response: import("node:http").ServerResponse,
  ) => unknown;
  readonly options?: WebSocketOptions;
  readonly upgrades?: UpgradeOptions;
  readonly server?: ServerOptions;
  readonly tls?: SecureServerOptions;
}

const echo = async ({ webSockets }: WebSocketRequest) => {
  const [subprotocol] = webSockets.requestedProtocols;
  const socket = await webSockets.accept(subprotocol === undefined ? {} : { subprotocol });
  for await (const message of socket) await socket.send(message.data);
};

interface Running {
  readonly server: Http2Server | Http2SecureServer;
  readonly port: number;
  readonly connections: ReadonlySet<WebSocketConnection>;
  readonly sessions: ServerHttp2Session[];
  readonly lines: ReturnType<typeof keepingLogger>["lines"];
}

async function start(t: TestContext, setup: Setup = {}): Promise<Running> {
  const logger: Logger & { lines: Running["lines"] } = keepingLogger();
  const listener = compose([webSockets({ logger, ...setup.options }), setup.handler ?? echo], {
    logger,
  });
  const server = setup.tls
    ? createSecureServer({ ...certificate, ...setup.tls }, listener)
    : createServer(setup.server ?? {}, listener);
  const { connections } = handleUpgrades(server, { logger, ...setup.upgrades });
  const sessions: ServerHttp2Session[] = [];
  server.on("session", (session) => sessions.push(session));
  const port = await serveUntilEnd(t, server);
  return { server, port, connections, sessions, lines: logger.lines };
}

const url = ({ port }: { port: number }) => `ws://127.0.0.1:${port}/ws`;

async function open(
  t: TestContext,
  address: string,
  options: ConnectOptions = {},
): Promise<WebSocketConnection> {
  const socket = await connect(address, { http2: true, logger: keepingLogger(), ...options });
  t.after(() => socket.abort());
  return socket;
}

async function ask(socket: WebSocketConnection, text: string): Promise<unknown> {
  await socket.send(text);
  const message = await withTimeout(socket.receive(), timeLimit, "the answer");
  return message.type === "close" ? message : message.data;
}

const codeOf = (promise: Promise<unknown>) =>
  withTimeout(
    promise.then(
      () => "no error",
      (error) => error.code as string,
    ),
    timeLimit,
    "the error",
  );

describe("HTTP/2 server: the handshake", () => {
  const refusals: readonly (readonly [
    what: string,
    changes: Record<string, string | undefined>,
    status: number,
  ])[] = [
    ["another version", { "sec-websocket-version": "8" }, 400],
    ["no version", { "sec-websocket-version": undefined }, 400],
    ["a subprotocol that is no token", { "sec-websocket-protocol": "a b" }, 400],
    ["a body with a length", { "content-length": "4" }, 400],
    ["an unknown :protocol", { ":protocol": "connect-udp" }, 501],
    [
      "CONNECT without :protocol",
      { ":protocol": undefined, ":scheme": undefined, ":path": undefined },
      405,
    ],
    ["a page of another origin", { origin: "http://evil.example" }, 403],
    ["a page of another scheme", { ":scheme": "https", origin: "http://127.0.0.1" }, 403],
  ];
  for (const [what, changes, status] of refusals) {
    it(`refuses ${what} with ${status}, and the connection goes on`, async (t) => {
      const running = await start(t);
      const session = await openSession(t, running.port);
      const { headers, stream } = await requestStream(session, changes);
      assert.equal(headers[":status"], status);
      assert.equal(await endOf(stream), 0);
      const { raw } = await openStream(session);
      raw.write(maskedFrame(1, "still"));
      assert.equal(String((await readFrame(raw)).payload), "still");
    });
  }

  for (const missing of [":scheme", ":path", ":authority"]) {
    it(`resets a stream without ${missing}`, async (t) => {
      let isHandled = false;
      const running = await start(t, {
        handler: () => {
          isHandled = true;
        },
      });
      const rejected = await rawHeaders(t, running.port, missing);
      assert.equal(rejected, NGHTTP2_PROTOCOL_ERROR);
      assert.equal(isHandled, false);
    });
  }

  it("accepts with a version among several, :authority before Host, any letter case", async (t) => {
    const running = await start(t);
    const session = await openSession(t, running.port);
    await openStream(session, {
      "sec-websocket-version": "8, 13",
      host: "other.example",
      origin: "HTTP://127.0.0.1",
      ":protocol": "WebSocket",
    });
  });

  it("gives handlers GET, the path, and a request without a body", async (t) => {
    const seen = new Signal<unknown[]>("the handler");
    const running = await start(t, {
      handler: async (request) => {
        const body: unknown[] = [];
        for await (const chunk of request) body.push(chunk);
        seen.fire([request.method, request.url, request.headers[":method"], body.length]);
        await echo(request);
      },
    });
    const session = await openSession(t, running.port);
    const { raw } = await openStream(session, { ":path": "/ws?a=1" });
    assert.deepEqual(await seen.wait(), ["GET", "/ws?a=1", "CONNECT", 0]);
    raw.write(maskedFrame(1, "mine"));
    assert.equal(String((await readFrame(raw)).payload), "mine");
  });

  it("keeps frames that came before the accept", async (t) => {
    const goOn = new Signal("the test");
    const running = await start(t, {
      handler: async (request) => {
        await goOn.wait();
        await echo(request);
      },
    });
    const session = await openSession(t, running.port);
    const opening = openStream(session);
    const stream = session.request(connectHeaders(), { endStream: false });
    stream.write(maskedFrame(1, "early"));
    await nextTurn();
    goOn.fire();
    await opening;
    const [first] = await once(stream, "data");
    assert.equal(first.toString("latin1"), "\x81\x05early");
  });

  it("answers 503 when the handler takes too long, and when there is no room", async (t) => {
    const slow = await start(t, {
      handler: () => new Promise(() => {}),
      upgrades: { handshakeTimeout: 20 },
    });
    const first = await requestStream(await openSession(t, slow.port));
    assert.equal(first.headers[":status"], 503);
    const full = await start(t, { upgrades: { maxConnections: 1 } });
    const session = await openSession(t, full.port);
    await openStream(session);
    assert.equal((await requestStream(session)).headers[":status"], 503);
  });

  it("leaves what `accepts` declines to other listeners of `connect`", async (t) => {
    const running = await start(t, {
      upgrades: { accepts: (request) => request.url !== "/other" },
    });
    const session = await openSession(t, running.port);
    const alone = await requestStream(session, { ":path": "/other" });
    assert.equal(alone.headers[":status"], 501);
    running.server.on("connect", (request, response) => {
      if (request.url === "/other") response.writeHead(204).end();
    });
    const shared = await requestStream(session, { ":path": "/other" });
    assert.equal(shared.headers[":status"], 204);
    await openStream(session);
  });

  it("throws ERR_CONNECTION_LOST from accept when the stream is gone", async (t) => {
    const code = new Signal<string>("the handler");
    const arrived = new Signal("the request");
    const running = await start(t, {
      handler: async (request, response) => {
        arrived.fire();
        await once(response, "close");
        code.fire(await codeOf(request.webSockets.accept()));
      },
    });
    const session = await openSession(t, running.port);
    const stream = session.request(connectHeaders(), { endStream: false });
    stream.on("error", () => {});
    await arrived.wait();
    stream.close(NGHTTP2_CANCEL);
    assert.equal(await code.wait(), "ERR_CONNECTION_LOST");
  });

  it("negotiates compression", async (t) => {
    const running = await start(t, { options: { compression: true } });
    const session = await openSession(t, running.port);
    const { headers } = await openStream(session, {
      "sec-websocket-extensions": "permessage-deflate",
    });
    assert.match(String(headers["sec-websocket-extensions"]), /^permessage-deflate/);
    const socket = await open(t, url(running), { compression: true });
    assert.equal(await ask(socket, "a".repeat(5000)), "a".repeat(5000));
  });
});

/** Sends a HEADERS frame of its own making, which lacks one field. @returns How it was reset. */
async function rawHeaders(t: TestContext, port: number, missing: string): Promise<number> {
  const socket = connectTcp(port, "127.0.0.1");
  t.after(() => socket.destroy());
  let received = Buffer.alloc(0);
  const reset = new Signal<number>("RST_STREAM");
  socket.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 9 && received.length >= 9 + received.readUIntBE(0, 3)) {
      const length = received.readUIntBE(0, 3);
      if (received[3] === 3) reset.fire(received.readUInt32BE(9));
      received = received.subarray(9 + length);
    }
  });
  const fields = Object.entries(connectHeaders()).filter(([name]) => name !== missing);
  // RFC 7541 §6.2.2: literals without indexing, with new names, none longer than 126 bytes.
  const literal = (text: string) => Buffer.from([text.length, ...Buffer.from(text)]);
  const block = Buffer.concat(
    fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]),
  );
  const frame = (type: number, flags: number, stream: number, payload: Buffer) => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
  };
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(frame(4, 0, 0, Buffer.alloc(0)));
  socket.write(frame(1, 4, 1, block));
  return reset.wait();
}

describe("HTTP/2 server: the stream", () => {
  it("serves 100 sockets on one connection", async (t) => {
    const running = await start(t);
    const session = await openSession(t, running.port);
    const streams = await Promise.all(Array.from({ length: 100 }, () => openStream(session)));
    assert.equal(running.connections.size, 100);
    assert.equal(running.sessions.length, 1);
    for (const [index, { raw }] of streams.entries()) raw.write(maskedFrame(1, `number ${index}`));
    for (const [index, { raw }] of streams.entries()) {
      assert.equal(String((await readFrame(raw)).payload), `number ${index}`);
    }
  });

  it("ends by END_STREAM both ways after a closing handshake", async (t) => {
    const running = await start(t);
    const { raw, stream } = await openStream(await openSession(t, running.port));
    raw.write(maskedFrame(8, Buffer.from([0x03, 0xe8])));
    assert.equal(await readClose(raw), 1000);
    await raw.whenEnded();
    stream.end();
    assert.equal(await endOf(stream), 0);
    await until(() => running.connections.size === 0, "the socket's end");
  });

  it("takes END_STREAM without a Close for a lost connection, and ends its own side", async (t) => {
    const lost = new Signal<ConnectionClosedError>("the receive loop's error");
    const running = await start(t, { handler: (request) => echo(request).catch(lost.fire) });
    const { stream } = await openStream(await openSession(t, running.port));
    stream.end();
    assert.equal((await lost.wait()).code, "ERR_CONNECTION_LOST");
    await endOf(stream);
    await until(() => running.connections.size === 0, "the socket's end");
  });

  for (const code of [0, NGHTTP2_CANCEL, constants.NGHTTP2_INTERNAL_ERROR]) {
    it(`takes RST_STREAM ${code} in the middle of a message for a lost connection`, async (t) => {
      const lost = new Signal<ConnectionClosedError>("the receive loop's error");
      const running = await start(t, { handler: (request) => echo(request).catch(lost.fire) });
      const session = await openSession(t, running.port);
      const { raw, stream } = await openStream(session);
      raw.write(maskedFrame(1, "whole"));
      await readFrame(raw);
      raw.write(maskedFrame(1, "only a part of this").subarray(0, 12));
      await nextTurn();
      stream.close(code);
      assert.equal((await lost.wait()).code, "ERR_CONNECTION_LOST");
      await openStream(session);
    });
  }

  it("aborts by RST_STREAM with CANCEL, though output waits", async (t) => {
    const running = await start(t, {
      handler: async (request) => {
        const socket = await request.webSockets.accept();
        for (let n = 0; n < 4; n++) void socket.send(Buffer.alloc(100_000)).catch(() => {});
        await socket.receive();
        socket.abort();
      },
    });
    const { raw, stream } = await openStream(await openSession(t, running.port));
    stream.pause();
    raw.write(maskedFrame(1, "go"));
    stream.resume();
    assert.equal(await endOf(stream), NGHTTP2_CANCEL);
  });

  it("closes with 1002 for a frame that is not masked", async (t) => {
    const running = await start(t);
    const { raw } = await openStream(await openSession(t, running.port));
    raw.write(Buffer.from([0x81, 1, 65]));
    assert.equal(await readClose(raw), 1002);
  });

  it("survives the end of the whole connection", async (t) => {
    const codes: string[] = [];
    const running = await start(t, {
      handler: (request) => echo(request).catch((error) => codes.push(error.code)),
    });
    const session = await openSession(t, running.port);
    await Promise.all([openStream(session), openStream(session), openStream(session)]);
    session.destroy();
    await until(() => codes.length === 3, "three lost connections");
    assert.deepEqual(new Set(codes), new Set(["ERR_CONNECTION_LOST"]));
    await until(() => running.connections.size === 0, "the sockets' end");
  });
});

describe("HTTP/2 flow control", () => {
  it("in: stops the client's stream while nobody receives, and no other", async (t) => {
    const goOn = new Signal("the test");
    let received = 0;
    const running = await start(t, {
      handler: async (request) => {
        if (request.url !== "/slow") return echo(request);
        const socket = await request.webSockets.accept();
        await goOn.wait();
        for await (const message of socket) received += message.data.length;
      },
    });
    const session = await openSession(t, running.port);
    const slow = await openStream(session, { ":path": "/slow" });
    const total = 100;
    const message = frameOf(Buffer.alloc(60_000));
    let taken = 0;
    const done = new Signal("the client's last write");
    for (let n = 0; n < total; n++) {
      slow.stream.write(message, () => {
        taken++;
        if (taken === total) done.fire();
      });
    }
    const other = await openStream(session);
    for (let n = 0; n < 50; n++) {
      other.raw.write(maskedFrame(1, `message ${n}`));
      assert.equal(String((await readFrame(other.raw)).payload), `message ${n}`);
    }
    // The stream's window, what the stream holds, our own window: less than a handful of messages.
    assert.ok(taken < 10, `the server took ${taken} messages of 60 kB that nobody received`);
    goOn.fire();
    await done.wait();
    await until(() => received === total * 60_000, "every byte");
  });

  it("out: send waits while the client does not read, in bounded memory", async (t) => {
    let sent = 0;
    let buffered = 0;
    const blocked = new Signal("a send that waits");
    const running = await start(t, {
      handler: async (request) => {
        const socket = await request.webSockets.accept();
        for (let n = 0; n < 200; n++) {
          const sending = socket.send(Buffer.alloc(60_000, n));
          const isReady = await Promise.race([sending.then(() => true), sleep(200, false)]);
          if (!isReady) {
            buffered = Math.max(buffered, socket.bufferedAmount);
            blocked.fire();
          }
          await sending;
          sent++;
        }
        await socket.close();
      },
    });
    const session = await openSession(t, running.port);
    const stream = session.request(connectHeaders(), { endStream: false });
    stream.on("error", () => {});
    await once(stream, "response");
    await blocked.wait();
    assert.ok(sent < 10, `${sent} messages of 60 kB were sent though nobody read`);
    assert.ok(buffered < 200_000, `${buffered} bytes wait`);
    let received = 0;
    const ended = new Signal("the end of the stream");
    stream.on("data", (chunk: Buffer) => {
      received += chunk.length;
    });
    stream.on("end", ended.fire);
    await until(() => sent === 200, "every message");
    stream.end(maskedFrame(8, Buffer.from([0x03, 0xe8])));
    await ended.wait();
    assert.ok(received > 200 * 60_000);
  });
});

/** A masked binary frame of a length that takes 16 bits. */
function frameOf(payload: Buffer): Buffer {
  const head = Buffer.from([0x82, 0x80 | 126, 0, 0, 0, 0, 0, 0]);
  head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

describe("HTTP/2 limits", () => {
  it("advertises maxStreamsPerConnection, and the server's own setting before our default", async (t) => {
    const rows: readonly (readonly [Setup, number])[] = [
      [{}, 1000],
      [{ server: { settings: { maxConcurrentStreams: 7 } } }, 7],
      [{ upgrades: { maxStreamsPerConnection: 3 } }, 3],
    ];
    for (const [setup, expected] of rows) {
      const { port } = await start(t, setup);
      const { remoteSettings } = await openSession(t, port);
      assert.equal(remoteSettings.maxConcurrentStreams, expected);
      assert.equal(remoteSettings.enableConnectProtocol, true);
    }
  });

  it("refuses options out of range", () => {
    for (const option of ["maxStreamsPerConnection", "maxResetsPerConnection"]) {
      assert.throws(() => handleUpgrades(createServer(), { [option]: 0 }), {
        name: "RangeError",
        message: new RegExp(option),
      });
    }
  });

  it("ends a connection that takes its requests back in a storm", async (t) => {
    const running = await start(t, {
      upgrades: { maxResetsPerConnection: 20 },
      handler: () => new Promise(() => {}),
    });
    const session = await openSession(t, running.port);
    const goaway = new Signal<number>("GOAWAY");
    const closed = new Signal("the connection's end");
    session.on("goaway", goaway.fire);
    session.on("close", closed.fire);
    for (let n = 0; n < 40 && !session.destroyed; n++) {
      const stream = session.request(connectHeaders(), { endStream: false });
      stream.on("error", () => {});
      await nextTurn();
      stream.close(NGHTTP2_CANCEL);
      await nextTurn();
    }
    assert.equal(await goaway.wait(), NGHTTP2_ENHANCE_YOUR_CALM);
    await closed.wait();
    assert.equal(running.lines.filter(({ level }) => level === "warn").length, 1);
  });

  it("does not count sockets that are aborted by the server", async (t) => {
    const running = await start(t, {
      upgrades: { maxResetsPerConnection: 5 },
      handler: async ({ webSockets }) => (await webSockets.accept()).abort(),
    });
    const session = await openSession(t, running.port);
    for (let n = 0; n < 12; n++) {
      const stream = session.request(connectHeaders(), { endStream: false });
      stream.on("error", () => {});
      await endOf(stream);
    }
    assert.equal(session.closed, false);
  });
});

describe("HTTP/2 shutdown", () => {
  it("closes sockets with 1001 and every connection when the server closes", async (t) => {
    const running = await start(t);
    const session = await openSession(t, running.port);
    const idle = await openSession(t, running.port);
    const { raw, stream } = await openStream(session);
    const serverClosed = once(running.server, "close");
    const idleClosed = once(idle, "close");
    const goaway = once(session, "goaway");
    running.server.close();
    assert.equal((await goaway)[0], 0);
    assert.equal(await readClose(raw), 1001);
    raw.write(maskedFrame(8, Buffer.from([0x03, 0xe9])));
    stream.end();
    await Promise.all([idleClosed, serverClosed]);
  });

  it("aborts what does not answer within shutdownTimeout", async (t) => {
    const running = await start(t, { upgrades: { shutdownTimeout: 50 } });
    const { stream } = await openStream(await openSession(t, running.port));
    const serverClosed = once(running.server, "close");
    running.server.close();
    await endOf(stream);
    await serverClosed;
  });
});

describe("HTTP/2 client", () => {
  it("connects, agrees on a subprotocol, echoes and closes", async (t) => {
    const running = await start(t);
    const socket = await open(t, url(running), { protocols: ["chat.v2", "chat.v1"] });
    assert.equal(socket.subprotocol, "chat.v2");
    assert.equal(await ask(socket, "hello"), "hello");
    assert.equal(await ask(socket, "x".repeat(300_000)), "x".repeat(300_000));
    await socket.close(4000, "bye");
    assert.equal(socket.closeStatus, 4000);
  });

  it("shares one connection, which ends with its last socket", async (t) => {
    const running = await start(t);
    const sockets = await Promise.all(Array.from({ length: 100 }, () => open(t, url(running))));
    assert.equal(running.sessions.length, 1);
    await Promise.all(
      sockets.map(async (socket, index) => {
        assert.equal(await ask(socket, `number ${index}`), `number ${index}`);
      }),
    );
    const [session] = running.sessions;
    assert.ok(session);
    const closed = once(session, "close");
    for (const socket of sockets.slice(1)) await socket.close();
    assert.equal(session.closed, false);
    await sockets[0]?.close();
    await closed;
    await open(t, url(running));
    assert.equal(running.sessions.length, 2);
  });

  it("opens another connection when the server allows no more streams on the first", async (t) => {
    const running = await start(t, { upgrades: { maxStreamsPerConnection: 4 } });
    const sockets = await Promise.all(Array.from({ length: 10 }, () => open(t, url(running))));
    assert.equal(running.sessions.length, 3);
    for (const socket of sockets) assert.equal(await ask(socket, "there?"), "there?");
  });

  it("connects over TLS, on a server that has HTTP/1.1 too", async (t) => {
    const running = await start(t, { tls: { allowHTTP1: true } });
    const address = `wss://localhost:${running.port}/ws`;
    const second = await open(t, address, { tls: { ca: Buffer.from(certificate.cert) } });
    const first = await open(t, address, { tls: trusting });
    const http1 = await open(t, address, { tls: trusting, http2: false });
    for (const socket of [first, second, http1]) assert.equal(await ask(socket, "ahoy"), "ahoy");
    assert.equal(running.sessions.length, 1);
    assert.equal(running.connections.size, 3);
    await assert.rejects(connect(address, { http2: true }), { code: "ERR_CONNECT_FAILED" });
    const other = await open(t, address, { tls: { rejectUnauthorized: false } });
    assert.equal(await ask(other, "ahoy"), "ahoy");
    assert.equal(running.sessions.length, 2);
  });

  it("sends headers, and a Host as the authority", async (t) => {
    const seen = new Signal<NodeJS.Dict<string | string[]>>("the headers");
    const running = await start(t, {
      handler: (request) => {
        seen.fire(request.headers);
        return echo(request);
      },
    });
    await open(t, `ws://user:pass@127.0.0.1:${running.port}/a?b=c`, {
      headers: [
        ["Host", "virtual.example"],
        ["X-One", "1"],
        ["X-One", "2"],
        ["Cookie", "a=b"],
      ],
    });
    const headers = await seen.wait();
    assert.equal(headers[":authority"], "virtual.example");
    assert.equal(headers[":path"], "/a?b=c");
    assert.equal(headers["x-one"], "1, 2");
    assert.equal(headers.cookie, "a=b");
    assert.equal(headers.authorization, `Basic ${Buffer.from("user:pass").toString("base64")}`);
    assert.equal(headers["sec-websocket-key"], undefined);
  });

  it("reports a refusal with status, headers and body", async (t) => {
    const running = await start(t, {
      handler: (_, response) => response.writeHead(401, { "X-Why": "because" }).end("who?"),
    });
    const error = await connect(url(running), { http2: true }).catch((reason) => reason);
    assert.ok(error instanceof HandshakeError);
    assert.equal(error.code, "ERR_HANDSHAKE_STATUS");
    assert.equal(error.response?.status, 401);
    assert.equal(error.response?.headers["x-why"], "because");
    assert.equal(error.response?.body, "who?");
    await until(() => running.sessions[0]?.closed === true, "the connection's end");
  });

  // A 204 ends the stream, so that there is nothing left to reset.
  const wrongAnswers: readonly (readonly [string, number, Record<string, string>])[] = [
    ["ERR_HANDSHAKE_SUBPROTOCOL", 200, { "sec-websocket-protocol": "other" }],
    ["ERR_HANDSHAKE_EXTENSION", 200, { "sec-websocket-extensions": "permessage-deflate" }],
    ["ERR_HANDSHAKE_STATUS", 204, {}],
    ["ERR_HANDSHAKE_REDIRECT", 302, { location: "/elsewhere" }],
  ];
  for (const [code, status, headers] of wrongAnswers) {
    it(`refuses a ${status} by ${code}`, async (t) => {
      const reset = new Signal<number | undefined>("the stream's end");
      const server = createServer({ settings: { enableConnectProtocol: true } });
      server.on("stream", (stream) => {
        stream.on("error", () => {});
        stream.on("close", () => reset.fire(stream.rstCode));
        stream.respond({ ":status": status, ...headers });
      });
      const port = await serveUntilEnd(t, server);
      assert.equal(
        await codeOf(connect(url({ port }), { http2: true, handshakeTimeout: 300 })),
        code,
      );
      assert.equal(await reset.wait(), status === 204 ? 0 : NGHTTP2_CANCEL);
    });
  }

  it("follows a redirect to the same server", async (t) => {
    const running = await start(t, {
      handler: (request, response) => {
        if (request.url === "/there") return echo(request);
        return response.writeHead(307, { Location: "/there" }).end();
      },
    });
    const socket = await open(t, url(running), { maxRedirects: 1 });
    assert.equal(await ask(socket, "found"), "found");
  });

  it("says ERR_HANDSHAKE_HTTP2 when the server does not offer it", async (t) => {
    const plain = await serveUntilEnd(t, createServer());
    assert.equal(
      await codeOf(connect(url({ port: plain }), { http2: true })),
      "ERR_HANDSHAKE_HTTP2",
    );
    const secure = await serveUntilEnd(
      t,
      (await import("node:https")).createServer({
        ...certificate,
        ALPNProtocols: ["http/1.1", "h2"],
      }),
    );
    const address = `wss://localhost:${secure}/ws`;
    // A server without the protocol breaks off, one without ALPN at all chooses nothing.
    const code = await codeOf(
      connect(address, { http2: true, tls: trusting, handshakeTimeout: 500 }),
    );
    assert.notEqual(code, "no error");
    const withoutAlpn = (await import("node:tls")).createServer(certificate);
    const tlsPort = await serveUntilEnd(t, withoutAlpn as never);
    assert.equal(
      await codeOf(connect(`wss://localhost:${tlsPort}`, { http2: true, tls: trusting })),
      "ERR_HANDSHAKE_HTTP2",
    );
  });

  it("says ERR_CONNECT_FAILED when the server speaks HTTP/1.1 only, or nothing", async (t) => {
    const server = createHttp1Server();
    const port = await serveUntilEnd(t, server);
    assert.equal(await codeOf(connect(url({ port }), { http2: true })), "ERR_CONNECT_FAILED");
    const closing = createHttp1Server();
    const closedPort = await listen(closing);
    closing.close();
    await once(closing, "close");
    assert.equal(
      await codeOf(connect(url({ port: closedPort }), { http2: true })),
      "ERR_CONNECT_FAILED",
    );
  });

  it("gives up in time when no SETTINGS come, and when no answer comes", async (t) => {
    const { createServer: createTcpServer } = await import("node:net");
    const silent = await serveUntilEnd(t, createTcpServer(() => {}) as never);
    const options = { http2: true, handshakeTimeout: 50 };
    assert.equal(await codeOf(connect(url({ port: silent }), options)), "ERR_HANDSHAKE_TIMEOUT");
    const reset = new Signal<number | undefined>("the stream's end");
    const slow = await start(t, {
      handler: async (_, response) => {
        await once(response, "close");
        reset.fire((response as unknown as { stream: { rstCode: number } }).stream.rstCode);
      },
    });
    assert.equal(await codeOf(connect(url(slow), options)), "ERR_HANDSHAKE_TIMEOUT");
    assert.equal(await reset.wait(), NGHTTP2_CANCEL);
    await until(() => slow.sessions[0]?.closed === true, "the connection's end");
  });

  it("gives up alone by its signal: others on the same connection go on", async (t) => {
    const running = await start(t);
    const controller = new AbortController();
    const lost = connect(url(running), { http2: true, signal: controller.signal });
    const kept = open(t, url(running));
    controller.abort(new Error("changed my mind"));
    await assert.rejects(lost, /changed my mind/);
    assert.equal(await ask(await kept, "here"), "here");
    assert.equal(running.sessions.length, 1);
  });

  it("loses its sockets with the connection, and opens a new one after GOAWAY", async (t) => {
    const running = await start(t);
    const socket = await open(t, url(running));
    running.sessions[0]?.goaway(0);
    assert.equal(await ask(socket, "still"), "still");
    const next = await open(t, url(running));
    assert.equal(running.sessions.length, 2);
    running.sessions[0]?.destroy();
    assert.equal(await codeOf(socket.receive()), "ERR_CONNECTION_LOST");
    assert.equal(await ask(next, "there"), "there");
  });

  it("aborts by CANCEL, and sees the server's abort as a lost connection", async (t) => {
    const codes: string[] = [];
    const running = await start(t, {
      handler: (request) => echo(request).catch((error) => codes.push(error.code)),
    });
    const keeper = await open(t, url(running));
    const socket = await open(t, url(running));
    socket.abort();
    await until(() => codes.length === 1, "the server's error");
    const other = await open(t, url(running));
    await ask(other, "one");
    for (const connection of running.connections) connection.abort();
    assert.equal(await codeOf(other.receive()), "ERR_CONNECTION_LOST");
    assert.equal(await codeOf(keeper.receive()), "ERR_CONNECTION_LOST");
  });

  it("takes part in the server's shutdown", async (t) => {
    const running = await start(t, { tls: { allowHTTP1: true } });
    const socket = await open(t, `wss://localhost:${running.port}/`, { tls: trusting });
    const closed = once(running.server, "close");
    running.server.close();
    const end = await withTimeout(socket.receive(), timeLimit, "the Close");
    assert.deepEqual(end, { type: "close", status: 1001, description: "server shutting down" });
    await socket.close();
    await closed;
  });
});
