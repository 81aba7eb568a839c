import { constants, deflateRawSync } from "node:zlib";
import type { CompressOptions } from "../deflate.js";
import { closePayload, type FrameSpec, fragmentsOf, opcode } from "../frames.js";
import { type Case, type CaseRow, number, type Peer, type Subject } from "../peer.js";
import {
  asciiOf,
  base64Of,
  bytesOf,
  hex,
  jsonOf,
  multilingualOf,
  noiseOf,
  repeatedOf,
} from "./payloads.js";

const { text, binary, continuation, ping } = opcode;

/** What most clients offer. */
export const usualOffer = { offer: "permessage-deflate; client_max_window_bits" };
const deflate = usualOffer;

export const messageSizes = [16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072];
const mebibyte = 1_048_576;
const largeSizes = [1, 4, 8, 16].map((mebibytes) => mebibytes * mebibyte);

interface Kind {
  readonly title: string;
  readonly type: "text" | "binary";
  readonly make: (size: number) => Buffer;
}

const kinds: readonly Kind[] = [
  { title: "JSON", type: "text", make: jsonOf },
  { title: "base64", type: "text", make: base64Of },
  { title: "repeated text", type: "text", make: repeatedOf },
  { title: "multilingual text", type: "text", make: multilingualOf },
  { title: "noise", type: "binary", make: noiseOf },
];

/** Compressed messages, sent without waiting for the echoes. */
export async function exchange(
  peer: Peer,
  type: "text" | "binary",
  payload: Buffer,
  count: number,
  options?: CompressOptions,
): Promise<void> {
  for (let sent = 0; sent < count; sent++) {
    await peer.send(peer.compressed(type, payload, options));
  }
  for (let received = 0; received < count; received++) await peer.expectEcho(type, payload);
}

/** Fewer of the large ones. */
function countFor(size: number): number {
  return Math.max(2, Math.min(50, Math.floor((128 * 1024) / size)));
}

function ofSize({ title, type, make }: Kind, size: number): CaseRow {
  const count = size < mebibyte ? countFor(size) : 1;
  return {
    title: `${count} × ${size} bytes of ${title}`,
    section: "RFC 7692 §7.2",
    ...(size >= mebibyte && { timeLimit: 60_000 }),
    deflate,
    async run(peer) {
      await exchange(peer, type, make(size), count);
      await peer.closeCleanly();
    },
  };
}

/** How zlib is asked to compress: each gives other kinds of blocks. */
const blockKinds: readonly [title: string, options: CompressOptions][] = [
  ["stored blocks", { level: 0 }],
  ["the fastest level", { level: 1 }],
  ["the best level", { level: 9 }],
  ["fixed Huffman codes", { strategy: constants.Z_FIXED }],
  ["Huffman codes alone", { strategy: constants.Z_HUFFMAN_ONLY }],
  ["run lengths alone", { strategy: constants.Z_RLE }],
];

const blocks: CaseRow[] = blockKinds.map(([title, options]) => ({
  title: `messages made of ${title}`,
  section: "RFC 7692 §7.2.1",
  deflate,
  async run(peer) {
    for (const size of [100, 5000, 70_000]) {
      await exchange(peer, "text", jsonOf(size), 1, options);
      await exchange(peer, "binary", bytesOf(size), 1, options);
    }
    await peer.closeCleanly();
  },
}));

/** One compressed message in pieces; §6.1: what is cut is the compressed payload. */
const fragmented: CaseRow[] = [
  ...[1, 7, 64, 256, 1024, 4096].map(
    (size): CaseRow => ({
      title: `a compressed message in fragments of ${size} bytes`,
      section: "RFC 7692 §6.1, §7.2",
      deflate,
      async run(peer) {
        const payload = jsonOf(size * 100);
        await peer.send(fragmentsOf(peer.compressed("text", payload), size));
        await peer.expectEcho("text", payload);
        await peer.closeCleanly();
      },
    }),
  ),
  ...[1, 7, 997].map(
    (octets): CaseRow => ({
      title: `compressed messages in writes of ${octets} bytes`,
      section: "RFC 7692 §7.2",
      deflate,
      async run(peer) {
        const payload = jsonOf(octets * 400);
        for (let round = 0; round < 3; round++) {
          await peer.send(peer.compressed("text", payload), octets);
          await peer.expectEcho("text", payload);
        }
        await peer.closeCleanly();
      },
    }),
  ),
  {
    title: "control frames between the fragments of a compressed message",
    section: "RFC 6455 §5.4, RFC 7692 §6.1",
    deflate,
    async run(peer) {
      const payload = jsonOf(4000);
      const [first, ...rest] = fragmentsOf(peer.compressed("text", payload), 200);
      await peer.send(first as FrameSpec);
      const asked = rest.map((_, index) => `ping ${index}`);
      for (const [index, frame] of rest.entries()) {
        await peer.send([
          { opcode: ping, payload: asked[index] as string },
          { opcode: opcode.pong, payload: "nobody asked" },
          frame,
        ]);
      }
      await peer.expectPongs(asked);
      await peer.expectEcho("text", payload);
      await peer.closeCleanly();
    },
  },
  {
    title: "a ping within a compressed message is answered before the message ends",
    section: "RFC 6455 §5.5.2",
    deflate,
    async run(peer) {
      const [first, second] = fragmentsOf(peer.compressed("text", base64Of(300)), 200);
      await peer.send([first as FrameSpec, { opcode: ping, payload: "now" }]);
      await peer.expectPong("now");
      await peer.send(second as FrameSpec);
      await peer.expectEcho("text", base64Of(300));
      await peer.closeCleanly();
    },
  },
  {
    title: "empty fragments before, between and behind",
    section: "RFC 7692 §6.1, §7.2.2",
    deflate,
    async run(peer) {
      const payload = peer.deflate.compress("a message with holes in it");
      await peer.send([
        { opcode: text, rsv: 4, fin: false },
        { opcode: continuation, payload: payload.subarray(0, 5), fin: false },
        { opcode: continuation, fin: false },
        { opcode: continuation, fin: false },
        { opcode: continuation, payload: payload.subarray(5), fin: false },
        { opcode: continuation },
      ]);
      await peer.expectEcho("text", "a message with holes in it");
      await peer.closeCleanly();
    },
  },
  {
    title: "each fragment flushed by itself",
    section: "RFC 7692 §7.2.1, §7.2.3.3",
    deflate,
    async run(peer) {
      const parts = ["one block, ", "another block, ", "a last block"];
      await peer.send(
        parts.map((part, index) => ({
          opcode: index === 0 ? text : continuation,
          rsv: index === 0 ? 4 : 0,
          fin: index === 2,
          payload: peer.deflate.compress(part, {}, index === 2),
        })),
      );
      await peer.expectEcho("text", parts.join(""));
      await peer.closeCleanly();
    },
  },
  {
    title: "a character cut by a fragment and by a block",
    section: "RFC 7692 §7.2, RFC 6455 §8.1",
    deflate,
    async run(peer) {
      const [first, second] = [Buffer.from([0xf0, 0x9f]), Buffer.from([0x98, 0x80])];
      await peer.send([
        { opcode: text, rsv: 4, fin: false, payload: peer.deflate.compress(first, {}, false) },
        { opcode: continuation, payload: peer.deflate.compress(second) },
      ]);
      await peer.expectEcho("text", "😀");
      await peer.closeCleanly();
    },
  },
];

const sequences: CaseRow[] = [
  {
    title: "300 compressed messages in one write",
    section: "RFC 7692 §7.2",
    deflate,
    async run(peer) {
      const texts = Array.from({ length: 300 }, (_, index) => `message ${index} of three hundred`);
      await peer.send(texts.map((each) => peer.compressed("text", each)));
      for (const each of texts) await peer.expectEcho("text", each);
      await peer.closeCleanly();
    },
  },
  {
    title: "compressed and uncompressed messages in turn",
    section: "RFC 7692 §6.1, §7.2",
    deflate,
    async run(peer) {
      const frames: FrameSpec[] = [];
      const texts = Array.from({ length: 60 }, (_, index) => jsonOf(50 + index * 40, index + 1));
      for (const [index, payload] of texts.entries()) {
        frames.push(index % 3 === 0 ? { opcode: text, payload } : peer.compressed("text", payload));
      }
      await peer.send(frames);
      for (const payload of texts) await peer.expectEcho("text", payload);
      await peer.closeCleanly();
    },
  },
  {
    title: "a small uncompressed message behind a large compressed one does not overtake it",
    section: "RFC 7692 §5",
    deflate,
    async run(peer) {
      const large = base64Of(200_000);
      for (let round = 0; round < 3; round++) {
        await peer.send([peer.compressed("text", large), { opcode: text, payload: "small" }]);
      }
      for (let round = 0; round < 3; round++) {
        await peer.expectEcho("text", large);
        await peer.expectEcho("text", "small");
      }
      await peer.closeCleanly();
    },
  },
  {
    title: "Close behind a large compressed message: first the echo",
    section: "RFC 6455 §5.5.1",
    deflate,
    async run(peer) {
      const large = jsonOf(300_000);
      await peer.send([
        peer.compressed("text", large),
        { opcode: opcode.close, payload: closePayload(1000) },
      ]);
      await peer.expectEcho("text", large);
      await peer.expectClose([1000]);
    },
  },
  {
    title: "text and bytes, small and large, in turn",
    section: "RFC 7692 §7.2",
    deflate,
    async run(peer) {
      for (const size of [0, 1, 2, 125, 126, 300, 65_535, 65_536, 100_000]) {
        await exchange(peer, "text", asciiOf(size), 1);
        await exchange(peer, "binary", noiseOf(size, size), 1);
      }
      await peer.closeCleanly();
    },
  },
];

/** A frame after a compressed message that was answered as usual. */
function refused(title: string, code: number, frames: (peer: Peer) => FrameSpec[]): CaseRow {
  return {
    title,
    section:
      code === 1002 ? "RFC 7692 §6, §6.1, RFC 6455 §5.2" : "RFC 7692 §7.2.2, RFC 6455 §7.4.1",
    deflate,
    async run(peer) {
      await exchange(peer, "text", Buffer.from("before"), 1);
      await peer.send(frames(peer));
      await peer.expectFailure(code);
    },
  };
}

const reservedBits: CaseRow[] = [
  refused("RSV1 on a continuation frame", 1002, (peer) => {
    const payload = peer.deflate.compress("never wrong, never right");
    return [
      { opcode: text, rsv: 4, payload: payload.subarray(0, 5), fin: false },
      { opcode: continuation, rsv: 4, payload: payload.subarray(5) },
    ];
  }),
  refused("RSV1 on the continuation of an uncompressed message", 1002, () => [
    { opcode: text, payload: "hel", fin: false },
    { opcode: continuation, rsv: 4, payload: "lo" },
  ]),
  refused("RSV1 on a ping", 1002, () => [{ opcode: ping, rsv: 4, payload: "hello" }]),
  refused("RSV1 on a pong", 1002, () => [{ opcode: opcode.pong, rsv: 4 }]),
  refused("RSV1 on a Close", 1002, () => [
    { opcode: opcode.close, rsv: 4, payload: closePayload(1000) },
  ]),
  ...[1, 2, 3, 5, 6, 7].map((rsv) =>
    refused(`the reserved bits ${rsv.toString(2).padStart(3, "0")} on text`, 1002, (peer) => [
      { ...peer.compressed("text", "hello"), rsv },
    ]),
  ),
];

/** The payloads of RFC 7692 §7.2.3 and others that zlib's usual flush does not make. */
const handMade: readonly [title: string, payload: string, message: string][] = [
  ["the example of one fixed block", "f248cdc9c90700", "Hello"],
  ["the example of a stored block", "000500faff48656c6c6f00", "Hello"],
  ["the example of a block with BFINAL", "f348cdc9c90700 00", "Hello"],
  ["the example of two blocks in a message", "f248050000 00ffffcac9c90700", "Hello"],
  ["BFINAL, then an empty stored block written out", "f348cdc9c90700 000000ffff 00", "Hello"],
  ["BFINAL twice in one message", "f348cdc9c90700 f348cdc9c90700 00", "HelloHello"],
  ["BFINAL, then a block without", "f348cdc9c90700 f248cdc9c90700", "HelloHello"],
  ["a block, then BFINAL", "f248cdc9c907000000ffff f348cdc9c90700 00", "HelloHello"],
  ["an empty block with BFINAL", "0300 00", ""],
  ["an empty stored block with BFINAL", "010000ffff 00", ""],
  ["several empty stored blocks", "000000ffff 000000ffff 00", ""],
];

const byHand: CaseRow[] = handMade.flatMap(([title, digits, message]) =>
  [undefined, 1, "cut"].map(
    (how): CaseRow => ({
      title: `${title}${how === undefined ? "" : how === 1 ? ", in fragments of one byte" : ", twice, a usual message between"}`,
      section: "RFC 7692 §7.2.3",
      // What BFINAL does to the window is of no interest here.
      deflate: { offer: `${deflate.offer}; client_no_context_takeover` },
      async run(peer) {
        const frame = { opcode: text, rsv: 4, payload: hex(digits) };
        await peer.send(how === 1 ? fragmentsOf(frame, 1) : frame);
        await peer.expectEcho("text", message);
        if (how === "cut") {
          await exchange(peer, "text", Buffer.from("between"), 1);
          await peer.send(frame);
          await peer.expectEcho("text", message);
        }
        await peer.closeCleanly();
      },
    }),
  ),
);

const empty: CaseRow[] = [
  ["as one byte, 00", "00"],
  ["as an empty fixed block and a stored one's header", "0200"],
].flatMap(([title, digits]) =>
  (["text", "binary"] as const).map((type) => ({
    title: `an empty ${type} message ${title}`,
    section: "RFC 7692 §7.2.3.6",
    deflate,
    async run(peer) {
      for (let round = 0; round < 3; round++) {
        await peer.send({ opcode: opcode[type], rsv: 4, payload: hex(digits as string) });
        await peer.expectEcho(type, "");
        await exchange(peer, type, Buffer.from("not empty"), 1);
      }
      await peer.closeCleanly();
    },
  })),
);

/** A reference to what was never sent. */
const tooFarBack = deflateRawSync(noiseOf(100), {
  dictionary: Buffer.concat([noiseOf(100), noiseOf(3000, 2)]),
}).toString("hex");

/** Data that deflate forbids (RFC 1951), whole and in pieces. */
const corrupt: CaseRow[] = (
  [
    ["a block of the reserved type 3", "07"],
    ["a block of the reserved type 3 behind a good one", "f248cdc9c907000000ffff 06"],
    ["a stored block whose length is not confirmed", "00 0500 0500 48656c6c6f 00"],
    ["a distance beyond the beginning", tooFarBack],
    ["ASCII", "68656c6c6f 68656c6c6f"],
    ["all ones", "ffffffffffffffff"],
    ["a code without an end of block", `04${"00".repeat(48)}`],
    ["too many length symbols", "fc ff 00 00 00 00 00 00 00 00 00 00"],
  ] as const
).flatMap(([title, digits]) => [
  refused(`${title}`, 1007, () => [{ opcode: binary, rsv: 4, payload: hex(digits) }]),
  refused(`${title}, in fragments of one byte`, 1007, () =>
    fragmentsOf({ opcode: text, rsv: 4, payload: hex(digits) }, 1),
  ),
]);

const badText: CaseRow[] = (
  [
    ["a continuation byte alone", "80"],
    ["a character cut off", "f09f98"],
    ["a surrogate", "eda080"],
    ["an overlong form", "c0af"],
  ] as const
).flatMap(([title, digits]) => [
  refused(`compressed text with ${title}`, 1007, (peer) => [peer.compressed("text", hex(digits))]),
  refused(`compressed text with ${title}, behind 100 000 letters`, 1007, (peer) => [
    peer.compressed("text", Buffer.concat([asciiOf(100_000), hex(digits)])),
  ]),
]);

/** Small on the wire and large in memory. */
function bombs(limit: number): CaseRow[] {
  const section = "RFC 7692 §8, RFC 6455 §7.4.1, §10.4";
  const zeros = (size: number) =>
    deflateRawSync(Buffer.alloc(size), { finishFlush: constants.Z_SYNC_FLUSH });
  // The same block again and again: to compress all of it would stop everything else for seconds.
  const bombOf = (size: number) => {
    const block = zeros(mebibyte);
    const blocks = Array.from({ length: Math.floor(size / mebibyte) }, () => block);
    if (size % mebibyte > 0) blocks.push(zeros(size % mebibyte));
    return { opcode: binary, rsv: 4, payload: Buffer.concat(blocks).subarray(0, -4) };
  };
  return [
    {
      title: `a compressed message that inflates to ${limit} bytes, the limit`,
      section,
      timeLimit: 60_000,
      deflate,
      async run(peer) {
        await exchange(peer, "text", jsonOf(limit), 1);
        await peer.closeCleanly();
      },
    },
    ...[limit + 1, Math.min(limit * 60, 256 * mebibyte)].map(
      (size): CaseRow => ({
        title: `a compressed message that inflates to ${size} bytes`,
        section,
        timeLimit: 60_000,
        deflate,
        async run(peer) {
          await peer.send(bombOf(size));
          await peer.expectFailure(1009);
        },
      }),
    ),
    {
      title: "a bomb in fragments",
      section,
      timeLimit: 60_000,
      deflate,
      async run(peer) {
        await peer.send(fragmentsOf(bombOf(limit * 4), 1024));
        await peer.expectFailure(1009);
      },
    },
    {
      title: "a bomb within a bomb, of stored blocks alone",
      section,
      timeLimit: 60_000,
      deflate,
      async run(peer) {
        const payload = peer.deflate.compress(Buffer.alloc(limit + 1000), { level: 0 });
        // It does not get smaller, so that its frames are refused already, by their sizes.
        await peer.send({ opcode: binary, rsv: 4, payload });
        await peer.expectFailure(1009);
      },
    },
  ];
}

export function compression({ maxMessageSize }: Subject): Case[] {
  const isLarge = maxMessageSize >= 16 * mebibyte;
  const small = messageSizes.filter((size) => size <= maxMessageSize);
  return [
    ...kinds.flatMap((kind, index) =>
      number(
        `12.${index + 1}`,
        small.map((size) => ofSize(kind, size)),
      ),
    ),
    ...number(
      "12.6",
      isLarge
        ? kinds
            // Of one word 16 MiB become so little that a limit on the ratio may refuse them.
            .filter(({ title }) => title !== "repeated text" && title !== "multilingual text")
            .flatMap((kind) =>
              largeSizes
                // Noise gets larger: what it is on the wire would be beyond the limit.
                .filter((size) => kind.title !== "noise" || size < 16 * mebibyte)
                .map((size) => ofSize(kind, size)),
            )
        : [],
    ),
    ...number("12.7", blocks),
    ...number("12.8", fragmented),
    ...number("12.9", sequences),
    ...number("12.10", reservedBits),
    ...number("12.11", [...byHand, ...empty]),
    ...number("12.12", [...corrupt, ...badText]),
    ...number("12.13", Number.isFinite(maxMessageSize) ? bombs(maxMessageSize) : []),
  ];
}
