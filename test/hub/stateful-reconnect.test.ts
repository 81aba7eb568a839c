import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { messagePack } from "halyard/messagepack";
import { Deferred } from "#dist/deferred.js";
import { Hub, type HubOptions, hubContext, json } from "#dist/hub/index.js";
import { MessageType } from "#dist/hub-protocol/messages.js";
import {
  clientOf,
  closing,
  encoded,
  FakeClient,
  handlerOf,
  invocation,
  turns,
} from "../support/fake-connection.js";
import { until } from "../support/network.js";

interface Listener {
  news(...args: unknown[]): void;
  question(): unknown;
}

function makeHub() {
  const events: unknown[] = [];
  class ResumedHub extends Hub<Listener> {
    echo(value: unknown) {
      events.push(value);
      return value;
    }
    async *numbers(to: number) {
      for (let n = 1; n <= to; n++) yield n;
    }
    async upload(items: AsyncIterable<unknown>) {
      for await (const item of items) events.push(item);
      return "uploaded";
    }
    override onDisconnected(error?: Error) {
      events.push(`disconnected ${error?.message}`);
    }
  }
  const news = (...args: unknown[]) => hubContext(ResumedHub).clients.all.news(...args);
  return { ResumedHub, events, news };
}

const ack = (client: FakeClient, sequenceId: number) =>
  client.send({ type: MessageType.ack, sequenceId });
const sequence = (client: FakeClient, sequenceId: number) =>
  client.send({ type: MessageType.sequence, sequenceId });
const later = (ms: number) => performance.now() + ms;
const text = (length: number) => "x".repeat(length);

for (const protocol of [json(), messagePack()]) {
  describe(`stateful reconnect over ${protocol.name}`, () => {
    const setUp = async (options: HubOptions = {}) => {
      const made = makeHub();
      const client = clientOf(made.ResumedHub, options, { protocol, allowsReconnect: true });
      await turns();
      return { ...made, client };
    };

    it("acknowledges once per tick what is new, and counts only what is counted", async () => {
      const { client } = await setUp();
      client.hub.tick(later(1_000));
      assert.deepEqual(client.take(), []);
      await client.invoke("echo", 1);
      client.ping();
      client.ping();
      client.item("unknown", 1);
      client.hub.tick(later(2_000));
      assert.deepEqual(await client.next(), { ack: 2 });
      client.hub.tick(later(3_000));
      await client.hearsNothing();
    });

    it("says Sequence first and then again what was not acknowledged", async () => {
      const { client, news } = await setUp();
      await client.invoke("echo", "a");
      await news("b");
      const id = client.stream("numbers", 2);
      const sent = [
        { id: "1", result: "a" },
        { call: "news", args: ["b"] },
        { id, item: 1 },
        { id, item: 2 },
        { id },
      ];
      assert.deepEqual(await client.nextFew(4), sent.slice(1));
      client.swapSockets();
      assert.deepEqual(client.take(), [{ sequence: 1 }, ...sent]);
      ack(client, 2);
      client.swapSockets();
      assert.deepEqual(client.take(), [{ sequence: 3 }, ...sent.slice(2)]);
      ack(client, 5);
      client.swapSockets();
      assert.deepEqual(client.take(), [{ sequence: 6 }]);
      await news("c");
      assert.deepEqual(await client.next(), { call: "news", args: ["c"] });
    });

    it("keeps what is sent while no socket is there", async () => {
      const { client, news } = await setUp();
      client.hub.interrupted();
      const { length } = client.connection.sent;
      for (let n = 0; n < 5; n++) await news(n);
      client.hub.tick(later(100_000));
      assert.equal(client.connection.sent.length, length);
      client.hub.resumed();
      assert.deepEqual(client.take(), [
        { sequence: 1 },
        ...[0, 1, 2, 3, 4].map((n) => ({ call: "news", args: [n] })),
      ]);
    });

    it("drops what comes a second time", async () => {
      const { client, events } = await setUp();
      for (const n of [1, 2, 3]) client.post("echo", n);
      await until(() => events.length === 3, "the calls");
      client.swapSockets();
      sequence(client, 2);
      for (const n of [2, 3, 4]) client.post("echo", n);
      await until(() => events.length === 4, "the new call");
      assert.deepEqual(events, [1, 2, 3, 4]);
      client.hub.tick(later(1_000));
      await turns();
      assert.ok(client.take().some((message) => message.ack === 4));
    });

    it("ends with a Sequence from the future", async () => {
      const { client, events } = await setUp({ enableDetailedErrors: true });
      client.post("echo", 1);
      await until(() => events.length === 1, "the call");
      sequence(client, 3);
      const text = "Sequence ID greater than amount of messages we've received.";
      assert.deepEqual(await client.untilEnded(), [
        closing(`Connection closed with an error. InvalidDataException: ${text}`, true),
      ]);
      assert.equal(events[1], `disconnected ${text}`);
    });

    it("ends with an Ack of what was never sent", async () => {
      const { client, news } = await setUp();
      await news(1);
      ack(client, 1);
      ack(client, 1);
      ack(client, 0);
      assert.equal(client.hub.isOpen, true);
      ack(client, 2);
      assert.equal((await client.untilEnded()).at(-1)?.close, true);
    });

    it("never glues the half of a message to the next socket's bytes", async () => {
      const { client, events } = await setUp({ statefulReconnectRate: { perSecond: 1_000 } });
      const message = encoded(protocol, invocation("echo", ["whole"], "1"));
      for (let at = 1; at < message.length; at++) {
        client.write(message.subarray(0, at));
        client.swapSockets();
        sequence(client, at);
        client.write(message);
        await until(() => events.length === at, `the call cut at ${at}`);
      }
      assert.equal(client.hub.isOpen, true);
      assert.deepEqual(new Set(events), new Set(["whole"]));
    });

    it("reads again what was held up when the socket was lost, once", async () => {
      const gate = new Deferred<void>();
      const calls: unknown[] = [];
      class BusyHub extends Hub {
        async wait(n: number) {
          calls.push(n);
          await gate.promise;
        }
      }
      const client = clientOf(BusyHub, {}, { protocol, allowsReconnect: true });
      await turns();
      // One runs, one waits for its slot, one is not even read.
      for (const n of [1, 2, 3]) client.post("wait", n);
      client.swapSockets();
      client.hub.tick(later(1_000));
      assert.deepEqual(await client.nextFew(2), [{ sequence: 1 }, { ack: 2 }]);
      sequence(client, 1);
      for (const n of [1, 2, 3, 4]) client.post("wait", n);
      gate.resolve();
      await until(() => calls.length === 4, "the calls");
      await turns();
      assert.deepEqual(calls, [1, 2, 3, 4]);
    });

    it("lets calls, uploads and groups live on", async () => {
      const { client, events, ResumedHub } = await setUp();
      const { groups, clients } = hubContext(ResumedHub);
      await groups.add(client.id, "g");
      client.send(invocation("upload", [], "u", ["s"]));
      client.item("s", 1);
      await until(() => events.length === 1, "the item");
      client.swapSockets();
      sequence(client, 3);
      client.item("s", 2);
      client.complete("s");
      await clients.group("g").news("still here");
      await until(() => events.length === 2, "the other item");
      const heard = await client.nextFew(3);
      assert.deepEqual(heard[0], { sequence: 1 });
      assert.deepEqual(
        new Set(heard.slice(1)),
        new Set([
          { call: "news", args: ["still here"] },
          { id: "u", result: "uploaded" },
        ]),
      );
      assert.deepEqual(events, [1, 2]);
    });

    it("holds messages back when too much is kept, Sequence and replay first on a new socket", async () => {
      const { client, news } = await setUp({ statefulReconnectBufferSize: 3_000 });
      for (let n = 0; n < 10; n++) await news(n, text(1_000));
      const first = client.take();
      assert.equal(first.length, 3, "a message more than fits, and no more");
      assert.ok(client.hub.out.bufferedBytes > 7_000);
      client.swapSockets();
      const again = client.take();
      assert.deepEqual(again, [{ sequence: 1 }, ...first]);
      ack(client, 2);
      assert.deepEqual(
        client.take().map(({ args }) => (args as unknown[])[0]),
        [3, 4],
      );
      let heard = 5;
      while (heard < 10) {
        ack(client, heard);
        heard += client.take().length;
      }
      assert.equal(heard, 10);
      ack(client, 10);
      assert.equal(client.hub.out.bufferedBytes, 0);
    });

    it("holds messages back when too many are kept", async () => {
      const { client, news } = await setUp({ statefulReconnectBufferCount: 5 });
      for (let n = 0; n < 20; n++) await news(n);
      assert.equal(client.take().length, 5);
      ack(client, 3);
      assert.equal(client.take().length, 3);
    });

    it("lets a sender wait until there is room", async () => {
      const made = makeHub();
      const { ResumedHub } = made;
      const client = clientOf(
        ResumedHub,
        { statefulReconnectBufferCount: 2 },
        { protocol, allowsReconnect: true },
      );
      await turns();
      const one = hubContext(ResumedHub).clients.client(client.id);
      await one.news(1);
      let isSent = false;
      const second = one.news(2).then(() => {
        isSent = true;
      });
      await turns();
      assert.equal(isSent, false);
      assert.equal(client.take().length, 2);
      ack(client, 1);
      await second;
      // One that waits is let go when the connection ends.
      const third = one.news(3);
      client.end({ cause: "lost" });
      await third;
    });

    it("pauses a stream of the server until the client acknowledges", async () => {
      const { client } = await setUp({ statefulReconnectBufferCount: 10 });
      client.stream("numbers", 50);
      await until(() => client.connection.sent.length >= 11, "the first items");
      await turns();
      let heard = client.take().length;
      assert.equal(heard, 10);
      client.swapSockets();
      assert.equal(client.take().length, 11);
      while (heard < 51) {
        ack(client, heard);
        await turns();
        const more = client.take().length;
        assert.ok(more > 0);
        heard += more;
      }
      assert.equal(heard, 51);
    });

    it("gives up a client that acknowledges nothing for 5 seconds", async () => {
      const { client, news, events } = await setUp({ statefulReconnectBufferCount: 2 });
      for (let n = 0; n < 4; n++) await news(n);
      const start = later(0);
      client.hub.tick(start);
      client.hub.tick(start + 4_900);
      assert.equal(client.hub.isOpen, true);
      client.hub.tick(start + 5_100);
      await client.hub.done;
      assert.equal(client.connection.ending, "abort");
      assert.match(String(events[0]), /did not acknowledge/);
    });

    it("keeps a client that acknowledges, though always too little", async () => {
      const { client, news } = await setUp({ statefulReconnectBufferCount: 2 });
      for (let n = 0; n < 40; n++) await news(n);
      const start = later(0);
      for (let second = 0; second < 20; second++) {
        client.hub.tick(start + second * 1_000);
        ack(client, second);
        // Saying the same again is not progress.
        ack(client, second);
      }
      assert.equal(client.hub.isOpen, true);
      for (let second = 20; second < 27; second++) {
        client.hub.tick(start + second * 1_000);
        ack(client, 19);
      }
      assert.equal(client.hub.isOpen, false);
    });

    it("gives a client that comes back its time to acknowledge", async () => {
      const { client, news } = await setUp({ statefulReconnectBufferCount: 2 });
      for (let n = 0; n < 4; n++) await news(n);
      const start = later(0);
      client.hub.tick(start);
      client.hub.interrupted();
      for (let second = 1; second < 12; second++) client.hub.tick(start + second * 1_000);
      client.hub.resumed();
      client.hub.tick(start + 12_000);
      assert.equal(client.hub.isOpen, true);
      client.hub.tick(start + 17_100);
      assert.equal(client.hub.isOpen, false);
    });

    it("gives up a client for which too much waits", async () => {
      for (const isPresent of [true, false]) {
        const { client, news } = await setUp({
          statefulReconnectBufferSize: 2_000,
          maximumSendBufferSize: 10_000,
        });
        if (!isPresent) client.hub.interrupted();
        for (let n = 0; n < 50; n++) await news(n, text(1_000));
        await client.hub.done;
        assert.equal(client.connection.ending, "abort");
        assert.equal(client.hub.out.bufferedBytes, 0);
      }
    });

    it("gives up absent clients when all of them together keep too much", async () => {
      const { ResumedHub, news } = makeHub();
      const handler = handlerOf(ResumedHub, {
        supportedProtocols: [protocol],
        statefulReconnectTotalSize: 20_000,
      });
      const clients = Array.from(
        { length: 10 },
        () => new FakeClient(handler, { protocol, allowsReconnect: true }),
      );
      await turns();
      for (const client of clients) client.hub.interrupted();
      for (let n = 0; n < 10; n++) await news(n, text(1_000));
      await turns();
      const open = clients.filter((client) => client.hub.isOpen);
      assert.ok(open.length > 0 && open.length < 10);
      assert.ok(handler.kept.bytes <= 21_500, `${handler.kept.bytes} bytes are kept`);
      for (const client of open) client.end({ cause: "lost" });
      await turns();
      assert.equal(handler.kept.bytes, 0);
    });

    it("keeps no more for clients that are there, who then cannot come back", async () => {
      const { ResumedHub } = makeHub();
      const handler = handlerOf(ResumedHub, {
        supportedProtocols: [protocol],
        statefulReconnectTotalSize: 20_000,
      });
      const clients = Array.from(
        { length: 10 },
        () => new FakeClient(handler, { protocol, allowsReconnect: true }),
      );
      // Nobody acknowledges anything, and nobody's own buffer is full.
      for (let n = 0; n < 9; n++) {
        for (const client of clients) {
          assert.deepEqual(await client.invoke("echo", text(1_000)), { result: text(1_000) });
          assert.ok(handler.kept.bytes <= 22_000, `${handler.kept.bytes} bytes are kept`);
        }
      }
      const counts = clients.map((client) => client.connection.allowsReconnect);
      assert.ok(counts.includes(true) && counts.includes(false));
      for (const client of clients) {
        ack(client, 9);
        client.hub.tick(later(1_000));
        assert.deepEqual(await client.next(), { ack: 9 });
        assert.equal(client.hub.isOpen, true);
        client.end({ cause: "lost" });
        await client.hub.done;
      }
      assert.equal(handler.kept.bytes, 0);
    });

    it("gives up a client that comes back too often", async () => {
      const { client, events } = await setUp({
        statefulReconnectRate: { perSecond: 0.001, burst: 3 },
      });
      for (let n = 0; n < 3; n++) client.swapSockets();
      assert.equal(client.hub.isOpen, true);
      client.swapSockets();
      await client.hub.done;
      assert.equal(client.connection.ending, "abort");
      assert.deepEqual(events, ["disconnected The client reconnected too often."]);
    });

    for (const [name, end] of [
      ["Close from the client", (client: FakeClient) => client.close()],
      ["disconnect()", (client: FakeClient) => client.hub.disconnect({ allowReconnect: true })],
      ["an error", (client: FakeClient) => client.write("\xff\xff\xff\xff\xff no message\x1e")],
    ] as const) {
      it(`is off before Close is said: ${name}`, async () => {
        const { client, news } = await setUp();
        await news(1);
        client.take();
        end(client);
        const last = client.connection.sent.at(-1);
        assert.equal(client.take().at(-1)?.close, true);
        assert.equal(last?.allowsReconnect, false);
        await client.hub.done;
        const { length } = client.connection.sent;
        client.swapSockets();
        await turns();
        assert.equal(client.connection.sent.length, length);
      });
    }

    it("says what waited, and then Close", async () => {
      const { client, news } = await setUp({ statefulReconnectBufferCount: 2 });
      for (let n = 0; n < 6; n++) await news(n);
      client.hub.disconnect({});
      const heard = client.take();
      assert.equal(heard.length, 7);
      assert.deepEqual(heard.at(-1), closing());
    });

    it("can be lost for good, without a word", async () => {
      const { client, news, events } = await setUp();
      client.hub.interrupted();
      await news(1);
      const { length } = client.connection.sent;
      client.end({ cause: "lost" });
      await client.hub.done;
      assert.deepEqual(events, ["disconnected undefined"]);
      assert.equal(client.connection.sent.length, length);
    });

    it("does not time out a client that has no socket, nor ping it", async () => {
      const { client } = await setUp({ clientTimeoutInterval: 1_000, keepAliveInterval: 1_000 });
      client.ping();
      client.hub.interrupted();
      for (let second = 0; second < 20; second++) client.hub.tick(later(second * 1_000));
      assert.equal(client.hub.isOpen, true);
      assert.deepEqual(client.take(), []);
      client.hub.resumed();
      client.hub.tick(later(20_500));
      assert.equal(client.hub.isOpen, true);
    });

    it("answers a question of before with the answer of after", async () => {
      const { client, ResumedHub } = await setUp();
      const answer = hubContext(ResumedHub).clients.client(client.id).invoke().question();
      client.hub.interrupted();
      client.hub.resumed();
      const questions = client.take().filter((message) => "call" in message);
      assert.equal(questions.length, 2);
      assert.equal(questions[0]?.id, questions[1]?.id);
      sequence(client, 1);
      client.complete(questions[0]?.id as string, { result: "yes" });
      assert.equal(await answer, "yes");
    });
  });
}

describe("a socket that is lost during the handshake", () => {
  it("may be followed by one that begins anew", async () => {
    const { ResumedHub, news } = makeHub();
    const client = clientOf(ResumedHub, {}, { allowsReconnect: true, shakesHands: false });
    client.write('{"protocol":"js');
    client.swapSockets();
    client.shakeHands(2);
    assert.equal(client.handshake, "");
    await news(1);
    assert.deepEqual(await client.next(), { call: "news", args: [1] });
    client.hub.tick(later(15_001));
    assert.deepEqual(await client.next(), { ping: true });
  });
});

describe("stateful reconnect that was not asked for", () => {
  it("is not there for a client of version 1", async () => {
    const { ResumedHub, news } = makeHub();
    const client = clientOf(ResumedHub, {}, { allowsReconnect: true, version: 1 });
    await turns();
    await client.invoke("echo", 1);
    await news(1);
    client.take();
    client.hub.tick(later(5_000));
    assert.deepEqual(client.take(), []);
    assert.equal(client.connection.allowsReconnect, false);
  });
});

describe("a transport that ends while something is sent", () => {
  const setUp = async () => {
    const handler = handlerOf(makeHub().ResumedHub);
    const client = new FakeClient(handler, { allowsReconnect: true });
    await client.invoke("echo", 1);
    return { handler, client };
  };
  const endAtNextSend = (client: FakeClient) => {
    client.connection.onSend = (connection) => {
      connection.onSend = undefined;
      client.end({ cause: "timeout" });
    };
  };

  it("ends at a ping with which an acknowledgement is due", async () => {
    const { client } = await setUp();
    endAtNextSend(client);
    client.hub.tick(later(16_000));
    await client.hub.done;
  });

  it("leaves nothing kept of what waited", async () => {
    const { handler, client } = await setUp();
    client.connection.bufferedBytes = 100_000;
    client.call("echo", 2);
    client.call("echo", 3);
    await turns();
    endAtNextSend(client);
    const { length } = client.connection.sent;
    client.drain();
    await client.hub.done;
    assert.equal(client.connection.sent.length, length + 1);
    assert.equal(handler.kept.bytes, 0);
  });
});
