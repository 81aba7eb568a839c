import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { messagePack } from "halyard/messagepack";
import { z } from "zod";
import { defineContract, Hub, type HubMessage, hubContext, json, upload } from "#dist/hub/index.js";
import { MessageType } from "#dist/hub-protocol/messages.js";
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

interface Listener {
  news(...args: unknown[]): void;
  question(): unknown;
}

/** Whatever happens in these tests, it must not reach the process. */
const escaped: unknown[] = [];
const onEscape = (error: unknown) => {
  escaped.push(error);
};
before(() => {
  process.on("uncaughtException", onEscape);
  process.on("unhandledRejection", onEscape);
});
after(() => {
  process.off("uncaughtException", onEscape);
  process.off("unhandledRejection", onEscape);
});

/** Something of everything. */
function busyHub() {
  return class BusyHub extends Hub<Listener> {
    echo(value: unknown) {
      return value;
    }
    async later(value: unknown) {
      await turns(1);
      return value;
    }
    fail() {
      throw new Error("fail");
    }
    *count(to: unknown) {
      for (let n = 0; n < Math.min(Number(to) || 0, 5); n++) yield n;
    }
    async *forever() {
      for (let n = 0; ; n++) {
        yield n;
        await turns(1);
        if (this.signal.aborted) return;
      }
    }
    async upload(items: AsyncIterable<unknown>) {
      let count = 0;
      for await (const _ of items) count++;
      return count;
    }
    async uploadAndLeave(items: AsyncIterable<unknown>) {
      for await (const item of items) return item;
      return null;
    }
    async ask() {
      return this.clients.caller.invoke({ timeout: 5 }).question();
    }
    async shout(value: unknown) {
      await this.clients.others.news(value);
    }
    async join(name: unknown) {
      await this.groups.add(this.context.connectionId, name as string);
    }
    leave() {
      this.context.abort();
    }
  };
}

const targets = [
  ..."echo later fail count forever upload uploadAndLeave ask shout join leave".split(" "),
  ..."ECHO constructor __proto__ toString onConnected hasOwnProperty missing".split(" "),
  "",
];
const ids = ["1", "2", "3", "s1", "s2", "s3", "__proto__", "constructor", "x".repeat(300)];

const values: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, true, 0, 3, "text", "", -1.5, "__proto__"),
  fc.array(fc.integer(), { maxLength: 3 }),
  fc.constant(
    JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'),
  ),
);
const id = fc.constantFrom(...ids);
const target = fc.constantFrom(...targets);
const args = fc.array(values, { maxLength: 2 });
const streamIds = fc.option(fc.array(id, { maxLength: 2 }), { nil: undefined });

const messages: fc.Arbitrary<HubMessage> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(target, args, fc.option(id, { nil: undefined }), streamIds)
      .map(([t, a, i, s]) => invocation(t, a, i, s)),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(id, target, args, streamIds)
      .map(([i, t, a, s]) => streamInvocation(i, t, a, s)),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant(MessageType.streamItem),
      invocationId: id,
      item: values,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant(MessageType.completion),
      invocationId: id,
      error: fc.constantFrom(undefined, "an error"),
      hasResult: fc.constant(false),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant(MessageType.completion),
      invocationId: id,
      hasResult: fc.constant(true),
      result: values,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant(MessageType.cancelInvocation), invocationId: id }),
  },
  { weight: 1, arbitrary: fc.constant({ type: MessageType.ping } as const) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant(MessageType.ack),
      sequenceId: fc.integer({ min: -2, max: 8 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant(MessageType.sequence),
      sequenceId: fc.integer({ min: -2, max: 8 }),
    }),
  },
);

/** What else can happen to a connection. */
type Happening = HubMessage | "turn" | "tick" | "swap" | "congest" | "drain" | "interrupt";
const happenings: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 8, arbitrary: messages },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Happening>("turn", "tick", "swap", "congest", "drain", "interrupt"),
  },
);

for (const protocol of [json(), messagePack()]) {
  describe(`a hostile client over ${protocol.name}`, () => {
    it("sends any bytes: it lives or is ended, and others are served", async () => {
      const BusyHub = busyHub();
      const logger = new Lines();
      const handler = handlerOf(BusyHub, { logger, supportedProtocols: [protocol] });
      const good = new FakeClient(handler, { protocol });
      const sample = good.encode(invocation("echo", ["text"], "1"));
      const soup = fc.oneof(
        fc.uint8Array({ maxLength: 60 }),
        // One that is almost right gets further.
        fc
          .array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 4 })
          .map((changes) => {
            const bytes = Uint8Array.from(sample);
            for (const [at, byte] of changes) bytes[at] = byte;
            return bytes;
          }),
        fc
          .constantFrom(
            '{"type":1,"target":"echo","arguments":[1]}\x1e',
            '{"type":6}\x1e',
            '{"type":1e400}\x1e',
            '{"type":"1"}\x1e',
            "[]\x1e",
            "null\x1e",
            `${"[".repeat(5_000)}\x1e`,
            `{"type":1,"target":"echo","invocationId":"1","arguments":[${"[".repeat(500)}${"]".repeat(500)}]}\x1e`,
            "\xff\xff\xff\xff\xff",
          )
          .map((text) => Buffer.from(text, "latin1")),
      );
      await fc.assert(
        fc.asyncProperty(
          fc.boolean(),
          fc.array(soup, { maxLength: 8 }),
          async (shakesHands, chunks) => {
            const client = new FakeClient(handler, { protocol, shakesHands });
            for (const chunk of chunks) client.write(chunk);
            await turns(1);
            // Who has been told off was told Close last; everybody else is still heard.
            const heard = client.take();
            if (client.connection.ending !== undefined && client.handshake === "") {
              assert.equal(heard.at(-1)?.close, true);
            }
            client.end({ cause: "lost" });
            await client.hub.done;
          },
        ),
        { numRuns: 300 },
      );
      assert.deepEqual(await good.invoke("echo", "alive"), { result: "alive" });
      assert.equal(handler.manager.connections.size, 1);
      // What the peer did wrong is no error of ours.
      assert.deepEqual(logger.of("error"), []);
      assert.deepEqual(escaped, []);
      good.end();
    });

    it("sends any messages in any order, however the network behaves", async () => {
      const BusyHub = busyHub();
      const logger = new Lines();
      const handler = handlerOf(BusyHub, {
        logger,
        supportedProtocols: [protocol],
        maximumStreamsPerClient: 5,
        streamBufferCapacity: 2,
        statefulReconnectRate: { perSecond: 1e6 },
        maximumSendBufferSize: 200_000,
      });
      const good = new FakeClient(handler, { protocol });
      await fc.assert(
        fc.asyncProperty(
          fc.boolean(),
          fc.array(happenings, { maxLength: 60 }),
          async (allowsReconnect, all) => {
            const client = new FakeClient(handler, { protocol, allowsReconnect });
            let now = performance.now();
            const tick = () => {
              now += 2_000;
              client.hub.tick(now);
            };
            for (const happening of all) {
              if (!client.hub.isOpen) break;
              if (typeof happening === "object") client.send(happening);
              else if (happening === "turn") await turns(1);
              else if (happening === "tick") tick();
              else if (happening === "swap") client.swapSockets();
              else if (happening === "interrupt" && allowsReconnect) client.hub.interrupted();
              else if (happening === "congest") client.connection.bufferedBytes = 70_000;
              else client.drain();
            }
            client.drain();
            // Everything that was sent is whole messages.
            client.take();
            client.end({ cause: "lost" });
            await client.hub.done;
            await until(() => client.hub.runningCalls === 0, "the end of its calls");
            assert.equal(client.hub.uploads.size, 0);
          },
        ),
        { numRuns: 200 },
      );
      good.take();
      assert.deepEqual(await good.invoke("echo", "alive"), { result: "alive" });
      assert.equal(handler.manager.connections.size, 1);
      assert.equal(handler.kept.bytes, 0);
      assert.equal(({} as { polluted?: unknown }).polluted, undefined);
      assert.deepEqual(escaped, []);
      good.end();
    });

    it("uses ids of any size, and names of prototypes", async () => {
      const client = clientOf(busyHub(), { maximumReceiveMessageSize: 1_000_000 }, { protocol });
      for (const each of [
        "x".repeat(500_000),
        "__proto__",
        "constructor",
        "toString",
        "\u0000",
        "😀",
      ]) {
        client.send(invocation("echo", [1], each));
        assert.deepEqual(await client.next(), { id: each, result: 1 });
        client.send(streamInvocation(each, "count", [1]));
        assert.deepEqual(await client.nextFew(2), [{ id: each, item: 0 }, { id: each }]);
        client.send(invocation("upload", [], "u", [each]));
        client.item(each, 1);
        client.complete(each);
        assert.deepEqual(await client.next(), { id: "u", result: 1 });
        client.send(invocation(each, [], "n"));
        assert.match(String((await client.next()).error), /Method does not exist\.$/);
      }
      client.end();
    });

    it("opens thousands of streams and uploads, and gets a hundred", async () => {
      const client = clientOf(busyHub(), {}, { protocol });
      for (let n = 0; n < 5_000; n++) client.send(streamInvocation(`a${n}`, "forever", []));
      assert.ok(client.hub.runningCalls <= 100);
      await until(() => client.hub.runningCalls === 100, "the streams");
      client.end();
      await until(() => client.hub.runningCalls === 0, "their end");
      const other = clientOf(busyHub(), {}, { protocol });
      await turns();
      for (let n = 0; n < 5_000; n++) {
        other.send(invocation("upload", [], `a${n}`, [`s${n}`]));
      }
      assert.ok(other.hub.uploads.size <= 100);
      assert.equal(other.hub.runningCalls, 100);
      const many = Array.from({ length: 2_000 }, (_, n) => `m${n}`);
      other.send(invocation("upload", [], "many", many));
      assert.ok(other.hub.uploads.size <= 100);
      other.end();
    });

    it("calls while it never reads: what waits is bounded", async () => {
      const client = clientOf(busyHub(), { maximumSendBufferSize: 300_000 }, { protocol });
      await turns();
      client.connection.onSend = (connection) => {
        connection.bufferedBytes += 40_000;
      };
      for (let n = 0; n < 5_000 && client.hub.isOpen; n++) {
        client.call("echo", "x".repeat(1_000));
        if (n % 100 === 0) await turns(1);
        assert.ok(client.hub.out.bufferedBytes < 400_000);
      }
      assert.equal(client.hub.isOpen, false);
      assert.equal(client.connection.ending, "abort");
    });
  });
}

describe("callbacks that throw", () => {
  const secret = () => {
    throw new Error("secret");
  };
  const rejects = async () => {
    throw new Error("secret");
  };
  /** A logger of which nothing works. */
  const logger = { debug: secret, info: secret, warn: secret, error: secret };

  for (const [name, fail] of Object.entries({ secret, rejects })) {
    it(`stay within their connection: ${name}`, async () => {
      const schema = {
        "~standard": { version: 1 as const, vendor: "test", validate: fail as never },
      };
      const contract = defineContract({
        server: {
          plain: {},
          checked: { args: [schema] },
          result: { result: schema },
          stream: { stream: z.unknown() },
          checkedStream: { stream: schema },
          upload: { args: [upload(schema)] },
          guarded: {},
          ok: {},
        },
        client: { news: { args: [schema] }, question: { result: schema } },
      });
      class FailingHub extends Hub<Listener> {
        plain() {
          return fail();
        }
        checked() {}
        result() {
          return 1;
        }
        stream() {
          return {
            [Symbol.asyncIterator]: () => ({ next: fail, return: fail }),
          };
        }
        async *checkedStream() {
          yield 1;
        }
        async upload(items: AsyncIterable<unknown>) {
          void items[Symbol.asyncIterator]()
            .next()
            .catch(() => {});
          return fail();
        }
        guarded() {}
        ok() {
          return "ok";
        }
        override onDisconnected() {
          return fail();
        }
        override onAuthenticationRefreshed() {
          return fail();
        }
        [Symbol.asyncDispose]() {
          return fail() as never;
        }
      }
      const handler = handlerOf(FailingHub, {
        logger,
        contract,
        methods: { guarded: { authorize: fail } },
      });
      const client = new FakeClient(handler);
      for (const target of ["plain", "result", "guarded"]) {
        assert.ok("error" in (await client.invoke(target)), target);
        client.post(target);
      }
      assert.ok("error" in (await client.invoke("checked", 1)));
      for (const target of ["stream", "checkedStream"]) {
        const id = client.stream(target);
        assert.equal((await client.next()).id, id);
        client.cancel(client.stream(target));
        await client.next();
      }
      client.send(invocation("upload", [], "u", ["s"]));
      client.item("s", 1);
      client.item("s", 2);
      assert.ok("error" in (await client.next()));
      void hubContext(FailingHub).clients.all.news(1);
      void hubContext(FailingHub).clients.client(client.id).invoke().question();
      client.complete((await client.next()).id as string, { result: 1 });
      client.hub.userChanged();
      assert.deepEqual(await client.invoke("ok"), { result: "ok" });
      client.write("no JSON\x1e");
      await client.hub.done;
      await turns();
      assert.equal(handler.manager.connections.size, 0);
      assert.deepEqual(escaped, []);
    });
  }

  it("stay there when they make hubs, or are values", async () => {
    let isBroken = false;
    class ValueHub extends Hub<Listener> {
      thenable() {
        return {
          // biome-ignore lint/suspicious/noThenProperty: that is what is tested.
          get then(): never {
            throw new Error("then");
          },
        };
      }
      badThenable() {
        return {
          // biome-ignore lint/suspicious/noThenProperty: that is what is tested.
          then(): never {
            throw new Error("then");
          },
        };
      }
      proxy() {
        return new Proxy(
          {},
          {
            has() {
              throw new Error("has");
            },
          },
        );
      }
      toJson() {
        return {
          toJSON() {
            throw new Error("toJSON");
          },
        };
      }
      async *streamOfGetters() {
        yield {
          get value(): never {
            throw new Error("getter");
          },
        };
      }
      sends() {
        const { clients } = this;
        return {
          toJSON() {
            void clients.caller.news(1);
            return 1;
          },
        };
      }
      aborts() {
        const { context } = this;
        return {
          toJSON() {
            context.abort();
            return 1;
          },
        };
      }
      nameless() {
        throw Object.create(null);
      }
      ok() {
        return "ok";
      }
    }
    const handler = handlerOf(ValueHub, {
      logger,
      enableDetailedErrors: true,
      create() {
        if (isBroken) throw new Error("create");
        return new ValueHub();
      },
    });
    const client = new FakeClient(handler);
    for (const target of ["thenable", "badThenable", "proxy", "toJson", "nameless", "sends"]) {
      const { error, result } = await client.invoke(target);
      assert.ok(error !== undefined || result !== undefined, target);
      client.take();
    }
    const id = client.stream("streamOfGetters");
    assert.equal((await client.next()).id, id);
    assert.deepEqual(await client.invoke("ok"), { result: "ok" });
    isBroken = true;
    assert.ok("error" in (await client.invoke("ok")));
    const refused = new FakeClient(handler);
    await refused.untilEnded();
    isBroken = false;
    client.post("aborts");
    client.call("aborts");
    await client.untilEnded();
    await client.hub.done;
    assert.equal(handler.manager.connections.size, 0);
    // Nobody else is hurt by the one that aborted in the middle of a message.
    const other = new FakeClient(handler);
    assert.deepEqual(await other.invoke("ok"), { result: "ok" });
    await turns();
    assert.deepEqual(escaped, []);
    other.end();
  });
});
