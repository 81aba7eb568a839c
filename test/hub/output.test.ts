import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Output, type OutputOwner } from "#dist/hub/output.js";

/** Keeps what is delivered to it; `then` runs before that, as in a transport that ends. */
function owner(then?: () => void): OutputOwner & { delivered: string[] } {
  return {
    delivered: [],
    deliver(bytes, start, end) {
      then?.();
      this.delivered.push(Buffer.from(bytes.subarray(start, end)).toString());
    },
  };
}

function write(output: Output, to: OutputOwner, text: string): void {
  output.claim(to).utf8(text);
  output.written();
}

describe("the shared output", () => {
  it("delivers in one piece what one owner wrote", async () => {
    const output = new Output();
    const one = owner();
    for (const text of ["a", "b", "c"]) write(output, one, text);
    assert.deepEqual(one.delivered, []);
    await turn();
    assert.deepEqual(one.delivered, ["abc"]);
    write(output, one, "d");
    await turn();
    assert.deepEqual(one.delivered, ["abc", "d"]);
  });

  it("keeps the owners apart, each in its order", async () => {
    const output = new Output();
    const one = owner();
    const two = owner();
    write(output, one, "a");
    write(output, two, "b");
    write(output, one, "c");
    await turn();
    assert.deepEqual([one.delivered, two.delivered], [["a", "c"], ["b"]]);
  });

  it("delivers at once when asked to, and only to whom it belongs", () => {
    const output = new Output();
    const one = owner();
    const two = owner();
    write(output, one, "a");
    output.flushOf(two);
    assert.deepEqual(one.delivered, []);
    output.flushOf(one);
    output.flushOf(one);
    assert.deepEqual(one.delivered, ["a"]);
  });

  it("does not let one owner's messages grow without end in a turn", () => {
    const output = new Output();
    const one = owner();
    for (let n = 0; n < 100; n++) write(output, one, "x".repeat(1_000));
    assert.equal(one.delivered.length, 3);
  });

  it("survives that a delivery makes others write, more than once", async () => {
    const output = new Output();
    const others = Array.from({ length: 5 }, () => owner());
    const one = owner(() => {
      for (const [i, other] of others.entries()) write(output, other, `${i}`.repeat(10));
    });
    write(output, one, "mine");
    await turn();
    assert.deepEqual(one.delivered, ["mine"]);
    assert.deepEqual(
      others.map(({ delivered }) => delivered),
      others.map((_, i) => [`${i}`.repeat(10)]),
    );
    write(output, one, "again");
    await turn();
    assert.deepEqual(one.delivered, ["mine", "again"]);
  });

  it("survives that a delivery makes its own owner write", async () => {
    const output = new Output();
    let rest = 3;
    const one = owner(() => {
      if (rest-- > 0) write(output, one, `${rest}`);
    });
    write(output, one, "a");
    for (let i = 0; i < 5; i++) await turn();
    assert.deepEqual(one.delivered, ["a", "2", "1", "0"]);
  });

  it("does not hold the memory of one large message for ever", async () => {
    const output = new Output();
    const one = owner();
    write(output, one, "x".repeat(20_000_000));
    await turn();
    assert.equal(one.delivered[0]?.length, 20_000_000);
    assert.ok(output.claim(one).bytes.length <= 1024 * 1024);
  });
});
