import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { messagePack } from "halyard/messagepack";
import { Hub, type HubOptions, hubDefaults, json } from "#dist/hub/index.js";
import { resolveHubOptions } from "#dist/hub/options.js";
import { clientOf, handlerOf, Lines } from "../support/fake-connection.js";

afterEach(() => hubDefaults({}));

class SomeHub extends Hub {
  send() {}
  fail() {
    throw new RangeError("detail");
  }
}

describe("options", () => {
  it("have ASP.NET Core's defaults where it has them", () => {
    const { filters, supportedProtocols, logger, ...rest } = resolveHubOptions();
    assert.deepEqual(rest, {
      handshakeTimeout: 15_000,
      keepAliveInterval: 15_000,
      clientTimeoutInterval: 30_000,
      maximumReceiveMessageSize: 32_768,
      enableDetailedErrors: false,
      streamBufferCapacity: 10,
      maximumParallelInvocationsPerClient: 1,
      maximumStreamsPerClient: 100,
      maximumGroupsPerConnection: 1_000,
      clientResultTimeout: 30_000,
      statefulReconnectBufferSize: 100_000,
      statefulReconnectBufferCount: 10_000,
      statefulReconnectTotalSize: 64 * 1024 * 1024,
      statefulReconnectRate: { perSecond: 1, burst: 10 },
      slowClientPolicy: "disconnect",
      maximumSendBufferSize: 1024 * 1024,
      methods: {},
    });
    assert.deepEqual([filters, supportedProtocols.map(({ name }) => name)], [[], ["json"]]);
    assert.equal(typeof logger.warn, "function");
  });

  it("of a hub win over those for all hubs, which win over the defaults", async () => {
    const protocols = [messagePack()];
    hubDefaults({
      enableDetailedErrors: true,
      keepAliveInterval: 5,
      supportedProtocols: protocols,
    });
    const options = resolveHubOptions({ keepAliveInterval: 7 });
    assert.equal(options.enableDetailedErrors, true);
    assert.equal(options.keepAliveInterval, 7);
    assert.equal(options.supportedProtocols, protocols);
    const client = clientOf(SomeHub, { supportedProtocols: [json()] });
    assert.match(String((await client.invoke("fail")).error), /RangeError: detail$/);
    client.end();
  });

  it("that are undefined are not given", () => {
    const names = Object.keys(resolveHubOptions());
    const nothing = Object.fromEntries(names.map((name) => [name, undefined]));
    const expected = resolveHubOptions();
    const strip = ({ supportedProtocols, ...rest }: typeof expected) => rest;
    assert.deepEqual(strip(resolveHubOptions(nothing)), strip(expected));
    hubDefaults(nothing);
    assert.deepEqual(strip(resolveHubOptions()), strip(expected));
  });

  it("are not changed by the next call for all hubs", () => {
    hubDefaults({ keepAliveInterval: 5 });
    const handler = handlerOf(SomeHub);
    hubDefaults({ keepAliveInterval: 6 });
    assert.equal(handler.options.keepAliveInterval, 5);
  });

  const numbers = [
    "handshakeTimeout",
    "keepAliveInterval",
    "clientTimeoutInterval",
    "maximumReceiveMessageSize",
    "streamBufferCapacity",
    "maximumParallelInvocationsPerClient",
    "maximumStreamsPerClient",
    "maximumGroupsPerConnection",
    "statefulReconnectBufferSize",
    "statefulReconnectBufferCount",
    "statefulReconnectTotalSize",
    "maximumSendBufferSize",
  ] as const;
  for (const name of numbers) {
    it(`refuse a ${name} that makes no sense`, () => {
      for (const wrong of [0, -1, NaN, "5", null, {}]) {
        assert.throws(
          () => handlerOf(SomeHub, { [name]: wrong } as HubOptions),
          (error) => error instanceof RangeError && error.message.startsWith(name),
        );
      }
    });
  }

  const wrong: [name: string, options: object, error: RegExp][] = [
    [
      "a negative time limit for results",
      { clientResultTimeout: -1 },
      /^RangeError: clientResultTimeout/,
    ],
    ["an unknown policy", { slowClientPolicy: "ignore" }, /^TypeError: slowClientPolicy/],
    ["no protocols", { supportedProtocols: [] }, /^TypeError: supportedProtocols/],
    [
      "a rate of nothing",
      { statefulReconnectRate: { perSecond: 0 } },
      /^RangeError: statefulReconnectRate.perSecond/,
    ],
    [
      "a rate without a number",
      { rateLimits: { connection: {} } },
      /^RangeError: rateLimits.connection.perSecond/,
    ],
    [
      "a burst of nothing",
      { rateLimits: { user: { perSecond: 1, burst: 0 } } },
      /^RangeError: rateLimits.user.burst/,
    ],
    [
      "an unknown answer to excess",
      { rateLimits: { onExceeded: "ignore" } },
      /^TypeError: rateLimits.onExceeded/,
    ],
    [
      "a rate of a method",
      { methods: { send: { rateLimit: { perSecond: -1 } } } },
      /^RangeError: methods.send.rateLimit.perSecond/,
    ],
    ["rules for no method", { methods: { missing: {} } }, /^TypeError: .*'missing'/],
    ["rules for an inherited name", { methods: { toString: {} } }, /^TypeError: .*'toString'/],
  ];
  for (const [name, options, error] of wrong) {
    it(`refuse ${name}`, () => {
      assert.throws(() => handlerOf(SomeHub, options), error);
    });
  }

  it("of a logger may throw", async () => {
    const throwing = new Proxy(new Lines(), {
      get: () => () => {
        throw new Error("logger");
      },
    });
    const client = clientOf(SomeHub, { logger: throwing });
    assert.ok("error" in (await client.invoke("fail")));
    client.write("no JSON\x1e");
    await client.hub.done;
  });
});
