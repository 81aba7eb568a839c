import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { messagePack } from "halyard/messagepack";
import { Deferred } from "#dist/deferred.js";
import type { HubConnection } from "#dist/hub/hub-connection.js";
import type { HubHandler } from "#dist/hub/hub-handler.js";
import { Hub, HubError, hubContext, json } from "#dist/hub/index.js";
import type { HubProtocol } from "#dist/hub-protocol/hub-protocol.js";
import { MessageType } from "#dist/hub-protocol/messages.js";
import {
  type Brief,
  clientOf,
  closing,
  FakeClient,
  handlerOf,
  turns,
} from "../support/fake-connection.js";
import { until } from "../support/network.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** What clients of these tests can be called with. */
interface Listener {
  news(...args: unknown[]): void;
  question(...args: unknown[]): unknown;
}

/** A protocol that counts what it encodes. */
function counting(protocol: HubProtocol): HubProtocol & { encoded: number } {
  return {
    name: protocol.name,
    transferFormat: protocol.transferFormat,
    encoded: 0,
    parse: (input, limit) => protocol.parse(input, limit),
    encode(message, out) {
      this.encoded++;
      protocol.encode(message, out);
    },
  };
}

describe("who gets a message", () => {
  /** Runs `run` with the hub of the client "a", whose user is "ada". */
  async function room(run: (hub: Hub<Listener>, handler: HubHandler) => unknown) {
    class RoomHub extends Hub<Listener> {
      async run() {
        await run(this, handler);
        return "done";
      }
    }
    const handler = handlerOf(RoomHub);
    const users: Record<string, string> = { a: "ada", b: "bob", c: "ada", d: "Ada" };
    const clients = Object.entries(users).map(
      ([id, userId]) => new FakeClient(handler, { id: `${id}-${Math.random()}`, userId }),
    );
    const [a, b, c, d] = clients.map(({ id }) => id) as [string, string, string, string];
    const { manager } = handler;
    await turns();
    for (const id of [a, b]) manager.addToGroup(id, "g");
    for (const id of [b, c]) manager.addToGroup(id, "h");
    manager.addToGroup(d, "G");
    const [caller] = clients as [FakeClient];
    const id = caller.call("run");
    await until(() => caller.connection.sent.length > 1, "an answer");
    await turns();
    const heard = clients.map((client) => client.take().filter((each) => "call" in each).length);
    for (const client of clients) client.end();
    return { heard: heard.join(" "), id };
  }
  const idOf = (handler: HubHandler, name: string) =>
    [...handler.manager.connections.keys()].find((id) => id.startsWith(`${name}-`)) as string;
  const ids = (handler: HubHandler, ...names: string[]) =>
    names.map((name) => (name === "x" ? "nobody" : idOf(handler, name)));

  // How often each of a, b, c and d was called.
  const rows: [name: string, run: (hub: Hub<Listener>, handler: HubHandler) => unknown, string][] =
    [
      ["all", (hub) => hub.clients.all.news(), "1 1 1 1"],
      ["caller", (hub) => hub.clients.caller.news(), "1 0 0 0"],
      ["others", (hub) => hub.clients.others.news(), "0 1 1 1"],
      ["allExcept", (hub, h) => hub.clients.allExcept(ids(h, "b", "x")).news(), "1 0 1 1"],
      ["allExcept nobody", (hub) => hub.clients.allExcept([]).news(), "1 1 1 1"],
      ["client", (hub, h) => hub.clients.client(idOf(h, "b")).news(), "0 1 0 0"],
      ["an unknown client", (hub) => hub.clients.client("nobody").news(), "0 0 0 0"],
      ["clients", (hub, h) => hub.clients.clients(ids(h, "b", "d", "x")).news(), "0 1 0 1"],
      ["a client named twice", (hub, h) => hub.clients.clients(ids(h, "b", "b")).news(), "0 1 0 0"],
      ["no clients", (hub) => hub.clients.clients([]).news(), "0 0 0 0"],
      ["group", (hub) => hub.clients.group("g").news(), "1 1 0 0"],
      ["a group in another case", (hub) => hub.clients.group("G").news(), "0 0 0 1"],
      ["an unknown group", (hub) => hub.clients.group("__proto__").news(), "0 0 0 0"],
      [
        "groups, one client in both",
        (hub) => hub.clients.groups(["g", "h", "x"]).news(),
        "1 2 1 0",
      ],
      ["groupExcept", (hub, h) => hub.clients.groupExcept("g", ids(h, "b")).news(), "1 0 0 0"],
      ["othersInGroup", (hub) => hub.clients.othersInGroup("g").news(), "0 1 0 0"],
      [
        "othersInGroup without the caller",
        (hub) => hub.clients.othersInGroup("h").news(),
        "0 1 1 0",
      ],
      ["user", (hub) => hub.clients.user("ada").news(), "1 0 1 0"],
      ["a user in another case", (hub) => hub.clients.user("Ada").news(), "0 0 0 1"],
      ["an unknown user", (hub) => hub.clients.user("constructor").news(), "0 0 0 0"],
      ["users", (hub) => hub.clients.users(["ada", "bob", "x"]).news(), "1 1 1 0"],
      ["a user named twice", (hub) => hub.clients.users(["ada", "ada"]).news(), "1 0 1 0"],
      [
        "a group after leaving it",
        async (hub) => {
          await hub.groups.remove(hub.context.connectionId, "g");
          await hub.groups.remove(hub.context.connectionId, "g");
          await hub.clients.group("g").news();
        },
        "0 1 0 0",
      ],
      [
        "a group entered twice",
        async (hub) => {
          await hub.groups.add(hub.context.connectionId, "h");
          await hub.groups.add(hub.context.connectionId, "h");
          await hub.clients.group("h").news();
        },
        "1 1 1 0",
      ],
      [
        "a group that an unknown client entered",
        async (hub) => {
          await hub.groups.add("nobody", "new");
          await hub.groups.remove("nobody", "new");
          await hub.clients.group("new").news();
        },
        "0 0 0 0",
      ],
    ];
  for (const [name, run, heard] of rows) {
    it(name, async () => {
      assert.equal((await room(run)).heard, heard);
    });
  }

  it("nobody, by an empty group name", async () => {
    await room(async (hub) => {
      for (const send of [
        () => hub.clients.group("").news(),
        () => hub.clients.groups(["g", ""]).news(),
        () => hub.clients.groupExcept("", []).news(),
        () => hub.groups.add(hub.context.connectionId, ""),
      ]) {
        await assert.rejects(send(), /Cannot send to an empty group name\./);
      }
    });
  });

  it("nobody who has left", async () => {
    class LeavingHub extends Hub<Listener> {}
    const handler = handlerOf(LeavingHub);
    const client = new FakeClient(handler, { userId: "ada" });
    await turns();
    handler.manager.addToGroup(client.id, "g");
    client.end();
    await client.hub.done;
    const { clients } = hubContext(LeavingHub);
    const { length } = client.connection.sent;
    await clients.all.news();
    await clients.group("g").news();
    await clients.user("ada").news();
    await clients.client(client.id).news();
    assert.equal(client.connection.sent.length, length);
  });

  it("is no member of more groups than allowed", async () => {
    class GroupHub extends Hub {}
    const client = clientOf(GroupHub, { maximumGroupsPerConnection: 3 });
    await turns();
    const { groups } = hubContext(GroupHub);
    for (const name of ["a", "b", "c", "a"]) await groups.add(client.id, name);
    await assert.rejects(groups.add(client.id, "d"), { code: "ERR_TOO_MANY_GROUPS" });
    await groups.remove(client.id, "b");
    await groups.add(client.id, "d");
  });
});

describe("a broadcast", () => {
  it("is encoded once per protocol, and its bytes are shared", async () => {
    const protocols = [counting(json()), counting(messagePack())] as const;
    class NewsHub extends Hub<Listener> {}
    const handler = handlerOf(NewsHub, { supportedProtocols: protocols });
    const clients = Array.from(
      { length: 20 },
      (_, i) => new FakeClient(handler, { protocol: protocols[i % 2] as HubProtocol }),
    );
    await turns();
    for (const protocol of protocols) protocol.encoded = 0;
    await hubContext(NewsHub).clients.all.news({ text: "ä" });
    assert.deepEqual(
      protocols.map(({ encoded }) => encoded),
      [1, 1],
    );
    const shared = new Set(clients.map(({ connection }) => connection.sent.at(-1)?.shared));
    assert.equal(shared.size, 2);
    for (const client of clients) {
      assert.deepEqual(client.take(), [{ call: "news", args: [{ text: "ä" }] }]);
    }
  });

  it("stays in order with what is sent to one", async () => {
    class NewsHub extends Hub<Listener> {
      async mixed() {
        void this.clients.caller.news(1);
        void this.clients.all.news(2);
        void this.clients.caller.news(3);
        void this.clients.all.news(4);
        return 5;
      }
    }
    const client = clientOf(NewsHub);
    const id = client.call("mixed");
    assert.deepEqual(await client.nextFew(5), [
      ...[1, 2, 3, 4].map((n) => ({ call: "news", args: [n] })),
      { id, result: 5 },
    ]);
  });

  it("reaches clients before their own handshake's answer never", async () => {
    class NewsHub extends Hub<Listener> {}
    const handler = handlerOf(NewsHub);
    const client = new FakeClient(handler, { shakesHands: false });
    await hubContext(NewsHub).clients.all.news(1);
    assert.deepEqual(client.connection.sent, []);
    client.shakeHands();
    await hubContext(NewsHub).clients.all.news(2);
    assert.equal(client.handshake, "");
    assert.deepEqual(client.take(), [{ call: "news", args: [2] }]);
  });

  it("that one protocol cannot encode reaches the others, and rejects", async () => {
    class NewsHub extends Hub<Listener> {}
    const protocols = [messagePack(), json()];
    const handler = handlerOf(NewsHub, { supportedProtocols: protocols });
    const clients = [...protocols, ...protocols].map(
      (protocol) => new FakeClient(handler, { protocol }),
    );
    await turns();
    await assert.rejects(
      hubContext(NewsHub).clients.all.news(() => {}),
      TypeError,
    );
    assert.deepEqual(
      clients.map((client) => client.take().length),
      [0, 1, 0, 1],
    );
  });

  it("that nobody can encode rejects, and the connections live on", async () => {
    class NewsHub extends Hub<Listener> {
      async cycle() {
        const value: Record<string, unknown> = {};
        value.self = value;
        // One that is not awaited must not end the process.
        void this.clients.all.news(value);
        void this.clients.caller.news(value);
        await this.clients.all.news(value);
      }
    }
    for (const protocol of [json(), messagePack()]) {
      const client = clientOf(NewsHub, {}, { protocol });
      assert.deepEqual(await client.invoke("cycle"), {
        error: "An unexpected error occurred invoking 'cycle' on the server.",
      });
      await client.hearsNothing();
      client.end();
    }
  });

  it("waits for no slow client", async () => {
    class NewsHub extends Hub<Listener> {}
    const handler = handlerOf(NewsHub);
    const slow = new FakeClient(handler);
    const fast = new FakeClient(handler);
    await turns();
    slow.connection.bufferedBytes = 500_000;
    await hubContext(NewsHub).clients.all.news(1);
    assert.deepEqual(fast.take(), [{ call: "news", args: [1] }]);
    assert.deepEqual(slow.take(), []);
    slow.drain();
    assert.deepEqual(slow.take(), [{ call: "news", args: [1] }]);
  });
});

describe("the hub's context from outside", () => {
  it("knows the connections of a class at all its paths, and of no other class", async () => {
    class OneHub extends Hub<Listener> {}
    class OtherHub extends Hub<Listener> {}
    const clients = [
      clientOf(OneHub),
      clientOf(OneHub, { enableDetailedErrors: true }),
      clientOf(OtherHub),
    ] as const;
    await turns();
    const context = hubContext(OneHub);
    assert.deepEqual([...context.connectionIds].sort(), [clients[0].id, clients[1].id].sort());
    await context.clients.all.news("one");
    assert.deepEqual(
      clients.map((client) => client.take().length),
      [1, 1, 0],
    );
  });

  it("works before and after there is anybody", async () => {
    class EmptyHub extends Hub<Listener> {}
    const context = hubContext(EmptyHub);
    await context.clients.all.news(1);
    await context.groups.add("nobody", "g");
    assert.deepEqual(context.connectionIds, []);
    assert.equal(context.disconnect("nobody"), false);
  });

  it("disconnects a client", async () => {
    class KickHub extends Hub<Listener> {}
    const handler = handlerOf(KickHub);
    const clients = [new FakeClient(handler), new FakeClient(handler)] as const;
    await turns();
    const context = hubContext(KickHub);
    assert.equal(context.disconnect(clients[0].id, { error: "Bye.", allowReconnect: true }), true);
    assert.deepEqual(await clients[0].untilEnded(), [closing("Bye.", true)]);
    assert.deepEqual(context.connectionIds, [clients[1].id]);
    assert.equal(context.disconnect(clients[1].id), true);
    assert.deepEqual(await clients[1].untilEnded(), [closing()]);
  });

  it("does not remember every name that was ever called", () => {
    class RelayHub extends Hub {}
    const { all } = hubContext(RelayHub).clients;
    const first = all.name0;
    assert.equal(all.name0, first);
    for (let n = 1; n < 2_000; n++) void all[`name${n}`];
    assert.notEqual(all.name0, first);
  });

  it("is no promise, and gives no properties of objects", async () => {
    class ProxyHub extends Hub<Listener> {}
    const { all } = hubContext(ProxyHub).clients;
    assert.equal(await all, all);
    const odd = all as unknown as Record<PropertyKey, unknown>;
    assert.equal(odd[Symbol.iterator], undefined);
    assert.equal(typeof odd.toString, "function");
    const client = clientOf(ProxyHub);
    await turns();
    await (odd.toString as unknown as () => Promise<void>)();
    assert.deepEqual(client.take(), [{ call: "toString", args: [] }]);
  });
});

describe("results of clients", () => {
  class AskingHub extends Hub<Listener> {
    static outcomes: unknown[] = [];
    async ask(...args: unknown[]) {
      return this.clients.caller.invoke().question(...args);
    }
    async askOther(id: string) {
      return this.clients.client(id).invoke().question();
    }
    async askWithLimit(timeout: number) {
      return this.clients.caller.invoke({ timeout }).question();
    }
  }
  const context = hubContext(AskingHub);
  const detailed = { enableDetailedErrors: true };
  const failed = (method: string) =>
    `An unexpected error occurred invoking '${method}' on the server.`;

  for (const protocol of [json(), messagePack()]) {
    const outcomes: [
      name: string,
      completion: { error?: string; result?: unknown },
      answer: Brief,
    ][] = [
      ["a result", { result: { n: 1 } }, { result: { n: 1 } }],
      ["null", { result: null }, { result: null }],
      ["an error", { error: "No." }, { error: `${failed("ask")} HubException: No.` }],
      ["nothing", {}, { error: `${failed("ask")} HubException: Client didn't provide a result.` }],
    ];
    for (const [name, outcome, answer] of outcomes) {
      it(`come over ${protocol.name}: ${name}`, async () => {
        const client = clientOf(AskingHub, {}, { protocol });
        const id = client.call("ask", 1, 2);
        const question = await client.next();
        assert.deepEqual({ ...question, id: 0 }, { call: "question", args: [1, 2], id: 0 });
        client.complete(question.id as string, outcome);
        assert.deepEqual(await client.next(), { id, ...answer });
        // Once more is once too often, and of no consequence.
        client.complete(question.id as string, outcome);
        await client.hearsNothing();
        assert.equal(client.hub.isOpen, true);
        client.end();
      });
    }
  }

  it("leave no timers behind", async () => {
    const timers = () =>
      process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const client = clientOf(AskingHub);
    await turns();
    const earlier = timers();
    const { question } = context.clients.client(client.id).invoke();
    const answers = [question(), question(), question()];
    assert.equal(timers(), earlier + 3);
    for (const { id } of await client.nextFew(3)) client.complete(id as string, { result: 1 });
    await Promise.all(answers);
    assert.equal(timers(), earlier);
    client.end();
  });

  it("in another order than asked, and to somebody outside of hubs", async () => {
    const client = clientOf(AskingHub);
    await turns();
    const { question } = context.clients.client(client.id).invoke();
    const answers = [question("a"), question("b"), question("c")];
    const asked = await client.nextFew(3);
    assert.equal(new Set(asked.map(({ id }) => id)).size, 3);
    for (const { id, args } of asked.reverse()) {
      client.complete(id as string, { result: (args as string[])[0] });
    }
    assert.deepEqual(await Promise.all(answers), ["a", "b", "c"]);
    client.end();
  });

  it("never from a client that does not exist", async () => {
    const client = clientOf(AskingHub, detailed);
    assert.deepEqual(await client.invoke("askOther", "nobody"), {
      error: `${failed("askOther")} IOException: Connection 'nobody' does not exist.`,
    });
    await assert.rejects(context.clients.client("nobody").invoke().question(), {
      code: "ERR_CLIENT_NOT_CONNECTED",
      message: "Connection 'nobody' does not exist.",
    });
    client.end();
  });

  it("never from a client that leaves", async () => {
    for (const leave of [
      (client: FakeClient) => client.end({ cause: "lost" }),
      (client: FakeClient) => client.close(),
      (client: FakeClient) => client.write("no JSON\x1e"),
      (client: FakeClient) => client.hub.disconnect({}),
    ]) {
      const other = clientOf(AskingHub);
      const caller = clientOf(AskingHub, detailed);
      await turns();
      const id = caller.call("askOther", other.id);
      assert.equal((await other.next()).call, "question");
      leave(other);
      assert.deepEqual(await caller.next(), {
        id,
        error: `${failed("askOther")} IOException: Connection '${other.id}' disconnected.`,
      });
      caller.end();
    }
  });

  it("never while onDisconnected runs, however long that takes", async () => {
    const outcomes: unknown[] = [];
    class LeavingHub extends Hub<Listener> {
      async ask() {
        await this.clients.caller
          .invoke()
          .question()
          .catch((error) => outcomes.push(error));
        asked.resolve();
      }
      override async onDisconnected() {
        // Waits for what waits for the client.
        await asked.promise;
        await this.clients.caller
          .invoke()
          .question()
          .catch((error) => outcomes.push(error));
      }
    }
    const asked = new Deferred<void>();
    const client = clientOf(LeavingHub, { clientResultTimeout: 0 });
    client.call("ask");
    await client.next();
    client.end({ cause: "lost" });
    await until(() => outcomes.length === 2, "both errors");
    await client.hub.done;
    for (const error of outcomes) {
      assert.equal((error as Error).message, `Connection '${client.id}' disconnected.`);
      assert.equal((error as { code?: string }).code, "ERR_CLIENT_DISCONNECTED");
    }
  });

  it("not in onConnected, where nobody can answer yet", async () => {
    class EagerHub extends Hub<Listener> {
      override async onConnected() {
        await this.clients.caller.invoke().question();
      }
    }
    const client = clientOf(EagerHub, detailed);
    assert.deepEqual(await client.untilEnded(), [
      closing(
        "Connection closed with an error. InvalidOperationException: Client results inside OnConnectedAsync Hub methods are not allowed.",
      ),
    ]);
  });

  it("within a time limit", async () => {
    const client = clientOf(AskingHub, detailed);
    const id = client.call("askWithLimit", 10);
    const question = await client.next();
    const answer = await client.next();
    assert.deepEqual(answer, {
      id,
      error: `${failed("askWithLimit")} HubException: The client did not answer 'question' within 10 ms.`,
    });
    client.complete(question.id as string, { result: "late" });
    await client.hearsNothing();
    assert.equal(client.hub.isOpen, true);
    client.end();
  });

  it("within the hub's time limit, unless the call has its own", async () => {
    const client = clientOf(AskingHub, { clientResultTimeout: 10 });
    await turns();
    const one = context.clients.client(client.id);
    const patient = one.invoke({ timeout: 0 }).question();
    const endless = one.invoke({ timeout: Infinity }).question();
    await assert.rejects(one.invoke().question(), { code: "ERR_CLIENT_RESULT_TIMEOUT" });
    const [first, second] = await client.nextFew(3);
    client.complete(first?.id as string, { result: 1 });
    client.complete(second?.id as string, { result: 2 });
    assert.deepEqual(await Promise.all([patient, endless]), [1, 2]);
    client.end();
  });

  it("until a signal gives them up", async () => {
    const client = clientOf(AskingHub);
    await turns();
    const expected = {
      name: "HubError",
      code: "ERR_CLIENT_RESULT_CANCELED",
      message: "Invocation canceled by the server.",
    };
    const controller = new AbortController();
    const { signal } = controller;
    const result = context.clients.client(client.id).invoke({ signal }).question();
    await client.next();
    controller.abort();
    await assert.rejects(result, expected);
    await assert.rejects(context.clients.client(client.id).invoke({ signal }).question(), expected);
    await client.hearsNothing();
    client.end();
  });

  it("from nobody else, who is disconnected for it", async () => {
    const client = clientOf(AskingHub);
    const stranger = clientOf(AskingHub, detailed);
    await turns();
    const result = context.clients.client(client.id).invoke().question();
    const { id } = await client.next();
    stranger.complete(id as string, { result: "mine" });
    const text = `Connection ID '${stranger.id}' is not valid for invocation ID '${id}'.`;
    assert.deepEqual(await stranger.untilEnded(), [
      closing(`Connection closed with an error. InvalidDataException: ${text}`, true),
    ]);
    client.complete(id as string, { result: "yours" });
    assert.equal(await result, "yours");
    client.end();
  });

  it("that nobody waits for do not end the process", async () => {
    const client = clientOf(AskingHub, { clientResultTimeout: 5 });
    await turns();
    const one = context.clients.client(client.id);
    void one.invoke().question();
    void one.invoke().question(() => {});
    void context.clients.client("nobody").invoke().question();
    await client.next();
    await new Promise((resolve) => setTimeout(resolve, 10));
    void one.invoke({ timeout: 0 }).question();
    await client.next();
    client.end();
    await client.hub.done;
    await turns();
  });

  it("are a limited number at a time", async () => {
    const client = clientOf(AskingHub, { maximumStreamsPerClient: 5 });
    await turns();
    const one = context.clients.client(client.id);
    const results = Array.from({ length: 5 }, () => one.invoke().question());
    await assert.rejects(one.invoke().question(), { code: "ERR_TOO_MANY_RESULTS" });
    const questions = await client.nextFew(5);
    for (const { id } of questions) client.complete(id as string, { result: 1 });
    await Promise.all(results);
    const again = one.invoke().question();
    client.complete((await client.next()).id as string, { result: 2 });
    assert.equal(await again, 2);
    client.end();
  });

  it("that cannot be read fail, and the client stays", async () => {
    const client = clientOf(AskingHub, {}, { protocol: messagePack() });
    await turns();
    const result = context.clients.client(client.id).invoke().question();
    const { id } = await client.next();
    const name = Buffer.from(id as string);
    client.write(
      Buffer.from([6 + name.length, 0x95, 3, 0x80, 0xa0 + name.length, ...name, 3, 0xc1]),
    );
    await assert.rejects(result, (error) => {
      assert.ok(error instanceof HubError);
      assert.match(error.message, /^Error trying to deserialize result/);
      return true;
    });
    assert.equal(client.hub.isOpen, true);
    client.end();
  });

  it("to a question that could not be sent fail at once, and are not counted", async () => {
    const client = clientOf(AskingHub, { maximumStreamsPerClient: 2 });
    await turns();
    const one = context.clients.client(client.id);
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    for (let i = 0; i < 5; i++) await assert.rejects(one.invoke().question(cycle), TypeError);
    await client.hearsNothing();
    client.end();
  });

  it("meet ids of uploads only in their own client", async () => {
    class UploadHub extends Hub<Listener> {
      async both(items: AsyncIterable<unknown>) {
        const all: unknown[] = [];
        for await (const item of items) all.push(item);
        return all;
      }
    }
    const client = clientOf(UploadHub);
    client.send({
      type: MessageType.invocation,
      invocationId: "1",
      target: "both",
      arguments: [],
      streamIds: ["s1"],
    });
    await turns();
    const result = hubContext(UploadHub)
      .clients.client(client.id)
      .invoke({ timeout: 20 })
      .question();
    const { id } = await client.next();
    assert.equal(id, "s1");
    client.item("s1", 1);
    client.complete("s1", { result: "for whom?" });
    assert.deepEqual(await client.next(), { id: "1", result: [1] });
    await assert.rejects(result, { code: "ERR_CLIENT_RESULT_TIMEOUT" });
    client.end();
  });
});

describe("memory", () => {
  it("holds nothing of thousands of connections that came and went", async () => {
    class BusyHub extends Hub<Listener> {
      override async onConnected() {
        await this.groups.add(this.context.connectionId, `group ${this.context.userId}`);
        this.context.items.set("a", 1);
      }
      echo(value: unknown) {
        return value;
      }
      async *stream() {
        yield 1;
        await new Promise<void>((resolve) =>
          this.signal.addEventListener("abort", () => resolve()),
        );
      }
      async upload(items: AsyncIterable<unknown>) {
        for await (const _ of items);
      }
    }
    const handler = handlerOf(BusyHub, { rateLimits: { user: { perSecond: 1e9 } } });
    const ended: WeakRef<HubConnection>[] = [];
    const open = async () => {
      const clients = Array.from(
        { length: 250 },
        (_, i) =>
          new FakeClient(handler, { userId: `user ${i % 7}`, allowsReconnect: i % 2 === 0 }),
      );
      await turns(3);
      for (const [i, client] of clients.entries()) {
        client.call("echo", i);
        client.stream("stream");
        client.send({
          type: MessageType.invocation,
          target: "upload",
          arguments: [],
          streamIds: ["u"],
        });
        client.item("u", 1);
      }
      void hubContext(BusyHub).clients.all.news("x");
      void hubContext(BusyHub)
        .clients.client(clients[0]?.id ?? "")
        .invoke()
        .question();
      await turns(3);
      assert.equal(handler.manager.connections.size, clients.length);
      for (const [i, client] of clients.entries()) {
        if (i % 3 === 0) client.close();
        if (i % 3 === 1) client.write("no JSON\x1e");
        client.end({ cause: "lost" });
        ended.push(new WeakRef(client.hub));
      }
      await Promise.all(clients.map((client) => client.hub.done));
      await turns(3);
    };
    for (let round = 0; round < 12; round++) await open();
    assert.equal(ended.length, 3_000);
    assert.equal(handler.manager.connections.size, 0);
    assert.equal(handler.kept.bytes, 0);
    await until(() => {
      collectGarbage();
      return ended.every((each) => each.deref() === undefined);
    }, "nobody to hold a connection any more");
  });
});
