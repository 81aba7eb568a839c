import { fragmentsOf, opcode } from "../frames.js";
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

// From here on a frame is its header: the payload that it declares never comes.

const topBit: CaseRow[] = [0x8000000000000000n, 0xffffffffffffffffn].map((length) => ({
  title: `the 64-bit length 0x${length.toString(16)}, with its top bit set`,
  section: "RFC 6455 §5.2",
  async run(peer) {
    await peer.send({ opcode: binary, length });
    await peer.expectFailure(1002);
  },
}));

/** Lengths that are legal and that nobody takes: refused before a payload comes. */
const huge: CaseRow[] = [2n ** 63n - 1n, 2n ** 53n, 2n ** 53n - 1n, 2n ** 40n].map((length) => ({
  title: `${length} bytes declared`,
  section: "RFC 6455 §10.4, §7.4.1",
  async run(peer) {
    await peer.send({ opcode: binary, length });
    await peer.expectFailure(1009);
  },
}));

/** Sizes that one frame of the default selection has, and of the large one. */
const sizes = [65_536, 262_144, 1_048_576];
const largeSizes = [2, 4, 8, 16].map((mebibytes) => mebibytes * 1_048_576);
/** The large selection takes its time, on a server that does other things as well. */
const largeTimeLimit = 60_000;

const types = ["text", "binary"] as const;

function payloadOf(type: "text" | "binary", size: number): Buffer {
  return type === "text" ? asciiOf(size) : bytesOf(size);
}

function inOneFrame(size: number): CaseRow[] {
  return types.map((type) => ({
    title: `${type} message of ${size} bytes in one frame`,
    section: "RFC 6455 §5.2",
    timeLimit: largeTimeLimit,
    async run(peer) {
      const payload = payloadOf(type, size);
      await peer.send({ opcode: opcode[type], payload });
      await peer.expectEcho(type, payload);
      await peer.closeCleanly();
    },
  }));
}

function inFragments(size: number, fragment: number): CaseRow[] {
  return types.map((type) => ({
    title: `${type} message of ${size} bytes in ${size / fragment} fragments of ${fragment}`,
    section: "RFC 6455 §5.4",
    timeLimit: largeTimeLimit,
    async run(peer) {
      const payload = payloadOf(type, size);
      await peer.send(fragmentsOf({ opcode: opcode[type], payload }, fragment));
      await peer.expectEcho(type, payload);
      await peer.closeCleanly();
    },
  }));
}

/** What reaches the other end in writes of `octets` bytes, each in a turn of its own. */
function inPieces(size: number, octets: number): CaseRow[] {
  return types.map((type) => ({
    title: `${type} message of ${size} bytes in writes of ${octets}`,
    section: "RFC 6455 §5.2",
    timeLimit: largeTimeLimit,
    async run(peer) {
      const payload = payloadOf(type, size);
      await peer.send({ opcode: opcode[type], payload }, octets);
      await peer.expectEcho(type, payload);
      await peer.closeCleanly();
    },
  }));
}

function bySize(maxMessageSize: number): Case[] {
  const isLarge = maxMessageSize >= 16 * 1_048_576;
  const fitting = [...sizes, ...(isLarge ? largeSizes : [])].filter((n) => n <= maxMessageSize);
  const whole = isLarge ? 4 * 1_048_576 : Math.min(maxMessageSize, 262_144);
  const fragments = [64, 256, 1024, 4096, 16_384, 65_536, 262_144].filter((n) => n <= whole);
  const chopped = isLarge ? 1_048_576 : Math.min(maxMessageSize, 16_384);
  return [
    ...number("9.5", fitting.flatMap(inOneFrame)),
    ...number(
      "9.6",
      fragments.flatMap((fragment) => inFragments(whole, fragment)),
    ),
    ...number(
      "9.7",
      [64, 128, 256, 512, 1024, 2048].flatMap((octets) => inPieces(chopped, octets)),
    ),
  ];
}

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
          await peer.send({ opcode: kind, length: BigInt(limit) + 1n });
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
        await peer.send({ opcode: continuation, length: 1n });
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
    ...bySize(maxMessageSize),
  ];
}
