import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { applyMask } from "#dist/protocol/mask.js";
import { decodeUtf8, hasSimd, sharedInput } from "#dist/protocol/shared-input.js";

describe("the module for input", () => {
  it("is what its source assembles to", async () => {
    const path = "../../../scripts/wasm.mjs";
    const { assembleInputModule } = (await import(path)) as {
      assembleInputModule(): Promise<string>;
    };
    const carried = /const module =([^;]+);/.exec(
      readFileSync("src/protocol/shared-input.ts", "utf8"),
    );
    const base64 = [...(carried?.[1] ?? "").matchAll(/"([^"]*)"/g)]
      .map(([, part]) => part)
      .join("");
    assert.equal(base64, await assembleInputModule());
  });

  it("runs on this Node", () => {
    assert.equal(hasSimd, true);
    assert.equal(sharedInput.byteLength, 64 * 1024);
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

describe("decodeUtf8", () => {
  /** The borders of every length of sequence, and of the surrogates that are left out. */
  const borders = [0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfeff, 0xffff, 0x10000, 0x10ffff];
  const texts = [
    ...borders.map((code) => String.fromCodePoint(code)),
    ...borders.flatMap((one) => borders.map((other) => String.fromCodePoint(one, other))),
    "",
    "The quick brown fox jumps over the lazy dog, twice as high as the shared buffer is deep.",
    "ab語".repeat(100),
    "語".repeat(1000),
    "é".repeat(16_384),
    "😀 ".repeat(6_553),
    "x".repeat(32_768),
    "語".repeat(20_000),
  ];

  it("gives what Node's decoder gives, wherever the bytes lie", () => {
    for (const text of texts) {
      for (let ascii = 0; ascii < 18; ascii++) {
        const whole = "-".repeat(ascii) + text + "=".repeat(ascii);
        const bytes = Buffer.from(whole);
        for (const start of [0, 1, sharedInput.length - bytes.length]) {
          sharedInput.set(bytes, start);
          assert.ok(decodeUtf8(sharedInput, start, start + bytes.length) === whole);
        }
        assert.ok(decodeUtf8(bytes, 0, bytes.length) === whole);
      }
    }
  });

  it("gives every character of Unicode", () => {
    for (let from = 0; from < 0x110000; from += 0x1000) {
      if (from >= 0xd800 && from < 0xe000) continue;
      let text = "";
      for (let code = from; code < from + 0x1000; code++) {
        if (code < 0xd800 || code >= 0xe000) text += String.fromCodePoint(code);
      }
      const bytes = Buffer.from(text);
      sharedInput.set(bytes);
      assert.ok(decodeUtf8(sharedInput, 0, bytes.length) === text);
    }
  });

  it("leaves the input alone", () => {
    sharedInput.fill("語");
    const before = Buffer.from(sharedInput);
    decodeUtf8(sharedInput, 0, 30_000);
    assert.ok(before.equals(sharedInput));
  });
});
