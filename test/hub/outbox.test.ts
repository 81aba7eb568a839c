import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { messagePack } from "halyard/messagepack";
import { Hub, type HubOptions, hubContext, json } from "#dist/hub/index.js";
import { FakeClient, handlerOf, Lines, turns } from "../support/fake-connection.js";
import { until } from "../support/network.js";

interface Listener {
  news(...args: unknown[]): void;
  question(): unknown;
}

const text = (length: number) => "x".repeat(length);
/** The first argument of each call of a client. */
const firsts = (messages: readonly object[]) =>
  messages.flatMap((message) => ("args" in message ? (message.args as unknown[])[0] : []));

function makeRoom(options: HubOptions, protocol = json()) {
  const events: unknown[] = [];
  class SlowHub extends Hub<Listener> {
    echo(value: unknown) {
      return value;
    }
    async *numbers(to: number) {
      for (let n = 1; n <= to; n++) yield n;
    }
    buffered() {
      return this.context.bufferedBytes;
    }
    override onDisconnected(error?: Error & { code?: string }) {
      events.push(error?.code);
    }
  }
  const logger = new Lines();
  const handler = handlerOf(SlowHub, { logger, supportedProtocols: [protocol], ...options });
  const slow = new FakeClient(handler, { protocol });
  const fast = new FakeClient(handler, { protocol });
  const { clients } = hubContext(SlowHub);
  return { handler, slow, fast, clients, events, logger };
}

for (const protocol of [json(), messagePack()]) {
  describe(`a client that does not read, over ${protocol.name}`, () => {
    it("is disconnected when too much waits for it", async () => {
      const { slow, fast, clients, events, logger } = makeRoom(
        { maximumSendBufferSize: 200_000 },
        protocol,
      );
      await turns();
      slow.connection.bufferedBytes = 100_000;
      let sent = 0;
      while (slow.hub.isOpen && sent < 1_000) await clients.all.news(++sent, text(1_000));
      assert.ok(sent > 90 && sent < 110, `after ${sent} messages`);
      assert.equal(slow.connection.ending, "abort");
      await slow.hub.done;
      assert.deepEqual(events, ["ERR_SLOW_CLIENT"]);
      assert.equal(slow.hub.out.bufferedBytes, 100_000, "only what the transport holds is left");
      assert.equal(logger.of("warn").length, 1);
      assert.equal(firsts(fast.take()).length, sent);
      assert.deepEqual(slow.take(), []);
    });

    it("is disconnected likewise by answers to its own calls", async () => {
      const { slow } = makeRoom({ maximumSendBufferSize: 200_000 }, protocol);
      await turns();
      slow.connection.bufferedBytes = 100_000;
      for (let n = 0; n < 200; n++) slow.call("echo", text(1_000));
      await slow.hub.done;
      assert.equal(slow.connection.ending, "abort");
    });

    it("can be seen by what is buffered", async () => {
      const { slow, clients } = makeRoom({}, protocol);
      assert.deepEqual(await slow.invoke("buffered"), { result: 0 });
      slow.connection.bufferedBytes = 70_000;
      await clients.all.news(text(10_000));
      const { bufferedBytes } = slow.hub.context;
      assert.ok(bufferedBytes > 80_000 && bufferedBytes < 80_500, `${bufferedBytes} bytes`);
      slow.drain();
      assert.equal(slow.hub.context.bufferedBytes, 0);
    });

    it("gets everything in its order when it reads again", async () => {
      const { slow, clients } = makeRoom({}, protocol);
      await turns();
      const one = clients.client(slow.id);
      void one.news(1);
      slow.connection.bufferedBytes = 100_000;
      void clients.all.news(2);
      void one.news(3);
      const answer = slow.call("echo", 4);
      await clients.all.news(5);
      await turns();
      assert.deepEqual(firsts(slow.take()), [1]);
      slow.drain();
      void one.news(6);
      void clients.all.news(7);
      const heard = await slow.nextFew(6);
      assert.deepEqual(firsts(heard), [2, 3, 5, 6, 7]);
      assert.deepEqual(heard[2], { id: answer, result: 4 });
    });

    it("gets no more at once than its network takes", async () => {
      const { slow, clients } = makeRoom({}, protocol);
      await turns();
      slow.connection.bufferedBytes = 100_000;
      for (let n = 0; n < 400; n++) await clients.all.news(n, text(1_000));
      slow.connection.onSend = (connection) => {
        connection.bufferedBytes += 1_000;
      };
      const seen: unknown[] = [];
      for (let round = 0; seen.length < 400 && round < 100; round++) {
        slow.drain();
        const few = firsts(slow.take());
        assert.ok(few.length > 0 && few.length < 80, `${few.length} in one go`);
        seen.push(...few);
      }
      assert.deepEqual(
        seen,
        Array.from({ length: 400 }, (_, i) => i),
      );
    });

    it("loses the oldest messages to many, if that is the policy, and nothing else", async () => {
      const { slow, clients, fast } = makeRoom(
        { slowClientPolicy: "dropOldest", maximumSendBufferSize: 120_000 },
        protocol,
      );
      await turns();
      slow.connection.bufferedBytes = 100_000;
      const stream = slow.stream("numbers", 3);
      const answer = slow.call("echo", "kept");
      void clients.client(slow.id).invoke({ timeout: 0 }).question();
      await turns();
      for (let n = 0; n < 100; n++) await clients.all.news(n, text(1_000));
      assert.equal(slow.hub.isOpen, true);
      assert.ok(slow.hub.out.bufferedBytes <= 120_000);
      assert.equal(firsts(fast.take()).length, 100);
      slow.drain();
      const heard = await slow.nextFew(10);
      await turns();
      heard.push(...slow.take());
      const news = heard.filter((message) => message.call === "news");
      const numbers = firsts(news) as number[];
      assert.ok(numbers.length > 10 && numbers.length < 25, `${numbers.length} are left`);
      // The newest, in their order.
      assert.deepEqual(
        numbers,
        Array.from({ length: numbers.length }, (_, i) => 100 - numbers.length + i),
      );
      const others = heard.filter((message) => message.call !== "news");
      const items = others.filter((message) => message.id === stream);
      assert.deepEqual(items, [
        { id: stream, item: 1 },
        { id: stream, item: 2 },
        { id: stream, item: 3 },
        { id: stream },
      ]);
      assert.ok(others.some((message) => message.id === answer && message.result === "kept"));
      assert.equal(others.filter((message) => message.call === "question").length, 1);
      slow.end();
    });

    it("is disconnected when dropping is not enough", async () => {
      const { slow } = makeRoom(
        { slowClientPolicy: "dropOldest", maximumSendBufferSize: 120_000 },
        protocol,
      );
      await turns();
      slow.connection.bufferedBytes = 100_000;
      for (let n = 0; n < 40; n++) slow.call("echo", text(1_000));
      await slow.hub.done;
      assert.equal(slow.connection.ending, "abort");
    });

    it("is waited for, if that is the policy, by who awaits", async () => {
      const { slow, fast, clients } = makeRoom({ slowClientPolicy: "wait" }, protocol);
      await turns();
      slow.connection.bufferedBytes = 100_000;
      let isSent = false;
      const sending = clients.all.news(1).then(() => {
        isSent = true;
      });
      await turns();
      assert.equal(isSent, false);
      assert.deepEqual(firsts(fast.take()), [1]);
      slow.drain();
      await sending;
      assert.deepEqual(firsts(slow.take()), [1]);
      slow.connection.bufferedBytes = 100_000;
      const another = clients.all.news(2);
      slow.end({ cause: "lost" });
      await another;
    });

    it("is disconnected even so, if nobody waits", async () => {
      const { slow, clients } = makeRoom(
        { slowClientPolicy: "wait", maximumSendBufferSize: 200_000 },
        protocol,
      );
      await turns();
      slow.connection.bufferedBytes = 100_000;
      for (let n = 0; n < 200; n++) void clients.all.news(n, text(1_000));
      await slow.hub.done;
      assert.equal(slow.connection.ending, "abort");
    });

    it("is waited for by who awaits a send to it alone", async () => {
      const { slow, clients } = makeRoom({}, protocol);
      await turns();
      slow.connection.bufferedBytes = 100_000;
      let isSent = false;
      const sending = clients
        .client(slow.id)
        .news(1)
        .then(() => {
          isSent = true;
        });
      await turns();
      assert.equal(isSent, false);
      slow.drain();
      await sending;
    });

    it("is told good-bye behind what waits", async () => {
      const { slow, clients } = makeRoom({}, protocol);
      await turns();
      slow.connection.bufferedBytes = 100_000;
      for (let n = 0; n < 5; n++) await clients.all.news(n);
      slow.hub.disconnect({ error: "Bye." });
      const heard = slow.take();
      assert.deepEqual(firsts(heard), [0, 1, 2, 3, 4]);
      assert.deepEqual(heard.at(-1), { close: true, error: "Bye." });
    });
  });
}

describe("the log of dropped messages", () => {
  it("has one line per tick", async () => {
    const { slow, clients, logger } = makeRoom({
      slowClientPolicy: "dropOldest",
      maximumSendBufferSize: 110_000,
      keepAliveInterval: 10,
    });
    await turns();
    slow.connection.bufferedBytes = 100_000;
    for (let n = 0; n < 100; n++) await clients.all.news(n, text(1_000));
    await until(() => logger.of("warn").length > 0, "the line");
    const lines = logger.lines.filter(({ level }) => level === "warn");
    assert.equal(lines.length, 1);
    const details = lines[0]?.details as { messages?: number } | undefined;
    assert.ok(Number(details?.messages) > 80);
    slow.end();
  });
});
