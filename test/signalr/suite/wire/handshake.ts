import assert from "node:assert/strict";
import { type Case, type Group, hasObserved } from "../case.js";
import type { ProtocolName } from "../clients.js";
import { jsonHandshake, negotiate, openEvents, request } from "../http.js";
import { openUnshaken, takeHandshakeReply } from "../hub-peer.js";

const good: readonly [title: string, path: string, text: string, protocol?: ProtocolName][] = [
  ["JSON", "/wire", '{"protocol":"json","version":1}'],
  ["MessagePack", "/wire", '{"protocol":"messagepack","version":1}', "messagepack"],
  ["the properties in the other order", "/wire", '{"version":1,"protocol":"json"}'],
  ["unknown properties", "/wire", '{"protocol":"json","extra":{"a":[1]},"version":1}'],
  ["white space", "/wire", ' { "protocol" : "json" ,\r\n "version" : 1 } '],
  ["a name in capitals", "/wire", '{"protocol":"JSON","version":1}'],
  ["a name in capitals", "/wire", '{"protocol":"MessagePack","version":1}', "messagepack"],
  ["version 2", "/wire", '{"protocol":"json","version":2}'],
  ["version 2", "/wire", '{"protocol":"messagepack","version":2}', "messagepack"],
  ["version 0", "/wire", '{"protocol":"json","version":0}'],
  ["a hub that knows JSON only", "/json-only", '{"protocol":"json","version":1}'],
];

const unexpected = "An unexpected error occurred during connection handshake.";
const bad: readonly [title: string, path: string, text: string, error: string | RegExp][] = [
  [
    "an unknown protocol",
    "/wire",
    '{"protocol":"smoke","version":1}',
    "The protocol 'smoke' is not supported.",
  ],
  [
    "an empty protocol",
    "/wire",
    '{"protocol":"","version":1}',
    "The protocol '' is not supported.",
  ],
  [
    "a protocol that the hub does not have",
    "/json-only",
    '{"protocol":"messagepack","version":1}',
    "The protocol 'messagepack' is not supported.",
  ],
  [
    "version 3",
    "/wire",
    '{"protocol":"json","version":3}',
    "The server does not support version 3 of the 'json' protocol.",
  ],
  [
    "version 3 of MessagePack",
    "/wire",
    '{"protocol":"messagepack","version":3}',
    "The server does not support version 3 of the 'messagepack' protocol.",
  ],
  ["no protocol", "/wire", '{"version":1}', new RegExp(`^${unexpected} InvalidDataException: `)],
  [
    "no version",
    "/wire",
    '{"protocol":"json"}',
    new RegExp(`^${unexpected} InvalidDataException: `),
  ],
  ["no JSON", "/wire", "GET / HTTP/1.1", new RegExp(`^${unexpected} `)],
  ["an array", "/wire", "[]", new RegExp(`^${unexpected} InvalidDataException: `)],
  ["nothing but a separator", "/wire", "", new RegExp(`^${unexpected} `)],
  [
    "a version that is no number",
    "/wire",
    '{"protocol":"json","version":"1"}',
    new RegExp(`^${unexpected} InvalidDataException: Expected 'version' to be`),
  ],
  [
    "a protocol that is no text",
    "/wire",
    '{"protocol":1,"version":1}',
    new RegExp(`^${unexpected} InvalidDataException: Expected 'protocol' to be`),
  ],
  ["no version, details off", "/quiet", '{"protocol":"json"}', unexpected],
  ["no JSON, details off", "/quiet", "{", unexpected],
  [
    "an unknown protocol, details off",
    "/quiet",
    '{"protocol":"smoke","version":1}',
    "The protocol 'smoke' is not supported.",
  ],
];

const cases: readonly Case[] = [
  ...good.map(
    ([title, path, text, protocol = "json"]): Case => ({
      title: `${title}, ${protocol}`,
      async run(scene) {
        const peer = await openUnshaken(scene, path, { protocol });
        peer.send(`${text}\x1e`);
        assert.equal(await takeHandshakeReply(peer), "{}\x1e");
        await peer.isAlive();
      },
    }),
  ),
  ...bad.map(
    ([title, path, text, error]): Case => ({
      title: `${title}: ${JSON.stringify(text)}`,
      async run(scene) {
        const peer = await openUnshaken(scene, path);
        peer.send(`${text}\x1e`);
        const reply = await peer.nextText();
        assert.ok(reply.endsWith("\x1e"), reply);
        const { error: actual, ...rest } = JSON.parse(reply.slice(0, -1));
        assert.deepEqual(rest, {});
        if (typeof error === "string") assert.equal(actual, error);
        else assert.match(actual, error);
        assert.equal(await peer.nextFrame("the close"), undefined, "no Close message");
        assert.equal(await hasObserved(scene, peer.connectionId, ""), false, "no hub was told");
      },
    }),
  ),
  {
    title: "none within its time limit",
    async run(scene) {
      const peer = await openUnshaken(scene, "/impatient");
      assert.equal(await peer.nextText(), '{"error":"Handshake was canceled."}\x1e');
      assert.equal(await peer.nextFrame(), undefined);
    },
  },
  {
    title: "half of one within its time limit",
    async run(scene) {
      const peer = await openUnshaken(scene, "/impatient");
      peer.send(jsonHandshake.slice(0, 12));
      assert.equal(await peer.nextText(), '{"error":"Handshake was canceled."}\x1e');
      assert.equal(await peer.nextFrame(), undefined);
    },
  },
  {
    title: "none within the size of a message",
    async run(scene) {
      const peer = await openUnshaken(scene, "/small-message");
      peer.send(`{"protocol":"json","version":1,"x":"${"x".repeat(200)}`);
      const { error } = JSON.parse((await peer.nextText()).slice(0, -1));
      assert.match(error, handshakeOversize);
      assert.equal(await peer.nextFrame(), undefined);
    },
  },
  {
    title: "a close before it is whole is not answered",
    async run(scene) {
      const peer = await openUnshaken(scene);
      peer.send(jsonHandshake.slice(0, 12));
      peer.socket.close(1000);
      assert.equal(await peer.nextFrame("the close"), undefined);
      assert.equal(await hasObserved(scene, peer.connectionId, ""), false);
    },
  },
  {
    title: "MessagePack over an event stream",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const path = `/wire?id=${connectionToken}`;
      const stream = await openEvents(scene, path);
      await stream.readUntil(":\r\n");
      const body = '{"protocol":"messagepack","version":1}\x1e';
      assert.equal((await request(scene, "POST", path, { body })).status, 200);
      assert.deepEqual(await stream.nextMessages(), [
        {
          error:
            "Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format.",
        },
      ]);
      await stream.whenEnded();
    },
  },
  {
    title: "the reply comes before what OnConnected sends",
    async run(scene) {
      const peer = await openUnshaken(scene, "/greeting");
      peer.send(jsonHandshake);
      assert.equal(await takeHandshakeReply(peer), "{}\x1e");
      await peer.expect({ type: 1, target: "Message", arguments: ["welcome"] });
    },
  },
];

const handshakeOversize = /^Handshake was canceled\.$/;

export const handshakeGroup: Group = { title: "handshake (§4)", cases };
