import assert from "node:assert/strict";
import {
  type Case,
  type Group,
  hasObserved,
  observed,
  openDoor,
  type Scene,
  uniqueName,
} from "../case.js";
import type { ProtocolName } from "../clients.js";
import { openHub } from "../hub-peer.js";
import { errorNames, named } from "./errors.js";

const protocols: readonly ProtocolName[] = ["json", "messagepack"];

/** The same case in both protocols. */
function both(
  title: string,
  run: (scene: Scene, protocol: ProtocolName) => Promise<void>,
  rest: Partial<Case> = {},
): Case[] {
  return protocols.map((protocol) => ({
    ...rest,
    title: `${title}, ${protocol}`,
    run: (scene) => run(scene, protocol),
  }));
}

const failed = "An error occurred on the server while streaming results.";

const downCases: readonly Case[] = [
  ...["Count", "CountByChannel"].flatMap((method) =>
    both(`${method}: items and a completion`, async (scene, protocol) => {
      const peer = await openHub(scene, "/wire", { protocol });
      const invocationId = peer.startStream(method, 3);
      await peer.expect(
        { type: 2, invocationId, item: 0 },
        { type: 2, invocationId, item: 1 },
        { type: 2, invocationId, item: 2 },
        { type: 3, invocationId },
      );
      await peer.isAlive();
    }),
  ),
  ...both("no items", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    const invocationId = peer.startStream("Count", 0);
    await peer.expect({ type: 3, invocationId });
  }),
  ...both("a failure after items", async (scene, protocol) => {
    for (const [path, isForCaller, detail] of [
      ["/wire", false, " InvalidOperationException: broken"],
      ["/wire", true, " HubException: broken"],
      ["/quiet", false, ""],
      ["/quiet", true, " HubException: broken"],
    ] as const) {
      const peer = await openHub(scene, path, { protocol });
      const invocationId = peer.startStream("FailAfter", 1, "broken", isForCaller);
      await peer.expect(
        { type: 2, invocationId, item: 0 },
        { type: 3, invocationId, error: `${failed}${detail}` },
      );
    }
  }),
  ...both("a cancel ends the method, then comes one completion", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    const invocationId = peer.startStream("Endless");
    await peer.expect({ type: 2, invocationId, item: "first" });
    peer.sendMessage({ type: 5, invocationId });
    await peer.expect({ type: 3, invocationId });
    await observed(scene, peer.connectionId, "stream canceled");
    peer.sendMessage({ type: 5, invocationId });
    await peer.isAlive();
  }),
  {
    title: "the end of the connection cancels",
    async run(scene) {
      for (const leave of ["close", "terminate"] as const) {
        const peer = await openHub(scene);
        const invocationId = peer.startStream("Endless");
        await peer.expect({ type: 2, invocationId, item: "first" });
        peer.socket[leave]();
        await observed(scene, peer.connectionId, "stream canceled");
        await observed(scene, peer.connectionId, "disconnected");
      }
    },
  },
  {
    title: "an id that is in use",
    async run(scene) {
      const peer = await openHub(scene);
      const first = { type: 4, invocationId: "9", target: "Endless", arguments: [] };
      peer.sendMessage(first);
      await peer.expect({ type: 2, invocationId: "9", item: "first" });
      peer.sendMessage(first);
      await peer.expect({
        type: 3,
        invocationId: "9",
        error: "Invocation ID '9' is already in use.",
      });
      await peer.isAlive();
    },
  },
  {
    title: "an id that is free again",
    async run(scene) {
      const peer = await openHub(scene);
      for (const _ of [1, 2]) {
        peer.sendMessage({ type: 4, invocationId: "9", target: "Count", arguments: [1] });
        await peer.expect({ type: 2, invocationId: "9", item: 0 }, { type: 3, invocationId: "9" });
      }
    },
  },
  {
    title: "several at once do not mix",
    async run(scene) {
      const peer = await openHub(scene);
      const ids = [1, 2, 3].map(() => peer.startStream("Count", 20));
      const seen = new Map<unknown, unknown[]>(ids.map((id) => [id, []]));
      for (let open = ids.length; open > 0; ) {
        const { type, invocationId, item } = await peer.next();
        seen.get(invocationId)?.push(type === 2 ? item : "end");
        if (type === 3) open--;
      }
      const expected = [...Array.from({ length: 20 }, (_, index) => index), "end"];
      for (const id of ids) assert.deepEqual(seen.get(id), expected);
    },
  },
];

const upCases: readonly Case[] = [
  ...both("items and an end", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    peer.sendMessage({
      type: 1,
      invocationId: "1",
      target: "Sum",
      arguments: [],
      streamIds: ["s"],
    });
    for (const item of [1, 2, 3]) peer.sendMessage({ type: 2, invocationId: "s", item });
    peer.sendMessage({ type: 3, invocationId: "s" });
    await peer.expect({ type: 3, invocationId: "1", result: 6 });
  }),
  ...both("more items than the stream holds", async (scene, protocol) => {
    const peer = await openHub(scene, "/small-stream", { protocol });
    peer.sendMessage({
      type: 1,
      invocationId: "1",
      target: "Sum",
      arguments: [],
      streamIds: ["s"],
    });
    for (let item = 1; item <= 100; item++) peer.sendMessage({ type: 2, invocationId: "s", item });
    peer.sendMessage({ type: 3, invocationId: "s" });
    await peer.expect({ type: 3, invocationId: "1", result: 5050 });
  }),
  ...both("two streams and an argument", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    peer.sendMessage({
      type: 1,
      invocationId: "1",
      target: "Join2",
      arguments: ["-"],
      streamIds: ["left", "right"],
    });
    peer.sendMessage(
      { type: 2, invocationId: "right", item: "c" },
      { type: 2, invocationId: "left", item: "a" },
      { type: 3, invocationId: "right" },
      { type: 2, invocationId: "left", item: "b" },
      { type: 3, invocationId: "left" },
    );
    await peer.expect({ type: 3, invocationId: "1", result: "a-b-c" });
  }),
  ...both("up and down at once", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    peer.sendMessage({
      type: 4,
      invocationId: "1",
      target: "Shout",
      arguments: [],
      streamIds: ["s"],
    });
    for (const item of ["a", "b"]) {
      peer.sendMessage({ type: 2, invocationId: "s", item });
      await peer.expect({ type: 2, invocationId: "1", item: item.toUpperCase() });
    }
    peer.sendMessage({ type: 3, invocationId: "s" });
    await peer.expect({ type: 3, invocationId: "1" });
  }),
  ...both("an end with an error", async (scene, protocol) => {
    const peer = await openHub(scene, "/quiet", { protocol });
    peer.sendMessage(
      { type: 1, invocationId: "1", target: "ObserveUpload", arguments: [], streamIds: ["s"] },
      { type: 2, invocationId: "s", item: "a" },
      { type: 3, invocationId: "s", error: "no more" },
    );
    await peer.expect({
      type: 3,
      invocationId: "1",
      error:
        "An unexpected error occurred invoking 'ObserveUpload' on the server. HubException: no more",
    });
    assert.equal(
      await observed(scene, peer.connectionId, "upload failed"),
      "upload failed HubException: no more",
    );
  }),
  ...both("an end with a result is an end", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    peer.sendMessage(
      { type: 1, invocationId: "1", target: "Sum", arguments: [], streamIds: ["s"] },
      { type: 2, invocationId: "s", item: 5 },
      { type: 3, invocationId: "s", result: 100 },
    );
    await peer.expect({ type: 3, invocationId: "1", result: 5 });
  }),
  ...both("an item of another type ends the stream with an error", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    peer.sendMessage(
      { type: 1, invocationId: "1", target: "Sum", arguments: [], streamIds: ["s"] },
      { type: 2, invocationId: "s", item: "five" },
    );
    const { error, ...rest } = await peer.next();
    assert.deepEqual(rest, { type: 3, invocationId: "1" });
    assert.match(
      String(error),
      /^An unexpected error occurred invoking 'Sum' on the server\. HubException: Failed to bind Stream message\./,
    );
    await peer.isAlive();
  }),
  {
    title: "items and ends for nobody",
    async run(scene) {
      const peer = await openHub(scene);
      peer.sendMessage(
        { type: 2, invocationId: "nobody", item: 1 },
        { type: 3, invocationId: "nobody" },
        { type: 3, invocationId: "nobody", error: "x" },
      );
      await peer.isAlive();
    },
  },
  {
    title: "items after the method has returned",
    async run(scene) {
      const peer = await openHub(scene, "/small-stream");
      peer.sendMessage({
        type: 1,
        invocationId: "1",
        target: "FirstOnly",
        arguments: [],
        streamIds: ["s"],
      });
      await peer.expect({ type: 3, invocationId: "1", result: "returned early" });
      for (let item = 0; item < 20; item++) {
        peer.sendMessage({ type: 2, invocationId: "s", item: String(item) });
      }
      peer.sendMessage({ type: 3, invocationId: "s" });
      await peer.isAlive();
    },
  },
  {
    title: "the wrong number of streams",
    async run(scene) {
      const peer = await openHub(scene);
      for (const [target, args, streamIds, wanted] of [
        ["Sum", [], ["a", "b"], 1],
        ["Join2", ["-"], ["a"], 2],
        ["Echo", ["x"], ["a"], 0],
      ] as const) {
        peer.sendMessage({ type: 1, invocationId: "1", target, arguments: args, streamIds });
        await peer.expect({
          type: 3,
          invocationId: "1",
          error: `An unexpected error occurred invoking '${target}' on the server. HubException: Client sent ${streamIds.length} stream(s), Hub method expects ${wanted}.`,
        });
      }
      await peer.isAlive();
    },
  },
  {
    title: "a full stream holds back what follows",
    async run(scene) {
      const peer = await openHub(scene, "/small-stream");
      const door = uniqueName();
      peer.sendMessage({
        type: 1,
        invocationId: "1",
        target: "SumBehindDoor",
        arguments: [door],
        streamIds: ["s"],
      });
      await observed(scene, peer.connectionId, `holding ${door}`);
      for (let item = 0; item < 4; item++) peer.sendMessage({ type: 2, invocationId: "s", item });
      peer.sendMessage({ type: 1, target: "Nothing", arguments: [] });
      peer.sendMessage({ type: 3, invocationId: "s" });
      // The stream holds two of the four: the call behind them is not read yet.
      assert.equal(await hasObserved(scene, peer.connectionId, "nothing", 500), false);
      await openDoor(scene, door);
      await peer.expect({ type: 3, invocationId: "1", result: 6 });
      await observed(scene, peer.connectionId, "nothing");
    },
  },
  {
    title: "the end of the connection fails an upload",
    async run(scene) {
      const peer = await openHub(scene);
      peer.sendMessage(
        { type: 1, target: "ObserveUpload", arguments: [], streamIds: ["s"] },
        { type: 2, invocationId: "s", item: "a" },
      );
      await observed(scene, peer.connectionId, "item a");
      peer.drop();
      assert.equal(
        await observed(scene, peer.connectionId, "upload failed"),
        "upload failed OperationCanceledException: The underlying connection was closed.",
      );
    },
  },
  {
    title: "without an id nothing is answered",
    async run(scene) {
      const peer = await openHub(scene);
      peer.sendMessage(
        { type: 1, target: "ObserveUpload", arguments: [], streamIds: ["s"] },
        { type: 2, invocationId: "s", item: "a" },
        { type: 3, invocationId: "s" },
      );
      await observed(scene, peer.connectionId, "upload done");
      await peer.isAlive();
    },
  },
];

// --- client results ---

const resultCases: readonly Case[] = [
  ...both("a value", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    const call = peer.start("AskCaller", "how many?");
    const { invocationId, ...question } = await peer.next();
    assert.deepEqual(question, { type: 1, target: "Question", arguments: ["how many?"] });
    assert.ok(typeof invocationId === "string" && invocationId !== "");
    peer.sendMessage({ type: 3, invocationId, result: 42 });
    await peer.expect({ type: 3, invocationId: call, result: "value 42" });
  }),
  ...both("an error", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    const call = peer.start("AskCaller", "x");
    const { invocationId } = await peer.next();
    peer.sendMessage({ type: 3, invocationId, error: "I won't say" });
    await peer.expect({ type: 3, invocationId: call, result: "HubException: I won't say" });
  }),
  ...both(
    "something else than was asked for",
    async (scene, protocol) => {
      const peer = await openHub(scene, "/wire", { protocol });
      const call = peer.start("AskCaller", "x");
      const { invocationId } = await peer.next();
      peer.sendMessage({ type: 3, invocationId, result: "many" });
      const { result, ...rest } = await peer.next();
      assert.deepEqual(rest, { type: 3, invocationId: call });
      const start = scene.expected({
        aspNetCore: "HubException: Error trying to deserialize result to Int32. ",
        halyard: "HubException: The client's result of 'Question': ",
      });
      assert.ok(String(result).startsWith(start), String(result));
      await peer.isAlive();
    },
    {
      differs: {
        situation: "A client's result is of another type than was asked for",
        aspNetCore: "`HubException: Error trying to deserialize result to Int32. …`",
        halyard:
          "Under a contract `HubError` with what the schema says; without one the hub gets what was sent",
        why: "JavaScript has no types at run time; a contract has.",
      },
    },
  ),
  ...both("no value", async (scene, protocol) => {
    const peer = await openHub(scene, "/wire", { protocol });
    const call = peer.start("AskCaller", "x");
    const { invocationId } = await peer.next();
    peer.sendMessage({ type: 3, invocationId });
    const { result, ...rest } = await peer.next();
    assert.deepEqual(rest, { type: 3, invocationId: call });
    assert.match(String(result), /^HubException: /);
  }),
  {
    title: "answers in another order",
    async run(scene) {
      const peer = await openHub(scene);
      const call = peer.start("AskCallerTwice");
      const questions = [await peer.next(), await peer.next()];
      assert.deepEqual(questions.flatMap((each) => each.arguments).sort(), ["one", "two"]);
      assert.notEqual(questions[0]?.invocationId, questions[1]?.invocationId);
      for (const { invocationId, arguments: args } of questions.reverse()) {
        const result = (args as string[])[0] === "one" ? 1 : 2;
        peer.sendMessage({ type: 3, invocationId, result });
      }
      await peer.expect({ type: 3, invocationId: call, result: [1, 2] });
    },
  },
  {
    title: "calls go on while the client is asked",
    async run(scene) {
      const peer = await openHub(scene);
      const call = peer.start("AskCaller", "x");
      const { invocationId } = await peer.next();
      await peer.isAlive();
      peer.sendMessage({ type: 3, invocationId, result: 1 });
      await peer.expect({ type: 3, invocationId: call, result: "value 1" });
    },
  },
  {
    title: "a client that is not there",
    async run(scene) {
      const peer = await openHub(scene);
      assert.equal(
        await peer.invoke("Ask", "nobody", "x"),
        "IOException: Connection 'nobody' does not exist.",
      );
    },
  },
  {
    title: "a client that goes",
    async run(scene) {
      const [asking, asked] = [await openHub(scene), await openHub(scene)];
      const call = asking.start("Ask", asked.connectionId, "x");
      await asked.next();
      asked.socket.close();
      await asking.expect({
        type: 3,
        invocationId: call,
        result: `IOException: Connection '${asked.connectionId}' disconnected.`,
      });
    },
  },
  {
    title: "a client that is too slow",
    async run(scene) {
      const peer = await openHub(scene);
      const call = peer.start("AskCallerWithin", 100);
      const { invocationId } = await peer.next();
      await peer.expect({
        type: 3,
        invocationId: call,
        result: "HubException: Invocation canceled by the server.",
      });
      peer.sendMessage({ type: 3, invocationId, result: 1 });
      await peer.isAlive();
    },
  },
  {
    title: "somebody else answers: he is closed",
    differs: errorNames,
    async run(scene) {
      const [asked, other] = [await openHub(scene), await openHub(scene)];
      const call = asked.start("AskCaller", "x");
      const { invocationId } = await asked.next();
      other.sendMessage({ type: 3, invocationId, result: 666 });
      const { error } = await other.expectClose();
      assert.equal(
        error,
        `Connection closed with an error. ${named(
          scene,
          "InvalidOperationException",
          `Connection ID '${other.connectionId}' is not valid for invocation ID '${invocationId}'.`,
        )}`,
      );
      asked.sendMessage({ type: 3, invocationId, result: 1 });
      await asked.expect({ type: 3, invocationId: call, result: "value 1" });
    },
  },
  {
    title: "asking inside OnConnected",
    async run(scene) {
      const peer = await openHub(scene, "/hasty");
      assert.deepEqual(await peer.expectClose(), {
        type: 7,
        error:
          "Connection closed with an error. InvalidOperationException: Client results inside OnConnectedAsync Hub methods are not allowed.",
      });
    },
  },
];

export const streamGroups: readonly Group[] = [
  { title: "streams to the client (§8.5)", cases: downCases },
  { title: "streams from the client (§8.6)", cases: upCases },
  { title: "client results (§8.7)", cases: resultCases },
];
