import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { messagePack } from "halyard/messagepack";
import { Deferred } from "#dist/deferred.js";
import { Hub, HubError, json } from "#dist/hub/index.js";
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

/** A hub of which every error text can be had. */
class TestHub extends Hub {
  echo(value: unknown) {
    return value;
  }
  async echoLater(value: unknown) {
    return value;
  }
  pair(first: unknown, second: unknown) {
    return [first, second];
  }
  withDefault(first: unknown, second = "default") {
    return [first, second];
  }
  withRest(first: unknown, ...rest: unknown[]) {
    return [first, ...rest];
  }
  nothing() {}
  async nothingLater() {}
  fail() {
    throw new RangeError("secret");
  }
  async failLater() {
    throw new RangeError("secret");
  }
  failOpenly() {
    throw new HubError("for everybody");
  }
  failStrangely() {
    throw "a string";
  }
  cyclic() {
    const value: Record<string, unknown> = {};
    value.self = value;
    return value;
  }
  *count(from: number) {
    for (let n = from; n > 0; n--) yield n;
  }
  async *countLater(from: number) {
    yield* this.count(from);
  }
  failingStream() {
    return (function* () {
      yield 1;
      throw new RangeError("secret");
    })();
  }
  openlyFailingStream() {
    return (async function* () {
      yield 1;
      throw new HubError("for everybody");
    })();
  }
  streamOfNothing() {
    return null;
  }
}

const failedToInvoke = (name: string) =>
  `Failed to invoke '${name}' due to an error on the server.`;
const unexpected = (name: string) =>
  `An unexpected error occurred invoking '${name}' on the server.`;

for (const protocol of protocols) {
  describe(`calls over ${protocol.name}`, () => {
    const results: [name: string, target: string, args: unknown[], result: unknown][] = [
      ["a method", "echo", ["ünïcödé 😀"], "ünïcödé 😀"],
      ["an async method", "echoLater", [[1, { a: null }]], [1, { a: null }]],
      ["a name in another case", "ECHO", [1], 1],
      ["two arguments", "pair", [1, 2], [1, 2]],
      ["an argument by default", "withDefault", [1], [1, "default"]],
      ["an argument instead of the default", "withDefault", [1, 2], [1, 2]],
      ["no rest", "withRest", [1], [1]],
      ["a rest", "withRest", [1, 2, 3, 4], [1, 2, 3, 4]],
      ["no result", "nothing", [], null],
      ["no result, later", "nothingLater", [], null],
    ];
    for (const [name, target, args, result] of results) {
      it(`are answered: ${name}`, async () => {
        const client = clientOf(TestHub, {}, { protocol });
        assert.deepEqual(await client.invoke(target, ...args), { result });
        await client.hearsNothing();
      });
    }

    const aString = "Error: a string";
    const errors: [target: string, args: unknown[], base: string, detail: string, always?: true][] =
      [
        ["Missing", [], failedToInvoke("Missing"), "HubException: Method does not exist.", true],
        [
          "ECHO",
          [],
          failedToInvoke("echo"),
          "InvalidDataException: Invocation provides 0 argument(s) but target expects 1.",
        ],
        [
          "Pair",
          [1],
          failedToInvoke("pair"),
          "InvalidDataException: Invocation provides 1 argument(s) but target expects 2.",
        ],
        [
          "pair",
          [1, 2, 3],
          failedToInvoke("pair"),
          "InvalidDataException: Invocation provides 3 argument(s) but target expects 2.",
        ],
        [
          "withDefault",
          [],
          failedToInvoke("withDefault"),
          "InvalidDataException: Invocation provides 0 argument(s) but target expects 1.",
        ],
        [
          "withDefault",
          [1, 2, 3],
          failedToInvoke("withDefault"),
          "InvalidDataException: Invocation provides 3 argument(s) but target expects 2.",
        ],
        ["FAIL", [], unexpected("fail"), "RangeError: secret"],
        ["failLater", [], unexpected("failLater"), "RangeError: secret"],
        ["failOpenly", [], unexpected("failOpenly"), "HubException: for everybody", true],
        ["failStrangely", [], unexpected("failStrangely"), aString],
      ];
    for (const enableDetailedErrors of [false, true]) {
      const how = enableDetailedErrors ? "with" : "without";
      for (const [target, args, base, detail, always] of errors) {
        it(`fail ${how} details: ${target} of ${args.length}`, async () => {
          const client = clientOf(TestHub, { enableDetailedErrors }, { protocol });
          const error = enableDetailedErrors || always ? `${base} ${detail}` : base;
          assert.deepEqual(await client.invoke(target, ...args), { error });
          assert.deepEqual(await client.invoke("echo", "alive"), { result: "alive" });
        });
      }

      it(`fail ${how} details: a result that cannot be sent`, async () => {
        const client = clientOf(TestHub, { enableDetailedErrors }, { protocol });
        const { error } = await client.invoke("cyclic");
        assert.ok(String(error).startsWith(unexpected("cyclic")));
        assert.equal(String(error).length > unexpected("cyclic").length, enableDetailedErrors);
        assert.deepEqual(await client.invoke("echo", "alive"), { result: "alive" });
      });

      it(`fail ${how} details: streams after they began`, async () => {
        const client = clientOf(TestHub, { enableDetailedErrors }, { protocol });
        const base = "An error occurred on the server while streaming results.";
        const first = client.stream("failingStream");
        assert.deepEqual(await client.nextFew(2), [
          { id: first, item: 1 },
          { id: first, error: enableDetailedErrors ? `${base} RangeError: secret` : base },
        ]);
        const second = client.stream("openlyFailingStream");
        assert.deepEqual(await client.nextFew(2), [
          { id: second, item: 1 },
          { id: second, error: `${base} HubException: for everybody` },
        ]);
      });
    }

    it("of streaming methods must be streaming", async () => {
      const client = clientOf(TestHub, {}, { protocol });
      for (const target of ["count", "COUNTLATER", "failingStream"]) {
        const name = { count: "count", COUNTLATER: "countLater" }[target] ?? target;
        const args = target === "failingStream" ? [] : [1];
        assert.deepEqual(await client.invoke(target, ...args), {
          error: `The client attempted to invoke the streaming '${name}' method with a non-streaming invocation.`,
        });
      }
    });

    it("of plain methods must be plain", async () => {
      const client = clientOf(TestHub, {}, { protocol });
      for (const target of ["echo", "EchoLater"]) {
        const name = { echo: "echo", EchoLater: "echoLater" }[target];
        const id = client.stream(target, "text, and no stream");
        assert.deepEqual(await client.next(), {
          id,
          error: `The client attempted to invoke the non-streaming '${name}' method with a streaming invocation.`,
        });
      }
      const id = client.stream("streamOfNothing");
      assert.deepEqual(await client.next(), {
        id,
        error:
          "The value returned by the streaming method 'streamOfNothing' is not a ChannelReader<> or IAsyncEnumerable<>.",
      });
    });

    it("without an id are never answered", async () => {
      const client = clientOf(TestHub, {}, { protocol });
      client.post("echo", 1);
      client.post("missing");
      client.post("pair", 1);
      client.post("fail");
      client.post("failLater");
      client.post("count", 1);
      client.post("cyclic");
      assert.deepEqual(await client.invoke("echo", "alive"), { result: "alive" });
      await client.hearsNothing();
    });
  });
}

describe("arguments that cannot be read", () => {
  // [1, {}, "7", target, [<nothing of MessagePack>], []]
  const unreadable = (target: string) => {
    const name = Buffer.from(target);
    const body = Buffer.from([
      0x96,
      1,
      0x80,
      0xa1,
      0x37,
      0xa0 + name.length,
      ...name,
      0x91,
      0xc1,
      0x90,
    ]);
    return Buffer.from([body.length, ...body]);
  };
  const detail =
    "InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.";

  for (const enableDetailedErrors of [false, true]) {
    it(`fail the call, ${enableDetailedErrors ? "with" : "without"} details`, async () => {
      const client = clientOf(TestHub, { enableDetailedErrors }, { protocol: messagePack() });
      client.write(unreadable("ECHO"));
      const base = failedToInvoke("echo");
      assert.deepEqual(await client.next(), {
        id: "7",
        error: enableDetailedErrors ? `${base} ${detail}` : base,
      });
      client.write(unreadable("missing"));
      assert.deepEqual(await client.next(), {
        id: "7",
        error: `${failedToInvoke("missing")} HubException: Method does not exist.`,
      });
      assert.deepEqual(await client.invoke("echo", "alive"), { result: "alive" });
    });
  }
});

describe("order of checks", () => {
  it("answers what cannot be called even while the only slot is taken", async () => {
    const gate = new Deferred<void>();
    class BusyHub extends Hub {
      async wait() {
        await gate.promise;
      }
      pair(_first: unknown, _second: unknown) {}
    }
    const client = clientOf(BusyHub);
    const first = client.call("wait");
    const second = client.call("missing");
    const third = client.call("pair", 1);
    assert.deepEqual(await client.nextFew(2), [
      { id: second, error: `${failedToInvoke("missing")} HubException: Method does not exist.` },
      { id: third, error: failedToInvoke("pair") },
    ]);
    gate.resolve();
    assert.deepEqual(await client.next(), { id: first, result: null });
  });

  it("asks for permission only when there is a slot, and before the mode is looked at", async () => {
    const asked: string[] = [];
    const gate = new Deferred<void>();
    class GuardedHub extends Hub {
      async wait() {
        await gate.promise;
      }
      *stream() {
        yield 1;
      }
    }
    const authorize = ({ method }: { method: string }) => {
      asked.push(method);
      return method === "wait";
    };
    const client = clientOf(GuardedHub, {
      methods: { wait: { authorize }, stream: { authorize } },
    });
    const first = client.call("wait");
    await until(() => asked.length === 1, "the first question");
    const second = client.call("wait");
    await turns();
    assert.deepEqual(asked, ["wait"]);
    gate.resolve();
    assert.deepEqual(await client.nextFew(2), [
      { id: first, result: null },
      { id: second, result: null },
    ]);
    assert.deepEqual(await client.invoke("stream"), {
      error: "Failed to invoke 'stream' because user is unauthorized",
    });
    assert.deepEqual(asked, ["wait", "wait", "stream"]);
  });
});

describe("hub objects", () => {
  it("are made for each call, each with its own scope", async () => {
    const seen = new Set<object>();
    class CountingHub extends Hub {
      id() {
        seen.add(this);
        return this.context.connectionId;
      }
    }
    const handler = handlerOf(CountingHub);
    const clients = [new FakeClient(handler), new FakeClient(handler)];
    for (const client of [...clients, ...clients]) {
      assert.deepEqual(await client.invoke("id"), { result: client.id });
    }
    assert.equal(seen.size, 4);
  });

  it("are made by `create`, with the caller's context", async () => {
    class ServiceHub extends Hub {
      readonly service: string;
      constructor(service: string) {
        super();
        this.service = service;
      }
      name() {
        return this.service;
      }
    }
    const client = clientOf(
      ServiceHub,
      { create: (context) => new ServiceHub(`of ${context.userId}`) },
      { userId: "ada" },
    );
    assert.deepEqual(await client.invoke("name"), { result: "of ada" });
  });

  it("that are made once and for all are refused: calls would mix up their clients", async () => {
    class SingleHub extends Hub {
      who() {
        return this.context.connectionId;
      }
    }
    const single = new SingleHub();
    const client = clientOf(SingleHub, { create: () => single, enableDetailedErrors: true });
    assert.deepEqual(await client.invoke("who"), {
      error: `${unexpected("who")} TypeError: The option create must make a new hub for each call.`,
    });
  });

  it("that cannot be made fail the call, and the connection only when it connects", async () => {
    let isBroken = false;
    class FragileHub extends Hub {
      constructor() {
        super();
        if (isBroken) throw new Error("no database");
      }
      echo(value: unknown) {
        return value;
      }
    }
    const client = clientOf(FragileHub, { enableDetailedErrors: true });
    assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
    isBroken = true;
    assert.deepEqual(await client.invoke("echo", 1), {
      error: `${unexpected("echo")} Error: no database`,
    });
    const late = clientOf(FragileHub);
    assert.deepEqual(await late.untilEnded(), [
      { close: true, error: "Connection closed with an error." },
    ]);
  });

  for (const symbol of ["dispose", "asyncDispose"] as const) {
    it(`are disposed of after each call, by Symbol.${symbol}`, async () => {
      const events: string[] = [];
      class DisposableHub extends Hub {
        echo(value: unknown) {
          events.push("echo");
          return value;
        }
        async fail() {
          events.push("fail");
          throw new HubError("no");
        }
        async *count() {
          try {
            yield 1;
            yield 2;
          } finally {
            events.push("counted");
          }
        }
        override onConnected() {
          events.push("connected");
        }
        override onDisconnected() {
          events.push("disconnected");
        }
      }
      Object.defineProperty(DisposableHub.prototype, Symbol[symbol], {
        value: () => events.push("disposed"),
      });
      const client = clientOf(DisposableHub);
      await client.invoke("echo", 1);
      await client.invoke("fail");
      client.stream("count");
      await client.nextFew(3);
      client.end();
      await client.hub.done;
      await turns();
      const pairs = ["connected", "echo", "fail", "counted", "disconnected"];
      assert.deepEqual(
        events,
        pairs.flatMap((each) => [each, "disposed"]),
      );
    });
  }

  it("whose dispose throws disturb nobody", async () => {
    const logger = new Lines();
    class BadHub extends Hub {
      echo(value: unknown) {
        return value;
      }
      [Symbol.dispose]() {
        throw new Error("dispose");
      }
    }
    const client = clientOf(BadHub, { logger });
    assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
    assert.deepEqual(await client.invoke("echo", 2), { result: 2 });
    await turns();
    assert.ok(logger.of("error").some((line) => line.includes("dispose")));
  });
});

describe("ordering and parallelism", () => {
  /** A hub whose calls end when the test says so. */
  function gatedHub() {
    const running: string[] = [];
    const gates = new Map<string, Deferred<string>>();
    class GatedHub extends Hub<{ question(name: string): unknown }> {
      async wait(name: string) {
        running.push(name);
        const gate = new Deferred<string>();
        gates.set(name, gate);
        return gate.promise;
      }
      async *ticks(name: string) {
        running.push(name);
        yield name;
        yield await this.wait(`${name}'s end`);
      }
      async upload(name: string, items: AsyncIterable<unknown>) {
        running.push(name);
        for await (const item of items) running.push(`${name}: ${item}`);
        return name;
      }
      async ask(name: string) {
        running.push(name);
        const answer = await this.clients.caller.invoke().question(name);
        running.push(`${name}: ${answer}`);
        return answer;
      }
      quick(name: string) {
        running.push(name);
        return name;
      }
    }
    return { GatedHub, running, open: (name: string) => gates.get(name)?.resolve(name) };
  }

  for (const limit of [1, 2, 5]) {
    it(`runs ${limit} call(s) at once and lets the next one hold up what is behind it`, async () => {
      const { GatedHub, running, open } = gatedHub();
      const client = clientOf(GatedHub, { maximumParallelInvocationsPerClient: limit });
      const names = Array.from({ length: limit }, (_, i) => `call ${i}`);
      for (const name of names) client.call("wait", name);
      await until(() => running.length === limit, "the first calls");
      client.call("wait", "one more");
      client.call("missing");
      client.call("quick", "behind it");
      await turns();
      assert.deepEqual(running, names);
      assert.deepEqual(client.take(), []);
      open(names.at(-1) as string);
      assert.deepEqual(await client.nextFew(2), [
        { id: String(limit), result: names.at(-1) },
        {
          id: String(limit + 2),
          error: `${failedToInvoke("missing")} HubException: Method does not exist.`,
        },
      ]);
      assert.deepEqual(running, [...names, "one more"]);
      open("one more");
      assert.deepEqual(await client.nextFew(2), [
        { id: String(limit + 1), result: "one more" },
        { id: String(limit + 3), result: "behind it" },
      ]);
    });
  }

  it("reads on while one call runs, until the next one comes", async () => {
    const { GatedHub, running, open } = gatedHub();
    const client = clientOf(GatedHub);
    client.call("wait", "a");
    client.send(invocation("upload", ["u"], "u", ["s"]));
    client.item("s", 1);
    client.stream("ticks", "t");
    await until(() => running.length === 5, "all but the second plain call");
    assert.deepEqual(new Set(running), new Set(["a", "u", "u: 1", "t", "t's end"]));
    client.call("quick", "b");
    client.item("s", 2);
    await turns();
    assert.ok(!running.includes("b") && !running.includes("u: 2"));
    open("a");
    await until(() => running.includes("u: 2"), "what was behind");
    assert.deepEqual(running.slice(-2), ["b", "u: 2"]);
  });

  it("gives streams and uploads no slot", async () => {
    const { GatedHub, running, open } = gatedHub();
    const client = clientOf(GatedHub);
    for (let i = 0; i < 5; i++) client.stream("ticks", `t${i}`);
    for (let i = 0; i < 5; i++) client.send(invocation("upload", [`u${i}`], `u${i}`, [`s${i}`]));
    await until(() => running.filter((name) => !name.endsWith("end")).length === 10, "all ten");
    assert.deepEqual(
      await client.nextFew(5),
      [0, 1, 2, 3, 4].map((i) => ({ id: `${i + 1}`, item: `t${i}` })),
    );
    assert.deepEqual(await client.invoke("quick", "plain").then(({ result }) => result), "plain");
    open("t3's end");
    assert.deepEqual(await client.nextFew(2), [{ id: "4", item: "t3's end" }, { id: "4" }]);
  });

  it("takes the slot of a call that waits for its client, once", async () => {
    const { GatedHub, running, open } = gatedHub();
    const client = clientOf(GatedHub);
    const ask = client.call("ask", "q");
    const question = await client.next();
    assert.equal(question.call, "question");
    const wait = client.call("wait", "w");
    await until(() => running.includes("w"), "the call behind");
    const blocked = client.call("quick", "blocked");
    await turns();
    assert.ok(!running.includes("blocked"));
    open("w");
    assert.deepEqual(await client.nextFew(2), [
      { id: wait, result: "w" },
      { id: blocked, result: "blocked" },
    ]);
    client.complete(question.id as string, { result: "yes" });
    assert.deepEqual(await client.next(), { id: ask, result: "yes" });
    // The slot was not given back a second time: one runs, the next waits.
    client.call("wait", "w1");
    client.call("wait", "w2");
    await turns();
    assert.ok(running.includes("w1") && !running.includes("w2"));
  });

  it("lets a call that waited for the slot of one that asks its client go on", async () => {
    const { GatedHub } = gatedHub();
    const client = clientOf(GatedHub);
    // All in one piece: the second call is there before the first asks.
    client.send(
      invocation("ask", ["a"], "a"),
      invocation("ask", ["b"], "b"),
      invocation("quick", ["c"], "c"),
    );
    const [first, second, third] = await client.nextFew(3);
    assert.deepEqual([first?.args, second?.args, third], [["a"], ["b"], { id: "c", result: "c" }]);
    client.complete(second?.id as string, { result: 2 });
    assert.deepEqual(await client.next(), { id: "b", result: 2 });
    client.complete(first?.id as string, { result: 1 });
    assert.deepEqual(await client.next(), { id: "a", result: 1 });
  });

  it("answers in order what came in order", async () => {
    const { GatedHub } = gatedHub();
    const client = clientOf(GatedHub);
    const names = Array.from({ length: 2_000 }, (_, i) => `n${i}`);
    client.send(...names.map((name) => invocation("quick", [name], name)));
    assert.deepEqual(
      await client.nextFew(names.length),
      names.map((name) => ({ id: name, result: name })),
    );
  });
});

describe("cancellation of plain calls", () => {
  it("reaches the method's signal, and the call is still answered", async () => {
    const reasons: boolean[] = [];
    class SlowHub extends Hub {
      async wait() {
        await new Promise<void>((resolve) =>
          this.signal.addEventListener("abort", () => resolve()),
        );
        reasons.push(this.signal.aborted, this.context.signal.aborted);
        return "stopped";
      }
      async throwing() {
        await new Promise((_, reject) =>
          this.signal.addEventListener("abort", () => reject(this.signal.reason)),
        );
      }
    }
    const logger = new Lines();
    const client = clientOf(SlowHub, { logger });
    const id = client.call("wait");
    client.cancel("nobody's");
    client.cancel(id);
    client.cancel(id);
    assert.deepEqual(await client.next(), { id, result: "stopped" });
    assert.deepEqual(reasons, [true, false]);
    const other = client.call("throwing");
    client.cancel(other);
    assert.deepEqual(await client.next(), { id: other, error: unexpected("throwing") });
    assert.deepEqual(logger.of("error"), []);
  });

  it("comes too late for a call that is answered", async () => {
    const client = clientOf(TestHub);
    const id = client.call("echo", 1);
    assert.deepEqual(await client.next(), { id, result: 1 });
    client.cancel(id);
    await client.hearsNothing();
  });

  it("comes with the end of the connection", async () => {
    const events: string[] = [];
    class WaitingHub extends Hub {
      async wait() {
        events.push("waiting");
        this.signal.addEventListener("abort", () => events.push("aborted"));
        await new Promise<void>(() => {});
      }
    }
    const client = clientOf(WaitingHub);
    client.call("wait");
    await until(() => events.length > 0, "the call");
    client.end();
    await client.hub.done;
    assert.deepEqual(events, ["waiting", "aborted"]);
  });
});

describe("permission per method", () => {
  class SecretHub extends Hub {
    static runs = 0;
    open() {
      return "open";
    }
    async secret(_value: unknown) {
      SecretHub.runs++;
      return "secret";
    }
    async *secrets() {
      SecretHub.runs++;
      yield "secret";
    }
  }
  const outcomes: [name: string, authorize: () => unknown, isAllowed: boolean][] = [
    ["true", () => true, true],
    ["a promise of true", async () => true, true],
    ["false", () => false, false],
    ["a promise of false", async () => false, false],
    ["something true, which is not true", () => "yes", false],
    ["nothing", () => undefined, false],
    [
      "an error",
      () => {
        throw new HubError("authorize");
      },
      false,
    ],
    [
      "a rejection",
      async () => {
        throw new HubError("authorize");
      },
      false,
    ],
  ];
  for (const [name, authorize, isAllowed] of outcomes) {
    it(`${name} ${isAllowed ? "allows" : "refuses"} the call`, async () => {
      SecretHub.runs = 0;
      const rules = { authorize } as { authorize: () => boolean };
      const client = clientOf(SecretHub, {
        enableDetailedErrors: true,
        methods: { secret: rules, secrets: rules },
      });
      const error = (method: string) => `Failed to invoke '${method}' because user is unauthorized`;
      const plain = await client.invoke("SECRET", 1);
      assert.deepEqual(plain, isAllowed ? { result: "secret" } : { error: error("secret") });
      const id = client.stream("secrets");
      assert.deepEqual(
        await client.nextFew(isAllowed ? 2 : 1),
        isAllowed ? [{ id, item: "secret" }, { id }] : [{ id, error: error("secrets") }],
      );
      assert.equal(SecretHub.runs, isAllowed ? 2 : 0);
      assert.deepEqual(await client.invoke("open"), { result: "open" });
    });
  }

  it("is told who wants what", async () => {
    const requests: object[] = [];
    const authorize = ({ context, ...request }: { context: { connectionId: string } }) => {
      requests.push({ id: context.connectionId, ...request });
      return true;
    };
    const user = { name: "Ada" };
    const client = clientOf(SecretHub, { methods: { secret: { authorize } } } as object, { user });
    await client.invoke("secret", 42);
    assert.deepEqual(requests, [{ id: client.id, user, method: "secret", arguments: [42] }]);
  });

  it("that comes after the client left runs nothing", async () => {
    SecretHub.runs = 0;
    const gate = new Deferred<boolean>();
    let isAsked = false;
    const authorize = () => {
      isAsked = true;
      return gate.promise;
    };
    const client = clientOf(SecretHub, { methods: { secret: { authorize } } });
    client.call("secret", 1);
    await until(() => isAsked, "the question");
    client.end();
    await client.hub.done;
    gate.resolve(true);
    await turns();
    assert.equal(SecretHub.runs, 0);
    assert.equal(client.hub.runningCalls, 0);
  });
});

describe("rate limits", () => {
  class LimitedHub extends Hub {
    static runs = 0;
    run() {
      return ++LimitedHub.runs;
    }
    other() {
      return "other";
    }
    async *stream() {
      yield ++LimitedHub.runs;
    }
  }
  const perHour = { perSecond: 1 / 3600, burst: 2 };
  const refused = (method: string) => ({
    error: `${failedToInvoke(method)} HubException: The rate limit was exceeded; try again later.`,
  });

  it("count per connection, over all methods", async () => {
    const handler = handlerOf(LimitedHub, { rateLimits: { connection: perHour } });
    const client = new FakeClient(handler);
    assert.ok("result" in (await client.invoke("run")));
    assert.ok("result" in (await client.invoke("other")));
    assert.deepEqual(await client.invoke("run"), refused("run"));
    const id = client.stream("stream");
    assert.deepEqual(await client.next(), { id, ...refused("stream") });
    assert.ok("result" in (await new FakeClient(handler).invoke("run")));
  });

  it("count calls of what there is not, too", async () => {
    const client = clientOf(LimitedHub, { rateLimits: { connection: perHour } });
    for (let count = 0; count < 2; count++) {
      const { error } = (await client.invoke("missing")) as { error: string };
      assert.match(error, /Method does not exist/);
    }
    assert.deepEqual(await client.invoke("missing"), refused("missing"));
  });

  it("count per user, over all its connections", async () => {
    const handler = handlerOf(LimitedHub, { rateLimits: { user: perHour } });
    const [first, second, other] = ["ada", "ada", "bob"].map(
      (userId) => new FakeClient(handler, { userId }),
    ) as [FakeClient, FakeClient, FakeClient];
    const anonymous = new FakeClient(handler);
    assert.ok("result" in (await first.invoke("run")));
    assert.ok("result" in (await second.invoke("run")));
    assert.deepEqual(await first.invoke("run"), refused("run"));
    assert.deepEqual(await second.invoke("run"), refused("run"));
    assert.ok("result" in (await other.invoke("run")));
    for (let i = 0; i < 5; i++) assert.ok("result" in (await anonymous.invoke("run")));
  });

  it("count per method", async () => {
    const handler = handlerOf(LimitedHub, { methods: { run: { rateLimit: perHour } } });
    const client = new FakeClient(handler);
    assert.ok("result" in (await client.invoke("run")));
    assert.ok("result" in (await client.invoke("RUN")));
    assert.deepEqual(await client.invoke("Run"), refused("run"));
    assert.ok("result" in (await client.invoke("other")));
  });

  it("can end the connection, and what is refused does not run", async () => {
    LimitedHub.runs = 0;
    const client = clientOf(LimitedHub, {
      rateLimits: { connection: { perSecond: 1, burst: 1 }, onExceeded: "close" },
    });
    client.send(...Array.from({ length: 50 }, (_, i) => invocation("run", [], `${i}`)));
    assert.deepEqual(await client.untilEnded(), [
      { id: "0", result: 1 },
      { close: true, error: "The rate limit was exceeded; try again later." },
    ]);
    assert.equal(LimitedHub.runs, 1);
  });
});

describe("stream ids", () => {
  it("that are in use are refused", async () => {
    class EndlessHub extends Hub {
      async *wait() {
        yield 1;
        await new Promise<void>((resolve) =>
          this.signal.addEventListener("abort", () => resolve()),
        );
      }
    }
    const client = clientOf(EndlessHub);
    client.send(streamInvocation("123", "wait", []));
    assert.deepEqual(await client.next(), { id: "123", item: 1 });
    client.send(streamInvocation("123", "wait", []));
    assert.deepEqual(await client.next(), {
      id: "123",
      error: "Invocation ID '123' is already in use.",
    });
    client.cancel("123");
    assert.deepEqual(await client.next(), { id: "123" });
    client.send(streamInvocation("123", "wait", []));
    assert.deepEqual(await client.next(), { id: "123", item: 1 });
    client.end();
  });
});
