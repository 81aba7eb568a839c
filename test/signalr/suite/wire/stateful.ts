import assert from "node:assert/strict";
import {
  type Case,
  type Group,
  getText,
  hasObserved,
  observed,
  openDoor,
  type Scene,
  staysPending,
  uniqueName,
} from "../case.js";
import type { ProtocolName } from "../clients.js";
import { type HubPeer, type Message, openHub, refusedUpgrade, reopen } from "../hub-peer.js";
import { errorNames, named } from "./errors.js";

const protocols: readonly ProtocolName[] = ["json", "messagepack"];

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

const open = (scene: Scene, protocol: ProtocolName = "json", path = "/stateful") =>
  openHub(scene, path, { protocol, isStateful: true });

const sequence = (sequenceId: number): Message => ({ type: 9, sequenceId });
const ack = (sequenceId: number): Message => ({ type: 8, sequenceId });
const message = (text: string): Message => ({ type: 1, target: "Message", arguments: [text] });

/** The next message that is no Ack: those come when their clock says so. */
async function nextButAck(peer: HubPeer): Promise<Message> {
  for (;;) {
    const next = await peer.next();
    if (next.type !== 8) return next;
  }
}

async function expectButAck(peer: HubPeer, ...expected: Message[]): Promise<void> {
  for (const each of expected) assert.deepEqual(await nextButAck(peer), each);
}

/** Loses the connection and opens another socket, which has said nothing yet. */
async function loseAndReopen(peer: HubPeer): Promise<HubPeer> {
  peer.drop();
  await peer.whenClosed();
  return reopen(peer);
}

/** Whether the connection still does what is asked. */
async function works(peer: HubPeer, invocationId = "works"): Promise<void> {
  peer.sendMessage({ type: 1, invocationId, target: "Echo", arguments: ["x"] });
  await expectButAck(peer, { type: 3, invocationId, result: "x" });
}

const cases: readonly Case[] = [
  ...both("what is received is acknowledged each second", async (scene, protocol) => {
    const peer = await open(scene, protocol);
    assert.equal(await peer.invoke("Echo", "one"), "one");
    peer.sendMessage({ type: 6 });
    await peer.expect(ack(1));
    for (const invocationId of ["a", "b"]) {
      peer.sendMessage({ type: 1, invocationId, target: "Echo", arguments: ["x"] });
    }
    for (const invocationId of ["a", "b"]) {
      await expectButAck(peer, { type: 3, invocationId, result: "x" });
    }
    // Pings and acknowledgements do not count. The clock may tick between the two calls.
    let last = await peer.next();
    if (last.sequenceId === 2) last = await peer.next();
    assert.deepEqual(last, ack(3));
  }),
  ...both("what was not acknowledged comes again, in order", async (scene, protocol) => {
    const peer = await open(scene, protocol);
    const first = peer.start("SendToCaller", "Message", "one");
    const answers = [message("one"), { type: 3, invocationId: first, result: null }];
    await expectButAck(peer, ...answers);
    const next = await loseAndReopen(peer);
    assert.deepEqual(await next.next(), sequence(1));
    await expectButAck(next, ...answers);
    next.sendMessage(sequence(2));
    await works(next);
    assert.equal(await hasObserved(scene, peer.connectionId, "disconnected"), false);
  }),
  ...both("what was acknowledged does not", async (scene, protocol) => {
    const peer = await open(scene, protocol);
    await peer.invoke("Echo", "one");
    const second = peer.start("Echo", "two");
    const answer = { type: 3, invocationId: second, result: "two" };
    await expectButAck(peer, answer);
    peer.sendMessage(ack(1));
    // A call behind the Ack shows that it was read.
    await works(peer, "behind");
    const next = await loseAndReopen(peer);
    assert.deepEqual(await next.next(), sequence(2));
    await expectButAck(next, answer, { type: 3, invocationId: "behind", result: "x" });
    next.sendMessage(sequence(4));
    await works(next);
  }),
  ...both("nothing is left to send again", async (scene, protocol) => {
    const peer = await open(scene, protocol);
    await peer.invoke("Echo", "one");
    peer.sendMessage(ack(1));
    await peer.expect(ack(1));
    const next = await loseAndReopen(peer);
    assert.deepEqual(await next.next(), sequence(2));
    next.sendMessage(sequence(2));
    await works(next);
  }),
  ...both("what the client sends again is dropped", async (scene, protocol) => {
    const peer = await open(scene, protocol);
    const first = peer.start("Echo", "one");
    await expectButAck(peer, { type: 3, invocationId: first, result: "one" });
    const next = await loseAndReopen(peer);
    next.sendMessage(
      sequence(1),
      { type: 1, invocationId: first, target: "Echo", arguments: ["one"] },
      { type: 1, invocationId: "new", target: "Echo", arguments: ["two"] },
    );
    await expectButAck(
      next,
      sequence(1),
      { type: 3, invocationId: first, result: "one" },
      { type: 3, invocationId: "new", result: "two" },
    );
    await works(next);
  }),
  {
    title: "twice in a row",
    async run(scene) {
      let peer = await open(scene);
      let sent = 0;
      for (let round = 1; round <= 3; round++) {
        await works(peer, `round ${round}`);
        sent++;
        peer.sendMessage(ack(sent));
        await works(peer, `after ${round}`);
        sent++;
        peer = await loseAndReopen(peer);
        assert.deepEqual(await peer.next(), sequence(sent));
        await expectButAck(peer, { type: 3, invocationId: `after ${round}`, result: "x" });
        peer.sendMessage(sequence(sent + 1));
      }
      assert.equal(await hasObserved(scene, peer.connectionId, "disconnected"), false);
    },
  },
  {
    title: "a call goes on while nobody is connected",
    async run(scene) {
      const peer = await open(scene);
      const door = uniqueName();
      const held = peer.start("Hold", door);
      await observed(scene, peer.connectionId, `holding ${door}`);
      peer.drop();
      await peer.whenClosed();
      await openDoor(scene, door);
      const next = await reopen(peer);
      assert.deepEqual(await next.next(), sequence(1));
      next.sendMessage(sequence(2));
      await expectButAck(next, { type: 3, invocationId: held, result: door });
      await works(next);
    },
  },
  {
    title: "a stream goes on",
    async run(scene) {
      const peer = await open(scene);
      const invocationId = peer.startStream("Endless");
      await expectButAck(peer, { type: 2, invocationId, item: "first" });
      peer.sendMessage(ack(1));
      await works(peer, "behind");
      const next = await loseAndReopen(peer);
      assert.deepEqual(await next.next(), sequence(2));
      next.sendMessage(sequence(3), { type: 5, invocationId });
      await expectButAck(
        next,
        { type: 3, invocationId: "behind", result: "x" },
        { type: 3, invocationId },
      );
    },
  },
  {
    title: "groups stay, and what they get in between comes",
    async run(scene) {
      const [peer, other] = [await open(scene), await open(scene)];
      const group = uniqueName();
      await peer.invoke("Join", group);
      peer.drop();
      await peer.whenClosed();
      await other.invoke("SendToGroup", group, "for the group");
      await other.invoke("SendToClient", peer.connectionId, "for one");
      await getText(scene, `/outside/client/${peer.connectionId}/from%20outside`);
      const next = await reopen(peer);
      assert.deepEqual(await next.next(), sequence(1));
      await expectButAck(
        next,
        { type: 3, invocationId: "0", result: null },
        message("for the group"),
        message("for one"),
        message("from outside"),
      );
    },
  },
  {
    title: "a Sequence from the future ends the connection",
    differs: errorNames,
    async run(scene) {
      const peer = await open(scene);
      const next = await loseAndReopen(peer);
      next.sendMessage(sequence(5));
      assert.deepEqual(await next.next(), sequence(1));
      const detail = named(
        scene,
        "InvalidOperationException",
        "Sequence ID greater than amount of messages we've received.",
      );
      assert.deepEqual(await next.expectClose(), {
        type: 7,
        error: `Connection closed with an error. ${detail}`,
        allowReconnect: true,
      });
      assert.equal(
        await observed(scene, peer.connectionId, "disconnected"),
        `disconnected ${detail}`,
      );
    },
  },
  {
    title: "a handshake of version 1 switches it off",
    async run(scene) {
      const peer = await openHub(scene, "/stateful", { isStateful: true, version: 1 });
      const refusal = await refusedUpgrade(scene, `/stateful?id=${peer.token}`);
      assert.deepEqual(refusal, { status: 409, text: "" });
      peer.drop();
      assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
    },
  },
  {
    title: "a close frame is the end",
    async run(scene) {
      const peer = await open(scene);
      await peer.invoke("Echo", "x");
      peer.socket.close();
      await peer.whenClosed();
      assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
      const refusal = await refusedUpgrade(scene, `/stateful?id=${peer.token}`);
      assert.deepEqual(refusal, { status: 404, text: "No Connection with that ID" });
    },
  },
  ...(
    [
      ["the server has said Close", { type: 1, target: "Abort", arguments: [] }],
      ["both have said Close", { type: 7 }],
    ] as const
  ).map(
    ([title, last]): Case => ({
      title: `no new socket after ${title}`,
      async run(scene) {
        const peer = await open(scene);
        peer.sendMessage(last);
        assert.deepEqual(await nextButAck(peer), { type: 7 });
        const { status } = await refusedUpgrade(scene, `/stateful?id=${peer.token}`);
        assert.ok([404, 409, 204].includes(status), String(status));
      },
    }),
  ),
  {
    title: "nobody comes back",
    timeLimit: 20_000,
    async run(scene) {
      const peer = await open(scene);
      await peer.invoke("Echo", "x");
      peer.drop();
      assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
      const refusal = await refusedUpgrade(scene, `/stateful?id=${peer.token}`);
      assert.deepEqual(refusal, { status: 404, text: "No Connection with that ID" });
    },
  },
  ...both("a full buffer waits for acknowledgements", async (scene, protocol) => {
    // 1,000 bytes; a message has between 360 and 460, with what a server may count besides.
    const peer = await open(scene, protocol, "/small-buffer");
    const invocationId = peer.start("SendManyToCaller", 9, 340);
    let received = 0;
    while (received < 3) {
      const next = await nextButAck(peer);
      assert.deepEqual(next.arguments, [received, "x".repeat(340)]);
      received++;
    }
    const fourth = nextButAck(peer);
    await staysPending(fourth, 1_000, "a fourth message");
    peer.sendMessage(ack(3));
    assert.deepEqual((await fourth).arguments, [3, "x".repeat(340)]);
    received++;
    while (received < 9) {
      const next = await nextButAck(peer);
      assert.deepEqual(next.arguments, [received, "x".repeat(340)]);
      received++;
      peer.sendMessage(ack(received));
    }
    await expectButAck(peer, { type: 3, invocationId, result: null });
  }),
  {
    title: "a new socket while the old one is alive",
    differs: {
      situation: "Stateful reconnect: a new socket arrives while the old one is still open",
      aspNetCore:
        "The close of the old socket counts as the client's: 404, and the connection ends",
      halyard: "The newest socket takes over at once",
      why: "A client that changes its network comes back before the server notices the loss.",
    },
    async run(scene) {
      const peer = await open(scene);
      await peer.invoke("Echo", "x");
      const status = await reopen(peer).then(
        async (next) => {
          assert.deepEqual(await next.next(), sequence(1));
          next.sendMessage(sequence(2));
          await expectButAck(next, { type: 3, invocationId: "0", result: "x" });
          await works(next);
          return 101;
        },
        (error: Error) => Number(/\d+/.exec(error.message)?.[0]),
      );
      assert.equal(status, scene.expected({ aspNetCore: 404, halyard: 101 }));
    },
  },
  {
    title: "half a message before the loss",
    differs: {
      situation: "Stateful reconnect: the connection is lost inside a message",
      aspNetCore: "The half is put before the bytes of the next socket, which ends the connection",
      halyard: "The half is dropped; the client sends the message again whole",
      why: "A peer replays whole messages.",
    },
    async run(scene) {
      const peer = await open(scene);
      await peer.invoke("Echo", "x");
      peer.send('{"type":1,"invocationId":"half","target":"Ec');
      const next = await loseAndReopen(peer);
      assert.deepEqual(await next.next(), sequence(1));
      await expectButAck(next, { type: 3, invocationId: "0", result: "x" });
      next.sendMessage(sequence(2), {
        type: 1,
        invocationId: "half",
        target: "Echo",
        arguments: ["whole"],
      });
      const answer = await nextButAck(next);
      assert.equal(answer.type, scene.expected({ aspNetCore: 7, halyard: 3 }));
    },
  },
  {
    title: "an Ack of what was never sent",
    differs: {
      situation: "Stateful reconnect: an Ack for more than was ever sent",
      aspNetCore: "Taken",
      halyard: "A protocol error: the connection ends",
      why: "It can only be a mistake or an attack, and would free what is still needed.",
    },
    async run(scene) {
      const peer = await open(scene);
      peer.sendMessage(ack(100));
      peer.sendMessage({ type: 1, invocationId: "after", target: "Echo", arguments: ["x"] });
      const { type } = await nextButAck(peer);
      assert.equal(type, scene.expected({ aspNetCore: 3, halyard: 7 }));
    },
  },
];

export const statefulGroup: Group = { title: "stateful reconnect (§12)", cases };
