/** Every row of the tables: what an endpoint answers, over real sockets. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import {
  once,
  openRaw,
  rawRequest,
  requestText,
  until,
  upgradeRequest,
  withTimeout,
} from "../support/network.js";
import {
  type Answer,
  answerTo,
  ask,
  begin,
  clients,
  echoing,
  FakeHandler,
  negotiate,
  openSocket,
  type Setup,
  startEndpoint,
} from "../support/transports.js";

const plain = "text/plain";

/** A connection of each transport that is open. */
async function opened(t: TestContext, setup: Setup = {}) {
  const running = await startEndpoint(t, setup);
  const { url, handler } = running;
  const open = async (name: keyof typeof clients) => {
    const client = await clients[name](url);
    t.after(() => client.vanish());
    const receiver = await handler.opened(handler.receivers.length - 1);
    return { client, receiver, target: `${url}?id=${client.token}` };
  };
  return { ...running, open };
}

/** What a request for a WebSocket is answered with, when that is no socket. */
async function refusal(port: number, query: string, headers = {}): Promise<Answer> {
  const {
    status,
    headers: all,
    body,
  } = await rawRequest(port, upgradeRequest(headers, `/hub${query}`));
  return { status, headers: Object.fromEntries(all), body };
}

function same(answer: Answer, status: number, body = "", type: string | undefined = plain): void {
  assert.deepEqual([answer.status, answer.body], [status, body]);
  if (status !== 204) assert.equal(answer.headers["content-type"], type);
}

describe("negotiate", () => {
  it("answers version 1 byte by byte as the reference has it", async (t) => {
    const { url } = await startEndpoint(t);
    const answer = await ask(`${url}/negotiate?negotiateVersion=1`, { method: "POST" });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["content-type"], "application/json");
    assert.equal(answer.headers["content-length"], String(answer.body.length));
    const form =
      /^\{"negotiateVersion":1,"connectionId":"([\w-]{22})","connectionToken":"([\w-]{22})","availableTransports":\[\{"transport":"WebSockets","transferFormats":\["Text","Binary"\]\},\{"transport":"ServerSentEvents","transferFormats":\["Text"\]\},\{"transport":"LongPolling","transferFormats":\["Text","Binary"\]\}\]\}$/;
    const [, id, token] = form.exec(answer.body) ?? assert.fail(answer.body);
    assert.notEqual(id, token);
  });

  it("answers version 0, whose token is the id", async (t) => {
    const { url, handler } = await startEndpoint(t);
    for (const query of ["", "negotiateVersion=0"]) {
      const answer = await negotiate(url, { query });
      assert.equal(answer.negotiateVersion, 0);
      assert.equal("connectionToken" in answer, false);
      const socket = await openSocket(url, answer.connectionId);
      assert.equal(
        (await handler.opened(handler.receivers.length - 1)).connection.id,
        answer.connectionId,
      );
      socket.terminate();
    }
  });

  it("reads the version as ASP.NET Core does", async (t) => {
    const { url } = await startEndpoint(t);
    const rows: [string, string | number][] = [
      ["negotiateVersion=2", 1],
      ["NEGOTIATEVERSION=1", 1],
      ["negotiateVersion=%201", 1],
      ["negotiateVersion=x", "The client requested a non-integer protocol version."],
      ["negotiateVersion=1.0", "The client requested a non-integer protocol version."],
      ["negotiateVersion=", "The client requested a non-integer protocol version."],
      ["negotiateVersion=99999999999", "The client requested a non-integer protocol version."],
      [
        "negotiateVersion=-1",
        "The client requested version '-1', but the server does not support this version.",
      ],
    ];
    for (const [query, expected] of rows) {
      const answer = await ask(`${url}/negotiate?${query}`, { method: "POST" });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["content-type"], "application/json");
      if (typeof expected === "number") {
        assert.equal(JSON.parse(answer.body).negotiateVersion, expected, query);
      } else {
        assert.equal(answer.body, JSON.stringify({ error: expected }), query);
      }
    }
  });

  it("refuses versions below minimumProtocolVersion", async (t) => {
    const { url } = await startEndpoint(t, { options: { minimumProtocolVersion: 1 } });
    for (const query of ["", "?negotiateVersion=0"]) {
      const { status, body } = await ask(`${url}/negotiate${query}`, { method: "POST" });
      assert.equal(status, 200);
      assert.deepEqual(JSON.parse(body), {
        error: "The client requested version '0', but the server does not support this version.",
      });
    }
    assert.equal((await negotiate(url)).negotiateVersion, 1);
  });

  it("offers the transports that are enabled, in the order of preference", async (t) => {
    const { url } = await startEndpoint(t, {
      options: { transports: ["LongPolling", "ServerSentEvents"] },
    });
    const { availableTransports } = await negotiate(url);
    assert.deepEqual(
      availableTransports.map(({ transport }) => transport),
      ["ServerSentEvents", "LongPolling"],
    );
  });

  it("offers no WebSockets where upgrades are not handled, and says what to do", async (t) => {
    const { url, logger, port } = await startEndpoint(t, { upgrades: false });
    for (let n = 0; n < 2; n++) {
      const { availableTransports } = await negotiate(url);
      assert.deepEqual(
        availableTransports.map(({ transport }) => transport),
        ["ServerSentEvents", "LongPolling"],
      );
    }
    same(await refusal(port, ""), 404, "WebSockets transport not supported by this end point type");
    const warnings = logger.lines.filter(({ level }) => level === "warn");
    assert.equal(warnings.length, 1);
    assert.match(String(warnings[0]?.message), /handleUpgrades\(server\)/);
  });

  it("agrees to stateful reconnect when both want it", async (t) => {
    const on = await startEndpoint(t, { options: { allowStatefulReconnects: true } });
    const off = await startEndpoint(t);
    const rows: [string, string, boolean][] = [
      [on.url, "useStatefulReconnect=true", true],
      [on.url, "USESTATEFULRECONNECT=True", true],
      [on.url, "useStatefulReconnect=1", false],
      [on.url, "", false],
      [off.url, "useStatefulReconnect=true", false],
    ];
    for (const [url, query, expected] of rows) {
      const answer = await ask(`${url}/negotiate?negotiateVersion=1&${query}`, { method: "POST" });
      assert.equal(answer.body.startsWith('{"useStatefulReconnect":true,'), expected, query);
      assert.equal(answer.body.includes("useStatefulReconnect"), expected, query);
    }
  });

  it("answers other methods with 405, and leaves OPTIONS to others", async (t) => {
    const { url } = await startEndpoint(t);
    for (const method of ["GET", "PUT", "DELETE", "PATCH"]) {
      const answer = await ask(`${url}/negotiate`, { method });
      same(answer, 405);
      assert.equal(answer.headers.allow, "POST");
    }
    assert.equal((await ask(`${url}/negotiate`, { method: "HEAD" })).status, 405);
    assert.equal((await ask(`${url}/negotiate`, { method: "OPTIONS" })).status, 404);
  });

  it("redirects where the application says", async (t) => {
    const seen: string[] = [];
    const { url, endpoint } = await startEndpoint(t, {
      options: {
        redirect: (request) => {
          seen.push(`${request.path}?${request.query}`);
          if (request.query.get("to") === "nowhere") return undefined;
          return { url: "https://other.example/hub?x=1", accessToken: "abc" };
        },
      },
    });
    const there = await ask(`${url}/negotiate?negotiateVersion=1&a=b&access_token=secret`, {
      method: "POST",
    });
    assert.equal(
      there.body,
      '{"negotiateVersion":1,"url":"https://other.example/hub?x=1","accessToken":"abc","availableTransports":[]}',
    );
    assert.equal([...endpoint.connections].length, 0);
    assert.equal(
      (await negotiate(url, { query: "negotiateVersion=1&to=nowhere" })).negotiateVersion,
      1,
    );
    assert.deepEqual(seen, [
      "/hub/negotiate?negotiateVersion=1&a=b",
      "/hub/negotiate?negotiateVersion=1&to=nowhere",
    ]);
  });

  it("answers with 500 when the application's function throws", async (t) => {
    const { url, logger } = await startEndpoint(t, {
      options: {
        redirect: () => {
          throw new Error("a mistake");
        },
      },
    });
    assert.equal((await ask(`${url}/negotiate`, { method: "POST" })).status, 500);
    assert.equal(logger.lines.filter(({ level }) => level === "error").length, 1);
  });

  it("forgets connections that are not used in time", async (t) => {
    const { url, endpoint } = await startEndpoint(t, { options: { disconnectTimeout: 300 } });
    const { connectionToken } = await negotiate(url);
    await until(() => [...endpoint.connections].length === 0, "the end of the connection");
    same(await ask(`${url}?id=${connectionToken}`), 404, "No Connection with that ID");
  });

  it("serves the path with a slash at its end, and no path that only looks alike", async (t) => {
    const { url } = await startEndpoint(t);
    same(await ask(`${url}/`), 400, "Connection ID required");
    for (const path of [
      "/hubs",
      "/hub/other",
      "/hub/negotiate/",
      "/HUB",
      "/x/hub",
      "/hub%2Fnegotiate",
    ]) {
      const answer = await ask(url.replace("/hub", path), { method: "POST" });
      assert.deepEqual([path, answer.status, answer.body], [path, 404, "404\n"]);
    }
  });
});

describe("connections of an endpoint", () => {
  const streaming = { headers: { Accept: "text/html, text/event-stream;q=0.9" } };

  it("wants an id, except of a WebSocket", async (t) => {
    const { url } = await startEndpoint(t);
    for (const asking of [{}, streaming, { method: "POST" }, { method: "DELETE" }]) {
      same(await ask(url, asking), 400, "Connection ID required");
      same(await ask(`${url}?id=`, asking), 400, "Connection ID required");
    }
  });

  it("knows no id that it did not give", async (t) => {
    const { url, port } = await startEndpoint(t);
    const target = `${url}?id=AAAAAAAAAAAAAAAAAAAAAA`;
    for (const asking of [{}, streaming, { method: "POST" }, { method: "DELETE" }]) {
      same(await ask(target, asking), 404, "No Connection with that ID");
    }
    same(await refusal(port, "?id=AAAAAAAAAAAAAAAAAAAAAA"), 404, "No Connection with that ID");
  });

  it("does not take the public id for the token", async (t) => {
    const { url } = await startEndpoint(t);
    const { connectionId } = await negotiate(url);
    same(await ask(`${url}?id=${connectionId}`), 404, "No Connection with that ID");
  });

  it("answers other methods with 405", async (t) => {
    const { url } = await startEndpoint(t);
    for (const method of ["PUT", "PATCH", "TRACE"]) {
      const answer = await ask(url, { method });
      same(answer, 405);
      assert.equal(answer.headers.allow, "GET, POST, DELETE");
    }
    assert.equal((await ask(url, { method: "HEAD" })).status, 405);
  });

  it("refuses transports that are not enabled", async (t) => {
    const text = (name: string) => `${name} transport not supported by this end point type`;
    const polls = await startEndpoint(t, { options: { transports: ["LongPolling"] } });
    const { connectionToken } = await negotiate(polls.url);
    const query = `?id=${connectionToken}`;
    same(await ask(polls.url + query, streaming), 404, text("ServerSentEvents"));
    same(await refusal(polls.port, query), 404, text("WebSockets"));
    same(await refusal(polls.port, ""), 404, text("WebSockets"));
    const sockets = await startEndpoint(t, { options: { transports: ["WebSockets"] } });
    const other = await negotiate(sockets.url);
    same(await ask(`${sockets.url}?id=${other.connectionToken}`), 404, text("LongPolling"));
    assert.equal(sockets.handler.receivers.length, 0);
  });

  it("stays with the transport that came first", async (t) => {
    const { port, open } = await opened(t);
    const text = "Cannot change transports mid-connection";
    const socket = await open("WebSockets");
    same(await ask(socket.target), 400, text);
    same(await ask(socket.target, streaming), 400, text);
    const stream = await open("ServerSentEvents");
    same(await ask(stream.target), 400, text);
    same(await refusal(port, `?id=${stream.client.token}`), 400, text);
    const polls = await open("LongPolling");
    same(await ask(polls.target, streaming), 400, text);
    same(await refusal(port, `?id=${polls.client.token}`), 400, text);
  });

  it("refuses a second stream, and a second socket without stateful reconnect", async (t) => {
    const { port, open } = await opened(t);
    const stream = await open("ServerSentEvents");
    same(await ask(stream.target, streaming), 409);
    const socket = await open("WebSockets");
    same(await refusal(port, `?id=${socket.client.token}`), 409);
  });

  it("takes no POST for a WebSocket, and DELETE for long polling only", async (t) => {
    const { url, open } = await opened(t);
    const socket = await open("WebSockets");
    same(
      await ask(socket.target, { method: "POST", body: "x" }),
      405,
      "POST requests are not allowed for WebSocket connections.",
    );
    const stream = await open("ServerSentEvents");
    const { connectionToken } = await negotiate(url);
    for (const target of [socket.target, stream.target, `${url}?id=${connectionToken}`]) {
      same(
        await ask(target, { method: "DELETE" }),
        400,
        "Cannot terminate this connection using the DELETE endpoint.",
      );
    }
  });

  it("takes the id whatever the case of its name", async (t) => {
    const { url, handler } = await startEndpoint(t);
    const { connectionToken } = await negotiate(url);
    assert.equal((await ask(`${url}?ID=${connectionToken}`)).status, 200);
    await handler.opened();
  });
});

describe("WebSockets of an endpoint", () => {
  it("makes a connection of version 0 for a socket without id", async (t) => {
    const { url, handler } = await startEndpoint(t, {
      handler: echoing(),
      options: { allowStatefulReconnects: true },
    });
    const socket = await openSocket(`${url}?a=b`, undefined);
    const answer = once(socket, "message");
    socket.send("hello");
    assert.equal(String((await answer)[0]), "hello");
    const { connection } = await handler.opened();
    assert.equal(connection.allowsReconnect, false);
    assert.equal(connection.request.query.toString(), "a=b");
    socket.terminate();
  });

  it("ignores kinds and boundaries of messages on the way in", async (t) => {
    const { url, handler } = await startEndpoint(t);
    const socket = await openSocket(url, (await negotiate(url)).connectionToken);
    socket.send("text,");
    socket.send(Buffer.from("binary,"));
    socket.send("frag", { fin: false });
    socket.send("ment", { fin: true });
    socket.send("");
    const receiver = await handler.opened();
    await until(() => receiver.received.endsWith("ment"), "the last fragment");
    assert.equal(receiver.received, "text,binary,fragment");
    socket.terminate();
  });

  it("closes with 1007 for text that is not UTF-8", async (t) => {
    const { url, handler, port } = await startEndpoint(t);
    const { connectionToken } = await negotiate(url);
    const raw = await openRaw(port);
    t.after(() => raw.destroy());
    raw.write(upgradeRequest({}, `/hub?id=${connectionToken}`));
    assert.equal((await raw.readResponse()).status, 101);
    raw.write(Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0xff]));
    assert.deepEqual([...(await raw.readBytes(4))], [0x88, 2, 1007 >> 8, 1007 & 0xff]);
    const end = await (await handler.opened()).end();
    assert.deepEqual(
      [end.cause, (end.error as { code?: string }).code],
      ["local", "ERR_INVALID_UTF8"],
    );
  });

  it("sends text until the format is another, whole messages, and one frame per call", async (t) => {
    const handler = new FakeHandler();
    const { url } = await startEndpoint(t, { handler });
    const socket = await openSocket(url, (await negotiate(url)).connectionToken);
    const frames: [string, boolean][] = [];
    socket.on("message", (data, isBinary) => frames.push([String(data), isBinary]));
    const { connection } = await handler.opened();
    connection.send(Buffer.from("one"), 0, 3);
    connection.format = "Binary";
    connection.send(Buffer.from("two"), 0, 3);
    await until(() => frames.length === 2, "two frames");
    assert.deepEqual(frames, [
      ["one", false],
      ["two", true],
    ]);
    socket.terminate();
  });

  it("chooses a subprotocol by the selector", async (t) => {
    const asked: (readonly string[])[] = [];
    const { url } = await startEndpoint(t, {
      options: {
        webSockets: {
          subProtocolSelector: (requested) => {
            asked.push(requested);
            return requested.find((each) => each === "b");
          },
        },
      },
    });
    const chosen = await openSocket(url, undefined, {}, ["a", "b"]);
    assert.equal(chosen.protocol, "b");
    const none = await openSocket(url, undefined);
    assert.equal(none.protocol, "");
    assert.deepEqual(asked, [["a", "b"], []]);
    chosen.terminate();
    none.terminate();
  });

  it("refuses by 500 when the selector throws, and keeps nothing", async (t) => {
    const { port, endpoint, handler } = await startEndpoint(t, {
      options: {
        webSockets: {
          subProtocolSelector: () => {
            throw new Error("a mistake");
          },
        },
      },
    });
    assert.equal((await refusal(port, "")).status, 500);
    assert.equal([...endpoint.connections].length, 0);
    assert.equal(handler.receivers.length, 0);
  });

  it("refuses a malformed handshake, and the token stays good", async (t) => {
    const { url, port, endpoint } = await startEndpoint(t);
    const { connectionToken } = await negotiate(url);
    const bad = await refusal(port, `?id=${connectionToken}`, { "Sec-WebSocket-Key": "short" });
    assert.equal(bad.status, 400);
    assert.equal((await refusal(port, "", { "Sec-WebSocket-Version": "8" })).status, 426);
    assert.equal([...endpoint.connections].length, 1);
    (await openSocket(url, connectionToken)).terminate();
  });

  it("refuses pages of other origins, by a policy of its own", async (t) => {
    const { port, logger } = await startEndpoint(t);
    const foreign = { Origin: "https://evil.example" };
    assert.equal((await refusal(port, "", foreign)).status, 403);
    assert.match(String(logger.lines[0]?.message), /allowedOrigins/);
    const open = await startEndpoint(t, { options: { allowedOrigins: ["https://evil.example"] } });
    assert.equal((await refusal(open.port, "", foreign)).status, 101);
    assert.equal((await refusal(open.port, "", { Origin: "https://other.example" })).status, 403);
  });

  it("counts a client that leaves without a word as lost", async (t) => {
    const { open } = await opened(t);
    const { client, receiver } = await open("WebSockets");
    client.vanish();
    assert.deepEqual(await receiver.end(), { cause: "lost" });
  });

  it("waits no longer than closeTimeout for the client's Close", async (t) => {
    const { url, port, handler } = await startEndpoint(t, {
      options: { webSockets: { closeTimeout: 200 } },
    });
    const { connectionToken } = await negotiate(url);
    const raw = await openRaw(port);
    t.after(() => raw.destroy());
    raw.write(upgradeRequest({}, `/hub?id=${connectionToken}`));
    await raw.readResponse();
    const receiver = await handler.opened();
    receiver.connection.close("done");
    assert.deepEqual([...(await raw.readBytes(4))], [0x88, 2, 1000 >> 8, 1000 & 0xff]);
    assert.deepEqual(await receiver.end(), { cause: "local" });
    await raw.whenEnded();
  });
});

describe("stateful reconnect", () => {
  const options = { allowStatefulReconnects: true };
  const query = "negotiateVersion=1&useStatefulReconnect=true";

  async function reconnectable(t: TestContext, more = {}, handler = new FakeHandler()) {
    const running = await startEndpoint(t, { options: { ...options, ...more }, handler });
    const { connectionToken: token } = await negotiate(running.url, { query });
    const socket = await openSocket(running.url, token);
    t.after(() => socket.terminate());
    const receiver = await handler.opened();
    const again = async () => {
      const other = await openSocket(running.url, token);
      t.after(() => other.terminate());
      return other;
    };
    return { ...running, token, socket, receiver, again };
  }

  it("carries the connection over to a new socket", async (t) => {
    const { socket, receiver, again, handler } = await reconnectable(t);
    assert.equal(receiver.connection.allowsReconnect, true);
    socket.send("one,");
    await until(() => receiver.received === "one,", "the first message");
    socket.terminate();
    await until(() => receiver.calls.includes("interrupted"), "the interruption");
    receiver.send("into the gap");
    const other = await again();
    await until(() => receiver.calls.includes("resumed"), "the new socket");
    const answer = once(other, "message");
    receiver.send("hello again");
    assert.equal(String((await answer)[0]), "hello again");
    other.send("two");
    await until(() => receiver.received === "one,two", "the second message");
    assert.deepEqual(receiver.calls, ["interrupted", "resumed"]);
    assert.deepEqual(receiver.ends, []);
    assert.equal(handler.receivers.length, 1);
    other.close();
    assert.deepEqual(await receiver.end(), { cause: "client" });
  });

  it("lets the newest socket win at once", async (t) => {
    const { socket, receiver, again } = await reconnectable(t);
    const ended = once(socket, "close");
    const second = await again();
    await until(() => receiver.calls.length === 2, "the new socket");
    assert.deepEqual(receiver.calls, ["interrupted", "resumed"]);
    const [code] = await ended;
    assert.equal(code, 1000);
    second.send("from the second");
    await until(() => receiver.received === "from the second", "its message");
    assert.deepEqual(receiver.ends, []);
  });

  it("lets one of several that race have the connection", async (t) => {
    const { receiver, again } = await reconnectable(t);
    const sockets = await Promise.all([again(), again(), again()]);
    await until(() => receiver.calls.length === 6, "three new sockets");
    await until(
      () => sockets.filter(({ readyState }) => readyState === WebSocket.OPEN).length === 1,
      "the end of the others",
    );
    const last = sockets.find(({ readyState }) => readyState === WebSocket.OPEN);
    last?.send("still here");
    await until(() => receiver.received === "still here", "a message");
    assert.deepEqual(receiver.ends, []);
  });

  it("takes nothing more from a socket that was replaced", async (t) => {
    const { socket, receiver, again } = await reconnectable(t);
    const second = await again();
    await until(() => receiver.calls.length === 2, "the new socket");
    if (socket.readyState === WebSocket.OPEN) socket.send("late");
    second.send("new");
    await until(() => receiver.received !== "", "a message");
    await sleep(20);
    assert.equal(receiver.received, "new");
  });

  it("ends with a Close, after which no socket comes back", async (t) => {
    const { socket, receiver, port, token } = await reconnectable(t);
    socket.close();
    assert.deepEqual(await receiver.end(), { cause: "client" });
    same(await refusal(port, `?id=${token}`), 404, "No Connection with that ID");
  });

  it("ends when no socket comes back in time", async (t) => {
    const { socket, receiver, endpoint } = await reconnectable(t, { disconnectTimeout: 200 });
    socket.terminate();
    assert.deepEqual(await receiver.end(), { cause: "lost" });
    assert.deepEqual(receiver.calls, ["interrupted"]);
    assert.equal([...endpoint.connections].length, 0);
  });

  it("refuses sockets once it is switched off", async (t) => {
    const { receiver, port, token } = await reconnectable(t);
    receiver.connection.allowsReconnect = false;
    same(await refusal(port, `?id=${token}`), 409);
    receiver.connection.close("done");
    assert.ok([404, 409].includes((await refusal(port, `?id=${token}`)).status));
  });

  it("answers a socket that races with the end with 204", async (t) => {
    const rows: [string, (r: Awaited<ReturnType<typeof reconnectable>>) => void, number][] = [
      ["switched off", ({ receiver }) => (receiver.connection.allowsReconnect = false), 204],
      ["closing", ({ receiver }) => receiver.connection.close("done"), 204],
      ["gone", ({ receiver }) => receiver.connection.abort(), 404],
    ];
    for (const [name, act, status] of rows) {
      const gate = { isClosed: false, open: () => {} };
      const running = await reconnectable(t, {
        authorize: async () => {
          if (gate.isClosed) await new Promise<void>((resolve) => (gate.open = resolve));
          return true;
        },
        user: () => ({ id: "a" }),
        // So that the old socket's peer does not end what is being closed.
        webSockets: { closeTimeout: 5_000 },
      });
      running.socket.pause();
      gate.isClosed = true;
      const answer = refusal(running.port, `?id=${running.token}`);
      await sleep(50);
      act(running);
      gate.open();
      assert.deepEqual([name, (await answer).status], [name, status]);
    }
  });

  it("ends a connection that is closed while it has no socket", async (t) => {
    const { socket, receiver } = await reconnectable(t);
    socket.terminate();
    await until(() => receiver.calls.includes("interrupted"), "the interruption");
    receiver.connection.close("done");
    assert.deepEqual(await receiver.end(), { cause: "local" });
  });

  it("keeps a new socket paused while the receiver is", async (t) => {
    const { socket, receiver, again } = await reconnectable(t);
    receiver.connection.pause();
    // Nobody notices: what is paused is not read.
    socket.terminate();
    const other = await again();
    other.send("later");
    await sleep(50);
    assert.equal(receiver.received, "");
    receiver.connection.resume();
    await until(() => receiver.received === "later", "the message");
  });
});

describe("server-sent events of an endpoint", () => {
  it("begins with the headers and the comment of the reference", async (t) => {
    const { url, port, handler } = await startEndpoint(t);
    const { connectionToken } = await negotiate(url);
    const raw = await openRaw(port);
    t.after(() => raw.destroy());
    raw.write(
      requestText(`GET /hub?id=${connectionToken} HTTP/1.1`, {
        Host: "x",
        Accept: "text/event-stream",
      }),
    );
    const receiver = await handler.opened();
    await until(() => raw.unread.includes(":\r\n"), "the first bytes");
    const head = raw.unread.toString("latin1").toLowerCase();
    assert.ok(head.startsWith("http/1.1 200 ok\r\n"));
    for (const line of [
      "content-type: text/event-stream",
      "cache-control: no-cache,no-store",
      "pragma: no-cache",
      "content-encoding: identity",
    ]) {
      assert.ok(head.includes(`\r\n${line}\r\n`), line);
    }
    receiver.send("Hello");
    await until(() => raw.unread.includes("data: Hello\r\n\r\n"), "the event");
  });

  it("writes what is sent in one turn at once", async (t) => {
    const { open } = await opened(t);
    const { client, receiver } = await open("ServerSentEvents");
    for (let n = 0; n < 100; n++) receiver.send(`{${n}}`);
    await until(() => client.received.endsWith("{99}"), "the events");
  });

  it("ends when the client goes, in whatever way", async (t) => {
    const { open } = await opened(t);
    const { client, receiver } = await open("ServerSentEvents");
    client.vanish();
    assert.deepEqual(await receiver.end(), { cause: "client" });
  });
});

describe("long polling of an endpoint", () => {
  const uncached = {
    "cache-control": "no-cache, no-store",
    pragma: "no-cache",
    expires: "Thu, 01 Jan 1970 00:00:00 GMT",
  };
  const checkUncached = ({ headers }: Answer) => {
    for (const [name, value] of Object.entries(uncached)) assert.equal(headers[name], value);
  };

  async function begun(t: TestContext, setup: Setup = {}) {
    const running = await startEndpoint(t, setup);
    const { connectionToken } = await negotiate(running.url);
    const target = `${running.url}?id=${connectionToken}`;
    const first = await ask(target);
    return { ...running, target, first, receiver: await running.handler.opened() };
  }

  it("answers the first poll at once", async (t) => {
    const { first } = await begun(t);
    same(first, 200, "", "application/octet-stream");
    assert.equal(first.headers["content-length"], "0");
    checkUncached(first);
  });

  it("answers a poll with everything that was sent in the turn", async (t) => {
    const { target, receiver } = await begun(t);
    const poll = ask(target);
    await sleep(30);
    receiver.send("one;");
    receiver.send("two;");
    const answer = await poll;
    same(answer, 200, "one;two;", "application/octet-stream");
    assert.equal(answer.headers["content-length"], "8");
    checkUncached(answer);
    receiver.send("three;");
    receiver.send("four");
    assert.ok(receiver.connection.bufferedBytes > 0);
    same(await ask(target), 200, "three;four", "application/octet-stream");
  });

  it("answers an empty poll after pollTimeout", async (t) => {
    const { target } = await begun(t, { options: { longPolling: { pollTimeout: 100 } } });
    const answer = await ask(target);
    same(answer, 200);
    assert.equal(answer.headers["content-length"], "0");
    checkUncached(answer);
  });

  it("gives the data to the newest poll, and 204 to the others", async (t) => {
    const { target, receiver } = await begun(t);
    const old = ask(target);
    await sleep(30);
    const older = ask(target);
    const first = await old;
    same(first, 204);
    checkUncached(first);
    await sleep(30);
    const newest = ask(target);
    same(await older, 204);
    receiver.send("data");
    same(await newest, 200, "data", "application/octet-stream");
    assert.deepEqual(receiver.ends, []);
  });

  it("forgets a poll whose client left, and loses nothing", async (t) => {
    const { target, receiver } = await begun(t);
    const left = begin(target, {});
    await sleep(50);
    left.destroy();
    await sleep(50);
    receiver.send("kept");
    same(await ask(target), 200, "kept", "application/octet-stream");
  });

  it("gives what is left, then 204, then 404, when the connection is closed", async (t) => {
    const { target, receiver } = await begun(t);
    receiver.send("last");
    receiver.connection.close("done");
    same(await ask(target), 200, "last", "application/octet-stream");
    assert.deepEqual(receiver.ends, []);
    same(await ask(target), 204);
    assert.deepEqual(receiver.ends, [{ cause: "local" }]);
    same(await ask(target), 404, "No Connection with that ID");
  });

  it("ends when no poll comes in time", async (t) => {
    const { receiver, endpoint } = await begun(t, { options: { disconnectTimeout: 200 } });
    assert.deepEqual(await receiver.end(), { cause: "timeout" });
    assert.equal([...endpoint.connections].length, 0);
  });

  it("does not end while a poll waits", async (t) => {
    const { target, receiver } = await begun(t, { options: { disconnectTimeout: 200 } });
    const poll = ask(target);
    await sleep(1_500);
    assert.deepEqual(receiver.ends, []);
    receiver.send("still here");
    same(await poll, 200, "still here", "application/octet-stream");
  });

  it("ends by DELETE, which answers the poll and later POSTs", async (t) => {
    const { target, receiver, logger } = await begun(t);
    const poll = ask(target);
    await sleep(30);
    const ended = await ask(target, { method: "DELETE" });
    assert.deepEqual([ended.status, ended.body], [202, ""]);
    same(await poll, 204);
    assert.deepEqual(receiver.ends, [{ cause: "client" }]);
    same(await ask(target, { method: "POST", body: "late" }), 404, "No Connection with that ID");
    same(await ask(target, { method: "DELETE" }), 404, "No Connection with that ID");
    assert.deepEqual(
      logger.lines.filter(({ level }) => level !== "info" && level !== "debug"),
      [],
    );
  });

  it("answers a POST that DELETE overtakes with 404", async (t) => {
    const { target } = await begun(t);
    const { request } = await import("node:http");
    const upload = request(target, { method: "POST", agent: false });
    upload.on("error", () => {});
    upload.write("half ");
    await sleep(50);
    assert.equal((await ask(target, { method: "DELETE" })).status, 202);
    const response = await answerTo(upload);
    assert.equal(response.statusCode, 404);
    upload.destroy();
  });
});

describe("POSTs", () => {
  it("are answered with 200 and nothing else", async (t) => {
    const { open } = await opened(t);
    const { target, receiver } = await open("ServerSentEvents");
    const answer = await ask(target, { method: "POST", body: "hello" });
    assert.deepEqual([answer.status, answer.body], [200, ""]);
    assert.equal((await ask(target, { method: "POST" })).status, 200);
    assert.equal(receiver.received, "hello");
  });

  it("take their turns", async (t) => {
    const { open } = await opened(t);
    const { target, receiver } = await open("ServerSentEvents");
    const { request } = await import("node:http");
    const first = request(target, { method: "POST", agent: false });
    first.write("one,");
    await until(() => receiver.received === "one,", "the first half");
    const second = ask(target, { method: "POST", body: "three" });
    await sleep(50);
    assert.equal(receiver.received, "one,");
    first.end("two,");
    assert.equal((await answerTo(first)).statusCode, 200);
    assert.equal((await second).status, 200);
    assert.equal(receiver.received, "one,two,three");
  });

  it("may come before the first request of the transport", async (t) => {
    const { url, handler } = await startEndpoint(t);
    const { connectionToken } = await negotiate(url);
    const target = `${url}?id=${connectionToken}`;
    assert.equal((await ask(target, { method: "POST", body: "early" })).status, 200);
    assert.equal(handler.receivers.length, 0);
    await ask(target);
    assert.equal((await handler.opened()).received, "early");
  });

  it("are given up when their bodies take too long", async (t) => {
    const { open, logger } = await opened(t, { options: { uploadTimeout: 200 } });
    const { target, receiver } = await open("ServerSentEvents");
    const { request } = await import("node:http");
    const endless = request(target, { method: "POST", agent: false });
    endless.on("error", () => {});
    const timer = setInterval(() => endless.write("."), 20);
    t.after(() => clearInterval(timer));
    const response = await answerTo(endless);
    assert.equal(response.statusCode, 408);
    await withTimeout(new Promise((resolve) => endless.on("close", resolve)));
    clearInterval(timer);
    assert.equal(logger.lines.filter(({ level }) => level === "warn").length, 1);
    assert.deepEqual(receiver.ends, []);
    assert.equal((await ask(target, { method: "POST", body: "next" })).status, 200);
  });

  it("are not given up while the receiver is paused", async (t) => {
    const { open } = await opened(t, {
      options: { uploadTimeout: 200, applicationMaxBufferSize: 100 },
    });
    const { target, receiver } = await open("ServerSentEvents");
    receiver.connection.pause();
    const upload = ask(target, { method: "POST", body: "x".repeat(1_000_000) });
    await sleep(1_500);
    receiver.connection.resume();
    assert.equal((await upload).status, 200);
    assert.equal(receiver.received.length, 1_000_000);
  });

  it("do not pile up", async (t) => {
    const { open } = await opened(t);
    const { target } = await open("ServerSentEvents");
    const { request } = await import("node:http");
    const uploads = Array.from({ length: 20 }, () => {
      const upload = request(target, { method: "POST", agent: false });
      upload.on("error", () => {});
      upload.write("begun");
      return upload;
    });
    t.after(() => {
      for (const upload of uploads) upload.destroy();
    });
    const statuses: number[] = [];
    for (const upload of uploads) {
      upload.on("response", (response) => {
        response.resume();
        statuses.push(response.statusCode as number);
      });
    }
    await until(() => statuses.length === 4, "four refusals");
    assert.deepEqual(statuses, [429, 429, 429, 429]);
  });

  it("leave the connection alone when they are cut", async (t) => {
    const { open } = await opened(t);
    const { target, receiver } = await open("LongPolling");
    const { request } = await import("node:http");
    const cut = request(target, { method: "POST", agent: false });
    cut.on("error", () => {});
    cut.write("half");
    await until(() => receiver.received === "half", "the half");
    cut.destroy();
    assert.equal((await ask(target, { method: "POST", body: " and more" })).status, 200);
    assert.equal(receiver.received, "half and more");
  });
});

describe("limits on connections", () => {
  it("refuses with 503 beyond maxConnections", async (t) => {
    const { url, port, logger } = await startEndpoint(t, { options: { maxConnections: 2 } });
    await negotiate(url);
    await negotiate(url);
    for (let n = 0; n < 3; n++) {
      const answer = await ask(`${url}/negotiate`, { method: "POST" });
      same(answer, 503, "The server has too many connections.");
      assert.ok(Number(answer.headers["retry-after"]) > 0);
      same(await refusal(port, ""), 503, "The server has too many connections.");
    }
    const warnings = logger.lines.filter(({ message }) => message.includes("maxConnections"));
    assert.ok(warnings.length >= 1 && warnings.length <= 2);
  });

  it("refuses with 429 beyond maxPendingNegotiates without a user", async (t) => {
    const { url } = await startEndpoint(t, {
      options: {
        maxPendingNegotiates: 2,
        user: (request) =>
          request.headers["x-user"] ? { id: request.headers["x-user"] } : undefined,
      },
    });
    const first = await negotiate(url);
    await negotiate(url);
    const answer = await ask(`${url}/negotiate`, { method: "POST" });
    same(answer, 429, "Too many negotiated connections wait to be used.");
    await negotiate(url, { headers: { "X-User": "known" } });
    const socket = await openSocket(url, first.connectionToken);
    await negotiate(url);
    assert.equal((await ask(`${url}/negotiate`, { method: "POST" })).status, 429);
    socket.terminate();
  });
});
