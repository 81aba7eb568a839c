import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { type Case, type Group, tokenFor } from "../case.js";
import { negotiate, openHubPolls, request, summary } from "../http.js";
import { openSocket } from "../hub-peer.js";

const allTransports = [
  { transport: "WebSockets", transferFormats: ["Text", "Binary"] },
  { transport: "ServerSentEvents", transferFormats: ["Text"] },
  { transport: "LongPolling", transferFormats: ["Text", "Binary"] },
];
const id = /^[A-Za-z0-9_-]{22}$/;

/** The text of a successful answer, its ids replaced. */
const template = (text: string) =>
  text.replaceAll(/"(connectionId|connectionToken)":"[\w-]{22}"/g, '"$1":"…"');

const body = (start: string, ids: string, transports: readonly unknown[] = allTransports) =>
  `{${start}${ids},"availableTransports":${JSON.stringify(transports)}}`;
const version0 = body('"negotiateVersion":0,', '"connectionId":"…"');
const version1 = body('"negotiateVersion":1,', '"connectionId":"…","connectionToken":"…"');
const stateful1 = version1.replace("{", '{"useStatefulReconnect":true,');

const answers: readonly [title: string, path: string, query: string, expected: string][] = [
  ["version 1", "/wire", "?negotiateVersion=1", version1],
  ["no version", "/wire", "", version0],
  ["version 0", "/wire", "?negotiateVersion=0", version0],
  ["version 2 is answered as 1", "/wire", "?negotiateVersion=2", version1],
  ["version 99 is answered as 1", "/wire", "?negotiateVersion=99", version1],
  ["keys of the query in any case", "/wire", "?NEGOTIATEVERSION=1", version1],
  ["other keys of the query", "/wire", "?a=1&negotiateVersion=1&b=%20", version1],
  ["a raw connection", "/echo", "?negotiateVersion=1", version1],
  ["a least version that is met", "/wire-v1", "?negotiateVersion=1", version1],
  ...["true", "True", "TRUE"].map((value): (typeof answers)[number] => [
    `stateful reconnect asked for with ${value}`,
    "/stateful",
    `?negotiateVersion=1&useStatefulReconnect=${value}`,
    stateful1,
  ]),
  ...["false", "1", "yes", ""].map((value): (typeof answers)[number] => [
    `stateful reconnect asked for with "${value}"`,
    "/stateful",
    `?negotiateVersion=1&useStatefulReconnect=${value}`,
    version1,
  ]),
  [
    "stateful reconnect, key in another case",
    "/stateful",
    "?negotiateVersion=1&USESTATEFULRECONNECT=true",
    stateful1,
  ],
  ["stateful reconnect not asked for", "/stateful", "?negotiateVersion=1", version1],
  [
    "stateful reconnect where it is not allowed",
    "/wire",
    "?negotiateVersion=1&useStatefulReconnect=true",
    version1,
  ],
  ...allTransports.map((each): (typeof answers)[number] => [
    `${each.transport} alone`,
    `/wire-${each.transport.toLowerCase().replace("serversentevents", "sse")}`,
    "?negotiateVersion=1",
    body('"negotiateVersion":1,', '"connectionId":"…","connectionToken":"…"', [each]),
  ]),
];

const errors: readonly [title: string, path: string, query: string, error: string][] = [
  ...["abc", "1.5", "1.0", "0x1", "99999999999"].map((value): (typeof errors)[number] => [
    `version "${value}"`,
    "/wire",
    `?negotiateVersion=${value}`,
    "The client requested a non-integer protocol version.",
  ]),
  ...["", "?negotiateVersion=0"].map((query): (typeof errors)[number] => [
    `below the least version: "${query}"`,
    "/wire-v1",
    query,
    "The client requested version '0', but the server does not support this version.",
  ]),
];

const otherCases: readonly Case[] = [
  {
    title: "id and token are two, and new each time",
    async run(scene) {
      const all = await Promise.all(Array.from({ length: 20 }, () => negotiate(scene, "/wire")));
      const ids = all.flatMap((each) => [each.connectionId, each.connectionToken]);
      for (const each of ids) assert.match(each, id);
      assert.equal(new Set(ids).size, ids.length);
    },
  },
  {
    title: "in version 0 the id is the token",
    async run(scene) {
      const { connectionId } = await negotiate(scene, "/wire", { version: 0 });
      const reply = await request(scene, "GET", `/wire?id=${connectionId}`);
      assert.equal(reply.status, 200);
    },
  },
  {
    title: "in version 1 the id is not the token",
    async run(scene) {
      const { connectionId } = await negotiate(scene, "/wire");
      const reply = await request(scene, "GET", `/wire?id=${connectionId}`);
      assert.deepEqual(summary(reply), {
        status: 404,
        type: "text/plain",
        text: "No Connection with that ID",
      });
    },
  },
  {
    title: "the token is compared with regard to case",
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const swapped = [...connectionToken]
        .map((each) => (each === each.toLowerCase() ? each.toUpperCase() : each.toLowerCase()))
        .join("");
      assert.equal((await request(scene, "GET", `/wire?id=${swapped}`)).status, 404);
      assert.equal((await request(scene, "GET", `/wire?id=${connectionToken}`)).status, 200);
    },
  },
  ...["GET", "PUT", "DELETE", "PATCH"].map(
    (method): Case => ({
      title: `${method} is not allowed`,
      async run(scene) {
        const reply = await request(scene, method, "/wire/negotiate?negotiateVersion=1");
        assert.deepEqual(summary(reply), { status: 405, type: "text/plain", text: "" });
      },
    }),
  ),
  {
    title: "a body is of no interest",
    async run(scene) {
      const reply = await request(scene, "POST", "/wire/negotiate?negotiateVersion=1", {
        body: "{ not even JSON",
        headers: { "Content-Type": "application/json" },
      });
      assert.equal(template(reply.text), version1);
    },
  },
  {
    title: "a hub that needs a user answers 401",
    async run(scene) {
      const reply = await request(scene, "POST", "/authorizedhub/negotiate?negotiateVersion=1");
      assert.equal(reply.status, 401);
      assert.doesNotMatch(reply.text, /connection/);
    },
  },
  {
    title: "a token that is not signed well answers 401",
    async run(scene) {
      const token = await tokenFor(scene);
      const broken = `${token.slice(0, -4)}AAAA`;
      const reply = await request(scene, "POST", "/authorizedhub/negotiate?negotiateVersion=1", {
        headers: { Authorization: `Bearer ${broken}` },
      });
      assert.equal(reply.status, 401);
    },
  },
  {
    title: "a token in the header or in the query lets in",
    async run(scene) {
      const token = await tokenFor(scene);
      const path = "/authorizedhub/negotiate?negotiateVersion=1";
      const headers = { Authorization: `Bearer ${token}` };
      assert.equal((await request(scene, "POST", path, { headers })).status, 200);
      assert.equal((await request(scene, "POST", `${path}&access_token=${token}`)).status, 200);
    },
  },
  {
    title: "a socket without an id is a connection of its own",
    async run(scene) {
      const socket = await openSocket(scene, "/wire");
      socket.send('{"protocol":"json","version":1}\x1e');
      assert.equal(await socket.nextText(), "{}\x1e");
    },
  },
  {
    title: "what nobody connects to is forgotten",
    timeLimit: 20_000,
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      // The limit of the application is 5 s, and the clock looks once a second.
      await sleep(7_500);
      const reply = await request(scene, "GET", `/wire?id=${connectionToken}`);
      assert.deepEqual(summary(reply), {
        status: 404,
        type: "text/plain",
        text: "No Connection with that ID",
      });
    },
  },
  {
    title: "the token of one path on another",
    differs: {
      situation: "A connection token is used on another hub's path",
      aspNetCore: "Taken: one table of connections serves all hubs of a process",
      halyard: "404 `No Connection with that ID`",
      why: "A token is a secret of one path; what may be reached there was decided at its negotiate.",
    },
    async run(scene) {
      const { connectionToken } = await negotiate(scene, "/wire");
      const { status } = await request(scene, "GET", `/quiet?id=${connectionToken}`);
      assert.equal(status, scene.expected({ aspNetCore: 200, halyard: 404 }));
    },
  },
  {
    title: "the token of one user with another user",
    differs: {
      situation: "Another authenticated user polls with somebody's connection token",
      aspNetCore: "Served on a hub that anybody may use",
      halyard: "Refused with 403, 404 or 401",
      why: "A token that leaks is of no use to anybody else.",
    },
    async run(scene) {
      const [first, second] = await Promise.all([
        tokenFor(scene, { user: "first" }),
        tokenFor(scene, { user: "second" }),
      ]);
      const peer = await openHubPolls(scene, "/wire", first);
      await peer.send({ type: 1, invocationId: "1", target: "Echo", arguments: ["secret"] });
      const reply = await peer.poll({ headers: { Authorization: `Bearer ${second}` } });
      const isServed = reply.text.includes("secret");
      assert.equal(isServed, scene.expected({ aspNetCore: true, halyard: false }));
      assert.equal(
        [401, 403, 404].includes(reply.status),
        scene.expected({ aspNetCore: false, halyard: true }),
        String(reply.status),
      );
    },
  },
];

export const negotiateGroup: Group = {
  title: "negotiate (§2)",
  cases: [
    ...answers.map(
      ([title, path, query, expected]): Case => ({
        title,
        async run(scene) {
          const reply = await request(scene, "POST", `${path}/negotiate${query}`);
          assert.equal(reply.status, 200);
          assert.equal(reply.headers["content-type"]?.split(";")[0], "application/json");
          assert.equal(reply.headers["content-length"], String(reply.body.length));
          assert.equal(template(reply.text), expected);
        },
      }),
    ),
    ...errors.map(
      ([title, path, query, error]): Case => ({
        title,
        async run(scene) {
          const reply = await request(scene, "POST", `${path}/negotiate${query}`);
          assert.equal(reply.status, 200);
          assert.equal(reply.headers["content-type"]?.split(";")[0], "application/json");
          assert.deepEqual(JSON.parse(reply.text), { error });
        },
      }),
    ),
    ...otherCases,
  ],
};
