/** What every transport promises to whoever understands its bytes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { SharedBytes, type TransportName } from "#dist/hub/transport.js";
import { once, timeLimit, until, withTimeout } from "../support/network.js";
import {
  ask,
  clients,
  echoing,
  FakeHandler,
  negotiate,
  startEndpoint,
  untilReceived,
} from "../support/transports.js";

const idForm = /^[A-Za-z0-9_-]{22}$/;

export function describeTransport(name: TransportName): void {
  const connect = clients[name];
  const isSocket = name === "WebSockets";

  describe(`${name} as a transport`, () => {
    it("opens a connection with what is known of the client", async (t) => {
      const { url, handler } = await startEndpoint(t);
      const client = await connect(url, { "X-Trace": "7" });
      const { connection } = await handler.opened();
      assert.equal(connection.transport, name);
      assert.equal(connection.id, client.id);
      assert.match(connection.id, idForm);
      assert.match(client.token, idForm);
      assert.notEqual(client.token, client.id);
      const { request } = connection;
      assert.equal(request.headers["x-trace"], "7");
      assert.equal(request.path, "/hub");
      assert.equal(request.remoteAddress, "127.0.0.1");
      assert.equal(request.query.toString(), "");
      assert.equal(connection.allowsReconnect, false);
      assert.equal(connection.bufferedBytes, 0);
      assert.equal(connection.format, "Text");
      assert.equal(connection.user, undefined);
      assert.equal(connection.userId, undefined);
      assert.equal(handler.receivers.length, 1);
      client.vanish();
    });

    it("carries bytes in both directions, in order", async (t) => {
      const { url } = await startEndpoint(t, { handler: echoing() });
      const client = await connect(url);
      let expected = "";
      for (let n = 0; n < 20; n++) {
        await client.send(`<${n}>`);
        expected += `<${n}>`;
      }
      await until(() => client.received.length >= expected.length, "the echo");
      assert.equal(client.received, expected);
      client.vanish();
    });

    it("carries a large message in pieces", async (t) => {
      const { url, handler } = await startEndpoint(t);
      const client = await connect(url);
      const receiver = await handler.opened();
      const large = "0123456789abcdef".repeat(64 * 1024);
      await client.send(large);
      await until(() => receiver.received.length === large.length, "the message");
      assert.equal(receiver.received, large);
      receiver.send(large);
      await until(() => client.received.length === large.length, "the answer");
      assert.equal(client.received, large);
      client.vanish();
    });

    it("copies what is sent before send returns", async (t) => {
      const handler = new FakeHandler();
      const { url } = await startEndpoint(t, { handler });
      const client = await connect(url);
      const { connection } = await handler.opened();
      const bytes = Buffer.from("..first..");
      connection.send(bytes, 2, 7);
      bytes.fill("x");
      connection.send(Buffer.from("second"), 0, 6);
      await untilReceived(client, "second");
      assert.equal(client.received, "firstsecond");
      client.vanish();
    });

    it("sends shared bytes to many, in order with the rest", async (t) => {
      const { url, handler } = await startEndpoint(t);
      const some = [await connect(url), await connect(url), await connect(url)];
      await handler.opened(2);
      const message = new SharedBytes(Buffer.from("for all"), "Text");
      for (const receiver of handler.receivers) {
        receiver.send("[");
        receiver.connection.sendShared(message);
        receiver.send("]");
      }
      for (const client of some) {
        await untilReceived(client, "]");
        assert.equal(client.received, "[for all]");
        client.vanish();
      }
    });

    it("may be sent to while it is being opened", async (t) => {
      const handler = new FakeHandler();
      handler.onOpen = (receiver) => receiver.send("welcome");
      const { url } = await startEndpoint(t, { handler });
      const client = await connect(url);
      await untilReceived(client, "welcome");
      client.vanish();
    });

    it("counts what is not taken, and tells when it is", async (t) => {
      const { url, handler } = await startEndpoint(t);
      const client = await connect(url);
      const receiver = await handler.opened();
      receiver.send("x".repeat(8 * 1024 * 1024));
      assert.ok(receiver.connection.bufferedBytes > 1024 * 1024);
      await until(() => receiver.calls.includes("drained"), "drained()");
      assert.equal(receiver.connection.bufferedBytes, 0);
      await until(() => client.received.length === 8 * 1024 * 1024, "all of it");
      client.vanish();
    });

    it("holds input back while it is paused", async (t) => {
      const { url, handler } = await startEndpoint(t, {
        options: { applicationMaxBufferSize: 4096 },
      });
      const client = await connect(url);
      const receiver = await handler.opened();
      receiver.connection.pause();
      await client.send("small");
      let isTaken = false;
      const large = client.send("y".repeat(4 * 1024 * 1024)).then(() => {
        isTaken = true;
      });
      await sleep(100);
      assert.ok(receiver.received.length <= 256 * 1024, `${receiver.received.length} came`);
      if (!isSocket) assert.equal(receiver.received, "");
      assert.equal(isTaken, false);
      receiver.connection.resume();
      await until(() => receiver.received.length === 4 * 1024 * 1024 + 5, "the rest");
      assert.ok(receiver.received.startsWith("small"));
      await large;
      client.vanish();
    });

    it("may be paused and resumed from within receive", async (t) => {
      const handler = new FakeHandler();
      handler.onReceive = ({ connection }) => {
        connection.pause();
        setImmediate(() => connection.resume());
      };
      const { url } = await startEndpoint(t, { handler });
      const client = await connect(url);
      const receiver = await handler.opened();
      let expected = "";
      for (let n = 0; n < 10; n++) {
        await client.send(`(${n})`);
        expected += `(${n})`;
      }
      await until(() => receiver.received.length === expected.length, "all of it");
      assert.equal(receiver.received, expected);
      client.vanish();
    });

    it("ends when the client says good-bye", async (t) => {
      const { url, handler, endpoint } = await startEndpoint(t);
      const client = await connect(url);
      const receiver = await handler.opened();
      await client.send("last words");
      await client.close();
      assert.deepEqual(await receiver.end(), { cause: "client" });
      assert.equal(receiver.received, "last words");
      assert.equal([...endpoint.connections].length, 0);
      receiver.send("nobody there");
      receiver.connection.close("done");
      receiver.connection.abort();
      await turn();
      assert.equal(receiver.ends.length, 1);
    });

    it("closes when what was sent has left", async (t) => {
      const { url, handler, endpoint } = await startEndpoint(t);
      const client = await connect(url);
      const receiver = await handler.opened();
      const large = "z".repeat(2 * 1024 * 1024);
      receiver.send(large);
      receiver.send("end");
      receiver.connection.close("done");
      receiver.connection.close("error");
      const words = { WebSockets: "1000", ServerSentEvents: "ended", LongPolling: "204" };
      assert.equal(await withTimeout(client.ended), words[name]);
      assert.equal(client.received, `${large}end`);
      assert.deepEqual(await receiver.end(), { cause: "local" });
      assert.equal([...endpoint.connections].length, 0);
      assert.equal(receiver.ends.length, 1);
    });

    it("tells of an error by its own means", async (t) => {
      const { url, handler } = await startEndpoint(t);
      const client = await connect(url);
      (await handler.opened()).connection.close("error");
      const words = { WebSockets: "1011", ServerSentEvents: "ended", LongPolling: "204" };
      assert.equal(await withTimeout(client.ended), words[name]);
    });

    it("aborts at once", async (t) => {
      const { url, handler, endpoint } = await startEndpoint(t);
      const client = await connect(url);
      const receiver = await handler.opened();
      receiver.connection.abort();
      assert.deepEqual(receiver.ends, [{ cause: "local" }]);
      assert.equal([...endpoint.connections].length, 0);
      if (name !== "ServerSentEvents") {
        const words = isSocket ? ["1006"] : ["204", "404"];
        assert.ok(words.includes(await withTimeout(client.ended)));
      }
      client.vanish();
    });

    it("ends a connection whose receiver throws, and no other", async (t) => {
      const handler = new FakeHandler();
      const mistake = new Error("a mistake");
      handler.onReceive = (_receiver, text) => {
        if (text === "bad") throw mistake;
      };
      handler.onClosed = () => {
        throw new Error("another mistake");
      };
      const { url, logger } = await startEndpoint(t, { handler });
      const good = await connect(url);
      const bad = await connect(url);
      // A POST is answered when its bytes have been taken, which they are not.
      await bad.send("bad").catch(() => {});
      const receiver = await handler.opened(1);
      assert.deepEqual(await receiver.end(), { cause: "local", error: mistake });
      await withTimeout(bad.ended);
      await good.send("good");
      await until(() => handler.receivers[0]?.received === "good", "the other's bytes");
      const lines = logger.lines.filter(({ level }) => level === "error");
      assert.equal(lines.length, 2);
      good.vanish();
    });

    it("ends a connection whose handler throws", async (t) => {
      const handler = new FakeHandler();
      handler.onOpen = () => {
        throw new Error("a mistake");
      };
      const { url, logger, endpoint } = await startEndpoint(t, { handler });
      const client = await connect(url);
      await withTimeout(client.ended);
      await until(() => [...endpoint.connections].length === 0, "the end");
      assert.equal(logger.lines.filter(({ level }) => level === "error").length, 1);
    });

    it("may be ended while it is being opened", async (t) => {
      for (const how of ["close", "abort"] as const) {
        const handler = new FakeHandler();
        handler.onOpen = ({ connection }) => {
          if (how === "close") connection.close("done");
          else connection.abort();
        };
        const { url, endpoint } = await startEndpoint(t, { handler });
        await connect(url).then(
          (client) => client.vanish(),
          () => {},
        );
        const receiver = await handler.opened();
        if (how === "abort" || name !== "LongPolling") {
          assert.equal((await receiver.end()).cause, "local");
          await until(() => [...endpoint.connections].length === 0, "the end");
        }
        assert.ok(receiver.ends.length <= 1);
      }
    });

    it("notices a client that does not read", async (t) => {
      const { url, handler, logger } = await startEndpoint(t, {
        options: { transportSendTimeout: 300, longPolling: { pollTimeout: 60_000 } },
      });
      const client = await connect(url);
      const receiver = await handler.opened();
      if (name === "LongPolling") {
        client.stall();
        await receiver.connection.send(Buffer.from("the poll that waits"), 0, 19);
        await untilReceived(client, "waits");
        receiver.send("x".repeat(32 * 1024 * 1024));
        const { request } = await import("node:http");
        const poll = request(`${url}?id=${client.token}`, { agent: false }).end();
        poll.on("error", () => {});
        await once(poll, "response");
      } else {
        client.stall();
        for (let n = 0; n < 64; n++) receiver.send("x".repeat(512 * 1024));
      }
      const end = await receiver.end();
      assert.equal(end.cause, "timeout");
      assert.match(String(end.error), /did not take/);
      assert.equal(logger.lines.filter(({ level }) => level === "warn").length, 1);
      client.vanish();
    });

    it("is told of a shutdown, and what it sends then still leaves", async (t) => {
      const handler = new FakeHandler();
      handler.onClosed = (receiver) => receiver.send("good-bye");
      const { url, server, endpoint } = await startEndpoint(t, { handler });
      const client = await connect(url);
      const pending = await negotiate(url);
      const receiver = await handler.opened();
      if (name === "LongPolling") await sleep(50);
      const closed = once(server, "close");
      server.close();
      assert.deepEqual(await receiver.end(), { cause: "shutdown" });
      await withTimeout(client.ended, timeLimit, "the end");
      assert.equal(client.received, "good-bye");
      if (isSocket) assert.equal(await client.ended, "1001");
      await closed;
      assert.equal([...endpoint.connections].length, 0);
      assert.ok(pending.connectionToken);
    });

    it("is told of a shutdown that nobody announces", async (t) => {
      if (isSocket) return;
      const { url, server, handler } = await startEndpoint(t, { upgrades: false });
      const client = await connect(url);
      const receiver = await handler.opened();
      const closed = once(server, "close");
      server.close();
      assert.deepEqual(await receiver.end(), { cause: "shutdown" });
      await withTimeout(client.ended);
      await closed;
    });

    it("closes a connection that is too old, or too quiet", async (t) => {
      for (const options of [{ maxLifetime: 200 }, { idleTimeout: 200 }]) {
        const { url, handler } = await startEndpoint(t, { options });
        const client = await connect(url);
        const receiver = await handler.opened();
        assert.deepEqual(await receiver.end(), { cause: "expired" });
        await withTimeout(client.ended);
        client.vanish();
      }
    });

    it("keeps a token to its path, and forgets it at the end", async (t) => {
      const one = await startEndpoint(t);
      const other = await startEndpoint(t);
      const client = await connect(one.url);
      const elsewhere = await ask(`${other.url}?id=${client.token}`);
      assert.deepEqual([elsewhere.status, elsewhere.body], [404, "No Connection with that ID"]);
      await client.close();
      await (await one.handler.opened()).end();
      assert.equal((await ask(`${one.url}?id=${client.token}`)).status, 404);
      const late = await ask(`${one.url}?id=${client.token}`, { method: "POST", body: "late" });
      assert.equal(late.status, 404);
    });
  });
}
