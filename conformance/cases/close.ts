import { closePayload, type FrameSpec, opcode } from "../frames.js";
import { type Case, type CaseRow, number } from "../peer.js";
import { asciiOf, hex } from "./payloads.js";

const { text, continuation, ping } = opcode;
const close = (payload?: Uint8Array): FrameSpec => ({
  opcode: opcode.close,
  ...(payload && { payload }),
});

/** §7.4.1 and §7.4.2; 1012 to 1014 were registered with IANA later. */
const legalCodes = [
  1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
];
/** Below the range, reserved, not to be sent, unregistered, above the range. */
const illegalCodes = [
  0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32_768, 65_535,
];

/** §5.5.1: the answer typically repeats the code; 1000 instead is fine too. */
function answered(
  title: string,
  payload: Buffer,
  code: number | undefined,
  octets?: number,
): CaseRow {
  return {
    title,
    section: "RFC 6455 §5.5.1, §7.4",
    async run(peer) {
      await peer.send(close(payload), octets);
      await peer.expectClose([code, 1000]);
    },
  };
}

function refused(title: string, payload: Buffer, ...codes: number[]): CaseRow {
  return {
    title,
    section: "RFC 6455 §5.5.1, §7.4",
    async run(peer) {
      await peer.send(close(payload));
      await peer.expectFailure(...codes);
    },
  };
}

const sequences: CaseRow[] = [
  {
    title: "Close after a message: first the echo, then Close",
    section: "RFC 6455 §5.5.1",
    async run(peer) {
      await peer.send([{ opcode: text, payload: "last words" }, close(closePayload(1000))]);
      await peer.expectEcho("text", "last words");
      await peer.expectClose([1000]);
    },
  },
  {
    title: "two Closes in one write: one answer",
    section: "RFC 6455 §5.5.1",
    async run(peer) {
      await peer.send([close(closePayload(1000)), close(closePayload(1001))]);
      await peer.expectClose([1000]);
    },
  },
  {
    title: "a message after Close is ignored",
    section: "RFC 6455 §5.5.1",
    async run(peer) {
      await peer.send([close(closePayload(1000)), { opcode: text, payload: "too late" }]);
      await peer.expectClose([1000]);
    },
  },
  {
    title: "a ping after Close is not answered",
    section: "RFC 6455 §5.5.1, §5.5.2",
    async run(peer) {
      await peer.send([close(closePayload(1000)), { opcode: ping, payload: "too late" }]);
      await peer.expectClose([1000]);
    },
  },
  {
    title: "garbage after Close is ignored",
    section: "RFC 6455 §5.5.1",
    async run(peer) {
      await peer.send(close(closePayload(1000)));
      await peer.write(Buffer.alloc(1000, 0xff));
      await peer.expectClose([1000]);
    },
  },
  {
    title: "a ping before Close in one write is answered or left",
    section: "RFC 6455 §5.5.2",
    async run(peer) {
      await peer.send([{ opcode: ping, payload: "before" }, close(closePayload(1000))]);
      // "unless it already received a Close frame": both are right.
      await peer.expectFailure(1000);
    },
  },
  {
    title: "Close within a fragmented message",
    section: "RFC 6455 §5.4, §5.5.1",
    async run(peer) {
      await peer.send([{ opcode: text, payload: "frag", fin: false }, close(closePayload(1000))]);
      await peer.expectClose([1000]);
    },
  },
  {
    title: "a continuation after Close does not complete the message",
    section: "RFC 6455 §5.5.1",
    async run(peer) {
      await peer.send([
        { opcode: text, payload: "frag", fin: false },
        close(closePayload(1000)),
        { opcode: continuation, payload: "ment" },
      ]);
      await peer.expectClose([1000]);
    },
  },
  {
    title: "Close behind 256 KiB that are echoed",
    section: "RFC 6455 §5.5.1, §7.1.2",
    async run(peer) {
      const payload = asciiOf(256 * 1024);
      await peer.send([{ opcode: text, payload }, close(closePayload(1000, "enough"))]);
      await peer.expectEcho("text", payload);
      await peer.expectClose([1000]);
    },
  },
  {
    title: "TCP ends without a Close: it ends at the other end too",
    section: "RFC 6455 §7.1.1, §7.1.5",
    async run(peer) {
      await peer.send({ opcode: text, payload: "hello" });
      await peer.expectEcho("text", "hello");
      peer.endTcp();
      await peer.expectEnd();
    },
  },
  {
    title: "TCP ends within a frame: it ends at the other end too",
    section: "RFC 6455 §7.1.1, §7.1.5",
    async run(peer) {
      await peer.send({ opcode: text, length: 5n, payload: "he" });
      peer.endTcp();
      await peer.expectEnd();
    },
  },
  {
    title: "TCP ends right behind our Close",
    section: "RFC 6455 §7.1.1",
    async run(peer) {
      await peer.send(close(closePayload(1000)));
      peer.endTcp();
      await peer.expectClose([1000]);
    },
  },
];

export function closing(): Case[] {
  return [
    ...number("7.1", sequences),
    ...number("7.3", [
      answered("Close without payload", Buffer.alloc(0), undefined),
      refused("Close with one byte", Buffer.from([3]), 1002),
      answered("Close with a code alone", closePayload(1000), 1000),
      answered("Close with a code alone, octet by octet", closePayload(1000), 1000, 1),
      answered("Close with a reason", closePayload(1000, "Thank you"), 1000),
      answered("Close with a reason of 123 bytes", closePayload(1000, asciiOf(123)), 1000),
      answered(
        "Close with a reason of 123 bytes, octet by octet",
        closePayload(1001, asciiOf(123)),
        1001,
        1,
      ),
      refused("Close with a reason of 124 bytes", closePayload(1000, asciiOf(124)), 1002),
      answered(
        "Close with a reason of four-byte characters",
        closePayload(1000, "😀".repeat(30)),
        1000,
      ),
    ]),
    // §8.1 speaks of text as well; §7.4.1 gives 1007 to messages, so that 1002 is right too.
    ...number("7.5", [
      refused(
        "Close with a reason that is not UTF-8",
        closePayload(1000, hex("ceba ff")),
        1007,
        1002,
      ),
      refused(
        "Close with a reason that is cut off",
        closePayload(1000, hex("6f6b f09f98")),
        1007,
        1002,
      ),
      refused(
        "Close with a surrogate in its reason",
        closePayload(1000, hex("eda080")),
        1007,
        1002,
      ),
    ]),
    ...number(
      "7.7",
      legalCodes.map((code) => answered(`Close ${code}`, closePayload(code), code)),
    ),
    ...number(
      "7.9",
      illegalCodes.map((code) => refused(`Close ${code}`, closePayload(code), 1002)),
    ),
    ...number(
      "7.11",
      [999, 1005, 2999, 65_535].map((code) =>
        refused(`Close ${code} with a reason`, closePayload(code, "reason"), 1002),
      ),
    ),
  ];
}
