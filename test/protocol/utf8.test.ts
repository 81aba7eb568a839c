import assert from "node:assert/strict";
import { isUtf8 } from "node:buffer";
import { describe, it } from "node:test";
import { Utf8Validator } from "#dist/protocol/utf8.js";

const bytes = (digits: string) => Buffer.from(digits.replaceAll(" ", ""), "hex");

const valid = [
  { name: "nothing", value: "" },
  { name: "U+0000 and U+007F", value: "00 7f" },
  { name: "U+0080 and U+07FF", value: "c280 dfbf" },
  { name: "U+0800 and U+FFFF", value: "e0a080 efbfbf" },
  { name: "around the surrogates", value: "ed9fbf ee8080" },
  { name: "U+10000 and U+10FFFF", value: "f0908080 f48fbfbf" },
  { name: "non-characters", value: "efb790 efb7af efbfbe f09fbfbe f48fbfbf" },
  { name: "byte order mark", value: "efbbbf 61" },
  { name: "all lengths", value: "41 c3a9 e4b8ad f09f9880 f1808080 5a" },
];

/** The bytes, and at which of them it is certain that they are wrong; RFC 3629 §3 and §4. */
const invalid = [
  { name: "continuation byte alone", value: "61 80", at: 1 },
  { name: "continuation byte too many", value: "c3a9 80", at: 2 },
  { name: "lead of two bytes, then ASCII", value: "c3 61", at: 1 },
  { name: "lead of three bytes, then ASCII", value: "e2 61", at: 1 },
  { name: "two of three bytes, then ASCII", value: "e282 61", at: 2 },
  { name: "three of four bytes, then ASCII", value: "f09f98 61", at: 3 },
  { name: "lead behind lead", value: "e2 c3 a9", at: 1 },
  { name: "overlong, two bytes, C0", value: "61 c080", at: 1 },
  { name: "overlong, two bytes, C1", value: "c1bf", at: 0 },
  { name: "overlong, three bytes", value: "e09fbf", at: 1 },
  { name: "overlong, four bytes", value: "f08fbfbf", at: 1 },
  { name: "first surrogate", value: "eda080", at: 1 },
  { name: "last surrogate", value: "6f6b edbfbf", at: 3 },
  { name: "pair of surrogates", value: "eda080 edb080", at: 1 },
  { name: "U+110000", value: "f4908080", at: 1 },
  { name: "F5", value: "f5808080", at: 0 },
  { name: "five bytes", value: "f888808080", at: 0 },
  { name: "six bytes", value: "fc8480808080", at: 0 },
  { name: "FE", value: "6f6b fe", at: 2 },
  { name: "FF", value: "ff", at: 0 },
];

/** Where the validator gives up when it gets pieces that end at `cuts`; -1 if it never does. */
function failsIn(pieces: readonly Buffer[]): number {
  const validator = new Utf8Validator();
  for (const [index, piece] of pieces.entries()) if (!validator.accepts(piece)) return index;
  return validator.isComplete ? -1 : pieces.length;
}

describe("Utf8Validator", () => {
  for (const { name, value } of valid) {
    it(`takes ${name} at every split`, () => {
      const all = bytes(value);
      for (let first = 0; first <= all.length; first++) {
        for (let second = first; second <= all.length; second++) {
          const pieces = [
            all.subarray(0, first),
            all.subarray(first, second),
            all.subarray(second),
          ];
          assert.equal(failsIn(pieces), -1, `cut at ${first} and ${second}`);
        }
      }
      assert.equal(failsIn([...all].map((byte) => Buffer.from([byte]))), -1, "byte by byte");
    });
  }

  for (const { name, value, at } of invalid) {
    it(`refuses ${name}, at the first byte that cannot be right`, () => {
      const all = bytes(value);
      for (let cut = 0; cut <= all.length; cut++) {
        const expected = at < cut ? 0 : 1;
        assert.equal(failsIn([all.subarray(0, cut), all.subarray(cut)]), expected, `cut at ${cut}`);
      }
      assert.equal(failsIn([...all].map((byte) => Buffer.from([byte]))), at, "byte by byte");
      const longer = Buffer.concat([Buffer.from("語".repeat(50)), all, Buffer.from("more")]);
      assert.equal(failsIn([longer]), 0, "in the middle");
    });
  }

  it("is incomplete as long as a character is cut", () => {
    for (const character of ["é", "語", "😀"]) {
      const all = Buffer.from(character);
      const validator = new Utf8Validator();
      for (let at = 0; at < all.length; at++) {
        assert.equal(validator.isComplete, at === 0);
        assert.ok(validator.accepts(all.subarray(at, at + 1)));
        assert.ok(validator.accepts(Buffer.alloc(0)));
      }
      assert.ok(validator.isComplete);
    }
  });

  it("agrees with Node on every sequence of two bytes and many of three", () => {
    for (let first = 0; first < 256; first++) {
      for (let second = 0; second < 256; second++) {
        const pair = Buffer.from([first, second]);
        const label = pair.toString("hex");
        assert.equal(failsIn([pair]) === -1, isUtf8(pair), label);
        assert.equal(failsIn([pair.subarray(0, 1), pair.subarray(1)]) === -1, isUtf8(pair), label);
        for (const third of [0x00, 0x7f, 0x80, 0xa0, 0xbf, 0xc0, 0xff]) {
          const triple = Buffer.from([first, second, third]);
          const pieces = [triple.subarray(0, 1), triple.subarray(1, 2), triple.subarray(2)];
          assert.equal(failsIn(pieces) === -1, isUtf8(triple), triple.toString("hex"));
        }
      }
    }
  });

  it("begins anew after reset", () => {
    const validator = new Utf8Validator();
    assert.ok(validator.accepts(bytes("f09f")));
    validator.reset();
    assert.ok(validator.isComplete);
    assert.ok(validator.accepts(bytes("61")));
  });
});
