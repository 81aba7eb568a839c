import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addressGroup, ConnectionStore } from "#dist/transports/connection-store.js";
import { HttpConnection } from "#dist/transports/http-connection.js";
import { type ConnectionOptions, resolveConnectionOptions } from "#dist/transports/options.js";
import { keepingLogger } from "../support/network.js";
import { FakeHandler } from "../support/transports.js";

const anonymous = {
  user: undefined,
  userId: undefined,
  expiresAt: Number.POSITIVE_INFINITY,
  token: undefined,
};

function newStore(options: ConnectionOptions = {}) {
  const logger = keepingLogger();
  const store = new ConnectionStore(
    resolveConnectionOptions({ logger, ...options }),
    new FakeHandler(),
    () => {},
  );
  const create = (remoteAddress = "192.0.2.1", version = 1, user?: object) =>
    store.create({
      version,
      allowsReconnect: false,
      principal: { ...anonymous, user },
      remoteAddress,
      isPending: true,
    });
  const made = (...wanted: Parameters<typeof create>) => {
    const connection = create(...wanted);
    assert.ok(connection instanceof HttpConnection);
    return connection;
  };
  return { store, logger, create, made };
}

describe("addressGroup", () => {
  const rows: [string, string][] = [
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "::ffff:192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0db8:0001:0002::1", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["", ""],
    ["no address", "no address"],
  ];
  for (const [address, expected] of rows) {
    it(`makes ${expected} of ${address}`, () => assert.equal(addressGroup(address), expected));
  }
});

describe("connection store", () => {
  it("gives ids and tokens of 16 random bytes", () => {
    const { store, made } = newStore();
    const seen = new Set<string>();
    for (let n = 0; n < 1000; n++) {
      const { id, token } = made();
      for (const each of [id, token]) {
        assert.equal(Buffer.from(each, "base64url").length, 16);
        assert.match(each, /^[\w-]{22}$/);
        seen.add(each);
      }
      assert.equal(store.find(id), undefined);
      assert.equal(store.find(token)?.id, id);
    }
    assert.equal(seen.size, 2000);
    for (const connection of [...store]) connection.abort();
    assert.equal(store.size, 0);
  });

  it("knows names of properties as no tokens", () => {
    const { store } = newStore();
    for (const name of ["__proto__", "constructor", "size"]) {
      assert.equal(store.find(name), undefined);
    }
  });

  it("counts pending connections by address, and forgets them when they end", () => {
    const { create, made, store, logger } = newStore({ maxPendingNegotiates: 2 });
    const first = made();
    made();
    assert.deepEqual(create(), {
      status: 429,
      body: "Too many negotiated connections wait to be used.",
    });
    assert.ok(!(create() instanceof HttpConnection));
    made("192.0.2.2");
    made("192.0.2.1", 1, { id: "known" });
    first.abort();
    first.abort();
    made();
    assert.ok(!(create() instanceof HttpConnection));
    made("2001:db8::1");
    made("2001:db8::2");
    assert.ok(!(create("2001:db8::3") instanceof HttpConnection));
    assert.equal(logger.lines.length, 1);
    for (const connection of [...store]) connection.abort();
  });

  it("disposes of what is not used, at a beat", () => {
    const { store, made } = newStore({ disconnectTimeout: 1_000 });
    made();
    store.onBeat(performance.now() + 900);
    assert.equal(store.size, 1);
    store.onBeat(performance.now() + 1_001);
    assert.equal(store.size, 0);
  });
});

describe("options of a mapped path", () => {
  it("have the defaults of ASP.NET Core", () => {
    const options = resolveConnectionOptions({});
    assert.deepEqual(options.transports, ["WebSockets", "ServerSentEvents", "LongPolling"]);
    assert.equal(options.applicationMaxBufferSize, 65_536);
    assert.equal(options.transportMaxBufferSize, 65_536);
    assert.equal(options.transportSendTimeout, 10_000);
    assert.equal(options.webSockets.closeTimeout, 5_000);
    assert.equal(options.longPolling.pollTimeout, 90_000);
    assert.equal(options.disconnectTimeout, 15_000);
    assert.equal(options.minimumProtocolVersion, 0);
    assert.equal(options.closeOnAuthenticationExpiration, false);
    assert.equal(options.allowStatefulReconnects, false);
    assert.equal(options.enableAuthenticationRefresh, false);
    assert.equal(options.maxLifetime, Number.POSITIVE_INFINITY);
    assert.equal(options.idleTimeout, Number.POSITIVE_INFINITY);
    assert.equal(
      resolveConnectionOptions({ transportMaxBufferSize: 0 }).transportMaxBufferSize,
      Number.POSITIVE_INFINITY,
    );
  });

  const rows: [object, RegExp][] = [
    [{ transports: [] }, /^TypeError: transports/],
    [{ transports: ["webSockets"] }, /^TypeError: transports: "webSockets"/],
    [{ transports: "WebSockets" }, /^TypeError: transports/],
    [{ applicationMaxBufferSize: -1 }, /^RangeError: applicationMaxBufferSize/],
    [{ transportMaxBufferSize: 1.5 }, /^RangeError: transportMaxBufferSize/],
    [{ transportSendTimeout: 0 }, /^RangeError: transportSendTimeout/],
    [{ webSockets: { closeTimeout: -1 } }, /^RangeError: webSockets\.closeTimeout/],
    [{ webSockets: { subProtocolSelector: "a" } }, /^TypeError: webSockets\.subProtocolSelector/],
    [{ longPolling: { pollTimeout: 2 ** 31 } }, /^RangeError: longPolling\.pollTimeout/],
    [{ minimumProtocolVersion: 2 }, /^RangeError: minimumProtocolVersion/],
    [{ disconnectTimeout: 0 }, /^RangeError: disconnectTimeout/],
    [{ uploadTimeout: Number.NaN }, /^RangeError: uploadTimeout/],
    [{ maxLifetime: -5 }, /^RangeError: maxLifetime/],
    [{ idleTimeout: "1" }, /^RangeError: idleTimeout/],
    [{ maxConnections: 0 }, /^RangeError: maxConnections/],
    [{ maxPendingNegotiates: 0 }, /^RangeError: maxPendingNegotiates/],
    [{ allowStatefulReconnects: "yes" }, /^TypeError: allowStatefulReconnects/],
    [{ authorize: "everybody" }, /^TypeError: authorize/],
    [{ authenticate: {} }, /^TypeError: authenticate/],
    [{ user: "ann" }, /^TypeError: user/],
    [{ userId: 7 }, /^TypeError: userId/],
    [{ expiresAt: 7 }, /^TypeError: expiresAt/],
    [{ redirect: "https://x" }, /^TypeError: redirect/],
    [{ logger: {} }, /^TypeError: logger/],
  ];
  for (const [options, expected] of rows) {
    it(`refuse ${JSON.stringify(options)}`, () => {
      assert.throws(
        () => resolveConnectionOptions(options),
        (error) => expected.test(String(error)),
      );
    });
  }
});
