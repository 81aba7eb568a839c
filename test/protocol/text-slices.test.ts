import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hasSlices, sliceLatin1, sliceUtf16 } from "#dist/protocol/text-slices.js";

describe("slices of text", () => {
  it("go the short way on this Node", () => {
    assert.equal(hasSlices, true);
  });

  it("give what toString gives", () => {
    const bytes = Buffer.from(Array.from({ length: 512 }, (_, index) => index & 0xff));
    for (const length of [0, 1, 2, 31, 32, 33, 256]) {
      for (const start of [0, 1, 255]) {
        const end = start + length;
        assert.equal(sliceLatin1(bytes, start, end), bytes.toString("latin1", start, end));
        assert.equal(sliceUtf16(bytes, start, end), bytes.toString("utf16le", start, end));
      }
    }
  });

  it("are of the view, not of the memory below it", () => {
    const view = Buffer.from("....a\0b\0c\0", "latin1").subarray(4);
    assert.equal(sliceLatin1(view, 0, 6), "a\0b\0c\0");
    assert.equal(sliceUtf16(view, 0, 6), "abc");
  });
});
