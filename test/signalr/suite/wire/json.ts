import assert from "node:assert/strict";
import type { Case, Group } from "../case.js";
import { openHub } from "../hub-peer.js";

const rs = "\x1e";
const closed = "Connection closed with an error.";

/** What ends the connection, and with what detail. */
const fatal: readonly [title: string, text: string, detail: RegExp][] = [
  ["no JSON", "hello", /InvalidDataException: Error reading JSON\./],
  ["half an object", '{"type":6', /InvalidDataException: Error reading JSON\./],
  ["an empty message", "", /InvalidDataException: Error reading JSON\./],
  ["an array", "[]", /InvalidDataException: Unexpected JSON Token Type/],
  ["a number", "6", /InvalidDataException: Unexpected JSON Token Type/],
  ["null", "null", /InvalidDataException: Unexpected JSON Token Type/],
  ["no type", "{}", /InvalidDataException: Missing required property 'type'\./],
  [
    "a type that is text",
    '{"type":"1"}',
    /InvalidDataException: Expected 'type' to be of type Number\./,
  ],
  [
    "a type that is null",
    '{"type":null}',
    /InvalidDataException: Expected 'type' to be of type Number\./,
  ],
  ["a type of 1.0", '{"type":6.0}', /./],
  ["a type of 1e1", '{"type":1e1}', /./],
  ["a byte order mark", '\uFEFF{"type":6}', /InvalidDataException: Error reading JSON\./],
  ["property names in capitals", '{"Type":6}', /Missing required property 'type'\./],
  [
    "no target",
    '{"type":1,"arguments":[]}',
    /InvalidDataException: Missing required property 'target'\./,
  ],
  [
    "no arguments",
    '{"type":1,"invocationId":"1","target":"Nothing"}',
    /InvalidDataException: Missing required property 'arguments'\./,
  ],
  ["arguments null", '{"type":1,"target":"Nothing","arguments":null}', /./],
  ["arguments an object", '{"type":1,"target":"Nothing","arguments":{}}', /./],
  [
    "a target that is a number",
    '{"type":1,"target":1,"arguments":[]}',
    /Expected 'target' to be of type String\./,
  ],
  ["an id that is null", '{"type":1,"invocationId":null,"target":"Nothing","arguments":[]}', /./],
  [
    "an id that is a number",
    '{"type":1,"invocationId":1,"target":"Nothing","arguments":[]}',
    /Expected 'invocationId' to be of type String\./,
  ],
  [
    "a stream invocation without an id",
    '{"type":4,"target":"Count","arguments":[1]}',
    /Missing required property 'invocationId'\./,
  ],
  ["headers null", '{"type":1,"headers":null,"target":"Nothing","arguments":[]}', /./],
  [
    "a header that is a number",
    '{"type":1,"headers":{"a":1},"target":"Nothing","arguments":[]}',
    /./,
  ],
  ["stream ids null", '{"type":1,"streamIds":null,"target":"Nothing","arguments":[]}', /./],
  [
    "a stream id that is null",
    '{"type":1,"streamIds":[null],"target":"Nothing","arguments":[]}',
    /./,
  ],
  ["an item without an id", '{"type":2,"item":1}', /Missing required property 'invocationId'\./],
  [
    "a completion without an id",
    '{"type":3,"result":1}',
    /Missing required property 'invocationId'\./,
  ],
  [
    "an error and a result",
    '{"type":3,"invocationId":"x","error":"e","result":1}',
    /The 'error' and 'result' properties are mutually exclusive\./,
  ],
  ["a cancel without an id", '{"type":5}', /Missing required property 'invocationId'\./],
  ["Close with an error that is null", '{"type":7,"error":null}', /./],
  [
    "65 levels in an argument",
    `{"type":1,"invocationId":"1","target":"EchoAny","arguments":[${"[".repeat(64)}${"]".repeat(64)}]}`,
    /./,
  ],
  [
    "65 levels in a property that nobody reads",
    `{"type":6,"x":${"[".repeat(65)}${"]".repeat(65)}}`,
    /./,
  ],
  [
    "65 levels for an unknown method",
    `{"type":1,"invocationId":"1","target":"Unknown","arguments":[${"[".repeat(64)}${"]".repeat(64)}]}`,
    /./,
  ],
];

/** What does not, and what is answered. */
const tolerated: readonly [title: string, text: string, answer?: object][] = [
  [
    "type last",
    '{"arguments":["x"],"target":"Echo","invocationId":"1","type":1}',
    { type: 3, invocationId: "1", result: "x" },
  ],
  [
    "unknown properties",
    '{"type":1,"extra":{"deep":[1,{"a":null}]},"invocationId":"1","target":"Echo","arguments":["x"],"more":null}',
    { type: 3, invocationId: "1", result: "x" },
  ],
  [
    "white space",
    ' {\r\n\t"type" : 1 , "invocationId" : "1" , "target" : "Echo", "arguments" : [ "x" ] } ',
    { type: 3, invocationId: "1", result: "x" },
  ],
  ["no id", '{"type":1,"target":"Echo","arguments":["x"]}'],
  [
    "headers",
    '{"type":1,"headers":{"traceparent":"00-a-b-01","x":""},"invocationId":"1","target":"Echo","arguments":["x"]}',
    { type: 3, invocationId: "1", result: "x" },
  ],
  [
    "no stream ids",
    '{"type":1,"invocationId":"1","streamIds":[],"target":"Echo","arguments":["x"]}',
    { type: 3, invocationId: "1", result: "x" },
  ],
  [
    "escapes",
    '{"type":1,"invocationId":"\\u0031","target":"\\u0045cho","arguments":["\\ud83e\\udded\\n\\""]}',
    { type: 3, invocationId: "1", result: '\u{1F9ED}\n"' },
  ],
  [
    "escapes in names",
    '{"\\u0074ype":1,"invocationId":"1","target":"Echo","arguments":["x"]}',
    { type: 3, invocationId: "1", result: "x" },
  ],
  [
    "a property twice: the last counts",
    '{"type":6,"type":1,"invocationId":"1","target":"Echo","arguments":["x"]}',
    { type: 3, invocationId: "1", result: "x" },
  ],
  [
    "an empty target",
    '{"type":1,"invocationId":"1","target":"","arguments":[]}',
    {
      type: 3,
      invocationId: "1",
      error:
        "Failed to invoke '' due to an error on the server. HubException: Method does not exist.",
    },
  ],
  ["a ping", '{"type":6}'],
  ["a ping with properties", '{"type":6,"x":1}'],
  ["what stands behind the object", '{"type":6} and more {'],
  ["a result for nobody", '{"type":3,"invocationId":"nobody","result":1}'],
  ["an item for nobody", '{"type":2,"invocationId":"nobody","item":1}'],
  ["a cancel for nobody", '{"type":5,"invocationId":"nobody"}'],
  ["Ack that nobody asked for", '{"type":8,"sequenceId":5}'],
  ["Sequence that nobody asked for", '{"type":9,"sequenceId":5}'],
  [
    "64 levels",
    `{"type":1,"invocationId":"1","target":"EchoAny","arguments":[${"[".repeat(62)}${"]".repeat(62)}]}`,
    {
      type: 3,
      invocationId: "1",
      result: JSON.parse("[".repeat(62) + "]".repeat(62)),
    },
  ],
];

const unread = {
  situation: "A message of an unknown type",
  aspNetCore: "The connection stalls: what follows is never read",
  halyard: "Skipped, as clients do",
  why: "Unknown types are meant to be skipped for the sake of later versions.",
};

const cases: readonly Case[] = [
  ...fatal.map(
    ([title, text, detail]): Case => ({
      title: `fatal: ${title}`,
      async run(scene) {
        const [peer, quiet] = [await openHub(scene), await openHub(scene, "/quiet")];
        for (const each of [peer, quiet]) each.send(text + rs);
        const { error, ...rest } = await peer.expectClose();
        assert.deepEqual(rest, { type: 7, allowReconnect: true });
        assert.ok(String(error).startsWith(`${closed} `), String(error));
        assert.match(String(error), detail);
        const plain = { type: 7, error: closed, allowReconnect: true };
        assert.deepEqual(await quiet.expectClose(), plain);
      },
    }),
  ),
  ...tolerated.map(
    ([title, text, answer]): Case => ({
      title: `tolerated: ${title}`,
      async run(scene) {
        const peer = await openHub(scene);
        peer.send(text + rs);
        if (answer !== undefined) await peer.expect(answer as Record<string, unknown>);
        await peer.isAlive();
      },
    }),
  ),
  ...[10, 99, -1, 0].map(
    (type): Case => ({
      title: `type ${type}`,
      differs: unread,
      async run(scene) {
        const peer = await openHub(scene);
        peer.sendMessage({ type, x: [1, "two"] });
        const id = peer.start("Echo", "after");
        const answer = peer.next();
        const expected = scene.expected({
          aspNetCore: undefined,
          halyard: { type: 3, invocationId: id, result: "after" },
        });
        if (expected) assert.deepEqual(await answer, expected);
        else await staysSilent(answer);
      },
    }),
  ),
  {
    title: "what the server writes, to the byte",
    async run(scene) {
      const peer = await openHub(scene);
      const call = (target: string, args: unknown[]) =>
        peer.sendMessage({ type: 1, invocationId: "7", target, arguments: args });
      const rows: [string, unknown[], string[]][] = [
        ["Echo", ["x"], ['{"type":3,"invocationId":"7","result":"x"}']],
        ["Null", [], ['{"type":3,"invocationId":"7","result":null}']],
        ["Nothing", [], ['{"type":3,"invocationId":"7","result":null}']],
        ["Bytes", [], ['{"type":3,"invocationId":"7","result":"AQID"}']],
        [
          "FailForCaller",
          ["oh"],
          [
            `{"type":3,"invocationId":"7","error":"An unexpected error occurred invoking 'FailForCaller' on the server. HubException: oh"}`,
          ],
        ],
        [
          "SendToCaller",
          ["Target", "text"],
          [
            '{"type":1,"target":"Target","arguments":["text"]}',
            '{"type":3,"invocationId":"7","result":null}',
          ],
        ],
      ];
      for (const [target, args, expected] of rows) {
        call(target, args);
        assert.equal(
          await readText(peer, expected.length),
          expected.map((each) => each + rs).join(""),
        );
      }
      peer.sendMessage({ type: 4, invocationId: "8", target: "Count", arguments: [2] });
      const stream = [
        '{"type":2,"invocationId":"8","item":0}',
        '{"type":2,"invocationId":"8","item":1}',
        '{"type":3,"invocationId":"8"}',
      ];
      assert.equal(await readText(peer, 3), stream.map((each) => each + rs).join(""));
      peer.sendMessage({ type: 1, target: "Abort", arguments: [] });
      assert.equal(await readText(peer, 1), `{"type":7}${rs}`);
    },
  },
  {
    title: "text beyond ASCII is itself",
    async run(scene) {
      const peer = await openHub(scene);
      peer.start("Echo", "é漢<&'+");
      const expected = `{"type":3,"invocationId":"0","result":"é漢<&'+"}${rs}`;
      assert.equal(await readText(peer, 1), expected);
    },
  },
  {
    title: "values go through as they are",
    async run(scene) {
      const peer = await openHub(scene);
      for (const value of [
        null,
        true,
        0,
        -1.5,
        9007199254740991,
        1e300,
        "",
        "\u0000\u001f\u2028",
        [],
        {},
        [[1], [{ a: null }]],
        { Name: "x", name: "y", "": 1 },
        { __proto__x: 1, constructor: "c" },
      ]) {
        assert.deepEqual(await peer.invoke("EchoAny", value), value);
      }
    },
  },
];

/** Nothing but pings for a while. */
async function staysSilent(answer: Promise<unknown>): Promise<void> {
  const silence = Symbol("silence");
  const limit = new Promise((resolve) => setTimeout(() => resolve(silence), 1_000));
  assert.equal(await Promise.race([answer.catch((error) => error), limit]), silence);
}

/** The text of the next messages. */
async function readText(peer: Awaited<ReturnType<typeof openHub>>, count: number): Promise<string> {
  let text = "";
  while (text.split(rs).length <= count) text += await peer.nextText();
  return text;
}

export const jsonGroup: Group = { title: "JSON (§6)", cases };
