import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ByteWriter } from "#dist/hub-protocol/byte-writer.js";
import { type Memory, memories } from "./support.js";

const texts = fc.oneof(
  fc.string({ unit: "binary", maxLength: 100 }),
  fc.string({ unit: "binary-ascii", maxLength: 100 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 })
    .map((units) => String.fromCharCode(...units)),
);

for (const memory of Object.keys(memories) as Memory[]) {
  const writer = (size: number) => new ByteWriter(memories[memory], size);
  const written = (out: ByteWriter) => Buffer.from(out.bytes.subarray(0, out.length));

  describe(`ByteWriter over ${memory}`, () => {
    it("grows as it is written to", () => {
      const out = writer(1);
      out.byte(1);
      out.ascii("two");
      assert.equal(out.utf8("dréi"), 5);
      out.raw(Buffer.from([4, 5, 6]), 1);
      out.raw(Buffer.from([7, 8, 9]), 0, 2);
      out.raw(new Uint8Array(0));
      assert.deepEqual(written(out), Buffer.from("\x01twodréi\x05\x06\x07\x08"));
    });

    it("keeps view and bytes on the same memory", () => {
      const out = writer(2);
      out.ascii("a long text that needs more room than there is");
      out.view.setUint8(3, 0x40);
      assert.equal(out.bytes[3], 0x40);
      assert.equal(out.view.byteLength, out.bytes.length);
    });

    it("can be set back", () => {
      const out = writer(4);
      out.ascii("abc");
      out.length = 1;
      out.ascii("dé".slice(0, 1));
      assert.equal(written(out).toString(), "ad");
    });

    it("writes any text in UTF-8, in whatever room there is", () => {
      fc.assert(
        fc.property(texts, fc.nat(400), (text, size) => {
          const out = writer(size);
          out.byte(0x21);
          const expected = Buffer.from(text);
          assert.equal(out.utf8(text), expected.length);
          assert.deepEqual(written(out).subarray(1), expected);
        }),
      );
    });

    it("writes text that is cut where a character has several bytes", () => {
      for (const unit of ["é", "語", "😀", "aé", "\ud800"]) {
        for (let count = 20; count < 40; count++) {
          const text = unit.repeat(count);
          for (let spare = 0; spare < 8; spare++) {
            const out = writer(text.length + spare);
            out.utf8(text);
            assert.equal(written(out).toString(), Buffer.from(text).toString());
          }
        }
      }
    });

    it("gives memory back", () => {
      const out = writer(16);
      out.ascii("x".repeat(1000));
      assert.ok(out.bytes.length >= 1000);
      out.trim();
      assert.equal(out.length, 1000);
      out.length = 5;
      out.trim();
      assert.equal(out.bytes.length, 16);
      assert.equal(written(out).toString(), "xxxxx");
      const { bytes } = out;
      out.trim(64);
      assert.equal(out.bytes, bytes);
    });
  });
}
