import assert from "node:assert/strict";
import { type Case, type Group, type Scene, tokenFor } from "../case.js";
import {
  jsonHandshake,
  negotiate,
  openEvents,
  openHubPolls,
  openPolls,
  request,
  summary,
} from "../http.js";
import { openHub, openSocket, openUnshaken, refusedUpgrade, reopen } from "../hub-peer.js";

const events = { headers: { Accept: "text/event-stream" } };

/** The ways to an endpoint that are ordinary requests. */
const ways: readonly [
  name: string,
  send: (scene: Scene, path: string) => ReturnType<typeof request>,
][] = [
  ["a poll", (scene, path) => request(scene, "GET", path)],
  ["an event stream", (scene, path) => request(scene, "GET", path, events)],
  ["a POST", (scene, path) => request(scene, "POST", path, { body: jsonHandshake })],
  ["a DELETE", (scene, path) => request(scene, "DELETE", path)],
];

const plain = (status: number, text: string) => ({ status, type: "text/plain", text });
const unknownId = "No Connection with that ID";
const noId = "Connection ID required";
const cannotChange = "Cannot change transports mid-connection";
const notSupported = (transport: string) =>
  `${transport} transport not supported by this end point type`;

const cases: readonly Case[] = [
  ...ways.flatMap(([name, send]): Case[] => [
    {
      title: `${name} without an id`,
      async run(scene) {
        assert.deepEqual(summary(await send(scene, "/wire")), plain(400, noId));
      },
    },
    {
      title: `${name} with an empty id`,
      async run(scene) {
        assert.deepEqual(summary(await send(scene, "/wire?id=")), plain(400, noId));
      },
    },
    {
      title: `${name} with an unknown id`,
      async run(scene) {
        assert.deepEqual(summary(await send(scene, "/wire?id=unknown")), plain(404, unknownId));
      },
    },
  ]),
  {
    title: "a WebSocket with an unknown id",
    async run(scene) {
      const refusal = await refusedUpgrade(scene, "/wire?id=unknown");
      assert.deepEqual(refusal, { status: 404, text: unknownId });
    },
  },
  {
    title: "OPTIONS",
    differs: {
      situation: "OPTIONS on the path of a hub",
      aspNetCore: "405",
      halyard: "Left to what stands behind, such as middleware for CORS; without any, 404",
      why: "Preflight requests belong to whoever answers them, wherever that stands.",
    },
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const { status } = await request(scene, "OPTIONS", `/wire?id=${connectionToken}`);
      assert.equal(status, scene.expected({ aspNetCore: 405, halyard: 404 }));
    },
  },
  ...["PUT", "PATCH", "TRACE"].map(
    (method): Case => ({
      title: `${method} is not allowed`,
      async run(scene) {
        const { connectionToken } = await negotiate(scene, "/wire");
        const reply = await request(scene, method, `/wire?id=${connectionToken}`);
        assert.deepEqual(summary(reply), plain(405, ""));
      },
    }),
  ),
  {
    title: "a path below the hub is not the hub",
    async run(scene) {
      const { status, text } = await request(scene, "GET", "/wire/below?id=unknown");
      assert.equal(status, 404);
      assert.notEqual(text, unknownId);
    },
  },

  // transports that are not enabled
  {
    title: "a poll where there is no long polling",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire-websockets");
      const reply = await request(scene, "GET", `/wire-websockets?id=${connectionToken}`);
      assert.deepEqual(summary(reply), plain(404, notSupported("LongPolling")));
    },
  },
  {
    title: "an event stream where there is none",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire-websockets");
      const reply = await request(scene, "GET", `/wire-websockets?id=${connectionToken}`, events);
      assert.deepEqual(summary(reply), plain(404, notSupported("ServerSentEvents")));
    },
  },
  {
    title: "a WebSocket where there is none",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire-sse");
      const refusal = await refusedUpgrade(scene, `/wire-sse?id=${connectionToken}`);
      assert.deepEqual(refusal, { status: 404, text: notSupported("WebSockets") });
    },
  },
  {
    title: "a WebSocket without an id where there is none",
    async run(scene) {
      const refusal = await refusedUpgrade(scene, "/wire-sse");
      assert.deepEqual(refusal, { status: 404, text: notSupported("WebSockets") });
    },
  },

  // another transport than the first
  {
    title: "an event stream after a poll",
    async run(scene) {
      const peer = await openPolls(scene);
      const reply = await request(scene, "GET", peer.path, events);
      assert.deepEqual(summary(reply), plain(400, cannotChange));
    },
  },
  {
    title: "a WebSocket after a poll",
    async run(scene) {
      const peer = await openPolls(scene);
      const refusal = await refusedUpgrade(scene, peer.path);
      assert.deepEqual(refusal, { status: 400, text: cannotChange });
    },
  },
  {
    title: "a poll after an event stream",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      await openEvents(scene, `/wire?id=${connectionToken}`);
      const reply = await request(scene, "GET", `/wire?id=${connectionToken}`);
      assert.deepEqual(summary(reply), plain(400, cannotChange));
    },
  },
  {
    title: "a poll after a WebSocket",
    async run(scene) {
      const peer = await openHub(scene);
      const reply = await request(scene, "GET", `/wire?id=${peer.token}`);
      assert.deepEqual(summary(reply), plain(400, cannotChange));
      await peer.isAlive();
    },
  },
  {
    title: "an event stream after a WebSocket",
    async run(scene) {
      const peer = await openHub(scene);
      const reply = await request(scene, "GET", `/wire?id=${peer.token}`, events);
      assert.deepEqual(summary(reply), plain(400, cannotChange));
      await peer.isAlive();
    },
  },

  // one more of the same
  {
    title: "a second event stream",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const first = await openEvents(scene, `/wire?id=${connectionToken}`);
      const reply = await request(scene, "GET", `/wire?id=${connectionToken}`, events);
      assert.deepEqual({ status: reply.status, text: reply.text }, { status: 409, text: "" });
      assert.equal(await first.readUntil("\r\n"), ":\r\n");
      await request(scene, "POST", `/wire?id=${connectionToken}`, { body: jsonHandshake });
      assert.deepEqual(await first.nextMessages(), [{}]);
    },
  },
  {
    title: "a second WebSocket",
    async run(scene) {
      const peer = await openHub(scene);
      const refusal = await refusedUpgrade(scene, `/wire?id=${peer.token}`);
      assert.deepEqual(refusal, { status: 409, text: "" });
      await peer.isAlive();
    },
  },
  {
    title: "a second WebSocket where stateful reconnect is allowed but was not asked for",
    async run(scene) {
      const peer = await openHub(scene, "/stateful");
      const refusal = await refusedUpgrade(scene, `/stateful?id=${peer.token}`);
      assert.deepEqual(refusal, { status: 409, text: "" });
      await peer.isAlive();
    },
  },
  {
    title: "a WebSocket after the first has closed",
    async run(scene) {
      const peer = await openHub(scene);
      peer.socket.close();
      await peer.whenClosed();
      await assert.rejects(reopen(peer));
    },
  },

  // POST and DELETE for other transports
  {
    title: "a POST for a WebSocket",
    async run(scene) {
      const peer = await openHub(scene);
      const reply = await request(scene, "POST", `/wire?id=${peer.token}`, { body: "x" });
      const text = "POST requests are not allowed for WebSocket connections.";
      assert.deepEqual(summary(reply), plain(405, text));
      await peer.isAlive();
    },
  },
  ...(["WebSocket", "event stream"] as const).map(
    (kind): Case => ({
      title: `a DELETE for ${kind === "WebSocket" ? "a" : "an"} ${kind}`,
      async run(scene) {
        let path: string;
        if (kind === "WebSocket") path = `/wire?id=${(await openHub(scene)).token}`;
        else {
          path = `/wire?id=${(await negotiate(scene, "/wire")).connectionToken}`;
          await openEvents(scene, path);
        }
        const reply = await request(scene, "DELETE", path);
        const text = "Cannot terminate this connection using the DELETE endpoint.";
        assert.deepEqual(summary(reply), plain(400, text));
      },
    }),
  ),
  {
    title: "a DELETE before anybody has connected",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const reply = await request(scene, "DELETE", `/wire?id=${connectionToken}`);
      const text = "Cannot terminate this connection using the DELETE endpoint.";
      assert.deepEqual(summary(reply), plain(400, text));
    },
  },
  {
    title: "a DELETE ends long polling",
    async run(scene) {
      const peer = await openHubPolls(scene);
      const deleted = await peer.delete();
      assert.deepEqual({ status: deleted.status, text: deleted.text }, { status: 202, text: "" });
    },
  },

  // the kind of a GET
  ...["text/event-stream", "text/html, text/event-stream", "text/event-stream, */*"].map(
    (accept): Case => ({
      title: `Accept: ${accept} asks for an event stream`,
      async run(scene) {
        const { connectionToken } = await negotiate(scene, "/wire");
        const stream = await openEvents(scene, `/wire?id=${connectionToken}`, {
          headers: { Accept: accept },
        });
        assert.equal(stream.response.headers["content-type"], "text/event-stream");
      },
    }),
  ),
  {
    title: "Accept: */* asks for a poll",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const reply = await request(scene, "GET", `/wire?id=${connectionToken}`, {
        headers: { Accept: "*/*" },
      });
      assert.equal(reply.headers["content-type"], "application/octet-stream");
    },
  },
  {
    title: "an upgrade is a WebSocket whatever it accepts",
    async run(scene) {
      const socket = await openSocket(scene, "/wire", { headers: { Accept: "application/json" } });
      socket.send(jsonHandshake);
      assert.equal(await socket.nextText(), "{}\x1e");
    },
  },
  {
    title: "the key of the id in another case",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      assert.equal((await request(scene, "GET", `/wire?ID=${connectionToken}`)).status, 200);
    },
  },

  // who is asked for
  {
    title: "no user, no connection",
    async run(scene) {
      for (const [, send] of ways) {
        assert.equal((await send(scene, "/authorizedhub?id=unknown")).status, 401);
      }
      assert.equal((await refusedUpgrade(scene, "/authorizedhub")).status, 401);
    },
  },
  {
    title: "a token in the query is as good as one in the header, on each transport",
    async run(scene) {
      const token = await tokenFor(scene);
      const query = async () => {
        const { connectionToken } = await negotiate(scene, "/authorizedhub", { token });
        return `/authorizedhub?id=${connectionToken}&access_token=${token}`;
      };
      await openSocket(scene, await query());
      await openEvents(scene, await query());
      assert.equal((await request(scene, "GET", await query())).status, 200);
    },
  },
  {
    title: "the user is known to the hub",
    async run(scene) {
      const token = await tokenFor(scene, { user: "somebody" });
      const peer = await openHub(scene, "/wire", { token });
      assert.equal(await peer.invoke("UserId"), "somebody");
      const nobody = await openHub(scene);
      assert.equal(await nobody.invoke("UserId"), null);
    },
  },
  {
    title: "the query of the request is known to the hub",
    async run(scene) {
      const peer = await openHub(scene, "/wire", { query: "&room=a%20b" });
      assert.equal(await peer.invoke("Query", "room"), "a b");
    },
  },
  {
    title: "a connection before its handshake holds its place",
    async run(scene) {
      const peer = await openUnshaken(scene);
      const refusal = await refusedUpgrade(scene, `/wire?id=${peer.token}`);
      assert.deepEqual(refusal, { status: 409, text: "" });
    },
  },
];

export const routingGroup: Group = { title: "routing and status codes (§3.1, §3.2)", cases };
