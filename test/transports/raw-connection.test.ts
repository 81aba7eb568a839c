import assert from "node:assert/strict";
import { createServer } from "node:http";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { ConnectionClosedError, compose, handleUpgrades, SendBufferFullError } from "halyard";
import { type ConnectionOptions, mapConnection, type RawConnection } from "halyard/hub";
import type { TransportName } from "#dist/hub/transport.js";
import {
  keepingLogger,
  listen,
  once,
  Signal,
  stop,
  until,
  withTimeout,
} from "../support/network.js";
import { clients, openSocket, untilReceived } from "../support/transports.js";

const names = Object.keys(clients) as TransportName[];

async function start(
  t: TestContext,
  handler: (connection: RawConnection) => unknown,
  options: ConnectionOptions = {},
) {
  const logger = keepingLogger();
  const server = createServer(compose([mapConnection("/raw", handler, { logger, ...options })]));
  handleUpgrades(server, { logger });
  const port = await listen(server);
  t.after(() => stop(server));
  return { url: `http://127.0.0.1:${port}/raw`, logger, server };
}

const codeOf = (error: unknown) => (error as { code?: string }).code;

describe("mapConnection", () => {
  it("sends strings as text and bytes as binary, or as one says", async (t) => {
    const { url } = await start(t, async (connection) => {
      await connection[Symbol.asyncIterator]().next();
      await connection.send("text");
      await connection.send(Buffer.from("bytes"));
      await connection.send(new Uint8Array([98]).buffer);
      await connection.send(new DataView(new Uint8Array([98]).buffer));
      await connection.send(Buffer.from("as text"), { type: "text" });
      await assert.rejects(connection.send(7 as never), TypeError);
    });
    const socket = await openSocket(url, undefined);
    const frames: [string, boolean][] = [];
    socket.on("message", (data, isBinary) => frames.push([String(data), isBinary]));
    socket.send("ready");
    const [code] = await once(socket, "close");
    assert.equal(code, 1000);
    assert.deepEqual(frames, [
      ["text", false],
      ["bytes", true],
      ["b", true],
      ["b", true],
      ["as text", false],
    ]);
  });

  for (const name of names) {
    it(`closes ${name} when the handler returns or throws`, async (t) => {
      const { url, logger } = await start(t, async (connection) => {
        for await (const bytes of connection) {
          await connection.send("answer");
          if (String(bytes) === "throw") throw new Error("a mistake");
          return;
        }
      });
      for (const [word, code] of [
        ["return", "1000"],
        ["throw", "1011"],
      ] as const) {
        const client = await clients[name](url);
        await client.send(word);
        const words = { WebSockets: code, ServerSentEvents: "ended", LongPolling: "204" };
        assert.equal(await withTimeout(client.ended), words[name]);
        assert.equal(client.received, "answer");
      }
      const lines = logger.lines.filter(({ level }) => level === "error");
      assert.equal(lines.length, 1);
    });

    it(`ends the loop over ${name} when the client says good-bye`, async (t) => {
      const ended = new Signal<RawConnection>("the end of the loop");
      const { url, logger } = await start(t, async (connection) => {
        let received = "";
        for await (const bytes of connection) received += bytes;
        connection.items.set("received", received);
        ended.fire(connection);
      });
      const client = await clients[name](url);
      await client.send("one,");
      await client.send("two");
      await client.close();
      const connection = await ended.wait();
      assert.equal(connection.items.get("received"), "one,two");
      assert.equal(connection.signal.aborted, true);
      await assert.rejects(connection.send("late"), ConnectionClosedError);
      assert.deepEqual(logger.lines, []);
    });

    it(`keeps the client's pace in both directions over ${name}`, async (t) => {
      const total = 8 * 1024 * 1024;
      const gate = new Signal("the gate");
      let most = 0;
      const { url } = await start(t, async (connection) => {
        let received = 0;
        await gate.wait();
        for await (const bytes of connection) {
          most = Math.max(most, bytes.length);
          received += bytes.length;
          if (received === total) break;
        }
        for (let sent = 0; sent < total; sent += 64 * 1024) {
          await connection.send(Buffer.alloc(64 * 1024, "y"));
          assert.ok(connection.bufferedBytes <= 192 * 1024, String(connection.bufferedBytes));
        }
      });
      const client = await clients[name](url);
      const sent = client.send("x".repeat(total));
      await sleep(200);
      gate.fire();
      await sent;
      await until(() => client.received.length === total, "what is sent back");
      assert.ok(most <= 512 * 1024, `${most} bytes were kept`);
    });

    it(`aborts ${name}`, async (t) => {
      const gone = new Signal<unknown>("the abort");
      const { url, logger } = await start(t, async (connection) => {
        connection.signal.addEventListener("abort", () => gone.fire(undefined));
        connection.abort();
        for await (const _ of connection) assert.fail();
      });
      const client = await clients[name](url).catch(() => undefined);
      await gone.wait();
      client?.vanish();
      assert.deepEqual(logger.lines, []);
    });
  }

  it("throws at the loop when the connection is lost, which is no error of the application", async (t) => {
    const ended = new Signal<unknown>("the end of the loop");
    const { url, logger } = await start(t, async (connection) => {
      try {
        for await (const _ of connection);
      } catch (error) {
        ended.fire(error);
        throw error;
      }
    });
    (await openSocket(url, undefined)).terminate();
    assert.equal(codeOf(await ended.wait()), "ERR_CONNECTION_LOST");
    const polls = await clients.LongPolling(url);
    polls.vanish();
    assert.deepEqual(logger.lines, []);
  });

  it("refuses what nobody awaits", async (t) => {
    const refused = new Signal<unknown>("the refusal");
    const { url } = await start(t, async (connection) => {
      let refusal: unknown;
      while (refusal === undefined) {
        connection.send(Buffer.alloc(512 * 1024)).catch((error) => {
          refusal = error;
        });
        assert.ok(connection.bufferedBytes < 4 * 1024 * 1024, "too much is kept");
        await turn();
      }
      refused.fire(refusal);
    });
    const socket = await openSocket(url, undefined);
    socket.pause();
    assert.ok((await refused.wait()) instanceof SendBufferFullError);
    socket.terminate();
  });

  it("lets one receive wait at a time", async (t) => {
    const seen = new Signal<unknown>("the refusal");
    const { url } = await start(t, async (connection) => {
      const loop = connection[Symbol.asyncIterator]();
      const first = loop.next();
      loop.next().catch(seen.fire);
      await first;
    });
    const socket = await openSocket(url, undefined);
    assert.equal(codeOf(await seen.wait()), "ERR_RECEIVE_PENDING");
    socket.close();
  });

  it("tells what is known of the connection", async (t) => {
    const opened = new Signal<RawConnection>("the connection");
    const { url } = await start(
      t,
      async (connection) => {
        opened.fire(connection);
        for await (const _ of connection);
      },
      { user: () => ({ id: "ann" }) },
    );
    const client = await clients.ServerSentEvents(`${url}`);
    const connection = await opened.wait();
    assert.equal(connection.id, client.id);
    assert.equal(connection.transport, "ServerSentEvents");
    assert.equal(connection.userId, "ann");
    assert.deepEqual(connection.user, { id: "ann" });
    assert.equal(connection.request.path, "/raw");
    assert.equal(connection.signal.aborted, false);
    client.vanish();
  });

  it("wants a path and a function", () => {
    assert.throws(() => mapConnection("raw", () => {}), /^TypeError: A path begins with a slash/);
    assert.throws(() => mapConnection("/raw?x", () => {}), TypeError);
    assert.throws(() => mapConnection("/raw", "echo" as never), /^TypeError: The handler/);
  });

  it("survives a flood of small messages", async (t) => {
    const { url } = await start(t, async (connection) => {
      for await (const bytes of connection) await connection.send(bytes, { type: "text" });
    });
    const client = await clients.WebSockets(url);
    for (let n = 0; n < 1000; n++) void client.send(`${n},`);
    await untilReceived(client, ",999,");
    await client.close();
  });
});
