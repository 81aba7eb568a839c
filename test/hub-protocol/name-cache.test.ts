import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { viewOf } from "#dist/hub-protocol/byte-text.js";
import { names } from "#dist/hub-protocol/name-cache.js";

function read(name: string): string {
  const bytes = Buffer.from(`..${name}${"?".repeat(30)}`);
  return names.get(bytes, viewOf(bytes), 2, 2 + Buffer.byteLength(name));
}

describe("names", () => {
  it("are right, however many there are and however alike they look", () => {
    for (let round = 0; round < 2; round++) {
      for (let length = 0; length < 40; length++) {
        for (const last of "abAB01\0") {
          const name = "n".repeat(length) + last;
          assert.equal(read(name), name);
        }
      }
      for (let i = 0; i < 5000; i++) assert.equal(read(`name${i}`), `name${i}`);
    }
  });

  it("are right in any alphabet", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: "binary", maxLength: 12 }), { maxLength: 5 }),
        (list) => {
          for (const name of [...list, ...list]) {
            const text = Buffer.from(name).toString();
            assert.equal(read(name), text);
          }
        },
      ),
    );
  });

  it("are right at the very end of their memory", () => {
    const bytes = new Uint8Array(new TextEncoder().encode("xEcho"));
    assert.equal(names.get(bytes, viewOf(bytes), 1, 5), "Echo");
    assert.equal(names.get(bytes, viewOf(bytes), 5, 5), "");
  });
});
