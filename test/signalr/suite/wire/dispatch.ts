import assert from "node:assert/strict";
import {
  type Case,
  type Group,
  observed,
  openDoor,
  staysPending,
  tokenFor,
  uniqueName,
} from "../case.js";
import type { ProtocolName } from "../clients.js";
import { openHub } from "../hub-peer.js";
import { wrongTypes } from "./errors.js";

const protocols: readonly ProtocolName[] = ["json", "messagepack"];

const failedToInvoke = (method: string, detail: string) =>
  `Failed to invoke '${method}' due to an error on the server.${detail}`;
const unexpected = (method: string, detail: string) =>
  `An unexpected error occurred invoking '${method}' on the server.${detail}`;
const noMethod = (method: string) =>
  failedToInvoke(method, " HubException: Method does not exist.");
const badTypes =
  " InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.";
const count = (given: number, wanted: number) =>
  ` InvalidDataException: Invocation provides ${given} argument(s) but target expects ${wanted}.`;

interface ErrorRow {
  readonly title: string;
  readonly target: string;
  readonly args: readonly unknown[];
  /** 4 for a stream. */
  readonly type?: 1 | 4;
  readonly error: string;
  /** With detailed errors off, if that is another. */
  readonly quiet?: string;
  /** How a contract's complaint begins, on Halyard. */
  readonly contract?: string;
}

const errorRows: readonly ErrorRow[] = [
  { title: "unknown method", target: "Unknown", args: [], error: noMethod("Unknown") },
  { title: "unknown stream", target: "Unknown", args: [1], type: 4, error: noMethod("Unknown") },
  {
    title: "too few arguments",
    target: "Add",
    args: [1],
    error: failedToInvoke("Add", count(1, 2)),
    quiet: failedToInvoke("Add", ""),
  },
  {
    title: "too many arguments",
    target: "Echo",
    args: ["a", "b", "c"],
    error: failedToInvoke("Echo", count(3, 1)),
    quiet: failedToInvoke("Echo", ""),
  },
  {
    title: "arguments where there are none",
    target: "Nothing",
    args: [1],
    error: failedToInvoke("Nothing", count(1, 0)),
    quiet: failedToInvoke("Nothing", ""),
  },
  {
    title: "too few arguments for a stream",
    target: "Count",
    args: [],
    type: 4,
    error: failedToInvoke("Count", count(0, 1)),
    quiet: failedToInvoke("Count", ""),
  },
  ...[
    ["text", 1],
    [null, 1],
    [1.5, 1],
    [{}, 1],
    [[], 1],
  ].map(
    (args): ErrorRow => ({
      title: `arguments ${JSON.stringify(args)} for two whole numbers`,
      target: "Add",
      args,
      error: failedToInvoke("Add", badTypes),
      quiet: failedToInvoke("Add", ""),
      contract: failedToInvoke("Add", " HubException: Argument 1: "),
    }),
  ),
  {
    title: "a number for text",
    target: "Echo",
    args: [42],
    error: failedToInvoke("Echo", badTypes),
    quiet: failedToInvoke("Echo", ""),
    contract: failedToInvoke("Echo", " HubException: Argument 1: "),
  },
  {
    title: "an error of the method",
    target: "Fail",
    args: ["what went wrong"],
    error: unexpected("Fail", " InvalidOperationException: what went wrong"),
    quiet: unexpected("Fail", ""),
  },
  {
    title: "an error for the caller",
    target: "FailForCaller",
    args: ["you can't"],
    error: unexpected("FailForCaller", " HubException: you can't"),
  },
  {
    title: "a stream called as a plain method",
    target: "Count",
    args: [1],
    error:
      "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.",
  },
  {
    title: "a plain method called as a stream",
    target: "Echo",
    args: ["x"],
    type: 4,
    error:
      "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation.",
  },
  {
    title: "a method for users",
    target: "ForUsers",
    args: [],
    error: "Failed to invoke 'ForUsers' because user is unauthorized",
  },
  {
    title: "a method for admins",
    target: "ForAdmins",
    args: [],
    error: "Failed to invoke 'ForAdmins' because user is unauthorized",
  },
  {
    title: "an upload without its stream",
    target: "Sum",
    args: [],
    error: unexpected("Sum", " HubException: Client sent 0 stream(s), Hub method expects 1."),
  },
  {
    title: "a method that returns no stream",
    target: "NoStream",
    args: [],
    type: 4,
    error:
      "The value returned by the streaming method 'NoStream' is not a ChannelReader<> or IAsyncEnumerable<>.",
  },
];

/** What is no method of the hub, in any case of letters. */
const notCallable = [
  "OnConnectedAsync",
  "OnDisconnectedAsync",
  "Dispose",
  "ToString",
  "GetHashCode",
  "get_Context",
  "Clients",
  "Context",
  "Groups",
  "Hidden",
  "Named",
  "onConnected",
  "onDisconnected",
  "constructor",
  "__proto__",
  "prototype",
  "hasOwnProperty",
  "valueOf",
  "toLocaleString",
  "isPrototypeOf",
  "__defineGetter__",
  "then",
  "",
  " Echo",
  "Echo ",
  "Echo\u0000",
];

const cases: readonly Case[] = [
  ...protocols.flatMap((protocol) =>
    errorRows.map(
      ({ title, target, args, type = 1, error, quiet = error, contract }): Case => ({
        title: `${title}, ${protocol}`,
        ...(contract !== undefined && { differs: wrongTypes }),
        async run(scene) {
          for (const [path, expected] of [
            ["/wire", error],
            ["/quiet", quiet],
          ] as const) {
            const peer = await openHub(scene, path, { protocol });
            peer.sendMessage({ type, invocationId: "5", target, arguments: [...args] });
            if (contract === undefined) {
              await peer.expect({ type: 3, invocationId: "5", error: expected });
            } else {
              const start = scene.expected({ aspNetCore: expected, halyard: contract });
              const answer = String((await peer.next()).error);
              assert.ok(answer.startsWith(start), answer);
            }
            // Without an id the same is not answered at all.
            if (type === 1) peer.sendMessage({ type, target, arguments: [...args] });
            await peer.isAlive();
          }
        },
      }),
    ),
  ),
  {
    title: "what is not declared as a method can't be called",
    async run(scene) {
      for (const path of ["/wire", "/testhub"]) {
        const peer = await openHub(scene, path);
        for (const name of notCallable) {
          assert.equal(await peer.invokeForError(name), noMethod(name));
          assert.equal(await peer.invokeForError(name, {}), noMethod(name));
          const invocationId = peer.startStream(name);
          await peer.expect({ type: 3, invocationId, error: noMethod(name) });
        }
      }
    },
  },
  {
    title: "names in any case; errors have the declared one",
    async run(scene) {
      for (const protocol of protocols) {
        const peer = await openHub(scene, "/wire", { protocol });
        for (const name of ["Echo", "echo", "ECHO", "eChO"]) {
          assert.equal(await peer.invoke(name, "x"), "x");
        }
        assert.equal(await peer.invoke("another.NAME"), "named");
        assert.equal(
          await peer.invokeForError("FAIL", "x"),
          unexpected("Fail", " InvalidOperationException: x"),
        );
        assert.equal(await peer.invokeForError("unKnown"), noMethod("unKnown"));
        assert.equal(await peer.invokeForError("add", 1), failedToInvoke("Add", count(1, 2)));
      }
    },
  },
  {
    title: "methods for users and for admins",
    async run(scene) {
      const user = await openHub(scene, "/wire", { token: await tokenFor(scene) });
      assert.equal(await user.invoke("ForUsers"), "for users");
      assert.equal(
        await user.invokeForError("ForAdmins"),
        "Failed to invoke 'ForAdmins' because user is unauthorized",
      );
      const token = await tokenFor(scene, { user: "boss", role: "admin" });
      const admin = await openHub(scene, "/wire", { token });
      assert.equal(await admin.invoke("ForUsers"), "for users");
      assert.equal(await admin.invoke("ForAdmins"), "for admins");
    },
  },
  {
    title: "an id that is used again and again",
    async run(scene) {
      const peer = await openHub(scene);
      for (const text of ["a", "b"]) {
        peer.sendMessage({ type: 1, invocationId: "same", target: "Echo", arguments: [text] });
        await peer.expect({ type: 3, invocationId: "same", result: text });
      }
    },
  },
  {
    title: "ids of any text come back as they are",
    async run(scene) {
      const peer = await openHub(scene);
      for (const invocationId of ["é\u{1F9ED}", " ", "__proto__", "x".repeat(1_000), '"\\']) {
        peer.sendMessage({ type: 1, invocationId, target: "Echo", arguments: ["x"] });
        await peer.expect({ type: 3, invocationId, result: "x" });
      }
    },
  },
  {
    title: "each call has a hub of its own, in order",
    async run(scene) {
      const peer = await openHub(scene);
      const ids = Array.from({ length: 50 }, (_, index) => peer.start("Echo", String(index)));
      for (const [index, invocationId] of ids.entries()) {
        await peer.expect({ type: 3, invocationId, result: String(index) });
      }
    },
  },
  {
    title: "one call at a time: the next waits",
    async run(scene) {
      const peer = await openHub(scene);
      const door = uniqueName();
      const held = peer.start("Hold", door);
      const next = peer.start("Echo", "next");
      await observed(scene, peer.connectionId, `holding ${door}`);
      await openDoor(scene, door);
      await peer.expect(
        { type: 3, invocationId: held, result: door },
        { type: 3, invocationId: next, result: "next" },
      );
    },
  },
  {
    title: "while a call runs: unknown methods and a wrong count are answered",
    async run(scene) {
      const peer = await openHub(scene);
      const door = uniqueName();
      const held = peer.start("Hold", door);
      assert.equal(await peer.invokeForError("Unknown"), noMethod("Unknown"));
      assert.equal(await peer.invokeForError("Add", 1), failedToInvoke("Add", count(1, 2)));
      await openDoor(scene, door);
      await peer.expect({ type: 3, invocationId: held, result: door });
    },
  },
  {
    title: "while a call runs: arguments of the wrong type",
    differs: wrongTypes,
    async run(scene) {
      const peer = await openHub(scene);
      const door = uniqueName();
      const held = peer.start("Hold", door);
      await observed(scene, peer.connectionId, `holding ${door}`);
      const wrong = peer.start("Add", "x", 1);
      const isRefusedAtOnce = scene.expected({ aspNetCore: true, halyard: false });
      if (!isRefusedAtOnce) await openDoor(scene, door);
      const order = [(await peer.next()).invocationId];
      if (isRefusedAtOnce) await openDoor(scene, door);
      order.push((await peer.next()).invocationId);
      assert.deepEqual(order, isRefusedAtOnce ? [wrong, held] : [held, wrong]);
    },
  },
  {
    title: "while a call runs: streams and uploads run",
    async run(scene) {
      const peer = await openHub(scene);
      const door = uniqueName();
      const held = peer.start("Hold", door);
      const stream = peer.startStream("Count", 2);
      await peer.expect(
        { type: 2, invocationId: stream, item: 0 },
        { type: 2, invocationId: stream, item: 1 },
        { type: 3, invocationId: stream },
      );
      peer.sendMessage(
        { type: 1, invocationId: "up", target: "Sum", arguments: [], streamIds: ["s"] },
        { type: 2, invocationId: "s", item: 4 },
        { type: 3, invocationId: "s" },
      );
      await peer.expect({ type: 3, invocationId: "up", result: 4 });
      await openDoor(scene, door);
      await peer.expect({ type: 3, invocationId: held, result: door });
    },
  },
  {
    title: "two calls at a time where two are allowed",
    async run(scene) {
      const peer = await openHub(scene, "/parallel");
      const [first, second] = [uniqueName(), uniqueName()];
      const firstId = peer.start("Hold", first);
      const secondId = peer.start("Hold", second);
      await observed(scene, peer.connectionId, `holding ${second}`);
      const third = peer.start("Echo", "third");
      await openDoor(scene, second);
      await peer.expect(
        { type: 3, invocationId: secondId, result: second },
        { type: 3, invocationId: third, result: "third" },
      );
      await openDoor(scene, first);
      await peer.expect({ type: 3, invocationId: firstId, result: first });
    },
  },
  {
    title: "a call that was begun goes on when its client has gone",
    async run(scene) {
      const peer = await openHub(scene);
      const door = uniqueName();
      peer.start("Hold", door);
      await observed(scene, peer.connectionId, `holding ${door}`);
      peer.socket.close();
      await peer.whenClosed();
      await openDoor(scene, door);
      assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
    },
  },
  {
    title: "a cancel for a plain call",
    differs: {
      situation: "CancelInvocation for a plain invocation",
      aspNetCore: "Ignored (up to .NET 10)",
      halyard: "Aborts the method's signal, as .NET 11 does; a method that does not look goes on",
      why: "A caller that gave up should not be worked for.",
    },
    async run(scene) {
      const peer = await openHub(scene);
      const door = uniqueName();
      const invocationId = peer.start("HoldUnlessCanceled", door);
      await observed(scene, peer.connectionId, `holding ${door}`);
      peer.sendMessage({ type: 5, invocationId });
      const answer = peer.next();
      const result = scene.expected({ aspNetCore: door, halyard: "canceled" });
      if (result === door) {
        await staysPending(answer, 500, "an answer");
        await openDoor(scene, door);
      }
      assert.deepEqual(await answer, { type: 3, invocationId, result });
    },
  },
  {
    title: "what the hub sends to its caller comes before the completion",
    async run(scene) {
      for (const protocol of protocols) {
        const peer = await openHub(scene, "/wire", { protocol });
        const invocationId = peer.start("SendToCaller", "MixedCase", "x");
        await peer.expect(
          { type: 1, target: "MixedCase", arguments: ["x"] },
          { type: 3, invocationId, result: null },
        );
      }
    },
  },
  {
    title: "a hub that can't be made",
    async run(scene) {
      const peer = await openHub(scene, "/uncreatable");
      assert.deepEqual(await peer.expectClose(), {
        type: 7,
        error:
          "Connection closed with an error. InvalidOperationException: This hub cannot be made.",
      });
    },
  },
];

export const dispatchGroup: Group = { title: "calls (§8.1 to §8.4)", cases };
