import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BufferView } from "#dist/protocol/buffer-view.js";
import { copyRange } from "#dist/protocol/copy-range.js";

describe("copyRange", () => {
  it("copies what `set` would, at every length and place, whole or in part", () => {
    const source = Buffer.from(Array.from({ length: 200 }, (_, index) => index));
    for (let length = 0; length <= 150; length++) {
      for (const start of [0, 1, 50]) {
        for (const bytes of [source, source.subarray(0, start + length), source.subarray(7)]) {
          const end = Math.min(start + length, bytes.length);
          const expected = new Uint8Array(300).fill(255);
          expected.set(bytes.subarray(start, end), 3);
          const target = new Uint8Array(300).fill(255);
          copyRange(bytes, start, end, target, 3);
          assert.deepEqual(target, expected);
        }
      }
    }
  });
});

describe("BufferView", () => {
  it("makes Buffers, as `subarray` does", () => {
    const memory = Buffer.allocUnsafeSlow(10).fill("0123456789");
    const view = new BufferView(memory.buffer, 2, 3);
    assert.deepStrictEqual(view, memory.subarray(2, 5));
    assert.equal(Buffer.isBuffer(view), true);
    assert.equal(view.toString(), "234");
  });
});
