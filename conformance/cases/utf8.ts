import { type FrameSpec, opcode } from "../frames.js";
import { type Case, type CaseRow, number } from "../peer.js";
import { hex } from "./payloads.js";

const section = "RFC 6455 §8.1, RFC 3629 §3";
const { text, continuation } = opcode;

/** Well-formed: the border of every length and around the surrogates, and what merely looks wrong. */
const valid: readonly [title: string, digits: string][] = [
  ["U+0000", "00"],
  ["U+007F, the last of one byte", "7f"],
  ["U+0080, the first of two bytes", "c280"],
  ["U+07FF, the last of two bytes", "dfbf"],
  ["U+0800, the first of three bytes", "e0a080"],
  ["U+D7FF, before the surrogates", "ed9fbf"],
  ["U+E000, after the surrogates", "ee8080"],
  ["U+FEFF, the byte order mark", "efbbbf 68 69"],
  ["U+FFFD, the replacement character", "efbfbd"],
  ["U+FFFE, a non-character", "efbfbe"],
  ["U+FFFF, a non-character", "efbfbf"],
  ["U+FDD0, a non-character", "efb790"],
  ["U+10000, the first of four bytes", "f0908080"],
  ["U+1FFFE and U+1FFFF, non-characters", "f09fbfbe f09fbfbf"],
  ["U+10FFFE, a non-character", "f48fbfbe"],
  ["U+10FFFF, the last of all", "f48fbfbf"],
  ["letters of one to four bytes", "41 c3a9 e4b8ad f09f9880 7a"],
  ["Greek with accents", "ceba e1bdb9 cf83 cebc ceb5"],
];

/** Ill-formed, each by another rule of RFC 3629. */
const invalid: readonly [title: string, digits: string][] = [
  ["a continuation byte alone", "80"],
  ["the last continuation byte alone", "bf"],
  ["two continuation bytes", "80bf"],
  ["a continuation byte behind a letter", "6180"],
  ["one continuation byte too many behind three bytes", "e282ac80"],
  ["a lead of two bytes, then a space", "c320"],
  ["a lead of three bytes, then a space", "e020"],
  ["a lead of four bytes, then a space", "f020"],
  ["two of three bytes, then a letter", "e28261"],
  ["three of four bytes, then a letter", "f09f9861"],
  ["a lead behind a lead", "c3c3a9"],
  ["two bytes, cut off", "c3"],
  ["three bytes, cut off after one", "e2"],
  ["three bytes, cut off after two", "e282"],
  ["four bytes, cut off after one", "f0"],
  ["four bytes, cut off after two", "f09f"],
  ["four bytes, cut off after three", "f09f98"],
  ["letters, then a character cut off", "68c3a96cf09f98"],
  ["overlong '/', two bytes", "c0af"],
  ["overlong '/', three bytes", "e080af"],
  ["overlong '/', four bytes", "f08080af"],
  ["overlong U+0000, two bytes", "c080"],
  ["overlong U+007F, two bytes", "c1bf"],
  ["overlong U+07FF, three bytes", "e09fbf"],
  ["overlong U+FFFF, four bytes", "f08fbfbf"],
  ["the first surrogate, U+D800", "eda080"],
  ["the last high surrogate, U+DBFF", "edafbf"],
  ["the first low surrogate, U+DC00", "edb080"],
  ["the last surrogate, U+DFFF", "edbfbf"],
  ["a pair of surrogates, three bytes each", "eda080edb080"],
  ["U+110000, above the last", "f4908080"],
  ["a lead of four bytes for far too much", "f5808080"],
  ["five bytes", "f888808080"],
  ["six bytes", "fc8480808080"],
  ["the byte FE", "fe"],
  ["the byte FF", "ff"],
];

function validRow(title: string, payload: Buffer, frames: readonly FrameSpec[], octets?: number) {
  return {
    title,
    section,
    async run(peer) {
      await peer.send(frames, octets);
      await peer.expectEcho("text", payload);
      await peer.closeCleanly();
    },
  } satisfies CaseRow;
}

function invalidRow(title: string, frames: readonly FrameSpec[], octets?: number): CaseRow {
  return {
    title,
    section,
    async run(peer) {
      await peer.send(frames, octets);
      await peer.expectFailure(1007);
    },
  };
}

/** A message with a fragment for each byte. */
function byteFragments(payload: Buffer): FrameSpec[] {
  return [...payload].map((byte, index) => ({
    opcode: index === 0 ? text : continuation,
    payload: Buffer.from([byte]),
    fin: index === payload.length - 1,
  }));
}

/**
 * Bytes that can never become right, without the end of frame or message: whoever validates as the
 * bytes come says so now, whoever waits runs into the time limit.
 */
function failFast(title: string, parts: readonly (FrameSpec | Buffer)[]): CaseRow {
  return {
    title,
    section: "RFC 6455 §8.1",
    timeLimit: 5_000,
    async run(peer) {
      for (const part of parts) {
        if (Buffer.isBuffer(part)) await peer.write(part);
        else await peer.send(part);
        await new Promise(setImmediate);
      }
      await peer.expectFailure(1007);
    },
  };
}

const greeting = Buffer.from("κόσμε");
const pieces: CaseRow[] = [
  failFast("a fragment that is wrong, the message going on", [
    { opcode: text, payload: "good ", fin: false },
    { opcode: continuation, payload: Buffer.concat([greeting, hex("f4908080")]), fin: false },
  ]),
  failFast("wrong only together with the fragment before", [
    { opcode: text, payload: Buffer.concat([greeting, hex("f4")]), fin: false },
    { opcode: continuation, payload: hex("90"), fin: false },
  ]),
  failFast("a surrogate, seen at its second byte", [
    { opcode: text, payload: hex("6f6bed"), fin: false },
    { opcode: continuation, payload: hex("a0"), fin: false },
  ]),
  failFast("a frame that is not complete", [
    { opcode: text, length: 100n, payload: Buffer.concat([greeting, hex("c0af")]) },
  ]),
  failFast("a frame that is not complete, octet by octet", [
    // A masking key of zeros leaves what follows as it is.
    { opcode: text, length: 100n, maskingKey: Buffer.alloc(4) },
    ...[...Buffer.concat([greeting, hex("eda080")])].map((byte) => Buffer.from([byte])),
  ]),
  failFast("a letter behind a lead, in the next fragment", [
    { opcode: text, payload: hex("c3"), fin: false },
    { opcode: continuation, payload: "a", fin: false },
  ]),
];

const boundaries: CaseRow[] = [
  validRow("four bytes in four fragments", hex("f09f9880"), byteFragments(hex("f09f9880"))),
  validRow("a character cut by a fragment, with empty ones between", greeting, [
    { opcode: text, payload: greeting.subarray(0, 1), fin: false },
    { opcode: continuation, fin: false },
    { opcode: continuation, payload: greeting.subarray(1, 4), fin: false },
    { opcode: continuation, fin: false },
    { opcode: continuation, payload: greeting.subarray(4) },
  ]),
  {
    title: "a character cut by a fragment, with a ping between",
    section,
    async run(peer) {
      await peer.send([
        { opcode: text, payload: hex("f09f"), fin: false },
        { opcode: opcode.ping, payload: hex("ff") },
        { opcode: continuation, payload: hex("9880") },
      ]);
      await peer.expectPong(hex("ff"));
      await peer.expectEcho("text", hex("f09f9880"));
      await peer.closeCleanly();
    },
  },
  invalidRow("a character cut by the end, behind a right one in fragments", [
    { opcode: text, payload: greeting, fin: false },
    { opcode: continuation, payload: hex("e2"), fin: false },
    { opcode: continuation, payload: hex("82") },
  ]),
  invalidRow("a character cut by an empty last fragment", [
    { opcode: text, payload: hex("c3"), fin: false },
    { opcode: continuation },
  ]),
  {
    title: "a cut character is not continued by the next message",
    section,
    async run(peer) {
      await peer.send({ opcode: text, payload: "fine" });
      await peer.expectEcho("text", "fine");
      await peer.send([
        { opcode: text, payload: hex("c3") },
        { opcode: text, payload: hex("a9") },
      ]);
      await peer.expectFailure(1007);
    },
  },
  {
    title: "binary messages may have any bytes",
    section: "RFC 6455 §5.6",
    async run(peer) {
      for (const [, digits] of invalid) {
        await peer.send({ opcode: opcode.binary, payload: hex(digits) });
        await peer.expectEcho("binary", hex(digits));
      }
      await peer.closeCleanly();
    },
  },
  validRow(
    "60 KiB of characters of three bytes, cut every 1000",
    Buffer.from("語".repeat(20_000)),
    [{ opcode: text, payload: "語".repeat(20_000) }],
    1000,
  ),
  validRow(
    "60 KiB of characters of four bytes, in fragments of 1001 bytes",
    Buffer.from("😀".repeat(15_000)),
    fragmentsOf(Buffer.from("😀".repeat(15_000)), 1001),
  ),
];

function fragmentsOf(payload: Buffer, size: number): FrameSpec[] {
  const frames: FrameSpec[] = [];
  for (let at = 0; at < payload.length; at += size) {
    frames.push({
      opcode: at === 0 ? text : continuation,
      payload: payload.subarray(at, at + size),
      fin: at + size >= payload.length,
    });
  }
  return frames;
}

export function utf8(): Case[] {
  const rows = <T>(list: readonly [string, string][], row: (title: string, bytes: Buffer) => T) =>
    list.map(([title, digits]) => row(title, hex(digits)));
  return [
    ...number(
      "6.1",
      rows(valid, (title, payload) => validRow(title, payload, [{ opcode: text, payload }])),
    ),
    ...number(
      "6.2",
      rows(valid, (title, payload) =>
        validRow(
          `${title}, a fragment for each byte, octet by octet`,
          payload,
          byteFragments(payload),
          1,
        ),
      ),
    ),
    ...number(
      "6.3",
      rows(invalid, (title, payload) => invalidRow(title, [{ opcode: text, payload }])),
    ),
    ...number(
      "6.4",
      rows(invalid, (title, payload) =>
        invalidRow(`${title}, a fragment for each byte`, byteFragments(payload)),
      ),
    ),
    ...number("6.5", pieces),
    ...number("6.6", boundaries),
  ];
}
