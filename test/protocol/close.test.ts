import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ProtocolError } from "halyard";
import { CloseCode, encodeClose, isCloseCode, parseClose } from "#dist/protocol/close.js";
import { closePayload } from "../../conformance/frames.js";

/** RFC 6455 §7.4.1 and §7.4.2, and what IANA registered later (1012 to 1014). */
function isLegal(code: number): boolean {
  return (
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014].includes(code) ||
    (code >= 3000 && code < 5000)
  );
}

const reasons = [
  { name: "none", reason: "" },
  { name: "ASCII", reason: "going home" },
  { name: "every length of character", reason: "aé語😀" },
  { name: "123 bytes", reason: "x".repeat(123) },
  { name: "41 characters of three bytes", reason: "語".repeat(41) },
  { name: "a byte order mark", reason: "\ufeffkept" },
  { name: "a zero", reason: "a\0b" },
];

describe("close codes", () => {
  it("may be sent and received exactly where RFC 6455 and IANA say so", () => {
    for (let code = 0; code <= 5000; code++) {
      assert.equal(isCloseCode(code), isLegal(code), `${code}`);
      const payload = closePayload(code);
      if (isLegal(code)) {
        assert.deepEqual(Buffer.from(encodeClose(code, "")), payload);
        assert.deepEqual(parseClose(payload), { status: code, description: "" });
        continue;
      }
      if (code !== CloseCode.noStatus) assert.throws(() => encodeClose(code, ""), RangeError);
      assert.throws(
        () => parseClose(payload),
        (error) => error instanceof ProtocolError && error.closeCode === 1002,
      );
    }
    assert.throws(() => parseClose(closePayload(65_535)), ProtocolError);
  });

  it("are integers", () => {
    for (const code of [1000.5, Number.NaN, -1, 66_536 + 1000, Number.POSITIVE_INFINITY]) {
      assert.equal(isCloseCode(code), false, `${code}`);
      assert.throws(() => encodeClose(code, ""), RangeError);
    }
  });
});

describe("Close payload", () => {
  for (const { name, reason } of reasons) {
    it(`is the same both ways: ${name}`, () => {
      const payload = Buffer.from(encodeClose(4001, reason));
      assert.deepEqual(payload, closePayload(4001, reason));
      assert.deepEqual(parseClose(payload), { status: 4001, description: reason });
    });
  }

  it("is empty for 1005 and reads as 1005 when empty", () => {
    assert.equal(encodeClose(1005, "").length, 0);
    assert.deepEqual(parseClose(Buffer.alloc(0)), { status: 1005, description: "" });
    assert.throws(() => encodeClose(1005, "a reason"), RangeError);
  });

  it("never has one byte", () => {
    for (let byte = 0; byte < 256; byte++) {
      assert.throws(() => parseClose(Buffer.from([byte])), {
        code: "ERR_CLOSE_PAYLOAD",
        closeCode: 1002,
      });
    }
  });

  it("refuses a reason of more than 123 bytes, counted as UTF-8", () => {
    assert.throws(() => encodeClose(1000, "x".repeat(124)), RangeError);
    assert.throws(() => encodeClose(1000, "語".repeat(42)), RangeError);
    assert.throws(() => encodeClose(1000, "é".repeat(62)), RangeError);
  });

  it("reports a reason that is not UTF-8 with 1007", () => {
    for (const digits of ["80", "c3", "eda080", "f4908080", "c0af", "6f6bff"]) {
      assert.throws(() => parseClose(closePayload(1000, Buffer.from(digits, "hex"))), {
        code: "ERR_INVALID_UTF8",
        closeCode: 1007,
      });
    }
  });

  it("writes a lone surrogate as U+FFFD, so that what is sent is UTF-8", () => {
    assert.deepEqual(Buffer.from(encodeClose(1000, "\ud800")), closePayload(1000, "\ufffd"));
  });
});
