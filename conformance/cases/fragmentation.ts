import { type FrameSpec, opcode } from "../frames.js";
import { type Case, type CaseRow, number } from "../peer.js";
import { asciiOf, bytesOf } from "./payloads.js";

const { text, binary, continuation, ping, pong, close } = opcode;
const section = "RFC 6455 §5.4";

/** Three ways in which the same frames can reach the other end. */
const deliveries = [
  { how: "in one write", octets: undefined },
  { how: "a write each", octets: "apart" },
  { how: "octet by octet", octets: 1 },
] as const;

interface Fragments {
  readonly title: string;
  readonly frames: readonly FrameSpec[];
  /** What they make together. */
  readonly echo: { readonly type: "text" | "binary"; readonly payload: string | Uint8Array };
  readonly pongs?: readonly string[];
}

const legal: Fragments[] = [
  {
    title: "two fragments of text",
    frames: [
      { opcode: text, payload: "frag", fin: false },
      { opcode: continuation, payload: "ment" },
    ],
    echo: { type: "text", payload: "fragment" },
  },
  {
    title: "two fragments of bytes",
    frames: [
      { opcode: binary, payload: bytesOf(200), fin: false },
      { opcode: continuation, payload: bytesOf(100) },
    ],
    echo: { type: "binary", payload: Buffer.concat([bytesOf(200), bytesOf(100)]) },
  },
  {
    title: "a ping between two fragments",
    frames: [
      { opcode: text, payload: "frag", fin: false },
      { opcode: ping, payload: "between" },
      { opcode: continuation, payload: "ment" },
    ],
    echo: { type: "text", payload: "fragment" },
    pongs: ["between"],
  },
  {
    title: "pings and pongs between five fragments",
    frames: [
      { opcode: text, payload: "f", fin: false },
      { opcode: ping, payload: "1" },
      { opcode: continuation, payload: "r", fin: false },
      { opcode: ping, payload: "2" },
      { opcode: continuation, payload: "a", fin: false },
      { opcode: pong, payload: "nobody asked" },
      { opcode: continuation, payload: "g", fin: false },
      { opcode: ping },
      { opcode: continuation, payload: "s" },
    ],
    echo: { type: "text", payload: "frags" },
    pongs: ["1", "2", ""],
  },
  {
    title: "three empty fragments",
    frames: [
      { opcode: text, fin: false },
      { opcode: continuation, fin: false },
      { opcode: continuation },
    ],
    echo: { type: "text", payload: "" },
  },
  {
    title: "empty fragments before, between and behind",
    frames: [
      { opcode: binary, fin: false },
      { opcode: continuation, payload: "mid", fin: false },
      { opcode: continuation, fin: false },
      { opcode: continuation, payload: "dle", fin: false },
      { opcode: continuation },
    ],
    echo: { type: "binary", payload: "middle" },
  },
  {
    title: "100 fragments of one byte",
    frames: Array.from({ length: 100 }, (_, index) => ({
      opcode: index === 0 ? text : continuation,
      payload: String.fromCharCode(asciiOf(100)[index] as number),
      fin: index === 99,
    })),
    echo: { type: "text", payload: asciiOf(100) },
  },
];

const legalRows = legal.flatMap(({ title, frames, echo, pongs }) =>
  deliveries.map(
    ({ how, octets }): CaseRow => ({
      title: `${title}, ${how}`,
      section,
      async run(peer) {
        if (octets === "apart") await peer.sendApart(frames);
        else await peer.send(frames, octets);
        if (pongs !== undefined) await peer.expectPongs(pongs);
        await peer.expectEcho(echo.type, echo.payload);
        await peer.closeCleanly();
      },
    }),
  ),
);

interface Illegal {
  readonly title: string;
  readonly frames: readonly FrameSpec[];
  readonly section: string;
}

const illegal: Illegal[] = [
  {
    title: "a ping in two fragments",
    frames: [
      { opcode: ping, payload: "fra", fin: false },
      { opcode: continuation, payload: "gments" },
    ],
    section: "RFC 6455 §5.5",
  },
  {
    title: "a pong in two fragments",
    frames: [
      { opcode: pong, payload: "fra", fin: false },
      { opcode: continuation, payload: "gments" },
    ],
    section: "RFC 6455 §5.5",
  },
  {
    title: "a Close in two fragments",
    frames: [
      { opcode: close, payload: Buffer.from([3]), fin: false },
      { opcode: continuation, payload: Buffer.from([232]) },
    ],
    section: "RFC 6455 §5.5",
  },
  {
    title: "a final continuation with nothing to continue",
    frames: [{ opcode: continuation, payload: "lost" }],
    section,
  },
  {
    title: "a continuation that is not final, with nothing to continue",
    frames: [{ opcode: continuation, payload: "lost", fin: false }],
    section,
  },
  {
    title: "an empty continuation with nothing to continue",
    frames: [{ opcode: continuation }],
    section,
  },
  {
    title: "text begun before the end of fragmented text",
    frames: [
      { opcode: text, payload: "first", fin: false },
      { opcode: text, payload: "second" },
    ],
    section,
  },
  {
    title: "bytes begun before the end of fragmented text",
    frames: [
      { opcode: text, payload: "first", fin: false },
      { opcode: binary, payload: "second" },
    ],
    section,
  },
  {
    title: "fragmented text begun before the end of fragmented bytes",
    frames: [
      { opcode: binary, payload: "first", fin: false },
      { opcode: text, payload: "second", fin: false },
    ],
    section,
  },
];

const illegalRows = illegal.flatMap(({ title, frames, section }) =>
  deliveries.map(
    ({ how, octets }): CaseRow => ({
      title: `${title}, ${how}`,
      section,
      async run(peer) {
        if (octets === "apart") await peer.sendApart(frames);
        else await peer.send(frames, octets);
        await peer.expectFailure(1002);
      },
    }),
  ),
);

const sequences: CaseRow[] = [
  {
    title: "a continuation after a message that is complete",
    section,
    async run(peer) {
      await peer.send([
        { opcode: text, payload: "frag", fin: false },
        { opcode: continuation, payload: "ment" },
      ]);
      await peer.expectEcho("text", "fragment");
      await peer.send({ opcode: continuation, payload: "more" });
      await peer.expectFailure(1002);
    },
  },
  {
    title: "a ping is answered before the message it interrupts has ended",
    section,
    async run(peer) {
      await peer.send({ opcode: text, payload: "frag", fin: false });
      await peer.send({ opcode: ping, payload: "now" });
      await peer.expectPong("now");
      await peer.send({ opcode: continuation, payload: "ment" });
      await peer.expectEcho("text", "fragment");
      await peer.closeCleanly();
    },
  },
  {
    title: "fragmented and whole messages in turn",
    section,
    async run(peer) {
      for (let round = 0; round < 5; round++) {
        await peer.send([
          { opcode: text, payload: `${round}`, fin: false },
          { opcode: continuation, payload: " in parts" },
          { opcode: binary, payload: bytesOf(round) },
        ]);
        await peer.expectEcho("text", `${round} in parts`);
        await peer.expectEcho("binary", bytesOf(round));
      }
      await peer.closeCleanly();
    },
  },
];

export function fragmentation(): Case[] {
  return [...number("5.1", legalRows), ...number("5.2", illegalRows), ...number("5.3", sequences)];
}
