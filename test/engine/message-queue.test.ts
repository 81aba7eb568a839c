import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Message, MessageQueue } from "#dist/engine/message-queue.js";
import type { MessageType } from "#dist/protocol/protocol.js";
import { clientFrame, serverAndRawClient } from "../support/socket-pair.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const overhead = 128;

function queueOf(): MessageQueue {
  return new MessageQueue({ onWanted() {}, onEndReached() {} }, 64 * 1024);
}

/** Gives the queue whole messages that lie one behind the other in `chunk`, as one read does. */
function read(queue: MessageQueue, chunk: Buffer, messages: readonly [MessageType, string][]) {
  let at = 0;
  for (const [type, text] of messages) {
    at += 2;
    const end = at + chunk.write(text, at, "utf8");
    queue.push(type, chunk, at, end, 0, false, true, true);
    at = end;
  }
  queue.keep();
  chunk.fill("X");
}

function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** All that waits, as text. */
async function drain(queue: MessageQueue, count: number): Promise<[MessageType, string][]> {
  const received: [MessageType, string][] = [];
  for (let index = 0; index < count; index++) {
    const { type, data } = (await queue.receiveMessage(undefined)) as Message;
    received.push([type, String(data)]);
  }
  return received;
}

const mixed: [MessageType, string][] = [
  ["binary", "one"],
  ["text", "zwei é 中 🚩"],
  ["binary", ""],
  ["text", ""],
  ["binary", "x".repeat(2000)],
  ["text", "y".repeat(2000)],
];

describe("unread messages", () => {
  it("outlive the chunk they came in, and the turn", async () => {
    const queue = queueOf();
    const chunk = Buffer.alloc(10_000);
    for (const first of ["bytes", "decoded"]) {
      read(queue, chunk, [["text", first], ...mixed]);
      assert.deepEqual(await drain(queue, 1), [["text", first]]);
      queue.own();
      read(queue, chunk, mixed);
      queue.own();
      assert.deepEqual(await drain(queue, 2 * mixed.length), [...mixed, ...mixed]);
      assert.equal(queue.unread, 0);
    }
  });

  it("hold no memory that others share once the turn is over", async () => {
    const queue = queueOf();
    read(queue, Buffer.alloc(10_000), [
      ["binary", "taken"],
      ["binary", "left"],
    ]);
    assert.equal(queue.isSharing, true);
    const taken = (await queue.receiveMessage(undefined)).data as Buffer;
    assert.ok(taken.buffer.byteLength > 1000);
    queue.own();
    assert.equal(queue.isSharing, false);
    const left = (await queue.receiveMessage(undefined)).data as Buffer;
    assert.equal(left.toString(), "left");
    assert.equal(left.buffer.byteLength, 4);
  });

  it("do so on a connection whose handler does not receive", async () => {
    const { server, client } = await serverAndRawClient();
    client.write(Buffer.concat([clientFrame(2, "taken"), clientFrame(2, "left")]));
    const taken = (await server.receive()).data as Buffer;
    assert.equal(String(taken), "taken");
    await turn();
    await turn();
    const left = (await server.receive()).data as Buffer;
    assert.equal(String(left), "left");
    assert.equal(left.buffer.byteLength, 4);
    server.abort();
    client.destroy();
  });

  it("of text that were decoded early can still be received by their bytes", async () => {
    const queue = queueOf();
    const chunk = Buffer.alloc(10_000);
    read(queue, chunk, [["text", "first"]]);
    await drain(queue, 1);
    read(queue, chunk, [
      ["text", "zwei é 中 🚩"],
      ["text", "drei"],
    ]);
    const before = queue.unread;
    const bytes = Buffer.alloc(7);
    const piece = await queue.receivePiece(bytes, undefined);
    assert.deepEqual(piece, { count: 7, type: "text", endOfMessage: false });
    assert.equal(bytes.toString(), "zwei é");
    assert.ok(queue.unread < before + 8 && queue.unread > 0);
    assert.deepEqual(await drain(queue, 2), [
      ["text", " 中 🚩"],
      ["text", "drei"],
    ]);
    assert.equal(queue.unread, 0);
  });

  it("do not leave places behind in a queue that is never empty", async () => {
    const queue = queueOf();
    const chunk = Buffer.alloc(1000);
    read(queue, chunk, [["binary", "0"]]);
    let received = 0;
    const passOn = async (count: number) => {
      for (const end = received + count; received < end; received++) {
        read(queue, chunk, [["binary", String(received + 1)]]);
        const { data } = (await queue.receiveMessage(undefined)) as Message;
        if (received % 7 === 0) queue.own();
        if (String(data) !== String(received)) assert.fail(`${data} instead of ${received}`);
      }
    };
    // What the compiler makes of all this is there before the measurement.
    await passOn(100_000);
    const before = heapUsed();
    await passOn(800_000);
    const growth = heapUsed() - before;
    // A place has 8 bytes.
    assert.ok(growth < 3_000_000, `${growth} bytes more`);
    assert.deepEqual(await drain(queue, 1), [["binary", "900000"]]);
  });

  it("are counted with what they cost", async () => {
    const queue = queueOf();
    read(queue, Buffer.alloc(100), [
      ["binary", "12345"],
      ["text", "123"],
    ]);
    assert.equal(queue.unread, 8 + 2 * overhead);
    await drain(queue, 1);
    assert.equal(queue.unread, 3 + overhead);
    queue.discard();
    assert.equal(queue.unread, 0);
    assert.equal(queue.isSharing, false);
  });
});
