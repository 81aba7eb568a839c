import { opcode } from "../frames.js";
import { type Case, number } from "../peer.js";

const section = "RFC 6455 §5.2";
const reserved = [
  { prefix: "4.1", kind: "non-control", opcodes: [3, 4, 5, 6, 7] },
  { prefix: "4.2", kind: "control", opcodes: [11, 12, 13, 14, 15] },
];

export function opcodes(): Case[] {
  return reserved.flatMap(({ prefix, kind, opcodes }) => [
    ...number(
      `${prefix}.1`,
      opcodes.map((code) => ({
        title: `reserved ${kind} opcode ${code}, empty`,
        section,
        async run(peer) {
          await peer.send({ opcode: code });
          await peer.expectFailure(1002);
        },
      })),
    ),
    ...number(
      `${prefix}.2`,
      opcodes.map((code) => ({
        title: `reserved ${kind} opcode ${code} with payload, after a message`,
        section,
        async run(peer) {
          await peer.send({ opcode: opcode.text, payload: "before" });
          await peer.expectEcho("text", "before");
          await peer.send({ opcode: code, payload: "reserved" }, 1);
          await peer.expectFailure(1002);
        },
      })),
    ),
    ...number(`${prefix}.3`, [
      {
        title: `reserved ${kind} opcode ${opcodes[0]} between two fragments`,
        section,
        async run(peer) {
          await peer.send([
            { opcode: opcode.text, payload: "hel", fin: false },
            { opcode: opcodes[0] as number, payload: "reserved" },
            { opcode: opcode.continuation, payload: "lo" },
          ]);
          await peer.expectFailure(1002);
        },
      },
    ]),
  ]);
}
