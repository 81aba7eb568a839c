import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type Flushable, flushBeforeInput, flushSoon } from "#dist/engine/output.js";
import { FrameWriter, slabSize } from "#dist/protocol/frame-writer.js";
import { clientFrame, connectionOver, tcpPair } from "../support/socket-pair.js";

class Counting implements Flushable {
  flushed = 0;

  flush(): boolean {
    this.flushed++;
    return true;
  }
}

function waiting(count: number): Counting[] {
  const connections = Array.from({ length: count }, () => new Counting());
  for (const connection of connections) flushSoon(connection);
  return connections;
}

const flushes = (connections: readonly Counting[]) => connections.map(({ flushed }) => flushed);

function spin(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

describe("output", () => {
  it("is flushed once, when the promise reactions of the turn are done", async () => {
    const [first] = waiting(1) as [Counting];
    for (let reaction = 0; reaction < 50; reaction++) {
      await undefined;
      assert.equal(first.flushed, 0);
    }
    const [second] = waiting(1) as [Counting];
    await turn();
    assert.deepEqual(flushes([first, second]), [1, 1]);
    await turn();
    assert.deepEqual(flushes([first, second]), [1, 1]);
  });

  it("of a few connections waits while more input is handled", async (t) => {
    const clock = t.mock.method(performance, "now", () => 1_000);
    const connections = waiting(15);
    clock.mock.mockImplementation(() => 1_000.9);
    flushBeforeInput();
    assert.ok(flushes(connections).every((count) => count === 0));
    await turn();
    assert.ok(flushes(connections).every((count) => count === 1));
  });

  it("of many connections leaves before more input is handled", async () => {
    const connections = waiting(16);
    flushBeforeInput();
    assert.ok(flushes(connections).every((count) => count === 1));
    await turn();
    assert.ok(flushes(connections).every((count) => count === 1));
  });

  it("leaves before more input is handled when it has waited a millisecond", async (t) => {
    const clock = t.mock.method(performance, "now", () => 1_000);
    const [connection] = waiting(1) as [Counting];
    clock.mock.mockImplementation(() => 1_001);
    flushBeforeInput();
    assert.equal(connection.flushed, 1);
    await turn();
  });

  it("leaves before more input is handled when it fills half of the slab", async () => {
    const writer = new FrameWriter(false);
    for (let written = 0; written <= slabSize / 2; written += 16 * 1024) {
      writer.writeBytes(0x82, new Uint8Array(16 * 1024));
    }
    const [connection] = waiting(1) as [Counting];
    flushBeforeInput();
    assert.equal(connection.flushed, 1);
    writer.take();
    await turn();
  });

  it("of one connection waits for one slow handler of another at most", async () => {
    const pairs = await Promise.all([tcpPair(), tcpPair(), tcpPair()]);
    const servers = pairs.map(({ left }) => left);
    /** Which sockets had been written to when each handler began. */
    const seen: boolean[][] = [];
    const wasWrittenTo = ({ bytesWritten }: Socket) => bytesWritten > 0;
    const handled = pairs.map(async ({ left }) => {
      const connection = connectionOver(left, "server");
      const message = await connection.receive();
      seen.push(servers.map(wasWrittenTo));
      spin(5);
      await connection.send(String(message.data));
    });
    await turn();
    // All of it is there when the event loop looks for input again.
    for (const { right } of pairs) right.write(clientFrame(1, "hello"));
    await Promise.all(handled);
    const written = seen.map((sockets) => sockets.filter(Boolean).length);
    assert.equal(written[0], 0);
    assert.ok((written[2] as number) >= 1, `the first answer waited for two others: ${written}`);
    for (const { left, right } of pairs) {
      left.destroy();
      right.destroy();
      await once(right, "close");
    }
  });
});
