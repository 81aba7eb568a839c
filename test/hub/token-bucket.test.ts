import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Hub } from "#dist/hub/index.js";
import { TokenBucket } from "#dist/hub/token-bucket.js";
import { handlerOf } from "../support/fake-connection.js";

describe("a token bucket", () => {
  it("gives its burst at once and then its rate", () => {
    const bucket = new TokenBucket({ perSecond: 10, burst: 3 }, 0);
    const taken = (now: number) => {
      let count = 0;
      while (bucket.take(now)) count++;
      return count;
    };
    assert.equal(taken(0), 3);
    assert.equal(taken(99), 0);
    assert.equal(taken(100), 1);
    assert.equal(taken(250), 1);
    assert.equal(taken(300), 1);
    assert.equal(taken(1e9), 3);
  });

  it("has a burst of a second by default, and of one at least", () => {
    const many = new TokenBucket({ perSecond: 2.5 }, 0);
    assert.deepEqual([many.take(0), many.take(0), many.take(0)], [true, true, false]);
    const few = new TokenBucket({ perSecond: 0.1 }, 0);
    assert.deepEqual(
      [few.take(0), few.take(0), few.take(9_999), few.take(10_001)],
      [true, false, false, true],
    );
  });

  it("is full again after a quiet time", () => {
    const bucket = new TokenBucket({ perSecond: 1, burst: 2 }, 0);
    assert.equal(bucket.isFull(0), true);
    bucket.take(0);
    assert.equal(bucket.isFull(999), false);
    assert.equal(bucket.isFull(1_000), true);
  });
});

describe("the buckets of users", () => {
  it("are one for each, and bounded in number", () => {
    class SomeHub extends Hub {}
    const handler = handlerOf(SomeHub);
    const limit = { perSecond: 1e-6, burst: 1 };
    assert.equal(handler.bucketOf("ada", limit), handler.bucketOf("ada", limit));
    const start = performance.now();
    for (let n = 0; n < 150_000; n++) handler.bucketOf(`user ${n}`, limit).take();
    assert.ok(performance.now() - start < 15_000, "however many there are");
    assert.equal(handler.bucketOf("user 149999", limit).take(), false, "the newest is kept");
    assert.equal(handler.bucketOf("user 0", limit).take(), true, "the oldest is forgotten");
  });
});
