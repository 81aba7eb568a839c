/** What both protocols promise, over any messages that they can carry. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { json } from "#dist/hub-protocol/json.js";
import { messagePack } from "#dist/hub-protocol/messagepack.js";
import { type HubMessage, isCounted } from "#dist/hub-protocol/messages.js";
import { bare, encoded, type Memory, memories, parsed } from "./support.js";

const texts = fc.oneof(
  fc.string({ unit: "binary", minLength: 1, maxLength: 80 }),
  fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 80 }),
  fc.nat().map(String),
  fc.constantFrom("__proto__", "constructor", "x".repeat(1000), '"'.repeat(100)),
);
const keys = fc.string().filter((key) => key !== "__proto__");
const values = fc.oneof(
  fc.string({ maxLength: 100 }),
  fc.maxSafeInteger(),
  fc.anything({
    key: keys,
    maxDepth: 5,
    values: [fc.boolean(), fc.maxSafeInteger(), fc.string({ unit: "binary" }), fc.constant(null)],
  }),
  fc.double({ noDefaultInfinity: true, noNaN: true }).filter((value) => !Object.is(value, -0)),
);
const headers = fc.dictionary(
  keys.filter((key) => key !== ""),
  texts,
  { minKeys: 1, maxKeys: 3 },
);
const type = <const Type extends number>(value: Type) => fc.constant<Type>(value);
const many = { maxLength: 4 };
const invocation = {
  headers,
  target: texts,
  arguments: fc.array(values, many),
  streamIds: fc.array(texts, { minLength: 1, maxLength: 3 }),
};
const messages: fc.Arbitrary<HubMessage> = fc.oneof(
  fc.record(
    { type: type(1), invocationId: texts, ...invocation },
    { requiredKeys: ["type", "target", "arguments"] },
  ),
  fc.record(
    { type: type(4), invocationId: texts, ...invocation },
    { requiredKeys: ["type", "invocationId", "target", "arguments"] },
  ),
  fc.record(
    { type: type(2), headers, invocationId: texts, item: values },
    { requiredKeys: ["type", "invocationId", "item"] },
  ),
  fc.record(
    { type: type(3), headers, invocationId: texts, hasResult: fc.constant(true), result: values },
    { requiredKeys: ["type", "invocationId", "hasResult", "result"] },
  ),
  fc.record(
    { type: type(3), headers, invocationId: texts, hasResult: fc.constant(false), error: texts },
    { requiredKeys: ["type", "invocationId", "hasResult"] },
  ),
  fc.record(
    { type: type(5), headers, invocationId: texts },
    { requiredKeys: ["type", "invocationId"] },
  ),
  fc.record({ type: type(6) }),
  fc.record(
    { type: type(7), error: texts, allowReconnect: fc.boolean() },
    { requiredKeys: ["type", "allowReconnect"] },
  ),
  fc.record({ type: fc.constantFrom(8, 9), sequenceId: fc.maxSafeNat() }),
) as fc.Arbitrary<HubMessage>;

for (const protocol of [json(), messagePack(), messagePack({ int64: "number" })]) {
  describe(`hub protocol ${protocol.name}`, () => {
    for (const memory of Object.keys(memories) as Memory[]) {
      it(`reads what it writes, merged and cut anywhere, in ${memory}s`, () => {
        const cuts = fc.array(fc.nat(), { maxLength: 6 });
        fc.assert(
          fc.property(fc.array(messages, { maxLength: 4 }), cuts, (sent, at) => {
            const whole = Buffer.concat(sent.map((each) => encoded(protocol, each, memory)));
            const ends = at.map((each) => each % (whole.length + 1)).toSorted((a, b) => a - b);
            const bytes = memories[memory](whole.length);
            bytes.set(whole);
            const input = { bytes, at: 0, end: 0 };
            const received: unknown[] = [];
            for (const end of [...ends, whole.length]) {
              input.end = end;
              for (;;) {
                const start = input.at;
                const message = protocol.parse(input, whole.length);
                if (message === undefined) {
                  assert.equal(input.at, start);
                  break;
                }
                received.push(bare(message));
              }
            }
            assert.equal(input.at, whole.length);
            assert.deepEqual(received, sent.map(bare));
          }),
          { numRuns: 300 },
        );
      });
    }

    it("writes behind what is there, and the same into any memory", () => {
      fc.assert(
        fc.property(messages, (message) => {
          assert.deepEqual(
            encoded(protocol, message, "Buffer"),
            encoded(protocol, message, "Uint8Array"),
          );
        }),
      );
    });

    it("does not touch the messages that it writes", () => {
      fc.assert(
        fc.property(messages, (message) => {
          const before = structuredClone(message);
          encoded(protocol, message);
          assert.deepEqual(structuredClone(message), before);
        }),
      );
    });

    it("waits where nothing has come", () => {
      assert.deepEqual(parsed(protocol, new Uint8Array(0)), []);
    });
  });
}

describe("isCounted", () => {
  it("is true of the messages that stateful reconnect numbers", () => {
    const counted = ([1, 2, 3, 4, 5, 6, 7, 8, 9] as const).map(isCounted);
    assert.deepEqual(counted, [true, true, true, true, true, false, false, false, false]);
  });
});
