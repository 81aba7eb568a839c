import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { Hub, HubError, type HubFilter, hubDefaults } from "#dist/hub/index.js";
import { clientOf, closing, Lines, turns } from "../support/fake-connection.js";
import { until } from "../support/network.js";

afterEach(() => hubDefaults({}));

/** Notes when it is passed on the way in and out. */
function noting(events: string[], name: string): HubFilter {
  return {
    async invokeMethod(invocation, next) {
      events.push(`${name} in ${invocation.method}`);
      try {
        return await next(invocation);
      } finally {
        events.push(`${name} out`);
      }
    },
    async onConnected(_lifetime, next) {
      events.push(`${name} connecting`);
      await next();
      events.push(`${name} connected`);
    },
    async onDisconnected(_lifetime, error, next) {
      events.push(`${name} disconnecting ${error?.message}`);
      await next(error);
      events.push(`${name} disconnected`);
    },
  };
}

function makeHub(events: string[] = []) {
  return class FilteredHub extends Hub {
    add(a: number, b: number) {
      events.push("add");
      return a + b;
    }
    fail() {
      throw new HubError("fail");
    }
    async *count(to: number) {
      for (let n = 1; n <= to; n++) yield n;
    }
    override onConnected() {
      events.push("connected");
    }
    override onDisconnected(error?: Error) {
      events.push(`disconnected ${error?.message}`);
    }
  };
}

const unexpected = "An unexpected error occurred invoking 'add' on the server.";

describe("filters", () => {
  it("stand around calls, those for all hubs outermost, in their order", async () => {
    const events: string[] = [];
    hubDefaults({ filters: [noting(events, "1"), noting(events, "2")] });
    const client = clientOf(makeHub(events), {
      filters: [noting(events, "3"), noting(events, "4")],
    });
    await turns();
    assert.deepEqual(events.splice(0), [
      ..."1 2 3 4".split(" ").map((name) => `${name} connecting`),
      "connected",
      ..."4 3 2 1".split(" ").map((name) => `${name} connected`),
    ]);
    assert.deepEqual(await client.invoke("ADD", 1, 2), { result: 3 });
    assert.deepEqual(events.splice(0), [
      ..."1 2 3 4".split(" ").map((name) => `${name} in add`),
      "add",
      ..."4 3 2 1".split(" ").map((name) => `${name} out`),
    ]);
    client.close("why");
    await client.hub.done;
    assert.deepEqual(events, [
      ..."1 2 3 4".split(" ").map((name) => `${name} disconnecting why`),
      "disconnected why",
      ..."4 3 2 1".split(" ").map((name) => `${name} disconnected`),
    ]);
  });

  const rows: [name: string, filter: HubFilter["invokeMethod"], answer: object][] = [
    ["change arguments", (call, next) => next({ ...call, arguments: [10, 20] }), { result: 30 }],
    [
      "change arguments in place",
      (call, next) => {
        call.arguments[0] = 100;
        return next(call);
      },
      { result: 102 },
    ],
    ["change results", async (call, next) => `${await next(call)}!`, { result: "3!" }],
    ["answer themselves", () => "mine", { result: "mine" }],
    ["answer themselves, with nothing", () => undefined, { result: null }],
    [
      "throw",
      () => {
        throw new HubError("no");
      },
      { error: `${unexpected} HubException: no` },
    ],
    [
      "reject",
      async () => {
        throw new RangeError("secret");
      },
      { error: unexpected },
    ],
    [
      "throw behind the call",
      async (call, next) => {
        await next(call);
        throw new HubError("behind");
      },
      { error: `${unexpected} HubException: behind` },
    ],
    [
      "mend errors",
      async (call, next) => {
        try {
          return await next({ ...call, method: "fail", arguments: [] });
        } catch (error) {
          return (error as Error).message;
        }
      },
      { result: "fail" },
    ],
    [
      "call a method that does not exist",
      (call, next) => next({ ...call, method: "x" }),
      { error: unexpected },
    ],
    ["pass on nothing", (_call, next) => (next as () => unknown)(), { error: unexpected }],
    [
      "forget about the call they make",
      (call, next) => {
        void next({ ...call, method: "fail" });
        void (next as () => unknown)();
        return "forgotten";
      },
      { result: "forgotten" },
    ],
  ];
  for (const [name, invokeMethod, answer] of rows) {
    it(`can ${name}`, async () => {
      const client = clientOf(makeHub(), { filters: [{ invokeMethod } as HubFilter] });
      assert.deepEqual(await client.invoke("add", 1, 2), answer);
      await turns();
      client.end();
    });
  }

  it("see streams as results, and uploads as arguments", async () => {
    class StreamHub extends Hub {
      async *double(items: AsyncIterable<number>) {
        for await (const item of items) yield 2 * item;
      }
    }
    const seen: unknown[] = [];
    const client = clientOf(StreamHub, {
      filters: [
        {
          async invokeMethod(call, next) {
            seen.push(call.arguments.length);
            const result = (await next(call)) as AsyncIterable<number>;
            return (async function* () {
              for await (const item of result) yield -item;
            })();
          },
        },
      ],
    });
    client.send({ type: 4, invocationId: "1", target: "double", arguments: [], streamIds: ["s"] });
    client.item("s", 21);
    assert.deepEqual(await client.next(), { id: "1", item: -42 });
    client.complete("s");
    assert.deepEqual(await client.next(), { id: "1" });
    assert.deepEqual(seen, [1]);
  });

  it("are not asked about calls that are refused", async () => {
    const events: string[] = [];
    const client = clientOf(makeHub(), {
      filters: [noting(events, "f")],
      methods: { fail: { authorize: () => false } },
    });
    await turns();
    events.length = 0;
    await client.invoke("missing");
    await client.invoke("add", 1);
    await client.invoke("fail");
    await client.invoke("count", 1);
    assert.deepEqual(events, []);
  });

  it("know the caller", async () => {
    const seen: unknown[] = [];
    const client = clientOf(
      makeHub(),
      {
        filters: [
          {
            invokeMethod(call, next) {
              seen.push(
                call.context.connectionId,
                call.context.user,
                call.hub.context === call.context,
              );
              return next(call);
            },
          },
        ],
      },
      { user: { name: "Ada" } },
    );
    await client.invoke("add", 1, 2);
    assert.deepEqual(seen, [client.id, { name: "Ada" }, true]);
  });

  it("can refuse a client", async () => {
    const events: string[] = [];
    const client = clientOf(makeHub(events), {
      filters: [
        {
          onConnected() {
            throw new HubError("not you");
          },
        },
      ],
    });
    assert.deepEqual(await client.untilEnded(), [
      closing("Connection closed with an error. HubException: not you"),
    ]);
    assert.deepEqual(events, []);
  });

  it("can keep onConnected and onDisconnected from being called", async () => {
    const events: string[] = [];
    const client = clientOf(makeHub(events), {
      filters: [{ onConnected() {}, onDisconnected() {} }],
    });
    assert.deepEqual(await client.invoke("add", 1, 2), { result: 3 });
    client.end();
    await client.hub.done;
    assert.deepEqual(events, ["add"]);
  });

  it("may fail when a client leaves, or forget what they call", async () => {
    const logger = new Lines();
    class BadHub extends Hub {
      override async onConnected() {
        await turns(1);
        throw new Error("forgotten");
      }
      override async onDisconnected() {
        throw new Error("forgotten too");
      }
    }
    const client = clientOf(BadHub, {
      logger,
      filters: [
        {
          onConnected(_lifetime, next) {
            void next();
          },
          onDisconnected(_lifetime, error, next) {
            void next(error);
            throw new Error("filter");
          },
        },
      ],
    });
    await turns();
    client.end();
    await client.hub.done;
    await until(() => logger.of("error").length > 0, "the line");
    await turns();
  });

  it("of two promises each call another", async () => {
    const client = clientOf(makeHub(), {
      filters: [{}, { invokeMethod: (call, next) => next(call) }, {}],
    });
    assert.deepEqual(await client.invoke("add", 1, 2), { result: 3 });
    const id = client.stream("count", 1);
    assert.deepEqual(await client.nextFew(2), [{ id, item: 1 }, { id }]);
  });
});
