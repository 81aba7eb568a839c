import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { getEventListeners, setMaxListeners } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type LookupFunction,
  type Server,
  type Socket,
} from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { inspect } from "node:util";
import {
  ConnectionClosedError,
  type ConnectOptions,
  compose,
  connect,
  HandshakeError,
  handleUpgrades,
  ProtocolError,
  type ProxyOptions,
  webSockets,
} from "halyard";
import { WebSocketServer } from "ws";
import { acceptKey } from "#dist/protocol/handshake.js";
import { once, Signal, timeLimit, withTimeout } from "../support/network.js";
import { quietLogger } from "../support/socket-pair.js";

// --- certificates ---

const directory = mkdtempSync(join(tmpdir(), "halyard-connect-"));
after(() => rmSync(directory, { recursive: true }));

/** A self-signed certificate for the names and addresses given. */
function certificateFor(name: string, alternatives: string): { key: Buffer; cert: Buffer } {
  const key = join(directory, `${name}.key`);
  const cert = join(directory, `${name}.pem`);
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-days", "2", "-subj", `/CN=${name}`, "-addext", `subjectAltName=${alternatives}`],
      ...["-keyout", key, "-out", cert],
    ],
    { stdio: "ignore" },
  );
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

const certificate = certificateFor("socket.test", "DNS:socket.test,IP:127.0.0.1,IP:::1");
const otherCertificate = certificateFor("other.test", "DNS:other.test");
const trusting = { ca: certificate.cert };

// --- servers ---

/** Every name is this machine. */
const lookup = ((_name, { all }, callback) => {
  if (all) callback(null, [{ address: "127.0.0.1", family: 4 }]);
  else callback(null, "127.0.0.1", 4);
}) as LookupFunction;

/** Listens until the test is over, then ends every connection. */
async function serve(t: TestContext, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(async () => {
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}

/** The head of a request, and the means to answer it by hand. */
interface RawRequest {
  readonly socket: Socket;
  readonly head: string;
  /** The 101 that belongs to the request's key, without the empty line at its end. */
  readonly accepting: string;
  header(name: string): string | undefined;
}

/** A server whose every byte the test decides. */
async function serveRaw(
  t: TestContext,
  answer: (request: RawRequest) => void,
  { tls = false } = {},
): Promise<number> {
  const onSocket = (socket: Socket) => {
    socket.on("error", () => {});
    let received = "";
    socket.on("data", function gather(chunk: Buffer) {
      received += chunk.toString("latin1");
      if (!received.endsWith("\r\n\r\n")) return;
      socket.off("data", gather);
      const head = received;
      const header = (name: string) => new RegExp(`^${name}: (.*)$`, "im").exec(head)?.[1];
      const key = header("Sec-WebSocket-Key") ?? "";
      const accepting =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Accept: ${acceptKey(key)}\r\n`;
      answer({ socket, head, accepting, header });
    });
  };
  return serve(
    t,
    tls
      ? createTlsServer({ ...certificate, allowHalfOpen: true }, onSocket)
      : createTcpServer({ allowHalfOpen: true }, onSocket),
  );
}

interface EchoServer {
  readonly port: number;
  /** The last request. */
  readonly request: () => IncomingMessage;
}

/** Our own server: echoes, and takes the first subprotocol that is offered. */
async function serveEcho(t: TestContext, { tls = false } = {}): Promise<EchoServer> {
  let last: IncomingMessage | undefined;
  const listener = compose(
    [
      webSockets({ logger: quietLogger, allowedOrigins: "*" }),
      async (request) => {
        last = request;
        const [subprotocol] = request.webSockets.requestedProtocols;
        const socket = await request.webSockets.accept(subprotocol ? { subprotocol } : {});
        for await (const message of socket) await socket.send(message.data);
      },
    ],
    { logger: quietLogger },
  );
  const server = tls ? createHttpsServer(certificate, listener) : createHttpServer(listener);
  handleUpgrades(server, { logger: quietLogger });
  const port = await serve(t, server);
  return { port, request: () => last as IncomingMessage };
}

/** The server of `ws`, doing the same. */
async function serveEchoByWs(t: TestContext, { tls = false } = {}): Promise<EchoServer> {
  let last: IncomingMessage | undefined;
  const server = tls ? createHttpsServer(certificate) : createHttpServer();
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, request) => {
    last = request;
    socket.on("error", () => {});
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  const port = await serve(t, server);
  return { port, request: () => last as IncomingMessage };
}

/** Connects, and never leaves what it opened behind. */
async function open(t: TestContext, url: string | URL, options: ConnectOptions = {}) {
  const socket = await withTimeout(
    connect(url, { logger: quietLogger, lookup, ...options }),
    timeLimit,
    "connect",
  );
  t.after(() => socket.abort());
  return socket;
}

/** What a connect that must fail throws. */
async function failureOf(url: string | URL, options: ConnectOptions = {}): Promise<unknown> {
  const connecting = connect(url, { logger: quietLogger, lookup, ...options });
  const error = await withTimeout(
    connecting.then(
      (socket) => {
        socket.abort();
        return undefined;
      },
      (reason: unknown) => ({ reason }),
    ),
    timeLimit,
    "the failure of connect",
  );
  assert.ok(error, "connect must fail");
  return error.reason;
}

async function handshakeFailure(url: string, options?: ConnectOptions): Promise<HandshakeError> {
  const error = await failureOf(url, options);
  assert.ok(error instanceof HandshakeError, inspect(error));
  return error;
}

async function networkFailure(
  url: string,
  options?: ConnectOptions,
): Promise<ConnectionClosedError & { cause?: { code?: string; message?: string } }> {
  const error = await failureOf(url, options);
  assert.ok(error instanceof ConnectionClosedError, inspect(error));
  return error as ConnectionClosedError & { cause?: { code?: string } };
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + timeLimit;
  while (!isTrue()) {
    assert.ok(performance.now() < deadline, `waited too long until ${what}`);
    await turn();
  }
}

// --- proxies ---

interface ProxyServer {
  readonly port: number;
  /** The heads of all requests. */
  readonly heads: string[];
}

/** A proxy that tunnels, or, with `answer`, says what the test wants. */
async function serveProxy(
  t: TestContext,
  {
    tls = false,
    authorization,
    answer,
  }: {
    tls?: boolean;
    authorization?: string;
    answer?: (socket: Socket) => void;
  } = {},
): Promise<ProxyServer> {
  const heads: string[] = [];
  const port = await serveRaw(
    t,
    ({ socket, head, header }) => {
      heads.push(head);
      const [, host = "", to = ""] = /^CONNECT (.+):(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
      if (answer !== undefined) {
        answer(socket);
      } else if (header("Proxy-Authorization") !== authorization) {
        socket.end(
          "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n" +
            "Content-Length: 10\r\n\r\nwho is it?",
        );
      } else {
        const onward = connectTcp({ host: "127.0.0.1", port: Number(to), allowHalfOpen: true });
        onward.on("error", () => socket.destroy());
        onward.on("close", () => socket.destroy());
        socket.on("close", () => onward.destroy());
        onward.on("connect", () => {
          socket.write(`HTTP/1.1 200 OK\r\nX-Tunnel: ${host}\r\n\r\n`);
          socket.pipe(onward);
          onward.pipe(socket);
        });
      }
    },
    { tls },
  );
  return { port, heads };
}

// --- tests ---

describe("a connection", () => {
  const servers = [
    { name: "our own server", serveIt: serveEcho, tls: false },
    { name: "our own server over TLS", serveIt: serveEcho, tls: true },
    { name: "the server of ws", serveIt: serveEchoByWs, tls: false },
    { name: "the server of ws over TLS", serveIt: serveEchoByWs, tls: true },
  ];
  for (const { name, serveIt, tls } of servers) {
    it(`to ${name} carries messages and closes in order`, async (t) => {
      const { port, request } = await serveIt(t, { tls });
      const socket = await open(t, `${tls ? "wss" : "ws"}://127.0.0.1:${port}/path?query=1`, {
        protocols: ["one", "two"],
        headers: { "X-Test": "yes" },
        tls: trusting,
      });
      assert.equal(socket.state, "open");
      assert.equal(socket.subprotocol, "one");
      assert.equal(request().url, "/path?query=1");
      assert.equal(request().headers["x-test"], "yes");
      assert.equal(request().headers.host, `127.0.0.1:${port}`);
      const long = "ä".repeat(100_000);
      void socket.send("text");
      void socket.send(new Uint8Array([1, 2, 3]));
      void socket.send(long);
      assert.deepEqual(await socket.receive(), { type: "text", data: "text" });
      assert.deepEqual([...((await socket.receive()).data as Buffer)], [1, 2, 3]);
      assert.equal((await socket.receive()).data, long);
      assert.ok((await socket.ping()) >= 0);
      await withTimeout(socket.close(1000, "done"));
      assert.equal(socket.state, "closed");
      assert.equal(socket.closeStatus, 1000);
      await withTimeout(socket.whenGone(), timeLimit, "the end of TCP");
    });
  }

  it("has no subprotocol unless the server chooses one", async (t) => {
    const port = await serveRaw(t, ({ socket, accepting }) => socket.write(`${accepting}\r\n`));
    const socket = await open(t, `ws://127.0.0.1:${port}`, { protocols: "chat" });
    assert.equal(socket.subprotocol, undefined);
  });

  it("takes http: for ws:, https: for wss:, and URL objects", async (t) => {
    const plain = await serveEcho(t);
    await open(t, new URL(`http://127.0.0.1:${plain.port}`));
    const secure = await serveEcho(t, { tls: true });
    await open(t, new URL(`https://127.0.0.1:${secure.port}`), { tls: trusting });
  });

  it("sends the URL's credentials, unless a header has others", async (t) => {
    const { port, request } = await serveEcho(t);
    await open(t, `ws://user:p%C3%A4ss@127.0.0.1:${port}/`);
    assert.equal(
      request().headers.authorization,
      `Basic ${Buffer.from("user:päss").toString("base64")}`,
    );
    assert.equal(request().url, "/");
    await open(t, `ws://user:pass@127.0.0.1:${port}/`, { headers: { authorization: "Bearer x" } });
    assert.equal(request().headers.authorization, "Bearer x");
  });

  it("asks with exactly the lines of RFC 6455 §4.1", async (t) => {
    const asked = new Signal<string>("the request");
    const port = await serveRaw(t, ({ socket, head, accepting }) => {
      asked.fire(head);
      socket.write(`${accepting}\r\n`);
    });
    await open(t, `ws://127.0.0.1:${port}/`, { protocols: ["a", "b"], headers: { Origin: "x" } });
    assert.match(
      await asked.wait(),
      new RegExp(
        `^GET / HTTP/1\\.1\r\nHost: 127\\.0\\.0\\.1:${port}\r\nUpgrade: websocket\r\n` +
          "Connection: Upgrade\r\nSec-WebSocket-Key: [\\w+/]{22}==\r\n" +
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\nOrigin: x\r\n\r\n$",
      ),
    );
  });

  it("gets the frame that came in the packet of the 101", async (t) => {
    const port = await serveRaw(t, ({ socket, accepting }) =>
      socket.write(`${accepting}\r\n\x81\x05first\x81\x06second`, "latin1"),
    );
    const socket = await open(t, `ws://127.0.0.1:${port}`);
    assert.deepEqual(await socket.receive(), { type: "text", data: "first" });
    assert.deepEqual(await socket.receive(), { type: "text", data: "second" });
  });

  it("gets an answer that comes byte by byte, and behind other 1xx answers", async (t) => {
    const port = await serveRaw(t, async ({ socket, accepting }) => {
      const text =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" +
        `${accepting}\r\n\x81\x02ok`;
      socket.setNoDelay();
      for (const byte of Buffer.from(text, "latin1")) {
        socket.write(Buffer.from([byte]));
        await turn();
      }
    });
    const socket = await open(t, `ws://127.0.0.1:${port}`);
    assert.deepEqual(await socket.receive(), { type: "text", data: "ok" });
  });

  it("obeys the options of sockets", async (t) => {
    const { port } = await serveEcho(t);
    const socket = await open(t, `ws://127.0.0.1:${port}`, {
      maxMessageSize: 10,
      receiveBufferSize: 7,
    });
    assert.equal(socket.receiveBufferSize, 7);
    await socket.send("more than ten bytes");
    await assert.rejects(socket.receive(), { code: "ERR_MESSAGE_TOO_BIG" });
  });

  const violations: [name: string, frame: string, code: string][] = [
    ["a masked frame", "\x81\x82\0\0\0\0ok", "ERR_MASK"],
    ["a reserved bit", "\xc1\x02ok", "ERR_RESERVED_BITS"],
  ];
  for (const [name, frame, code] of violations) {
    it(`closes with 1002 when the server sends ${name}`, async (t) => {
      const closed = new Signal<Buffer>("the Close frame");
      const port = await serveRaw(t, ({ socket, accepting }) => {
        socket.on("data", (chunk: Buffer) => closed.fire(chunk));
        socket.on("end", () => socket.end());
        socket.write(`${accepting}\r\n${frame}`, "latin1");
      });
      const socket = await open(t, `ws://127.0.0.1:${port}`);
      await assert.rejects(
        socket.receive(),
        (error) => error instanceof ProtocolError && error.code === code,
      );
      const close = await closed.wait();
      assert.equal(close[0], 0x88);
      assert.ok(((close[1] as number) & 0x80) !== 0, "a client masks");
      const mask = close.subarray(2, 6);
      const status = [6, 7].map((at) => (close[at] as number) ^ (mask[at - 6] as number));
      assert.deepEqual(status, [1002 >> 8, 1002 & 0xff]);
      await withTimeout(socket.whenGone(), timeLimit, "the end of TCP");
    });
  }

  it("answers a Close whose sender has ended its direction at once", async (t) => {
    const answered = new Signal<Buffer>("the client's Close");
    const port = await serveRaw(t, ({ socket, accepting }) => {
      socket.on("data", (chunk: Buffer) => answered.fire(chunk));
      socket.end(`${accepting}\r\n\x88\x02\x03\xe8`, "latin1");
    });
    const socket = await open(t, `ws://127.0.0.1:${port}`);
    assert.equal((await socket.receive()).type, "close");
    await withTimeout(socket.close());
    assert.equal((await answered.wait())[0], 0x88);
    assert.equal(socket.state, "closed");
    await withTimeout(socket.whenGone(), timeLimit, "the end of TCP");
  });

  it("stays open for our last words when the server has ended its direction", async (t) => {
    const heard = new Signal<Buffer>("all that the client sent");
    const port = await serveRaw(t, ({ socket, accepting }) => {
      const chunks: Buffer[] = [];
      socket.on("data", (chunk: Buffer) => chunks.push(chunk));
      socket.on("end", () => heard.fire(Buffer.concat(chunks)));
      socket.end(`${accepting}\r\n\x88\x02\x03\xe8`, "latin1");
    });
    const socket = await open(t, `ws://127.0.0.1:${port}`);
    assert.equal((await socket.receive()).type, "close");
    // Enough for the end of the server's direction, which came with the Close, to be noticed.
    for (let turns = 0; turns < 100; turns++) await turn();
    await socket.send("bye");
    await withTimeout(socket.close());
    const bytes = await heard.wait();
    assert.deepEqual([bytes.length, bytes[0], bytes[9]], [9 + 8, 0x81, 0x88]);
  });

  it("can be to an IPv6 address, plain and over TLS", async (t) => {
    const withoutLookup: ConnectOptions = {
      lookup: () => assert.fail("an address needs no look-up"),
      tls: { ca: certificate.cert },
    };
    for (const tls of [false, true]) {
      const server = tls ? createHttpsServer(certificate) : createHttpServer();
      const sockets = new WebSocketServer({ server });
      t.after(() => server.close());
      server.listen(0, "::1");
      try {
        await once(server, "listening");
      } catch {
        return t.skip("this machine has no IPv6");
      }
      const { port } = server.address() as AddressInfo;
      const asked = once(sockets, "connection");
      const socket = await open(t, `${tls ? "wss" : "ws"}://[::1]:${port}/`, withoutLookup);
      const [, request] = await asked;
      assert.equal(request.headers.host, `[::1]:${port}`);
      await withTimeout(socket.close());
      await withTimeout(socket.whenGone(), timeLimit, "the end of TCP");
    }
  });

  const losses: [name: string, lose: (socket: Socket) => void][] = [
    ["ends", (socket) => socket.end()],
    ["is reset", (socket) => socket.resetAndDestroy()],
  ];
  for (const [name, lose] of losses) {
    it(`that ${name} without a Close fails what waits, and nothing else`, async (t) => {
      const port = await serveRaw(t, ({ socket, accepting }) => {
        socket.once("data", () => lose(socket));
        socket.write(`${accepting}\r\n`);
      });
      const socket = await open(t, `ws://127.0.0.1:${port}`);
      const receiving = socket.receive();
      void socket.send("x");
      await assert.rejects(receiving, { code: "ERR_CONNECTION_LOST" });
      await withTimeout(socket.whenGone(), timeLimit, "the end of TCP");
    });
  }

  it("two hundred times over leaves nothing behind", async (t) => {
    const { port } = await serveEcho(t);
    const controller = new AbortController();
    setMaxListeners(0, controller.signal);
    const count = () =>
      process.getActiveResourcesInfo().filter((name) => /TCPSocket|TLS|Timeout/.test(name)).length;
    const before = count();
    for (let round = 0; round < 4; round++) {
      const sockets = await Promise.all(
        Array.from({ length: 50 }, () =>
          open(t, `ws://127.0.0.1:${port}`, { signal: controller.signal }),
        ),
      );
      await Promise.all(sockets.map((socket) => socket.send("x").then(() => socket.receive())));
      await withTimeout(Promise.all(sockets.map((socket) => socket.close())));
      await withTimeout(Promise.all(sockets.map((socket) => socket.whenGone())));
    }
    assert.equal(getEventListeners(controller.signal, "abort").length, 0);
    await until(() => count() <= before, "sockets and timers are gone");
  });
});

describe("arguments that are wrong are refused before anything is sent", () => {
  const rows: [name: string, url: string, options: unknown, error: "TypeError" | "RangeError"][] = [
    ["no URL", "nowhere", {}, "TypeError"],
    ["another scheme", "ftp://127.0.0.1:PORT/", {}, "TypeError"],
    ["a fragment", "ws://127.0.0.1:PORT/#x", {}, "TypeError"],
    ["a repeated subprotocol", "", { protocols: ["a", "a"] }, "TypeError"],
    ["a subprotocol that is no token", "", { protocols: "a b" }, "TypeError"],
    ["a header of the handshake", "", { headers: { upgrade: "h2c" } }, "TypeError"],
    ["a line break in a header", "", { headers: { a: "b\r\nc: d" } }, "TypeError"],
    ["a proxy that is no URL", "", { proxy: "127.0.0.1" }, "TypeError"],
    ["a proxy of another kind", "", { proxy: "socks5://127.0.0.1" }, "TypeError"],
    ["a time limit of 0", "", { handshakeTimeout: 0 }, "RangeError"],
    ["an endless time limit", "", { handshakeTimeout: Number.POSITIVE_INFINITY }, "RangeError"],
    ["a negative number of redirects", "", { maxRedirects: -1 }, "RangeError"],
    ["half a redirect", "", { maxRedirects: 0.5 }, "RangeError"],
    ["an option of sockets", "", { maxMessageSize: 0 }, "RangeError"],
  ];
  for (const [name, url, options, error] of rows) {
    it(name, async (t) => {
      let connections = 0;
      const server = createTcpServer(() => connections++);
      const port = await serve(t, server);
      const target = (url || "ws://127.0.0.1:PORT/").replace("PORT", String(port));
      const { signal } = new AbortController();
      const failure = await failureOf(target, { ...(options as ConnectOptions), signal });
      assert.equal((failure as Error).name, error);
      assert.equal(connections, 0);
      assert.equal(getEventListeners(signal, "abort").length, 0);
    });
  }
});

describe("an answer that is wrong", () => {
  const lines = (accepting: string, change: (line: string) => string) =>
    `${accepting.split("\r\n").map(change).join("\r\n")}\r\n`;
  const rows: [name: string, code: string, answer: (accepting: string) => string][] = [
    [
      "a wrong hash",
      "ACCEPT",
      (text) => lines(text, (line) => line.replace(/Accept: .*/, `Accept: ${acceptKey("x")}`)),
    ],
    [
      "the hash in other letters",
      "ACCEPT",
      (text) => lines(text, (line) => (/Accept/.test(line) ? line.toLowerCase() : line)),
    ],
    ["no hash", "ACCEPT", (text) => text.replace(/Sec-WebSocket-Accept: .*\r\n/, "\r\n")],
    [
      "two hashes",
      "ACCEPT",
      (text) => lines(text, (line) => (/Accept/.test(line) ? `${line}\r\n${line}` : line)),
    ],
    ["an unknown subprotocol", "SUBPROTOCOL", (text) => `${text}Sec-WebSocket-Protocol: b\r\n\r\n`],
    [
      "an unknown extension",
      "EXTENSION",
      (text) => `${text}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n`,
    ],
    [
      "an unknown extension behind 1,500 other headers",
      "EXTENSION",
      (text) => `${text}${"a:\r\n".repeat(1500)}Sec-WebSocket-Extensions: x\r\n\r\n`,
    ],
    ["another upgrade", "UPGRADE", (text) => `${text.replace("websocket", "h2c")}\r\n`],
    ["no Upgrade", "UPGRADE", (text) => `${text.replace(/Upgrade: websocket\r\n/, "")}\r\n`],
    ["no Connection", "CONNECTION", (text) => `${text.replace(/Connection: .*\r\n/, "")}\r\n`],
    ["status 200", "STATUS", (text) => `${text.replace("101", "200")}Content-Length: 0\r\n\r\n`],
    ["status 200 without a length", "STATUS", () => "HTTP/1.1 200 OK\r\n\r\n"],
    ["status 204", "STATUS", () => "HTTP/1.1 204 No Content\r\n\r\n"],
    ["status 503", "STATUS", () => "HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n"],
  ];
  for (const [name, code, answer] of rows) {
    it(`${name}: ERR_HANDSHAKE_${code}`, async (t) => {
      const closed = new Signal("the end of the connection");
      const port = await serveRaw(t, ({ socket, accepting }) => {
        socket.resume();
        socket.on("close", () => closed.fire());
        const text = answer(accepting);
        // Without a length, the end of the connection is the end of the body.
        if (text.includes("200 OK")) socket.end(text);
        else socket.write(text);
        socket.on("end", () => socket.end());
      });
      const error = await handshakeFailure(`ws://127.0.0.1:${port}`, { protocols: ["a"] });
      assert.equal(error.code, `ERR_HANDSHAKE_${code}`);
      await closed.wait();
    });
  }

  it("shows its status, headers and body", async (t) => {
    const port = await serveRaw(t, ({ socket }) =>
      socket.write(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nX-Two: 1\r\nX-Two: 2\r\n" +
          "Content-Length: 7\r\n\r\nwho? ä",
      ),
    );
    const error = await handshakeFailure(`ws://127.0.0.1:${port}`);
    assert.equal(error.response?.status, 401);
    assert.equal(error.response?.headers["www-authenticate"], "Basic");
    assert.equal(error.response?.headers["x-two"], "1, 2");
    assert.equal(error.response?.body, "who? ä");
  });

  it("shows 16 KiB of an endless body, in chunks or not", async (t) => {
    for (const isChunked of [true, false]) {
      const closed = new Signal("the end of the connection");
      const port = await serveRaw(t, ({ socket }) => {
        const piece = isChunked ? `2000\r\n${"x".repeat(0x2000)}\r\n` : "x".repeat(0x2000);
        const pump = () => {
          while (!socket.destroyed && socket.write(piece));
        };
        socket.on("drain", pump);
        socket.on("close", () => closed.fire());
        socket.write(
          `HTTP/1.1 200 OK\r\n${isChunked ? "Transfer-Encoding: chunked" : "X: y"}\r\n\r\n`,
        );
        pump();
      });
      const error = await handshakeFailure(`ws://127.0.0.1:${port}`);
      assert.equal(error.response?.status, 200);
      assert.equal(error.response?.body, "x".repeat(16 * 1024));
      await closed.wait();
    }
  });

  for (const isCut of [true, false]) {
    it(`shows what came of a body that is ${isCut ? "cut off" : "too slow"}`, async (t) => {
      const port = await serveRaw(t, ({ socket }) => {
        const text = "HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nbegin";
        if (isCut) socket.end(text);
        else socket.write(text);
      });
      const error = await handshakeFailure(`ws://127.0.0.1:${port}`, {
        handshakeTimeout: isCut ? timeLimit : 500,
      });
      assert.equal(error.code, "ERR_HANDSHAKE_STATUS");
      assert.equal(error.response?.status, 500);
      assert.equal(error.response?.body, "begin");
    });
  }
});

describe("a network that fails", () => {
  it("refuses the connection", async (t) => {
    const server = createTcpServer();
    const port = await serve(t, server);
    const closed = once(server, "close");
    server.close();
    await closed;
    server.listen = () => server;
    const error = await networkFailure(`ws://127.0.0.1:${port}/secret`);
    assert.equal(error.code, "ERR_CONNECT_FAILED");
    assert.equal(error.cause?.code, "ECONNREFUSED");
    assert.equal(
      error.message,
      `The connection to 127.0.0.1:${port} failed: connect ECONNREFUSED 127.0.0.1:${port}`,
    );
  });

  it("does not know the name", async () => {
    const error = await networkFailure("ws://nowhere.test/", {
      lookup: (_name, _options, callback) => {
        const unknown = Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
        process.nextTick(callback, unknown, "", 0);
      },
    });
    assert.equal(error.code, "ERR_CONNECT_FAILED");
    assert.equal(error.cause?.code, "ENOTFOUND");
  });

  const rows: [name: string, act: (socket: Socket) => void][] = [
    ["ends right after the connect", (socket) => socket.end()],
    ["is reset right after the connect", (socket) => socket.resetAndDestroy()],
  ];
  for (const [name, act] of rows) {
    for (const scheme of ["ws", "wss"]) {
      it(`${name} (${scheme})`, async (t) => {
        const port = await serve(t, createTcpServer({ allowHalfOpen: true }, act));
        const error = await networkFailure(`${scheme}://127.0.0.1:${port}`);
        assert.equal(error.code, "ERR_CONNECT_FAILED");
        assert.ok(error.cause instanceof Error);
      });
    }
  }

  const answers: [name: string, answer: string][] = [
    ["nothing", ""],
    ["half a head", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso"],
    ["garbage", "\0\x01\x02garbage\r\n\r\n"],
    ["another protocol", "SSH-2.0-OpenSSH_9.0\r\n"],
    ["a frame instead of a head", "\x81\x05first"],
    ["enormous headers", `HTTP/1.1 101 x\r\nX: ${"x".repeat(1 << 20)}\r\n\r\n`],
    ["headers without end", `HTTP/1.1 101 x\r\n${"X: y\r\n".repeat(1 << 16)}`],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"],
  ];
  for (const [name, answer] of answers) {
    for (const tls of [false, true]) {
      it(`answers with ${name}${tls ? " over TLS" : ""}`, async (t) => {
        const port = await serveRaw(t, ({ socket }) => socket.end(answer, "latin1"), { tls });
        const error = await networkFailure(`${tls ? "wss" : "ws"}://127.0.0.1:${port}`, {
          tls: trusting,
        });
        assert.equal(error.code, "ERR_CONNECT_FAILED");
        assert.ok(error.cause instanceof Error);
      });
    }
  }
});

/** Where a peer can hang; each row gets as far as its name says. */
const stages: {
  name: string;
  /** Returns what to connect with; calls `reached` when the client waits. */
  prepare: (t: TestContext, reached: () => void) => Promise<[url: string, ConnectOptions?]>;
}[] = [
  {
    name: "the name's look-up",
    prepare: async (_t, reached) => [
      "ws://slow.test/",
      { lookup: () => void process.nextTick(reached) },
    ],
  },
  {
    name: "the TLS handshake",
    prepare: async (t, reached) => {
      const port = await serve(
        t,
        createTcpServer((socket) => socket.on("data", reached)),
      );
      return [`wss://127.0.0.1:${port}`];
    },
  },
  {
    name: "the answer",
    prepare: async (t, reached) => [`ws://127.0.0.1:${await serveRaw(t, reached)}`],
  },
  {
    name: "the answer over TLS",
    prepare: async (t, reached) => [
      `wss://127.0.0.1:${await serveRaw(t, reached, { tls: true })}`,
      { tls: trusting },
    ],
  },
  {
    name: "the rest of the answer",
    prepare: async (t, reached) => {
      const port = await serveRaw(t, ({ socket, accepting }) => {
        socket.write(accepting, reached);
      });
      return [`ws://127.0.0.1:${port}`];
    },
  },
  {
    name: "the answer after a redirect",
    prepare: async (t, reached) => {
      const last = await serveRaw(t, reached);
      const port = await serveRaw(t, ({ socket }) =>
        socket.write(`HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:${last}/\r\n\r\n`),
      );
      return [`ws://127.0.0.1:${port}`, { maxRedirects: 1 }];
    },
  },
  {
    name: "the TLS handshake with the proxy",
    prepare: async (t, reached) => {
      const port = await serve(
        t,
        createTcpServer((socket) => socket.on("data", reached)),
      );
      return ["ws://behind.test/", { proxy: `https://127.0.0.1:${port}` }];
    },
  },
  ...[false, true].map((tls) => ({
    name: `the answer of the ${tls ? "https" : "http"} proxy`,
    prepare: async (t: TestContext, reached: () => void): Promise<[string, ConnectOptions]> => {
      const { port } = await serveProxy(t, { tls, answer: reached });
      const url = `${tls ? "https" : "http"}://127.0.0.1:${port}`;
      return ["ws://behind.test/", { proxy: { url, tls: trusting } }];
    },
  })),
  {
    name: "the server's TLS handshake behind an https proxy",
    prepare: async (t, reached) => {
      const { port } = await serveProxy(t, {
        tls: true,
        answer: (socket) => {
          socket.on("data", reached);
          socket.write("HTTP/1.1 200 OK\r\n\r\n");
        },
      });
      const proxy: ProxyOptions = { url: `https://127.0.0.1:${port}`, tls: trusting };
      return ["wss://behind.test/", { proxy }];
    },
  },
];

describe("the time limit", () => {
  for (const { name, prepare } of stages) {
    it(`ends waiting for ${name}`, async (t) => {
      t.mock.timers.enable({ apis: ["setTimeout"] });
      const reached = new Signal("the client to wait");
      const [url, options] = await prepare(t, () => reached.fire());
      const { signal } = new AbortController();
      const failure = networkFailure(url, { ...options, signal });
      await reached.promise;
      t.mock.timers.tick(10_000);
      const error = await failure;
      assert.equal(error.code, "ERR_HANDSHAKE_TIMEOUT");
      assert.equal(error.message, "The socket was not open within 10000 ms.");
      assert.equal(getEventListeners(signal, "abort").length, 0);
    });
  }

  it("is for the whole, not for each step", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let redirects = 0;
    const port = await serveRaw(t, ({ socket }) => {
      redirects++;
      t.mock.timers.tick(400);
      socket.write("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n");
    });
    const error = await networkFailure(`ws://127.0.0.1:${port}`, {
      handshakeTimeout: 1000,
      maxRedirects: 9,
    });
    assert.equal(error.code, "ERR_HANDSHAKE_TIMEOUT");
    assert.equal(redirects, 3);
  });

  it("is over when the socket is open", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { port } = await serveEcho(t);
    const socket = await open(t, `ws://127.0.0.1:${port}`);
    t.mock.timers.tick(10_000);
    await socket.send("still here");
    assert.equal((await socket.receive()).data, "still here");
  });
});

describe("the signal", () => {
  for (const { name, prepare } of stages) {
    it(`ends waiting for ${name}`, async (t) => {
      const reached = new Signal("the client to wait");
      const [url, options] = await prepare(t, () => reached.fire());
      const controller = new AbortController();
      const failure = failureOf(url, { ...options, signal: controller.signal });
      await reached.wait();
      const reason = new Error("changed our mind");
      controller.abort(reason);
      assert.equal(await failure, reason);
      assert.equal(getEventListeners(controller.signal, "abort").length, 0);
    });
  }

  it("that fired before opens no connection", async (t) => {
    let connections = 0;
    const port = await serve(
      t,
      createTcpServer(() => connections++),
    );
    const signal = AbortSignal.abort("no");
    assert.equal(await failureOf(`ws://127.0.0.1:${port}`, { signal }), "no");
    assert.equal(connections, 0);
  });

  it("ends a call that aborts itself while its socket is made", async () => {
    const controller = new AbortController();
    const failure = failureOf("ws://socket.test/", {
      signal: controller.signal,
      lookup: () => controller.abort("from within"),
      // The signal has to do it, not the time limit.
      handshakeTimeout: 2 * timeLimit,
    });
    assert.equal(await failure, "from within");
  });

  it("wins over an answer of which the body is missing", async (t) => {
    const reached = new Signal("the head");
    const port = await serveRaw(t, ({ socket }) =>
      socket.write("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n", () => reached.fire()),
    );
    const controller = new AbortController();
    const failure = failureOf(`ws://127.0.0.1:${port}`, { signal: controller.signal });
    await reached.wait();
    controller.abort();
    assert.equal(await failure, controller.signal.reason);
  });

  it("ends the connection for the server too", async (t) => {
    const asked = new Signal("the request");
    const gone = new Signal("the end of the connection");
    const port = await serveRaw(t, ({ socket }) => {
      socket.resume();
      socket.on("end", () => socket.end());
      socket.on("close", () => gone.fire());
      asked.fire();
    });
    const controller = new AbortController();
    const failure = failureOf(`ws://127.0.0.1:${port}`, { signal: controller.signal });
    await asked.wait();
    controller.abort();
    await failure;
    await gone.wait();
  });

  it("has no effect on a socket that is open", async (t) => {
    const { port } = await serveEcho(t);
    const controller = new AbortController();
    const socket = await open(t, `ws://127.0.0.1:${port}`, { signal: controller.signal });
    controller.abort();
    await socket.send("still here");
    assert.equal((await socket.receive()).data, "still here");
  });
});

describe("redirects", () => {
  const redirecting = (location: string, status = 302) =>
    `HTTP/1.1 ${status} Elsewhere\r\nLocation: ${location}\r\nContent-Length: 4\r\n\r\nmove`;

  it("are not followed unless asked", async (t) => {
    const port = await serveRaw(t, ({ socket }) => socket.write(redirecting("/x", 307)));
    const error = await handshakeFailure(`ws://127.0.0.1:${port}`);
    assert.equal(error.code, "ERR_HANDSHAKE_REDIRECT");
    assert.equal(error.response?.status, 307);
    assert.equal(error.response?.headers.location, "/x");
    assert.equal(error.response?.body, "move");
  });

  it("are followed as often as asked, with a new key each time", async (t) => {
    const keys: (string | undefined)[] = [];
    const port = await serveRaw(t, ({ socket, head, accepting, header }) => {
      keys.push(header("Sec-WebSocket-Key"));
      const hops = Number(/^GET \/(\d+)/.exec(head)?.[1]);
      socket.write(hops === 0 ? `${accepting}\r\n` : redirecting(`/${hops - 1}`));
    });
    const url = (hops: number) => `ws://127.0.0.1:${port}/${hops}`;
    await open(t, url(3), { maxRedirects: 3 });
    assert.equal(new Set(keys).size, 4);
    const error = await handshakeFailure(url(3), { maxRedirects: 2 });
    assert.equal(error.code, "ERR_HANDSHAKE_REDIRECT");
    assert.equal(error.response?.headers.location, "/0");
  });

  it("take no secrets to another origin, and close the first connection", async (t) => {
    const asked = new Signal<string>("the second request");
    const gone = new Signal("the end of the first connection");
    const second = await serveRaw(t, ({ socket, head, accepting }) => {
      asked.fire(head);
      socket.write(`${accepting}\r\n`);
    });
    const first = await serveRaw(t, ({ socket, head }) => {
      assert.match(head, /secret/);
      socket.resume();
      socket.on("end", () => socket.end());
      socket.on("close", () => gone.fire());
      socket.write(redirecting(`http://127.0.0.1:${second}/there`));
    });
    await open(t, `ws://u:secret@127.0.0.1:${first}/`, {
      maxRedirects: 1,
      headers: { Cookie: "secret", "Proxy-Authorization": "secret", "X-Kept": "yes" },
    });
    const head = await asked.wait();
    assert.match(head, /^GET \/there HTTP/);
    assert.match(head, new RegExp(`^Host: 127.0.0.1:${second}\r$`, "m"));
    assert.match(head, /X-Kept: yes/);
    assert.doesNotMatch(head, /secret|Authorization|Cookie|Proxy/i);
    await gone.wait();
  });

  it("take neither servername nor client certificate to another origin", async (t) => {
    const seen: { port: number; servername: unknown; hasCertificate: boolean }[] = [];
    const serveSecure = (answer: (request: IncomingMessage) => string) => {
      const server = createHttpsServer({
        ...certificate,
        requestCert: true,
        rejectUnauthorized: false,
      });
      server.on("upgrade", (request, socket) => {
        const tls = request.socket as TLSSocket & { servername: unknown };
        seen.push({
          port: request.socket.localPort as number,
          servername: tls.servername,
          hasCertificate: Object.keys(tls.getPeerCertificate()).length > 0,
        });
        socket.write(answer(request));
      });
      return serve(t, server);
    };
    const last = await serveSecure(() => "HTTP/1.1 418 x\r\nContent-Length: 0\r\n\r\n");
    const first = await serveSecure(() => redirecting(`wss://127.0.0.1:${last}/`));
    const error = await handshakeFailure(`wss://127.0.0.1:${first}/`, {
      maxRedirects: 1,
      tls: { ...trusting, ...otherCertificate, servername: "socket.test" },
    });
    assert.equal(error.response?.status, 418);
    assert.deepEqual(seen, [
      { port: first, servername: "socket.test", hasCertificate: true },
      { port: last, servername: false, hasCertificate: false },
    ]);
  });

  it("never lead from wss to ws", async (t) => {
    let connections = 0;
    const plain = await serve(
      t,
      createTcpServer(() => connections++),
    );
    for (const scheme of ["ws", "http"]) {
      const port = await serveRaw(
        t,
        ({ socket }) => socket.write(redirecting(`${scheme}://127.0.0.1:${plain}/`)),
        { tls: true },
      );
      const error = await handshakeFailure(`wss://127.0.0.1:${port}`, {
        tls: trusting,
        maxRedirects: 9,
      });
      assert.equal(error.code, "ERR_HANDSHAKE_REDIRECT");
    }
    assert.equal(connections, 0);
  });
});

describe("TLS", () => {
  it("refuses a certificate that nobody trusts", async (t) => {
    const { port } = await serveEcho(t, { tls: true });
    const error = await networkFailure(`wss://127.0.0.1:${port}`);
    assert.equal(error.code, "ERR_CONNECT_FAILED");
    assert.equal(error.cause?.code, "DEPTH_ZERO_SELF_SIGNED_CERT");
  });

  it("refuses a trusted certificate for another host", async (t) => {
    const { port } = await serveEcho(t, { tls: true });
    for (const host of ["other.test", "x.socket.test", "localhost"]) {
      const error = await networkFailure(`wss://${host}:${port}`, { tls: trusting });
      assert.equal(error.cause?.code, "ERR_TLS_CERT_ALTNAME_INVALID");
    }
  });

  it("refuses an address that the certificate does not name", async (t) => {
    const port = await serve(t, createTlsServer(otherCertificate));
    const error = await networkFailure(`wss://127.0.0.1:${port}`, {
      tls: { ca: otherCertificate.cert },
    });
    assert.equal(error.cause?.code, "ERR_TLS_CERT_ALTNAME_INVALID");
  });

  it("can be told not to look", async (t) => {
    const { port } = await serveEcho(t, { tls: true });
    await open(t, `wss://other.test:${port}`, { tls: { rejectUnauthorized: false } });
  });

  const names: [host: string, servername: string | undefined, seen: string | false][] = [
    ["socket.test", undefined, "socket.test"],
    ["socket.test.", undefined, "socket.test"],
    ["127.0.0.1", undefined, false],
    ["127.0.0.1", "socket.test", "socket.test"],
  ];
  for (const [host, servername, seen] of names) {
    it(`for ${host}${servername ? ` as ${servername}` : ""} names ${seen || "nobody"}`, async (t) => {
      const { port, request } = await serveEcho(t, { tls: true });
      await open(t, `wss://${host}:${port}`, {
        tls: { ...trusting, ...(servername !== undefined && { servername }) },
      });
      const socket = request().socket as TLSSocket & { servername?: string | false };
      assert.equal(socket.servername, seen);
      assert.equal(socket.alpnProtocol, "http/1.1");
    });
  }

  it("options that Node refuses fail the call, and leave no connection", async (t) => {
    const gone = new Signal("the end of the connection");
    const port = await serve(
      t,
      createTcpServer((socket) => socket.resume().on("close", () => gone.fire())),
    );
    const error = await failureOf(`wss://127.0.0.1:${port}`, { tls: { minVersion: "x" as never } });
    assert.equal((error as { code?: string }).code, "ERR_TLS_INVALID_PROTOCOL_VERSION");
    await gone.wait();
  });
});

describe("a proxy", () => {
  const password = "pr%C3%B6xy:secret".replace(":", "%3A");
  const authorization = `Basic ${Buffer.from("user:pröxy:secret").toString("base64")}`;
  for (const proxyTls of [false, true]) {
    for (const tls of [false, true]) {
      for (const hasCredentials of [false, true]) {
        const scheme = tls ? "wss" : "ws";
        const proxyScheme = proxyTls ? "https" : "http";
        const how = hasCredentials ? "with" : "without";
        it(`by ${proxyScheme}, ${how} credentials, leads to ${scheme}`, async (t) => {
          const { port, request } = await serveEcho(t, { tls });
          const proxy = await serveProxy(t, {
            tls: proxyTls,
            ...(hasCredentials && { authorization }),
          });
          const at = `${hasCredentials ? `user:${password}@` : ""}127.0.0.1:${proxy.port}`;
          const url = `${proxyScheme}://${at}`;
          const socket = await open(t, `${scheme}://socket.test:${port}/path`, {
            proxy: proxyTls ? { url, tls: trusting } : url,
            headers: { "X-Test": "yes" },
            tls: trusting,
          });
          await socket.send("x".repeat(100_000));
          assert.equal((await socket.receive()).data, "x".repeat(100_000));
          assert.equal(
            proxy.heads.join(),
            `CONNECT socket.test:${port} HTTP/1.1\r\nHost: socket.test:${port}\r\n` +
              `${hasCredentials ? `Proxy-Authorization: ${authorization}\r\n` : ""}` +
              "Connection: close\r\n\r\n",
          );
          assert.equal(request().headers["proxy-authorization"], undefined);
          assert.equal(request().headers.host, `socket.test:${port}`);
          await withTimeout(socket.close());
          assert.equal(socket.state, "closed");
          await withTimeout(socket.whenGone(), timeLimit, "the end of TCP");
        });
      }
    }
  }

  it("is told the default port, and an IPv6 address in brackets", async (t) => {
    const { port, heads } = await serveProxy(t, {
      answer: (socket) => socket.end("HTTP/1.1 502 x\r\n\r\n"),
    });
    for (const url of ["ws://a.test", "wss://a.test", "ws://[::1]", "wss://[::1]:444"]) {
      await handshakeFailure(url, { proxy: new URL(`http://127.0.0.1:${port}`) });
    }
    assert.deepEqual(
      heads.map((head) => head.split("\r\n")[0]),
      ["a.test:80", "a.test:443", "[::1]:80", "[::1]:444"].map((to) => `CONNECT ${to} HTTP/1.1`),
    );
  });

  it("is used anew for each redirect", async (t) => {
    const server = await serveRaw(t, ({ socket, head, accepting }) =>
      socket.write(
        head.startsWith("GET /2 ")
          ? `${accepting}\r\n`
          : "HTTP/1.1 302 Found\r\nLocation: /2\r\nContent-Length: 0\r\n\r\n",
      ),
    );
    const { port, heads } = await serveProxy(t);
    await open(t, `ws://socket.test:${server}/1`, {
      proxy: `http://127.0.0.1:${port}`,
      maxRedirects: 1,
    });
    assert.equal(heads.length, 2);
  });

  it("that wants other credentials gives an error without ours", async (t) => {
    for (const tls of [false, true]) {
      const { port } = await serveProxy(t, { tls, authorization: "Basic other" });
      const url = `${tls ? "https" : "http"}://someone:hidden@127.0.0.1:${port}`;
      const error = await handshakeFailure("ws://behind.test/", { proxy: { url, tls: trusting } });
      assert.equal(error.code, "ERR_HANDSHAKE_PROXY");
      assert.equal(error.response?.status, 407);
      assert.equal(error.response?.headers["proxy-authenticate"], "Basic");
      assert.equal(error.response?.body, "who is it?");
      assert.doesNotMatch(inspect(error, { depth: 9 }), /someone|hidden|c29tZW9uZTpoaWRkZW4/);
    }
  });

  const refusals: [name: string, text: string, body: string, ends?: boolean][] = [
    ["a length", "Content-Length: 4\r\n\r\nbody and more", "body"],
    ["a length of 0", "Content-Length: 0\r\n\r\n", ""],
    ["a length that is none", "X-Length: x\r\n\r\nbody", "body", true],
    ["chunks", "Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n", "body"],
    ["chunks cut off", "Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\nd", "bod", true],
    ["chunks that are none", "Transfer-Encoding: chunked\r\n\r\nzzz\r\nbody", "", true],
    ["the end as its length", "\r\nbody", "body", true],
    ["no end", `\r\n${"x".repeat(100_000)}`, "x".repeat(16 * 1024)],
    [
      "no end of its chunks",
      `Transfer-Encoding: chunked\r\n\r\n${"1\r\nx\r\n".repeat(50_000)}`,
      "",
    ],
  ];
  for (const [name, text, body, ends] of refusals) {
    it(`that refuses with a body with ${name} is quoted`, async (t) => {
      const { port } = await serveProxy(t, {
        answer: (socket) => {
          const answer = `HTTP/1.1 502 Bad Gateway\r\n${text}`;
          if (ends) socket.end(answer);
          else socket.write(answer);
        },
      });
      const error = await handshakeFailure("ws://behind.test/", {
        proxy: `http://127.0.0.1:${port}`,
      });
      assert.equal(error.response?.status, 502);
      if (name === "no end of its chunks")
        assert.match(error.response?.body ?? "", /^x{1000,16384}$/);
      else assert.equal(error.response?.body, body);
    });
  }

  it("that answers for the server is not believed", async (t) => {
    for (const scheme of ["ws", "wss"]) {
      const { port } = await serveProxy(t, {
        answer: (socket) => socket.write("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 x\r\n\r\n"),
      });
      const error = await handshakeFailure(`${scheme}://behind.test/`, {
        proxy: `http://127.0.0.1:${port}`,
      });
      assert.equal(error.code, "ERR_HANDSHAKE_PROXY");
    }
  });

  const failures: [name: string, answer: (socket: Socket) => void][] = [
    ["ends the connection", (socket) => socket.end()],
    ["drops the connection", (socket) => socket.destroy()],
    ["speaks another protocol", (socket) => socket.write("SSH-2.0-OpenSSH_9.0\r\n")],
    ["sends enormous headers", (socket) => socket.write(`HTTP/1.1 200 ${"x".repeat(1 << 20)}`)],
    ["ends the tunnel", (socket) => socket.end("HTTP/1.1 200 OK\r\n\r\n")],
  ];
  for (const [name, answer] of failures) {
    for (const tls of [false, true]) {
      it(`by ${tls ? "https" : "http"} that ${name} fails the call`, async (t) => {
        const { port } = await serveProxy(t, { tls, answer });
        for (const scheme of ["ws", "wss"]) {
          const url = `${tls ? "https" : "http"}://user:hidden@127.0.0.1:${port}`;
          const error = await networkFailure(`${scheme}://behind.test/`, {
            proxy: { url, tls: trusting },
          });
          assert.equal(error.code, "ERR_CONNECT_FAILED");
          assert.doesNotMatch(inspect(error, { depth: 9 }), /hidden/);
        }
      });
    }
  }

  it("has a certificate of its own to show", async (t) => {
    const { port } = await serveProxy(t, { tls: true });
    const error = await networkFailure("ws://behind.test/", {
      proxy: `https://127.0.0.1:${port}`,
      tls: { ...trusting, rejectUnauthorized: false },
    });
    assert.equal(error.cause?.code, "DEPTH_ZERO_SELF_SIGNED_CERT");
    assert.match(error.message, /^The connection to the proxy 127\.0\.0\.1:/);
  });

  it("does not vouch for the server behind it", async (t) => {
    const { port } = await serveEcho(t, { tls: true });
    for (const tls of [false, true]) {
      const proxy = await serveProxy(t, { tls });
      const url = `${tls ? "https" : "http"}://127.0.0.1:${proxy.port}`;
      const options = { proxy: { url, tls: trusting } };
      const unknown = await networkFailure(`wss://socket.test:${port}`, options);
      assert.equal(unknown.cause?.code, "DEPTH_ZERO_SELF_SIGNED_CERT");
      const other = await networkFailure(`wss://other.test:${port}`, { ...options, tls: trusting });
      assert.equal(other.cause?.code, "ERR_TLS_CERT_ALTNAME_INVALID");
    }
  });

  it("is not taken from the environment", async (t) => {
    const { port } = await serveEcho(t);
    const names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    const before = names.map((name) => [name, process.env[name]] as const);
    t.after(() => {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    });
    for (const name of names) process.env[name] = "http://127.0.0.1:1";
    await open(t, `ws://socket.test:${port}`);
  });
});

describe("compression", () => {
  const text = JSON.stringify(Array.from({ length: 100 }, (_, id) => ({ id, name: `user ${id}` })));

  for (const options of [
    { compression: true },
    { compression: { serverContextTakeover: true, clientContextTakeover: true } },
    { compression: { clientMaxWindowBits: 9, serverMaxWindowBits: 10 } },
  ]) {
    it(`is agreed on with ws: ${JSON.stringify(options)}`, async () => {
      const server = new WebSocketServer({
        port: 0,
        host: "127.0.0.1",
        perMessageDeflate: { threshold: 0 },
      });
      await once(server, "listening");
      server.on("connection", (peer) => {
        peer.on("message", (data, isBinary) => peer.send(data, { binary: isBinary }));
      });
      const { port } = server.address() as AddressInfo;
      const connected = new Promise<{ extensions: string }>((resolve) =>
        server.once("connection", resolve),
      );
      const socket = await connect(`ws://127.0.0.1:${port}/`, options);
      assert.match((await connected).extensions, /permessage-deflate/);
      for (const message of [text, "short", Buffer.from(text), text]) {
        await socket.send(message);
        const { data } = await socket.receive();
        assert.equal(String(data), String(message));
      }
      await socket.close();
      server.close();
    });
  }

  it("is left out when the server declines", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
    await once(server, "listening");
    server.on("connection", (peer) => peer.on("message", (data) => peer.send(String(data))));
    const { port } = server.address() as AddressInfo;
    const socket = await connect(`ws://127.0.0.1:${port}/`, { compression: true });
    await socket.send(text);
    assert.equal((await socket.receive()).data, text);
    await socket.close();
    server.close();
  });
});
