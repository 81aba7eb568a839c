import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  checkFirstBytes,
  FrameHeader,
  firstByte,
  type HeaderRules,
  headerLength,
  headerLengthFor,
  maxHeaderBytes,
  Opcode,
  readHeader,
  writeHeader,
} from "#dist/protocol/frame.js";
import { encodeFrame, type FrameSpec } from "../../conformance/frames.js";

const rules: Record<"server" | "client", HeaderRules> = {
  server: { role: "server", allowsCompression: false, maxMessageSize: 1000 },
  client: { role: "client", allowsCompression: false, maxMessageSize: 1000 },
};
const maskingKey = Buffer.from([0xfe, 0x80, 0x01, 0xff]);
const keyNumber = maskingKey.readInt32LE();

/** Header bytes without mask, and what they mean. */
const rows = [
  { name: "empty", bytes: "82 00", value: { opcode: 2, fin: true, length: 0 } },
  { name: "text fragment", bytes: "01 05", value: { opcode: 1, fin: false, length: 5 } },
  { name: "last continuation", bytes: "80 7d", value: { opcode: 0, fin: true, length: 125 } },
  { name: "126", bytes: "82 7e 007e", value: { opcode: 2, fin: true, length: 126 } },
  { name: "32 768", bytes: "82 7e 8000", value: { opcode: 2, fin: true, length: 32_768 } },
  { name: "65 535", bytes: "82 7e ffff", value: { opcode: 2, fin: true, length: 65_535 } },
  {
    name: "65 536",
    bytes: "82 7f 0000000000010000",
    value: { opcode: 2, fin: true, length: 65_536 },
  },
  {
    name: "2^31",
    bytes: "82 7f 0000000080000000",
    value: { opcode: 2, fin: true, length: 2 ** 31 },
  },
  {
    name: "2^32 - 1",
    bytes: "82 7f 00000000ffffffff",
    value: { opcode: 2, fin: true, length: 2 ** 32 - 1 },
  },
  {
    name: "2^32",
    bytes: "02 7f 0000000100000000",
    value: { opcode: 2, fin: false, length: 2 ** 32 },
  },
  {
    name: "2^53 - 1",
    bytes: "82 7f 001fffffffffffff",
    value: { opcode: 2, fin: true, length: Number.MAX_SAFE_INTEGER },
  },
  { name: "ping", bytes: "89 7d", value: { opcode: 9, fin: true, length: 125 } },
  { name: "pong", bytes: "8a 00", value: { opcode: 10, fin: true, length: 0 } },
  { name: "close", bytes: "88 02", value: { opcode: 8, fin: true, length: 2 } },
];

/** The same header with the mask bit and a key. */
function masked(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[1] = (copy[1] as number) | 0x80;
  return Buffer.concat([copy, maskingKey]);
}

describe("frame header", () => {
  for (const { name, bytes, value } of rows) {
    for (const role of ["server", "client"] as const) {
      it(`is the same both ways: ${name}, read by a ${role}`, () => {
        const plain = Buffer.from(bytes.replaceAll(" ", ""), "hex");
        const wire = role === "server" ? masked(plain) : plain;

        const written = Buffer.alloc(maxHeaderBytes + 2, 0xee);
        const first = firstByte(value.opcode, value.fin);
        const key = role === "server" ? keyNumber : undefined;
        const end = writeHeader(written, 1, first, value.length, key);
        assert.deepEqual(written.subarray(1, end), wire);
        assert.equal(end - 1, headerLengthFor(value.length, role === "server"));
        assert.equal(written[0], 0xee);
        assert.equal(written[end], 0xee);

        // At another place of a larger buffer, with other bytes around it.
        const input = Buffer.concat([Buffer.from([0xff]), wire, Buffer.from([0xff])]);
        const header = new FrameHeader();
        checkFirstBytes(wire[0] as number, wire[1] as number, rules[role]);
        assert.equal(headerLength(wire[1] as number), wire.length);
        readHeader(input, 1, header, rules[role]);
        assert.equal(header.opcode, value.opcode);
        assert.equal(header.isFinal, value.fin);
        assert.equal(header.length, value.length);
        assert.equal(header.isCompressed, false);
        assert.equal(header.maskingKey, role === "server" ? keyNumber : 0);
      });
    }
  }

  it("is judged by its first two bytes exactly as RFC 6455 §5.1, §5.2 and §5.5 say", () => {
    const known: number[] = Object.values(Opcode);
    for (const role of ["server", "client"] as const) {
      for (const allowsCompression of [false, true]) {
        for (let first = 0; first < 256; first++) {
          for (const second of [0, 1, 125, 126, 127].flatMap((code) => [code, code | 0x80])) {
            const opcode = first & 15;
            const isControl = opcode >= 8;
            const mayHaveRsv1 = allowsCompression && (opcode === 1 || opcode === 2);
            const isLegal =
              known.includes(opcode) &&
              (first & 0x30) === 0 &&
              ((first & 0x40) === 0 || mayHaveRsv1) &&
              second >= 128 === (role === "server") &&
              (!isControl || (first >= 128 && (second & 127) <= 125));
            let isAccepted = true;
            try {
              checkFirstBytes(first, second, { ...rules[role], allowsCompression });
            } catch (error) {
              isAccepted = false;
              assert.equal((error as { closeCode?: number }).closeCode, 1002);
            }
            if (isAccepted !== isLegal) assert.fail(`${role}, ${first}, ${second}`);
          }
        }
      }
    }
  });

  const lengths: { name: string; spec: Partial<FrameSpec>; closeCode: number; code: string }[] = [
    ...([0, 1, 125] as const).map((size) => ({
      name: `${size} in 16 bits`,
      spec: { lengthForm: 16 as const, length: BigInt(size) },
      closeCode: 1002,
      code: "ERR_LENGTH",
    })),
    ...([0, 125, 126, 65_535] as const).map((size) => ({
      name: `${size} in 64 bits`,
      spec: { lengthForm: 64 as const, length: BigInt(size) },
      closeCode: 1002,
      code: "ERR_LENGTH",
    })),
    ...[2n ** 63n, 2n ** 63n + 5n, 2n ** 64n - 1n].map((length) => ({
      name: `top bit, ${length}`,
      spec: { length },
      closeCode: 1002,
      code: "ERR_LENGTH",
    })),
    ...[2n ** 53n, 2n ** 53n + 1n, 2n ** 62n, 2n ** 63n - 1n].map((length) => ({
      name: `beyond exact numbers, ${length}`,
      spec: { length },
      closeCode: 1009,
      code: "ERR_MESSAGE_TOO_BIG",
    })),
  ];
  for (const { name, spec, closeCode, code } of lengths) {
    it(`refuses the length ${name} with ${closeCode}`, () => {
      for (const role of ["server", "client"] as const) {
        const wire = encodeFrame({ opcode: 2, masked: role === "server", ...spec });
        assert.throws(() => readHeader(wire, 0, new FrameHeader(), rules[role]), {
          closeCode,
          code,
        });
      }
    });
  }

  it("keeps RSV1 as the mark of compression", () => {
    assert.equal(firstByte(Opcode.text, true, true), 0xc1);
    const header = new FrameHeader();
    readHeader(Buffer.from([0x41, 0x00]), 0, header, { ...rules.client, allowsCompression: true });
    assert.equal(header.isCompressed, true);
    assert.equal(header.isFinal, false);
  });
});
