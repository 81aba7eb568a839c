import { encodeFrame, type FrameSpec, opcode } from "../frames.js";
import { type Case, type CaseRow, number, type Subject } from "../peer.js";
import { asciiOf, bytesOf } from "./payloads.js";

const { text, binary, continuation } = opcode;

/** §5.2: "the minimal number of bytes MUST be used to encode the length". */
const notShortest: CaseRow[] = (
  [
    [16, 0],
    [16, 1],
    [16, 125],
    [64, 0],
    [64, 125],
    [64, 126],
    [64, 65_535],
  ] as const
).map(([lengthForm, size]) => ({
  title: `${size} bytes with a ${lengthForm}-bit length`,
  section: "RFC 6455 §5.2",
  async run(peer) {
    await peer.send({ opcode: binary, payload: bytesOf(size), lengthForm });
    await peer.expectFailure(1002);
  },
}));

/** The header of a frame whose payload never comes. */
function headerOf(spec: Omit<FrameSpec, "payload">): Buffer {
  return encodeFrame(spec);
}

const topBit: CaseRow[] = [0x8000000000000000n, 0xffffffffffffffffn].map((length) => ({
  title: `the 64-bit length 0x${length.toString(16)}, with its top bit set`,
  section: "RFC 6455 §5.2",
  async run(peer) {
    await peer.write(headerOf({ opcode: binary, length }));
    await peer.expectFailure(1002);
  },
}));

/** Lengths that are legal and that nobody takes: refused before a payload comes. */
const huge: CaseRow[] = [2n ** 63n - 1n, 2n ** 53n, 2n ** 53n - 1n, 2n ** 40n].map((length) => ({
  title: `${length} bytes declared`,
  section: "RFC 6455 §10.4, §7.4.1",
  async run(peer) {
    await peer.write(headerOf({ opcode: binary, length }));
    await peer.expectFailure(1009);
  },
}));

function withLimit(limit: number): CaseRow[] {
  const half = Math.floor(limit / 2);
  const section = "RFC 6455 §10.4, §7.4.1";
  return [
    {
      title: `binary message of ${limit} bytes, the limit`,
      section,
      async run(peer) {
        const payload = bytesOf(limit);
        await peer.send({ opcode: binary, payload });
        await peer.expectEcho("binary", payload);
        await peer.closeCleanly();
      },
    },
    {
      title: `text message of ${limit} bytes, the limit, in two fragments`,
      section,
      async run(peer) {
        const payload = asciiOf(limit);
        await peer.send([
          { opcode: text, payload: payload.subarray(0, half), fin: false },
          { opcode: continuation, payload: payload.subarray(half) },
        ]);
        await peer.expectEcho("text", payload);
        await peer.closeCleanly();
      },
    },
    ...[text, binary].map(
      (kind): CaseRow => ({
        title: `one byte more is refused by its header (${kind === text ? "text" : "binary"})`,
        section,
        async run(peer) {
          await peer.write(headerOf({ opcode: kind, length: BigInt(limit) + 1n }));
          await peer.expectFailure(1009);
        },
      }),
    ),
    {
      title: "fragments that add up to one byte more are refused by the last one's header",
      section,
      async run(peer) {
        await peer.send({ opcode: binary, payload: bytesOf(half), fin: false });
        await peer.send({ opcode: continuation, payload: bytesOf(limit - half), fin: false });
        await peer.write(headerOf({ opcode: continuation, length: 1n }));
        await peer.expectFailure(1009);
      },
    },
    {
      title: "the limit counts anew for each message",
      section,
      async run(peer) {
        const payload = bytesOf(half + 1);
        for (let round = 0; round < 3; round++) {
          await peer.send({ opcode: binary, payload });
          await peer.expectEcho("binary", payload);
        }
        await peer.closeCleanly();
      },
    },
  ];
}

export function limits({ maxMessageSize }: Subject): Case[] {
  const isLimited = Number.isFinite(maxMessageSize);
  return [
    ...number("9.1", notShortest),
    ...number("9.2", topBit),
    ...number("9.3", isLimited ? huge : []),
    ...number("9.4", isLimited ? withLimit(maxMessageSize) : []),
  ];
}
