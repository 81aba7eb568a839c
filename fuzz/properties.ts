import assert from "node:assert/strict";
import fc from "fast-check";
import { HandshakeError, type SocketOptions, ViolationError } from "halyard";
import { MessageDeflate } from "#dist/engine/deflate.js";
import { type ResolvedCompression, resolveSocketOptions } from "#dist/engine/options.js";
import { checkAnswer } from "#dist/protocol/client-handshake.js";
import {
  acceptDeflate,
  type DeflateAgreement,
  type DeflateWishes,
  offerDeflate,
  parseExtensions,
  readDeflateAnswer,
} from "#dist/protocol/deflate-offer.js";
import { asksForWebSocket, checkHandshake } from "#dist/protocol/handshake.js";
import { isToken, listIncludes, parseList } from "#dist/protocol/headers.js";
import { Protocol } from "#dist/protocol/protocol.js";
import { PeerDeflate, readAnswer } from "../conformance/deflate.js";
import { encodeFrames, type Role } from "../conformance/frames.js";
import { cuts, frames, payloads, texts } from "./arbitraries.js";
import { hubConnectionProperties } from "./hub-connections.js";
import { hubMessageProperties } from "./hub-messages.js";
import { hubRequestProperties } from "./hub-requests.js";
import { socketsProperty } from "./sockets.js";
import { isDocumented, traceOf } from "./trace.js";

/** A statement that holds for whatever fast-check makes up. */
export interface Property {
  readonly name: string;
  /** Runs in `npm test`, if there is time. */
  readonly runs: number;
  /** Milliseconds it gets there. Default 5 000. */
  readonly time?: number;
  readonly property: fc.IAsyncProperty<unknown>;
}

const roles: readonly Role[] = ["server", "client"];
const otherEnd = (role: Role): Role => (role === "server" ? "client" : "server");
const silent = { onData() {}, onPong() {}, onClose() {}, onViolation() {} };

// --- parser ---

/** RFC 6455 §5: TCP has no borders, so that it means nothing where the input is cut. */
const anySplit = fc.asyncProperty(
  fc.array(frames(), { maxLength: 12 }),
  fc.uint8Array({ maxLength: 20 }),
  cuts(),
  fc.constantFrom(...roles),
  fc.boolean(),
  fc.constantFrom(1000, 1 << 20),
  async (specs, rest, cutAt, role, allowsCompression, maxMessageSize) => {
    const input = Buffer.concat([encodeFrames(specs, otherEnd(role)), rest]);
    const options = { role, allowsCompression, maxMessageSize };
    const whole = traceOf(input, [], options);
    assert.deepEqual(traceOf(input, cutAt, options), whole);
    if (input.length < 2000) {
      const everywhere = Array.from({ length: input.length }, (_, index) => index);
      assert.deepEqual(traceOf(input, everywhere, options), whole);
    }
    assert.ok(whole.violation === undefined || isDocumented(whole.violation));
  },
) as fc.IAsyncProperty<unknown>;

const messages = fc.array(
  fc.record({
    data: fc.oneof(texts(), payloads()),
    endsMessage: fc.boolean(),
    pingBehind: fc.boolean(),
  }),
  { maxLength: 12 },
);

/** What our writer makes is what our reader finds, and what an independent reader finds. */
const roundTrip = fc.asyncProperty(
  messages,
  cuts(),
  fc.constantFrom(...roles),
  async (list, cutAt, role) => {
    const writer = new Protocol(silent, { role, maxMessageSize: 1 << 30 });
    const wanted: string[] = [];
    const pongs: string[] = [];
    let type: "text" | "binary" | undefined;
    for (const { data, endsMessage, pingBehind } of list) {
      // Fragments of text end on characters, and are given as strings or as bytes alike.
      type ??= typeof data === "string" ? "text" : "binary";
      const bytes = Buffer.from(typeof data === "string" || type === "binary" ? data : "text");
      writer.sendData(type, type === "text" ? bytes.toString() : bytes, endsMessage);
      wanted.push(`${type} false ${endsMessage} ${bytes.toString("hex")}`);
      if (endsMessage) type = undefined;
      if (pingBehind) {
        writer.sendPing(bytes.subarray(0, 125));
        pongs.push(`10 true 0 ${bytes.subarray(0, 125).toString("hex")}`);
      }
    }
    const output = Buffer.concat([writer.takeOutput() ?? []].flat());
    const { events, output: answers } = traceOf(output, cutAt, {
      role: otherEnd(role),
      maxMessageSize: 1 << 30,
    });
    assert.deepEqual(events, wanted);
    assert.deepEqual(answers, pongs);
  },
) as fc.IAsyncProperty<unknown>;

// --- handshake ---

const names = [
  "upgrade",
  "connection",
  "sec-websocket-key",
  "sec-websocket-version",
  "sec-websocket-protocol",
  "sec-websocket-extensions",
  "content-length",
  "transfer-encoding",
  "__proto__",
];
const values = fc.oneof(
  fc.constantFrom(
    "websocket",
    "Upgrade",
    "keep-alive, Upgrade",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "13",
    "8, 13",
    "chat, superchat",
    "permessage-deflate; client_max_window_bits",
    "0",
    "",
  ),
  fc.string({ unit: "binary", maxLength: 80 }),
  fc
    .array(fc.constantFrom(",", ";", "=", '"', " ", "\t", "a", "\\"), { maxLength: 60 })
    .map((all) => all.join("")),
);

/** A request's checker throws nothing but what becomes an HTTP answer. */
const handshakes = fc.asyncProperty(
  fc.record({
    method: fc.constantFrom("GET", "GET", "GET", "POST", undefined),
    httpVersionMajor: fc.constantFrom(1, 1, 2, 0),
    httpVersionMinor: fc.constantFrom(1, 1, 0),
    headers: fc.dictionary(
      fc.constantFrom(...names),
      fc.oneof(values, fc.array(values, { maxLength: 3 })),
    ),
  }),
  async (request) => {
    asksForWebSocket(request);
    try {
      checkHandshake(request);
    } catch (error) {
      assert.ok(error instanceof HandshakeError && isDocumented(error), String(error));
      assert.ok(error.status === 400 || error.status === 426);
    }
  },
) as fc.IAsyncProperty<unknown>;

/** Neither does the checker of an answer. */
const answers = fc.asyncProperty(
  fc.constantFrom(101, 200, 400),
  fc.array(fc.tuple(fc.constantFrom(...names, "sec-websocket-accept"), values)),
  fc.boolean(),
  async (status, lines, isHttp2) => {
    const offer = {
      key: "dGhlIHNhbXBsZSBub25jZQ==",
      subprotocols: ["chat"],
      deflate: wishesOf(15, 15, false, false),
      isHttp2,
    };
    try {
      checkAnswer({ status, rawHeaders: lines.flat() }, offer);
    } catch (error) {
      assert.ok(error instanceof HandshakeError && isDocumented(error), String(error));
    }
  },
) as fc.IAsyncProperty<unknown>;

/** What is repeated does not take more than its share of time: no quadratic grammar. */
const linear = fc.asyncProperty(
  fc.array(fc.constantFrom(",", ";", "=", '"', " ", "\t", "a", "\\", "permessage-deflate"), {
    minLength: 1,
    maxLength: 6,
  }),
  fc.constantFrom("", '"', "a", "permessage-deflate; a=", " "),
  async (unit, start) => {
    const text =
      start +
      unit
        .join("")
        .repeat(65_536 / unit.length)
        .slice(0, 65_536);
    const before = performance.now();
    parseExtensions(text);
    parseExtensions(text.slice(0, 4096));
    acceptDeflate(text.slice(0, 4096), wishesOf(15, 15, false, false));
    parseList(text);
    listIncludes(text, "upgrade");
    isToken(text);
    // Some milliseconds; what is quadratic takes seconds.
    assert.ok(performance.now() - before < 500, "the time grows with more than the length");
  },
) as fc.IAsyncProperty<unknown>;

// --- negotiation ---

function wishesOf(
  serverMaxWindowBits: number,
  clientMaxWindowBits: number,
  serverContextTakeover: boolean,
  clientContextTakeover: boolean,
): DeflateWishes {
  return {
    serverMaxWindowBits,
    clientMaxWindowBits,
    serverContextTakeover,
    clientContextTakeover,
  };
}

const bits = fc.integer({ min: 9, max: 15 });
const wishes = fc.tuple(bits, bits, fc.boolean(), fc.boolean()).map((all) => wishesOf(...all));

/** Both ends of ours agree, and on the same; the suite's own reader finds the answer right too. */
const negotiation = fc.asyncProperty(wishes, wishes, async (client, server) => {
  const offer = offerDeflate(client);
  const accepted = acceptDeflate(offer, server);
  assert.ok(accepted, offer);
  assert.deepEqual(readDeflateAnswer(accepted.header, client), accepted.agreement);
  assert.deepEqual(readAnswer(offer, accepted.header), { ...accepted.agreement });
}) as fc.IAsyncProperty<unknown>;

const parameter = fc.oneof(
  fc.constantFrom(
    "server_no_context_takeover",
    "client_no_context_takeover",
    "client_max_window_bits",
    "server_max_window_bits=12",
    "unknown",
    "server_no_context_takeover=1",
  ),
  fc
    .tuple(fc.constantFrom("server", "client"), fc.integer({ min: 6, max: 17 }))
    .map(([side, size]) => `${side}_max_window_bits=${size}`),
);

/** Whatever is offered, an answer is one that RFC 7692 §7.1 allows to one of the offers. */
const offers = fc.asyncProperty(
  fc.array(
    fc.array(parameter, { maxLength: 4 }).map((all) => ["permessage-deflate", ...all].join("; ")),
    { minLength: 1, maxLength: 3 },
  ),
  wishes,
  async (elements, server) => {
    const header = elements.join(", ");
    const accepted = acceptDeflate(header, server);
    if (accepted === undefined) return;
    const read = readAnswer(header, accepted.header);
    assert.equal(read.serverMaxWindowBits, accepted.agreement.serverMaxWindowBits);
    assert.equal(read.serverNoContextTakeover, accepted.agreement.serverNoContextTakeover);
  },
) as fc.IAsyncProperty<unknown>;

// --- deflate ---

const agreements: fc.Arbitrary<DeflateAgreement> = fc.record({
  serverNoContextTakeover: fc.boolean(),
  clientNoContextTakeover: fc.boolean(),
  serverMaxWindowBits: bits,
  clientMaxWindowBits: bits,
});

const maxMessageSize = 256 * 1024;

function deflateOf(role: Role, agreement: DeflateAgreement): MessageDeflate {
  const { compression } = resolveSocketOptions({ compression: true } satisfies SocketOptions);
  return new MessageDeflate(role, agreement, compression as ResolvedCompression, maxMessageSize);
}

/** Messages in fragments through our compressor and node:zlib's, each into the other's inflater. */
const deflated = fc.asyncProperty(
  agreements,
  fc.constantFrom(...roles),
  fc.array(fc.array(payloads(70_000), { minLength: 1, maxLength: 3 }), { maxLength: 6 }),
  async (agreement, role, list) => {
    const ours = deflateOf(role, agreement);
    const theirs = new PeerDeflate(otherEnd(role), agreement);
    for (const fragments of list) {
      const message = Buffer.concat(fragments);
      const parts: Buffer[] = [];
      for (const [index, fragment] of fragments.entries()) {
        parts.push(Buffer.from(await ours.compress(fragment, index === fragments.length - 1)));
      }
      assert.ok(theirs.inflate(Buffer.concat(parts)).equals(message));
      assert.ok((await ours.inflate(theirs.compress(message))).equals(message));
    }
    ours.end();
  },
) as fc.IAsyncProperty<unknown>;

/** How good data is spoilt. */
const damage = fc.record({
  /** From how many bytes from the end on it is missing. */
  cut: fc.constantFrom(0, 0, 1, 2, 5, 50),
  flips: fc.array(fc.tuple(fc.nat(5000), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
  garbage: fc.uint8Array({ maxLength: 30 }),
});

/** Whatever comes, inflating ends, with a message within the limit or with a violation. */
const spoilt = fc.asyncProperty(
  agreements,
  fc.array(fc.tuple(payloads(), damage), { minLength: 1, maxLength: 4 }),
  async (agreement, list) => {
    const ours = deflateOf("server", agreement);
    const theirs = new PeerDeflate("client", agreement);
    try {
      for (const [message, { cut, flips, garbage }] of list) {
        const good = theirs.compress(message);
        const bytes = Buffer.concat([good.subarray(0, Math.max(0, good.length - cut)), garbage]);
        for (const [at, mask] of flips) {
          if (bytes.length > 0) (bytes[at % bytes.length] as number) ^= mask;
        }
        const inflated = await ours.inflate(bytes);
        assert.ok(inflated.length <= maxMessageSize);
      }
    } catch (error) {
      assert.ok(error instanceof ViolationError && isDocumented(error), String(error));
    }
    ours.end();
  },
) as fc.IAsyncProperty<unknown>;

export const properties: readonly Property[] = [
  { name: "parser: it means nothing where the input is cut", runs: 1000, property: anySplit },
  { name: "writer and reader: what goes in comes out", runs: 1000, property: roundTrip },
  {
    name: "handshake: a request throws HandshakeError or nothing",
    runs: 4000,
    property: handshakes,
  },
  { name: "handshake: so does an answer", runs: 4000, property: answers },
  { name: "headers: time is linear in length", runs: 150, property: linear },
  { name: "negotiation: both ends agree, on the same", runs: 3000, property: negotiation },
  { name: "negotiation: an answer is always one to an offer", runs: 4000, property: offers },
  { name: "deflate: messages in fragments, against node:zlib", runs: 500, property: deflated },
  { name: "inflate: spoilt data ends with a violation at worst", runs: 1000, property: spoilt },
  { name: "socket: any operations in any order", runs: 1200, property: socketsProperty },
  ...hubMessageProperties,
  ...hubConnectionProperties,
  ...hubRequestProperties,
];
