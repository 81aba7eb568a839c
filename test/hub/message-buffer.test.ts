import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { HubProtocolError } from "#dist/errors.js";
import { MessageBuffer } from "#dist/hub/message-buffer.js";
import { SharedBytes } from "#dist/hub/transport.js";

const bytes = (...values: number[]) => new Uint8Array(values);
/** What is kept costs more than its bytes. */
const overhead = 64;

describe("what was sent", () => {
  it("is kept until it is acknowledged", () => {
    const total = { bytes: 0 };
    const buffer = new MessageBuffer(total);
    const shared = new SharedBytes(bytes(4, 5), "Text");
    assert.equal(buffer.firstUnacknowledged, 1);
    for (const message of [bytes(1), bytes(2, 3), shared]) buffer.keep(message);
    assert.deepEqual(buffer.unacknowledged(), [bytes(1), bytes(2, 3), shared]);
    assert.deepEqual(
      [buffer.count, buffer.bytes, total.bytes],
      [3, 5 + 3 * overhead, 5 + 3 * overhead],
    );
    assert.equal(buffer.acknowledge(2), true);
    assert.deepEqual(buffer.unacknowledged(), [shared]);
    assert.equal(buffer.firstUnacknowledged, 3);
    assert.deepEqual([buffer.count, buffer.bytes, total.bytes], [1, 2 + overhead, 2 + overhead]);
    buffer.keep(bytes(6));
    assert.equal(buffer.acknowledge(4), true);
    assert.deepEqual([buffer.count, buffer.bytes, total.bytes], [0, 0, 0]);
    assert.equal(buffer.firstUnacknowledged, 5);
  });

  it("may be acknowledged again, which is no news", () => {
    const buffer = new MessageBuffer({ bytes: 0 });
    for (let n = 0; n < 3; n++) buffer.keep(bytes(n));
    assert.equal(buffer.acknowledge(2), true);
    for (const again of [2, 1, 0, -5, -(2 ** 62)]) assert.equal(buffer.acknowledge(again), false);
    assert.equal(buffer.count, 1);
  });

  it("cannot be acknowledged before", () => {
    const buffer = new MessageBuffer({ bytes: 0 });
    assert.equal(buffer.acknowledge(0), false);
    assert.throws(() => buffer.acknowledge(1), HubProtocolError);
    buffer.keep(bytes(1));
    for (const early of [2, 2 ** 31, 2 ** 62]) {
      assert.throws(() => buffer.acknowledge(early), HubProtocolError);
    }
    assert.equal(buffer.count, 1);
    buffer.acknowledge(1);
    assert.throws(() => buffer.acknowledge(2), HubProtocolError);
  });

  it("is forgotten at the end, in the total too", () => {
    const total = { bytes: 1_000 };
    const buffer = new MessageBuffer(total);
    for (let n = 0; n < 200; n++) buffer.keep(bytes(n));
    buffer.acknowledge(100);
    buffer.clear();
    assert.deepEqual([buffer.count, buffer.bytes, total.bytes], [0, 0, 1_000]);
  });

  it("is only counted after a stop", () => {
    const total = { bytes: 0 };
    const buffer = new MessageBuffer(total);
    for (let n = 0; n < 3; n++) buffer.keep(bytes(n));
    buffer.acknowledge(1);
    buffer.stop();
    buffer.keep(bytes(4));
    assert.deepEqual([buffer.count, buffer.bytes, total.bytes], [0, 0, 0]);
    for (const known of [1, 2, 3, 4]) assert.equal(buffer.acknowledge(known), false);
    assert.throws(() => buffer.acknowledge(5), HubProtocolError);
    assert.equal(buffer.accept(), true);
    assert.equal(buffer.takeAck(), 1);
  });

  it("agrees with a plain list, whatever happens", () => {
    const step = fc.oneof(
      fc.record({ keep: fc.integer({ min: 0, max: 20 }) }),
      fc.record({ acknowledge: fc.double({ min: 0, max: 1, noNaN: true }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const total = { bytes: 0 };
        const buffer = new MessageBuffer(total);
        const sent: Uint8Array[] = [];
        let acknowledged = 0;
        for (const each of steps) {
          if ("keep" in each) {
            const message = new Uint8Array(each.keep);
            sent.push(message);
            buffer.keep(message);
          } else {
            acknowledged += Math.floor((sent.length - acknowledged) * each.acknowledge);
            buffer.acknowledge(acknowledged);
          }
          const kept = sent.slice(acknowledged);
          assert.deepEqual(buffer.unacknowledged(), kept);
          assert.equal(buffer.firstUnacknowledged, acknowledged + 1);
          assert.equal(buffer.count, kept.length);
          const size = kept.reduce((sum, { length }) => sum + length + overhead, 0);
          assert.deepEqual([buffer.bytes, total.bytes], [size, size]);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("what was received", () => {
  it("is acknowledged when there is something new", () => {
    const buffer = new MessageBuffer({ bytes: 0 });
    assert.equal(buffer.takeAck(), undefined);
    assert.equal(buffer.accept(), true);
    assert.equal(buffer.accept(), true);
    assert.equal(buffer.takeAck(), 2);
    assert.equal(buffer.takeAck(), undefined);
    assert.equal(buffer.accept(), true);
    assert.equal(buffer.takeAck(), 3);
  });

  it("counts once when it comes twice", () => {
    const buffer = new MessageBuffer({ bytes: 0 });
    for (let n = 0; n < 5; n++) assert.equal(buffer.accept(), true);
    buffer.resetSequence(3);
    assert.deepEqual(
      [1, 2, 3, 4, 5].map(() => buffer.accept()),
      [false, false, false, true, true],
    );
    assert.equal(buffer.takeAck(), 7);
    buffer.resetSequence(8);
    assert.equal(buffer.accept(), true);
    buffer.resetSequence(1);
    assert.equal(buffer.accept(), false);
  });

  it("cannot have holes", () => {
    const buffer = new MessageBuffer({ bytes: 0 });
    buffer.accept();
    assert.throws(
      () => buffer.resetSequence(3),
      /^HubProtocolError: Sequence ID greater than amount of messages we've received\.$/,
    );
    buffer.resetSequence(2);
    assert.equal(buffer.accept(), true);
  });
});
