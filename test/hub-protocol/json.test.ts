import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { HubMessageTooBigError } from "#dist/errors.js";
import { json } from "#dist/hub-protocol/json.js";
import type { HubMessage, InvocationMessage } from "#dist/hub-protocol/messages.js";
import {
  bare,
  checkChunks,
  encoded,
  inputOf,
  type Memory,
  memories,
  outcome,
  parsed,
  parsedOne,
  record,
} from "./support.js";

const protocol = json();
const long = "The quick brown fox jumps over the lazy dog. ".repeat(30);

/** What ASP.NET Core writes, and what it means. */
const rows: { name: string; text: string; message: HubMessage }[] = [
  {
    name: "invocation without id",
    text: '{"type":1,"target":"Send","arguments":[42]}',
    message: { type: 1, target: "Send", arguments: [42] },
  },
  {
    name: "invocation",
    text: '{"type":1,"invocationId":"0","target":"Add","arguments":[1,2]}',
    message: { type: 1, invocationId: "0", target: "Add", arguments: [1, 2] },
  },
  {
    name: "invocation without arguments",
    text: '{"type":1,"invocationId":"123","target":"Go","arguments":[]}',
    message: { type: 1, invocationId: "123", target: "Go", arguments: [] },
  },
  {
    name: "invocation with a string",
    text: '{"type":1,"invocationId":"7","target":"Echo","arguments":["0123456789abcdef0123456789ABCDEF"]}',
    message: {
      type: 1,
      invocationId: "7",
      target: "Echo",
      arguments: ["0123456789abcdef0123456789ABCDEF"],
    },
  },
  {
    name: "invocation with a long string",
    text: `{"type":1,"invocationId":"7","target":"Echo","arguments":["${long}"]}`,
    message: { type: 1, invocationId: "7", target: "Echo", arguments: [long] },
  },
  {
    name: "invocation with strings to be escaped",
    text: '{"type":1,"target":"a\\"b\\\\","arguments":["\\"","\\n\\u0000\\u001e","é\u007f\u2028😀","","<\'&+>"]}',
    message: {
      type: 1,
      target: 'a"b\\',
      arguments: ['"', "\n\0\x1e", "é\x7f\u2028😀", "", "<'&+>"],
    },
  },
  {
    name: "invocation with values of every kind",
    text: '{"type":1,"target":"x","arguments":[0,-1,1.5,-1e-7,1e+21,9007199254740991,true,false,null,"a",[1,[]],{"a":{"b":[{}]},"ç":"d"}]}',
    message: {
      type: 1,
      target: "x",
      arguments: [
        0,
        -1,
        1.5,
        -1e-7,
        1e21,
        Number.MAX_SAFE_INTEGER,
        true,
        false,
        null,
        "a",
        [1, []],
        { a: { b: [{}] }, ç: "d" },
      ],
    },
  },
  {
    name: "invocation with an upload",
    text: '{"type":1,"invocationId":"3","target":"Upload","arguments":[7],"streamIds":["2"]}',
    message: { type: 1, invocationId: "3", target: "Upload", arguments: [7], streamIds: ["2"] },
  },
  {
    name: "invocation with headers",
    text: '{"type":1,"headers":{"traceparent":"00-\\"1","é":""},"invocationId":"1","target":"x","arguments":["y"]}',
    message: {
      type: 1,
      headers: { traceparent: '00-"1', é: "" },
      invocationId: "1",
      target: "x",
      arguments: ["y"],
    },
  },
  {
    name: "invocation with an id of words",
    text: '{"type":1,"invocationId":"A\\\\É-\\t9","target":"x","arguments":[]}',
    message: { type: 1, invocationId: "A\\É-\t9", target: "x", arguments: [] },
  },
  {
    name: "stream invocation",
    text: '{"type":4,"invocationId":"1","target":"Count","arguments":[5]}',
    message: { type: 4, invocationId: "1", target: "Count", arguments: [5] },
  },
  {
    name: "stream invocation with headers and uploads",
    text: '{"type":4,"headers":{"a":"b"},"invocationId":"1","target":"Count","arguments":[],"streamIds":["2","3"]}',
    message: {
      type: 4,
      headers: { a: "b" },
      invocationId: "1",
      target: "Count",
      arguments: [],
      streamIds: ["2", "3"],
    },
  },
  {
    name: "stream item",
    text: '{"type":2,"invocationId":"1","item":0}',
    message: { type: 2, invocationId: "1", item: 0 },
  },
  {
    name: "stream item with a string",
    text: '{"type":2,"invocationId":"2","item":"x"}',
    message: { type: 2, invocationId: "2", item: "x" },
  },
  {
    name: "stream item of null, with headers",
    text: '{"type":2,"headers":{"a":"b"},"invocationId":"2","item":null}',
    message: { type: 2, headers: { a: "b" }, invocationId: "2", item: null },
  },
  {
    name: "completion with a result",
    text: '{"type":3,"invocationId":"0","result":3}',
    message: { type: 3, invocationId: "0", hasResult: true, result: 3 },
  },
  {
    name: "completion with a string",
    text: '{"type":3,"invocationId":"s12","result":"Hi, world! ~"}',
    message: { type: 3, invocationId: "s12", hasResult: true, result: "Hi, world! ~" },
  },
  {
    name: "completion with an object",
    text: '{"type":3,"invocationId":"0","result":{"a":["}"]}}',
    message: { type: 3, invocationId: "0", hasResult: true, result: { a: ["}"] } },
  },
  {
    name: "completion with null",
    text: '{"type":3,"invocationId":"0","result":null}',
    message: { type: 3, invocationId: "0", hasResult: true, result: null },
  },
  {
    name: "completion with an error",
    text: '{"type":3,"invocationId":"0","error":"It failed"}',
    message: { type: 3, invocationId: "0", hasResult: false, error: "It failed" },
  },
  {
    name: "completion without a result",
    text: '{"type":3,"invocationId":"0"}',
    message: { type: 3, invocationId: "0", hasResult: false },
  },
  {
    name: "completion with headers",
    text: '{"type":3,"headers":{"__proto__":"x"},"invocationId":"0","result":1}',
    message: {
      type: 3,
      headers: JSON.parse('{"__proto__":"x"}'),
      invocationId: "0",
      hasResult: true,
      result: 1,
    },
  },
  {
    name: "cancel invocation",
    text: '{"type":5,"invocationId":"1"}',
    message: { type: 5, invocationId: "1" },
  },
  {
    name: "cancel invocation with headers",
    text: '{"type":5,"headers":{"a":"b"},"invocationId":"1"}',
    message: { type: 5, headers: { a: "b" }, invocationId: "1" },
  },
  { name: "ping", text: '{"type":6}', message: { type: 6 } },
  { name: "close", text: '{"type":7}', message: { type: 7, allowReconnect: false } },
  {
    name: "close with an error",
    text: '{"type":7,"error":"Connection closed because of an error!","allowReconnect":true}',
    message: { type: 7, error: "Connection closed because of an error!", allowReconnect: true },
  },
  {
    name: "close with an empty error",
    text: '{"type":7,"error":""}',
    message: { type: 7, error: "", allowReconnect: false },
  },
  { name: "ack", text: '{"type":8,"sequenceId":42}', message: { type: 8, sequenceId: 42 } },
  {
    name: "sequence",
    text: '{"type":9,"sequenceId":9007199254740991}',
    message: { type: 9, sequenceId: Number.MAX_SAFE_INTEGER },
  },
];

function expected(message: HubMessage): Record<string, unknown> {
  return { ...message };
}

describe("json", () => {
  for (const { name, text, message } of rows) {
    for (const memory of Object.keys(memories) as Memory[]) {
      it(`is the same both ways: ${name}, ${memory}`, () => {
        assert.equal(encoded(protocol, message, memory).toString(), `${text}\x1e`);
        const read = parsedOne(protocol, record(text), memory);
        assert.deepEqual(bare(read), expected(message));
      });
    }

    it(`may be cut anywhere: ${name}`, () => {
      checkChunks(protocol, record(text), expected(message));
    });

    it(`may have spaces, another order, unknown properties: ${name}`, () => {
      const entries = Object.entries(JSON.parse(text) as object);
      const variants = [
        JSON.stringify(JSON.parse(text), undefined, 2),
        `${text} garbage "{`,
        ` \r\n\t${text}\t`,
        text.replace(/\}$/, ',"other":[{"type":[]}]}'),
        text.replace(/^\{/, '{"type":77,'),
        JSON.stringify(Object.fromEntries(entries.toReversed())),
        JSON.stringify(Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))),
      ];
      for (const variant of variants) {
        for (const memory of Object.keys(memories) as Memory[]) {
          const read = parsedOne(protocol, record(variant), memory);
          // __proto__ does not survive Object.fromEntries in all of these.
          if (!text.includes("__proto__")) assert.deepEqual(bare(read), expected(message), variant);
        }
      }
    });
  }

  it("takes a message as Microsoft's JavaScript client writes it", () => {
    const texts = [
      '{"arguments":["hello"],"invocationId":"0","target":"Echo","type":1}',
      '{"arguments":[{"a":"]}"},[2]],"invocationId":"0","target":"Echo","type":1}',
      '{"arguments":[1],"target":"Echo","type":1}',
      '{"arguments":[],"invocationId":"10","streamIds":["1"],"target":"Echo","type":1}',
      '{"arguments":["x"],"invocationId":"1","streamIds":[],"target":"Echo","type":4}',
      '{"invocationId":"1","item":{"x":1},"type":2}',
      '{"invocationId":"1","result":"y","type":3}',
      '{"invocationId":"1","type":3}',
      '{"error":"e","invocationId":"1","type":3}',
      '{"sequenceId":1,"type":9}',
    ];
    for (const text of texts) {
      const { streamIds, ...value } = JSON.parse(text) as Record<string, unknown>;
      if (Array.isArray(streamIds) && streamIds.length > 0) value.streamIds = streamIds;
      if (value.type === 3) value.hasResult = "result" in value;
      checkChunks(protocol, record(text), value);
    }
  });

  it("passes over types that it does not know", () => {
    const texts = [
      '{"type":10}',
      '{"x":[1],"type":-3}',
      '{"type":0,"arguments":5e-1}'.replace("5e-1", "[5]"),
    ];
    for (const text of texts) {
      assert.deepEqual(parsed(protocol, record(text)), []);
      const read = parsed(protocol, Buffer.concat([record(text), record('{"type":6}')]));
      assert.deepEqual(read.map(bare), [{ type: 6 }]);
    }
  });

  it("takes an empty target, and an empty id of an invocation for none", () => {
    const text = '{"type":1,"invocationId":"","target":"","arguments":[]}';
    const read = bare(parsedOne(protocol, record(text)));
    assert.deepEqual(read, { type: 1, target: "", arguments: [] });
  });

  it("writes no empty id of an invocation", () => {
    const message = { type: 1, invocationId: "", target: "x", arguments: [] } as const;
    assert.equal(
      encoded(protocol, message).toString(),
      '{"type":1,"target":"x","arguments":[]}\x1e',
    );
  });

  it("writes a completion with an empty error as if there were none", () => {
    const message = { type: 3, invocationId: "1", error: "", hasResult: false } as const;
    assert.equal(encoded(protocol, message).toString(), '{"type":3,"invocationId":"1"}\x1e');
  });

  it("makes all messages of a type alike for the engine", () => {
    const shape = (text: string) => Object.keys(parsedOne(protocol, record(text))).join();
    const plain = shape('{"type":1,"target":"x","arguments":["a"]}');
    for (const text of [
      '{"arguments":[1],"invocationId":"0","target":"x","type":1}',
      ' {"arguments":[{}],"invocationId":"0","target":"x","streamIds":["1"],"headers":{"a":"b"},"type":1}',
      '{"type":4,"invocationId":"0","target":"x","arguments":["a"]}',
    ]) {
      assert.equal(shape(text), plain);
    }
  });
});

describe("json, what ends the connection", () => {
  const int32 =
    "Either the JSON value is not in a supported format, or is out of bounds for an Int32.";
  const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  const rows: [text: string, message: string][] = [
    ["", "Error reading JSON."],
    [" ", "Error reading JSON."],
    ["{", "Error reading JSON."],
    ["}", "Error reading JSON."],
    ["{]", "Error reading JSON."],
    ["nul", "Error reading JSON."],
    ["{,}", "Error reading JSON."],
    ['{"type":6,}', "Error reading JSON."],
    ['{"type":6 "x":1}', "Error reading JSON."],
    ['{"type":6,"x":}', "Error reading JSON."],
    ['{"type":6,"x"}', "Error reading JSON."],
    ['{"type":6,x:1}', "Error reading JSON."],
    ['{"type":6', "Error reading JSON."],
    ['{"type":6,"x":[1}', "Error reading JSON."],
    ['{"type":6,"x":[1}]', "Error reading JSON."],
    ['{"type":6,"x":{"a" 1}}', "Error reading JSON."],
    ['{"type":6,"x":tru}', "Error reading JSON."],
    ['{"type":6,"x":01}', "Error reading JSON."],
    ['{"type":06}', "Error reading JSON."],
    ['{"type":6,"x":1.}', "Error reading JSON."],
    ['{"type":6,"x":+1}', "Error reading JSON."],
    ['{"type":6,"x":NaN}', "Error reading JSON."],
    ['{"type":6,"x":\'a\'}', "Error reading JSON."],
    ['{"type":6,"x":"\t"}', "Error reading JSON."],
    ['{"type":6,"x":"\\x"}', "Error reading JSON."],
    ['{"type":6,"x":"', "Error reading JSON."],
    ['{"type":6,"x":"\\', "Error reading JSON."],
    ['{"type":6/**/}', "Error reading JSON."],
    ['\ufeff{"type":6}', "Error reading JSON."],
    ['{"type":1,"target":"x","arguments":["a\nb"]}', "Error reading JSON."],
    ['{"type":1,"target":"x","arguments":[1,]}', "Error reading JSON."],
    ['{"type":1,"target":"x","arguments":[1 2]}', "Error reading JSON."],
    ['{"type":1,"target":"x","arguments":["a"]', "Error reading JSON."],
    ['{"type":1,"target":"x\n","arguments":["a"]}', "Error reading JSON."],
    ["[]", "Unexpected JSON Token Type 'Array'. Expected a JSON Object."],
    ["null", "Unexpected JSON Token Type 'Null'. Expected a JSON Object."],
    ["42", "Unexpected JSON Token Type 'Number'. Expected a JSON Object."],
    ['"foo"', "Unexpected JSON Token Type 'String'. Expected a JSON Object."],
    ["true", "Unexpected JSON Token Type 'True'. Expected a JSON Object."],
    ["{}", "Missing required property 'type'."],
    ['{"Type":6}', "Missing required property 'type'."],
    ['{"type":null}', "Expected 'type' to be of type Number."],
    ['{"type":"6"}', "Expected 'type' to be of type Number."],
    ['{"type":6.0}', int32],
    ['{"type":1e1}', int32],
    ['{"type":-0.0}', int32],
    ['{"type":2147483648}', int32],
    ['{"type":-2147483649}', int32],
    ['{"arguments":[],"target":"x","type":1.0}', int32],
    ['{"type":1,"target":"x"}', "Missing required property 'arguments'."],
    ['{"type":1,"arguments":[]}', "Missing required property 'target'."],
    ['{"type":1,"target":null,"arguments":[]}', "Expected 'target' to be of type String."],
    ['{"type":1,"target":"x","arguments":null}', "Expected 'arguments' to be of type Array."],
    ['{"type":1,"target":"x","arguments":{}}', "Expected 'arguments' to be of type Array."],
    ['{"type":1,"target":"x","arguments":"[]"}', "Expected 'arguments' to be of type Array."],
    [
      '{"type":1,"invocationId":null,"target":"x","arguments":[]}',
      "Expected 'invocationId' to be of type String.",
    ],
    [
      '{"type":1,"invocationId":1,"target":"x","arguments":[]}',
      "Expected 'invocationId' to be of type String.",
    ],
    [
      '{"type":1,"headers":null,"target":"x","arguments":[]}',
      "Expected 'headers' to be of type StartObject.",
    ],
    [
      '{"type":1,"headers":[],"target":"x","arguments":[]}',
      "Expected 'headers' to be of type StartObject.",
    ],
    ['{"type":1,"headers":{"Foo":42}}', "Expected header 'Foo' to be of type String."],
    ['{"type":1,"headers":{"Foo":null},oops', "Expected header 'Foo' to be of type String."],
    ['{"type":1,"streamIds":null}', "Expected 'streamIds' to be of type Array."],
    ['{"type":1,"streamIds":{}}', "Expected 'streamIds' to be of type Array."],
    ['{"type":1,"streamIds":["1",null]}', "Expected 'streamIds' to hold strings only."],
    ['{"type":4,"target":"x","arguments":[]}', "Missing required property 'invocationId'."],
    [
      '{"type":4,"invocationId":"","target":"x","arguments":[]}',
      "Missing required property 'invocationId'.",
    ],
    ['{"type":2,"item":1}', "Missing required property 'invocationId'."],
    ['{"type":2,"invocationId":"","item":1}', "Missing required property 'invocationId'."],
    ['{"type":2,"invocationId":"1"}', "Missing required property 'item'."],
    ['{"type":3,"result":1}', "Missing required property 'invocationId'."],
    ['{"type":3,"invocationId":"","result":1}', "Missing required property 'invocationId'."],
    ['{"type":3,"invocationId":"1","error":null}', "Expected 'error' to be of type String."],
    ['{"type":3,"invocationId":"1","error":[]}', "Expected 'error' to be of type String."],
    [
      '{"type":3,"invocationId":"1","error":"e","result":null}',
      "The 'error' and 'result' properties are mutually exclusive.",
    ],
    ['{"type":5}', "Missing required property 'invocationId'."],
    ['{"type":5,"invocationId":""}', "Missing required property 'invocationId'."],
    ['{"type":7,"error":null}', "Expected 'error' to be of type String."],
    ['{"type":7,"allowReconnect":1}', "Expected 'allowReconnect' to be true or false."],
    ['{"type":8}', "Missing required property 'sequenceId'."],
    ['{"type":9,"sequenceId":null}', "Expected 'sequenceId' to be of type Number."],
    [
      '{"type":9,"sequenceId":1.5}',
      "Either the JSON value is not in a supported format, or is out of bounds for an Int64.",
    ],
    [
      '{"type":9,"sequenceId":9223372036854775808}',
      "Either the JSON value is not in a supported format, or is out of bounds for an Int64.",
    ],
    [`{"type":6,"x":${nested(64)}}`, "Error reading JSON."],
    [`{"type":10,"x":${nested(64)}}`, "Error reading JSON."],
    [`{"type":1,"target":"none","arguments":${nested(64)}}`, "Error reading JSON."],
    [
      `{"arguments":${nested(64)},"invocationId":"0","target":"none","type":1}`,
      "Error reading JSON.",
    ],
    [`{"type":3,"invocationId":"1","result":${nested(64)}}`, "Error reading JSON."],
    [`{"type":3,"invocationId":"1","result":${nested(5000)}}`, "Error reading JSON."],
    [`{"type":6,"x":${'{"a":'.repeat(64)}1${"}".repeat(64)}}`, "Error reading JSON."],
    ["[".repeat(30_000), "Error reading JSON."],
    [`{"type":6,"x":${"[".repeat(30_000)}`, "Error reading JSON."],
  ];
  for (const [text, message] of rows) {
    it(text.slice(0, 70), () => {
      for (const memory of Object.keys(memories) as Memory[]) {
        const input = inputOf(record(text), memory);
        assert.throws(() => protocol.parse(input, 100_000), { name: "HubProtocolError", message });
      }
    });
  }

  it("takes 64 levels", () => {
    for (const text of [
      `{"type":1,"target":"x","arguments":${nested(63)}}`,
      `{"arguments":${nested(63)},"target":"x","type":1}`,
      `{"type":3,"invocationId":"1","result":${nested(63)}}`,
      `{"type":6,"x":${nested(63)}}`,
      `{"type":3,"invocationId":"1","result":[${"[[]],".repeat(1000)}"${"[".repeat(100)}"]}`,
    ]) {
      parsedOne(protocol, record(text));
    }
  });

  it("what is not UTF-8", () => {
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
      for (const [before, behind] of [
        ['{"type":1,"target":"x","arguments":["', '"]}'],
        ['{"arguments":["', '"],"target":"x","type":1}'],
        ['{"type":3,"invocationId":"1","result":"', '"}'],
        ['{"type":3,"invocationId":"', '"}'],
        ['{"type":6,"', '":1}'],
      ] as const) {
        const text = Buffer.concat([Buffer.from(before), Buffer.from(bytes), record(behind)]);
        for (const memory of Object.keys(memories) as Memory[]) {
          assert.equal(outcome(protocol, text, memory), "Error reading JSON.");
        }
      }
    }
    // A replacement character that was really sent is one like others.
    const text = '{"type":3,"invocationId":"1","result":"\ufffd"}';
    assert.equal(bare(parsedOne(protocol, record(text))).result, "\ufffd");
  });

  it("what is too large, as soon as that is known", () => {
    const text = record('{"type":1,"target":"x","arguments":["0123456789"]}');
    const size = text.length;
    assert.ok(protocol.parse(inputOf(text), size));
    assert.throws(() => protocol.parse(inputOf(text), size - 1), HubMessageTooBigError);
    const twice = Buffer.concat([text, text]);
    const input = inputOf(twice);
    assert.ok(protocol.parse(input, size));
    assert.ok(protocol.parse(input, size));
    const cut = text.subarray(0, size - 1);
    assert.equal(protocol.parse(inputOf(cut), size - 1), undefined);
    assert.throws(() => protocol.parse(inputOf(cut), size - 2), HubMessageTooBigError);
    // A small message in front of a large one is still read.
    const mixed = inputOf(Buffer.concat([record('{"type":6}'), text]));
    assert.deepEqual(protocol.parse(mixed, 20), { type: 6 });
    assert.throws(() => protocol.parse(mixed, 20), HubMessageTooBigError);
  });
});

describe("json, names of prototypes", () => {
  it("are names like others in headers", () => {
    const text =
      '{"type":1,"headers":{"__proto__":"a","constructor":"b","toString":"c"},"target":"x","arguments":[]}';
    const message = parsedOne(protocol, record(text)) as { headers: Record<string, string> };
    assert.deepEqual(Object.keys(message.headers), ["__proto__", "constructor", "toString"]);
    assert.deepEqual(Object.values(message.headers), ["a", "b", "c"]);
    assert.equal("hasOwnProperty" in message.headers, false);
  });

  it("change nothing in arguments and messages", () => {
    const text =
      '{"__proto__":{"target":"no","admin":true},"type":1,"target":"__proto__","constructor":1,"arguments":[{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}]}';
    const message = parsedOne(protocol, record(text)) as InvocationMessage;
    const argument = message.arguments[0] as object;
    assert.equal(Object.getPrototypeOf(argument), Object.prototype);
    for (const each of [message, argument, {}]) assert.equal("admin" in each, false);
  });
});

describe("json, values", () => {
  const result = (value: unknown): string => {
    const bytes = encoded(protocol, { type: 3, invocationId: "1", hasResult: true, result: value });
    const text = bytes.toString();
    assert.ok(text.endsWith("}\x1e"));
    return text.slice('{"type":3,"invocationId":"1","result":'.length, -2);
  };
  const circle: unknown[] = [];
  circle.push({ circle });
  class Point {
    x = 1;
    #y = 2;
    get sum() {
      return this.x + this.#y;
    }
  }
  const rows: [name: string, value: unknown, text: string][] = [
    ["undefined", undefined, "null"],
    ["a function", () => 1, "null"],
    ["a symbol", Symbol("x"), "null"],
    ["no number", Number.NaN, "null"],
    ["infinity", Number.POSITIVE_INFINITY, "null"],
    ["minus zero", -0, "0"],
    ["bytes", new Uint8Array([0, 255, 16]), '"AP8Q"'],
    ["a Buffer", Buffer.from("hello"), '"aGVsbG8="'],
    ["an ArrayBuffer", new Uint8Array([1]).buffer, '"AQ=="'],
    ["a view of a part", new DataView(new Uint8Array([1, 2, 3]).buffer, 1, 1), '"Ag=="'],
    ["no bytes", new Uint8Array(0), '""'],
    ["many bytes", new Uint8Array(10_000), `"${"A".repeat(13_334)}=="`],
    [
      "bytes in an object",
      { a: [new Uint8Array([1])], b: "x", c: undefined },
      '{"a":["AQ=="],"b":"x"}',
    ],
    ["a date", new Date(0), '"1970-01-01T00:00:00.000Z"'],
    ["a date among bytes", [new Date(0), new Uint8Array(1)], '["1970-01-01T00:00:00.000Z","AA=="]'],
    ["no date", new Date(Number.NaN), "null"],
    ["a bigint", 2n ** 64n, "18446744073709551616"],
    ["bigints in an object", { a: -(2n ** 63n), b: [1n] }, '{"a":-9223372036854775808,"b":[1]}'],
    [
      "a map",
      new Map<unknown, unknown>([
        ["a", 1n],
        [2, new Map()],
      ]),
      '{"a":1,"2":{}}',
    ],
    ["a map in an array", [new Map([["__proto__", 1]])], '[{"__proto__":1}]'],
    ["an object of a class", new Point(), '{"x":1}'],
    ["an object without prototype", Object.assign(Object.create(null), { a: "é" }), '{"a":"é"}'],
    ["what has a toJSON", { toJSON: () => ({ a: 1n }) }, '{"a":1}'],
    [
      "what has a toJSON that knows its name",
      [{ a: { toJSON: (key: string) => key } }],
      '[{"a":"a"}]',
    ],
    ["a toJSON of nothing", { toJSON: () => undefined }, "null"],
    ["toJSONs of nothing", [{ a: { toJSON: () => undefined }, b: 1n }], '[{"b":1}]'],
    ["bytes from a toJSON", { toJSON: () => new Uint8Array([1]) }, '"AQ=="'],
    ["holes and functions", [undefined, () => 1, Symbol("x"), 1n], "[null,null,null,1]"],
    ["functions in an object", { a: () => 1, b: Symbol("x"), c: 1n }, '{"c":1}'],
    ["no numbers among bigints", [Number.NaN, 1n], "[null,1]"],
    ["boxes", [new Number(1), new String("x"), new Boolean(false), 1n], '[1,"x",false,1]'],
    ["half a pair", "\ud800", '"\\ud800"'],
    ["half a pair in a long text", `${"é".repeat(50)}\udc00`, `"${"é".repeat(50)}\\udc00"`],
  ];
  for (const [name, value, text] of rows) it(name, () => assert.equal(result(value), text));

  it("that cannot be are the application's errors", () => {
    const getter = {
      get a(): never {
        throw new Error("mine");
      },
    };
    assert.throws(() => result(circle), TypeError);
    assert.throws(() => result([circle, 1n]), TypeError);
    assert.throws(() => result(getter), /mine/);
  });

  it("are what JSON.stringify writes, also when one beside them is not", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        assert.equal(result(value), text);
        assert.equal(result([value, 1n]), `[${text},1]`);
      }),
    );
  });

  it("are escaped as JSON.stringify does, whatever their length", () => {
    const units = [...'\0\x08\t\n\r\x1e\x1f"\\/\x7f\x80ÿĀ語\u2028\ufffd', "😀", "\ud83d", "\ude00"];
    for (const unit of units) {
      for (let length = 0; length < 70; length++) {
        for (const at of [0, 1, 2, 3, length - 4, length - 1, length]) {
          const plain = "x".repeat(length);
          const text = plain.slice(0, Math.max(0, at)) + unit + plain.slice(Math.max(0, at));
          assert.equal(result(text), JSON.stringify(text));
        }
      }
    }
  });
});

/** Messages as JSON, their properties in some order, some of them wrong. */
const jsonTexts = fc
  .record(
    {
      type: fc.oneof(
        { arbitrary: fc.constantFrom("1", "1", "2", "3", "4", "5", "6", "7"), weight: 20 },
        { arbitrary: fc.constantFrom("1.0", "null", "10", "-1", '"1"'), weight: 1 },
      ),
      invocationId: fc.constantFrom(
        '"0"',
        '"12"',
        '"s1"',
        '"é"',
        '"\\u0030"',
        '""',
        '"9007199254740993"',
        '"00"',
        "1",
      ),
      target: fc.constantFrom('"Echo"', '"Send"', '"\\"x"', '"é"', '""', "null"),
      arguments: fc.oneof(
        fc.constantFrom(
          '["plain"]',
          "[1]",
          "[]",
          '["a","b"]',
          "[1,2.5,-0,1e3]",
          "[true,null]",
          "[1,]",
          '["\\n"]',
        ),
        fc.array(fc.jsonValue(), { maxLength: 3 }).map((value) => JSON.stringify(value)),
      ),
      result: fc.jsonValue().map((value) => JSON.stringify(value)),
      item: fc.jsonValue().map((value) => JSON.stringify(value)),
      error: fc.constantFrom('"no"', '""', "null"),
      headers: fc.constantFrom('{"a":"b"}', "{}", "null"),
      streamIds: fc.constantFrom('["1"]', "[]"),
      other: fc.jsonValue().map((value) => JSON.stringify(value)),
    },
    { requiredKeys: ["type"] },
  )
  .chain((properties) => {
    const pairs = Object.entries(properties).map(([name, value]) => `"${name}":${value}`);
    return fc.shuffledSubarray(pairs, { minLength: Math.max(1, pairs.length - 1) });
  })
  .map((pairs) => `{${pairs.join()}}`);

describe("json, the ways through the parser", () => {
  it("lead to the same, in whatever order the properties come", () => {
    fc.assert(
      fc.property(jsonTexts, (text) => {
        const short = outcome(protocol, record(text));
        // A space in front is nothing that the fast ways expect.
        assert.deepEqual(short, outcome(protocol, record(` ${text}`)));
        assert.deepEqual(short, outcome(protocol, record(text), "Uint8Array"));
      }),
      { numRuns: 2000 },
    );
  });

  it("lead to the same wherever a byte is another, missing, or one too many", () => {
    const sources = [
      ...rows.map(({ text }) => text).filter((text) => text.length < 200),
      '{"arguments":["hello"],"invocationId":"0","target":"Echo","type":1}',
      '{"arguments":[{"a":"]}"},[2]],"invocationId":"0","target":"Echo","type":4}',
      '{"arguments":[1,"2"],"target":"Echo","type":1}',
      '{"invocationId":"1","item":{"x":1},"type":2}',
      '{"invocationId":"1","result":"y","type":3}',
      '{"invocationId":"1","type":5}',
    ];
    for (const source of sources) {
      for (let at = 0; at <= source.length; at++) {
        for (const piece of ["", ...'}]",\\1 ']) {
          for (const removed of [0, 1]) {
            const text = source.slice(0, at) + piece + source.slice(at + removed);
            const short = outcome(protocol, record(text));
            assert.deepEqual(short, outcome(protocol, record(` ${text}`)), text);
          }
        }
      }
    }
  });

  it("lead to the same for damaged messages", () => {
    const sources = fc.oneof(jsonTexts, fc.constantFrom(...rows.map(({ text }) => text)));
    const pieces = fc.oneof(fc.constantFrom(...'{}[]",:\\0 1.e-+\n', "true", "null"), fc.string());
    fc.assert(
      fc.property(sources, fc.nat(), fc.nat(3), pieces, (source, where, removed, piece) => {
        const at = where % (source.length + 1);
        const text = source.slice(0, at) + piece + source.slice(at + removed);
        if (text.includes("\x1e")) return;
        const short = outcome(protocol, record(text));
        assert.deepEqual(short, outcome(protocol, record(` ${text}`)));
        assert.deepEqual(short, outcome(protocol, record(text), "Uint8Array"));
      }),
      { numRuns: 5000 },
    );
  });

  it("throw nothing but HubProtocolError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        outcome(protocol, bytes);
        outcome(protocol, Buffer.concat([bytes, Buffer.from([0x1e])]), "Uint8Array");
      }),
    );
  });

  it("take time in proportion to the message", () => {
    const texts = [
      `{"type":6,"x":"${"\\\\".repeat(500_000)}"}`,
      `{"type":6,"x":[${"[],".repeat(300_000)}1]}`,
      `{"type":6${',"a":1'.repeat(200_000)}}`,
      `{"type":6${" ".repeat(1_000_000)}}`,
      `{"type":1,"target":"x","arguments":[${'"",'.repeat(300_000)}1]}`,
      `{"type":6}${"}".repeat(1_000_000)}`,
      "{".repeat(1_000_000),
      '"'.repeat(1_000_001),
    ];
    for (const text of texts) {
      const start = performance.now();
      outcome(protocol, record(text));
      assert.ok(performance.now() - start < 2000, text.slice(0, 40));
    }
  });
});
