import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { messagePack } from "halyard/messagepack";
import * as v from "valibot";
import { z } from "zod";
import {
  type ClientOf,
  defineContract,
  Hub,
  hubContext,
  json,
  type ServerOf,
  upload,
} from "#dist/hub/index.js";
import {
  clientOf,
  handlerOf,
  invocation,
  Lines,
  streamInvocation,
  turns,
} from "../support/fake-connection.js";
import { until } from "../support/network.js";

async function isSmall(n: number): Promise<boolean> {
  await turns(1);
  return n < 10;
}

/** The same contract in each library. */
const withZod = defineContract({
  server: {
    add: { args: [z.number(), z.number()], result: z.number() },
    trim: { args: [z.string().trim().min(1).max(5)] },
    later: {
      args: [
        z.string().refine(async (text) => {
          await turns(1);
          return text !== "bad";
        }, "is bad"),
      ],
    },
    lie: { args: [], result: z.number() },
    count: { args: [z.number().int().positive()], stream: z.number().max(3) },
    sum: { args: [upload(z.number()), z.number()], result: z.number() },
    ask: { args: [z.unknown()], result: z.unknown() },
    zip: { args: [upload(z.number()), z.string(), upload(z.string().toUpperCase())] },
    slow: { args: [upload(z.number().refine(isSmall, "too large"))] },
    nothing: {},
  },
  client: {
    news: { args: [z.string().trim()] },
    question: { args: [z.string()], result: z.number() },
  },
});

const withValibot = defineContract({
  server: {
    add: { args: [v.number(), v.number()], result: v.number() },
    trim: { args: [v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(5))] },
    later: {
      args: [
        v.pipeAsync(
          v.string(),
          v.checkAsync(async (text) => {
            await turns(1);
            return text !== "bad";
          }, "is bad"),
        ),
      ],
    },
    lie: { args: [], result: v.number() },
    count: {
      args: [v.pipe(v.number(), v.integer(), v.minValue(1))],
      stream: v.pipe(v.number(), v.maxValue(3)),
    },
    sum: { args: [upload(v.number()), v.number()], result: v.number() },
    ask: { args: [v.unknown()], result: v.unknown() },
    zip: {
      args: [upload(v.number()), v.string(), upload(v.pipe(v.string(), v.toUpperCase()))],
    },
    slow: {
      args: [upload(v.pipeAsync(v.number(), v.checkAsync(isSmall, "too large")))],
    },
    nothing: {},
  },
  client: {
    news: { args: [v.pipe(v.string(), v.trim())] },
    question: { args: [v.string()], result: v.number() },
  },
});

/** A hub under the contract, and what reached its methods. */
function makeHub(contract: typeof withZod) {
  const calls: unknown[] = [];
  class CheckedHub extends Hub<ClientOf<typeof withZod>> implements ServerOf<typeof withZod> {
    add(a: number, b: number) {
      calls.push([a, b]);
      return a + b;
    }
    trim(text: string) {
      calls.push(text);
      return text;
    }
    later(text: string) {
      calls.push(text);
      return text;
    }
    lie() {
      return "no number" as unknown as number;
    }
    async *count(to: number) {
      for (let n = 1; n <= to; n++) yield n;
    }
    async sum(numbers: AsyncIterable<number>, start: number) {
      let sum = start;
      for await (const n of numbers) {
        calls.push(n);
        sum += n;
      }
      return sum;
    }
    async zip(numbers: AsyncIterable<number>, separator: string, texts: AsyncIterable<string>) {
      const left: number[] = [];
      const right: string[] = [];
      for await (const n of numbers) left.push(n);
      for await (const text of texts) right.push(text);
      return `${left}${separator}${right}`;
    }
    async slow(numbers: AsyncIterable<number>) {
      try {
        for await (const n of numbers) calls.push(n);
      } catch (error) {
        calls.push((error as Error).message);
      }
      return "done";
    }
    async ask(what: unknown) {
      return this.clients.caller.invoke().question(what as string);
    }
    nothing() {
      calls.push("nothing");
    }
    /** In the class, and not in the contract. */
    undeclared() {
      calls.push("undeclared");
    }
  }
  return { CheckedHub, calls, options: { contract } };
}

const failedToInvoke = (name: string) =>
  `Failed to invoke '${name}' due to an error on the server.`;

for (const [library, contract] of [
  ["zod", withZod],
  ["valibot", withValibot as unknown as typeof withZod],
] as const) {
  for (const protocol of [json(), messagePack()]) {
    describe(`a contract of ${library} over ${protocol.name}`, () => {
      const setUp = (options = {}) => {
        const { CheckedHub, calls, options: own } = makeHub(contract);
        const client = clientOf(CheckedHub, { ...own, ...options }, { protocol });
        return { client, calls, CheckedHub };
      };

      it("lets what fits pass, as the schema gives it back", async () => {
        const { client, calls } = setUp();
        assert.deepEqual(await client.invoke("ADD", 1, 2), { result: 3 });
        assert.deepEqual(await client.invoke("trim", "  ok "), { result: "ok" });
        assert.deepEqual(await client.invoke("later", "good"), { result: "good" });
        assert.deepEqual(await client.invoke("nothing"), { result: null });
        assert.deepEqual(calls, [[1, 2], "ok", "good", "nothing"]);
      });

      const bad: [target: string, args: unknown[], says: RegExp][] = [
        ["add", [1, "2"], /^HubException: Argument 2: /],
        ["add", ["1", "2"], /^HubException: Argument 1: /],
        ["trim", ["     "], /^HubException: Argument 1: /],
        ["trim", ["too long for it"], /^HubException: Argument 1: /],
        ["trim", [{ toString: 1, __proto__: [] }], /^HubException: Argument 1: /],
        ["later", ["bad"], /^HubException: Argument 1: is bad/],
        ["later", [5], /^HubException: Argument 1: /],
        ["undeclared", [], /^HubException: Method does not exist\.$/],
        ["onConnected", [], /^HubException: Method does not exist\.$/],
        ["constructor", [], /^HubException: Method does not exist\.$/],
      ];
      for (const [target, args, says] of bad) {
        it(`keeps from the method: ${target} of ${JSON.stringify(args)}`, async () => {
          const { client, calls } = setUp();
          const { error } = await client.invoke(target, ...args);
          const base = `${failedToInvoke(target)} `;
          assert.ok(String(error).startsWith(base), String(error));
          assert.match(String(error).slice(base.length), says);
          assert.deepEqual(calls, []);
          assert.deepEqual(await client.invoke("add", 1, 2), { result: 3 });
        });
      }

      it("wants all arguments, and no more", async () => {
        const { client, calls } = setUp({ enableDetailedErrors: true });
        for (const args of [[], [1], [1, 2, 3]]) {
          assert.deepEqual(await client.invoke("add", ...args), {
            error: `${failedToInvoke("add")} InvalidDataException: Invocation provides ${args.length} argument(s) but target expects 2.`,
          });
        }
        assert.deepEqual(calls, []);
      });

      it("keeps a result to itself that does not fit", async () => {
        const { client } = setUp();
        assert.deepEqual(await client.invoke("lie"), {
          error: "An unexpected error occurred invoking 'lie' on the server.",
        });
      });

      it("checks each item of a stream", async () => {
        const { client } = setUp();
        const id = client.stream("count", 5);
        assert.deepEqual(await client.nextFew(4), [
          { id, item: 1 },
          { id, item: 2 },
          { id, item: 3 },
          { id, error: "An error occurred on the server while streaming results." },
        ]);
        const bad = client.stream("count", 0.5);
        assert.match(String((await client.next()).error), /HubException: Argument 1: /);
        assert.ok(bad);
        await until(() => client.hub.runningCalls === 0, "the end");
      });

      it("knows before the call what streams and what does not", async () => {
        const { client, calls } = setUp();
        const id = client.stream("nothing");
        assert.deepEqual(await client.next(), {
          id,
          error:
            "The client attempted to invoke the non-streaming 'nothing' method with a streaming invocation.",
        });
        assert.deepEqual(await client.invoke("count", 1), {
          error:
            "The client attempted to invoke the streaming 'count' method with a non-streaming invocation.",
        });
        assert.deepEqual(calls, []);
      });

      it("puts uploads where they are declared", async () => {
        const { client } = setUp();
        client.send(invocation("sum", [10], "1", ["s"]));
        client.item("s", 1);
        client.item("s", 2);
        client.complete("s");
        assert.deepEqual(await client.next(), { id: "1", result: 13 });
        client.send(invocation("zip", ["|"], "2", ["n", "t"]));
        client.item("t", "a");
        client.item("n", 1);
        client.item("t", "b");
        client.complete("n");
        client.complete("t");
        assert.deepEqual(await client.next(), { id: "2", result: "1|A,B" });
      });

      for (const streamIds of [undefined, ["a", "b"]] as const) {
        it(`refuses ${streamIds?.length ?? 0} uploads instead of one`, async () => {
          const { client, calls } = setUp();
          client.send(invocation("sum", [10], "1", streamIds && [...streamIds]));
          assert.deepEqual(await client.next(), {
            id: "1",
            error: `An unexpected error occurred invoking 'sum' on the server. HubException: Client sent ${streamIds?.length ?? 0} stream(s), Hub method expects 1.`,
          });
          assert.deepEqual(calls, []);
          assert.equal(client.hub.uploads.size, 0);
          assert.deepEqual(await client.invoke("add", 1, 2), { result: 3 });
        });
      }

      it("asks for permission first, then looks at the mode, then at the uploads", async () => {
        let isAllowed = false;
        const { client } = setUp({ methods: { count: { authorize: () => isAllowed } } });
        const call = (id: string) => client.send(invocation("count", [1], id, ["s"]));
        call("1");
        assert.deepEqual(await client.next(), {
          id: "1",
          error: "Failed to invoke 'count' because user is unauthorized",
        });
        isAllowed = true;
        call("2");
        assert.match(String((await client.next()).error), /streaming 'count' method/);
        client.send(streamInvocation("3", "count", [1], ["s"]));
        assert.match(String((await client.next()).error), /Client sent 1 stream\(s\)/);
      });

      it("lets an upload fail whose item does not fit", async () => {
        const { client, calls } = setUp();
        client.send(invocation("sum", [10], "1", ["s"]));
        client.item("s", 1);
        client.item("s", "2");
        client.item("s", 3);
        const { error } = await client.next();
        assert.match(
          String(error),
          /^An unexpected error occurred invoking 'sum' on the server\. HubException: Failed to bind Stream message\. HubException: An item: /,
        );
        assert.deepEqual(calls, [1]);
        client.item("s", 4);
        assert.deepEqual(await client.invoke("add", 1, 2), { result: 3 });
      });

      it("waits for the check of each item of an upload, in order", async () => {
        const { client, calls } = setUp({ streamBufferCapacity: 2 });
        client.send(invocation("slow", [], "1", ["s"]));
        for (const n of [1, 2, 3, 4]) client.item("s", n);
        client.complete("s");
        assert.deepEqual(await client.next(), { id: "1", result: "done" });
        assert.deepEqual(calls.splice(0), [1, 2, 3, 4]);
        client.send(invocation("slow", [], "2", ["s"]));
        for (const n of [1, 20, 3, 30]) client.item("s", n);
        assert.deepEqual(await client.next(), { id: "2", result: "done" });
        assert.equal(calls.length, 2);
        assert.equal(calls[0], 1);
        assert.match(
          String(calls[1]),
          /^Failed to bind Stream message\. HubException: An item: too large/,
        );
      });

      it("checks what clients are called with", async () => {
        const { client, CheckedHub } = setUp();
        await turns();
        const { clients } = hubContext(CheckedHub);
        await clients.all.news(" trimmed ");
        await clients.client(client.id).news(" trimmed ");
        assert.deepEqual(await client.nextFew(2), [
          { call: "news", args: ["trimmed"] },
          { call: "news", args: ["trimmed"] },
        ]);
        const wrong = clients.all as unknown as Record<
          string,
          (...args: unknown[]) => Promise<void>
        >;
        await assert.rejects(async () => wrong.news?.(5), /Argument 1: /);
        await assert.rejects(async () => wrong.news?.(), /takes 1 argument\(s\), not 0/);
        await assert.rejects(async () => wrong.News?.("x"), /no client method 'News'/);
        await assert.rejects(
          async () => wrong.constructor?.("x"),
          /no client method 'constructor'/,
        );
        const one = clients.client(client.id) as unknown as typeof wrong;
        await assert.rejects(async () => one.news?.(5), /Argument 1: /);
        await client.hearsNothing();
      });

      it("checks what clients answer", async () => {
        const { client, CheckedHub } = setUp();
        await turns();
        const ask = () => hubContext(CheckedHub).clients.client(client.id).invoke().question("?");
        const good = ask();
        client.complete((await client.next()).id as string, { result: 42 });
        assert.equal(await good, 42);
        const bad = ask();
        client.complete((await client.next()).id as string, { result: "42" });
        await assert.rejects(bad, { code: "ERR_CONTRACT" });
        assert.equal(client.hub.isOpen, true);
        const id = client.call("ask", 5);
        assert.deepEqual(await client.next(), {
          id,
          error:
            "An unexpected error occurred invoking 'ask' on the server. HubException: Argument 1: " +
            (library === "zod"
              ? "Invalid input: expected string, received number"
              : "Invalid type: Expected string but received 5"),
        });
      });
    });
  }
}

describe("schemas that misbehave", () => {
  const schema = (validate: (value: unknown) => never) => ({
    "~standard": { version: 1 as const, vendor: "test", validate },
  });
  const throwing = schema(() => {
    throw new RangeError("secret");
  });
  const rejecting = schema((async () => {
    await turns(1);
    throw new RangeError("secret");
  }) as never);
  const strange = schema(() => undefined as never);

  for (const [name, bad] of Object.entries({ throwing, rejecting, strange })) {
    it(`fail the call they stand in: ${name}`, async () => {
      const logger = new Lines();
      const contract = defineContract({
        server: {
          first: { args: [bad, rejecting, throwing] },
          second: { args: [rejecting, bad] },
          result: { result: bad },
          stream: { stream: bad },
          upload: { args: [upload(bad)] },
          echo: { args: [z.number()] },
        },
        client: { news: { args: [rejecting, bad] }, question: { result: bad } },
      });
      class BadHub extends Hub {
        first() {}
        second() {}
        result() {}
        *stream() {
          yield 1;
        }
        async upload(items: AsyncIterable<unknown>) {
          for await (const _ of items);
        }
        echo(n: number) {
          return n;
        }
      }
      const client = clientOf(BadHub, { contract, logger });
      assert.deepEqual(await client.invoke("first", 1, 2, 3), { error: failedToInvoke("first") });
      assert.deepEqual(await client.invoke("second", 1, 2), { error: failedToInvoke("second") });
      assert.deepEqual(await client.invoke("result"), {
        error: "An unexpected error occurred invoking 'result' on the server.",
      });
      const id = client.stream("stream");
      assert.deepEqual(await client.next(), {
        id,
        error: "An error occurred on the server while streaming results.",
      });
      client.send(invocation("upload", [], "u", ["s"]));
      client.item("s", 1);
      client.item("s", 2);
      assert.deepEqual(await client.next(), {
        id: "u",
        error:
          "An unexpected error occurred invoking 'upload' on the server. HubException: Failed to bind Stream message.",
      });
      const { clients } = hubContext(BadHub);
      await assert.rejects(async () => clients.all.news?.(1, 2));
      void clients.all.news?.(1, 2);
      const answer = clients.client(client.id).invoke().question?.();
      client.complete((await client.next()).id as string, { result: 1 });
      await assert.rejects(async () => answer);
      assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
      await turns();
      assert.ok(logger.of("error").includes("halyard: a schema threw"));
    });
  }

  it("of items that nobody reads are nobody's trouble", async () => {
    const contract = defineContract({ server: { ignore: { args: [upload(rejecting)] } } });
    class IgnoringHub extends Hub {
      async ignore() {
        await turns(5);
      }
    }
    const client = clientOf(IgnoringHub, { contract });
    client.send(invocation("ignore", [], "1", ["s"]));
    client.item("s", 1);
    client.item("s", 2);
    assert.deepEqual(await client.next(), { id: "1", result: null });
    await turns(5);
  });
});

describe("a contract that is wrong is refused at once", () => {
  class SomeHub extends Hub {
    send() {}
    get value() {
      return 1;
    }
  }
  const any = z.unknown();
  const rows: [name: string, make: () => unknown, message: RegExp][] = [
    [
      "no schema",
      () => defineContract({ server: { send: { args: [{} as never] } } }),
      /send, argument 1/,
    ],
    [
      "no schema for an upload",
      () => defineContract({ server: { send: { args: [any, upload({} as never)] } } }),
      /send, argument 2/,
    ],
    [
      "no schema, but nothing",
      () => defineContract({ server: { send: { args: [null as never] } } }),
      /send, argument 1/,
    ],
    [
      "no schema for a result",
      () => defineContract({ server: { send: { result: 5 as never } } }),
      /send, result/,
    ],
    [
      "no schema for a client",
      () => defineContract({ server: {}, client: { news: { args: [any, 5 as never] } } }),
      /news, argument 2/,
    ],
    [
      "a result and a stream",
      () => defineContract({ server: { send: { result: any, stream: any } } }),
      /both a result and a stream/,
    ],
    ...["missing", "value", "onConnected", "constructor", "toString", "clients"].map(
      (name): [string, () => unknown, RegExp] => [
        `a method that may not be called: ${name}`,
        () => handlerOf(SomeHub, { contract: defineContract({ server: { [name]: {} } }) }),
        new RegExp(`names '${name}'`),
      ],
    ),
    [
      "two names that differ in case",
      () => {
        class TwoHub extends Hub {
          send() {}
          Send() {}
        }
        return handlerOf(TwoHub, { contract: defineContract({ server: { send: {}, Send: {} } }) });
      },
      /Duplicate definitions of 'Send'\. Overloading is not supported\./,
    ],
    [
      "two contracts for one class",
      () => {
        handlerOf(SomeHub, { contract: defineContract({ server: { send: {} } }) });
        handlerOf(SomeHub, { contract: defineContract({ server: { send: {} } }) });
      },
      /one contract/,
    ],
  ];
  for (const [name, make, message] of rows) {
    it(name, () => {
      assert.throws(make, (error) => {
        assert.ok(error instanceof TypeError);
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it("but may name methods that the class inherits from another hub", async () => {
    class BaseHub extends Hub {
      inherited() {
        return "inherited";
      }
    }
    class DerivedHub extends BaseHub {}
    const contract = defineContract({ server: { inherited: {} } });
    assert.deepEqual(await clientOf(DerivedHub, { contract }).invoke("inherited"), {
      result: "inherited",
    });
  });
});

/** What the compiler must refuse; nothing of it runs. */
export function types(): void {
  type Client = ClientOf<typeof withZod>;
  const client = {} as Client;
  const news: (text: string) => void = client.news;
  const question: (text: string) => number = client.question;
  // @ts-expect-error The argument is a string.
  client.news(5);
  // @ts-expect-error There is no such method.
  client.unknown();

  class Wrong extends Hub<Client> {
    async run() {
      await this.clients.all.news("text");
      const answer: number = await this.clients.caller.invoke().question("?");
      // @ts-expect-error Sets of clients give no results.
      this.clients.all.invoke();
      // @ts-expect-error Not the contract's argument.
      await this.clients.all.news(5);
      // @ts-expect-error Not the contract's result.
      const text: string = await this.clients.caller.invoke().question("?");
      // @ts-expect-error No such client method.
      await this.clients.group("g").unknown();
      return [answer, text];
    }
  }

  type Server = ServerOf<typeof withValibot>;
  const add: (a: number, b: number) => number | Promise<number> = ({} as Server).add;
  type SumArguments = Parameters<Server["sum"]>;
  const sum: SumArguments = [{} as AsyncIterable<number>, 1];
  // @ts-expect-error Uploads are async iterables.
  const badSum: SumArguments = [1, 1];
  const count: AsyncIterable<number> | ReadableStream<number> = ({} as Server).count(3);
  class Bad implements Pick<Server, "add"> {
    // @ts-expect-error It takes numbers.
    add(a: string, _b: number) {
      return a;
    }
  }
  void [news, question, Wrong, add, sum, badSum, count, Bad];
}
