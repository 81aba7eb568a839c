import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { ReadableStream } from "node:stream/web";
import { describe, it } from "node:test";
import { messagePack } from "halyard/messagepack";
import { Deferred } from "#dist/deferred.js";
import { Hub, HubError, json } from "#dist/hub/index.js";
import { isStream, iteratorOf, UploadStream } from "#dist/hub/streams.js";
import {
  clientOf,
  FakeClient,
  handlerOf,
  invocation,
  Lines,
  streamInvocation,
  turns,
} from "../support/fake-connection.js";
import { until } from "../support/network.js";

const protocols = [json(), messagePack()];
const streamingFailed = "An error occurred on the server while streaming results.";

describe("what counts as a stream", () => {
  const streams: [name: string, make: () => unknown][] = [
    [
      "a generator",
      function* () {
        yield* [1, 2, 3];
      },
    ],
    [
      "an async generator",
      async function* () {
        yield* [1, 2, 3];
      },
    ],
    ["a web stream", () => ReadableStream.from([1, 2, 3])],
    ["a Node stream", () => Readable.from([1, 2, 3])],
    [
      "an async iterable",
      () => ({
        [Symbol.asyncIterator]() {
          let n = 0;
          return { next: async () => (n < 3 ? { done: false, value: ++n } : { done: true }) };
        },
      }),
    ],
    [
      "an async iterable whose steps are no promises",
      () => ({
        [Symbol.asyncIterator]() {
          let n = 0;
          return { next: () => (n < 3 ? { done: false, value: ++n } : { done: true }) };
        },
      }),
    ],
  ];
  for (const protocol of protocols) {
    for (const [name, make] of streams) {
      for (const isLater of [false, true]) {
        it(`${isLater ? "a promise of " : ""}${name} over ${protocol.name}`, async () => {
          assert.ok(isStream(make()));
          class StreamHub extends Hub {
            numbers() {
              return isLater ? Promise.resolve(make()) : make();
            }
          }
          const client = clientOf(StreamHub, {}, { protocol });
          const id = client.stream("numbers");
          assert.deepEqual(await client.nextFew(4), [
            { id, item: 1 },
            { id, item: 2 },
            { id, item: 3 },
            { id },
          ]);
          await client.hearsNothing();
          assert.equal(client.hub.runningCalls, 0);
        });
      }
    }
  }

  const values = [
    "text",
    [1, 2],
    new Map(),
    new Set([1]),
    new Uint8Array(3),
    {},
    null,
    undefined,
    0,
  ];
  for (const value of values) {
    it(`not ${Object.prototype.toString.call(value)}`, () => {
      assert.equal(isStream(value), false);
      assert.equal(iteratorOf(value), undefined);
    });
  }
});

describe("a stream to the client", () => {
  it("sends undefined as null, and one completion", async () => {
    class StreamHub extends Hub {
      *holes() {
        yield undefined;
        yield null;
        return "what is returned is no item";
      }
      *empty() {}
    }
    const client = clientOf(StreamHub);
    const id = client.stream("holes");
    assert.deepEqual(await client.nextFew(3), [{ id, item: null }, { id, item: null }, { id }]);
    const empty = client.stream("empty");
    assert.deepEqual(await client.next(), { id: empty });
    await client.hearsNothing();
  });

  it("that cannot be iterated fails the call", async () => {
    class BrokenHub extends Hub {
      locked() {
        const stream = ReadableStream.from([1]);
        stream.getReader();
        return stream;
      }
      async lockedLater() {
        return this.locked();
      }
      throwing() {
        return {
          [Symbol.asyncIterator]() {
            throw new HubError("no iterator");
          },
        };
      }
      async strange() {
        return { [Symbol.asyncIterator]: () => ({ next: () => 5 }) };
      }
      echo(value: unknown) {
        return value;
      }
    }
    const client = clientOf(BrokenHub);
    for (const target of ["locked", "lockedLater", "throwing", "strange"]) {
      for (const isStreaming of [true, false]) {
        const id = isStreaming ? client.stream(target) : client.call(target);
        const { id: answered, error } = await client.next();
        assert.equal(answered, id);
        assert.ok(error, `${target}, streaming: ${isStreaming}`);
      }
    }
    assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
    assert.equal(client.hub.runningCalls, 0);
  });

  it("with an item that cannot be sent fails, and is stopped", async () => {
    let isStopped = false;
    class CyclicHub extends Hub {
      *items() {
        try {
          yield 1;
          const item: Record<string, unknown> = {};
          item.self = item;
          yield item;
          yield 2;
        } finally {
          isStopped = true;
        }
      }
    }
    const client = clientOf(CyclicHub);
    const id = client.stream("items");
    assert.deepEqual(await client.nextFew(2), [
      { id, item: 1 },
      { id, error: streamingFailed },
    ]);
    await until(() => isStopped, "the generator's end");
    await client.hearsNothing();
  });

  /** Streams that end only when told to, in each of the ways to be told. */
  function endlessHub() {
    const events: string[] = [];
    const closed = (event: string) => {
      events.push(event);
    };
    class EndlessHub extends Hub {
      async *bySignal() {
        try {
          yield 1;
          await new Promise<void>((resolve) =>
            this.signal.addEventListener("abort", () => resolve()),
          );
          closed("signal");
          yield "late";
        } finally {
          closed("finally");
        }
      }
      async *byRejection() {
        yield 1;
        await new Promise((_, reject) =>
          this.signal.addEventListener("abort", () => reject(new Error("canceled"))),
        );
      }
      async *byReturn() {
        try {
          for (let n = 1; ; n++) {
            yield n;
            await turns(1);
          }
        } finally {
          closed("finally");
        }
      }
      *synchronous() {
        try {
          for (let n = 1; ; n++) yield n;
        } finally {
          closed("finally");
        }
      }
      webStream() {
        return new ReadableStream({
          start: (controller) => controller.enqueue(1),
          cancel: () => closed("cancel"),
        });
      }
      nodeStream() {
        const stream = new Readable({ objectMode: true, read() {} });
        stream.push(1);
        stream.on("close", () => closed("close"));
        return stream;
      }
      badReturn() {
        return {
          [Symbol.asyncIterator]: () => ({
            next: async () => ({ done: false, value: await turns(1) }),
            return: () => {
              closed("return");
              throw new Error("return");
            },
          }),
        };
      }
      worseReturn() {
        return {
          [Symbol.asyncIterator]: () => ({
            next: async () => ({ done: false, value: await turns(1) }),
            return: async () => {
              closed("return");
              throw new Error("return");
            },
          }),
        };
      }
    }
    return { EndlessHub, events };
  }

  const endings: [target: string, events: string[]][] = [
    ["bySignal", ["signal", "finally"]],
    ["byRejection", []],
    ["byReturn", ["finally"]],
    ["synchronous", ["finally"]],
    ["webStream", ["cancel"]],
    ["nodeStream", ["close"]],
    ["badReturn", ["return"]],
    ["worseReturn", ["return"]],
  ];
  for (const protocol of protocols) {
    for (const [target, expected] of endings) {
      it(`is canceled by its client over ${protocol.name}: ${target}`, async () => {
        const { EndlessHub, events } = endlessHub();
        const logger = new Lines();
        const client = clientOf(EndlessHub, { logger, enableDetailedErrors: true }, { protocol });
        const id = client.stream(target);
        await client.next();
        client.cancel(id);
        client.cancel(id);
        await until(() => client.hub.runningCalls === 0, "the end of the call");
        await until(() => events.length === expected.length, "what the stream does at its end");
        await turns();
        const messages = client.take();
        assert.deepEqual(messages.at(-1), { id }, "one completion without error, and last");
        assert.equal(messages.filter((message) => !("item" in message)).length, 1);
        assert.deepEqual(events, expected);
        assert.deepEqual(logger.of("error"), []);
      });
    }

    for (const [target, expected] of endings) {
      it(`ends with the connection over ${protocol.name}: ${target}`, async () => {
        const { EndlessHub, events } = endlessHub();
        const client = clientOf(EndlessHub, {}, { protocol });
        client.stream(target);
        await client.next();
        client.end({ cause: "lost" });
        await until(() => client.hub.runningCalls === 0, "the end of the call");
        await until(() => events.length === expected.length, "what the stream does at its end");
        await client.hub.done;
        const { length } = client.connection.sent;
        await turns();
        assert.equal(client.connection.sent.length, length);
      });
    }
  }

  it("is canceled before the method has returned it", async () => {
    const gate = new Deferred<void>();
    let wasIterated = false;
    class LateHub extends Hub {
      async late() {
        await gate.promise;
        return (async function* () {
          wasIterated = true;
          yield 1;
        })();
      }
    }
    const client = clientOf(LateHub);
    const id = client.stream("late");
    await turns();
    client.cancel(id);
    gate.resolve();
    assert.deepEqual(await client.next(), { id });
    await client.hearsNothing();
    assert.equal(wasIterated, false);
    assert.equal(client.hub.runningCalls, 0);
  });

  it("counts among the open ones until it has really ended", async () => {
    let running = 0;
    const gate = new Deferred<void>();
    class StubbornHub extends Hub {
      async *deaf() {
        running++;
        await gate.promise;
        running--;
        yield 1;
      }
    }
    const client = clientOf(StubbornHub, { maximumStreamsPerClient: 10 });
    for (let i = 0; i < 100; i++) {
      const id = client.stream("deaf");
      client.cancel(id);
    }
    const answers = await client.nextFew(100);
    assert.equal(running, 10);
    assert.equal(answers.filter((answer) => "error" in answer).length, 90);
    // An id that was canceled may be used again, although its method has not noticed yet.
    gate.resolve();
    await until(() => client.hub.runningCalls === 0, "their end");
    const id = client.stream("deaf");
    assert.deepEqual(await client.nextFew(2), [{ id, item: 1 }, { id }]);
  });

  it("gives its id back when it is canceled", async () => {
    const gate = new Deferred<void>();
    class StubbornHub extends Hub {
      async *deaf(name: string) {
        yield name;
        await gate.promise;
        yield "late";
      }
    }
    const client = clientOf(StubbornHub);
    client.send(streamInvocation("x", "deaf", ["first"]));
    assert.deepEqual(await client.next(), { id: "x", item: "first" });
    client.cancel("x");
    assert.deepEqual(await client.next(), { id: "x" });
    client.send(streamInvocation("x", "deaf", ["second"]));
    assert.deepEqual(await client.next(), { id: "x", item: "second" });
    client.cancel("x");
    assert.deepEqual(await client.next(), { id: "x" });
    gate.resolve();
    await client.hearsNothing();
    assert.equal(client.hub.runningCalls, 0);
  });

  it("has its hub disposed of when it has really ended", async () => {
    const gate = new Deferred<void>();
    const events: string[] = [];
    class SessionHub extends Hub {
      async *rows() {
        try {
          yield 1;
          await gate.promise;
        } finally {
          events.push("session used");
        }
      }
      [Symbol.dispose]() {
        events.push("session closed");
      }
    }
    const client = clientOf(SessionHub);
    await turns();
    events.length = 0;
    const id = client.stream("rows");
    await client.next();
    client.cancel(id);
    assert.deepEqual(await client.next(), { id });
    gate.resolve();
    await until(() => events.length === 2, "both");
    assert.deepEqual(events, ["session used", "session closed"]);
  });

  it("waits for a slow client", async () => {
    let made = 0;
    class FastHub extends Hub {
      *numbers() {
        while (made < 1_000) yield `${++made} ${"x".repeat(1_000)}`;
      }
    }
    const client = clientOf(FastHub);
    // A network that takes nothing.
    client.connection.onSend = (connection) => {
      connection.bufferedBytes += 32 * 1024;
    };
    client.stream("numbers");
    await until(() => client.connection.bufferedBytes >= 64 * 1024, "congestion");
    await turns(20);
    const before = made;
    assert.ok(before < 150, `${before} items were made for a client that takes none`);
    await turns(20);
    assert.equal(made, before);
    client.connection.onSend = undefined;
    client.drain();
    await until(() => made === 1_000, "the rest");
    const items = (await client.nextFew(1_001)).map(({ item }) => Number.parseInt(`${item}`, 10));
    assert.deepEqual(
      items.slice(0, -1),
      Array.from({ length: 1_000 }, (_, i) => i + 1),
    );
  });

  it("that never waits lets others have their turn", async () => {
    const stop = 200_000;
    class BusyHub extends Hub {
      *sync() {
        for (let n = 0; n < stop; n++) yield n;
      }
      async *async() {
        for (let n = 0; n < stop; n++) yield n;
      }
      echo(value: unknown) {
        return value;
      }
    }
    for (const target of ["sync", "async"]) {
      const handler = handlerOf(BusyHub);
      const busy = new FakeClient(handler);
      const other = new FakeClient(handler);
      const id = busy.stream(target);
      await turns(2);
      assert.deepEqual(await other.invoke("echo", 1), { result: 1 });
      assert.ok(busy.hub.runningCalls === 1, "the stream still runs");
      busy.cancel(id);
      busy.end();
      await until(() => busy.hub.runningCalls === 0, "the end");
    }
  });

  it("is one of a limited number", async () => {
    const { EndlessHub } = endlessHub();
    const client = clientOf(EndlessHub, { maximumStreamsPerClient: 20 });
    const calls = Array.from({ length: 3_000 }, (_, i) =>
      streamInvocation(`n${i}`, "bySignal", []),
    );
    client.send(...calls);
    const answers = await client.nextFew(3_000);
    assert.equal(answers.filter((answer) => "item" in answer).length, 20);
    assert.equal(
      answers.find((answer) => "error" in answer)?.error,
      "Failed to invoke 'bySignal' due to an error on the server. HubException: More than 20 streams are open on this connection.",
    );
    client.cancel("n3");
    assert.deepEqual(await client.next(), { id: "n3" });
    const id = client.stream("bySignal");
    assert.deepEqual(await client.next(), { id, item: 1 });
    client.end();
  });

  it("that was asked for as a plain call is stopped", async () => {
    const { EndlessHub, events } = endlessHub();
    const client = clientOf(EndlessHub);
    for (const target of ["webStream", "nodeStream"]) {
      events.length = 0;
      assert.deepEqual(await client.invoke(target), {
        error: `The client attempted to invoke the streaming '${target}' method with a non-streaming invocation.`,
      });
      await until(() => events.length === 1, "its end");
    }
  });

  it("of a file that does not exist fails the call, and nothing else", async () => {
    const { createReadStream } = await import("node:fs");
    class FileHub extends Hub {
      file() {
        return createReadStream("/nowhere/at/all");
      }
    }
    const client = clientOf(FileHub);
    const id = client.stream("file");
    assert.deepEqual(await client.next(), { id, error: streamingFailed });
    assert.ok("error" in (await client.invoke("file")));
    const canceled = client.stream("file");
    client.cancel(canceled);
    assert.deepEqual(await client.next(), { id: canceled });
    // Time for the file system to say what is wrong.
    const other = client.stream("file");
    assert.deepEqual(await client.next(), { id: other, error: streamingFailed });
    await turns(50);
  });
});

describe("streams from the client", () => {
  function uploadHub() {
    const events: unknown[] = [];
    const gates: Deferred<void>[] = [];
    class UploadHub extends Hub {
      async join(separator: string, items: AsyncIterable<unknown>) {
        const all: unknown[] = [];
        for await (const item of items) {
          events.push(item);
          all.push(item);
        }
        return all.join(separator);
      }
      async zip(first: AsyncIterable<unknown>, second: AsyncIterable<unknown>) {
        const [a, b] = await Promise.all(
          [first, second].map(async (items) => {
            const all: unknown[] = [];
            for await (const item of items) all.push(item);
            return all;
          }),
        );
        return [a, b];
      }
      async first(items: AsyncIterable<unknown>) {
        for await (const item of items) return item;
        return "nothing";
      }
      async ignore(_items: AsyncIterable<unknown>) {
        return "ignored";
      }
      async hold(_items: AsyncIterable<unknown>) {
        const gate = new Deferred<void>();
        gates.push(gate);
        await gate.promise;
        return "held";
      }
      async fate(items: AsyncIterable<unknown>) {
        try {
          for await (const item of items) events.push(item);
          events.push("end");
        } catch (error) {
          events.push(error);
        }
        return "told";
      }
      async *double(items: AsyncIterable<number>) {
        for await (const item of items) yield 2 * item;
      }
      echo(value: unknown) {
        return value;
      }
    }
    return { UploadHub, events, gates };
  }

  for (const protocol of protocols) {
    describe(protocol.name, () => {
      it("reach the method behind its arguments", async () => {
        const { UploadHub } = uploadHub();
        const client = clientOf(UploadHub, {}, { protocol });
        client.send(invocation("Join", ["-"], "1", ["s"]));
        for (const item of ["a", "b", "c"]) client.item("s", item);
        client.complete("s");
        assert.deepEqual(await client.next(), { id: "1", result: "a-b-c" });
      });

      it("several to one call, in any order of items", async () => {
        const { UploadHub } = uploadHub();
        const client = clientOf(UploadHub, {}, { protocol });
        client.send(invocation("zip", [], "1", ["x", "y"]));
        client.item("y", 1);
        client.item("x", 2);
        client.item("y", 3);
        client.complete("y");
        client.item("x", 4);
        client.complete("x", { result: "which is a normal end" });
        assert.deepEqual(await client.next(), {
          id: "1",
          result: [
            [2, 4],
            [1, 3],
          ],
        });
      });

      it("can be answered with a stream", async () => {
        const { UploadHub } = uploadHub();
        const client = clientOf(UploadHub, {}, { protocol });
        client.send(streamInvocation("1", "double", [], ["s"]));
        client.item("s", 1);
        assert.deepEqual(await client.next(), { id: "1", item: 2 });
        client.item("s", 21);
        client.complete("s");
        assert.deepEqual(await client.nextFew(2), [{ id: "1", item: 42 }, { id: "1" }]);
      });

      it("that fail throw in the method, behind their items", async () => {
        const { UploadHub, events } = uploadHub();
        const client = clientOf(UploadHub, {}, { protocol });
        client.send(invocation("fate", [], "1", ["s"]));
        client.item("s", 1);
        client.complete("s", { error: "Something bad" });
        assert.deepEqual(await client.next(), { id: "1", result: "told" });
        assert.equal(events[0], 1);
        assert.ok(events[1] instanceof HubError);
        assert.equal(events[1].message, "Something bad");
      });

      it("that fail fail a method that does not care", async () => {
        const { UploadHub } = uploadHub();
        const client = clientOf(UploadHub, {}, { protocol });
        client.send(invocation("join", ["-"], "1", ["s"]));
        client.complete("s", { error: "Something bad" });
        assert.deepEqual(await client.next(), {
          id: "1",
          error:
            "An unexpected error occurred invoking 'join' on the server. HubException: Something bad",
        });
      });
    });
  }

  it("hold so many items, then everything behind them", async () => {
    const { UploadHub, gates } = uploadHub();
    const client = clientOf(UploadHub, { streamBufferCapacity: 4 });
    client.send(invocation("hold", [], "1", ["s"]));
    for (let n = 0; n < 4; n++) client.item("s", n);
    assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
    client.item("s", 4);
    const blocked = client.call("echo", 2);
    await client.hearsNothing();
    gates[0]?.resolve();
    assert.deepEqual(await client.nextFew(2), [
      { id: "1", result: "held" },
      { id: blocked, result: 2 },
    ]);
  });

  it("go on when the method reads, one by one and in order", async () => {
    const { UploadHub, events } = uploadHub();
    const client = clientOf(UploadHub, { streamBufferCapacity: 1 });
    const numbers = Array.from({ length: 500 }, (_, i) => i);
    client.send(invocation("join", ["-"], "1", ["s"]));
    for (const n of numbers) client.item("s", n);
    client.complete("s");
    assert.deepEqual(await client.next(), { id: "1", result: numbers.join("-") });
    assert.deepEqual(events, numbers);
  });

  it("pause the transport while the method does not read", async () => {
    const { UploadHub, gates } = uploadHub();
    const client = clientOf(UploadHub, { streamBufferCapacity: 2 });
    client.send(invocation("hold", [], "1", ["s"]));
    for (let n = 0; n < 100; n++) client.item("s", "x".repeat(1_000));
    await turns();
    assert.equal(client.connection.isPaused, true);
    gates[0]?.resolve();
    assert.deepEqual(await client.next(), { id: "1", result: "held" });
    assert.equal(client.connection.isPaused, false);
  });

  for (const target of ["first", "ignore"]) {
    it(`are over when the method is: ${target}`, async () => {
      const { UploadHub } = uploadHub();
      const client = clientOf(UploadHub, { streamBufferCapacity: 1 });
      client.send(invocation(target, [], "1", ["s"]));
      client.item("s", "early");
      assert.deepEqual(await client.next(), {
        id: "1",
        result: target === "first" ? "early" : "ignored",
      });
      // What still comes is ignored and holds nothing up.
      for (let n = 0; n < 100; n++) client.item("s", n);
      client.complete("s", { error: "late" });
      assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
      assert.equal(client.hub.uploads.size, 0);
    });
  }

  it("that nobody knows are ignored", async () => {
    const { UploadHub } = uploadHub();
    const client = clientOf(UploadHub);
    client.item("zz", 1);
    client.item("__proto__", 1);
    client.complete("constructor");
    client.complete("s1", { result: 1 });
    client.write('{"type":2,"item":1,"invocationId":"zz"}\x1e');
    assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
  });

  it("fail when the connection ends", async () => {
    const { UploadHub, events } = uploadHub();
    const client = clientOf(UploadHub);
    client.send(invocation("fate", [], "1", ["s"]));
    client.item("s", 1);
    await until(() => events.length === 1, "the item");
    client.end({ cause: "lost" });
    await until(() => events.length === 2, "the end");
    assert.equal((events[1] as Error).message, "The underlying connection was closed.");
  });

  it("that nobody reads are no trouble when the connection ends", async () => {
    const { UploadHub, gates } = uploadHub();
    const client = clientOf(UploadHub, { streamBufferCapacity: 1 });
    client.send(invocation("hold", [], "1", ["s"]));
    client.item("s", 1);
    client.item("s", 2);
    client.complete("s", { error: "nobody listens" });
    await turns();
    client.end();
    await client.hub.done;
    gates[0]?.resolve();
    await until(() => client.hub.runningCalls === 0, "the end of the call");
  });

  it("whose id is used again replace those before, whose call may still end", async () => {
    const { UploadHub, gates, events } = uploadHub();
    const client = clientOf(UploadHub);
    client.send(invocation("hold", [], "1", ["s"]));
    await until(() => gates.length === 1, "the first");
    client.send(invocation("fate", [], "2", ["s"]));
    client.item("s", "for the second");
    await until(() => events.length === 1, "the item");
    gates[0]?.resolve();
    assert.deepEqual(await client.next(), { id: "1", result: "held" });
    client.item("s", "also for the second");
    client.complete("s");
    assert.deepEqual(await client.next(), { id: "2", result: "told" });
    assert.deepEqual(events, ["for the second", "also for the second", "end"]);
  });

  it("twice under one id do not hang", async () => {
    const { UploadHub } = uploadHub();
    const client = clientOf(UploadHub);
    client.send(invocation("zip", [], "1", ["s", "s"]));
    client.item("s", 1);
    client.complete("s");
    const { id } = await client.next();
    assert.equal(id, "1");
  });

  it("count as arguments", async () => {
    const { UploadHub } = uploadHub();
    const client = clientOf(UploadHub, { enableDetailedErrors: true });
    const detail = (given: number, expected: number) =>
      `Failed to invoke 'zip' due to an error on the server. InvalidDataException: Invocation provides ${given} argument(s) but target expects ${expected}.`;
    client.send(invocation("zip", [], "1", ["a"]));
    client.send(invocation("zip", [], "2", ["a", "b", "c"]));
    assert.deepEqual(await client.nextFew(2), [
      { id: "1", error: detail(1, 2) },
      { id: "2", error: detail(3, 2) },
    ]);
    client.item("a", 1);
    assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
    assert.equal(client.hub.uploads.size, 0);
  });

  it("are limited in number", async () => {
    const { UploadHub } = uploadHub();
    const client = clientOf(UploadHub, { maximumStreamsPerClient: 3 });
    client.send(invocation("zip", [], "1", ["a", "b"]));
    client.send(invocation("zip", [], "2", ["c", "d"]));
    assert.deepEqual(await client.next(), {
      id: "2",
      error:
        "Failed to invoke 'zip' due to an error on the server. HubException: More than 3 streams are open on this connection.",
    });
    client.complete("a");
    client.complete("b");
    assert.deepEqual(await client.next(), { id: "1", result: [[], []] });
  });

  it("with an item that cannot be read fail in the method", async () => {
    for (const enableDetailedErrors of [false, true]) {
      const { UploadHub, events } = uploadHub();
      const client = clientOf(UploadHub, { enableDetailedErrors }, { protocol: messagePack() });
      client.send(invocation("fate", [], "1", ["s"]));
      client.write(Buffer.from([6, 0x94, 2, 0x80, 0xa1, 0x73, 0xc1]));
      assert.deepEqual(await client.next(), { id: "1", result: "told" });
      const { message } = events[0] as Error;
      const text = "Failed to bind Stream message.";
      if (enableDetailedErrors) assert.ok(message.startsWith(`${text} InvalidDataException: `));
      else assert.equal(message, text);
    }
  });

  it("end with their stream when that is canceled", async () => {
    const { UploadHub } = uploadHub();
    const client = clientOf(UploadHub);
    client.send(streamInvocation("1", "double", [], ["s"]));
    client.item("s", 1);
    assert.deepEqual(await client.next(), { id: "1", item: 2 });
    client.cancel("1");
    assert.deepEqual(await client.next(), { id: "1" });
    await until(() => client.hub.runningCalls === 0, "the end of the call");
    assert.equal(client.hub.uploads.size, 0);
  });
});

describe("an upload stream", () => {
  it("serves several readers in their order", async () => {
    const stream = new UploadStream("s", 2, { onRoom() {} });
    const waiting = [stream.next(), stream.next(), stream.next()];
    stream.push(1);
    stream.push(2);
    stream.end();
    assert.deepEqual(await Promise.all(waiting), [
      { done: false, value: 1 },
      { done: false, value: 2 },
      { done: true, value: undefined },
    ]);
    stream.push(3);
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
  });

  it("throws an error once", async () => {
    const stream = new UploadStream("s", 2, { onRoom() {} });
    stream.push(1);
    stream.end(new Error("broken"));
    stream.end(new Error("a second time"));
    assert.deepEqual(await stream.next(), { done: false, value: 1 });
    await assert.rejects(stream.next(), /broken/);
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
  });

  it("tells when there is room", async () => {
    let rooms = 0;
    const stream = new UploadStream("s", 1, { onRoom: () => rooms++ });
    stream.push(1);
    assert.equal(stream.isFull, true);
    await stream.next();
    assert.equal(rooms, 1);
    stream.push(2);
    await stream.return();
    assert.equal(rooms, 2);
    assert.equal(stream.isFull, false);
  });
});
