import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { applyMask, hasSimd, sharedInput } from "#dist/protocol/mask.js";

describe("the masking module", () => {
  it("is what its source assembles to", async () => {
    const path = "../../../scripts/mask.mjs";
    const { assembleMask } = (await import(path)) as { assembleMask(): Promise<string> };
    const carried = /const module =([^;]+);/.exec(readFileSync("src/protocol/mask.ts", "utf8"));
    const base64 = [...(carried?.[1] ?? "").matchAll(/"([^"]*)"/g)]
      .map(([, part]) => part)
      .join("");
    assert.equal(base64, await assembleMask());
  });

  it("runs on this Node", () => {
    assert.equal(hasSimd, true);
    assert.equal(sharedInput.byteLength, 256 * 1024);
  });

  it("gives what a loop over bytes gives, at every length, place and phase", () => {
    const key = 0xa1b2c3d4 | 0;
    const keyBytes = [0xd4, 0xc3, 0xb2, 0xa1];
    for (let length = 0; length < 150; length++) {
      for (const start of [0, 1, 2, 3, 5, sharedInput.length - length]) {
        for (let phase = 0; phase < 4; phase++) {
          const plain = Buffer.from(
            Array.from({ length }, (_, index) => (index * 37 + phase) & 0xff),
          );
          sharedInput.set(plain, start);
          const seen = applyMask(sharedInput, start, start + length, key, phase);
          const expected = plain.map(
            (byte, index) => byte ^ (keyBytes[(index + phase) & 3] as number),
          );
          assert.ok(Buffer.from(expected).equals(sharedInput.subarray(start, start + length)));
          assert.equal(
            seen >= 0x80,
            expected.some((byte) => byte >= 0x80),
            `${length} ${start} ${phase}`,
          );
        }
      }
    }
  });

  it("leaves the bytes around alone", () => {
    sharedInput.fill(0x55, 0, 300);
    applyMask(sharedInput, 100, 200, 0x01020304, 0);
    assert.ok(sharedInput.subarray(0, 100).every((byte) => byte === 0x55));
    assert.ok(sharedInput.subarray(200, 300).every((byte) => byte === 0x55));
  });
});
