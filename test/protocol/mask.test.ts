import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { applyMask } from "#dist/protocol/mask.js";

/** A small seeded generator (mulberry32), so that a failure can be repeated. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** RFC 6455 §5.3, octet by octet as it is written there. */
function reference(bytes: Buffer, start: number, end: number, key: Buffer, phase: number): void {
  for (let at = start; at < end; at++) {
    bytes[at] = (bytes[at] as number) ^ (key[(at - start + phase) % 4] as number);
  }
}

const seed = 6455;
const random = generator(seed);
const randomBytes = (length: number) => Buffer.from(Array.from({ length }, () => random() & 0xff));

/** Masks a part of random bytes both ways and compares all of them, the rest included. */
function compare(length: number, offset: number, phase: number): void {
  const key = randomBytes(4);
  // The buffer begins at any alignment of its memory; bytes around the part must stay.
  const memory = new ArrayBuffer(offset + length + 13);
  const actual = Buffer.from(memory, 1);
  actual.set(randomBytes(actual.length));
  const expected = Buffer.from(actual);
  const original = Buffer.from(actual);
  const end = offset + length;
  reference(expected, offset, end, key, phase);
  const where = `length ${length}, offset ${offset}, phase ${phase}, seed ${seed}`;
  const seen = applyMask(actual, offset, end, key.readInt32LE(), phase);
  assert.ok(actual.equals(expected), where);
  const isAscii = expected.subarray(offset, end).every((byte) => byte < 0x80);
  assert.equal(seen < 0x80, isAscii, `ASCII, ${where}`);
  applyMask(actual, offset, end, key.readInt32LE(), phase);
  assert.ok(actual.equals(original), `twice, ${where}`);
}

describe("applyMask", () => {
  it("equals the octet-wise reference for short lengths, every alignment and phase", () => {
    for (let length = 0; length <= 140; length++) {
      for (let offset = 0; offset < 4; offset++) {
        for (let phase = 0; phase < 4; phase++) compare(length, offset, phase);
      }
    }
  });

  it("equals the reference for longer lengths and late phases", () => {
    for (const length of [255, 256, 1000, 4095, 4096, 4097, 65_535, 65_536]) {
      for (let offset = 0; offset < 8; offset++) compare(length, offset, random() % 1_000_003);
    }
  });

  it("gives the same bytes however a payload is cut", () => {
    const key = Buffer.from([0x80, 0xff, 0x01, 0x7f]).readInt32LE();
    const payload = randomBytes(300);
    const whole = Buffer.from(payload);
    applyMask(whole, 0, whole.length, key, 0);
    for (let cut = 0; cut <= payload.length; cut++) {
      const parts = Buffer.from(payload);
      applyMask(parts, 0, cut, key, 0);
      applyMask(parts, cut, parts.length, key, cut);
      assert.ok(parts.equals(whole), `cut at ${cut}`);
    }
  });

  it("counts the phase beyond 2^31 bytes", () => {
    const key = Buffer.from([1, 2, 3, 4]).readInt32LE();
    for (const phase of [2 ** 31 + 1, 2 ** 32 + 2, 2 ** 40 + 3]) {
      const bytes = Buffer.alloc(70);
      applyMask(bytes, 0, 70, key, phase);
      assert.equal(bytes[0], (phase % 4) + 1, `phase ${phase}`);
    }
  });

  it("tells ASCII from the rest at every place", () => {
    for (const length of [1, 5, 63, 64, 65, 130]) {
      for (let place = 0; place < length; place++) {
        const bytes = Buffer.alloc(length, 0x41);
        assert.ok(applyMask(bytes, 0, length, 0, 0) < 0x80, "ASCII");
        bytes[place] = 0x80;
        assert.ok(applyMask(bytes, 0, length, 0, 0) >= 0x80, `0x80 at ${place} of ${length}`);
      }
    }
  });

  it("returns 0 for nothing", () => {
    assert.equal(applyMask(Buffer.alloc(8), 3, 3, -1, 0), 0);
  });

  it("masks in two buffers by turns, and in memory whose size is no multiple of four", () => {
    const key = Buffer.from([9, 8, 7, 6]);
    for (let round = 0; round < 4; round++) {
      for (const size of [67, 129, 66]) {
        const actual = Buffer.from(new ArrayBuffer(size));
        const expected = Buffer.alloc(size);
        reference(expected, 0, size, key, round);
        applyMask(actual, 0, size, key.readInt32LE(), round);
        assert.ok(actual.equals(expected), `${size} bytes, round ${round}`);
      }
    }
  });
});
