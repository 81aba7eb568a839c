import { type FrameSpec, opcode } from "../frames.js";
import { type Case, type CaseRow, number } from "../peer.js";
import { asciiOf, bytesOf } from "./payloads.js";

function answered(title: string, payload: Uint8Array | string, octets?: number): CaseRow {
  return {
    title,
    section: "RFC 6455 §5.5.2",
    async run(peer) {
      await peer.send({ opcode: opcode.ping, payload }, octets);
      await peer.expectPong(payload);
      await peer.closeCleanly();
    },
  };
}

function refused(title: string, frame: FrameSpec): CaseRow {
  return {
    title,
    section: "RFC 6455 §5.5",
    async run(peer) {
      await peer.send(frame);
      await peer.expectFailure(1002);
    },
  };
}

/** Pongs that nobody asked for need no answer, and do no harm. */
function unasked(title: string, frames: readonly FrameSpec[]): CaseRow {
  return {
    title,
    section: "RFC 6455 §5.5.3",
    async run(peer) {
      await peer.send(frames);
      // What is answered to the ping shows that nothing was answered to the rest.
      await peer.send({ opcode: opcode.ping, payload: "still there?" });
      await peer.expectPong("still there?");
      await peer.closeCleanly();
    },
  };
}

function many(count: number, octets?: number): CaseRow {
  return {
    title: `${count} pings at once${octets === undefined ? "" : `, cut every ${octets}`}`,
    section: "RFC 6455 §5.5.3",
    async run(peer) {
      const payloads = Array.from({ length: count }, (_, index) => `ping ${index}`);
      await peer.send(
        payloads.map((payload) => ({ opcode: opcode.ping, payload })),
        octets,
      );
      await peer.expectPongs(payloads);
      await peer.closeCleanly();
    },
  };
}

export function pings(): Case[] {
  return [
    ...number("2.1", [
      answered("ping without payload", ""),
      answered("ping with a text", "Hello, are you there?"),
      answered("ping with bytes that are not UTF-8", Buffer.from("00fffefdfcfb00ff", "hex")),
      answered("ping of 124 bytes", bytesOf(124)),
      answered("ping of 125 bytes", bytesOf(125)),
      answered("ping of 125 bytes, octet by octet", bytesOf(125), 1),
    ]),
    ...number("2.2", [
      refused("ping of 126 bytes", { opcode: opcode.ping, payload: bytesOf(126) }),
      refused("ping of 65 536 bytes", { opcode: opcode.ping, payload: bytesOf(65_536) }),
      refused("ping of 5 bytes with a 16-bit length", {
        opcode: opcode.ping,
        payload: "hello",
        lengthForm: 16,
      }),
      refused("pong of 126 bytes", { opcode: opcode.pong, payload: bytesOf(126) }),
    ]),
    ...number("2.3", [
      unasked("pong without payload", [{ opcode: opcode.pong }]),
      unasked("pong with payload", [{ opcode: opcode.pong, payload: asciiOf(125) }]),
      unasked(
        "50 pongs",
        Array.from({ length: 50 }, (_, index) => ({ opcode: opcode.pong, payload: `${index}` })),
      ),
    ]),
    ...number("2.4", [many(10), many(10, 1), many(100)]),
    ...number("2.5", [
      {
        title: "ping between two messages",
        section: "RFC 6455 §5.5.2",
        async run(peer) {
          await peer.send([
            { opcode: opcode.text, payload: "before" },
            { opcode: opcode.ping, payload: "between" },
            { opcode: opcode.text, payload: "after" },
          ]);
          await peer.expectEcho("text", "before");
          await peer.expectPong("between");
          await peer.expectEcho("text", "after");
          await peer.closeCleanly();
        },
      },
    ]),
  ];
}
