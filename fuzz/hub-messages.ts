import assert from "node:assert/strict";
import fc from "fast-check";
import type { HubMessage, HubProtocol } from "halyard/hub";
import { HubProtocolError, json } from "halyard/hub";
import { messagePack } from "halyard/messagepack";
import { ByteWriter } from "#dist/hub-protocol/byte-writer.js";
import { parseHandshakeRequest, parseHandshakeResponse } from "#dist/hub-protocol/handshake.js";
import type { HubInput } from "#dist/hub-protocol/hub-protocol.js";
import { MessageType } from "#dist/hub-protocol/messages.js";
import { cuts } from "./arbitraries.js";
import type { Property } from "./properties.js";

// --- messages that are right ---

/** Names that come again, some of which mean something to JavaScript. */
const fewNames = ["0", "1", "2", "s1", "échô", "__proto__", "constructor", ""];

const shortTexts = fc.oneof(
  fc.constantFrom(...fewNames),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.string({ unit: "grapheme-ascii", maxLength: 40 }),
);
const ids = fc.oneof(
  { arbitrary: fc.constantFrom("0", "1", "2", "s1"), weight: 4 },
  shortTexts.filter((text) => text !== ""),
);

const scalars = fc.oneof(
  shortTexts,
  fc.integer(),
  fc.double(),
  fc.constantFrom(null, true, false, 0, -1, 127, 128, 2 ** 31, 2 ** 53, -(2 ** 53), 1e21),
);

const jsonValues: fc.Arbitrary<unknown> = fc.oneof(
  { arbitrary: scalars, weight: 3 },
  fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }),
  // Near the border of what may be nested.
  fc
    .integer({ min: 58, max: 66 })
    .map((depth) => JSON.parse("[".repeat(depth) + "]".repeat(depth))),
);

const binaryValues: fc.Arbitrary<unknown> = fc.oneof(
  { arbitrary: jsonValues, weight: 3 },
  fc.uint8Array({ maxLength: 40 }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  fc.date({ noInvalidDate: true }),
  fc.array(fc.oneof(fc.uint8Array({ maxLength: 9 }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })), {
    maxLength: 4,
  }),
);

const headers = fc.option(fc.dictionary(shortTexts, shortTexts, { maxKeys: 3 }), {
  nil: undefined,
  freq: 5,
});

/** Any message that may be said, by whichever side. */
export function messages(
  values: fc.Arbitrary<unknown>,
  targets: fc.Arbitrary<string> = shortTexts.filter((text) => text !== ""),
  invocationIds: fc.Arbitrary<string> = ids,
): fc.Arbitrary<HubMessage> {
  const args = fc.array(values, { maxLength: 4 });
  const streamIds = fc.option(fc.array(invocationIds, { minLength: 1, maxLength: 3 }), {
    nil: undefined,
    freq: 3,
  });
  const sequenceId = fc.oneof(fc.nat(20), fc.maxSafeNat());
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        type: fc.constant(MessageType.invocation),
        headers,
        invocationId: fc.option(invocationIds, { nil: undefined }),
        target: targets,
        arguments: args,
        streamIds,
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        type: fc.constant(MessageType.streamInvocation),
        headers,
        invocationId: invocationIds,
        target: targets,
        arguments: args,
        streamIds,
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        type: fc.constant(MessageType.streamItem),
        headers,
        invocationId: invocationIds,
        item: values,
      }),
    },
    {
      weight: 3,
      arbitrary: fc
        .tuple(headers, invocationIds, fc.constantFrom("error", "void", "result"), values)
        .map(([given, invocationId, kind, result]) => ({
          type: MessageType.completion,
          headers: given,
          invocationId,
          error: kind === "error" ? "it failed" : undefined,
          hasResult: kind === "result",
          result: kind === "result" ? result : undefined,
        })),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        type: fc.constant(MessageType.cancelInvocation),
        headers,
        invocationId: invocationIds,
      }),
    },
    { weight: 1, arbitrary: fc.constant({ type: MessageType.ping }) },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant(MessageType.close),
        error: fc.option(shortTexts, { nil: undefined }),
        allowReconnect: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constantFrom(MessageType.ack, MessageType.sequence),
        sequenceId,
      }),
    },
  ) as fc.Arbitrary<HubMessage>;
}

/** A message with its framing; nothing when its values cannot be said. */
export function bytesOf(protocol: HubProtocol, message: HubMessage): Buffer {
  const writer = new ByteWriter();
  try {
    protocol.encode(message, writer);
  } catch (error) {
    assert.ok(error instanceof TypeError || error instanceof RangeError, String(error));
    return Buffer.alloc(0);
  }
  return Buffer.from(writer.bytes.subarray(0, writer.length));
}

// --- and what becomes of them ---

/** A change of bytes; places and lengths count from the beginning again beyond the end. */
export interface Edit {
  readonly kind: "flip" | "set" | "cut" | "double" | "insert" | "move";
  readonly at: number;
  readonly length: number;
  readonly piece: string;
}

const jsonPieces = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "\\",
  " ",
  "\t",
  "\x1e",
  "\0",
  "null",
  "true",
  "-",
  "1e999",
  "-0",
  "12345678901234567890",
  '"\\ud800"',
  '"\\u001e"',
  "\xff",
  "\xc3\xa9",
  "\xef\xbb\xbf",
  '"type":1,',
  ',"type":3',
  '"invocationId":"0",',
  '"invocationId":null,',
  '"target":"a",',
  ',"arguments":[]',
  ',"arguments":null',
  '"item":1,',
  ',"result":[{}]',
  ',"error":"no"',
  '"streamIds":["1"],',
  '"streamIds":[1],',
  '"headers":{"a":"b"},',
  '"headers":{"a":1},',
  '"__proto__":{"a":1},',
  '"sequenceId":9007199254740993,',
  '"allowReconnect":true,',
  '{"type":6}\x1e',
  "{}\x1e",
  '"\\u0074ype":1,',
  '"version":1,',
  '"version":1.0,',
  '"protocol":"json",',
];
const binaryPieces = [
  "\x00",
  "\x01",
  "\x06",
  "\x7f",
  "\x80",
  "\x81\xa9__proto__\x01",
  "\x82",
  "\x90",
  "\x91\x06",
  "\x95",
  "\x96\x01",
  "\x9f",
  "\xa0",
  "\xa1a",
  "\xbf",
  "\xc0",
  "\xc1",
  "\xc2",
  "\xc4\x05",
  "\xc6\xff\xff\xff\xff",
  "\xc7\x0c\xff",
  "\xc8\xff\xff",
  "\xcb\x7f\xf8\0\0\0\0\0\x01",
  "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
  "\xd3\x80\0\0\0\0\0\0\0",
  "\xd4\x05a",
  "\xd6\xff\0\0\0\x01",
  "\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
  "\xd9\xff",
  "\xdb\xff\xff\xff\xff",
  "\xdc\x00\x01",
  "\xdd\xff\xff\xff\xff",
  "\xdd\0\0\0\x01",
  "\xdf\x7f\xff\xff\xff",
  "\xff",
  "\xff\xff\xff\xff\x07",
  "\xff\xff\xff\xff\xff",
  "\x91".repeat(70),
];

export function edits(format: "Text" | "Binary"): fc.Arbitrary<Edit[]> {
  return fc.array(
    fc.record({
      kind: fc.constantFrom<Edit["kind"][]>(
        "flip",
        "set",
        "cut",
        "double",
        "insert",
        "insert",
        "move",
      ),
      at: fc.oneof(fc.nat(12), fc.nat(400)),
      length: fc.nat(30),
      piece: fc.constantFrom(...(format === "Text" ? jsonPieces : binaryPieces)),
    }),
    { maxLength: 4 },
  );
}

export function edited(bytes: Buffer, list: readonly Edit[]): Buffer {
  let all: Buffer = Buffer.from(bytes);
  for (const { kind, at: place, length, piece } of list) {
    const at = place % (all.length + 1);
    const [before, after] = [all.subarray(0, at), all.subarray(at)];
    const some = after.subarray(0, length);
    const rest = after.subarray(length);
    if (kind === "flip") {
      if (at < all.length) (all[at] as number) ^= 1 << (length % 8);
    } else if (kind === "set") {
      if (at < all.length) all[at] = piece.charCodeAt(0);
    } else if (kind === "cut") all = Buffer.concat([before, rest]);
    else if (kind === "double") all = Buffer.concat([before, some, after]);
    else if (kind === "insert") {
      all = Buffer.concat([before, Buffer.from(piece, "latin1"), after]);
    } else all = Buffer.concat([before, rest, some]);
  }
  return all;
}

/** The payload of a MessagePack message in a new frame, so that its length is right again. */
function reframed(bytes: Buffer, list: readonly Edit[]): Buffer {
  let start = 0;
  while (start < bytes.length && (bytes[start++] as number) >= 0x80);
  const payload = edited(bytes.subarray(start), list);
  const prefix: number[] = [];
  for (let rest = payload.length; ; rest >>>= 7) {
    prefix.push(rest < 0x80 ? rest : (rest & 0x7f) | 0x80);
    if (rest < 0x80) break;
  }
  return Buffer.concat([Buffer.from(prefix), payload]);
}

/** Bytes in which most messages are right and some are nearly so. */
export function streams(protocol: HubProtocol, message: fc.Arbitrary<HubMessage>) {
  const format = protocol.transferFormat;
  const often = fc
    .boolean()
    .chain((isRight) => (isRight ? fc.constant<Edit[]>([]) : edits(format)));
  const rarely = fc
    .nat(4)
    .chain((chance) => (chance > 0 ? fc.constant<Edit[]>([]) : edits(format)));
  return fc
    .tuple(fc.array(fc.tuple(message, often), { minLength: 1, maxLength: 4 }), rarely)
    .map(([list, changes]) => {
      const pieces = list.map(([each, own]) => {
        const bytes = bytesOf(protocol, each);
        return format === "Text" || own.length === 0 ? edited(bytes, own) : reframed(bytes, own);
      });
      return edited(Buffer.concat(pieces), changes);
    });
}

// --- what a parser makes of them ---

interface Reading {
  readonly messages: unknown[];
  /** Code and text. */
  readonly error: readonly [string, string] | undefined;
  /** Bytes that are not read. */
  readonly rest: number;
}

type Parse = (input: HubInput) => object | undefined;

/** No invalid Date is equal to another: something else is put in the place of each. */
function replaceInvalidDates(parent: object): void {
  for (const [key, value] of Object.entries(parent)) {
    if (value instanceof Date) {
      if (Number.isNaN(value.getTime())) Object.assign(parent, { [key]: "an invalid Date" });
    } else if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
      replaceInvalidDates(value);
    }
  }
}

/** Errors are compared by what they say. */
function comparable(message: object): object {
  replaceInvalidDates(message);
  const { bindingError, ...rest } = message as { bindingError?: Error };
  if (bindingError === undefined) return rest;
  assert.ok(bindingError instanceof HubProtocolError, String(bindingError));
  return { ...rest, bindingError: bindingError.message };
}

/**
 * Reads all messages, as a connection does: what is not a whole message yet waits for more.
 *
 * @param borders - Where the bytes are cut, in order, the end among them.
 * @param around - What is on both sides and none of the parser's business.
 */
function read(
  parse: Parse,
  bytes: Buffer,
  borders: readonly number[],
  around: string,
  isPlain: boolean,
): Reading {
  const found: object[] = [];
  const outside = Buffer.from(around, "latin1");
  let at = 0;
  for (const border of borders) {
    const chunk = Buffer.concat([outside, bytes.subarray(at, border), outside]);
    const input: HubInput = {
      bytes: isPlain ? new Uint8Array(chunk) : chunk,
      at: outside.length,
      end: chunk.length - outside.length,
    };
    try {
      while (input.at < input.end) {
        const before = input.at;
        const message = parse(input);
        assert.ok(input.at <= input.end, "it read beyond the end");
        if (message === undefined) break;
        assert.ok(input.at > before, "a message of no bytes");
        found.push(message);
      }
    } catch (error) {
      if (!(error instanceof HubProtocolError)) throw error;
      return {
        messages: found.map(comparable),
        error: [error.code, error.message],
        rest: -1,
      };
    } finally {
      // A message refers to nothing in its input.
      input.bytes.fill(0x58);
    }
    at += input.at - outside.length;
  }
  return { messages: found.map(comparable), error: undefined, rest: bytes.length - at };
}

function bordersOf(bytes: Buffer, cutAt: readonly number[]): number[] {
  const borders = new Set(cutAt.map((cut) => cut % (bytes.length + 1)));
  borders.add(bytes.length);
  return [...borders].toSorted((a, b) => a - b);
}

const surroundings = fc.constantFrom(
  "",
  "##",
  '{"type":6}\x1e',
  "\x1e",
  '"}\x1e',
  "\xff\xff",
  "\x02\x91\x06",
);
const limits = fc.constantFrom(Infinity, Infinity, 20, 60, 32_768);

/** However the bytes are cut, wherever they stand, and whatever array they are in. */
function readAlike(parse: Parse, bytes: Buffer, cutAt: readonly number[], around: string): Reading {
  const whole = read(parse, bytes, [bytes.length], "", false);
  assert.deepEqual(read(parse, bytes, [bytes.length], "", true), whole, "in a Uint8Array");
  assert.deepEqual(read(parse, bytes, [bytes.length], around, false), whole, "among others");
  assert.deepEqual(read(parse, bytes, bordersOf(bytes, cutAt), around, false), whole, "cut");
  if (bytes.length < 120) {
    const everywhere = Array.from({ length: bytes.length }, (_, index) => index + 1);
    assert.deepEqual(read(parse, bytes, everywhere, around, true), whole, "byte by byte");
  }
  return whole;
}

/** What was understood can be said again, and is then understood as the same. */
function sayAgain(protocol: HubProtocol, list: readonly unknown[]): void {
  const parse: Parse = (input) => protocol.parse(input, Infinity);
  for (const message of list as (HubMessage & { bindingError?: unknown })[]) {
    if (message.bindingError !== undefined) continue;
    // Nobody says a number that we could not count to.
    if ("sequenceId" in message && !Number.isSafeInteger(message.sequenceId)) continue;
    const once = bytesOf(protocol, message);
    if (once.length === 0) continue;
    const heard = read(parse, once, [once.length], "", false);
    assert.equal(heard.messages.length, 1);
    const twice = bytesOf(protocol, heard.messages[0] as HubMessage);
    assert.deepEqual(read(parse, twice, [twice.length], "", false), heard, "said again");
  }
}

const jsonProtocol = json();
const packProtocols = [
  messagePack(),
  messagePack({ int64: "number" }),
  messagePack({ maxDepth: 3 }),
] as const;

const jsonParser = fc.asyncProperty(
  streams(jsonProtocol, messages(jsonValues)),
  cuts(),
  surroundings,
  limits,
  async (bytes, cutAt, around, limit) => {
    readAlike((input) => jsonProtocol.parse(input, limit), bytes, cutAt, around);
    const parse: Parse = (input) => jsonProtocol.parse(input, Infinity);
    const whole = read(parse, bytes, [bytes.length], "", false);
    sayAgain(jsonProtocol, whole.messages);
    // Behind a space nothing is as the short way knows it, and it means the same.
    const records = bytes.toString("latin1").split("\x1e");
    const spaced = records.map((record) => record.replace(/^\{/, "{ ")).join("\x1e");
    const slow = Buffer.from(spaced, "latin1");
    const { messages: found, error } = read(parse, slow, [slow.length], "", false);
    assert.deepEqual(found, whole.messages, "the long way");
    assert.equal(error?.[0], whole.error?.[0], "the long way's error");
  },
) as fc.IAsyncProperty<unknown>;

const packParser = fc.asyncProperty(
  fc.constantFrom(...packProtocols),
  streams(packProtocols[0], messages(binaryValues)),
  cuts(),
  surroundings,
  limits,
  async (protocol, bytes, cutAt, around, limit) => {
    readAlike((input) => protocol.parse(input, limit), bytes, cutAt, around);
    const parse: Parse = (input) => protocol.parse(input, Infinity);
    sayAgain(protocol, read(parse, bytes, [bytes.length], "", false).messages);
  },
) as fc.IAsyncProperty<unknown>;

const handshakeBytes = fc
  .tuple(
    fc.constantFrom("json", "messagepack", "JSON", "xml", "__proto__", "é\u{1f600}"),
    fc.constantFrom(
      "1",
      "2",
      "0",
      "-1",
      "3",
      "1.5",
      "1e0",
      '"1"',
      "2147483648",
      "null",
      "99999999999",
    ),
    fc.boolean(),
    edits("Text"),
    fc.constantFrom("", '{"type":6}\x1e', "\x02\x91\x06", "{}\x1e", '{"error":"no"}\x1e'),
  )
  .map(([protocol, version, isSwapped, changes, behind]) => {
    const members = [`"protocol":${JSON.stringify(protocol)}`, `"version":${version}`];
    if (isSwapped) members.reverse();
    const bytes = edited(Buffer.from(`{${members.join(",")}}\x1e`), changes);
    return Buffer.concat([bytes, Buffer.from(behind, "latin1")]);
  });

const handshake = fc.asyncProperty(
  handshakeBytes,
  cuts(),
  surroundings,
  limits,
  async (bytes, cutAt, around, limit) => {
    // Read as often as it goes: what is behind the first is no handshake, but bytes all the same.
    readAlike((input) => parseHandshakeRequest(input, limit), bytes, cutAt, around);
    readAlike((input) => parseHandshakeResponse(input, limit), bytes, cutAt, around);
  },
) as fc.IAsyncProperty<unknown>;

export const hubMessageProperties: readonly Property[] = [
  { name: "hub handshake: alike however it is cut", runs: 1500, time: 2_000, property: handshake },
  {
    name: "hub messages, JSON: a value or a HubProtocolError",
    runs: 1500,
    time: 2_000,
    property: jsonParser,
  },
  { name: "hub messages, MessagePack: the same", runs: 1500, time: 2_000, property: packParser },
];
