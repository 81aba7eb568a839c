import assert from "node:assert/strict";
import { type Case, type Group, hasObserved, observed, tokenFor } from "../case.js";
import type { ProtocolName } from "../clients.js";
import {
  encodeJson,
  jsonHandshake,
  negotiate,
  openEvents,
  openHubPolls,
  request,
  summary,
} from "../http.js";
import {
  frameBytes,
  openHub,
  openUnshaken,
  refusedUpgrade,
  takeHandshakeReply,
} from "../hub-peer.js";

const protocols: readonly ProtocolName[] = ["json", "messagepack"];
const closed = "Connection closed with an error.";
const oversize = (limit: number) =>
  `InvalidDataException: The maximum message size of ${limit}B was exceeded. The message size can be configured in AddHubOptions.`;
const timedOut =
  "OperationCanceledException: Client hasn't sent a message/ping within the configured ClientTimeoutInterval.";

const closingCases: readonly Case[] = [
  ...protocols.flatMap((protocol): Case[] => [
    {
      title: `Abort, ${protocol}`,
      async run(scene) {
        const peer = await openHub(scene, "/wire", { protocol });
        peer.sendMessage({ type: 1, target: "Abort", arguments: [] });
        assert.deepEqual(await peer.expectClose(), { type: 7 });
        assert.deepEqual(await peer.whenClosed(), { code: 1000, reason: "" });
        assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
      },
    },
    {
      title: `the client says Close, ${protocol}`,
      async run(scene) {
        const peer = await openHub(scene, "/wire", { protocol });
        peer.sendMessage({ type: 7 });
        assert.deepEqual(await peer.expectClose(), { type: 7 });
        assert.equal((await peer.whenClosed()).code, 1000);
        assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
      },
    },
    {
      title: `the client says Close with an error, ${protocol}`,
      async run(scene) {
        const peer = await openHub(scene, "/wire", { protocol });
        peer.sendMessage({ type: 7, error: "I am off" });
        assert.deepEqual(await peer.expectClose(), { type: 7 });
        assert.equal(
          await observed(scene, peer.connectionId, "disconnected"),
          "disconnected HubException: I am off",
        );
      },
    },
    {
      title: `a message of the limit, and one more byte, ${protocol}`,
      async run(scene) {
        // 32,768 bytes with everything that frames it.
        const whole = (length: number) => ({
          type: 1,
          target: "Echo",
          arguments: ["x".repeat(length)],
        });
        const peer = await openHub(scene, "/wire", { protocol });
        const around = Buffer.byteLength(peer.encode(whole(20_000))) - 20_000;
        peer.sendMessage(whole(32_768 - around));
        assert.equal(Buffer.byteLength(peer.encode(whole(32_768 - around))), 32_768);
        await peer.isAlive();
        peer.sendMessage(whole(32_768 - around + 1));
        const detail = oversize(32_768);
        assert.deepEqual(await peer.expectClose(), {
          type: 7,
          error: `${closed} ${detail}`,
          allowReconnect: true,
        });
        assert.equal(
          await observed(scene, peer.connectionId, "disconnected"),
          `disconnected ${detail}`,
        );
      },
    },
    {
      title: `many messages together may be larger than the limit, ${protocol}`,
      async run(scene) {
        const peer = await openHub(scene, "/small-message", { protocol });
        const one = { type: 1, invocationId: "1", target: "Echo", arguments: ["0123456789"] };
        peer.sendMessage(...Array.from({ length: 20 }, () => one));
        for (let count = 0; count < 20; count++) {
          await peer.expect({ type: 3, invocationId: "1", result: "0123456789" });
        }
      },
    },
    {
      title: `a message that grows beyond the limit is not waited for, ${protocol}`,
      async run(scene) {
        const peer = await openHub(scene, "/small-message", { protocol });
        peer.send(
          protocol === "json"
            ? `{"type":6,"x":"${"x".repeat(100)}`
            : frameBytes(Buffer.alloc(1_000)).subarray(0, 101),
        );
        const { error } = await peer.expectClose();
        assert.equal(error, `${closed} ${oversize(100)}`);
      },
    },
    {
      title: `an error is told with details off, ${protocol}`,
      async run(scene) {
        const peer = await openHub(scene, "/quiet", { protocol });
        peer.send(protocol === "json" ? "x\x1e" : Buffer.of(1, 0xc1));
        assert.deepEqual(await peer.expectClose(), {
          type: 7,
          error: closed,
          allowReconnect: true,
        });
        assert.match(
          await observed(scene, peer.connectionId, "disconnected"),
          /^disconnected (?!none)/,
        );
      },
    },
  ]),
  ...(
    [
      ["/refusing", `${closed} InvalidOperationException: Not today.`],
      ["/quiet-refusing", closed],
    ] as const
  ).map(
    ([path, error]): Case => ({
      title: `OnConnected fails, ${path}`,
      async run(scene) {
        const peer = await openHub(scene, path);
        assert.deepEqual(await peer.expectClose(), { type: 7, error });
        assert.equal(await hasObserved(scene, peer.connectionId, "disconnected", 300), false);
      },
    }),
  ),
  {
    title: "a client that answers Close with Close",
    async run(scene) {
      const peer = await openHub(scene);
      peer.sendMessage({ type: 1, target: "Abort", arguments: [] });
      assert.deepEqual(await peer.next(), { type: 7 });
      if (peer.socket.readyState === peer.socket.OPEN) peer.sendMessage({ type: 7 });
      assert.equal((await peer.whenClosed()).code, 1000);
    },
  },
  {
    title: "the input ends inside a message",
    async run(scene) {
      const peer = await openHub(scene);
      peer.send('{"type":1,"target":"No');
      peer.socket.close();
      await peer.whenClosed();
      assert.equal(
        await observed(scene, peer.connectionId, "disconnected"),
        "disconnected InvalidDataException: Connection terminated while reading a message.",
      );
    },
  },
  {
    title: "a token that expires closes its connection where that is asked for",
    async run(scene) {
      const token = await tokenFor(scene, { lifetime: 1.5 });
      const [closing, staying] = [
        await openHub(scene, "/expiring", { token }),
        await openHub(scene, "/authorizedhub", { token }),
      ];
      assert.deepEqual(await closing.expectClose(), { type: 7, allowReconnect: true });
      assert.equal(await staying.invoke("Echo", "still here"), "still here");
    },
  },
];

// --- keep-alive ---

const keepAliveCases: readonly Case[] = [
  ...protocols.map(
    (protocol): Case => ({
      title: `pings come, and are not answered, ${protocol}`,
      async run(scene) {
        // This hub pings each second.
        const peer = await openHub(scene, "/quick", { protocol });
        const start = Date.now();
        const ping = protocol === "json" ? '{"type":6}\x1e' : "\x02\x91\x06";
        for (const _ of [1, 2]) {
          const frame = await peer.nextFrame("a ping");
          assert.equal(frame?.data.toString("latin1"), ping);
        }
        assert.ok(Date.now() - start > 900, "too early");
      },
    }),
  ),
  {
    title: "other messages do not put off pings",
    async run(scene) {
      const peer = await openHub(scene, "/quick");
      // If they did, none would ever come.
      while (peer.pings < 2) {
        await peer.isAlive();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
  },
  {
    title: "a client that never pings is never too late",
    async run(scene) {
      const peer = await openHub(scene, "/quick");
      await observed(scene, peer.connectionId, "connected");
      // Its limit would be two seconds.
      assert.equal(await hasObserved(scene, peer.connectionId, "disconnected", 4_500), false);
      await peer.isAlive();
    },
  },
  {
    title: "a client that pinged and fell silent",
    async run(scene) {
      const peer = await openHub(scene, "/quick");
      peer.sendMessage({ type: 6 });
      assert.deepEqual(await peer.expectClose(), {
        type: 7,
        error: `${closed} ${timedOut}`,
        allowReconnect: true,
      });
      assert.equal(
        await observed(scene, peer.connectionId, "disconnected"),
        `disconnected ${timedOut}`,
      );
    },
  },
  {
    title: "any message is a sign of life",
    async run(scene) {
      const peer = await openHub(scene, "/quick");
      peer.sendMessage({ type: 6 });
      for (let count = 0; count < 9; count++) {
        await new Promise((resolve) => setTimeout(resolve, 500));
        peer.sendMessage({ type: 1, target: "Nothing", arguments: [] });
      }
      await peer.isAlive();
    },
  },
  {
    title: "pings over an event stream too",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/quick");
      const path = `/quick?id=${connectionToken}`;
      const stream = await openEvents(scene, path);
      await stream.readUntil(":\r\n");
      await request(scene, "POST", path, { body: jsonHandshake });
      assert.deepEqual(await stream.nextMessages(), [{}]);
      assert.deepEqual(await stream.nextMessages(), [{ type: 6 }]);
    },
  },
];

// --- the server goes down ---

const shutdown = {
  situation: "The server is stopped",
  aspNetCore: "WebSockets end without a close frame (1006), event streams end",
  halyard:
    "A Close message that allows to reconnect, then 1001; over event streams and polls the same message",
  why: "A client that is told reconnects at once and does not take it for a failure.",
};

const shutdownCases: readonly Case[] = [
  {
    title: "what clients are told, on each transport",
    differs: shutdown,
    timeLimit: 60_000,
    async run(scene) {
      const other = await scene.target.startAnother();
      scene.defer(() => other.stop());
      const there = scene.on(other);
      const socket = await openHub(there);
      const { connectionToken } = await negotiate(there, "/wire");
      const path = `/wire?id=${connectionToken}`;
      const stream = await openEvents(there, path);
      await stream.readUntil(":\r\n");
      await request(there, "POST", path, { body: jsonHandshake });
      await stream.nextMessages();
      const peer = await openHubPolls(there);
      const poll = peer.poll();
      // Answers to two other requests show that the poll before them has arrived.
      for (const _ of [1, 2]) await request(there, "GET", "/generateJwtToken");

      const stopped = other.stop();
      const goodbye = { type: 7, allowReconnect: true };
      const isTold = scene.expected({ aspNetCore: false, halyard: true });
      assert.deepEqual(await socket.nextOrClosed("the end"), isTold ? goodbye : undefined);
      assert.equal((await socket.whenClosed()).code, isTold ? 1001 : 1006);
      if (isTold) assert.deepEqual(await stream.nextMessages(), [goodbye]);
      await stream.whenEnded();
      const { status, text } = summary(await poll);
      const told = { status: 200, text: encodeJson(goodbye) };
      // ASP.NET Core tells a poll sometimes.
      if (isTold || status === 200) assert.deepEqual({ status, text }, told);
      else assert.deepEqual({ status, text }, { status: 204, text: "" });
      await stopped;
    },
  },
];

// --- the quirks that nobody else's group has ---

const quirkCases: readonly Case[] = [
  {
    title: "a ping straight after the handshake, in the same frame",
    async run(scene) {
      const peer = await openUnshaken(scene);
      peer.send(jsonHandshake + encodeJson({ type: 6 }));
      assert.equal(await takeHandshakeReply(peer), "{}\x1e");
      await peer.isAlive();
    },
  },
  {
    title: "an id of version 0 is good for a WebSocket",
    async run(scene) {
      const { connectionId } = await negotiate(scene, "/wire", { version: 0 });
      const reply = await request(scene, "GET", `/wire?id=${connectionId}`);
      assert.equal(reply.status, 200);
      assert.equal((await refusedUpgrade(scene, `/wire?id=${connectionId}`)).status, 400);
    },
  },
  {
    title: "an upload's id that is used again",
    differs: {
      situation: "A client opens an upload stream with the id of one that is open",
      aspNetCore: "The new one silently takes the id; the older never ends",
      halyard: "The older stream ends, so that its method can return",
      why: "A method that waits for ever would be left.",
    },
    async run(scene) {
      const peer = await openHub(scene);
      const call = (invocationId: string) => ({
        type: 1,
        invocationId,
        target: "Sum",
        arguments: [],
        streamIds: ["s"],
      });
      peer.sendMessage(call("1"), call("2"));
      if (scene.expected({ aspNetCore: false, halyard: true })) {
        await peer.expect({ type: 3, invocationId: "1", result: 0 });
      }
      peer.sendMessage({ type: 2, invocationId: "s", item: 10 }, { type: 3, invocationId: "s" });
      await peer.expect({ type: 3, invocationId: "2", result: 10 });
      await peer.isAlive();
    },
  },
  {
    title: "a cancel for a stream that is over",
    async run(scene) {
      const peer = await openHub(scene);
      const invocationId = peer.startStream("Count", 1);
      await peer.expect({ type: 2, invocationId, item: 0 }, { type: 3, invocationId });
      peer.sendMessage({ type: 5, invocationId });
      await peer.isAlive();
    },
  },
  {
    title: "a client that does not read delays nobody else",
    timeLimit: 30_000,
    differs: {
      situation: "A client does not read while another sends to all",
      aspNetCore: "The sender waits, until the slow client's time limit of 10 s drops it",
      halyard: "The sender does not wait; the hub's slow-client policy decides",
      why: "One slow client must not hold up the others.",
    },
    async run(scene) {
      const [slow, sender] = [await openHub(scene, "/slow"), await openHub(scene, "/slow")];
      slow.socket.pause();
      const start = Date.now();
      for (let round = 0; round < 300; round++) {
        const invocationId = sender.start("FloodAll", 1, 50_000);
        assert.equal((await sender.next()).type, 1);
        await sender.expect({ type: 3, invocationId, result: null });
      }
      const hasWaited = Date.now() - start > 8_000;
      assert.equal(hasWaited, scene.expected({ aspNetCore: true, halyard: false }));
    },
  },
];

export const closingGroups: readonly Group[] = [
  { title: "closing (§9)", cases: closingCases },
  { title: "keep-alive (§10)", cases: keepAliveCases },
  { title: "the server goes down (§9)", cases: shutdownCases },
  { title: "quirks (§17)", cases: quirkCases },
];
