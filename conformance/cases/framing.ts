import { opcode } from "../frames.js";
import { type Case, type CaseRow, number, type Subject } from "../peer.js";
import { asciiOf, bytesOf } from "./payloads.js";

const types = ["text", "binary"] as const;
/** Both sides of every border between the three forms of a length. */
const sizes = [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536, 1_048_576];

function payloadOf(type: "text" | "binary", size: number): Buffer {
  return type === "text" ? asciiOf(size) : bytesOf(size);
}

/** One message, written `octets` bytes at a time. */
function echo(type: "text" | "binary", size: number, octets?: number): CaseRow {
  const cut =
    octets === undefined ? "" : octets === 1 ? ", octet by octet" : `, cut every ${octets}`;
  return {
    title: `${type} message of ${size} bytes${cut}`,
    section: "RFC 6455 §5.2",
    async run(peer) {
      const payload = payloadOf(type, size);
      await peer.send({ opcode: opcode[type], payload }, octets);
      await peer.expectEcho(type, payload);
      await peer.closeCleanly();
    },
  };
}

/** The three lengths of a header, each cut at every place of the header. */
const headerCuts: CaseRow[] = [5, 300, 65_536].map((size) => ({
  title: `the header of ${size} bytes cut at each of its places`,
  section: "RFC 6455 §5.2",
  async run(peer) {
    const payload = bytesOf(size);
    const bytes = peer.encode({ opcode: opcode.binary, payload });
    for (let cut = 1; cut <= bytes.length - size; cut++) {
      await peer.write(bytes.subarray(0, cut));
      await new Promise(setImmediate);
      await peer.write(bytes.subarray(cut));
      await peer.expectEcho("binary", payload);
    }
    await peer.closeCleanly();
  },
}));

const sequences: CaseRow[] = [
  {
    title: "100 messages in one write",
    section: "RFC 6455 §6.2",
    async run(peer) {
      const texts = Array.from({ length: 100 }, (_, index) => `message ${index}`);
      await peer.send(texts.map((payload) => ({ opcode: opcode.text, payload })));
      for (const text of texts) await peer.expectEcho("text", text);
      await peer.closeCleanly();
    },
  },
  {
    title: "100 messages cut every 7 bytes",
    section: "RFC 6455 §6.2",
    async run(peer) {
      const texts = Array.from({ length: 100 }, (_, index) => `message ${index}`);
      await peer.send(
        texts.map((payload) => ({ opcode: opcode.text, payload })),
        7,
      );
      for (const text of texts) await peer.expectEcho("text", text);
      await peer.closeCleanly();
    },
  },
  {
    title: "text and binary, empty and not, in turn",
    section: "RFC 6455 §5.6",
    async run(peer) {
      const rows = types.flatMap((type) => [0, 3, 200].map((size) => ({ type, size })));
      for (const { type, size } of rows) {
        await peer.send({ opcode: opcode[type], payload: payloadOf(type, size) });
        await peer.expectEcho(type, payloadOf(type, size));
      }
      await peer.closeCleanly();
    },
  },
  {
    title: "a masking key of zeros, and another key for each frame",
    section: "RFC 6455 §5.3",
    async run(peer) {
      for (let index = 0; index < 8; index++) {
        const maskingKey = Buffer.from([index, index * 31, index * 17, index * 7]);
        const payload = bytesOf(61 + index);
        await peer.send({ opcode: opcode.binary, payload, maskingKey });
        await peer.expectEcho("binary", payload);
      }
      await peer.closeCleanly();
    },
  },
  {
    title: "a masking key with every top bit set, over 4 KiB cut at odd places",
    section: "RFC 6455 §5.3",
    async run(peer) {
      const payload = bytesOf(4096);
      const maskingKey = Buffer.from([0xff, 0x80, 0xfe, 0x81]);
      await peer.send({ opcode: opcode.binary, payload, maskingKey }, 131);
      await peer.expectEcho("binary", payload);
      await peer.closeCleanly();
    },
  },
];

/** §5.1: a server must close when a frame is not masked, a client when one is. */
const unmasked: CaseRow[] = (["text", "binary", "ping", "close"] as const).flatMap((kind) =>
  [0, 5].map((size) => ({
    title: `${kind} frame of ${size} bytes with the mask bit of the wrong end`,
    section: "RFC 6455 §5.1",
    async run(peer) {
      // A Close has a code, if it is not empty.
      const payload =
        kind === "close" && size > 0 ? Buffer.from([3, 232, 98, 121, 101]) : asciiOf(size);
      await peer.send(peer.wronglyMasked({ opcode: opcode[kind], payload }));
      await peer.expectFailure(1002);
    },
  })),
);

const reportedEarly: CaseRow[] = [
  {
    title: "the wrong mask bit is refused after its two bytes",
    section: "RFC 6455 §5.1",
    async run(peer) {
      // Five bytes are announced, which never come.
      await peer.write(Buffer.from([0x81, peer.role === "client" ? 0x05 : 0x85]));
      await peer.expectFailure(1002);
    },
  },
];

export function framing({ maxMessageSize }: Subject): Case[] {
  const fitting = sizes.filter((size) => size <= maxMessageSize);
  return [
    ...number(
      "1.1",
      fitting.map((size) => echo("text", size)),
    ),
    ...number(
      "1.2",
      fitting.map((size) => echo("binary", size)),
    ),
    ...number(
      "1.3",
      types.flatMap((type) => [0, 1, 125, 126, 127, 128].map((size) => echo(type, size, 1))),
    ),
    ...number(
      "1.4",
      types.flatMap((type) => [65_535, 65_536].map((size) => echo(type, size, 997))),
    ),
    ...number("1.5", headerCuts),
    ...number("1.6", sequences),
    ...number("1.7", [...unmasked, ...reportedEarly]),
  ];
}
