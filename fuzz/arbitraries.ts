import fc from "fast-check";
import { type FrameSpec, opcode } from "../conformance/frames.js";

/** Sizes on both sides of the borders between the forms of a length, and of slices and slabs. */
const borders = [0, 1, 2, 125, 126, 127, 1021, 16_383, 16_384, 65_535, 65_536, 65_537, 70_000];

export function sizes(max: number): fc.Arbitrary<number> {
  return fc.oneof(
    { arbitrary: fc.integer({ min: 0, max: Math.min(300, max) }), weight: 4 },
    { arbitrary: fc.constantFrom(...borders.filter((size) => size <= max)), weight: 1 },
  );
}

/** Bytes; mostly of a kind that compresses, and cheap to make where they are many. */
export function payloads(max = 70_000): fc.Arbitrary<Buffer> {
  const pattern = fc.tuple(sizes(max), fc.uint8Array({ minLength: 1, maxLength: 40 }));
  return fc.oneof(
    fc.uint8Array({ maxLength: 150 }).map((bytes) => Buffer.from(bytes)),
    pattern.map(([size, bytes]) => Buffer.alloc(size, bytes)),
  );
}

/** Strings that UTF-8 can express, of characters of one to four bytes. */
export function texts(max = 70_000): fc.Arbitrary<string> {
  const short = fc.string({ unit: "binary", maxLength: 60 });
  const long = fc
    .tuple(sizes(max), fc.string({ unit: "binary", minLength: 1, maxLength: 5 }))
    .map(([size, unit]) => unit.repeat(Math.floor(size / unit.length)));
  return fc.oneof({ arbitrary: short, weight: 3 }, long);
}

const opcodes = [...Object.values(opcode), 3, 11];

/** A frame that is right more often than not. */
export function frames(): fc.Arbitrary<FrameSpec> {
  const closes = fc.constantFrom("03e8", "", "03", "03ed", "03e8c3", "0fa06f6b");
  return fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        opcode: fc.constantFrom(0, 1, 1, 2, 2),
        fin: fc.boolean(),
        rsv: fc.constantFrom(0, 0, 0, 4),
        payload: fc.oneof(
          payloads(),
          texts().map((text) => Buffer.from(text)),
        ),
        maskingKey: fc.uint8Array({ minLength: 4, maxLength: 4 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        opcode: fc.constantFrom(9, 10),
        payload: fc.uint8Array({ maxLength: 125 }),
      }),
    },
    {
      weight: 1,
      arbitrary: closes.map((digits) => ({ opcode: 8, payload: Buffer.from(digits, "hex") })),
    },
    {
      weight: 1,
      arbitrary: fc.record(
        {
          opcode: fc.constantFrom(...opcodes),
          fin: fc.boolean(),
          rsv: fc.integer({ min: 0, max: 7 }),
          masked: fc.boolean(),
          payload: fc.uint8Array({ maxLength: 200 }),
          lengthForm: fc.constantFrom(7, 16, 64),
        },
        { requiredKeys: ["opcode"] },
      ) as fc.Arbitrary<FrameSpec>,
    },
  );
}

/** Where an input is cut; see `traceOf`. */
export function cuts(): fc.Arbitrary<number[]> {
  return fc.oneof(
    fc.array(fc.nat(200_000), { maxLength: 12 }),
    fc.array(fc.nat(60), { maxLength: 40 }),
  );
}
