import assert from "node:assert/strict";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import { readFrom } from "#dist/engine/socket-reader.js";
import { sharedInput } from "#dist/protocol/shared-input.js";
import { tcpPair } from "../support/socket-pair.js";

describe("readFrom", () => {
  it("uses the shared buffer for TCP on this Node", async () => {
    const { left, right } = await tcpPair();
    const seen: [isShared: boolean, text: string][] = [];
    const arrived = new Promise<void>((resolve) => {
      const isShared = readFrom(left, (chunk, end) => {
        seen.push([chunk === sharedInput, chunk.toString("latin1", 0, end)]);
        resolve();
      });
      assert.equal(isShared, true, "this Node hides what `onread` sets up: the slow way is taken");
    });
    right.write("hello");
    await arrived;
    assert.deepEqual(seen, [[true, "hello"]]);
    right.end();
    await once(left, "end");
    left.destroy();
  });

  it("hands over first what the stream had read before", async () => {
    const { left, right } = await tcpPair();
    right.write("early");
    left.read(0);
    await once(left, "readable");
    let text = "";
    const complete = new Promise<void>((resolve) => {
      readFrom(left, (chunk, end) => {
        text += chunk.toString("latin1", 0, end);
        if (text === "early and late") resolve();
      });
    });
    right.write(" and late");
    await complete;
    left.destroy();
    right.destroy();
  });

  it("stops and goes on with pause and resume", async () => {
    const { left, right } = await tcpPair();
    let count = 0;
    readFrom(left, (_chunk, end) => {
      count += end;
      left.pause();
    });
    right.write("x");
    while (count === 0) await new Promise((resolve) => setImmediate(resolve));
    right.write("y");
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(count, 1);
    left.resume();
    while (count === 1) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(count, 2);
    left.destroy();
    right.destroy();
  });

  it("takes the place of node:net's callback on this Node", async () => {
    const { left, right } = await tcpPair();
    const { _handle: handle } = left as unknown as { _handle: { onread: unknown } };
    const before = handle.onread;
    readFrom(left, () => {});
    assert.notEqual(handle.onread, before, "this Node's handle is another: reads cost more");
    left.destroy();
    right.destroy();
  });

  it("puts off a time limit of the socket's, as node:net does", async () => {
    const { left, right } = await tcpPair();
    readFrom(left, () => {});
    let isOver = false;
    left.setTimeout(1_500, () => {
      isOver = true;
    });
    for (let sent = 0; sent < 18; sent++) {
      right.write("x");
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(isOver, false);
    }
    await once(left, "timeout");
    left.destroy();
    right.destroy();
  });

  it("leaves errors to node:net", async () => {
    const { left, right } = await tcpPair();
    let count = 0;
    readFrom(left, (_chunk, end) => {
      count += end;
    });
    right.write("x");
    while (count === 0) await new Promise((resolve) => setImmediate(resolve));
    const failed = once(left, "error");
    right.resetAndDestroy();
    assert.equal((await failed)[0].code, "ECONNRESET");
    assert.equal(count, 1);
  });

  it("takes the stream where there is no TCP handle", async () => {
    const stream = new PassThrough();
    const chunks: string[] = [];
    assert.equal(
      readFrom(stream, (chunk, end) => chunks.push(chunk.toString("latin1", 0, end))),
      false,
    );
    stream.end("data");
    await once(stream, "end");
    assert.deepEqual(chunks, ["data"]);
  });
});
