import assert from "node:assert/strict";
import { encode } from "@msgpack/msgpack";
import { type Case, type Group, staysPending } from "../case.js";
import { frameBytes, openHub, splitFrames } from "../hub-peer.js";
import { errorNames, named, wrongTypes } from "./errors.js";

const closed = "Connection closed with an error.";
const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const spaced = (data: Uint8Array) =>
  Buffer.from(data)
    .toString("hex")
    .toUpperCase()
    .replaceAll(/(..)(?!$)/g, "$1 ");

/** The frame of an array, or of bytes. */
const frame = (body: unknown) => frameBytes(body instanceof Uint8Array ? body : encode(body));
const echo = (text: unknown) => [1, {}, "1", "Echo", [text], []];
const echoed = (text: unknown) => ({ type: 3, invocationId: "1", result: text });

/** An array whose items are bytes already. */
function arrayOf(...items: Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.of(0x90 | items.length), ...items]);
}
const pack = (value: unknown) => Buffer.from(encode(value));

/** What ends the connection. */
const fatal: readonly [title: string, bytes: Uint8Array, detail: RegExp][] = [
  ["no array", frame(hex("A1 61")), /./],
  ["an empty array", frame([]), /InvalidDataException: Reading 'messageType' as Int32 failed\./],
  [
    "a type that is text",
    frame(["1"]),
    /InvalidDataException: Reading 'messageType' as Int32 failed\./,
  ],
  [
    "a type that is nil",
    frame([null]),
    /InvalidDataException: Reading 'messageType' as Int32 failed\./,
  ],
  [
    "an invocation of its type only",
    frame([1]),
    /InvalidDataException: Reading map length for 'headers' failed\./,
  ],
  [
    "headers nil",
    frame([1, null, "1", "Echo", ["x"], []]),
    /InvalidDataException: Reading map length for 'headers' failed\./,
  ],
  [
    "headers an array",
    frame([1, [], "1", "Echo", ["x"], []]),
    /InvalidDataException: Reading map length for 'headers' failed\./,
  ],
  ["an empty header value", frame([1, { a: "" }, "1", "Echo", ["x"], []]), /./],
  [
    "a header that is a number",
    frame([1, { a: 1 }, "1", "Echo", ["x"], []]),
    /InvalidDataException: Reading 'headers\[0\]\.Value' as String failed\./,
  ],
  [
    "an id that is a number",
    frame([1, {}, 1, "Echo", ["x"], []]),
    /InvalidDataException: Reading 'invocationId' as String failed\./,
  ],
  [
    "a target that is nil",
    frame([1, {}, "1", null, ["x"], []]),
    /InvalidDataException: Null or empty target for Invocation message\./,
  ],
  [
    "an empty target",
    frame([1, {}, "1", "", ["x"], []]),
    /InvalidDataException: Null or empty target for Invocation message\./,
  ],
  [
    "a stream invocation without an id",
    frame([4, {}, null, "Count", [1], []]),
    /InvalidDataException: Null or empty invocation ID for StreamInvocation message\./,
  ],
  [
    "an item without an id",
    frame([2, {}, null, 1]),
    /InvalidDataException: Null or empty invocation ID for StreamItem message\./,
  ],
  [
    "a completion without an id",
    frame([3, {}, "", 2]),
    /InvalidDataException: Null or empty invocation ID for Completion message\./,
  ],
  [
    "a cancel without an id",
    frame([5, {}, null]),
    /InvalidDataException: Null or empty invocation ID for CancelInvocation message\./,
  ],
  [
    "stream ids nil",
    frame([1, {}, "1", "Echo", ["x"], null]),
    /InvalidDataException: Reading array length for 'streamIds' failed\./,
  ],
  ["kind 3 without a value", frame([3, {}, "x", 3]), /./],
  ["kind 9", frame([3, {}, "x", 9]), /InvalidDataException: Invalid invocation result kind\./],
  [
    "a length of 2 GiB",
    hex("80 80 80 80 08 00"),
    /FormatException: Messages over 2GB in size are not supported\./,
  ],
  [
    "a length without an end",
    hex("FF FF FF FF FF"),
    /FormatException: Messages over 2GB in size are not supported\./,
  ],
];

/** What does not, and what is answered. */
const tolerated: readonly [title: string, bytes: Uint8Array, answer?: object][] = [
  ["Invocation, no id", hex("0E 96 01 80 C0 A6 6D 65 74 68 6F 64 91 2A 90")],
  [
    "Invocation xyz of an unknown method",
    hex("10 96 01 80 A3 78 79 7A A6 6D 65 74 68 6F 64 90 90"),
    {
      type: 3,
      invocationId: "xyz",
      error:
        "Failed to invoke 'method' due to an error on the server. HubException: Method does not exist.",
    },
  ],
  [
    "StreamInvocation xyz of an unknown method",
    hex("10 96 04 80 A3 78 79 7A A6 6D 65 74 68 6F 64 90 90"),
    {
      type: 3,
      invocationId: "xyz",
      error:
        "Failed to invoke 'method' due to an error on the server. HubException: Method does not exist.",
    },
  ],
  ["StreamItem for nobody", hex("08 94 02 80 A3 78 79 7A 2A")],
  [
    "Completion error for nobody",
    hex("19 95 03 80 A3 78 79 7A 01 B0 45 72 72 6F 72 20 6E 6F 74 20 66 6F 75 6E 64 21"),
  ],
  ["Completion void for nobody", hex("08 94 03 80 A3 78 79 7A 02")],
  ["Completion result for nobody", hex("09 95 03 80 A3 78 79 7A 03 2A")],
  ["CancelInvocation for nobody", hex("07 93 05 80 A3 78 79 7A")],
  ["Ping", hex("02 91 06")],
  ["Ack that nobody asked for", hex("03 92 08 2A")],
  ["Sequence that nobody asked for", hex("04 92 09 CC 92")],
  ["five items", frame([1, {}, "1", "Echo", ["x"]]), echoed("x")],
  ["seven items", frame([...echo("x"), { more: [1] }]), echoed("x")],
  ["a ping with more", frame([6, "more"])],
  ["headers", frame([1, { traceparent: "00-a-b-01" }, "1", "Echo", ["x"], []]), echoed("x")],
  ["an empty id asks for no answer", frame([1, {}, "", "Echo", ["x"], []])],
  ["a length that is not the shortest", Buffer.concat([hex("82 00"), hex("91 06")])],
  ["bytes behind the array", hex("04 91 06 C0 C0")],
  ["two messages at once", Buffer.concat([hex("02 91 06"), frame(echo("x"))]), echoed("x")],
  [
    "text in its long form",
    frame(
      arrayOf(
        pack(1),
        hex("DE 00 00"),
        hex("D9 01 31"),
        hex("DB 00 00 00 04 45 63 68 6F"),
        hex("DC 00 01 DA 00 01 78"),
        hex("DC 00 00"),
      ),
    ),
    echoed("x"),
  ],
  [
    "a type in its long form",
    frame(arrayOf(hex("D2 00 00 00 01"), ...[{}, "1", "Echo", ["x"], []].map(pack))),
    echoed("x"),
  ],
  ...(
    [
      ["a byte", "CC 02"],
      ["16 bits", "CD 00 02"],
      ["32 bits", "CE 00 00 00 02"],
      ["64 bits", "CF 00 00 00 00 00 00 00 02"],
      ["64 bits with a sign", "D3 00 00 00 00 00 00 00 02"],
    ] as const
  ).map(([title, two]): [string, Uint8Array, object] => [
    `a whole number in ${title}`,
    frame(
      arrayOf(...[1, {}, "1", "Add"].map(pack), Buffer.concat([hex("92 01"), hex(two)]), pack([])),
    ),
    { type: 3, invocationId: "1", result: 3 },
  ]),
];

const bindingError = (detail: string) => ({
  type: 3,
  invocationId: "1",
  error: `Failed to invoke 'Add' due to an error on the server. InvalidDataException: ${detail}`,
});
const badLength = "Reading array length for 'arguments' failed.";
const badTypes =
  "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.";

/** What is wrong inside the arguments fails the call alone. */
const binding: readonly [title: string, args: Uint8Array, detail: string][] = [
  ["arguments nil", pack(null), badLength],
  ["arguments a map", pack({}), badLength],
  ["arguments text", pack("x"), badLength],
  ["text for a number", pack(["a", "b"]), badTypes],
  ["nil for a number", pack([null, 1]), badTypes],
  ["an array that is longer than it is", hex("DD 00 FF FF FF"), badLength],
  ["a byte that means nothing", hex("92 C1 01"), badTypes],
];

const isFormatException = (detail: RegExp) => detail.source.startsWith("FormatException");

/** Whether it is well-formed and only not what the method wants. */
const isTyped = (title: string) => title.endsWith(" for a number");

const cases: readonly Case[] = [
  ...fatal.map(
    ([title, bytes, detail]): Case => ({
      title: `fatal: ${title}`,
      ...(isFormatException(detail) && { differs: errorNames }),
      async run(scene) {
        const [peer, quiet] = [
          await openHub(scene, "/wire", { protocol: "messagepack" }),
          await openHub(scene, "/quiet", { protocol: "messagepack" }),
        ];
        for (const each of [peer, quiet]) each.send(bytes);
        const { error, ...rest } = await peer.expectClose();
        assert.deepEqual(rest, { type: 7, allowReconnect: true });
        assert.ok(String(error).startsWith(`${closed} `), String(error));
        const expected = isFormatException(detail)
          ? new RegExp(named(scene, "FormatException", "Messages over 2GB in size"))
          : detail;
        assert.match(String(error), expected);
        const plain = { type: 7, error: closed, allowReconnect: true };
        assert.deepEqual(await quiet.expectClose(), plain);
      },
    }),
  ),
  ...tolerated.map(
    ([title, bytes, answer]): Case => ({
      title: `tolerated: ${title}`,
      async run(scene) {
        const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
        peer.send(bytes);
        if (answer !== undefined) await peer.expect(answer as Record<string, unknown>);
        await peer.isAlive();
      },
    }),
  ),
  ...binding.map(
    ([title, args, detail]): Case => ({
      title: `the call fails, the connection lives: ${title}`,
      ...(isTyped(title) && { differs: wrongTypes }),
      async run(scene) {
        const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
        peer.send(frame(arrayOf(pack(1), pack({}), pack("1"), pack("Add"), args, pack([]))));
        if (isTyped(title)) {
          const { error } = await peer.next();
          const start = scene.expected({
            aspNetCore: bindingError(detail).error,
            halyard:
              "Failed to invoke 'Add' due to an error on the server. HubException: Argument 1: ",
          });
          assert.ok(String(error).startsWith(start), String(error));
        } else {
          await peer.expect(bindingError(detail));
        }
        await peer.isAlive();
      },
    }),
  ),
  {
    title: "10,000 nested arrays fail the call alone",
    async run(scene) {
      const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
      const nested = Buffer.concat([Buffer.alloc(10_000, 0x91), hex("C0")]);
      peer.send(frame(arrayOf(pack(1), pack({}), pack("1"), pack("EchoAny"), nested, pack([]))));
      const { error, ...rest } = await peer.next();
      assert.deepEqual(rest, { type: 3, invocationId: "1" });
      assert.match(String(error), /^Failed to invoke 'EchoAny' due to an error on the server\. /);
      await peer.isAlive();
    },
  },
  {
    title: "Close as the TypeScript client sends it",
    async run(scene) {
      const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
      peer.send(hex("03 92 07 C0"));
      assert.deepEqual(await peer.expectClose(), { type: 7 });
    },
  },
  ...[10, 99].map(
    (type): Case => ({
      title: `type ${type}`,
      differs: {
        situation: "A message of an unknown type",
        aspNetCore: "The connection stalls: what follows is never read",
        halyard: "Skipped, as clients do",
        why: "Unknown types are meant to be skipped for the sake of later versions.",
      },
      async run(scene) {
        const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
        peer.send(frame([type, {}, "x", [1, { a: null }]]));
        peer.send(frame(echo("after")));
        const answer = peer.next();
        const expected = scene.expected({ aspNetCore: undefined, halyard: echoed("after") });
        if (expected) assert.deepEqual(await answer, expected);
        else await staysPending(answer, 1_000, "an answer");
      },
    }),
  ),
  {
    title: "what the server writes, to the byte",
    async run(scene) {
      const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
      const read = async (count: number) => {
        let data = Buffer.alloc(0);
        while (splitFrames(data).length < count) {
          const next = await peer.nextFrame();
          assert.ok(next, "closed");
          data = Buffer.concat([data, next.data]);
        }
        return spaced(data);
      };
      const call = (target: string, ...args: unknown[]) =>
        peer.send(frame([1, {}, "xyz", target, args, []]));
      const nothing = "09 95 03 80 A3 78 79 7A 03 C0";
      call("Add", 40, 2);
      assert.equal(await read(1), "09 95 03 80 A3 78 79 7A 03 2A");
      call("Null");
      assert.equal(await read(1), nothing);
      call("Nothing");
      assert.equal(await read(1), nothing);
      call("SendToCaller", "Target", "__test_id__");
      assert.equal(
        await read(2),
        `19 96 01 80 C0 A6 54 61 72 67 65 74 91 AB 5F 5F 74 65 73 74 5F 69 64 5F 5F 90 ${nothing}`,
      );
      call("Echo", "é");
      assert.equal(await read(1), "0B 95 03 80 A3 78 79 7A 03 A2 C3 A9");
      call("Bytes");
      assert.equal(await read(1), "0D 95 03 80 A3 78 79 7A 03 C4 03 01 02 03");
      call("When");
      assert.equal(await read(1), "0E 95 03 80 A3 78 79 7A 03 D6 FF 3A 7B 83 72");
      call("Big");
      assert.equal(await read(1), "11 95 03 80 A3 78 79 7A 03 CF 00 1F FF FF FF FF FF FF");
      call("FailForCaller", "");
      const error =
        "An unexpected error occurred invoking 'FailForCaller' on the server. HubException: ";
      assert.equal(await read(1), spaced(frame([3, {}, "xyz", 1, error])));
      peer.send(frame([4, {}, "xyz", "Count", [1], []]));
      assert.equal(await read(2), "08 94 02 80 A3 78 79 7A 00 08 94 03 80 A3 78 79 7A 02");
      peer.send(frame([1, {}, null, "Abort", [], []]));
      assert.equal(await read(1), "04 93 07 C0 C2");
    },
  },
  {
    title: "a ping and a Close with an error, to the byte",
    async run(scene) {
      const peer = await openHub(scene, "/quick", { protocol: "messagepack" });
      assert.equal(spaced((await peer.nextFrame())?.data ?? Buffer.alloc(0)), "02 91 06");
      const quiet = await openHub(scene, "/quiet", { protocol: "messagepack" });
      quiet.send(frame([]));
      const data = (await quiet.nextFrame())?.data ?? Buffer.alloc(0);
      assert.equal(spaced(data), spaced(frame([7, closed, true])));
    },
  },
  {
    title: "values go through as they are",
    async run(scene) {
      const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
      for (const value of [
        null,
        true,
        0,
        -1.5,
        2 ** 40,
        -(2 ** 40),
        "",
        "x".repeat(300),
        [],
        {},
        [[1], [{ a: null }]],
        new Date(Date.UTC(2020, 1, 2, 3, 4, 5, 678)),
      ]) {
        assert.deepEqual(await peer.invoke("EchoAny", value), value);
      }
    },
  },
  {
    title: "bytes go through as bytes",
    async run(scene) {
      const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
      const bytes = await peer.invoke("EchoAny", Uint8Array.of(0, 255));
      assert.ok(bytes instanceof Uint8Array);
      assert.deepEqual([...bytes], [0, 255]);
    },
  },
  {
    title: "a message of more than 127 and of more than 16,383 bytes",
    async run(scene) {
      const peer = await openHub(scene, "/wire", { protocol: "messagepack" });
      for (const length of [100, 127, 128, 16_000, 16_383, 16_384, 30_000]) {
        assert.equal(await peer.invoke("Echo", "x".repeat(length)), "x".repeat(length));
      }
    },
  },
];

export const messagePackGroup: Group = { title: "MessagePack (§7)", cases };
