import { type FrameSpec, opcode } from "../frames.js";
import { type Case, type CaseRow, number } from "../peer.js";

const section = "RFC 6455 §5.2";
/** RSV1, RSV2 and RSV3 in every combination but none. */
const combinations = [1, 2, 3, 4, 5, 6, 7];

function describe(rsv: number): string {
  return [1, 2, 3]
    .filter((bit) => (rsv & (8 >> bit)) !== 0)
    .map((bit) => `RSV${bit}`)
    .join(" and ");
}

/** Each combination on one frame, after a message that is answered as usual. */
function rows(title: string, frameOf: (rsv: number) => FrameSpec): CaseRow[] {
  return combinations.map((rsv) => ({
    title: `${title} with ${describe(rsv)}`,
    section,
    async run(peer) {
      await peer.send({ opcode: opcode.text, payload: "before" });
      await peer.expectEcho("text", "before");
      await peer.send(frameOf(rsv));
      await peer.expectFailure(1002);
    },
  }));
}

export function reservedBits(): Case[] {
  return [
    ...number(
      "3.1",
      rows("text", (rsv) => ({ opcode: opcode.text, payload: "hello", rsv })),
    ),
    ...number(
      "3.2",
      rows("empty binary", (rsv) => ({ opcode: opcode.binary, rsv })),
    ),
    ...number(
      "3.3",
      rows("ping", (rsv) => ({ opcode: opcode.ping, payload: "hello", rsv })),
    ),
    ...number(
      "3.4",
      rows("Close", (rsv) => ({ opcode: opcode.close, payload: Buffer.from([3, 232]), rsv })),
    ),
    ...number(
      "3.5",
      combinations.map((rsv) => ({
        title: `continuation with ${describe(rsv)}`,
        section,
        async run(peer) {
          await peer.send({ opcode: opcode.text, payload: "hel", fin: false });
          await peer.send({ opcode: opcode.continuation, payload: "lo", rsv });
          await peer.expectFailure(1002);
        },
      })),
    ),
    ...number("3.6", [
      {
        title: "reserved bits are refused after the first two bytes",
        section,
        async run(peer) {
          await peer.write(peer.encode({ opcode: opcode.text, rsv: 2, length: 5n }).subarray(0, 2));
          await peer.expectFailure(1002);
        },
      },
    ]),
  ];
}
