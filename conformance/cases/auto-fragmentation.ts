import { fragmentsOf, opcode } from "../frames.js";
import { type Case, number, type Subject } from "../peer.js";
import { asciiOf, bytesOf } from "./payloads.js";

const sizes = [
  { total: 65_536, fragment: 1300 },
  { total: 65_536, fragment: 64 },
  { total: 65_536, fragment: 65_535 },
  { total: 262_144, fragment: 256 },
  { total: 1_048_576, fragment: 4096 },
  { total: 1_048_576, fragment: 65_536 },
];

/** A message that its sender, or something in between, cut into equal fragments. */
export function autoFragmentation({ maxMessageSize }: Subject): Case[] {
  const rows = sizes.filter(({ total }) => total <= maxMessageSize);
  return (["text", "binary"] as const).flatMap((type, index) =>
    number(
      `10.${index + 1}`,
      rows.map(({ total, fragment }) => ({
        title: `${type} message of ${total} bytes in fragments of ${fragment}`,
        section: "RFC 6455 §5.4",
        async run(peer) {
          const payload = type === "text" ? asciiOf(total) : bytesOf(total);
          await peer.send(fragmentsOf({ opcode: opcode[type], payload }, fragment));
          await peer.expectEcho(type, payload);
          await peer.closeCleanly();
        },
      })),
    ),
  );
}
