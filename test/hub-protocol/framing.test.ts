import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HubMessageTooBigError, HubProtocolError } from "#dist/errors.js";
import { ByteWriter } from "#dist/hub-protocol/byte-writer.js";
import {
  findRecordEnd,
  insertLengthPrefix,
  prefixLength,
  readLengthPrefix,
} from "#dist/hub-protocol/framing.js";
import { hex, inputOf, type Memory, memories } from "./support.js";

const unlimited = Number.POSITIVE_INFINITY;

/** The table of the reference, §7.1, and its neighbours. */
const prefixes = [
  { length: 0, bytes: "00" },
  { length: 1, bytes: "01" },
  { length: 127, bytes: "7f" },
  { length: 128, bytes: "80 01" },
  { length: 16_383, bytes: "ff 7f" },
  { length: 16_384, bytes: "80 80 01" },
  { length: 2_097_151, bytes: "ff ff 7f" },
  { length: 2_097_152, bytes: "80 80 80 01" },
  { length: 0x7fffffff, bytes: "ff ff ff ff 07" },
];

describe("length prefix", () => {
  for (const { length, bytes } of prefixes) {
    const prefix = hex(bytes);

    it(`announces ${length} bytes`, () => {
      assert.equal(prefixLength(length), prefix.length);
      for (let have = 0; have <= prefix.length; have++) {
        const input = inputOf(prefix.subarray(0, have));
        const whole = have === prefix.length && length === 0;
        assert.equal(readLengthPrefix(input, unlimited), whole ? input.end : -1);
        assert.equal(input.at, whole ? input.end : 3);
      }
    });

    if (length > 100_000) continue;
    it(`is written in front of ${length} bytes, whatever was guessed`, () => {
      for (let guessed = 1; guessed <= 5; guessed++) {
        const out = new ByteWriter(memories.Buffer, 8);
        out.ascii("ab");
        out.reserve(guessed);
        out.length += guessed;
        out.ascii("x".repeat(length));
        insertLengthPrefix(out, 2, guessed);
        const expected = Buffer.concat([Buffer.from("ab"), prefix, Buffer.alloc(length, "x")]);
        assert.deepEqual(Buffer.from(out.bytes.subarray(0, out.length)), expected);
      }
    });

    it(`is read with ${length} bytes behind it`, () => {
      const input = inputOf(Buffer.concat([prefix, Buffer.alloc(length + 1)]));
      const start = input.at;
      assert.equal(readLengthPrefix(input, prefix.length + length), input.end - 1);
      assert.equal(input.at, start + prefix.length);
      input.at = start;
      assert.throws(
        () => readLengthPrefix(input, prefix.length + length - 1),
        HubMessageTooBigError,
      );
    });
  }

  it("may be longer than it has to be", () => {
    for (const bytes of ["81 00", "81 80 00", "81 80 80 00", "81 80 80 80 00"]) {
      const input = inputOf(hex(`${bytes} ff`));
      assert.equal(readLengthPrefix(input, unlimited), input.end);
      assert.equal(input.at, input.end - 1);
    }
  });

  it("may not announce 2 GiB", () => {
    for (const bytes of ["80 80 80 80 08", "ff ff ff ff 0f", "ff ff ff ff ff", "80 80 80 80 80"]) {
      assert.throws(() => readLengthPrefix(inputOf(hex(bytes)), unlimited), {
        name: "HubProtocolError",
        message: "Messages over 2GB in size are not supported.",
      });
    }
  });

  it("is refused as soon as it announces too much, before the message comes", () => {
    assert.throws(() => readLengthPrefix(inputOf(hex("64")), 100), HubMessageTooBigError);
    assert.equal(readLengthPrefix(inputOf(hex("63")), 100), -1);
    assert.throws(() => readLengthPrefix(inputOf(hex("ff ff ff ff 07")), 100), {
      code: "ERR_HUB_MESSAGE_TOO_BIG",
      message:
        "The maximum message size of 100B was exceeded. The message size can be configured in AddHubOptions.",
    });
    assert.throws(() => readLengthPrefix(inputOf(hex("80 80 80")), 2), HubProtocolError);
  });
});

describe("record separator", () => {
  for (const memory of Object.keys(memories) as Memory[]) {
    it(`is looked for in what has come, in a ${memory}`, () => {
      // Around the input there are more separators.
      const input = inputOf(Buffer.from("abc"), memory);
      assert.equal(findRecordEnd(input, unlimited), -1);
      assert.equal(findRecordEnd(inputOf(Buffer.from("ab\x1ec\x1e"), memory), unlimited), 5);
      assert.equal(findRecordEnd(inputOf(Buffer.from("\x1e"), memory), unlimited), 3);
      assert.equal(findRecordEnd(inputOf(Buffer.alloc(0), memory), unlimited), -1);
    });
  }

  it("counts for the limit, which slides", () => {
    assert.equal(findRecordEnd(inputOf(Buffer.from("abc\x1edef\x1e")), 4), 6);
    assert.equal(findRecordEnd(inputOf(Buffer.from("abcd")), 4), -1);
    for (const text of ["abcd\x1e", "abcde", "abcdefgh\x1e"]) {
      assert.throws(() => findRecordEnd(inputOf(Buffer.from(text)), 4), HubMessageTooBigError);
    }
  });
});
