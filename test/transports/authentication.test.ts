import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { ConnectionOptions } from "halyard/hub";
import { accessToken } from "halyard/hub";
import type { TransportName } from "#dist/hub/transport.js";
import { rawRequest, until, upgradeRequest, withTimeout } from "../support/network.js";
import {
  ask,
  begin,
  clients,
  FakeHandler,
  negotiate,
  openSocket,
  type Setup,
  startEndpoint,
  untilReceived,
} from "../support/transports.js";

const names = Object.keys(clients) as TransportName[];
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });

/** Tokens are `name` or `name:seconds`; "bad" and "broken" are none. */
const options: ConnectionOptions = {
  authenticate: async (token) => {
    if (token === "broken") throw new Error(`the token ${token} is broken`);
    if (token === "bad") return undefined;
    const [sub, lifetime] = token.split(":");
    const exp = lifetime && Math.floor(Date.now() / 1000) + Number(lifetime);
    return { sub, ...(exp && { exp }) };
  },
};

const start = (t: TestContext, more: ConnectionOptions = {}, setup: Setup = {}) =>
  startEndpoint(t, { ...setup, options: { ...options, ...more } });

describe("authentication of a mapped path", () => {
  it("takes the token of the header, else that of the query", async (t) => {
    const { url, handler } = await start(t);
    const rows: [string, Record<string, string>, string | undefined][] = [
      ["", bearer("ann"), "ann"],
      ["", { Authorization: "bearer   ann" }, "ann"],
      ["&access_token=bob", {}, "bob"],
      ["&access_token=bob", bearer("ann"), "ann"],
      ["", { Authorization: "Basic eDp5" }, undefined],
      ["", {}, undefined],
    ];
    for (const [query, headers, expected] of rows) {
      const { connectionToken } = await negotiate(url, { headers });
      const target = `${url}?id=${connectionToken}${query}`;
      assert.equal((await ask(target, { headers })).status, 200);
      const { connection } = await handler.opened(handler.receivers.length - 1);
      assert.equal(connection.userId, expected);
      assert.deepEqual(connection.user, expected && { sub: expected });
      assert.equal(connection.request.query.toString(), "");
    }
  });

  it("answers a bad token with 401 everywhere, and logs no token", async (t) => {
    const { url, port, logger } = await start(t);
    for (const token of ["bad", "broken"]) {
      const headers = bearer(token);
      for (const [path, method] of [
        ["/negotiate", "POST"],
        ["", "GET"],
        ["", "POST"],
        ["", "DELETE"],
      ] as const) {
        const answer = await ask(url + path, { method, headers });
        assert.deepEqual([answer.status, answer.body], [401, ""]);
        assert.equal(answer.headers["www-authenticate"], "Bearer");
      }
      const upgrade = upgradeRequest({}, `/hub?access_token=${token}`);
      assert.equal((await rawRequest(port, upgrade)).status, 401);
    }
    assert.doesNotMatch(JSON.stringify(logger.lines), /the token|broken|bad/);
  });

  it("lets in whom authorize says", async (t) => {
    const asked: string[] = [];
    const { url, port } = await start(t, {
      authorize: async (user, request) => {
        asked.push(request.path);
        return (user as { sub: string }).sub === "ann";
      },
    });
    const paths = [
      ["/negotiate", "POST"],
      ["?id=x", "GET"],
      ["?id=x", "POST"],
      ["?id=x", "DELETE"],
    ] as const;
    for (const [path, method] of paths) {
      assert.equal((await ask(url + path, { method })).status, 401);
      assert.equal((await ask(url + path, { method, headers: bearer("bob") })).status, 403);
    }
    const upgrade = upgradeRequest({}, "/hub?access_token=bob");
    assert.equal((await rawRequest(port, upgrade)).status, 403);
    assert.deepEqual(asked, ["/hub/negotiate", "/hub", "/hub", "/hub", "/hub"]);
    const { connectionToken } = await negotiate(url, { headers: bearer("ann") });
    assert.equal(
      (await ask(`${url}?id=${connectionToken}`, { headers: bearer("ann") })).status,
      200,
    );
  });

  it("lets in every user, and nobody else, with authorize: true", async (t) => {
    const { url } = await start(t, { authorize: true });
    assert.equal((await ask(`${url}/negotiate`, { method: "POST" })).status, 401);
    await negotiate(url, { headers: bearer("bob") });
  });

  it("answers with 500 when the application's functions throw", async (t) => {
    const mistake = () => {
      throw new Error("a mistake");
    };
    for (const more of [
      { authorize: mistake },
      { userId: mistake },
      { expiresAt: mistake },
      { user: mistake, authenticate: undefined as never },
    ]) {
      const { url, logger } = await start(t, more);
      const answer = await ask(`${url}/negotiate`, { method: "POST", headers: bearer("ann") });
      assert.equal(answer.status, 500);
      assert.equal(logger.lines.filter(({ level }) => level === "error").length, 1);
    }
  });

  it("finds who a user is in what most call it", async (t) => {
    const rows: [unknown, string | undefined][] = [
      [{ sub: "a" }, "a"],
      [{ id: 7 }, "7"],
      [{ nameIdentifier: "b" }, "b"],
      [{ "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier": "c" }, "c"],
      [{ sub: "a", id: "b" }, "a"],
      [{ name: "nobody" }, undefined],
      ["d", "d"],
      [7, undefined],
    ];
    for (const [user, expected] of rows) {
      const { url, handler } = await startEndpoint(t, { options: { user: () => user } });
      const { connectionToken } = await negotiate(url);
      await ask(`${url}?id=${connectionToken}`);
      const { connection } = await handler.opened();
      assert.deepEqual([connection.user, connection.userId], [user, expected]);
    }
  });

  it("gives each function the request without tokens, and user() the framework's own", async (t) => {
    const seen: unknown[] = [];
    const { url } = await startEndpoint(t, {
      options: {
        user: (raw) => {
          seen.push(raw.headers["x-a"]);
          return { id: "a" };
        },
        authorize: (_user, request) => {
          seen.push([...request.query.keys()], (request.raw as { url: string }).url);
          return true;
        },
      },
    });
    await ask(`${url}/negotiate?x=1&access_token=t&id=i`, {
      method: "POST",
      headers: { "X-A": "b" },
    });
    assert.deepEqual(seen, ["b", ["x"], "/hub/negotiate?x=1&access_token=t&id=i"]);
  });

  for (const name of names) {
    it(`refuses another user over ${name}`, async (t) => {
      const { url, port, handler } = await start(t);
      const { connectionToken } = await negotiate(url, { headers: bearer("ann") });
      const query = `?id=${connectionToken}`;
      const asBob = { headers: bearer("bob") };
      if (name === "WebSockets") {
        const upgrade = upgradeRequest(bearer("bob"), `/hub${query}`);
        assert.equal((await rawRequest(port, upgrade)).status, 403);
      } else {
        const headers = {
          ...asBob.headers,
          ...(name === "ServerSentEvents" && { Accept: "text/event-stream" }),
        };
        assert.equal((await ask(url + query, { headers })).status, 403);
      }
      assert.equal(handler.receivers.length, 0);
      const client = await clients[name](url, bearer("ann"));
      const receiver = await handler.opened();
      const target = `${url}?id=${client.token}`;
      if (name !== "WebSockets") {
        assert.equal((await ask(target, { ...asBob, method: "POST", body: "x" })).status, 403);
      }
      if (name === "LongPolling") {
        assert.equal((await ask(target, asBob)).status, 403);
        assert.equal((await ask(target, { ...asBob, method: "DELETE" })).status, 403);
      }
      assert.equal(receiver.received, "");
      assert.deepEqual(receiver.ends, []);
      client.vanish();
    });

    it(`closes at the end of authentication over ${name}`, async (t) => {
      const handler = new FakeHandler();
      handler.onClosed = (receiver) => receiver.send("expired");
      const { url, logger } = await start(
        t,
        { closeOnAuthenticationExpiration: true },
        { handler },
      );
      const client = await clients[name](url, bearer("ann:1"));
      assert.deepEqual(await (await handler.opened()).end(), { cause: "expired" });
      await withTimeout(client.ended);
      assert.equal(client.received, "expired");
      assert.equal(logger.lines.filter(({ level }) => level === "info").length, 1);
      client.vanish();
    });
  }

  it("does not close at the end of authentication unless told to", async (t) => {
    const { url, handler } = await start(t);
    const client = await clients.WebSockets(url, bearer("ann:1"));
    await sleep(2_200);
    assert.deepEqual((await handler.opened()).ends, []);
    client.vanish();
  });

  it("takes each poll's user for the connection's", async (t) => {
    const { url, handler } = await start(t, { closeOnAuthenticationExpiration: true });
    const first = bearer("ann:2");
    const { connectionToken } = await negotiate(url, { headers: first });
    const target = `${url}?id=${connectionToken}`;
    await ask(target, { headers: first });
    const receiver = await handler.opened();
    const before = receiver.connection.user;
    const poll = begin(target, { headers: bearer("ann:100") });
    await until(() => receiver.calls.includes("userChanged"), "the new user");
    assert.notDeepEqual(receiver.connection.user, before);
    assert.equal(receiver.connection.userId, "ann");
    await sleep(3_200);
    assert.deepEqual(receiver.ends, []);
    poll.destroy();
  });

  it("lets an anonymous connection get a user", async (t) => {
    const { url, handler } = await start(t);
    const { connectionToken } = await negotiate(url);
    const target = `${url}?id=${connectionToken}`;
    await ask(target);
    const receiver = await handler.opened();
    assert.equal(receiver.connection.user, undefined);
    const poll = begin(target, { headers: bearer("ann") });
    await until(() => receiver.connection.userId === "ann", "the user");
    assert.deepEqual(receiver.calls, ["userChanged"]);
    poll.destroy();
    assert.equal((await ask(target, { headers: bearer("bob") })).status, 403);
  });
});

describe("refreshing authentication", () => {
  const refreshing = { enableAuthenticationRefresh: true };

  async function refresh(url: string, token: string | undefined, headers = {}, method = "POST") {
    const query = token === undefined ? "" : `?id=${token}`;
    const { status, body, headers: all } = await ask(`${url}/refresh${query}`, { method, headers });
    return { status, body, type: all["content-type"] };
  }

  const failed = (status: number, error: string) => ({
    status,
    body: JSON.stringify({ error }),
    type: "application/json",
  });

  it("tells the lifetime of the token at negotiate", async (t) => {
    const on = await start(t, refreshing);
    const { tokenLifetimeSeconds } = await negotiate(on.url, { headers: bearer("ann:60") });
    assert.ok(Number(tokenLifetimeSeconds) >= 58 && Number(tokenLifetimeSeconds) <= 60);
    assert.equal(
      "tokenLifetimeSeconds" in (await negotiate(on.url, { headers: bearer("ann") })),
      false,
    );
    const off = await start(t);
    assert.equal(
      "tokenLifetimeSeconds" in (await negotiate(off.url, { headers: bearer("ann:60") })),
      false,
    );
  });

  it("replaces user and expiry of a live connection", async (t) => {
    const { url, handler } = await start(t, {
      ...refreshing,
      closeOnAuthenticationExpiration: true,
    });
    const client = await clients.WebSockets(url, bearer("ann:2"));
    const receiver = await handler.opened();
    const answer = await refresh(url, client.token, bearer("ann:60"));
    assert.match(answer.body, /^\{"tokenLifetimeSeconds":(59|60)\}$/);
    assert.deepEqual([answer.status, answer.type], [200, "application/json"]);
    assert.deepEqual(receiver.calls, ["userChanged"]);
    await sleep(3_200);
    assert.deepEqual(receiver.ends, []);
    assert.equal((await refresh(url, client.token, bearer("ann"))).body, "{}");
    client.vanish();
  });

  it("says why not", async (t) => {
    const off = await start(t);
    assert.deepEqual(await refresh(off.url, "x"), failed(404, "refresh_disabled"));
    const { url, handler } = await start(t, refreshing);
    assert.equal((await refresh(url, "x", {}, "GET")).status, 405);
    const ann = bearer("ann");
    assert.deepEqual(await refresh(url, "x"), failed(401, "invalid_token"));
    assert.deepEqual(await refresh(url, "x", bearer("bad")), failed(401, "invalid_token"));
    assert.deepEqual(await refresh(url, undefined, ann), failed(400, "missing_connection_token"));
    assert.deepEqual(await refresh(url, "x", ann), failed(404, "connection_not_found"));
    const { connectionId } = await negotiate(url, { query: "", headers: ann });
    const old = await openSocket(url, connectionId, ann);
    assert.deepEqual(
      await refresh(url, connectionId, ann),
      failed(400, "unsupported_negotiate_version"),
    );
    old.terminate();
    const client = await clients.WebSockets(url, ann);
    const receiver = await handler.opened(1);
    assert.deepEqual(
      await refresh(url, client.token, bearer("bob")),
      failed(403, "permission_change_rejected"),
    );
    assert.equal((await receiver.end()).cause, "local");
  });

  it("asks the application, also for polls that bring another token", async (t) => {
    const asked: unknown[] = [];
    const { url, handler } = await start(t, {
      ...refreshing,
      onAuthenticationRefresh: async ({ connectionId, user, newUser, request }) => {
        asked.push([connectionId, (user as { sub: string }).sub, newUser, request.path]);
        return "exp" in (newUser as object);
      },
    });
    const client = await clients.LongPolling(url, bearer("ann"));
    const receiver = await handler.opened();
    assert.deepEqual(await refresh(url, client.token, { Authorization: "Bearer ann " }), {
      status: 200,
      body: "{}",
      type: "application/json",
    });
    assert.deepEqual(asked, []);
    assert.equal((await refresh(url, client.token, bearer("ann:60"))).status, 200);
    const rejected = failed(403, "permission_change_rejected");
    assert.deepEqual(await refresh(url, client.token, bearer("ann:")), rejected);
    const poll = await ask(`${url}?id=${client.token}`, { headers: bearer("ann:") });
    assert.deepEqual([poll.status, poll.body], [403, rejected.body]);
    assert.equal(asked.length, 3);
    assert.deepEqual(receiver.ends, []);
    client.vanish();
  });
});

describe("accessToken", () => {
  it("reads the query of mapped paths only", async (t) => {
    await startEndpoint(t);
    const request = (url: string, authorization?: string) => ({
      url,
      headers: authorization === undefined ? {} : { authorization },
    });
    const rows: [ReturnType<typeof request>, string | undefined][] = [
      [request("/hub?access_token=a"), "a"],
      [request("/hub/negotiate?access_token=a%2Bb"), "a+b"],
      [request("/hub?id=1&access_token=a"), "a"],
      [request("/hub?access_token="), undefined],
      [request("/other?access_token=a"), undefined],
      [request("/hub/other?access_token=a"), undefined],
      [request("/hub?access_token=a", "Bearer b"), "b"],
      [request("/other", "Bearer b"), "b"],
      [request("/other", "Basic b"), undefined],
      [request("/other", "Bearer"), undefined],
    ];
    for (const [asked, expected] of rows) assert.equal(accessToken(asked), expected, asked.url);
    assert.equal(accessToken(request("/x?access_token=a"), "/x"), "a");
    assert.equal(accessToken(request("/hub?access_token=a"), ["/x"]), undefined);
  });
});

describe("transports with authentication", () => {
  it("still carry bytes", async (t) => {
    for (const name of names) {
      const handler = new FakeHandler();
      handler.onReceive = (receiver, text) => receiver.send(text);
      const { url } = await start(t, { authorize: true }, { handler });
      const client = await clients[name](url, bearer("ann"));
      await client.send("hello");
      await untilReceived(client, "hello");
      await client.close();
    }
  });
});
