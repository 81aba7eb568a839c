import assert from "node:assert/strict";
import { type Case, type Group, observed, openDoor, staysPending } from "../case.js";
import {
  encodeJson,
  jsonHandshake,
  negotiate,
  openEvents,
  openHubPolls,
  openPolls,
  type PollPeer,
  parseJson,
  type Reply,
  request,
  summary,
} from "../http.js";
import { openHub, openSocket, openUnshaken, packMessage, takeHandshakeReply } from "../hub-peer.js";

const invocation = (text: string) => ({
  type: 1,
  invocationId: "7",
  target: "Echo",
  arguments: [text],
});
const completion = (text: string) => ({ type: 3, invocationId: "7", result: text });

// --- WebSockets ---

const webSocketCases: readonly Case[] = [
  {
    title: "JSON is answered in text, whatever the frames",
    async run(scene) {
      const peer = await openUnshaken(scene);
      peer.send(jsonHandshake, { binary: true });
      const frame = await peer.nextFrame();
      assert.deepEqual(frame, { data: Buffer.from("{}\x1e"), isBinary: false });
      for (const binary of [true, false]) {
        peer.send(encodeJson(invocation("text")), { binary });
        await peer.expect(completion("text"));
      }
    },
  },
  {
    title: "MessagePack is answered in binary, the handshake's reply too",
    async run(scene) {
      const peer = await openUnshaken(scene, "/wire", { protocol: "messagepack" });
      peer.send('{"protocol":"messagepack","version":1}\x1e', { binary: false });
      const frame = await peer.nextFrame();
      assert.deepEqual(frame, { data: Buffer.from("{}\x1e"), isBinary: true });
      assert.equal(await peer.invoke("Echo", "binary"), "binary");
    },
  },
  {
    title: "a message over several frames",
    async run(scene) {
      const peer = await openHub(scene);
      for (const each of encodeJson(invocation("över"))) peer.send(each);
      await peer.expect(completion("över"));
    },
  },
  {
    title: "a message over fragments",
    async run(scene) {
      const peer = await openHub(scene);
      const bytes = Buffer.from(encodeJson(invocation("fragments")));
      peer.send(bytes.subarray(0, 5), { binary: false, fin: false });
      peer.send(bytes.subarray(5, 9), { fin: false });
      peer.send(bytes.subarray(9), { fin: true });
      await peer.expect(completion("fragments"));
    },
  },
  {
    title: "MessagePack byte by byte",
    async run(scene) {
      const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
      for (const byte of peer.encode(invocation("bytes")) as Buffer) peer.send(Buffer.of(byte));
      await peer.expect(completion("bytes"));
    },
  },
  {
    title: "several messages in a frame, and the start of one more",
    async run(scene) {
      const peer = await openHub(scene);
      const third = encodeJson({ ...invocation("third"), invocationId: "9" });
      const start = encodeJson(invocation("first"), { ...invocation("second"), invocationId: "8" });
      peer.send(start + third.slice(0, 20));
      await peer.expect(completion("first"), { ...completion("second"), invocationId: "8" });
      peer.send(third.slice(20));
      await peer.expect({ ...completion("third"), invocationId: "9" });
    },
  },
  {
    title: "the handshake and what follows it in one frame",
    async run(scene) {
      const peer = await openUnshaken(scene);
      peer.send(jsonHandshake + encodeJson(invocation("pipelined")));
      assert.equal(await takeHandshakeReply(peer), "{}\x1e");
      await peer.expect(completion("pipelined"));
    },
  },
  {
    title: "the handshake over several frames",
    async run(scene) {
      const peer = await openUnshaken(scene);
      for (const each of jsonHandshake) peer.send(each);
      assert.equal(await takeHandshakeReply(peer), "{}\x1e");
      await peer.isAlive();
    },
  },
  {
    title: "empty frames are nothing",
    async run(scene) {
      const peer = await openHub(scene);
      peer.send("");
      peer.send(Buffer.alloc(0));
      await peer.isAlive();
    },
  },
  {
    title: "a text that is not UTF-8 closes with 1007",
    async run(scene) {
      const peer = await openHub(scene);
      peer.send(Buffer.from([0x7b, 0xff, 0xfe]), { binary: false });
      assert.equal((await peer.whenClosed()).code, 1007);
      await observed(scene, peer.connectionId, "disconnected");
    },
  },
  {
    title: "every frame has whole messages, large ones too",
    async run(scene) {
      for (const protocol of ["json", "messagepack"] as const) {
        const peer = await openHub(scene, "/wire", { protocol });
        // Each frame is looked at as it is read.
        assert.equal(String(await peer.invoke("Large", 300_000)).length, 300_000);
        const id = peer.start("SendManyToCaller", 50, 3_000);
        for (let number = 0; number < 50; number++) {
          const { target, arguments: args } = await peer.next();
          assert.equal(target, "Numbered");
          assert.deepEqual(args, [number, "x".repeat(3_000)]);
        }
        await peer.expect({ type: 3, invocationId: id, result: null });
      }
    },
  },
  {
    title: "a raw connection echoes text as text",
    async run(scene) {
      const peer = await openSocket(scene, "/echo");
      peer.send("Hello");
      assert.deepEqual(await peer.nextFrame(), { data: Buffer.from("Hello"), isBinary: false });
    },
  },
  {
    title: "a raw connection sends bytes",
    differs: {
      situation: "A raw connection sends bytes that are not UTF-8 over a WebSocket",
      aspNetCore: "A text frame with them, which strict receivers refuse with 1007",
      halyard: "A binary frame",
      why: "What was given as bytes is sent as bytes; RFC 6455 forbids anything else.",
    },
    async run(scene) {
      const peer = await openSocket(scene, "/echo");
      const bytes = Buffer.from([0xff, 0xfe, 0x80]);
      peer.send(bytes);
      const frame = await peer.nextFrame();
      const expected = scene.expected({
        aspNetCore: undefined,
        halyard: { data: bytes, isBinary: true },
      });
      assert.deepEqual(frame, expected);
      if (expected === undefined) assert.match(String(peer.error), /UTF-?8/i);
    },
  },
  {
    title: "a raw handler that ends closes with 1000",
    async run(scene) {
      const peer = await openSocket(scene, "/ends");
      assert.deepEqual(await peer.whenClosed(), { code: 1000, reason: "" });
    },
  },
  {
    title: "a raw handler that throws closes with 1011",
    async run(scene) {
      const peer = await openSocket(scene, "/throws");
      peer.send("x");
      assert.equal((await peer.whenClosed()).code, 1011);
    },
  },
  ...([1000, 1001, 4000, undefined] as const).map(
    (code): Case => ({
      title: `a client that closes with ${code ?? "no code"} is answered, and the hub is told`,
      async run(scene) {
        const peer = await openHub(scene);
        peer.socket.close(code);
        const closed = await peer.whenClosed();
        assert.ok([code ?? 1005, 1000].includes(closed.code), String(closed.code));
        assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
      },
    }),
  ),
  {
    title: "a connection that is lost is told to the hub",
    async run(scene) {
      const peer = await openHub(scene);
      await peer.isAlive();
      peer.drop();
      assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
    },
  },
  {
    title: "no subprotocol is chosen unless the endpoint does",
    async run(scene) {
      const subprotocols = ["first", "second"];
      // This client takes an answer without a subprotocol for a failure, as browsers do.
      await assert.rejects(openSocket(scene, "/wire", { subprotocols }), /no subprotocol/);
      const chosen = await openSocket(scene, "/wire-subprotocol", { subprotocols });
      assert.equal(chosen.socket.protocol, "second");
    },
  },
];

// --- Server-Sent Events ---

/** Payloads of a raw connection and the bytes of their event. */
const eventRows: readonly [payload: string, bytes: string][] = [
  ["Hello", "data: Hello\r\n\r\n"],
  ["Hello\nWorld", "data: Hello\r\ndata: World\r\n\r\n"],
  ["Hello\r\nWorld", "data: Hello\r\ndata: World\r\n\r\n"],
  ["Hello\n", "data: Hello\r\ndata: \r\n\r\n"],
  ["Hello\r\n", "data: Hello\r\ndata: \r\n\r\n"],
  ["\n", "data: \r\ndata: \r\n\r\n"],
  ["a\n\nb", "data: a\r\ndata: \r\ndata: b\r\n\r\n"],
  ["ünï\u{1F9ED}", "data: ünï\u{1F9ED}\r\n\r\n"],
];

async function openHubEvents(scene: Parameters<Case["run"]>[0], path = "/wire") {
  const { connectionToken, connectionId } = await negotiate(scene, path);
  const address = `${path}?id=${connectionToken}`;
  const stream = await openEvents(scene, address);
  assert.equal(await stream.readUntil("\r\n"), ":\r\n");
  const post = (body: string | Uint8Array) => request(scene, "POST", address, { body });
  assert.equal((await post(jsonHandshake)).status, 200);
  assert.deepEqual(await stream.nextMessages(), [{}]);
  return { stream, post, connectionId, address };
}

const eventCases: readonly Case[] = [
  {
    title: "headers",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const { response } = await openEvents(scene, `/wire?id=${connectionToken}`);
      const { headers } = response;
      assert.equal(headers["content-type"], "text/event-stream");
      assert.equal(headers["cache-control"]?.replaceAll(" ", ""), "no-cache,no-store");
      assert.equal(headers.pragma, "no-cache");
      assert.equal(headers["content-encoding"], "identity");
      assert.equal(headers["content-length"], undefined);
    },
  },
  {
    title: "the first bytes come at once",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/echo");
      const stream = await openEvents(scene, `/echo?id=${connectionToken}`);
      assert.equal(await stream.readUntil("\n"), ":\r\n");
    },
  },
  ...eventRows.map(
    ([payload, bytes]): Case => ({
      title: `${JSON.stringify(payload)} is ${JSON.stringify(bytes)}`,
      async run(scene) {
        const { connectionToken } = await negotiate(scene, "/echo");
        const path = `/echo?id=${connectionToken}`;
        const stream = await openEvents(scene, path);
        await stream.readUntil(":\r\n");
        await request(scene, "POST", path, { body: payload });
        await request(scene, "POST", path, { body: "end" });
        assert.equal(await stream.readUntil("data: end\r\n\r\n"), `${bytes}data: end\r\n\r\n`);
      },
    }),
  ),
  {
    title: "hub messages there and back",
    async run(scene) {
      const { stream, post } = await openHubEvents(scene);
      const reply = await post(encodeJson(invocation("event")));
      assert.deepEqual({ status: reply.status, text: reply.text }, { status: 200, text: "" });
      assert.deepEqual(await stream.nextMessages(), [completion("event")]);
    },
  },
  {
    title: "every event has whole messages",
    async run(scene) {
      const { stream, post } = await openHubEvents(scene);
      await post(
        encodeJson({
          type: 1,
          invocationId: "1",
          target: "SendManyToCaller",
          arguments: [30, 5_000],
        }),
      );
      const messages: unknown[] = [];
      while (messages.length < 31) messages.push(...(await stream.nextMessages()));
      assert.deepEqual(messages.at(-1), { type: 3, invocationId: "1", result: null });
    },
  },
  {
    title: "the server ends the response, after Close",
    async run(scene) {
      const { stream, post } = await openHubEvents(scene);
      await post(encodeJson({ type: 1, target: "Abort", arguments: [] }));
      assert.deepEqual(await stream.nextMessages(), [{ type: 7 }]);
      await stream.whenEnded();
    },
  },
  {
    title: "a client that goes is told to the hub",
    async run(scene) {
      const { stream, connectionId, post } = await openHubEvents(scene);
      stream.close();
      assert.equal(await observed(scene, connectionId, "disconnected"), "disconnected none");
      assert.deepEqual(summary(await post("x")), {
        status: 404,
        type: "text/plain",
        text: "No Connection with that ID",
      });
    },
  },
  {
    title: "an event stream does not take over from one that ended",
    async run(scene) {
      const { stream, connectionId, address } = await openHubEvents(scene);
      stream.close();
      await observed(scene, connectionId, "disconnected");
      const reply = await request(scene, "GET", address, {
        headers: { Accept: "text/event-stream" },
      });
      assert.equal(reply.status, 404);
    },
  },
];

// --- long polling ---

const empty = { status: 200, type: "application/octet-stream", text: "" };
const over = { status: 204, type: "text/plain", text: "" };
const gone = { status: 404, type: "text/plain", text: "No Connection with that ID" };

/** A poll that the server has begun to hold; what it is answered with comes later. */
async function holdPoll(peer: PollPeer, signal?: AbortSignal): Promise<{ reply: Promise<Reply> }> {
  const reply = peer.poll(signal ? { signal } : {});
  reply.catch(() => {});
  // There is nothing to see of a poll that is held: two exchanges later it has arrived.
  for (const _ of [1, 2]) await request(peer.scene, "GET", "/generateJwtToken");
  return { reply };
}

const pollCases: readonly Case[] = [
  {
    title: "the first poll is answered at once",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const reply = await request(scene, "GET", `/wire?id=${connectionToken}&_=1234567890`);
      assert.deepEqual(summary(reply), empty);
      assert.equal(reply.headers["content-length"], "0");
    },
  },
  {
    title: "headers of every answer",
    async run(scene) {
      const peer = await openHubPolls(scene, "/wire-quickpoll");
      await peer.send(invocation("data"));
      const withData = await peer.poll();
      const withoutData = await peer.poll();
      assert.deepEqual(withData.text, encodeJson(completion("data")));
      assert.deepEqual(withoutData.text, "");
      for (const { headers } of [withData, withoutData]) {
        assert.equal(headers["cache-control"]?.replaceAll(" ", ""), "no-cache,no-store");
        assert.equal(headers.pragma, "no-cache");
        assert.equal(headers.expires, "Thu, 01 Jan 1970 00:00:00 GMT");
      }
    },
  },
  {
    title: "data, with its length",
    async run(scene) {
      const peer = await openHubPolls(scene);
      await peer.send(invocation("data"));
      const reply = await peer.poll();
      const text = encodeJson(completion("data"));
      assert.deepEqual(summary(reply), { ...empty, text });
      assert.equal(reply.headers["content-length"], String(text.length));
    },
  },
  {
    title: "a poll waits for data",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const held = await holdPoll(peer);
      await peer.send(invocation("late"));
      assert.deepEqual(summary(await held.reply), {
        ...empty,
        text: encodeJson(completion("late")),
      });
    },
  },
  {
    title: "everything that is there comes at once",
    async run(scene) {
      const peer = await openHubPolls(scene);
      // The method is over when the event has been seen, and all it has sent waits for a poll.
      await peer.send(
        ...["a", "b", "c"].map((text) => ({
          type: 1,
          target: "SendToCaller",
          arguments: ["Message", text],
        })),
        { type: 1, target: "Nothing", arguments: [] },
      );
      await observed(scene, peer.connectionId, "nothing");
      const reply = await peer.poll();
      assert.equal(
        reply.text,
        encodeJson(
          ...["a", "b", "c"].map((text) => ({ type: 1, target: "Message", arguments: [text] })),
        ),
      );
    },
  },
  {
    title: "MessagePack comes as bytes",
    async run(scene) {
      const peer = await openPolls(scene);
      await peer.post('{"protocol":"messagepack","version":1}\x1e');
      assert.equal((await peer.poll()).text, "{}\x1e");
      const call = packMessage({ type: 1, invocationId: "1", target: "Echo", arguments: ["é"] });
      assert.equal((await peer.post(call)).status, 200);
      assert.deepEqual(
        (await peer.poll()).body,
        packMessage({ type: 3, invocationId: "1", result: "é" }),
      );
    },
  },
  {
    title: "no data for the poll's time limit",
    async run(scene) {
      const peer = await openHubPolls(scene, "/wire-quickpoll");
      const before = Date.now();
      assert.deepEqual(summary(await peer.poll()), { ...empty, type: "text/plain" });
      assert.ok(Date.now() - before > 900, "too early");
      assert.deepEqual((await peer.invoke("Echo", "alive")).result, "alive");
    },
  },
  {
    title: "a newer poll supersedes",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const older = await holdPoll(peer);
      const newer = peer.poll();
      assert.deepEqual(summary(await older.reply), over);
      await peer.send(invocation("for the newer"));
      assert.equal((await newer).text, encodeJson(completion("for the newer")));
    },
  },
  {
    title: "of several polls at once one is held, and the connection lives",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const older = await holdPoll(peer);
      const racing = [peer.poll(), peer.poll(), peer.poll()];
      assert.equal((await older.reply).status, 204);
      await peer.send(invocation("race"));
      const replies = await Promise.all(
        racing.map(async (each, index) => ({ index, reply: await each })),
      );
      const statuses = replies.map(({ reply }) => reply.status);
      for (const status of statuses) assert.ok([200, 204, 409].includes(status), String(status));
      const got = replies.filter(({ reply }) => reply.text !== "");
      // If none of the three was left waiting the message waits for the next.
      const text = got[0]?.reply.text ?? (await peer.poll()).text;
      assert.equal(text, encodeJson(completion("race")));
      assert.ok(got.length <= 1, JSON.stringify(statuses));
    },
  },
  {
    title: "a poll that the client gave up loses nothing",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const givesUp = new AbortController();
      const held = await holdPoll(peer, givesUp.signal);
      const waiting = peer.poll({ signal: givesUp.signal }).catch((error) => error);
      givesUp.abort();
      await Promise.allSettled([held.reply, waiting]);
      await peer.send(invocation("kept"));
      for (;;) {
        const reply = await peer.poll();
        // The server may see the end of the older poll only now.
        if (reply.status === 409 || reply.status === 204) continue;
        assert.deepEqual(reply.text, encodeJson(completion("kept")));
        break;
      }
    },
  },
  {
    title: "the server ends: Close, then 204, then 404",
    async run(scene) {
      const peer = await openHubPolls(scene);
      await peer.send({ type: 1, target: "Abort", arguments: [] });
      assert.deepEqual(summary(await peer.poll()), { ...empty, text: encodeJson({ type: 7 }) });
      assert.deepEqual(summary(await peer.poll()), over);
      assert.deepEqual(summary(await peer.poll()), gone);
      assert.deepEqual(summary(await peer.post("x")), gone);
    },
  },
  {
    title: "DELETE ends the poll that is held, and the hub is told",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const held = await holdPoll(peer);
      assert.equal((await peer.delete()).status, 202);
      const reply = await held.reply;
      // What the hub sends at its end may come first.
      if (reply.status === 200) {
        assert.equal(parseJson(reply.text).at(-1)?.type, 7);
      } else assert.deepEqual(summary(reply), over);
      assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
    },
  },
  {
    title: "after DELETE nothing is there",
    async run(scene) {
      const peer = await openHubPolls(scene);
      assert.equal((await peer.delete()).status, 202);
      await observed(scene, peer.connectionId, "disconnected");
      for (;;) {
        const reply = await peer.poll();
        if (reply.status === 200 || reply.status === 204) continue;
        assert.deepEqual(summary(reply), gone);
        break;
      }
      assert.deepEqual(summary(await peer.post("x")), gone);
      assert.deepEqual(summary(await peer.delete()), gone);
    },
  },
  {
    title: "a POST together with DELETE is taken or not found",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const held = await holdPoll(peer);
      const [posted, deleted] = await Promise.all([
        peer.post(encodeJson({ type: 7 })),
        peer.delete(),
      ]);
      assert.ok([200, 404].includes(posted.status), String(posted.status));
      assert.ok([202, 404].includes(deleted.status), String(deleted.status));
      await held.reply;
      assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
    },
  },
  {
    title: "a client that polls no more is given up",
    timeLimit: 20_000,
    async run(scene) {
      const peer = await openHubPolls(scene);
      assert.equal(await observed(scene, peer.connectionId, "disconnected"), "disconnected none");
      assert.deepEqual(summary(await peer.post("x")), gone);
    },
  },
  {
    title: "a handshake before the first poll waits for it",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const path = `/wire?id=${connectionToken}`;
      const posted = await request(scene, "POST", path, { body: jsonHandshake });
      assert.equal(posted.status, 200);
      let text = "";
      while (text === "") text = (await request(scene, "GET", path)).text;
      assert.equal(text, "{}\x1e");
    },
  },
  {
    title: "no pings, and no time limit for a client without pings",
    async run(scene) {
      // This hub pings each second and waits for two.
      const peer = await openHubPolls(scene, "/quick");
      const held = peer.poll();
      await staysPending(held, 3_500, "an answer");
      await peer.send(invocation("still here"));
      assert.equal((await held).text, encodeJson(completion("still here")));
    },
  },
  {
    title: "a client that pings once must go on",
    async run(scene) {
      const peer = await openHubPolls(scene, "/quick");
      await peer.send({ type: 6 });
      assert.match(
        await observed(scene, peer.connectionId, "disconnected"),
        /Client hasn't sent a message\/ping within the configured ClientTimeoutInterval/,
      );
    },
  },
];

// --- POST ---

const postCases: readonly Case[] = [
  {
    title: "a body in pieces, and several messages in a body",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const body = encodeJson(invocation("one"), { ...invocation("two"), invocationId: "8" });
      for (const part of [body.slice(0, 10), body.slice(10, 100), body.slice(100)]) {
        const reply = await peer.post(part);
        assert.deepEqual({ status: reply.status, text: reply.text }, { status: 200, text: "" });
      }
      assert.deepEqual(await peer.next(), completion("one"));
      assert.deepEqual(await peer.next(), { ...completion("two"), invocationId: "8" });
    },
  },
  {
    title: "a chunked body",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const response = await fetch(scene.url(peer.path), {
        method: "POST",
        duplex: "half",
        body: new ReadableStream({
          start(controller) {
            const bytes = new TextEncoder().encode(encodeJson(invocation("chunked")));
            controller.enqueue(bytes.subarray(0, 12));
            controller.enqueue(bytes.subarray(12));
            controller.close();
          },
        }),
      } as RequestInit);
      assert.equal(response.status, 200);
      assert.deepEqual(await peer.next(), completion("chunked"));
    },
  },
  {
    title: "an empty body",
    async run(scene) {
      const peer = await openHubPolls(scene);
      assert.equal((await peer.post("")).status, 200);
      assert.equal((await peer.invoke("Echo", "alive")).result, "alive");
    },
  },
  {
    title: "any type of content",
    async run(scene) {
      const peer = await openHubPolls(scene);
      for (const type of ["application/json", "text/plain;charset=UTF-8", "image/png"]) {
        const body = encodeJson(invocation(type));
        const reply = await request(scene, "POST", peer.path, {
          body,
          headers: { "Content-Type": type },
        });
        assert.equal(reply.status, 200);
        assert.deepEqual(await peer.next(), completion(type));
      }
    },
  },
  {
    title: "several at once are all taken, each whole",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const ids = Array.from({ length: 10 }, (_, index) => String(index));
      const posts = ids.map((invocationId) =>
        peer.post(encodeJson({ ...invocation("x".repeat(2_000)), invocationId })),
      );
      for (const reply of await Promise.all(posts)) assert.equal(reply.status, 200);
      const seen: unknown[] = [];
      while (seen.length < ids.length) seen.push((await peer.next()).invocationId);
      assert.deepEqual(seen.sort(), ids);
    },
  },
  {
    title: "a reader that does not read delays the answer",
    async run(scene) {
      const peer = await openPolls(scene, "/silent");
      const post = peer.post(Buffer.alloc(200_000, 0x61));
      await staysPending(post, 500, "the answer");
      await openDoor(scene, peer.connectionId);
      const polls = (async () => {
        let received = 0;
        while (received < 200_000) received += (await peer.poll()).body.length;
        return received;
      })();
      assert.equal((await post).status, 200);
      assert.equal(await polls, 200_000);
    },
  },
];

export const transportGroups: readonly Group[] = [
  { title: "WebSockets (§3.3)", cases: webSocketCases },
  { title: "Server-Sent Events (§3.4)", cases: eventCases },
  { title: "long polling (§3.5)", cases: pollCases, concurrency: 20 },
  { title: "POST (§3.6)", cases: postCases },
];
