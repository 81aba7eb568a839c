import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { clientFrame, serverAndRawClient, socketPair } from "../support/socket-pair.js";

/** Payloads of the unmasked frames with `opcode` in `bytes`, all of which are shorter than 126. */
function payloads(bytes: Buffer, opcode: number): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at + 1] as number;
    if (((bytes[at] as number) & 0x0f) === opcode)
      found.push(bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return found;
}

function collect(client: NodeJS.ReadableStream): () => Buffer {
  const chunks: Buffer[] = [];
  client.on("data", (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks);
}

const code = (expected: string) => (error: unknown) =>
  (error as { code?: string }).code === expected;

describe("keep-alive", () => {
  it("pings a silent peer and aborts when no pong comes, without a pending receive", async () => {
    const { server, client } = await serverAndRawClient({
      keepAliveInterval: 40,
      keepAliveTimeout: 60,
    });
    const received = collect(client);
    await server.whenGone();
    assert.equal(server.state, "aborted");
    assert.deepEqual(
      payloads(received(), 9).map((id) => id.readBigUInt64BE()),
      [1n],
    );
    await assert.rejects(server.receive(), code("ERR_KEEP_ALIVE_TIMEOUT"));
  });

  it("keeps a peer that answers, without anybody receiving", async () => {
    const { server, client } = await socketPair({ keepAliveInterval: 20, keepAliveTimeout: 2_000 });
    await delay(200);
    assert.equal(server.state, "open");
    assert.equal(client.state, "open");
    client.abort();
  });

  it("is satisfied only by the pong that answers", async () => {
    const { server, client } = await serverAndRawClient({
      keepAliveInterval: 40,
      keepAliveTimeout: 100,
    });
    client.on("data", () => {
      for (const wrong of [Buffer.alloc(8), Buffer.alloc(8, 0xff), Buffer.from("other"), ""]) {
        client.write(clientFrame(10, wrong));
      }
    });
    await assert.rejects(server.receive(), code("ERR_KEEP_ALIVE_TIMEOUT"));
  });

  it("does not ping while input keeps coming", async () => {
    const { server, client } = await serverAndRawClient({
      keepAliveInterval: 400,
      keepAliveTimeout: 60_000,
    });
    const received = collect(client);
    const chatter = setInterval(() => client.write(clientFrame(10)), 20);
    await delay(1_200);
    clearInterval(chatter);
    assert.deepEqual(payloads(received(), 9), []);
    server.abort();
  });

  it("without a timeout sends unsolicited pongs and expects nothing", async () => {
    const { server, client } = await serverAndRawClient({
      keepAliveInterval: 20,
      keepAliveTimeout: 0,
    });
    const received = collect(client);
    await delay(200);
    assert.equal(server.state, "open");
    assert.deepEqual(payloads(received(), 9), []);
    assert.ok(payloads(received(), 10).length >= 2);
    server.abort();
  });

  for (const off of [0, Number.POSITIVE_INFINITY]) {
    it(`is off with an interval of ${off}`, async () => {
      const { server, client } = await serverAndRawClient({
        keepAliveInterval: off,
        keepAliveTimeout: 20,
      });
      const received = collect(client);
      await delay(150);
      assert.equal(received().length, 0);
      assert.equal(server.state, "open");
      server.abort();
    });
  }

  it("stands still while reading is paused", async () => {
    const { server, client } = await serverAndRawClient({
      keepAliveInterval: 30,
      keepAliveTimeout: 60,
      receiveWindow: 10,
    });
    const received = collect(client);
    client.write(clientFrame(1, "unread and over the window"));
    // Answers, but behind the message that nobody receives.
    client.on("data", () => {
      for (const ping of payloads(received(), 9).slice(-1)) client.write(clientFrame(10, ping));
    });
    await delay(300);
    assert.equal(server.state, "open");
    assert.equal((await server.receive()).data, "unread and over the window");
    await delay(150);
    assert.equal(server.state, "open");
    server.abort();
  });

  it("notices a peer that vanishes after our Close", async () => {
    const { server } = await serverAndRawClient({ keepAliveInterval: 30, keepAliveTimeout: 30 });
    await server.closeOutput();
    await assert.rejects(server.receive(), code("ERR_KEEP_ALIVE_TIMEOUT"));
  });
});

describe("ping", () => {
  it("resolves with the round-trip time", async () => {
    const { server, client } = await socketPair();
    const time = await server.ping();
    assert.ok(time > 0 && time < 5_000);
    client.abort();
  });

  it("is answered too by the pong of a later one", async () => {
    const { server, client } = await serverAndRawClient();
    const received = collect(client);
    const pings = [server.ping(), server.ping(), server.ping()];
    while (payloads(received(), 9).length < 3) await delay(1);
    client.write(clientFrame(10, payloads(received(), 9)[1]));
    await Promise.all(pings.slice(0, 2));
    const third = await Promise.race([pings[2], delay(30, "waiting")]);
    assert.equal(third, "waiting");
    server.abort();
    await assert.rejects(pings[2] as Promise<number>, code("ERR_ABORTED"));
  });

  it("is bounded, and given up by its signal", async () => {
    const { server } = await serverAndRawClient();
    const controller = new AbortController();
    const first = server.ping({ signal: controller.signal });
    for (let count = 1; count < 64; count++) void server.ping();
    await assert.rejects(server.ping(), code("ERR_PINGS_PENDING"));
    controller.abort();
    await assert.rejects(first, { name: "AbortError" });
    await assert.rejects(server.ping({ signal: controller.signal }), { name: "AbortError" });
    const again = server.ping();
    server.abort();
    await assert.rejects(again, code("ERR_ABORTED"));
    await assert.rejects(server.ping(), code("ERR_ABORTED"));
  });
});

describe("limits on time", () => {
  it("idleTimeout closes with 1001 when no message comes or goes", async () => {
    const { server, client } = await socketPair({ idleTimeout: 60 });
    await client.ping();
    const close = await client.receive();
    assert.deepEqual(close, { type: "close", status: 1001, description: "idle for too long" });
    await client.close();
    await server.whenGone();
    assert.equal(server.state, "closed");
  });

  it("idleTimeout spares a socket with messages", async () => {
    const { server, client } = await socketPair({ idleTimeout: 400 });
    for (let round = 0; round < 10; round++) {
      await delay(100);
      await (round % 2 ? server : client).send("x");
    }
    assert.equal(server.state, "open");
    client.abort();
  });

  it("maxLifetime closes with 1001 whatever happens", async () => {
    const { server, client } = await socketPair({ maxLifetime: 80 });
    const chatter = setInterval(() => void client.send("x"), 10);
    const seen = (async () => {
      for await (const _ of server);
    })();
    let close = await client.receive();
    while (close.type !== "close") close = await client.receive();
    clearInterval(chatter);
    assert.equal(close.description, "open for too long");
    await client.close();
    await seen;
  });
});
