/** Peers that mean harm: bounded, logged, and the others are served. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { TransportName } from "#dist/hub/transport.js";
import {
  openRaw,
  type RawConnection,
  requestText,
  until,
  upgradeRequest,
} from "../support/network.js";
import {
  answerTo,
  ask,
  begin,
  clients,
  echoing,
  FakeHandler,
  negotiate,
  type Running,
  startEndpoint,
  untilReceived,
} from "../support/transports.js";

const stray: unknown[] = [];
const keepStray = (error: unknown) => void stray.push(error);

/** Whether somebody harmless is served over each transport. */
async function checkOthers({ url }: Running): Promise<void> {
  for (const name of Object.keys(clients) as TransportName[]) {
    const client = await clients[name](url);
    await client.send("still serving");
    await untilReceived(client, "still serving");
    await client.close();
  }
}

async function raw(t: TestContext, port: number, text: string): Promise<RawConnection> {
  const connection = await openRaw(port);
  t.after(() => connection.destroy());
  connection.write(text);
  return connection;
}

describe("abuse of a mapped path", () => {
  before(() => {
    process.on("unhandledRejection", keepStray);
    process.on("uncaughtExceptionMonitor", keepStray);
  });
  after(() => {
    process.off("unhandledRejection", keepStray);
    process.off("uncaughtExceptionMonitor", keepStray);
  });

  it("bounds a flood of negotiates", async (t) => {
    const running = await startEndpoint(t, {
      handler: echoing(),
      options: { maxPendingNegotiates: 20, disconnectTimeout: 1_000 },
    });
    const statuses = new Map<number, number>();
    for (let n = 0; n < 10; n++) {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => ask(`${running.url}/negotiate`, { method: "POST" })),
      );
      for (const { status } of answers) statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    assert.ok((statuses.get(429) ?? 0) >= 120, JSON.stringify([...statuses]));
    assert.ok([...running.endpoint.connections].length <= 20);
    const warnings = running.logger.lines.filter(({ level }) => level === "warn");
    assert.ok(warnings.length <= 5, `${warnings.length} lines for 200 requests`);
    await until(() => [...running.endpoint.connections].length === 0, "the end of the pending");
    await checkOthers(running);
  });

  it("is not impressed by poll storms", async (t) => {
    const running = await startEndpoint(t, { handler: echoing() });
    const { connectionToken } = await negotiate(running.url);
    const target = `${running.url}?id=${connectionToken}`;
    await ask(target);
    const statuses: number[] = [];
    const storm = Array.from({ length: 200 }, async () => {
      const response = await answerTo(begin(target, {}));
      statuses.push(response.statusCode as number);
      response.resume();
    });
    await until(() => statuses.length === 199, "all but one");
    assert.ok(statuses.every((status) => status === 204));
    assert.equal((await ask(target, { method: "POST", body: "data" })).status, 200);
    await Promise.all(storm);
    assert.equal(statuses.at(-1), 200);
    await checkOthers(running);
  });

  it("ends POSTs that never end", async (t) => {
    const running = await startEndpoint(t, {
      handler: echoing(),
      options: { uploadTimeout: 500 },
    });
    const client = await clients.ServerSentEvents(running.url);
    const target = `${running.url}?id=${client.token}`;
    const endless = Array.from({ length: 5 }, () => {
      const upload = request(target, { method: "POST", agent: false });
      upload.on("error", () => {});
      upload.write("x");
      return upload;
    });
    t.after(() => {
      for (const upload of endless) upload.destroy();
    });
    for (const upload of endless) assert.equal((await answerTo(upload)).statusCode, 408);
    await client.send("next");
    await untilReceived(client, "next");
    client.vanish();
    await checkOthers(running);
  });

  it("hangs up on endless bodies of requests that it refuses", async (t) => {
    const running = await startEndpoint(t, { handler: echoing() });
    for (const path of ["/hub?id=unknown", "/hub"]) {
      const head = { Host: "x", "Transfer-Encoding": "chunked" };
      const connection = await raw(t, running.port, requestText(`POST ${path} HTTP/1.1`, head));
      const timer = setInterval(() => connection.write("1\r\nx\r\n"), 10);
      t.after(() => clearInterval(timer));
      const { status, headers } = await connection.readResponse();
      assert.ok([400, 404].includes(status));
      assert.equal(headers.get("connection"), "close");
      await connection.whenEnded();
      clearInterval(timer);
    }
    await checkOthers(running);
  });

  it("keeps a bounded part of what a paused receiver is sent byte by byte", async (t) => {
    const handler = new FakeHandler();
    const running = await startEndpoint(t, { handler });
    const client = await clients.ServerSentEvents(running.url);
    const receiver = await handler.opened();
    receiver.connection.pause();
    const upload = request(`${running.url}?id=${client.token}`, { method: "POST", agent: false });
    upload.on("error", () => {});
    t.after(() => upload.destroy());
    const before = process.memoryUsage().arrayBuffers;
    for (let n = 0; n < 20_000; n++) upload.write("x");
    await sleep(200);
    const grown = process.memoryUsage().arrayBuffers - before;
    assert.ok(grown < 16 * 1024 * 1024, `${grown} bytes for 20 000`);
    receiver.connection.resume();
    upload.end();
    await until(() => receiver.received.length === 20_000, "all of it");
    client.vanish();
  });

  it("cuts off clients that never read, over each transport", async (t) => {
    for (const name of Object.keys(clients) as TransportName[]) {
      const handler = new FakeHandler();
      const running = await startEndpoint(t, {
        handler,
        options: { transportSendTimeout: 200, disconnectTimeout: 1_000 },
      });
      const client = await clients[name](running.url);
      client.stall();
      const receiver = await handler.opened();
      const timer = setInterval(() => {
        if (receiver.connection.bufferedBytes < 1024 * 1024) receiver.send("x".repeat(256 * 1024));
      }, 1);
      t.after(() => clearInterval(timer));
      const { cause } = await receiver.end();
      clearInterval(timer);
      assert.equal(cause, "timeout");
      assert.equal(receiver.connection.bufferedBytes, 0);
      client.vanish();
    }
  });

  it("takes odd requests for what they are", async (t) => {
    const running = await startEndpoint(t, { handler: echoing() });
    const { port } = running;
    const get = (target: string) => requestText(`GET ${target} HTTP/1.1`, { Host: "x" });
    const rows: [string, number][] = [
      [get("/hub?id=%00"), 404],
      [get("/hub?id=__proto__"), 404],
      [get("/hub?id=a&id=b"), 404],
      [get("/hub?id[]=a"), 400],
      [get(`/hub?id=${"x".repeat(8_000)}`), 404],
      [get("/hub?%E0%A4%A"), 400],
      [get("http://x/hub"), 400],
      [get("//hub"), 404],
      [get("*"), 404],
      [requestText("POST /hub/negotiate?negotiateVersion[]=1 HTTP/1.1", { Host: "x" }), 200],
      [requestText("GET /hub HTTP/1.1", { Host: "x", Accept: ",;,text/event-stream" }), 400],
      [requestText("GET /hub HTTP/1.1", { Host: "x", Authorization: "Bearer" }), 400],
      [upgradeRequest({ "Sec-WebSocket-Protocol": "a,,b" }, "/hub?id=unknown"), 404],
      [upgradeRequest({ Accept: "text/event-stream" }, "/hub"), 101],
      [
        requestText("POST /hub HTTP/1.1", {
          Host: "x",
          Upgrade: "websocket",
          Connection: "Upgrade",
          "Content-Length": "0",
        }),
        400,
      ],
    ];
    for (const [text, expected] of rows) {
      const connection = await raw(t, port, text);
      const { status } = await connection.readResponse();
      assert.equal(status, expected, text.split("\r\n")[0]);
      connection.destroy();
    }
    await checkOthers(running);
  });

  it("survives clients that vanish at every step", async (t) => {
    const running = await startEndpoint(t, { handler: echoing() });
    const { port, url } = running;
    const steps = async () => {
      const token = (await negotiate(url)).connectionToken;
      return [
        requestText("POST /hub/negotiate HTTP/1.1", { Host: "x" }),
        requestText(`GET /hub?id=${token} HTTP/1.1`, { Host: "x" }),
        requestText(`GET /hub?id=${token} HTTP/1.1`, { Host: "x" }),
        requestText(`POST /hub?id=${token} HTTP/1.1`, { Host: "x", "Content-Length": "9" }, "half"),
        upgradeRequest({}, `/hub?id=${(await negotiate(url)).connectionToken}`),
        requestText(`GET /hub?id=${(await negotiate(url)).connectionToken} HTTP/1.1`, {
          Host: "x",
          Accept: "text/event-stream",
        }),
      ];
    };
    for (let n = 0; n < 20; n++) {
      for (const text of await steps()) {
        const connection = await openRaw(port);
        connection.write(text);
        if (n % 3 === 1) await new Promise(setImmediate);
        if (n % 3 === 2) await sleep(2);
        if (n % 2 === 0) connection.socket.resetAndDestroy();
        else connection.destroy();
      }
    }
    await checkOthers(running);
    assert.deepEqual(
      running.logger.lines.filter(({ level }) => level === "error"),
      [],
    );
  });

  it("has thrown nothing at the process", () => {
    assert.deepEqual(stray, []);
  });
});
