/** What accept() does beyond what every adapter's suite asks of it. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { describe, it, type TestContext } from "node:test";
import {
  type AcceptOptions,
  ConnectionClosedError,
  compose,
  HalyardError,
  HandshakeError,
  handleUpgrades,
  InvalidStateError,
  type WebSocketRequest,
  webSockets,
} from "halyard";
import {
  keepingLogger,
  listen,
  openRaw,
  type RequestHeaders,
  rawRequest,
  requestText,
  Signal,
  stop,
  upgradeHeaders,
  upgradeRequest,
} from "../support/network.js";

type Handler = (
  request: WebSocketRequest,
  response: Parameters<Parameters<typeof compose>[0][number]>[1],
) => unknown;

async function start(t: TestContext, handler: Handler) {
  const logger = keepingLogger();
  const server = createServer(compose([webSockets({ logger }), handler], { logger }));
  const upgrades = handleUpgrades(server, { logger });
  t.after(async () => {
    for (const connection of upgrades.connections) connection.abort();
    await stop(server);
  });
  return { port: await listen(server), logger };
}

/** What accept() throws, for a request with changed headers. */
async function refusalOf(t: TestContext, request: string): Promise<unknown> {
  const thrown = new Signal<unknown>("accept()");
  const { port } = await start(t, async ({ webSockets }) => {
    await webSockets.accept().then(thrown.fire, (error) => {
      thrown.fire(error);
      throw error;
    });
  });
  const connection = await openRaw(port);
  t.after(() => connection.destroy());
  connection.write(request);
  return thrown.wait();
}

describe("isWebSocketRequest", () => {
  const rows: readonly (readonly [upgrade: string | readonly string[] | undefined, is: boolean])[] =
    [
      ["websocket", true],
      ["WebSocket", true],
      ["websocket, example", true],
      ["h2c, websocket", true],
      [["h2c", "websocket"], true],
      [undefined, false],
      ["h2c", false],
      ["websockets", false],
      ["web socket", false],
    ];
  for (const [upgrade, is] of rows) {
    it(`is ${is} for Upgrade: ${upgrade}`, async (t) => {
      const { port } = await start(t, ({ webSockets }, response) =>
        response.end(String(webSockets.isWebSocketRequest)),
      );
      const response = await rawRequest(port, upgradeRequest({ Upgrade: upgrade }));
      assert.equal(response.body, String(is));
    });
  }
});

describe("requestedProtocols", () => {
  const rows: readonly (readonly [header: RequestHeaders[string], protocols: string[]])[] = [
    [undefined, []],
    ["", []],
    ["one", ["one"]],
    ["one,two ,\tthree", ["one", "two", "three"]],
    ["one,, two,", ["one", "two"]],
    [
      ["b, a", "c"],
      ["b", "a", "c"],
    ],
  ];
  for (const [header, protocols] of rows) {
    it(`is ${JSON.stringify(protocols)} for ${JSON.stringify(header)}`, async (t) => {
      const { port } = await start(t, ({ webSockets }, response) =>
        response.end(JSON.stringify(webSockets.requestedProtocols)),
      );
      const response = await rawRequest(port, upgradeRequest({ "Sec-WebSocket-Protocol": header }));
      assert.deepEqual(JSON.parse(response.body), protocols);
    });
  }
});

describe("accept", () => {
  const refusals: readonly (readonly [what: string, request: string, code: string])[] = [
    ["the method", requestText("DELETE /ws HTTP/1.1", upgradeHeaders()), "ERR_HANDSHAKE_METHOD"],
    ["the connection", upgradeRequest({ Connection: "close" }), "ERR_HANDSHAKE_CONNECTION"],
    ["the version", upgradeRequest({ "Sec-WebSocket-Version": "7, 8" }), "ERR_HANDSHAKE_VERSION"],
    ["the key", upgradeRequest({ "Sec-WebSocket-Key": "" }), "ERR_HANDSHAKE_KEY"],
  ];
  for (const [what, request, code] of refusals) {
    it(`throws HandshakeError ${code} when it refuses for ${what}`, async (t) => {
      const error = await refusalOf(t, request);
      assert.ok(error instanceof HandshakeError && error instanceof HalyardError);
      assert.equal(error.code, code);
      assert.equal(error.status, what === "the version" ? 426 : 400);
    });
  }

  it("takes a version list that has 13", async (t) => {
    const { port } = await start(t, ({ webSockets }) => webSockets.accept());
    const response = await rawRequest(
      port,
      upgradeRequest({ "Sec-WebSocket-Version": "8, 13", Connection: "keep-alive, Upgrade" }),
    );
    assert.equal(response.status, 101);
  });

  it("logs a refusal, without what the peer sent", async (t) => {
    const { port, logger } = await start(t, ({ webSockets }) => webSockets.accept());
    await rawRequest(port, upgradeRequest({ "Sec-WebSocket-Key": "top secret" }));
    assert.deepEqual(logger.lines, [
      {
        level: "info",
        message: "halyard: a handshake was refused",
        details: { code: "ERR_HANDSHAKE_KEY", status: 400 },
      },
    ]);
  });

  it("drops headers that describe the body which a refusal replaces", async (t) => {
    const { port } = await start(t, ({ webSockets }, response) => {
      response.setHeader("Content-Encoding", "gzip");
      response.setHeader("Content-Length", "3");
      response.setHeader("X-Kept", "yes");
      return webSockets.accept();
    });
    const response = await rawRequest(port, upgradeRequest({ "Sec-WebSocket-Version": "8" }));
    assert.equal(response.status, 426);
    assert.match(response.body, /version 13/);
    assert.equal(response.headers.get("content-encoding"), null);
    assert.equal(response.headers.get("x-kept"), "yes");
    assert.equal(response.headers.get("connection"), "Upgrade, close");
  });

  it("cannot be tried again after a refusal", async (t) => {
    const codes = new Signal<unknown[]>("the handler");
    const { port } = await start(t, async ({ webSockets }) => {
      const codeOf = () => webSockets.accept().catch((error) => error.code);
      codes.fire([await codeOf(), await codeOf()]);
    });
    const response = await rawRequest(port, upgradeRequest({ "Sec-WebSocket-Key": "x" }));
    assert.equal(response.status, 400);
    assert.deepEqual(await codes.wait(), ["ERR_HANDSHAKE_KEY", "ERR_ALREADY_ACCEPTED"]);
  });

  const mistakes: readonly (readonly [options: AcceptOptions, name: string, text: RegExp])[] = [
    [{ subprotocol: "other" }, "TypeError", /"other" was not offered/],
    [{ subprotocol: "" }, "TypeError", /"" was not offered/],
    [{ subprotocol: "CHAT" }, "TypeError", /"CHAT" was not offered/],
    [{ closeTimeout: 0 }, "RangeError", /closeTimeout/],
    [{ logger: {} as never }, "TypeError", /logger/],
  ];
  for (const [options, name, text] of mistakes) {
    it(`can be tried again after ${JSON.stringify(options)}: ${name}`, async (t) => {
      const thrown = new Signal<Error>("the handler");
      const { port } = await start(t, async ({ webSockets }) => {
        thrown.fire(await webSockets.accept(options).catch((error) => error));
        await webSockets.accept({ subprotocol: "chat" });
      });
      const response = await rawRequest(
        port,
        upgradeRequest({ "Sec-WebSocket-Protocol": "chat, talk" }),
      );
      const error = await thrown.wait();
      assert.equal(error.name, name);
      assert.match(error.message, text);
      assert.equal(response.status, 101);
      assert.equal(response.headers.get("sec-websocket-protocol"), "chat");
    });
  }

  it("throws ERR_RESPONSE_SENT when the request has an answer", async (t) => {
    const thrown = new Signal<unknown>("the handler");
    const { port } = await start(t, async ({ webSockets }, response) => {
      response.end("an answer");
      thrown.fire(await webSockets.accept().catch((error) => error));
    });
    const response = await rawRequest(port, upgradeRequest());
    assert.deepEqual([response.status, response.body], [200, "an answer"]);
    const error = await thrown.wait();
    assert.ok(error instanceof InvalidStateError);
    assert.equal(error.code, "ERR_RESPONSE_SENT");
  });

  it("throws ConnectionClosedError when the client has left", async (t) => {
    const thrown = new Signal<unknown>("the handler");
    const arrived = new Signal("the request");
    const { port, logger } = await start(t, async ({ webSockets }, response) => {
      const closed = new Promise((resolve) => response.once("close", resolve));
      arrived.fire();
      await closed;
      await webSockets.accept().catch((error) => {
        thrown.fire(error);
        throw error;
      });
    });
    const connection = await openRaw(port);
    connection.write(upgradeRequest());
    await arrived.wait();
    connection.socket.resetAndDestroy();
    const error = await thrown.wait();
    assert.ok(error instanceof ConnectionClosedError);
    assert.equal(error.code, "ERR_CONNECTION_LOST");
    assert.deepEqual(logger.lines, []);
  });
});
