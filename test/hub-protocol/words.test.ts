import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { viewOf } from "#dist/hub-protocol/byte-text.js";
import { countOpenings, sawBeyondAscii, textEnd, word } from "#dist/hub-protocol/words.js";

describe("textEnd", () => {
  it("finds each byte that ends a string, at each place, behind any other byte", () => {
    for (let byte = 0; byte < 256; byte++) {
      const ends = byte < 0x20 || byte === 0x22 || byte === 0x5c;
      for (let length = 1; length <= 40; length++) {
        for (const at of new Set([0, length >> 2, length >> 1, length - 1])) {
          for (const filling of [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f]) {
            const bytes = new Uint8Array(length + 4).fill(filling, 1);
            bytes[1 + at] = byte;
            bytes[1 + length] = 0x1e;
            // What stands behind the end must not be found either.
            bytes[2 + length] = 0xff;
            const expected = ends ? 1 + at : 1 + length;
            const found = textEnd(bytes, viewOf(bytes), 1, length + 2);
            assert.equal(found, expected, `${byte} at ${at} of ${length} ${filling}s`);
            assert.equal(sawBeyondAscii, byte > 127);
          }
        }
      }
    }
  });

  it("finds the first of several, and passes over all that is not ASCII", () => {
    for (let length = 0; length < 40; length++) {
      const bytes = new Uint8Array(length + 24).fill(0x80, 0, length).fill(0x22, length);
      assert.equal(textEnd(bytes, viewOf(bytes), 0, bytes.length), length);
      assert.equal(sawBeyondAscii, length > 0);
      // What follows the end may be anything.
      bytes.fill(0xff, length + 1);
      bytes.fill(0x61, 0, length);
      bytes[bytes.length - 1] = 0;
      assert.equal(textEnd(bytes, viewOf(bytes), 0, bytes.length), length);
      assert.equal(sawBeyondAscii, false);
    }
  });
});

describe("countOpenings", () => {
  it("counts brackets and braces that open, and nothing else", () => {
    const all = Uint8Array.from({ length: 1024 }, (_, index) => index & 255);
    assert.equal(countOpenings(all, viewOf(all), 0, 1024), 8);
    for (let start = 0; start < 9; start++) {
      for (let end = start; end < 40; end++) {
        const bytes = Buffer.from('[{"[a]}[{['.repeat(5));
        const expected = bytes
          .subarray(start, end)
          .filter((byte) => "[{".includes(String.fromCharCode(byte)));
        assert.equal(countOpenings(bytes, viewOf(bytes), start, end), expected.length);
      }
    }
  });
});

describe("word", () => {
  it("is what a view reads", () => {
    const bytes = Buffer.from("abcd");
    assert.equal(viewOf(bytes).getInt32(0, true), word("abcd"));
  });
});
