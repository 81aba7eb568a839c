import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { firstByte } from "#dist/protocol/frame.js";
import { copyLimit, FrameWriter, releaseSlab } from "#dist/protocol/frame-writer.js";
import { encodeFrame, type Frame, FrameReader, opcode } from "../../conformance/frames.js";

/** What a writer has, in chunks. */
function takeFrom(writer: FrameWriter): Uint8Array[] {
  return [writer.take() ?? []].flat();
}

/** Copies what was taken, as a socket would have written it, and reads it as frames. */
function framesOf(chunks: readonly Uint8Array[]): Frame[] {
  const reader = new FrameReader();
  reader.push(Buffer.concat(chunks));
  const frames: Frame[] = [];
  for (let frame = reader.read(); frame !== undefined; frame = reader.read()) frames.push(frame);
  assert.equal(reader.pending, 0, "bytes that are no frame");
  return frames;
}

function frame(code: number, payload: Uint8Array | string, masked: boolean, fin = true): Frame {
  return { opcode: code, fin, rsv: 0, masked, payload: Buffer.from(payload) };
}

/** Around the borders of the length forms, of the copying and of the slab. */
const sizes = [
  0,
  1,
  125,
  126,
  127,
  copyLimit - 1,
  copyLimit,
  copyLimit + 1,
  65_521,
  65_522,
  65_535,
  65_536,
  65_537,
  200_000,
];
const characters = [
  { name: "ASCII", character: "a" },
  { name: "two bytes", character: "é" },
  { name: "three bytes", character: "語" },
  { name: "four bytes", character: "😀" },
];

for (const isMasking of [false, true]) {
  describe(`FrameWriter, ${isMasking ? "masking" : "not masking"}`, () => {
    for (const size of sizes) {
      it(`writes ${size} bytes, leaving them as they were`, () => {
        const writer = new FrameWriter(isMasking);
        const payload = Buffer.alloc(size, "The quick brown fox ");
        const original = Buffer.from(payload);
        const isHandedOver = writer.writeBytes(firstByte(opcode.binary, true), payload);
        assert.equal(isHandedOver, !isMasking && size >= copyLimit);
        const chunks = takeFrom(writer);
        assert.deepEqual(framesOf(chunks), [frame(opcode.binary, original, isMasking)]);
        assert.ok(payload.equals(original));
        assert.equal(chunks.includes(payload), isHandedOver);
        releaseSlab(true);
      });

      for (const { name, character } of characters) {
        it(`writes ${size} characters of ${name}`, () => {
          const text = character.repeat(size);
          const writer = new FrameWriter(isMasking);
          writer.writeText(firstByte(opcode.text, false), text);
          const { size: announced } = writer;
          const chunks = takeFrom(writer);
          assert.equal(
            announced,
            chunks.reduce((sum, chunk) => sum + chunk.length, 0),
          );
          assert.deepEqual(framesOf(chunks), [frame(opcode.text, text, isMasking, false)]);
          releaseSlab(true);
        });
      }
    }

    it("writes every length of mixed text around the borders of the length forms", () => {
      const writer = new FrameWriter(isMasking);
      const texts: string[] = [];
      for (let ascii = 0; ascii <= 130; ascii++) {
        for (const tail of ["", "é", "é語😀", "語".repeat(30)])
          texts.push("x".repeat(ascii) + tail);
      }
      for (const text of texts) writer.writeText(firstByte(opcode.text, true), text);
      assert.deepEqual(
        framesOf(takeFrom(writer)),
        texts.map((text) => frame(opcode.text, text, isMasking)),
      );
      releaseSlab(true);
    });

    it("writes lone surrogates as U+FFFD, so that text is always UTF-8", () => {
      const writer = new FrameWriter(isMasking);
      writer.writeText(firstByte(opcode.text, true), "a\ud800b\udc00");
      writer.writeText(firstByte(opcode.text, true), "\udbff");
      assert.deepEqual(
        framesOf(takeFrom(writer)).map(({ payload }) => payload.toString()),
        ["a\ufffdb\ufffd", "\ufffd"],
      );
      releaseSlab(true);
    });

    it("keeps the frames of two writers apart that take turns in one slab", () => {
      const writers = [new FrameWriter(isMasking), new FrameWriter(isMasking)] as const;
      const expected: [Frame[], Frame[]] = [[], []];
      for (let index = 0; index < 5000; index++) {
        const who = index % 3 === 0 ? 0 : 1;
        const payload = Buffer.from(`${who}: ${"z".repeat(index % 61)}`);
        writers[who].writeBytes(firstByte(opcode.binary, true), payload);
        expected[who].push(frame(opcode.binary, payload, isMasking));
      }
      assert.deepEqual(framesOf(takeFrom(writers[0])), expected[0]);
      assert.deepEqual(framesOf(takeFrom(writers[1])), expected[1]);
      releaseSlab(true);
    });

    it("keeps the order of small and large payloads", () => {
      const writer = new FrameWriter(isMasking);
      const expected: Frame[] = [];
      for (let round = 0; round < 20; round++) {
        for (const size of [3, copyLimit + round, 0, 70_000]) {
          const payload = Buffer.alloc(size, `${round} ${size} `);
          writer.writeBytes(firstByte(opcode.binary, true), payload);
          expected.push(frame(opcode.binary, payload, isMasking));
        }
      }
      assert.deepEqual(framesOf(takeFrom(writer)), expected);
      releaseSlab(true);
    });
  });
}

describe("a frame that was encoded before", () => {
  it("keeps its place among the others and is handed over as it is", () => {
    const writer = new FrameWriter(false);
    const encoded = encodeFrame({ opcode: opcode.text, payload: "for many" }, "server");
    writer.writeText(firstByte(opcode.text, true), "before");
    writer.writeFrame(encoded);
    writer.writeText(firstByte(opcode.text, true), "after");
    const chunks = takeFrom(writer);
    assert.deepEqual(
      framesOf(chunks).map(({ payload }) => payload.toString()),
      ["before", "for many", "after"],
    );
    releaseSlab(true);
  });
});

describe("ranges of bytes", () => {
  for (const isMasking of [false, true]) {
    it(`are copied, ${isMasking ? "masking" : "not masking"}`, () => {
      const source = Buffer.alloc(80_000, "The quick brown fox ");
      const original = Buffer.from(source);
      const writer = new FrameWriter(isMasking);
      const expected: Frame[] = [];
      for (const size of [0, 1, 127, 128, 129, copyLimit - 1, copyLimit, 70_000]) {
        // A plain array of bytes has no methods of a Buffer.
        const from = size % 2 === 0 ? source : new Uint8Array(source);
        writer.writeRange(firstByte(opcode.text, true), from, 7, 7 + size);
        expected.push(frame(opcode.text, source.subarray(7, 7 + size), isMasking));
        from.fill(0, 0, 7 + size);
        original.copy(source);
      }
      assert.deepEqual(framesOf(takeFrom(writer)), expected);
      releaseSlab(true);
    });
  }
});

describe("chunks", () => {
  it("are the prepared frame itself where it is alone", () => {
    const writer = new FrameWriter(false);
    const encoded = encodeFrame({ opcode: opcode.text, payload: "for many" }, "server");
    writer.writeFrame(encoded);
    assert.equal(writer.take(), encoded);
  });

  it("become one where they are small, and stay what they are where they are large", () => {
    const small = encodeFrame({ opcode: opcode.text, payload: "for many" }, "server");
    const large = encodeFrame({ opcode: opcode.text, payload: "x".repeat(copyLimit) }, "server");
    const writer = new FrameWriter(false);
    for (let index = 0; index < 3; index++) writer.writeFrame(small);
    assert.deepEqual(takeFrom(writer), [Buffer.concat([small, small, small])]);
    for (const each of [small, large, small]) writer.writeFrame(each);
    assert.deepEqual(takeFrom(writer), [small, large, small]);
    releaseSlab(true);
  });

  it("that were joined are not written over by the next ones", () => {
    const writers = Array.from({ length: 40 }, () => new FrameWriter(false));
    const encode = (index: number) =>
      encodeFrame({ opcode: opcode.text, payload: `${index} `.repeat(500) }, "server");
    for (const [index, writer] of writers.entries()) {
      for (let times = 0; times < 3; times++) writer.writeFrame(encode(index));
    }
    const taken = writers.map(takeFrom);
    for (const [index, chunks] of taken.entries()) {
      const one = encode(index);
      assert.deepEqual(Buffer.concat(chunks), Buffer.concat([one, one, one]));
    }
    releaseSlab(true);
  });
});

describe("FrameWriter's memory", () => {
  it("sends exactly the bytes it was given, over whatever an earlier frame left in the slab", () => {
    const secret = Buffer.alloc(copyLimit - 1, "SECRET");
    for (let round = 0; round < 8; round++) {
      const before = new FrameWriter(false);
      before.writeBytes(firstByte(opcode.binary, true), secret);
      takeFrom(before);
      releaseSlab(true);

      const writer = new FrameWriter(false);
      const expected: Frame[] = [];
      // Text whose worst case is three times what it needs leaves the widest gaps.
      for (let size = 0; size < 60; size++) {
        const text = (size % 2 === 0 ? "a" : "é").repeat(size * 3);
        writer.writeText(firstByte(opcode.text, true), text);
        writer.writeBytes(firstByte(opcode.ping, true), Buffer.from("p"));
        expected.push(frame(opcode.text, text, false), frame(opcode.ping, "p", false));
      }
      const chunks = takeFrom(writer);
      assert.ok(!Buffer.concat(chunks).includes("SECRET"));
      assert.deepEqual(framesOf(chunks), expected);
      releaseSlab(true);
    }
  });

  it("does not write over bytes that are still being sent", () => {
    const first = new FrameWriter(false);
    first.writeText(firstByte(opcode.text, true), "still on its way");
    const chunks = takeFrom(first);
    const sent = Buffer.concat(chunks);
    releaseSlab(false);
    const second = new FrameWriter(false);
    second.writeText(firstByte(opcode.text, true), "X".repeat(20_000));
    takeFrom(second);
    releaseSlab(true);
    assert.ok(Buffer.concat(chunks).equals(sent));
  });

  it("has nothing after it was taken from", () => {
    const writer = new FrameWriter(false);
    assert.deepEqual(takeFrom(writer), []);
    writer.writeBytes(firstByte(opcode.binary, true), Buffer.from("x"));
    takeFrom(writer);
    assert.equal(writer.size, 0);
    assert.deepEqual(takeFrom(writer), []);
    releaseSlab(true);
  });
});

describe("masking keys", () => {
  it("differ from frame to frame (RFC 6455 §5.3)", () => {
    const writer = new FrameWriter(true);
    const keys = new Set<string>();
    // More frames than keys are drawn at once.
    for (let index = 0; index < 3000; index++) {
      writer.writeBytes(firstByte(opcode.binary, true), Buffer.alloc(4));
      // A payload of zeros is the key itself.
      keys.add(Buffer.concat(takeFrom(writer)).subarray(6).toString("hex"));
      releaseSlab(true);
    }
    // Two of 3000 random keys of 32 bits are alike once in a thousand runs; ten never are.
    assert.ok(keys.size > 2990, `${keys.size} different keys`);
  });
});
