import assert from "node:assert/strict";
import process from "node:process";
import fc from "fast-check";
import { Hub, type HubFilter, type HubProtocol, json } from "halyard/hub";
import { messagePack } from "halyard/messagepack";
import { Deferred } from "#dist/deferred.js";
import { HubError } from "#dist/errors.js";
import { HubHandler } from "#dist/hub/hub-handler.js";
import type { HubOptions } from "#dist/hub/options.js";
import type { ConnectionEnd } from "#dist/hub/transport.js";
import { type Brief, FakeClient, Lines, turns } from "../test/support/fake-connection.js";
import { withTimeout } from "../test/support/network.js";
import { bytesOf, type Edit, edited, edits, messages } from "./hub-messages.js";
import type { Property } from "./properties.js";

/** Time for what has to end. Nothing in here waits for a clock. */
const timeLimit = 10_000;

/** What the methods of one run have in common. */
class World {
  /** Opens in the end, for whoever waits for nothing else. */
  readonly gate = new Deferred<void>();
  /** Methods and generators that have begun and not ended, by name. */
  readonly running = new Map<string, number>();
  /** What `onConnected` and `onDisconnected` do next. */
  readonly connecting: string[];
  readonly disconnecting: string[];
  connected = 0;
  disconnected = 0;

  constructor(connecting: readonly string[], disconnecting: readonly string[]) {
    this.connecting = [...connecting];
    this.disconnecting = [...disconnecting];
  }

  async during<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.count(name, 1);
    try {
      return await work();
    } finally {
      this.count(name, -1);
    }
  }

  count(name: string, change: number): void {
    const count = (this.running.get(name) ?? 0) + change;
    if (count === 0) this.running.delete(name);
    else this.running.set(name, count);
  }

  /** Until the signal fires or all is over. */
  async wait(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.race([this.gate.promise, aborted]);
  }
}

/** Hubs are made by their handler; this is how they find the world they live in. */
function hubOf(world: World) {
  return class FuzzedHub extends Hub {
    override onConnected(): unknown {
      return this.#live(world.connecting.shift(), () => world.connected++);
    }

    override onDisconnected(): unknown {
      world.disconnected++;
      return this.#live(world.disconnecting.shift(), () => {});
    }

    override onAuthenticationRefreshed(): unknown {
      throw new Error("refreshed");
    }

    #live(way: string | undefined, succeed: () => void): unknown {
      if (way === "throw") throw new Error("no");
      if (way === "reject") return Promise.reject(new HubError("no"));
      if (way === "abort") this.context.abort();
      if (way === "join") void this.groups.add(this.context.connectionId, "1");
      if (way === "send") void this.clients.all.hello();
      if (way === "ask") {
        return this.clients.caller.invoke().question();
      }
      succeed();
      if (way === "turns") return turns(3);
      if (way === "wait") return world.during("life cycle", () => world.wait(this.context.signal));
      return undefined;
    }

    echo(value: unknown) {
      return value;
    }

    async later(value: unknown) {
      return world.during("later", async () => {
        await turns(2);
        return value;
      });
    }

    wait() {
      return world.during("wait", () => world.wait(this.signal));
    }

    fail() {
      throw new HubError("no");
    }

    async reject() {
      await turns(1);
      throw new Error("no");
    }

    throwNothing() {
      throw undefined;
    }

    /** Values whose encoding fails, ends the connection, or sends something in between. */
    odd(kind: unknown): unknown {
      if (kind === 0) return { toJSON: () => fail() };
      if (kind === 1) return 2n ** 70n;
      if (kind === 2) return () => {};
      const { context, clients } = this;
      return {
        get a() {
          if (kind === "1") context.abort();
          else void clients.all.message("from a getter").catch(() => {});
          return 1;
        },
      };
    }

    thenable(value: unknown) {
      // biome-ignore lint/suspicious/noThenProperty: what an application may return.
      return { then: (resolve: (value: unknown) => void) => resolve(value) };
    }

    abort() {
      this.context.abort();
    }

    *items(count: unknown) {
      world.count("items", 1);
      try {
        for (let i = 0; i < (Number(count) % 300 || 3); i++) yield i;
      } finally {
        world.count("items", -1);
      }
    }

    async *laterItems() {
      world.count("laterItems", 1);
      try {
        for (let i = 0; i < 5; i++) {
          yield { i };
          await turns(1);
        }
        throw new Error("no more");
      } finally {
        world.count("laterItems", -1);
      }
    }

    async *endless() {
      world.count("endless", 1);
      try {
        yield 1;
        await world.wait(this.signal);
        yield 2;
      } finally {
        world.count("endless", -1);
      }
    }

    oddStream(kind: unknown) {
      if (kind === 0) return { [Symbol.asyncIterator]: () => ({ next: () => 5 }) };
      if (kind === "1") return { [Symbol.asyncIterator]: () => fail() };
      return new ReadableStream({
        pull(controller) {
          controller.enqueue(() => {});
        },
      });
    }

    upload(stream: AsyncIterable<unknown>) {
      return world.during("upload", async () => {
        let count = 0;
        for await (const _item of stream) count++;
        return count;
      });
    }

    uploads(...streams: AsyncIterable<unknown>[]) {
      return world.during("uploads", async () => {
        await Promise.all(
          streams.map(async (stream) => {
            for await (const _item of stream) return;
          }),
        );
      });
    }

    ignoresUpload(_stream: unknown) {
      return world.during("ignoresUpload", () => world.wait(this.signal));
    }

    async *echoUpload(stream: AsyncIterable<unknown>) {
      world.count("echoUpload", 1);
      try {
        yield* stream;
      } finally {
        world.count("echoUpload", -1);
      }
    }

    ask() {
      return world.during("ask", async () => {
        return this.clients.caller.invoke({ timeout: 0, signal: this.signal }).question(1);
      });
    }

    /** Does not care whether it is canceled; the end of the connection must be enough. */
    askTwice() {
      return world.during("askTwice", () => {
        const { caller } = this.clients;
        return Promise.all([caller.invoke({ timeout: 0 }).a(), caller.invoke({ timeout: 0 }).b()]);
      });
    }

    all(value: unknown) {
      return world.during("all", () => this.clients.all.message(value));
    }

    caller(value: unknown) {
      return world.during("caller", () => this.clients.caller.message("x".repeat(300), value));
    }

    async join(group: unknown) {
      await this.groups.add(this.context.connectionId, group as string);
      return this.clients.group(group as string).joined();
    }

    leave(group: unknown) {
      return this.groups.remove(this.context.connectionId, group as string);
    }
  };
}

function fail(): never {
  throw new Error("a value that cannot be said");
}

const targets = [
  "echo",
  "later",
  "wait",
  "fail",
  "reject",
  "throwNothing",
  "odd",
  "thenable",
  "abort",
  "items",
  "laterItems",
  "endless",
  "oddStream",
  "upload",
  "uploads",
  "ignoresUpload",
  "echoUpload",
  "ask",
  "askTwice",
  "all",
  "caller",
  "join",
  "leave",
];

const values = fc.oneof(
  fc.constantFrom<unknown[]>(0, 1, 5, 250, "1", "2", null, true, "x".repeat(500)),
  fc.jsonValue({ maxDepth: 1 }),
);
const said = messages(
  values,
  fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom(...targets) },
    { weight: 1, arbitrary: fc.constantFrom("onConnected", "nothing", "constructor", "ECHO") },
  ),
  fc.constantFrom("1", "2", "3", "s1", "s2", "s3"),
);

/** A call with as many arguments as it may need, more likely than not. */
const calls = fc.record({
  type: fc.constantFrom(1 as const, 4 as const),
  invocationId: fc.constantFrom("1", "2", "3", "4"),
  target: fc.constantFrom(...targets),
  arguments: fc.array(values, { maxLength: 1 }),
  streamIds: fc.option(fc.constantFrom(["1"], ["2"], ["1", "2"]), { nil: undefined }),
});

interface Saying {
  readonly does: "say";
  readonly list: readonly Parameters<typeof bytesOf>[1][];
  readonly changes: readonly Edit[];
  readonly cutAt: number;
}

type Doing =
  | Saying
  | { readonly does: "shake hands"; readonly version: number }
  | { readonly does: "buffer"; readonly bytes: number; readonly perSend: number }
  | { readonly does: "drain" | "interrupt" | "resume" | "acknowledge" }
  | { readonly does: "change user"; readonly userId: string | undefined }
  | { readonly does: "tick"; readonly after: number }
  | { readonly does: "close"; readonly cause: ConnectionEnd["cause"]; readonly withError: boolean }
  | { readonly does: "end while sending"; readonly how: "close" | "interrupt" };

const causes = ["client", "lost", "timeout", "shutdown", "expired", "local"] as const;

const doings: fc.Arbitrary<Doing> = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      does: fc.constant("say" as const),
      list: fc.array(fc.oneof({ weight: 2, arbitrary: calls }, said), {
        minLength: 1,
        maxLength: 4,
      }),
      changes: fc.nat(9).chain((way) => (way > 0 ? fc.constant<Edit[]>([]) : edits("Text"))),
      cutAt: fc.oneof(fc.constant(0), fc.nat(300)),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant("buffer" as const),
      bytes: fc.constantFrom(0, 1, 1000, 2000, 70_000),
      perSend: fc.constantFrom(0, 0, 1),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      does: fc.constantFrom(
        "drain" as const,
        "drain" as const,
        "interrupt" as const,
        "resume" as const,
        "resume" as const,
        "acknowledge" as const,
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant("change user" as const),
      userId: fc.constantFrom(undefined, "user", "another"),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("tick" as const),
      after: fc.constantFrom(0, 1_000, 6_000, 16_000, 40_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant("close" as const),
      cause: fc.constantFrom(...causes),
      withError: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant("end while sending" as const),
      how: fc.constantFrom("close" as const, "interrupt" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant("shake hands" as const),
      version: fc.constantFrom(0, 1, 2, 3, -1),
    }),
  },
);

const steps = fc.array(
  fc.record({ who: fc.nat(2), doing: doings, turns: fc.constantFrom(0, 0, 1, 4) }),
  { minLength: 1, maxLength: 30 },
);

/** By name, so that a failure can be printed. */
const protocols: Readonly<Record<"json" | "messagepack", HubProtocol>> = {
  json: json(),
  messagepack: messagePack(),
};

const traits = fc.record({
  protocol: fc.constantFrom("json" as const, "messagepack" as const),
  allowsReconnect: fc.boolean(),
  shakesHands: fc.constantFrom(true, true, true, true, false),
  transport: fc.constantFrom(
    "WebSockets" as const,
    "WebSockets" as const,
    "LongPolling" as const,
    "ServerSentEvents" as const,
  ),
  userId: fc.constantFrom(undefined, "user"),
});

const passing: HubFilter = { invokeMethod: (invocation, next) => next(invocation) };

const options: fc.Arbitrary<HubOptions> = fc.record(
  {
    maximumParallelInvocationsPerClient: fc.constantFrom(1, 1, 2, 5),
    streamBufferCapacity: fc.constantFrom(1, 2, 10),
    maximumStreamsPerClient: fc.constantFrom(1, 3, 100),
    maximumSendBufferSize: fc.constantFrom(500, 1024 * 1024),
    slowClientPolicy: fc.constantFrom("disconnect", "dropOldest", "wait"),
    maximumReceiveMessageSize: fc.constantFrom(300, 32_768),
    statefulReconnectBufferSize: fc.constantFrom(500, 100_000),
    statefulReconnectBufferCount: fc.constantFrom(3, 10_000),
    statefulReconnectTotalSize: fc.constantFrom(1500, 2 ** 26),
    enableDetailedErrors: fc.boolean(),
    rateLimits: fc.constantFrom(
      { connection: { perSecond: 1, burst: 3 }, onExceeded: "close" as const },
      { user: { perSecond: 1, burst: 3 } },
    ),
    filters: fc.constant([passing]),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<HubOptions>;

/** A client, and what the rules of transports allow to happen to it now. */
class Actor {
  readonly client: FakeClient;
  /** Whether nothing was said that need not be answered. */
  isPlain: boolean;
  readonly #allowedReconnect: boolean;
  #isGone = false;
  #isInterrupted = false;
  #perSend = 0;

  constructor(handler: HubHandler, given: ConstructorParameters<typeof FakeClient>[1] = {}) {
    this.client = new FakeClient(handler, given);
    this.#allowedReconnect = given.allowsReconnect === true;
    this.isPlain = !this.#allowedReconnect && given.shakesHands !== false;
    const { connection } = this.client;
    connection.onSend = () => {
      connection.bufferedBytes += this.#perSend * 100;
    };
  }

  get isOver(): boolean {
    return this.#isGone;
  }

  do(doing: Doing): void {
    if (this.#isGone) return;
    const { client } = this;
    const { connection, hub } = client;
    switch (doing.does) {
      case "say": {
        const right = doing.list.map((message) => bytesOf(client.protocol, message));
        const bytes = edited(Buffer.concat(right), doing.changes);
        if (doing.changes.length > 0) this.isPlain = false;
        if (doing.list.some(({ type }) => type >= 7)) this.isPlain = false;
        // No bytes come without a socket.
        if (this.#isInterrupted) return;
        const at = doing.cutAt % (bytes.length + 1);
        client.write(bytes.subarray(0, at));
        if (!this.#isGone) client.write(bytes.subarray(at));
        break;
      }
      case "shake hands":
        this.isPlain = false;
        if (!this.#isInterrupted) client.shakeHands(doing.version);
        break;
      case "buffer":
        connection.bufferedBytes = doing.bytes;
        this.#perSend = doing.perSend;
        break;
      case "drain":
        client.drain();
        break;
      case "interrupt":
        this.#interrupt();
        break;
      case "resume":
        if (!this.#isInterrupted) return;
        this.#isInterrupted = false;
        if (connection.ending === undefined) hub.resumed();
        break;
      case "change user":
        this.isPlain = false;
        connection.userId = doing.userId;
        hub.userChanged();
        break;
      case "acknowledge":
        if (!this.#isInterrupted) client.send({ type: 8, sequenceId: 1 });
        break;
      case "tick":
        if (doing.after >= 6_000) this.isPlain = false;
        hub.tick(performance.now() + doing.after);
        break;
      case "close":
        this.close(doing.cause, doing.withError);
        break;
      case "end while sending": {
        const before = connection.onSend;
        connection.onSend = (each) => {
          connection.onSend = before;
          before?.(each);
          if (this.#isGone) return;
          if (doing.how === "close") this.close("lost", false);
          else this.#interrupt();
        };
      }
    }
  }

  #interrupt(): void {
    if (!this.client.connection.allowsReconnect || this.#isInterrupted) return;
    this.isPlain = false;
    this.#isInterrupted = true;
    this.client.hub.interrupted();
  }

  close(cause: ConnectionEnd["cause"], withError = false): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.client.end({ cause, error: withError ? new Error("lost") : undefined });
  }

  /** The network takes everything from now on. */
  relax(): void {
    if (this.#isGone) return;
    this.#perSend = 0;
    this.client.drain();
  }
}

function checkWhatWasSaid(client: FakeClient): Brief[] {
  const all = client.take();
  const end = all.findIndex((message) => "close" in message);
  assert.ok(end === -1 || end === all.length - 1, "something was said behind Close");
  return all;
}

/**
 * Whatever clients say and whatever happens to their transports: everything ends, nobody else is
 * concerned, and nothing stays behind.
 */
const anything = fc.asyncProperty(
  steps,
  fc.array(traits, { minLength: 2, maxLength: 3 }),
  options,
  fc.array(
    fc.constantFrom("", "", "", "throw", "reject", "abort", "join", "send", "ask", "turns", "wait"),
    { maxLength: 3 },
  ),
  fc.array(fc.constantFrom("", "", "throw", "reject", "abort", "send", "turns", "wait"), {
    maxLength: 3,
  }),
  async (list, who, given, connecting, disconnecting) => {
    const world = new World(connecting, disconnecting);
    const logger = new Lines();
    const hubClass = hubOf(world);
    const supportedProtocols = Object.values(protocols);
    const handler = new HubHandler(hubClass, { ...given, logger, supportedProtocols });
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", onUnhandled);
    try {
      const actors = who.map(
        ({ protocol, ...each }) => new Actor(handler, { ...each, protocol: protocols[protocol] }),
      );
      for (const { who: index, doing, turns: count } of list) {
        (actors[index % actors.length] as Actor).do(doing);
        if (count > 0) await turns(count);
      }

      world.gate.resolve();
      for (const actor of actors) actor.relax();
      await turns(20);
      for (const actor of actors) actor.relax();
      await turns(20);
      if (given.rateLimits === undefined && given.maximumReceiveMessageSize !== 300) {
        await checkAnswers(actors);
      }
      // Those that our side ended are told so by the transport, and the rest leave.
      for (const { client } of actors) checkWhatWasSaid(client);
      for (const actor of actors) actor.close(actor.client.connection.ending ? "local" : "client");
      const done = Promise.all(actors.map(({ client }) => client.hub.done));
      await withTimeout(done, timeLimit, "the end of all connections");
      await turns(20);
      assert.deepEqual([...world.running], [], "methods that have not ended");
      assert.equal(handler.manager.connections.size, 0, "connections in the manager");
      assert.equal(handler.kept.bytes, 0, "bytes kept for stateful reconnect");
      for (const { client } of actors) {
        assert.equal(client.hub.runningCalls, 0, "calls that have not ended");
        assert.ok(client.connection.ending, "the transport was not told to end");
      }

      // The same user with the same id comes: nothing of the old one is left.
      world.connecting.length = 0;
      const userId = given.rateLimits === undefined ? "user" : "one who has not called yet";
      const next = new FakeClient(handler, { id: actors[0]?.client.id as string, userId });
      assert.deepEqual(await next.invoke("echo", 1), { result: 1 });
      await handler.manager.sendToGroups(["1", "2"], "message", []);
      await handler.manager.sendToUsers([userId], "message", []);
      assert.deepEqual(await next.nextFew(1), [{ call: "message", args: [] }]);
      await next.hearsNothing();
      next.end();
      await withTimeout(next.hub.done, timeLimit, "the end of the last connection");

      assert.deepEqual(unhandled, [], "unhandled rejections");
      const unforeseen = logger.lines.filter(
        ({ level, message }) =>
          level === "error" && message === "a hub connection was ended by an error",
      );
      assert.deepEqual(unforeseen, [], "errors of ours");
    } finally {
      process.off("unhandledRejection", onUnhandled);
    }
  },
) as fc.IAsyncProperty<unknown>;

/** Who did nothing wrong, and waits for nothing, is served. */
async function checkAnswers(actors: readonly Actor[]): Promise<void> {
  for (const { client, isPlain, isOver } of actors) {
    if (!isPlain || isOver || client.connection.ending !== undefined) continue;
    if (client.connection.sent.length === 0) continue;
    checkWhatWasSaid(client);
    client.send({ type: 1, target: "echo", arguments: ["last"], invocationId: "last" });
    await turns(30);
    const answers = client.take();
    const isThere = answers.some((message) => message.id === "last" && message.result === "last");
    assert.ok(isThere, `the last call was not answered, but ${JSON.stringify(answers)}`);
  }
}

export const hubConnectionProperties: readonly Property[] = [
  { name: "hub connection: anything in any order", runs: 400, time: 2_000, property: anything },
];
