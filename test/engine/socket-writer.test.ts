import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { SendQueue } from "#dist/engine/send-queue.js";
import { writeHandleOf } from "#dist/engine/socket-writer.js";
import { until, withTimeout } from "../support/network.js";
import { tcpPair } from "../support/socket-pair.js";

function queueOver(socket: Socket): { queue: SendQueue; drained: () => number } {
  let count = 0;
  const onDrained = () => {
    count++;
  };
  const queue = new SendQueue(socket, 1 << 16, 1 << 30, { onDrained });
  return { queue, drained: () => count };
}

/** Lets the stream write once, which shows how it does so. */
async function prepare(queue: SendQueue, socket: Socket): Promise<void> {
  queue.write(Buffer.from("first "));
  await turn();
  assert.equal(socket.writableLength, 0);
}

function collect(socket: Socket): { text: () => string; bytes: () => number } {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  return {
    text: () => Buffer.concat(chunks).toString("latin1"),
    bytes: () => chunks.reduce((sum, { length }) => sum + length, 0),
  };
}

describe("writing without the stream", () => {
  it("is found on this Node", async () => {
    const { left, right } = await tcpPair();
    const { queue } = queueOver(left);
    await prepare(queue, left);
    assert.ok(
      writeHandleOf(left) !== undefined,
      "this Node hides what the stream uses: look at socket-writer.ts",
    );
    left.destroy();
    right.destroy();
  });

  it("is done without for streams that are no TCP sockets", () => {
    assert.equal(writeHandleOf(new PassThrough()), undefined);
  });

  it("keeps the order with what the stream was given before", async () => {
    const { left, right } = await tcpPair();
    const received = collect(right);
    const { queue } = queueOver(left);
    left.cork();
    left.write("corked ");
    queue.write(Buffer.from("a "));
    left.uncork();
    await turn();
    queue.write(Buffer.from("b "));
    queue.write([Buffer.from("c "), Buffer.from("d ")]);
    left.end();
    await once(right, "end");
    assert.equal(received.text(), "corked a b c d ");
    right.destroy();
  });

  it("says what waits, keeps it alive and in order, and tells when it is gone", async () => {
    const { left, right } = await tcpPair();
    const { queue, drained } = queueOver(left);
    await prepare(queue, left);
    right.pause();
    let sent = 6;
    let isFree = true;
    for (let round = 0; round < 50; round++) {
      const large = Buffer.alloc(500_000, round);
      isFree = queue.write(round % 2 === 0 ? large : [large, Buffer.from([round])]);
      sent += large.length + (round % 2);
    }
    assert.equal(isFree, false);
    assert.ok(queue.held > 0);
    assert.equal(queue.isCongested, true);
    const before = drained();
    let isReady = false;
    void queue.whenReady(0, false, undefined).then(() => {
      isReady = true;
    });
    await turn();
    assert.equal(isReady, false);
    // What was written and is forgotten here must not be overwritten.
    const pressure = Array.from({ length: 50 }, () => Buffer.alloc(500_000, 255));
    assert.equal(pressure.length, 50);
    const received: Buffer[] = [];
    right.on("data", (chunk) => received.push(chunk));
    right.resume();
    left.end();
    await once(right, "end");
    const all = Buffer.concat(received);
    assert.equal(all.length, sent);
    let at = 6;
    for (let round = 0; round < 50; round++) {
      const length = 500_000 + (round % 2);
      assert.ok(all.subarray(at, at + length).equals(Buffer.alloc(length, round)));
      at += length;
    }
    await until(() => isReady && drained() > before, "being drained");
    assert.equal(queue.held, 0);
    right.destroy();
  });

  it("keeps the writes of many sockets apart, some of them slow", async () => {
    const pairs = await Promise.all([tcpPair(), tcpPair(), tcpPair()]);
    const queues = pairs.map(({ left }) => queueOver(left).queue);
    const hashes = pairs.map(() => ({ sent: createHash("sha1"), received: createHash("sha1") }));
    for (const [index, { left, right }] of pairs.entries()) {
      hashes[index]?.sent.update("first ");
      await prepare(queues[index] as SendQueue, left);
      right.on("data", (chunk) => hashes[index]?.received.update(chunk));
    }
    for (let round = 0; round < 600; round++) {
      for (const [index, { right }] of pairs.entries()) {
        // Sizes about those of the kernel's buffers, so that many writes are done in part.
        const size = (round * 7919 * (index + 1)) % (round % 5 === 0 ? 900_000 : 3_000);
        const bytes = Buffer.alloc(size + 1, round + index);
        hashes[index]?.sent.update(bytes);
        queues[index]?.write(round % 3 === 0 ? [bytes.subarray(0, 1), bytes.subarray(1)] : bytes);
        if (round % 40 === 10 * index) right.pause();
        if (round % 40 === 10 * index + 20) right.resume();
      }
      if (round % 7 === 0) await turn();
    }
    for (const { left, right } of pairs) {
      right.resume();
      left.end();
      await withTimeout(once(right, "end"), 20_000, "the end");
      right.destroy();
    }
    for (const { sent, received } of hashes) {
      assert.equal(received.digest("hex"), sent.digest("hex"));
    }
  });

  it("lets go on who waits for what is then written at once", async () => {
    const { left, right } = await tcpPair();
    const { queue } = queueOver(left);
    await prepare(queue, left);
    const ready = queue.whenReady(20_000, true, undefined);
    assert.equal(queue.write(Buffer.alloc(20_000)), true);
    await withTimeout(ready, 5_000, "the sender");
    left.destroy();
    right.destroy();
  });

  it("ends the socket with an error when the peer is gone, as the stream does", async () => {
    const { left, right } = await tcpPair();
    const { queue } = queueOver(left);
    await prepare(queue, left);
    left.pause();
    const failed = once(left, "error");
    right.resetAndDestroy();
    await until(() => {
      if (!left.destroyed) queue.write(Buffer.alloc(1000));
      return left.destroyed;
    }, "an error");
    const [error] = await failed;
    assert.match(String(error.code), /^(EPIPE|ECONNRESET)$/);
  });

  it("survives a socket that is destroyed with bytes on their way", async () => {
    const { left, right } = await tcpPair();
    const { queue } = queueOver(left);
    await prepare(queue, left);
    right.pause();
    for (let round = 0; round < 20; round++) queue.write(Buffer.alloc(1_000_000));
    assert.ok(queue.held > 0);
    left.destroy();
    await once(left, "close");
    for (let pass = 0; pass < 5; pass++) await turn();
    right.destroy();
  });
});
