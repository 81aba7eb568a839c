import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryBudget, type SocketOptions, webSockets } from "halyard";
import { resolveSocketOptions } from "#dist/engine/options.js";

describe("options", () => {
  it("have the documented defaults", () => {
    const { logger, memoryBudget, ...rest } = resolveSocketOptions({});
    assert.deepEqual(rest, {
      keepAliveInterval: 30_000,
      keepAliveTimeout: 20_000,
      receiveBufferSize: 4_096,
      receiveWindow: 65_536,
      maxMessageSize: 1_048_576,
      sendWindow: 65_536,
      maxSendBuffer: 1_048_576,
      closeTimeout: 5_000,
      idleTimeout: Number.POSITIVE_INFINITY,
      maxLifetime: Number.POSITIVE_INFINITY,
      compression: false,
    });
    assert.equal(memoryBudget.limit, 512 * 1024 * 1024);
    assert.equal(typeof logger.warn, "function");
  });

  it("fall back to those of the server, one by one", () => {
    const server = resolveSocketOptions({ maxMessageSize: 10, keepAliveInterval: 5 });
    const one = resolveSocketOptions(
      { maxMessageSize: 20, keepAliveInterval: undefined } as unknown as SocketOptions,
      server,
    );
    assert.equal(one.maxMessageSize, 20);
    assert.equal(one.keepAliveInterval, 5);
  });

  const times = ["keepAliveInterval", "keepAliveTimeout", "idleTimeout", "maxLifetime"] as const;
  const counts = [
    "receiveBufferSize",
    "receiveWindow",
    "maxMessageSize",
    "sendWindow",
    "maxSendBuffer",
    "closeTimeout",
  ] as const;
  for (const name of [...times, ...counts]) {
    for (const value of [-1, 1.5, Number.NaN, "10", null, 2 ** 53]) {
      it(`refuse ${name}: ${JSON.stringify(value)}, naming it`, () => {
        assert.throws(
          () => webSockets({ [name]: value }),
          (error: Error) => error instanceof RangeError && error.message.startsWith(name),
        );
      });
    }
  }
  for (const name of times) {
    it(`take 0 and Infinity for "off": ${name}`, () => {
      for (const value of [0, Number.POSITIVE_INFINITY]) {
        assert.equal(resolveSocketOptions({ [name]: value })[name], Number.POSITIVE_INFINITY);
      }
    });
  }

  it("refuse a logger without its methods and a budget that is none", () => {
    assert.throws(() => webSockets({ logger: {} as Console }), /logger must have the method debug/);
    assert.throws(() => webSockets({ memoryBudget: 5 as unknown as MemoryBudget }), /memoryBudget/);
    for (const limit of [0, -1, Number.NaN])
      assert.throws(() => new MemoryBudget(limit), RangeError);
  });
});
